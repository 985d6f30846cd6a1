//! Following the disk: what changes do to what is remembered, and how long a result is trusted.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use lru::LruCache;

use super::Store;
use super::contents::was_written_to;
use super::lookups::{Epoch, LookUp};
use super::recheck::Rechecks;
use super::roots::Roots;
use super::stale::Staleness;
use super::watch::directories::{WatchState, WatchedPath};
use super::watch::{Change, Watch};
use crate::cache::dependents::Ticket;
use crate::cache::entry::{Entry, Trust};
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::job::{Dependencies, LookupSite, Opened, WatchCoverage};
use crate::settings::Settings;
use crate::site::resolve::LookupPlan;
use crate::site::sites::{Site, SiteId};
use crate::sys::file::FileVersion;
use crate::sys::watches::{Unwatched, Watches};

/// Versions remembered that are no more.
const REWRITTEN_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// What is known of changes at the disk.
#[derive(Debug)]
pub(super) struct Freshness {
    /// Whose changes are told.
    pub(super) watch: Watch,
    /// Answers from what the disk does not confirm in time.
    pub(super) staleness: Staleness,
    /// What is compared though nothing told of a change.
    pub(super) rechecks: Rechecks,
    /// The directories of the sites.
    pub(super) roots: Roots,
    /// Versions that were mapped and then written to: entries that still lead to them are out of date.
    rewritten: LruCache<FileVersion, (), RandomState>,
    /// Times that the kernel lost events.
    pub(super) overflows: u64,
    /// Empty, with room for the changes of one iteration.
    changes: Vec<Change>,
}

/// How an entry learns of changes.
struct Watching {
    /// How long it is trusted.
    lifetime: Duration,
    /// Its place among those that are told.
    ticket: Option<Ticket>,
    /// What is to be said on standard error.
    notice: Option<String>,
}

impl Freshness {
    /// Nothing has changed yet.
    pub(super) fn new(
        settings: &Settings,
        watches: Option<Arc<Watches>>,
        roots: Roots,
    ) -> Freshness {
        Freshness {
            watch: Watch::new(settings.cache.watched_directory_count_max, watches),
            staleness: Staleness::new(settings),
            rechecks: Rechecks::new(settings.recheck),
            roots,
            rewritten: LruCache::with_hasher(REWRITTEN_COUNT_MAX, RandomState::default()),
            overflows: 0,
            changes: Vec::new(),
        }
    }

    /// What holds now for a look-up of a site that is submitted in this generation of entries.
    pub(super) fn since(&self, site: SiteId, generation: u32) -> Epoch {
        Epoch {
            sequence: self.watch.directories.sequence(),
            generation,
            root: self.roots.of(site).number,
        }
    }

    /// Whether a look-up was made beneath the present root of its site.
    pub(super) fn is_current(&self, look_up: &LookUp) -> bool {
        look_up.since.root == self.roots.of(look_up.site.id).number
    }

    /// Where a look-up is made, and the way there if it is watched already.
    pub(super) fn lookup_site(
        &mut self,
        plan: &LookupPlan,
        site: &Site,
        now: &Now,
    ) -> (LookupSite, Option<Rc<WatchedPath>>) {
        let Freshness { watch, roots, .. } = self;
        let (directories, root) = (&mut watch.directories, roots.of(site.id));
        let mut watched_path = None;
        let coverage = match directories.watches().map(Arc::clone) {
            Some(watches) if !root.has_no_events => {
                watched_path = directories.watched_path(PathKey::new(site.id, plan.directory()));
                match watched_path {
                    Some(_) => WatchCoverage::Watched(watches),
                    None => WatchCoverage::Unknown(watches),
                }
            }
            _ => WatchCoverage::Unwatched,
        };
        let place = LookupSite {
            root: Arc::clone(&root.root),
            is_root_compared: !root.is_watched(),
            coverage,
            tags: site.policy.entity_tags,
            asked: now.wall,
        };
        (place, watched_path)
    }

    /// Whether something that a look-up rests on has changed since it was submitted, as far as that is
    /// told.
    pub(super) fn is_invalidated(&self, look_up: &LookUp, dependencies: &Dependencies) -> bool {
        let directories = &self.watch.directories;
        let since = look_up.since.sequence;
        if let Some(walk) = &dependencies.walk {
            return directories.has_invalidated(walk, since);
        }
        let Some(watched_path) = &look_up.watched_path else {
            return false;
        };
        let found = directories.known(watched_path, &dependencies.plan, since);
        matches!(found, WatchState::Invalidated)
    }

    /// Trusts an entry as far as what it rests on allows. Gives what is to be said on standard error.
    pub(super) fn trust(
        &mut self,
        entry: &Rc<Entry>,
        dependencies: &Dependencies,
        look_up: &LookUp,
        now: &Now,
    ) -> Option<String> {
        let since = look_up.since;
        let directories = &mut self.watch.directories;
        let found = match (&dependencies.walk, &look_up.watched_path) {
            (Some(walk), _) => directories.walked(walk, since.sequence),
            (None, Some(path)) => directories.known(path, &dependencies.plan, since.sequence),
            (None, None) => WatchState::Unwatched(Unwatched::FileSystem, Vec::new()),
        };
        let is_invalidated = matches!(found, WatchState::Invalidated);
        let watching = self.watch_entry(entry, found, dependencies, &look_up.site);
        let trust = Trust {
            lifetime: watching.lifetime,
            generation: since.generation,
        };
        entry.trust(trust, watching.ticket, now);
        if is_invalidated {
            // It is known to have changed: no version that was confirmed a moment ago.
            entry.distrust();
        }
        let directories = &mut self.watch.directories;
        // The ticket that it had, and those of entries that were pushed out.
        directories.collect();
        if let Some(walk) = &dependencies.walk {
            directories.release(walk);
        }
        if entry.is_watched() {
            self.rechecks.plan(entry);
        }
        watching.notice
    }

    /// Has an entry told of changes, or polled where nothing tells of them.
    fn watch_entry(
        &mut self,
        entry: &Rc<Entry>,
        found: WatchState,
        dependencies: &Dependencies,
        site: &Site,
    ) -> Watching {
        let directory = PathKey::new(site.id, dependencies.plan.directory());
        let is_root_watched = self.roots.of(site.id).is_watched();
        let directories = &mut self.watch.directories;
        let polled = |ticket, notice| Watching {
            lifetime: site.policy.revalidate,
            ticket: Some(ticket),
            notice,
        };
        match found {
            WatchState::Stable(keys) => {
                if let Some(walk) = &dependencies.walk {
                    directories.remember(directory, walk, &dependencies.plan);
                }
                // What has another name may be changed through it: no event here would tell.
                if dependencies.is_linked {
                    return polled(directories.poll(entry, directory, keys), None);
                }
                let Some(ticket) = directories.hold(entry, keys) else {
                    let notice = directories.refuse(None);
                    return polled(directories.poll(entry, directory, Vec::new()), notice);
                };
                let lifetime = match is_root_watched {
                    true => Trust::FOR_EVER,
                    false => site.policy.revalidate,
                };
                Watching {
                    lifetime,
                    ticket: Some(ticket),
                    notice: None,
                }
            }
            // It is looked at before it is used again: nothing has to tell of it.
            WatchState::Invalidated => Watching {
                lifetime: Duration::ZERO,
                ticket: None,
                notice: None,
            },
            WatchState::Unwatched(why, keys) => {
                // The root itself, where nothing was watched before it.
                self.roots.of_mut(site.id).has_no_events |=
                    why == Unwatched::FileSystem && keys.is_empty() && dependencies.walk.is_some();
                let notice = match why {
                    Unwatched::Refused(error) => directories.refuse(Some(error)),
                    _ => None,
                };
                polled(directories.poll(entry, directory, keys), notice)
            }
        }
    }

    /// A look-up whose result is not remembered is over.
    pub(super) fn forget(&mut self, dependencies: &Dependencies, since: Epoch) {
        if let Some(walk) = &dependencies.walk {
            self.watch.directories.walked(walk, since.sequence);
            self.watch.directories.release(walk);
        }
    }

    /// When the way that a look-up has gone was last made to lead there, in seconds since 1970.
    pub(super) fn since_when(&self, look_up: &LookUp, dependencies: &Dependencies) -> i64 {
        let watched_path = look_up.watched_path.as_deref();
        let since = match (&dependencies.walk, watched_path) {
            (Some(walk), _) => walk.since,
            (None, Some(watched_path)) => watched_path.named_at(),
            (None, None) => i64::MIN,
        };
        since.max(self.roots.of(look_up.site.id).since)
    }

    /// The bound on staleness of what is not watched, in milliseconds.
    pub(super) fn revalidate_ms(&self) -> u64 {
        let all = self.roots.iter().map(|root| root.site.policy.revalidate);
        let revalidate = all.max().unwrap_or_default();
        u64::try_from(revalidate.as_millis()).unwrap_or(u64::MAX)
    }

    /// The longest that a change may go unnoticed now, in milliseconds.
    pub(super) fn worst_staleness_ms(&self) -> u64 {
        let directories = &self.watch.directories;
        let all_watched = self.roots.are_watched() && directories.polled().1 == 0;
        if all_watched { 0 } else { self.revalidate_ms() }
    }
}

impl Store {
    /// Takes in the changes that are known by now. Called before requests are answered, so that
    /// whoever has seen his change return is answered from what it made.
    pub(crate) fn drop_changed(&mut self) {
        let mut changes = std::mem::take(&mut self.freshness.changes);
        self.freshness.watch.drain(&mut *self.probe, &mut changes);
        self.drop_renamed();
        for site in self.freshness.watch.directories.take_touched_roots() {
            self.freshness.roots.touch(site);
        }
        for number in self.freshness.watch.directories.take_missing() {
            self.paths.cache.distrust(number);
        }
        for change in changes.drain(..) {
            match change {
                Change::Of(version) => {
                    self.freshness.rewritten.put(version, ());
                    self.contents.held.maps.remove(&version);
                    self.freshness.watch.remove(&version);
                }
                Change::OfAnything => {
                    self.distrust_all();
                    self.freshness.overflows += 1;
                }
            }
        }
        self.freshness.changes = changes;
    }

    /// Whether the file of an entry is known to be of another version by now, for an answer that sends none of
    /// its bytes. Writes through a name that it got after it was remembered are told to whoever holds the file.
    /// `opened` was opened by the look-up that has led here, if one has: it was looked at after all that was told.
    pub(super) fn is_rewritten(&mut self, version: &FileVersion, opened: &[Opened]) -> bool {
        let rewritten = &mut self.freshness.rewritten;
        if let Some(fresh) = opened.iter().find(|opened| opened.version == *version) {
            // Where clocks are coarse a write may leave the version what it was.
            let is_rewritten = was_written_to(fresh, &*self.probe);
            if !is_rewritten {
                rewritten.pop(version);
            }
            return is_rewritten;
        }
        if !rewritten.is_empty() && rewritten.contains(version) {
            return true;
        }
        self.contents.is_replaced(version, &*self.probe)
    }

    /// Has everything checked before it is used again.
    pub(crate) fn distrust_all(&mut self) {
        self.paths.cache.distrust_all();
        self.freshness.watch.directories.overflowed();
        self.freshness.roots.touch_all();
    }

    /// What holds now for a look-up that is submitted.
    pub(super) fn since(&self, site: SiteId) -> Epoch {
        self.freshness.since(site, self.paths.cache.generation())
    }
}
