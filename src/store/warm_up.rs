//! Filling the caches before anybody asks, and remembering what to fill them with.
//!
//! Nobody who asks waits for it: nothing is begun while jobs wait in line, and at most a quarter of the
//! places at the engine is used. What there is no room for is left out, so nothing is pushed out.

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
use crate::site::resolve;
use crate::site::sites::Site;
use crate::store::warming::{self, Next, Origin, Warming};
use crate::sys::output::OutputError;

/// The share of the places at the engine that is used: one in so many.
const PLACE_SHARE: usize = 4;

/// How far writing down what was asked for has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saving {
    /// Not begun, or over.
    No,
    /// It is being written.
    Writing,
}

/// What the caches are filled with before anybody asks.
#[derive(Debug)]
pub(super) struct Prefetch {
    /// The site whose paths they are filled with.
    pub(super) site: Rc<Site>,
    /// What is looked up next.
    pub(super) warming: Warming,
    /// Jobs of that under way at once.
    depth_max: usize,
    /// Where it is written down what was asked for most.
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

    /// The job that writes these paths down. What an earlier run has left stays where it is as long as this one has
    /// not taken all of it in, or knows nothing.
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

    /// They were written down, or not. Gives what is to be said on standard error.
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
    /// Whether something could be warmed now.
    pub(crate) fn may_warm(&self) -> bool {
        let queue = self.jobs.queue();
        self.prefetch.warming.is_wanting()
            && queue.waiting_count() == 0
            && queue.depth() < self.prefetch.depth_max
            && self.freshness.roots.of(self.prefetch.site.id).is_settled()
    }

    /// Goes on, as far as nobody who asks would wait for it.
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
        let Ok(plan) = resolve::plan(raw_path, &site.policy.naming) else {
            return;
        };
        let target = LookupTarget::full(raw_path);
        let (job, look_up) = self.new_look_up(target, plan, Aim::Prefetch, &site, now);
        self.jobs.submit_own(job, Purpose::LookUp(look_up));
        self.prefetch.warming.begin();
    }

    /// Has the files of an entry mapped, as far as there is room.
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

    /// Has the paths written down that are asked for most.
    pub(crate) fn save_state(&mut self) {
        let site = self.prefetch.site.id;
        let mut hottest = self.paths.cache.hottest();
        hottest.retain(|key| key.site == site);
        if let Some(save) = self.prefetch.save(&hottest) {
            self.once(OneShot::Save(save), Purpose::SaveState);
        }
    }

    /// Whether that is under way.
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
