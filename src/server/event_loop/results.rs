//! The end of an iteration: results of the disk are processed, and deadlines are examined.

use std::io;

use super::EventLoop;
use super::driving::Serving;
use crate::conn::{BlockedOn, Input, RequestId};
use crate::job::{Done, JobError, JobId};
use crate::observe::iterations::Work;
use crate::server::ready::Task;
use crate::store::deliveries::{DELIVERY_COUNT_MAX, Delivery};

/// Maximum number of deadlines examined in one iteration.
const DEADLINE_COUNT_MAX: usize = 256;

impl EventLoop {
    /// Passes jobs to the engine, as many as it has room for.
    pub(super) fn hand_over_jobs(&mut self) {
        while let Some((id, job)) = self.store.next_job(&self.now) {
            self.engine.submit(id, job);
        }
    }

    /// Processes the results of jobs, and informs some of the waiting requests.
    pub(super) fn give_out_results(&mut self) {
        self.hand_over_jobs();
        let mut done = std::mem::take(&mut self.scratch.done);
        self.engine.reap(&mut done);
        self.store.ended(&mut done, &self.now);
        // Queued jobs get the free slots before the results lead to new jobs.
        self.hand_over_jobs();
        if !done.is_empty() || self.store.has_deliveries() {
            self.iterations.mark(Work::Connections);
            self.take_in(&mut done);
            self.keep_descriptors_free();
            self.tell_waiters();
            self.iterations.mark(Work::Results);
        }
        self.scratch.done = done;
    }

    fn take_in(&mut self, done: &mut Vec<(JobId, Done)>) {
        let mut measured = None;
        for (job, done) in done.drain(..) {
            let Some(done) = self.store.complete(job, done, &self.now) else {
                continue;
            };
            match done {
                Done::Appended {
                    buffer,
                    written,
                    failed,
                } => {
                    let now = self.now.monotonic;
                    self.log.written(buffer, written, failed, now);
                }
                Done::NoticesWritten => self.notices.written(),
                Done::Reopened(file) => {
                    let now = self.now.monotonic;
                    self.log.reopened(file, now);
                }
                Done::Measured(result) => measured = Some(result),
                // Jobs of the engine itself, which close files.
                _ => {}
            }
        }
        if let Some(measured) = measured {
            self.measured(measured);
        }
        self.log.release();
    }

    /// Tells those whose answers begin before those that go on, each within a budget of its own.
    fn tell_waiters(&mut self) {
        for task in [Task::Input, Task::Sending] {
            let kind = task.delivery();
            let count = self.store.delivery_count(kind).min(DELIVERY_COUNT_MAX);
            self.driver.budget.open(count, task.share_min());
            while self.driver.budget.admits_next() {
                let Some(delivery) = self.store.next_delivery(kind) else {
                    break;
                };
                self.deliver(&delivery);
            }
        }
    }

    /// Delivers a result to its request.
    fn deliver(&mut self, delivery: &Delivery) {
        let id = delivery.id();
        let Serving {
            connections,
            driver,
            mut answers,
            now,
        } = self.serving();
        let Some(connected) = connections.find(id.connection) else {
            return;
        };
        match delivery {
            Delivery::Answer(_, completed) => {
                driver.deliver(connected, id, completed, &mut answers, now);
            }
            Delivery::More(_, job, _) | Delivery::Reopened(_, job, ..)
                if !connected.sending.completed(*job) =>
            {
                return;
            }
            Delivery::More(_, _, result) => {
                driver.handle(&mut connected.connection, news(result), now);
            }
            Delivery::Reopened(_, _, version, opened) => {
                if let Ok(file) = opened {
                    connected.connection.resume(version, file);
                }
                driver.handle(&mut connected.connection, news(opened), now);
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
            let mut serving = self.serving();
            let connected = serving.connections.find(id);
            let Some(connected) = connected.filter(|it| it.armed == Some(armed)) else {
                self.deadlines.passed_over();
                continue;
            };
            connected.armed = None;
            let (id_of_request, answers) = (RequestId::http1(id), &mut serving.answers);
            let driver = serving.driver;
            driver.look_at_deadlines(connected, id_of_request, answers, serving.now);
            self.drive(id);
        }
        if count > 0 {
            self.iterations.mark(Work::Deadlines);
        }
    }
}

/// The input for a response that has begun.
fn news<T>(result: &Result<T, JobError>) -> Input<'static> {
    match result {
        Ok(_) => Input::Blocked(BlockedOn::Peer),
        // The head was sent already. The response cannot be completed.
        Err(_) => Input::Broken(io::ErrorKind::UnexpectedEof),
    }
}
