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
    fn pop(&mut self) -> Option<Waiting> {
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
        Some(waiting)
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

/// Jobs that are to be carried out, and how many are being carried out.
#[derive(Debug)]
pub(crate) struct JobQueue {
    /// They count as in flight: the engine has room for them.
    ready: VecDeque<(JobId, Job)>,
    line: FairQueue,
    /// Jobs of the server whose place is taken. They wait for it and for nothing else.
    internal_waiting: VecDeque<(JobId, Job)>,
    /// Whether one of the kind is in flight.
    internal_in_flight: [bool; InternalJob::COUNT],
    /// All others that are.
    in_flight: usize,
    /// How many of those may be: what the engine takes, or what descriptors allow.
    in_flight_max: usize,
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
            internal_waiting: VecDeque::new(),
            internal_in_flight: [false; InternalJob::COUNT],
            in_flight: 0,
            in_flight_max,
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
        let is_full = self.line.revocable_count >= self.waiting_max && !self.is_next();
        if is_full {
            self.refused += 1;
            let own = self.line.revocable_count_of(owner) + 1;
            match self.line.give_up_longest(own) {
                Some(longest) => self.give_up(longest, JobError::Busy),
                None => return Err(QueueFull),
            }
        }
        Ok(self.enter(owner, job, Claim::Revocable))
    }

    /// The same where there must be room: there is at most one such job a connection.
    pub(crate) fn submit_unbounded(&mut self, owner: Owner, job: Job) -> JobId {
        self.enter(owner, job, Claim::Firm)
    }

    fn enter(&mut self, owner: Owner, job: Job, claim: Claim) -> JobId {
        self.id_last += 1;
        let id = JobId(self.id_last);
        match job.internal_job() {
            Some(kind) if self.internal_in_flight[kind as usize] => {
                self.internal_waiting.push_back((id, job));
            }
            Some(kind) => {
                self.internal_in_flight[kind as usize] = true;
                self.ready.push_back((id, job));
            }
            None if self.is_next() => {
                self.in_flight += 1;
                self.ready.push_back((id, job));
            }
            None => self.line.push(owner, Waiting { id, job, claim }),
        }
        id
    }

    /// Lets so many jobs be in flight from now on.
    pub(crate) fn set_in_flight_max(&mut self, count: usize) {
        self.in_flight_max = count;
    }

    /// Whether a new job would wait for no other.
    fn is_next(&self) -> bool {
        self.line.count == 0 && self.in_flight < self.in_flight_max
    }

    /// The next job to hand to the engine, which has room for it.
    /// Those that `is_wanted` denies, because everybody has left, are given up instead.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        is_wanted: impl Fn(JobId) -> bool,
    ) -> Option<(JobId, Job)> {
        while self.line.count > 0 && self.in_flight < self.in_flight_max {
            let Some(waiting) = self.line.pop() else {
                break;
            };
            // Whoever has waited too long has left; others may have joined a moment ago.
            if !is_wanted(waiting.id) {
                self.give_up(waiting, JobError::TimedOut);
                continue;
            }
            self.in_flight += 1;
            self.ready.push_back((waiting.id, waiting.job));
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
            self.in_flight -= 1;
            return;
        };
        let of_kind = |(_, job): &(JobId, Job)| job.internal_job() == Some(kind);
        let next = self.internal_waiting.iter().position(of_kind);
        let next = next.and_then(|index| self.internal_waiting.remove(index));
        self.internal_in_flight[kind as usize] = next.is_some();
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
        let kinds = self.internal_in_flight.iter().enumerate();
        let of_disk =
            |&(kind, is_taken): &(usize, &bool)| *is_taken && kind != InternalJob::Notices as usize;
        self.in_flight + kinds.filter(of_disk).count()
    }

    /// Jobs in the queue.
    pub(crate) fn waiting_count(&self) -> usize {
        self.line.count + self.internal_waiting.len()
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
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::job::{Append, OneShot, Warm};
    use crate::sys::beneath::Root;
    use crate::sys::deferred_drops::DeferredDrops;

    /// Ends the job that was handed over last, and hands over what there is room for. Gives what was ended,
    /// those first that the queue gave up.
    fn reap(queue: &mut JobQueue, at_engine: &mut Vec<JobId>) -> Vec<JobId> {
        let now = Instant::now();
        let mut done = Vec::new();
        let hand_over = |queue: &mut JobQueue, at_engine: &mut Vec<JobId>| {
            while let Some((id, _)) = queue.next(now, |_| true) {
                at_engine.push(id);
            }
        };
        hand_over(queue, at_engine);
        if let Some(id) = at_engine.pop() {
            queue.ended(id, &Done::Discarded, now);
            done.push((id, Done::Discarded));
        }
        queue.take_given_up(&mut done);
        hand_over(queue, at_engine);
        done.into_iter().map(|(id, _)| id).collect()
    }

    fn client(last: u8) -> Owner {
        Owner::Client(IpAddr::from([192, 0, 2, last]))
    }

    fn job() -> Job {
        Job::Discard(None)
    }

    #[test]
    fn clients_have_their_turns_whatever_one_of_them_asks_for() {
        let (mut queue, mut at_engine) = (JobQueue::new(1, 100), Vec::new());
        let first = queue.submit(client(1), job()).expect("room");
        let greedy: Vec<JobId> = (0..5)
            .map(|_| queue.submit(client(1), job()).expect("room"))
            .collect();
        let modest = queue.submit(client(2), job()).expect("room");
        let mut order = Vec::new();
        for _ in 0..7 {
            order.extend(reap(&mut queue, &mut at_engine));
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
        let mut queue = JobQueue::new(0, 4);
        let greedy: Vec<JobId> = (0..4)
            .map(|_| queue.submit(client(1), job()).expect("room"))
            .collect();
        assert!(queue.submit(client(1), job()).is_err(), "its own fault");
        queue.submit(client(2), job()).expect("a place is made");
        assert_eq!(queue.waiting_count(), 4);
        assert_eq!(queue.given_up[0].0, greedy[3]);
        queue.submit(client(2), job()).expect("and another");
        assert!(queue.submit(client(2), job()).is_err(), "now they are even");
        assert_eq!(queue.refused(), 4);
        queue.submit(Owner::Server, job()).expect("always room");
    }

    /// An answer that has begun cannot go on without its job, so nobody is answered 503 for another's sake.
    #[test]
    fn what_an_answer_under_way_needs_is_never_given_up() {
        let mut queue = JobQueue::new(0, 2);
        let firm: Vec<JobId> = (0..4)
            .map(|_| queue.submit_unbounded(client(1), job()))
            .collect();
        let asked = queue.submit(client(1), job());
        let given_up = queue.submit(client(1), job()).expect("room for two");
        queue.submit_unbounded(client(1), job());
        assert!(
            queue.submit(client(1), job()).is_err(),
            "two are asked for, however many answers are under way"
        );
        queue.submit(client(2), job()).expect("a place is made");
        assert_eq!(queue.given_up.len(), 1);
        assert_eq!(queue.given_up[0].0, given_up);
        assert!(queue.submit(client(2), job()).is_err(), "now they are even");
        queue.in_flight_max = 1;
        let mut at_engine = Vec::new();
        let done: Vec<JobId> = (0..9)
            .flat_map(|_| reap(&mut queue, &mut at_engine))
            .collect();
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

    /// One that does not end keeps none of the others from beginning.
    #[test]
    fn an_internal_job_waits_for_its_own_kind_only() {
        let now = Instant::now();
        let mut queue = JobQueue::new(0, 0);
        let mounts = |queue: &mut JobQueue, root: &Arc<Root>| {
            let job = Job::OneShot(OneShot::Mounts(Arc::clone(root)), None);
            queue.submit_unbounded(Owner::Server, job)
        };
        let notices = |queue: &mut JobQueue| {
            let output = File::open("/dev/null").expect("a file");
            let job = Job::Append(Append::notices(Arc::new(output), Vec::new()));
            queue.submit_unbounded(Owner::Server, job)
        };
        let root = Root::open(Path::new("/"), DeferredDrops::default()).expect("a root");
        let root = Arc::new(root);
        let first = mounts(&mut queue, &root);
        let second = mounts(&mut queue, &root);
        let other = notices(&mut queue);
        let next = |queue: &mut JobQueue| queue.next(now, |_| true).map(|(id, _)| id);
        assert_eq!(next(&mut queue), Some(first));
        assert_eq!(next(&mut queue), Some(other));
        assert_eq!(next(&mut queue), None);
        assert_eq!(
            (queue.depth(), queue.waiting_count()),
            (1, 1),
            "without the notices"
        );
        queue.ended(other, &Done::NoticesWritten, now);
        assert_eq!(next(&mut queue), None);
        queue.ended(first, &Done::Mounts(None), now);
        assert_eq!(next(&mut queue), Some(second));
        queue.ended(second, &Done::Mounts(None), now);
        assert_eq!(queue.depth(), 0);
    }

    /// Everybody has left: the disk is not asked.
    #[test]
    fn a_read_that_nobody_wants_is_given_up_before_it_begins() {
        let now = Instant::now();
        let root = Root::open(Path::new("/"), DeferredDrops::default()).expect("a root");
        let file = Arc::new(root.open_file(c"etc/passwd").expect("a file"));
        let mut queue = JobQueue::new(1, 10);
        let job = || Job::Warm(Warm::new(Arc::clone(&file), 0..1));
        let first = queue.submit(client(1), job()).expect("room");
        let unwanted = queue.submit(client(1), job()).expect("room");
        let wanted = queue.submit(client(1), job()).expect("room");
        assert_eq!(queue.next(now, |_| true).map(|(id, _)| id), Some(first));
        queue.ended(first, &Done::Warmed(Ok(())), now);
        let next = queue.next(now, |id| id != unwanted);
        assert_eq!(next.map(|(id, _)| id), Some(wanted));
        let mut done = Vec::new();
        queue.take_given_up(&mut done);
        assert!(matches!(
            &done[..],
            [(id, Done::Warmed(Err(JobError::TimedOut)))] if *id == unwanted
        ));
        assert_eq!(queue.latency().total(), Duration::ZERO);
    }
}
