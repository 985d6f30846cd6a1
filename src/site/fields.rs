//! The response fields that an operator configures, by the path of the request.
//!
//! All rules whose pattern matches a path apply, in their order: a later rule overrides what an earlier one said about
//! the same field. What they say about a file is rendered into the heads of its representations when its path is
//! looked up, so an answer from memory evaluates no rule. Answers without a file (errors, redirects, lists of
//! directories) get theirs when they are sent.
//!
//! | part of a rule | applies to |
//! | --- | --- |
//! | set, add, remove, cors | all answers for the path |
//! | cache-control, content-type, charset, disposition | answers with the file: 200, 206 and 304 |
//!
//! Requests that cannot be understood and the status page have no fields but the server's own.

pub mod cors;
pub mod field;
mod hashed;

use std::borrow::Cow;

use self::cors::AllowedOrigins;
use self::field::{FieldName, FieldValue, ResponseField};
use super::media_type::{Charset, MediaTypes};
use super::pattern::Pattern;
use crate::http::facts::Facts;
use crate::http::status::Status;
use crate::http::target::SitePath;

/// Maximum number of rules of a site: each is compared with each path that is looked up.
pub const RULE_COUNT_MAX: usize = 1_000;
/// Maximum length of the fields of all rules of a site, in bytes. Clients and proxies take heads of 8 to 16 KiB.
pub const FIELDS_LENGTH_MAX: usize = 16 * 1_024;

const CACHE_CONTROL: &str = "Cache-Control";
/// For guarded paths: shared caches keep no answer (RFC 9111 §5.2.2.7).
const PRIVATE: &str = "private";
/// For names that change with the content: kept for a year, and not revalidated on reload (RFC 8246).
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What [`SecurityFields::On`] sets. X-Content-Type-Options is in every head anyway, and Strict-Transport-Security means
/// nothing without TLS (RFC 6797 §7.2).
const SECURITY_FIELDS: [(&str, &str); 3] = [
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("Content-Security-Policy", "frame-ancestors 'self'"),
    ("X-Frame-Options", "SAMEORIGIN"),
];

/// Who may have a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody.
    Everybody,
    /// Those whom guards admit.
    Admitted,
}

/// Whether files whose names contain a hash of the content are declared immutable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Immutable {
    /// They are.
    #[default]
    Hashed,
    /// None is.
    Off,
}

/// Whether answers have the usual fields against embedding by other sites and against leaking addresses to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityFields {
    /// Only X-Content-Type-Options, which every answer has.
    #[default]
    Off,
    /// All of them.
    On,
}

/// What browsers do with a file. RFC 6266 §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// They save it.
    Attachment,
    /// They show it if they can.
    Inline,
}

impl Disposition {
    fn value(self) -> &'static str {
        match self {
            Disposition::Attachment => "attachment",
            Disposition::Inline => "inline",
        }
    }
}

/// One statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The field has this value and no other.
    Set(ResponseField),
    /// The field has this value too, on a line of its own.
    Add(ResponseField),
    /// Nothing that was said about the field before holds.
    Remove(FieldName),
    /// Cache-Control of the file.
    CacheControl(FieldValue),
    /// Content-Type of the file, with its charset if it has one.
    ContentType(FieldValue),
    /// Charset of the file, if it is text.
    Charset(Charset),
    /// Content-Disposition of the file.
    Disposition(Disposition),
    /// Which sites may read the answers.
    Cors(AllowedOrigins),
}

impl Change {
    /// Bytes of the line that it adds.
    fn length(&self) -> usize {
        match self {
            Change::Set(field) | Change::Add(field) => field.length(),
            Change::CacheControl(value) | Change::ContentType(value) => value.text().len(),
            Change::Remove(_) | Change::Charset(_) | Change::Disposition(_) | Change::Cors(_) => 0,
        }
    }
}

/// Paths, and what holds for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The paths. One that cannot be decoded is none of them.
    pub pattern: Pattern,
    /// What holds for them, in order.
    pub changes: Vec<Change>,
}

/// The rules of a site, and what comes before all rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    /// Whether content-hashed names are recognised.
    pub immutable: Immutable,
    /// Whether all answers have the usual fields.
    pub security: SecurityFields,
    /// Which sites may read all answers; `None`: that is not said.
    pub cors: Option<AllowedOrigins>,
    /// Fields of all answers. They override those of the switches.
    pub headers: Vec<ResponseField>,
    /// In the order in which they apply.
    pub rules: Vec<Rule>,
}

/// The fields of a file that depend on its path, as they go into its heads.
#[derive(Clone, Debug, Default)]
pub struct FileFields<'a> {
    /// The value of Content-Type.
    pub media_type: Cow<'a, str>,
    /// The lines of all others, each with its end.
    pub lines: Vec<u8>,
    /// The origins that one more line depends on.
    pub origins: OriginsId,
}

impl<'a> From<&'a str> for FileFields<'a> {
    fn from(media_type: &'a str) -> FileFields<'a> {
        FileFields {
            media_type: media_type.into(),
            ..FileFields::default()
        }
    }
}

/// Which [`AllowedOrigins`] of a site a field depends on, if there are several of them to choose from: 0: none, 1: those of the
/// site, others: those of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginsId(u16);

impl OriginsId {
    const SITE: u16 = 1;
    const FIRST_RULE: u16 = 2;

    /// Whether no field depends on the Origin of the request.
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// An answer that is not rendered beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One of the server's own with this status: an error, a redirect, an answer to OPTIONS.
    Plain(Status),
    /// A file of the site in place of one.
    ErrorPage,
    /// A list of a directory.
    Document,
}

impl Answer {
    /// Whether it cannot have a field of this name from the operator.
    fn excludes(self, name: &str) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match self {
            // An outage must not outlive itself in caches.
            Answer::Plain(status) => status.class() == 5 && is(CACHE_CONTROL),
            // It has its own: the error may end at any time.
            Answer::ErrorPage => is(CACHE_CONTROL),
            // It has its own, which name what its own page needs.
            Answer::Document => is(CACHE_CONTROL) || is("Content-Security-Policy"),
        }
    }
}

/// The fields that a site adds to an answer when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SiteFields {
    /// Its head was rendered with them; one may depend on the Origin of the request.
    Rendered(OriginsId),
    /// Those of all answers for its path.
    OfAnswer(Answer),
}

impl FieldRules {
    /// Bytes that the configured fields take.
    pub fn length(&self) -> usize {
        let changes = self.rules.iter().flat_map(|rule| &rule.changes);
        let headers = self.headers.iter().map(ResponseField::length);
        changes.map(Change::length).chain(headers).sum()
    }

    /// The fields of the file at `found`, relative to the root, which a raw path has led to. Costs O(rules × length of
    /// the path).
    pub(crate) fn of_file<'a>(
        &'a self,
        raw_path: &[u8],
        found: &[u8],
        types: &'a MediaTypes,
        audience: Audience,
    ) -> FileFields<'a> {
        let is_immutable = self.immutable == Immutable::Hashed && hashed::is_content_hashed(found);
        let cache_control = match audience {
            Audience::Admitted => Some(PRIVATE),
            Audience::Everybody => is_immutable.then_some(IMMUTABLE),
        };
        let applied = self.applied(raw_path, cache_control);
        let media_type = match (applied.content_type, applied.charset) {
            (Some(content_type), _) => content_type.into(),
            (None, Some(charset)) => types.in_charset(found, charset).to_string().into(),
            (None, None) => types.of(found).to_string().into(),
        };
        FileFields {
            media_type,
            lines: applied.lines_of_file(),
            origins: applied.origins_id(),
        }
    }

    /// The lines of these fields in the answer to a request.
    #[cold]
    pub(crate) fn lines_of(&self, request: &Facts<'_>, fields: SiteFields) -> Cow<'_, [u8]> {
        match fields {
            SiteFields::Rendered(id) => self.origin_line(id, request).into(),
            SiteFields::OfAnswer(answer) => self.lines(request, answer).into(),
        }
    }

    /// The lines of the operator in an answer that is not rendered beforehand.
    fn lines(&self, request: &Facts<'_>, answer: Answer) -> Vec<u8> {
        if self.are_of_files_only() {
            return Vec::new();
        }
        let applied = self.applied(request.path(), None);
        let mut lines = Vec::new();
        for (name, value) in applied.fields() {
            if !answer.excludes(name) {
                push_line(&mut lines, name, value);
            }
        }
        if let Some((_, origins)) = applied.cors {
            lines.extend_from_slice(origins.line_for(request));
        }
        lines
    }

    /// The line that depends on the Origin of a request, where a field does. Allocates nothing.
    fn origin_line(&self, id: OriginsId, request: &Facts<'_>) -> &[u8] {
        let origins = match id.0.checked_sub(OriginsId::FIRST_RULE) {
            None => self.cors.as_ref(),
            Some(index) => self.rules.get(usize::from(index)).and_then(last_cors),
        };
        origins.map_or(b"", |origins| origins.line_for(request))
    }

    /// Whether a request is the preflight of one that another site may make.
    pub(crate) fn allows_preflight(&self, request: &Facts<'_>) -> bool {
        let cors = self.applied(request.path(), None).cors;
        cors.is_some_and(|(_, origins)| origins.allows_preflight(request))
    }

    /// Whether answers without a file have none.
    fn are_of_files_only(&self) -> bool {
        self.security == SecurityFields::Off
            && self.cors.is_none()
            && self.headers.is_empty()
            && self.rules.is_empty()
    }

    /// What holds for a path. `cache_control` is what a file has that no rule names.
    fn applied<'a>(&'a self, raw_path: &[u8], cache_control: Option<&'a str>) -> Applied<'a> {
        let mut applied = Applied {
            cache_control,
            cors: self
                .cors
                .as_ref()
                .map(|origins| (OriginsId(OriginsId::SITE), origins)),
            ..Applied::default()
        };
        if self.security == SecurityFields::On {
            applied.fields.extend(SECURITY_FIELDS);
        }
        for field in &self.headers {
            applied.set(field);
        }
        if self.rules.is_empty() {
            return applied;
        }
        let Ok(path) = SitePath::decode(raw_path) else {
            return applied;
        };
        let path = path.decoded();
        for (id, rule) in (OriginsId::FIRST_RULE..).zip(&self.rules) {
            if rule.pattern.matches(&path) {
                for change in &rule.changes {
                    applied.apply(change, OriginsId(id));
                }
            }
        }
        applied
    }
}

/// The origins of a rule; of several statements the last holds.
fn last_cors(rule: &Rule) -> Option<&AllowedOrigins> {
    rule.changes.iter().rev().find_map(|change| match change {
        Change::Cors(origins) => Some(origins),
        _ => None,
    })
}

/// What holds for one path.
#[derive(Default)]
struct Applied<'a> {
    /// Fields of all answers.
    fields: Vec<(&'a str, &'a str)>,
    /// Overrides that of all answers.
    cache_control: Option<&'a str>,
    content_type: Option<&'a str>,
    charset: Option<&'a Charset>,
    disposition: Option<Disposition>,
    cors: Option<(OriginsId, &'a AllowedOrigins)>,
}

impl<'a> Applied<'a> {
    fn apply(&mut self, change: &'a Change, id: OriginsId) {
        match change {
            Change::Set(field) => self.set(field),
            Change::Add(field) => self.fields.push(field.parts()),
            Change::Remove(name) => self.forget(name.text()),
            Change::CacheControl(value) => self.cache_control = Some(value.text()),
            Change::ContentType(value) => self.content_type = Some(value.text()),
            Change::Charset(charset) => self.charset = Some(charset),
            Change::Disposition(disposition) => self.disposition = Some(*disposition),
            Change::Cors(origins) => self.cors = Some((id, origins)),
        }
    }

    fn set(&mut self, field: &'a ResponseField) {
        let (name, value) = field.parts();
        self.forget(name);
        self.fields.push((name, value));
    }

    /// Nothing that was said of this field holds any longer.
    fn forget(&mut self, name: &str) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        self.fields.retain(|(other, _)| !is(other));
        if is(CACHE_CONTROL) {
            self.cache_control = None;
        }
        if is("Content-Disposition") {
            self.disposition = None;
        }
    }

    /// The fields of all answers.
    fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let cors = self.cors.into_iter();
        let of_cors = cors.flat_map(|(_, origins)| origins.fields());
        self.fields.clone().into_iter().chain(of_cors)
    }

    /// The lines of answers with the file.
    fn lines_of_file(&self) -> Vec<u8> {
        let mut own = Vec::new();
        own.extend(self.cache_control.map(|value| (CACHE_CONTROL, value)));
        let disposition = self.disposition.map(Disposition::value);
        own.extend(disposition.map(|value| ("Content-Disposition", value)));
        let mut lines = Vec::new();
        let is_own = |name: &str| own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        for (name, value) in self.fields().filter(|(name, _)| !is_own(name)) {
            push_line(&mut lines, name, value);
        }
        for (name, value) in &own {
            push_line(&mut lines, name, value);
        }
        lines
    }

    fn origins_id(&self) -> OriginsId {
        match self.cors {
            Some((id, origins)) if origins.are_several() => id,
            _ => OriginsId::default(),
        }
    }
}

fn push_line(lines: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        lines.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests;
