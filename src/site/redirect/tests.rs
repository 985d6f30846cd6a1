//! Rules: what they match, that no path takes them to another host or out of a field, and loops.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect(text)
}

fn redirect(from: &str, to: &str) -> Redirect {
    Redirect::new(&pattern(from), to, Status::PermanentRedirect).expect(to)
}

/// Pattern and target of redirects.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn rules(redirects: Pairs<'_>) -> Rules {
    Rules {
        redirects: redirects
            .iter()
            .map(|(from, to)| redirect(from, to))
            .collect(),
        rewrites: Vec::new(),
    }
}

/// Where a client is sent that asks for a raw path.
fn location(rules: &Rules, raw: &[u8]) -> Option<String> {
    let path = SitePath::decode(raw).ok()?;
    let moved = rules.redirected(&path.decoded())?;
    Some(moved.location.into())
}

#[test]
fn the_first_redirect_that_matches_decides() {
    let rules = rules(&[
        ("/old/index.html", "/"),
        ("/old/*", "/new/$1"),
        ("/old/**", "https://archive.example/$1?from=old"),
        ("/*/*.php", "/$2/$1#top"),
    ]);
    #[rustfmt::skip]
    let cases = [
        ("/old/index.html",     Some("/"),                                      "the first of two"),
        ("/old/a",              Some("/new/a"),                                 "the second"),
        ("/old/a/b",            Some("https://archive.example/a/b?from=old"),   "the third"),
        ("/x/y.php",            Some("/y/x#top"),                               "captures in any order"),
        ("/%6fld/a",            Some("/new/a"),                                 "compared decoded"),
        ("/old/./b/../a",       Some("/new/a"),                                 "compared without dot segments"),
        ("/old/a%20b",          Some("/new/a%20b"),                             "captures are encoded"),
        ("/new/a",              None,                                           "no rule is for it"),
        ("/old",                None,                                           "not its directory"),
    ];
    for (raw, want, because) in cases {
        assert_eq!(
            location(&rules, raw.as_bytes()).as_deref(),
            want,
            "{raw}: {because}"
        );
    }
}

/// The cases of nginx's documentation and of gixy: line ends, and hosts that a path brings with it.
#[test]
fn a_path_ends_no_field_and_brings_no_host() {
    let start = "https://good.example/";
    let (to_path, to_host) = (
        rules(&[("/**", "/$1")]),
        rules(&[("/**", "https://good.example/$1")]),
    );
    #[rustfmt::skip]
    let paths = [
        "/a%0d%0aSet-Cookie:%20x=1", "/%0d%0a%0d%0a<script>", "/a%0aX:1", "/%E5%98%8A%E5%98%8Dx", "/%09/evil.example",
        "//evil.example", "///evil.example/%2e%2e", "/\\evil.example", "/%5cevil.example", "/%5c%5cevil.example",
        "/.//evil.example", "/..//evil.example/..", "/@evil.example", "/:80@evil.example", "/https://evil.example",
    ];
    for path in paths {
        for (rules, start) in [(&to_path, "/"), (&to_host, start)] {
            let location = location(rules, path.as_bytes()).expect(path);
            let is_plain = location
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
            assert!(is_plain, "{path}: {location}");
            let rest = location.strip_prefix(start).expect(path);
            assert!(!rest.starts_with('/'), "{path}: {location}");
        }
    }
    for path in ["/a%00b", "/%2fevil.example", "/%"] {
        assert_eq!(
            location(&to_path, path.as_bytes()),
            None,
            "{path} names nothing"
        );
    }
}

#[test]
fn impossible_targets_are_refused() {
    let any = pattern("/a/*");
    let status = Status::Found;
    #[rustfmt::skip]
    let cases = [
        ("a",                       "no path"),
        ("//other.example/",        "scheme-relative: write the scheme"),
        ("/\\other.example",        "a backslash is a slash for browsers"),
        ("javascript:alert(1)",     "another scheme"),
        ("https://",                "no host"),
        ("https:///a",              "no host"),
        ("https://$1/",             "a capture as the host"),
        ("https://a.$1",            "a capture within the host"),
        ("https://good.example$1",  "a capture behind the host"),
        ("/a b",                    "a space"),
        ("/a\r\nb",                 "a line end"),
        ("/$2",                     "a capture that is not there"),
    ];
    for (to, because) in cases {
        assert!(Redirect::new(&any, to, status).is_err(), "{to}: {because}");
    }
    for to in ["https://a.example/", "/a?b", "/a#b"] {
        assert_eq!(Rewrite::new(&any, to), Err(RuleError::NotPath), "{to}");
        assert!(Redirect::new(&any, to, status).is_ok(), "{to}");
    }
}

#[test]
fn a_rewrite_is_applied_once() {
    let rewrite = |from, to| Rewrite::new(&pattern(from), to).expect(to);
    let rules = Rules {
        redirects: Vec::new(),
        rewrites: vec![rewrite("/a/*", "/b/$1"), rewrite("/b/*", "/a/$1")],
    };
    assert_eq!(rules.rewritten(b"/a/x y").as_deref(), Some("/b/x%20y"));
    assert_eq!(rules.rewritten(b"/b/x").as_deref(), Some("/a/x"));
    assert_eq!(rules.rewritten(b"/c/x"), None);
}

fn first_loop(redirects: Pairs<'_>) -> Option<(usize, Vec<String>)> {
    let rules = rules(redirects);
    rules.first_loop(|path| rules.redirected(&path.decoded()))
}

#[test]
fn loops_are_found() {
    #[rustfmt::skip]
    let cases: &[(Pairs<'_>, Option<usize>, &str)] = &[
        (&[("/a", "/b"), ("/b", "/c")],                    None,    "it ends"),
        (&[("/a", "/a")],                                  Some(0), "itself"),
        (&[("/a", "/b?x"), ("/b", "/a#y")],                Some(0), "to and fro, with query and fragment"),
        (&[("/x", "/y"), ("/a", "/b"), ("/b", "/b")],      Some(1), "the first that leads into one"),
        (&[("/a/*", "/b/$1"), ("/b/*", "/a/$1")],          Some(0), "with captures"),
        (&[("/**", "/new/$1")],                            Some(0), "longer and longer"),
        (&[("/old/**", "/old/new/$1")],                    Some(0), "longer and longer"),
        (&[("/old/**", "/new/$1"), ("/new/x", "/")],       None,    "it ends"),
        (&[("/**", "https://a.example/$1")],               None,    "another server"),
        (&[("/{a,b}", "/b")],                              Some(0), "the second alternative"),
    ];
    for (redirects, want, because) in cases {
        let found = first_loop(redirects);
        assert_eq!(
            found.as_ref().map(|(place, _)| *place),
            *want,
            "{redirects:?}: {because}"
        );
    }
    let (_, way) = first_loop(&[("/a", "/b"), ("/b", "/a")]).expect("a loop");
    assert_eq!(way, ["/a", "/b", "/a"]);
}

proptest! {
    #[test]
    fn whatever_a_path_is_it_stays_on_the_site(path: Vec<u8>) {
        let rules = rules(&[("/go/**", "/$1"), ("/*/**", "/x/$2$1"), ("/**", "/y$1")]);
        let raw = [b"/", &path[..]].concat();
        if let Some(location) = location(&rules, &raw) {
            prop_assert!(is_path(&location), "{location}");
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
        }
    }
}
