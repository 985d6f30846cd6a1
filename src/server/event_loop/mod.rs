//! The event loop: one wait for everything, then an iteration.
//!
//! An iteration processes what the events have noted, in this order: changes of files, signals, new connections,
//! connections with something to do, results of disk jobs, deadlines, log lines. So hits are answered before results
//! of the disk make new work.

mod accepting;
mod descriptors;
mod driving;
mod ending;
mod memory;
mod reloading;
mod results;
mod status;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::accept::Acceptor;
use super::connections::Connections;
use super::deadlines::{Armed, Deadlines};
use super::descriptors::Descriptors;
use super::draining::Draining;
use super::driver::Driver;
use super::memory::MemoryControl;
use super::ready::{INPUT_SHARE_MIN, ReadyConnections};
use super::reload::{Configuration, Reload};
use super::signals::Signals;
use crate::clock::Now;
use crate::conn::{ConnectionId, RequestId};
use crate::disk::Disk;
use crate::job::{Done, JobId};
use crate::observe::access_log::{LogWriter, Waiting};
use crate::observe::iterations::{Iterations, Wait, Work};
use crate::observe::notices::Notices;
use crate::observe::status::{Access, SharedPages};
use crate::site::sites::Sites;
use crate::store::Store;
use crate::sys::file::FileTime;
use crate::transport::Noted;
use descriptors::{DescriptorControl, LOOK_AGAIN};

/// Maximum number of events of one wait. Further ones come with the next wait.
const EVENT_COUNT_MAX: usize = 1_024;

/// Tokens above those of connections, which count from 0.
const TOKEN_SIGNALS: Token = Token(usize::MAX - 1);
const TOKEN_WATCH: Token = Token(usize::MAX - 2);
const TOKEN_DISK: Token = Token(usize::MAX - 3);
const TOKEN_PRESSURE: Token = Token(usize::MAX - 4);
const TOKEN_MOUNTS: Token = Token(usize::MAX - 5);
const TOKEN_RELOAD: Token = Token(usize::MAX - 6);
/// Tokens of listeners count down from here.
const TOKEN_LISTENER_LAST: usize = usize::MAX - 16;
/// Tokens of connections count up to here.
const TOKEN_CONNECTION_LAST: usize = u32::MAX as usize;

/// Number of connections accepted in one iteration that may send a long response at once: how many will come is
/// unknown.
const ACCEPT_SHARE_COUNT: usize = 2;

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventSource {
    Signals,
    Watch,
    Mounts,
    Disk,
    Pressure,
    Reload,
    Listener(usize),
    Connection(usize),
}

impl From<Token> for EventSource {
    fn from(token: Token) -> EventSource {
        match token {
            TOKEN_SIGNALS => EventSource::Signals,
            TOKEN_WATCH => EventSource::Watch,
            TOKEN_DISK => EventSource::Disk,
            TOKEN_PRESSURE => EventSource::Pressure,
            TOKEN_MOUNTS => EventSource::Mounts,
            TOKEN_RELOAD => EventSource::Reload,
            Token(index) if index <= TOKEN_CONNECTION_LAST => EventSource::Connection(index),
            Token(index) => EventSource::Listener(TOKEN_LISTENER_LAST - index),
        }
    }
}

/// The phases of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Each connection announces its end with its next response.
    Draining(Draining),
    Over,
}

/// The store and the disk.
pub(super) struct Storage {
    pub(super) store: Store,
    /// The engine that runs the jobs of the store.
    pub(super) engine: Box<dyn Disk>,
    /// The descriptor that is readable when there are file events.
    pub(super) watch: Option<RawFd>,
    /// The descriptor that is ready when mounts have changed.
    pub(super) mount_events: Option<RawFd>,
}

/// The parts of a loop.
pub(super) struct LoopParts {
    pub(super) signals: Signals,
    pub(super) acceptor: Acceptor,
    pub(super) driver: Driver,
    pub(super) access: Access,
    /// The sites by host.
    pub(super) sites: Sites,
    pub(super) storage: Storage,
    pub(super) log: LogWriter,
    pub(super) memory: MemoryControl,
    pub(super) descriptors: Descriptors,
    pub(super) configuration: Configuration,
}

/// The event loop, which owns all parts of the server.
pub(super) struct EventLoop {
    // It owns each part of the server once; parts that belong together are types of their own.
    poll: Poll,
    signals: Signals,
    acceptor: Acceptor,
    connections: Connections,
    deadlines: Deadlines,
    driver: Driver,
    /// Access control of the status page.
    access: Access,
    sites: Sites,
    store: Store,
    engine: Box<dyn Disk>,
    log: LogWriter,
    notices: Notices,
    memory: MemoryControl,
    descriptors: DescriptorControl,
    now: Now,
    started: Instant,
    iterations: Iterations,
    phase: Phase,
    /// How long responses in progress may take when the server stops.
    grace: Duration,
    configuration: Configuration,
    reload: Reload,
    /// Number of connections accepted before the server began to stop.
    accepted_before_end: u64,
    /// Connections with something to do.
    ready: ReadyConnections,
    /// Connections whose deadline may have passed, and was not yet examined.
    due: VecDeque<(ConnectionId, Armed)>,
    /// The rendered status pages.
    pages: SharedPages,
    /// Empty lists, kept between iterations for their memory.
    scratch: Scratch,
}

/// Lists that are empty between iterations.
#[derive(Debug, Default)]
struct Scratch {
    done: Vec<(JobId, Done)>,
}

impl EventLoop {
    /// Registers everything that can wake the loop.
    ///
    /// # Errors
    /// The kernel provides no epoll instance or no signal pipe.
    pub(super) fn new(parts: LoopParts) -> io::Result<EventLoop> {
        let LoopParts {
            mut signals,
            acceptor,
            driver,
            access,
            sites,
            storage,
            log,
            memory,
            descriptors,
            configuration,
        } = parts;
        let poll = Poll::new()?;
        let registry = poll.registry();
        signals.register(registry, TOKEN_SIGNALS)?;
        register_sources(registry, &acceptor, &storage, &memory)?;
        let waker = Arc::new(Waker::new(registry, TOKEN_RELOAD)?);
        let started = Instant::now();
        Ok(EventLoop {
            poll,
            signals,
            acceptor,
            connections: Connections::default(),
            deadlines: Deadlines::new(started),
            driver,
            access,
            sites,
            store: storage.store,
            engine: storage.engine,
            log,
            notices: Notices::new(),
            memory,
            descriptors: DescriptorControl::new(descriptors),
            now: Now::at(started, wall_time()),
            started,
            iterations: Iterations::new(started),
            phase: Phase::Serving,
            grace: configuration.settings.grace,
            configuration,
            reload: Reload::new(waker),
            accepted_before_end: 0,
            ready: ReadyConnections::default(),
            due: VecDeque::new(),
            pages: SharedPages::default(),
            scratch: Scratch::default(),
        })
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// The wait itself fails.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENT_COUNT_MAX);
        self.begin_accounting();
        self.iterations.begin(Instant::now(), Wait::Immediate, 0);
        while self.phase != Phase::Over {
            let slept = Instant::now();
            self.iterations.end(slept);
            let timeout = self.timeout(slept);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
                polled => polled?,
            }
            let woke = Instant::now();
            let wait = match timeout {
                Some(Duration::ZERO) => Wait::Immediate,
                _ => Wait::ForEvents,
            };
            self.iterations.begin(woke, wait, events.iter().count());
            self.now = self.now.moved_to(woke, wall_time());
            self.driver.iteration += 1;
            self.iterate(&events)?;
        }
        self.finish(&mut events);
        Ok(())
    }

    /// How long the loop may sleep; `None`: until an event.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let is_told = self.ready.is_empty() && self.due.is_empty() && !self.store.has_deliveries();
        let is_warming = self.phase == Phase::Serving && self.store.may_warm();
        let is_giving_way = self.memory.is_giving_way();
        if !is_told
            || is_warming
            || is_giving_way
            || self.store.has_given_up()
            || self.engine.has_results()
            || self.acceptor.is_ready()
        {
            return Some(Duration::ZERO);
        }
        let drain = match self.phase {
            Phase::Draining(draining) => Some(draining.next_at()),
            Phase::Serving | Phase::Over => None,
        };
        let look_again = self.store.awaits_descriptors().then(|| now + LOOK_AGAIN);
        let moments = [
            self.deadlines.expires_at(),
            self.log.due_at(),
            self.acceptor.paused_until(),
            self.memory.measures_at(),
            look_again,
            self.store.patience_ends(now),
            self.store.idle_sweep_at(),
            drain,
        ];
        let soonest = moments.into_iter().flatten().min()?;
        Some(soonest.saturating_duration_since(now))
    }

    fn iterate(&mut self, events: &Events) -> io::Result<()> {
        self.store.tick(&self.now);
        self.store.drop_idle(&self.now);
        let (mut watch, mut signals) = (false, false);
        let mut count = 0;
        for event in events {
            count += 1;
            match EventSource::from(event.token()) {
                EventSource::Signals => signals = true,
                EventSource::Watch => watch = true,
                EventSource::Mounts => self.store.mounts_changed(),
                EventSource::Disk => {}
                EventSource::Reload => self.end_reading(),
                EventSource::Pressure => self.memory.pressed(),
                EventSource::Listener(index) => self.acceptor.note(index),
                EventSource::Connection(index) => {
                    let ended = event.is_read_closed() || event.is_error();
                    let noted = Noted {
                        readable: event.is_readable() || ended,
                        writable: event.is_writable() || event.is_error(),
                        ended,
                        hung_up: event.is_write_closed(),
                    };
                    self.note(index, noted);
                }
            }
        }
        // If the list of events is full, the event of the watch may come later.
        if watch || count == EVENT_COUNT_MAX {
            self.store.drop_changed();
            self.iterations.mark(Work::Changes);
        }
        if signals {
            self.obey_signals();
            self.iterations.mark(Work::Signals);
        }
        self.driver.budget.open(ACCEPT_SHARE_COUNT, INPUT_SHARE_MIN);
        self.accept();
        self.drive_ready();
        self.store.expire_patience(&self.now);
        self.give_out_results();
        self.warm();
        self.look_at_deadlines();
        self.write_log();
        self.keep_within_budget();
        if self.store.awaits_descriptors() {
            self.keep_descriptors_free();
        }
        self.measure_memory();
        self.go_on_draining();
        self.store.recheck_waiting();
        self.submit_output();
        self.hand_over_jobs();
        if self.engine.flush()? > 0 {
            self.iterations.mark(Work::Submitting);
        }
        self.driver.end_iteration();
        Ok(())
    }

    /// Notes the event of a connection.
    fn note(&mut self, index: usize, noted: Noted) {
        let Some((id, connected)) = self.connections.at(index) else {
            return;
        };
        if noted.readable {
            connected.client.event_sync.reported(self.driver.iteration);
        }
        connected.transport.note(noted);
        if !connected.queued {
            connected.queued = true;
            self.ready.push(id, connected.task());
        }
    }

    /// Registers a new connection, once for its whole life.
    fn register(&mut self, id: ConnectionId) {
        let Some(connected) = self.connections.find(id) else {
            return;
        };
        let (registry, token) = (self.poll.registry(), Token(id.index as usize));
        if connected.transport.register(registry, token).is_err() {
            // ENOMEM, or max_user_watches reached: this one cannot be served.
            self.close(id);
            self.acceptor.pause(&self.now);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        let closed = self.connections.remove(id);
        if let Some(closed) = closed {
            self.acceptor.shares.leave(closed.connection.peer());
            if closed.armed.is_some() {
                let connections = &mut self.connections;
                self.deadlines
                    .leave(|id, armed| connections.stands_at(id, armed));
            }
            for job in closed.jobs() {
                self.store.leave(job, RequestId::http1(id));
            }
        }
        self.acceptor.resume();
    }

    /// Prefetches, as far as no request would wait for it.
    fn warm(&mut self) {
        if self.phase == Phase::Serving && self.store.may_warm() {
            self.iterations.mark(Work::Connections);
            self.store.warm_up(&self.now);
            self.iterations.mark(Work::Warming);
        }
    }

    fn write_log(&mut self) {
        let EventLoop {
            log, driver, now, ..
        } = self;
        let lines = &mut driver.response_stats.lines;
        log.flush(lines, now.monotonic, Waiting::Allowed);
        driver.response_stats.trim();
    }

    /// Submits the jobs of the log and of standard error.
    fn submit_output(&mut self) {
        let EventLoop {
            log,
            notices,
            store,
            ..
        } = self;
        // Almost every iteration.
        if !log.has_output() && !store.has_notices() && !notices.has_lines() {
            return;
        }
        for line in log.notices().chain(store.notices()) {
            notices.push(&line);
        }
        for job in log.jobs().chain(notices.next_job()) {
            store.submit_for_loop(job);
        }
    }
}

/// Registers what wakes the loop besides signals and connections.
fn register_sources(
    registry: &Registry,
    acceptor: &Acceptor,
    storage: &Storage,
    memory: &MemoryControl,
) -> io::Result<()> {
    for listener in &acceptor.listeners {
        register_listener(registry, listener.descriptor(), listener.index)?;
    }
    let watch = storage.watch.map(|watch| (watch, TOKEN_WATCH));
    let disk = storage.engine.wake_sources().into_iter();
    let disk = disk.map(|source| (source.as_raw_fd(), TOKEN_DISK));
    for (descriptor, token) in watch.into_iter().chain(disk) {
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
    }
    let pressure = memory.pressure_descriptor();
    let pressure = pressure.map(|it| (it, TOKEN_PRESSURE));
    let mounts = storage.mount_events.map(|it| (it, TOKEN_MOUNTS));
    for (descriptor, token) in pressure.into_iter().chain(mounts) {
        registry.register(&mut SourceFd(&descriptor), token, Interest::PRIORITY)?;
    }
    Ok(())
}

/// Registers the listener with this index.
fn register_listener(registry: &Registry, descriptor: RawFd, index: usize) -> io::Result<()> {
    let token = Token(TOKEN_LISTENER_LAST - index);
    registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)
}

fn wall_time() -> FileTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    FileTime {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}
