//! Tests of validators: identity by metadata, and how far dates are trusted.

use std::time::Instant;

use super::*;

fn at(seconds: i64, nanoseconds: u32) -> FileTime {
    FileTime {
        seconds,
        nanoseconds,
    }
}

/// A time in 2020, with fine timestamps.
const T: i64 = 1_600_000_000;

fn version(modified: FileTime, changed: FileTime) -> FileVersion {
    FileVersion {
        device: 1,
        inode: 2,
        length: 3,
        modified,
        changed,
    }
}

fn now(seconds: i64) -> Now {
    Now::at(Instant::now(), at(seconds, 0))
}

#[test]
fn metadata_identifies_a_version_once_its_ctime_cannot_repeat() {
    let later = |seconds, nanoseconds| Some(Identity::later(at(seconds, nanoseconds)));
    let known = Some(Identity::Version);
    let (file, mirror) = (EntityTags::File, EntityTags::Mirror);
    #[rustfmt::skip]
    let cases = [
        // mtime            ctime               asked                  tags    identity because
        (at(T, 1),          at(T, 1_000_000),   at(T, 1_000_000),      file,   None,    "just now"),
        (at(T, 1),          at(T, 1_000_000),   at(T, 20_999_999),     file,   None,    "19.999999 ms old"),
        (at(T, 1),          at(T, 1_000_000),   at(T, 21_000_000),     file,   known,   "20 ms old"),
        (at(T, 1),          at(T, 999_000_000), at(T + 1, 18_999_999), file,   None,    "over a second"),
        (at(T, 1),          at(T, 999_000_000), at(T + 1, 19_000_000), file,   known,   "over a second"),
        (at(T + 999, 1),    at(T, 1_000_000),   at(T, 21_000_000),     file,   known,   "an mtime to come"),
        (at(T, 0),          at(T, 1_000_000),   at(T, 21_000_000),     file,   known,   "an mtime set by hand"),
        (at(0, 0),          at(T, 1_000_000),   at(T, 21_000_000),     file,   known,   "a pinned mtime"),
        (at(T, 0),          at(T, 0),           at(T + 9, 0),          file,   None,    "whole seconds"),
        (at(1, 0),          at(1, 0),           at(T, 0),              file,   None,    "all times pinned"),
        (at(1, 5),          at(1, 5),           at(T, 0),              file,   None,    "to nanoseconds"),
        (at(T, 5),          at(T + 9, 5),       at(T + 1, 9),          mirror, later(T + 2, 0), "its second may come again"),
        (at(T, 5),          at(T + 9, 5),       at(T + 2, 0),          mirror, known,   "it may not"),
        (at(1, 0),          at(T, 5),           at(T, 5),              mirror, known,   "that is asked for"),
    ];
    for (modified, changed, asked, tags, want, because) in cases {
        let got = Identity::of(&version(modified, changed), tags, asked);
        assert_eq!(got, want, "{because}");
    }
}

#[test]
fn short_files_are_identified_by_content_if_metadata_is_not_enough() {
    let nothing = Examination::Nothing;
    let (short, long) = (CONTENT_LENGTH_MAX, CONTENT_LENGTH_MAX + 1);
    #[rustfmt::skip]
    let cases = [
        // ctime      now           length examination                            because
        (at(T, 5),    at(T, 6),     long,  Examination::Clock,                        "fine clocks"),
        (at(T, 0),    at(T + 1, 9), short, Examination::Copy,                         "the second may come again"),
        (at(T, 0),    at(T + 2, 0), short, Examination::Content,                      "it may not"),
        (at(T, 0),    at(T + 1, 9), 0,     Examination::Copy,                         "an empty one as well"),
        (at(T, 0),    at(T + 1, 9), long,  nothing(Identity::later(at(T + 2, 0))), "no tag yet"),
        (at(T, 0),    at(T + 2, 0), long,  nothing(Identity::Version),           "its metadata from then on"),
        (at(1, 0),    at(T, 0),     short, Examination::Content,                      "no time at all"),
        (at(1, 0),    at(T, 0),     long,  nothing(Identity::Never),             "never a tag"),
    ];
    for (changed, now, length, want, because) in cases {
        let version = FileVersion {
            length,
            ..version(changed, changed)
        };
        assert_eq!(Identity::examination_of(&version, now), want, "{because}");
    }
}

#[test]
fn a_tag_depends_on_the_version_and_on_nothing_else() {
    let one = version(at(T, 5), at(T, 6));
    let tag = |version| Sighting::of(version).entity_tag(Coding::Identity);
    #[rustfmt::skip]
    let others = [
        FileVersion { inode: 3, ..one },
        FileVersion { length: 4, ..one },
        version(at(T + 1, 5), at(T, 6)),
        version(at(T, 4), at(T, 6)),
        version(at(T, 5), at(T + 1, 6)),
        version(at(T, 5), at(T, 7)),
        version(at(T, 6), at(T, 5)),
    ];
    for other in others {
        assert_ne!(tag(one), tag(other), "{other:?}");
    }
    assert_eq!(
        tag(one),
        tag(FileVersion { device: 9, ..one }),
        "another start"
    );
    // Stable for ever: clients keep tags for years.
    let fixed = tag(one).expect("a tag");
    assert_eq!(fixed.field(), b"\"161a7f28b69ba6c7\"");
    let seen = |identity, tags| Sighting {
        identity,
        tags,
        ..Sighting::of(one)
    };
    let tag = |identity, tags| seen(identity, tags).entity_tag(Coding::Brotli);
    let (file, mirror) = (EntityTags::File, EntityTags::Mirror);
    assert_eq!(tag(Identity::later(at(T, 7)), file), None);
    assert_eq!(tag(Identity::later(at(T, 7)), mirror), None);
    assert_eq!(tag(Identity::Never, file), None);
    assert_eq!(
        tag(Identity::Copy(7), file),
        tag(Identity::Content(7), file),
        "it does not change with age"
    );
    let mirrored = tag(Identity::Version, mirror).expect("a tag");
    assert_eq!(mirrored.field(), b"\"5f5e1000-3-br\"");
}

/// Dates at `T + 100`, with an mtime of `T`.
#[test]
fn trust_in_a_date_follows_the_times_of_the_file() {
    let known = |since, origin| Dating::Known {
        since: HttpDate::from_unix_seconds(since),
        origin,
    };
    let (write, hand) = (Origin::Write, Origin::Hand);
    let base = Sighting::of(version(at(T, 5), at(T, 5)));
    let with = |modified, changed| Sighting::of(version(modified, changed));
    #[rustfmt::skip]
    let cases = [
        (base,                                                 known(T, write),      "written and left"),
        (with(at(T, 5), at(T + 2, 9)),                         known(T + 2, write),  "renamed into place"),
        (with(at(T, 5), at(T + 3, 0)),                         known(T + 3, hand),   "an mtime that was kept"),
        (with(at(T, 5), at(T - 1, 0)),                         known(T, hand),       "an mtime that was made up"),
        (with(at(PINNED_BEFORE - 1, 0), at(T, 5)),             Dating::Ambiguous,    "a pinned one"),
        (with(at(PINNED_BEFORE, 0), at(T, 5)),                 known(T, hand),       "an old one"),
        (with(at(T + 100, 1), at(T, 5)),                       Dating::Ambiguous,    "one of the future"),
        (Sighting { since: T + 9, ..base },                    known(T + 9, write),  "a directory was renamed"),
        (Sighting { newest_before: Some(T - 1), ..base },      known(T, write),      "newer than what was there"),
        (Sighting { newest_before: Some(T), ..base },          Dating::Ambiguous,    "as new as what was there"),
        (Sighting { newest_before: Some(T + 9), ..base },      Dating::Ambiguous,    "put back"),
        (Sighting { identity: Identity::Copy(1), ..base },     Dating::Ambiguous,    "not told apart yet"),
        (Sighting { tags: EntityTags::Mirror, ..with(at(T, 5), at(T + 9, 0)) }, known(T + 9, write), "mirrors go by dates"),
    ];
    for (sighting, want, because) in cases {
        let got = sighting.validators(Coding::Identity, &now(T + 100));
        assert_eq!(got.dating, want, "{because}");
        let last_modified = sighting.version.modified.seconds.min(T + 100);
        assert_eq!(
            got.last_modified,
            HttpDate::from_unix_seconds(last_modified)
        );
    }
}

#[test]
fn the_newest_earlier_mtime_is_kept_across_versions() {
    let file = Sighting::of;
    let follow = |one: Sighting, other: Sighting| {
        let previous = Predecessor {
            version: one.version,
            identity: one.identity,
            entity_tag: one.entity_tag(Coding::Identity),
            newest_before: one.newest_before,
        };
        other.after(&previous, Coding::Identity)
    };
    let new = file(version(at(T + 50, 1), at(T + 50, 1)));
    let old = file(version(at(T, 1), at(T + 60, 1)));
    let last = file(version(at(T + 50, 1), at(T + 70, 1)));
    assert_eq!(follow(new, new).newest_before, None, "the same again");
    let back = follow(new, old);
    assert_eq!(back.newest_before, Some(T + 50), "put back");
    assert_eq!(
        follow(back, old).newest_before,
        Some(T + 50),
        "looked at again"
    );
    assert_eq!(
        follow(back, last).newest_before,
        Some(T + 50),
        "with the first date once more"
    );
    // With whole seconds, equal metadata does not prove an equal version while it is recent.
    let whole = version(at(T, 0), at(T, 0));
    let seen = |identity| Sighting {
        identity,
        ..file(whole)
    };
    let (one, other) = (seen(Identity::Copy(1)), seen(Identity::Content(2)));
    assert_eq!(follow(one, seen(Identity::Content(1))).newest_before, None);
    assert_eq!(follow(one, other).newest_before, Some(T), "other bytes");
    let unknown = seen(Identity::later(at(T + 2, 0)));
    assert_eq!(
        follow(unknown, seen(Identity::Version)).newest_before,
        Some(T)
    );
}

#[test]
fn unsettled_identities_expire() {
    let millis = |ms| Some(Duration::from_millis(ms));
    let now = now(T);
    assert_eq!(Identity::Version.lifetime(&now), None);
    assert_eq!(Identity::Content(1).lifetime(&now), None);
    assert_eq!(Identity::Never.lifetime(&now), None);
    assert_eq!(Identity::Copy(1).lifetime(&now), millis(0));
    assert_eq!(Identity::later(at(T + 2, 0)).lifetime(&now), millis(2_001));
    assert_eq!(Identity::later(at(T - 2, 0)).lifetime(&now), millis(1));
}
