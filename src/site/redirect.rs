//! Rules that lead paths elsewhere, by pattern: redirects, which the client follows, and rewrites, which only the server
//! sees.
//!
//! The first redirect that matches a path decides, whether a file is there or not; else the first rewrite does. A rewrite
//! is applied once. What comes of a rule depends on the path alone, so it is found out once for a path and remembered
//! like a file.
//!
//! A Location that a rule makes names the host that the rule names, or none: captures are percent-encoded and cannot
//! begin with a slash behind another, see [`Template::fill`].

use super::pattern::{Pattern, PatternError, Template};
use crate::http::status::Status;
use crate::http::target::SitePath;

/// Maximum number of redirects, and of rewrites, of a site: each path that is not remembered is compared with all of
/// them.
pub(crate) const RULE_COUNT_MAX: usize = 1_000;

/// Redirects that are followed one after the other before they are taken for a loop: as many as browsers follow.
const HOP_COUNT_MAX: usize = 20;

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// 301, 302, 307 or 308.
    pub(crate) status: Status,
    /// A URI-reference without the query of the request.
    pub(crate) location: Box<str>,
}

impl Moved {
    /// A directory asked for without its slash; `path` is encoded.
    pub(crate) fn directory(path: String) -> Moved {
        Moved {
            status: Status::MovedPermanently,
            location: path.into(),
        }
    }
}

/// Why a rule is impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// In its pattern or its template.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// Its target is no URI-reference that can be sent.
    #[error("is neither a path of the site nor an http:// or https:// address")]
    Target,
    /// Its target is not on the site.
    #[error("is not a path of the site; other servers are for redirects")]
    NotPath,
}

/// A pattern, and where its paths lead.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    from: Pattern,
    to: Template,
}

impl Rule {
    fn new(from: &Pattern, to: &str) -> Result<Rule, RuleError> {
        let template = Template::new(to, from)?;
        // Browsers read a backslash as a slash: "/\host" would be another host.
        match to.contains('\\') {
            true => Err(RuleError::Target),
            false => Ok(Rule {
                from: from.clone(),
                to: template,
            }),
        }
    }

    /// Where a decoded path leads by this rule.
    fn apply(&self, path: &[u8]) -> Option<String> {
        self.to.fill(&self.from, path)
    }
}

/// A rule whose paths are answered with another status and a Location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    rule: Rule,
    status: Status,
}

impl Redirect {
    /// The statuses that a redirect can have.
    pub(crate) const STATUSES: [Status; 4] = [
        Status::MovedPermanently,
        Status::Found,
        Status::TemporaryRedirect,
        Status::PermanentRedirect,
    ];

    /// A redirect to a path of the site, or to another server.
    ///
    /// # Errors
    /// When the target is neither, or not a template for the pattern.
    pub fn new(from: &Pattern, to: &str, status: Status) -> Result<Redirect, RuleError> {
        let is_address = ["http://", "https://"]
            .into_iter()
            .filter_map(|scheme| to.strip_prefix(scheme))
            .any(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
        if !is_address && !is_path(to) {
            return Err(RuleError::Target);
        }
        Ok(Redirect {
            rule: Rule::new(from, to)?,
            status,
        })
    }

    fn apply(&self, path: &[u8]) -> Option<Moved> {
        let location = self.rule.apply(path)?.into();
        Some(Moved {
            status: self.status,
            location,
        })
    }
}

/// A rule whose paths are answered as if another was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite(Rule);

impl Rewrite {
    /// A rewrite to a path of the site.
    ///
    /// # Errors
    /// When the target is none, or not a template for the pattern.
    pub fn new(from: &Pattern, to: &str) -> Result<Rewrite, RuleError> {
        if !is_path(to) || to.contains(['?', '#']) {
            return Err(RuleError::NotPath);
        }
        Ok(Rewrite(Rule::new(from, to)?))
    }
}

/// Whether a target begins as a path of the site does: not with the host of another.
fn is_path(to: &str) -> bool {
    to.starts_with('/') && !to.starts_with("//")
}

/// The rules of a site, in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Tried first.
    pub redirects: Vec<Redirect>,
    /// Tried for what no redirect matches.
    pub rewrites: Vec<Rewrite>,
}

impl Rules {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.redirects.is_empty() && self.rewrites.is_empty()
    }

    /// Where a client is sent that asks for a decoded path, if it is.
    pub(crate) fn redirected(&self, path: &[u8]) -> Option<Moved> {
        self.redirects
            .iter()
            .find_map(|redirect| redirect.apply(path))
    }

    /// The encoded path by which a decoded path is answered, if it is not its own.
    pub(crate) fn rewritten(&self, path: &[u8]) -> Option<String> {
        self.rewrites
            .iter()
            .find_map(|Rewrite(rule)| rule.apply(path))
    }

    /// Decoded paths that redirects match, some for each.
    pub(crate) fn redirect_examples(&self) -> impl Iterator<Item = String> {
        let redirects = self.redirects.iter();
        redirects.flat_map(|redirect| redirect.rule.from.examples())
    }

    /// The first redirect from which a client comes back to where it was: its place in the list, and the paths on the
    /// way. Each is followed from examples of its pattern, so loops that only other paths lead into are not found. `moved`
    /// says where a client is sent that asks for a path.
    pub(crate) fn first_loop(
        &self,
        moved: impl Fn(&SitePath) -> Option<Moved>,
    ) -> Option<(usize, Vec<String>)> {
        let mut redirects = self.redirects.iter().enumerate();
        redirects.find_map(|(place, redirect)| {
            let examples = redirect.rule.from.examples().into_iter();
            let mut ways = examples.filter_map(|example| way_round(&example, &moved));
            Some((place, ways.next()?))
        })
    }
}

/// The paths on the way from this one, if it does not end.
fn way_round(start: &str, moved: impl Fn(&SitePath) -> Option<Moved>) -> Option<Vec<String>> {
    let mut way = vec![start.to_owned()];
    loop {
        let path = SitePath::decode(way.last()?.as_bytes()).ok()?;
        let moved = moved(&path)?;
        if !is_path(&moved.location) {
            return None;
        }
        let path = moved.location.split(['?', '#']).next().unwrap_or_default();
        let is_round = way.iter().any(|passed| passed == path);
        way.push(path.to_owned());
        if is_round || way.len() > HOP_COUNT_MAX {
            return Some(way);
        }
    }
}

#[cfg(test)]
mod tests;
