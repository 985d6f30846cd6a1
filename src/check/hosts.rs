//! Which hosts lead to which site, where that may be otherwise than somebody expects.

use std::collections::{BTreeMap, HashMap};

use super::{EXAMPLE_COUNT_MAX, examples};
use crate::settings::SiteSettings;

/// The hosts of a site, as far as they fit a line.
pub(super) fn names(site: &SiteSettings) -> String {
    match &site.hosts[..] {
        [] => String::from("all other hosts"),
        hosts => {
            let shown = hosts.iter().take(EXAMPLE_COUNT_MAX).cloned().collect();
            examples(shown, hosts.len() as u64)
        }
    }
}

/// Wildcards that a site of its own takes names from, and what becomes of other hosts.
pub(super) fn notes(sites: &[SiteSettings]) -> Vec<String> {
    let mut notes: Vec<String> = exceptions(sites)
        .into_iter()
        .map(|(wildcard, names)| {
            let count = names.len() as u64;
            let shown = names.into_iter().take(EXAMPLE_COUNT_MAX).collect();
            format!(
                "*.{wildcard} does not cover {}, which another site has",
                examples(shown, count)
            )
        })
        .collect();
    if sites.iter().all(|site| !site.hosts.is_empty()) {
        notes.push(String::from(
            "requests for other hosts are answered with 421; a [[site]] without hosts would take them",
        ));
    }
    notes
}

/// For each wildcard, without its `*.`, the names that it would cover if no other site had them.
fn exceptions(sites: &[SiteSettings]) -> BTreeMap<String, Vec<String>> {
    let all = || {
        let sites = sites.iter().enumerate();
        sites.flat_map(|(index, site)| site.hosts.iter().map(move |host| (plain(host), index)))
    };
    let wildcards: HashMap<String, usize> = all()
        .filter_map(|(host, site)| Some((host.strip_prefix("*.")?.to_owned(), site)))
        .collect();
    let mut exceptions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (host, site) in all() {
        if let Some((label, rest)) = host.split_once('.')
            && label != "*"
            && wildcards.get(rest).is_some_and(|other| *other != site)
        {
            exceptions.entry(rest.to_owned()).or_default().push(host);
        }
    }
    exceptions
}

/// In the form in which hosts are compared.
fn plain(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.to_ascii_lowercase()
}
