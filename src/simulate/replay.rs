//! The same trace through caches of several sizes, on as many threads as there are processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::caches::{Caches, Given, LeadsTo};
use super::trace::{Answered, Length, Request, Trace};
use crate::cache::stats::CacheStats;
use crate::clock::Now;
use crate::server::settings::CacheBudget;
use crate::sys::file::FileTime;

/// Requests between two movements of the bar.
const PROGRESS_EVERY: usize = 1 << 16;

/// What a cache of one size gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its size: bytes of mappings, or paths.
    pub size: u64,
    /// Entries at the end of the log.
    pub entry_count: u64,
    /// Bytes of mappings at the end; 0 for paths.
    pub bytes_used: u64,
    /// Requests that it could have answered.
    pub requests: u64,
    /// Requests that it answered.
    pub hits: u64,
    /// Those of the hits that needed a check with the disk first.
    pub checks: u64,
    /// Bytes of content of those requests.
    pub bytes: u64,
    /// Bytes of content of those hits.
    pub hit_bytes: u64,
    /// The counters that a server would show for this cache.
    pub stats: CacheStats,
}

/// Which cache has another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Varied {
    Map,
    Path,
}

/// One run: the cache that has another size, and that size.
#[derive(Clone, Copy, Debug)]
struct Run {
    varied: Varied,
    size: u64,
}

/// Replays the trace for each size of the map cache with the path cache of `today`, and for each
/// size of the path cache with the map cache of `today`. Sizes are in ascending order, and so are
/// the rows. `O(requests × sizes)`, less where a smaller cache already held everything.
pub(super) fn replay(
    trace: &Trace,
    today: &CacheBudget,
    descriptor_count_max: usize,
    map_sizes: &[u64],
    path_sizes: &[u64],
    bar: &ProgressBar,
) -> (Vec<Row>, Vec<Row>) {
    let run = |varied| {
        move |size: &u64| Run {
            varied,
            size: *size,
        }
    };
    let mut runs: Vec<Run> = map_sizes.iter().map(run(Varied::Map)).collect();
    runs.extend(path_sizes.iter().map(run(Varied::Path)));
    // Small ones first: what fits into one fits into all larger ones.
    runs.sort_by_key(|run| match run.varied {
        Varied::Map => map_sizes.iter().position(|size| *size == run.size),
        Varied::Path => path_sizes.iter().position(|size| *size == run.size),
    });
    let rows: Mutex<Vec<(Varied, Row)>> = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let enough = locked(&rows).iter().find_map(|(varied, row)| {
                let is_enough = *varied == run.varied && holds_all(run.varied, row, today);
                (is_enough && row.size <= run.size).then_some(*row)
            });
            let row = match enough {
                Some(row) => {
                    bar.inc(trace.requests.len() as u64);
                    Row {
                        size: run.size,
                        ..row
                    }
                }
                None => one(trace, *run, today, descriptor_count_max, bar),
            };
            locked(&rows).push((run.varied, row));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(runs.len()) {
            scope.spawn(work);
        }
        work();
    });
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    let of = |wanted| {
        let mut rows: Vec<Row> = rows
            .iter()
            .filter(|(varied, _)| *varied == wanted)
            .map(|(_, row)| *row)
            .collect();
        rows.sort_by_key(|row| row.size);
        rows
    };
    (of(Varied::Map), of(Varied::Path))
}

fn locked(rows: &Mutex<Vec<(Varied, Row)>>) -> std::sync::MutexGuard<'_, Vec<(Varied, Row)>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a cache never had to push anything out or turn it away, so that more room gives the same.
fn holds_all(varied: Varied, row: &Row, today: &CacheBudget) -> bool {
    let is_used_up = match varied {
        Varied::Map => row.size < today.map_file_length_max,
        Varied::Path => row.entry_count >= row.size,
    };
    row.stats.evictions == 0 && !is_used_up
}

fn one(
    trace: &Trace,
    run: Run,
    today: &CacheBudget,
    descriptor_count_max: usize,
    bar: &ProgressBar,
) -> Row {
    let mut budget = *today;
    match run.varied {
        Varied::Map => budget.map_bytes_max = run.size,
        Varied::Path => budget.path_count_max = usize::try_from(run.size).unwrap_or(usize::MAX),
    }
    let start_ms = trace.requests.first().map_or(0, |first| first.time_ms);
    let epoch = FileTime {
        seconds: start_ms.div_euclid(1_000),
        nanoseconds: 0,
    };
    let start = Now::at(Instant::now(), epoch);
    let mut caches = Caches::new(budget, descriptor_count_max, &start);
    for (count, request) in trace.requests.iter().enumerate() {
        if count % PROGRESS_EVERY == PROGRESS_EVERY - 1 {
            bar.inc(PROGRESS_EVERY as u64);
        }
        let path = &trace.paths[request.path as usize];
        let now = moment(&start, start_ms, request.time_ms);
        caches.request(&path.raw, leads_to(trace, request, path.file), &now);
    }
    bar.inc((trace.requests.len() % PROGRESS_EVERY) as u64);
    row(&caches, run)
}

/// The moment of a request; its rendered Date is never looked at, so it stays that of the start.
fn moment(start: &Now, start_ms: i64, time_ms: i64) -> Now {
    let since = Duration::from_millis(u64::try_from(time_ms - start_ms).unwrap_or(0));
    Now {
        monotonic: start
            .monotonic
            .checked_add(since)
            .unwrap_or(start.monotonic),
        wall: FileTime {
            seconds: time_ms.div_euclid(1_000),
            nanoseconds: 0,
        },
        ..*start
    }
}

fn leads_to(trace: &Trace, request: &Request, file: Option<u32>) -> LeadsTo {
    let Some(number) = file else {
        return LeadsTo::NoName;
    };
    match request.answered {
        Answered::Missing => LeadsTo::Nothing,
        Answered::Moved => LeadsTo::Redirect,
        answered => {
            let file = &trace.files[number as usize];
            let mut version = file.version;
            if file.length == Length::Unknown && file.is_sent {
                version.length = u64::MAX;
            }
            let content = (answered == Answered::Content).then_some(request.bytes);
            LeadsTo::File(version, content)
        }
    }
}

fn row(caches: &Caches, run: Run) -> Row {
    let (path_count, map_count, map_bytes) = caches.fill();
    let (path_stats, map_stats) = caches.stats();
    let (entries, bytes_used, given, stats): (_, _, Given, _) = match run.varied {
        Varied::Map => (map_count, map_bytes, caches.by_map, map_stats),
        Varied::Path => (path_count, 0, caches.by_path, path_stats),
    };
    Row {
        size: run.size,
        entry_count: entries as u64,
        bytes_used,
        requests: given.requests,
        hits: given.hits,
        checks: given.checks,
        bytes: given.bytes,
        hit_bytes: given.hit_bytes,
        stats,
    }
}
