//! Paths that lead to no file.
//!
//! Anybody can make up a million of them, so what is remembered of one is kept small: while nobody answers from it,
//! when it was confirmed, for how long that holds, and what it is answered with. Whoever asks for it gets an entry
//! like all others, made anew in a place that is kept for that. One that has to be checked becomes an entry of its
//! own again, because what comes of a check is noted there.

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

/// Times are kept in units of so many milliseconds since the first: 32 bits last for two years, after which
/// entries are kept whole.
const TICK_MS: u64 = 16;
/// Look-ups are counted in units of two to this power.
const DUE_SHIFT: u32 = 6;

/// A path that leads to no file.
#[derive(Debug)]
pub(super) struct Negative {
    what: What,
    /// A part of the hash of its path.
    hash: u32,
    /// The look-up from which on it is to be shown to the sampler.
    due: u32,
    pub(super) since_s: u32,
    /// While it rests, the age in milliseconds from which on it is checked ahead of time. Here it takes no room.
    check_after_ms: u32,
}

#[derive(Debug)]
enum What {
    /// It is being looked up or checked, or it says more than one word.
    Entry(Rc<Entry>),
    /// It is not.
    Resting(Resting),
}

/// What is kept of an entry that says one word.
#[derive(Clone, Copy, Debug)]
struct Resting {
    /// When it was confirmed; 0: it was not, or something that it depends on has changed since.
    confirmed: u32,
    /// For how long that holds, in milliseconds; with [`FORBIDDEN`] if it says 403 instead of 404, with
    /// [`TO_FALLBACK`] if the fallback answers.
    lifetime: u32,
    generation: u32,
    /// One more than the number of its registration for change events; [`NO_LINK`]: it has none. Never zero, so
    /// that this and an entry take no more than either.
    link: NonZeroU32,
}

/// Says that an entry is for 403.
const FORBIDDEN: u32 = 1 << 31;
/// Says that an entry is for a path that the fallback answers.
const TO_FALLBACK: u32 = 1 << 30;
/// A lifetime without end: others are a day at most, as durations of the configuration.
const FOR_EVER: u32 = TO_FALLBACK - 1;
const NO_LINK: NonZeroU32 = NonZeroU32::MAX;

/// What resting entries have in common.
#[derive(Debug)]
pub(super) struct Common {
    /// When time began.
    origin: Option<Instant>,
    /// Where places are given up.
    released: Option<Released>,
    /// The entry that is answered from.
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

/// The hash by which a path that leads to no file is found in its table.
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

    /// Shows it to the sampler if it is time for that.
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

    /// The entry to answer from, and how far it may be relied on. A fresh one allocates nothing, unless somebody else
    /// has the last one.
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

    /// The same for one that was removed from the cache, with its registration for change events.
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

    /// Its registration for change events, which ends when the ticket is dropped.
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
    /// Keeps what is needed of an entry that was looked up for a path and says one word, and no more. Gives its
    /// place among those that are told of changes, and the number to tell them in its stead: see
    /// `distrust`.
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

    /// Trusts an entry no longer that was given this number: something that it depends on has changed.
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
