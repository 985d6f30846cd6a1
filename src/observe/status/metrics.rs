//! The numbers for Prometheus, in the text format of OpenMetrics or in the older one.
//!
//! The numbers themselves are kept elsewhere, as plain counters; a collector shows a snapshot.

mod writer;

use std::collections::HashSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use writer::Sample;
pub(super) use writer::Writer;

use super::numbers::{ConnectionNumbers, Snapshot};
use crate::cache::stats::CacheStats;
use crate::store::numbers::CacheNumbers;

/// Which text format the numbers are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0, which collectors ask for.
    OpenMetrics,
    /// Prometheus' own, version 0.0.4, for everybody else.
    Text,
}

impl Format {
    /// The Content-Type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The text.
pub(super) fn of(snapshot: &Snapshot, format: Format) -> String {
    let mut registry = Registry::with_prefix("spede");
    registry.register_collector(Box::new(Shown(snapshot.clone())));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut text, &registry);
    match format {
        Format::OpenMetrics => text,
        Format::Text => as_text(&text),
    }
}

/// The same in the older format: there a counter is described under the name of its samples, and
/// nothing is said of units or of the end.
fn as_text(open: &str) -> String {
    let counters: HashSet<&str> = open
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "UNIT" | "EOF", ..] => continue,
            ["#", what, name, rest] if counters.contains(name) => {
                text.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[derive(Debug)]
struct Shown(Snapshot);

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shown = &self.0;
        let mut writer = Writer(&mut encoder);
        caches(&mut writer, &shown.store.caches)?;
        traffic(&mut writer, shown)?;
        disk(&mut writer, shown)?;
        freshness(&mut writer, shown)?;
        super::memory::metrics(&mut writer, &shown.memory)?;
        turns(&mut writer, shown)?;
        process(&mut writer, shown)
    }
}

/// A sample for each cache.
fn each(caches: &[CacheNumbers], value: fn(&CacheNumbers) -> u64) -> Vec<Sample<'_>> {
    let sample = |cache: &'_ CacheNumbers| (vec![("cache", cache.name)], value(cache));
    caches.iter().map(sample).collect()
}

/// A sample for each cache that has such a number.
fn sizes(caches: &[CacheNumbers], value: fn(&CacheNumbers) -> Option<u64>) -> Vec<Sample<'_>> {
    let sample = |cache: &'_ CacheNumbers| Some((vec![("cache", cache.name)], value(cache)?));
    caches.iter().filter_map(sample).collect()
}

/// A sample for each cache and each of the words that `label` may have.
fn split<'a, const N: usize>(
    caches: &'a [CacheNumbers],
    label: &'a str,
    values: fn(&CacheStats) -> [(&'static str, u64); N],
) -> Vec<Sample<'a>> {
    let samples = |cache: &'a CacheNumbers| {
        values(&cache.stats)
            .map(|(word, count)| (vec![("cache", cache.name), (label, word)], count))
    };
    caches.iter().flat_map(samples).collect()
}

#[rustfmt::skip]
fn caches(writer: &mut Writer<'_, '_>, caches: &[CacheNumbers]) -> fmt::Result {
    let misses = split(caches, "kind", |stats| {
        let by = stats.misses_by;
        [("cold", by.cold), ("expired", by.expired), ("changed", by.changed), ("evicted", by.evicted), ("path", by.path)]
    });
    let evictions = split(caches, "cause", |stats| {
        let by = stats.evictions_by;
        [("bytes", by.bytes), ("count", by.count), ("share", by.share), ("shed", by.shed), ("memory", by.memory), ("budget", by.budget)]
    });
    let bytes = Some(&Unit::Bytes);
    writer.counters("cache_hits", "Look-ups answered from a cache", None, &each(caches, |cache| cache.stats.hits))?;
    writer.counters("cache_misses", "Look-ups that a cache did not answer", None, &misses)?;
    writer.counters("cache_hit", "Content that look-ups answered were about", bytes, &each(caches, |cache| cache.stats.hit_bytes))?;
    writer.counters("cache_miss", "Content that look-ups not answered were about", bytes, &each(caches, |cache| cache.stats.miss_bytes))?;
    writer.counters("cache_insertions", "Entries put in", None, &each(caches, |cache| cache.stats.insertions))?;
    writer.counters("cache_rejections", "Entries not kept, because others are asked for more often", None, &each(caches, |cache| cache.stats.rejected))?;
    writer.counters("cache_evictions", "Entries pushed out", None, &evictions)?;
    writer.counters("cache_changes", "Entries dropped because the file had changed", None, &each(caches, |cache| cache.stats.changed))?;
    writer.counters("cache_releases", "Entries let go because nobody will ask for them", None, &each(caches, |cache| cache.stats.released))?;
    writer.gauges("cache_entries", "Entries now", None, &each(caches, |cache| cache.entries as u64))?;
    let negative = |cache: &CacheNumbers| cache.negative_entries.map(|count| count as u64);
    writer.gauges("cache_negative_entries", "Entries now that lead to no file", None, &sizes(caches, negative))?;
    writer.gauges("cache_entries_limit", "Entries at most", None, &each(caches, |cache| cache.capacity as u64))?;
    writer.gauges("cache_size", "Content held now", bytes, &sizes(caches, |cache| cache.bytes))?;
    writer.gauges("cache_size_limit", "Content held at most", bytes, &sizes(caches, |cache| cache.capacity_bytes))?;
    writer.eviction_ages(caches)?;
    let by_requests = "Hits in all look-ups that a cache of another size would give, estimated";
    writer.estimates("cache_estimated_hit_ratio", by_requests, caches, |point| point.hit_ratio)?;
    let by_bytes = "The same in bytes of content";
    writer.estimates("cache_estimated_byte_hit_ratio", by_bytes, caches, |point| point.hit_ratio_bytes)
}

#[rustfmt::skip]
fn traffic(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let codes: Vec<String> = shown.requests.by_status.keys().map(u16::to_string).collect();
    let responses = codes.iter().zip(shown.requests.by_status.values());
    let responses: Vec<Sample<'_>> = responses.map(|(code, count)| (vec![("code", code.as_str())], *count)).collect();
    writer.counters("responses", "Requests answered, by their status", None, &responses)?;
    let sent = [
        ("gathered", shown.bytes_sent.gathered),
        ("sendfile", shown.bytes_sent.sendfile),
    ];
    let sent = sent.map(|(way, count)| (vec![("way", way)], count));
    writer.counters(
        "sent",
        "Bytes sent, by way of sending",
        Some(&Unit::Bytes),
        &sent,
    )?;
    connections(writer, shown.connections)?;
    let lost = [(Vec::new(), shown.access_log_lost_bytes)];
    writer.counters(
        "access_log_lost",
        "Log lines that could not be written",
        Some(&Unit::Bytes),
        &lost,
    )?;
    writer.counter(
        "access_log_lost_lines",
        "Log lines that could not be written, or only in part",
        shown.access_log_lost_lines,
    )
}

/// Connections by what they are doing, and how many there may be.
fn connections(writer: &mut Writer<'_, '_>, connections: ConnectionNumbers) -> fmt::Result {
    let states = [
        ("idle", connections.by_state.idle),
        ("receiving", connections.by_state.receiving),
        ("waiting", connections.by_state.waiting),
        ("sending", connections.by_state.sending),
        ("lingering", connections.by_state.lingering),
    ];
    let states = states.map(|(state, count)| (vec![("state", state)], count as u64));
    writer.gauges(
        "connections",
        "Open connections by what they are doing",
        None,
        &states,
    )?;
    writer.gauge(
        "connections_open",
        "Open connections",
        connections.open as u64,
    )?;
    writer.gauge(
        "connections_limit",
        "Connections at most",
        connections.capacity as u64,
    )?;
    writer.counter(
        "connections_accepted",
        "Connections taken",
        connections.accepted,
    )?;
    writer.counter(
        "accept_pauses",
        "Times that accepting had to pause",
        connections.accept_pauses,
    )?;
    places(writer, connections)
}

/// Who gave way when places ran short.
fn places(writer: &mut Writer<'_, '_>, connections: ConnectionNumbers) -> fmt::Result {
    writer.counter(
        "connections_given_up",
        "Idle connections closed because another needed the place",
        connections.idle_given_up,
    )?;
    writer.counter(
        "connections_refused",
        "Connections closed at once because their address had its share",
        connections.refused_by_share,
    )?;
    writer.counter(
        "connections_closed_for_memory",
        "Connections closed because buffers took more than their share of memory",
        connections.closed_for_memory,
    )
}

#[rustfmt::skip]
fn disk(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let disk = &shown.store.disk;
    let engine = [(vec![("engine", disk.engine)], 1)];
    writer.gauges(
        "disk_engine",
        "The engine that waits for the disk",
        None,
        &engine,
    )?;
    writer.gauge("disk_jobs", "Jobs under way", disk.depth as u64)?;
    writer.gauge(
        "disk_jobs_waiting",
        "Jobs that wait for their turn",
        disk.waiting as u64,
    )?;
    writer.gauge(
        "disk_jobs_waiting_limit",
        "Jobs that may wait",
        disk.waiting_capacity as u64,
    )?;
    writer.counter(
        "disk_jobs_refused",
        "Jobs refused because too many waited",
        disk.refused,
    )?;
    writer.counter(
        "mappings_gone",
        "Mappings dropped because the kernel had taken their pages",
        disk.mappings_gone,
    )?;
    writer.durations("disk_job_duration", "How long jobs were at the engine", &disk.job_us, disk.job_us_total)?;
    writer.gauge("disk_look_ups", "Look-ups that connections wait for", disk.look_ups as u64)?;
    writer.gauge("disk_windows", "Parts of long files that are being read", disk.windows as u64)?;
    writer.gauge("warming", "Whether the caches are being filled before anybody asks", u64::from(shown.store.warming.under_way))?;
    writer.counter("warmed_paths", "Paths looked up before anybody asked", shown.store.warming.paths)?;
    writer.counter("warmed_files", "Those of them that led to files", shown.store.warming.files)?;
    writer.gauge("variants_outdated", "Precompressed files not used because they are older than their files", shown.store.variants.outdated as u64)
}

#[rustfmt::skip]
fn freshness(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let fresh = &shown.store.freshness;
    writer.gauge("watched_directories", "Directories whose changes are told", fresh.watched_directories as u64)?;
    writer.gauge("watched_files", "Mapped files whose changes are told", fresh.watched_files as u64)?;
    writer.gauge("polled_directories", "Directories that are looked at again and again", fresh.polled_directories as u64)?;
    writer.gauge("polled_entries", "Entries that are looked at again and again", fresh.polled_entries as u64)?;
    writer.seconds("staleness_limit", "The longest that a change may go unnoticed now", fresh.worst_staleness_ms as f64 / 1e3)?;
    writer.seconds("revalidate", "How often it is looked at what nobody tells of", fresh.revalidate_ms as f64 / 1e3)?;
    writer.seconds("recheck", "How often what is in use is compared though nothing told of a change", fresh.recheck_ms as f64 / 1e3)?;
    writer.counter("rechecked_entries", "Entries so compared", fresh.rechecked)?;
    writer.counter("rechecks_changed", "Those of them that had changed", fresh.rechecks_changed)?;
    writer.counter("checks_ahead", "Checks of polled entries begun before their time was over", fresh.checks_ahead)?;
    writer.seconds("stale_limit", "The age up to which entries are answered from that the storage does not confirm", fresh.stale_limit_ms as f64 / 1e3)?;
    writer.counter("stale_answers", "Answers that were not confirmed in time", fresh.stale_answers)?;
    writer.gauge("stale_entries", "Entries that are answered from so now", fresh.stale_entries as u64)?;
    writer.seconds("stale_oldest", "How long ago the oldest of them was confirmed", fresh.stale_oldest_ms as f64 / 1e3)?;
    writer.gauge("root_watched", "Whether changes of the way to the root are told", u64::from(fresh.root_watched))?;
    writer.counter("root_switches", "Times that another directory became the root", fresh.root_switches)?;
    writer.counter("watch_overflows", "Times that the kernel lost events", fresh.overflows)?;
    writer.counter("mount_changes", "Times that mounts at, below or above the root have changed", fresh.mount_changes)?;
    writer.counter("watches_refused", "Watches that were refused", fresh.watches_refused)
}

#[rustfmt::skip]
fn process(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let version = [(vec![("version", shown.version)], 1)];
    writer.gauges("build_info", "The version that runs", None, &version)?;
    writer.seconds("uptime", "Time since the start", shown.uptime_seconds as f64)
}

#[rustfmt::skip]
fn turns(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let turns = &shown.turns;
    writer.durations("loop_turn_duration", "How long turns of the event loop were", &turns.turn_us, turns.turn_us_total)?;
    writer.counter(
        "loop_sleeps_outside_poll",
        "Times that the loop slept where it must not",
        turns.sleeps_outside_poll,
    )?;
    writer.counter(
        "loop_major_faults",
        "Pages that the loop waited for",
        turns.major_faults,
    )?;
    let switches = [
        ("voluntary", turns.voluntary_switches),
        ("involuntary", turns.involuntary_switches),
    ];
    let switches = switches.map(|(kind, count)| (vec![("kind", kind)], count));
    writer.counters(
        "loop_context_switches",
        "Context switches of the loop",
        None,
        &switches,
    )?;
    let cause = vec![("cause", turns.longest_turn_cause.unwrap_or("none yet"))];
    let mut family = writer.0.encode_descriptor("loop_longest_turn", "The longest turn of the loop, and what took most of it", Some(&Unit::Seconds), MetricType::Gauge)?;
    ConstGauge::new(turns.longest_turn_us as f64 / 1e6).encode(family.encode_family(&cause)?)
}
