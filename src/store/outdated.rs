//! Precompressed files that go unused because they are older than their file: a publish has made them first, or not
//! again, and nobody would notice.

use std::ffi::CString;
use std::num::NonZeroUsize;

use foldhash::fast::RandomState;
use lru::LruCache;
use serde::Serialize;

use crate::cache::key::{PathKey, PathKeyBuf};
use crate::site::resolve::VARIANT_CODINGS;
use crate::site::sites::SiteId;

/// Names that are remembered; with more, those seen last count.
const COUNT_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// Those that are known now, by site and their names below its root.
#[derive(Debug)]
pub(crate) struct Outdated(LruCache<PathKeyBuf, (), RandomState>);

/// The same for /status.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OutdatedNumbers {
    /// How many, 1,024 at most.
    pub outdated: usize,
    /// The one that was found last.
    pub outdated_example: Option<String>,
}

impl Default for Outdated {
    fn default() -> Outdated {
        Outdated(LruCache::with_hasher(COUNT_MAX, RandomState::default()))
    }
}

impl Outdated {
    /// Takes in which precompressed files beside the file of this path are older than it.
    pub(super) fn note(&mut self, site: SiteId, path: &[u8], outdated: &[CString]) {
        if !self.0.is_empty() {
            for coding in VARIANT_CODINGS {
                let name = [path, coding.suffix().as_bytes()].concat();
                self.0.pop(&PathKey::new(site, &name).to_buf());
            }
        }
        for name in outdated {
            self.0.put(PathKey::new(site, name.as_bytes()).to_buf(), ());
        }
    }

    /// Forgets those of some sites.
    pub(super) fn clear_sites(&mut self, is_meant: &dyn Fn(SiteId) -> bool) {
        let all = std::mem::replace(&mut self.0, Outdated::default().0);
        // From the one seen longest ago on, so that the order stays.
        for (name, ()) in all.iter().rev() {
            if !is_meant(name.as_key().site) {
                self.0.put(name.clone(), ());
            }
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many there are, and one of them.
    pub(crate) fn numbers(&self) -> OutdatedNumbers {
        let last = self.0.iter().next();
        let example = last.map(|(name, ())| format!("/{}", String::from_utf8_lossy(name.path())));
        OutdatedNumbers {
            outdated: self.0.len(),
            outdated_example: example,
        }
    }
}
