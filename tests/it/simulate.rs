//! `spede simulate`, compared with a small model, and with a real server.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use spede::settings::CacheBudget;
use spede::simulate::{self, LogSource, Settings};
use spede::site::media_type::MediaTypes;
use spede::site::resolve::{Directories, DotFiles, Naming};

use super::harness::{Server, Site, wait_until};

/// Longest file that is mapped in these tests.
const MAP_MAX: u64 = 4_096;

/// Caches of these sizes, without expiry within an hour.
pub fn settings(log: &Path, map_bytes_max: u64, path_count_max: usize) -> Settings {
    Settings {
        logs: vec![LogSource::File(log.to_owned())],
        root: None,
        naming: Naming {
            index: vec!["index.html".to_owned()],
            dot_files: DotFiles::Refused,
            directories: Directories::Hidden,
            media_types: MediaTypes::default(),
        },
        today: CacheBudget {
            map_bytes_max,
            map_file_length_max: MAP_MAX,
            map_count_max: 1_000,
            path_count_max,
            descriptor_count_max: Some(1_000),
            watched_directory_count_max: 0,
            revalidate: Duration::from_secs(3_600),
        },
        map_sizes: Vec::new(),
        path_sizes: Vec::new(),
        plot: None,
    }
}

/// A deterministic generator that prefers small numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn often_small(&mut self, bound: u64) -> u64 {
        let bound = 1 + self.below(bound);
        self.below(bound)
    }
}

fn length_of(file: u64) -> u64 {
    2 + file * 977 % 6_000
}

/// All lines are within one second, so that nothing expires.
pub fn line(request: &str, status: u16, bytes: u64) -> String {
    format!("::1 - - [23/Nov/2026:16:00:00 +0000] \"{request}\" {status} {bytes} \"-\" \"-\"\n")
}

/// The path of a line, and its content: the file and the number of bytes.
pub type Asked = (String, Option<(u64, u64)>);

/// A log of content, validations, HEAD and missing files, and the requests in it.
pub fn log(count: u64) -> (String, Vec<Asked>) {
    let mut random = Random(1);
    let (mut text, mut asked) = (String::new(), Vec::new());
    for _ in 0..count {
        let file = random.often_small(300);
        let (length, path) = (length_of(file), format!("/d{}/f{file}.png", file % 7));
        let (request, status, bytes) = match random.below(10) {
            0 => (format!("HEAD {path} HTTP/1.1"), 200, 0),
            1 => (format!("GET {path}?x={file} HTTP/1.1"), 304, 0),
            2 => (format!("GET http://host{path} HTTP/1.1"), 206, length / 2),
            3 => {
                let path = format!("/none/{}", random.below(500));
                text += &line(&format!("GET {path} HTTP/1.1"), 404, 9);
                asked.push((path, None));
                continue;
            }
            _ => (format!("GET {path}?q HTTP/1.1"), 200, length),
        };
        text += &line(&request, status, bytes);
        asked.push((path, (bytes > 0).then_some((file, bytes))));
    }
    (text, asked)
}

/// Path hits, file hits, and bytes of the latter, by plain LRU lists with the most recent entry last.
fn model(asked: &[Asked], map_bytes_max: u64, path_count_max: usize) -> (u64, u64, u64) {
    let mut paths: Vec<(&str, u32)> = Vec::new();
    let mut maps: Vec<u64> = Vec::new();
    let (mut path_hits, mut map_hits, mut hit_bytes) = (0, 0, 0);
    for (path, content) in asked {
        let known = paths.iter().position(|(other, _)| other == path);
        path_hits += u64::from(known.is_some());
        let requests = 1 + known.map_or(0, |at| paths.remove(at).1);
        if paths.len() == path_count_max {
            paths.remove(0);
        }
        paths.push((path, requests));
        let Some((file, bytes)) = content else {
            continue;
        };
        if length_of(*file) > MAP_MAX {
            continue;
        }
        if let Some(at) = maps.iter().position(|other| other == file) {
            map_hits += 1;
            hit_bytes += bytes;
            maps.remove(at);
        } else if requests < 2 {
            continue;
        }
        let used = |maps: &[u64]| maps.iter().map(|file| length_of(*file)).sum::<u64>();
        while used(&maps) + length_of(*file) > map_bytes_max {
            maps.remove(0);
        }
        maps.push(*file);
    }
    (path_hits, map_hits, hit_bytes)
}

#[test]
fn hits_are_those_of_a_plain_model_at_every_size() {
    let site = Site::new();
    let (text, asked) = log(20_000);
    let file = site.beside("log");
    fs::write(&file, &text).unwrap();
    let mut settings = settings(&file, 100_000, 1_000);
    settings.map_sizes = vec![20_000, 50_000, 1_000_000];
    settings.path_sizes = vec![50, 2_000];
    let report = simulate::run(&settings).unwrap();
    assert_eq!((report.line_count, report.bad_count), (20_000, 0));
    assert_eq!((report.map.len(), report.path.len()), (4, 3));
    // The model evicts the least recently used. Without evictions it is exact; otherwise the caches choose
    // better, or at least not much worse, and cannot beat a cache without evictions.
    for row in &report.map {
        let (_, hits, hit_bytes) = model(&asked, row.size, 1_000);
        let (_, hits_max, _) = model(&asked, u64::MAX, 1_000);
        if row.stats.evictions + row.stats.rejected == 0 {
            assert_eq!((row.hits, row.hit_bytes), (hits, hit_bytes), "{row:?}");
        }
        assert!(row.hits > 100 && row.hits < row.requests, "{row:?}");
        assert!(row.hits * 10 >= hits * 9 && row.hits <= hits_max, "{row:?}");
    }
    for row in &report.path {
        let path_count_max = usize::try_from(row.size).unwrap();
        let (hits, ..) = model(&asked, 100_000, path_count_max);
        let (hits_max, ..) = model(&asked, 100_000, usize::MAX);
        if row.stats.evictions + row.stats.rejected == 0 {
            assert_eq!(row.hits, hits, "{row:?}");
        }
        assert_eq!(row.requests, 20_000, "{row:?}");
        assert!(row.hits * 10 >= hits * 9 && row.hits <= hits_max, "{row:?}");
    }
    let words = report.to_string();
    assert!(words.contains("Choose --map-cache 1000000B."), "{words}");
    assert!(words.contains("Choose --path-cache 2000."), "{words}");
}

/// A size gives the same result alone and beside smaller ones.
#[test]
fn a_size_gives_what_it_gives_alone() {
    let site = Site::new();
    let file = site.beside("log");
    fs::write(&file, log(20_000).0).unwrap();
    let sizes = [20_000, 200_000, 300_000, 400_000, 800_000];
    let row = |map_bytes_max: u64, others: &[u64]| {
        let mut settings = settings(&file, map_bytes_max, 1_000);
        settings.map_sizes = others.to_vec();
        let report = simulate::run(&settings).unwrap();
        report.map
    };
    let together = row(sizes[0], &sizes[1..]);
    for (size, beside) in sizes.into_iter().zip(&together) {
        let alone = &row(size, &[])[0];
        assert_eq!((beside.size, alone.size), (size, size));
        // Hashes with a random seed may decide which of two equally popular entries is evicted.
        let off = beside.hits.abs_diff(alone.hits);
        assert!(off <= 100, "{size}: {beside:?} {alone:?}");
    }
    let is_growing = together
        .windows(2)
        .all(|two| two[0].hits <= two[1].hits + 100);
    assert!(is_growing, "{together:?}");
}

#[test]
fn expired_entries_are_revalidations_and_no_misses() {
    let site = Site::new();
    let file = site.beside("log");
    let mut text = String::new();
    for second in [0, 0, 1, 5, 5, 30] {
        writeln!(
            text,
            r#"{{"time":{second},"request":"GET /a HTTP/1.1","status":200,"bytes":9}}"#
        )
        .unwrap();
    }
    fs::write(&file, text).unwrap();
    let mut settings = settings(&file, 1_000, 10);
    settings.today.revalidate = Duration::from_secs(3);
    let report = simulate::run(&settings).unwrap();
    let (path, map) = (report.path[0], report.map[0]);
    assert_eq!((path.hits, path.checks, path.requests), (5, 2, 6));
    assert_eq!((path.stats.hits, path.stats.misses), (3, 1));
    assert_eq!((map.hits, map.requests), (4, 6));
}

/// The counters that both have.
fn counters(cache: &serde_json::Value) -> HashMap<&str, u64> {
    ["hits", "misses", "expired", "evictions"]
        .into_iter()
        .map(|name| (name, cache[name].as_u64().unwrap()))
        .collect()
}

#[test]
fn a_replay_counts_what_the_server_counted() {
    for format in ["combined", "json"] {
        check_replay(format);
    }
}

/// Sends requests to a server, and replays its log.
fn check_replay(format: &str) {
    let site = Site::new();
    for file in 0..80 {
        let length = usize::try_from(length_of(file)).unwrap();
        site.file(&format!("d/f{file}.png"), vec![b'x'; length]);
    }
    site.file("d/index.html", "hello");
    let log = site.beside("log");
    // On the loop, so that a file is mapped before the next request is read.
    let words = "--disk blocking --revalidate 1h --map-cache 60000 --map-max 4096 --path-cache 60 \
                 --descriptors 1000";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(["--access-log", log.to_str().unwrap()]);
    words.extend(["--access-log-format", format]);
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    let mut random = Random(7);
    // Without a complete response the log does not contain the length of a file.
    for file in 0..80 {
        client.get(&format!("/d/f{file}.png"), &[]);
    }
    let count = 3_000;
    for _ in 0..count {
        let path = format!("/d/f{}.png", random.often_small(80));
        match random.below(12) {
            0 => client.request("HEAD", &path, &[]),
            1 => client.get(&path, &["If-None-Match: *"]),
            2 => client.get(&path, &["Range: bytes=0-0"]),
            3 => client.get("/d", &[]),
            4 => client.get("/d/?x", &[]),
            5 => client.get(&format!("/none/{}", random.below(99)), &[]),
            6 => client.get("/d/.hidden", &[]),
            7 => client.request("POST", &path, &[]),
            _ => client.get(&path, &[]),
        };
    }
    let numbers = server.numbers();
    let lines = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    wait_until("the log is written", || lines() > 80 + count);
    for root in [None, Some(site.root())] {
        let mut settings = settings(&log, 60_000, 60);
        settings.root = root;
        let report = simulate::run(&settings).unwrap();
        for (index, row) in [(0, report.path[0]), (1, report.map[0])] {
            let ours = serde_json::to_value(row.stats).unwrap();
            let (ours, its) = (counters(&ours), counters(&numbers["caches"][index]));
            // Hashes with a random seed may decide which of two equally popular entries is evicted.
            for (name, count) in &its {
                let difference = count.abs_diff(ours[name]);
                assert!(
                    difference <= 10 + count / 20,
                    "{format}, cache {index}: {ours:?} {its:?}"
                );
            }
            assert!(ours["hits"] > 100 && ours["evictions"] > 10, "{ours:?}");
        }
    }
}

/// The curve is a sample; its accuracy shows over all sizes together.
#[test]
fn the_curve_says_what_a_replay_of_the_log_says() {
    let site = Site::new();
    for file in 0..3_000 {
        site.file(&format!("{file}"), "content");
    }
    let log = site.beside("log");
    let words = "--disk blocking --revalidate 1h --path-cache 1024 --descriptors 1000 --access-log";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.push(log.to_str().unwrap());
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    let mut random = Random(5);
    let count = 20_000;
    for index in 0..count {
        match random.below(5) {
            // Paths requested once, and broken links.
            0 => client.get(&format!("/try/{index}"), &[]),
            1 => client.get(&format!("/gone/{}", random.often_small(1_000)), &[]),
            _ => client.get(&format!("/{}", random.often_small(3_000)), &[]),
        };
    }
    let curve = server.numbers()["caches"][0]["curve"].clone();
    let points = curve["points"].as_array().unwrap();
    let lines = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    wait_until("the log is written", || lines() > count);
    let mut settings = settings(&log, 1 << 20, 1_024);
    let sizes = points
        .iter()
        .map(|point| point["capacity"].as_u64().unwrap());
    settings.path_sizes = sizes.collect();
    let report = simulate::run(&settings).unwrap();
    let mut off = Vec::new();
    for (point, row) in points.iter().zip(&report.path) {
        assert_eq!(point["capacity"], row.size);
        #[allow(clippy::cast_precision_loss)]
        let replayed = row.hits as f64 / row.requests as f64;
        off.push((point["hit_ratio"].as_f64().unwrap() - replayed).abs());
    }
    assert_eq!(off.len(), 9);
    assert!(off[4] < 0.01, "at the size that it has: {off:?}");
    // A small cache leaves few sampled keys: twelve servers were off by 0.01 to 0.03.
    #[allow(clippy::cast_precision_loss)]
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    assert!(mean < 0.06, "{mean}: {off:?}");
}

#[test]
fn a_root_tells_lengths_that_the_log_does_not() {
    let site = Site::new();
    site.file("index.html", vec![b'x'; 1_000]);
    let log = site.beside("log");
    fs::write(&log, line("GET / HTTP/1.1", 206, 10).repeat(5)).unwrap();
    let mut settings = settings(&log, 60_000, 60);
    let report = simulate::run(&settings).unwrap();
    assert_eq!(report.map[0].requests, 0);
    assert!(
        report
            .to_string()
            .contains("omitted from the file cache (--root DIR gives it): 1\n")
    );
    settings.root = Some(site.root());
    let report = simulate::run(&settings).unwrap();
    let row = report.map[0];
    assert_eq!((row.requests, row.hits, row.bytes_used), (5, 3, 1_000));
}
