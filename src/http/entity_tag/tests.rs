//! Tests of entity tags: how they are made and how lists of them are read.

use super::*;
use proptest::prelude::*;

fn strong() -> EntityTag {
    EntityTag::of_version(1, 0, 0x1f4, Strength::Strong)
}

fn weak() -> EntityTag {
    EntityTag::of_version(1, 0, 0x1f4, Strength::Weak)
}

#[test]
fn a_tag_is_made_of_mtime_and_length_alone() {
    #[rustfmt::skip]
    let cases: &[(i64, u32, u64, Strength, &str)] = &[
        (1, 0, 0x1f4,          Strength::Strong, "\"3b9aca00-1f4\""),
        (1, 0, 0x1f4,          Strength::Weak,   "W/\"3b9aca00-1f4\""),
        (1, 1, 0x1f4,          Strength::Strong, "\"3b9aca01-1f4\""),
        (0, 0, 0,              Strength::Strong, "\"0-0\""),
        (-1, 999_999_999, 5,   Strength::Strong, "\"-1-5\""),
        (-2, 0, 5,             Strength::Strong, "\"-77359400-5\""),
        (i64::MAX, u32::MAX, u64::MAX, Strength::Weak,
            "W/\"1dcd650000000000c46535ff-ffffffffffffffff\""),
        (i64::MIN, 0, u64::MAX, Strength::Weak,
            "W/\"-1dcd65000000000000000000-ffffffffffffffff\""),
    ];
    for (seconds, nanoseconds, length, strength, want) in cases {
        let tag = EntityTag::of_version(*seconds, *nanoseconds, *length, *strength);
        assert_eq!(
            tag.field(),
            want.as_bytes(),
            "{seconds} s, {nanoseconds} ns, {length} bytes"
        );
        assert_eq!(tag.strength(), *strength);
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
        let got = |tag: EntityTag, how| tag.matches_list(lines.iter().copied(), how);
        assert_eq!(
            got(strong(), Comparison::Strong),
            *by_strong,
            "strong: {because}"
        );
        assert_eq!(got(strong(), Comparison::Weak), *by_weak, "weak: {because}");
        let star = lines.len() == 1 && lines[0].trim_ascii() == b"*";
        assert_eq!(
            got(weak(), Comparison::Strong),
            star,
            "a weak tag, strong: {because}"
        );
        assert_eq!(
            got(weak(), Comparison::Weak),
            *by_weak,
            "a weak tag, weak: {because}"
        );
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
        assert_eq!(
            strong().matches_exactly(field, Comparison::Strong),
            *by_strong,
            "{because}"
        );
        assert_eq!(
            strong().matches_exactly(field, Comparison::Weak),
            *by_weak,
            "{because}"
        );
        assert!(
            !weak().matches_exactly(field, Comparison::Strong),
            "a weak tag: {because}"
        );
    }
}

/// A few tags, so that equal ones are common.
fn some_tag() -> impl Strategy<Value = EntityTag> {
    (
        0..2_i64,
        0..2_u64,
        prop_oneof![Just(Strength::Strong), Just(Strength::Weak)],
    )
        .prop_map(|(seconds, length, strength)| EntityTag::of_version(seconds, 0, length, strength))
}

proptest! {
    #[test]
    fn no_bytes_make_a_comparison_panic(lines: Vec<Vec<u8>>, field: Vec<u8>) {
        let lines = || lines.iter().map(Vec::as_slice);
        let by_strong = strong().matches_list(lines(), Comparison::Strong);
        prop_assert!(!by_strong || strong().matches_list(lines(), Comparison::Weak));
        let _ = strong().matches_exactly(&field, Comparison::Weak);
    }

    /// The bytes that lists are made of, which random bytes rarely are.
    #[test]
    fn no_list_like_bytes_make_a_comparison_panic(line in "[*W/\", \ta\u{e9}]{0,24}") {
        let _ = strong().matches_list([line.as_bytes()], Comparison::Weak);
        let _ = strong().matches_exactly(line.as_bytes(), Comparison::Weak);
    }

    #[test]
    fn every_version_has_a_tag_that_matches_itself(
        seconds: i64, nanoseconds: u32, length: u64, other_seconds: i64,
    ) {
        let tag = EntityTag::of_version(seconds, nanoseconds, length, Strength::Strong);
        prop_assert!(tag.matches_exactly(tag.field(), Comparison::Strong));
        prop_assert!(tag.matches_list([tag.field()], Comparison::Strong));
        let other = EntityTag::of_version(other_seconds, nanoseconds, length, Strength::Strong);
        prop_assert_eq!(tag == other, seconds == other_seconds);
    }

    #[test]
    fn a_well_formed_list_matches_if_a_member_does(
        tag in some_tag(),
        members in prop::collection::vec((some_tag(), "[ \t]{0,2}(,[ \t]{0,2}){1,3}"), 0..5),
        break_at in 0..5_usize,
    ) {
        let mut lines = vec![Vec::new()];
        for (index, (member, separator)) in members.iter().enumerate() {
            if index == break_at {
                lines.push(Vec::new());
            }
            let line = lines.last_mut().expect("there is one");
            line.extend_from_slice(member.field());
            line.extend_from_slice(separator.as_bytes());
        }
        let text = |tag: &EntityTag| String::from_utf8_lossy(tag.field()).into_owned();
        let own = text(&tag);
        let by_strong = !own.starts_with("W/") && members.iter().any(|(held, _)| text(held) == own);
        let opaque = |tag: &EntityTag| text(tag).trim_start_matches("W/").to_owned();
        let by_weak = members.iter().any(|(held, _)| opaque(held) == opaque(&tag));
        let lines = || lines.iter().map(Vec::as_slice);
        prop_assert_eq!(tag.matches_list(lines(), Comparison::Strong), by_strong);
        prop_assert_eq!(tag.matches_list(lines(), Comparison::Weak), by_weak);
    }
}
