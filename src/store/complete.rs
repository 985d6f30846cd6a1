//! Taking in what came of jobs: the caches learn it, and those who waited are told.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::{CachedFile, CompletedJob, LookupResult, PendingMapping, Store};
use crate::cache::entry::{Resolution, Seen};
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::job::JobId;
use crate::job::{Dependencies, Done, FoundFile, JobError, Mapped, Opened, Outcome};
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::validators::{Identity, Sighting};
use crate::store::lookups::{PendingLookup, Purpose};
use crate::store::watch::Watched;
use crate::store::watch::directories::EventSequence;

impl Store {
    /// Takes the result of a job in; those who waited for it are to be told afterwards.
    pub(crate) fn complete(&mut self, job: JobId, done: Done, now: &Now) {
        match done {
            Done::Resolved(outcome, dependencies) => {
                self.look_up_ended(job, outcome, dependencies, now);
            }
            Done::Followed { walk, root } => self.followed(job, &walk, root, now),
            Done::Warmed(result) => self.warmed(job, result, now),
            Done::Mapped(mapped) => self.mapped(mapped, now),
            Done::Populated => {
                if let Some(id) = self.populating.remove(&job) {
                    self.deliveries.more(id, job, Ok(()));
                }
            }
            Done::Loaded(read) => {
                if let Some(line) = self.warming.loaded(read) {
                    self.notices.push(line);
                }
            }
            Done::Rechecked(compared) => self.rechecked(job, &compared, now),
            Done::Named(read) => self.warming.named(read),
            Done::Mounts(table) => self.mounts_seen(table),
            Done::Saved(result) => self.saved(result),
            Done::Appended { .. }
            | Done::NoticesWritten
            | Done::Reopened(_)
            | Done::Measured(_)
            | Done::Discarded => {}
        }
    }

    fn look_up_ended(
        &mut self,
        job: JobId,
        outcome: Outcome,
        dependencies: Dependencies,
        now: &Now,
    ) {
        let Some((pending, is_latest)) = self.lookups.finish(job) else {
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
            return self.tell_again(job, pending, &dependencies);
        }
        let remembered = is_latest && self.is_current(pending.since);
        let found = (outcome, dependencies);
        self.resolved(job, pending, found, remembered, now);
    }

    fn warmed(&mut self, job: JobId, read: Result<(), JobError>, now: &Now) {
        let Some(window) = self.residency.finish(job, read.is_ok(), now.monotonic) else {
            return;
        };
        for (id, entry) in window.waiters.in_order() {
            let Some(entry) = entry else {
                // A job that was given up says nothing of the disk: the answer asks for another, which
                // nobody gives up.
                let read = match read {
                    Err(JobError::Busy) => Ok(()),
                    read => read,
                };
                self.deliveries.more(id, job, read);
                continue;
            };
            let result = match read {
                Ok(()) => LookupResult::Entry(entry),
                Err(error) => LookupResult::Failed(error.into()),
            };
            let completed = CompletedJob {
                job,
                result,
                opened: vec![window.opened.clone()],
            };
            self.deliveries.answer(completed, [id]);
        }
    }

    fn mapped(&mut self, mapped: Mapped, now: &Now) {
        let (version, digest) = (mapped.version, mapped.digest);
        let Some(pending_mappings) = self.pending_mappings.remove(&version) else {
            // It was for a root that is served no more.
            self.watch.unwanted(mapped);
            return;
        };
        let PendingMapping { since, is_prefetch } = pending_mappings;
        let Watched::Yes(memory, previous) = self.watch.mapped(mapped, since, now) else {
            return;
        };
        if let Some(previous) = previous {
            self.maps.remove(&previous);
        }
        let mapped = CachedFile {
            memory: Rc::new(memory),
            used: Cell::new(now.monotonic),
            generation: Cell::new(self.paths.generation()),
            digest,
            compared: Cell::new(now.monotonic),
        };
        self.rechecks.read(&version, digest);
        if is_prefetch {
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
        pending: PendingLookup,
        (outcome, dependencies): (Outcome, Dependencies),
        is_remembered: bool,
        now: &Now,
    ) {
        let is_invalidated = self.is_invalidated(&pending, &dependencies);
        let is_prefetch = pending.purpose == Purpose::Ahead && pending.waiters.is_empty();
        let mut opened = Vec::new();
        let (since, previous) = (pending.since, &pending.entry);
        let resolution = match (outcome, previous) {
            (Outcome::Unchanged, Some(_)) => Ok(None),
            // Nothing is compared where nothing was known.
            (Outcome::Unchanged, None) => Err(LookupResult::Failed(Status::InternalServerError)),
            (Outcome::Failed(error), _) => Err(LookupResult::Failed(error.into())),
            (Outcome::Listed(listing), _) => {
                let result = self.listed(&pending, *listing, &dependencies, is_remembered, now);
                let since = is_invalidated.then_some(since.sequence);
                let completed = CompletedJob {
                    job,
                    result,
                    opened,
                };
                return self.tell(pending, completed, since);
            }
            (Outcome::Elsewhere(root), _) => {
                if self.is_current(since) {
                    self.serve(root, now);
                }
                Err(LookupResult::Again)
            }
            (Outcome::File(found), _) => {
                let (resolution, files) = self.found(&pending, *found, &dependencies, now);
                self.keep_open(&files, is_prefetch);
                opened = files;
                Ok(Some(resolution))
            }
            (Outcome::Moved(path), _) => Ok(Some(Resolution::Moved(path))),
            (Outcome::Refused(why), _) => Ok(Some(Resolution::Refused(why.into()))),
        };
        let result = match resolution {
            Ok(resolution) => {
                if resolution.is_some() {
                    self.not_listed(&pending, &dependencies);
                }
                let result = self.remember(&pending, resolution, &dependencies, is_remembered, now);
                if is_prefetch {
                    self.warm_bytes(&result, &opened, now);
                }
                result
            }
            Err(result) => {
                self.not_listed(&pending, &dependencies);
                if is_remembered {
                    self.drop_path(pending.key());
                }
                self.forget(&dependencies, since);
                result
            }
        };
        let since = is_invalidated.then_some(since.sequence);
        let completed = CompletedJob {
            job,
            result,
            opened,
        };
        self.tell(pending, completed, since);
    }

    /// Answers those who waited for a look-up. Where it was shaken by a change, those who asked after its
    /// beginning are to ask once more.
    fn tell(
        &mut self,
        mut pending: PendingLookup,
        completed: CompletedJob,
        shaken_since: Option<EventSequence>,
    ) {
        let waiters = std::mem::take(&mut pending.waiters);
        let is_early = |began: EventSequence| shaken_since.is_none_or(|since| began == since);
        let (early, late): (Vec<_>, Vec<_>) = waiters
            .in_order()
            .into_iter()
            .partition(|(_, began)| is_early(*began));
        let job = completed.job;
        self.count_waiting(&pending, &completed.result, early.len() as u64);
        self.deliveries
            .answer(completed, early.into_iter().map(|(id, _)| id));
        self.deliveries
            .answer(CompletedJob::again(job), late.into_iter().map(|(id, _)| id));
    }

    /// Counts those who waited for a file and are answered now.
    fn count_waiting(&mut self, pending: &PendingLookup, result: &LookupResult, requests: u64) {
        if let LookupResult::Entry(entry) = result
            && let Resolution::File { .. } = entry.resolution
        {
            self.top.replaced(pending.key(), entry);
            self.top.waited(pending.key(), requests);
            if pending.entry.is_none() {
                self.paths.note_missed_bytes(entry, requests);
            }
        }
    }

    /// Puts an entry into the cache, or trusts the one that is there if there is no news.
    fn remember(
        &mut self,
        pending: &PendingLookup,
        news: Option<Resolution>,
        dependencies: &Dependencies,
        is_remembered: bool,
        now: &Now,
    ) -> LookupResult {
        let is_known = news.is_none();
        let entry = match (news, &pending.entry) {
            (None, Some(entry)) => Rc::clone(entry),
            (Some(news), _) => {
                let entry = self.paths.share(pending.key(), news);
                if pending.purpose != Purpose::Ahead || !pending.waiters.is_empty() {
                    entry.count_request();
                    if is_remembered {
                        self.put(pending.key(), &entry);
                    }
                } else if is_remembered && !self.paths.fill(pending.key(), Rc::clone(&entry)) {
                    self.warming.end();
                }
                entry
            }
            (None, None) => return LookupResult::Failed(Status::InternalServerError),
        };
        match is_remembered {
            true => {
                self.trust(&entry, dependencies, pending, now);
                if is_known {
                    self.recheck_soon(&entry);
                }
                if let Some((link, number)) = self.paths.rest(pending.key(), &entry) {
                    self.watch.directories.rest(link, number);
                }
            }
            false => self.forget(dependencies, pending.since),
        }
        LookupResult::Entry(entry)
    }

    /// Describes a file that was found.
    fn found(
        &mut self,
        pending: &PendingLookup,
        found: FoundFile,
        dependencies: &Dependencies,
        now: &Now,
    ) -> (Resolution, Vec<Opened>) {
        let FoundFile {
            path,
            identity,
            precompressed,
            outdated,
            expectations,
        } = found;
        self.outdated
            .note(pending.site.id, path.as_bytes(), &outdated);
        let vary = if precompressed.is_empty() {
            Vary::Nothing
        } else {
            Vary::AcceptEncoding
        };
        let used: Vec<Coding> = precompressed.iter().map(|(coding, _)| *coding).collect();
        let seen = Seen::of(&expectations, &path, &used);
        let media_type = pending
            .site
            .policy
            .naming
            .media_types
            .of(path.as_bytes())
            .to_string();
        let since = self.since_when(dependencies, pending.watched_path.as_deref());
        let previous = pending.entry.as_ref().and_then(|entry| entry.variants());
        let describe = |opened: &Opened, coding| {
            let known = opened.identity.unwrap_or(Identity::Never);
            let sighting = Sighting {
                version: opened.version,
                identity: match self.rechecks.edited(&opened.version) {
                    Some(digest) => known.of_edited(digest),
                    None => known,
                },
                tags: pending.site.policy.entity_tags,
                since,
                newest_before: None,
            };
            let sighting = match previous {
                Some(variants) => {
                    let previous = variants.in_coding(coding).as_predecessor();
                    sighting.after(&previous, coding)
                }
                None => self.past.after(pending.key(), sighting),
            };
            Representation::new(&media_type, sighting, coding, vary, now)
        };
        let variants = Variants {
            identity: describe(&identity, Coding::Identity),
            coded: precompressed
                .iter()
                .map(|(coding, variant)| describe(variant, *coding))
                .collect(),
        };
        let opened: Vec<_> = std::iter::once(identity)
            .chain(precompressed.into_iter().map(|(_, variant)| variant))
            .collect();
        (Resolution::File { variants, seen }, opened)
    }

    /// Keeps descriptors of files that were opened.
    fn keep_open(&mut self, opened: &[Opened], is_prefetch: bool) {
        for Opened { file, version, .. } in opened {
            if version.length > 0 && !self.maps.holds(version) {
                match is_prefetch {
                    true => drop(self.descriptors.fill(*version, Arc::clone(file))),
                    false => drop(self.descriptors.insert(*version, Arc::clone(file))),
                }
            }
        }
    }
}
