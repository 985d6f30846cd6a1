//! How long an entry holds without a look at the disk, and when it is checked ahead of time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Entry;
#[cfg(test)]
use super::Resolution;
use crate::cache::dependents::Ticket;
use crate::clock::Now;

/// A lifetime that does not end.
const FOR_EVER_MS: u32 = u32::MAX;

/// How far an entry may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It may be answered from.
    Fresh,
    /// The same, but half of its lifetime is over: the next request starts a revalidation in the background.
    Due,
    /// It must be checked first.
    Expired,
}

/// How long an entry is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// Without a look at the disk.
    pub lifetime: Duration,
    /// In no later generation than this, which is the one in which the disk was asked.
    pub generation: u32,
}

impl Trust {
    /// How long an entry is trusted whose directories are watched.
    pub(crate) const FOR_EVER: Duration = Duration::MAX;
}

/// When an entry was confirmed, and how long that holds. Times are short, because there are many entries.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// When the disk was last asked about it; `None`: nobody did, or something that it depends on has changed.
    confirmed: Cell<Option<Instant>>,
    /// How long it is trusted after that, in milliseconds; [`FOR_EVER_MS`]: until something tells of a change.
    lifetime_ms: Cell<u32>,
    /// After how many milliseconds a request starts a revalidation in the background.
    check_after_ms: Cell<u32>,
    /// In which the disk was asked.
    generation: Cell<u32>,
    /// Whether it was answered from after its lifetime.
    was_stale: Cell<bool>,
}

/// When an entry was confirmed, how long that holds, and when it is to be checked ahead of time.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Times {
    pub(in crate::cache) confirmed: Option<Instant>,
    pub(in crate::cache) lifetime_ms: u32,
    pub(in crate::cache) check_after_ms: u32,
    pub(in crate::cache) generation: u32,
}

impl From<Times> for Freshness {
    fn from(times: Times) -> Freshness {
        Freshness {
            confirmed: Cell::new(times.confirmed),
            lifetime_ms: Cell::new(times.lifetime_ms),
            check_after_ms: Cell::new(times.check_after_ms),
            generation: Cell::new(times.generation),
            was_stale: Cell::new(false),
        }
    }
}

impl Entry {
    /// One that is trusted for `lifetime` in the first generation.
    #[cfg(test)]
    pub(in crate::cache) fn trusted(
        resolution: Resolution,
        now: &Now,
        lifetime: Duration,
    ) -> Entry {
        let entry = Entry::new(resolution);
        let generation = 0;
        let trust = Trust {
            lifetime,
            generation,
        };
        entry.trust(trust, None, now);
        entry
    }

    /// How far it is trusted.
    pub(in crate::cache) fn times(&self) -> Times {
        Times {
            confirmed: self.freshness.confirmed.get(),
            lifetime_ms: self.freshness.lifetime_ms.get(),
            check_after_ms: self.freshness.check_after_ms.get(),
            generation: self.freshness.generation.get(),
        }
    }

    /// How far it may be relied on now, in this generation.
    pub(crate) fn validity(&self, now: &Now, generation: u32) -> Validity {
        let Some(age) = self.age(now, generation) else {
            return Validity::Expired;
        };
        let lifetime_ms = self.freshness.lifetime_ms.get();
        let check_after_ms = self.freshness.check_after_ms.get();
        // Almost every hit: the next whole second is before both.
        let soon_ms = (age.as_secs() + 1).saturating_mul(1_000);
        if soon_ms <= u64::from(check_after_ms.min(lifetime_ms)) {
            return Validity::Fresh;
        }
        let age_ms = milliseconds(age);
        let is_over = match lifetime_ms {
            // A watched entry that was not used for long: one in use is revalidated earlier.
            FOR_EVER_MS => {
                check_after_ms > 0 && age_ms >= check_after_ms.saturating_add(check_after_ms / 3)
            }
            _ => age_ms >= lifetime_ms,
        };
        if is_over {
            return Validity::Expired;
        }
        match age_ms >= check_after_ms {
            true => Validity::Due,
            false => Validity::Fresh,
        }
    }

    /// How long ago the disk was asked; `None` where something that it depends on is known to have changed since.
    pub(crate) fn age(&self, now: &Now, generation: u32) -> Option<Duration> {
        let confirmed = self.freshness.confirmed.get()?;
        self.is_of(generation)
            .then(|| now.monotonic.saturating_duration_since(confirmed))
    }

    fn age_ms(&self, now: &Now, generation: u32) -> Option<u32> {
        self.age(now, generation).map(milliseconds)
    }

    /// Whether nothing has come of the last check, and the next one is not to be made yet.
    pub(crate) fn is_check_postponed(&self, now: &Now, generation: u32) -> bool {
        let age_ms = self.age_ms(now, generation);
        age_ms.is_some_and(|age_ms| age_ms < self.freshness.check_after_ms.get())
    }

    /// Whether it may be answered from when it is of this age.
    pub(crate) fn is_trusted_at(&self, age: Duration) -> bool {
        milliseconds(age) < self.freshness.lifetime_ms.get()
    }

    /// A check has begun: it is not due again while the entry is trusted.
    pub(crate) fn begin_check(&self) {
        self.freshness
            .check_after_ms
            .set(self.freshness.lifetime_ms.get());
    }

    /// Whether something tells of all that changes it.
    pub(crate) fn is_watched(&self) -> bool {
        self.freshness.lifetime_ms.get() == FOR_EVER_MS
    }

    /// Has a watched entry revalidated once in this time all the same: in the background by a request in the last quarter
    /// of it, or before its next use after that. Zero: at its next use.
    pub(crate) fn compare_every(&self, every: Duration) {
        self.freshness
            .check_after_ms
            .set(milliseconds(every / 4 * 3));
    }

    /// It was compared beside the requests and holds. Gives whether that counts: where something is known to have
    /// changed since, it does not.
    pub(crate) fn confirm(&self, now: &Now, generation: u32) -> bool {
        let counts = self.freshness.confirmed.get().is_some() && self.is_of(generation);
        if counts {
            self.freshness.confirmed.set(Some(now.monotonic));
        }
        counts
    }

    /// Has it checked in `pause` from now on, not before.
    pub(crate) fn postpone_check(&self, pause: Duration, now: &Now) {
        if let Some(age) = self.age(now, self.freshness.generation.get()) {
            self.freshness.check_after_ms.set(milliseconds(age + pause));
        }
    }

    /// Notes that it was answered from after its lifetime. Gives whether that is the first time since it was
    /// confirmed.
    pub(crate) fn note_stale(&self) -> bool {
        !self.freshness.was_stale.replace(true)
    }

    /// Whether it was, since it was confirmed.
    pub(crate) fn was_stale(&self) -> bool {
        self.freshness.was_stale.get()
    }

    /// Whether the disk was asked in this generation.
    pub(crate) fn is_of(&self, generation: u32) -> bool {
        self.freshness.generation.get() == generation
    }

    /// Trusts the entry: the disk was asked. For less time while the metadata of its files does not tell their
    /// bytes from others yet.
    pub fn trust(&self, trust: Trust, ticket: Option<Ticket>, now: &Now) {
        let own = self.variants().and_then(|variants| variants.lifetime(now));
        let lifetime_ms = milliseconds(trust.lifetime);
        let (lifetime_ms, check_after_ms) = match own.map(milliseconds) {
            Some(ms) if ms < lifetime_ms => (ms, ms),
            _ if lifetime_ms == FOR_EVER_MS => (FOR_EVER_MS, FOR_EVER_MS),
            _ => (lifetime_ms, lifetime_ms / 2),
        };
        self.freshness.lifetime_ms.set(lifetime_ms);
        self.freshness.check_after_ms.set(check_after_ms);
        self.freshness.confirmed.set(Some(now.monotonic));
        self.freshness.was_stale.set(false);
        self.freshness.generation.set(trust.generation);
        self.ticket.0.set(ticket);
    }

    /// Trusts the entry no longer: something that it depends on has changed.
    pub(crate) fn distrust(&self) {
        self.freshness.confirmed.set(None);
    }
}

/// Whole milliseconds, as far as they can be told apart from [`FOR_EVER_MS`].
fn milliseconds(time: Duration) -> u32 {
    let whole = u32::try_from(time.as_secs()).unwrap_or(FOR_EVER_MS);
    let whole_ms = whole.saturating_mul(1_000);
    whole_ms.saturating_add(time.subsec_millis())
}
