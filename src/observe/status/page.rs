//! The numbers as a page for people.

use maud::{DOCTYPE, Markup, Render, html};

use super::numbers::{IterationNumbers, Snapshot};
use super::{bars, plot};
use crate::cache::stats::CacheStats;
use crate::histogram::Bucket;
use crate::observe::text::{bytes, duration, micros, number};
use crate::store::numbers::CacheNumbers;

/// Files of each list that the page shows.
const TOP_ROW_COUNT: usize = 10;

/// The page's style, a resource of its own so that nothing inline has to be allowed.
pub(super) const STYLE: &str = include_str!("status.css");
/// What keeps it up to date.
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
                    "Of the access log " (number(snapshot.access_log_lost_lines)) " lines ("
                    (bytes(snapshot.access_log_lost_bytes)) ") could not be written."
                }
            }
        }
        section aria-labelledby="sizes" {
            h2 id="sizes" { "What another size would give" }
            div.pair {
                @for cache in curves { (curve(cache)) }
            }
        }
        (top_files(snapshot))
        div.pair {
            (section("requests", "Requests", &request_figures(snapshot)))
            (section("connections", "Connections", &connection_figures(snapshot)))
            (super::memory::section(&snapshot.memory))
            (section("disk", "Disk", &disk_figures(snapshot)))
            (section("sent", "Sent", &[
                ("from mappings and memory", bytes(snapshot.bytes_sent.gathered)),
                ("by sendfile", bytes(snapshot.bytes_sent.sendfile)),
            ]))
        }
        section aria-labelledby="loop" {
            h2 id="loop" { "Loop" }
            (figures(&loop_figures(&snapshot.turns)))
            (promise(snapshot))
        }
        (times(snapshot))
    }
}

/// The files that most goes to.
fn top_files(snapshot: &Snapshot) -> Markup {
    let top = &snapshot.store.top;
    let has_missed = snapshot
        .store
        .caches
        .iter()
        .any(|cache| cache.stats.misses > 0);
    let none = match has_missed {
        true => "No file stands out: the waiting is spread over many.",
        false => "None yet.",
    };
    let by_bytes = top.by_bytes.iter().map(|one| (&one.path, bytes(one.bytes)));
    let by_misses = top
        .by_misses
        .iter()
        .map(|one| (&one.path, number(one.misses)));
    html! {
        section aria-labelledby="top" {
            h2 id="top" { "Files that most goes to" }
            div.pair {
                (top_table("top-bytes", "Bytes of content", "None yet.", by_bytes))
                (top_table("top-misses", "Requests that waited for a look-up", none, by_misses))
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

/// How often something took how long.
fn times(snapshot: &Snapshot) -> Markup {
    let turns = bars::of_micros(&snapshot.turns.turn_us);
    let jobs = bars::of_micros(&snapshot.store.disk.job_us);
    html! {
        section aria-labelledby="times" {
            h2 id="times" { "How often it took how long" }
            div.pair {
                (bars::drawn("turn-times", "Turns of the loop", "None yet.", &turns))
                (bars::drawn("job-times", "Jobs at the disk engine", "None yet.", &jobs))
                @for cache in &snapshot.store.caches {
                    @let title = format!("Age at which {} were pushed out", plural(cache.name));
                    @let ages = bars::of_ages(&cache.stats.age_at_eviction_s);
                    (bars::drawn(&format!("ages-{}", cache.name), &title, "None were.", &ages))
                }
            }
        }
    }
}

/// What a cache holds, in words.
fn plural(name: &str) -> &'static str {
    match name {
        "path" => "paths",
        "map" => "mapped files",
        _ => "open files",
    }
}

/// What was promised of the loop, and whether it was held.
fn promise(snapshot: &Snapshot) -> Markup {
    let turns = &snapshot.turns;
    let last = match (turns.last_sleep_cause, turns.last_sleep_seconds_ago) {
        (Some(cause), Some(ago)) => {
            format!(
                ", the last time noticed {} ago in a turn of {cause}",
                duration(ago)
            )
        }
        _ => String::new(),
    };
    html! {
        @match (turns.sleeps_outside_poll, snapshot.store.disk.engine) {
            (0, _) => p.note { "The loop has slept in its wait only, as promised." },
            (count, "blocking") => p.note {
                "The loop has slept " (number(count)) " times outside its wait" (last)
                ": this engine waits for the disk there."
            },
            (count, _) => p.promise {
                "The loop has slept " (number(count)) " times where it must not" (last) "."
            },
        }
    }
}

/// The plot of a cache, and the same in words.
fn curve(cache: &CacheNumbers) -> Markup {
    let today = cache.capacity_bytes.unwrap_or(cache.capacity as u64);
    let (title, flag) = match cache.name {
        "map" => ("Mapped files", "--map-cache"),
        _ => ("Paths", "--path-cache"),
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
                    "Not enough was asked for yet to tell, or the cache is very small."
                },
            }
        }
    }
}

/// How the caches follow the disk, in words.
fn freshness(snapshot: &Snapshot) -> String {
    let fresh = &snapshot.store.freshness;
    let noticed = match fresh.worst_staleness_ms {
        0 => String::from("Every change is noticed by the next request"),
        ms => format!("A change is noticed within {} ms", number(ms)),
    };
    format!(
        "{noticed}: {} directories and {} mapped files are watched, {} entries in {} directories are \
         looked at again after {} ms, {} times so early that nobody waited. \
         {} of {} entries compared every {} ms had changed without an event. The way to the root is {}; it has led elsewhere {} times. Events \
         were lost {} times, mounts near the root have changed {} times, watches refused {} times. {} answers were older than that because the storage \
         did not confirm them in time; {} entries are now, the oldest by {} ms, and none by more than {} ms.",
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
            "looked at again as well"
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

/// What the caches were filled with, in words.
fn warming(snapshot: &Snapshot) -> Option<String> {
    let warming = snapshot.store.warming;
    let verb = match (warming.under_way, warming.paths) {
        (true, _) => "are being",
        (false, 0) => return None,
        (false, _) => "were",
    };
    Some(format!(
        "The caches {verb} filled before anybody asks: {} paths looked up, {} of them lead to files.",
        number(warming.paths),
        number(warming.files),
    ))
}

/// Which precompressed files go unused, in words.
fn outdated(snapshot: &Snapshot) -> Option<String> {
    let variants = &snapshot.store.variants;
    let example = variants.outdated_example.as_ref()?;
    Some(format!(
        "{} precompressed files are not used because they are older than their files, {example} for one.",
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
        ("at most", number(connections.capacity as u64)),
        ("accepted", number(connections.accepted)),
        ("accept pauses", number(connections.accept_pauses)),
        ("idle, gave way", number(connections.idle_given_up)),
        (
            "refused: address share",
            number(connections.refused_by_share),
        ),
        (
            "closed for their buffers",
            number(connections.closed_for_memory),
        ),
    ]
}

fn disk_figures(snapshot: &Snapshot) -> [(&'static str, String); 8] {
    let disk = &snapshot.store.disk;
    [
        ("jobs under way", number(disk.depth as u64)),
        ("jobs waiting", number(disk.waiting as u64)),
        ("jobs refused", number(disk.refused)),
        ("half of the jobs below", below(&disk.job_us, 0.5)),
        ("99 % of them below", below(&disk.job_us, 0.99)),
        ("look-ups under way", number(disk.look_ups as u64)),
        ("windows being read", number(disk.windows as u64)),
        ("mappings whose pages had gone", number(disk.mappings_gone)),
    ]
}

fn loop_figures(turns: &IterationNumbers) -> [(&'static str, String); 8] {
    [
        ("turns", number(turns.turns)),
        ("half of the turns below", below(&turns.turn_us, 0.5)),
        ("99 % of turns below", below(&turns.turn_us, 0.99)),
        ("longest turn", longest_turn(turns)),
        ("gave the processor up", number(turns.voluntary_switches)),
        ("had it taken away", number(turns.involuntary_switches)),
        ("sleeps outside its wait", number(turns.sleeps_outside_poll)),
        ("pages waited for", number(turns.major_faults)),
    ]
}

/// The bound that this share of all stayed below.
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

fn longest_turn(turns: &IterationNumbers) -> String {
    match (turns.longest_turn_cause, turns.longest_turn_seconds_ago) {
        (Some(cause), Some(ago)) => {
            let lasted = micros(turns.longest_turn_us);
            format!("{lasted} ({cause}, {} ago)", duration(ago))
        }
        _ => String::from("–"),
    }
}

/// A row of the table of caches: what it is, and what it is of each.
type Row = (&'static str, fn(&CacheNumbers) -> String);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("hits, last minute",        |cache| percent(cache.minute.hit_ratio)),
    ("of the bytes, last minute", |cache| percent(cache.minute.hit_ratio_bytes)),
    ("look-ups, last minute",    |cache| number(cache.minute.look_ups)),
    ("hits, since the start",    |cache| percent(cache.hit_ratio)),
    ("of the bytes, since the start", |cache| percent(cache.hit_ratio_bytes)),
    ("entries",                  |cache| number(cache.entries as u64)),
    ("leading to no file",       |cache| cache.negative_entries.map_or("–".into(), |count| number(count as u64))),
    ("at most",                  |cache| number(cache.capacity as u64)),
    ("bytes",                    |cache| cache.bytes.map_or("–".into(), bytes)),
    ("at most",                  |cache| cache.capacity_bytes.map_or("–".into(), bytes)),
    ("hits",                     |cache| number(cache.stats.hits)),
    ("misses: never seen",       |cache| number(cache.stats.misses_by.cold)),
    ("misses: pushed out before", |cache| number(cache.stats.misses_by.evicted)),
    ("misses: changed before",   |cache| number(cache.stats.misses_by.changed)),
    ("misses: path looked up",   |cache| number(cache.stats.misses_by.path)),
    ("checked with the disk",    |cache| number(cache.stats.expired)),
    ("put in",                   |cache| number(cache.stats.insertions)),
    ("pushed out",               |cache| number(cache.stats.evictions)),
    ("for want of bytes",        |cache| number(cache.stats.evictions_by.bytes)),
    ("for want of places",       |cache| number(cache.stats.evictions_by.count)),
    ("beyond the share of those that lead to no file", |cache| number(cache.stats.evictions_by.share)),
    ("for the sake of connections", |cache| number(cache.stats.evictions_by.shed)),
    ("the kernel took their pages", |cache| number(cache.stats.evictions_by.memory)),
    ("for the budget of memory", |cache| number(cache.stats.evictions_by.budget)),
    ("half of them within",      |cache| median_age(&cache.stats)),
    ("not kept, asked for less", |cache| number(cache.stats.rejected)),
    ("dropped, changed",         |cache| number(cache.stats.changed)),
    ("let go, not needed",       |cache| number(cache.stats.released)),
];

fn cache_table(caches: &[CacheNumbers]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="caches" id="caches-table" {
            table {
                thead {
                    tr {
                        td {}
                        @for cache in caches {
                            th scope="col" { (plural(cache.name)) }
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

/// The age that half of what was pushed out had not reached.
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
