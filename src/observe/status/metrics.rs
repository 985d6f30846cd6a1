//! The numbers for Prometheus, in the OpenMetrics text format or in the older one.
//!
//! The numbers are plain counters kept elsewhere; a collector exposes a snapshot.

use std::collections::HashSet;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::numbers::{ConnectionNumbers, Snapshot};
use super::writer::{Sample, Writer};
use crate::cache::stats::CacheStats;
use crate::store::numbers::CacheNumbers;

/// Text format of the metrics.
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

/// Converts to the older format, which describes a counter under the name of its samples, and has neither
/// units nor an end marker.
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
        super::descriptors::metrics(&mut writer, shown.descriptors)?;
        super::memory::metrics(&mut writer, &shown.memory)?;
        iterations(&mut writer, shown)?;
        process(&mut writer, shown)
    }
}

/// A sample for each cache.
fn each(caches: &[CacheNumbers], value: fn(&CacheNumbers) -> u64) -> Vec<Sample<'_>> {
    let sample = |cache: &'_ CacheNumbers| (vec![("cache", cache.name)], value(cache));
    caches.iter().map(sample).collect()
}

/// A sample for each cache that has this number.
fn sizes(caches: &[CacheNumbers], value: fn(&CacheNumbers) -> Option<u64>) -> Vec<Sample<'_>> {
    let sample = |cache: &'_ CacheNumbers| Some((vec![("cache", cache.name)], value(cache)?));
    caches.iter().filter_map(sample).collect()
}

/// A sample for each cache and each value of `label`.
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
    writer.counters("cache_hits", "Cache hits", None, &each(caches, |cache| cache.stats.hits))?;
    writer.counters("cache_misses", "Cache misses by reason", None, &misses)?;
    writer.counters("cache_hit", "Content bytes of cache hits", bytes, &each(caches, |cache| cache.stats.hit_bytes))?;
    writer.counters("cache_miss", "Content bytes of cache misses", bytes, &each(caches, |cache| cache.stats.miss_bytes))?;
    writer.counters("cache_insertions", "Cache insertions", None, &each(caches, |cache| cache.stats.insertions))?;
    writer.counters("cache_rejections", "Insertions rejected by the admission policy", None, &each(caches, |cache| cache.stats.rejected))?;
    writer.counters("cache_evictions", "Cache evictions by cause", None, &evictions)?;
    writer.counters("cache_changes", "Cache entries invalidated by a change of the file", None, &each(caches, |cache| cache.stats.changed))?;
    writer.counters("cache_releases", "Cache entries released because they are no longer needed", None, &each(caches, |cache| cache.stats.released))?;
    writer.gauges("cache_entries", "Cache entries", None, &each(caches, |cache| cache.entries as u64))?;
    let negative = |cache: &CacheNumbers| cache.negative_entries.map(|count| count as u64);
    writer.gauges("cache_negative_entries", "Negative cache entries", None, &sizes(caches, negative))?;
    writer.gauges("cache_entries_limit", "Capacity in entries", None, &each(caches, |cache| cache.capacity as u64))?;
    writer.gauges("cache_size", "Content bytes in the cache", bytes, &sizes(caches, |cache| cache.bytes))?;
    writer.gauges("cache_size_limit", "Capacity in content bytes", bytes, &sizes(caches, |cache| cache.capacity_bytes))?;
    writer.eviction_ages(caches)?;
    let by_requests = "Estimated hit ratio by cache size";
    writer.estimates("cache_estimated_hit_ratio", by_requests, caches, |point| point.hit_ratio)?;
    let by_bytes = "Estimated byte hit ratio by cache size";
    writer.estimates("cache_estimated_byte_hit_ratio", by_bytes, caches, |point| point.hit_ratio_bytes)
}

#[rustfmt::skip]
fn traffic(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let codes: Vec<String> = shown.requests.by_status.keys().map(u16::to_string).collect();
    let responses = codes.iter().zip(shown.requests.by_status.values());
    let responses: Vec<Sample<'_>> = responses.map(|(code, count)| (vec![("code", code.as_str())], *count)).collect();
    writer.counters("responses", "Responses by status code", None, &responses)?;
    let sent = [
        ("gathered", shown.bytes_sent.gathered),
        ("sendfile", shown.bytes_sent.sendfile),
    ];
    let sent = sent.map(|(way, count)| (vec![("way", way)], count));
    writer.counters(
        "sent",
        "Bytes sent by system call",
        Some(&Unit::Bytes),
        &sent,
    )?;
    connections(writer, shown.connections)?;
    let lost = [(Vec::new(), shown.access_log_lost_bytes)];
    writer.counters(
        "access_log_lost",
        "Bytes of log lines that could not be written",
        Some(&Unit::Bytes),
        &lost,
    )?;
    writer.counter(
        "access_log_lost_lines",
        "Log lines that were not written completely",
        shown.access_log_lost_lines,
    )
}

/// Open connections by state, and their limit.
fn connections(writer: &mut Writer<'_, '_>, connections: ConnectionNumbers) -> fmt::Result {
    let states = [
        ("idle", connections.by_state.idle),
        ("receiving", connections.by_state.receiving),
        ("waiting", connections.by_state.waiting),
        ("sending", connections.by_state.sending),
        ("lingering", connections.by_state.lingering),
    ];
    let states = states.map(|(state, count)| (vec![("state", state)], count as u64));
    writer.gauges("connections", "Open connections by state", None, &states)?;
    writer.gauge(
        "connections_open",
        "Open connections",
        connections.open as u64,
    )?;
    writer.gauge(
        "connections_limit",
        "Connection limit",
        connections.capacity as u64,
    )?;
    writer.counter(
        "connections_accepted",
        "Connections accepted",
        connections.accepted,
    )?;
    writer.counter(
        "accept_pauses",
        "Pauses of accepting",
        connections.accept_pauses,
    )?;
    places(writer, connections)
}

/// Connections closed or refused at the limits.
fn places(writer: &mut Writer<'_, '_>, connections: ConnectionNumbers) -> fmt::Result {
    writer.counter(
        "connections_given_up",
        "Idle connections closed to free a slot",
        connections.idle_given_up,
    )?;
    writer.counter(
        "connections_refused",
        "Connections refused by the address share",
        connections.refused_by_share,
    )?;
    writer.counter(
        "connections_closed_for_memory",
        "Connections closed because of buffer memory",
        connections.closed_for_memory,
    )
}

#[rustfmt::skip]
fn disk(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let disk = &shown.store.disk;
    let engine = [(vec![("engine", disk.engine)], 1)];
    writer.gauges(
        "disk_engine",
        "Disk engine",
        None,
        &engine,
    )?;
    writer.gauge("disk_jobs", "Disk jobs in flight", disk.depth as u64)?;
    writer.gauge(
        "disk_jobs_waiting",
        "Queued disk jobs",
        disk.waiting as u64,
    )?;
    writer.gauge(
        "disk_jobs_waiting_limit",
        "Capacity of the disk queue",
        disk.waiting_capacity as u64,
    )?;
    writer.counter(
        "disk_jobs_refused",
        "Disk jobs refused because the queue was full",
        disk.refused,
    )?;
    writer.counter(
        "mappings_gone",
        "Mappings dropped because the kernel reclaimed their pages",
        disk.mappings_gone,
    )?;
    writer.durations("disk_job_duration", "Duration of disk jobs at the engine", &disk.job_us, disk.job_us_total)?;
    writer.gauge("disk_look_ups", "Path lookups in flight", disk.look_ups as u64)?;
    writer.gauge("disk_windows", "Windows of long files being read", disk.windows as u64)?;
    writer.gauge("warming", "Whether prefetching is in progress", u64::from(shown.store.warming.under_way))?;
    writer.counter("warmed_paths", "Prefetched paths", shown.store.warming.paths)?;
    writer.counter("warmed_files", "Prefetched paths that led to files", shown.store.warming.files)?;
    writer.gauge("variants_outdated", "Precompressed variants unused because they are older than their files", shown.store.variants.outdated as u64)
}

#[rustfmt::skip]
fn freshness(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let fresh = &shown.store.freshness;
    writer.gauge("watched_directories", "Watched directories", fresh.watched_directories as u64)?;
    writer.gauge("watched_files", "Watched files in the file cache", fresh.watched_files as u64)?;
    writer.gauge("polled_directories", "Polled directories", fresh.polled_directories as u64)?;
    writer.gauge("polled_entries", "Polled entries", fresh.polled_entries as u64)?;
    writer.seconds("staleness_limit", "Longest time for which a change can go unnoticed", fresh.worst_staleness_ms as f64 / 1e3)?;
    writer.seconds("revalidate", "Revalidation interval of polled entries", fresh.revalidate_ms as f64 / 1e3)?;
    writer.seconds("recheck", "Comparison interval of entries in use", fresh.recheck_ms as f64 / 1e3)?;
    writer.counter("rechecked_entries", "Entries compared without an event", fresh.rechecked)?;
    writer.counter("rechecks_changed", "Compared entries that had changed", fresh.rechecks_changed)?;
    writer.counter("checks_ahead", "Background revalidations of polled entries", fresh.checks_ahead)?;
    writer.seconds("stale_limit", "Age limit of stale answers", fresh.stale_limit_ms as f64 / 1e3)?;
    writer.counter("stale_answers", "Stale answers", fresh.stale_answers)?;
    writer.gauge("stale_entries", "Stale entries in use", fresh.stale_entries as u64)?;
    writer.seconds("stale_oldest", "Age of the oldest stale entry", fresh.stale_oldest_ms as f64 / 1e3)?;
    writer.gauge("root_watched", "Whether the path of the root is watched", u64::from(fresh.root_watched))?;
    writer.counter("root_switches", "Switches of the root", fresh.root_switches)?;
    writer.counter("watch_overflows", "Event queue overflows", fresh.overflows)?;
    writer.counter("mount_changes", "Changes of mounts at, below or above the root", fresh.mount_changes)?;
    writer.counter("watches_refused", "Refused watches", fresh.watches_refused)
}

#[rustfmt::skip]
fn process(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let version = [(vec![("version", shown.version)], 1)];
    writer.gauges("build_info", "Running version", None, &version)?;
    writer.seconds("uptime", "Time since the start", shown.uptime_seconds as f64)
}

#[rustfmt::skip]
fn iterations(writer: &mut Writer<'_, '_>, shown: &Snapshot) -> fmt::Result {
    let iterations = &shown.iterations;
    writer.durations("loop_turn_duration", "Duration of event loop iterations", &iterations.turn_us, iterations.turn_us_total)?;
    writer.counter(
        "loop_sleeps_outside_poll",
        "Blocking calls on the loop, a lower bound",
        iterations.sleeps_outside_poll,
    )?;
    writer.counter(
        "loop_major_faults",
        "Major page faults of the loop",
        iterations.major_faults,
    )?;
    let switches = [
        ("voluntary", iterations.voluntary_switches),
        ("involuntary", iterations.involuntary_switches),
    ];
    let switches = switches.map(|(kind, count)| (vec![("kind", kind)], count));
    writer.counters(
        "loop_context_switches",
        "Context switches of the loop",
        None,
        &switches,
    )?;
    let most = [(Vec::new(), iterations.turn_bytes_max)];
    writer.gauges("loop_turn_sent_max", "Most bytes sent in one iteration of the loop", Some(&Unit::Bytes), &most)?;
    let cause = vec![("cause", iterations.longest_turn_cause.unwrap_or("none yet"))];
    let mut family = writer.0.encode_descriptor("loop_longest_turn", "Longest iteration of the loop, by its main cause", Some(&Unit::Seconds), MetricType::Gauge)?;
    ConstGauge::new(iterations.longest_turn_us as f64 / 1e6).encode(family.encode_family(&cause)?)
}
