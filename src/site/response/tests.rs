//! Tests of the decision table. Each row runs with an HTTP/1.1 head and with a list of fields.

use super::*;
use crate::clock::sample_now as now;
use crate::http::facts::list::of_both;
use crate::site::representation::Vary;
use crate::site::validators::Sighting;
use crate::sys::file::{FileTime, FileVersion};

const LENGTH: u64 = 1_000;
const MODIFIED: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

fn representation(coding: Coding) -> Representation {
    let time = FileTime {
        seconds: 1_700_000_000,
        nanoseconds: 5,
    };
    let version = FileVersion {
        device: 1,
        inode: 2,
        length: LENGTH,
        modified: time,
        changed: time,
    };
    let sighting = Sighting::of(version);
    Representation::new("text/plain", sighting, coding, Vary::Nothing, &now())
}

fn part(first: u64, last: u64) -> Selected {
    Selected::Part(ByteRange { first, last })
}

/// Method, fields, expected selection, and the reason.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Selected, &'a str);

#[test]
fn a_representation_is_selected_from_alike_in_every_protocol() {
    use Selected::{NotModified, Parts, PreconditionFailed, Unsatisfiable, Whole};
    let plain = representation(Coding::Identity);
    let tag = plain.validators.entity_tag.expect("it is known");
    let tag = std::str::from_utf8(tag.field()).expect("our own");
    let weak = format!("W/{tag}");
    let two = format!("\"x\", {tag}");
    let parts = Parts(vec![
        ByteRange { first: 0, last: 1 },
        ByteRange {
            first: 900,
            last: 901,
        },
    ]);
    let range = ("Range", "bytes=0-9");
    #[rustfmt::skip]
    let cases: [Case<'_>; 26] = [
        ("GET",  &[],                                               Whole,              "nothing is asked"),
        ("GET",  &[range],                                          part(0, 9),         "a range"),
        ("HEAD", &[range],                                          Whole,              "ranges are for GET"),
        ("GET",  &[range, range],                                   Whole,              "two Range fields are none"),
        ("GET",  &[("range", "bytes=2000-")],                       Unsatisfiable,      "past the end"),
        ("GET",  &[("Range", "bytes=0-1,900-901")],                 parts,              "two ranges"),
        ("GET",  &[range, ("If-Range", tag)],                       part(0, 9),         "it is still that version"),
        ("GET",  &[range, ("If-Range", "\"x\"")],                   Whole,              "it is another"),
        ("GET",  &[range, ("If-Range", &weak)],                     Whole,              "ranges need a strong tag"),
        ("GET",  &[range, ("If-Range", tag), ("If-Range", tag)],    Whole,              "two If-Range fields hold for nothing"),
        ("GET",  &[("If-None-Match", tag)],                         NotModified,        "the client has it"),
        ("HEAD", &[("If-None-Match", tag)],                         NotModified,        "so for HEAD"),
        ("GET",  &[("If-None-Match", &weak)],                       NotModified,        "compared weakly"),
        ("GET",  &[("If-None-Match", &two)],                        NotModified,        "one of a list"),
        ("GET",  &[("If-None-Match", "\"x\""), ("if-none-match", tag)], NotModified,    "one of two lines"),
        ("GET",  &[("If-None-Match", "*")],                         NotModified,        "any"),
        ("GET",  &[("If-None-Match", "\"x\"")],                     Whole,              "the client has another"),
        ("GET",  &[("If-None-Match", "\"x\""), ("If-Modified-Since", MODIFIED)], Whole, "tags come before dates"),
        ("GET",  &[("If-None-Match", tag), range],                  NotModified,        "preconditions come before ranges"),
        ("GET",  &[("If-Modified-Since", MODIFIED)],                NotModified,        "not since"),
        ("GET",  &[("If-Modified-Since", BEFORE)],                  Whole,              "since"),
        ("GET",  &[("If-Unmodified-Since", BEFORE)],                PreconditionFailed, "modified since"),
        ("GET",  &[("If-Match", "\"x\"")],                          PreconditionFailed, "another is there"),
        ("GET",  &[("If-Match", &weak)],                            PreconditionFailed, "compared strongly"),
        ("GET",  &[("If-Match", &two), range],                      part(0, 9),         "it holds, and the range is selected"),
        ("GET",  &[("If-Match", "\"x\""), ("IF-MATCH", tag)],       Whole,              "it holds by the second line"),
    ];
    let limits = RangeLimits { count_max: 8 };
    for (method, fields, want, because) in cases {
        let selected = of_both(method, "a", "/", fields, |facts| {
            select(facts, &plain, limits, &now())
        });
        assert_eq!(selected, want, "{method} {fields:?}: {because}");
    }
}

#[test]
fn several_ranges_of_a_coded_representation_are_the_whole() {
    let coded = representation(Coding::Gzip);
    let limits = RangeLimits { count_max: 8 };
    for (range, want) in [
        ("bytes=0-1,900-901", Selected::Whole),
        ("bytes=0-1", part(0, 1)),
    ] {
        let selected = of_both("GET", "a", "/", &[("Range", range)], |facts| {
            select(facts, &coded, limits, &now())
        });
        assert_eq!(selected, want, "{range}");
    }
}

#[test]
fn what_needs_no_file_is_answered_alike_in_every_protocol() {
    let unsupported = || Ok(Some(Fixed::MethodNotAllowed(Allow::Files)));
    #[rustfmt::skip]
    let cases = [
        ("GET",      "/", Ok(None)),
        ("HEAD",     "/", Ok(None)),
        ("OPTIONS",  "/", Ok(None)),
        ("OPTIONS",  "*", Ok(Some(Fixed::Options))),
        ("POST",     "/", unsupported()),
        ("TRACE",    "/", unsupported()),
        ("BREW",     "/", Ok(Some(Fixed::Error(Status::NotImplemented)))),
        ("get",      "/", Ok(Some(Fixed::Error(Status::NotImplemented)))),
    ];
    for (method, target, want) in cases {
        let fixed = of_both(method, "a", target, &[], without_lookup);
        assert_eq!(fixed, want, "{method} {target}");
    }
}

#[test]
fn a_redirect_keeps_the_query_as_a_uri_can_have_it() {
    #[rustfmt::skip]
    let cases = [
        ("/a/",                 &b""[..],       "/a/?"),
        ("/a/",                 b"b=c&d=%20",   "/a/?b=c&d=%20"),
        ("/a/",                 b"100%",        "/a/?100%25"),
        ("/a/",                 b"%4",          "/a/?%254"),
        ("/a/",                 b"%zz%41",      "/a/?%25zz%41"),
        ("/a/",                 b"[\"]\xff",    "/a/?%5B%22%5D%FF"),
        ("/a?x=y",              b"b=c",         "/a?x=y&b=c"),
        ("/a?x=y",              b"",            "/a?x=y"),
        ("https://b.example/#c", b"d\r\n",      "https://b.example/?d%0D%0A#c"),
        ("/a?b#c",              b"d",           "/a?b&d#c"),
    ];
    for (target, query, want) in cases {
        assert_eq!(location(target, query), want);
    }
}
