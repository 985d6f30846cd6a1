//! Eviction policies: plain LRU and others compared with ours, on synthetic workloads, by request and byte
//! hit ratio. `cargo bench --bench policies` prints the table of docs/design.md, and then the cost of a
//! lookup with and without the curve.

#![allow(missing_docs, clippy::print_stdout, clippy::cast_precision_loss)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used
)]

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use lru::LruCache;
use spede::cache::content::{Budget, ContentCache};
use spede::cache::curve::TakenIn;
use spede::sys::file::{FileTime, FileVersion};

#[path = "../src/cache/workload.rs"]
#[allow(unreachable_pub)]
mod workload;

use workload::{Ask, mix};

const FILES: usize = 50_000;
const REQUESTS: usize = 1_000_000;
/// Default maximum length of a mapped file.
const MAPPED_LENGTH_MAX: u64 = 16 << 10;

/// A policy with a size: decides whether a request is a hit.
trait Policy {
    fn ask(&mut self, ask: Ask) -> bool;
}

/// Our cache; inserts at the second request, or at the first.
struct Product {
    cache: ContentCache<()>,
    seen: Option<HashSet<u64>>,
}

fn version(ask: Ask) -> FileVersion {
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

impl Policy for Product {
    fn ask(&mut self, ask: Ask) -> bool {
        let version = version(ask);
        let is_hit = self.cache.look_up(&version).is_some();
        let enters = self.seen.as_mut().is_none_or(|seen| !seen.insert(ask.key));
        if !is_hit && enters {
            self.cache.insert(version, ());
        }
        is_hit
    }
}

/// Least recently used; `seen`: inserts at the second request.
struct Lru {
    entries: LruCache<u64, u64, RandomState>,
    bytes: u64,
    bytes_max: u64,
    seen: Option<HashSet<u64>>,
}

fn list<V>() -> LruCache<u64, V, RandomState> {
    LruCache::unbounded_with_hasher(RandomState::default())
}

impl Policy for Lru {
    fn ask(&mut self, ask: Ask) -> bool {
        let enters = self.seen.as_mut().is_none_or(|seen| !seen.insert(ask.key));
        if self.entries.get(&ask.key).is_some() {
            return true;
        }
        if enters && ask.length <= self.bytes_max {
            self.entries.put(ask.key, ask.length);
            self.bytes += ask.length;
            while self.bytes > self.bytes_max {
                self.bytes -= self.entries.pop_lru().unwrap().1;
            }
        }
        false
    }
}

/// Segmented LRU: a hit moves an entry to the protected list, four fifths of the size. With `counts`, a new
/// entry must have been requested more often than the entry it would evict, and there is no window.
struct Segmented {
    probation: LruCache<u64, u64, RandomState>,
    protected: LruCache<u64, u64, RandomState>,
    bytes: u64,
    protected_bytes: u64,
    bytes_max: u64,
    counts: Option<HashMap<u64, u32>>,
    asked: usize,
    halve_every: usize,
}

impl Segmented {
    fn count(&mut self, key: u64) {
        let Some(counts) = &mut self.counts else {
            return;
        };
        *counts.entry(key).or_default() += 1;
        self.asked += 1;
        if self.asked.is_multiple_of(self.halve_every) {
            counts.values_mut().for_each(|count| *count /= 2);
            counts.retain(|_, count| *count > 0);
        }
    }

    fn may_enter(&self, ask: Ask) -> bool {
        let Some(counts) = &self.counts else {
            return true;
        };
        let count = |key| counts.get(&key).copied().unwrap_or(0);
        let mut bytes = self.bytes + ask.length;
        for (key, length) in self
            .probation
            .iter()
            .rev()
            .chain(self.protected.iter().rev())
        {
            if bytes <= self.bytes_max {
                break;
            }
            if count(*key) >= count(ask.key) {
                return false;
            }
            bytes -= length;
        }
        true
    }
}

impl Policy for Segmented {
    fn ask(&mut self, ask: Ask) -> bool {
        self.count(ask.key);
        if self.protected.get(&ask.key).is_some() {
            return true;
        }
        if let Some(length) = self.probation.pop(&ask.key) {
            self.protected.put(ask.key, length);
            self.protected_bytes += length;
            while self.protected_bytes > self.bytes_max / 5 * 4 {
                let (key, length) = self.protected.pop_lru().unwrap();
                self.protected_bytes -= length;
                self.probation.put(key, length);
            }
            return true;
        }
        if ask.length <= self.bytes_max && self.may_enter(ask) {
            self.probation.put(ask.key, ask.length);
            self.bytes += ask.length;
            while self.bytes > self.bytes_max {
                let length = match self.probation.pop_lru() {
                    Some((_, length)) => length,
                    None => {
                        let length = self.protected.pop_lru().unwrap().1;
                        self.protected_bytes -= length;
                        length
                    }
                };
                self.bytes -= length;
            }
        }
        false
    }
}

fn policies(bytes_max: u64, entries: usize) -> [(&'static str, Box<dyn Policy>); 6] {
    let product = |seen| {
        let budget = Budget {
            bytes_max,
            count_max: 1 << 20,
        };
        let cache = ContentCache::new(budget);
        Box::new(Product { cache, seen })
    };
    let lru = |seen| {
        Box::new(Lru {
            entries: list(),
            bytes: 0,
            bytes_max,
            seen,
        })
    };
    let segmented = |counts| {
        Box::new(Segmented {
            probation: list(),
            protected: list(),
            bytes: 0,
            protected_bytes: 0,
            bytes_max,
            counts,
            asked: 0,
            halve_every: entries * 10,
        })
    };
    [
        ("LRU", lru(None)),
        ("LRU, second", lru(Some(HashSet::new()))),
        ("segmented", segmented(None)),
        ("seg. TinyLFU", segmented(Some(HashMap::new()))),
        ("spede", product(None)),
        ("spede, second", product(Some(HashSet::new()))),
    ]
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// Prints one table. `length`: the weight of a request; 0: not for this cache.
fn table(title: &str, length: impl Fn(&Ask) -> u64) {
    println!("\n{title}\n");
    let mut sums = [(0.0, 0.0); 6];
    let mut rows = 0.0;
    for workload in workload::all(FILES, REQUESTS) {
        let asks: Vec<Ask> = workload
            .asks
            .iter()
            .map(|ask| Ask {
                key: ask.key,
                length: length(ask),
            })
            .filter(|ask| ask.length > 0)
            .collect();
        let files: HashMap<u64, u64> = asks.iter().map(|ask| (ask.key, ask.length)).collect();
        let (count, bytes): (usize, u64) = (files.len(), files.values().sum());
        for share in [100, 20, 5] {
            print!("| {} | {} % |", workload.name, 100 / share);
            rows += 1.0;
            let run = policies(bytes / share, count / share as usize);
            for (at, (name, mut policy)) in run.into_iter().enumerate() {
                let (mut hits, mut hit_bytes, mut all_bytes) = (0, 0, 0);
                for ask in &asks {
                    let is_hit = policy.ask(*ask);
                    hits += u64::from(is_hit);
                    hit_bytes += if is_hit { ask.length } else { 0 };
                    all_bytes += ask.length;
                }
                let (requests, bytes) = (
                    percent(hits, asks.len() as u64),
                    percent(hit_bytes, all_bytes),
                );
                sums[at].0 += requests;
                sums[at].1 += bytes;
                assert!(requests > 0.0, "{name}");
                print!(" {requests:.1} / {bytes:.1} |");
            }
            println!();
        }
    }
    print!("| mean | |");
    for (requests, bytes) in sums {
        print!(" {:.1} / {:.1} |", requests / rows, bytes / rows);
    }
    println!();
}

/// CPU time of this thread in nanoseconds.
fn cpu_ns() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Prints the cost of a request in caches of two sizes, interleaved, as the minimum of five rounds.
fn cost() {
    println!("\nns a look-up: `lru` alone, without the curve, with it");
    for (files, bytes_max, alpha) in [
        (10_000, 256_u64 << 20, 1.0),
        (200_000, 256 << 20, 1.0),
        (200_000, 256 << 20, 0.8),
        (40_000, 16 << 20, 1.0),
        (40_000, 16 << 20, 0.8),
    ] {
        let zipf = workload::Zipf::new(files, alpha);
        let mut random = workload::Random(3);
        let asks: Vec<Ask> = (0..REQUESTS)
            .map(|_| Ask {
                key: mix(zipf.draw(&mut random) as u64),
                length: 4_096,
            })
            .collect();
        let budget = Budget {
            bytes_max,
            count_max: 1 << 20,
        };
        let mut plain: LruCache<FileVersion, (), RandomState> =
            LruCache::unbounded_with_hasher(RandomState::default());
        plain.resize(std::num::NonZeroUsize::new(bytes_max as usize / 4_096).unwrap());
        let mut without = Product {
            cache: ContentCache::new(budget),
            seen: None,
        };
        let cache = ContentCache::new(budget).with_curve(TakenIn::First);
        let mut with = Product { cache, seen: None };
        let mut least = [f64::MAX; 3];
        let mut hits = 0_u64;
        for _ in 0..6 {
            let mut note = |at: usize, run: &mut dyn FnMut()| {
                let start = cpu_ns();
                run();
                least[at] = least[at].min((cpu_ns() - start) / REQUESTS as f64);
            };
            note(0, &mut || {
                for ask in &asks {
                    if plain.get(&version(*ask)).is_none() {
                        plain.put(version(*ask), ());
                    }
                }
            });
            note(1, &mut || asks.iter().for_each(|ask| _ = without.ask(*ask)));
            note(2, &mut || {
                hits += asks.iter().filter(|ask| with.ask(**ask)).count() as u64;
            });
        }
        println!(
            "{files} files, {} MiB, zipf {alpha}: {:.0} {:.0} {:.0} ({:.0} % hits)",
            bytes_max >> 20,
            least[0],
            least[1],
            least[2],
            percent(hits, 6 * REQUESTS as u64)
        );
    }
}

fn main() {
    println!(
        "| workload | size | LRU | LRU, second | segmented | seg. TinyLFU | spede | spede, second |"
    );
    table("Entries:", |_| 1);
    table("Bytes of files up to 16 KiB:", |ask| match ask.length {
        length if length <= MAPPED_LENGTH_MAX => length,
        _ => 0,
    });
    cost();
}
