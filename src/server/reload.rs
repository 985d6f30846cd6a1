//! Reading the configuration again while the server runs.
//!
//! ```text
//!   SIGHUP ──► a thread: reads and checks the file, opens new roots, binds new addresses ──► wakes the loop
//!   the loop: takes all of it over at once, or, where anything was wrong, nothing
//! ```
//!
//! The thread exists for one reading, so that a file on storage that does not answer delays nothing.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use mio::Waker;

use super::listeners::Listener;
use super::start::{StartError, bind, completed, find_root, open_beside};
use crate::settings::{Role, Settings, SiteSettings};
use crate::site::sites::Site;
use crate::store::FoundRoot;
use crate::sys::beneath::Root;
use crate::sys::watches::Watches;

/// Reads the settings once more; an error is one line that says what is wrong.
pub type ReadSettings = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// What a reading starts from.
pub(super) struct Before {
    /// The settings in effect.
    pub(super) settings: Arc<Settings>,
    /// A root in use: others are opened in the same way.
    pub(super) root: Arc<Root>,
    /// Through what the paths of roots are watched, if they are.
    pub(super) watches: Option<Arc<Watches>>,
}

/// A configuration that was read, checked and prepared.
pub(super) struct Prepared {
    /// All of it.
    pub(super) settings: Arc<Settings>,
    /// For each of its sites: the place of the site in the settings before that is the same but for its hosts, or a root
    /// that was opened.
    pub(super) sites: Vec<PreparedSite>,
    /// Addresses that are listened on from now on.
    pub(super) listeners: Vec<Listener>,
}

/// A site of a new configuration.
pub(super) enum PreparedSite {
    /// It is that of this place in the settings before.
    Kept(usize),
    /// It is new, or has changed.
    New(Arc<Root>, FoundRoot),
}

/// The configuration in effect.
pub(super) struct Configuration {
    /// The settings of the start: some are in effect until the end.
    pub(super) started_with: Arc<Settings>,
    /// The settings that were read last.
    pub(super) settings: Arc<Settings>,
    /// Their sites, in order.
    pub(super) sites: Vec<Rc<Site>>,
    /// Reads the configuration file again; `None`: there is none.
    pub(super) read: Option<ReadSettings>,
}

/// Readings of the configuration, one at a time.
pub(super) struct Reload {
    waker: Arc<Waker>,
    under_way: Option<Receiver<Result<Prepared, String>>>,
    /// Whether a signal came while a reading was under way: the file may have changed since.
    is_wanted: bool,
}

impl Reload {
    /// None is under way.
    pub(super) fn new(waker: Arc<Waker>) -> Reload {
        Reload {
            waker,
            under_way: None,
            is_wanted: false,
        }
    }

    /// Notes that the configuration is to be read.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    /// Begins a reading if one is wanted and none is under way.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn begin(
        &mut self,
        read: &ReadSettings,
        before: impl FnOnce() -> Before,
    ) -> io::Result<()> {
        if !self.is_wanted || self.under_way.is_some() {
            return Ok(());
        }
        self.is_wanted = false;
        let (read, waker, before) = (Arc::clone(read), Arc::clone(&self.waker), before());
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new()
            .name(String::from("reload"))
            .spawn(move || {
                // The loop may have ended meanwhile.
                let _ = sender.send(prepare(&read, &before));
                let _ = waker.wake();
            })?;
        self.under_way = Some(receiver);
        Ok(())
    }

    /// What a reading came to, once it is over.
    pub(super) fn take(&mut self) -> Option<Result<Prepared, String>> {
        let prepared = self.under_way.as_ref()?.try_recv().ok()?;
        self.under_way = None;
        Some(prepared)
    }
}

/// Reads and checks the configuration, and opens what is new in it.
///
/// # Errors
/// One line about the first thing that is wrong; then nothing changes.
///
/// # Blocking
/// Waits for the disk.
fn prepare(read: &ReadSettings, before: &Before) -> Result<Prepared, String> {
    let settings = Arc::new(completed(&read()?));
    let prepared = prepare_sites(&settings, before).map_err(|error| error.to_string())?;
    let listeners = bind_new(&settings, &before.settings).map_err(|error| error.to_string())?;
    Ok(Prepared {
        sites: prepared,
        listeners,
        settings,
    })
}

fn prepare_sites(settings: &Settings, before: &Before) -> Result<Vec<PreparedSite>, StartError> {
    let mut known = Known::of(&before.settings.sites);
    let sites = settings.sites.iter().map(|site| match known.take(site) {
        Some(place) => Ok(PreparedSite::Kept(place)),
        None => open(&site.root, before).map(|(root, found)| PreparedSite::New(root, found)),
    });
    sites.collect()
}

/// Opens a root and watches its path.
fn open(path: &Path, before: &Before) -> Result<(Arc<Root>, FoundRoot), StartError> {
    let root = open_beside(&before.root, path)?;
    let found = find_root(&root, before.watches.as_ref());
    Ok((Arc::new(root), found))
}

/// The sites before, by root.
struct Known<'a> {
    by_root: HashMap<&'a PathBuf, Vec<(usize, &'a SiteSettings)>>,
}

impl<'a> Known<'a> {
    fn of(sites: &'a [SiteSettings]) -> Known<'a> {
        let mut by_root: HashMap<_, Vec<_>> = HashMap::new();
        for (place, site) in sites.iter().enumerate() {
            by_root.entry(&site.root).or_default().push((place, site));
        }
        Known { by_root }
    }

    /// The place of a site with the same root and policy, rather one with the same hosts. Each is given once.
    fn take(&mut self, site: &SiteSettings) -> Option<usize> {
        let candidates = self.by_root.get_mut(&site.root)?;
        let is_same = |known: &SiteSettings| known.policy == site.policy;
        let exact = candidates
            .iter()
            .position(|(_, known)| is_same(known) && known.hosts == site.hosts);
        let any = || candidates.iter().position(|(_, known)| is_same(known));
        let index = exact.or_else(any)?;
        Some(candidates.swap_remove(index).0)
    }
}

/// Binds the addresses that were not listened on before.
fn bind_new(settings: &Settings, before: &Settings) -> Result<Vec<Listener>, StartError> {
    let added = settings.listen.iter();
    let added = added.filter(|address| !before.listen.contains(address));
    added
        .map(|address| bind(address, settings, Role::Site))
        .collect()
}

/// The options whose new values need a restart.
pub(super) fn restart_needed(before: &Settings, after: &Settings) -> Vec<&'static str> {
    fn engine(of: &Settings) -> impl PartialEq {
        (of.engine, of.disk_depth, of.disk_queue, of.map_lock)
    }
    fn sizes(of: &Settings) -> impl PartialEq {
        (of.cache, of.asked, of.stale, of.recheck)
    }
    fn places(of: &Settings) -> impl PartialEq {
        let limits = &of.limits;
        let room = (limits.connections_max, limits.address_share_percent);
        (room, limits.head_length_max)
    }
    let is_other_start = (&before.warm, &before.cache_state) != (&after.warm, &after.cache_state);
    let is_other_log =
        (&before.access_log, before.log_format) != (&after.access_log, after.log_format);
    #[rustfmt::skip]
    let differs = [
        ("--disk, --disk-depth, --disk-queue or --lock",           engine(before) != engine(after)),
        ("sizes of caches and memory, --stale or --recheck",       sizes(before) != sizes(after)),
        ("--warm or --cache-state",                                is_other_start),
        ("--connections, --address-share or --head-max",           places(before) != places(after)),
        ("--trusted-proxy",                                        before.trusted_proxies != after.trusted_proxies),
        ("--access-log or --access-log-format",                    is_other_log),
        ("--status",                                               before.status != after.status),
    ];
    let differing = differs.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(name, _)| name).collect()
}
