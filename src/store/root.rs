//! Following the paths of roots: where one leads to another directory by now, that one is served.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::freshness::Freshness;
use super::inquiry::Inquiry;
use super::jobs::{Jobs, Promise, Purpose, RootCheck};
use super::stale::ROOT_PATIENCE;
use super::{Asked, Store};
use crate::clock::Now;
use crate::job::{Follow, Job, JobId};
use crate::site::sites::{Site, SiteId};
use crate::sys::beneath::Root;
use crate::sys::watches::{Walk, Watches};

/// How the root of a site was opened.
#[derive(Debug)]
pub(crate) enum FoundRoot {
    /// Its path was watched, then it was opened once more.
    Watched(Walk, io::Result<Root>),
    /// No event will be about its path.
    Unwatched {
        /// When its path was last made to lead there, in seconds since 1970.
        since: i64,
    },
}

impl Freshness {
    /// Submits the job that follows the path of a root. `None`: it is not watched.
    fn follow_root(&mut self, site: SiteId, jobs: &mut Jobs, now: &Now) -> Option<JobId> {
        let directories = &self.watch.directories;
        let watches = Arc::clone(directories.watches()?);
        let check = RootCheck {
            site,
            since: directories.sequence(),
            begun: now.monotonic,
        };
        let root = self.roots.of_mut(site);
        let follow = Follow::new(Arc::clone(&root.root), watches);
        let job = jobs.submit_own(Job::Follow(follow), Purpose::FollowRoot(check));
        root.follow_began(job);
        Some(job)
    }

    /// Follows the path of a root from its first opening on.
    fn begin_following(&mut self, site: SiteId, found: FoundRoot) {
        let Freshness { watch, roots, .. } = self;
        let served = roots.of_mut(site);
        match found {
            FoundRoot::Unwatched { since } => served.since = since,
            FoundRoot::Watched(walk, root) => {
                served.since = walk.since;
                let sequence = watch.directories.sequence();
                served.set_watch(watch.directories.watch_root(site, &walk, sequence));
                // It was opened before its path was watched.
                match root {
                    Ok(root) => served.root = Arc::new(root),
                    Err(_) => roots.touch(site),
                }
            }
        }
    }
}

impl Store {
    /// The id of the next site.
    pub(crate) fn next_site(&self) -> SiteId {
        self.freshness.roots.next_site()
    }

    /// A root in use.
    pub(crate) fn any_root(&self) -> Arc<Root> {
        Arc::clone(&self.freshness.roots.of(self.prefetch.site.id).root)
    }

    /// Adds a site that was configured while the server runs.
    pub(crate) fn add_site(&mut self, site: Rc<Site>, root: Arc<Root>, found: FoundRoot) {
        let id = site.id;
        self.freshness.roots.add(site, root);
        self.freshness.begin_following(id, found);
    }

    /// Sites were removed from the configuration. Requests that have begun finish on theirs; then the roots are closed.
    /// The caches are filled for `first` from now on.
    pub(crate) fn retire_sites(&mut self, sites: &[SiteId], first: &Rc<Site>) {
        self.prefetch.site = Rc::clone(first);
        self.freshness.roots.retire(sites);
    }

    /// Through what the paths of roots are watched, if they are.
    pub(crate) fn root_watches(&self) -> Option<&Arc<Watches>> {
        self.freshness.watch.directories.watches()
    }

    /// Follows the path of a root from its first opening on.
    pub(crate) fn begin_following(&mut self, site: SiteId, found: FoundRoot) {
        self.freshness.begin_following(site, found);
    }

    /// Serves another directory of a site from now on. Everything that is known of its paths is dropped. Responses that
    /// have begun are sent to their ends.
    pub(super) fn serve(&mut self, site: SiteId, root: Arc<Root>, now: &Now) {
        self.freshness.roots.of_mut(site).replace(root, now);
        self.freshness.roots.switches += 1;
        self.drop_site(site);
    }

    /// Where the path of the root may lead elsewhere by now, requests wait until that is known. Where its storage does
    /// not answer for long, they are answered from the present root.
    pub(super) fn wait_for_root(&mut self, inquiry: &Inquiry<'_>) -> Option<Asked> {
        let site = inquiry.requester.site.id;
        match self.freshness.roots.of(site).is_settled() {
            true => None,
            false => self.wait_for_follow(site, inquiry),
        }
    }

    #[cold]
    fn wait_for_follow(&mut self, site: SiteId, inquiry: &Inquiry<'_>) -> Option<Asked> {
        let Inquiry { requester, now, .. } = *inquiry;
        let job = match self.freshness.roots.of(site).follow_job() {
            Some(job) => job,
            None => self.freshness.follow_root(site, &mut self.jobs, now)?,
        };
        let (check, _) = self.jobs.root_check(job)?;
        let taken = now.monotonic.saturating_duration_since(check.begun);
        if (ROOT_PATIENCE..self.freshness.staleness.limit()).contains(&taken) {
            self.note_stale(None, taken, requester.site, now);
            return None;
        }
        self.jobs.join(job, (requester.by.id, Promise::Again));
        Some(Asked::Waiting(job))
    }

    /// When the requests that wait for the path of a root are answered without it, and the job that they wait for.
    pub(super) fn root_patience_ends(&self, now: Instant) -> Option<(Instant, JobId)> {
        let limit = self.freshness.staleness.limit();
        if ROOT_PATIENCE >= limit {
            return None;
        }
        let waited = self
            .jobs
            .root_checks()
            .filter(|(_, check, is_awaited)| *is_awaited && now < check.begun + limit);
        let ends = waited.map(|(job, check, _)| (check.begun + ROOT_PATIENCE, job));
        ends.min_by_key(|(ends, _)| *ends)
    }

    /// Has those requests looked up once more.
    pub(super) fn expire_root_patience(&mut self, now: &Now) {
        while let Some((ends, job)) = self.root_patience_ends(now.monotonic)
            && ends <= now.monotonic
        {
            let waiters = self.jobs.take_waiters(job);
            self.deliveries.again(job, waiters);
        }
    }

    /// Takes in where the path of a root leads. Where it has changed again meanwhile, it is followed again, and requests
    /// that are looked up once more wait for that.
    pub(super) fn followed(
        &mut self,
        check: RootCheck,
        walk: &Walk,
        root: Option<Arc<Root>>,
        now: &Now,
    ) {
        let site = check.site;
        let Freshness { watch, roots, .. } = &mut self.freshness;
        if roots.get(site).is_none() {
            // The site was removed meanwhile.
            watch.directories.walked(walk, check.since);
            return watch.directories.release(walk);
        }
        let served = roots.of_mut(site);
        served.follow_ended();
        let watch = watch.directories.watch_root(site, walk, check.since);
        served.set_watch(watch);
        let is_watched = served.is_watched();
        if let Some(root) = root {
            self.serve(site, root, now);
        }
        if !is_watched {
            // Entries without a time limit rested on events about the path of the root.
            self.paths.cache.distrust_all();
        }
        if self.freshness.roots.of(site).is_follow_due() {
            self.freshness.follow_root(site, &mut self.jobs, now);
        }
    }
}
