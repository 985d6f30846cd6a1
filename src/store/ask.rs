//! What a request leads to: answered from the caches, or a job that finds it out.

use std::rc::Rc;

use super::contents::Look;
use super::jobs::{NewJob, Promise, Purpose};
use super::lookups::{Aim, LookUp};
use super::supply::Requester;
use super::watch::directories::WatchedPath;
use super::{Asked, ContentSource, LookupMode, Store};
use crate::cache::entry::{Entry, Resolution};
use crate::cache::key::PathKey;
use crate::cache::path::Known;
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::http::content_coding::{self, Coding};
use crate::http::facts::{Facts, Field};
use crate::http::status::Status;
use crate::job::{Job, Opened, Resolve};
use crate::site::resolve;
use crate::site::response::{self, Content, Fixed};
use crate::site::sites::Site;

impl Store {
    /// What a request leads to, by the caches first.
    pub(super) fn find(
        &mut self,
        request: &Facts<'_>,
        requester: Requester<'_>,
        now: &Now,
    ) -> Asked {
        let raw_path = request.path();
        let key = requester.key(raw_path);
        let looked = requester.looked;
        if let Some(waiting) = self.wait_for_root(requester, now) {
            return waiting;
        }
        let known = match looked.path {
            Look::First => self.paths.cache.look_up(key, now),
            Look::Again => self.paths.cache.look_up_again(key, now),
        };
        let (said, entry) = match &known {
            Known::Fresh(entry) | Known::Due(entry) => (CacheResult::Hit, Some(entry)),
            Known::Expired(entry) => (CacheResult::Expired, Some(entry)),
            Known::Unknown => (CacheResult::Miss, None),
        };
        if looked.path == Look::First {
            self.cache_report.path = Some(said);
            if let Some(entry) = entry {
                entry.count_request();
            }
        }
        match known {
            Known::Fresh(entry) => self.answer_from(&entry, request, &[], requester, now),
            Known::Due(entry) => {
                self.check_ahead(raw_path, &entry, requester.site, now);
                self.answer_from(&entry, request, &[], requester, now)
            }
            Known::Expired(entry) => self.answer_expired(raw_path, &entry, request, requester, now),
            Known::Unknown => self.find_unknown(request, requester, now),
        }
    }

    /// Answers from an entry, or asks the disk for its bytes.
    pub(super) fn answer_from(
        &mut self,
        entry: &Rc<Entry>,
        request: &Facts<'_>,
        opened: &[Opened],
        requester: Requester<'_>,
        now: &Now,
    ) -> Asked {
        let variants = match &entry.resolution {
            Resolution::File { variants, .. } => variants,
            Resolution::Moved(path) => {
                let location = response::location(path, request.query());
                return Asked::Fixed(Fixed::Moved(location));
            }
            Resolution::Refused(status) => return Asked::Fixed(Fixed::Error(*status)),
            Resolution::Listed => return self.answer_checked(request, requester, now),
        };
        let coding = match variants.coded.is_empty() {
            true => Coding::Identity,
            false => {
                content_coding::choose(request.lines(Field::AcceptEncoding), variants.codings())
            }
        };
        let representation = variants.in_coding(coding);
        if self.freshness.rechecks.is_outdated(representation) {
            return self.fetch_again(entry, request, requester, now);
        }
        let ranges = requester.site.policy.ranges;
        let selected = response::select(request, representation, ranges, now);
        let content = Content::of(request.method());
        let source = match selected.first_byte(content, representation.version.length) {
            None if self.is_rewritten(&representation.version, opened) => {
                return self.fetch_again(entry, request, requester, now);
            }
            None => None,
            Some(first) => {
                match self.supply(entry, representation, first, opened, requester, now) {
                    ContentSource::Source(source) => Some(source),
                    ContentSource::Later(job) => return Asked::Waiting(job),
                    ContentSource::Never => {
                        return Asked::Fixed(Fixed::Error(Status::ServiceUnavailable));
                    }
                    ContentSource::Nothing => {
                        return self.fetch_again(entry, request, requester, now);
                    }
                }
            }
        };
        let bytes = selected.length(content, representation.version.length);
        self.paths
            .top
            .answered(requester.key(request.path()), entry, bytes);
        Asked::Selected {
            entry: Rc::clone(entry),
            coding,
            selected,
            source,
        }
    }

    /// Looks a path up at the disk though its entry is trusted: its file has to be opened.
    pub(super) fn fetch_again(
        &mut self,
        entry: &Rc<Entry>,
        request: &Facts<'_>,
        requester: Requester<'_>,
        now: &Now,
    ) -> Asked {
        self.fetch(
            request.path(),
            Some(entry),
            LookupMode::Full,
            requester,
            now,
        )
    }

    /// The job of a look-up, and the way to its directory if that is watched already.
    pub(super) fn resolve(
        &mut self,
        raw_path: &[u8],
        entry: Option<&Rc<Entry>>,
        resolving: LookupMode,
        site: &Site,
        now: &Now,
    ) -> Result<(Resolve, Option<Rc<WatchedPath>>), Status> {
        let lookup = resolve::plan(raw_path, &site.policy.naming)?;
        let expected = match (resolving, entry.map(|entry| &entry.resolution)) {
            (LookupMode::Revalidate, Some(Resolution::File { variants, seen }))
                if variants.is_settled() =>
            {
                seen.expectations(&lookup, variants)
            }
            _ => Vec::new(),
        };
        let (place, watched_path) = self.freshness.lookup_site(&lookup, site, now);
        let is_listed = |entry: &&Rc<Entry>| matches!(entry.resolution, Resolution::Listed);
        let listed = entry.filter(is_listed).and(Some(lookup.directory()));
        let page =
            listed.and_then(|directory| self.paths.pages.digest(PathKey::new(site.id, directory)));
        let resolve = Resolve::checking(lookup, expected, place).expecting_page(page);
        Ok((resolve, watched_path))
    }

    pub(super) fn fetch(
        &mut self,
        raw_path: &[u8],
        entry: Option<&Rc<Entry>>,
        resolving: LookupMode,
        requester: Requester<'_>,
        now: &Now,
    ) -> Asked {
        let (key, id) = (requester.key(raw_path), requester.by.id);
        let since = self.since();
        if let Some(job) = self.jobs.join_look_up(key, id, since) {
            return Asked::Waiting(job);
        }
        let (resolve, watched_path) =
            match self.resolve(raw_path, entry, resolving, requester.site, now) {
                Ok(resolve) => resolve,
                Err(status) => return Asked::Fixed(Fixed::Error(status)),
            };
        let aim = match resolving {
            LookupMode::Revalidate => Aim::Check,
            LookupMode::Full => Aim::Asked,
        };
        let look_up = LookUp {
            site: Rc::clone(requester.site),
            raw_path: raw_path.into(),
            entry: entry.map(Rc::clone),
            since,
            watched_path,
            aim,
            begun: now.monotonic,
        };
        let submitted = self.jobs.submit(NewJob {
            job: Job::Resolve(Box::new(resolve)),
            owner: requester.by.owner,
            purpose: Purpose::LookUp(look_up),
            waiter: Some((id, Promise::Result(since.sequence))),
        });
        let Ok(job) = submitted else {
            return Asked::Fixed(Fixed::Error(Status::ServiceUnavailable));
        };
        if aim == Aim::Check {
            self.freshness.staleness.check_began(job, now);
        }
        Asked::Waiting(job)
    }
}
