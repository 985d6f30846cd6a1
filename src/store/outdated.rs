//! Precompressed files that are not used because they are older than their file: the publisher wrote them first, or
//! did not renew them. They are reported at /status.

use std::ffi::CString;
use std::num::NonZeroUsize;

use foldhash::fast::RandomState;
use lru::LruCache;
use serde::Serialize;

use crate::cache::key::{self, PathKey, PathKeyBuf};
use crate::site::resolve::VARIANT_CODINGS;
use crate::site::sites::SiteId;

/// Maximum number of names; the most recent ones are kept.
const COUNT_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// The outdated files, by site and name below its root.
#[derive(Debug)]
pub(crate) struct Outdated(LruCache<PathKeyBuf, (), RandomState>);

/// The same for /status.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OutdatedNumbers {
    /// Their number, at most 1,024.
    pub outdated: usize,
    /// The most recent one.
    pub outdated_example: Option<String>,
}

impl Default for Outdated {
    fn default() -> Outdated {
        Outdated(LruCache::with_hasher(COUNT_MAX, RandomState::default()))
    }
}

impl Outdated {
    /// Notes which precompressed variants of this path are older than its file.
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
        let names = self.0.iter().map(|(name, ())| name.as_key());
        for name in key::of_sites(names, is_meant) {
            self.0.pop(&name);
        }
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Their number, and one of them.
    pub(crate) fn numbers(&self) -> OutdatedNumbers {
        let last = self.0.iter().next();
        let example = last.map(|(name, ())| format!("/{}", String::from_utf8_lossy(name.path())));
        OutdatedNumbers {
            outdated: self.0.len(),
            outdated_example: example,
        }
    }
}
