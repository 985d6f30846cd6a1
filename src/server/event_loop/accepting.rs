//! Connections are taken, and get their places: where there is none left, whoever has rested longest gives way.

use super::EventLoop;
use crate::conn::ConnectionId;
use crate::observe::iterations::Work;
use crate::server::accept::Accepted;
use crate::server::connections::Connected;
use crate::server::places::Oldest;
use crate::transport::Noted;

/// Maximum number of connections accepted in one iteration, before the open ones are driven.
const ACCEPT_COUNT_MAX: usize = 256;
/// Idle connections that are asked for their place on behalf of one: each may have got a request just now.
const ASK_COUNT_MAX: usize = 4;

impl EventLoop {
    pub(super) fn accept(&mut self) {
        let before = self.connections.accepted();
        for _ in 0..ACCEPT_COUNT_MAX {
            if self.driver.budget.is_used_up() {
                break;
            }
            let open = self.connections.count();
            let is_full =
                open >= self.acceptor.connection_count_max && self.acceptor.may_accept(&self.now);
            let oldest = match is_full {
                true => self.connections.oldest_idle(),
                false => Oldest::Nobody,
            };
            let promised = match oldest {
                Oldest::Found(_) => 1,
                Oldest::Nobody => 0,
                Oldest::Unfinished => break,
            };
            let (store, descriptors) = (&self.store, &self.descriptors);
            let has_descriptor = || {
                let files = store.open_file_count();
                descriptors.has_room(open, files, store.job_count())
            };
            match self
                .acceptor
                .accept(open - promised, &self.now, has_descriptor)
            {
                Accepted::Nothing => break,
                Accepted::NoDescriptor => {
                    self.lack_descriptor();
                    break;
                }
                Accepted::Connection(connected) => {
                    let peer = connected.connection.peer();
                    if !self.acceptor.shares.admits(peer, open) {
                        continue;
                    }
                    if promised > 0 {
                        self.make_room();
                    }
                    self.acceptor.shares.enter(peer);
                    let id = self.connections.insert(connected);
                    // A short connection is over before it would be worth registering.
                    self.drive(id);
                    self.register(id);
                }
            }
        }
        self.acceptor.close_left(self.poll.registry());
        if self.connections.accepted() != before {
            self.keep_descriptors_free();
            self.iterations.mark(Work::Accepting);
        }
    }

    /// Closes the connection that has rested longest.
    pub(super) fn make_room(&mut self) {
        for _ in 0..ASK_COUNT_MAX {
            let Oldest::Found(id) = self.connections.oldest_idle() else {
                return;
            };
            if self.give_up(id) {
                return;
            }
        }
    }

    /// Closes a connection that rests, unless a request has just come. Whether it is closed.
    fn give_up(&mut self, id: ConnectionId) -> bool {
        if let Some(connected) = self.connections.find(id) {
            connected.transport.note(Noted::INPUT);
        }
        self.drive(id);
        let rests = |connected: &mut Connected| connected.connection.rests_since().is_some();
        match self.connections.find(id).map(rests) {
            // Its peer had closed it.
            None => true,
            Some(true) => {
                self.connections.note_given_up();
                self.close(id);
                true
            }
            Some(false) => false,
        }
    }
}
