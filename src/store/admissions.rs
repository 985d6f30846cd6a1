//! Requests for guarded paths: who is admitted, and what is remembered of names and passwords.
//!
//! ```text
//!   guards of the path ──► address ──► remembered? ── no ──► too many failures? ── no ──► a job computes the hash
//!                            │ 403          │ admitted, or 401          │ 429              the request is asked again
//! ```
//!
//! A pair of name and password is remembered by a keyed hash: for a minute if it was right, for a shorter time if it was
//! wrong. What one user may have answers no other: each request is checked before the caches answer it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use lru::LruCache;

use super::inquiry::{Inquiry, Usage};
use super::jobs::{NewJob, Promise, Purpose};
use super::queue::Owner;
use super::{Asked, Store};
use crate::cache::entry::Entry;
use crate::clock::Now;
use crate::conn::Peer;
use crate::http::facts::Facts;
use crate::http::status::Status;
use crate::job::{Job, JobId, OneShot};
use crate::site::access::users::Credentials;
use crate::site::access::{Admission, Guard};
use crate::site::response::Fixed;

/// How long a right pair is remembered: so long a changed password still admits.
const RIGHT_LIFETIME: Duration = Duration::from_secs(60);
/// How long a wrong pair is remembered: a client that repeats it costs no hash.
const WRONG_LIFETIME: Duration = Duration::from_secs(10);
/// Pairs that are remembered.
const PAIR_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// Wrong pairs of one address in a minute, after which none of its new ones is tried.
const FAILURE_COUNT_MAX: u32 = 20;
/// How long failures count.
const FAILURE_LIFETIME: Duration = Duration::from_secs(60);
/// Addresses whose failures are counted.
const ADDRESS_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
/// Hashes that wait to be computed, one after the other. With more, requests get 503.
const WAITING_COUNT_MAX: usize = 64;

/// A pair for one guard of one site, by keyed hashes of 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PairId(u64, u64);

/// What is known of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
}

/// Failures of an address.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Admissions {
    keys: [RandomState; 2],
    pairs: LruCache<PairId, (Verdict, Instant)>,
    failures: LruCache<Owner, Failures>,
    /// Pairs whose hashes are being computed.
    jobs: HashMap<PairId, JobId>,
}

impl Default for Admissions {
    fn default() -> Admissions {
        Admissions {
            keys: [RandomState::new(), RandomState::new()],
            pairs: LruCache::new(PAIR_COUNT_MAX),
            failures: LruCache::new(ADDRESS_COUNT_MAX),
            jobs: HashMap::new(),
        }
    }
}

impl Admissions {
    fn id_of(&self, of: &(u32, usize, &Credentials)) -> PairId {
        let [first, second] = &self.keys;
        PairId(first.hash_one(of), second.hash_one(of))
    }

    /// What is known of a pair.
    fn known(&mut self, pair: PairId, now: Instant) -> Option<Verdict> {
        let (verdict, since) = *self.pairs.get(&pair)?;
        let lifetime = match verdict {
            Verdict::Right => RIGHT_LIFETIME,
            Verdict::Wrong => WRONG_LIFETIME,
        };
        (now.saturating_duration_since(since) < lifetime).then_some(verdict)
    }

    /// Whether an address has failed so often that no new pair of it is tried.
    fn is_blocked(&mut self, owner: Owner, now: Instant) -> bool {
        let failures = self.failures.get(&owner);
        failures.is_some_and(|failures| {
            failures.count >= FAILURE_COUNT_MAX
                && now.saturating_duration_since(failures.since) < FAILURE_LIFETIME
        })
    }

    /// Takes the result of a job.
    pub(super) fn verified(&mut self, pair: PairId, owner: Owner, is_right: bool, now: Instant) {
        self.jobs.remove(&pair);
        let verdict = match is_right {
            true => Verdict::Right,
            false => Verdict::Wrong,
        };
        self.pairs.put(pair, (verdict, now));
        if is_right {
            return;
        }
        let fresh = || Failures {
            count: 0,
            since: now,
        };
        let failures = self.failures.get_or_insert_mut(owner, fresh);
        if now.saturating_duration_since(failures.since) >= FAILURE_LIFETIME {
            *failures = fresh();
        }
        failures.count += 1;
    }
}

/// The name and password of a request; none if it has several.
fn credentials(facts: &Facts<'_>) -> Option<Credentials> {
    let is_meant = |name: &[u8]| name.eq_ignore_ascii_case(b"authorization");
    let mut lines = facts.all_lines().filter(|(name, _)| is_meant(name));
    let (_, value) = lines.next()?;
    match lines.next() {
        Some(_) => None,
        None => Credentials::parse(value),
    }
}

fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Address(address) => Some(address),
        Peer::Local => None,
    }
}

impl Store {
    /// Refuses a request, or has it wait, if its path has a guard; `None`: it is admitted. `entry` is what is known of the
    /// path.
    pub(super) fn admit(&mut self, inquiry: &Inquiry<'_>, entry: Option<&Entry>) -> Option<Asked> {
        match inquiry.requester.site.policy.access.are_none() {
            true => None,
            false => self.admit_guarded(inquiry, entry),
        }
    }

    #[cold]
    fn admit_guarded(&mut self, inquiry: &Inquiry<'_>, entry: Option<&Entry>) -> Option<Asked> {
        let path = inquiry.facts.path();
        // Whoever is admitted to a path is admitted to what stands in for it.
        if inquiry.usage != Usage::Requested || inquiry.path != path {
            return None;
        }
        if entry.is_some_and(Entry::is_unguarded) {
            return None;
        }
        let policy = &inquiry.requester.site.policy;
        match policy.admission(path, address(inquiry.requester.peer)) {
            Admission::Open => {
                if let Some(entry) = entry {
                    entry.note_unguarded();
                }
                None
            }
            Admission::Refused => Some(Asked::Fixed(Fixed::Error(Status::Forbidden))),
            Admission::Asks(guards) => {
                let mut guards = guards.into_iter();
                guards.find_map(|(index, guard)| self.authenticate(index, guard, inquiry))
            }
        }
    }

    /// Asks for the user of a guard; `None`: the request has one.
    fn authenticate(
        &mut self,
        index: usize,
        guard: &Guard,
        inquiry: &Inquiry<'_>,
    ) -> Option<Asked> {
        let (requester, now) = (inquiry.requester, inquiry.now.monotonic);
        let users = guard.users.as_ref()?;
        let refused = || Some(Asked::Fixed(Fixed::Unauthorized(guard.realm.clone())));
        let Some(credentials) = credentials(inquiry.facts) else {
            return refused();
        };
        let pair = (requester.site.id.number(), index, &credentials);
        let pair = self.admissions.id_of(&pair);
        match self.admissions.known(pair, now) {
            Some(Verdict::Right) => return None,
            Some(Verdict::Wrong) => return refused(),
            None => {}
        }
        let waiter = (requester.by.id, Promise::Again);
        if let Some(job) = self.admissions.jobs.get(&pair) {
            self.jobs.join(*job, waiter);
            return Some(Asked::Waiting(*job));
        }
        let owner = requester.by.owner;
        if self.admissions.is_blocked(owner, now) {
            return Some(Asked::Fixed(Fixed::Error(Status::TooManyRequests)));
        }
        if self.admissions.jobs.len() >= WAITING_COUNT_MAX {
            return Some(Asked::Fixed(Fixed::Error(Status::ServiceUnavailable)));
        }
        let verification = Box::new(users.verification(&credentials));
        let job = self.jobs.submit_unbounded(NewJob {
            job: Job::OneShot(OneShot::Verify(verification), None),
            owner,
            purpose: Purpose::Verify(pair, owner),
            waiter: Some(waiter),
        });
        self.admissions.jobs.insert(pair, job);
        Some(Asked::Waiting(job))
    }

    /// Takes the result of a job that has compared a password.
    pub(super) fn verified(&mut self, (pair, owner): (PairId, Owner), is_right: bool, now: &Now) {
        self.admissions
            .verified(pair, owner, is_right, now.monotonic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::sample_now;

    #[test]
    fn pairs_are_remembered_for_a_time_and_failures_of_an_address_counted() {
        let mut admissions = Admissions::default();
        let (first, other) = (Owner::Local, Owner::Server);
        let mut now = sample_now().monotonic;
        admissions.verified(PairId(0, 1), first, true, now);
        assert_eq!(admissions.known(PairId(0, 1), now), Some(Verdict::Right));
        for number in 0..u64::from(FAILURE_COUNT_MAX) {
            assert!(!admissions.is_blocked(first, now), "after {number}");
            admissions.verified(PairId(1, number), first, false, now);
        }
        assert!(admissions.is_blocked(first, now) && !admissions.is_blocked(other, now));
        assert_eq!(admissions.known(PairId(1, 0), now), Some(Verdict::Wrong));
        now += WRONG_LIFETIME;
        assert_eq!(admissions.known(PairId(1, 0), now), None);
        assert_eq!(admissions.known(PairId(0, 1), now), Some(Verdict::Right));
        now += FAILURE_LIFETIME - WRONG_LIFETIME;
        assert_eq!(admissions.known(PairId(0, 1), now), None);
        assert!(!admissions.is_blocked(first, now));
        admissions.verified(PairId(2, 0), first, false, now);
        assert!(!admissions.is_blocked(first, now), "they count anew");
    }
}
