//! Tests of ranges, with the cases that have broken other servers.

use super::Selection::{Several, Single, Unsatisfiable, Whole};
use super::*;
use proptest::prelude::*;

const LIMITS: RangeLimits = RangeLimits { count_max: 4 };

/// What a part costs.
const OVERHEAD: u64 = 120;

fn range(first: u64, last: u64) -> ByteRange {
    ByteRange { first, last }
}

fn bytes(first: u64, last: u64) -> Selection {
    Single(range(first, last))
}

fn parts(ranges: &[(u64, u64)]) -> Selection {
    Several(
        ranges
            .iter()
            .map(|(first, last)| range(*first, *last))
            .collect(),
    )
}

fn check(cases: &[(&str, u64, Selection, &str)]) {
    for (field, complete_length, want, because) in cases {
        let got = select(field.as_bytes(), *complete_length, || OVERHEAD, LIMITS);
        assert_eq!(
            got, *want,
            "Range: {field} of {complete_length} bytes: {because}"
        );
    }
}

#[test]
fn one_range_selects_what_the_rfc_says() {
    #[rustfmt::skip]
    check(&[
        // Range field                   of bytes  selects           because
        ("bytes=0-499",                  1_000, bytes(0, 499),   "first 500 bytes"),
        ("bytes=500-999",                1_000, bytes(500, 999), "last 500 bytes"),
        ("bytes=500-1000",               1_000, bytes(500, 999), "past the end: cut"),
        ("bytes=0-0",                    1_000, bytes(0, 0),     "one byte"),
        ("bytes=999-999",                1_000, bytes(999, 999), "the last byte"),
        ("bytes=0-",                     1_000, bytes(0, 999),   "open: all, but 206"),
        ("bytes=-500",                   1_000, bytes(500, 999), "suffix"),
        ("bytes=-1000",                  1_000, bytes(0, 999),   "suffix as long as the file"),
        ("bytes=-5000",                  1_000, bytes(0, 999),   "suffix longer than the file"),
        ("bytes=0-99999999999999999999", 1_000, bytes(0, 999),   "past 2^64: saturates"),
        ("bytes=-99999999999999999999",  1_000, bytes(0, 999),   "suffix past 2^64"),
        ("bytes=0-18446744073709551615", 1_000, bytes(0, 999),   "2^64 - 1"),
        ("bytes=0-18446744073709551615", u64::MAX, bytes(0, u64::MAX - 1), "of the longest file"),
        ("bytes=0007-0009",              1_000, bytes(7, 9),     "leading zeros"),
        ("BYTES=0-4",                    1_000, bytes(0, 4),     "any case"),
        ("bytes= \t0-4 ,",               1_000, bytes(0, 4),     "whitespace, empty member"),
        ("bytes=1000-",                  1_000, Unsatisfiable,   "one past the last byte"),
        ("bytes=99999999999999999999-",  1_000, Unsatisfiable,   "from past 2^64"),
        ("bytes=-0",                     1_000, Unsatisfiable,   "no bytes"),
        ("bytes=0-",                     1,     bytes(0, 0),     "one byte"),
        ("bytes=1-",                     1,     Unsatisfiable,   "one past it"),
    ]);
}

#[test]
fn a_range_that_is_malformed_or_too_much_is_ignored() {
    #[rustfmt::skip]
    check(&[
        ("bytes=5-4",                    1_000, Whole, "malformed: inverted"),
        ("bytes=0-4,5-4",                1_000, Whole, "malformed in any member"),
        ("bytes=5000-4000",              1_000, Whole, "inverted past the end"),
        ("lines=0-4",                    1_000, Whole, "unknown unit"),
        ("byte=0-4",                     1_000, Whole, "unknown unit, shorter"),
        ("bytes 0-4",                    1_000, Whole, "no equals sign"),
        ("bytes =0-4",                   1_000, Whole, "a space before it"),
        (" bytes=0-4",                   1_000, Whole, "not trimmed"),
        ("bytes=",                       1_000, Whole, "no member"),
        ("bytes=, ,",                    1_000, Whole, "only empty members"),
        ("bytes=-",                      1_000, Whole, "no number"),
        ("bytes=5",                      1_000, Whole, "no dash"),
        ("bytes=0--4",                   1_000, Whole, "two dashes"),
        ("bytes=--4",                    1_000, Whole, "a negative suffix"),
        ("bytes=+0-4",                   1_000, Whole, "a sign"),
        ("bytes=0x0-4",                  1_000, Whole, "no decimal"),
        ("bytes=0 - 4",                  1_000, Whole, "spaces within"),
        ("bytes=0-4;5-6",                1_000, Whole, "another separator"),
        ("bytes=a-b",                    1_000, Whole, "letters"),
        ("bytes=0-4\u{663}",             1_000, Whole, "digits of another script"),
        ("bytes=0-0,200-200,400-400,600-600,800-800", 1_000, Whole, "more than count_max"),
        ("",                             1_000, Whole, "nothing"),
    ]);
}

#[test]
fn without_any_to_give_every_range_is_ignored() {
    let limits = RangeLimits { count_max: 0 };
    for field in ["bytes=0-4", "bytes=0-4,6-7", "bytes=5000-"] {
        assert_eq!(
            select(field.as_bytes(), 1_000, || OVERHEAD, limits),
            Whole,
            "{field}"
        );
    }
}

#[test]
fn every_range_of_an_empty_file_is_the_whole_of_it() {
    for field in [
        "bytes=0-",
        "bytes=0-0",
        "bytes=5-",
        "bytes=-5",
        "bytes=-0",
        "bytes=0-,-5",
    ] {
        assert_eq!(
            select(field.as_bytes(), 0, || OVERHEAD, LIMITS),
            Whole,
            "{field}"
        );
    }
}

#[test]
fn several_ranges_keep_their_order_and_become_one_where_they_meet() {
    #[rustfmt::skip]
    check(&[
        ("bytes=0-0,-1",                 1_000, parts(&[(0, 0), (999, 999)]), "first and last"),
        ("bytes=-1,0-0",                 1_000, parts(&[(999, 999), (0, 0)]), "in this order"),
        ("bytes=0-4,,6-9, ,12-",         1_000, parts(&[(0, 4), (6, 9), (12, 999)]), "empty"),
        ("bytes=0-0,2-2,4-4,6-6",        1_000, parts(&[(0, 0), (2, 2), (4, 4), (6, 6)]), "most"),
        ("bytes=0-4,3-8",                1_000, bytes(0, 8),   "overlap"),
        ("bytes=0-4,5-8",                1_000, bytes(0, 8),   "touch"),
        ("bytes=5-8,0-4",                1_000, bytes(0, 8),   "touch, unsorted"),
        ("bytes=0-4,6-8",                1_000, parts(&[(0, 4), (6, 8)]), "one byte between"),
        ("bytes=0-,0-,0-,0-,0-",         1_000, bytes(0, 999), "all, more often than count_max"),
        ("bytes=9999-,0-0,2-2,4-4,6-6",  1_000, parts(&[(0, 0), (2, 2), (4, 4), (6, 6)]), "most are there"),
        ("bytes=0-1,2-3,4-5,6-7,9-9",    1_000, parts(&[(0, 7), (9, 9)]), "five that are two"),
        ("bytes=0-499,500-",             1_000, bytes(0, 999), "all, in halves"),
        ("bytes=0-9,2-3,5-",             1_000, bytes(0, 999), "one within another"),
        ("bytes=100-,50-60,0-4",         1_000, parts(&[(100, 999), (50, 60), (0, 4)]), "falling"),
        ("bytes=50-60,0-4,61-70",        1_000, parts(&[(50, 70), (0, 4)]), "in the first's place"),
        ("bytes=0-4,50-60,5-49",         1_000, bytes(0, 60),  "joined by a third"),
        ("bytes=0-4,1000-",              1_000, bytes(0, 4),   "one of two is there"),
        ("bytes=-0,0-4,9-9",             1_000, parts(&[(0, 4), (9, 9)]), "two of three are"),
        ("bytes=1000-,2000-",            1_000, Unsatisfiable, "none is"),
        ("bytes=0-0,18446744073709551614-", u64::MAX,
            parts(&[(0, 0), (u64::MAX - 1, u64::MAX - 1)]), "at the end of the longest file"),
    ]);
}

/// `count` ranges of `length` bytes, `gap` bytes apart, the last first.
fn falling(count: u64, length: u64, gap: u64) -> (String, Vec<(u64, u64)>) {
    let first = |at: u64| at * (length + gap);
    let all: Vec<_> = (0..count)
        .rev()
        .map(|at| (first(at), first(at) + length - 1))
        .collect();
    let members: Vec<_> = all
        .iter()
        .map(|(first, last)| format!("{first}-{last}"))
        .collect();
    (format!("bytes={}", members.join(",")), all)
}

#[test]
fn gaps_are_sent_along_where_part_heads_cost_more() {
    let limits = RangeLimits { count_max: 256 };
    #[rustfmt::skip]
    let cases = [
        // count, length, gap, of bytes, whether they are joined, because
        (17,  1,     1,   1 << 30, false, "17 heads of 120 bytes are 2,040"),
        (18,  1,     1,   1 << 30, true,  "18 are 2,160, and longer than 18 bytes"),
        (18,  119,   1,   1 << 30, true,  "as long as a head, but for one byte"),
        (18,  120,   1,   1 << 30, false, "as long as a head: to the byte"),
        (256, 1,     119, 1 << 30, true,  "a gap shorter than a head"),
        (256, 1,     120, 1 << 30, false, "a gap as long as a head"),
        (256, 4_096, 1,   1 << 30, false, "as zchunk asks"),
        (257, 4_096, 119, 1 << 30, true,  "more than count_max"),
        (18,  200,   119, 18 * 320, false, "shorter than the whole by 1 byte and the gap at its end"),
        (18,  200,   119, 18 * 319, true,  "longer than the whole"),
    ];
    for (count, length, gap, complete_length, are_joined, because) in cases {
        let (field, all) = falling(count, length, gap);
        let got = select(field.as_bytes(), complete_length, || OVERHEAD, limits);
        let want = match are_joined {
            true => bytes(0, all[0].1),
            false => parts(&all),
        };
        assert_eq!(got, want, "{count} of {length}, {gap} apart: {because}");
    }
    // Two clusters stay two, in the order of the field.
    let (field, _) = falling(20, 1, 1);
    let field = format!("bytes=9000-9000,{},9010-9010", &field["bytes=".len()..]);
    let want = parts(&[(9_000, 9_010), (0, 38)]);
    assert_eq!(select(field.as_bytes(), 1 << 30, || OVERHEAD, limits), want);
}

#[test]
fn a_range_has_at_least_one_byte() {
    assert_eq!(range(0, 0).length(), 1);
    assert_eq!(range(500, 999).length(), 500);
    assert_eq!(range(0, u64::MAX).length(), u64::MAX);
}

#[test]
fn ten_thousand_ranges_are_one_sort() {
    let limits = RangeLimits { count_max: 10_000 };
    let list = |range: fn(u64) -> String| {
        let members: Vec<_> = (0..10_000).rev().map(range).collect();
        format!("bytes={}", members.join(","))
    };
    let apart = select(
        list(|at| format!("{}-{}", at * 2, at * 2)).as_bytes(),
        1 << 30,
        || 1,
        limits,
    );
    let want: Vec<_> = (0..10_000).rev().map(|at| range(at * 2, at * 2)).collect();
    assert_eq!(apart, Several(want));
    let touching = select(
        list(|at| format!("{at}-{at}")).as_bytes(),
        1 << 30,
        || OVERHEAD,
        limits,
    );
    assert_eq!(touching, bytes(0, 9_999));
}

/// Marks each byte, then reads the runs off the marks. A run stands where the first member that
/// touches it stood.
fn naive(members: &[String], complete_length: usize) -> Selection {
    let mut place_of = vec![None; complete_length];
    for (place, member) in members.iter().enumerate() {
        let (first, last) = member.split_once('-').expect("a dash");
        let (first, last) = match (first, last) {
            ("", length) => {
                let length: usize = length.parse().expect("a number");
                (complete_length.saturating_sub(length), complete_length)
            }
            (first, "") => (first.parse().expect("a number"), complete_length),
            (first, last) => (
                first.parse().expect("a number"),
                last.parse::<usize>()
                    .expect("a number")
                    .saturating_add(1)
                    .min(complete_length),
            ),
        };
        for mark in place_of.get_mut(first..last).unwrap_or_default() {
            *mark = mark.or(Some(place));
        }
    }
    let mut runs: Vec<(usize, ByteRange)> = Vec::new();
    for (offset, mark) in (0_u64..).zip(&place_of) {
        match (mark, runs.last_mut()) {
            (Some(place), Some((first_place, run))) if run.last + 1 == offset => {
                run.last = offset;
                *first_place = (*first_place).min(*place);
            }
            (Some(place), _) => runs.push((*place, range(offset, offset))),
            (None, _) => {}
        }
    }
    runs.sort_by_key(|(place, _)| *place);
    match (complete_length, &runs[..]) {
        (0, _) => Whole,
        (_, []) => Unsatisfiable,
        (_, [(_, run)]) => Single(*run),
        _ => Several(runs.into_iter().map(|(_, run)| run).collect()),
    }
}

/// A well-formed member about files of up to 40 bytes.
fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..45_u64).prop_map(|first| format!("{first}-")),
        (0..45_u64).prop_map(|length| format!("-{length}")),
        (0..45_u64, 0..12_u64).prop_map(|(first, more)| format!("{first}-{}", first + more)),
    ]
}

proptest! {
    #[test]
    fn a_well_formed_field_selects_what_marking_each_byte_does(
        members in prop::collection::vec(member(), 1..9),
        complete_length in 0..40_usize,
    ) {
        let field = format!("bytes={}", members.join(" ,\t, "));
        let length = u64::try_from(complete_length).expect("small");
        let got = select(field.as_bytes(), length, || OVERHEAD, RangeLimits { count_max: 9 });
        if let Several(ranges) = &got {
            prop_assert!(ranges.iter().map(ByteRange::length).sum::<u64>() < length);
        }
        prop_assert_eq!(got, naive(&members, complete_length), "{}", field);
    }

    #[test]
    fn no_answer_in_parts_is_much_longer_than_the_whole(
        members in prop::collection::vec((0..20_000_u64, 1..400_u64), 2..256),
        complete_length in 1..20_000_u64,
    ) {
        let list: Vec<_> = members.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
        let field = format!("bytes={}", list.join(","));
        let limits = RangeLimits { count_max: 256 };
        if let Several(ranges) = select(field.as_bytes(), complete_length, || OVERHEAD, limits) {
            let count = u64::try_from(ranges.len()).expect("few");
            let sum: u64 = ranges.iter().map(ByteRange::length).sum();
            prop_assert!(sum + count * OVERHEAD <= complete_length + OVERHEAD_FREE);
            for (first, more) in members.iter().filter(|(first, _)| *first < complete_length) {
                let last = (first + more).min(complete_length - 1);
                prop_assert!(ranges.iter().any(|range| range.first <= *first && last <= range.last));
            }
        }
    }

    #[test]
    fn no_bytes_make_the_selection_panic(mut field: Vec<u8>, complete_length: u64) {
        let _ = select(&field, complete_length, || OVERHEAD, LIMITS);
        field.splice(0..0, *b"bytes=");
        let _ = select(&field, complete_length, || OVERHEAD, LIMITS);
    }

    #[test]
    fn every_selected_range_lies_within_the_file(
        set in "[-0-9, ]{0,40}", complete_length: u64,
    ) {
        let field = format!("bytes={set}");
        let ranges = match select(field.as_bytes(), complete_length, || OVERHEAD, LIMITS) {
            Single(range) => vec![range],
            Several(ranges) => ranges,
            Whole | Unsatisfiable => vec![],
        };
        let answer: u64 = ranges.iter().map(|range| range.length().saturating_add(OVERHEAD)).sum();
        prop_assert!(ranges.len() < 2 || answer <= complete_length.saturating_add(OVERHEAD_FREE));
        for range in &ranges {
            prop_assert!(range.first <= range.last && range.last < complete_length);
        }
    }
}

#[test]
fn a_content_range_has_room_for_all_numbers() {
    let max = u64::MAX;
    #[rustfmt::skip]
    let cases = [
        (ContentRange::of(ByteRange { first: 0, last: 9 }, 1_000),     "bytes 0-9/1000".to_owned()),
        (ContentRange::of(ByteRange { first: max, last: max }, max),   format!("bytes {max}-{max}/{max}")),
        (ContentRange::unsatisfied(0),                                 "bytes */0".to_owned()),
        (ContentRange::unsatisfied(max),                               format!("bytes */{max}")),
    ];
    for (range, want) in cases {
        assert_eq!(range.value(), want.as_bytes());
    }
}
