//! Walking a path beneath a directory step by step, where the kernel may not be asked to do it (`openat2(2)` is
//! refused by filters from before it).
//!
//! As safe as `RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`: each name is opened by itself, in a directory that is held open,
//! with `O_NOFOLLOW`, so no link is ever followed by the kernel, whoever swaps names meanwhile. A link is read, and its
//! names are walked like others; `..` goes back to the directory that the walk came from, and never above the first.
//! What the kernel refuses when it follows links is refused here too (`fs.protected_symlinks`, `nosymfollow`).

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::beneath::Links;

/// Links that are followed in one walk; the kernel follows as many (`path_resolution(7)`).
const LINK_COUNT_MAX: usize = 40;
/// Directories that one walk holds open, each by a descriptor. Paths of more are not there.
const DEPTH_MAX: usize = 256;
/// How each name is opened: not at all.
const LOOK_FLAGS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `ST_NOSYMFOLLOW`, `linux/statfs.h`.
const NO_LINKS_FOLLOWED: u64 = 0x2000;
/// Anybody may write, and only owners may rename: as /tmp.
const SHARED: u32 = 0o1002;

/// What a name leads to.
enum Found {
    Directory(OwnedFd),
    /// With what it leads to.
    Link(Vec<u8>),
    Else(OwnedFd),
}

/// Where a walk has come to.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories below the root that it is in, the last one innermost.
    inside: Vec<OwnedFd>,
    /// The names that are left, the next one last.
    left: Vec<Vec<u8>>,
    link_count: usize,
}

/// Finds what a path leads to and opens it with `O_PATH`.
///
/// # Errors
/// As `openat2(2)`: ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP, EACCES, EXDEV.
///
/// # Blocking
/// Waits for the disk.
pub(super) fn locate(
    root: BorrowedFd<'_>,
    path: &CStr,
    links: Links,
) -> rustix::io::Result<OwnedFd> {
    let mut walk = Walk {
        root,
        inside: Vec::new(),
        left: names(path.to_bytes())?,
        link_count: 0,
    };
    while let Some(name) = walk.left.pop() {
        match &name[..] {
            b"." => continue,
            b".." => {
                walk.inside.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            _ => {}
        }
        match walk.look(&name)? {
            Found::Directory(_) if walk.inside.len() == DEPTH_MAX => {
                return Err(Errno::NAMETOOLONG);
            }
            Found::Directory(directory) => walk.inside.push(directory),
            Found::Link(_) if links == Links::Noticed => return Err(Errno::LOOP),
            Found::Link(target) => walk.follow(&target)?,
            Found::Else(file) if walk.left.is_empty() => return Ok(file),
            Found::Else(_) => return Err(Errno::NOTDIR),
        }
    }
    match walk.inside.pop() {
        Some(directory) => Ok(directory),
        None => rustix::fs::openat(root, c".", LOOK_FLAGS, Mode::empty()),
    }
}

impl Walk<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.inside.last().map_or(self.root, AsFd::as_fd)
    }

    fn look(&self, name: &[u8]) -> rustix::io::Result<Found> {
        let name = OsStr::from_bytes(name);
        let open = |flags| rustix::fs::openat(self.here(), name, flags, Mode::empty());
        // Only what is opened as a directory is mounted where it is to be mounted when it is used (autofs).
        match open(LOOK_FLAGS | OFlags::DIRECTORY) {
            Err(Errno::NOTDIR) => {}
            opened => return opened.map(Found::Directory),
        }
        let found = open(LOOK_FLAGS)?;
        let about = stat(found.as_fd())?;
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Symlink => {
                self.may_follow(&about)?;
                let target = rustix::fs::readlinkat(&found, c"", Vec::new())?;
                Ok(Found::Link(target.into_bytes()))
            }
            FileType::Directory => Ok(Found::Directory(found)),
            _ => Ok(Found::Else(found)),
        }
    }

    /// What the kernel sees to before it follows a link: `proc_sys_fs(5)`, `mount(8)`.
    fn may_follow(&self, link: &Stat) -> rustix::io::Result<()> {
        let mounted = rustix::fs::fstatvfs(self.here())?;
        if mounted.f_flag.bits() & NO_LINKS_FOLLOWED != 0 {
            return Err(Errno::LOOP);
        }
        let directory = stat(self.here())?;
        let is_own = link.st_uid == rustix::process::geteuid().as_raw();
        let is_shared = directory.st_mode & SHARED == SHARED;
        match is_shared && !is_own && link.st_uid != directory.st_uid {
            true => Err(Errno::ACCESS),
            false => Ok(()),
        }
    }

    fn follow(&mut self, target: &[u8]) -> rustix::io::Result<()> {
        self.link_count += 1;
        match target.first() {
            _ if self.link_count > LINK_COUNT_MAX => Err(Errno::LOOP),
            None => Err(Errno::NOENT),
            Some(b'/') => Err(Errno::XDEV),
            Some(_) => {
                self.left.extend(names(target)?);
                Ok(())
            }
        }
    }
}

/// The names of a path that is not absolute, last first. A slash at its end wants a directory, as a dot
/// does.
fn names(path: &[u8]) -> rustix::io::Result<Vec<Vec<u8>>> {
    if path.first() == Some(&b'/') {
        return Err(Errno::XDEV);
    }
    let ends_in_slash = path.last() == Some(&b'/');
    let dot = ends_in_slash.then(|| b".".to_vec());
    let names = path.split(|byte| *byte == b'/').rev();
    let names = names.filter(|name| !name.is_empty()).map(<[u8]>::to_vec);
    Ok(dot.into_iter().chain(names).collect())
}

fn stat(descriptor: BorrowedFd<'_>) -> rustix::io::Result<Stat> {
    rustix::fs::statat(descriptor, c"", AtFlags::EMPTY_PATH)
}
