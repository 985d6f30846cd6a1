//! Tests of entity tags: how they are made and how lists of them are read.

use super::*;
use proptest::prelude::*;

fn tag() -> EntityTag {
    EntityTag::of_time_and_length(0x3b9a_ca00, 0x1f4, Coding::Identity).expect("it fits")
}

#[test]
fn a_tag_is_written_in_hexadecimal_and_says_its_coding() {
    #[rustfmt::skip]
    let cases = [
        (EntityTag::of_hash(0, Coding::Identity),              "\"0000000000000000\""),
        (EntityTag::of_hash(0xabc, Coding::Identity),          "\"0000000000000abc\""),
        (EntityTag::of_hash(u64::MAX, Coding::Gzip),           "\"ffffffffffffffff-gzip\""),
        (EntityTag::of_hash(7, Coding::Brotli),                "\"0000000000000007-br\""),
        (EntityTag::of_hash(7, Coding::Zstd),                  "\"0000000000000007-zstd\""),
    ];
    for (tag, want) in cases {
        assert_eq!(tag.field(), want.as_bytes(), "{want}");
    }
    let end = (1 << 56) - 1;
    #[rustfmt::skip]
    let cases = [
        // As nginx has it: a file of 500 bytes written at 100,000,000 s.
        (100_000_000,         500,     Coding::Identity, Some("\"5f5e100-1f4\"")),
        (0,                   0,       Coding::Brotli,   Some("\"0-0-br\"")),
        (u32::MAX.into(),     end,     Coding::Gzip,     Some("\"ffffffff-ffffffffffffff-gzip\"")),
        (-1,                  5,       Coding::Identity, None),
        (1 << 32,             5,       Coding::Identity, None),
        (0,                   end + 1, Coding::Identity, None),
    ];
    for (seconds, length, coding, want) in cases {
        let tag = EntityTag::of_time_and_length(seconds, length, coding);
        let field = tag.as_ref().map(EntityTag::field);
        assert_eq!(
            field,
            want.map(str::as_bytes),
            "{seconds} s, {length} bytes"
        );
    }
}

#[test]
fn a_list_matches_what_stands_before_its_first_fault() {
    #[rustfmt::skip]
    let cases: &[(&[&[u8]], bool, bool, &str)] = &[
        // lines                                  strong weak   because
        (&[b"\"3b9aca00-1f4\""],                  true,  true,  "the tag"),
        (&[b"W/\"3b9aca00-1f4\""],                false, true,  "the tag, weak"),
        (&[b"w/\"3b9aca00-1f4\""],                false, false, "w is not W"),
        (&[b"\"3b9aca00-1F4\""],                  false, false, "case matters"),
        (&[b"3b9aca00-1f4"],                      false, false, "no quotes"),
        (&[b"\"3b9aca00-1f4"],                    false, false, "no closing quote"),
        (&[b"*"],                                 true,  true,  "anything"),
        (&[b" *\t"],                              true,  true,  "anything, with whitespace"),
        (&[b"*", b"*"],                           false, false, "not alone"),
        (&[b"*, \"3b9aca00-1f4\""],               false, false, "not alone: malformed at once"),
        (&[b"\"3b9aca00-1f4\", *"],               true,  true,  "the fault comes after"),
        (&[b"\"a\", *"],                          false, false, "a star in a list is a fault"),
        (&[b"\"*\""],                             false, false, "a tag that looks like a star"),
        (&[b"\"a\", \"3b9aca00-1f4\""],           true,  true,  "second"),
        (&[b"\"a\",\"3b9aca00-1f4\""],            true,  true,  "no whitespace"),
        (&[b"\"a,b\", \"3b9aca00-1f4\""],         true,  true,  "a comma within quotes"),
        (&[b"\"a,\"3b9aca00-1f4\""],              false, false, "a missing quote"),
        (&[b"\"a\" \"3b9aca00-1f4\""],            false, false, "a missing comma"),
        (&[b"\"3b9aca00-1f4\" \"a\""],            false, false, "the fault touches the member"),
        (&[b"x, \"3b9aca00-1f4\""],               false, false, "after a fault"),
        (&[b"x", b"\"3b9aca00-1f4\""],            false, false, "after a fault in another line"),
        (&[b"\"a\"", b"\"3b9aca00-1f4\""],        true,  true,  "lines are one list"),
        (&[b"", b", ,", b"\"3b9aca00-1f4\" ,"],   true,  true,  "empty members"),
        (&[b"\"\xe9\xff\", \"3b9aca00-1f4\""],    true,  true,  "obs-text"),
        (&[b"\"a b\", \"3b9aca00-1f4\""],         false, false, "a space within quotes"),
        (&[b"\"a\\\"b\", \"3b9aca00-1f4\""],      false, false, "no escapes in tags"),
        (&[b"W/ \"3b9aca00-1f4\""],               false, false, "a space after W/"),
        (&[b"\"\""],                              false, false, "an empty tag is another tag"),
        (&[b""],                                  false, false, "an empty line"),
        (&[],                                     false, false, "no line"),
    ];
    for (lines, by_strong, by_weak, because) in cases {
        let own = tag();
        let got = |tag, how| list_names(tag, lines.iter().copied(), how);
        let (strong, weak) = (Comparison::Strong, Comparison::Weak);
        assert_eq!(got(Some(&own), strong), *by_strong, "strong: {because}");
        assert_eq!(got(Some(&own), weak), *by_weak, "weak: {because}");
        // What has no tag is named by nothing but a star.
        let star = lines.len() == 1 && lines[0].trim_ascii() == b"*";
        assert_eq!(got(None, strong), star, "no tag, strong: {because}");
        assert_eq!(got(None, weak), star, "no tag, weak: {because}");
    }
}

#[test]
fn a_single_tag_matches_only_as_a_whole() {
    #[rustfmt::skip]
    let cases: &[(&[u8], bool, bool, &str)] = &[
        (b"\"3b9aca00-1f4\"",         true,  true,  "the tag"),
        (b"W/\"3b9aca00-1f4\"",       false, true,  "the tag, weak"),
        (b"\"3b9aca00-1f5\"",         false, false, "another"),
        (b"\"3b9aca00-1f4\", \"a\"",  false, false, "a list"),
        (b"\"3b9aca00-1f4\" ",        false, false, "more than the tag"),
        (b"*",                        false, false, "a star"),
        (b"",                         false, false, "nothing"),
    ];
    for (field, by_strong, by_weak, because) in cases {
        let got = |how| tag().matches_exactly(field, how);
        assert_eq!(got(Comparison::Strong), *by_strong, "{because}");
        assert_eq!(got(Comparison::Weak), *by_weak, "{because}");
    }
}

/// A few tags as clients send them, so that equal ones are common.
fn some_field() -> impl Strategy<Value = String> {
    ("(W/)?", 0..2_u64).prop_map(|(weak, hash)| {
        let tag = EntityTag::of_hash(hash, Coding::Identity);
        format!("{weak}{}", String::from_utf8_lossy(tag.field()))
    })
}

proptest! {
    #[test]
    fn no_bytes_make_a_comparison_panic(lines: Vec<Vec<u8>>, field: Vec<u8>) {
        let lines = || lines.iter().map(Vec::as_slice);
        let by_strong = list_names(Some(&tag()), lines(), Comparison::Strong);
        prop_assert!(!by_strong || list_names(Some(&tag()), lines(), Comparison::Weak));
        let _ = tag().matches_exactly(&field, Comparison::Weak);
    }

    /// The bytes that lists are made of, which random bytes rarely are.
    #[test]
    fn no_list_like_bytes_make_a_comparison_panic(line in "[*W/\", \ta\u{e9}]{0,24}") {
        let _ = list_names(Some(&tag()), [line.as_bytes()], Comparison::Weak);
        let _ = tag().matches_exactly(line.as_bytes(), Comparison::Weak);
    }

    #[test]
    fn every_hash_has_a_tag_that_matches_itself(hash: u64, other: u64) {
        let tag = EntityTag::of_hash(hash, Coding::Zstd);
        prop_assert!(tag.matches_exactly(tag.field(), Comparison::Strong));
        prop_assert!(list_names(Some(&tag), [tag.field()], Comparison::Strong));
        prop_assert_eq!(tag == EntityTag::of_hash(other, Coding::Zstd), hash == other);
        prop_assert_ne!(tag, EntityTag::of_hash(hash, Coding::Gzip));
    }

    #[test]
    fn a_well_formed_list_matches_if_a_member_does(
        hash in 0..2_u64,
        members in prop::collection::vec((some_field(), "[ \t]{0,2}(,[ \t]{0,2}){1,3}"), 0..5),
        break_at in 0..5_usize,
    ) {
        let tag = EntityTag::of_hash(hash, Coding::Identity);
        let mut lines = vec![Vec::new()];
        for (index, (member, separator)) in members.iter().enumerate() {
            if index == break_at {
                lines.push(Vec::new());
            }
            let line = lines.last_mut().expect("there is one");
            line.extend_from_slice(member.as_bytes());
            line.extend_from_slice(separator.as_bytes());
        }
        let own = String::from_utf8_lossy(tag.field()).into_owned();
        let by_strong = members.iter().any(|(held, _)| *held == own);
        let by_weak = members.iter().any(|(held, _)| held.trim_start_matches("W/") == own);
        let lines = || lines.iter().map(Vec::as_slice);
        prop_assert_eq!(list_names(Some(&tag), lines(), Comparison::Strong), by_strong);
        prop_assert_eq!(list_names(Some(&tag), lines(), Comparison::Weak), by_weak);
    }
}
