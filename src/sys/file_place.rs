//! Where a file was found, so that it can be opened again.

use std::ffi::CString;
use std::sync::Arc;

use rustix::io::Errno;

use super::beneath::{Links, Root};
use super::file::{FileVersion, OpenFile};

/// How often a walk is made that a rename elsewhere disturbed (EAGAIN), or a signal.
const TRY_COUNT_MAX: u32 = 16;

/// A path below a root that led to a file.
#[derive(Debug)]
pub(crate) struct FilePlace {
    root: Arc<Root>,
    path: CString,
}

impl FilePlace {
    /// A path below `root`.
    pub(crate) fn new(root: &Arc<Root>, path: CString) -> FilePlace {
        FilePlace {
            root: Arc::clone(root),
            path,
        }
    }

    /// Opens the file again, if it is still of this version: then its bytes are those that were there before.
    ///
    /// # Errors
    /// Those of [`Root::locate`] and [`Root::open_located`]; ESTALE: another file is there, or it was changed.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn open_again(
        self: &Arc<FilePlace>,
        version: &FileVersion,
    ) -> rustix::io::Result<OpenFile> {
        let mut tries = (0..TRY_COUNT_MAX).map(|_| self.open_once(version));
        let is_proof = |opened: &Result<_, _>| !matches!(opened, Err(Errno::AGAIN | Errno::INTR));
        tries.find(is_proof).unwrap_or(Err(Errno::AGAIN))
    }

    fn open_once(self: &Arc<FilePlace>, version: &FileVersion) -> rustix::io::Result<OpenFile> {
        let (path, links) = (&self.path, Links::Followed);
        let located = self.root.locate(path, links)?;
        if located.describe()?.version != *version {
            return Err(Errno::STALE);
        }
        let file = self.root.open_located(located, path, links)?;
        match file.describe()?.version == *version {
            true => Ok(file.found_at(Arc::clone(self))),
            false => Err(Errno::STALE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sys::deferred_drops::DeferredDrops;

    #[test]
    fn only_the_same_version_is_opened_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let name = directory.path().join("a");
        fs::write(&name, "one").expect("a file");
        let root = Root::open(directory.path(), DeferredDrops::default()).expect("a root");
        let first = root.open_file(c"a").expect("it is there");
        let version = first.describe().expect("described").version;
        let place = Arc::new(FilePlace::new(&Arc::new(root), c"a".to_owned()));
        let again = place.open_again(&version).expect("it is the same");
        assert_eq!(&*again.read_start(3).expect("read"), b"one");
        assert!(again.place().is_some(), "it can be opened once more");
        fs::write(directory.path().join("b"), "two").expect("a file");
        fs::rename(directory.path().join("b"), &name).expect("renamed");
        let refused = |place: &Arc<FilePlace>| place.open_again(&version).map(drop);
        assert_eq!(refused(&place), Err(Errno::STALE), "another file");
        fs::remove_file(&name).expect("removed");
        assert_eq!(refused(&place), Err(Errno::NOENT));
    }
}
