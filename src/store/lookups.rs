//! A lookup in flight: its parameters, and the state of the store when it was submitted.
//!
//! A lookup that began before a change may not have seen it. If one of its dependencies has changed, requests that
//! came after the change ask again.

use std::rc::Rc;
use std::time::Instant;

use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::site::sites::Site;
use crate::store::watch::directories::{EventSequence, WatchedPath};

/// The purpose of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// A request for an unknown path, or for a file that has to be opened.
    Asked,
    /// The revalidation of an entry, with or without a waiting request.
    Check,
    /// Prefetching.
    Prefetch,
}

/// A lookup in flight.
#[derive(Debug)]
pub(super) struct LookUp {
    /// Its site.
    pub site: Rc<Site>,
    /// The raw path.
    pub raw_path: Box<[u8]>,
    /// The entry that is revalidated, if there is one.
    pub entry: Option<Rc<Entry>>,
    /// The state of the store when it was submitted.
    pub since: Epoch,
    /// The path of its directory, if that was already watched.
    pub watched_path: Option<Rc<WatchedPath>>,
    /// Its purpose.
    pub aim: Aim,
    /// When it was submitted.
    pub begun: Instant,
}

impl LookUp {
    /// The key of its path.
    pub(super) fn key(&self) -> PathKey<'_> {
        PathKey::new(self.site.id, &self.raw_path)
    }

    /// Whether it was submitted for the same root and generation.
    pub(super) fn is_as_of(&self, since: Epoch) -> bool {
        self.since.root == since.root && self.since.generation == since.generation
    }
}

/// The state of the store when a lookup was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// The last event that was known.
    pub sequence: EventSequence,
    /// The generation of entries.
    pub generation: u32,
    /// The number of the root.
    pub root: u32,
}
