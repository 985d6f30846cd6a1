//! Calls of the store to the kernel that never wait: open files, the page cache, page tables, events.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use inotify::{Inotify, WatchMask};

use crate::job::ResidencyPolicy;
use crate::store::probe::{FileEvent, Probe};
use crate::sys::cachestat::is_cached;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::file::{Description, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::mounts::MountEvents;
use crate::sys::pagemap::{Pagemap, Presence};
use crate::sys::watches::Watches;

/// Why the kernel reports no events.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvents {
    /// A filter refuses a call, or the kernel lacks it.
    #[error("{call} is refused ({cause}); allow it in the seccomp profile of the container")]
    Refused {
        /// The name of the call.
        call: &'static str,
        /// The error.
        cause: io::Error,
    },
    /// The user has too many inotify instances.
    #[error("no inotify instance is left ({0}); raise fs.inotify.max_user_instances (sysctl)")]
    NoneLeft(io::Error),
    /// Another error of `inotify_init1`.
    #[error("no inotify instance ({0})")]
    Failed(io::Error),
}

/// Size of the buffer for events in bytes: a thousand without names, sixty with the longest names.
const BUFFER_LENGTH: usize = 16 << 10;
/// Maximum size of one event in bytes, with the longest name and its padding. A read leaves less room than that if
/// more events are queued.
const EVENT_LENGTH_MAX: usize = 16 + 256;
/// The kernel.
#[derive(Debug)]
pub(super) struct KernelProbe {
    inotify: Result<Inotify, NoEvents>,
    buffer: Vec<u8>,
    /// `None` also if it is not needed.
    pagemap: Option<Pagemap>,
    /// `None` without /proc.
    mount_events: Option<MountEvents>,
}

impl KernelProbe {
    /// Opens the descriptors for later calls.
    pub(super) fn new(policy: ResidencyPolicy) -> KernelProbe {
        KernelProbe {
            inotify: begin(),
            buffer: vec![0; BUFFER_LENGTH],
            pagemap: match policy {
                ResidencyPolicy::ResidentOnly => Pagemap::open().ok(),
                ResidencyPolicy::Any => None,
            },
            mount_events: MountEvents::open().ok(),
        }
    }

    /// The inotify instance, if the kernel reports events.
    pub(super) fn watches(&self, deferred_drops: &DeferredDrops) -> Option<Arc<Watches>> {
        let inotify = self.inotify.as_ref().ok()?;
        Some(Arc::new(Watches::new(inotify, deferred_drops.clone())))
    }

    /// The descriptor that is readable when there are events.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.inotify.as_ref().ok().map(AsRawFd::as_raw_fd)
    }

    /// The descriptor that is ready when mounts have changed.
    pub(super) fn mount_events(&self) -> Option<RawFd> {
        self.mount_events.as_ref().map(MountEvents::descriptor)
    }

    /// Why the kernel reports no events at all, if it does not.
    pub(super) fn missing(&self) -> Option<&NoEvents> {
        self.inotify.as_ref().err()
    }
}

impl Probe for KernelProbe {
    fn describe(&self, file: &OpenFile) -> io::Result<Description> {
        Ok(file.describe()?)
    }

    fn is_cached(&self, file: &OpenFile, bytes: &Range<u64>) -> Option<bool> {
        is_cached(file, bytes)
    }

    fn presence(&self, addresses: &Addresses) -> Option<Presence> {
        let pagemap = self.pagemap.as_ref()?;
        Some(pagemap.presence(addresses))
    }

    fn drain_events(&mut self, take: &mut dyn FnMut(FileEvent<'_>)) {
        let Ok(inotify) = &mut self.inotify else {
            return;
        };
        let there = rustix::io::ioctl_fionread(&*inotify).unwrap_or(u64::MAX);
        let reads = there.div_ceil((BUFFER_LENGTH - EVENT_LENGTH_MAX) as u64);
        for _ in 0..reads {
            let Ok(events) = inotify.read_events(&mut self.buffer) else {
                return;
            };
            for event in events {
                take(FileEvent {
                    watch: event.wd.get_watch_descriptor_id(),
                    mask: event.mask,
                    name: event.name.map(OsStrExt::as_bytes),
                });
            }
        }
    }
}

/// Makes an inotify instance, and tests it with a path that does not exist.
fn begin() -> Result<Inotify, NoEvents> {
    let refused = |call, cause: io::Error| match cause.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => Err(NoEvents::Refused { call, cause }),
        _ => Ok(cause),
    };
    let inotify = match Inotify::init() {
        Ok(inotify) => inotify,
        Err(cause) => {
            let cause = refused("inotify_init1", cause)?;
            return match cause.raw_os_error() {
                Some(libc::EMFILE) => Err(NoEvents::NoneLeft(cause)),
                _ => Err(NoEvents::Failed(cause)),
            };
        }
    };
    if let Err(cause) = inotify.watches().add("", WatchMask::MODIFY) {
        refused("inotify_add_watch", cause)?;
    }
    Ok(inotify)
}
