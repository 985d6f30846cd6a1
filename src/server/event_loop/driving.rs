//! Connections with something to do are served, within the budget of bytes of an iteration.

use super::EventLoop;
use crate::conn::ConnectionId;
use crate::server::answers::ServerAnswers;
use crate::server::driver::Driven;
use crate::server::ready::Task;

impl EventLoop {
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

    /// Gives a connection its turn and does what it needs afterwards.
    pub(super) fn drive(&mut self, id: ConnectionId) {
        let Some(connected) = self.connections.find(id) else {
            return;
        };
        let EventLoop {
            driver,
            store,
            access,
            sites,
            now,
            ..
        } = self;
        let answers = &mut ServerAnswers {
            sites,
            store,
            access,
        };
        let mut after = driver.drive(connected, id, answers, now);
        if after == Driven::Status {
            self.show_status(id);
            after = Driven::Again;
        }
        self.connections.account(id);
        let Some(connected) = self.connections.find(id) else {
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
