//! The numbers as a page for people.

use maud::{DOCTYPE, Markup, html};

use super::{CacheNumbers, Snapshot, TurnNumbers};

/// The page.
pub(super) fn of(snapshot: &Snapshot) -> Markup {
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
                    h1 { "spede " (snapshot.version) }
                    p {
                        "Up " (duration(snapshot.uptime_seconds)) ", disk engine "
                        strong { (snapshot.disk.engine) } " (" (snapshot.disk.reason) "). "
                        a href="?format=json" { "The same as JSON" }
                    }
                }
                main {
                    section aria-labelledby="caches" {
                        h2 id="caches" { "Caches" }
                        (cache_table(&snapshot.caches))
                        p.note {
                            (freshness(snapshot))
                        }
                    }
                    (section("requests", "Requests", &request_figures(snapshot)))
                    (section("connections", "Connections", &connection_figures(snapshot)))
                    (section("sent", "Sent", &[
                        ("from mappings and memory", bytes(snapshot.bytes_sent.gathered)),
                        ("by sendfile", bytes(snapshot.bytes_sent.sendfile)),
                    ]))
                    (section("disk", "Disk", &disk_figures(snapshot)))
                    (section("loop", "Loop", &loop_figures(&snapshot.turns)))
                }
            }
        }
    }
}

/// How the caches follow the disk, in words.
fn freshness(snapshot: &Snapshot) -> String {
    let fresh = &snapshot.freshness;
    let noticed = match fresh.worst_staleness_ms {
        0 => String::from("Every change is noticed by the next request"),
        ms => format!("A change is noticed within {} ms", number(ms)),
    };
    format!(
        "{noticed}: {} directories and {} mapped files are watched, {} directories are looked at \
         again after {} ms. Events were lost {} times, watches refused {} times.",
        number(fresh.watched_directories as u64),
        number(fresh.watched_files as u64),
        number(fresh.polled_directories as u64),
        number(fresh.revalidate_ms),
        number(fresh.overflows),
        number(fresh.watches_refused),
    )
}

fn section(id: &str, title: &str, rows: &[(&str, String)]) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (figures(rows))
        }
    }
}

fn request_figures(snapshot: &Snapshot) -> [(&'static str, String); 5] {
    let classes = snapshot.requests.by_status_class;
    [
        ("answered", number(snapshot.requests.total)),
        ("2xx", number(classes.success)),
        ("3xx", number(classes.redirection)),
        ("4xx", number(classes.client_error)),
        ("5xx", number(classes.server_error)),
    ]
}

fn connection_figures(snapshot: &Snapshot) -> [(&'static str, String); 6] {
    let connections = snapshot.connections;
    [
        ("open", number(connections.open as u64)),
        ("idle", number(connections.idle as u64)),
        ("answering", number(connections.answering as u64)),
        ("at most", number(connections.capacity as u64)),
        ("accepted", number(connections.accepted)),
        ("accept pauses", number(connections.accept_pauses)),
    ]
}

fn disk_figures(snapshot: &Snapshot) -> [(&'static str, String); 6] {
    let disk = &snapshot.disk;
    [
        ("jobs under way", number(disk.depth as u64)),
        ("jobs waiting", number(disk.waiting as u64)),
        ("jobs refused", number(disk.refused)),
        ("look-ups under way", number(disk.look_ups as u64)),
        ("windows being read", number(disk.windows as u64)),
        ("mappings whose pages had gone", number(disk.mappings_gone)),
    ]
}

fn loop_figures(turns: &TurnNumbers) -> [(&'static str, String); 5] {
    [
        ("turns", number(turns.turns)),
        ("99 % of turns below", turns_below(turns, 0.99)),
        ("longest turn", longest_turn(turns)),
        ("sleeps outside its wait", number(turns.sleeps_outside_poll)),
        ("pages waited for", number(turns.major_faults)),
    ]
}

/// The bound that this share of all turns stayed below.
fn turns_below(turns: &TurnNumbers, share: f64) -> String {
    let mut count = 0;
    for bucket in &turns.turn_us {
        count += bucket.count;
        // Counts stay far below 2^52, where f64 is exact.
        #[allow(clippy::cast_precision_loss)]
        let is_enough = count as f64 >= share * turns.turns as f64;
        if let (true, Some(below)) = (is_enough, bucket.below_us) {
            return match below {
                ..1_000 => format!("{below} µs"),
                _ => format!("{}.{} ms", below / 1_000, below % 1_000 / 100),
            };
        }
    }
    String::from("more than a second")
}

fn longest_turn(turns: &TurnNumbers) -> String {
    let micros = turns.longest_turn_us;
    match turns.longest_turn_cause {
        Some(cause) => format!("{}.{} ms ({cause})", micros / 1_000, micros % 1_000 / 100),
        None => String::from("–"),
    }
}

fn cache_table(caches: &[CacheNumbers]) -> Markup {
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
                    @for cache in caches {
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

fn figures(rows: &[(&str, String)]) -> Markup {
    html! {
        dl {
            @for (name, value) in rows {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
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
