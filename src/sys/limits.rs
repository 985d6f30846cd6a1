//! The limit on open descriptors, `getrlimit(2)`.

use rustix::process::{Resource, Rlimit};

/// Descriptors to assume where the kernel sets no limit at all.
const UNLIMITED: u64 = 1 << 20;

/// Raises the soft limit on descriptors to the hard one and gives it. A refusal leaves it as it is.
pub fn raise_descriptor_limit() -> u64 {
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
