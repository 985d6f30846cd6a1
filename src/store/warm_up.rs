//! Filling the caches before anybody asks, and remembering what to fill them with.
//!
//! Nobody who asks waits for it: nothing is begun while jobs wait in line, and at most a quarter of the
//! places at the engine is used. What there is no room for is left out, so nothing is pushed out.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::Store;
use super::jobs::{Demand, Purpose};
use super::lookups::{Aim, LookUp};
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::job::{Job, OneShot, Opened, Resolve, Save};
use crate::site::resolve;
use crate::store::warming::{self, Next};
use crate::sys::output::OutputError;

/// The share of the places at the engine that is used: one in so many.
pub(super) const PLACE_SHARE: usize = 4;

/// What is remembered from one run to the next.
#[derive(Debug)]
pub(super) struct State {
    path: Option<PathBuf>,
    saving: Saving,
}

/// How far writing it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saving {
    /// Not begun, or over.
    No,
    /// It is being written.
    Writing,
}

impl State {
    pub(super) fn of(path: Option<PathBuf>) -> State {
        State {
            path,
            saving: Saving::No,
        }
    }
}

impl Store {
    /// Whether something could be warmed now.
    pub(crate) fn may_warm(&self) -> bool {
        self.warming.is_wanting()
            && self.jobs.queue().waiting_count() == 0
            && self.jobs.queue().depth() < self.warming_depth_max
            && !self.watch.directories.is_root_stale()
    }

    /// Goes on, as far as nobody who asks would wait for it.
    pub(crate) fn warm_up(&mut self, now: &Now) {
        while self.may_warm() {
            match self.warming.next() {
                Next::Path(path) => self.warm_path(&path, now),
                Next::Load(path) => self.once(OneShot::Load(path), Purpose::LoadPaths),
                Next::Names(directory) => {
                    let root = Arc::clone(&self.served_root.root);
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
        if self.paths.entry_count() >= self.paths.entry_count_max() {
            return self.warming.end();
        }
        let site = Rc::clone(&self.served_root.site);
        let key = PathKey::new(site.id, raw_path);
        let is_known = self.paths.holds(key) || self.jobs.is_looked_up(key);
        if is_known {
            return;
        }
        let Ok(lookup) = resolve::plan(raw_path, &site.policy.naming) else {
            return;
        };
        let since = self.since();
        let (place, watched_path) = self.lookup_site(&lookup, &site, now);
        let resolve = Job::Resolve(Box::new(Resolve::new(lookup, place)));
        let look_up = LookUp {
            site,
            raw_path: raw_path.into(),
            entry: None,
            since,
            watched_path,
            aim: Aim::Prefetch,
            begun: now.monotonic,
        };
        self.jobs.submit_own(resolve, Purpose::LookUp(look_up));
        self.warming.begin();
    }

    /// Has the files of an entry mapped, as far as there is room.
    pub(super) fn warm_bytes(&mut self, entry: &Entry, opened: &[Opened], now: &Now) {
        let Some(variants) = entry.variants() else {
            return;
        };
        self.warming.found();
        for version in variants.versions() {
            let is_mappable = (1..=self.map_file_length_max).contains(&version.length);
            if is_mappable
                && self.maps.bytes() + version.length <= self.maps.budget().bytes_max
                && self.maps.entry_count() < self.maps.budget().count_max
                && !self.maps.holds(&version)
                && let Some(file) = opened.iter().find(|opened| opened.version == version)
            {
                self.map(&file.file, version, Demand::Prefetch, now);
            }
        }
    }

    /// Has the paths written down that are asked for most. What an earlier run has left stays where
    /// it is as long as this one has not taken all of it in, or knows nothing.
    pub(crate) fn save_state(&mut self) {
        let site = self.served_root.site.id;
        let mut hottest = self.paths.hottest();
        hottest.retain(|key| key.site == site);
        if let Some(path) = &self.state.path
            && !self.warming.numbers().under_way
            && !hottest.is_empty()
        {
            let save = Save {
                path: path.clone(),
                bytes: warming::state_of(hottest.into_iter().map(|key| key.path)),
                may_replace: warming::is_list,
            };
            self.state.saving = Saving::Writing;
            self.once(OneShot::Save(save), Purpose::SaveState);
        }
    }

    /// Whether that is under way.
    pub(crate) fn is_saving(&self) -> bool {
        self.state.saving != Saving::No
    }

    pub(super) fn saved(&mut self, result: Result<(), OutputError>) {
        self.state.saving = Saving::No;
        if let (Err(error), Some(path)) = (result, &self.state.path) {
            let path = path.display();
            let line = format!("cannot write {path}: {error}; choose another with --cache-state");
            self.notices.push(line);
        }
    }
}
