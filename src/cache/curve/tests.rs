//! The curve against the caches themselves at each of its sizes.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{
    Curve, CurvePart, CurvePoint, Holding, Key, Room, Sampler, Space, TakenIn, Unit, miniature,
};
use crate::cache::content::{Budget, ContentCache};
use crate::cache::entry::{Entry, Resolution, Seen};
use crate::cache::key::PathKey;
use crate::cache::path::{Known, PathCache};
use crate::cache::workload::{self, Ask, Random, Workload, Zipf};
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::sites::SiteId;
use crate::site::validators::Sighting;
use crate::sys::file::{FileTime, FileVersion};

/// Longest file that is mapped by default.
const MAPPED_LENGTH_MAX: u64 = 16 << 10;

pub(in crate::cache) fn now() -> Now {
    let wall = FileTime {
        seconds: 1_000_000,
        nanoseconds: 0,
    };
    Now::at(Instant::now(), wall)
}

fn version(ask: &Ask) -> FileVersion {
    let time = FileTime {
        seconds: 1,
        nanoseconds: 1,
    };
    FileVersion {
        device: 1,
        inode: ask.key,
        length: ask.length,
        modified: time,
        changed: time,
    }
}

/// Hit ratio of a simulation, in requests and in bytes.
type Ratios = (f64, f64);

#[derive(Default)]
struct Tally {
    hits: u64,
    count: u64,
    hit_bytes: u64,
    bytes: u64,
}

impl Tally {
    fn note(&mut self, is_hit: bool, length: u64) {
        self.count += 1;
        self.bytes += length;
        self.hits += u64::from(is_hit);
        self.hit_bytes += if is_hit { length } else { 0 };
    }

    #[allow(clippy::cast_precision_loss)]
    fn ratios(&self) -> Ratios {
        (
            self.hits as f64 / self.count as f64,
            self.hit_bytes as f64 / self.bytes as f64,
        )
    }
}

/// Mapped files, each from the second request on, as the server does it.
fn run_maps(asks: &[Ask], bytes_max: u64) -> (Ratios, Option<Curve>) {
    let budget = Budget {
        bytes_max,
        count_max: 32_768,
    };
    let mut cache = ContentCache::new(budget).with_curve(TakenIn::Second);
    let (mut seen, mut tally) = (HashSet::new(), Tally::default());
    for ask in asks.iter().filter(|ask| ask.length <= MAPPED_LENGTH_MAX) {
        let version = version(ask);
        let is_hit = cache.look_up(&version).is_some();
        tally.note(is_hit, ask.length);
        if !is_hit && !seen.insert(ask.key) {
            cache.insert(version, ());
        }
    }
    (tally.ratios(), cache.curve())
}

/// An entry for a file of about this length, shared by all of them: rendering heads takes long.
pub(in crate::cache) fn entries(now: &Now) -> Vec<Rc<Entry>> {
    let entry = |bits: u32| {
        let file = Ask {
            key: 1,
            length: 1 << bits,
        };
        let identity = Representation::new(
            "a/b",
            Sighting::of(version(&file)),
            Coding::Identity,
            Vary::Nothing,
            now,
        );
        let resolution = Resolution::File {
            variants: Variants {
                identity,
                coded: Box::default(),
            },
            seen: Seen::default(),
        };
        Rc::new(Entry::trusted(resolution, now, Duration::from_secs(3_600)))
    };
    (0..32).map(entry).collect()
}

/// An entry for what is not there.
pub(in crate::cache) fn missing(now: &Now) -> Rc<Entry> {
    let hour = Duration::from_secs(3_600);
    let resolution = Resolution::Refused(Status::NotFound);
    Rc::new(Entry::trusted(resolution, now, hour))
}

fn run_paths(asks: &[Ask], entry_count_max: usize) -> (Ratios, Option<Curve>) {
    let now = now();
    let entries = entries(&now);
    let missing = missing(&now);
    let mut cache = PathCache::new(NonZeroUsize::new(entry_count_max).expect("a size"));
    let mut tally = Tally::default();
    for ask in asks {
        let bytes = ask.key.to_le_bytes();
        let path = PathKey::new(SiteId::FIRST, &bytes);
        let bits = ask.length.checked_ilog2().map(|bits| bits.min(31));
        let entry = bits.map_or(&missing, |bits| &entries[bits as usize]);
        let is_hit = matches!(cache.look_up(path, &now), Known::Fresh(_));
        tally.note(is_hit, bits.map_or(0, |bits| 1 << bits));
        if !is_hit {
            cache.insert(path, Rc::clone(entry), &mut |_, _| {});
        }
    }
    (tally.ratios(), cache.curve())
}

/// Mean absolute errors of every second point, in requests and bytes.
fn errors(curve: &Curve, exact: impl Fn(u64) -> Ratios) -> Ratios {
    let points: Vec<&CurvePoint> = curve.points.iter().step_by(2).collect();
    let mut sum = (0.0, 0.0);
    for point in &points {
        let (requests, bytes) = exact(point.capacity);
        sum.0 += (point.hit_ratio - requests).abs();
        sum.1 += (point.hit_ratio_bytes - bytes).abs();
    }
    #[allow(clippy::cast_precision_loss)]
    let count = points.len() as f64;
    (sum.0 / count, sum.1 / count)
}

fn working_set(workload: &Workload) -> (usize, u64) {
    let mut keys = HashSet::new();
    let small = |ask: &&Ask| ask.length <= MAPPED_LENGTH_MAX;
    let all: HashSet<u64> = workload.asks.iter().map(|ask| ask.key).collect();
    let bytes = workload
        .asks
        .iter()
        .filter(small)
        .filter(|ask| keys.insert(ask.key))
        .map(|ask| ask.length)
        .sum();
    (all.len(), bytes)
}

/// The files and requests of the test: few enough for an unoptimised build.
const FILES: usize = 40_000;
const REQUESTS: usize = 50_000;
/// The caches hold one part in so many of the working set.
const SHARE: usize = 4;
/// What is promised of requests, and what is true of bytes of mapped files. Of the bytes that paths
/// lead to nothing is: one file of a gibibyte, sampled or not, moves them.
const OFF_MAX: f64 = 0.02;
const OFF_BYTES_MAX: f64 = 0.03;

/// The same, with two requests in five that lead nowhere: half of these are a scan of names that never come
/// again, the others follow broken links, by Zipf 0.8.
fn names_tried(among: &Workload) -> Workload {
    let links = Zipf::new(FILES / 8, 0.8);
    let mut random = Random(22);
    let nothing = |name: usize| Ask {
        key: workload::mix(name as u64 + 1) ^ 1 << 63,
        length: 0,
    };
    let asks = among.asks.iter().enumerate().map(|(at, ask)| match at % 5 {
        0 => nothing(FILES + at),
        1 => nothing(links.draw(&mut random)),
        _ => *ask,
    });
    Workload {
        name: "zipf 0.8, names tried",
        asks: asks.collect(),
    }
}

#[test]
fn curves_of_paths_are_off_by_at_most_two_hundredths() {
    let mut workloads = workload::all(FILES, REQUESTS);
    let tried = names_tried(&workloads[1]);
    workloads.push(tried);
    for workload in workloads {
        let capacity = working_set(&workload).0 / SHARE;
        let curve = run_paths(&workload.asks, capacity).1.expect("a curve");
        assert_eq!(
            (curve.points.len(), curve.points[4].capacity),
            (9, capacity as u64)
        );
        let off = errors(&curve, |capacity| {
            run_paths(&workload.asks, usize::try_from(capacity).expect("a size")).0
        });
        println!("{:20} paths {:.4} {:.4}", workload.name, off.0, off.1);
        assert!(off.0 <= OFF_MAX, "{}: {off:?}", workload.name);
    }
}

#[test]
fn curves_of_mappings_are_off_by_at_most_two_hundredths() {
    for workload in workload::all(FILES, REQUESTS) {
        let capacity = working_set(&workload).1 / SHARE as u64;
        let curve = run_maps(&workload.asks, capacity).1.expect("a curve");
        let off = errors(&curve, |capacity| run_maps(&workload.asks, capacity).0);
        println!("{:20} maps {:.4} {:.4}", workload.name, off.0, off.1);
        let is_near = off.0 <= OFF_MAX && off.1 <= OFF_BYTES_MAX;
        assert!(is_near, "{}: {off:?}", workload.name);
    }
}

/// Where nothing can be mapped, a larger cache has nothing either.
#[test]
fn what_is_missed_at_any_size_is_missed_at_each() {
    let workload = &workload::all(FILES, REQUESTS)[1];
    let budget = Budget {
        bytes_max: 4 << 20,
        count_max: 32_768,
    };
    let mut cache = ContentCache::<()>::new(budget).with_curve(TakenIn::Second);
    for ask in &workload.asks {
        assert!(cache.look_up(&version(ask)).is_none());
    }
    let ratios = cache.curve().expect("a curve").points;
    // The difference between two miniatures is all that is left, less what they share.
    assert_eq!(ratios[4].hit_ratio, 0.0);
    assert!(
        ratios[..4].iter().all(|point| point.hit_ratio == 0.0),
        "{ratios:?}"
    );
}

/// A cache that first sees what never comes back, and then one file only, is soon said to hit.
#[test]
fn what_was_long_ago_is_forgotten() {
    let space = Space {
        room: Room {
            weight_max: u64::MAX,
            count_max: 1_024,
        },
        apart_count_max: 128,
    };
    let key = |hash| Key {
        hash,
        place: CurvePart::Main,
        weight: 1,
        bytes: 10,
    };
    let mut sampler = Sampler::new(Unit::Entries, space, TakenIn::First).expect("a sampler");
    assert_eq!(sampler.curve(), None);
    let full = Holding {
        count: 1_024,
        weight: 1_024,
    };
    for number in 0..100_000 {
        sampler.count_miss();
        sampler.show_missed(key(workload::mix(number)), full);
    }
    let ratios = |sampler: &Sampler| {
        let curve = sampler.curve().expect("a curve");
        curve
            .points
            .iter()
            .map(|point| point.hit_ratio)
            .collect::<Vec<f64>>()
    };
    assert!(ratios(&sampler).iter().all(|ratio| *ratio < 0.05));
    for _ in 0..super::HALVE_EVERY * 4 {
        sampler.count_hit(10);
    }
    sampler.show(key(1), full);
    assert!(ratios(&sampler).iter().all(|ratio| *ratio > 0.97));
    for miniature in &sampler.miniatures {
        assert!(miniature.len() <= miniature::COUNT_MAX);
    }
}
