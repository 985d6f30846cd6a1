//! Signals, and the end: connections are told of it, answers under way are finished, the last lines of
//! the log are written.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;

use super::{EventLoop, Phase};
use crate::conn::{Input, Stage};
use crate::observe::access_log::Waiting;
use crate::server::draining::{Draining, Due};
use crate::server::listeners::Origin;
use crate::server::signals::Order;
use crate::transport::Noted;

/// How long the end of the process waits for a log that does not take its last lines.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);
/// And for standard error: a little longer, since it is told what the log has lost.
const LAST_NOTICES_WAIT: Duration = Duration::from_millis(1_200);
/// And for what is remembered for the next run.
const STATE_WAIT: Duration = Duration::from_secs(5);

impl EventLoop {
    pub(super) fn obey_signals(&mut self) {
        let orders: Vec<Order> = self.signals.orders().collect();
        for order in orders {
            match (order, self.phase) {
                (Order::Reload, Phase::Serving) if self.configuration.read.is_some() => {
                    self.reopen_log();
                    self.reload();
                }
                (Order::Reload, _) => {
                    self.reopen_log();
                    self.store.distrust_all();
                    self.store.drop_held();
                }
                (Order::ReopenLog, _) => self.reopen_log(),
                (Order::Reserved, _) => {
                    let line = "SIGUSR2 has no function in this version and is ignored";
                    self.notices.push(line);
                }
                (Order::End | Order::EndOfTime, Phase::Serving) => self.begin_drain(),
                (Order::EndOfTime, _) => {}
                (Order::End, _) => self.phase = Phase::Over,
            }
        }
    }

    fn reopen_log(&mut self) {
        self.log.reopen();
    }

    /// From now on each connection is told of the end with its next answer.
    fn begin_drain(&mut self) {
        let idle_count = self.connections.idle().count();
        self.phase = Phase::Draining(Draining::new(self.now.monotonic, self.grace, idle_count));
        self.driver.stage = Stage::Draining;
        self.accepted_before_end = self.connections.accepted();
    }

    /// Ends idle connections whose time has come, closes listeners when nobody waits there, and ends the server
    /// when all is done.
    pub(super) fn go_on_draining(&mut self) {
        let Phase::Draining(mut draining) = self.phase else {
            return;
        };
        let now = self.now.monotonic;
        if let Some(due) = draining.look(now) {
            self.retire(due, &mut draining);
            self.close_listeners(&draining);
        }
        let is_done = self.connections.count() == 0 && self.acceptor.is_closed();
        self.phase = match is_done || now >= draining.until() {
            true => Phase::Over,
            false => Phase::Draining(draining),
        };
    }

    /// Ends connections that have been idle, unless a request has just come.
    fn retire(&mut self, due: Due, draining: &mut Draining) {
        let mut idle: Vec<_> = self.connections.idle().collect();
        idle.retain(|(since, _)| *since <= due.idle_since);
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, id) in idle.into_iter().take(due.count) {
            if let Some(connected) = self.connections.find(id) {
                connected.transport.note(Noted::INPUT);
            }
            self.drive(id);
            let Some(connected) = self.connections.find(id) else {
                continue;
            };
            if connected.connection.is_idle() {
                draining.retired();
                self.driver
                    .handle(&mut connected.connection, Input::Retire, &self.now);
                self.drive(id);
            }
        }
    }

    /// Closes listeners once the connections that the kernel has completed are there. Those that another process
    /// may hold as well are listened on while anything older is open: no others might be there to take the
    /// connections.
    fn close_listeners(&mut self, draining: &Draining) {
        let now = self.now.monotonic;
        if self.acceptor.is_closed()
            || now
                < draining
                    .accepts_until()
                    .min(draining.accepts_at_most_until())
        {
            return;
        }
        let has_older = self.connections.has_one_before(self.accepted_before_end);
        let origin = match has_older && now < draining.accepts_at_most_until() {
            true => Some(Origin::Bound),
            false => None,
        };
        self.acceptor.note_all();
        while self.acceptor.is_ready() && !self.driver.budget.is_used_up() {
            self.accept();
        }
        if self.acceptor.is_drained() || now >= draining.accepts_at_most_until() {
            self.acceptor.close(origin, self.poll.registry());
        }
    }

    /// Ends what is still open, and writes the last lines of the log behind those that a job is
    /// writing, and what is remembered for the next run. What takes too long is left undone.
    pub(super) fn finish(&mut self, events: &mut Events) {
        let cause = Input::Broken(io::ErrorKind::ConnectionAborted);
        let mut cut = 0_u64;
        for id in self.connections.ids() {
            if let Some(connected) = self.connections.find(id) {
                cut += u64::from(connected.connection.is_under_way());
                self.driver
                    .handle(&mut connected.connection, cause, &self.now);
            }
        }
        self.say_what_was_lost(cut);
        let began = Instant::now();
        self.store.save_state();
        let mut has_given_up = false;
        loop {
            self.give_out_results();
            let EventLoop { log, driver, .. } = self;
            let lines = &mut driver.response_stats.lines;
            let waited = began.elapsed();
            match waited < LAST_LINES_WAIT {
                true => log.flush(lines, Instant::now(), Waiting::Forbidden),
                false if !has_given_up => {
                    has_given_up = true;
                    log.give_up(lines);
                }
                false => {}
            }
            let has_lines = !has_given_up && log.has_unwritten(lines);
            self.submit_output();
            let has_state = self.store.is_saving() && waited < STATE_WAIT;
            let has_notices = self.notices.is_writing() && waited < LAST_NOTICES_WAIT;
            let is_done = !(has_lines || has_state || has_notices);
            self.hand_over_jobs();
            if is_done || self.engine.flush().is_err() {
                return;
            }
            let _ = self.poll.poll(events, Some(Duration::from_millis(1)));
        }
    }

    /// One line if not everybody got his answer.
    fn say_what_was_lost(&mut self, cut: u64) {
        let crossed = self.driver.response_stats.crossed;
        if cut + crossed > 0 {
            let line = format!(
                "stopped with {cut} requests cut off at the end of --grace, and {crossed} received while their \
                 idle connections were closed"
            );
            // Nobody may be reading: a job writes it.
            self.notices.push(&line);
        }
    }
}
