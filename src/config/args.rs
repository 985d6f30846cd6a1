//! The flags: names, variables, defaults, values, and the help.
//!
//! The doc comments on the fields of [`Args`] *are* the help: the first paragraph is `-h`, all of it is
//! `--help`. Each flag can also be set in the environment: `--map-cache` by `SPEDE_MAP_CACHE`.

mod fields;
mod paths;
mod peers;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

pub(super) use self::fields::FieldArgs;
pub(super) use self::paths::{PathArgs, Spa};
pub(super) use self::peers::{PeerArgs, RANGE_COUNT_MAX};
use super::listen::parse_listen;
use super::value::{
    access_log, charset, count, directories, dot_files, duration, engine, entity_tags, group,
    index_name, log_format, map_lock, mode, own_type, path, root, server_timing, size, status,
    word,
};
use crate::conn::ServerTiming;
use crate::settings::{
    AccessLog, Charset, Directories, DotFiles, EngineChoice, EntityTags, ListenAddress, LogFormat,
    MapLock, StatusAccess, TypeOverride,
};

/// The name of the program.
pub(super) const NAME: &str = "spede";

/// Default of the longest cached file: the length at which `writev` of a mapping and `sendfile` cost the same.
pub(super) const MAP_FILE_LENGTH_DEFAULT: &str = "16KiB";

/// Defaults shared with `spede simulate`.
pub(super) const MAP_CACHE_DEFAULT: &str = "256MiB";
pub(super) const MAP_COUNT_DEFAULT: &str = "32768";
pub(super) const PATH_CACHE_DEFAULT: &str = "65536";
pub(super) const REVALIDATE_DEFAULT: &str = "1";
pub(super) const RECHECK_DEFAULT: &str = "10s";
pub(super) const STALE_DEFAULT: &str = "60s";
pub(super) const WATCH_DIRECTORIES_DEFAULT: &str = "16384";
pub(super) const INDEX_DEFAULT: &str = "index.html";

/// Most disk jobs in flight: each may need a thread.
const DISK_DEPTH_MAX: usize = 1_024;

/// Columns of the help.
pub(super) const HELP_WIDTH: usize = 80;

/// Limit of every count, 16 Mi: far beyond the capacity of a machine, far below overflow.
pub(super) const COUNT_MAX: usize = 1 << 24;
/// Limit of mapped bytes: half of the address space of a process on x86-64.
pub(super) const MAP_BYTES_MAX: u64 = 1 << 46;
/// Smallest memory budget, 16 MiB: tables of fixed size take a few MiB.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

/// Shortest time-out: zero would close every connection.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Limit of every duration, so that a mistyped unit is detected.
pub(super) const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const SERVE: &str = "What to serve";
const CACHES: &str = "Caches";
const DISK: &str = "Disk";
const OBSERVATION: &str = "Observation";
pub(super) const HELP: &str = "Help";

const AFTER_HELP: &str = "\
Each option is read from the environment too: --map-cache is SPEDE_MAP_CACHE.
spede simulate ACCESS_LOG… estimates hit ratios of other cache sizes.";

const AFTER_LONG_HELP: &str = "\
Sizes: bytes, or a number with KiB, MiB or GiB (K, M, G mean the same: units are
binary), as in 65536, 64KiB or 1.5GiB.
Times: seconds, or a number with ms, s, m or h, as in 10, 250ms or 1.5m.

Environment: each option has a variable, --map-cache SPEDE_MAP_CACHE and ROOT
SPEDE_ROOT. The command line wins. Lists take commas. An empty variable counts
as unset.

spede simulate ACCESS_LOG… replays access logs through the caches at several
sizes; see spede simulate --help. spede check [OPTIONS] shows the configuration
in effect with the source of each value, and looks for mistakes in it and below
the root: exit code 0 if there are none, 1 with warnings, 2 if the server would
not start. spede config --default prints a commented configuration file. To
serve a root of such a name: ./simulate, ./check, ./config.

Exit codes: 0 stopped by a signal, 1 start or operation failed, 2 wrong options.

Examples:
  spede                                the site in www, at 127.0.0.1:8080
  spede -l :80 --access-log - /srv/www on all addresses, with a log
  spede -l unix:/run/spede.sock www    behind a proxy on the same machine
  spede --map-cache 4GiB --map-max 1MiB --map-count 60000 /srv/www";

/// A fast static file server for Linux.
///
/// Misses never block hits, and built-in analytics tell you how to size its caches.
#[derive(Debug, Parser)]
#[command(name = NAME, version, term_width = HELP_WIDTH, allow_negative_numbers = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[command(after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(super) struct Args {
    // One field per flag, as clap requires.
    /// The directory to serve.
    ///
    /// Files outside it are never opened. Symbolic links are followed as long as they stay inside.
    #[arg(value_name = "ROOT", env = "SPEDE_ROOT", help_heading = SERVE)]
    #[arg(value_parser = root(), default_value = "www")]
    pub(super) root: PathBuf,

    /// Configuration file (TOML).
    ///
    /// Its keys are the long names of the options, root for ROOT; spede config --default prints
    /// all of them. Options and variables override it. Relative paths start in the working
    /// directory. spede check shows what is in effect.
    #[arg(short, long, value_name = "FILE", env = "SPEDE_CONFIG", help_heading = SERVE)]
    #[arg(value_parser = path())]
    pub(super) config: Option<PathBuf>,

    /// Listen address, repeatable: IP:PORT, :PORT, PORT, unix:PATH.
    ///
    /// IP:PORT is one address ([::1]:8080 for IPv6), :PORT all addresses of the machine in IPv6
    /// and IPv4, PORT or localhost:PORT 127.0.0.1 only, unix:PATH a Unix socket. With port 0 the
    /// kernel chooses a port, which is printed. Host names are not resolved. For several addresses
    /// repeat the option or use commas.
    // rustdoc would take the address in brackets for a link.
    #[allow(rustdoc::broken_intra_doc_links)]
    #[arg(short, long, value_name = "ADDR", env = "SPEDE_LISTEN", help_heading = SERVE)]
    #[arg(value_parser = word(parse_listen), value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:8080")]
    pub(super) listen: Vec<ListenAddress>,

    /// Mode of Unix sockets [default: from the umask].
    ///
    /// In octal, such as 0660. Write permission allows connecting. With --socket-group the default
    /// is 0660.
    #[arg(long, value_name = "MODE", env = "SPEDE_SOCKET_MODE", help_heading = SERVE)]
    #[arg(value_parser = mode())]
    pub(super) socket_mode: Option<u32>,

    /// Group of Unix sockets, by name or number.
    ///
    /// It must be a group of the server's user, such as that of the proxy; root may set any group.
    #[arg(long, value_name = "GROUP", env = "SPEDE_SOCKET_GROUP", help_heading = SERVE)]
    #[arg(value_parser = group())]
    pub(super) socket_group: Option<String>,

    /// Index file name, repeatable.
    ///
    /// The first that exists is served for its directory; without any, a directory is 404. Each
    /// further name costs one more disk access for directories without the first. For several
    /// names repeat the option or use commas.
    #[arg(long, value_name = "NAME", env = "SPEDE_INDEX", help_heading = SERVE)]
    #[arg(value_parser = index_name(), value_delimiter = ',', default_value = INDEX_DEFAULT)]
    pub(super) index: Vec<String>,

    /// Names that start with a dot: refuse or serve.
    ///
    /// Refused names are 404, so that an accidentally copied .git or .env stays hidden. Below
    /// /.well-known/ visible names are served either way.
    #[arg(long, value_name = "WHAT", env = "SPEDE_DOTFILES", help_heading = SERVE)]
    #[arg(value_parser = dot_files(), default_value = "refuse")]
    pub(super) dotfiles: DotFiles,

    /// Directories without an index file: hide or list.
    ///
    /// Hidden ones are 404. A listing has names, lengths and dates. It is generated once per
    /// change and shared by all readers.
    #[arg(long, value_name = "WHAT", env = "SPEDE_DIRECTORIES", help_heading = SERVE)]
    #[arg(value_parser = directories(), default_value = "hide")]
    pub(super) directories: Directories,

    /// Charset parameter of text types, or none.
    ///
    /// It overrides a declaration in the page (<meta charset>), so use none for a site with
    /// several charsets. JSON and XML never get a charset. Pages generated by spede are UTF-8
    /// either way.
    #[arg(long, value_name = "NAME", env = "SPEDE_CHARSET", help_heading = SERVE)]
    #[arg(value_parser = charset(), default_value = "utf-8")]
    pub(super) charset: Charset,

    /// Media type of a file name extension, repeatable: EXT=TYPE.
    ///
    /// For example ts=text/plain. Overrides the built-in table. Text types get the charset unless
    /// the type has parameters of its own. For several types repeat the option or use commas.
    #[arg(long = "type", value_name = "EXT=TYPE", env = "SPEDE_TYPE", help_heading = SERVE)]
    #[arg(value_parser = own_type(), value_delimiter = ',')]
    pub(super) own_types: Vec<TypeOverride>,

    #[command(flatten)]
    pub(super) paths: PathArgs,
    // Response fields.
    #[command(flatten)]
    pub(super) fields: FieldArgs,

    /// Source of entity tags: file or mirror.
    ///
    /// file: everything that distinguishes versions of a file, so that no two versions share a
    /// tag, not even with pinned or preserved dates. mirror: mtime and length, as in nginx, so
    /// that copies made by rsync -t have the same tags on every machine; a change must then change
    /// one of the two.
    #[arg(long, value_name = "file|mirror", env = "SPEDE_ENTITY_TAGS", help_heading = SERVE)]
    #[arg(value_parser = entity_tags(), default_value = "file")]
    pub(super) entity_tags: EntityTags,

    /// Memory budget [default: half of the available memory].
    ///
    /// Covers copies of files, path entries, connections and their buffers, pages, log lines and
    /// jobs. Available memory is the smallest of the machine's memory and the limits of the
    /// control group and of the process. Above the budget caches shrink, whatever their own sizes;
    /// then new connections wait.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MEMORY", help_heading = CACHES)]
    #[arg(value_parser = size(MEMORY_BYTES_MIN..=MAP_BYTES_MAX))]
    pub(super) memory: Option<u64>,

    /// Capacity of the file cache in bytes; 0 disables it.
    ///
    /// A cached file is sent in one call, without a disk access. Its pages belong to the page
    /// cache of the kernel, so they do not take memory twice.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MAP_CACHE", help_heading = CACHES)]
    #[arg(value_parser = size(0..=MAP_BYTES_MAX), default_value = MAP_CACHE_DEFAULT)]
    pub(super) map_cache: u64,

    /// Longest file in the file cache.
    ///
    /// Longer files are sent from their open descriptor by sendfile, which costs more for short
    /// files and less for long ones.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MAP_MAX", help_heading = CACHES)]
    #[arg(value_parser = size(1..=MAP_BYTES_MAX), default_value = MAP_FILE_LENGTH_DEFAULT)]
    pub(super) map_max: u64,

    /// Capacity of the file cache in files.
    ///
    /// The kernel limits the mappings of a process (vm.max_map_count, 65530 unless raised); the
    /// default uses half of them.
    #[arg(long, value_name = "N", env = "SPEDE_MAP_COUNT", help_heading = CACHES)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = MAP_COUNT_DEFAULT)]
    pub(super) map_count: usize,

    /// Lock the file cache in memory.
    ///
    /// Uses mlock as far as RLIMIT_MEMLOCK allows; raise it to --map-cache (ulimit -l,
    /// LimitMEMLOCK=). Unlocked pages are read again after the kernel has reclaimed them.
    #[arg(long, value_name = "off|on", env = "SPEDE_LOCK", help_heading = CACHES)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    #[arg(value_parser = map_lock(), default_value = "off")]
    pub(super) lock: MapLock,

    /// Capacity of the path cache in entries.
    ///
    /// A cached path is answered without a disk access, 404s as well. Such negative entries count
    /// towards the capacity; they take an eighth of it at most.
    #[arg(long, value_name = "N", env = "SPEDE_PATH_CACHE", help_heading = CACHES)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = PATH_CACHE_DEFAULT)]
    pub(super) path_cache: usize,

    /// Capacity of the open-file cache [default: RLIMIT_NOFILE/4].
    ///
    /// Files that are too long for the file cache, or were requested once, are sent from open
    /// descriptors. Raise the limit of the process (ulimit -n, LimitNOFILE=) with it.
    #[arg(long, value_name = "N", env = "SPEDE_DESCRIPTORS", help_heading = CACHES)]
    #[arg(value_parser = count(1..=COUNT_MAX))]
    pub(super) descriptors: Option<usize>,

    /// Most directories watched for changes; 0 watches none.
    ///
    /// A change in a watched directory is seen by the next request; without a change nothing is
    /// revalidated. Each watch takes about 1 KiB of kernel memory, as does each file in the file
    /// cache, and counts towards fs.inotify.max_user_watches.
    #[arg(long, value_name = "N", env = "SPEDE_WATCH_DIRECTORIES", help_heading = CACHES)]
    #[arg(value_parser = count(0..=COUNT_MAX), default_value = WATCH_DIRECTORIES_DEFAULT)]
    pub(super) watch_directories: usize,

    /// Age at which an unwatched entry is revalidated.
    ///
    /// Applies where no events arrive: network and overlay file systems, files with several names,
    /// directories beyond the limit on watches. An older entry is compared with the file before
    /// its next use, so a change may be seen this much late. 0 revalidates at every request.
    #[arg(long, value_name = "SECONDS", env = "SPEDE_REVALIDATE", help_heading = CACHES)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = REVALIDATE_DEFAULT)]
    pub(super) revalidate: Duration,

    /// Longest age of a stale answer while storage does not answer.
    ///
    /// If a revalidation takes long or fails, requests are answered from the last confirmed
    /// version for this long after its confirmation; then 504. With 0, or with --revalidate=0,
    /// they wait for the revalidation. Content known to have changed is never served.
    #[arg(long, value_name = "TIME", env = "SPEDE_STALE", help_heading = CACHES)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = STALE_DEFAULT)]
    pub(super) stale: Duration,

    /// Interval at which files in use are compared without an event.
    ///
    /// For writes without events: through a shared mapping, by AIO, through a loop device. They
    /// are seen this much late, under another entity tag. Files held in memory are compared by
    /// content. 0 disables it.
    #[arg(long, value_name = "TIME", env = "SPEDE_RECHECK", help_heading = CACHES)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = RECHECK_DEFAULT)]
    pub(super) recheck: Duration,

    /// Prefetch into the caches at the start, repeatable.
    ///
    /// FILE has one path a line, as clients request it (/css/site.css); lines that begin with #
    /// are skipped. DIR, a directory below ROOT, stands for all files in it. Prefetching delays no
    /// request and evicts nothing.
    #[arg(long, value_name = "FILE|DIR", env = "SPEDE_WARM", help_heading = CACHES)]
    #[arg(value_parser = path())]
    pub(super) warm: Vec<PathBuf>,

    /// File that keeps the most requested paths across restarts.
    ///
    /// Written at the end by replacement; prefetched at the start like a list of --warm. Its
    /// directory must be writable.
    #[arg(long, value_name = "FILE", env = "SPEDE_CACHE_STATE", help_heading = CACHES)]
    #[arg(value_parser = path())]
    pub(super) cache_state: Option<PathBuf>,

    /// I/O backend: auto, uring, threads or blocking.
    ///
    /// uring is io_uring, threads are helper threads; with both the loop never waits for the disk.
    /// auto selects uring, or threads if the kernel or a sandbox refuses it. blocking reads on the
    /// loop, so that a slow disk blocks every client.
    #[arg(long, value_name = "ENGINE", env = "SPEDE_DISK", help_heading = DISK)]
    #[arg(value_parser = engine(), default_value = "auto")]
    pub(super) disk: EngineChoice,

    /// Most disk jobs in flight.
    ///
    /// As many threads are started on demand, by the kernel or the process. A higher value serves
    /// more cold files at once, as far as the disk handles requests in parallel.
    #[arg(long, value_name = "N", env = "SPEDE_DISK_DEPTH", help_heading = DISK)]
    #[arg(value_parser = count(1..=DISK_DEPTH_MAX), default_value = "64")]
    pub(super) disk_depth: usize,

    /// Most queued disk jobs; beyond it 503.
    ///
    /// The queue is round-robin by client address, whatever one client requests. When it is full,
    /// the client with most jobs loses one.
    #[arg(long, value_name = "N", env = "SPEDE_DISK_QUEUE", help_heading = DISK)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = "4096")]
    pub(super) disk_queue: usize,

    /// Time-out of a request that waits for the disk; then 504.
    ///
    /// For disks and file servers that never answer. Cached content is served meanwhile.
    #[arg(long, value_name = "TIME", env = "SPEDE_DISK_TIMEOUT", help_heading = DISK)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "30s")]
    pub(super) disk_timeout: Duration,

    // What peers may do: limits and time-outs.
    #[command(flatten)]
    pub(super) peers: PeerArgs,

    /// Access log: off, - or PATH.
    ///
    /// A file is appended to, and reopened at SIGUSR1; a FIFO need not have a reader yet. - is
    /// standard output, as is /dev/stdout. Unless the option is set, a terminal gets short lines,
    /// in colour unless NO_COLOR is set.
    #[arg(long, value_name = "WHERE", env = "SPEDE_ACCESS_LOG", help_heading = OBSERVATION)]
    #[arg(value_parser = access_log(), default_value = "off")]
    pub(super) access_log: AccessLog,

    /// Format of log lines: combined or json.
    ///
    /// json adds the result of each cache and the time spent on the disk.
    #[arg(long, value_name = "FORMAT", env = "SPEDE_ACCESS_LOG_FORMAT", help_heading = OBSERVATION)]
    #[arg(value_parser = log_format(), default_value = "combined")]
    pub(super) access_log_format: LogFormat,

    /// Send cache results in responses (Server-Timing).
    ///
    /// Responses without a cache lookup have no such field. It is visible to everybody, so use it
    /// for diagnosis only.
    #[arg(long, value_name = "SWITCH", env = "SPEDE_SERVER_TIMING", help_heading = OBSERVATION)]
    #[arg(value_parser = server_timing(), default_value = "off", num_args = 0..=1)]
    #[arg(default_missing_value = "on", require_equals = true)]
    pub(super) server_timing: ServerTiming,

    /// Access to /status: loopback, off, all or ADDR:PORT [default: see --help].
    ///
    /// loopback: root, regular users (UID 1000 and above) and the server's own user on this
    /// machine, as reported by the kernel for each connection. Services, and so proxies, get the
    /// site's own /status. ADDR:PORT: a separate listener, open to every peer that reaches it.
    /// Default: loopback if all of --listen is loopback or a Unix socket; else a separate listener
    /// at 127.0.0.1:8081, or none if that port is in use.
    #[arg(long, value_name = "WHO", env = "SPEDE_STATUS", help_heading = OBSERVATION)]
    #[arg(value_parser = status())]
    pub(super) status: Option<StatusAccess>,
}
