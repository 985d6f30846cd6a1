//! The settings of a server. `config` builds them once from the command line and the environment; nothing is
//! checked again later.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::conn::ServerTiming;

pub use crate::conn::Timeouts;
pub use crate::http::range::RangeLimits;
pub use crate::site::access::AccessRules;
pub use crate::site::fields::cors::{AllowedOrigins, Origin};
pub use crate::site::fields::field::ResponseField;
pub use crate::site::fields::{FieldRules, Immutable, SecurityFields};
pub use crate::site::media_type::{Charset, MediaTypes, TypeOverride};
pub use crate::site::network::Network;
pub use crate::site::path_rules::{CleanUrls, ErrorPage, InnerPath, InnerPathError, PathRules};
pub use crate::site::resolve::{Directories, DotFiles, Naming};
pub use crate::site::sites::Policy;
pub use crate::site::validators::EntityTags;

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// Who may connect to Unix sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketAccess {
    /// Their mode; `None`: according to the umask, or 0660 if there is a group.
    pub mode: Option<u32>,
    /// The name or number of their group; `None`: that of the process.
    pub group: Option<String>,
}

/// Access to the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusAccess {
    /// Clients on this machine: the owner of the peer's end of the loopback connection is root, a person or
    /// the server's own user, and the request shows no sign of a proxy.
    Loopback,
    /// Nobody: `/status` is an ordinary path.
    Off,
    /// Everybody.
    All,
    /// Everybody who reaches this listener, which serves nothing else.
    Listener(SocketAddr),
    /// The same at the default address: if it is not available there is no page, and DNS names are refused.
    DefaultListener(SocketAddr),
}

/// Destination of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// Standard output in a format for people if it is a terminal, else none.
    Terminal,
    /// Standard output.
    StandardOutput,
    /// The end of a file.
    File(PathBuf),
}

/// Format of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Apache httpd's combined format.
    Combined,
    /// JSON objects.
    Json,
}

/// Choice of the disk engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// The best that works on this system.
    Auto,
    /// io_uring.
    Uring,
    /// Helper threads.
    Threads,
    /// Calls on the loop.
    Blocking,
}

/// Whether the pages of mapped files are locked in memory, `mlock(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapLock {
    /// Unlocked: the kernel may evict them.
    Off,
    /// Locked as far as `RLIMIT_MEMLOCK` allows.
    On,
}

/// Limits on clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; `None`: as many as the limit on descriptors allows.
    pub connections_max: Option<usize>,
    /// Maximum share of one address once half of the connections are in use, in percent.
    pub address_share_percent: usize,
    /// Maximum length of a request target in bytes.
    pub target_length_max: usize,
    /// Maximum length of a request head in bytes.
    pub head_length_max: usize,
    /// Maximum number of field lines in a head.
    pub field_count_max: usize,
    /// Maximum length of a request body in bytes.
    pub body_length_max: u64,
    /// Minimum rate at which a peer must receive, in bytes per second; 0: none.
    pub send_rate_min: u64,
}

/// Cache sizes set by the operator; `None`: the default applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredSizes {
    /// Bytes of all allocated memory.
    pub memory_bytes_max: Option<u64>,
    /// Bytes of mapped files.
    pub map_bytes_max: Option<u64>,
    /// Path cache entries.
    pub path_count_max: Option<usize>,
}

/// Limits of the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBudget {
    /// Bytes of mapped files.
    pub map_bytes_max: u64,
    /// Longest file that is mapped, in bytes.
    pub map_file_length_max: u64,
    /// Mapped files.
    pub map_count_max: usize,
    /// Path cache entries.
    pub path_count_max: usize,
    /// Cached descriptors; `None`: a quarter of the limit on descriptors.
    pub descriptor_count_max: Option<usize>,
    /// Directories watched for changes; 0: every entry is revalidated after `revalidate`.
    pub watched_directory_count_max: usize,
    /// How long an entry is trusted without revalidation where its directories are not watched.
    pub revalidate: Duration,
}

/// A site: the hosts that it answers for, and what it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteSettings {
    /// Valid hosts as they were written; empty: every host that belongs to no other site.
    pub hosts: Vec<String>,
    /// The directory that is served.
    pub root: PathBuf,
    /// What is served where that is missing; `None` where somebody chose the root.
    pub root_fallback: Option<PathBuf>,
    /// How requests are answered.
    pub policy: Policy,
}

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    // One field per flag of the process, in its parsed form.
    /// The configuration file; `None`: there is none.
    pub configuration: Option<PathBuf>,
    /// The sites, at least one. No host belongs to two, and at most one has no hosts.
    pub sites: Vec<SiteSettings>,
    /// Sockets to listen on that a service manager has opened, from descriptor 3 on (`LISTEN_FDS`).
    pub inherited_socket_count: usize,
    /// Other listening addresses; at least one, unless there are inherited sockets.
    pub listen: Vec<ListenAddress>,
    /// Who may connect to Unix sockets among them.
    pub socket_access: SocketAccess,
    /// The disk engine.
    pub engine: EngineChoice,
    /// Maximum number of disk jobs in flight.
    pub disk_depth: usize,
    /// Maximum length of the queue of disk jobs.
    pub disk_queue: usize,
    /// Whether mappings are locked in memory.
    pub map_lock: MapLock,
    /// Sizes of the caches.
    pub cache: CacheBudget,
    /// Sizes set by the operator, and the memory budget.
    pub asked: ConfiguredSizes,
    /// How long after its last confirmation an entry may be served stale while the disk does not answer;
    /// zero: never.
    pub stale: Duration,
    /// Interval at which cached files are compared with the disk although no change was reported; zero:
    /// never.
    pub recheck: Duration,
    /// Sources of paths to warm at the start: lists of paths, and directories below the root.
    pub warm: Vec<PathBuf>,
    /// File that keeps the most requested paths from one run to the next.
    pub cache_state: Option<PathBuf>,
    /// Limits on what peers may send.
    pub limits: Limits,
    /// Trusted proxies: each represents many clients, and may hold any number of connections.
    pub trusted_proxies: Vec<Network>,
    /// Deadlines of connections.
    pub timeouts: Timeouts,
    /// Time from the first signal to the end of the process.
    pub grace: Duration,
    /// Destination of the access log.
    pub access_log: AccessLog,
    /// Its format.
    pub log_format: LogFormat,
    /// Whether responses carry Server-Timing.
    pub server_timing: ServerTiming,
    /// Access to the status page.
    pub status: StatusAccess,
}

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The site.
    Site,
    /// The status page and nothing else.
    Status,
}
