//! Negative entries: paths without a file.
//!
//! Anybody can request a million of them, so each is kept in a small form: when it was confirmed, for how long, and
//! its status. A request for it gets a normal entry, which is made in a reserved place. While it is revalidated it has
//! an entry of its own, because the result is noted there.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{PathCache, curve_key};
use crate::cache::curve::{CurvePart, Holding, NEVER, Sampler};
use crate::cache::dependents::{Released, Ticket};
use crate::cache::entry::{Entry, Plain, Resolution, Times, Validity};
use crate::cache::key::PathKey;
use crate::cache::recency::Member;
use crate::cache::stats::MissReason;
use crate::clock::Now;
use crate::http::status::Status;

/// Times are kept in units of so many milliseconds since the first one. 32 bits last for two years; later entries are
/// kept in the normal form.
const TICK_MS: u64 = 16;
/// Look-ups are counted in units of two to this power.
const DUE_SHIFT: u32 = 6;

/// A negative entry.
#[derive(Debug)]
pub(super) struct Negative {
    what: What,
    /// A part of the hash of its path.
    hash: u32,
    /// The next lookup that is shown to the sampler.
    due: u32,
    pub(super) since_s: u32,
    /// In the small form, the age in milliseconds after which it is revalidated in the background. The field is here
    /// because it takes no space here.
    check_after_ms: u32,
}

#[derive(Debug)]
enum What {
    /// A normal entry: it is being looked up or revalidated, or it has more than a status.
    Entry(Rc<Entry>),
    /// The small form.
    Resting(Resting),
}

/// The small form of an entry that has nothing but a status.
#[derive(Clone, Copy, Debug)]
struct Resting {
    /// When it was confirmed; 0: never, or one of its dependencies has changed since.
    confirmed: u32,
    /// Its lifetime in milliseconds, with [`FORBIDDEN`] if its status is 403 instead of 404, and with [`TO_FALLBACK`]
    /// if the fallback answers.
    lifetime: u32,
    generation: u32,
    /// One more than the number of its registration for change events; [`NO_LINK`]: it has none. Never zero, so
    /// that this and an entry take no more than either.
    link: NonZeroU32,
}

/// The flag of an entry with status 403.
const FORBIDDEN: u32 = 1 << 31;
/// The flag of an entry whose path the fallback answers.
const TO_FALLBACK: u32 = 1 << 30;
/// An endless lifetime. Others are a day at most, like all durations of the configuration.
const FOR_EVER: u32 = TO_FALLBACK - 1;
const NO_LINK: NonZeroU32 = NonZeroU32::MAX;

/// Data that all small forms share.
#[derive(Debug)]
pub(super) struct Common {
    /// The origin of their times.
    origin: Option<Instant>,
    /// The list of registrations that have ended.
    released: Option<Released>,
    /// The reserved place for the entry of a request.
    scratch: Rc<Entry>,
}

impl Default for Common {
    fn default() -> Common {
        Common {
            origin: None,
            released: None,
            scratch: Rc::new(Entry::new(Resolution::Refused(Status::NotFound))),
        }
    }
}

impl Member for Negative {
    fn hash(&self) -> u64 {
        table_hash(u64::from(self.hash))
    }
}

/// The hash of a path in the table of negative entries.
pub(super) fn table_hash(hash: u64) -> u64 {
    (hash & u64::from(u32::MAX)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Negative {
    pub(super) fn new(entry: Rc<Entry>, hash: u64, due: u64, since_s: u32) -> Negative {
        #[allow(clippy::cast_possible_truncation)]
        let short = hash as u32;
        let mut negative = Negative {
            what: What::Entry(entry),
            hash: short,
            due: 0,
            since_s,
            check_after_ms: 0,
        };
        negative.show_from(due);
        negative
    }

    /// Shows it to the sampler if that is due.
    pub(super) fn show(&mut self, hash: u64, sampler: &mut Sampler, holding: Holding) {
        let is_due = sampler.look_ups() >> DUE_SHIFT >= u64::from(self.due);
        if is_due && self.due != u32::MAX {
            let due = sampler.show(curve_key(hash, CurvePart::Apart, 0), holding);
            self.show_from(due);
        }
    }

    fn show_from(&mut self, due: u64) {
        self.due = match due {
            NEVER => u32::MAX,
            due => u32::try_from(due >> DUE_SHIFT).unwrap_or(u32::MAX),
        };
    }

    /// The entry to answer from, and its validity. A fresh one allocates nothing, unless the last one is still in use.
    pub(super) fn entry(
        &mut self,
        common: &mut Common,
        now: &Now,
        generation: u32,
    ) -> (Rc<Entry>, Validity) {
        let resting = match &self.what {
            What::Entry(entry) => return (Rc::clone(entry), entry.validity(now, generation)),
            What::Resting(resting) => *resting,
        };
        let times = resting.times(common.origin, self.check_after_ms);
        match Rc::get_mut(&mut common.scratch) {
            Some(entry) => entry.restore(resting.plain(), times, None),
            None => common.scratch = Rc::new(resting.restored(times, None)),
        }
        let validity = common.scratch.validity(now, generation);
        if validity == Validity::Fresh {
            return (Rc::clone(&common.scratch), validity);
        }
        let entry = Rc::new(resting.restored(times, resting.ticket(common)));
        entry.add_spelling();
        self.what = What::Entry(Rc::clone(&entry));
        (entry, validity)
    }

    /// The entry of one that was removed from the cache, with its registration for changes.
    pub(super) fn into_entry(self, common: &Common) -> Rc<Entry> {
        match self.what {
            What::Entry(entry) => entry,
            What::Resting(resting) => {
                let times = resting.times(common.origin, self.check_after_ms);
                let entry = resting.restored(times, resting.ticket(common));
                entry.add_spelling();
                Rc::new(entry)
            }
        }
    }

    fn distrust(&mut self) {
        match &mut self.what {
            What::Entry(entry) => entry.distrust(),
            What::Resting(resting) => resting.confirmed = 0,
        }
    }
}

impl Resting {
    fn times(&self, origin: Option<Instant>, check_after_ms: u32) -> Times {
        let since = u64::from(self.confirmed).saturating_sub(1) * TICK_MS;
        let confirmed = origin.map(|origin| origin + Duration::from_millis(since));
        Times {
            confirmed: confirmed.filter(|_| self.confirmed > 0),
            lifetime_ms: match self.lifetime & !(FORBIDDEN | TO_FALLBACK) {
                FOR_EVER => u32::MAX,
                ms => ms,
            },
            check_after_ms,
            generation: self.generation,
        }
    }

    /// Its registration for changes, which ends when the ticket is dropped.
    fn ticket(&self, common: &Common) -> Option<Ticket> {
        let released = common.released.as_ref();
        let released = released.filter(|_| self.link != NO_LINK)?;
        Some(Ticket::of(self.link.get() - 1, released))
    }

    fn plain(&self) -> Plain {
        match self.lifetime & (FORBIDDEN | TO_FALLBACK) {
            0 => Plain::Refused(Status::NotFound),
            TO_FALLBACK => Plain::Fallback,
            _ => Plain::Refused(Status::Forbidden),
        }
    }

    fn restored(&self, times: Times, ticket: Option<Ticket>) -> Entry {
        let mut entry = Entry::new(self.plain().into());
        entry.restore(self.plain(), times, ticket);
        entry
    }
}

impl PathCache {
    /// Converts an entry that has nothing but a status to the small form. Returns its registration for changes, and
    /// the number under which changes are reported from now on: see `distrust`.
    pub fn rest(&mut self, key: PathKey<'_>, entry: &Rc<Entry>) -> Option<(u32, u32)> {
        let what = match entry.resolution {
            Resolution::Refused(Status::NotFound) => 0,
            Resolution::Refused(Status::Forbidden) => FORBIDDEN,
            Resolution::Fallback => TO_FALLBACK,
            _ => return None,
        };
        let hash = table_hash(self.hash(key));
        let number = self.negatives.number(&key, hash)?;
        let negative = self.negatives.by_number_mut(number)?;
        if !matches!(&negative.what, What::Entry(one) if Rc::ptr_eq(one, entry)) {
            return None;
        }
        let times = entry.times();
        let common = &mut self.resting;
        let confirmed = match times.confirmed {
            None => 0,
            Some(confirmed) => {
                let origin = *common.origin.get_or_insert(confirmed);
                let since = confirmed.saturating_duration_since(origin).as_millis();
                u32::try_from(since / u128::from(TICK_MS) + 1).ok()?
            }
        };
        let lifetime = match times.lifetime_ms {
            u32::MAX => FOR_EVER,
            ms => ms.min(FOR_EVER - 1),
        };
        let link = entry.take_ticket().map(|ticket| {
            let (link, released) = ticket.hand_over();
            common.released = Some(released);
            link
        });
        negative.what = What::Resting(Resting {
            confirmed,
            lifetime: lifetime | what,
            generation: times.generation,
            link: link.map_or(NO_LINK, |link| NonZeroU32::MIN.saturating_add(link)),
        });
        negative.check_after_ms = times.check_after_ms;
        entry.drop_spelling();
        Some((link?, number))
    }

    /// Invalidates the entry with this number: one of its dependencies has changed.
    pub(crate) fn distrust(&mut self, number: u32) {
        if let Some(negative) = self.negatives.by_number_mut(number) {
            negative.distrust();
        }
    }

    /// Notes why a removed entry has left the cache. Returns the entry.
    pub(super) fn leave(
        &mut self,
        key: PathKey<'_>,
        negative: Negative,
        fate: MissReason,
    ) -> Rc<Entry> {
        let hash = self.hash(key);
        self.files.note_departure(hash, fate);
        negative.into_entry(&self.resting)
    }
}
