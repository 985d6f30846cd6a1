//! What a look-up at the disk is made with, and what its result is compared with.
//!
//! A look-up from before a change may not have seen it: where it turns out to rest on what has changed, those who came
//! after the change look once more.

use std::rc::Rc;
use std::time::Instant;

use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::site::sites::Site;
use crate::store::watch::directories::{EventSequence, WatchedPath};

/// What a look-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Somebody asked for what is not known, or has to be opened.
    Asked,
    /// An entry is compared with the disk, whether or not anybody waits for that.
    Check,
    /// Nobody has asked yet: the caches are being filled.
    Prefetch,
}

/// A look-up under way.
#[derive(Debug)]
pub(super) struct LookUp {
    /// The site that it is made for.
    pub site: Rc<Site>,
    /// The raw path.
    pub raw_path: Box<[u8]>,
    /// The entry that is being checked, if there was one.
    pub entry: Option<Rc<Entry>>,
    /// What held when it was submitted.
    pub since: Epoch,
    /// The way to its directory, if that was watched already.
    pub watched_path: Option<Rc<WatchedPath>>,
    /// What it is for.
    pub aim: Aim,
    /// When it was submitted.
    pub begun: Instant,
}

impl LookUp {
    /// What it looks up.
    pub(super) fn key(&self) -> PathKey<'_> {
        PathKey::new(self.site.id, &self.raw_path)
    }

    /// Whether it was submitted beneath the same root and in the same generation.
    pub(super) fn is_as_of(&self, since: Epoch) -> bool {
        self.since.root == since.root && self.since.generation == since.generation
    }
}

/// What held when a look-up was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Which events had been taken in.
    pub sequence: EventSequence,
    /// The generation of entries.
    pub generation: u32,
    /// How many roots there had been.
    pub root: u32,
}
