//! The numbers of the store for /status and /metrics: plain data, gathered by its own parts.
//!
//! Field names are part of the interface, see `observe/status/numbers.rs`.

use serde::Serialize;

use super::Store;
use super::holdings::Holdings;
use crate::cache::curve::Curve;
use crate::cache::stats::{CacheStats, MinuteStats};
use crate::cache::top::Top;
use crate::clock::Now;
use crate::histogram::{Bucket, micros};

pub(crate) use super::outdated::OutdatedNumbers;
pub(crate) use super::reopen::ReopenNumbers;
pub(crate) use super::warming::WarmNumbers;

/// Everything that the store counts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreNumbers {
    /// The caches: `path`, `map`, `descriptor`.
    pub caches: Vec<CacheNumbers>,
    /// The disk engine.
    pub disk: DiskNumbers,
    /// Freshness.
    pub freshness: FreshnessNumbers,
    /// Prefetching.
    pub warming: WarmNumbers,
    /// Precompressed files that are not used.
    pub variants: OutdatedNumbers,
    /// Top files.
    pub top: TopNumbers,
}

impl Store {
    /// The current numbers. First removes dropped entries from the counts of directories.
    pub(crate) fn numbers(&mut self, now: &Now) -> StoreNumbers {
        self.freshness.watch.directories.collect();
        StoreNumbers {
            caches: self.cache_numbers(),
            disk: self.disk_numbers(),
            freshness: self.freshness_numbers(now),
            warming: self.prefetch.warming.numbers(),
            variants: self.paths.outdated.numbers(),
            top: TopNumbers::of(&self.paths.top),
        }
    }

    fn cache_numbers(&self) -> Vec<CacheNumbers> {
        let paths = &self.paths.cache;
        let Holdings {
            maps, descriptors, ..
        } = &self.contents.held;
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

    fn disk_numbers(&self) -> DiskNumbers {
        DiskNumbers {
            engine: self.engine.name,
            reason: self.engine.reason.clone(),
            depth: self.jobs.queue().depth(),
            waiting: self.jobs.queue().waiting_count(),
            waiting_capacity: self.jobs.queue().waiting_count_max(),
            refused: self.jobs.queue().refused(),
            job_us: self.jobs.queue().latency().to_vec(),
            job_us_total: micros(self.jobs.queue().latency().total()),
            look_ups: self.jobs.look_up_count(),
            windows: self.jobs.read_count(),
            mappings_gone: self.contents.mappings_gone,
        }
    }

    fn freshness_numbers(&self, now: &Now) -> FreshnessNumbers {
        let generation = self.paths.cache.generation();
        let stale = self.freshness.staleness.numbers(generation, now);
        let directories = &self.freshness.watch.directories;
        let (polled_directories, polled_entries) = directories.polled();
        let rechecks = self.freshness.rechecks.numbers();
        FreshnessNumbers {
            revalidate_ms: self.freshness.revalidate_ms(),
            worst_staleness_ms: self.freshness.worst_staleness_ms().max(stale.oldest_ms),
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
            root_watched: self.freshness.roots.are_watched(),
            root_switches: self.freshness.roots.switches,
            overflows: self.freshness.overflows,
            mount_changes: self.freshness.mount_changes(),
            watched_files: self.freshness.watch.count(),
            watches_refused: self.freshness.watch.refused(),
        }
    }
}

/// One cache.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CacheNumbers {
    /// `path`, `map` or `descriptor`.
    pub name: &'static str,
    /// Entries now.
    pub entries: usize,
    /// Capacity in entries.
    pub capacity: usize,
    /// Negative entries, if the cache can hold them.
    pub negative_entries: Option<usize>,
    /// Size of the cached files in bytes, if it is limited.
    pub bytes: Option<u64>,
    /// Capacity in bytes.
    pub capacity_bytes: Option<u64>,
    /// Its counters.
    #[serde(flatten)]
    pub stats: CacheStats,
    /// Hit ratio; `null` before the first lookup.
    pub hit_ratio: Option<f64>,
    /// Byte hit ratio.
    pub hit_ratio_bytes: Option<f64>,
    /// The last minute.
    pub minute: MinuteStats,
    /// Estimated hit ratio by size; `null` until there were enough lookups.
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
    /// Why it was selected.
    pub reason: String,
    /// Jobs in flight.
    pub depth: usize,
    /// Queued jobs.
    pub waiting: usize,
    /// Capacity of the queue.
    pub waiting_capacity: usize,
    /// Jobs refused since the start because the queue was full.
    pub refused: u64,
    /// Histogram of the times that jobs were at the engine.
    pub job_us: Vec<Bucket>,
    /// Sum of these times in microseconds.
    pub job_us_total: u64,
    /// Lookups in flight for requests.
    pub look_ups: usize,
    /// Windows of long files that are being read.
    pub windows: usize,
    /// Mappings dropped since the start because the kernel had reclaimed their pages.
    pub mappings_gone: u64,
}

/// Top files by the requested path, in descending order.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopNumbers {
    /// By bytes of content.
    pub by_bytes: Vec<TopBytes>,
    /// By requests that waited for a lookup.
    pub by_misses: Vec<TopMisses>,
}

/// A file and its bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopBytes {
    /// Its path as requested.
    pub path: String,
    /// Bytes of content.
    pub bytes: u64,
}

/// A file and its waiting requests.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TopMisses {
    /// Its path as requested.
    pub path: String,
    /// Requests.
    pub misses: u64,
    /// Maximum error: how many fewer it may be.
    pub excess_max: u64,
}

impl TopNumbers {
    fn of(top: &Top) -> TopNumbers {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let by_bytes = top.by_bytes().into_iter().map(|one| TopBytes {
            path: text(one.key.path()),
            bytes: one.bytes,
        });
        let by_misses = top.by_misses().into_iter().map(|one| TopMisses {
            path: text(one.key.path()),
            misses: one.count,
            excess_max: one.excess_max,
        });
        TopNumbers {
            by_bytes: by_bytes.collect(),
            by_misses: by_misses.collect(),
        }
    }
}

/// Freshness of the caches.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FreshnessNumbers {
    // One field a member of /status.
    /// Maximum staleness of unwatched entries, in milliseconds.
    pub revalidate_ms: u64,
    /// Maximum staleness of the current entries, in milliseconds: 0 if all of them are watched.
    pub worst_staleness_ms: u64,
    /// Interval of comparisons without an event, in milliseconds; 0: never.
    pub recheck_ms: u64,
    /// Entries compared without an event.
    pub rechecked: u64,
    /// Changed entries among these.
    pub rechecks_changed: u64,
    /// Revalidations of polled entries that began before they expired, so that no request waits for them.
    pub checks_ahead: u64,
    /// Maximum age of stale responses while the storage does not respond, in milliseconds.
    pub stale_limit_ms: u64,
    /// Stale responses since the start.
    pub stale_answers: u64,
    /// Entries that are served stale now.
    pub stale_entries: usize,
    /// Age of the oldest of them in milliseconds.
    pub stale_oldest_ms: u64,
    /// Watched directories.
    pub watched_directories: usize,
    /// Directories with polled entries.
    pub polled_directories: usize,
    /// Polled entries.
    pub polled_entries: usize,
    /// Whether the path of the root is watched.
    pub root_watched: bool,
    /// Number of times that another directory became the root.
    pub root_switches: u64,
    /// Number of times that the kernel lost events, so that everything was revalidated.
    pub overflows: u64,
    /// Number of times that mounts at, below or above the root have changed, so that everything was revalidated.
    pub mount_changes: u64,
    /// Watched mapped files.
    pub watched_files: usize,
    /// Watches that were refused by the kernel or by `--watch-directories`. Such files are not mapped, such
    /// directories are polled.
    pub watches_refused: u64,
}
