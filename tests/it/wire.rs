//! HTTP exchanges, case by case: `tests/data/*.http`.
//!
//! A case is a line `== its promise`, the bytes of the client, and the expected response:
//!
//! ```text
//! == a range selects its bytes
//! > GET /digits HTTP/1.1
//! > Host: a
//! > Range: bytes=2-3
//! >
//! < 206
//! < Content-Range: bytes 2-3/10
//! < !Content-Encoding
//! < body 23
//! = open
//! ```
//!
//! Lines of `>` end in CRLF, those of `>|` in nothing; `\r`, `\n`, `\t`, `\\` and `\xHH` are escapes,
//! and `\{a*5000}` repeats. `< 200 head` is a response to HEAD, `Name: *` means any value,
//! `!Name` none. At the end the connection is `open` (another request is answered), `closed`, or
//! `waiting` (nothing comes, and it is not closed).
//!
//! Every case runs in one piece, byte by byte, and at random splits.

use std::fs;
use std::path::Path;

use super::harness::{Client, Content, Server, Site, engines};

#[derive(Debug, Default)]
struct Case {
    place: String,
    name: String,
    sent: Vec<u8>,
    wanted: Vec<Wanted>,
    end: End,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Closed,
    Waiting,
}

#[derive(Debug, Default)]
struct Wanted {
    statuses: Vec<u16>,
    head: bool,
    fields: Vec<(String, String)>,
    absent: Vec<String>,
    body: Option<Vec<u8>>,
}

fn site() -> Site {
    let site = Site::new();
    site.file("digits", "0123456789")
        .file("hello.txt", "hello\n")
        .file("empty.txt", "")
        .file("page.html", "<p>page</p>\n")
        .file("dir/index.html", "index\n")
        .file("dir/sub.dir/x.css", "p{}\n")
        .file("bare/only.txt", "x")
        .file("app.js", "console.log('not compressed')\n")
        .file("app.js.br", "(brotli)")
        .file("app.js.gz", "(gzip of it)")
        .file("with space.txt", "space\n")
        .file("caf\u{e9}.txt", "e\n")
        .file("100%.txt", "percent\n")
        .file(".hidden", "no\n")
        .file(".well-known/security.txt", "yes\n");
    site
}

fn unescape(text: &str, place: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, after) = rest[at + 1..].split_at(1);
        rest = after;
        match escape {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect(place));
                rest = &rest[2..];
            }
            "{" => {
                let (inner, after) = rest.split_once('}').expect(place);
                let (text, count) = inner.rsplit_once('*').expect(place);
                bytes.extend(unescape(text, place).repeat(count.parse().expect(place)));
                rest = after;
            }
            _ => panic!("{place}: unknown escape \\{escape}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn parse(path: &Path) -> Vec<Case> {
    let text = fs::read_to_string(path).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case {
                place,
                name: name.into(),
                ..Case::default()
            });
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let case = cases
            .last_mut()
            .unwrap_or_else(|| panic!("{place}: no case begun"));
        if let Some(bytes) = line.strip_prefix(">|") {
            let bytes = bytes.strip_prefix(' ').unwrap_or(bytes);
            case.sent.extend(unescape(bytes, &place));
        } else if let Some(bytes) = line.strip_prefix('>') {
            let bytes = bytes.strip_prefix(' ').unwrap_or(bytes);
            case.sent.extend(unescape(bytes, &place));
            case.sent.extend_from_slice(b"\r\n");
        } else if let Some(wanted) = line.strip_prefix("< ") {
            want(case, wanted, &place);
        } else {
            case.end = match line {
                "= open" => End::Open,
                "= closed" => End::Closed,
                "= waiting" => End::Waiting,
                _ => panic!("{place}: not a line of a case: {line}"),
            };
        }
    }
    cases
}

fn want(case: &mut Case, line: &str, place: &str) {
    if line.starts_with(|first: char| first.is_ascii_digit()) {
        let mut words = line.split(' ');
        let statuses = words.next().unwrap_or_default().split('/');
        case.wanted.push(Wanted {
            statuses: statuses.map(|code| code.parse().expect(place)).collect(),
            head: words.next() == Some("head"),
            ..Wanted::default()
        });
        return;
    }
    let wanted = case.wanted.last_mut().expect(place);
    if let Some(body) = line.strip_prefix("body ") {
        wanted.body = Some(unescape(body, place));
    } else if let Some(name) = line.strip_prefix('!') {
        wanted.absent.push(name.to_ascii_lowercase());
    } else {
        let (name, value) = line.split_once(": ").expect(place);
        wanted
            .fields
            .push((name.to_ascii_lowercase(), value.into()));
    }
}

/// How the bytes of a case are split.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Bytes,
    Random(u64),
}

impl Cut {
    fn send(self, client: &mut Client, bytes: &[u8]) {
        let mut random = match self {
            Cut::Whole => return client.send(bytes),
            Cut::Bytes => return bytes.chunks(1).for_each(|byte| client.send(byte)),
            Cut::Random(seed) => seed,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let length = usize::try_from((random >> 33) % 40).unwrap() + 1;
            let (piece, after) = rest.split_at(length.min(rest.len()));
            client.send(piece);
            rest = after;
        }
    }
}

fn check(case: &Case, cut: Cut, server: &Server) {
    let context = format!("{} {} ({cut:?})", case.place, case.name);
    let mut client = server.connect();
    cut.send(&mut client, &case.sent);
    for wanted in &case.wanted {
        let content = if wanted.head {
            Content::None
        } else {
            Content::Expected
        };
        let got = client
            .response(content)
            .unwrap_or_else(|| panic!("{context}: no response, wanted {:?}", wanted.statuses));
        assert!(wanted.statuses.contains(&got.status), "{context}: {got:?}");
        for (name, value) in &wanted.fields {
            let field = got.field(name);
            let holds = match value.strip_suffix('*') {
                Some(prefix) => field.is_some_and(|field| field.starts_with(prefix)),
                None => field == Some(value),
            };
            assert!(holds, "{context}: {name}: {value} wanted, {field:?} got");
        }
        for name in &wanted.absent {
            assert_eq!(got.field(name), None, "{context}: {name}");
        }
        if let Some(body) = &wanted.body {
            let got = String::from_utf8_lossy(&got.body);
            assert_eq!(got, String::from_utf8_lossy(body), "{context}");
        }
        if got.status >= 200 {
            assert!(got.field("date").is_some(), "{context}: no Date");
        }
    }
    match case.end {
        End::Open => {
            let again = client.get("/hello.txt", &[]);
            assert_eq!(
                (again.status, &again.body[..]),
                (200, &b"hello\n"[..]),
                "{context}: after"
            );
        }
        End::Closed => assert!(client.is_closed(), "{context}: not closed"),
        End::Waiting => {
            client.finish();
            assert!(client.is_closed(), "{context}: something was said");
        }
    }
}

#[test]
fn every_case_holds_however_its_bytes_arrive() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "http")
        })
        .collect();
    paths.sort();
    let cases: Vec<Case> = paths.iter().flat_map(|path| parse(path)).collect();
    assert!(cases.len() >= 200, "only {} cases were read", cases.len());
    let seed = std::process::id().into();
    println!("random splits by seed {seed}");
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine]);
        std::thread::scope(|scope| {
            for part in cases.chunks(cases.len().div_ceil(4)) {
                let server = &server;
                scope.spawn(move || {
                    for case in part {
                        check(case, Cut::Whole, server);
                        if case.sent.len() < 10_000 {
                            check(case, Cut::Bytes, server);
                        }
                        check(case, Cut::Random(seed), server);
                        check(case, Cut::Random(seed + 1), server);
                    }
                });
            }
        });
    }
}
