//! What a server is told when it starts. The command line and the environment become this once, in
//! `config`; nothing is checked again later.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::conn::ServerTiming;
use crate::http::range::RangeLimits;
use crate::site::resolve::Naming;
use crate::site::sites::Policy;

pub use crate::conn::Timeouts;
pub use crate::site::media_type::{Charset, MediaTypes, OwnType};
pub use crate::site::resolve::{Directories, DotFiles};
pub use crate::site::validators::EntityTags;

/// Where connections are taken.
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
    /// Their mode; `None`: what the umask leaves, or 0660 where there is a group.
    pub mode: Option<u32>,
    /// The name or number of their group; `None`: that of the process.
    pub group: Option<String>,
}

/// Who may see the status page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusAccess {
    /// People and programs of this machine: whose end of a loopback connection is root's, a person's or
    /// the server's own user's, and whose request carries no sign of a proxy.
    Loopback,
    /// Nobody: `/status` is a path like any other.
    Off,
    /// Everybody.
    All,
    /// Whoever reaches this listener, which serves nothing else.
    Listener(SocketAddr),
    /// The same where nobody chose the address: without it there is no page, and DNS names do not lead to it.
    DefaultListener(SocketAddr),
}

/// Where requests are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    StandardOutput,
    /// To the end of a file.
    File(PathBuf),
}

/// What the lines of the access log look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Those of Apache httpd's combined format.
    Combined,
    /// JSON objects.
    Json,
}

/// Which disk engine to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// The best that works here.
    Auto,
    /// io_uring.
    Uring,
    /// Helper threads.
    Threads,
    /// On the loop.
    Blocking,
}

/// Whether the pages of mapped files are locked in memory, `mlock(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapLock {
    /// The kernel may let them go.
    Off,
    /// As far as `RLIMIT_MEMLOCK` allows.
    On,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_length: u8,
}

impl Network {
    /// Those that begin with the first `prefix_length` bits of `address`; the rest of it does not count.
    pub fn new(address: IpAddr, prefix_length: u8) -> Network {
        Network {
            address,
            prefix_length,
        }
    }

    /// Whether `address` is one of them. IPv4 and IPv6 have nothing in common.
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.prefix_length);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= length
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= length
            }
            _ => false,
        }
    }
}

/// How much of each thing is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; `None`: what the limit on descriptors leaves.
    pub connections_max: Option<usize>,
    /// Most of them for one address once half are taken, in percent.
    pub address_share_percent: usize,
    /// Longest request target in bytes.
    pub target_length_max: usize,
    /// Longest request head in bytes.
    pub head_length_max: usize,
    /// Most field lines in a head.
    pub field_count_max: usize,
    /// Longest request body in bytes.
    pub body_length_max: u64,
    /// Least bytes in a second that a peer has to take; 0: any will do.
    pub send_rate_min: u64,
    /// Most ranges in one request.
    pub range_count_max: usize,
}

/// Sizes that were asked for; where there is none, a default holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskedSizes {
    /// Bytes of all memory that is allocated.
    pub memory_bytes_max: Option<u64>,
    /// Bytes of mapped files.
    pub map_bytes_max: Option<u64>,
    /// Remembered paths.
    pub path_count_max: Option<usize>,
}

/// How large the caches may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheBudget {
    /// Bytes of mapped files.
    pub map_bytes_max: u64,
    /// Longest file that is mapped, in bytes.
    pub map_file_length_max: u64,
    /// Mapped files.
    pub map_count_max: usize,
    /// Remembered paths.
    pub path_count_max: usize,
    /// Descriptors kept open; `None`: a quarter of the limit on descriptors.
    pub descriptor_count_max: Option<usize>,
    /// Directories watched for changes; none: everything is looked at after `revalidate`.
    pub watched_directory_count_max: usize,
    /// How long an entry is trusted without a look at the disk, where its directories are not
    /// watched.
    pub revalidate: Duration,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    // One field a flag: what was typed, once it means something.
    /// The directory that is served.
    pub root: PathBuf,
    /// Sockets to listen on that a service manager has opened, from descriptor 3 on (`LISTEN_FDS`).
    pub inherited_socket_count: usize,
    /// Where else connections are taken; at least one, unless there are inherited sockets.
    pub listen: Vec<ListenAddress>,
    /// Who may connect to those of them that are Unix sockets.
    pub socket_access: SocketAccess,
    /// File names that stand for their directory.
    pub index: Vec<String>,
    /// Whether hidden names are served.
    pub dot_files: DotFiles,
    /// What a directory without an index is.
    pub directories: Directories,
    /// What the extensions of files say of their content.
    pub media_types: MediaTypes,
    /// What entity tags are made of.
    pub entity_tags: EntityTags,
    /// The disk engine.
    pub engine: EngineChoice,
    /// Jobs that the disk is given at once.
    pub disk_depth: usize,
    /// Jobs that may wait for their turn at the disk.
    pub disk_queue: usize,
    /// Whether mappings are kept in memory.
    pub map_lock: MapLock,
    /// Sizes of the caches.
    pub cache: CacheBudget,
    /// Which of them were asked for, and the budget of all memory.
    pub asked: AskedSizes,
    /// How long after it was confirmed an entry may be answered from while the disk does not say whether it still
    /// holds; zero: not at all.
    pub stale: Duration,
    /// How often what is in use is compared with the disk though nothing told of a change; zero: never.
    pub recheck: Duration,
    /// What they are filled with at the start: lists of paths, and directories below the root.
    pub warm: Vec<PathBuf>,
    /// Where the paths asked for most are kept from one run to the next.
    pub cache_state: Option<PathBuf>,
    /// Limits on what peers may send.
    pub limits: Limits,
    /// Proxies: each stands for many clients, and may hold any number of connections.
    pub trusted_proxies: Vec<Network>,
    /// Deadlines of connections.
    pub timeouts: Timeouts,
    /// From the first signal to the end of the process.
    pub grace: Duration,
    /// The access log.
    pub access_log: AccessLog,
    /// How.
    pub log_format: LogFormat,
    /// Whether responses say where they come from.
    pub server_timing: ServerTiming,
    /// Who sees the status page.
    pub status: StatusAccess,
}

impl Settings {
    /// What they decide about the one site that they describe.
    pub fn policy(&self) -> Policy {
        Policy {
            naming: Naming {
                index: self.index.clone(),
                dot_files: self.dot_files,
                directories: self.directories,
                media_types: self.media_types.clone(),
            },
            entity_tags: self.entity_tags,
            ranges: RangeLimits {
                count_max: self.limits.range_count_max,
            },
            revalidate: self.cache.revalidate,
        }
    }
}

/// What the listener that a connection came through serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The site.
    Site,
    /// The status page and nothing else.
    Status,
}
