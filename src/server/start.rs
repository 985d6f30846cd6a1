//! From settings to a running loop: everything that can fail does so here, with one line that says
//! what to do.

mod error;
mod preflight;
mod sites;
mod terminal;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::StartError;
pub use preflight::preflight;
use sites::{OpenedSites, open_sites};
pub(super) use sites::{by_host, find_root, open_beside};

use super::accept::Acceptor;
use super::descriptors::Descriptors;
use super::driver::Driver;
use super::event_loop::{EventLoop, LoopParts, Storage};
use super::listeners::Listener;
use super::memory::MemoryControl;
use super::origins;
use super::places::Shares;
use super::probe::KernelProbe;
use super::ready::SendBudget;
use super::reload::{Configuration, ReadSettings};
use super::signals::{self, Signals};
use super::warning::warn;
use crate::conn::Logging;
use crate::conn::outbox::Pool;
use crate::conn::response_stats::ResponseStats;
use crate::conn::{Policy, Stage};
use crate::disk::blocking::Blocking;
use crate::disk::threads::Threads;
use crate::disk::uring::Uring;
use crate::disk::{self, Disk};
use crate::http::request::HeadLimits;
use crate::observe::access_log::LogWriter;
use crate::observe::status::Access;
use crate::settings::Role;
use crate::settings::{
    AccessLog, EngineChoice, ListenAddress, LogFormat, MapLock, Settings, SiteSettings,
    StatusAccess,
};
use crate::site::sites::Sites;
use crate::store::warming::Origin;
use crate::store::{EngineProfile, Store, Surroundings};
use crate::sys::access::{FileAccess, Walking};
use crate::sys::beneath::Root;
use crate::sys::inherited;
use crate::sys::limits::{raise_descriptor_limit, raise_lock_limit, reserve_descriptors};
use crate::sys::needed;
use crate::sys::sock_diag::SocketOwners;
use crate::text::{bytes, exact_bytes};

/// Bytes that an inbox has beyond the longest head, so that it is never full with less than one.
const INBOX_SLACK: usize = 1_024;
/// Sites that the first lines name: a screen of them.
const SHOWN_SITE_COUNT_MAX: usize = 16;

/// Serves until a signal ends it. SIGHUP has the settings read again by `read` where there is a configuration file.
///
/// # Errors
/// When something that was asked for cannot be had; see [`StartError`].
pub fn run(settings: &Settings, read: ReadSettings) -> Result<(), StartError> {
    signals::take_over();
    // Before anything else is opened.
    let mut listeners = inherit(settings)?;
    needed::try_out()?;
    let signals = Signals::keep()?;
    let settings = &Arc::new(completed(settings));
    check_site_count(settings.sites.len(), raise_descriptor_limit())?;
    let opened = open_sites(settings)?;
    check_access(opened.first_root().access())?;
    opened.try_listings()?;
    let mut log = open_log(&settings.access_log)?;
    let log_notices: Vec<String> = log.notices().collect();
    let origins = origins::origins(settings)?;
    listeners.extend(bind_all(settings)?);
    let memory = MemoryControl::new(settings);
    let descriptors = Descriptors::share(settings, listeners.len(), &memory);
    reserve_descriptors(descriptors.expected());
    prepare_lock(settings);
    let (engine, profile) = choose_engine(settings, opened.first_root())?;
    let descriptors = descriptors.counted(settings, &memory);
    let start_lines = start_lines(settings, &listeners, &profile, &descriptors, &memory);
    memory.warn_of_sizes(settings);
    let site_list = opened.in_order();
    let (sites, storage) = storage(
        settings,
        descriptors.files,
        opened,
        (engine, profile),
        origins,
    );
    let shares = Shares::new(
        descriptors.connections,
        settings.limits.address_share_percent,
        settings.trusted_proxies.clone(),
    );
    let acceptor = Acceptor::new(listeners, descriptors.connections, shares);
    let driver = driver(settings);
    let event_loop = EventLoop::new(LoopParts {
        signals,
        acceptor,
        driver,
        access: access(settings),
        sites,
        storage,
        log,
        memory,
        descriptors,
        configuration: Configuration {
            started_with: Arc::clone(settings),
            settings: Arc::clone(settings),
            sites: site_list,
            read: settings.configuration.as_ref().map(|_| read),
        },
    })?;
    log_notices.iter().for_each(|line| warn(line));
    // Whoever reads these may send a signal at once.
    announce(settings, &start_lines);
    Ok(event_loop.run()?)
}

/// The store and its engine, following the roots from now on.
fn storage(
    settings: &Settings,
    open_file_count_max: usize,
    opened: OpenedSites,
    (engine, profile): (Box<dyn Disk>, EngineProfile),
    origins: Vec<Origin>,
) -> (Sites, Storage) {
    let OpenedSites {
        sites,
        roots,
        deferred_drops,
    } = opened;
    let probe = KernelProbe::new(profile.residency_policy);
    if let Some(cause) = probe.missing()
        && settings.cache.watched_directory_count_max > 0
    {
        warn(&format!(
            "no file system events: {cause}; every entry is polled at --revalidate instead"
        ));
    }
    let (watch, mount_events) = (probe.descriptor(), probe.mount_events());
    let surroundings = Surroundings {
        mounts: mount_events.and_then(|_| disk::mounts(roots.iter().map(|(_, root)| &**root))),
        watches: probe.watches(&deferred_drops),
        probe: Box::new(probe),
        sites: roots.clone(),
        deferred_drops: deferred_drops.clone(),
    };
    let mut store = Store::new(
        settings,
        open_file_count_max,
        profile,
        surroundings,
        origins,
    );
    for (site, root) in roots {
        let found = find_root(&root, store.root_watches());
        store.begin_following(site.id, found);
        // Nothing is served yet: the first descriptor of the root is closed here.
        while let Some(discarded) = deferred_drops.take() {
            drop(discarded);
        }
    }
    let storage = Storage {
        store,
        engine,
        watch,
        mount_events,
    };
    (sites, storage)
}

/// Each site keeps its root open: with more than half of the descriptors there would be few for connections and files.
fn check_site_count(count: usize, limit: u64) -> Result<(), StartError> {
    match count > 1 && count as u64 > limit / 2 {
        true => Err(StartError::Sites { count, limit }),
        false => Ok(()),
    }
}

/// Says how files are found and opened, where that is not as usual.
fn check_access(access: &FileAccess) -> Result<(), StartError> {
    match (access.walking(), access.descriptors()) {
        (Walking::Steps(error), Err(cause)) => return Err(StartError::NoWayIn(error, cause)),
        (Walking::Steps(error), Ok(_)) => warn(&format!(
            "openat2 is refused ({error}): paths are resolved step by step instead, equally safe but slower; allow it in \
             the seccomp profile of the container"
        )),
        (Walking::Kernel, Err(cause)) => warn(&format!(
            "/proc/self/fd is unusable ({cause}): a FIFO or device that replaces a file during its open may be opened; \
             mount /proc if other users can write below the root"
        )),
        (Walking::Kernel, Ok(_)) => {}
    }
    Ok(())
}

/// The engine that was asked for; `auto` is the best that works here.
fn choose_engine(
    settings: &Settings,
    root: &Arc<Root>,
) -> Result<(Box<dyn Disk>, EngineProfile), StartError> {
    let depth = settings.disk_depth;
    let deferred_drops = root.deferred_drops();
    let threads = || Threads::new(deferred_drops.clone(), depth).map_err(StartError::Helpers);
    let uring = |ring, aside| Box::new(Uring::new(ring, aside, deferred_drops.clone(), depth));
    let asked = String::from("selected by --disk");
    let (disk, reason): (Box<dyn Disk>, String) = match settings.engine {
        EngineChoice::Blocking => (Box::new(Blocking::new(deferred_drops.clone())), asked),
        EngineChoice::Threads => (Box::new(threads()?), asked),
        EngineChoice::Uring => {
            let aside = threads()?;
            let ring = Uring::ring(root, depth).map_err(StartError::Uring)?;
            (uring(ring, aside), asked)
        }
        // Helpers first: where there is room for few threads, the kernel's workers shall not take it.
        EngineChoice::Auto => {
            let helpers = threads()?;
            match Uring::ring(root, depth) {
                Ok(ring) => (uring(ring, helpers), String::from("io_uring is available")),
                Err(error) => (Box::new(helpers), format!("no io_uring: {error}")),
            }
        }
    };
    let profile = EngineProfile {
        name: disk.name(),
        reason,
        depth_max: disk.depth_max(),
        residency_policy: disk.residency_policy(),
    };
    Ok((disk, profile))
}

/// Makes room for locked mappings, and says so if there is too little.
fn prepare_lock(settings: &Settings) {
    let wanted = settings.cache.map_bytes_max;
    if settings.map_lock == MapLock::On
        && let Some(allowed) = raise_lock_limit()
        && allowed < wanted
    {
        warn(&format!(
            "--lock: RLIMIT_MEMLOCK allows {} of the file cache of {}; the rest is not locked; raise \
             it with ulimit -l or LimitMEMLOCK=",
            exact_bytes(allowed),
            exact_bytes(wanted)
        ));
    }
}

/// What connections are driven with.
pub(super) fn driver(settings: &Settings) -> Driver {
    let limits = &settings.limits;
    let logging = match settings.access_log {
        AccessLog::Off => Logging::Off,
        AccessLog::Terminal => Logging::Terminal(terminal::colours()),
        AccessLog::StandardOutput | AccessLog::File(_) => match settings.log_format {
            LogFormat::Combined => Logging::Combined,
            LogFormat::Json => Logging::Json,
        },
    };
    let pool = Pool::new(limits.head_length_max + INBOX_SLACK);
    Driver {
        iteration: 0,
        policy: connection_policy(settings),
        stage: Stage::Serving,
        response_stats: ResponseStats::new(logging),
        pool,
        gathered_bytes: 0,
        sendfile_bytes: 0,
        budget: SendBudget::default(),
    }
}

/// The rules that connections follow.
pub(super) fn connection_policy(settings: &Settings) -> Policy {
    let limits = &settings.limits;
    Policy {
        head: HeadLimits {
            target_length_max: limits.target_length_max,
            head_length_max: limits.head_length_max,
            field_count_max: limits.field_count_max,
        },
        body_length_max: limits.body_length_max,
        timeouts: settings.timeouts,
        send_rate_min: limits.send_rate_min,
        server_timing: settings.server_timing,
    }
}

/// Sockets that a service manager has opened.
fn inherit(settings: &Settings) -> Result<Vec<Listener>, StartError> {
    inherited::take(settings.inherited_socket_count)
        .and_then(|sockets| sockets.into_iter().map(Listener::inherit).collect())
        .map_err(StartError::Inherited)
}

fn bind_all(settings: &Settings) -> Result<Vec<Listener>, StartError> {
    let site = settings
        .listen
        .iter()
        .map(|address| (address.clone(), Role::Site));
    let status = match settings.status {
        StatusAccess::Listener(address) => Some((ListenAddress::Tcp(address), Role::Status)),
        _ => None,
    };
    let asked_for = site
        .chain(status)
        .map(|(address, role)| bind(&address, settings, role));
    let mut listeners: Vec<Listener> = asked_for.collect::<Result<_, _>>()?;
    if let StatusAccess::DefaultListener(address) = settings.status {
        let address_of_status = ListenAddress::Tcp(address);
        match Listener::bind(&address_of_status, &settings.socket_access, Role::Status) {
            Ok(listener) => listeners.push(listener),
            Err(cause) => warn(&format!(
                "no status page: cannot listen on {address}: {cause}; choose another address with \
                 --status ADDR:PORT, or none with --status off"
            )),
        }
    }
    Ok(listeners)
}

/// Listens on an address of the settings.
pub(super) fn bind(
    address: &ListenAddress,
    settings: &Settings,
    role: Role,
) -> Result<Listener, StartError> {
    Listener::bind(address, &settings.socket_access, role)
        .map_err(|cause| StartError::listen(address, cause))
}

/// Who may see the status page. Where it is for people of this machine, the kernel has to say who asks.
fn access(settings: &Settings) -> Access {
    let is_tcp = |address: &ListenAddress| matches!(address, ListenAddress::Tcp(_));
    let is_needed = settings.status == StatusAccess::Loopback && settings.listen.iter().any(is_tcp);
    let owners = match is_needed.then(SocketOwners::open).transpose() {
        Ok(owners) => owners,
        Err(cause) => {
            warn(&format!(
                "no status page over TCP: the kernel does not report owners of connections (sock_diag: {cause}); \
                 use a separate listener with --status ADDR:PORT"
            ));
            None
        }
    };
    Access::new(settings.status, owners)
}

/// What is served, where and how.
fn start_lines(
    settings: &Settings,
    listeners: &[Listener],
    engine: &EngineProfile,
    descriptors: &Descriptors,
    memory: &MemoryControl,
) -> String {
    let mut text = site_lines(&settings.sites);
    for listener in listeners {
        let what = match listener.role {
            Role::Site => "listening on",
            Role::Status => "status page on",
        };
        for name in listener.names() {
            text.push_str(&format!("{what} {name}\n"));
        }
    }
    let cache = &settings.cache;
    text.push_str(&format!(
        "disk engine {} ({}), {} jobs in flight at most; file cache {} (files up to {}, {} at most); path cache {} \
         entries, revalidated after {} ms without watches; at most {} open files, {} connections; \
         memory {} of {} ({})\n",
        engine.name,
        engine.reason,
        settings.disk_depth,
        exact_bytes(cache.map_bytes_max),
        exact_bytes(cache.map_file_length_max),
        cache.map_count_max,
        cache.path_count_max,
        cache.revalidate.as_millis(),
        descriptors.files,
        descriptors.connections,
        bytes(memory.budget()),
        bytes(memory.limit().bytes),
        memory.limit().source.name(),
    ));
    text
}

/// What is served: the root of a single site, else hosts and root of each, as far as they fit a screen.
fn site_lines(sites: &[SiteSettings]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = match sites {
        [site] => format!(
            "spede {version} serves {}\n",
            absolute(&site.root).display()
        ),
        _ => format!("spede {version} serves {} sites\n", sites.len()),
    };
    if let [site] = sites {
        if is_empty(&site.root) {
            text.push_str(
                "the directory is empty: put an index.html there; it is served at once\n",
            );
        }
        return text;
    }
    for site in sites.iter().take(SHOWN_SITE_COUNT_MAX) {
        let hosts = match &*site.hosts {
            [] => String::from("all other hosts"),
            hosts => hosts.join(", "),
        };
        text.push_str(&format!("{hosts}: {}\n", absolute(&site.root).display()));
    }
    if sites.len() > SHOWN_SITE_COUNT_MAX {
        let more = sites.len() - SHOWN_SITE_COUNT_MAX;
        text.push_str(&format!("{more} more: see spede check\n"));
    }
    text
}

/// Says it: to standard output, or to standard error where standard output is the access log.
fn announce(settings: &Settings, start_lines: &str) {
    // A closed standard output does not stop a server.
    let _ = match settings.access_log {
        AccessLog::StandardOutput => io::stderr().write_all(start_lines.as_bytes()),
        AccessLog::Off | AccessLog::Terminal | AccessLog::File(_) => {
            let mut output = io::stdout().lock();
            output
                .write_all(start_lines.as_bytes())
                .and_then(|()| output.flush())
        }
    };
}

/// The directory that a server serves: another than the default one where that is missing and nobody chose it.
pub fn found_root(site: &SiteSettings) -> &Path {
    match &site.root_fallback {
        Some(fallback) if !site.root.exists() => fallback,
        _ => &site.root,
    }
}

/// The settings, with what depends on the surroundings.
pub(super) fn completed(settings: &Settings) -> Settings {
    terminal::with_log(with_found_root(settings))
}

/// The settings with those directories as their roots.
fn with_found_root(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    for site in &mut settings.sites {
        site.root = found_root(site).into();
    }
    settings
}

fn open_log(log: &AccessLog) -> Result<LogWriter, StartError> {
    LogWriter::open(log).map_err(|cause| {
        let path = match log {
            AccessLog::File(path) => path.clone(),
            AccessLog::Off | AccessLog::Terminal | AccessLog::StandardOutput => PathBuf::from("-"),
        };
        StartError::AccessLog { path, cause }
    })
}

/// Whether there is nothing to serve in a directory.
fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}
