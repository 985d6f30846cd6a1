//! Finding, opening and describing files beneath one directory, and nowhere else.
//!
//! `openat2(2)` with `RESOLVE_BENEATH` lets the kernel refuse, component by component and without
//! a race, every path that would leave the directory: `..`, absolute links, links that are swapped
//! while the path is walked. Links that stay inside are followed. Absolute links are refused even
//! when they point inside; that is the price of asking the kernel.
//!
//! What a path leads to is looked at (`O_PATH`) before it is opened, because the open itself may have an effect: it
//! lets a writer go on that waits at a FIFO, and a device does whatever its driver does. Only files are opened, and
//! through the descriptor that was looked at, so that nothing can take their place in between.

use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::access::{FileAccess, Walking};
use super::deferred_drops::{DeferredDrops, Descriptor, Discarded};
use super::describe::{describe, describe_at};
use super::file::{Description, FileKind, OpenFile};
use super::mounts::{self, PlainPaths};
use super::steps;
use super::watches::{Walk, Watches};

/// How a file is looked at. The kernel allows no other flags beside `O_PATH`.
pub(super) const LOOK_FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// How a file is opened.
///
/// `O_NONBLOCK` changes nothing for regular files. Without /proc a FIFO may be opened that has just taken the place of
/// a file; that returns at once then.
const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
/// How a directory is opened: the kernel refuses everything else before it opens it.
const DIRECTORY_FLAGS: OFlags = OPEN_FLAGS.union(OFlags::DIRECTORY);
/// How a path is walked.
pub(super) const RESOLVE_FLAGS: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// What becomes of links on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// They are followed, as long as they stay beneath the root.
    Followed,
    /// An open of a path with any of them fails with ELOOP; a description of a path that ends in one
    /// is that of the link.
    Noticed,
}

/// The directory that is served.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OpenFile,
    path: CString,
    identity: (u64, u64),
    /// On which mount it is; unknown before Linux 5.8.
    mount: Option<u64>,
    access: FileAccess,
}

/// What a path below a root led to. It is not open: neither looking at it nor holding it has an effect on it.
#[derive(Debug)]
pub(crate) struct Located {
    /// Taken out when it is closed.
    descriptor: Option<Descriptor>,
    deferred_drops: DeferredDrops,
}

impl Located {
    /// What it is. Never waits: see [`OpenFile::describe`].
    ///
    /// # Errors
    /// Those of `statx(2)`.
    pub(crate) fn describe(&self) -> rustix::io::Result<Description> {
        describe(self.descriptor().ok_or(Errno::BADF)?)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Closes it here and now. It is open otherwise as well, so this is not the last use of its inode, and waits for
    /// nothing.
    fn close_beside(mut self, _open: &OpenFile) {
        self.descriptor = None;
    }
}

impl Drop for Located {
    fn drop(&mut self) {
        if let Some(descriptor) = self.descriptor.take() {
            self.deferred_drops.put(Discarded::Descriptor(descriptor));
        }
    }
}

/// Where a file is opened, and how the path is walked that leads to it.
pub(super) struct Entrance<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) path: Cow<'a, CStr>,
    pub(super) resolve: ResolveFlags,
}

impl Root {
    /// Opens the directory. Later calls are relative to this descriptor: renaming the directory
    /// does not change what is served. Errors: those of `open(2)`.
    pub(crate) fn open(path: &Path, deferred_drops: DeferredDrops) -> io::Result<Root> {
        Root::open_by(path, deferred_drops, FileAccess::here())
    }

    fn open_by(path: &Path, deferred_drops: DeferredDrops, access: FileAccess) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let directory = OpenFile::new(directory, deferred_drops);
        let version = directory.describe()?.version;
        Ok(Root {
            mount: mounts::of(directory.descriptor()),
            directory,
            path: CString::new(path.as_os_str().as_bytes())?,
            identity: (version.device, version.inode),
            access,
        })
    }

    /// Opens the directory that the path of this one leads to by now. Errors: those of `open(2)`.
    pub(crate) fn open_again(&self) -> io::Result<Root> {
        self.open_beside(Path::new(OsStr::from_bytes(self.path.to_bytes())))
    }

    /// Opens another directory, with the same access to files and the same deferred drops. Errors: those of `open(2)`.
    pub(crate) fn open_beside(&self, path: &Path) -> io::Result<Root> {
        Root::open_by(path, self.deferred_drops().clone(), self.access.clone())
    }

    /// How files are found and opened here.
    pub(crate) fn access(&self) -> &FileAccess {
        &self.access
    }

    /// The path that it was opened by.
    pub(crate) fn path(&self) -> &CStr {
        &self.path
    }

    /// Absolute paths that lead to it: as it was opened, what each link on the way makes of that, and its real one.
    ///
    /// # Errors
    /// Those of `getcwd(2)` and `readlink(2)`; ENOENT without /proc.
    pub(crate) fn absolute_paths(&self, plain: &mut PlainPaths) -> io::Result<Vec<PathBuf>> {
        let asked = Path::new(OsStr::from_bytes(self.path.to_bytes()));
        mounts::paths_to(asked, self.directory.descriptor(), plain)
    }

    /// Whether something described is this directory.
    pub(crate) fn is(&self, description: &Description) -> bool {
        let version = description.version;
        description.kind == FileKind::Directory && self.identity == (version.device, version.inode)
    }

    /// The device of its file system.
    pub(crate) fn device(&self) -> u64 {
        self.identity.0
    }

    /// Whether two are the same directory on the same mount: on another one, what is mounted below it is another.
    pub(crate) fn is_same(&self, other: &Root) -> bool {
        self.identity == other.identity && self.mount == other.mount
    }

    /// Finds what a path below the root leads to, and does not open it.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP: there is nothing. EXDEV: the path leads out of the root. EACCES: a
    /// directory on the way may not be searched. EMFILE, ENFILE: no descriptor is free. EAGAIN: a rename elsewhere
    /// disturbed the walk of a `..`, so it proved nothing.
    ///
    /// # Blocking
    /// Waits for the disk when the names or the inode are not cached.
    pub(crate) fn locate(&self, path: &CStr, links: Links) -> rustix::io::Result<Located> {
        self.walk_to(path, LOOK_FLAGS, links)
            .map(|descriptor| self.adopt_located(descriptor))
    }

    /// Opens a file that was located by this path for reading.
    ///
    /// # Errors
    /// Those of `open(2)`: EACCES: not readable. EMFILE, ENFILE: no descriptor is free. ESTALE: the file is not there
    /// any more, or something else is found by its path.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn open_located(
        &self,
        located: Located,
        path: &CStr,
        links: Links,
    ) -> rustix::io::Result<OpenFile> {
        let Entrance {
            directory,
            path,
            resolve,
        } = self.entrance(&located, path, links);
        let opened = match resolve.is_empty() {
            true => rustix::fs::openat(directory, &*path, OPEN_FLAGS, Mode::empty()),
            false => rustix::fs::openat2(directory, &*path, OPEN_FLAGS, Mode::empty(), resolve),
        };
        self.adopt_opened(opened?, located)
    }

    /// Where a file that was located by this path is opened.
    pub(super) fn entrance<'a>(
        &'a self,
        located: &Located,
        path: &'a CStr,
        links: Links,
    ) -> Entrance<'a> {
        let through = self.access.descriptors().ok().and_then(|directory| {
            let number = located.descriptor()?.as_raw_fd().to_string();
            Some((directory, CString::new(number).ok()?))
        });
        match through {
            Some((directory, number)) => Entrance {
                directory,
                path: Cow::Owned(number),
                resolve: ResolveFlags::empty(),
            },
            None => Entrance {
                directory: self.directory.descriptor(),
                path: Cow::Borrowed(path),
                resolve: resolve_flags(links),
            },
        }
    }

    /// Opens a directory below the root for reading its names; anything else is not opened.
    ///
    /// # Errors
    /// Those of [`locate`](Root::locate), and EACCES: not readable.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn open_directory(&self, path: &CStr, links: Links) -> rustix::io::Result<OpenFile> {
        self.walk_to(path, DIRECTORY_FLAGS, links)
            .map(|descriptor| self.adopt(descriptor))
    }

    /// Opens what a path leads to, which is known to be a file.
    #[cfg(test)]
    pub(crate) fn open_file(&self, path: &CStr) -> rustix::io::Result<OpenFile> {
        let located = self.locate(path, Links::Followed)?;
        self.open_located(located, path, Links::Followed)
    }

    fn walk_to(&self, path: &CStr, flags: OFlags, links: Links) -> rustix::io::Result<OwnedFd> {
        let (directory, mode) = (self.directory.descriptor(), Mode::empty());
        if let Walking::Kernel = self.access.walking() {
            return rustix::fs::openat2(directory, path, flags, mode, resolve_flags(links));
        }
        let located = steps::locate(directory, path, links)?;
        match flags.contains(OFlags::PATH) {
            true => Ok(located),
            // This opens what was located, which is no file: its names are not looked at.
            false => rustix::fs::openat(located, c".", flags, mode),
        }
    }

    /// How a ring looks at a path: flags, and how the path is walked.
    pub(super) fn look_how(links: Links) -> (u64, u64) {
        (LOOK_FLAGS.bits().into(), resolve_flags(links).bits())
    }

    /// How a ring opens a file.
    pub(super) fn open_how(entrance: &Entrance<'_>) -> (u64, u64) {
        (OPEN_FLAGS.bits().into(), entrance.resolve.bits())
    }

    /// Finds and watches the directories that a look-up depends on: see [`Watches`].
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn walk<'a>(
        &self,
        watches: &Watches,
        directory: &[u8],
        names: impl Iterator<Item = &'a [u8]>,
    ) -> Walk {
        watches.walk_beneath(self.directory.descriptor(), directory, names)
    }

    /// Takes a descriptor over that was opened below the root and is not to be read.
    pub(crate) fn adopt_located(&self, descriptor: OwnedFd) -> Located {
        Located {
            descriptor: Some(self.deferred_drops().count_in(descriptor)),
            deferred_drops: self.deferred_drops().clone(),
        }
    }

    /// Takes the descriptor of a file over that was located before.
    pub(super) fn adopt_opened(
        &self,
        descriptor: OwnedFd,
        located: Located,
    ) -> rustix::io::Result<OpenFile> {
        let file = self.adopt(descriptor);
        if self.access.descriptors().is_ok() {
            located.close_beside(&file);
            return Ok(file);
        }
        let identity = |what: Description| (what.version.device, what.version.inode);
        match identity(located.describe()?) == identity(file.describe()?) {
            true => Ok(file),
            false => Err(Errno::STALE),
        }
    }

    /// Takes a descriptor that was opened below the root over.
    ///
    /// The kernel is told not to read ahead through it: it would do so in the midst of `sendfile`,
    /// and wait there for what says where the next blocks are. What is needed next is known here.
    fn adopt(&self, descriptor: OwnedFd) -> OpenFile {
        let _ = rustix::fs::fadvise(&descriptor, 0, None, Advice::Random);
        OpenFile::new(descriptor, self.deferred_drops().clone())
    }

    /// The directory itself, as a number for a ring.
    pub(super) fn raw_directory(&self) -> RawFd {
        self.directory.descriptor().as_raw_fd()
    }

    /// When the last of the links on its path was made, and a second more, in seconds since 1970: what a walk
    /// would say of it, where nothing is watched.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn linked_since(&self) -> i64 {
        Path::new(OsStr::from_bytes(self.path.to_bytes()))
            .ancestors()
            .filter_map(|part| std::fs::symlink_metadata(part).ok())
            .filter(std::fs::Metadata::is_symlink)
            .map(|link| link.ctime().saturating_add(1))
            .max()
            .unwrap_or(i64::MIN)
    }

    /// Where files and mappings of this root go when they are dropped.
    pub(crate) fn deferred_drops(&self) -> &DeferredDrops {
        self.directory.deferred_drops()
    }

    /// Describes what a path below the root leads to; an absolute path leads wherever it does.
    ///
    /// This does not hold the walk beneath the root, so the answer may only be *compared* with
    /// what a [`locate`](Root::locate) gave before.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    ///
    /// # Blocking
    /// Waits for the disk, or for the server of a network file system.
    pub(crate) fn describe(&self, path: &CStr, links: Links) -> rustix::io::Result<Description> {
        describe_at(self.directory.descriptor(), path, stat_flags(links))
    }
}

fn resolve_flags(links: Links) -> ResolveFlags {
    match links {
        Links::Followed => RESOLVE_FLAGS,
        Links::Noticed => RESOLVE_FLAGS | ResolveFlags::NO_SYMLINKS,
    }
}

/// How a path is described.
pub(super) fn stat_flags(links: Links) -> AtFlags {
    match links {
        Links::Followed => AtFlags::empty(),
        Links::Noticed => AtFlags::SYMLINK_NOFOLLOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A root with /proc, and the same without.
    fn roots() -> (tempfile::TempDir, [Root; 2]) {
        let directory = tempfile::tempdir().expect("a directory");
        let open = |access| Root::open_by(directory.path(), DeferredDrops::default(), access);
        let with = open(FileAccess::here()).expect("a root");
        let without = open(FileAccess::here().without_proc()).expect("a root");
        (directory, [with, without])
    }

    #[test]
    fn what_is_opened_is_what_was_looked_at() {
        let (directory, [with, without]) = roots();
        let place = |name: &str| directory.path().join(name);
        let replace = || {
            fs::write(place("next"), "another").expect("a file");
            fs::rename(place("next"), place("a")).expect("renamed");
        };
        for (root, is_open) in [(with, true), (without, false)] {
            fs::write(place("a"), "one").expect("a file");
            let located = root.locate(c"a", Links::Followed).expect("found");
            let seen = located.describe().expect("described").version;
            replace();
            match root.open_located(located, c"a", Links::Followed) {
                Ok(file) => {
                    let version = file.describe().expect("described").version;
                    assert_eq!((version.inode, is_open), (seen.inode, true));
                    assert_eq!(&*file.read_start(3).expect("read"), b"one");
                }
                Err(error) => assert_eq!((error, is_open), (Errno::STALE, false)),
            }
            let file = root.open_file(c"a").expect("it is there");
            assert_eq!(&*file.read_start(7).expect("read"), b"another");
        }
    }

    #[test]
    fn only_directories_are_opened_as_such() {
        let (directory, roots) = roots();
        fs::create_dir(directory.path().join("d")).expect("a directory");
        fs::write(directory.path().join("a"), "").expect("a file");
        for root in roots {
            let kind = |path| {
                let located = root.locate(path, Links::Followed).expect("found");
                located.describe().expect("described").kind
            };
            assert_eq!(
                (kind(c"a"), kind(c"d")),
                (FileKind::Regular, FileKind::Directory)
            );
            assert!(root.open_directory(c"d", Links::Followed).is_ok());
            let refused = root.open_directory(c"a", Links::Followed).map(drop);
            assert_eq!(refused, Err(Errno::NOTDIR));
        }
    }

    /// What the kernel finds and what we find, on a tree with whatever may be in it.
    #[test]
    fn steps_lead_to_what_the_kernel_finds() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        fs::create_dir_all(place("root/a/b")).expect("directories");
        fs::write(place("secret"), "no").expect("a file");
        for name in ["root/f", "root/a/f", "root/a/b/f"] {
            fs::write(place(name), name).expect("a file");
        }
        #[rustfmt::skip]
        let links = [
            ("l1", "a"), ("l2", "l1/b"), ("l3", "l2/../f"), ("l4", "../secret"), ("l5", "l5"), ("l6", "/f"),
            ("l7", "f/"), ("l8", "a/"), ("l9", "a/."), ("a/l1", ".."), ("a/l2", "../.."), ("a/l3", "../a/./b//f"),
            ("a/b/l1", "../../../root/f"), ("m", "/proc/self/root"), ("n", "nowhere"), ("a/b/l2", "../../l3"),
        ];
        for (name, target) in links {
            symlink(target, place("root").join(name)).expect("a link");
        }
        let root = |access| {
            Root::open_by(&place("root"), DeferredDrops::default(), access).expect("a root")
        };
        let kernel = root(FileAccess::here());
        let steps = root(FileAccess::here().without_openat2());
        let names = [
            "f", "a", "b", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8", "l9", "m", "n", ".",
            "..",
        ];
        let mut paths: Vec<String> = names.map(String::from).into();
        for _ in 0..2 {
            let longer = paths
                .iter()
                .flat_map(|path| names.map(|name| format!("{path}/{name}")));
            paths = longer.chain(names.map(String::from)).collect();
        }
        let mut found_count = 0;
        for path in paths {
            let path = CString::new(path).expect("no NUL");
            for links in [Links::Followed, Links::Noticed] {
                let locate = |root: &Root| root.locate(&path, links)?.describe();
                let (want, got) = (locate(&kernel), locate(&steps));
                found_count += usize::from(want.is_ok());
                assert_eq!(got, want, "{path:?} {links:?}");
                let open = |root: &Root| root.open_directory(&path, links)?.describe();
                let (want, got) = (open(&kernel), open(&steps));
                assert_eq!(got, want, "{path:?} {links:?} as a directory");
            }
        }
        assert!(found_count > 200, "{found_count}");
    }
}
