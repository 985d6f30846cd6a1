//! What each signal means to the server. None whose default is death is left at its default, save those
//! that report a fault of the program.
//!
//! Whoever manages services sends signals early and without asking: a rotation of logs may send SIGUSR1
//! while the server is still opening its log. So all that is not meant to end the process is taken or
//! ignored before anything else is done. What is to end it keeps its default until the loop runs: a
//! start that waits for a dead disk can be ended by Ctrl-C.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};
use signal_hook_mio::v1_0::Signals as Pending;

use crate::sys::signals::{ignore, unblock_all};

/// Asked for while the server runs; taken from the very start.
const ORDERS: [i32; 3] = [SIGHUP, SIGUSR1, SIGUSR2];
/// These end it, once it runs. SIGQUIT as for nginx; SIGXCPU, because the hard limit on processor time ends
/// it without a word a moment later.
const ENDS: [i32; 4] = [SIGINT, SIGTERM, SIGQUIT, SIGXCPU];
/// Their default is death, and the server has no use for them. SIGXFSZ: the write says EFBIG as well.
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
/// Real-time signals; the C library may keep the first ones for its threads, and sets those again.
const REAL_TIME: std::ops::RangeInclusive<i32> = 32..=64;

/// Takes the process over from the defaults. To be called before anything else; it opens nothing. As long as
/// nothing is open there is nothing that an order could be about.
pub(super) fn take_over() {
    unblock_all();
    for signal in IGNORED.into_iter().chain(REAL_TIME).chain(ORDERS) {
        // Refused for numbers that this kernel has not.
        let _ = ignore(signal);
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Finish what is under way and end; the second time, end at once.
    End,
    /// Finish what is under way and end. Comes every second, so it is no hurry.
    EndOfTime,
    /// Open the log again, and read the configuration file again or check everything before it is used again.
    Reload,
    /// Open the log again.
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
    /// Keeps orders until they are obeyed, from now on.
    ///
    /// # Errors
    /// When the kernel gives no pair of sockets.
    pub(super) fn keep() -> io::Result<Signals> {
        Ok(Signals(Pending::new(ORDERS)?))
    }

    /// From now on they wake the loop, those too that end the server.
    ///
    /// # Errors
    /// When the kernel cannot register another descriptor.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        for signal in ENDS {
            self.0.add_signal(signal)?;
        }
        registry.register(&mut self.0, token, Interest::READABLE)
    }

    /// What was asked for since the last time, each at most once.
    pub(super) fn orders(&mut self) -> impl Iterator<Item = Order> {
        self.0.pending().map(Order::from)
    }
}
