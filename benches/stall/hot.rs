//! The hot load: requests for one file at a fixed rate, independent of the responses.
//!
//! Latency counts from the time at which a request was due, not from its send: if a server stalls for a
//! second, a thousand requests are late, and all of them count. One thread does nothing else; it waits for
//! sockets and for a kernel timer that fires at each due time. It has real-time priority, so that it measures
//! the server and not itself.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::command;
use crate::files::{HOT_LENGTH, HOT_PATH};
use crate::load::{Phase, head, ms, quantile, request};

/// Requests per second.
pub(crate) const RATE: u32 = 1_000;
/// Connections; also the number of unanswered requests at which further ones wait on our side.
pub(crate) const CONNECTIONS: usize = 32;
/// After the end: how long answers still count as in time, and how long they are awaited.
const IN_TIME_MAX: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(3);

const TIMER: Token = Token(CONNECTIONS);

/// The result. A request that was never answered counts with the time it has waited.
pub(crate) struct Hot {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    /// Answers received when the load ended.
    pub(crate) in_time: usize,
    pub(crate) total: usize,
    /// Requests with a broken connection or a wrong answer.
    pub(crate) lost: usize,
    /// Maximum delay between a due time and its detection: the error of this side.
    pub(crate) late_max_ms: f64,
}

enum State {
    Connecting,
    Idle,
    /// Awaits the answer to the request due at this time.
    Waiting(Instant),
    /// The server accepts no connections.
    Gone,
}

struct Connection {
    stream: TcpStream,
    state: State,
    received: Vec<u8>,
}

struct Load<'a> {
    // One field per column of the report.
    phase: &'a Phase<'a>,
    address: SocketAddr,
    poll: Poll,
    timer: OwnedFd,
    request: Vec<u8>,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    /// Due times of the requests that wait for a free connection.
    waiting: VecDeque<Instant>,
    due_count: u32,
    latencies: Vec<Duration>,
    in_time: usize,
    lost: usize,
    late_max: Duration,
    /// When the end of the phase was noticed.
    end: Option<Instant>,
}

/// Loads the server at `port` for the length of the phase, which may begin later.
///
/// # Errors
/// When connections cannot be made before the phase begins.
pub(crate) fn run(port: u16, phase: &Phase<'_>) -> io::Result<Hot> {
    run_ahead_of_everything();
    let mut load = Load::new(port, phase)?;
    let mut events = Events::with_capacity(2 * CONNECTIONS);
    std::thread::sleep(phase.start.saturating_duration_since(Instant::now()));
    load.start_timer()?;
    while !load.is_done(Instant::now()) {
        load.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                TIMER => drop(rustix::io::read(&load.timer, &mut [0; 8])),
                Token(place) => load.handle_ready(place)?,
            }
        }
        load.note_due(Instant::now());
        load.send_due()?;
    }
    Ok(load.finish(Instant::now()))
}

/// Gives this thread real-time priority. Niceness is not enough: with autogroups it counts within the session
/// only. Without the permission, figures are slightly worse.
fn run_ahead_of_everything() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    if let Err(reason) = command::run(Command::new("chrt").args(["--fifo", "--pid", "10", &thread]))
    {
        println!("the hot load has no priority: {reason}");
    }
}

impl<'a> Load<'a> {
    fn new(port: u16, phase: &'a Phase<'a>) -> io::Result<Load<'a>> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let poll = Poll::new()?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let mut connections = Vec::new();
        for place in 0..CONNECTIONS {
            let stream = std::net::TcpStream::connect(address)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            stream.set_nodelay(true)?;
            registry.register(&mut stream, Token(place), Interest::READABLE)?;
            connections.push(Connection {
                stream,
                state: State::Idle,
                received: Vec::with_capacity(4_096),
            });
        }
        let seconds = usize::try_from(phase.length.as_secs()).unwrap_or(0) + 1;
        Ok(Load {
            phase,
            address,
            poll,
            timer,
            request: request(HOT_PATH),
            connections,
            idle: (0..CONNECTIONS).collect(),
            waiting: VecDeque::with_capacity(seconds * RATE as usize),
            due_count: 0,
            latencies: Vec::with_capacity(seconds * RATE as usize),
            in_time: 0,
            lost: 0,
            late_max: Duration::ZERO,
            end: None,
        })
    }

    /// Starts the timer that fires at each due time: at once, and after each period. It starts slightly later
    /// than the phase, so that it never fires early, which would cost a period.
    fn start_timer(&self) -> io::Result<()> {
        let period = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(1_000_000_000 / RATE),
        };
        let spec = Itimerspec {
            it_interval: period,
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: 1,
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    fn note_due(&mut self, now: Instant) {
        if self.end.is_none() && self.phase.is_over(now) {
            // Requests due before the end are still sent.
            self.end = Some(now.min(self.phase.start + self.phase.length));
        }
        let until = self.end.unwrap_or(now);
        loop {
            let due = self.phase.start + Duration::from_secs(1) * self.due_count / RATE;
            if due > now || due >= until {
                return;
            }
            self.late_max = self.late_max.max(now - due);
            self.waiting.push_back(due);
            self.due_count += 1;
        }
    }

    fn send_due(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() && !self.idle.is_empty() {
            let (Some(place), Some(due)) = (self.idle.pop_front(), self.waiting.pop_front()) else {
                break;
            };
            let connection = &mut self.connections[place];
            connection.received.clear();
            connection.state = State::Waiting(due);
            // A request is far shorter than the free buffer of an idle socket.
            if !matches!(connection.stream.write(&self.request), Ok(sent) if sent == self.request.len())
            {
                self.handle_broken(place)?;
            }
        }
        Ok(())
    }

    fn handle_ready(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        if matches!(connection.state, State::Connecting) {
            if connection.stream.peer_addr().is_ok() {
                connection.state = State::Idle;
                self.idle.push_back(place);
            } else if !matches!(connection.stream.take_error(), Ok(None)) {
                connection.state = State::Gone;
            }
            return Ok(());
        }
        let mut buffer = [0; 4_096];
        loop {
            match self.connections[place].stream.read(&mut buffer) {
                Ok(0) => return self.handle_broken(place),
                Ok(count) => self.connections[place]
                    .received
                    .extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.handle_broken(place),
            }
        }
        self.handle_received(place)
    }

    fn handle_received(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        let State::Waiting(due) = connection.state else {
            return Ok(());
        };
        let head = match head(&connection.received, HOT_LENGTH) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            Err(_) => return self.handle_broken(place),
        };
        if (connection.received.len() as u64) < head.length + head.body_length {
            return Ok(());
        }
        let now = Instant::now();
        self.latencies.push(now - due);
        let in_time = self.end.is_none_or(|end| now <= end + IN_TIME_MAX);
        self.in_time += usize::from(in_time);
        connection.state = State::Idle;
        if head.closes {
            return self.connect(place);
        }
        self.idle.push_back(place);
        Ok(())
    }

    /// Handles a broken connection: its request is lost, and the connection is replaced.
    fn handle_broken(&mut self, place: usize) -> io::Result<()> {
        match self.connections[place].state {
            State::Waiting(_) => self.lost += 1,
            State::Idle => self.idle.retain(|other| *other != place),
            State::Connecting | State::Gone => {}
        }
        self.connect(place)
    }

    fn connect(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        connection.stream = TcpStream::connect(self.address)?;
        connection.state = State::Connecting;
        self.poll.registry().register(
            &mut connection.stream,
            Token(place),
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    fn is_done(&self, now: Instant) -> bool {
        let Some(end) = self.end else { return false };
        let is_waiting = |connection: &Connection| matches!(connection.state, State::Waiting(_));
        now > end + WAIT_MAX || self.waiting.is_empty() && !self.connections.iter().any(is_waiting)
    }

    fn finish(self, now: Instant) -> Hot {
        let mut latencies = self.latencies;
        let unanswered = self.connections.iter().filter_map(|one| match one.state {
            State::Waiting(due) => Some(due),
            _ => None,
        });
        let unanswered = unanswered.chain(self.waiting);
        latencies.extend(unanswered.map(|due| now - due));
        latencies.sort_unstable();
        let at = |thousandths| quantile(&latencies, thousandths).map_or(f64::NAN, ms);
        Hot {
            p50_ms: at(500),
            p99_ms: at(990),
            p999_ms: at(999),
            max_ms: at(1_000),
            in_time: self.in_time,
            total: latencies.len() + self.lost,
            lost: self.lost,
            late_max_ms: ms(self.late_max),
        }
    }
}
