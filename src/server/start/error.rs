//! Why the server does not start: one line that says what, where, and what to do.

use std::io;
use std::path::PathBuf;

use crate::server::origins::OriginError;
use crate::server::unix_socket::ListenError;
use crate::settings::ListenAddress;
use crate::sys::needed::Refused;
use crate::sys::output::OutputError;
use crate::sys::ring::RingError;

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The root cannot be served.
    #[error("cannot serve {}: {cause}; {}", root.display(), root_advice(cause))]
    Root {
        /// As it was given.
        root: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// There are too many sites for the limit on descriptors.
    #[error(
        "cannot serve {count} sites with {limit} descriptors: each keeps its root open; raise ulimit -n (LimitNOFILE=) to \
         three times their number"
    )]
    Sites {
        /// The number of sites.
        count: usize,
        /// The limit on descriptors.
        limit: u64,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}; {}", listen_advice(cause))]
    Listen {
        /// As it was given.
        address: String,
        /// What is wrong.
        cause: ListenError,
    },
    /// A socket that was handed over cannot be used.
    #[error(
        "cannot use a socket of LISTEN_FDS: {0}; pass listening stream sockets (ListenStream=), from descriptor 3 on"
    )]
    Inherited(io::Error),
    /// The access log cannot be written.
    #[error("cannot open the access log {}: {cause}; choose another with --access-log", path.display())]
    AccessLog {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        cause: OutputError,
    },
    /// Nothing can be warmed from there.
    #[error("cannot prefetch from {}: {cause}; name a list of paths, or a directory below the root, with --warm", path.display())]
    Warm {
        /// As it was given.
        path: PathBuf,
        /// What the kernel said, or what is wrong.
        cause: io::Error,
    },
    /// The state cannot be written there.
    #[error("cannot write {}: {cause}; choose another file with --cache-state", path.display())]
    CacheState {
        /// As it was given.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The disk engine that was asked for cannot be had.
    #[error(
        "cannot use --disk uring: {0}; choose --disk threads, or auto, which selects an available engine"
    )]
    Uring(RingError),
    /// A call that every server needs is refused.
    #[error("cannot serve here: {0}; allow it in the seccomp profile of the container")]
    Refused(#[from] Refused),
    /// Files cannot be found and opened safely.
    #[error(
        "cannot serve here: openat2 is refused ({0}), and /proc/self/fd, which is needed without it, cannot be used \
         ({1}); allow openat2 in the seccomp profile of the container, or mount /proc"
    )]
    NoWayIn(rustix::io::Errno, rustix::io::Errno),
    /// No thread is to be had for the disk.
    #[error("cannot start a helper thread for the disk: {0}; {advice}", advice = helper_advice(.0))]
    Helpers(io::Error),
    /// The kernel refused something that every server needs.
    #[error("the event loop failed: {0}")]
    Loop(#[from] io::Error),
}

impl StartError {
    /// An address cannot be listened on.
    pub(super) fn listen(address: &ListenAddress, cause: ListenError) -> StartError {
        let address = match address {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix(path) => format!("unix:{}", path.display()),
        };
        StartError::Listen { address, cause }
    }
}

fn root_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "name a directory that exists, as spede DIR or root = \"DIR\"",
        io::ErrorKind::NotADirectory => {
            "name a directory, not a file, as spede DIR or root = \"DIR\""
        }
        io::ErrorKind::PermissionDenied => "make it readable for the user that runs spede",
        _ => "name another directory, as spede DIR or root = \"DIR\"",
    }
}

fn helper_advice(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => {
            "allow clone3 and clone in the seccomp profile of the container"
        }
        _ => "allow more threads (ulimit -u, pids.max)",
    }
}

fn listen_advice(cause: &ListenError) -> &'static str {
    let cause = match cause {
        ListenError::Io(cause) => cause,
        ListenError::Occupied(_) => return "remove it if it is unused, or choose another path",
        ListenError::NoGroup(_) => return "choose another with --socket-group",
        ListenError::Group(..) => {
            return "only root and members can set a group; choose another with --socket-group";
        }
    };
    match cause.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => {
            return "this machine has no IPv6; choose an IPv4 address, or :PORT, with --listen";
        }
        // Ports below 1024 are EACCES.
        Some(libc::EPERM | libc::ENOSYS) => {
            return "allow it in the seccomp profile or the security policy of this system";
        }
        _ => {}
    }
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            "stop the process that listens there, or choose another with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose another with --listen"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => "choose another with --listen",
    }
}

impl From<OriginError> for StartError {
    fn from(error: OriginError) -> StartError {
        match error {
            OriginError::Warm { path, cause } => StartError::Warm { path, cause },
            OriginError::CacheState { path, cause } => StartError::CacheState { path, cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_depends_on_why_the_kernel_said_no() {
        let helpers = |number| StartError::Helpers(io::Error::from_raw_os_error(number));
        let listen = |number| StartError::Listen {
            address: String::from("127.0.0.1:80"),
            cause: io::Error::from_raw_os_error(number).into(),
        };
        #[rustfmt::skip]
        let cases = [
            (helpers(libc::EPERM),       "allow clone3 and clone in the seccomp profile"),
            (helpers(libc::ENOSYS),      "allow clone3 and clone in the seccomp profile"),
            (helpers(libc::EAGAIN),      "allow more threads"),
            (listen(libc::EPERM),        "allow it in the seccomp profile"),
            (listen(libc::ENOSYS),       "allow it in the seccomp profile"),
            (listen(libc::EACCES),       "ports below 1024 need CAP_NET_BIND_SERVICE"),
            (listen(libc::EAFNOSUPPORT), "this machine has no IPv6"),
            (listen(libc::EADDRINUSE),   "stop the process that listens there"),
        ];
        for (error, advice) in cases {
            let line = error.to_string();
            assert!(line.contains(&format!("; {advice}")), "{line}");
        }
    }
}
