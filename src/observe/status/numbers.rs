//! The numbers of the status page, gathered for one answer.
//!
//! Field names are part of the interface: they are added, not renamed. `schema` counts changes
//! that are not additions. Only files that were served are named.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::memory::MemoryNumbers;
use crate::cache::curve::Curve;
use crate::cache::stats::{CacheStats, MinuteStats};
use crate::cache::top::Top;
use crate::conn::response_stats::ResponseStats;
use crate::histogram::{BUCKET_COUNT, Histogram};
use crate::observe::iterations::Iterations;
use crate::store::warming::WarmNumbers;
use crate::store::{OutdatedNumbers, StaleNumbers, Store};
use crate::sys::usage::ThreadUsage;

/// Everything that is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Version of these field names.
    pub schema: u32,
    /// Name of the program.
    pub server: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Requests answered.
    pub requests: RequestNumbers,
    /// Bytes sent, by way of sending.
    pub bytes_sent: SentNumbers,
    /// The caches: `path`, `map`, `descriptor`.
    pub caches: Vec<CacheNumbers>,
    /// The disk engine.
    pub disk: DiskNumbers,
    /// The loop.
    #[serde(rename = "loop")]
    pub turns: IterationNumbers,
    /// Freshness.
    pub freshness: FreshnessNumbers,
    /// What the caches were filled with before anybody asked.
    pub warming: WarmNumbers,
    /// Precompressed files that go unused.
    pub variants: OutdatedNumbers,
    /// Files that most goes to.
    pub top: TopNumbers,
    /// Memory, and the budget for it.
    pub memory: MemoryNumbers,
    /// Bytes of access log that could not be written.
    pub access_log_lost_bytes: u64,
    /// Lines of access log lost, those included of which a part was written.
    pub access_log_lost_lines: u64,
}

/// Open connections by what they are doing.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct ByActivity {
    /// Between requests.
    pub idle: usize,
    /// In the middle of a request.
    pub receiving: usize,
    /// Waiting for the disk, before an answer or within one.
    pub waiting: usize,
    /// With bytes to be sent.
    pub sending: usize,
    /// After the last answer.
    pub lingering: usize,
}

/// Connections.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ConnectionNumbers {
    /// Open now.
    pub open: usize,
    /// Those by what they are doing.
    pub by_state: ByActivity,
    /// Most that may be open.
    pub capacity: usize,
    /// Taken since the start.
    pub accepted: u64,
    /// Times that accepting had to pause for want of descriptors or room.
    pub accept_pauses: u64,
    /// Idle connections closed since the start because another needed the place or the descriptor.
    pub idle_given_up: u64,
    /// Connections closed at once since the start because their address had its share.
    pub refused_by_share: u64,
    /// Connections closed since the start because their buffers took more than their share of memory.
    pub closed_for_memory: u64,
}

/// Requests answered since the start.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RequestNumbers {
    /// In all.
    pub total: u64,
    /// By class of their status.
    pub by_status_class: ByClass,
    /// By their status; only those that were sent.
    pub by_status: BTreeMap<u16, u64>,
}

/// Counts by class of status.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)]
pub(crate) struct ByClass {
    #[serde(rename = "2xx")]
    pub success: u64,
    #[serde(rename = "3xx")]
    pub redirection: u64,
    #[serde(rename = "4xx")]
    pub client_error: u64,
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Bytes sent since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SentNumbers {
    /// From mappings and memory, gathered.
    pub gathered: u64,
    /// By `sendfile`.
    pub sendfile: u64,
}

/// One cache.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CacheNumbers {
    /// `path`, `map` or `descriptor`.
    pub name: &'static str,
    /// Entries now.
    pub entries: usize,
    /// Entries at most.
    pub capacity: usize,
    /// Those of the entries that lead to no file, where there can be such.
    pub negative_entries: Option<usize>,
    /// Bytes of files held now, where bytes are bounded.
    pub bytes: Option<u64>,
    /// Bytes at most.
    pub capacity_bytes: Option<u64>,
    /// What it has counted.
    #[serde(flatten)]
    pub stats: CacheStats,
    /// Hits in all look-ups; `null` before the first.
    pub hit_ratio: Option<f64>,
    /// The same in bytes of content.
    pub hit_ratio_bytes: Option<f64>,
    /// The last minute.
    pub minute: MinuteStats,
    /// What another size would give; `null` until enough was seen.
    pub curve: Option<Curve>,
}

impl CacheNumbers {
    fn new(name: &'static str, entries: usize, capacity: usize, stats: CacheStats) -> CacheNumbers {
        CacheNumbers {
            name,
            entries,
            capacity,
            negative_entries: None,
            bytes: None,
            capacity_bytes: None,
            hit_ratio: stats.hit_ratio(),
            hit_ratio_bytes: stats.hit_ratio_bytes(),
            stats,
            minute: MinuteStats::default(),
            curve: None,
        }
    }
}

/// The disk engine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DiskNumbers {
    /// Its name.
    pub engine: &'static str,
    /// Why it is this one.
    pub reason: String,
    /// Jobs under way.
    pub depth: usize,
    /// Jobs that wait for their turn.
    pub waiting: usize,
    /// Jobs that may wait.
    pub waiting_capacity: usize,
    /// Jobs refused since the start, because too many waited.
    pub refused: u64,
    /// How long jobs were at the engine.
    pub job_us: Vec<Bucket>,
    /// All of those times together, in microseconds.
    pub job_us_total: u64,
    /// Look-ups that connections wait for.
    pub look_ups: usize,
    /// Windows of long files that are being read.
    pub windows: usize,
    /// Mappings dropped since the start because their pages had been taken away.
    pub mappings_gone: u64,
}

/// Files that most goes to, by the paths that they were asked for with; the first with most of all.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopNumbers {
    /// Bytes of content that they were answered with.
    pub by_bytes: Vec<TopBytes>,
    /// Requests that waited for a look-up at the disk.
    pub by_misses: Vec<TopMisses>,
}

/// A file and its bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopBytes {
    /// As it was asked for.
    pub path: String,
    /// Bytes of content.
    pub bytes: u64,
}

/// A file and those who waited for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopMisses {
    /// As it was asked for.
    pub path: String,
    /// Requests.
    pub misses: u64,
    /// How many fewer it may be.
    pub excess_max: u64,
}

impl TopNumbers {
    fn of(top: &Top) -> TopNumbers {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let by_bytes = top.by_bytes().into_iter().map(|one| TopBytes {
            path: text(&one.path),
            bytes: one.bytes,
        });
        let by_misses = top.by_misses().into_iter().map(|one| TopMisses {
            path: text(&one.path),
            misses: one.count,
            excess_max: one.excess_max,
        });
        TopNumbers {
            by_bytes: by_bytes.collect(),
            by_misses: by_misses.collect(),
        }
    }
}

/// The loop: what it does between two waits.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IterationNumbers {
    /// Turns since the start.
    pub turns: u64,
    /// How long they were: how many were below each bound, in microseconds.
    pub turn_us: Vec<Bucket>,
    /// All of them together, in microseconds.
    pub turn_us_total: u64,
    /// The longest, in microseconds.
    pub longest_turn_us: u64,
    /// What took most of it.
    pub longest_turn_cause: Option<&'static str>,
    /// How long ago it was, in seconds.
    pub longest_turn_seconds_ago: Option<u64>,
    /// Times that the loop slept outside its wait: broken promises.
    pub sleeps_outside_poll: u64,
    /// What took most of the turn that the latest of them was in, as far as is known.
    pub last_sleep_cause: Option<&'static str>,
    /// How long ago it was noticed, in seconds.
    pub last_sleep_seconds_ago: Option<u64>,
    /// Pages that the loop touched and had to wait for.
    pub major_faults: u64,
    /// Times that the loop gave the processor up: about once a wait.
    pub voluntary_switches: u64,
    /// Times that the processor was taken from it.
    pub involuntary_switches: u64,
}

/// Turns or jobs of one length.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Bucket {
    /// Below this many microseconds; `null`: longer than all others.
    pub below_us: Option<u64>,
    /// Those of this length that are not below an earlier bound.
    pub count: u64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn buckets(histogram: &Histogram) -> Vec<Bucket> {
    let bucket = |(index, count): (usize, &u64)| Bucket {
        below_us: (index + 1 < BUCKET_COUNT).then(|| 1 << index),
        count: *count,
    };
    histogram.buckets().iter().enumerate().map(bucket).collect()
}

impl IterationNumbers {
    /// Of the thread that calls, which must be that of the loop.
    pub(crate) fn take(turns: &Iterations, now: Instant) -> IterationNumbers {
        let usage = ThreadUsage::now();
        let (longest, sleep) = (turns.longest(), turns.last_sleep());
        let seconds_since = |at: Instant| now.saturating_duration_since(at).as_secs();
        IterationNumbers {
            turns: turns.histogram().buckets().iter().sum(),
            turn_us: buckets(turns.histogram()),
            turn_us_total: micros(turns.histogram().total()),
            longest_turn_us: longest.map_or(0, |longest| micros(longest.lasted)),
            longest_turn_cause: longest.map(|longest| longest.cause.name()),
            longest_turn_seconds_ago: longest.map(|longest| seconds_since(longest.at)),
            sleeps_outside_poll: turns.sleeps_outside(),
            last_sleep_cause: sleep.map(|sleep| sleep.cause.name()),
            last_sleep_seconds_ago: sleep.map(|sleep| seconds_since(sleep.at)),
            major_faults: usage.major_faults,
            voluntary_switches: usage.voluntary_switches,
            involuntary_switches: usage.involuntary_switches,
        }
    }
}

/// How the caches follow the disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FreshnessNumbers {
    /// Longest time that a change may go unnoticed where nothing tells of it, in milliseconds.
    pub revalidate_ms: u64,
    /// The same for all that is remembered now: 0 when all of it is watched.
    pub worst_staleness_ms: u64,
    /// How often what is in use is compared though nothing told of a change, in milliseconds; 0: never.
    pub recheck_ms: u64,
    /// Entries so compared.
    pub rechecked: u64,
    /// Those of them that had changed.
    pub rechecks_changed: u64,
    /// Checks of polled entries that were begun before their time was over, so that nobody waits for them.
    pub checks_ahead: u64,
    /// Age up to which entries are answered from while the storage does not confirm them, in milliseconds.
    pub stale_limit_ms: u64,
    /// Answers since the start that were not confirmed in time.
    pub stale_answers: u64,
    /// Entries that are answered from so now.
    pub stale_entries: usize,
    /// How long ago the oldest of them was confirmed, in milliseconds.
    pub stale_oldest_ms: u64,
    /// Directories whose changes are told by the kernel.
    pub watched_directories: usize,
    /// Directories with entries that are checked after `revalidate_ms`.
    pub polled_directories: usize,
    /// Those entries.
    pub polled_entries: usize,
    /// Whether changes of the way to the root are told.
    pub root_watched: bool,
    /// Times that another directory became the root.
    pub root_switches: u64,
    /// Times that the kernel lost events, so that everything was checked.
    pub overflows: u64,
    /// Times that mounts at, below or above the root have changed, so that everything was checked.
    pub mount_changes: u64,
    /// Mapped files whose changes are told by the kernel.
    pub watched_files: usize,
    /// Watches that were refused, by the kernel or by `--watch-directories`: such files are not
    /// mapped, such directories polled.
    pub watches_refused: u64,
}

impl FreshnessNumbers {
    fn take(store: &Store, stale: StaleNumbers) -> FreshnessNumbers {
        let directories = &store.watch.directories;
        let (polled_directories, polled_entries) = directories.polled();
        let rechecks = store.recheck_numbers();
        FreshnessNumbers {
            revalidate_ms: store.revalidate_ms(),
            worst_staleness_ms: store.worst_staleness_ms().max(stale.oldest_ms),
            recheck_ms: rechecks.every_ms,
            rechecked: rechecks.compared,
            rechecks_changed: rechecks.changed,
            checks_ahead: stale.checks_ahead,
            stale_limit_ms: stale.limit_ms,
            stale_answers: stale.answers,
            stale_entries: stale.entries,
            stale_oldest_ms: stale.oldest_ms,
            watched_directories: directories.count(),
            polled_directories,
            polled_entries,
            root_watched: directories.is_root_watched(),
            root_switches: store.roots_served,
            overflows: store.overflows,
            mount_changes: store.mount_changes(),
            watched_files: store.watch.count(),
            watches_refused: store.watch.refused(),
        }
    }
}

/// What only the loop knows.
#[derive(Clone, Debug)]
pub(crate) struct LoopNumbers {
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Bytes sent.
    pub bytes_sent: SentNumbers,
    /// Memory.
    pub memory: MemoryNumbers,
    /// Bytes of access log lost.
    pub access_log_lost_bytes: u64,
    /// Answers that were not confirmed in time.
    pub stale: StaleNumbers,
    /// Lines of access log lost, those included of which a part was written.
    pub access_log_lost_lines: u64,
    /// Its turns.
    pub turns: IterationNumbers,
}

impl Snapshot {
    /// Gathers the numbers.
    pub(crate) fn take(
        store: &Store,
        response_stats: &ResponseStats,
        numbers: LoopNumbers,
    ) -> Snapshot {
        let LoopNumbers {
            uptime_seconds,
            connections,
            bytes_sent,
            memory,
            access_log_lost_bytes,
            stale,
            access_log_lost_lines,
            turns,
        } = numbers;
        let [_, _, success, redirection, client_error, server_error] = response_stats.by_class;
        let by_status_class = ByClass {
            success,
            redirection,
            client_error,
            server_error,
        };
        Snapshot {
            schema: 1,
            server: "spede",
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds,
            connections,
            requests: RequestNumbers {
                total: response_stats.total(),
                by_status_class,
                by_status: response_stats.by_status().collect(),
            },
            bytes_sent,
            caches: cache_numbers(store),
            disk: DiskNumbers::take(store),
            turns,
            freshness: FreshnessNumbers::take(store, stale),
            warming: store.warming.numbers(),
            variants: store.outdated.numbers(),
            top: TopNumbers::of(&store.top),
            memory,
            access_log_lost_bytes,
            access_log_lost_lines,
        }
    }
}

impl DiskNumbers {
    fn take(store: &Store) -> DiskNumbers {
        DiskNumbers {
            engine: store.disk.engine.name(),
            reason: store.engine_reason.clone(),
            depth: store.disk.engine.depth(),
            waiting: store.disk.waiting_count(),
            waiting_capacity: store.disk.waiting_count_max(),
            refused: store.disk.refused(),
            job_us: buckets(store.disk.latency()),
            job_us_total: micros(store.disk.latency().total()),
            look_ups: store.lookups.count(),
            windows: store.residency.pending_count(),
            mappings_gone: store.mappings_gone,
        }
    }
}

fn cache_numbers(store: &Store) -> Vec<CacheNumbers> {
    let Store {
        paths,
        maps,
        descriptors,
        ..
    } = store;
    let mut path = CacheNumbers::new(
        "path",
        paths.entry_count(),
        paths.entry_count_max(),
        paths.stats(),
    );
    path.negative_entries = Some(paths.negative_count());
    (path.minute, path.curve) = (paths.minute(), paths.curve());
    let count_max = maps.budget().count_max;
    let mut map = CacheNumbers::new("map", maps.entry_count(), count_max, maps.stats());
    map.bytes = Some(maps.bytes());
    map.capacity_bytes = Some(maps.budget().bytes_max);
    (map.minute, map.curve) = (maps.minute(), maps.curve());
    let count_max = descriptors.budget().count_max;
    let count = descriptors.entry_count();
    let mut descriptor = CacheNumbers::new("descriptor", count, count_max, descriptors.stats());
    descriptor.minute = descriptors.minute();
    vec![path, map, descriptor]
}
