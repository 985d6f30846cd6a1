//! The dispositions of signals. No signal that ends the process by default keeps its default, except those that report
//! a fault of the program.
//!
//! Service managers and log rotation send signals at any time: SIGUSR1 may arrive while the server is still opening
//! its log. So all signals that do not end the process are caught or ignored before anything else is done. Those that
//! end it keep their default until the loop runs: a start that waits for a dead disk can be ended by Ctrl-C.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook_mio::v1_0::Signals as Pending;

use crate::sys::signals::{ignore, unblock_all};

/// Orders for the running server; caught from the very start.
const ORDERS: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];
/// Signals that end the running server. SIGQUIT as for nginx; SIGXCPU, because the hard limit on processor time kills
/// it a moment later.
const ENDS: [i32; 4] = [SIGINT, SIGTERM, SIGQUIT, SIGXCPU];
/// Signals that would kill the process, and that the server ignores. SIGXFSZ: the write returns EFBIG as well.
const IGNORED: [i32; 8] = [
    libc::SIGALRM,
    libc::SIGIO,
    libc::SIGPIPE,
    libc::SIGPROF,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGVTALRM,
    libc::SIGXFSZ,
];
/// Real-time signals. The C library may use the first ones for its threads, and sets them again.
const REAL_TIME: std::ops::RangeInclusive<i32> = 32..=64;

/// Replaces the default dispositions. It is called before anything else and opens nothing. As long as nothing is open,
/// orders have no effect.
pub(super) fn take_over() {
    unblock_all();
    for signal in IGNORED.into_iter().chain(REAL_TIME).chain(ORDERS) {
        // Refused for numbers that this kernel lacks.
        let _ = ignore(signal);
    }
}

/// The order of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish the responses in progress and end; the second time, end at once.
    End,
    /// Finish the responses in progress and end. It is repeated every second, so further ones are ignored.
    EndOfTime,
    /// Open the log again, and read the configuration file again or check everything before it is used again.
    Reload,
    /// Reopen the log.
    ReopenLog,
    /// Nothing yet: kept for the handing over to another process.
    Reserved,
}

impl From<i32> for Order {
    fn from(signal: i32) -> Order {
        match signal {
            SIGHUP => Order::Reload,
            SIGUSR1 => Order::ReopenLog,
            SIGUSR2 => Order::Reserved,
            SIGXCPU => Order::EndOfTime,
            _ => Order::End,
        }
    }
}

/// Signals on their way to the loop.
pub(super) struct Signals(Pending);

impl Signals {
    /// Collects orders from now on.
    ///
    /// # Errors
    /// The kernel provides no pair of sockets.
    pub(super) fn keep() -> io::Result<Signals> {
        Ok(Signals(Pending::new(ORDERS)?))
    }

    /// From now on signals wake the loop, including those that end the server.
    ///
    /// # Errors
    /// The kernel cannot register another descriptor.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        for signal in ENDS {
            self.0.add_signal(signal)?;
        }
        registry.register(&mut self.0, token, Interest::READABLE)
    }

    /// The orders since the last call, each at most once.
    pub(super) fn orders(&mut self) -> impl Iterator<Item = Order> {
        self.0.pending().map(Order::from)
    }
}
