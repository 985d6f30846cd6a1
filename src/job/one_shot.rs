//! Jobs of one call, or of calls that need nothing between them. No ring makes them.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Done, Recheck};
use crate::memory::measured::MemoryFiles;
use crate::memory::slack::FreeMemory;
use crate::sys::beneath::Root;
use crate::sys::mapping::Addresses;

/// What is to be done at once.
#[derive(Debug)]
pub(crate) enum OneShot {
    /// Make mapped bytes resident that were about to be sent.
    Populate(Vec<Addresses>),
    /// Open a log for appending.
    Reopen(PathBuf),
    /// Read a file that is not of the site, up to [`LOAD_LENGTH_MAX`].
    Load(PathBuf),
    /// Write one, in place of what it was.
    Save(Save),
    /// See how much memory there is, once what is free has gone back or not.
    Measure(Arc<MemoryFiles>, FreeMemory),
    /// Compare files with what is remembered of them.
    Recheck(Recheck),
    /// Read the names in a directory below the root.
    Names(Arc<Root>, CString),
    /// Read the table of mounts, for the site below this root.
    Mounts(Arc<Root>),
}

/// A file that is written in place of what it was.
#[derive(Debug)]
pub(crate) struct Save {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub bytes: Vec<u8>,
    /// Whether something that begins like this, up to [`CHECK_LENGTH_MAX`], may be replaced by it.
    pub may_replace: fn(&[u8]) -> bool,
}

/// Bytes that tell whether a file may be replaced.
pub(crate) const CHECK_LENGTH_MAX: u64 = 64 << 10;

/// Most bytes that are read of a file that is not of the site.
pub(crate) const LOAD_LENGTH_MAX: u64 = 256 << 20;

impl OneShot {
    /// What comes of it where it is not done.
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
        }
    }
}
