//! The order in which jobs go to the disk: as many in flight as the engine takes, the others in a queue that
//! is fair to client addresses. Jobs go out by [`JobQueue::next`] and are told to be over by
//! [`JobQueue::ended`]; the queue knows no engine.
//!
//! A client that requests a thousand cold files does not delay the others: each address has its own queue, and the
//! queues are served in turn. When all queues together are full, the longest one gives up its newest job, or the new
//! job is refused if its own queue is the longest. That applies to jobs whose requests can get 503. Jobs of responses
//! that have begun, and jobs of the server, are always admitted and never given up.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use foldhash::fast::RandomState;

use crate::conn::Peer;
use crate::histogram::Histogram;
use crate::job::{Done, InternalJob, Job, JobError, JobId};

/// The owner of a job, for fair scheduling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// The server itself: logs, mappings for later requests.
    Server,
    /// All peers of the Unix socket.
    Local,
    /// A client address; of IPv6 addresses the network of 64 bits, which belongs to one customer.
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
    /// Its requests get 503.
    Revocable,
    /// A response that has begun needs it, or the server does.
    Firm,
}

/// A queued job.
#[derive(Debug)]
struct Waiting {
    id: JobId,
    job: Job,
    claim: Claim,
}

/// Queued jobs of one owner, the oldest first.
#[derive(Debug, Default)]
struct OwnerQueue {
    jobs: VecDeque<Waiting>,
    /// How many of them may be given up.
    revocable_count: usize,
}

/// Queued jobs by owner.
#[derive(Debug, Default)]
struct FairQueue {
    by_owner: HashMap<Owner, OwnerQueue, RandomState>,
    /// Owners with queued jobs, in the order in which they are served.
    turns: VecDeque<Owner>,
    count: usize,
    /// How many of them may be given up.
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

    /// The oldest job of the next owner.
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

    /// Removes the newest job that may be given up of the client with the most of them, if that client has more than
    /// `count`; among equals, of the one that is served last. O(clients with queued jobs, and jobs of that client).
    fn give_up_longest(&mut self, count: usize) -> Option<Waiting> {
        let count_of = |owner: &&Owner| self.revocable_count_of(**owner);
        let owner = *self.turns.iter().max_by_key(count_of)?;
        let longest = self.by_owner.get_mut(&owner)?;
        if longest.revocable_count <= count {
            return None;
        }
        let is_revocable = |waiting: &Waiting| waiting.claim == Claim::Revocable;
        let newest = longest.jobs.iter().rposition(is_revocable)?;
        // It has at least two, so it does not become empty.
        let waiting = longest.jobs.remove(newest)?;
        longest.revocable_count -= 1;
        self.revocable_count -= 1;
        self.count -= 1;
        Some(waiting)
    }
}

/// The queue has no room for another job of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Counts and limits of the jobs in flight, without those of the server.
#[derive(Debug)]
struct Places {
    taken: usize,
    /// The depth of the engine.
    count_max: usize,
    /// Jobs in flight that open files.
    opening: usize,
    /// Maximum number of these, by the free descriptors.
    opening_max: usize,
}

impl Places {
    fn has_room(&self) -> bool {
        self.taken < self.count_max
    }

    /// Whether a descriptor is free for another job that opens files.
    fn has_descriptors(&self) -> bool {
        self.opening < self.opening_max
    }
}

/// Queued jobs, and the counts of jobs in flight.
#[derive(Debug)]
pub(crate) struct JobQueue {
    /// Jobs that count as in flight: the engine has room for them.
    ready: VecDeque<(JobId, Job)>,
    line: FairQueue,
    /// Jobs at the head of the queue that open files while descriptors are short. Other jobs overtake them, since
    /// these end and free descriptors.
    short_of_descriptors: FairQueue,
    /// Jobs of the server whose slot is taken. They wait for that slot only.
    internal_waiting: VecDeque<(JobId, Job)>,
    /// Jobs of the server in flight, by kind.
    internal_in_flight: [usize; InternalJob::COUNT],
    /// All other jobs in flight.
    places: Places,
    waiting_max: usize,
    given_up: Vec<(JobId, Done)>,
    refused: u64,
    id_last: u64,
    /// When the jobs in flight were passed to the engine.
    begun: HashMap<JobId, Instant, RandomState>,
    latency: Histogram,
}

impl JobQueue {
    /// A queue of at most `waiting_max` jobs, for an engine that takes `in_flight_max` at once.
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

    /// Queues a job and returns its number.
    ///
    /// # Errors
    /// The queue is full, and no client has more jobs in it than this one.
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

    /// Queues a job without a limit: there is at most one such job for each connection.
    pub(crate) fn submit_unbounded(&mut self, owner: Owner, job: Job) -> JobId {
        let id = self.name();
        self.submit_named(id, owner, job);
        id
    }

    /// A number for a job that is submitted later.
    pub(crate) fn name(&mut self) -> JobId {
        self.id_last += 1;
        JobId(self.id_last)
    }

    /// Queues a job that has a number, like [`submit_unbounded`](JobQueue::submit_unbounded).
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

    /// Limits the number of jobs in flight that open files.
    pub(crate) fn set_opening_max(&mut self, count: usize) {
        self.places.opening_max = count;
    }

    /// Whether jobs wait for descriptors.
    pub(crate) fn lacks_descriptors(&self) -> bool {
        self.short_of_descriptors.count > 0
    }

    /// Whether a new job would start at once.
    fn is_next(&self, job: &Job) -> bool {
        self.line.count == 0 && self.places.has_room() && self.has_descriptors(job)
    }

    /// Whether a descriptor is free for a new job.
    fn has_descriptors(&self, job: &Job) -> bool {
        !job.opens_files() || (self.places.has_descriptors() && !self.lacks_descriptors())
    }

    /// Counts a job as in flight.
    fn admit(&mut self, id: JobId, job: Job) {
        self.places.taken += 1;
        self.places.opening += usize::from(job.opens_files());
        self.ready.push_back((id, job));
    }

    /// The next job of the queue for which a descriptor is free.
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

    /// Whether [`next`](JobQueue::next) may have a job. An iteration of the loop asks several times.
    #[inline]
    pub(crate) fn has_jobs(&self) -> bool {
        !self.ready.is_empty() || self.line.count + self.short_of_descriptors.count > 0
    }

    /// The next job for the engine, if the engine has room for one. A job for which `is_wanted` is false, because all
    /// its requests have left, is given up instead.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> Option<(JobId, Job)> {
        while self.places.has_room()
            && let Some(waiting) = self.next_waiting()
        {
            // Requests that timed out have left; others may have joined just now.
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

    /// Frees the slot of a job that the engine has completed.
    pub(crate) fn ended(&mut self, id: JobId, done: &Done, now: Instant) {
        // Jobs that were given up have never begun.
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

    /// Appends the results of jobs that were given up.
    pub(crate) fn take_given_up(&mut self, done: &mut Vec<(JobId, Done)>) {
        done.append(&mut self.given_up);
    }

    /// Whether there are jobs that were given up.
    pub(crate) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Number of jobs in flight, without lines to standard error: these wait for a reader and not for the disk.
    pub(crate) fn depth(&self) -> usize {
        let internal = self.internal_in_flight.iter().sum::<usize>();
        let notices = self.internal_in_flight[InternalJob::Notices as usize];
        self.places.taken + internal - notices
    }

    /// Number of queued jobs.
    pub(crate) fn waiting_count(&self) -> usize {
        self.line.count + self.short_of_descriptors.count + self.internal_waiting.len()
    }

    /// Capacity of the queue.
    pub(crate) fn waiting_count_max(&self) -> usize {
        self.waiting_max
    }

    /// Histogram of the times that jobs were at the engine.
    pub(crate) fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Jobs refused since the start because the queue was full.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests;
