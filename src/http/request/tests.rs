//! Heads that are requests, and heads that are not.

use super::*;
use crate::http::facts::Field;
use crate::http::forwarding;

const LIMITS: HeadLimits = HeadLimits {
    target_length_max: 200,
    head_length_max: 1_000,
    field_count_max: 10,
};

/// Parses whole, and again byte by byte: the answer may come earlier, but it is the same.
fn check(head: &str) -> Result<Option<Head>, Refusal> {
    let bytes = head.as_bytes();
    let whole = parse(bytes, &LIMITS);
    let stepwise = (0..=bytes.len())
        .map(|end| parse(&bytes[..end], &LIMITS))
        .find(|parsed| !matches!(parsed, Ok(None)))
        .unwrap_or(Ok(None));
    match (&whole, &stepwise) {
        (Ok(Some(a)), Ok(Some(b))) => assert_eq!(a.length(), b.length(), "{head:?}"),
        (Err(a), Err(b)) => assert_eq!(a, b, "{head:?}"),
        (Ok(None), Ok(None)) => {}
        _ => panic!("{head:?}: whole {whole:?}, byte by byte {stepwise:?}"),
    }
    whole
}

#[test]
fn a_malformed_head_is_refused_for_what_is_wrong_with_it() {
    use Refusal::*;
    #[rustfmt::skip]
    let cases = [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n",                     RequestLine,   "lone LF after the request line"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n",                     FieldLine,     "lone LF after a field"),
        ("GET / HTTP/1.1\r\nHost: a\r\nB: c\n\r\n",             FieldLine,     "lone LF after the last field"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n",                     FieldLine,     "lone LF as the empty line"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",                 RequestLine,   "lone LF before the request line"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n",                     RequestLine,   "bare CR"),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",                FieldLine,     "bare CR in a value"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n",                  RequestLine,   "two spaces"),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",                  RequestLine,   "a tab is not a space"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n",                  RequestLine,   "a space after the version"),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n",                 RequestLine,   "a space in the target"),
        ("GET /\r\n\r\n",                                       RequestLine,   "HTTP/0.9"),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n",                     RequestLine,   "a version has two digits"),
        ("GET / HTTP/01.1\r\nHost: a\r\n\r\n",                  RequestLine,   "of one digit each"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n",                   RequestLine,   "in capitals"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n",                   Version,       "another minor version"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n",                   Version,       "another major version"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",                    Version,       "the preface of HTTP/2"),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n",                   RequestLine,   "a method is a token"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",                Target,        "a fragment"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n",                   Target,        "none of the four forms"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n",                   Target,        "asterisk is for OPTIONS"),
        ("GET / HTTP/1.1\r\n\r\n",                              Host,          "no Host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",        Host,          "two, even if equal"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",        Host,          "two in HTTP/1.0"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n",                     Host,          "empty"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",                 Host,          "a path in it"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",                 Host,          "a user in it"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n",                  FieldLine,     "space before the colon"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n",                  FieldLine,     "space before the first name"),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",             FieldLine,     "obs-fold"),
        ("GET / HTTP/1.1\r\nHost: a\r\nB\r\n\r\n",              FieldLine,     "no colon"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",            FieldLine,     "no name"),
        ("GET / HTTP/1.1\r\nHost: a\r\nB: \0\r\n\r\n",          FieldLine,     "NUL"),
        ("GET / HTTP/1.1\r\nHost: a\r\nB: \x7f\r\n\r\n",        FieldLine,     "DEL"),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", Expectation,   "not 100-continue"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Framing, "both"),
        ("\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine, "only so many empty lines"),
    ];
    for (head, want, because) in cases {
        assert_eq!(check(head).err(), Some(want), "{head:?}: {because}");
    }
}

#[test]
fn a_head_past_a_limit_is_refused_on_either_side_of_its_end() {
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length));
    let field = |length: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nB: {}\r\n\r\n",
            "b".repeat(length)
        )
    };
    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "B: c\r\n".repeat(count)
        )
    };
    let frame = field(0).len();
    #[rustfmt::skip]
    let cases = [
        (target(199),          None),
        (target(200),          Some(Refusal::TargetTooLong)),
        (target(5_000),        Some(Refusal::TargetTooLong)),
        (field(1_000 - frame), None),
        (field(1_001 - frame), Some(Refusal::HeadTooLarge)),
        (field(9_000),         Some(Refusal::HeadTooLarge)),
        (fields(9),            None),
        (fields(10),           Some(Refusal::HeadTooLarge)),
        ("M".repeat(2_000),    Some(Refusal::RequestLine)),
    ];
    for (head, want) in cases {
        assert_eq!(check(&head).err(), want, "{} bytes", head.len());
    }
}

#[test]
fn what_matters_of_a_head_is_picked_out() {
    let text = "\r\nGET http://h:1/a%20b?c=d?e HTTP/1.1\r\nhost: x\r\nIF-NONE-MATCH:  \"1\" \r\n\
                if-none-match: \"2\"\r\nRange: bytes=0-1\r\nrange: bytes=2-3\r\nVia: 1.1 p\r\n\
                Connection: a, Close\r\n\r\nrest";
    let head = parse(text.as_bytes(), &LIMITS)
        .expect("valid")
        .expect("complete");
    let request = head.facts(text.as_bytes());
    assert_eq!(head.length(), text.len() - 4);
    assert_eq!(
        (request.path(), request.query()),
        (&b"/a%20b"[..], Some(&b"c=d?e"[..]))
    );
    assert_eq!(request.line(), b"GET http://h:1/a%20b?c=d?e HTTP/1.1");
    assert_eq!(
        request.lines(Field::IfNoneMatch).collect::<Vec<_>>(),
        [b"\"1\"", b"\"2\""]
    );
    assert_eq!(
        request.single(Field::Range),
        None,
        "two ranges are no range"
    );
    assert!(request.has(Field::Range) && !request.has(Field::IfMatch));
    assert_eq!(request.authority(), Some(&b"h:1"[..]));
    assert!(forwarding::is_forwarded(&request));
    assert_eq!(head.persistence, Persistence::Close);
}

#[test]
fn an_absolute_target_without_a_path_has_the_root() {
    for text in [
        "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h?q HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let head = parse(text.as_bytes(), &LIMITS)
            .expect("valid")
            .expect("complete");
        assert_eq!(head.facts(text.as_bytes()).path(), b"/", "{text:?}");
    }
}

#[test]
fn the_host_is_that_of_the_target_or_else_of_the_field() {
    let cases = [
        ("GET / HTTP/1.1\r\nHost: a.example:80\r\n", "a.example:80"),
        ("GET / HTTP/1.1\r\nAccept: b\r\nhOST:\tA \r\n", "A"),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n", "b"),
        ("GET http://[::1]:8?q HTTP/1.1\r\nHost: a\r\n", "[::1]:8"),
        ("GET http://b/ HTTP/1.0\r\n", "b"),
        ("GET / HTTP/1.0\r\n", ""),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", "a"),
        ("CONNECT c:1 HTTP/1.1\r\nHost: a\r\n", "c:1"),
    ];
    for (text, want) in cases {
        let text = format!("\r\n{text}\r\n");
        let head = check(&text).expect(&text).expect("complete");
        let host = head.facts(text.as_bytes()).host();
        assert_eq!(host, want.as_bytes(), "{text:?}");
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    use Persistence::{Close, KeepAlive};
    #[rustfmt::skip]
    let cases = [
        ("1.1", "",                                  KeepAlive),
        ("1.1", "Connection: close\r\n",             Close),
        ("1.1", "Connection: x, CLOSE\r\n",          Close),
        ("1.1", "Connection: closed\r\n",            KeepAlive),
        ("1.0", "",                                  Close),
        ("1.0", "Connection: Keep-Alive\r\n",        KeepAlive),
        ("1.0", "Connection: keep-alive, close\r\n", Close),
    ];
    for (version, field, want) in cases {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n");
        let head = check(&text).expect("valid").expect("complete");
        assert_eq!(head.persistence, want, "{version} {field:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(
        bytes in proptest::collection::vec(proptest::sample::select(
            b"GET / HTTP/1.1\r\n\r\nHost: a:,;%?#*\0\t\xff0aZ".to_vec()), 0..200),
    ) {
        let _ = parse(&bytes, &LIMITS);
    }

    #[test]
    fn a_valid_head_is_complete_at_its_last_byte_only(
        name in "[a-zA-Z!#$%&'*+.^_`|~-]{1,12}",
        value in "[ -~\t]{0,40}",
        path in "/[a-z/]{0,30}",
    ) {
        let reserved = ["host", "content-length", "transfer-encoding", "expect"];
        proptest::prop_assume!(!reserved.contains(&name.to_ascii_lowercase().as_str()));
        let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n");
        for end in 0..text.len() {
            proptest::prop_assert!(matches!(parse(&text.as_bytes()[..end], &LIMITS), Ok(None)));
        }
        let head = parse(text.as_bytes(), &LIMITS).expect("valid").expect("complete");
        proptest::prop_assert_eq!(head.length(), text.len());
    }
}
