//! The path that a request is answered from: its own, or another of its site that stands in for it.
//!
//! ```text
//!   requested ── nothing, at a route ──► fallback ── an error ──► error page ── no file ──► the small page
//!     │    │                                ▲                        ▲                      of that error
//!     │    └────────────────────── an error ┼────────────────────────┤
//!     └─ nothing, with a slash ──► page ────┴── an error ────────────┘
//!                                   └── a file ──► a redirect to it
//! ```
//!
//! A request goes along this line once, so it never goes round in circles. Each path is looked up like any other: in
//! the caches first, else by a job, within the one time that the request has for the disk.

use std::mem;

use super::inquiry::{Counted, Inquiry, Requester, Usage};
use super::request::RequestState;
use super::{Asked, Store};
use crate::clock::Now;
use crate::http::facts::Facts;
use crate::http::status::Status;
use crate::site::path_rules::{InnerPath, PathRules};
use crate::site::response::Fixed;

/// The path that a request is answered from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SourcePath {
    /// Its own.
    #[default]
    Requested,
    /// Its own without the slash at its end, which may be the path of a page: its own leads to nothing.
    Page(Missing),
    /// The fallback of its site: its own leads to nothing.
    Fallback,
    /// The page of an error with this status.
    ErrorPage(Status),
}

/// What a path is that leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// An error.
    NotFound,
    /// A route.
    Route,
}

impl SourcePath {
    /// The path to go on with where this one has led to `asked`; `None`: that is the answer.
    fn after(self, asked: &Asked, raw_path: &[u8], rules: &PathRules) -> Option<SourcePath> {
        let missing = match asked {
            Asked::Fallback => Some(Missing::Route),
            Asked::Fixed(Fixed::Error(Status::NotFound)) => Some(Missing::NotFound),
            _ => None,
        };
        let status = match (self, asked, missing) {
            (SourcePath::ErrorPage(_), ..) => return None,
            (SourcePath::Requested, _, Some(missing)) if rules.page_of(raw_path).is_some() => {
                return Some(SourcePath::Page(missing));
            }
            (SourcePath::Requested, Asked::Fallback, _)
            | (SourcePath::Page(Missing::Route), _, Some(_)) => return Some(SourcePath::Fallback),
            (SourcePath::Page(_) | SourcePath::Fallback, Asked::Fallback, _) => Status::NotFound,
            (_, Asked::Fixed(Fixed::Error(status)), _) => *status,
            _ => return None,
        };
        rules.error_page(status)?;
        Some(SourcePath::ErrorPage(status))
    }

    /// The answer where this path has led to `asked` and no other follows.
    fn answer(self, asked: Asked) -> Asked {
        match (self, asked) {
            (_, asked @ (Asked::Selected { .. } | Asked::Waiting(_))) => asked,
            // It is no file.
            (SourcePath::ErrorPage(status), _) => Asked::Fixed(Fixed::Error(status)),
            (_, Asked::Fallback) => Asked::Fixed(Fixed::Error(Status::NotFound)),
            (_, asked) => asked,
        }
    }

    /// A request that is answered from this path.
    pub(super) fn inquiry<'a>(
        self,
        facts: &'a Facts<'a>,
        requester: Requester<'a>,
        now: &'a Now,
    ) -> Inquiry<'a> {
        let inquiry = Inquiry::new(facts, requester, now);
        let rules = &requester.site.policy.paths;
        let (path, usage) = match self {
            SourcePath::Requested => return inquiry,
            SourcePath::Page(_) => (rules.page_of(facts.path()), Usage::Canonical),
            SourcePath::Fallback => (
                rules.fallback.as_ref().map(InnerPath::raw),
                Usage::Requested,
            ),
            SourcePath::ErrorPage(status) => {
                let page = rules.error_page(status).map(InnerPath::raw);
                (page, Usage::ErrorPage(status))
            }
        };
        // The rules are those by which it was chosen.
        path.map_or(inquiry, |path| Inquiry {
            path,
            usage,
            ..Inquiry::new(facts, requester, now)
        })
    }
}

impl Store {
    /// What a request leads to whose path has led to `asked`.
    pub(super) fn go_on(
        &mut self,
        asked: Asked,
        inquiry: &Inquiry<'_>,
        state: &mut RequestState,
    ) -> Asked {
        let mut asked = asked;
        let rules = &inquiry.requester.site.policy.paths;
        let own = inquiry.facts.path();
        while let Some(next) = state.path.after(&asked, own, rules) {
            state.path = next;
            let requester = Requester {
                looked: Counted::default(),
                ..inquiry.requester
            };
            asked = self.find(&next.inquiry(inquiry.facts, requester, inquiry.now));
            state.note(mem::take(&mut self.cache_report));
        }
        state.path.answer(asked)
    }

    /// What a request gets whose time for the disk is over: the page of that where it takes no look at the disk.
    pub(super) fn give_up(&mut self, inquiry: &Inquiry<'_>, state: &mut RequestState) -> Asked {
        let timed_out = || Asked::Fixed(Fixed::Error(Status::GatewayTimeout));
        let rules = &inquiry.requester.site.policy.paths;
        let page = rules.error_page(Status::GatewayTimeout);
        let is_known = page.is_some_and(|page| self.paths.cache.holds(inquiry.key(page.raw())));
        if !is_known {
            return state.path.answer(timed_out());
        }
        match self.go_on(timed_out(), inquiry, state) {
            Asked::Waiting(job) => {
                self.leave(job, inquiry.requester.by.id);
                timed_out()
            }
            asked => asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobId;
    use crate::site::path_rules::{CleanUrls, ErrorPage};
    use crate::site::redirect::Moved;

    fn rules() -> PathRules {
        let path = InnerPath::new("/e").expect("a path");
        let page = |code| ErrorPage::new(code, path.clone()).expect("possible");
        PathRules {
            error_pages: vec![page(404), page(503)],
            fallback: InnerPath::new("/index.html").ok(),
            ..PathRules::default()
        }
    }

    fn error(status: Status) -> Asked {
        Asked::Fixed(Fixed::Error(status))
    }

    #[test]
    fn each_path_is_tried_once_and_in_one_order() {
        use SourcePath::{ErrorPage, Fallback, Requested};
        const MISSING: Status = Status::NotFound;
        #[rustfmt::skip]
        let cases = [
            // from                 it led to                        goes on with               because
            (Requested,             Asked::Fallback,                 Some(Fallback),            "a route"),
            (Requested,             error(MISSING),                  Some(ErrorPage(MISSING)),  "it has a page"),
            (Requested,             error(Status::Forbidden),        None,                      "it has none"),
            (Requested,             Asked::Waiting(JobId(1)),        None,                      "nothing is known yet"),
            (Requested,             Asked::Fixed(Fixed::Options),    None,                      "no error"),
            (Fallback,              Asked::Fallback,                 Some(ErrorPage(MISSING)),  "the fallback is missing"),
            (Fallback,              error(Status::ServiceUnavailable),
                                             Some(ErrorPage(Status::ServiceUnavailable)),       "of the fallback's error"),
            (ErrorPage(MISSING),    Asked::Fallback,                 None,                      "the page is missing"),
            (ErrorPage(MISSING),    error(MISSING),                  None,                      "the page is missing"),
            (ErrorPage(MISSING),    error(Status::ServiceUnavailable), None,                    "the page is not there now"),
        ];
        for (from, asked, want, because) in cases {
            let next = from.after(&asked, b"/a", &rules());
            assert_eq!(next, want, "{from:?}, {asked:?}: {because}");
        }
    }

    #[test]
    fn a_path_with_a_slash_may_be_that_of_a_page() {
        use SourcePath::{ErrorPage, Fallback, Page, Requested};
        const MISSING: Status = Status::NotFound;
        let rules = PathRules {
            clean_urls: CleanUrls::On,
            ..rules()
        };
        let (route, missing) = (Page(Missing::Route), Page(Missing::NotFound));
        #[rustfmt::skip]
        let cases = [
            (Requested, Asked::Fallback,            "/a/",  Some(route),              "a route"),
            (Requested, error(MISSING),             "/a/",  Some(missing),            "no route"),
            (Requested, error(Status::Forbidden),   "/a/",  None,                     "it is there"),
            (Requested, error(MISSING),             "/a",   Some(ErrorPage(MISSING)), "no slash"),
            (Requested, error(MISSING),             "/",    Some(ErrorPage(MISSING)), "the root"),
            (Requested, error(MISSING),             "/a//", Some(ErrorPage(MISSING)), "more than one"),
            (route,     error(MISSING),             "/a/",  Some(Fallback),           "no page: a route all the same"),
            (route,     Asked::Fallback,            "/a/",  Some(Fallback),           "no page"),
            (missing,   error(MISSING),             "/a/",  Some(ErrorPage(MISSING)), "no page: an error all the same"),
            (missing,   Asked::Fallback,            "/a/",  Some(ErrorPage(MISSING)), "no page"),
            (missing,   error(Status::Forbidden),   "/a/",  None,                     "a page that may not be read"),
        ];
        for (from, asked, path, want, because) in cases {
            let next = from.after(&asked, path.as_bytes(), &rules);
            assert_eq!(next, want, "{from:?}, {asked:?}, {path}: {because}");
        }
    }

    #[test]
    fn without_a_page_the_error_stays_what_it_was() {
        use SourcePath::{ErrorPage, Fallback, Requested};
        let missing = ErrorPage(Status::NotFound);
        let moved = || Asked::Fixed(Fixed::Moved(Moved::directory("/e/".to_owned())));
        #[rustfmt::skip]
        let cases = [
            (missing,    error(Status::ServiceUnavailable),  Status::NotFound,           "not that of the page"),
            (missing,    Asked::Fallback,                    Status::NotFound,           "the page is missing"),
            (missing,    moved(),                            Status::NotFound,           "the page is a directory"),
            (Fallback,   Asked::Fallback,                    Status::NotFound,           "the fallback is missing"),
            (Fallback,   error(Status::ServiceUnavailable),  Status::ServiceUnavailable, "that of the fallback"),
            (Requested,  error(Status::Forbidden),           Status::Forbidden,          "its own"),
            (Requested,  moved(),                            Status::MovedPermanently,   "no error"),
        ];
        for (from, asked, want, because) in cases {
            match from.answer(asked) {
                Asked::Fixed(fixed) => assert_eq!(fixed.status(), want, "{from:?}: {because}"),
                other => panic!("{from:?}: {other:?}"),
            }
        }
        let waiting = missing.answer(Asked::Waiting(JobId(1)));
        assert!(matches!(waiting, Asked::Waiting(JobId(1))));
    }
}
