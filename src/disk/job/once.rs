//! Jobs of one call, or of calls that need nothing between them. No ring makes them.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Done;
use crate::disk::measure::Places;
use crate::http::status::Status;
use crate::sys::beneath::Root;
use crate::sys::mapping::Addresses;

/// What is to be done at once.
#[derive(Debug)]
pub enum Once {
    /// Make mapped bytes resident that were about to be sent.
    Populate(Vec<Addresses>),
    /// Open a log for appending.
    Reopen(PathBuf),
    /// Read a file that is not of the site, up to [`LOAD_LENGTH_MAX`].
    Load(PathBuf),
    /// Write one, in place of what it was.
    Save(PathBuf, Vec<u8>),
    /// See how much memory there is.
    Measure(Arc<Places>),
    /// Read the names in a directory below the root.
    Names(Arc<Root>, CString),
}

/// Most bytes that are read of a file that is not of the site.
pub const LOAD_LENGTH_MAX: u64 = 256 << 20;

/// The name that a file is written under before it takes the place of another.
pub fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".spede-new");
    beside.into()
}

impl Once {
    /// What comes of it where it is not done.
    pub(super) fn abandon(self, _status: Status) -> Done {
        let error = || io::Error::from(io::ErrorKind::TimedOut);
        match self {
            Once::Populate(_) => Done::Populated,
            Once::Reopen(_) => Done::Reopened(Err(error())),
            Once::Load(_) => Done::Loaded(Err(error())),
            Once::Save(..) => Done::Saved(Err(error())),
            Once::Measure(_) => Done::Measured(None),
            Once::Names(..) => Done::Named(Err(error())),
        }
    }
}
