//! What a path or a descriptor is: `statx(2)`, or `fstatat(2)` where filters from before it refuse that.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Stat, Statx, StatxFlags, major, minor};
use rustix::io::Errno;
use rustix::path::Arg;

use super::file::{Description, FileKind, FileTime, FileVersion};

/// Flags that `fstatat` knows as well.
const COMMON_FLAGS: AtFlags = AtFlags::EMPTY_PATH.union(AtFlags::SYMLINK_NOFOLLOW);

/// What a path leads to, relative to a directory.
///
/// # Errors
/// Those of `statx(2)`.
pub(super) fn describe_at(
    directory: BorrowedFd<'_>,
    path: impl Arg + Copy,
    flags: AtFlags,
) -> rustix::io::Result<Description> {
    match rustix::fs::statx(directory, path, flags, StatxFlags::BASIC_STATS) {
        Err(Errno::NOSYS | Errno::PERM) => {
            rustix::fs::statat(directory, path, flags & COMMON_FLAGS).map(Description::from)
        }
        described => described.map(Description::from),
    }
}

/// What a descriptor is of. Never asks the server of a network file system (`AT_STATX_DONT_SYNC`).
///
/// # Errors
/// Those of `statx(2)`.
pub(super) fn describe(descriptor: BorrowedFd<'_>) -> rustix::io::Result<Description> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    describe_at(descriptor, c"", flags)
}

fn kind_of(mode: u32) -> FileKind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Special,
    }
}

fn device(major: u32, minor: u32) -> u64 {
    u64::from(major) << 32 | u64::from(minor)
}

impl From<Statx> for Description {
    fn from(stat: Statx) -> Description {
        let time = |seconds, nanoseconds| FileTime {
            seconds,
            nanoseconds,
        };
        Description {
            kind: kind_of(stat.stx_mode.into()),
            version: FileVersion {
                device: device(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
                length: stat.stx_size,
                modified: time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
                changed: time(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
            },
            link_count: stat.stx_nlink,
        }
    }
}

impl From<Stat> for Description {
    fn from(stat: Stat) -> Description {
        let time = |seconds, nanoseconds| FileTime {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        Description {
            kind: kind_of(stat.st_mode),
            version: FileVersion {
                device: device(major(stat.st_dev), minor(stat.st_dev)),
                inode: stat.st_ino,
                length: stat.st_size.cast_unsigned(),
                modified: time(stat.st_mtime, stat.st_mtime_nsec),
                changed: time(stat.st_ctime, stat.st_ctime_nsec),
            },
            link_count: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn both_calls_say_the_same() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "12345").expect("written");
        for of in [
            file.path(),
            std::path::Path::new("/"),
            std::path::Path::new("/dev/null"),
        ] {
            let of = std::fs::File::open(of).expect("opened");
            let new = describe(of.as_fd()).expect("described");
            let old = rustix::fs::statat(&of, c"", AtFlags::EMPTY_PATH).expect("described");
            assert_eq!(Description::from(old), new);
        }
    }
}
