//! One run: the clock, and everybody who acts.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::check::{Answer, Checker};
use super::client::{Client, Did, Sent};
use super::disk::{FakeDisk, SharedTree};
use super::history::Target;
use super::profile::{Profile, Storage};
use super::random::Random;
use super::server::Server;
use super::tree::{Moment, Tree, nanoseconds, wall};
use super::writer::{self, Writer};
use rustix::io::Errno;

use crate::clock::Now;
use crate::conn::{CloseReason, ConnectionId, Peer};
use crate::transport::Noted;
use crate::transport::wire::WireMaker;

/// Clients of a run.
const CLIENT_COUNT: usize = 10;
/// An iteration of the loop that has more to do takes so long.
const ITERATION: Moment = 20_000;
/// Moments of a run at which something happens; more would mean that it never comes to rest.
const STEP_COUNT_MAX: u32 = 3_000_000;
/// Iterations after which nothing is left to be done.
const LAST_ITERATION_COUNT: u32 = 100;

/// What an event says whose client has left.
const LEFT: Noted = Noted {
    readable: true,
    writable: true,
    ended: true,
    hung_up: true,
};

/// Who acts next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    /// A job at the disk.
    Disk(u64),
    Client(usize),
    Writer,
    /// The kernel takes pages, and an engine closes what was let go of.
    Kernel,
}

/// What the poll of the loop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    /// It has events, or its timeout has passed.
    Returns,
    Waits,
}

/// What happens, in order.
#[derive(Debug, Default)]
struct Agenda {
    entries: BinaryHeap<Reverse<(Moment, u64, Actor)>>,
    count: u64,
}

impl Agenda {
    fn plan(&mut self, moment: Moment, actor: Actor) {
        self.count += 1;
        self.entries.push(Reverse((moment, self.count, actor)));
    }

    fn next(&self) -> Option<Moment> {
        self.entries.peek().map(|Reverse((moment, ..))| *moment)
    }

    /// Takes one who acts until then.
    fn take_until(&mut self, moment: Moment) -> Option<Actor> {
        self.next().filter(|next| *next <= moment)?;
        self.entries.pop().map(|Reverse((_, _, actor))| actor)
    }
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    // The server, those around it, and the order of what happens: each once.
    random: Random,
    profile: Profile,
    began: Instant,
    moment: Moment,
    now: Now,
    agenda: Agenda,
    tree: SharedTree,
    writer: Writer,
    targets: Vec<Target>,
    disk: FakeDisk,
    clients: Vec<Client>,
    wires: WireMaker,
    server: Server,
    checker: Checker,
    request_count: u64,
}

impl World {
    /// The world of a seed, in which so many requests are answered.
    pub(super) fn new(seed: u64, request_count: u64, directory: &Path) -> World {
        let mut random = Random::new(seed);
        let profile = Profile::new(&mut random);
        let mut tree = Tree::new(profile.event_count_max);
        let targets = writer::fill(&mut tree, &mut random.fork());
        let tree: SharedTree = Rc::new(RefCell::new(tree));
        let disk = FakeDisk::new(Rc::clone(&tree), &profile, directory, random.fork());
        let began = Instant::now();
        let kernel = random.fork();
        World {
            server: Server::new(&profile, &disk, &tree, directory, kernel, began),
            began,
            moment: 0,
            now: Now::at(began, wall(0)),
            agenda: Agenda::default(),
            clients: (0..CLIENT_COUNT)
                .map(|_| Client::new(random.fork()))
                .collect(),
            wires: WireMaker::new(),
            checker: Checker::new(&profile),
            request_count,
            writer: Writer::new(random.fork()),
            random,
            profile,
            tree,
            targets,
            disk,
        }
    }

    /// Runs until so many requests are answered and nothing is left. Gives what came of it.
    pub(super) fn run(mut self) -> Checker {
        for client in 0..CLIENT_COUNT {
            self.agenda.plan(0, Actor::Client(client));
        }
        self.agenda.plan(1_000, Actor::Writer);
        self.agenda.plan(1_000, Actor::Kernel);
        for _ in 0..STEP_COUNT_MAX {
            if self.advance() == Poll::Returns {
                self.iterate();
                self.server.check_sizes(&self.profile);
            }
            if self.is_over() {
                self.check_leftovers();
                return self.checker;
            }
        }
        panic!("it does not end: {:?}", self.server.leftovers());
    }

    fn iterate(&mut self) {
        self.server.iterate(&mut self.disk, &self.now);
        for (job, delay) in self.disk.take_submitted() {
            self.checker.mix(job ^ self.moment);
            self.agenda.plan(self.moment + delay, Actor::Disk(job));
        }
    }

    fn may_ask(&self) -> bool {
        self.checker.answered < self.request_count
    }

    fn is_over(&self) -> bool {
        let is_answered = self.clients.iter().all(|client| !client.is_connected());
        let is_at_rest = !self.disk.is_busy() && self.server.connection_count() == 0;
        !self.may_ask() && is_answered && is_at_rest
    }

    /// Goes to the next moment at which something happens, and has it happen. Returns what the poll of the loop does.
    fn advance(&mut self) -> Poll {
        let soon = self.server.is_busy().then_some(ITERATION);
        let by_itself = soon.into_iter().chain(self.server.timeout(&self.now)).min();
        let by_itself = by_itself.map(|wait| self.moment + wait);
        let next = self.agenda.next().into_iter().chain(by_itself).min();
        self.moment = self.moment.max(next.expect("something happens"));
        let monotonic = self.began + Duration::from_nanos(self.moment);
        self.now = self.now.moved_to(monotonic, wall(self.moment));
        while let Some(actor) = self.agenda.take_until(self.moment) {
            if let Some(delay) = self.act(actor) {
                self.agenda.plan(self.moment + delay, actor);
            }
        }
        let is_due = by_itself.is_some_and(|due| due <= self.moment);
        let has_events = self.disk.has_results() || self.disk.has_events();
        match is_due || has_events || self.server.is_busy() {
            true => Poll::Returns,
            false => Poll::Waits,
        }
    }

    /// Gives how long until the same acts again.
    fn act(&mut self, actor: Actor) -> Option<Moment> {
        match actor {
            Actor::Disk(job) => self.disk.act(job, self.moment),
            Actor::Client(client) => Some(self.act_client(client)),
            Actor::Writer => {
                let mut tree = self.tree.borrow_mut();
                self.writer.act(&mut tree, &mut self.targets, self.moment);
                Some(match self.random.below(4) {
                    0 => self.random.between(1_000, 100_000),
                    _ => self.random.between(1_000_000, 40_000_000),
                })
            }
            Actor::Kernel => {
                let mut tree = self.tree.borrow_mut();
                let node = self.random.index(tree.node_count());
                tree.set_resident(node, false);
                drop(tree);
                self.disk.empty_bin(self.random.index(20));
                Some(self.random.between(1_000_000, 8_000_000))
            }
        }
    }

    fn act_client(&mut self, index: usize) -> Moment {
        let may_ask = self.may_ask();
        let client = &mut self.clients[index];
        if !client.is_connected() && may_ask {
            let last = u8::try_from(index % 4).expect("a small number");
            let peer = Peer::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
            let length_max = usize::try_from(self.random.between(200, 200 << 10));
            let (transport, wire) = self.wires.make(length_max.expect("a small number"));
            let id = self.server.accept(peer, transport, &self.now);
            client.connect(id, wire);
        }
        let did = match !may_ask && client.unanswered() == 0 {
            true => client.leave(),
            false => client.act(&self.targets, may_ask, self.moment),
        };
        while let Some((sent, response)) = self.clients[index].answer() {
            let answer = Answer {
                sent: &sent,
                response: &response,
                target: &self.targets[sent.target],
                tree: &self.tree.borrow(),
                since: self.known_since(&sent),
                now: self.moment,
            };
            if let Some(known) = self.checker.check(&answer) {
                self.clients[index].know(sent.target, known);
            }
        }
        match did {
            Did::Moved(id) => {
                let events = self.clients[index].events();
                self.server.note(id, events.expect("it is connected"));
            }
            Did::Left(id) => self.server.note(id, LEFT),
            Did::Closed(id, unanswered, was_told) => self.check_end(id, unanswered, was_told),
            Did::Nothing => {}
        }
        self.clients[index].pause()
    }

    /// The first moment that an answer may tell of. What is watched is told of changes; what is polled rests on a
    /// look-up.
    fn known_since(&self, sent: &Sent) -> Moment {
        if self.profile.is_watched {
            return sent.at;
        }
        let confirmed = sent.at.saturating_sub(nanoseconds(self.profile.trust()));
        let path = &self.targets[sent.target].below_root;
        let looked_up = self.disk.first_look_up(path, confirmed);
        looked_up.map_or(sent.at, |began| began.min(sent.at))
    }

    /// A connection may end before its answers only for a reason.
    fn check_end(&self, id: ConnectionId, unanswered: usize, was_told: bool) {
        let reason = self.server.close_reason(id);
        let may_end = match reason {
            _ if unanswered == 0 || was_told => true,
            // A file was cut or written over while it was sent, or the disk failed: the answer is not completed.
            Some(CloseReason::Broken(
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData,
            )) => true,
            Some(CloseReason::Broken(kind)) => kind == io::Error::from(Errno::FAULT).kind(),
            Some(CloseReason::SendStalled) => true,
            Some(CloseReason::DiskStalled) => self.profile.storage == Storage::Failing,
            _ => false,
        };
        assert!(
            may_end,
            "{unanswered} requests were not answered: {reason:?}"
        );
    }

    /// Nobody asks and nothing is under way: nothing but the caches may hold anything, and without them nothing.
    fn check_leftovers(&mut self) {
        for _ in 0..LAST_ITERATION_COUNT {
            self.iterate();
        }
        assert_eq!(self.server.leftovers(), []);
        self.disk.empty_bin(usize::MAX);
        assert_eq!(self.disk.open_count(), 0, "descriptors are still open");
    }
}
