//! Which directory is the root, and whether its path leads elsewhere by now.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::freshness::Freshness;
use super::inquiry::Inquiry;
use super::jobs::{Jobs, Promise, Purpose, RootCheck};
use super::mounts::Mounts;
use super::stale::ROOT_PATIENCE;
use super::{Asked, Store};
use crate::clock::Now;
use crate::job::{Follow, Job, JobId};
use crate::site::mounts::Table;
use crate::site::sites::Site;
use crate::sys::beneath::Root;
use crate::sys::watches::{Walk, Watches};

/// The directory that is served.
#[derive(Debug)]
pub(super) struct ServedRoot {
    /// Whose root it is.
    pub(super) site: Rc<Site>,
    pub(super) root: Arc<Root>,
    /// Counts roots: a result from beneath another is not remembered.
    pub(super) number: u32,
    /// When the way to it was last made to lead here, in seconds since 1970: what was served before may have
    /// come from elsewhere.
    pub(super) since: i64,
    /// Whether its file system tells of no changes, so that nobody walks there.
    pub(super) is_untelling: bool,
    pub(super) mounts: Mounts,
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
        }
    }

    /// Another directory takes its place.
    fn replace(&mut self, root: Arc<Root>, now: &Now) {
        self.root = root;
        self.number += 1;
        // Not in this second: somebody may have been answered from the other in it.
        self.since = now.wall.seconds.saturating_add(1);
        self.is_untelling = false;
    }
}

impl Freshness {
    /// Has a job see where the path of the root leads. `None`: nothing tells of changes there.
    fn follow_root(&mut self, jobs: &mut Jobs, now: &Now) -> Option<(JobId, RootCheck)> {
        let directories = &mut self.watch.directories;
        let watches = Arc::clone(directories.watches()?);
        directories.follow_root();
        let check = RootCheck {
            since: directories.sequence(),
            begun: now.monotonic,
        };
        let follow = Follow::new(Arc::clone(&self.served_root.root), watches);
        let job = jobs.submit_own(Job::Follow(follow), Purpose::FollowRoot(check));
        Some((job, check))
    }

    /// Follows the root from the start on.
    fn begin_following(&mut self, found: FoundRoot) {
        let Freshness {
            watch, served_root, ..
        } = self;
        match found {
            FoundRoot::Unwatched { since } => served_root.since = since,
            FoundRoot::Watched(walk, root) => {
                served_root.since = walk.since;
                let sequence = watch.directories.sequence();
                watch.directories.watch_root(&walk, sequence);
                // It was opened before it was watched.
                match root {
                    Ok(root) => served_root.root = Arc::new(root),
                    Err(_) => watch.directories.check_root(),
                }
            }
        }
    }
}

impl Store {
    /// What the way to the root is to be watched through, if it is.
    pub(crate) fn root_watches(&self) -> Option<&Arc<Watches>> {
        self.freshness.watch.directories.watches()
    }

    /// Follows the root from the start on.
    pub(crate) fn begin_following(&mut self, found: FoundRoot) {
        self.freshness.begin_following(found);
    }

    /// Serves another directory from now on: nothing that was known of the paths of the old one is
    /// known of the new one. What is being sent is sent to its end.
    pub(super) fn serve(&mut self, root: Arc<Root>, now: &Now) {
        self.freshness.served_root.replace(root, now);
        self.freshness.roots_served += 1;
        self.drop_all();
        self.freshness.watch.directories.leave_root();
    }

    /// Where the path of the root may lead elsewhere by now, requests wait until that is known. Where its storage
    /// does not say so for long, they go on without.
    pub(super) fn wait_for_root(&mut self, inquiry: &Inquiry<'_>) -> Option<Asked> {
        let Inquiry { requester, now, .. } = *inquiry;
        let (job, check) = match self.jobs.root_check() {
            Some((job, check, _)) => (job, check),
            None if self.freshness.watch.directories.is_root_stale() => {
                self.freshness.follow_root(&mut self.jobs, now)?
            }
            None => return None,
        };
        let taken = now.monotonic.saturating_duration_since(check.begun);
        if (ROOT_PATIENCE..self.freshness.staleness.limit()).contains(&taken) {
            self.note_stale(None, taken, requester.site, now);
            return None;
        }
        self.jobs.join(job, (requester.by.id, Promise::Again));
        Some(Asked::Waiting(job))
    }

    /// When those who wait for the root go on without, and the job that they wait for.
    pub(super) fn root_patience_ends(&self, now: Instant) -> Option<(Instant, JobId)> {
        let (job, check, is_awaited) = self.jobs.root_check()?;
        let limit = self.freshness.staleness.limit();
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

    /// Takes in where the path of the root leads. Where that has changed again meanwhile, it is followed again, and
    /// those who ask once more wait for that.
    pub(super) fn followed(
        &mut self,
        check: RootCheck,
        walk: &Walk,
        root: Option<Arc<Root>>,
        now: &Now,
    ) {
        let directories = &mut self.freshness.watch.directories;
        directories.watch_root(walk, check.since);
        if let Some(root) = root {
            self.serve(root, now);
        }
        let directories = &self.freshness.watch.directories;
        if !directories.is_root_watched() {
            // What was trusted for ever, because a change of the root would be told, is so no more.
            self.paths.cache.distrust_all();
        }
        if directories.is_root_stale() {
            self.freshness.follow_root(&mut self.jobs, now);
        }
    }
}
