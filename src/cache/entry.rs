//! What a path leads to.
//!
//! [`Resolution`] is the result of the lookup, [`Seen`] what a revalidation compares with the disk, [`Trust`] how long
//! the entry is valid without one.

use std::cell::Cell;
use std::fmt;

use super::dependents::Ticket;
use super::weight::Weight;
use crate::http::status::Status;
use crate::site::redirect::Moved;
use crate::site::representation::Variants;
use crate::sys::allocator::block_length;

mod counts;
mod freshness;
mod seen;

use counts::Counts;
use freshness::Freshness;
pub(super) use freshness::Times;
pub use freshness::{Trust, Validity};
pub use seen::Seen;

/// Result of a lookup. Most entries are files, and a box would cost each hit a processor cache line.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// A file, with what must still hold for it to be the right one.
    File {
        /// The file and its precompressed variants.
        variants: Variants,
        /// What the look-up saw besides.
        seen: Seen,
    },
    /// A directory asked for without its slash, or a path that a rule sends elsewhere.
    Moved(Moved),
    /// Nothing, or nothing that is served: 404 or 403.
    Refused(Status),
    /// Nothing, at a path of the site's application: the fallback answers.
    Fallback,
    /// A directory without an index, which is listed. Its page is not here, and its entry in no cache of paths.
    Listed,
}

impl Resolution {
    /// Bytes that it has allocated, without rendered heads.
    fn bytes(&self) -> u64 {
        match self {
            Resolution::File { variants, seen } => {
                block_length(size_of_val(&*variants.coded)) + seen.bytes()
            }
            Resolution::Moved(moved) => block_length(moved.location.len()),
            Resolution::Refused(_) | Resolution::Fallback | Resolution::Listed => 0,
        }
    }
}

/// A resolution that is all said in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// [`Resolution::Refused`].
    Refused(Status),
    /// [`Resolution::Fallback`].
    Fallback,
}

impl From<Plain> for Resolution {
    fn from(plain: Plain) -> Resolution {
        match plain {
            Plain::Refused(status) => Resolution::Refused(status),
            Plain::Fallback => Resolution::Fallback,
        }
    }
}

/// One entry of the path cache.
#[derive(Debug)]
pub struct Entry {
    /// Result of the lookup.
    pub resolution: Resolution,
    freshness: Freshness,
    counts: Counts,
    /// Its registration for change events.
    ticket: Held,
    /// Whether it is in the list of those with most bytes. With the counts it would take eight bytes more.
    is_listed: Cell<bool>,
    /// Whether it is known that no guard has its path.
    is_unguarded: Cell<bool>,
    /// Its memory, without rendered heads.
    _weight: Weight,
}

/// A ticket that may be exchanged for another.
#[derive(Default)]
struct Held(Cell<Option<Ticket>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Entry {
    /// Takes its registration for change events.
    pub(super) fn take_ticket(&self) -> Option<Ticket> {
        self.ticket.0.take()
    }

    /// Becomes the entry for what leads to no file, with nothing counted.
    pub(super) fn restore(&mut self, plain: Plain, times: Times, ticket: Option<Ticket>) {
        // It takes nothing besides.
        self.resolution = plain.into();
        self.freshness = Freshness::from(times);
        self.counts = Counts::default();
        self.ticket = Held(Cell::new(ticket));
        self.is_listed = Cell::new(false);
        self.is_unguarded = Cell::new(false);
    }

    /// Whether it is known that no guard has its path.
    pub(crate) fn is_unguarded(&self) -> bool {
        self.is_unguarded.get()
    }

    /// No guard has its path.
    pub(crate) fn note_unguarded(&self) {
        self.is_unguarded.set(true);
    }

    /// An entry that nobody trusts yet.
    pub fn new(resolution: Resolution) -> Entry {
        let counters = 2 * size_of::<usize>();
        let own = block_length(counters + size_of::<Entry>());
        Entry {
            _weight: Weight::of(own + resolution.bytes()),
            resolution,
            freshness: Freshness::default(),
            counts: Counts::default(),
            ticket: Held::default(),
            is_listed: Cell::new(false),
            is_unguarded: Cell::new(false),
        }
    }

    /// The device of the file that it leads to, if it leads to one.
    pub(crate) fn device(&self) -> Option<u64> {
        self.variants()
            .map(|variants| variants.identity.version.device)
    }

    /// The file that it leads to, and its precompressed variants.
    pub(crate) fn variants(&self) -> Option<&Variants> {
        match &self.resolution {
            Resolution::File { variants, .. } => Some(variants),
            Resolution::Moved(_)
            | Resolution::Refused(_)
            | Resolution::Fallback
            | Resolution::Listed => None,
        }
    }

    /// Whether a new lookup found the same file.
    pub(super) fn is_same(&self, found: &Resolution) -> bool {
        match (&self.resolution, found) {
            (Resolution::File { variants: own, .. }, Resolution::File { variants, .. }) => {
                let known = |one: &Variants| {
                    let file = &one.identity;
                    (file.validators.entity_tag, file.identity)
                };
                own.versions().eq(variants.versions()) && known(own) == known(variants)
            }
            _ => false,
        }
    }

    /// Whether it is in the list of those with most bytes.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed.get()
    }

    /// It is from now on.
    pub(super) fn enlist(&self) {
        self.is_listed.set(true);
    }

    /// It is no longer.
    pub(super) fn strike(&self) {
        self.is_listed.set(false);
    }
}
