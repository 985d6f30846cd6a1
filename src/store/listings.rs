//! Directory pages: one for each directory, generated once after each change, and shared by all responses.
//!
//! A page is cached as long as there is room for it, and is shared as long as a response sends it: a thousand slow
//! clients have one page in memory. The key is the directory, not a path, since one directory has many spellings.

use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};

use foldhash::fast::RandomState;
use lru::LruCache;

use super::complete::Keeping;
use super::inquiry::{Inquiry, LookupTarget};
use super::lookups::LookUp;
use super::{Asked, LookupMode, LookupResult, Store};
use crate::cache::entry::{Entry, Resolution, Validity};
use crate::cache::key::{self, PathKey, PathKeyBuf};
use crate::cache::path::Known;
use crate::clock::Now;
use crate::conn::Document;
use crate::job::{Dependencies, Listing};
use crate::site::listing;
use crate::site::resolve::LookupPlan;
use crate::site::sites::SiteId;
use crate::sys::memory::{Copied, Memory};

/// Maximum number of directories.
const COUNT_MAX: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Maximum size of the pages that are cached, in bytes.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// The page of a directory.
#[derive(Debug)]
struct Page {
    /// Its lifetime and dependencies.
    entry: Rc<Entry>,
    digest: u64,
    bytes: Weak<Memory>,
    /// The same, while it is cached.
    kept: Option<Rc<Memory>>,
}

/// The pages, by site and path of the directory below its root.
#[derive(Debug)]
pub(super) struct Pages {
    known: LruCache<PathKeyBuf, Page, RandomState>,
    kept_bytes: usize,
}

impl Default for Pages {
    fn default() -> Pages {
        Pages {
            known: LruCache::with_hasher(COUNT_MAX, RandomState::default()),
            kept_bytes: 0,
        }
    }
}

impl Pages {
    /// The entry of a directory.
    fn entry(&self, directory: PathKey<'_>) -> Option<&Rc<Entry>> {
        self.known.peek(&directory.to_buf()).map(|page| &page.entry)
    }

    /// The digest of a page, if it is still in memory.
    pub(super) fn digest(&self, directory: PathKey<'_>) -> Option<u64> {
        let page = self.known.peek(&directory.to_buf())?;
        (page.bytes.strong_count() > 0).then_some(page.digest)
    }

    /// A page, if it is still in memory.
    fn page(&mut self, directory: PathKey<'_>) -> Option<Rc<Memory>> {
        self.known.get(&directory.to_buf())?.bytes.upgrade()
    }

    fn insert(
        &mut self,
        directory: PathKey<'_>,
        entry: Rc<Entry>,
        digest: u64,
        bytes: &Rc<Memory>,
    ) {
        let page = Page {
            entry,
            digest,
            bytes: Rc::downgrade(bytes),
            kept: Some(Rc::clone(bytes)),
        };
        self.kept_bytes += bytes.addresses().len();
        let gone = self.known.push(directory.to_buf(), page);
        if let Some((_, gone)) = gone {
            self.count_out(gone.kept);
        }
        let mut out = 0;
        for (_, page) in self.known.iter_mut().rev() {
            if self.kept_bytes - out <= KEPT_BYTES_MAX {
                break;
            }
            out += page.kept.take().map_or(0, |kept| kept.addresses().len());
        }
        self.kept_bytes -= out;
    }

    fn count_out(&mut self, kept: Option<Rc<Memory>>) {
        self.kept_bytes -= kept.map_or(0, |kept| kept.addresses().len());
    }

    /// Removes the page of a directory.
    fn remove(&mut self, directory: PathKey<'_>) {
        if let Some(page) = self.known.pop(&directory.to_buf()) {
            self.count_out(page.kept);
        }
    }

    /// Forgets the pages of some sites.
    pub(super) fn clear_sites(&mut self, is_meant: &dyn Fn(SiteId) -> bool) {
        let directories = self.known.iter().map(|(directory, _)| directory.as_key());
        for directory in key::of_sites(directories, is_meant) {
            self.remove(directory.as_key());
        }
    }

    /// Removes all pages.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.kept_bytes = 0;
    }
}

impl Store {
    /// Answers a request for a path without an entry. If it may be a listed directory, its page is used.
    pub(super) fn find_unknown(&mut self, inquiry: &Inquiry<'_>) -> Asked {
        let (raw_path, now) = (inquiry.raw_path(), inquiry.now);
        let plan = match inquiry.requester.site.policy.plan(raw_path) {
            Ok(plan) => plan,
            Err(settled) => return self.answer_settled(settled, raw_path, inquiry),
        };
        let Some(listed) = &plan.listing else {
            return self.fetch(LookupTarget::full(raw_path), Some(plan), inquiry);
        };
        // All spellings of a directory share its page and one lookup.
        let plain = listed.raw_path();
        if plain != raw_path
            && let Known::Fresh(entry) = self.paths.cache.look_up_again(inquiry.key(&plain), now)
        {
            return self.answer_from(&entry, &[], inquiry);
        }
        let entry = self.paths.pages.entry(inquiry.key(plan.directory()));
        let Some(entry) = entry.map(Rc::clone) else {
            let target = LookupTarget {
                mode: LookupMode::Revalidate,
                ..LookupTarget::full(&plain)
            };
            return self.fetch(target, Some(plan), inquiry);
        };
        let known = inquiry.known(&plain, &entry);
        match entry.validity(now, self.paths.cache.generation()) {
            Validity::Fresh => {}
            Validity::Due => self.check_ahead(known, now),
            Validity::Expired => return self.answer_expired(known, Some(plan), inquiry),
        }
        self.answer_listed(&plain, plan, inquiry)
    }

    /// Answers with the page of the directory of this plan, or submits a job that generates it.
    pub(super) fn answer_listed(
        &mut self,
        raw_path: &[u8],
        plan: LookupPlan,
        inquiry: &Inquiry<'_>,
    ) -> Asked {
        match self.paths.pages.page(inquiry.key(plan.directory())) {
            Some(bytes) => Asked::Document(document(bytes)),
            None => self.fetch(LookupTarget::full(raw_path), Some(plan), inquiry),
        }
    }

    /// The page of a directory that has not changed. If it is no longer in memory, the waiting requests ask again.
    pub(super) fn checked_page(
        &mut self,
        look_up: &LookUp,
        dependencies: &Dependencies,
    ) -> LookupResult {
        let directory = PathKey::new(look_up.site.id, dependencies.plan.directory());
        match self.paths.pages.page(directory) {
            Some(bytes) => LookupResult::Document(document(bytes)),
            None => LookupResult::Again,
        }
    }

    /// Caches a new page.
    pub(super) fn listed(
        &mut self,
        look_up: &LookUp,
        listing: Listing,
        dependencies: &Dependencies,
        keeping: Keeping,
        now: &Now,
    ) -> LookupResult {
        let bytes = Rc::new(Memory::Copied(Copied::page(listing.page)));
        self.drop_path(look_up.key());
        match keeping {
            Keeping::Remembered => {
                let entry = Rc::new(Entry::new(Resolution::Listed));
                self.trust(&entry, dependencies, look_up, now);
                let directory = PathKey::new(look_up.site.id, dependencies.plan.directory());
                self.paths
                    .pages
                    .insert(directory, entry, listing.digest, &bytes);
            }
            Keeping::Forgotten => self.freshness.forget(dependencies, look_up.since),
        }
        LookupResult::Document(document(bytes))
    }

    /// Removes the page of a directory that is no longer listed.
    pub(super) fn not_listed(&mut self, look_up: &LookUp, dependencies: &Dependencies) {
        if let Some(entry) = &look_up.entry
            && let Resolution::Listed = entry.resolution
        {
            let directory = PathKey::new(look_up.site.id, dependencies.plan.directory());
            self.paths.pages.remove(directory);
        }
    }
}

fn document(bytes: Rc<Memory>) -> Rc<Document> {
    let policy = Some(listing::CONTENT_SECURITY_POLICY);
    Rc::new(Document::shared(listing::MEDIA_TYPE, bytes, policy))
}
