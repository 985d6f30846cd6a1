//! The order in which jobs go to the disk: as many in flight as the engine takes, the others in a queue that
//! is fair to client addresses. Jobs go out by [`JobQueue::next`] and are told to be over by
//! [`JobQueue::ended`]; the queue knows no engine.
//!
//! One client that asks for a thousand cold files gets its turn among the others and no more: each
//! address has a queue of its own, and they are served in turn. When all queues together are full,
//! the longest one gives up its newest job, or the newcomer is refused if its own is the longest. That
//! goes for what can be answered with 503; jobs of answers that have begun, and the server's own, are let
//! in and never given up.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::conn::Peer;
use crate::histogram::Histogram;
use crate::job::{Done, InternalJob, Job, JobError, JobId};

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
    /// `count`; of equals it is the one whose turn comes last. O(clients that wait, and jobs of that one).
    fn give_up_longest(&mut self, count: usize) -> Option<Waiting> {
        let count_of = |owner: &&Owner| self.revocable_count_of(**owner);
        let owner = *self.turns.iter().max_by_key(count_of)?;
        let longest = self.by_owner.get_mut(&owner)?;
        if longest.revocable_count <= count {
            return None;
        }
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

/// There is no room for another job of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// How many jobs are in flight, save the server's own, and how many may be.
#[derive(Debug)]
struct Places {
    taken: usize,
    /// What the engine takes.
    count_max: usize,
    /// Those taken by jobs that open files.
    opening: usize,
    /// How many of those there are descriptors for.
    opening_max: usize,
}

impl Places {
    fn has_room(&self) -> bool {
        self.taken < self.count_max
    }

    /// Whether there are descriptors for another job that opens files.
    fn has_descriptors(&self) -> bool {
        self.opening < self.opening_max
    }
}

/// Jobs that are to be carried out, and how many are being carried out.
#[derive(Debug)]
pub(crate) struct JobQueue {
    /// They count as in flight: the engine has room for them.
    ready: VecDeque<(JobId, Job)>,
    line: FairQueue,
    /// Those of the line whose turn it is, but that open files while descriptors are short: others pass them,
    /// since they end what holds files open.
    short_of_descriptors: FairQueue,
    /// Jobs of the server whose place is taken. They wait for it and for nothing else.
    internal_waiting: VecDeque<(JobId, Job)>,
    /// Those in flight, by kind.
    internal_in_flight: [usize; InternalJob::COUNT],
    /// All others that are.
    places: Places,
    waiting_max: usize,
    given_up: Vec<(JobId, Done)>,
    refused: u64,
    id_last: u64,
    /// When the jobs in flight were handed over.
    begun: HashMap<JobId, Instant, RandomState>,
    latency: Histogram,
}

impl JobQueue {
    /// A queue of at most `waiting_max` jobs before an engine that takes `in_flight_max` at once.
    pub(crate) fn new(in_flight_max: usize, waiting_max: usize) -> JobQueue {
        JobQueue {
            ready: VecDeque::new(),
            line: FairQueue::default(),
            short_of_descriptors: FairQueue::default(),
            internal_waiting: VecDeque::new(),
            internal_in_flight: [0; InternalJob::COUNT],
            places: Places {
                taken: 0,
                count_max: in_flight_max,
                opening: 0,
                opening_max: usize::MAX,
            },
            waiting_max,
            given_up: Vec::new(),
            refused: 0,
            id_last: 0,
            begun: HashMap::default(),
            latency: Histogram::default(),
        }
    }

    /// Takes a job and names it.
    ///
    /// # Errors
    /// When the queue is full and no client has more in it than this one.
    pub(crate) fn submit(&mut self, owner: Owner, job: Job) -> Result<JobId, QueueFull> {
        if owner == Owner::Server {
            return Ok(self.submit_unbounded(owner, job));
        }
        let waiting = self.line.revocable_count + self.short_of_descriptors.revocable_count;
        let is_full = waiting >= self.waiting_max && !self.is_next(&job);
        if is_full {
            self.refused += 1;
            let longer = [&mut self.line, &mut self.short_of_descriptors]
                .into_iter()
                .max_by_key(|line| line.revocable_count);
            let longest = longer.and_then(|line| {
                let own = line.revocable_count_of(owner) + 1;
                line.give_up_longest(own)
            });
            match longest {
                Some(longest) => self.give_up(longest, JobError::Busy),
                None => return Err(QueueFull),
            }
        }
        let id = self.name();
        self.enter(id, owner, job, Claim::Revocable);
        Ok(id)
    }

    /// The same where there must be room: there is at most one such job a connection.
    pub(crate) fn submit_unbounded(&mut self, owner: Owner, job: Job) -> JobId {
        let id = self.name();
        self.submit_named(id, owner, job);
        id
    }

    /// A name for a job that is submitted later.
    pub(crate) fn name(&mut self) -> JobId {
        self.id_last += 1;
        JobId(self.id_last)
    }

    /// Takes a job that has a name, like [`submit_unbounded`](JobQueue::submit_unbounded).
    pub(crate) fn submit_named(&mut self, id: JobId, owner: Owner, job: Job) {
        self.enter(id, owner, job, Claim::Firm);
    }

    fn enter(&mut self, id: JobId, owner: Owner, job: Job, claim: Claim) {
        match job.internal_job() {
            Some(kind) if self.internal_in_flight[kind as usize] >= kind.count_max() => {
                self.internal_waiting.push_back((id, job));
            }
            Some(kind) => {
                self.internal_in_flight[kind as usize] += 1;
                self.ready.push_back((id, job));
            }
            None if self.is_next(&job) => self.admit(id, job),
            None => self.line.push(owner, Waiting { id, job, claim }),
        }
    }

    /// Lets no more jobs that open files be in flight than so many.
    pub(crate) fn set_opening_max(&mut self, count: usize) {
        self.places.opening_max = count;
    }

    /// Whether jobs wait for descriptors.
    pub(crate) fn lacks_descriptors(&self) -> bool {
        self.short_of_descriptors.count > 0
    }

    /// Whether a new job would wait for no other.
    fn is_next(&self, job: &Job) -> bool {
        self.line.count == 0 && self.places.has_room() && self.has_descriptors(job)
    }

    /// Whether there are descriptors for a new job.
    fn has_descriptors(&self, job: &Job) -> bool {
        !job.opens_files() || (self.places.has_descriptors() && !self.lacks_descriptors())
    }

    /// Gives a job its place.
    fn admit(&mut self, id: JobId, job: Job) {
        self.places.taken += 1;
        self.places.opening += usize::from(job.opens_files());
        self.ready.push_back((id, job));
    }

    /// The next whose turn it is, as far as there are descriptors for it.
    fn next_waiting(&mut self) -> Option<Waiting> {
        if self.places.has_descriptors()
            && let Some((_, waiting)) = self.short_of_descriptors.pop()
        {
            return Some(waiting);
        }
        while let Some((owner, waiting)) = self.line.pop() {
            if self.has_descriptors(&waiting.job) {
                return Some(waiting);
            }
            self.short_of_descriptors.push(owner, waiting);
        }
        None
    }

    /// The next job to hand to the engine, which has room for it.
    /// Those that `is_wanted` denies, because everybody has left, are given up instead.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> Option<(JobId, Job)> {
        while self.places.has_room()
            && let Some(waiting) = self.next_waiting()
        {
            // Whoever has waited too long has left; others may have joined a moment ago.
            if !is_wanted(waiting.id) {
                self.give_up(waiting, JobError::TimedOut);
                continue;
            }
            self.admit(waiting.id, waiting.job);
        }
        let (id, job) = self.ready.pop_front()?;
        self.begun.insert(id, now);
        Some((id, job))
    }

    /// The engine has carried a job out: its place goes to another.
    pub(crate) fn ended(&mut self, id: JobId, done: &Done, now: Instant) {
        // Jobs that were given up were never begun.
        let Some(begun) = self.begun.remove(&id) else {
            return;
        };
        if done.is_of_the_site() {
            self.latency.note(now.saturating_duration_since(begun));
        }
        let Some(kind) = done.internal_job() else {
            self.places.taken -= 1;
            self.places.opening -= usize::from(done.is_of_opening());
            return;
        };
        let of_kind = |(_, job): &(JobId, Job)| job.internal_job() == Some(kind);
        let next = self.internal_waiting.iter().position(of_kind);
        let next = next.and_then(|index| self.internal_waiting.remove(index));
        self.internal_in_flight[kind as usize] -= usize::from(next.is_none());
        self.ready.extend(next);
    }

    fn give_up(&mut self, waiting: Waiting, error: JobError) {
        let Waiting { id, job, .. } = waiting;
        self.given_up.push((id, job.abandon(error)));
    }

    /// Appends what comes of the jobs that were given up.
    pub(crate) fn take_given_up(&mut self, done: &mut Vec<(JobId, Done)>) {
        done.append(&mut self.given_up);
    }

    /// Whether there are some.
    pub(crate) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Jobs in flight, save lines to standard error: these wait for its reader and not for the disk, and say
    /// nothing about how busy that is.
    pub(crate) fn depth(&self) -> usize {
        let internal = self.internal_in_flight.iter().sum::<usize>();
        let notices = self.internal_in_flight[InternalJob::Notices as usize];
        self.places.taken + internal - notices
    }

    /// Jobs in the queue.
    pub(crate) fn waiting_count(&self) -> usize {
        self.line.count + self.short_of_descriptors.count + self.internal_waiting.len()
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
mod tests;
