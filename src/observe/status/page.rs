//! The status page in HTML.

use maud::{DOCTYPE, Markup, Render, html};

use super::numbers::{IterationNumbers, Snapshot};
use super::{bars, plot};
use crate::cache::stats::CacheStats;
use crate::histogram::Bucket;
use crate::store::numbers::CacheNumbers;
use crate::text::{bytes, duration, micros, number};

/// Rows of each table of top files.
const TOP_ROW_COUNT: usize = 10;

/// The page's style, a resource of its own so that nothing inline has to be allowed.
pub(super) const STYLE: &str = concat!(
    include_str!("status.css"),
    include_str!("../../plot/plot.css")
);
/// The script that refreshes the page.
pub(super) const SCRIPT: &str = include_str!("status.js");

/// The page.
pub(super) fn of(snapshot: &Snapshot) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "spede status" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="?part=style";
                script src="?part=script" defer {}
            }
            body {
                header {
                    h1 { "spede " (snapshot.version) }
                    p {
                        span id="live" role="status" { "as of when it was loaded" }
                        button id="pause" type="button" hidden { "pause" }
                        " · the same as " a href="?format=json" { "JSON" }
                        " and as " a href="/metrics" { "metrics" }
                    }
                }
                main { (content(snapshot)) }
            }
        }
    }
}

fn content(snapshot: &Snapshot) -> Markup {
    let curves = snapshot
        .store
        .caches
        .iter()
        .filter(|cache| cache.name != "descriptor");
    html! {
        p.note {
            "Up " (duration(snapshot.uptime_seconds)) ", disk engine "
            strong { (snapshot.store.disk.engine) } " (" (snapshot.store.disk.reason) ")."
        }
        section aria-labelledby="caches" {
            h2 id="caches" { "Caches" }
            (cache_table(&snapshot.store.caches))
            p.note { (freshness(snapshot)) }
            @if let Some(line) = warming(snapshot) { p.note { (line) } }
            @if let Some(line) = outdated(snapshot) { p.note { (line) } }
            @if snapshot.access_log_lost_bytes > 0 {
                p.note {
                    "Access log: " (number(snapshot.access_log_lost_lines)) " lines ("
                    (bytes(snapshot.access_log_lost_bytes)) ") could not be written."
                }
            }
        }
        section aria-labelledby="sizes" {
            h2 id="sizes" { "Hit ratio by cache size (estimate)" }
            div.pair {
                @for cache in curves { (curve(cache)) }
            }
        }
        (top_files(snapshot))
        div.pair {
            (section("requests", "Requests", &request_figures(snapshot)))
            (section("connections", "Connections", &connection_figures(snapshot)))
            (super::descriptors::section(snapshot.descriptors))
            (super::memory::section(&snapshot.memory))
            (section("disk", "Disk", &disk_figures(snapshot)))
            (section("sent", "Sent", &[
                ("from memory", bytes(snapshot.bytes_sent.gathered)),
                ("by sendfile", bytes(snapshot.bytes_sent.sendfile)),
            ]))
        }
        section aria-labelledby="loop" {
            h2 id="loop" { "Loop" }
            (figures(&loop_figures(&snapshot.iterations)))
            (promise(snapshot))
        }
        (times(snapshot))
    }
}

/// The top files by bytes and by waiting requests.
fn top_files(snapshot: &Snapshot) -> Markup {
    let top = &snapshot.store.top;
    let has_missed = snapshot
        .store
        .caches
        .iter()
        .any(|cache| cache.stats.misses > 0);
    let none = match has_missed {
        true => "No file stands out: waiting requests are spread over many.",
        false => "None yet.",
    };
    let by_bytes = top.by_bytes.iter().map(|one| (&one.path, bytes(one.bytes)));
    let by_misses = top
        .by_misses
        .iter()
        .map(|one| (&one.path, number(one.misses)));
    html! {
        section aria-labelledby="top" {
            h2 id="top" { "Top files" }
            div.pair {
                (top_table("top-bytes", "Bytes of content", "None yet.", by_bytes))
                (top_table("top-misses", "Requests that waited for a lookup", none, by_misses))
            }
        }
    }
}

fn top_table<'a>(
    id: &str,
    title: &str,
    none: &str,
    rows: impl ExactSizeIterator<Item = (&'a String, String)>,
) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby=(id) {
            h3 id=(id) { (title) }
            @if rows.len() == 0 {
                p.note { (none) }
            } @else {
                table.top aria-labelledby=(id) {
                    tbody {
                        @for (path, value) in rows.take(TOP_ROW_COUNT) {
                            tr { th scope="row" { (path) } td { (value) } }
                        }
                    }
                }
            }
        }
    }
}

/// Distributions of durations and of ages at eviction.
fn times(snapshot: &Snapshot) -> Markup {
    let iterations = bars::of_micros(&snapshot.iterations.turn_us);
    let jobs = bars::of_micros(&snapshot.store.disk.job_us);
    html! {
        section aria-labelledby="times" {
            h2 id="times" { "Latency distributions" }
            div.pair {
                (bars::drawn("turn-times", "Iterations of the loop", "None yet.", &iterations))
                (bars::drawn("job-times", "Disk jobs", "None yet.", &jobs))
                @for cache in &snapshot.store.caches {
                    @let title = format!("Age at eviction: {}", title(cache.name));
                    @let ages = bars::of_ages(&cache.stats.age_at_eviction_s);
                    (bars::drawn(&format!("ages-{}", cache.name), &title, "None yet.", &ages))
                }
            }
        }
    }
}

/// The name of a cache on the page.
fn title(name: &str) -> &'static str {
    match name {
        "path" => "path cache",
        "map" => "file cache",
        _ => "open-file cache",
    }
}

/// Whether the loop has made blocking calls.
fn promise(snapshot: &Snapshot) -> Markup {
    let iterations = &snapshot.iterations;
    let last = match (
        iterations.last_sleep_cause,
        iterations.last_sleep_seconds_ago,
    ) {
        (Some(cause), Some(ago)) => {
            format!(
                ", most recently {} ago, in an iteration of {cause}",
                duration(ago)
            )
        }
        _ => String::new(),
    };
    html! {
        @match (iterations.sleeps_outside_poll, snapshot.store.disk.engine) {
            (0, _) => p.note { "No blocking calls on the loop, as promised." },
            (count, "blocking") => p.note {
                "Blocking calls on the loop: " (number(count)) (last)
                "; expected with the blocking engine."
            },
            (count, _) => p.promise {
                "Blocking calls on the loop: " (number(count)) (last) ". Apart from rare page reclaim this is a defect."
            },
        }
    }
}

/// The plot of a cache, and the same in words.
fn curve(cache: &CacheNumbers) -> Markup {
    let today = cache.capacity_bytes.unwrap_or(cache.capacity as u64);
    let (title, flag) = match cache.name {
        "map" => ("File cache", "--map-cache"),
        _ => ("Path cache", "--path-cache"),
    };
    html! {
        div {
            h3 { (title) " (" (flag) ")" }
            @match &cache.curve {
                Some(curve) => {
                    (plot::plot(curve, today, cache.name))
                    p.note { (plot::words(curve, today)) }
                }
                None => p.note {
                    "Too few requests for an estimate yet, or the cache is very small."
                },
            }
        }
    }
}

/// How the caches follow the disk.
fn freshness(snapshot: &Snapshot) -> String {
    let fresh = &snapshot.store.freshness;
    let noticed = match fresh.worst_staleness_ms {
        0 => String::from("The next request sees every change"),
        ms => format!("A change is seen within {} ms", number(ms)),
    };
    format!(
        "{noticed}: {} directories and {} cached files are watched; {} entries in {} directories are \
         polled every {} ms ({} revalidations in the background). \
         Comparisons without an event: {} of {} entries had changed (interval {} ms). Path of the root: {}, switched {} times. \
         Event queue overflows: {}. Mount changes near the root: {}. Refused watches: {}. \
         Stale answers: {}; stale entries now: {}, the oldest {} ms old, at most {} ms allowed.",
        number(fresh.watched_directories as u64),
        number(fresh.watched_files as u64),
        number(fresh.polled_entries as u64),
        number(fresh.polled_directories as u64),
        number(fresh.revalidate_ms),
        number(fresh.checks_ahead),
        number(fresh.rechecks_changed),
        number(fresh.rechecked),
        number(fresh.recheck_ms),
        if fresh.root_watched {
            "watched"
        } else {
            "polled"
        },
        number(fresh.root_switches),
        number(fresh.overflows),
        number(fresh.mount_changes),
        number(fresh.watches_refused),
        number(fresh.stale_answers),
        number(fresh.stale_entries as u64),
        number(fresh.stale_oldest_ms),
        number(fresh.stale_limit_ms),
    )
}

/// Progress of prefetching.
fn warming(snapshot: &Snapshot) -> Option<String> {
    let warming = snapshot.store.warming;
    let progress = match (warming.under_way, warming.paths) {
        (true, _) => "in progress",
        (false, 0) => return None,
        (false, _) => "complete",
    };
    Some(format!(
        "Prefetching {progress}: {} paths looked up, {} of them lead to files.",
        number(warming.paths),
        number(warming.files),
    ))
}

/// Precompressed variants that are older than their files.
fn outdated(snapshot: &Snapshot) -> Option<String> {
    let variants = &snapshot.store.variants;
    let example = variants.outdated_example.as_ref()?;
    Some(format!(
        "{} precompressed variants are unused because they are older than their files, such as {example}.",
        number(variants.outdated as u64),
    ))
}

fn section<T: Render>(id: &str, title: &str, rows: &[(T, String)]) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (figures(rows))
        }
    }
}

fn request_figures(snapshot: &Snapshot) -> Vec<(String, String)> {
    let by_status = snapshot.requests.by_status.iter();
    let total = (String::from("answered"), number(snapshot.requests.total));
    std::iter::once(total)
        .chain(by_status.map(|(status, count)| (status.to_string(), number(*count))))
        .collect()
}

fn connection_figures(snapshot: &Snapshot) -> [(&'static str, String); 12] {
    let connections = snapshot.connections;
    let by = connections.by_state;
    [
        ("open", number(connections.open as u64)),
        ("idle", number(by.idle as u64)),
        ("receiving a request", number(by.receiving as u64)),
        ("waiting for the disk", number(by.waiting as u64)),
        ("sending", number(by.sending as u64)),
        ("lingering", number(by.lingering as u64)),
        ("capacity", number(connections.capacity as u64)),
        ("accepted", number(connections.accepted)),
        ("accept pauses", number(connections.accept_pauses)),
        ("closed: idle", number(connections.idle_given_up)),
        (
            "refused: address share",
            number(connections.refused_by_share),
        ),
        (
            "closed: buffer memory",
            number(connections.closed_for_memory),
        ),
    ]
}

fn disk_figures(snapshot: &Snapshot) -> [(&'static str, String); 8] {
    let disk = &snapshot.store.disk;
    [
        ("jobs in flight", number(disk.depth as u64)),
        ("jobs queued", number(disk.waiting as u64)),
        ("jobs refused", number(disk.refused)),
        ("job duration, p50", below(&disk.job_us, 0.5)),
        ("job duration, p99", below(&disk.job_us, 0.99)),
        ("lookups in flight", number(disk.look_ups as u64)),
        ("windows being read", number(disk.windows as u64)),
        ("mappings with reclaimed pages", number(disk.mappings_gone)),
    ]
}

fn loop_figures(iterations: &IterationNumbers) -> [(&'static str, String); 9] {
    [
        ("iterations", number(iterations.turns)),
        ("duration, p50", below(&iterations.turn_us, 0.5)),
        ("duration, p99", below(&iterations.turn_us, 0.99)),
        ("longest iteration", longest_iteration(iterations)),
        ("most sent in one", bytes(iterations.turn_bytes_max)),
        (
            "voluntary context switches",
            number(iterations.voluntary_switches),
        ),
        (
            "involuntary context switches",
            number(iterations.involuntary_switches),
        ),
        ("blocking calls", number(iterations.sleeps_outside_poll)),
        ("major page faults", number(iterations.major_faults)),
    ]
}

/// The upper bound of this quantile.
fn below(buckets: &[Bucket], share: f64) -> String {
    let total: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    if total == 0 {
        return String::from("–");
    }
    let mut count = 0;
    for bucket in buckets {
        count += bucket.count;
        // Counts stay far below 2^52, where f64 is exact.
        #[allow(clippy::cast_precision_loss)]
        let is_enough = count as f64 >= share * total as f64;
        if let (true, Some(below)) = (is_enough, bucket.below_us) {
            return micros(below);
        }
    }
    String::from("more than a second")
}

fn longest_iteration(iterations: &IterationNumbers) -> String {
    match (
        iterations.longest_turn_cause,
        iterations.longest_turn_seconds_ago,
    ) {
        (Some(cause), Some(ago)) => {
            let lasted = micros(iterations.longest_turn_us);
            format!("{lasted} ({cause}, {} ago)", duration(ago))
        }
        _ => String::from("–"),
    }
}

/// A row of the table of caches: its label, and the value of each cache.
type Row = (&'static str, fn(&CacheNumbers) -> String);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("hit ratio (1 min)",        |cache| percent(cache.minute.hit_ratio)),
    ("byte hit ratio (1 min)", |cache| percent(cache.minute.hit_ratio_bytes)),
    ("lookups (1 min)",    |cache| number(cache.minute.look_ups)),
    ("hit ratio (total)",    |cache| percent(cache.hit_ratio)),
    ("byte hit ratio (total)", |cache| percent(cache.hit_ratio_bytes)),
    ("entries",                  |cache| number(cache.entries as u64)),
    ("negative entries",       |cache| cache.negative_entries.map_or("–".into(), |count| number(count as u64))),
    ("capacity (entries)",        |cache| number(cache.capacity as u64)),
    ("bytes",                    |cache| cache.bytes.map_or("–".into(), bytes)),
    ("capacity (bytes)",          |cache| cache.capacity_bytes.map_or("–".into(), bytes)),
    ("hits",                     |cache| number(cache.stats.hits)),
    ("misses: cold",       |cache| number(cache.stats.misses_by.cold)),
    ("misses: capacity", |cache| number(cache.stats.misses_by.evicted)),
    ("misses: invalidated",   |cache| number(cache.stats.misses_by.changed)),
    ("opened during path lookup",   |cache| number(cache.stats.misses_by.path)),
    ("revalidated",    |cache| number(cache.stats.expired)),
    ("insertions",                   |cache| number(cache.stats.insertions)),
    ("evictions",               |cache| number(cache.stats.evictions)),
    ("evicted: size limit",        |cache| number(cache.stats.evictions_by.bytes)),
    ("evicted: entry limit",       |cache| number(cache.stats.evictions_by.count)),
    ("evicted: negative-entry quota", |cache| number(cache.stats.evictions_by.share)),
    ("evicted: descriptor pressure", |cache| number(cache.stats.evictions_by.shed)),
    ("evicted: page reclaim", |cache| number(cache.stats.evictions_by.memory)),
    ("evicted: memory budget", |cache| number(cache.stats.evictions_by.budget)),
    ("median age at eviction",      |cache| median_age(&cache.stats)),
    ("rejected by admission policy", |cache| number(cache.stats.rejected)),
    ("invalidated",         |cache| number(cache.stats.changed)),
    ("released",       |cache| number(cache.stats.released)),
];

fn cache_table(caches: &[CacheNumbers]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="caches" id="caches-table" {
            table {
                thead {
                    tr {
                        td {}
                        @for cache in caches {
                            th scope="col" { (title(cache.name)) }
                        }
                    }
                }
                tbody {
                    @for (index, (title, value)) in ROWS.iter().enumerate() {
                        tr.lead[index == 0] {
                            th scope="row" { (title) }
                            @for cache in caches { td { (value(cache)) } }
                        }
                    }
                }
            }
        }
    }
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or("–".into(), |ratio| format!("{:.1} %", ratio * 100.0))
}

/// Upper bound of the median age at eviction.
fn median_age(stats: &CacheStats) -> String {
    let ages = &stats.age_at_eviction_s;
    let total: u64 = ages.iter().sum();
    let mut count = 0;
    let place = ages.iter().position(|more| {
        count += more;
        total > 0 && count * 2 >= total
    });
    place.map_or("–".into(), |index| duration(1 << index))
}

fn figures<T: Render>(rows: &[(T, String)]) -> Markup {
    html! {
        dl {
            @for (name, value) in rows {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}
