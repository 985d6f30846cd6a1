//! The way to the disk: as many jobs at the engine as it takes, the others in a queue that is fair
//! to client addresses.
//!
//! One client that asks for a thousand cold files gets its turn among the others and no more: each
//! address has a queue of its own, and they are served in turn. When all queues together are full,
//! the longest one gives up its newest job, or the newcomer is refused if its own is the longest. That
//! goes for what can be answered with 503; jobs of answers that have begun, and the server's own, are let
//! in and never given up.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::conn::Peer;
use crate::disk::{Disk, Saturated};
use crate::histogram::Histogram;
use crate::job::JobId;
use crate::job::{Done, Job, JobError};

/// On whose behalf a job is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// The server's own: logs, mappings for those who come later.
    Server,
    /// Whoever is at the Unix socket.
    Local,
    /// A client; IPv6 clients by their network of 64 bits, which one customer has to himself.
    Client(IpAddr),
}

impl From<Peer> for Owner {
    fn from(peer: Peer) -> Owner {
        match peer {
            Peer::Local => Owner::Local,
            Peer::Address(address) => Owner::Client(match address.to_canonical() {
                IpAddr::V4(address) => IpAddr::V4(address),
                IpAddr::V6(address) => {
                    let network = address.to_bits() >> 64 << 64;
                    IpAddr::V6(Ipv6Addr::from_bits(network))
                }
            }),
        }
    }
}

/// Whether a job may be given up before it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Whoever waits for it is answered 503.
    Revocable,
    /// An answer that has begun cannot go on without it, or the server cannot.
    Firm,
}

/// A job that waits for its turn.
#[derive(Debug)]
struct Waiting {
    id: JobId,
    job: Job,
    claim: Claim,
}

/// Jobs of one owner, the oldest first.
#[derive(Debug, Default)]
struct OwnerQueue {
    jobs: VecDeque<Waiting>,
    /// Those of them that may be given up.
    revocable_count: usize,
}

/// Jobs that wait, by owner.
#[derive(Debug, Default)]
struct FairQueue {
    by_owner: HashMap<Owner, OwnerQueue, RandomState>,
    /// Owners of jobs that wait, in the order of their turns.
    turns: VecDeque<Owner>,
    count: usize,
    /// Those of them that may be given up.
    revocable_count: usize,
}

impl FairQueue {
    fn push(&mut self, owner: Owner, waiting: Waiting) {
        let own = self.by_owner.entry(owner).or_default();
        if own.jobs.is_empty() {
            self.turns.push_back(owner);
        }
        let revocable = usize::from(waiting.claim == Claim::Revocable);
        own.revocable_count += revocable;
        own.jobs.push_back(waiting);
        self.revocable_count += revocable;
        self.count += 1;
    }

    /// The oldest job of the owner whose turn it is.
    fn pop(&mut self) -> Option<(Owner, Waiting)> {
        let owner = self.turns.pop_front()?;
        let own = self.by_owner.get_mut(&owner)?;
        let waiting = own.jobs.pop_front()?;
        let revocable = usize::from(waiting.claim == Claim::Revocable);
        own.revocable_count -= revocable;
        if own.jobs.is_empty() {
            self.by_owner.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        self.revocable_count -= revocable;
        self.count -= 1;
        Some((owner, waiting))
    }

    fn revocable_count_of(&self, owner: Owner) -> usize {
        self.by_owner
            .get(&owner)
            .map_or(0, |own| own.revocable_count)
    }

    /// Takes the newest job that may be given up of the client with most of those, if it has more than
    /// `count`. O(clients that wait, and jobs of that one).
    fn give_up_longest(&mut self, count: usize) -> Option<Waiting> {
        let owners = self.by_owner.values_mut();
        let longest = owners
            .max_by_key(|own| own.revocable_count)
            .filter(|own| own.revocable_count > count)?;
        let is_revocable = |waiting: &Waiting| waiting.claim == Claim::Revocable;
        let newest = longest.jobs.iter().rposition(is_revocable)?;
        // At least two are in it, so it does not become empty.
        let waiting = longest.jobs.remove(newest)?;
        longest.revocable_count -= 1;
        self.revocable_count -= 1;
        self.count -= 1;
        Some(waiting)
    }
}

/// The engine and the queue before it.
#[derive(Debug)]
pub(crate) struct DiskQueue {
    /// The engine.
    pub engine: Box<dyn Disk>,
    line: FairQueue,
    /// Errands of the server whose place is taken. They wait for it and for nothing else.
    internal_jobs: VecDeque<(JobId, Job)>,
    waiting_max: usize,
    given_up: Vec<(JobId, Done)>,
    refused: u64,
    next: u64,
    /// When the jobs under way were handed to the engine.
    begun: HashMap<JobId, Instant, RandomState>,
    latency: Histogram,
}

impl DiskQueue {
    /// A queue of at most `waiting_max` jobs before an engine.
    pub(crate) fn new(engine: Box<dyn Disk>, waiting_max: usize) -> DiskQueue {
        DiskQueue {
            engine,
            line: FairQueue::default(),
            internal_jobs: VecDeque::new(),
            waiting_max,
            given_up: Vec::new(),
            refused: 0,
            next: 0,
            begun: HashMap::default(),
            latency: Histogram::default(),
        }
    }

    /// Hands a job to the engine or puts it into the queue, and names it.
    ///
    /// # Errors
    /// Gives the job back when there is no room for it.
    pub(crate) fn submit(
        &mut self,
        owner: Owner,
        job: Job,
        now: Instant,
    ) -> Result<JobId, Saturated> {
        if owner == Owner::Server {
            return Ok(self.submit_unbounded(owner, job, now));
        }
        let is_full = self.line.revocable_count >= self.waiting_max && !self.is_next();
        if is_full {
            self.refused += 1;
            let own = self.line.revocable_count_of(owner) + 1;
            match self.line.give_up_longest(own) {
                Some(longest) => self.give_up(longest, JobError::Busy),
                None => return Err(Saturated(Box::new(job))),
            }
        }
        Ok(self.enter(owner, job, Claim::Revocable, now))
    }

    /// The same where there must be room: there is at most one such job a connection.
    pub(crate) fn submit_unbounded(&mut self, owner: Owner, job: Job, now: Instant) -> JobId {
        self.enter(owner, job, Claim::Firm, now)
    }

    fn enter(&mut self, owner: Owner, job: Job, claim: Claim, now: Instant) -> JobId {
        self.next += 1;
        let id = JobId(self.next);
        let is_internal_job = job.internal_job().is_some();
        let job = match self.is_next() || is_internal_job {
            true => match self.engine.submit(id, job) {
                Ok(()) => {
                    self.begun.insert(id, now);
                    return id;
                }
                Err(Saturated(job)) => *job,
            },
            false => job,
        };
        if is_internal_job {
            self.internal_jobs.push_back((id, job));
            return id;
        }
        self.line.push(owner, Waiting { id, job, claim });
        id
    }

    /// Whether a new job would go straight to the engine.
    fn is_next(&self) -> bool {
        self.line.count == 0 && self.engine.has_room()
    }

    /// Appends the results that are there, then lets waiting jobs through as far as there is room.
    /// Look-ups and reads that `is_wanted` denies, because everybody has left, are not done.
    pub(crate) fn reap(
        &mut self,
        now: Instant,
        is_wanted: impl Fn(JobId) -> bool,
        done: &mut Vec<(JobId, Done)>,
    ) {
        let before = done.len();
        self.engine.reap(done);
        for (id, result) in &done[before..] {
            if let Some(begun) = self.begun.remove(id)
                && result.is_of_the_site()
            {
                self.latency.note(now.saturating_duration_since(begun));
            }
        }
        for _ in 0..self.internal_jobs.len() {
            if let Some((id, job)) = self.internal_jobs.pop_front() {
                match self.engine.submit(id, job) {
                    Ok(()) => {
                        self.begun.insert(id, now);
                    }
                    Err(Saturated(job)) => self.internal_jobs.push_back((id, *job)),
                }
            }
        }
        while self.line.count > 0 && self.engine.has_room() {
            let Some((owner, waiting)) = self.line.pop() else {
                break;
            };
            // Whoever has waited too long has left; others may have joined a moment ago.
            let is_for_clients = matches!(waiting.job, Job::Resolve(_) | Job::Warm(_));
            if is_for_clients && !is_wanted(waiting.id) {
                self.give_up(waiting, JobError::TimedOut);
                continue;
            }
            let Waiting { id, job, claim } = waiting;
            match self.engine.submit(id, job) {
                Ok(()) => {
                    self.begun.insert(id, now);
                }
                Err(Saturated(job)) => {
                    let job = *job;
                    self.line.push(owner, Waiting { id, job, claim });
                    break;
                }
            }
        }
        done.append(&mut self.given_up);
    }

    fn give_up(&mut self, waiting: Waiting, error: JobError) {
        let Waiting { id, job, .. } = waiting;
        self.given_up.push((id, job.abandon(error)));
    }

    /// Begins what was submitted in this turn, and gives how many calls that took.
    ///
    /// # Errors
    /// When the engine is broken.
    pub(crate) fn flush(&mut self) -> io::Result<usize> {
        self.engine.flush()
    }

    /// Whether there is something to reap without waiting.
    pub(crate) fn has_results(&self) -> bool {
        !self.given_up.is_empty() || self.engine.has_results()
    }

    /// Jobs in the queue.
    pub(crate) fn waiting_count(&self) -> usize {
        self.line.count + self.internal_jobs.len()
    }

    /// Jobs that may be in the queue.
    pub(crate) fn waiting_count_max(&self) -> usize {
        self.waiting_max
    }

    /// How long jobs were at the engine.
    pub(crate) fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Jobs refused for want of room since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::BorrowedFd;

    use crate::job::ResidencyPolicy;

    /// Takes `room` jobs and finishes none; writes down what came.
    #[derive(Debug)]
    struct Full {
        room: usize,
        came: Vec<JobId>,
    }

    impl Disk for Full {
        fn submit(&mut self, id: JobId, job: Job) -> Result<(), Saturated> {
            if self.room == 0 {
                return Err(Saturated(Box::new(job)));
            }
            self.room -= 1;
            self.came.push(id);
            Ok(())
        }
        fn flush(&mut self) -> io::Result<usize> {
            Ok(0)
        }
        fn reap(&mut self, done: &mut Vec<(JobId, Done)>) {
            // One job after the other comes to its end.
            self.room += 1;
            done.extend(self.came.pop().map(|id| (id, Done::Discarded)));
        }
        fn wake_sources(&self) -> Vec<BorrowedFd<'_>> {
            Vec::new()
        }
        fn has_results(&self) -> bool {
            false
        }
        fn has_room(&self) -> bool {
            self.room > 0
        }
        fn depth(&self) -> usize {
            self.came.len()
        }
        fn sending(&self) -> ResidencyPolicy {
            ResidencyPolicy::Any
        }
        fn name(&self) -> &'static str {
            "full"
        }
    }

    fn queue(room: usize, waiting_max: usize) -> DiskQueue {
        let engine = Full {
            room,
            came: Vec::new(),
        };
        DiskQueue::new(Box::new(engine), waiting_max)
    }

    fn client(last: u8) -> Owner {
        Owner::Client(IpAddr::from([192, 0, 2, last]))
    }

    fn job() -> Job {
        Job::Discard(None)
    }

    #[test]
    fn clients_have_their_turns_whatever_one_of_them_asks_for() {
        let now = Instant::now();
        let mut queue = queue(1, 100);
        let first = queue.submit(client(1), job(), now).expect("room");
        let greedy: Vec<JobId> = (0..5)
            .map(|_| queue.submit(client(1), job(), now).expect("room"))
            .collect();
        let modest = queue.submit(client(2), job(), now).expect("room");
        let mut order = Vec::new();
        for _ in 0..7 {
            let mut done = Vec::new();
            queue.reap(now, |_| true, &mut done);
            order.extend(done.into_iter().map(|(id, _)| id));
        }
        assert_eq!(
            order,
            [
                first, greedy[0], modest, greedy[1], greedy[2], greedy[3], greedy[4]
            ]
        );
    }

    #[test]
    fn a_full_queue_gives_up_the_newest_of_the_longest() {
        let now = Instant::now();
        let mut queue = queue(0, 4);
        let greedy: Vec<JobId> = (0..4)
            .map(|_| queue.submit(client(1), job(), now).expect("room"))
            .collect();
        assert!(
            queue.submit(client(1), job(), now).is_err(),
            "its own fault"
        );
        queue
            .submit(client(2), job(), now)
            .expect("a place is made");
        assert_eq!(queue.waiting_count(), 4);
        assert_eq!(queue.given_up[0].0, greedy[3]);
        queue.submit(client(2), job(), now).expect("and another");
        assert!(
            queue.submit(client(2), job(), now).is_err(),
            "now they are even"
        );
        assert_eq!(queue.refused(), 4);
        queue
            .submit(Owner::Server, job(), now)
            .expect("always room");
    }

    /// An answer that has begun cannot go on without its job, so nobody is answered 503 for another's sake.
    #[test]
    fn what_an_answer_under_way_needs_is_never_given_up() {
        let now = Instant::now();
        let mut queue = queue(0, 2);
        let firm: Vec<JobId> = (0..4)
            .map(|_| queue.submit_unbounded(client(1), job(), now))
            .collect();
        let asked = queue.submit(client(1), job(), now);
        let given_up = queue.submit(client(1), job(), now).expect("room for two");
        queue.submit_unbounded(client(1), job(), now);
        assert!(
            queue.submit(client(1), job(), now).is_err(),
            "two are asked for, however many answers are under way"
        );
        queue
            .submit(client(2), job(), now)
            .expect("a place is made");
        assert_eq!(queue.given_up.len(), 1);
        assert_eq!(queue.given_up[0].0, given_up);
        assert!(
            queue.submit(client(2), job(), now).is_err(),
            "now they are even"
        );
        let mut done = Vec::new();
        for _ in 0..8 {
            queue.reap(now, |_| true, &mut done);
        }
        let done: Vec<JobId> = done.into_iter().map(|(id, _)| id).collect();
        let is_done = |job: &JobId| done.contains(job);
        assert!(firm.iter().all(is_done) && asked.iter().all(is_done));
    }

    #[test]
    fn one_network_of_64_bits_is_one_client() {
        let owner = |text: &str| Owner::from(Peer::Address(text.parse().expect("an address")));
        assert_eq!(owner("2001:db8::1"), owner("2001:db8::ffff:1"));
        assert_ne!(owner("2001:db8::1"), owner("2001:db8:0:1::1"));
        assert_eq!(owner("::ffff:192.0.2.1"), client(1));
    }
}
