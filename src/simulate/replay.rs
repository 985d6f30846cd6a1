//! The same trace through caches of several sizes, on as many threads as there are processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::caches::{Caches, LeadsTo, Step, Store};
use super::trace::{Answered, Request, Trace};
use crate::cache::stats::CacheStats;
use crate::clock::Now;
use crate::settings::CacheBudget;
use crate::sys::file::{FileTime, FileVersion};

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

/// What all runs share.
struct Plan<'a> {
    trace: &'a Trace,
    today: &'a CacheBudget,
    descriptor_count_max: usize,
    bar: &'a ProgressBar,
}

/// Replays the trace for each size of the map cache with the path cache of `today`, and for each
/// size of the path cache with the map cache of `today`, both of which are among the sizes. Sizes
/// are in ascending order, and so are the rows. `O(requests × sizes)`, less where a smaller cache
/// already held everything.
///
/// The path cache does not depend on the size of the map cache, except for when its entries are
/// checked; so what it decided today is written down once, for the map caches of all sizes.
pub(super) fn replay(
    trace: &Trace,
    today: &CacheBudget,
    descriptor_count_max: usize,
    map_sizes: &[u64],
    path_sizes: &[u64],
    bar: &ProgressBar,
) -> (Vec<Row>, Vec<Row>) {
    let plan = Plan {
        trace,
        today,
        descriptor_count_max,
        bar,
    };
    let steps: Mutex<Vec<Step>> = Mutex::default();
    let map_today: Mutex<Option<Row>> = Mutex::default();
    let is_today = |size: u64| size == today.path_count_max as u64;
    let path = for_each_size(path_sizes, is_today, |size, enough: &[Row]| {
        let held_all = |row: &&Row| {
            row.stats.evictions + row.stats.rejected == 0 && row.entry_count < row.size
        };
        match enough.iter().find(held_all) {
            Some(row) if !is_today(size) => plan.passed(row, size),
            _ if is_today(size) => {
                let mut taken = Vec::with_capacity(trace.requests.len());
                let store = Store::new(today, descriptor_count_max);
                let caches = plan.run(size, Some(store), |step| taken.push(step));
                *locked(&steps) = taken;
                let map = caches
                    .store
                    .as_ref()
                    .map(|store| store.row(today.map_bytes_max));
                *locked(&map_today) = map;
                caches.row(size)
            }
            _ => plan.run(size, None, |_| {}).row(size),
        }
    });
    let steps = steps.into_inner().unwrap_or_else(PoisonError::into_inner);
    let map_today = locked(&map_today).take();
    let map = for_each_size(
        map_sizes,
        |_| false,
        |size, smaller| {
            // Nothing had to go, so nothing has to where there is more room.
            let held_all = |row: &&Row| row.stats.evictions + row.stats.rejected == 0;
            match (
                map_today.filter(|row| row.size == size),
                smaller.iter().find(held_all),
            ) {
                (Some(row), _) => plan.passed(&row, size),
                (None, Some(row)) => plan.passed(row, size),
                (None, None) => plan.run_store(size, &steps),
            }
        },
    );
    (map, path)
}

/// A row for each size, made by as many threads as there are processors. Those that are `first` are
/// begun first, then small ones; `make` is given the rows of smaller sizes that are there already.
fn for_each_size(
    sizes: &[u64],
    first: impl Fn(u64) -> bool,
    make: impl Fn(u64, &[Row]) -> Row + Sync,
) -> Vec<Row> {
    let mut order = sizes.to_vec();
    order.sort_by_key(|size| (!first(*size), *size));
    let rows: Mutex<Vec<Row>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(size) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut smaller = locked(&rows).clone();
            smaller.retain(|row| row.size < *size);
            let row = make(*size, &smaller);
            locked(&rows).push(row);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(order.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|row| row.size);
    rows
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plan<'_> {
    /// The row of a size that gives what another one gave.
    fn passed(&self, row: &Row, size: u64) -> Row {
        self.bar.inc(self.trace.requests.len() as u64);
        Row { size, ..*row }
    }

    /// The whole trace through a path cache of this size.
    fn run(&self, path_count_max: u64, store: Option<Store>, mut each: impl FnMut(Step)) -> Caches {
        let budget = CacheBudget {
            path_count_max: usize::try_from(path_count_max).unwrap_or(usize::MAX),
            ..*self.today
        };
        let trace = self.trace;
        let start_ms = trace.requests.first().map_or(0, |first| first.time_ms);
        let epoch = FileTime {
            seconds: start_ms.div_euclid(1_000),
            nanoseconds: 0,
        };
        let start = Now::at(Instant::now(), epoch);
        let mut caches = Caches::new(&budget, store, &start);
        for (count, request) in trace.requests.iter().enumerate() {
            self.progress(count);
            let path = &trace.paths[request.path as usize];
            let now = moment(&start, start_ms, request.time_ms);
            // Its number stands for a path: it is as good a key, and nearer at hand.
            let number = request.path.to_ne_bytes();
            let key = match &path.too_long {
                Some(raw) => &raw[..],
                None => &number[..],
            };
            each(caches.request(key, leads_to(request, path.version), &now));
        }
        caches
    }

    /// The whole trace through a map cache of this size, with what the path cache decided.
    fn run_store(&self, map_bytes_max: u64, steps: &[Step]) -> Row {
        let budget = CacheBudget {
            map_bytes_max,
            ..*self.today
        };
        let trace = self.trace;
        let mut store = Store::new(&budget, self.descriptor_count_max);
        for (count, (request, step)) in trace.requests.iter().zip(steps).enumerate() {
            self.progress(count);
            let version = trace.paths[request.path as usize].version;
            store.request(leads_to(request, version), *step);
        }
        store.row(map_bytes_max)
    }

    fn progress(&self, count: usize) {
        if count % PROGRESS_EVERY == PROGRESS_EVERY - 1 {
            self.bar.inc(PROGRESS_EVERY as u64);
        }
    }
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

fn leads_to(request: &Request, version: Option<FileVersion>) -> LeadsTo {
    let Some(version) = version else {
        return LeadsTo::NoName;
    };
    match request.answered {
        Answered::Missing => LeadsTo::Nothing,
        Answered::Moved => LeadsTo::Redirect,
        Answered::Head => LeadsTo::File(version, None),
        Answered::Content => LeadsTo::File(version, Some(request.bytes)),
    }
}
