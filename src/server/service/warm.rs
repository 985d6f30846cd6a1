//! Filling the caches before anybody asks, and remembering what to fill them with.
//!
//! Nobody who asks waits for it: nothing is begun while jobs wait in line, and at most a quarter of the
//! places at the engine is used. What there is no room for is left out, so nothing is pushed out.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Resolved, Service};
use crate::cache::entry::Resolution;
use crate::clock::Now;
use crate::disk::job::{Job, Once, Opened, Resolve, Save};
use crate::server::disk_queue::Owner;
use crate::server::fetch::{Pending, Purpose};
use crate::server::waiters::Waiters;
use crate::server::warming::{self, Next};
use crate::site::resolve;
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

impl Service {
    /// Whether something could be warmed now.
    pub(in crate::server) fn may_warm(&self) -> bool {
        self.warming.is_wanting()
            && self.disk.waiting_count() == 0
            && self.disk.engine.depth() < self.warming_depth_max
            && !self.watch.directories.is_root_stale()
    }

    /// Goes on, as far as nobody who asks would wait for it.
    pub(in crate::server) fn warm_up(&mut self, now: &Now) {
        while self.may_warm() {
            match self.warming.next() {
                Next::Path(path) => self.warm_path(&path, now),
                Next::Load(path) => self.once(Once::Load(path), now),
                Next::Names(directory) => {
                    let root = Arc::clone(&self.serving.root);
                    self.once(Once::Names(root, directory), now);
                }
                Next::Say(line) => self.say(&line, now),
                Next::Wait | Next::Over => return,
            }
        }
    }

    fn once(&mut self, once: Once, now: &Now) {
        self.disk
            .insist(Owner::Server, Job::Once(once, None), now.monotonic);
    }

    fn warm_path(&mut self, raw_path: &[u8], now: &Now) {
        if self.paths.entry_count() >= self.paths.entry_count_max() {
            return self.warming.end();
        }
        let is_known = self.paths.holds(raw_path) || self.fetches.is_pending(raw_path);
        if is_known {
            return;
        }
        let Ok(lookup) = resolve::plan(raw_path, &self.naming) else {
            return;
        };
        let since = self.since();
        let (site, way) = self.site(&lookup, now);
        let job = Job::Resolve(Box::new(Resolve::new(lookup, site)));
        let job = self.disk.insist(Owner::Server, job, now.monotonic);
        let pending = Pending {
            raw_path: raw_path.into(),
            entry: None,
            waiters: Waiters::default(),
            since,
            way,
            purpose: Purpose::Ahead,
            begun: now.monotonic,
        };
        self.fetches.begin(job, pending);
        self.warming.begin();
    }

    /// Has the files of an entry mapped, as far as there is room.
    pub(super) fn warm_bytes(&mut self, result: &Resolved, opened: &[Opened], now: &Now) {
        let Resolved::Entry(entry) = result else {
            return;
        };
        let Resolution::File { variants, .. } = &entry.resolution else {
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
                self.map(&file.file, version, true, now);
            }
        }
    }

    /// Has the paths written down that are asked for most. What an earlier run has left stays where
    /// it is as long as this one has not taken all of it in, or knows nothing.
    pub(in crate::server) fn save_state(&mut self, now: &Now) {
        let hottest = self.paths.hottest();
        if let Some(path) = &self.state.path
            && !self.warming.numbers().under_way
            && !hottest.is_empty()
        {
            let save = Save {
                path: path.clone(),
                bytes: warming::state_of(hottest.into_iter()),
                may_replace: warming::is_list,
            };
            self.state.saving = Saving::Writing;
            self.once(Once::Save(save), now);
        }
    }

    /// Whether that is under way.
    pub(in crate::server) fn is_saving(&self) -> bool {
        self.state.saving != Saving::No
    }

    pub(super) fn saved(&mut self, result: Result<(), OutputError>, now: &Now) {
        self.state.saving = Saving::No;
        if let (Err(error), Some(path)) = (result, &self.state.path) {
            let path = path.display();
            let line = format!("cannot write {path}: {error}; choose another with --cache-state");
            self.say(&line, now);
        }
    }
}
