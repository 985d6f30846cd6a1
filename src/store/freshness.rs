//! Following the disk: what changes do to what is remembered, how long a result is trusted, and
//! which directory is the root.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::jobs::{Promise, Purpose, RootCheck};
use super::mounts::Mounts;
use super::stale::ROOT_PATIENCE;
use super::{Asked, Requester, Store};
use crate::cache::entry::{Entry, Trust};
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::job::JobId;
use crate::job::{self, Follow, Job, LookupSite, Opened, WatchCoverage};
use crate::site::mounts::Table;
use crate::site::resolve::LookupPlan;
use crate::site::sites::Site;
use crate::store::lookups::{Epoch, LookUp};
use crate::store::watch::Change;
use crate::store::watch::directories::{WatchState, WatchedPath};
use crate::sys::beneath::Root;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::watches::{Unwatched, Walk, Watches};

/// The directory that is served, and whether another takes its place.
#[derive(Debug)]
pub(super) struct ServedRoot {
    /// Whose root it is.
    pub(super) site: Rc<Site>,
    pub(super) root: Arc<Root>,
    /// Counts roots: a result from beneath another is not remembered.
    number: u32,
    /// When the way to it was last made to lead here, in seconds since 1970: what was served before may have
    /// come from elsewhere.
    since: i64,
    /// Whether its file system tells of no changes, so that nobody walks there.
    is_untelling: bool,
    pub(super) mounts: Mounts,
    /// When what nobody uses is let go of next.
    pub(super) idle_sweep_at: Option<Instant>,
}

/// How the root was found at the start.
pub(crate) enum FoundRoot {
    /// Its path was watched, then it was opened once more.
    Watched(Walk, io::Result<Root>),
    /// Nothing will tell of another.
    Unwatched {
        /// When the way to it was last made to lead there, in seconds since 1970.
        since: i64,
    },
}

impl ServedRoot {
    pub(super) fn new(root: Arc<Root>, site: Rc<Site>, mounts: Option<Table>) -> ServedRoot {
        ServedRoot {
            site,
            mounts: Mounts::new(mounts),
            root,
            number: 0,
            since: i64::MIN,
            is_untelling: false,
            idle_sweep_at: None,
        }
    }
}

impl Store {
    /// Takes in the changes that are known by now. Called before requests are answered, so that
    /// whoever has seen his change return is answered from what it made.
    pub(crate) fn drop_changed(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        self.watch.drain(&mut *self.probe, &mut changes);
        self.drop_renamed();
        for number in self.watch.directories.take_missing() {
            self.paths.distrust(number);
        }
        for change in changes.drain(..) {
            match change {
                Change::Of(version) => {
                    self.rewritten.put(version, ());
                    self.maps.remove(&version);
                    self.watch.remove(&version);
                }
                Change::OfAnything => {
                    self.distrust_all();
                    self.overflows += 1;
                }
            }
        }
        self.changes = changes;
    }

    /// Whether the file of an entry is known to be of another version by now, for an answer that sends none of
    /// its bytes. Writes through a name that it got after it was remembered are told to whoever holds the file.
    /// `opened` was opened by the look-up that has led here, if one has: it was looked at after all that was told.
    pub(super) fn is_rewritten(&mut self, version: &FileVersion, opened: &[Opened]) -> bool {
        if let Some(fresh) = opened.iter().find(|opened| opened.version == *version) {
            // Where clocks are coarse a write may leave the version what it was.
            let is_rewritten = self.was_written_to(fresh);
            if !is_rewritten {
                self.rewritten.pop(version);
            }
            return is_rewritten;
        }
        if !self.rewritten.is_empty() && self.rewritten.contains(version) {
            return true;
        }
        let kept = self.descriptors.get(version).map(Arc::clone);
        kept.is_some_and(|file| !self.is_still(&file, version))
    }

    /// Whether the content of a file was written over since it was opened. What can no longer be described counts as
    /// written over.
    pub(super) fn was_written_to(&self, opened: &Opened) -> bool {
        let now = self.probe.describe(&opened.file);
        now.map_or(true, |now| opened.version.was_rewritten(&now.version))
    }

    /// Whether a kept file is still of its version; if it is known not to be, it is kept no longer.
    pub(super) fn is_still(&mut self, file: &OpenFile, version: &FileVersion) -> bool {
        let Ok(now) = self.probe.describe(file) else {
            return false;
        };
        let is_still = now.version == *version;
        if !is_still {
            self.descriptors.remove(version);
        }
        is_still
    }

    /// Has everything checked before it is used again.
    pub(crate) fn distrust_all(&mut self) {
        self.paths.distrust_all();
        self.watch.directories.overflowed();
    }

    /// What holds now for a look-up that is submitted.
    pub(super) fn since(&self) -> Epoch {
        Epoch {
            sequence: self.watch.directories.sequence(),
            generation: self.paths.generation(),
            root: self.served_root.number,
        }
    }

    /// Where a look-up is made, and the way there if it is watched already.
    pub(super) fn lookup_site(
        &mut self,
        lookup: &LookupPlan,
        site: &Site,
        now: &Now,
    ) -> (LookupSite, Option<Rc<WatchedPath>>) {
        let directories = &mut self.watch.directories;
        let mut watched_path = None;
        let coverage = match directories.watches().map(Arc::clone) {
            Some(watches) if !self.served_root.is_untelling => {
                watched_path = directories.watched_path(PathKey::new(site.id, lookup.directory()));
                match watched_path {
                    Some(_) => WatchCoverage::Watched(watches),
                    None => WatchCoverage::Unknown(watches),
                }
            }
            _ => WatchCoverage::Unwatched,
        };
        let place = LookupSite {
            root: Arc::clone(&self.served_root.root),
            is_root_compared: !directories.is_root_watched(),
            coverage,
            tags: site.policy.entity_tags,
            asked: now.wall,
        };
        (place, watched_path)
    }

    /// Whether something that a look-up rests on has changed since it was submitted, as far as that is
    /// told.
    pub(super) fn is_invalidated(
        &self,
        look_up: &LookUp,
        dependencies: &job::Dependencies,
    ) -> bool {
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

    /// Trusts an entry as far as what it rests on allows.
    pub(super) fn trust(
        &mut self,
        entry: &Rc<Entry>,
        dependencies: &job::Dependencies,
        look_up: &LookUp,
        now: &Now,
    ) {
        let plan = &dependencies.plan;
        let directory = PathKey::new(look_up.site.id, plan.directory());
        let (since, watched_path) = (look_up.since, look_up.watched_path.as_deref());
        let directories = &mut self.watch.directories;
        let found = match (&dependencies.walk, watched_path) {
            (Some(walk), _) => directories.walked(walk, since.sequence),
            (None, Some(watched_path)) => directories.known(watched_path, plan, since.sequence),
            (None, None) => WatchState::Unwatched(Unwatched::FileSystem, Vec::new()),
        };
        let mut lifetime = look_up.site.policy.revalidate;
        let (mut held, mut polled, mut refused) = (None, Some(Vec::new()), None);
        let is_invalidated = matches!(found, WatchState::Invalidated);
        match found {
            WatchState::Stable(keys) => {
                if let Some(walk) = &dependencies.walk {
                    directories.remember(directory, walk, plan);
                }
                // What has another name may be changed through it: no event here would tell.
                if dependencies.is_linked {
                    polled = Some(keys);
                } else {
                    held = directories.hold(entry, keys);
                    refused = held.is_none().then_some(None);
                }
                if held.is_some() && directories.is_root_watched() {
                    lifetime = Trust::FOR_EVER;
                }
            }
            // It is looked at before it is used again: nothing has to tell of it.
            WatchState::Invalidated => (lifetime, polled) = (Duration::ZERO, None),
            WatchState::Unwatched(why, keys) => {
                // The root itself, where nothing was watched before it.
                self.served_root.is_untelling |=
                    why == Unwatched::FileSystem && keys.is_empty() && dependencies.walk.is_some();
                if let Unwatched::Refused(error) = why {
                    refused = Some(Some(error));
                }
                polled = Some(keys);
            }
        }
        let notice = refused.and_then(|why| directories.refuse(why));
        let ticket = held.or_else(|| Some(directories.poll(entry, directory, polled?)));
        let generation = since.generation;
        let trust = Trust {
            lifetime,
            generation,
        };
        entry.trust(trust, ticket, now);
        if is_invalidated {
            // It is known to have changed: no version that was confirmed a moment ago.
            entry.distrust();
        }
        // The ticket that it had, and those of entries that were pushed out.
        directories.collect();
        if let Some(walk) = &dependencies.walk {
            directories.release(walk);
        }
        if entry.is_watched() {
            self.plan_recheck(entry);
        }
        if let Some(line) = notice {
            self.notices.push(line);
        }
    }

    /// A look-up whose result is not remembered is over.
    pub(super) fn forget(&mut self, dependencies: &job::Dependencies, since: Epoch) {
        if let Some(walk) = &dependencies.walk {
            self.watch.directories.walked(walk, since.sequence);
            self.watch.directories.release(walk);
        }
    }

    /// When the way that a look-up has gone was last made to lead there, in seconds since 1970.
    pub(super) fn since_when(
        &self,
        dependencies: &job::Dependencies,
        watched_path: Option<&WatchedPath>,
    ) -> i64 {
        let since = match (&dependencies.walk, watched_path) {
            (Some(walk), _) => walk.since,
            (None, Some(watched_path)) => watched_path.named_at(),
            (None, None) => i64::MIN,
        };
        since.max(self.served_root.since)
    }

    /// Whether a look-up was made beneath what is the root by now.
    pub(super) fn is_current(&self, since: Epoch) -> bool {
        since.root == self.served_root.number
    }

    /// Serves another directory from now on: nothing that was known of the paths of the old one is
    /// known of the new one. What is being sent is sent to its end.
    pub(super) fn serve(&mut self, root: Arc<Root>, now: &Now) {
        self.served_root.root = root;
        self.served_root.number += 1;
        // Not in this second: somebody may have been answered from the other in it.
        self.served_root.since = now.wall.seconds.saturating_add(1);
        self.served_root.is_untelling = false;
        self.roots_served += 1;
        self.drop_all();
        self.watch.directories.leave_root();
    }

    /// Where the path of the root may lead elsewhere by now, requests wait until that is known. Where its storage
    /// does not say so for long, they go on without.
    pub(super) fn wait_for_root(&mut self, requester: Requester<'_>, now: &Now) -> Option<Asked> {
        let (job, check) = match self.jobs.root_check() {
            Some((job, check, _)) => (job, check),
            None if self.watch.directories.is_root_stale() => self.follow_root(now)?,
            None => return None,
        };
        let taken = now.monotonic.saturating_duration_since(check.begun);
        if (ROOT_PATIENCE..self.staleness.limit()).contains(&taken) {
            self.note_stale(None, taken, requester.site, now);
            return None;
        }
        self.jobs.join(job, (requester.by.id, Promise::Again));
        Some(Asked::Waiting(job))
    }

    /// When those who wait for the root go on without, and the job that they wait for.
    pub(super) fn root_patience_ends(&self, now: Instant) -> Option<(Instant, JobId)> {
        let (job, check, is_awaited) = self.jobs.root_check()?;
        let limit = self.staleness.limit();
        let goes_on = is_awaited && ROOT_PATIENCE < limit && now < check.begun + limit;
        goes_on.then(|| (check.begun + ROOT_PATIENCE, job))
    }

    /// Has them ask once more.
    pub(super) fn expire_root_patience(&mut self, now: &Now) {
        if let Some((ends, job)) = self.root_patience_ends(now.monotonic)
            && ends <= now.monotonic
        {
            let waiters = self.jobs.take_waiters(job);
            self.deliveries.again(job, waiters);
        }
    }

    fn follow_root(&mut self, now: &Now) -> Option<(JobId, RootCheck)> {
        let directories = &mut self.watch.directories;
        let watches = Arc::clone(directories.watches()?);
        directories.follow_root();
        let check = RootCheck {
            since: directories.sequence(),
            begun: now.monotonic,
        };
        let follow = Job::Follow(Follow::new(Arc::clone(&self.served_root.root), watches));
        let job = self.jobs.submit_own(follow, Purpose::FollowRoot(check));
        Some((job, check))
    }

    /// Takes in where the path of the root leads. Where that has changed again meanwhile, it is followed again, and
    /// those who ask once more wait for that.
    pub(super) fn followed(
        &mut self,
        check: RootCheck,
        walk: &Walk,
        root: Option<Arc<Root>>,
        now: &Now,
    ) {
        self.watch.directories.watch_root(walk, check.since);
        if let Some(root) = root {
            self.serve(root, now);
        }
        if !self.watch.directories.is_root_watched() {
            // What was trusted for ever, because a change of the root would be told, is so no more.
            self.paths.distrust_all();
        }
        if self.watch.directories.is_root_stale() {
            self.follow_root(now);
        }
    }

    /// What the way to the root is to be watched through, if it is.
    pub(crate) fn root_watches(&self) -> Option<&Arc<Watches>> {
        self.watch.directories.watches()
    }

    /// Follows the root from the start on.
    pub(crate) fn begin_following(&mut self, found: FoundRoot) {
        let directories = &mut self.watch.directories;
        match found {
            FoundRoot::Unwatched { since } => self.served_root.since = since,
            FoundRoot::Watched(walk, root) => {
                self.served_root.since = walk.since;
                directories.watch_root(&walk, directories.sequence());
                // It was opened before it was watched.
                match root {
                    Ok(root) => self.served_root.root = Arc::new(root),
                    Err(_) => directories.check_root(),
                }
            }
        }
    }

    /// The bound on staleness of what is not watched, in milliseconds.
    pub(crate) fn revalidate_ms(&self) -> u64 {
        u64::try_from(self.served_root.site.policy.revalidate.as_millis()).unwrap_or(u64::MAX)
    }

    /// The longest that a change may go unnoticed now, in milliseconds.
    pub(crate) fn worst_staleness_ms(&self) -> u64 {
        let directories = &self.watch.directories;
        let all_watched = directories.is_root_watched() && directories.polled().1 == 0;
        if all_watched { 0 } else { self.revalidate_ms() }
    }
}
