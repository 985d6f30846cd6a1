//! Signals, and the end: no connection is taken, answers under way are finished, the last lines of
//! the log are written.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;

use super::{EventLoop, Phase};
use crate::conn::Input;
use crate::server::access_log::Waiting;
use crate::server::signals::Order;

/// How long the end of the process waits for a log that is being written.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);
/// And for what is remembered for the next run.
const STATE_WAIT: Duration = Duration::from_secs(5);

impl EventLoop {
    pub(super) fn obey_signals(&mut self) {
        let orders: Vec<Order> = self.signals.orders().collect();
        for order in orders {
            match (order, self.phase) {
                (Order::Reload, _) => {
                    self.reopen_log();
                    self.service.distrust_all();
                }
                (Order::ReopenLog, _) => self.reopen_log(),
                (Order::Reserved, _) => {
                    let line = "SIGUSR2 means nothing to this version and is ignored";
                    self.service.say(line, &self.now);
                }
                (Order::End, Phase::Serving) => self.begin_drain(),
                (Order::End, _) => self.phase = Phase::Over,
            }
        }
    }

    fn reopen_log(&mut self) {
        self.log.reopen(&mut self.service.disk, self.now.monotonic);
    }

    /// Takes no more connections, closes the idle ones, lets the others finish.
    fn begin_drain(&mut self) {
        self.phase = Phase::Draining {
            until: self.now.monotonic + self.grace,
        };
        self.acceptor.close();
        for id in self.connections.ids() {
            let Some(connected) = self.connections.find(id) else {
                continue;
            };
            self.driver
                .handle(&mut connected.connection, Input::Drain, &self.now);
            self.drive(id);
        }
    }

    pub(super) fn end_if_drained(&mut self) {
        if let Phase::Draining { until } = self.phase
            && (self.connections.count() == 0 || self.now.monotonic >= until)
        {
            self.phase = Phase::Over;
        }
    }

    /// Ends what is still open, and writes the last lines of the log behind those that a job is
    /// writing, and what is remembered for the next run. What takes too long is left undone.
    pub(super) fn finish(&mut self, events: &mut Events) {
        let cause = Input::Broken(io::ErrorKind::ConnectionAborted);
        for id in self.connections.ids() {
            if let Some(connected) = self.connections.find(id) {
                self.driver
                    .handle(&mut connected.connection, cause, &self.now);
            }
        }
        let began = Instant::now();
        self.service.save_state(&self.now);
        loop {
            self.give_out_results();
            let EventLoop {
                log,
                driver,
                service,
                ..
            } = self;
            let (lines, disk) = (&mut driver.ledger.lines, &mut service.disk);
            log.flush(lines, Instant::now(), Waiting::Forbidden, disk);
            let waited = began.elapsed();
            let has_lines = log.is_writing() && waited < LAST_LINES_WAIT;
            let has_state = service.is_saving() && waited < STATE_WAIT;
            if !(has_lines || has_state) || service.disk.flush().is_err() {
                return;
            }
            let _ = self.poll.poll(events, Some(Duration::from_millis(1)));
        }
    }
}
