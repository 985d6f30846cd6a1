//! Mounts of this process' namespace: `/proc/self/mountinfo` becomes ready with `POLLPRI` when they have changed
//! (`proc_pid_mountinfo(5)`).

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

const TABLE: &str = "/proc/self/mountinfo";

/// `STATX_MNT_ID_UNIQUE`, since Linux 6.8.
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// `STATX_MNT_ID`, since Linux 5.8.
const NUMBER: StatxFlags = StatxFlags::from_bits_retain(0x1000);

/// Links that are followed in one path; the kernel follows as many (`path_resolution(7)`).
const LINK_COUNT_MAX: usize = 40;

/// Tells that mounts have changed.
#[derive(Debug)]
pub(crate) struct MountEvents {
    file: File,
}

impl MountEvents {
    /// Opens it. What changes from now on is told.
    ///
    /// # Errors
    /// ENOENT without /proc.
    pub(crate) fn open() -> io::Result<MountEvents> {
        let file = File::open(TABLE)?;
        Ok(MountEvents { file })
    }

    /// For a poll. The kernel reports each change once.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// The table of mounts.
///
/// # Errors
/// ENOENT without /proc.
///
/// # Blocking
/// Waits while something is being mounted.
pub(crate) fn table() -> io::Result<Vec<u8>> {
    fs::read(TABLE)
}

/// What tells the mount at a path from all others, earlier ones included. File servers are not asked for it.
///
/// # Blocking
/// Waits for the disk when names on the way are not cached.
pub(crate) fn unique_id(point: &Path) -> Option<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(CWD, point, flags, UNIQUE).ok()?;
    let is_unique = found.stx_mask & UNIQUE.bits() != 0;
    is_unique.then_some(found.stx_mnt_id)
}

/// What tells the mount that a directory is on from all others, for as long as the directory is open. `None` before
/// Linux 5.8.
pub(super) fn of(directory: BorrowedFd<'_>) -> Option<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(directory, c"", flags, UNIQUE | NUMBER).ok()?;
    let is_known = found.stx_mask & (UNIQUE | NUMBER).bits() != 0;
    is_known.then_some(found.stx_mnt_id)
}

/// Paths that were found to be no links: roots have most of their paths in common.
#[derive(Debug, Default)]
pub(crate) struct PlainPaths(HashSet<PathBuf>);

/// A path by which a directory was opened, what each link on the way makes of it, and the real path: all absolute.
///
/// # Errors
/// Those of `getcwd(2)` and `readlink(2)`; ENOENT without /proc.
pub(super) fn paths_to(
    asked: &Path,
    directory: BorrowedFd<'_>,
    plain: &mut PlainPaths,
) -> io::Result<Vec<PathBuf>> {
    let number = directory.as_raw_fd();
    let real = fs::read_link(format!("/proc/self/fd/{number}"))?;
    let mut paths = link_by_link(std::path::absolute(asked)?, plain);
    paths.push(real);
    Ok(paths)
}

/// An absolute path, and what each link that it leads through makes of it, in order: something may be mounted at or
/// above any of them.
///
/// # Blocking
/// Waits for the disk when names on the way are not cached.
fn link_by_link(path: PathBuf, plain: &mut PlainPaths) -> Vec<PathBuf> {
    let mut paths = vec![path];
    while paths.len() <= LINK_COUNT_MAX
        && let Some(next) = paths
            .last()
            .and_then(|path| without_first_link(path, plain))
    {
        paths.push(next);
    }
    paths
}

/// The path with the target of its first link in the place of that. `None`: there is no link.
fn without_first_link(path: &Path, plain: &mut PlainPaths) -> Option<PathBuf> {
    let mut walked = PathBuf::new();
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        match part {
            Component::CurDir => {}
            // What was walked has no link, so this is its parent.
            Component::ParentDir => {
                walked.pop();
            }
            part => {
                walked.push(part);
                if plain.0.contains(&walked) {
                    continue;
                }
                if let Ok(target) = fs::read_link(&walked) {
                    walked.pop();
                    return Some(walked.join(target).join(parts.as_path()));
                }
                plain.0.insert(walked.clone());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_link_on_the_way_is_a_path_of_its_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| {
            directory
                .path()
                .canonicalize()
                .expect("it is there")
                .join(name)
        };
        fs::create_dir_all(at("real/www")).expect("they can be made");
        fs::create_dir_all(at("between/x")).expect("they can be made");
        symlink(at("real"), at("between/second")).expect("a link");
        symlink("x/../second", at("between/first")).expect("a link");
        symlink("between/first/./www", at("www")).expect("a link");
        symlink("loop", at("loop")).expect("a link");
        let mut plain = PlainPaths::default();
        let mut steps = |path| link_by_link(path, &mut plain);
        let paths = steps(at("www"));
        assert_eq!(steps(at("www")), paths, "with what is known now");
        let want = [
            "www",
            "between/first/./www",
            "between/x/../second/www",
            "real/www",
        ];
        assert_eq!(paths, want.map(at));
        assert_eq!(steps(at("none/a")), [at("none/a")]);
        assert_eq!(steps(at("loop")).len(), LINK_COUNT_MAX + 1);
    }
}
