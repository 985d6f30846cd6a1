//! Jobs of one call, or of calls without states between them. io_uring does not run them.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Done, JobError, Recheck};
use crate::memory::measured::MemoryFiles;
use crate::memory::slack::FreeMemory;
use crate::site::access::users::Verification;
use crate::sys::beneath::Root;
use crate::sys::file::FileVersion;
use crate::sys::file_place::FilePlace;
use crate::sys::mapping::Addresses;

/// A job without intermediate states.
#[derive(Debug)]
pub(crate) enum OneShot {
    /// Make mapped bytes resident that are about to be sent.
    Populate(Vec<Addresses>),
    /// Open a log for appending.
    Reopen(PathBuf),
    /// Read a file outside the site, up to [`LOAD_LENGTH_MAX`].
    Load(PathBuf),
    /// Replace such a file.
    Save(Save),
    /// Measure available memory, after returning free memory to the kernel if asked to.
    Measure(Arc<MemoryFiles>, FreeMemory),
    /// Compare files with the cached state.
    Recheck(Recheck),
    /// Read the names in a directory below the root.
    Names(Arc<Root>, CString),
    /// Read the table of mounts, as far as it concerns these roots.
    Mounts(Vec<Arc<Root>>),
    /// Compare a password with a hash. Asks nothing of the disk: the helpers have the time.
    Verify(Box<Verification>),
    /// Open a file again, if it is still of this version.
    OpenAgain(Arc<FilePlace>, FileVersion),
}

/// A file to be replaced.
#[derive(Debug)]
pub(crate) struct Save {
    /// Its path.
    pub path: PathBuf,
    /// Its new content.
    pub bytes: Vec<u8>,
    /// Whether a file with this content, up to [`CHECK_LENGTH_MAX`], may be replaced.
    pub may_replace: fn(&[u8]) -> bool,
}

/// Maximum number of bytes passed to `may_replace`.
pub(crate) const CHECK_LENGTH_MAX: u64 = 64 << 10;

/// Maximum length of a file outside the site that is loaded.
pub(crate) const LOAD_LENGTH_MAX: u64 = 256 << 20;

impl OneShot {
    /// The result if it is abandoned.
    pub(super) fn abandon(self) -> Done {
        let error = || io::Error::from(io::ErrorKind::TimedOut);
        match self {
            OneShot::Populate(_) => Done::Populated,
            OneShot::Reopen(_) => Done::Reopened(Err(error().into())),
            OneShot::Load(_) => Done::Loaded(Err(error())),
            OneShot::Save(..) => Done::Saved(Err(error().into())),
            OneShot::Measure(..) => Done::Measured(None),
            OneShot::Recheck(_) => Done::Rechecked(Vec::new()),
            OneShot::Names(..) => Done::Named(Err(error())),
            OneShot::Mounts(_) => Done::Mounts(None),
            OneShot::Verify(_) => Done::Verified(false),
            OneShot::OpenAgain(..) => Done::OpenedAgain(Err(JobError::TimedOut)),
        }
    }
}
