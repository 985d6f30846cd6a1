//! Tests of targets, hosts and paths, with the cases that have broken other servers.

use super::*;
use proptest::prelude::*;

#[test]
fn a_target_has_the_form_that_its_method_allows() {
    use Form::{Absolute, Asterisk, Authority, Origin};
    use MethodShape::{Connect, Options, Other};
    type Parts<'a> = (Form, Option<&'a str>, &'a str, Option<&'a str>);
    #[rustfmt::skip]
    let cases: &[(&str, MethodShape, Result<Parts<'_>, TargetError>)] = &[
        ("/",                      Other,   Ok((Origin, None, "/", None))),
        ("/a/b?c=d",               Other,   Ok((Origin, None, "/a/b", Some("c=d")))),
        ("/a?",                    Other,   Ok((Origin, None, "/a", Some("")))),
        ("/?a?b/c",                Other,   Ok((Origin, None, "/", Some("a?b/c")))),
        ("//evil.example/a",       Other,   Ok((Origin, None, "//evil.example/a", None))),
        ("/a|^[]\"<>\\`{}",        Other,   Ok((Origin, None, "/a|^[]\"<>\\`{}", None))),
        ("/%zz",                   Other,   Ok((Origin, None, "/%zz", None))),
        ("/http://a/",             Other,   Ok((Origin, None, "/http://a/", None))),
        ("/a",                     Options, Ok((Origin, None, "/a", None))),
        ("http://h/a?b",           Other,   Ok((Absolute, Some("h"), "/a", Some("b")))),
        ("HTTPS://h:1/a",          Other,   Ok((Absolute, Some("h:1"), "/a", None))),
        ("http://h",               Other,   Ok((Absolute, Some("h"), "/", None))),
        ("http://h:",              Other,   Ok((Absolute, Some("h:"), "/", None))),
        ("http://h?a/b",           Other,   Ok((Absolute, Some("h"), "/", Some("a/b")))),
        ("http://[::1]:80/",       Other,   Ok((Absolute, Some("[::1]:80"), "/", None))),
        ("http://h",               Options, Ok((Absolute, Some("h"), "/", None))),
        ("*",                      Options, Ok((Asterisk, None, "/", None))),
        ("*",                      Other,   Err(TargetError::Form)),
        ("*a",                     Options, Err(TargetError::Form)),
        ("h:443",                  Connect, Ok((Authority, Some("h:443"), "/", None))),
        ("[::1]:443",              Connect, Ok((Authority, Some("[::1]:443"), "/", None))),
        ("[::1]",                  Connect, Err(TargetError::Authority)),
        ("h",                      Connect, Err(TargetError::Authority)),
        ("h:",                     Connect, Err(TargetError::Authority)),
        ("u@h:443",                Connect, Err(TargetError::Authority)),
        ("h:443/a",                Connect, Err(TargetError::Authority)),
        ("/",                      Connect, Err(TargetError::Form)),
        ("*",                      Connect, Err(TargetError::Form)),
        ("http://h:1",             Connect, Err(TargetError::Form)),
        ("h:443",                  Other,   Err(TargetError::Form)),
        ("a/b",                    Other,   Err(TargetError::Form)),
        ("?a",                     Other,   Err(TargetError::Form)),
        ("\\a",                    Other,   Err(TargetError::Form)),
        ("ftp://h/",               Other,   Err(TargetError::Form)),
        ("http:/h/",               Other,   Err(TargetError::Form)),
        ("http://",                Other,   Err(TargetError::Authority)),
        ("http:///a",              Other,   Err(TargetError::Authority)),
        ("http://?a",              Other,   Err(TargetError::Authority)),
        ("http://:80/",            Other,   Err(TargetError::Authority)),
        ("http://u@h/",            Other,   Err(TargetError::Authority)),
        ("http://u:p@h/",          Other,   Err(TargetError::Authority)),
        ("http://h\\@evil/",       Other,   Err(TargetError::Authority)),
        ("http://h:65536/",        Other,   Err(TargetError::Authority)),
        ("/a#b",                   Other,   Err(TargetError::Fragment)),
        ("/a?b#",                  Other,   Err(TargetError::Fragment)),
        ("http://h#/",             Other,   Err(TargetError::Fragment)),
        ("/a b",                   Other,   Err(TargetError::Byte)),
        ("/a\tb",                  Other,   Err(TargetError::Byte)),
        ("/a\0",                   Other,   Err(TargetError::Byte)),
        ("/a\r\nb",                Other,   Err(TargetError::Byte)),
        ("/a\x7f",                 Other,   Err(TargetError::Byte)),
        ("/\u{e9}",                Other,   Err(TargetError::Byte)),
        ("",                       Other,   Err(TargetError::Empty)),
        ("",                       Connect, Err(TargetError::Empty)),
    ];
    for (raw, method, want) in cases {
        let want = want.map(|(form, authority, path, query)| Target {
            form,
            authority: authority.map(str::as_bytes),
            path: path.as_bytes(),
            query: query.map(str::as_bytes),
        });
        assert_eq!(
            Target::parse(raw.as_bytes(), *method),
            want,
            "{raw:?} for {method:?}"
        );
    }
}

#[test]
fn a_host_is_a_name_or_an_address_with_perhaps_a_port() {
    #[rustfmt::skip]
    let cases = [
        ("example.com",           true,  "a name"),
        ("EXAMPLE.com:8080",      true,  "a name and a port"),
        ("example.com:",          true,  "an empty port"),
        ("h:0",                   true,  "port 0 is a number"),
        ("h:65535",               true,  "the highest port"),
        ("h:0000000000065535",    true,  "leading zeros"),
        ("h:65536",               false, "one more"),
        ("h:99999999999999999999999", false, "long past 2^64"),
        ("h:80a",                 false, "not a number"),
        ("h:-1",                  false, "a sign"),
        ("h:80:80",               false, "two ports"),
        ("127.0.0.1:80",          true,  "IPv4"),
        ("[::1]",                 true,  "IPv6"),
        ("[::ffff:1.2.3.4]:80",   true,  "IPv4 within IPv6"),
        ("::1",                   false, "IPv6 without brackets"),
        ("[::1",                  false, "no closing bracket"),
        ("[::1]x",                false, "something after it"),
        ("[::1%25eth0]",          false, "a zone"),
        ("[fe80::1%eth0]",        false, "a zone, raw"),
        ("[]",                    false, "nothing in the brackets"),
        ("[1.2.3.4]",             false, "IPv4 in brackets"),
        ("[v1.a:b]",              true,  "IPvFuture"),
        ("[v.a]",                 false, "without a version"),
        ("[v1.]",                 false, "without an address"),
        ("[v1]",                  false, "without a dot"),
        ("a%2Db",                 true,  "an escape"),
        ("a%2",                   false, "half an escape"),
        ("a%zz",                  false, "not an escape"),
        ("a_b~!$&'()*+;=",        true,  "unreserved and sub-delims"),
        ("..",                    true,  "a name to the grammar"),
        ("a,b",                   false, "merged by a proxy"),
        ("a, b",                  false, "merged by a proxy"),
        ("",                      false, "empty"),
        (":80",                   false, "only a port"),
        ("u@h",                   false, "user information"),
        ("a/../b",                false, "a path"),
        ("h/",                    false, "a slash"),
        ("h?",                    false, "a query"),
        ("h#",                    false, "a fragment"),
        ("h\\",                   false, "a backslash"),
        (" h",                    false, "whitespace"),
        ("h\0",                   false, "NUL"),
        ("\u{e9}.example",        false, "not ASCII"),
    ];
    for (field, want, because) in cases {
        assert_eq!(valid_host(field.as_bytes()), want, "{field:?}: {because}");
    }
}

#[test]
fn a_path_is_decoded_once_and_never_leaves_the_root() {
    #[rustfmt::skip]
    let cases: &[(&str, &[u8], &str, &str)] = &[
        // raw                   relative              encoded                because
        ("/",                    b"",                  "/",                   "the root"),
        ("",                     b"",                  "/",                   "nothing at all"),
        ("/a",                   b"a",                 "/a",                  "a file"),
        ("/a/",                  b"a",                 "/a/",                 "a directory"),
        ("/a/b.c",               b"a/b.c",             "/a/b.c",              "two segments"),
        ("/../x",                b"x",                 "/x",                  "clamped"),
        ("/%2e%2e/x",            b"x",                 "/x",                  "clamped, encoded"),
        ("/%2E./x",              b"x",                 "/x",                  "clamped, half"),
        ("/../../../etc/passwd", b"etc/passwd",        "/etc/passwd",         "clamped thrice"),
        ("/.%252e/x",            b".%2e/x",            "/.%252e/x",           "decoded once"),
        ("/%252e%252e/x",        b"%2e%2e/x",          "/%252e%252e/x",       "decoded once"),
        ("/....//x",             b"..../x",            "/..../x",             "four dots"),
        ("/.../x",               b".../x",             "/.../x",              "three dots"),
        ("/..;/x",               b"..;/x",             "/..%3B/x",            "no parameters"),
        ("//etc/passwd",         b"etc/passwd",        "/etc/passwd",         "empty first"),
        ("///a//b///",           b"a/b",               "/a/b/",               "empty anywhere"),
        ("/a/..%5cx",            b"a/..\\x",           "/a/..%5Cx",           "only data"),
        ("/\\evil.example",      b"\\evil.example",    "/%5Cevil.example",    "also first"),
        ("/./a",                 b"a",                 "/a",                  "dot first"),
        ("/a/.",                 b"a",                 "/a/",                 "dot last"),
        ("/a/%2e",               b"a",                 "/a/",                 "dot last, encoded"),
        ("/a/..",                b"",                  "/",                   "back at the root"),
        ("/a/b/..",              b"a",                 "/a/",                 "dots last"),
        ("/a/b/../c",            b"a/c",               "/a/c",                "dots amid"),
        ("/a//../b",             b"b",                 "/b",                  "merged first"),
        ("/..",                  b"",                  "/",                   "above the root"),
        ("/a%20b+c",             b"a b+c",             "/a%20b+c",            "a plus is a plus"),
        ("/a%0d%0aX:y",          b"a\r\nX:y",          "/a%0D%0AX:y",         "no line ends"),
        ("/a%3fb%23c",           b"a?b#c",             "/a%3Fb%23c",          "no query"),
        ("/%61%62",              b"ab",                "/ab",                 "canonical"),
        ("/%c3%a9",              b"\xc3\xa9",          "/%C3%A9",             "UTF-8"),
        ("/%ff%fe",              b"\xff\xfe",          "/%FF%FE",             "other bytes"),
        ("/%c0",                 b"\xc0",              "/%C0",                "a lone byte"),
        ("/%e0%a0%80",           b"\xe0\xa0\x80",      "/%E0%A0%80",          "shortest of three"),
        ("/%f0%90%80%80",        b"\xf0\x90\x80\x80",  "/%F0%90%80%80",       "shortest of four"),
        ("/<a>'\"&",             b"<a>'\"&",           "/%3Ca%3E%27%22%26",   "no HTML"),
        ("/%25",                 b"%",                 "/%25",                "a percent sign"),
    ];
    for (raw, relative, encoded, because) in cases {
        let path = SitePath::decode(raw.as_bytes()).expect(raw);
        assert_eq!(path.relative(), *relative, "{raw}: {because}");
        assert_eq!(path.encoded(), *encoded, "{raw}: {because}");
        assert_eq!(
            path.is_directory_form(),
            encoded.ends_with('/'),
            "{raw}: {because}"
        );
    }
}

#[test]
fn a_path_that_can_name_nothing_is_refused() {
    use PathError::{BadEscape, EncodedSlash, Nul, Overlong};
    #[rustfmt::skip]
    let cases: &[(&[u8], PathError, &str)] = &[
        (b"/%",                BadEscape,    "no digits"),
        (b"/a%2",              BadEscape,    "one digit"),
        (b"/%2/a",             BadEscape,    "the digits end with the segment"),
        (b"/%zz",              BadEscape,    "no hex digits"),
        (b"/%u002e",           BadEscape,    "the escapes of IIS"),
        (b"/%+1",              BadEscape,    "a sign"),
        (b"/a%00.png",         Nul,          "encoded"),
        (b"/a\0.png",          Nul,          "raw"),
        (b"/%00/..",           Nul,          "also where it is dropped again"),
        (b"/%c0%af",           Overlong,     "a slash in two bytes"),
        (b"/%c1%9c",           Overlong,     "a backslash in two bytes"),
        (b"/%c0%ae%c0%ae/x",   Overlong,     "dots in two bytes"),
        (b"/\xc0\xaf",         Overlong,     "raw"),
        (b"/%e0%80%af",        Overlong,     "a slash in three bytes"),
        (b"/%e0%9f%bf",        Overlong,     "the longest such three"),
        (b"/%f0%80%80%af",     Overlong,     "a slash in four bytes"),
        (b"/%f0%8f%bf%bf",     Overlong,     "the longest such four"),
        (b"/..%2fx",           EncodedSlash, "traversal"),
        (b"/a%2Fb",            EncodedSlash, "a slash in a name"),
        (b"/%2f",              EncodedSlash, "only a slash"),
        (b"//evil.example/%2f..", EncodedSlash, "a redirect elsewhere"),
        (b"/a%2fb/../c",       EncodedSlash, "also where it is dropped again"),
        (b"/a%2fb/%",          BadEscape,    "400 outranks 404"),
        (b"/a%2fb/%00",        Nul,          "400 outranks 404"),
    ];
    for (raw, want, because) in cases {
        assert_eq!(
            SitePath::decode(raw),
            Err(*want),
            "{}: {because}",
            raw.escape_ascii()
        );
    }
}

#[test]
fn hidden_is_what_starts_with_a_dot_except_well_known() {
    #[rustfmt::skip]
    let cases = [
        ("/",                     false),
        ("/a.b",                  false),
        ("/a./b",                 false),
        ("/.git/config",          true),
        ("/%2egit/config",        true),
        ("/a/.htpasswd",          true),
        ("/.../a",                true),
        ("/.well-known",          false),
        ("/.well-known/acme/x",   false),
        ("/a/../.well-known/x",   false),
        ("/.well-known/.x",       true),
        ("/.well-known/../.x",    true),
        ("/a/.well-known/x",      true),
        ("/.well-knownx",         true),
        ("/.Well-Known/x",        true),
    ];
    for (raw, want) in cases {
        assert_eq!(
            SitePath::decode(raw.as_bytes()).expect(raw).is_hidden(),
            want,
            "{raw}"
        );
    }
}

/// Raw paths of the bytes that matter.
const PATHS: &str = r"(/|\.|%2e|%2F|%|%25|%00|%c0%af|\\|a|B|%e9|;){0,16}";

/// RFC 3986 §5.2.4 as a stack, for paths that hold no `%`.
fn naive(raw: &str) -> Vec<&str> {
    let mut stack = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(stack.pop()),
            name => stack.push(name),
        }
    }
    stack
}

fn holds_its_invariants(path: &SitePath) {
    let relative = path.relative();
    assert_eq!(path.segments().collect::<Vec<_>>().join(&b'/'), relative);
    for segment in relative
        .split(|byte| *byte == b'/')
        .filter(|_| !relative.is_empty())
    {
        assert!(!matches!(segment, b"" | b"." | b".."), "{path:?}");
        assert!(!segment.contains(&0), "{path:?}");
    }
    let encoded = path.encoded();
    assert!(
        encoded.starts_with('/') && !encoded.starts_with("//"),
        "{path:?}"
    );
    assert!(
        encoded
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\\\"'<>&?#".contains(&byte))
    );
    assert_eq!(
        SitePath::decode(encoded.as_bytes()).as_ref(),
        Ok(path),
        "{path:?}"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(raw: Vec<u8>) {
        for method in [MethodShape::Options, MethodShape::Connect, MethodShape::Other] {
            let _ = Target::parse(&raw, method);
        }
        let _ = valid_host(&raw);
        if let Ok(path) = SitePath::decode(&raw) {
            holds_its_invariants(&path);
        }
    }

    #[test]
    fn no_path_leaves_the_root(raw in PATHS) {
        if let Ok(path) = SitePath::decode(raw.as_bytes()) {
            holds_its_invariants(&path);
        }
    }

    #[test]
    fn every_segment_of_bytes_can_be_named(segment in prop::collection::vec(1_u8.., 1..12)) {
        let raw = format!("/{}", percent_encode(&segment, NON_ALPHANUMERIC));
        match SitePath::decode(raw.as_bytes()) {
            Ok(path) if path.relative().is_empty() => {
                prop_assert!(matches!(&segment[..], b"." | b".."));
            }
            Ok(path) => prop_assert_eq!(path.relative(), &segment[..]),
            Err(PathError::EncodedSlash) => prop_assert!(segment.contains(&b'/')),
            Err(error) => {
                prop_assert_eq!(error, PathError::Overlong);
                prop_assert!(std::str::from_utf8(&segment).is_err());
            }
        }
    }

    #[test]
    fn dot_segments_are_resolved_as_by_a_stack(raw in r"/([./ab]|\.\.){0,16}") {
        let path = SitePath::decode(raw.as_bytes()).expect("no escapes");
        let got: Vec<_> = path.segments().map(|name| String::from_utf8_lossy(name)).collect();
        prop_assert_eq!(got, naive(&raw));
    }

    #[test]
    fn the_parts_of_an_origin_form_make_it_up_again(raw in "/[!-\"$-~]{0,24}") {
        let target = Target::parse(raw.as_bytes(), MethodShape::Other).expect("visible ASCII");
        let mut again = target.path.to_vec();
        if let Some(query) = target.query {
            again.push(b'?');
            again.extend_from_slice(query);
        }
        prop_assert_eq!(again, raw.as_bytes());
    }

    #[test]
    fn an_absolute_form_is_its_authority_and_its_origin_form(
        host in r"([a-z.,:@%]|\[::1\]){0,8}",
        rest in "(/[!-\"$-~]{0,12})?",
    ) {
        let absolute = format!("hTTp://{host}{rest}");
        let parsed = Target::parse(absolute.as_bytes(), MethodShape::Other);
        prop_assert_eq!(parsed.is_ok(), valid_host(host.as_bytes()));
        if let Ok(target) = parsed {
            prop_assert_eq!(target.authority, Some(host.as_bytes()));
            let origin = if rest.is_empty() { "/" } else { &rest };
            let origin = Target::parse(origin.as_bytes(), MethodShape::Other).expect("visible");
            prop_assert_eq!((target.path, target.query), (origin.path, origin.query));
        }
    }
}
