//! What a look-up is made with and what it leads to.

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

/// A file that was opened, and what it was at that moment.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The descriptor.
    pub file: Arc<OpenFile>,
    /// Its version, by `statx` of this descriptor.
    pub version: FileVersion,
    /// What tells its bytes from those of other versions; `None` as long as it was not looked into.
    pub identity: Option<Identity>,
    /// Its content, where only a copy may be sent: [`Identity::Copy`].
    pub content: Option<Arc<[u8]>>,
}

impl Opened {
    /// A file of which no more is known.
    pub fn new(file: Arc<OpenFile>, version: FileVersion) -> Opened {
        Opened {
            file,
            version,
            identity: None,
            content: None,
        }
    }
}

/// What a look-up leads to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All that was expected still holds.
    Unchanged,
    /// A file.
    File(Box<FoundFile>),
    /// A directory where a file was looked for; the path to go to.
    Moved(String),
    /// A directory that has no index: the page that lists what is in it.
    Listed(Box<Listing>),
    /// Nothing that is served.
    Refused(Refusal),
    /// The disk could not say.
    Failed(JobError),
    /// The path of the root leads to another directory by now; the look-up is to be made there.
    Elsewhere(Arc<Root>),
}

/// What is known of the directories that a look-up goes through.
#[derive(Clone, Debug)]
pub(crate) enum WatchCoverage {
    /// Nobody watches them.
    Unwatched,
    /// They are watched from before the look-up on, and no link leads to the last of them.
    Watched(Arc<Watches>),
    /// They are to be watched.
    Unknown(Arc<Watches>),
}

/// Where a look-up is made.
#[derive(Clone, Debug)]
pub(crate) struct LookupSite {
    /// Beneath this directory.
    pub root: Arc<Root>,
    /// Whether that is still the root has to be seen first, because its path is not watched.
    pub is_root_compared: bool,
    /// The directories below.
    pub coverage: WatchCoverage,
    /// What entity tags are made of.
    pub tags: EntityTags,
    /// When it was asked for: whatever is seen is seen later.
    pub asked: FileTime,
}

/// What a look-up rests on.
#[derive(Debug)]
pub(crate) struct Dependencies {
    /// Where it looked.
    pub plan: LookupPlan,
    /// What was walked, if a walk was needed.
    pub walk: Option<Walk>,
    /// Whether one of the files has another name, through which it may be changed unseen.
    pub is_linked: bool,
}

/// A file that a look-up led to.
#[derive(Debug)]
pub(crate) struct FoundFile {
    /// Its name below the root.
    pub path: CString,
    /// The file.
    pub identity: Opened,
    /// Its usable precompressed variants.
    pub precompressed: Vec<(Coding, Opened)>,
    /// Its precompressed variants that are older than it, and so of no use.
    pub outdated: Vec<CString>,
    /// What every path that was looked at led to.
    pub expectations: Vec<Expectation>,
}

impl FoundFile {
    /// The file or a precompressed variant that was not looked into, though it has to be.
    pub(super) fn unexamined(&self) -> Option<&Opened> {
        let precompressed = self.precompressed.iter().map(|(_, variant)| variant);
        std::iter::once(&self.identity)
            .chain(precompressed)
            .find(|opened| opened.identity.is_none())
    }

    /// It was.
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
