//! The roots of all sites, and whether their paths lead elsewhere by now.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mounts::Mounts;
use crate::cache::dependents::Ticket;
use crate::clock::Now;
use crate::job::JobId;
use crate::site::sites::{Site, SiteId};
use crate::store::watch::directories::RootWatch;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;

/// How often retired sites are looked through: connections at rest keep theirs until their next request or end.
const SWEEP: Duration = Duration::from_secs(1);

/// The directory of a site.
#[derive(Debug)]
pub(super) struct ServedRoot {
    /// Its site.
    pub(super) site: Rc<Site>,
    /// The directory.
    pub(super) root: Arc<Root>,
    /// Counts the roots of the site: a result from beneath an earlier one is not remembered.
    pub(super) number: u32,
    /// When its path was last made to lead here, in seconds since 1970: what was served before may have come from
    /// another directory.
    pub(super) since: i64,
    /// Whether its file system raises no events, so that jobs add no watches below it.
    pub(super) has_no_events: bool,
    /// Its dependence on the names of its path; `None`: they are not watched.
    watch: Option<Ticket>,
    /// Whether an event was about its path since that was last followed.
    is_stale: bool,
    /// The job that follows its path.
    follow: Option<JobId>,
    /// Whether its site was removed from the configuration. It stays as long as requests use it.
    is_retired: bool,
}

impl ServedRoot {
    fn new(site: Rc<Site>, root: Arc<Root>) -> ServedRoot {
        ServedRoot {
            site,
            root,
            number: 0,
            since: i64::MIN,
            has_no_events: false,
            watch: None,
            is_stale: false,
            follow: None,
            is_retired: false,
        }
    }

    /// Whether requests are answered from beneath it without following its path first.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_stale && self.follow.is_none()
    }

    /// Whether an event was about its path and no job follows it.
    pub(super) fn is_follow_due(&self) -> bool {
        self.is_stale && self.follow.is_none()
    }

    /// Whether changes of its path raise events.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The job that follows its path.
    pub(super) fn follow_job(&self) -> Option<JobId> {
        self.follow
    }

    /// A job follows its path: an event from now on makes it stale again.
    pub(super) fn follow_began(&mut self, job: JobId) {
        self.is_stale = false;
        self.follow = Some(job);
    }

    /// That job is done; its result is taken in next.
    pub(super) fn follow_ended(&mut self) {
        self.follow = None;
    }

    /// Its path was watched, or not.
    pub(super) fn set_watch(&mut self, watch: RootWatch) {
        let (ticket, is_stale) = match watch {
            RootWatch::Stable(ticket) => (Some(ticket), self.is_stale),
            RootWatch::Changed(ticket) => (Some(ticket), true),
            RootWatch::Unwatched => (None, false),
        };
        self.watch = ticket;
        self.is_stale = is_stale;
    }

    /// An event was about its path.
    fn touch(&mut self) {
        self.is_stale = self.is_watched();
    }

    /// Another directory takes its place.
    pub(super) fn replace(&mut self, root: Arc<Root>, now: &Now) {
        self.root = root;
        self.number += 1;
        // Not in this second: a request may have been answered from the other one in it.
        self.since = now.wall.seconds.saturating_add(1);
        self.has_no_events = false;
    }
}

/// All roots.
#[derive(Debug)]
pub(super) struct Roots {
    /// By the number of the site. The place of a site that was removed stays empty: numbers are not reused.
    by_site: Vec<Option<Box<ServedRoot>>>,
    count: usize,
    retired_count: usize,
    /// When retired sites are looked through next.
    sweep_at: Option<Instant>,
    /// What is mounted.
    pub(super) mounts: Mounts,
    deferred_drops: DeferredDrops,
    /// Times that another directory became the root of a site.
    pub(super) switches: u64,
}

impl Roots {
    /// The roots of no site. Files beneath all of them are closed through `deferred_drops`.
    pub(super) fn new(mounts: Mounts, deferred_drops: DeferredDrops) -> Roots {
        Roots {
            by_site: Vec::new(),
            count: 0,
            retired_count: 0,
            sweep_at: None,
            mounts,
            deferred_drops,
            switches: 0,
        }
    }

    /// Adds a site, whose number was not used before.
    pub(super) fn add(&mut self, site: Rc<Site>, root: Arc<Root>) {
        let index = site.id.index();
        if self.by_site.len() <= index {
            self.by_site.resize_with(index + 1, || None);
        }
        let previous = self.by_site[index].replace(Box::new(ServedRoot::new(site, root)));
        self.count += usize::from(previous.is_none());
    }

    /// The id of the next site.
    pub(super) fn next_site(&self) -> SiteId {
        SiteId::new(u32::try_from(self.by_site.len()).unwrap_or(u32::MAX))
    }

    /// The root of a site.
    pub(super) fn of(&self, site: SiteId) -> &ServedRoot {
        match self.by_site.get(site.index()) {
            Some(Some(root)) => root,
            _ => unreachable!("{site:?} has no root"),
        }
    }

    /// The same, to be changed.
    pub(super) fn of_mut(&mut self, site: SiteId) -> &mut ServedRoot {
        match self.by_site.get_mut(site.index()) {
            Some(Some(root)) => root,
            _ => unreachable!("{site:?} has no root"),
        }
    }

    /// The root of a site, if it was not removed.
    pub(super) fn get(&self, site: SiteId) -> Option<&ServedRoot> {
        self.by_site.get(site.index())?.as_deref()
    }

    /// Sites were removed from the configuration: their roots are closed once no request uses them.
    pub(super) fn retire(&mut self, sites: &[SiteId]) {
        for site in sites {
            self.of_mut(*site).is_retired = true;
        }
        self.retired_count += sites.len();
    }

    /// Whether it is time to look for retired sites that no request uses.
    pub(super) fn is_sweep_due(&mut self, now: Instant) -> bool {
        if self.retired_count == 0 {
            self.sweep_at = None;
            return false;
        }
        let is_due = self.sweep_at.is_none_or(|at| at <= now);
        if is_due {
            self.sweep_at = Some(now + SWEEP);
        }
        is_due
    }

    /// When that is.
    pub(super) fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Removes the roots of retired sites that no request uses. O(sites).
    pub(super) fn remove_unused(&mut self) -> HashSet<SiteId> {
        let mut removed = HashSet::new();
        for place in &mut self.by_site {
            // One reference is that of the root itself.
            if let Some(root) = place
                && root.is_retired
                && Rc::strong_count(&root.site) == 1
            {
                removed.insert(root.site.id);
                *place = None;
            }
        }
        self.retired_count -= removed.len();
        self.count -= removed.len();
        removed
    }

    /// All of them, in the order of their sites.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ServedRoot> {
        self.by_site.iter().flatten().map(|root| &**root)
    }

    /// Whether there is only one site.
    pub(super) fn is_single(&self) -> bool {
        self.count == 1
    }

    /// The number of sites.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// An event was about the path of a root.
    pub(super) fn touch(&mut self, site: SiteId) {
        if let Some(Some(root)) = self.by_site.get_mut(site.index()) {
            root.touch();
        }
    }

    /// Events were lost: any path may lead elsewhere.
    pub(super) fn touch_all(&mut self) {
        for root in self.by_site.iter_mut().flatten() {
            root.touch();
        }
    }

    /// Whether the paths of all roots are watched.
    pub(super) fn are_watched(&self) -> bool {
        self.iter().all(ServedRoot::is_watched)
    }

    /// The devices of their file systems.
    pub(super) fn devices(&self) -> HashSet<u64> {
        self.iter().map(|root| root.root.device()).collect()
    }

    /// Closes what was opened beneath them.
    pub(super) fn deferred_drops(&self) -> &DeferredDrops {
        &self.deferred_drops
    }
}
