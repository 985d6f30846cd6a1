//! Tests of the log formats, and of arbitrary bytes.

#![allow(clippy::unwrap_used)]

use std::io::{Cursor, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::Row;
use super::line::{Line, LineError, split_request};
use super::parse::parse;
use super::read::{LINE_LENGTH_MAX, each_line_of};
use super::replay::replay;
use super::trace::Tracer;
use super::unpack::is_of_packing;
use crate::settings::CacheBudget;
use crate::site::media_type::MediaTypes;
use crate::site::resolve::{Directories, DotFiles, Naming};

/// 23 November 2026, 16:00:59 UTC.
const TIME_MS: i64 = 1_795_449_659_000;
const COMBINED: &str = r#"192.0.2.1 - - [23/Nov/2026:16:00:59 +0000] "GET /a?b HTTP/1.1" 200 42 "http://x/\"y\"" "test""#;
const JSON: &str =
    r#"{"time":"2026-11-23T16:00:59Z","request":"GET /a?b HTTP/1.1","status":200,"bytes":42}"#;

#[test]
fn a_line_says_when_what_and_how_much() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, u16, u64, &str)] = &[
        // Line                                                                               request               status bytes
        (COMBINED, "GET /a?b HTTP/1.1", 200, 42, "combined, as this server writes it"),
        (r#"192.0.2.1 - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.0" 304 -"#,              "GET / HTTP/1.0",     304, 0,  "common, no content"),
        (r#"2001:db8::1 - - [23/Nov/2026:17:00:59 +0100] "HEAD / HTTP/1.1" 200 0"#,           "HEAD / HTTP/1.1",    200, 0,  "IPv6, another zone"),
        (r#"host:80 ::1 - a[b c [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 206 7 x y"#,    "GET / HTTP/1.1",     206, 7,  "virtual host, odd user, more fields"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "-" 408 - "-" "-""#,                           "-",                  408, 0,  "nothing was asked"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "-" - -"#,                                     "-",                  0,   0,  "nothing was answered"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET /old" 200 5"#,                            "GET /old",           200, 5,  "HTTP/0.9"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET /\"q\" HTTP/1.1" 404 5"#,                 "GET /\"q\" HTTP/1.1", 404, 5, "escaped quotes"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET /"q" HTTP/1.1" 404 5"#,                   "GET /\"q\" HTTP/1.1", 404, 5, "quotes that were not escaped"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET /\x41\\\n\xZZ HTTP/1.1" 404 5"#,          "GET /A\\\\n\\xZZ HTTP/1.1", 404, 5, "other escapes"),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "" 400 0"#,                                    "",                   400, 0,  "an empty request"),
        (JSON, "GET /a?b HTTP/1.1", 200, 42, "an object"),
        (r#" {"msec":"1795449659.000","method":"GET","uri":"/a","status":"200","body_bytes_sent":"7","x":{"y":[1]}}"#, "GET /a HTTP/", 200, 7, "nginx, all in quotes"),
        (r#"{"time":1795449659,"request":"GET /\u0041 HTTP/1.1","status":206,"length":0}"#,  "GET /A HTTP/1.1",    206, 0,  "numbers and an escape"),
        (r#"{"time":"23/Nov/2026:16:00:59 +0000","request":null,"status":408,"bytes":null}"#, "-",                 408, 0,  "nothing was asked"),
    ];
    for (text, request, status, bytes, because) in cases {
        let line = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let host: &[u8] = match text.starts_with("host:80") {
            true => b"host",
            false => b"",
        };
        let want = Line {
            time_ms: TIME_MS,
            host: host.into(),
            request: request.as_bytes().into(),
            status: *status,
            bytes: *bytes,
        };
        assert_eq!(line, want, "{text}: {because}");
    }
}

#[test]
fn the_default_format_of_each_server_is_parsed() {
    #[rustfmt::skip]
    let cases: &[(&str, &str, &str, &str, u64)] = &[
        // Server, line, host, request, bytes
        ("Apache, common", r#"203.0.113.9 - frank [23/Nov/2026:09:00:59 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#, "", "GET /apache_pb.gif HTTP/1.0", 2326),
        ("Apache, combined", r#"203.0.113.9 - - [23/Nov/2026:16:00:59 +0000] "GET /a.css HTTP/1.1" 200 512 "http://www.example.com/" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)""#, "", "GET /a.css HTTP/1.1", 512),
        ("Apache, vhost_combined", r#"www.Example.com:443 203.0.113.9 - - [23/Nov/2026:16:00:59 +0000] "GET /a.css HTTP/1.1" 200 512 "-" "curl/8.5.0""#, "www.example.com", "GET /a.css HTTP/1.1", 512),
        ("Apache, vhost_combined, names looked up", r#"www.example.com:80 host-9.example.net - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 200 512 "-" "-""#, "www.example.com", "GET / HTTP/1.1", 512),
        ("Apache, vhost_combined, an address", r#"[2001:db8::5]:80 2001:db8::9 - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 200 512 "-" "-""#, "[2001:db8::5]", "GET / HTTP/1.1", 512),
        ("nginx", r#"203.0.113.9 - - [23/Nov/2026:16:00:59 +0000] "GET /logo.svg HTTP/2.0" 200 1834 "https://example.com/" "Mozilla/5.0""#, "", "GET /logo.svg HTTP/2.0", 1834),
        ("nginx, a user with a blank", r#"2001:db8::9 - frank b [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 200 7 "-" "-""#, "", "GET / HTTP/1.1", 7),
        ("nginx, $host first", r#"example.com 203.0.113.9 - - [23/Nov/2026:16:00:59 +0000] "GET /logo.svg HTTP/2.0" 200 1834 "-" "-""#, "example.com", "GET /logo.svg HTTP/2.0", 1834),
        ("lighttpd", r#"203.0.113.9 www.example.com - [23/Nov/2026:17:00:59 +0100] "GET /index.html HTTP/1.1" 200 4096 "-" "Wget/1.21""#, "www.example.com", "GET /index.html HTTP/1.1", 4096),
        ("lighttpd, an address", r#"203.0.113.9 198.51.100.1 - [23/Nov/2026:17:00:59 +0100] "GET / HTTP/1.1" 200 9 "-" "-""#, "198.51.100.1", "GET / HTTP/1.1", 9),
        ("H2O", r#"203.0.113.9 - - [23/Nov/2026:16:00:59 +0000] "GET /js/app.js HTTP/2" 200 70211 "https://example.com/" "Mozilla/5.0""#, "", "GET /js/app.js HTTP/2", 70211),
        ("Caddy", r#"{"level":"info","ts":1795449659.0,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"203.0.113.9","remote_port":"41342","client_ip":"203.0.113.9","proto":"HTTP/2.0","method":"GET","host":"Example.com:8443","uri":"/img/a.png?v=2","headers":{"User-Agent":["curl/8.5.0"],"Accept":["*/*"]},"tls":{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"example.com"}},"bytes_read":0,"user_id":"","duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"],"Etag":["\"a\""]}}"#, "example.com", "GET /img/a.png?v=2 HTTP/", 10900),
        ("nginx, JSON", r#"{"time_local":"23/Nov/2026:16:00:59 +0000","remote_addr":"203.0.113.9","host":"example.com","request":"GET /docs/ HTTP/1.1","request_method":"GET","uri":"/docs/index.html","status":"200","bytes_sent":"9000","body_bytes_sent":"8712","request_time":"0.000"}"#, "example.com", "GET /docs/ HTTP/1.1", 8712),
        ("nginx, JSON in parts", r#"{"@timestamp":"2026-11-23T16:00:59+00:00","host":"10.0.0.5","domain":"example.com","request_method":"GET","request_uri":"/docs/?q","uri":"/docs/index.html","size":8712,"status":200,"upstream":null,"tls":true}"#, "example.com", "GET /docs/?q HTTP/", 8712),
    ];
    for (server, text, host, request, bytes) in cases {
        let line = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{server}: {error}"));
        let want = Line {
            time_ms: TIME_MS,
            host: host.as_bytes().into(),
            request: request.as_bytes().into(),
            status: 200,
            bytes: *bytes,
        };
        assert_eq!(line, want, "{server}: {text}");
    }
}

#[test]
fn a_line_that_is_none_says_what_it_lacks() {
    #[rustfmt::skip]
    let cases: &[(&str, LineError)] = &[
        ("hello",                                                               LineError::NoTime),
        (r#"- - - [23/Nov/2026 16:00:59 +0000] "GET / HTTP/1.1" 200 1"#,        LineError::NoTime),
        (r#"- - - [23/Nov/2026:16:00:59 +0000"#,                                LineError::NoTime),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] GET / HTTP/1.1 200 1"#,          LineError::NoRequest),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1 200 1"#,         LineError::NoRequest),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1\"#,              LineError::NoRequest),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" OK 1"#,         LineError::NoStatus),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 2000 1"#,       LineError::NoStatus),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1""#,              LineError::NoStatus),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 200"#,          LineError::NoLength),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 200 1k"#,       LineError::NoLength),
        (r#"- - - [23/Nov/2026:16:00:59 +0000] "GET / HTTP/1.1" 200 99999999999999999999"#, LineError::NoLength),
        (r#"{"request":"GET / HTTP/1.1","status":200,"bytes":1}"#,              LineError::NoMember("time")),
        (r#"{"time":"yesterday","request":"","status":200,"bytes":1}"#,         LineError::NoMember("time")),
        (r#"{"time":1,"method":"GET","status":200,"bytes":1}"#,                 LineError::NoMember("request (or method and target)")),
        (r#"{"time":1,"request":"GET /","status":20.5,"bytes":1}"#,             LineError::NoMember("status")),
        (r#"{"time":1,"request":"GET /","status":200,"bytes":-1}"#,             LineError::NoMember("bytes")),
    ];
    for (text, want) in cases {
        assert_eq!(parse(text.as_bytes()).as_ref(), Err(want), "{text}");
    }
    for text in ["{", "{\"time\":[1]}", "{} {}", "{\"a\":\"\u{7f}"] {
        assert!(parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_request_is_a_method_and_a_target() {
    let cases: [(&str, Option<(&str, &str)>); 8] = [
        ("GET /a?b HTTP/1.1", Some(("GET", "/a?b"))),
        ("GET /a b HTTP/1.1", Some(("GET", "/a b"))),
        ("GET http://x/a HTTP/1.1", Some(("GET", "http://x/a"))),
        ("GET /a", Some(("GET", "/a"))),
        ("-", None),
        ("", None),
        ("GET ", None),
        (" /a", None),
    ];
    for (request, want) in cases {
        let want = want.map(|(method, target)| (method.as_bytes(), target.as_bytes()));
        assert_eq!(split_request(request.as_bytes()), want, "{request}");
    }
}

fn lines_of(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut lines = Vec::new();
    each_line_of(Cursor::new(bytes), |line| {
        lines.push(line.map(<[u8]>::to_vec));
    })
    .unwrap();
    lines
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

#[test]
fn lines_are_the_same_plain_and_packed_however_long_they_are() {
    let long = vec![b'x'; LINE_LENGTH_MAX];
    let mut text = b"one\r\n\ntwo\n".to_vec();
    text.extend_from_slice(&long);
    text.push(b'\n');
    text.extend_from_slice(&long);
    text.extend_from_slice(b"y\nlast");
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    let want = vec![
        some(b"one"),
        some(b""),
        some(b"two"),
        some(&long),
        None,
        some(b"last"),
    ];
    assert_eq!(lines_of(&text), want);
    assert_eq!(lines_of(&gzip(&text)), want);
    let twice = [gzip(&text[..9]), gzip(&text[9..])].concat();
    assert_eq!(
        lines_of(&twice),
        want,
        "two members, as rotated logs are joined"
    );
    assert_eq!(lines_of(&zstd(&text)), want);
    let skippable: &[u8] = &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let frames = [skippable, &zstd(&text[..9]), skippable, &zstd(&text[9..])].concat();
    assert_eq!(lines_of(&frames), want, "two frames, after skippable ones");
    assert_eq!(lines_of(b""), Vec::<Option<Vec<u8>>>::new());
    assert_eq!(
        lines_of(&[0x1f]),
        vec![some(&[0x1f])],
        "half of the magic bytes"
    );
    let cut = &gzip(&text)[..40];
    assert!(
        each_line_of(Cursor::new(cut), |_| {}).is_err(),
        "gzip that was cut"
    );
}

#[test]
fn a_zstd_file_of_the_reference_program_is_read_and_its_checksum_compared() {
    // `yes 'one two three four' | head -40 | zstd -19 --check`
    let packed: &[u8] = b"\x28\xb5\x2f\xfd\x64\xf8\x01\xd5\x00\x00\x98\x6f\x6e\x65\x20\x74\x77\x6f\x20\x74\x68\x72\x65\x65\x20\x66\x6f\x75\x72\x0a\x01\x00\xc5\x59\x35\xc3\x5c\x21\xe0\x3c";
    assert_eq!(
        lines_of(packed),
        vec![Some(b"one two three four".to_vec()); 40]
    );
    let mut other = packed.to_vec();
    *other.last_mut().unwrap() ^= 1;
    for (bytes, because) in [
        (&other[..], "another checksum"),
        (&packed[..packed.len() - 5], "cut"),
        (&[packed, b"xxxx"].concat(), "other data after the end"),
        (
            &[0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1],
            "a skippable frame that was cut",
        ),
    ] {
        let error = each_line_of(Cursor::new(bytes), |_| {}).unwrap_err();
        assert!(is_of_packing(&error), "{because}: {error:?}");
    }
}

/// The rows of a trace with the same line four times.
fn replayed(line: &Line<'_>) -> Vec<Row> {
    let mut tracer = Tracer::new(Naming {
        index: vec!["index.html".to_owned()],
        dot_files: DotFiles::Refused,
        directories: Directories::Hidden,
        media_types: MediaTypes::default(),
    });
    for _ in 0..4 {
        tracer.take(line).unwrap();
    }
    let today = CacheBudget {
        map_bytes_max: 100,
        map_file_length_max: 50,
        map_count_max: 2,
        path_count_max: 2,
        descriptor_count_max: None,
        watched_directory_count_max: 0,
        revalidate: Duration::ZERO,
    };
    let trace = tracer.finish(None);
    let bar = ProgressBar::hidden();
    let (map, path) = replay(&trace, &today, 1, &[0, 100, 200], &[1, 2], &bar);
    [map, path].concat()
}

proptest! {
    #[test]
    fn any_line_is_parsed_or_refused(line: Vec<u8>) {
        let _ = parse(&line);
        let _ = split_request(&line);
    }

    #[test]
    fn any_mutation_of_a_line_is_parsed_or_refused(
        is_json: bool,
        at in 0..100_usize,
        cut in 0..20_usize,
        put in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'[')], 0..6),
    ) {
        let mut line = if is_json { JSON } else { COMBINED }.as_bytes().to_vec();
        let start = at.min(line.len());
        let end = (start + cut).min(line.len());
        line.splice(start..end, put);
        if let Ok(line) = parse(&line) {
            let rows = replayed(&line);
            prop_assert!(rows.iter().all(|row| row.hits <= row.requests));
        }
    }

    #[test]
    fn any_log_is_read(bytes: Vec<u8>, magic in 0..3_usize) {
        let start: &[u8] = [&[][..], &[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]][magic];
        let _ = each_line_of(Cursor::new([start, &bytes].concat()), |_| {});
    }

    #[test]
    fn any_mutation_of_a_packed_log_is_read_or_refused(
        is_zstd: bool,
        at in 0..200_usize,
        put in proptest::collection::vec(any::<u8>(), 1..6),
    ) {
        let text = [COMBINED, JSON, COMBINED].join("\n");
        let mut packed = if is_zstd { zstd(text.as_bytes()) } else { gzip(text.as_bytes()) };
        let start = at.min(packed.len());
        let end = (start + put.len()).min(packed.len());
        packed.splice(start..end, put);
        let _ = each_line_of(Cursor::new(packed), |_| {});
    }
}
