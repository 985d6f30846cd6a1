//! From settings to sites: their policies, their hosts, and their opened roots.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::{StartError, absolute};
use crate::disk;
use crate::settings::Settings;
use crate::site::resolve::Directories;
use crate::site::sites::{Site, SiteId, Sites};
use crate::store::FoundRoot;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::needed;
use crate::sys::watches::Watches;

/// The sites that are served, and where.
#[derive(Debug)]
pub(super) struct OpenedSites {
    /// By host.
    pub(super) sites: Sites,
    /// Each with its root, in the order of their numbers; at least one.
    pub(super) roots: Vec<(Rc<Site>, Arc<Root>)>,
    /// Closes what is opened beneath the roots.
    pub(super) deferred_drops: DeferredDrops,
}

impl OpenedSites {
    /// Reads a root that is listed, to find out whether that is allowed.
    ///
    /// # Errors
    /// When the kernel refuses a call that is needed.
    pub(super) fn try_listings(&self) -> Result<(), StartError> {
        let is_listed = |site: &Site| site.policy.naming.directories == Directories::Listed;
        match self.roots.iter().find(|(site, _)| is_listed(site)) {
            Some((_, root)) => Ok(needed::try_listing(root)?),
            None => Ok(()),
        }
    }

    /// The sites, in the order of the settings.
    pub(super) fn in_order(&self) -> Vec<Rc<Site>> {
        let sites = self.roots.iter().map(|(site, _)| Rc::clone(site));
        sites.collect()
    }

    /// The root of the first site.
    pub(super) fn first_root(&self) -> &Arc<Root> {
        match self.roots.first() {
            Some((_, root)) => root,
            None => unreachable!("there is a site"),
        }
    }
}

/// Opens the roots of all sites.
///
/// # Errors
/// For the first root that cannot be opened.
pub(super) fn open_sites(settings: &Settings) -> Result<OpenedSites, StartError> {
    let deferred_drops = DeferredDrops::default();
    let mut roots: Vec<(Rc<Site>, Arc<Root>)> = Vec::with_capacity(settings.sites.len());
    for (of, number) in settings.sites.iter().zip(0..) {
        let root = match roots.first() {
            None => open_root(&of.root, &deferred_drops)?,
            Some((_, first)) => open_beside(first, &of.root)?,
        };
        let site = Site {
            id: SiteId::new(number),
            policy: of.policy.clone(),
        };
        roots.push((Rc::new(site), Arc::new(root)));
    }
    let sites = settings.sites.iter().map(|of| &*of.hosts);
    let sites = by_host(sites.zip(roots.iter().map(|(site, _)| site)));
    Ok(OpenedSites {
        sites,
        roots,
        deferred_drops,
    })
}

/// Assigns hosts to their sites. One without hosts is the default site.
pub(in crate::server) fn by_host<'a>(
    all: impl Iterator<Item = (&'a [String], &'a Rc<Site>)> + Clone,
) -> Sites {
    let mut default = all.clone().filter(|(hosts, _)| hosts.is_empty());
    let mut sites = Sites::new(default.next().map(|(_, site)| Rc::clone(site)));
    for (hosts, site) in all {
        for host in hosts {
            if let Err(error) = sites.add(host, Rc::clone(site)) {
                unreachable!("the configuration was checked: {error}");
            }
        }
    }
    sites
}

/// Opens a directory.
///
/// # Errors
/// When it cannot be opened.
fn open_root(path: &Path, deferred_drops: &DeferredDrops) -> Result<Root, StartError> {
    Root::open(&absolute(path), deferred_drops.clone()).map_err(|cause| wrong(path, cause))
}

/// Opens another directory, accessed like the first root.
///
/// # Errors
/// When it cannot be opened.
pub(in crate::server) fn open_beside(first: &Root, path: &Path) -> Result<Root, StartError> {
    let opened = first.open_beside(&absolute(path));
    opened.map_err(|cause| wrong(path, cause))
}

/// Watches the path of a root and opens it once more; without watches it is found out since when it has led there.
///
/// # Blocking
/// Waits for the disk.
pub(in crate::server) fn find_root(root: &Root, watches: Option<&Arc<Watches>>) -> FoundRoot {
    match watches {
        Some(_) => {
            let (walk, again) = disk::find_root(root, watches);
            FoundRoot::Watched(walk, again)
        }
        None => FoundRoot::Unwatched {
            since: root.linked_since(),
        },
    }
}

fn wrong(path: &Path, cause: io::Error) -> StartError {
    StartError::Root {
        root: path.into(),
        cause,
    }
}
