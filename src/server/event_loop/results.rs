//! What the turn does last: results of the disk are given out, and deadlines are looked at.

use std::io;

use super::EventLoop;
use crate::conn::{BlockedOn, Input, RequestId};
use crate::job::Done;
use crate::observe::iterations::Work;
use crate::store::Store;
use crate::store::deliveries::{DELIVERY_COUNT_MAX, Delivery};

/// Deadlines looked at in one turn.
const DEADLINE_COUNT_MAX: usize = 256;

impl EventLoop {
    /// Takes in what jobs have found out, and tells some of those who waited.
    pub(super) fn give_out_results(&mut self) {
        let done = &mut self.scratch.done;
        let Store {
            disk,
            lookups,
            residency,
            ..
        } = &mut self.store;
        let is_wanted = |job| lookups.is_wanted(job) || residency.is_wanted(job);
        disk.reap(self.now.monotonic, is_wanted, done);
        if done.is_empty() && self.deliveries.is_empty() {
            return;
        }
        self.iterations.mark(Work::Connections);
        let mut measured = None;
        for (job, done) in done.drain(..) {
            match done {
                Done::Appended {
                    buffer,
                    written,
                    failed,
                } => {
                    let now = self.now.monotonic;
                    self.log.written(buffer, written, failed, now);
                }
                Done::Said => self.notices.written(),
                Done::Reopened(file) => {
                    let now = self.now.monotonic;
                    self.log.reopened(file, now);
                }
                Done::Measured(result) => measured = Some(result),
                done => self
                    .store
                    .complete(job, done, &self.now, &mut self.deliveries),
            }
        }
        if let Some(measured) = measured {
            self.measured(measured);
        }
        self.log.release();
        for _ in 0..DELIVERY_COUNT_MAX {
            let Some(delivery) = self.deliveries.pop() else {
                break;
            };
            self.deliver(&delivery);
        }
        self.iterations.mark(Work::Results);
    }

    /// Gives a request that waited what it waited for.
    fn deliver(&mut self, delivery: &Delivery) {
        let (Delivery::Answer(id, _) | Delivery::More(id, ..)) = delivery;
        let Some(connected) = self.connections.find(id.connection) else {
            return;
        };
        let EventLoop {
            driver, store, now, ..
        } = self;
        match delivery {
            Delivery::Answer(_, completed) => {
                driver.deliver(connected, *id, completed, store, now);
            }
            Delivery::More(_, job, _) if !connected.sending.completed(*job) => return,
            Delivery::More(_, _, result) => {
                let news = match result {
                    Ok(()) => Input::Blocked(BlockedOn::Peer),
                    // The head has gone already: all that is left is not to complete the answer.
                    Err(_) => Input::Broken(io::ErrorKind::UnexpectedEof),
                };
                driver.handle(&mut connected.connection, news, now);
            }
        }
        self.drive(id.connection);
    }

    pub(super) fn look_at_deadlines(&mut self) {
        self.deadlines.expire(self.now.monotonic, &mut self.due);
        let count = self.due.len().min(DEADLINE_COUNT_MAX);
        for _ in 0..count {
            let Some((id, armed)) = self.due.pop_front() else {
                break;
            };
            let Some(connected) = self.connections.find(id) else {
                continue;
            };
            if connected.armed != Some(armed) {
                continue;
            }
            connected.armed = None;
            let deadline = connected.connection.deadline(&self.driver.policy.timeouts);
            if deadline.is_some_and(|deadline| deadline <= self.now.monotonic) {
                if let Some(job) = connected.request.stop_waiting() {
                    self.store.leave(job, RequestId::http1(id));
                }
                connected.connection.lend(&mut self.driver.pool);
                self.driver.deadline_passed(connected, &self.now);
            }
            self.drive(id);
        }
        if count > 0 {
            self.iterations.mark(Work::Deadlines);
        }
    }
}
