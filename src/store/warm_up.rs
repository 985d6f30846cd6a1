//! Prefetching: fills the caches before the first requests, and saves the paths for the next run.
//!
//! No request waits for it: nothing begins while jobs are queued, and at most a quarter of the slots of the engine is
//! used. It evicts nothing: paths for which there is no room are omitted.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::Store;
use super::holdings::Demand;
use super::inquiry::LookupTarget;
use super::jobs::Purpose;
use super::lookups::Aim;
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::job::{Job, OneShot, Opened, ResidencyPolicy, Save};
use crate::settings::Settings;
use crate::site::sites::Site;
use crate::store::warming::{self, Next, Origin, Warming};
use crate::sys::output::OutputError;

/// It uses at most one in so many slots of the engine.
const PLACE_SHARE: usize = 4;

/// The state of saving the paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saving {
    /// Not begun, or completed.
    No,
    /// A job writes them.
    Writing,
}

/// Prefetching.
#[derive(Debug)]
pub(super) struct Prefetch {
    /// The site of the paths.
    pub(super) site: Rc<Site>,
    /// The paths to look up.
    pub(super) warming: Warming,
    /// Maximum number of its jobs in flight.
    depth_max: usize,
    /// The file in which the most requested paths are saved.
    state_path: Option<PathBuf>,
    saving: Saving,
}

impl Prefetch {
    pub(super) fn new(
        settings: &Settings,
        origins: Vec<Origin>,
        site: Rc<Site>,
        policy: ResidencyPolicy,
    ) -> Prefetch {
        let naming = &site.policy.naming;
        Prefetch {
            warming: Warming::new(origins, naming.index.clone(), naming.dot_files),
            depth_max: match policy {
                ResidencyPolicy::ResidentOnly => (settings.disk_depth / PLACE_SHARE).max(1),
                ResidencyPolicy::Any => 1,
            },
            state_path: settings.cache_state.clone(),
            saving: Saving::No,
            site,
        }
    }

    /// The job that saves these paths. The file of an earlier run is kept until this run has read all of it, or if
    /// this run has no paths.
    fn save(&mut self, hottest: &[PathKey<'_>]) -> Option<Save> {
        let path = self.state_path.clone()?;
        if self.warming.numbers().under_way || hottest.is_empty() {
            return None;
        }
        self.saving = Saving::Writing;
        Some(Save {
            path,
            bytes: warming::state_of(hottest.iter().map(|key| key.path)),
            may_replace: warming::is_list,
        })
    }

    /// Notes the result of saving. Returns a line for standard error.
    pub(super) fn saved(&mut self, result: Result<(), OutputError>) -> Option<String> {
        self.saving = Saving::No;
        let (Err(error), Some(path)) = (result, &self.state_path) else {
            return None;
        };
        let path = path.display();
        Some(format!(
            "cannot write {path}: {error}; choose another with --cache-state"
        ))
    }
}

impl Store {
    /// Whether a path can be prefetched now.
    pub(crate) fn may_warm(&self) -> bool {
        let queue = self.jobs.queue();
        self.prefetch.warming.is_wanting()
            && queue.waiting_count() == 0
            && queue.depth() < self.prefetch.depth_max
            && self.freshness.roots.of(self.prefetch.site.id).is_settled()
    }

    /// Submits more jobs, as long as no request would wait for them.
    pub(crate) fn warm_up(&mut self, now: &Now) {
        while self.may_warm() {
            match self.prefetch.warming.next() {
                Next::Path(path) => self.warm_path(&path, now),
                Next::Load(path) => self.once(OneShot::Load(path), Purpose::LoadPaths),
                Next::Names(directory) => {
                    let site = self.prefetch.site.id;
                    let root = Arc::clone(&self.freshness.roots.of(site).root);
                    self.once(OneShot::Names(root, directory), Purpose::ReadNames);
                }
                Next::Say(line) => self.notices.push(line),
                Next::Wait | Next::Over => return,
            }
        }
    }

    fn once(&mut self, once: OneShot, purpose: Purpose) {
        self.jobs.submit_own(Job::OneShot(once, None), purpose);
    }

    fn warm_path(&mut self, raw_path: &[u8], now: &Now) {
        if self.paths.cache.entry_count() >= self.paths.cache.entry_count_max() {
            return self.prefetch.warming.end();
        }
        let site = Rc::clone(&self.prefetch.site);
        let key = PathKey::new(site.id, raw_path);
        let is_known = self.paths.cache.holds(key) || self.jobs.is_looked_up(key);
        if is_known {
            return;
        }
        let Ok(plan) = site.policy.plan(raw_path) else {
            return;
        };
        let target = LookupTarget::full(raw_path);
        let (job, look_up) = self.new_look_up(target, plan, Aim::Prefetch, &site, now);
        self.jobs.submit_own(job, Purpose::LookUp(look_up));
        self.prefetch.warming.begin();
    }

    /// Has the files of an entry mapped or read, if there is room.
    pub(super) fn warm_bytes(&mut self, entry: &Entry, opened: &[Opened], now: &Now) {
        let Some(variants) = entry.variants() else {
            return;
        };
        self.prefetch.warming.found();
        for version in variants.versions() {
            if self.contents.has_room_ahead(&version)
                && let Some(file) = opened.iter().find(|opened| opened.version == version)
            {
                self.map(&file.file, version, Demand::Prefetch, now);
            }
        }
    }

    /// Saves the paths that are requested most.
    pub(crate) fn save_state(&mut self) {
        let site = self.prefetch.site.id;
        let mut hottest = self.paths.cache.hottest();
        hottest.retain(|key| key.site == site);
        if let Some(save) = self.prefetch.save(&hottest) {
            self.once(OneShot::Save(save), Purpose::SaveState);
        }
    }

    /// Whether they are being saved.
    pub(crate) fn is_saving(&self) -> bool {
        self.prefetch.saving != Saving::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::resolve::DotFiles;
    use crate::site::sites::SiteId;
    use crate::store::jobs::tests::site;

    fn prefetch(origins: Vec<Origin>) -> Prefetch {
        Prefetch {
            warming: Warming::new(origins, Vec::new(), DotFiles::Refused),
            depth_max: 1,
            state_path: Some("/state".into()),
            saving: Saving::No,
            site: site(),
        }
    }

    #[test]
    fn what_was_asked_for_is_written_down_once_the_last_list_was_taken_in() {
        let hottest = [PathKey::new(SiteId::FIRST, b"/a")];
        let unread = Origin::List("/list".into());
        assert!(prefetch(vec![unread]).save(&hottest).is_none());
        let mut prefetch = prefetch(Vec::new());
        assert!(prefetch.save(&[]).is_none(), "nothing is known");
        let save = prefetch.save(&hottest).expect("a job");
        assert!(save.bytes.ends_with(b"\n/a\n"), "{save:?}");
        assert_eq!(prefetch.saving, Saving::Writing);
        assert_eq!(prefetch.saved(Ok(())), None);
        assert_eq!(prefetch.saving, Saving::No);
    }
}
