//! The flags: names, variables, defaults, what each takes, and the help.
//!
//! Doc comments on the fields of [`Args`] *are* the help: the first paragraph is `-h`, all of it is
//! `--help`. Each flag is read from the environment as well, under its own name: `--map-cache` is
//! `SPEDE_MAP_CACHE`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::listen::parse_listen;
use super::value::{
    access_log, charset, count, directories, dot_files, duration, engine, entity_tags, group,
    index_name, length, log_format, map_lock, mode, networks, own_type, path, root, server_timing,
    size, status, word,
};
use crate::conn::ServerTiming;
use crate::http::request::FIELD_COUNT_MAX;
use crate::settings::{
    AccessLog, Charset, Directories, DotFiles, EngineChoice, EntityTags, ListenAddress, LogFormat,
    MapLock, Network, OwnType, StatusAccess,
};

/// Longest file that is mapped: where `writev` of a mapping and `sendfile` cost the same.
pub(super) const MAP_FILE_LENGTH_DEFAULT: &str = "16KiB";

/// Sizes and times that `spede simulate` takes for today's as well.
pub(super) const MAP_CACHE_DEFAULT: &str = "256MiB";
pub(super) const MAP_COUNT_DEFAULT: &str = "32768";
pub(super) const PATH_CACHE_DEFAULT: &str = "65536";
pub(super) const REVALIDATE_DEFAULT: &str = "1";
pub(super) const RECHECK_DEFAULT: &str = "10s";
pub(super) const STALE_DEFAULT: &str = "60s";
pub(super) const WATCH_DIRECTORIES_DEFAULT: &str = "16384";
pub(super) const INDEX_DEFAULT: &str = "index.html";

/// Most disk jobs at once: each may take a thread.
const DISK_DEPTH_MAX: usize = 1_024;

/// Columns of the help.
pub(super) const HELP_WIDTH: usize = 80;

/// Most of anything that is counted, 16 Mi: far past what a machine holds, far below overflow.
pub(super) const COUNT_MAX: usize = 1 << 24;
/// Most bytes of mappings: half of the address space of a process on x86-64.
pub(super) const MAP_BYTES_MAX: u64 = 1 << 46;
/// Least budget of memory, 16 MiB: tables of fixed size take a few of them.
const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// Longest head, and so longest target: a connection buffers one in memory.
const HEAD_LENGTH_MAX: u32 = 1 << 20;
/// Shortest head: room for a request line and the fields that no client leaves out.
const HEAD_LENGTH_MIN: u32 = 1 << 10;
/// Longest body, 1 TiB: bodies are read and thrown away, so the time-out bounds them too.
const BODY_LENGTH_MAX: u64 = 1 << 40;
/// Most ranges in one request: each costs a part with a head of its own.
const RANGE_COUNT_MAX: usize = 1 << 10;

/// Highest least rate, 1 GiB a second: more than most lines have.
const SEND_RATE_MAX: u64 = 1 << 30;

/// Shortest time-out of a peer: none at all would close every connection.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Longest of all times: a mistyped unit should be seen.
pub(super) const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const SERVE: &str = "What to serve";
const CACHES: &str = "Caches";
const DISK: &str = "Disk";
const LIMITS: &str = "Limits";
const TIME_OUTS: &str = "Time-outs";
const OBSERVATION: &str = "Observation";
pub(super) const HELP: &str = "Help";

const AFTER_HELP: &str = "\
Each option is read from the environment too: --map-cache is SPEDE_MAP_CACHE.
spede simulate ACCESS_LOG… says what other cache sizes would have given.";

const AFTER_LONG_HELP: &str = "\
Sizes: bytes, or a number with KiB, MiB or GiB (K, M, G mean the same: units are
binary), as in 65536, 64KiB or 1.5GiB.
Times: seconds, or a number with ms, s, m or h, as in 10, 250ms or 1.5m.

Environment: each option is read from it too, --map-cache from SPEDE_MAP_CACHE,
ROOT from SPEDE_ROOT. What is on the command line wins. Lists take commas. An
empty variable counts as unset.

spede simulate ACCESS_LOG… replays access logs through the caches at several
sizes; see spede simulate --help. A root of that name is ./simulate.

Exit codes: 0 served and stopped, 1 could not start or go on, 2 wrong options.

Examples:
  spede                                the site in www, at 127.0.0.1:8080
  spede -l :80 --access-log - /srv/www to everybody, with a log
  spede -l unix:/run/spede.sock www    behind a proxy on the same machine
  spede --map-cache 4GiB --map-max 1MiB --map-count 60000 /srv/www";

/// A static web server with one event loop.
///
/// Cached files are answered from memory, everything else without being copied.
#[derive(Debug, Parser)]
#[command(name = "spede", version, term_width = HELP_WIDTH, allow_negative_numbers = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[command(after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
pub(super) struct Args {
    // One field a flag; clap takes them from here.
    /// The directory to serve.
    ///
    /// Nothing outside it is ever opened: symbolic links inside are followed as long as they stay
    /// inside.
    #[arg(value_name = "ROOT", env = "SPEDE_ROOT", help_heading = SERVE)]
    #[arg(value_parser = root(), default_value = "www")]
    pub(super) root: PathBuf,

    /// Where to listen, repeatable: IP:PORT, :PORT, PORT, unix:PATH.
    ///
    /// IP:PORT is one address ([::1]:8080 in IPv6), :PORT every address of the machine in IPv6 and
    /// IPv4, PORT or localhost:PORT 127.0.0.1 only, unix:PATH a Unix socket. Port 0 lets the kernel
    /// choose, and what it chose is printed. Names are not looked up. Several addresses: the option
    /// again, or commas.
    // To rustdoc an address in brackets is a link.
    #[allow(rustdoc::broken_intra_doc_links)]
    #[arg(short, long, value_name = "ADDR", env = "SPEDE_LISTEN", help_heading = SERVE)]
    #[arg(value_parser = word(parse_listen), value_delimiter = ',')]
    #[arg(default_value = "127.0.0.1:8080")]
    pub(super) listen: Vec<ListenAddress>,

    /// Mode of Unix sockets [default: what the umask leaves].
    ///
    /// In octal, such as 0660: whoever may write may connect. With --socket-group and without a mode
    /// it is 0660.
    #[arg(long, value_name = "MODE", env = "SPEDE_SOCKET_MODE", help_heading = SERVE)]
    #[arg(value_parser = mode())]
    pub(super) socket_mode: Option<u32>,

    /// Group of Unix sockets, by name or number.
    ///
    /// A group that the user is in, such as that of the proxy; root may give any.
    #[arg(long, value_name = "GROUP", env = "SPEDE_SOCKET_GROUP", help_heading = SERVE)]
    #[arg(value_parser = group())]
    pub(super) socket_group: Option<String>,

    /// The file that stands for its directory, repeatable.
    ///
    /// The first that is there is served; without any, a directory is 404. More than one name costs
    /// another look at the disk for each directory that lacks the first. Several names: the option
    /// again, or commas.
    #[arg(long, value_name = "NAME", env = "SPEDE_INDEX", help_heading = SERVE)]
    #[arg(value_parser = index_name(), value_delimiter = ',', default_value = INDEX_DEFAULT)]
    pub(super) index: Vec<String>,

    /// Names that start with a dot: refuse or serve.
    ///
    /// Refused names are 404, so that a .git or .env that was copied along stays hidden. Below
    /// /.well-known/ visible names are served either way.
    #[arg(long, value_name = "WHAT", env = "SPEDE_DOTFILES", help_heading = SERVE)]
    #[arg(value_parser = dot_files(), default_value = "refuse")]
    pub(super) dotfiles: DotFiles,

    /// Directories without an index: hide or list.
    ///
    /// Hidden ones are 404. A list has names, lengths and dates. It is made once a change and
    /// shared by all who ask for it.
    #[arg(long, value_name = "WHAT", env = "SPEDE_DIRECTORIES", help_heading = SERVE)]
    #[arg(value_parser = directories(), default_value = "hide")]
    pub(super) directories: Directories,

    /// The charset that text files are said to be in, or none.
    ///
    /// It overrules what a page says of itself (<meta charset>), so give none where pages are in
    /// several. JSON and XML have no charset here. Pages that spede makes are in UTF-8 either way.
    #[arg(long, value_name = "NAME", env = "SPEDE_CHARSET", help_heading = SERVE)]
    #[arg(value_parser = charset(), default_value = "utf-8")]
    pub(super) charset: Charset,

    /// What files with an extension are, repeatable: EXT=TYPE.
    ///
    /// As in ts=text/plain; wins over what is known. Text gets the charset unless the type has
    /// parameters of its own. Several: the option again, or commas.
    #[arg(long = "type", value_name = "EXT=TYPE", env = "SPEDE_TYPE", help_heading = SERVE)]
    #[arg(value_parser = own_type(), value_delimiter = ',')]
    pub(super) own_types: Vec<OwnType>,

    /// What entity tags are made of: file or mirror.
    ///
    /// file: all that tells one version of one file from another, so that no two share a tag, not even
    /// with pinned or preserved dates. mirror: mtime and length, as nginx has it, so that copies made by
    /// rsync -t have the same tags on every machine; a change must then change one of the two.
    #[arg(long, value_name = "file|mirror", env = "SPEDE_ENTITY_TAGS", help_heading = SERVE)]
    #[arg(value_parser = entity_tags(), default_value = "file")]
    pub(super) entity_tags: EntityTags,

    /// Most memory allocated for all that is held [default: half of what there is].
    ///
    /// Covers copies of files, remembered paths, connections and their buffers, pages, log lines and
    /// jobs. What there is: the least of the machine's memory, the limits of the control group and of
    /// the process. Above it caches give way, whatever their own sizes; then new connections wait.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MEMORY", help_heading = CACHES)]
    #[arg(value_parser = size(MEMORY_BYTES_MIN..=MAP_BYTES_MAX))]
    pub(super) memory: Option<u64>,

    /// Bytes of files kept mapped in memory; 0 maps nothing.
    ///
    /// A mapped file is answered by one send, without a look at the disk. The pages belong to the page
    /// cache of the kernel, so this is not memory taken twice.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MAP_CACHE", help_heading = CACHES)]
    #[arg(value_parser = size(0..=MAP_BYTES_MAX), default_value = MAP_CACHE_DEFAULT)]
    pub(super) map_cache: u64,

    /// Longest file that is mapped.
    ///
    /// Longer files are sent from their open descriptor with sendfile, which costs more for short
    /// files and less for long ones.
    #[arg(long, value_name = "SIZE", env = "SPEDE_MAP_MAX", help_heading = CACHES)]
    #[arg(value_parser = size(1..=MAP_BYTES_MAX), default_value = MAP_FILE_LENGTH_DEFAULT)]
    pub(super) map_max: u64,

    /// Most files mapped at once.
    ///
    /// The kernel bounds the mappings of a process (vm.max_map_count, 65530 unless raised); the
    /// default leaves half of them to everything else.
    #[arg(long, value_name = "N", env = "SPEDE_MAP_COUNT", help_heading = CACHES)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = MAP_COUNT_DEFAULT)]
    pub(super) map_count: usize,

    /// Keep mapped files in memory.
    ///
    /// Locks them (mlock) as far as RLIMIT_MEMLOCK allows; raise it to --map-cache (ulimit -l,
    /// LimitMEMLOCK=). What is not locked is read again when the kernel has let it go.
    #[arg(long, value_name = "off|on", env = "SPEDE_LOCK", help_heading = CACHES)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    #[arg(value_parser = map_lock(), default_value = "off")]
    pub(super) lock: MapLock,

    /// Most paths remembered, missing ones included.
    ///
    /// A remembered path is answered without a look at the disk, 404s as well. Paths that no file
    /// has take room here too: a scan pushes out what was used longest ago.
    #[arg(long, value_name = "N", env = "SPEDE_PATH_CACHE", help_heading = CACHES)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = PATH_CACHE_DEFAULT)]
    pub(super) path_cache: usize,

    /// Most files kept open [default: a quarter of RLIMIT_NOFILE].
    ///
    /// Files that are too long to be mapped, or were asked for once, are sent from descriptors
    /// kept open here. Raise the limit of the process (ulimit -n, LimitNOFILE=) along with it.
    #[arg(long, value_name = "N", env = "SPEDE_DESCRIPTORS", help_heading = CACHES)]
    #[arg(value_parser = count(1..=COUNT_MAX))]
    pub(super) descriptors: Option<usize>,

    /// Most directories watched for changes; 0 watches none.
    ///
    /// A change in a watched directory is seen by the next request, and without one nothing is
    /// looked at again. Each takes about 1 KiB of the kernel, as do the files of the map cache, and
    /// counts for fs.inotify.max_user_watches.
    #[arg(long, value_name = "N", env = "SPEDE_WATCH_DIRECTORIES", help_heading = CACHES)]
    #[arg(value_parser = count(0..=COUNT_MAX), default_value = WATCH_DIRECTORIES_DEFAULT)]
    pub(super) watch_directories: usize,

    /// How long an entry that is not watched is trusted.
    ///
    /// Where no events come (network and overlay file systems, files with several names, more
    /// directories than are watched), an entry older than this is compared with the file before it
    /// is used again: a change may be served this much late. 0 looks at every request.
    #[arg(long, value_name = "SECONDS", env = "SPEDE_REVALIDATE", help_heading = CACHES)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = REVALIDATE_DEFAULT)]
    pub(super) revalidate: Duration,

    /// How long the last version is served while storage does not answer.
    ///
    /// Where an entry is checked after --revalidate and the check takes its time or fails, requests
    /// are answered from what was last confirmed, for this long after that; then 504. 0 makes them
    /// wait for the check, as does --revalidate=0. What is known to have changed is never served.
    #[arg(long, value_name = "TIME", env = "SPEDE_STALE", help_heading = CACHES)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = STALE_DEFAULT)]
    pub(super) stale: Duration,

    /// How often files in use are compared though no event came.
    ///
    /// For writers of which the kernel does not tell: through a shared mapping, by AIO, through a loop
    /// device. What they write is seen this much late, under another entity tag. Files in memory are
    /// compared by content. 0 compares nothing.
    #[arg(long, value_name = "TIME", env = "SPEDE_RECHECK", help_heading = CACHES)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = RECHECK_DEFAULT)]
    pub(super) recheck: Duration,

    /// What the caches are filled with at the start, repeatable.
    ///
    /// A file has a path on each line, as clients ask for it (/css/site.css); lines that begin with #
    /// are skipped. A directory below ROOT stands for all files in it. Requests do not wait for it,
    /// and nothing is pushed out for it.
    #[arg(long, value_name = "FILE|DIR", env = "SPEDE_WARM", help_heading = CACHES)]
    #[arg(value_parser = path())]
    pub(super) warm: Vec<PathBuf>,

    /// Where to remember what was asked for most, from one run to the next.
    ///
    /// Written at the end, in place of what it was; read at the start like a list of --warm. The
    /// directory that it is in must be writable.
    #[arg(long, value_name = "FILE", env = "SPEDE_CACHE_STATE", help_heading = CACHES)]
    #[arg(value_parser = path())]
    pub(super) cache_state: Option<PathBuf>,

    /// How files are read: auto, uring, threads or blocking.
    ///
    /// uring is io_uring and threads are helper threads: they wait for the disk, the loop never
    /// does. auto takes uring, or threads where the kernel or a sandbox refuses it. blocking reads
    /// on the loop, so that a slow disk holds up everybody.
    #[arg(long, value_name = "ENGINE", env = "SPEDE_DISK", help_heading = DISK)]
    #[arg(value_parser = engine(), default_value = "auto")]
    pub(super) disk: EngineChoice,

    /// Jobs that the disk is given at once.
    ///
    /// As many threads are made, of the kernel or of the process, when they are needed. More of
    /// them serve more cold files at once, as far as the disk works on several requests together.
    #[arg(long, value_name = "N", env = "SPEDE_DISK_DEPTH", help_heading = DISK)]
    #[arg(value_parser = count(1..=DISK_DEPTH_MAX), default_value = "64")]
    pub(super) disk_depth: usize,

    /// Jobs that may wait for their turn; past it 503.
    ///
    /// Clients have their turns one after the other, whatever one of them asks for. When all
    /// places are taken, the client with most of them gives one up.
    #[arg(long, value_name = "N", env = "SPEDE_DISK_QUEUE", help_heading = DISK)]
    #[arg(value_parser = count(1..=COUNT_MAX), default_value = "4096")]
    pub(super) disk_queue: usize,

    /// How long a request may wait for the disk; then 504.
    ///
    /// For disks and servers of files that never answer. What is cached is served meanwhile.
    #[arg(long, value_name = "TIME", env = "SPEDE_DISK_TIMEOUT", help_heading = DISK)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "30s")]
    pub(super) disk_timeout: Duration,

    /// Most connections at once [default: what RLIMIT_NOFILE and memory leave].
    ///
    /// By default no more than a quarter of the memory there is has room for, at 6,200 bytes each.
    /// Further ones wait in the queue of the kernel until one has ended.
    #[arg(long, value_name = "N", env = "SPEDE_CONNECTIONS", help_heading = LIMITS)]
    #[arg(value_parser = count(1..=COUNT_MAX))]
    pub(super) connections: Option<usize>,

    /// Most connections of one address once half are taken, in percent.
    ///
    /// Of IPv6 the first 64 bits count as the address. Further connections of it are closed. 100 sets
    /// no bound. When all places are taken, the connection that was idle longest gives way.
    #[arg(long, value_name = "PERCENT", env = "SPEDE_ADDRESS_SHARE", help_heading = LIMITS)]
    #[arg(value_parser = count(1..=100), default_value = "25")]
    pub(super) address_share: usize,

    /// Addresses that may hold any number, repeatable: ADDR, ADDR/LEN.
    ///
    /// A proxy stands for many clients. Those on this machine are trusted unless the option is given;
    /// none trusts nobody. What comes through a Unix socket always comes from a proxy.
    #[arg(long, value_name = "ADDR", env = "SPEDE_TRUSTED_PROXY", help_heading = LIMITS)]
    #[arg(value_parser = networks(), value_delimiter = ',', default_value = "127.0.0.0/8,::1")]
    pub(super) trusted_proxy: Vec<Option<Network>>,

    /// Longest request target; past it 414.
    #[arg(long, value_name = "SIZE", env = "SPEDE_TARGET_MAX", help_heading = LIMITS)]
    #[arg(value_parser = length(1..=HEAD_LENGTH_MAX), default_value = "8KiB")]
    pub(super) target_max: usize,

    /// Longest request head; past it 431.
    ///
    /// From the request line to the empty line. Must leave room beside the longest target.
    #[arg(long, value_name = "SIZE", env = "SPEDE_HEAD_MAX", help_heading = LIMITS)]
    #[arg(value_parser = length(HEAD_LENGTH_MIN..=HEAD_LENGTH_MAX), default_value = "16KiB")]
    pub(super) head_max: usize,

    /// Most field lines in a head, at most 256; past it 431.
    #[arg(long, value_name = "N", env = "SPEDE_FIELDS_MAX", help_heading = LIMITS)]
    #[arg(value_parser = count(1..=FIELD_COUNT_MAX), default_value = "100")]
    pub(super) fields_max: usize,

    /// Longest request body; past it 413.
    ///
    /// Nothing here has a use for a body: it is read and thrown away, so that the connection can
    /// be kept.
    #[arg(long, value_name = "SIZE", env = "SPEDE_BODY_MAX", help_heading = LIMITS)]
    #[arg(value_parser = size(0..=BODY_LENGTH_MAX), default_value = "1MiB")]
    pub(super) body_max: u64,

    /// Most ranges in a response; past it the whole file is sent.
    ///
    /// Counted once those that overlap or touch are one; how many a request may list is bounded by
    /// --head-max. 0 ignores every Range field.
    #[arg(long, value_name = "N", env = "SPEDE_RANGES_MAX", help_heading = LIMITS)]
    #[arg(value_parser = count(0..=RANGE_COUNT_MAX), default_value = "256")]
    pub(super) ranges_max: usize,

    /// How long a request head may take, from its first byte.
    #[arg(long, value_name = "TIME", env = "SPEDE_HEAD_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "10s")]
    pub(super) head_timeout: Duration,

    /// How long a request body may take, from the end of its head.
    #[arg(long, value_name = "TIME", env = "SPEDE_BODY_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "30s")]
    pub(super) body_timeout: Duration,

    /// How long a connection may be without a request.
    #[arg(long, value_name = "TIME", env = "SPEDE_IDLE_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "60s")]
    pub(super) idle_timeout: Duration,

    /// How long a peer may acknowledge no byte of its response.
    ///
    /// Each byte starts the time again: a slow peer is not a stalled one, nor is a player that pauses
    /// for less. A peer that has stopped is noticed up to a quarter of it late.
    #[arg(long, value_name = "TIME", env = "SPEDE_SEND_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(TIMEOUT_MIN..=TIME_MAX), default_value = "60s")]
    pub(super) send_timeout: Duration,

    /// Least bytes in a second that a peer has to take; 0: any will do.
    ///
    /// On average since its response began to wait for it, and over --send-timeout at least. Ends
    /// those who hold a connection by reading very slowly, and slow lines with them.
    #[arg(long, value_name = "SIZE", env = "SPEDE_SEND_RATE_MIN", help_heading = TIME_OUTS)]
    #[arg(value_parser = size(0..=SEND_RATE_MAX), default_value = "0")]
    pub(super) send_rate_min: u64,

    /// How long a peer may be silent after its last response.
    ///
    /// Closing at once would reset the connection if the peer still sends, and it could lose the
    /// response. What it sends is taken and dropped until it is silent for so long.
    #[arg(long, value_name = "TIME", env = "SPEDE_LINGER_TIMEOUT", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = "5s")]
    pub(super) linger_timeout: Duration,

    /// How long to take what a peer sends after its last response.
    ///
    /// Some clients read nothing before they have sent all of a file, though it is refused.
    #[arg(long, value_name = "TIME", env = "SPEDE_LINGER_TIME", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = "30s")]
    pub(super) linger_time: Duration,

    /// How long responses may go on after SIGTERM or SIGINT.
    ///
    /// A second signal ends the process at once.
    #[arg(long, value_name = "TIME", env = "SPEDE_GRACE", help_heading = TIME_OUTS)]
    #[arg(value_parser = duration(Duration::ZERO..=TIME_MAX), default_value = "30s")]
    pub(super) grace: Duration,

    /// Where requests are written down: off, - or PATH.
    ///
    /// A file is appended to, and opened again at SIGUSR1; a FIFO need not have a reader yet. - is
    /// standard output, and so is /dev/stdout.
    #[arg(long, value_name = "WHERE", env = "SPEDE_ACCESS_LOG", help_heading = OBSERVATION)]
    #[arg(value_parser = access_log(), default_value = "off")]
    pub(super) access_log: AccessLog,

    /// What its lines look like: combined or json.
    ///
    /// json says besides which cache knew what was needed, and how long the disk took.
    #[arg(long, value_name = "FORMAT", env = "SPEDE_ACCESS_LOG_FORMAT", help_heading = OBSERVATION)]
    #[arg(value_parser = log_format(), default_value = "combined")]
    pub(super) access_log_format: LogFormat,

    /// Say in responses which cache knew what was needed (Server-Timing).
    ///
    /// What no cache was asked for says nothing. Everybody sees it, so it is for times of looking into something.
    #[arg(long, value_name = "SWITCH", env = "SPEDE_SERVER_TIMING", help_heading = OBSERVATION)]
    #[arg(value_parser = server_timing(), default_value = "off", num_args = 0..=1)]
    #[arg(default_missing_value = "on", require_equals = true)]
    pub(super) server_timing: ServerTiming,

    /// Who sees /status: loopback, off, all or ADDR:PORT [default: see --help].
    ///
    /// loopback is the people of this machine: root, users from 1000 on and the user of the server,
    /// asked of the kernel for each connection. Services, and so proxies, get what the site has at
    /// /status. ADDR:PORT serves it on a listener of its own, to whoever reaches it. Default: loopback
    /// where all of --listen is loopback or a Unix socket; else a listener of its own at
    /// 127.0.0.1:8081, or none where that is taken.
    #[arg(long, value_name = "WHO", env = "SPEDE_STATUS", help_heading = OBSERVATION)]
    #[arg(value_parser = status())]
    pub(super) status: Option<StatusAccess>,
}
