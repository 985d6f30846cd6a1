//! The status page: one struct of numbers, shown as JSON and as HTML.
//!
//! Field names are part of the interface: they are added, not renamed. `schema` counts changes
//! that are not additions. No file names appear, so nothing that was refused can.

mod metrics;
mod page;
mod plot;
mod text;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::histogram::{BUCKET_COUNT, Histogram};
use super::service::{METRICS_PATH, Service};
use super::turns::Turns;
use super::warming::WarmNumbers;
use crate::cache::curve::Curve;
use crate::cache::stats::{CacheStats, MinuteStats};
use crate::conn::Document;
use crate::conn::ledger::Ledger;
use crate::http::request::{Field, Request};
use crate::sys::usage::ThreadUsage;

/// What the page may load: its own parts, and itself again.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything that is shown.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Snapshot {
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
    pub turns: TurnNumbers,
    /// Freshness.
    pub freshness: FreshnessNumbers,
    /// What the caches were filled with before anybody asked.
    pub warming: WarmNumbers,
    /// Bytes of access log that could not be written.
    pub access_log_lost_bytes: u64,
}

/// Connections.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ConnectionNumbers {
    /// Open now.
    pub open: usize,
    /// Open and between requests.
    pub idle: usize,
    /// Open with an answer being looked up or sent.
    pub answering: usize,
    /// Most that may be open.
    pub capacity: usize,
    /// Taken since the start.
    pub accepted: u64,
    /// Times that accepting had to pause for want of descriptors or room.
    pub accept_pauses: u64,
}

/// Requests answered since the start.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RequestNumbers {
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
pub(super) struct ByClass {
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
pub(super) struct SentNumbers {
    /// From mappings and memory, gathered.
    pub gathered: u64,
    /// By `sendfile`.
    pub sendfile: u64,
}

/// One cache.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CacheNumbers {
    /// `path`, `map` or `descriptor`.
    pub name: &'static str,
    /// Entries now.
    pub entries: usize,
    /// Entries at most.
    pub capacity: usize,
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
pub(super) struct DiskNumbers {
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

/// The loop: what it does between two waits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TurnNumbers {
    /// Turns since the start.
    pub turns: u64,
    /// How long they were: how many were below each bound, in microseconds.
    pub turn_us: Vec<Bucket>,
    /// The longest, in microseconds.
    pub longest_turn_us: u64,
    /// What took most of it.
    pub longest_turn_cause: Option<&'static str>,
    /// How long ago it was, in seconds.
    pub longest_turn_seconds_ago: Option<u64>,
    /// Times that the loop slept outside its wait: broken promises.
    pub sleeps_outside_poll: u64,
    /// Pages that the loop touched and had to wait for.
    pub major_faults: u64,
    /// Times that the loop gave the processor up: about once a wait.
    pub voluntary_switches: u64,
    /// Times that the processor was taken from it.
    pub involuntary_switches: u64,
}

/// Turns or jobs of one length.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Bucket {
    /// Below this many microseconds; `null`: longer than all others.
    pub below_us: Option<u64>,
    /// Those of this length that are not below an earlier bound.
    pub count: u64,
}

fn buckets(histogram: &Histogram) -> Vec<Bucket> {
    let bucket = |(index, count): (usize, &u64)| Bucket {
        below_us: (index + 1 < BUCKET_COUNT).then(|| 1 << index),
        count: *count,
    };
    histogram.buckets().iter().enumerate().map(bucket).collect()
}

impl TurnNumbers {
    /// Of the thread that calls, which must be that of the loop.
    pub(super) fn take(turns: &Turns, now: Instant) -> TurnNumbers {
        let usage = ThreadUsage::now();
        let longest = turns.longest();
        TurnNumbers {
            turns: turns.histogram().buckets().iter().sum(),
            turn_us: buckets(turns.histogram()),
            longest_turn_us: longest.map_or(0, |longest| {
                u64::try_from(longest.lasted.as_micros()).unwrap_or(u64::MAX)
            }),
            longest_turn_cause: longest.map(|longest| longest.cause.name()),
            longest_turn_seconds_ago: longest
                .map(|longest| now.saturating_duration_since(longest.at).as_secs()),
            sleeps_outside_poll: turns.sleeps_outside(),
            major_faults: usage.major_faults,
            voluntary_switches: usage.voluntary_switches,
            involuntary_switches: usage.involuntary_switches,
        }
    }
}

/// How the caches follow the disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct FreshnessNumbers {
    /// Longest time that a change may go unnoticed where nothing tells of it, in milliseconds.
    pub revalidate_ms: u64,
    /// The same for all that is remembered now: 0 when all of it is watched.
    pub worst_staleness_ms: u64,
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
    /// Mapped files whose changes are told by the kernel.
    pub watched_files: usize,
    /// Watches that were refused, by the kernel or by `--watch-directories`: such files are not
    /// mapped, such directories polled.
    pub watches_refused: u64,
}

impl FreshnessNumbers {
    fn take(service: &Service) -> FreshnessNumbers {
        let directories = &service.watch.directories;
        let (polled_directories, polled_entries) = directories.polled();
        FreshnessNumbers {
            revalidate_ms: service.revalidate_ms(),
            worst_staleness_ms: service.worst_staleness_ms(),
            watched_directories: directories.count(),
            polled_directories,
            polled_entries,
            root_watched: directories.is_root_watched(),
            root_switches: service.roots_served,
            overflows: service.overflows,
            watched_files: service.watch.count(),
            watches_refused: service.watch.refused(),
        }
    }
}

/// What only the loop knows.
#[derive(Clone, Debug)]
pub(super) struct LoopNumbers {
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Bytes sent.
    pub bytes_sent: SentNumbers,
    /// Bytes of access log lost.
    pub access_log_lost_bytes: u64,
    /// Its turns.
    pub turns: TurnNumbers,
}

impl Snapshot {
    /// Gathers the numbers.
    pub(super) fn take(service: &Service, ledger: &Ledger, numbers: LoopNumbers) -> Snapshot {
        let LoopNumbers {
            uptime_seconds,
            connections,
            bytes_sent,
            access_log_lost_bytes,
            turns,
        } = numbers;
        let Service {
            paths,
            maps,
            descriptors,
            ..
        } = service;
        let mut path = CacheNumbers::new(
            "path",
            paths.entry_count(),
            paths.entry_count_max(),
            paths.stats(),
        );
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
        let [_, _, success, redirection, client_error, server_error] = ledger.by_class;
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
                total: ledger.total(),
                by_status_class,
                by_status: ledger.by_status().collect(),
            },
            bytes_sent,
            caches: vec![path, map, descriptor],
            disk: DiskNumbers {
                engine: service.disk.engine.name(),
                reason: service.engine_reason.clone(),
                depth: service.disk.engine.depth(),
                waiting: service.disk.waiting_count(),
                waiting_capacity: service.disk.waiting_count_max(),
                refused: service.disk.refused(),
                job_us: buckets(service.disk.latency()),
                job_us_total: u64::try_from(service.disk.latency().total().as_micros())
                    .unwrap_or(u64::MAX),
                look_ups: service.fetches.count(),
                windows: service.residency.pending_count(),
                mappings_gone: service.mappings_gone,
            },
            turns,
            freshness: FreshnessNumbers::take(service),
            warming: service.warming.numbers(),
            access_log_lost_bytes,
        }
    }

    /// The face that a request asks for: JSON by `?format=json` or by Accept, else HTML.
    pub(super) fn document(&self, request: &Request<'_>) -> Document {
        if request.path() == METRICS_PATH {
            return Document {
                media_type: metrics::MEDIA_TYPE,
                bytes: metrics::of(self).into_bytes(),
                content_security_policy: None,
            };
        }
        if wants_json(request) {
            let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
            bytes.push(b'\n');
            return Document {
                media_type: "application/json",
                bytes,
                content_security_policy: None,
            };
        }
        match part(request) {
            Some(b"style") => resource("text/css; charset=utf-8", page::STYLE),
            Some(b"script") => resource("text/javascript; charset=utf-8", page::SCRIPT),
            _ => Document {
                media_type: "text/html; charset=utf-8",
                bytes: page::of(self).into_string().into_bytes(),
                content_security_policy: Some(CONTENT_SECURITY_POLICY),
            },
        }
    }
}

/// Which part of the page the query asks for, if it asks for one.
fn part<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let mut pairs = request.query()?.split(|byte| *byte == b'&');
    pairs.find_map(|pair| pair.strip_prefix(b"part="))
}

fn resource(media_type: &'static str, text: &str) -> Document {
    Document {
        media_type,
        bytes: text.as_bytes().to_vec(),
        content_security_policy: None,
    }
}

/// Whether the request prefers JSON: `format=json` in the query, or `application/json` in an
/// Accept that does not name HTML.
fn wants_json(request: &Request<'_>) -> bool {
    let by_query = request.query().is_some_and(|query| {
        query
            .split(|byte| *byte == b'&')
            .any(|pair| pair == b"format=json")
    });
    let accepts = |media_type: &[u8]| {
        request.lines(Field::Accept).any(|line| {
            line.split(|byte| *byte == b',')
                .filter_map(|member| member.split(|byte| *byte == b';').next())
                .any(|name| name.trim_ascii().eq_ignore_ascii_case(media_type))
        })
    };
    by_query || (accepts(b"application/json") && !accepts(b"text/html"))
}
