//! The parts of a hot request, one at a time: `cargo bench --bench micro`. None makes a system call.
//! Allocations are counted as well as times.
//!
//! `cargo bench --bench guard` counts the instructions of whole requests, if valgrind is installed.

#[path = "hot.rs"]
#[allow(unreachable_pub)]
mod hot;

use divan::{AllocProfiler, Bencher, black_box};
use hot::{Hot, KINDS};
use spede::cache::content::{Budget, ContentCache};
use spede::cache::key::PathKey;
use spede::cache::path::{Known, PathCache};
use spede::conn::outbox::Pool;
use spede::http::content_coding::{self, Coding, CodingSet};
use spede::http::range::RangeLimits;
use spede::http::request;
use spede::site::representation::{Representation, Vary};
use spede::site::response;
use spede::site::validators::Sighting;
use spede::sys::file::{FileTime, FileVersion};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

fn bytes_of(kind: &str) -> &'static [u8] {
    let (_, bytes) = KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .expect("a kind");
    bytes.as_bytes()
}

/// From the bytes of a request to those of its answer.
#[divan::bench(args = kinds())]
fn whole_request(bencher: Bencher<'_, '_>, kind: &str) {
    let mut hot = Hot::new();
    let bytes = bytes_of(kind);
    hot.answer(bytes);
    bencher.bench_local(|| hot.answer(black_box(bytes)));
}

#[divan::bench]
fn sixteen_pipelined(bencher: Bencher<'_, '_>) {
    let mut hot = Hot::new();
    let bytes = bytes_of("GET").repeat(16);
    hot.answer(&bytes);
    bencher.bench_local(|| hot.answer(black_box(&bytes)));
}

#[divan::bench(args = kinds())]
fn parse_head(bencher: Bencher<'_, '_>, kind: &str) {
    let limits = hot::policy().head;
    let bytes = bytes_of(kind);
    bencher.bench_local(|| request::parse(black_box(bytes), &limits).is_ok());
}

/// The lookup plan of an unknown path.
#[divan::bench(args = ["/", "/a/b/c/style.css", "/caf%C3%A9/%7Euser/x.png"])]
fn plan(bencher: Bencher<'_, '_>, path: &str) {
    bencher.bench_local(|| hot::lookup(black_box(path.as_bytes())));
}

#[divan::bench(args = kinds())]
fn decide(bencher: Bencher<'_, '_>, kind: &str) {
    let hot = Hot::new();
    let bytes = bytes_of(kind);
    let head = request::parse(bytes, &hot.policy.head)
        .expect("valid")
        .expect("whole");
    let request = head.facts(bytes);
    let limits = RangeLimits { count_max: 16 };
    bencher.bench_local(|| {
        response::select(black_box(&request), &hot.representation, limits, &hot.now)
    });
}

#[divan::bench]
fn choose_coding(bencher: Bencher<'_, '_>) {
    let mut there = CodingSet::default();
    there.insert(Coding::Gzip);
    there.insert(Coding::Brotli);
    let lines = [&b"gzip, deflate, br;q=0.9, zstd, *;q=0"[..]];
    bencher.bench_local(|| content_coding::choose(black_box(lines), there));
}

/// Once for each version of a file.
#[divan::bench]
fn describe_file(bencher: Bencher<'_, '_>) {
    let hot = Hot::new();
    let version = hot.representation.version;
    bencher.bench_local(|| {
        Representation::new(
            "text/html",
            Sighting::of(black_box(version)),
            Coding::Identity,
            Vary::Nothing,
            &hot.now,
        )
    });
}

/// Copied into each response.
#[divan::bench]
fn render_head(bencher: Bencher<'_, '_>) {
    let hot = Hot::new();
    let mut buffer = Vec::with_capacity(1_024);
    bencher.bench_local(|| {
        buffer.clear();
        let last = Default::default();
        hot.representation
            .head
            .append_to(black_box(&mut buffer), &hot.now, last);
    });
}

fn key(path: &[u8]) -> PathKey<'_> {
    PathKey::new(hot::SITE, path)
}

/// A cache of this many paths, which are requested one after another.
fn filled(hot: &mut Hot, count: usize) -> (PathCache, Vec<String>) {
    let mut cache = PathCache::new(count.try_into().expect("a size"));
    let Known::Fresh(entry) = hot.paths.look_up(key(b"/file"), &hot.now) else {
        panic!("it is known");
    };
    let paths: Vec<String> = (0..count)
        .map(|index| format!("/some/where/{index}.html"))
        .collect();
    for path in &paths {
        cache.insert(key(path.as_bytes()), entry.clone(), &mut |_, _| {});
    }
    (cache, paths)
}

#[divan::bench(args = [64, 65_536])]
fn path_hit(bencher: Bencher<'_, '_>, count: usize) {
    let mut hot = Hot::new();
    let (mut cache, paths) = filled(&mut hot, count);
    let mut at = 0;
    bencher.bench_local(|| {
        at = (at + 7) % paths.len();
        matches!(
            cache.look_up(key(paths[at].as_bytes()), &hot.now),
            Known::Fresh(_)
        )
    });
}

/// A miss and its insertion, in a full cache.
#[divan::bench]
fn path_miss_and_insert(bencher: Bencher<'_, '_>) {
    let mut hot = Hot::new();
    let (mut cache, paths) = filled(&mut hot, 4_096);
    let Known::Fresh(entry) = cache.look_up(key(paths[0].as_bytes()), &hot.now) else {
        panic!("it is known");
    };
    let mut number = 0_u64;
    bencher.bench_local(|| {
        number += 1;
        let path = number.to_le_bytes();
        let _ = cache.look_up(key(&path), &hot.now);
        cache.insert(key(&path), entry.clone(), &mut |_, _| {});
    });
}

fn version(inode: u64) -> FileVersion {
    let time = FileTime {
        seconds: 1,
        nanoseconds: 0,
    };
    FileVersion {
        device: 1,
        inode,
        length: 4_096,
        modified: time,
        changed: time,
    }
}

fn held(count: usize) -> ContentCache<u64> {
    let mut cache = ContentCache::new(Budget {
        bytes_max: 4_096 * count as u64,
        count_max: count,
    });
    for inode in 0..count as u64 {
        cache.insert(version(inode), inode);
    }
    cache
}

#[divan::bench]
fn map_hit(bencher: Bencher<'_, '_>) {
    let mut cache = held(4_096);
    let mut inode = 0;
    bencher.bench_local(|| {
        inode = (inode + 7) % 3_000;
        cache.look_up(black_box(&version(inode))).copied()
    });
}

#[divan::bench]
fn map_miss_and_insert(bencher: Bencher<'_, '_>) {
    let mut cache = held(4_096);
    let mut inode = 1_000_000;
    bencher.bench_local(|| {
        inode += 1;
        let version = version(inode);
        let _ = cache.look_up(&version);
        cache.insert(version, inode).len()
    });
}

/// Buffers are lent to a connection during an iteration.
#[divan::bench]
fn lend_buffers(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(17 << 10);
    bencher.bench_local(|| {
        let (inbox, outbox) = (pool.inbox(), pool.outbox());
        pool.give_inbox(inbox);
        pool.give_outbox(outbox);
    });
}
