//! Redirects that lead from one site to another and back. Those that stay within a site are refused when the file is
//! read.

use std::rc::Rc;

use crate::http::target::SitePath;
use crate::settings::SiteSettings;
use crate::site::sites::{Site, SiteId, Sites};

/// Redirects that are followed one after the other: as many as browsers follow.
const HOP_COUNT_MAX: usize = 20;

/// What a client meets that follows redirects.
pub(super) enum Circle {
    /// It comes back, at this server.
    Closed(String),
    /// It comes back if a proxy for TLS leads to this server.
    BehindTls(String),
}

/// The first circle that begins at each site.
pub(super) fn circles(sites: &[SiteSettings]) -> Vec<Circle> {
    let has_redirects = |site: &SiteSettings| !site.policy.paths.rules.redirects.is_empty();
    if !sites.iter().any(has_redirects) {
        return Vec::new();
    }
    let hosts = by_host(sites);
    let begun = (0..sites.len()).filter_map(|first| {
        let mut examples = sites[first].policy.paths.rules.redirect_examples();
        examples.find_map(|path| Way::begin(sites, &hosts, first, path).circle())
    });
    begun.collect()
}

fn by_host(sites: &[SiteSettings]) -> Sites {
    let all: Vec<Rc<Site>> = sites
        .iter()
        .zip(0..)
        .map(|(site, number)| {
            let policy = site.policy.clone();
            let id = SiteId::new(number);
            Rc::new(Site { id, policy })
        })
        .collect();
    let default = sites.iter().position(|site| site.hosts.is_empty());
    let mut hosts = Sites::new(default.map(|index| Rc::clone(&all[index])));
    for (settings, site) in sites.iter().zip(&all) {
        for host in &settings.hosts {
            let added = hosts.add(host, Rc::clone(site));
            debug_assert!(added.is_ok(), "the configuration was checked");
        }
    }
    hosts
}

/// Where a client has been.
struct Way<'a> {
    sites: &'a [SiteSettings],
    hosts: &'a Sites,
    /// The site and the path of each request.
    requests: Vec<(usize, String)>,
    /// What it was told each time.
    locations: Vec<String>,
}

impl<'a> Way<'a> {
    fn begin(sites: &'a [SiteSettings], hosts: &'a Sites, site: usize, path: String) -> Way<'a> {
        Way {
            sites,
            hosts,
            requests: vec![(site, path)],
            locations: Vec::new(),
        }
    }

    fn circle(mut self) -> Option<Circle> {
        loop {
            let next = self.next()?;
            let is_back = self.requests.contains(&next);
            self.requests.push(next);
            if is_back || self.requests.len() > HOP_COUNT_MAX {
                break;
            }
        }
        let (_, start) = &self.requests[0];
        let way = format!("{start} → {}", self.locations.join(" → "));
        let is_secure = |location: &String| location.starts_with("https:");
        Some(match self.locations.iter().any(is_secure) {
            true => Circle::BehindTls(way),
            false => Circle::Closed(way),
        })
    }

    /// The next request, if this server answers it.
    fn next(&mut self) -> Option<(usize, String)> {
        let (site, path) = self.requests.last()?;
        let path = SitePath::decode(path.as_bytes()).ok()?;
        let moved = self.sites[*site]
            .policy
            .paths
            .rules
            .redirected(&path.decoded())?;
        let location = String::from(moved.location);
        let without_query = location.split(['?', '#']).next().unwrap_or_default();
        let next = match without_query.split_once("://") {
            None => (*site, without_query.to_owned()),
            Some((_, rest)) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (host, path) = rest.split_at(end);
                let found = self.hosts.of(host.as_bytes())?;
                let site = usize::try_from(found.id.number()).ok()?;
                (
                    site,
                    if path.is_empty() {
                        "/".to_owned()
                    } else {
                        path.to_owned()
                    },
                )
            }
        };
        self.locations.push(location);
        Some(next)
    }
}
