//! Conflicts between values that are possible each by itself.

use std::collections::HashSet;

use super::error::quote;
use super::listen::{Written, is_overlap};
use crate::settings::{
    AllowedOrigins, CacheBudget, ErrorPage, FieldRules, Limits, ListenAddress, MediaTypes, Policy,
    Settings, SocketAccess, StatusAccess,
};
use crate::site::fields::FIELDS_LENGTH_MAX;
use crate::site::fields::cors::ORIGIN_COUNT_MAX;
use crate::text::exact_bytes;

/// Maximum number of listening addresses: all of them are polled.
pub(super) const LISTEN_COUNT_MAX: usize = 64;
/// Maximum number of index names: each is looked up in every directory.
const INDEX_COUNT_MAX: usize = 8;
/// Maximum number of configured media types: they are searched in each lookup.
const TYPE_COUNT_MAX: usize = 256;
/// Minimum room in a head besides its target, in bytes: method, version, a Host field with the longest DNS
/// name (255), and the empty line.
pub(super) const BESIDE_TARGET_LENGTH_MIN: usize = 512;

/// A conflict within a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SiteConflict {
    /// The option or key that it is about.
    pub(super) key: &'static str,
    /// What is wrong with its value.
    pub(super) message: String,
}

impl SiteConflict {
    /// The same as a message about the option.
    pub(super) fn of_option(self) -> String {
        format!("--{}: {}", self.key, self.message)
    }
}

/// The first conflict between options, as one line.
pub(super) fn first(settings: &Settings) -> Option<String> {
    listen_conflict(&settings.listen)
        .or_else(|| socket_conflict(&settings.socket_access, &settings.listen))
        .or_else(|| status_conflict(settings.status, &settings.listen))
        .or_else(|| site(&settings.sites[0].policy).map(SiteConflict::of_option))
        .or_else(|| map_conflict(&settings.cache))
        .or_else(|| head_conflict(&settings.limits))
}

/// The first conflict within a site.
pub(super) fn site(policy: &Policy) -> Option<SiteConflict> {
    index(&policy.naming.index)
        .or_else(|| types(&policy.naming.media_types))
        .or_else(|| error_pages(&policy.paths.error_pages))
        .or_else(|| fields(&policy.fields))
}

/// Two pages for one status.
fn error_pages(pages: &[ErrorPage]) -> Option<SiteConflict> {
    let status = |page: &ErrorPage| page.status.code();
    let is_second = |(place, page): &(usize, &ErrorPage)| {
        let mut before = pages[..*place].iter();
        before.any(|other| status(other) == status(page))
    };
    let (_, twice) = pages.iter().enumerate().find(is_second)?;
    let twice = quote(&status(twice).to_string());
    Some(SiteConflict {
        key: "error-page",
        message: format!("{twice} is given twice"),
    })
}

/// A conflict between index names.
pub(super) fn index(index: &[String]) -> Option<SiteConflict> {
    let conflict = |message| {
        Some(SiteConflict {
            key: "index",
            message,
        })
    };
    if index.len() > INDEX_COUNT_MAX {
        return conflict(format!("at most {INDEX_COUNT_MAX} names can be given"));
    }
    let mut names = index.iter().enumerate();
    let (_, name) = names.find(|(place, name)| index[..*place].contains(name))?;
    conflict(format!("{} is given twice", quote(name)))
}

/// Response fields that are too many together.
fn fields(fields: &FieldRules) -> Option<SiteConflict> {
    let conflict = |key, message| Some(SiteConflict { key, message });
    if fields.length() > FIELDS_LENGTH_MAX {
        return conflict(
            "header",
            format!(
                "all fields and rules together have more than {FIELDS_LENGTH_MAX} bytes; clients take no such heads"
            ),
        );
    }
    let origin_count = fields.cors.as_ref().map_or(0, AllowedOrigins::count);
    match origin_count > ORIGIN_COUNT_MAX {
        true => conflict(
            "cors",
            format!("at most {ORIGIN_COUNT_MAX} origins can be given"),
        ),
        false => None,
    }
}

fn types(types: &MediaTypes) -> Option<SiteConflict> {
    let conflict = |message| {
        Some(SiteConflict {
            key: "type",
            message,
        })
    };
    if types.own.len() > TYPE_COUNT_MAX {
        return conflict(format!("at most {TYPE_COUNT_MAX} can be given"));
    }
    let mut seen = HashSet::new();
    let mut names = types
        .own
        .iter()
        .map(|own| own.extension.to_ascii_lowercase());
    let twice = names.find(|name| !seen.insert(name.clone()))?;
    conflict(format!("{} is given twice", quote(&twice)))
}

fn listen_conflict(listen: &[ListenAddress]) -> Option<String> {
    if listen.len() > LISTEN_COUNT_MAX {
        return Some(format!(
            "--listen: at most {LISTEN_COUNT_MAX} addresses can be given"
        ));
    }
    let mut pairs = listen
        .iter()
        .enumerate()
        .flat_map(|(index, one)| listen[index + 1..].iter().map(move |other| (one, other)));
    let (one, other) = pairs.find(|(one, other)| is_overlap(one, other))?;
    let (one, other) = (Written(one), Written(other));
    Some(if one.0 == other.0 {
        format!("--listen: {one} is given twice")
    } else {
        format!("--listen: {one} and {other} overlap; [::] takes IPv4 too: leave one of them out")
    })
}

/// Access to Unix sockets without any Unix socket is probably a mistake.
fn socket_conflict(access: &SocketAccess, listen: &[ListenAddress]) -> Option<String> {
    let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
    let flag = match access {
        _ if listen.iter().any(is_unix) => return None,
        SocketAccess { mode: Some(_), .. } => "--socket-mode",
        SocketAccess { group: Some(_), .. } => "--socket-group",
        _ => return None,
    };
    Some(format!("{flag}: there is no unix:PATH in --listen"))
}

fn status_conflict(status: StatusAccess, listen: &[ListenAddress]) -> Option<String> {
    let StatusAccess::Listener(address) = status else {
        return None;
    };
    let wanted = ListenAddress::Tcp(address);
    let taken = Written(listen.iter().find(|taken| is_overlap(taken, &wanted))?);
    Some(format!(
        "--status: {address} is in use by --listen {taken}; choose another port"
    ))
}

/// The longest cached file must fit into the cache, unless the cache is disabled.
fn map_conflict(cache: &CacheBudget) -> Option<String> {
    let is_none_mapped = cache.map_bytes_max == 0;
    if is_none_mapped || cache.map_file_length_max <= cache.map_bytes_max {
        return None;
    }
    let longest = exact_bytes(cache.map_file_length_max);
    let room = exact_bytes(cache.map_bytes_max);
    Some(format!(
        "--map-max: {longest} does not fit into --map-cache {room}; write at most {room}"
    ))
}

/// A head must have room for the longest target, or 414 could never occur.
fn head_conflict(limits: &Limits) -> Option<String> {
    let needed = limits.target_length_max + BESIDE_TARGET_LENGTH_MIN;
    if limits.head_length_max >= needed {
        return None;
    }
    let head = render_length(limits.head_length_max);
    let target = render_length(limits.target_length_max);
    let needed = render_length(needed);
    Some(format!(
        "--head-max: {head} is too short for --target-max {target}; write at least {needed}"
    ))
}

fn render_length(bytes: usize) -> String {
    // `usize` fits into `u64` on all Linux targets.
    exact_bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
}
