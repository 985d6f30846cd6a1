//! The limits of the process on descriptors and locked memory, `getrlimit(2)`.

use std::os::fd::RawFd;

use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{Resource, Rlimit};

/// Descriptors to assume where the kernel sets no limit at all.
const UNLIMITED: u64 = 1 << 20;

/// Raises the soft limit on descriptors to the hard one and gives it. A refusal leaves it as it is.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(UNLIMITED),
        Err(_) => limit.current.unwrap_or(UNLIMITED),
    }
}

/// How many descriptors the process has now; `None` without /proc. Opens one for a moment.
pub(crate) fn descriptor_count() -> Option<usize> {
    let all = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(all.count().saturating_sub(1))
}

/// Has the kernel make its table of descriptors long enough for `count` of them. A table that grows
/// once the process has a second thread makes whoever opens something wait for all processors (RCU),
/// and that would be the loop in `accept4`. To be called before there is one. A refusal is no error.
pub(crate) fn reserve_descriptors(count: u64) {
    let last = RawFd::try_from(count.saturating_sub(1)).unwrap_or(RawFd::MAX);
    // Any descriptor will do, and both are closed at once: the table never shrinks.
    if let Ok(any) = eventfd(0, EventfdFlags::CLOEXEC) {
        drop(rustix::io::fcntl_dupfd_cloexec(any, last));
    }
}

/// Raises the soft limit on locked memory to the hard one and gives it in bytes; `None` where there
/// is no limit, or none that binds this user.
pub(crate) fn raise_lock_limit() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Memlock);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match rustix::process::setrlimit(Resource::Memlock, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // CAP_IPC_LOCK, which root has, is not bound.
    allowed.filter(|_| !rustix::process::geteuid().is_root())
}
