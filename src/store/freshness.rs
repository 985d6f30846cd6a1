//! Following the disk: what changes do to what is remembered, how long a result is trusted, and
//! which directory is the root.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mounts::Mounts;
use super::stale::ROOT_PATIENCE;
use super::{Asked, CompletedJob, Requester, Store};
use crate::cache::entry::{Entry, Trust};
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::conn::RequestId;
use crate::job::JobId;
use crate::job::{self, Follow, Job, LookupSite, Opened, WatchCoverage};
use crate::site::mounts::Table;
use crate::site::resolve::LookupPlan;
use crate::site::sites::Site;
use crate::store::lookups::{Epoch, PendingLookup};
use crate::store::queue::Owner;
use crate::store::waiters::Waiters;
use crate::store::watch::Change;
use crate::store::watch::directories::{EventSequence, WatchState, WatchedPath};
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
    following: Option<Following>,
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

/// The path of the root is being looked at.
#[derive(Debug)]
struct Following {
    job: JobId,
    waiters: Waiters<()>,
    since: EventSequence,
    begun: Instant,
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
            following: None,
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
        pending: &PendingLookup,
        dependencies: &job::Dependencies,
    ) -> bool {
        let directories = &self.watch.directories;
        let since = pending.since.sequence;
        if let Some(walk) = &dependencies.walk {
            return directories.has_invalidated(walk, since);
        }
        let Some(watched_path) = &pending.watched_path else {
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
        pending: &PendingLookup,
        now: &Now,
    ) {
        let lookup = &dependencies.plan;
        let directory = PathKey::new(pending.site.id, lookup.directory());
        let (since, watched_path) = (pending.since, pending.watched_path.as_deref());
        let directories = &mut self.watch.directories;
        let found = match (&dependencies.walk, watched_path) {
            (Some(walk), _) => directories.walked(walk, since.sequence),
            (None, Some(watched_path)) => directories.known(watched_path, lookup, since.sequence),
            (None, None) => WatchState::Unwatched(Unwatched::FileSystem, Vec::new()),
        };
        let mut lifetime = pending.site.policy.revalidate;
        let (mut held, mut polled, mut refused) = (None, Some(Vec::new()), None);
        match found {
            WatchState::Stable(keys) => {
                if let Some(walk) = &dependencies.walk {
                    directories.remember(directory, walk, lookup);
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
        if !self.watch.directories.is_root_stale() && self.served_root.following.is_none() {
            return None;
        }
        if self.served_root.following.is_none() {
            self.follow_root(now)?;
        }
        let following = self.served_root.following.as_mut()?;
        let taken = now.monotonic.saturating_duration_since(following.begun);
        if (ROOT_PATIENCE..self.staleness.limit()).contains(&taken) {
            self.note_stale(None, taken, requester.site, now);
            return None;
        }
        following.waiters.join(requester.by.id, ());
        Some(Asked::Waiting(following.job))
    }

    /// Somebody no longer waits for the root.
    pub(super) fn leave_following(&mut self, job: JobId, id: RequestId) {
        if let Some(following) = &mut self.served_root.following
            && following.job == job
        {
            following.waiters.leave(id);
        }
    }

    /// When those who wait for the root go on without.
    pub(super) fn root_patience_ends(&self, now: Instant) -> Option<Instant> {
        let following = self.served_root.following.as_ref()?;
        let is_awaited = !following.waiters.is_empty()
            && ROOT_PATIENCE < self.staleness.limit()
            && now < following.begun + self.staleness.limit();
        is_awaited.then(|| following.begun + ROOT_PATIENCE)
    }

    /// Has them ask once more.
    pub(super) fn expire_root_patience(&mut self, now: &Now) {
        let is_over = |ends| ends <= now.monotonic;
        if self.root_patience_ends(now.monotonic).is_some_and(is_over)
            && let Some(following) = &mut self.served_root.following
        {
            let waiters = std::mem::take(&mut following.waiters).in_order();
            let again = CompletedJob::again(following.job);
            self.deliveries
                .answer(again, waiters.into_iter().map(|(id, ())| id));
        }
    }

    fn follow_root(&mut self, now: &Now) -> Option<()> {
        let directories = &mut self.watch.directories;
        let watches = Arc::clone(directories.watches()?);
        directories.follow_root();
        let since = directories.sequence();
        let follow = Follow::new(Arc::clone(&self.served_root.root), watches);
        let job = self
            .queue
            .submit_unbounded(Owner::Server, Job::Follow(follow));
        self.served_root.following = Some(Following {
            job,
            waiters: Waiters::default(),
            since,
            begun: now.monotonic,
        });
        Some(())
    }

    /// Takes in where the path of the root leads. Where that has changed again meanwhile, those who
    /// wait go on waiting.
    pub(super) fn followed(&mut self, job: JobId, walk: &Walk, root: Option<Arc<Root>>, now: &Now) {
        let Some(following) = self.served_root.following.take() else {
            return;
        };
        self.watch.directories.watch_root(walk, following.since);
        if let Some(root) = root {
            self.serve(root, now);
        }
        if !self.watch.directories.is_root_watched() {
            // What was trusted for ever, because a change of the root would be told, is so no more.
            self.paths.distrust_all();
        }
        if self.watch.directories.is_root_stale() {
            // Whoever waits does so for the job that comes: those of this one are told again.
            self.follow_root(now);
        }
        let again = CompletedJob::again(job);
        let waiters = following.waiters.in_order();
        self.deliveries
            .answer(again, waiters.into_iter().map(|(id, ())| id));
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
