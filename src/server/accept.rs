//! Accepts connections, and pauses when there is no room for them.
//!
//! When descriptors run out (EMFILE), the connection stays in the backlog of the kernel, and another attempt would
//! fail at once. So accepting pauses until a connection is closed, or for a moment, since others may free descriptors
//! too. Descriptors of files are given up first.

use std::io;
use std::time::{Duration, Instant};

use mio::Registry;
use mio::unix::SourceFd;

use super::connections::Connected;
use super::listeners::{Listener, Origin};
use super::places::Shares;
use crate::clock::Now;
use crate::conn::Connection;
use crate::settings::{ListenAddress, Role};
use crate::transport::{Flow, Transport};

/// How long a pause lasts if no connection is closed.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause until descriptors of files that were given up are closed.
const SHED_PAUSE: Duration = Duration::from_millis(1);
/// Consecutive failures after which accepting pauses: the error is not temporary.
const FAILURE_COUNT_MAX: usize = 256;

/// The result of an attempt to accept a connection.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved into the table at once, and a connection costs no allocation"
)]
pub(super) enum Accepted {
    /// A connection.
    Connection(Connected),
    /// The backlog is empty, or there is no room.
    Nothing,
    /// A connection waits, and no descriptor is free for it.
    NoDescriptor,
}

/// All listeners.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// The listeners.
    pub listeners: Vec<Listener>,
    next_index: usize,
    /// Connections at most, now.
    pub connection_count_max: usize,
    /// Maximum, whatever memory there is.
    configured_count_max: usize,
    /// Number of connections by address.
    pub shares: Shares,
    /// The next listener.
    turn: usize,
    paused_until: Option<Instant>,
    pauses: u64,
}

impl Acceptor {
    /// An acceptor for bound listeners.
    pub(super) fn new(
        listeners: Vec<Listener>,
        connection_count_max: usize,
        shares: Shares,
    ) -> Acceptor {
        let mut acceptor = Acceptor {
            next_index: 0,
            listeners: Vec::new(),
            connection_count_max,
            configured_count_max: connection_count_max,
            shares,
            turn: 0,
            paused_until: None,
            pauses: 0,
        };
        for listener in listeners {
            acceptor.add(listener);
        }
        acceptor
    }

    /// Adds a listener. Gives the index that names it in events.
    pub(super) fn add(&mut self, mut listener: Listener) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        listener.index = index;
        self.listeners.push(listener);
        index
    }

    /// Leaves the addresses of the site that are not among these, once no connection waits there.
    pub(super) fn keep_only(&mut self, addresses: &[ListenAddress]) {
        for listener in &mut self.listeners {
            if let (Some(address), Role::Site) = (&listener.address, listener.role) {
                listener.is_leaving = !addresses.contains(address);
                listener.input = Flow::Ready;
            }
        }
    }

    /// Closes listeners that are left where no connection waits.
    pub(super) fn close_left(&mut self, registry: &Registry) {
        let is_left = |listener: &Listener| listener.is_leaving && listener.input == Flow::Blocked;
        if self.listeners.iter().any(is_left) {
            self.retain(registry, |listener| !is_left(listener));
        }
    }

    /// Limits the number of connections by the memory for them.
    pub(super) fn fit_to(&mut self, fitting: usize) {
        self.connection_count_max = self.configured_count_max.min(fitting);
    }

    /// Notes that connections wait at a listener.
    pub(super) fn note(&mut self, index: usize) {
        let mut listeners = self.listeners.iter_mut();
        if let Some(listener) = listeners.find(|listener| listener.index == index) {
            listener.input = Flow::Ready;
        }
    }

    /// Whether a connection may be waiting that can be accepted.
    pub(super) fn is_ready(&self) -> bool {
        self.paused_until.is_none()
            && self
                .listeners
                .iter()
                .any(|listener| listener.input == Flow::Ready)
    }

    /// Whether [`accept`](Acceptor::accept) would accept a waiting connection: a pause may be over by now.
    pub(super) fn may_accept(&self, now: &Now) -> bool {
        let is_paused = self.paused_until.is_some_and(|until| now.monotonic < until);
        let is_ready = |listener: &Listener| listener.input == Flow::Ready;
        !is_paused && self.listeners.iter().any(is_ready)
    }

    /// When a pause ends.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Pauses until descriptors that were given up are closed.
    pub(super) fn pause_for_closing(&mut self, now: &Now) {
        self.paused_until = Some(now.monotonic + SHED_PAUSE);
    }

    /// Pauses for a moment.
    pub(super) fn pause(&mut self, now: &Now) {
        self.paused_until = Some(now.monotonic + PAUSE);
        self.pauses += 1;
    }

    /// Notes that connections may wait at every listener.
    pub(super) fn note_all(&mut self) {
        for listener in &mut self.listeners {
            listener.input = Flow::Ready;
        }
    }

    /// Whether all backlogs were empty at the last attempt.
    pub(super) fn is_drained(&self) -> bool {
        let is_blocked = |listener: &Listener| listener.input == Flow::Blocked;
        self.listeners.iter().all(is_blocked)
    }

    /// Whether all listeners are closed.
    pub(super) fn is_closed(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Closes the listeners of an origin, or all. One that another process holds too would go on to wake the
    /// loop if it were only closed.
    pub(super) fn close(&mut self, origin: Option<Origin>, registry: &Registry) {
        self.retain(registry, |listener| {
            origin.is_some_and(|origin| listener.origin != origin)
        });
        if self.listeners.is_empty() {
            self.paused_until = None;
        }
    }

    fn retain(&mut self, registry: &Registry, is_kept: impl Fn(&Listener) -> bool) {
        self.listeners.retain(|listener| {
            let is_kept = is_kept(listener);
            if !is_kept {
                // It was registered as long as it existed.
                let _ = registry.deregister(&mut SourceFd(&listener.descriptor()));
            }
            is_kept
        });
        self.turn = 0;
    }

    /// Ends a pause: a connection was closed.
    pub(super) fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Pauses since the start.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses
    }

    /// Accepts one connection, if one waits and there is room. `open` is the number of open connections, and
    /// `has_descriptor` tells whether a descriptor is free.
    pub(super) fn accept(
        &mut self,
        open: usize,
        now: &Now,
        has_descriptor: impl Fn() -> bool,
    ) -> Accepted {
        if self.paused_until.is_some_and(|until| now.monotonic < until) {
            return Accepted::Nothing;
        }
        self.paused_until = None;
        for _ in 0..FAILURE_COUNT_MAX {
            let Some(index) = self.next_ready() else {
                return Accepted::Nothing;
            };
            if open >= self.connection_count_max {
                self.pause(now);
                return Accepted::Nothing;
            }
            if !has_descriptor() {
                return Accepted::NoDescriptor;
            }
            let listener = &mut self.listeners[index];
            match listener.accept() {
                Ok((socket, peer)) => {
                    return Accepted::Connection(Connected::new(
                        Transport::plain(socket),
                        Connection::new(peer, now),
                        listener.role,
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.input = Flow::Blocked;
                }
                Err(error) if is_exhaustion(&error) => return Accepted::NoDescriptor,
                // ECONNABORTED, EPROTO, EINTR and the like concern one connection that is closed already.
                Err(_) => {}
            }
        }
        self.pause(now);
        Accepted::Nothing
    }

    /// The next listener, in turn, at which connections may be waiting.
    fn next_ready(&mut self) -> Option<usize> {
        let count = self.listeners.len();
        let turn = (0..count).map(|step| (self.turn + step) % count);
        let index = turn
            .into_iter()
            .find(|index| self.listeners[*index].input == Flow::Ready)?;
        self.turn = (index + 1) % count;
        Some(index)
    }
}

/// Whether the machine or the process has no room for a connection.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
