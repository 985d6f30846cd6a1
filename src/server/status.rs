//! The status page: one struct of numbers, shown as JSON and as HTML.
//!
//! Field names are part of the interface: they are added, not renamed. `schema` counts changes
//! that are not additions. No file names appear, so nothing that was refused can.

use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use super::service::Service;
use crate::cache::stats::CacheStats;
use crate::conn::Document;
use crate::conn::ledger::Ledger;
use crate::http::request::{Field, Request};

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
    /// Freshness.
    pub freshness: FreshnessNumbers,
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
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct RequestNumbers {
    /// In all.
    pub total: u64,
    /// By class of their status.
    pub by_status_class: ByClass,
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
}

impl CacheNumbers {
    fn new(name: &'static str, entries: usize, capacity: usize, stats: CacheStats) -> CacheNumbers {
        let look_ups = stats.hits + stats.misses + stats.expired;
        // Counts stay far below 2^52, where f64 is exact.
        #[allow(clippy::cast_precision_loss)]
        let hit_ratio = (look_ups > 0).then(|| stats.hits as f64 / look_ups as f64);
        CacheNumbers {
            name,
            entries,
            capacity,
            bytes: None,
            capacity_bytes: None,
            stats,
            hit_ratio,
        }
    }
}

/// The disk engine.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct DiskNumbers {
    /// Its name.
    pub engine: &'static str,
    /// Jobs under way.
    pub depth: usize,
    /// Look-ups that connections wait for.
    pub look_ups: usize,
}

/// How the caches follow the disk.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct FreshnessNumbers {
    /// Longest time that a changed path may be answered from the old entry, in milliseconds.
    pub revalidate_ms: u64,
    /// Mapped files whose changes are told by the kernel.
    pub watched_files: usize,
    /// Watches that the kernel refused; such files are not mapped.
    pub watches_refused: u64,
}

/// What only the loop knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoopNumbers {
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Connections.
    pub connections: ConnectionNumbers,
    /// Bytes sent.
    pub bytes_sent: SentNumbers,
    /// Bytes of access log lost.
    pub access_log_lost_bytes: u64,
}

impl Snapshot {
    /// Gathers the numbers.
    pub(super) fn take(service: &Service, ledger: &Ledger, numbers: LoopNumbers) -> Snapshot {
        let LoopNumbers {
            uptime_seconds,
            connections,
            bytes_sent,
            access_log_lost_bytes,
        } = numbers;
        let Service {
            paths,
            maps,
            descriptors,
            ..
        } = service;
        let path = CacheNumbers::new(
            "path",
            paths.entry_count(),
            paths.entry_count_max(),
            paths.stats(),
        );
        let count_max = maps.budget().count_max;
        let mut map = CacheNumbers::new("map", maps.entry_count(), count_max, maps.stats());
        map.bytes = Some(maps.bytes());
        map.capacity_bytes = Some(maps.budget().bytes_max);
        let count_max = descriptors.budget().count_max;
        let count = descriptors.entry_count();
        let descriptor = CacheNumbers::new("descriptor", count, count_max, descriptors.stats());
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
            },
            bytes_sent,
            caches: vec![path, map, descriptor],
            disk: DiskNumbers {
                engine: service.disk.name(),
                depth: service.disk.depth(),
                look_ups: service.fetches.count(),
            },
            freshness: FreshnessNumbers {
                revalidate_ms: service.revalidate_ms(),
                watched_files: service.watch.count(),
                watches_refused: service.watch.refused(),
            },
            access_log_lost_bytes,
        }
    }

    /// The face that a request asks for: JSON by `?format=json` or by Accept, else HTML.
    pub(super) fn document(&self, request: &Request<'_>) -> Document {
        if wants_json(request) {
            let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
            bytes.push(b'\n');
            return Document {
                media_type: "application/json",
                bytes,
                content_security_policy: None,
            };
        }
        Document {
            media_type: "text/html; charset=utf-8",
            bytes: self.page().into_string().into_bytes(),
            content_security_policy: Some(
                "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            ),
        }
    }

    fn page(&self) -> Markup {
        let classes = self.requests.by_status_class;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "spede status" }
                    style { (maud::PreEscaped(include_str!("status.css"))) }
                }
                body {
                    header {
                        h1 { "spede " (self.version) }
                        p {
                            "Up " (duration(self.uptime_seconds)) ", disk engine "
                            strong { (self.disk.engine) } ". "
                            a href="?format=json" { "The same as JSON" }
                        }
                    }
                    main {
                        section aria-labelledby="caches" {
                            h2 id="caches" { "Caches" }
                            (self.cache_table())
                            p.note {
                                "A changed path is noticed within "
                                (self.freshness.revalidate_ms) " ms; "
                                (number(self.freshness.watched_files as u64))
                                " mapped files are watched for changes in place."
                            }
                        }
                        section aria-labelledby="requests" {
                            h2 id="requests" { "Requests" }
                            (figures(&[
                                ("answered", number(self.requests.total)),
                                ("2xx", number(classes.success)),
                                ("3xx", number(classes.redirection)),
                                ("4xx", number(classes.client_error)),
                                ("5xx", number(classes.server_error)),
                            ]))
                        }
                        section aria-labelledby="connections" {
                            h2 id="connections" { "Connections" }
                            (figures(&[
                                ("open", number(self.connections.open as u64)),
                                ("idle", number(self.connections.idle as u64)),
                                ("answering", number(self.connections.answering as u64)),
                                ("at most", number(self.connections.capacity as u64)),
                                ("accepted", number(self.connections.accepted)),
                                ("accept pauses", number(self.connections.accept_pauses)),
                            ]))
                        }
                        section aria-labelledby="sent" {
                            h2 id="sent" { "Sent" }
                            (figures(&[
                                ("from mappings and memory", bytes(self.bytes_sent.gathered)),
                                ("by sendfile", bytes(self.bytes_sent.sendfile)),
                                ("disk jobs under way", number(self.disk.depth as u64)),
                                ("look-ups under way", number(self.disk.look_ups as u64)),
                            ]))
                        }
                    }
                }
            }
        }
    }

    fn cache_table(&self) -> Markup {
        html! {
            div.scroll tabindex="0" role="region" aria-labelledby="caches" {
                table {
                    thead {
                        tr {
                            @for title in ["cache", "hit ratio", "hits", "misses", "expired",
                                "entries", "of", "bytes", "of", "evictions", "changed"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody {
                        @for cache in &self.caches {
                            tr {
                                th scope="row" { (cache.name) }
                                td {
                                    @match cache.hit_ratio {
                                        Some(ratio) => (format!("{:.1} %", ratio * 100.0)),
                                        None => "–",
                                    }
                                }
                                td { (number(cache.stats.hits)) }
                                td { (number(cache.stats.misses)) }
                                td { (number(cache.stats.expired)) }
                                td { (number(cache.entries as u64)) }
                                td { (number(cache.capacity as u64)) }
                                td { (cache.bytes.map_or("–".into(), bytes)) }
                                td { (cache.capacity_bytes.map_or("–".into(), bytes)) }
                                td { (number(cache.stats.evictions)) }
                                td { (number(cache.stats.changed)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn figures(rows: &[(&str, String)]) -> Markup {
    html! {
        dl {
            @for (name, value) in rows {
                div { dt { (name) } dd { (value) } }
            }
        }
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

/// A number with its thousands apart.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that reads best.
fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1_024 {
        return format!("{value} B");
    }
    #[allow(clippy::cast_precision_loss)]
    let mut scaled = value as f64 / 1_024.0;
    let mut unit = 0;
    while scaled >= 1_024.0 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [number(0), number(999), number(1_000), number(1_234_567)].join(" "),
            "0 999 1,000 1,234,567"
        );
        assert_eq!(
            [bytes(1_023), bytes(1_024), bytes(256 << 20)].join(" "),
            "1023 B 1.0 KiB 256.0 MiB"
        );
        assert_eq!(
            [duration(59), duration(61), duration(90_000)].join(", "),
            "59 s, 1 min 1 s, 1 d 1 h"
        );
    }
}
