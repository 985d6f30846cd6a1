//! Answers a request from the caches, or has it wait for a job.

use std::rc::Rc;

use super::caches::{self, PathSteps};
use super::inquiry::{Inquiry, LookupTarget, Usage};
use super::jobs::{NewJob, Promise, Purpose};
use super::lookups::{Aim, LookUp};
use super::{Asked, ContentSource, LookupMode, Store};
use crate::cache::entry::{Entry, Resolution, Trust};
use crate::cache::key::PathKey;
use crate::cache::path::PathCache;
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::http::content_coding::{self, Coding};
use crate::http::facts::Field;
use crate::http::status::Status;
use crate::job::{Job, Opened, Resolve};
use crate::site::path_rules::Settled;
use crate::site::redirect::Moved;
use crate::site::resolve::{self, LookupPlan};
use crate::site::response::{self, Content, Fixed, Selected};
use crate::site::sites::Site;

/// A request of the server at the path cache.
struct Resolving<'s, 'i, 'f> {
    store: &'s mut Store,
    inquiry: &'i Inquiry<'f>,
}

impl PathSteps for Resolving<'_, '_, '_> {
    type Answer = Asked;

    fn cache(&mut self) -> &mut PathCache {
        &mut self.store.paths.cache
    }

    fn note(&mut self, result: CacheResult) {
        self.store.cache_report.path = Some(result);
    }

    fn answer(&mut self, entry: &Rc<Entry>) -> Asked {
        if let Some(refused) = self.store.admit(self.inquiry, Some(entry)) {
            return refused;
        }
        self.store.answer_from(entry, &[], self.inquiry)
    }

    fn revalidate_ahead(&mut self, entry: &Rc<Entry>) {
        let known = self.inquiry.known(self.inquiry.raw_path(), entry);
        self.store.check_ahead(known, self.inquiry.now);
    }

    fn revalidate(&mut self, entry: &Rc<Entry>) -> Asked {
        if let Some(refused) = self.store.admit(self.inquiry, Some(entry)) {
            return refused;
        }
        let known = self.inquiry.known(self.inquiry.raw_path(), entry);
        self.store.answer_expired(known, None, self.inquiry)
    }

    fn look_up(&mut self) -> Asked {
        let refused = self.store.admit(self.inquiry, None);
        refused.unwrap_or_else(|| self.store.find_unknown(self.inquiry))
    }
}

impl Store {
    /// Answers a request from the caches, or has it wait for a job.
    pub(super) fn find(&mut self, inquiry: &Inquiry<'_>) -> Asked {
        if let Some(waiting) = self.wait_for_root(inquiry) {
            return waiting;
        }
        let key = inquiry.key(inquiry.raw_path());
        let look = inquiry.requester.looked.path;
        let store = self;
        caches::find(&mut Resolving { store, inquiry }, key, look, inquiry.now)
    }

    /// Answers from an entry, or asks the disk for its bytes.
    pub(super) fn answer_from(
        &mut self,
        entry: &Rc<Entry>,
        opened: &[Opened],
        inquiry: &Inquiry<'_>,
    ) -> Asked {
        let Inquiry { facts, now, .. } = *inquiry;
        let variants = match &entry.resolution {
            Resolution::File { variants, .. } => variants,
            Resolution::Moved(moved) => return answer_moved(entry, moved, inquiry),
            Resolution::Refused(status) => return Asked::Fixed(Fixed::Error(*status)),
            Resolution::Fallback => return Asked::Fallback,
            // Pages are cached by directory, and are not entries of the path cache.
            Resolution::Listed => return Asked::Fixed(Fixed::Error(Status::InternalServerError)),
        };
        let coding = match variants.coded.is_empty() {
            true => Coding::Identity,
            false => content_coding::choose(facts.lines(Field::AcceptEncoding), variants.codings()),
        };
        let representation = variants.in_coding(coding);
        if self.freshness.rechecks.is_outdated(representation) {
            return self.fetch_again(entry, inquiry);
        }
        let ranges = inquiry.requester.site.policy.ranges;
        let selected = match inquiry.usage {
            Usage::Requested => response::select(facts, representation, ranges, now),
            Usage::ErrorPage(status) => Selected::ErrorPage(status),
            Usage::Canonical => return answer_canonical(inquiry),
        };
        let content = Content::of(facts.method());
        let source = match selected.first_byte(content, representation.version.length) {
            None if self.is_rewritten(&representation.version, opened) => {
                return self.fetch_again(entry, inquiry);
            }
            None => None,
            Some(first) => match self.supply(entry, representation, first, opened, inquiry) {
                ContentSource::Source(source) => Some(source),
                ContentSource::Later(job) => return Asked::Waiting(job),
                ContentSource::Never => {
                    return Asked::Fixed(Fixed::Error(Status::ServiceUnavailable));
                }
                ContentSource::Nothing => return self.fetch_again(entry, inquiry),
            },
        };
        let bytes = selected.length(content, representation.version.length);
        self.paths
            .top
            .answered(inquiry.key(inquiry.raw_path()), entry, bytes);
        Asked::Selected {
            entry: Rc::clone(entry),
            coding,
            selected,
            source,
        }
    }

    /// Looks a path up at the disk although its entry is valid: its file has to be opened.
    pub(super) fn fetch_again(&mut self, entry: &Rc<Entry>, inquiry: &Inquiry<'_>) -> Asked {
        let target = LookupTarget {
            raw_path: inquiry.raw_path(),
            entry: Some(entry),
            mode: LookupMode::Full,
        };
        self.fetch(target, None, inquiry)
    }

    /// Has a request wait for a lookup: one in flight, or a new one by this plan. If there is no plan, it is made
    /// here.
    pub(super) fn fetch(
        &mut self,
        target: LookupTarget<'_>,
        plan: Option<LookupPlan>,
        inquiry: &Inquiry<'_>,
    ) -> Asked {
        let Inquiry { requester, now, .. } = *inquiry;
        let (key, id) = (inquiry.key(target.raw_path), requester.by.id);
        let since = self.since(requester.site.id);
        if let Some(job) = self.jobs.join_look_up(key, id, since) {
            return Asked::Waiting(job);
        }
        let policy = &requester.site.policy;
        let plan = plan.map_or_else(|| policy.plan(target.raw_path), Ok);
        let plan = match plan {
            Ok(plan) => plan,
            Err(settled) => return self.answer_settled(settled, target.raw_path, inquiry),
        };
        let aim = match target.mode {
            LookupMode::Revalidate => Aim::Check,
            LookupMode::Full => Aim::Asked,
        };
        let (job, look_up) = self.new_look_up(target, plan, aim, requester.site, now);
        let submitted = self.jobs.submit(NewJob {
            job,
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

    /// Answers for a path that needs no look-up. What a rule says is remembered like a file, until the site is another.
    pub(super) fn answer_settled(
        &mut self,
        settled: Settled,
        raw_path: &[u8],
        inquiry: &Inquiry<'_>,
    ) -> Asked {
        let moved = match settled {
            Settled::Refused(status) => return Asked::Fixed(Fixed::Error(status)),
            Settled::Moved(moved) => moved,
        };
        let entry = Rc::new(Entry::new(Resolution::Moved(moved)));
        entry.count_request();
        let trust = Trust {
            lifetime: Trust::FOR_EVER,
            generation: self.paths.cache.generation(),
        };
        entry.trust(trust, None, inquiry.now);
        self.put(inquiry.key(raw_path), &entry);
        self.answer_from(&entry, &[], inquiry)
    }

    /// The job of a lookup by this plan, and the data that its result needs.
    pub(super) fn new_look_up(
        &mut self,
        target: LookupTarget<'_>,
        plan: LookupPlan,
        aim: Aim,
        site: &Rc<Site>,
        now: &Now,
    ) -> (Job, LookUp) {
        let known = target.entry.map(|entry| &entry.resolution);
        let (mut expected, mut page) = (Vec::new(), None);
        match (known, target.mode) {
            (Some(Resolution::File { variants, seen }), LookupMode::Revalidate)
                if target
                    .entry
                    .is_some_and(|entry| caches::is_comparable(entry)) =>
            {
                expected = seen.expectations(&plan, variants);
            }
            (Some(Resolution::Listed), _) => {
                page = self
                    .paths
                    .pages
                    .digest(PathKey::new(site.id, plan.directory()));
            }
            _ => {}
        }
        let since = self.since(site.id);
        let (place, watched_path) = self.freshness.lookup_site(&plan, site, now);
        let resolve = Resolve::checking(plan, expected, place).expecting_page(page);
        let look_up = LookUp {
            site: Rc::clone(site),
            raw_path: target.raw_path.into(),
            entry: target.entry.map(Rc::clone),
            since,
            watched_path,
            aim,
            begun: now.monotonic,
        };
        (Job::Resolve(Box::new(resolve)), look_up)
    }
}

/// Sends a client where an entry leads, with its query. Without one nothing is allocated. Other paths of the site are
/// not followed to where they lead.
fn answer_moved(entry: &Rc<Entry>, moved: &Moved, inquiry: &Inquiry<'_>) -> Asked {
    match (inquiry.usage, inquiry.facts.query()) {
        (Usage::Canonical | Usage::ErrorPage(_), _) => Asked::Fixed(Fixed::Error(Status::NotFound)),
        (Usage::Requested, None) => Asked::Moved(Rc::clone(entry)),
        (Usage::Requested, Some(query)) => Asked::Fixed(Fixed::Moved(Moved {
            status: moved.status,
            location: response::location(&moved.location, query).into(),
        })),
    }
}

/// Sends a client to the path of the inquiry.
fn answer_canonical(inquiry: &Inquiry<'_>) -> Asked {
    let path = resolve::usual_spelling(inquiry.raw_path()).unwrap_or_default();
    let path = String::from_utf8(path).unwrap_or_default();
    Asked::Fixed(Fixed::Moved(Moved {
        status: Status::PermanentRedirect,
        location: match inquiry.facts.query() {
            Some(query) => response::location(&path, query).into(),
            None => path.into(),
        },
    }))
}
