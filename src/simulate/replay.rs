//! Replays a trace through caches of several sizes, on one thread per processor.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::caches::{Caches, ContentCaches, Outcome, PathDecision};
use super::row::Row;
use super::trace::{Request, ResponseKind, Trace};
use crate::clock::Now;
use crate::settings::CacheBudget;
use crate::sys::file::{FileTime, FileVersion};

/// Requests between two updates of the progress bar.
const PROGRESS_EVERY: usize = 1 << 16;

/// Shared by all runs.
struct Plan<'a> {
    trace: &'a Trace,
    today: &'a CacheBudget,
    descriptor_count_max: usize,
    bar: &'a ProgressBar,
}

/// Replays the trace for each size of the file cache with the current path cache, and for each size of the
/// path cache with the current file cache; the current sizes are among them. Sizes are in ascending order,
/// and so are the rows. `O(requests × sizes)`, less where a smaller cache already held everything.
///
/// The path cache does not depend on the size of the file cache, except for the times of revalidation. So its
/// decisions at the current size are recorded once and used for all sizes of the file cache.
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
    let decisions: Mutex<Vec<PathDecision>> = Mutex::default();
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
                let store = ContentCaches::new(today, descriptor_count_max);
                let caches = plan.run(size, Some(store), |decision| taken.push(decision));
                *locked(&decisions) = taken;
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
    let decisions = decisions
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let map_today = locked(&map_today).take();
    let map = for_each_size(
        map_sizes,
        |_| false,
        |size, smaller| {
            // Without evictions a larger cache has the same result.
            let held_all = |row: &&Row| row.stats.evictions + row.stats.rejected == 0;
            match (
                map_today.filter(|row| row.size == size),
                smaller.iter().find(held_all),
            ) {
                (Some(row), _) => plan.passed(&row, size),
                (None, Some(row)) => plan.passed(row, size),
                (None, None) => plan.run_store(size, &decisions),
            }
        },
    );
    (map, path)
}

/// A row for each size, on one thread per processor. The sizes in `first` start first, the others in
/// ascending order; `make` gets the finished rows of smaller sizes.
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
    /// The row of another size with the same result.
    fn passed(&self, row: &Row, size: u64) -> Row {
        self.bar.inc(self.trace.requests.len() as u64);
        Row { size, ..*row }
    }

    /// Replays the whole trace with a path cache of this size.
    fn run(
        &self,
        path_count_max: u64,
        store: Option<ContentCaches>,
        mut each: impl FnMut(PathDecision),
    ) -> Caches {
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
            // The number of a path is a shorter key than its bytes.
            let number = request.path.to_ne_bytes();
            let key = match &path.too_long {
                Some(raw) => &raw[..],
                None => &number[..],
            };
            each(caches.request(key, outcome(request, path.version), &now));
        }
        caches
    }

    /// Replays the whole trace with a file cache of this size and the recorded decisions of the path cache.
    fn run_store(&self, map_bytes_max: u64, decisions: &[PathDecision]) -> Row {
        let budget = CacheBudget {
            map_bytes_max,
            ..*self.today
        };
        let trace = self.trace;
        let mut store = ContentCaches::new(&budget, self.descriptor_count_max);
        for (count, (request, decision)) in trace.requests.iter().zip(decisions).enumerate() {
            self.progress(count);
            let version = trace.paths[request.path as usize].version;
            store.request(outcome(request, version), *decision);
        }
        store.row(map_bytes_max)
    }

    fn progress(&self, count: usize) {
        if count % PROGRESS_EVERY == PROGRESS_EVERY - 1 {
            self.bar.inc(PROGRESS_EVERY as u64);
        }
    }
}

/// The time of a request. Its rendered Date is not used and stays that of the start.
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

fn outcome(request: &Request, version: Option<FileVersion>) -> Outcome {
    let Some(version) = version else {
        return Outcome::Invalid;
    };
    match request.response {
        ResponseKind::NotFound => Outcome::NotFound,
        ResponseKind::Redirect => Outcome::Redirect,
        ResponseKind::Head => Outcome::File(version, None),
        ResponseKind::Content => Outcome::File(version, Some(request.bytes)),
    }
}
