//! Taking in what came of jobs: the caches learn it, and those who waited are told.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::{BeingMapped, Completed, MappedFile, Resolved, Service};
use crate::cache::entry::{Entry, Resolution, Seen};
use crate::clock::Now;
use crate::disk::JobId;
use crate::disk::job::{Done, Footing, FoundFile, Mapped, Opened, Outcome};
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::server::deliveries::Deliveries;
use crate::server::fetch::{Pending, Purpose};
use crate::server::watch::Watched;
use crate::server::watch::directories::Moment;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::resolve;
use crate::site::validators::{Identity, Sighting};

impl Service {
    /// Takes the result of a job in; those who waited for it are to be told afterwards.
    pub(in crate::server) fn complete(
        &mut self,
        job: JobId,
        done: Done,
        now: &Now,
        deliveries: &mut Deliveries,
    ) {
        match done {
            Done::Resolved(outcome, footing) => {
                self.look_up_ended(job, outcome, footing, now, deliveries);
            }
            Done::Followed { walk, root } => self.followed(job, &walk, root, now, deliveries),
            Done::Warmed(result) => self.warmed(job, result, now, deliveries),
            Done::Mapped(mapped) => self.mapped(mapped, now),
            Done::Populated => {
                if let Some(id) = self.populating.remove(&job) {
                    deliveries.more(id, job, Ok(()));
                }
            }
            Done::Loaded(read) => {
                if let Some(line) = self.warming.loaded(read) {
                    self.say(&line, now);
                }
            }
            Done::Rechecked(compared) => self.rechecked(job, &compared, now, deliveries),
            Done::Named(read) => self.warming.named(read),
            Done::Mounts(table) => self.mounts_seen(table, now),
            Done::Saved(result) => self.saved(result, now),
            Done::Appended { .. }
            | Done::Said
            | Done::Reopened(_)
            | Done::Measured(_)
            | Done::Discarded => {}
        }
    }

    fn look_up_ended(
        &mut self,
        job: JobId,
        outcome: Outcome,
        footing: Footing,
        now: &Now,
        deliveries: &mut Deliveries,
    ) {
        let Some((pending, is_latest)) = self.fetches.finish(job) else {
            return;
        };
        match pending.purpose {
            Purpose::Ahead => self.warming.finish(),
            Purpose::Check => self.staleness.check_ended(pending.entry.as_ref(), &outcome),
            Purpose::Asked => {}
        }
        if let Outcome::Failed(_) = outcome
            && self.go_on_without(&pending, now)
        {
            return self.tell_again(job, pending, &footing, deliveries);
        }
        let remembered = is_latest && self.is_current(pending.since);
        let found = (outcome, footing);
        self.resolved(job, pending, found, remembered, now, deliveries);
    }

    fn warmed(
        &mut self,
        job: JobId,
        status: Result<(), Status>,
        now: &Now,
        deliveries: &mut Deliveries,
    ) {
        let Some(read) = self.residency.finish(job, status.is_ok(), now.monotonic) else {
            return;
        };
        for (id, entry) in read.waiters.in_order() {
            let Some(entry) = entry else {
                // A job that was given up says nothing of the disk: the answer asks for another, which
                // nobody gives up.
                let status = match status {
                    Err(Status::ServiceUnavailable) => Ok(()),
                    status => status,
                };
                deliveries.more(id, job, status);
                continue;
            };
            let result = match status {
                Ok(()) => Resolved::Entry(entry),
                Err(status) => Resolved::Failed(status),
            };
            let completed = Completed {
                job,
                result,
                opened: vec![read.opened.clone()],
            };
            deliveries.answer(completed, [id]);
        }
    }

    fn mapped(&mut self, mapped: Mapped, now: &Now) {
        let (version, digest) = (mapped.version, mapped.digest);
        let Some(being_mapped) = self.being_mapped.remove(&version) else {
            // It was for a root that is served no more.
            self.watch.unwanted(mapped);
            return;
        };
        let BeingMapped { since, is_ahead } = being_mapped;
        let Watched::Yes(memory, previous) = self.watch.mapped(mapped, since, now) else {
            return;
        };
        if let Some(previous) = previous {
            self.maps.remove(&previous);
        }
        let mapped = MappedFile {
            memory: Rc::new(memory),
            used: Cell::new(now.monotonic),
            generation: Cell::new(self.paths.generation()),
            digest,
            compared: Cell::new(now.monotonic),
        };
        self.rechecks.read(&version, digest);
        if is_ahead {
            if self.maps.fill(version, mapped).is_err() {
                self.watch.remove(&version);
                return;
            }
        } else {
            for (evicted, _) in self.maps.insert(version, mapped) {
                self.watch.remove(&evicted);
            }
        }
        // Where a newcomer may have to go soon, its file stays open: the next request needs it then.
        if self.maps.has_room_for_all() {
            self.descriptors.release(&version);
        }
    }

    fn resolved(
        &mut self,
        job: JobId,
        pending: Pending,
        (outcome, footing): (Outcome, Footing),
        is_remembered: bool,
        now: &Now,
        deliveries: &mut Deliveries,
    ) {
        let is_shaken = self.is_shaken(&pending, &footing);
        let is_ahead = pending.purpose == Purpose::Ahead && pending.waiters.is_empty();
        let mut opened = Vec::new();
        let (since, previous) = (pending.since, &pending.entry);
        let resolution = match (outcome, previous) {
            (Outcome::Unchanged, Some(_)) => Ok(None),
            // Nothing is compared where nothing was known.
            (Outcome::Unchanged, None) => Err(Resolved::Failed(Status::InternalServerError)),
            (Outcome::Failed(status), _) => Err(Resolved::Failed(status)),
            (Outcome::Listed(listing), _) => {
                let result = self.listed(&pending, *listing, &footing, is_remembered, now);
                let since = is_shaken.then_some(since.moment);
                let completed = Completed {
                    job,
                    result,
                    opened,
                };
                return self.tell(pending, completed, since, deliveries);
            }
            (Outcome::Elsewhere(root), _) => {
                if self.is_current(since) {
                    self.serve(root, now);
                }
                Err(Resolved::Again)
            }
            (Outcome::File(found), _) => {
                let (resolution, files) = self.found(&pending, *found, &footing, now);
                self.keep_open(&files, is_ahead);
                opened = files;
                Ok(Some(resolution))
            }
            (Outcome::Moved(path), _) => Ok(Some(Resolution::Moved(path))),
            (Outcome::Refused(status), _) => Ok(Some(Resolution::Refused(status))),
        };
        let result = match resolution {
            Ok(resolution) => {
                if resolution.is_some() {
                    self.not_listed(&pending);
                }
                let result = self.remember(&pending, resolution, &footing, is_remembered, now);
                if is_ahead {
                    self.warm_bytes(&result, &opened, now);
                }
                result
            }
            Err(result) => {
                self.not_listed(&pending);
                if is_remembered {
                    self.drop_path(&pending.raw_path);
                }
                self.forget(&footing, since);
                result
            }
        };
        let since = is_shaken.then_some(since.moment);
        let completed = Completed {
            job,
            result,
            opened,
        };
        self.tell(pending, completed, since, deliveries);
    }

    /// Answers those who waited for a look-up. Where it was shaken by a change, those who asked after its
    /// beginning are to ask once more.
    fn tell(
        &mut self,
        pending: Pending,
        completed: Completed,
        shaken_since: Option<Moment>,
        deliveries: &mut Deliveries,
    ) {
        let Pending {
            raw_path,
            entry: previous,
            waiters,
            ..
        } = pending;
        let is_early = |began: Moment| shaken_since.is_none_or(|since| began == since);
        let (early, late): (Vec<_>, Vec<_>) = waiters
            .in_order()
            .into_iter()
            .partition(|(_, began)| is_early(*began));
        let job = completed.job;
        self.count_waiting(
            &raw_path,
            previous.as_ref(),
            &completed.result,
            early.len() as u64,
        );
        deliveries.answer(completed, early.into_iter().map(|(id, _)| id));
        deliveries.answer(Completed::again(job), late.into_iter().map(|(id, _)| id));
    }

    /// Counts those who waited for a file and are answered now.
    fn count_waiting(
        &mut self,
        raw_path: &[u8],
        previous: Option<&Rc<Entry>>,
        result: &Resolved,
        requests: u64,
    ) {
        if let Resolved::Entry(entry) = result
            && let Resolution::File { .. } = entry.resolution
        {
            self.top.replaced(raw_path, entry);
            self.top.waited(raw_path, requests);
            if previous.is_none() {
                self.paths.note_missed_bytes(entry, requests);
            }
        }
    }

    /// Puts an entry into the cache, or trusts the one that is there if there is no news.
    fn remember(
        &mut self,
        pending: &Pending,
        news: Option<Resolution>,
        footing: &Footing,
        is_remembered: bool,
        now: &Now,
    ) -> Resolved {
        let lookup = match resolve::plan(&pending.raw_path, &self.naming) {
            Ok(lookup) => lookup,
            Err(status) => return Resolved::Failed(status),
        };
        let is_known = news.is_none();
        let entry = match (news, &pending.entry) {
            (None, Some(entry)) => Rc::clone(entry),
            (Some(news), _) => {
                let entry = self.paths.share(&pending.raw_path, news);
                if pending.purpose != Purpose::Ahead || !pending.waiters.is_empty() {
                    entry.count_request();
                    if is_remembered {
                        self.put(&pending.raw_path, &entry);
                    }
                } else if is_remembered && !self.paths.fill(&pending.raw_path, Rc::clone(&entry)) {
                    self.warming.end();
                }
                entry
            }
            (None, None) => return Resolved::Failed(Status::InternalServerError),
        };
        match is_remembered {
            true => {
                self.trust(&entry, &lookup, footing, pending, now);
                if is_known {
                    self.recheck_soon(&entry);
                }
                if let Some((link, number)) = self.paths.rest(&pending.raw_path, &entry) {
                    self.watch.directories.rest(link, number);
                }
            }
            false => self.forget(footing, pending.since),
        }
        Resolved::Entry(entry)
    }

    /// Describes a file that was found.
    fn found(
        &mut self,
        pending: &Pending,
        found: FoundFile,
        footing: &Footing,
        now: &Now,
    ) -> (Resolution, Vec<Opened>) {
        let FoundFile {
            path,
            identity,
            twins,
            outdated,
            expectations,
        } = found;
        self.outdated.note(path.as_bytes(), &outdated);
        let vary = if twins.is_empty() {
            Vary::Nothing
        } else {
            Vary::AcceptEncoding
        };
        let used: Vec<Coding> = twins.iter().map(|(coding, _)| *coding).collect();
        let seen = Seen::of(&expectations, &path, &used);
        let media_type = self.naming.media_types.of(path.as_bytes()).to_string();
        let since = self.since_when(footing, pending.way.as_deref());
        let previous = pending.entry.as_ref().and_then(|entry| entry.variants());
        let describe = |opened: &Opened, coding| {
            let known = opened.identity.unwrap_or(Identity::Never);
            let sighting = Sighting {
                version: opened.version,
                identity: match self.rechecks.edited(&opened.version) {
                    Some(digest) => known.of_edited(digest),
                    None => known,
                },
                tags: self.tags,
                since,
                newest_before: None,
            };
            let sighting = match previous {
                Some(variants) => {
                    let previous = variants.in_coding(coding).as_predecessor();
                    sighting.after(&previous, coding)
                }
                None => self.past.after(&pending.raw_path, sighting),
            };
            Representation::new(&media_type, sighting, coding, vary, now)
        };
        let variants = Variants {
            identity: describe(&identity, Coding::Identity),
            coded: twins
                .iter()
                .map(|(coding, twin)| describe(twin, *coding))
                .collect(),
        };
        let opened: Vec<_> = std::iter::once(identity)
            .chain(twins.into_iter().map(|(_, twin)| twin))
            .collect();
        (Resolution::File { variants, seen }, opened)
    }

    /// Keeps descriptors of files that were opened.
    fn keep_open(&mut self, opened: &[Opened], is_ahead: bool) {
        for Opened { file, version, .. } in opened {
            if version.length > 0 && !self.maps.holds(version) {
                match is_ahead {
                    true => drop(self.descriptors.fill(*version, Arc::clone(file))),
                    false => drop(self.descriptors.insert(*version, Arc::clone(file))),
                }
            }
        }
    }
}
