//! What this kernel, and the filters before it, allow for finding and opening files: tried once, when a root is
//! opened, because a server whose every open fails should not start as if all were well.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{LOOK_FLAGS, RESOLVE_FLAGS};

/// The type of /proc, `linux/magic.h`.
const PROC: u64 = 0x9FA0;

/// How files are found and opened here.
#[derive(Clone, Debug)]
pub(crate) struct FileAccess {
    /// `/proc/self/fd`, through which what was looked at is opened and nothing else: `proc_pid_fd(5)`. Held open, so
    /// that no later mount takes its place.
    descriptors: Result<Arc<OwnedFd>, Errno>,
    walking: Walking,
}

/// Who walks the paths that jobs look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walking {
    /// The kernel (`openat2`). A ring always has it do so.
    Kernel,
    /// We do, because `openat2` is refused with this error.
    Steps(Errno),
}

impl FileAccess {
    /// What is allowed here.
    pub(super) fn here() -> FileAccess {
        let look = rustix::fs::openat2(CWD, c".", LOOK_FLAGS, Mode::empty(), RESOLVE_FLAGS);
        FileAccess {
            descriptors: descriptors().map(Arc::new),
            walking: match look {
                // Filters refuse with one of these. Others say something of the working directory.
                Err(error @ (Errno::PERM | Errno::NOSYS)) => Walking::Steps(error),
                _ => Walking::Kernel,
            },
        }
    }

    /// Who walks paths.
    pub(crate) fn walking(&self) -> Walking {
        self.walking
    }

    /// What is allowed where there is no /proc.
    #[cfg(test)]
    pub(super) fn without_proc(self) -> FileAccess {
        FileAccess {
            descriptors: Err(Errno::NOENT),
            ..self
        }
    }

    /// What is allowed where `openat2` is refused.
    #[cfg(test)]
    pub(super) fn without_openat2(self) -> FileAccess {
        FileAccess {
            walking: Walking::Steps(Errno::PERM),
            ..self
        }
    }

    /// `/proc/self/fd`, if it can be used. What is opened is surely what was looked at then.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn descriptors(&self) -> rustix::io::Result<BorrowedFd<'_>> {
        match &self.descriptors {
            Ok(descriptors) => Ok(descriptors.as_fd()),
            Err(error) => Err(*error),
        }
    }
}

/// Opens /proc/self/fd and sees that it is what it should be, and leads to files.
fn descriptors() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
    let about = rustix::fs::fstatfs(&directory)?;
    if about.f_type.cast_unsigned() & u64::from(u32::MAX) != PROC {
        return Err(Errno::NOTSUP);
    }
    // `subset=pid` and the like leave it in place, but a policy may forbid its links.
    let own = rustix::fs::openat(CWD, c"/", flags, Mode::empty())?;
    let name = own.as_raw_fd().to_string();
    rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    Ok(directory)
}
