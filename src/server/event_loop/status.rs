//! The status page: only the loop has all its numbers.

use std::rc::Rc;

use super::EventLoop;
use crate::conn::ConnectionId;
use crate::observe::status::{
    ConnectionNumbers, IterationNumbers, LoopNumbers, SentNumbers, Snapshot, StatusResource,
};

impl EventLoop {
    /// Answers a connection that wanted the status page.
    pub(super) fn show_status(&mut self, id: ConnectionId) {
        let now = self.now.monotonic;
        let asked = match self.connections.find(id) {
            Some(connected) => connected
                .connection
                .resolving()
                .map(|it| StatusResource::by(&it)),
            None => return,
        };
        let document = match asked {
            Some(StatusResource::Part(document)) => Rc::new(document),
            Some(StatusResource::Numbers(format)) => match self.pages.latest(format, now) {
                Some(latest) => Rc::clone(latest),
                None => {
                    let rendered = self.snapshot().render(format);
                    self.pages.share(format, rendered, now)
                }
            },
            None => return,
        };
        if let Some(connected) = self.connections.find(id) {
            self.driver
                .show(&mut connected.connection, &document, &self.now);
        }
    }

    /// The numbers as they are now. O(connections).
    fn snapshot(&mut self) -> Snapshot {
        let numbers = LoopNumbers {
            uptime_seconds: (self.now.monotonic - self.started).as_secs(),
            connections: ConnectionNumbers {
                open: self.connections.count(),
                by_state: self.connections.by_activity(),
                capacity: self.acceptor.connection_count_max,
                accepted: self.connections.accepted(),
                accept_pauses: self.acceptor.pauses(),
                idle_given_up: self.connections.given_up(),
                refused_by_share: self.acceptor.shares.refused(),
                closed_for_memory: self.connections.holders_given_up(),
            },
            descriptors: self.descriptor_numbers(),
            bytes_sent: SentNumbers {
                gathered: self.driver.gathered_bytes,
                sendfile: self.driver.sendfile_bytes,
            },
            memory: self.memory_numbers(),
            access_log_lost_bytes: self.log.lost().bytes,
            access_log_lost_lines: self.log.lost().lines,
            iterations: IterationNumbers::take(
                &self.iterations,
                self.driver.budget.most(),
                self.now.monotonic,
            ),
        };
        let store = self.store.numbers(&self.now);
        Snapshot::take(store, &self.driver.response_stats, numbers)
    }
}
