//! Input and result of a lookup.

use std::ffi::CString;
use std::sync::Arc;

use super::error::LookupFailure;
use super::{Examined, JobError, Listing, Refusal};
use crate::http::content_coding::Coding;
use crate::site::resolve::{Expectation, LookupPlan};
use crate::site::validators::{EntityTags, Identity};
use crate::sys::beneath::Root;
use crate::sys::file::{FileTime, FileVersion, OpenFile};
use crate::sys::watches::{Walk, Watches};

/// An opened file, and its state at that time.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The descriptor.
    pub file: Arc<OpenFile>,
    /// Its version, by `statx` of this descriptor.
    pub version: FileVersion,
    /// What identifies its bytes; `None` until it is examined.
    pub identity: Option<Identity>,
    /// Its content, if only a copy may be sent: [`Identity::Copy`].
    pub content: Option<Arc<[u8]>>,
}

impl Opened {
    /// A file that is not examined yet.
    pub fn new(file: Arc<OpenFile>, version: FileVersion) -> Opened {
        Opened {
            file,
            version,
            identity: None,
            content: None,
        }
    }
}

/// Result of a lookup.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All expectations still hold.
    Unchanged,
    /// A file.
    File(Box<FoundFile>),
    /// A directory where a file was looked for; the path to redirect to.
    Moved(String),
    /// A directory without an index file: the page that lists it.
    Listed(Box<Listing>),
    /// No file that is served.
    Refused(Refusal),
    /// The disk gave no answer.
    Failed(JobError),
    /// The path of the root leads to another directory now; repeat the lookup there.
    Elsewhere(Arc<Root>),
}

/// Watches on the directories of a lookup.
#[derive(Clone, Debug)]
pub(crate) enum WatchCoverage {
    /// Not watched.
    Unwatched,
    /// Watched since before the lookup, and no link leads to the last directory.
    Watched(Arc<Watches>),
    /// To be watched.
    Unknown(Arc<Watches>),
}

/// Where a lookup starts.
#[derive(Clone, Debug)]
pub(crate) struct LookupSite {
    /// Beneath this directory.
    pub root: Arc<Root>,
    /// Whether to check first that this is still the root, because its path is not watched.
    pub is_root_compared: bool,
    /// The directories below it.
    pub coverage: WatchCoverage,
    /// Source of entity tags.
    pub tags: EntityTags,
    /// When it was requested: everything in the result was seen later.
    pub asked: FileTime,
}

/// What a lookup depends on.
#[derive(Debug)]
pub(crate) struct Dependencies {
    /// The paths it tried.
    pub plan: LookupPlan,
    /// The walk over its directories, if one was needed.
    pub walk: Option<Walk>,
    /// Whether one of the files has another hard link, through which it may change without an event.
    pub is_linked: bool,
}

/// The file that a lookup found.
#[derive(Debug)]
pub(crate) struct FoundFile {
    /// Its name below the root.
    pub path: CString,
    /// The file.
    pub identity: Opened,
    /// Its usable precompressed variants.
    pub precompressed: Vec<(Coding, Opened)>,
    /// Its outdated precompressed variants, which are not served.
    pub outdated: Vec<CString>,
    /// The result for every path that was tried.
    pub expectations: Vec<Expectation>,
}

impl FoundFile {
    /// A file among it and its precompressed variants that still has to be examined.
    pub(super) fn unexamined(&self) -> Option<&Opened> {
        let precompressed = self.precompressed.iter().map(|(_, variant)| variant);
        std::iter::once(&self.identity)
            .chain(precompressed)
            .find(|opened| opened.identity.is_none())
    }

    /// Takes the result of that.
    pub(super) fn examined(&mut self, examined: Examined) {
        let precompressed = self.precompressed.iter_mut().map(|(_, variant)| variant);
        let opened = std::iter::once(&mut self.identity)
            .chain(precompressed)
            .find(|opened| opened.identity.is_none());
        if let Some(opened) = opened {
            opened.identity = Some(examined.identity);
            opened.content = examined.content;
        }
    }
}

impl From<LookupFailure> for Outcome {
    fn from(failure: LookupFailure) -> Outcome {
        match failure {
            LookupFailure::Refused(refusal) => Outcome::Refused(refusal),
            LookupFailure::Failed(error) => Outcome::Failed(error),
        }
    }
}
