//! Processes the results of jobs: updates the caches, and informs the waiting requests.

use std::rc::Rc;
use std::sync::Arc;

use super::contents::CachedFile;
use super::holdings::Demand;
use super::jobs::{Mapping, Promise, Purpose, Record, Standing, WindowRead};
use super::lookups::{Aim, LookUp};
use super::waiters::Waiters;
use super::watch::Watched;
use super::{CompletedJob, LookupResult, Store};
use crate::cache::entry::{Entry, Resolution, Seen};
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::job::JobId;
use crate::job::{Dependencies, Done, FoundFile, JobError, Mapped, Opened, Outcome, Refusal};
use crate::site::redirect::Moved;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::validators::{Identity, Sighting};
use crate::store::watch::directories::EventSequence;

/// Whether the result of a lookup is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    Remembered,
    /// It only answers the waiting requests: a newer lookup has begun, or another root is served.
    Forgotten,
}

/// A completed lookup.
struct EndedLookUp {
    job: JobId,
    look_up: LookUp,
    waiters: Waiters<Promise>,
    standing: Standing,
}

impl EndedLookUp {
    /// Whether a request needed the lookup.
    fn demand(&self) -> Demand {
        match self.look_up.aim == Aim::Prefetch && self.waiters.is_empty() {
            true => Demand::Prefetch,
            false => Demand::Requested,
        }
    }
}

impl Store {
    /// Processes the result of a job. The waiting requests get it later, by [`Store::next_delivery`]. Returns the
    /// result if the job was submitted for the loop, or by the engine for itself.
    pub(crate) fn complete(&mut self, job: JobId, done: Done, now: &Now) -> Option<Done> {
        let Some(record) = self.jobs.take(job) else {
            return Some(done);
        };
        let Record {
            purpose,
            waiters,
            standing,
        } = record;
        match (purpose, done) {
            (Purpose::LookUp(look_up), Done::Resolved(outcome, dependencies)) => {
                let ended = EndedLookUp {
                    job,
                    look_up,
                    waiters,
                    standing,
                };
                self.look_up_ended(ended, outcome, &dependencies, now);
            }
            (Purpose::Read(read), Done::Warmed(result)) => {
                self.read_ended(job, &read, waiters, result, now);
            }
            (Purpose::Populate, Done::Populated) => self.populated(job, waiters),
            (Purpose::Map(mapping), Done::Mapped(mapped)) => match standing {
                Standing::Current => self.mapped(&mapping, mapped, now),
                Standing::Withdrawn => self.freshness.watch.unwanted(mapped),
            },
            (Purpose::Compare(comparison), Done::Rechecked(compared)) => {
                self.compared(&comparison, &compared, now);
                self.deliveries.again(job, waiters);
            }
            (Purpose::CompareBatch(told, entries), Done::Rechecked(compared)) => {
                self.compared_batch(told, &entries, &compared, now);
            }
            (Purpose::FollowRoot(check), Done::Followed { walk, root }) => {
                self.followed(check, &walk, root, now);
                self.deliveries.again(job, waiters);
            }
            (Purpose::Verify(pair, owner), Done::Verified(is_right)) => {
                self.verified((pair, owner), is_right, now);
                self.deliveries.again(job, waiters);
            }
            (Purpose::ReadMounts, Done::Mounts(table)) => self.mounts_seen(table),
            (Purpose::LoadPaths, Done::Loaded(read)) => {
                self.notices.extend(self.prefetch.warming.loaded(read));
            }
            (Purpose::ReadNames, Done::Named(read)) => self.prefetch.warming.named(read),
            (Purpose::SaveState, Done::Saved(result)) => {
                self.notices.extend(self.prefetch.saved(result));
            }
            (Purpose::Reopen(reopen), Done::OpenedAgain(opened)) => {
                self.opened_again(job, reopen, waiters, opened, now);
            }
            (Purpose::Loop, done) => return Some(done),
            (purpose, done) => unreachable!("{done:?} came of a job for {purpose:?}"),
        }
        None
    }

    fn populated(&mut self, job: JobId, waiters: Waiters<Promise>) {
        for id in waiters.ids() {
            self.deliveries.more(id, job, Ok(()));
        }
    }

    fn look_up_ended(
        &mut self,
        ended: EndedLookUp,
        outcome: Outcome,
        dependencies: &Dependencies,
        now: &Now,
    ) {
        let look_up = &ended.look_up;
        match look_up.aim {
            Aim::Prefetch => self.prefetch.warming.finish(),
            Aim::Check => self
                .freshness
                .staleness
                .check_ended(look_up.entry.as_ref(), &outcome),
            Aim::Asked => {}
        }
        let generation = self.paths.cache.generation();
        if let Outcome::Failed(_) = outcome
            && self
                .freshness
                .staleness
                .goes_on_without(look_up, generation, now)
        {
            self.freshness.forget(dependencies, look_up.since);
            return self.deliveries.again(ended.job, ended.waiters);
        }
        let keeping =
            match ended.standing == Standing::Current && self.freshness.is_current(look_up) {
                true => Keeping::Remembered,
                false => Keeping::Forgotten,
            };
        let is_invalidated = self.freshness.is_invalidated(look_up, dependencies);
        let invalidated_since = is_invalidated.then_some(look_up.since.sequence);
        let (result, opened) = self.resolved(&ended, outcome, dependencies, keeping, now);
        let completed = CompletedJob {
            job: ended.job,
            result,
            opened,
        };
        self.tell(ended, completed, invalidated_since);
    }

    fn read_ended(
        &mut self,
        job: JobId,
        read: &WindowRead,
        waiters: Waiters<Promise>,
        result: Result<(), JobError>,
        now: &Now,
    ) {
        if result.is_ok() {
            self.residency.was_read(read.window, now.monotonic);
        }
        let opened = Opened::new(Arc::clone(&read.file), read.window.version());
        for (id, promise) in waiters.in_order() {
            let Promise::Answer(entry) = promise else {
                // A job that was given up says nothing about the disk. The response submits another one, which is not
                // given up.
                let result = match result {
                    Err(JobError::Busy) => Ok(()),
                    result => result,
                };
                self.deliveries.more(id, job, result);
                continue;
            };
            let result = match result {
                Ok(()) => LookupResult::Entry(entry),
                Err(error) => LookupResult::Failed(error.into()),
            };
            let completed = CompletedJob {
                job,
                result,
                opened: vec![opened.clone()],
            };
            self.deliveries.answer(completed, [id]);
        }
    }

    fn mapped(&mut self, mapping: &Mapping, mapped: Mapped, now: &Now) {
        let (version, digest) = (mapped.version, mapped.digest);
        let watched = self.freshness.watch.mapped(mapped, mapping.since, now);
        let Watched::Yes(memory, previous) = watched else {
            return;
        };
        if let Some(previous) = previous {
            self.contents.held.maps.remove(&previous);
        }
        let generation = self.paths.cache.generation();
        let mapped = CachedFile::new(memory, digest, generation, now);
        self.freshness.rechecks.read(&version, digest);
        for gone in self
            .contents
            .held
            .keep_mapped(version, mapped, mapping.demand)
        {
            self.freshness.watch.remove(&gone);
        }
    }

    /// Caches the result of a lookup. Returns the result for the waiting requests, and the files that were opened.
    fn resolved(
        &mut self,
        ended: &EndedLookUp,
        outcome: Outcome,
        dependencies: &Dependencies,
        keeping: Keeping,
        now: &Now,
    ) -> (LookupResult, Vec<Opened>) {
        let look_up = &ended.look_up;
        let mut opened = Vec::new();
        let found = match outcome {
            Outcome::Unchanged => {
                return (self.unchanged(look_up, dependencies, keeping, now), opened);
            }
            Outcome::Listed(listing) => {
                let result = self.listed(look_up, *listing, dependencies, keeping, now);
                return (result, opened);
            }
            Outcome::Failed(error) => Err(LookupResult::Failed(error.into())),
            Outcome::Elsewhere(root) => {
                if self.freshness.is_current(look_up) {
                    self.serve(look_up.site.id, root, now);
                }
                Err(LookupResult::Again)
            }
            Outcome::File(found) => {
                let (resolution, files) = self.found(look_up, *found, dependencies, now);
                self.contents.keep_open(&files, ended.demand());
                opened = files;
                Ok(resolution)
            }
            Outcome::Moved(path) => Ok(Resolution::Moved(Moved::directory(path))),
            Outcome::Refused(why) => Ok(refused(look_up, why)),
        };
        self.not_listed(look_up, dependencies);
        let result = match found {
            Ok(resolution) => {
                let entry = self.remember(ended, resolution, keeping);
                match keeping {
                    Keeping::Remembered => {
                        self.trust(&entry, dependencies, look_up, now);
                        self.rest(look_up.key(), &entry);
                    }
                    Keeping::Forgotten => self.freshness.forget(dependencies, look_up.since),
                }
                if ended.demand() == Demand::Prefetch {
                    self.warm_bytes(&entry, &opened, now);
                }
                LookupResult::Entry(entry)
            }
            Err(result) => {
                self.forget_path(look_up, dependencies, keeping);
                result
            }
        };
        (result, opened)
    }

    /// A revalidation found no change.
    fn unchanged(
        &mut self,
        look_up: &LookUp,
        dependencies: &Dependencies,
        keeping: Keeping,
        now: &Now,
    ) -> LookupResult {
        let Some(entry) = &look_up.entry else {
            // Without an entry there was nothing to compare.
            self.forget_path(look_up, dependencies, keeping);
            return LookupResult::Failed(Status::InternalServerError);
        };
        match keeping {
            Keeping::Remembered => {
                self.trust(entry, dependencies, look_up, now);
                self.freshness.rechecks.plan_soon(entry);
                self.rest(look_up.key(), entry);
            }
            Keeping::Forgotten => self.freshness.forget(dependencies, look_up.since),
        }
        match entry.resolution {
            Resolution::Listed => self.checked_page(look_up, dependencies),
            _ => LookupResult::Entry(Rc::clone(entry)),
        }
    }

    /// Sets how long an entry is trusted.
    pub(super) fn trust(
        &mut self,
        entry: &Rc<Entry>,
        dependencies: &Dependencies,
        look_up: &LookUp,
        now: &Now,
    ) {
        let notice = self.freshness.trust(entry, dependencies, look_up, now);
        self.notices.extend(notice);
    }

    /// Removes the entry of a path.
    fn forget_path(&mut self, look_up: &LookUp, dependencies: &Dependencies, keeping: Keeping) {
        if keeping == Keeping::Remembered {
            self.drop_path(look_up.key());
        }
        self.freshness.forget(dependencies, look_up.since);
    }

    /// Answers the requests that waited for a lookup. If one of its dependencies changed after it began, requests that
    /// came later ask again.
    fn tell(
        &mut self,
        ended: EndedLookUp,
        completed: CompletedJob,
        invalidated_since: Option<EventSequence>,
    ) {
        let is_early = |promise: &Promise| match (promise, invalidated_since) {
            (Promise::Result(began), Some(since)) => *began == since,
            _ => true,
        };
        let (early, late): (Vec<_>, Vec<_>) = ended
            .waiters
            .in_order()
            .into_iter()
            .partition(|(_, promise)| is_early(promise));
        self.count_waiting(&ended.look_up, &completed.result, early.len() as u64);
        self.deliveries
            .answer(completed, early.into_iter().map(|(id, _)| id));
        let again = CompletedJob::again(ended.job);
        self.deliveries
            .answer(again, late.into_iter().map(|(id, _)| id));
    }

    /// Counts the requests that waited for a file.
    fn count_waiting(&mut self, look_up: &LookUp, result: &LookupResult, requests: u64) {
        if let LookupResult::Entry(entry) = result
            && let Resolution::File { .. } = entry.resolution
        {
            self.paths.top.replaced(look_up.key(), entry);
            self.paths.top.waited(look_up.key(), requests);
            if look_up.entry.is_none() {
                self.paths.cache.note_missed_bytes(entry, requests);
            }
        }
    }

    /// Makes an entry of the result of a lookup, and caches it.
    fn remember(&mut self, ended: &EndedLookUp, found: Resolution, keeping: Keeping) -> Rc<Entry> {
        let key = ended.look_up.key();
        let entry = self.paths.cache.share(key, found);
        match (keeping, ended.demand()) {
            (Keeping::Forgotten, _) => {}
            (Keeping::Remembered, Demand::Requested) => self.put(key, &entry),
            (Keeping::Remembered, Demand::Prefetch) => {
                if !self.paths.cache.fill(key, Rc::clone(&entry)) {
                    self.prefetch.warming.end();
                }
            }
        }
        entry
    }

    /// Replaces the entry of a path without a file by a smaller form.
    fn rest(&mut self, key: PathKey<'_>, entry: &Rc<Entry>) {
        if let Some((link, number)) = self.paths.cache.rest(key, entry) {
            self.freshness.watch.directories.rest(link, number);
        }
    }

    /// Returns the resolution of a file that was found, and the files that were opened.
    fn found(
        &mut self,
        look_up: &LookUp,
        found: FoundFile,
        dependencies: &Dependencies,
        now: &Now,
    ) -> (Resolution, Vec<Opened>) {
        let path = found.path.as_bytes();
        self.paths
            .outdated
            .note(look_up.site.id, path, &found.outdated);
        let used: Vec<Coding> = found
            .precompressed
            .iter()
            .map(|(coding, _)| *coding)
            .collect();
        let seen = Seen::of(&found.expectations, &found.path, &used);
        let since = self.freshness.since_when(look_up, dependencies);
        let variants = self.describe(look_up, &found, since, now);
        let precompressed = found.precompressed.into_iter();
        let opened = std::iter::once(found.identity)
            .chain(precompressed.map(|(_, variant)| variant))
            .collect();
        (Resolution::File { variants, seen }, opened)
    }

    /// Describes a file and its variants. Its path has led to it since `since`.
    fn describe(&self, look_up: &LookUp, found: &FoundFile, since: i64, now: &Now) -> Variants {
        let policy = &look_up.site.policy;
        let types = &policy.naming.media_types;
        let path = found.path.as_bytes();
        let audience = policy.audience(&look_up.raw_path);
        let fields = policy
            .fields
            .of_file(&look_up.raw_path, path, types, audience);
        let vary = match found.precompressed.is_empty() {
            true => Vary::Nothing,
            false => Vary::AcceptEncoding,
        };
        let previous = look_up.entry.as_ref().and_then(|entry| entry.variants());
        let describe = |opened: &Opened, coding| {
            let known = opened.identity.unwrap_or(Identity::Never);
            let sighting = Sighting {
                version: opened.version,
                identity: match self.freshness.rechecks.edited(&opened.version) {
                    Some(digest) => known.of_edited(digest),
                    None => known,
                },
                tags: policy.entity_tags,
                since,
                newest_before: None,
            };
            let sighting = match previous {
                Some(variants) => {
                    let previous = variants.in_coding(coding).as_predecessor();
                    sighting.after(&previous, coding)
                }
                None => self.paths.past.after(look_up.key(), sighting),
            };
            Representation::with_fields(&fields, sighting, coding, vary, now)
        };
        let coded = found.precompressed.iter();
        Variants {
            identity: describe(&found.identity, Coding::Identity),
            coded: coded
                .map(|(coding, variant)| describe(variant, *coding))
                .collect(),
        }
    }
}

/// What a path leads to at which no file is served.
fn refused(look_up: &LookUp, why: Refusal) -> Resolution {
    let policy = &look_up.site.policy;
    match why {
        Refusal::Missing if policy.paths.falls_back(&look_up.raw_path, &policy.naming) => {
            Resolution::Fallback
        }
        why => Resolution::Refused(why.into()),
    }
}
