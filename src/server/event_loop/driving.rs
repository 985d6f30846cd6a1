//! Connections with something to do are served, within the budget of bytes of an iteration.

use super::EventLoop;
use crate::clock::Now;
use crate::conn::ConnectionId;
use crate::server::answers::ServerAnswers;
use crate::server::connections::Connections;
use crate::server::driver::{Driven, Driver};
use crate::server::ready::Task;

/// The parts that serve a connection, each borrowed by itself.
pub(super) struct Serving<'a> {
    pub(super) connections: &'a mut Connections,
    pub(super) driver: &'a mut Driver,
    pub(super) answers: ServerAnswers<'a>,
    pub(super) now: &'a Now,
}

impl EventLoop {
    /// What a connection is served with.
    #[inline]
    pub(super) fn serving(&mut self) -> Serving<'_> {
        Serving {
            connections: &mut self.connections,
            driver: &mut self.driver,
            answers: ServerAnswers {
                sites: &self.sites,
                store: &mut self.store,
                access: &mut self.access,
            },
            now: &self.now,
        }
    }

    /// Drives the connections that had something to do when this began, as far as the budget of each lane goes.
    pub(super) fn drive_ready(&mut self) {
        for task in [Task::Input, Task::Sending] {
            self.driver
                .budget
                .open(self.ready.count(task), task.share_min());
            while self.driver.budget.admits_next() {
                let Some(id) = self.ready.pop(task) else {
                    break;
                };
                if let Some(connected) = self.connections.find(id) {
                    connected.queued = false;
                    self.drive(id);
                }
            }
        }
    }

    /// Drives a connection, and does what it needs afterwards.
    pub(super) fn drive(&mut self, id: ConnectionId) {
        let mut serving = self.serving();
        let Some(connected) = serving.connections.find(id) else {
            return;
        };
        let answers = &mut serving.answers;
        let mut after = serving.driver.drive(connected, id, answers, serving.now);
        if after == Driven::Status {
            self.show_status(id);
            after = Driven::Again;
        }
        let Some(connected) = self.connections.account(id) else {
            return;
        };
        let is_unlisted = connected.is_unlisted();
        match after {
            Driven::Wait | Driven::Status => {}
            Driven::Again if connected.queued => {}
            Driven::Again => {
                connected.queued = true;
                self.ready.push(id, connected.task());
            }
            Driven::Close(_) => {
                self.close(id);
                return;
            }
        }
        if let Some(deadline) = connected.deadline(&self.driver.policy.timeouts) {
            connected.armed = Some(self.deadlines.arm(id, connected.armed, deadline));
        }
        if is_unlisted {
            self.connections.list(id);
        }
    }
}
