//! Patterns and templates: what they match, what they give, what is refused.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn a_pattern_matches_the_whole_decoded_path() {
    #[rustfmt::skip]
    let cases = [
        ("/a",             "/a",           true,  "itself"),
        ("/a",             "/a/",          false, "not a directory of its name"),
        ("/a",             "/A",           false, "letters have a case"),
        ("/*",             "/a",           true,  "one segment"),
        ("/*",             "/",            true,  "an empty one too"),
        ("/*",             "/a/b",         false, "not two"),
        ("/**",            "/",            true,  "everything"),
        ("/**",            "/a/b/c",       true,  "everything"),
        ("/assets/**",     "/assets/",     true,  "the directory itself"),
        ("/assets/**",     "/assets",      false, "which is asked for with its slash"),
        ("/assets/**",     "/assetsx/a",   false, "nothing beside it"),
        ("/**.css",        "/a/b.css",     true,  "an extension anywhere"),
        ("/**.css",        "/a/b.css/c",   false, "at the end only"),
        ("/*.css",         "/a/b.css",     false, "an extension in one directory"),
        ("/**/*.css",      "/b.css",       true,  "no directory between"),
        ("/**/*.css",      "/a/b.css",     true,  "one"),
        ("/**/*.css",      "/a/a/b.css",   true,  "two"),
        ("/a/**/b",        "/a/b",         true,  "no directory between"),
        ("/a/**/b",        "/ab",          false, "the slash stays"),
        ("/a/**/b",        "/a/xb",        false, "whole segments only"),
        ("/*.{css,js}",    "/a.js",        true,  "one of the alternatives"),
        ("/*.{css,js}",    "/a.jsx",       false, "and nothing more"),
        ("/{*.css,a/*}",   "/a/b",         true,  "wildcards within alternatives"),
        ("/a,b",           "/a,b",         true,  "a comma outside braces is itself"),
        ("/a.b",           "/axb",         false, "a point is a point"),
        ("/a+(b)[c]|d^$",  "/a+(b)[c]|d^$", true, "and so are others"),
        ("/a*c",           "/a\nc",        true,  "a line feed is a byte"),
        ("/ü*",            "/über",        true,  "UTF-8 is bytes"),
    ];
    for (pattern, path, want, because) in cases {
        let compiled = Pattern::new(pattern).unwrap();
        let got = compiled.matches(path.as_bytes());
        assert_eq!(got, want, "{pattern} {path}: {because}");
    }
    assert!(Pattern::new("/a*").unwrap().matches(b"/a\xff"));
}

#[test]
fn captures_are_filled_in_and_encoded() {
    #[rustfmt::skip]
    let cases = [
        ("/old/*",       "/new/$1",            "/old/a",         "/new/a"),
        ("/old/**",      "/new/$1",            "/old/a/b",       "/new/a/b"),
        ("/old/**/x",    "/new/$1/y",          "/old/a/b/x",     "/new/a/b/y"),
        ("/old/**/x",    "/new/$1/y",          "/old/x",         "/new/y"),
        ("/*/*",         "/$2/$1",             "/a/b",           "/b/a"),
        ("/*",           "https://h.test/$1",  "/a b\r\n?#",     "https://h.test/a%20b%0D%0A%3F%23"),
        ("/*",           "/$$1/$",             "/a",             "/$1/$"),
        ("/*",           "/fixed",             "/a",             "/fixed"),
        ("/*.{css,js}",  "/$1",                "/a.js",          "/a"),
        ("/x**",         "/$1",                "/x//evil.test",  "/evil.test"),
        ("/x**",         "/$1",                "/x\\evil.test",  "/%5Cevil.test"),
    ];
    for (pattern, template, path, want) in cases {
        let pattern = Pattern::new(pattern).unwrap();
        let template = Template::new(template, &pattern).unwrap();
        assert_eq!(template.fill(&pattern, path.as_bytes()).unwrap(), want);
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    let nine = "/*".repeat(9);
    assert!(Pattern::new(&nine).is_ok());
    let longest = format!("/{}", "x".repeat(PATTERN_LENGTH_MAX - 1));
    assert!(Pattern::new(&longest).is_ok());
    let cases = [
        ("a".to_owned(), PatternError::NotPath),
        ("/***".into(), PatternError::Asterisks),
        ("/{a".into(), PatternError::Braces),
        ("/a}".into(), PatternError::Braces),
        ("/{a,{b}}".into(), PatternError::Braces),
        ("/a?b=c".into(), PatternError::Query),
        (format!("{nine}/*"), PatternError::TooLong),
        (format!("{longest}x"), PatternError::TooLong),
    ];
    for (text, want) in cases {
        assert_eq!(Pattern::new(&text).unwrap_err(), want, "{text}");
    }
}

#[test]
fn what_is_no_template_is_refused() {
    let pattern = Pattern::new("/**").unwrap();
    #[rustfmt::skip]
    let cases = [
        ("/$2",                PatternError::NoCapture(2, 1)),
        ("/a b",               PatternError::Byte),
        ("/a\r\nb",            PatternError::Byte),
        ("/ü",                 PatternError::Byte),
        ("https://h.test$1",   PatternError::Host),
        ("https://$1/",        PatternError::Host),
        ("//$1",               PatternError::Host),
        ("$1",                 PatternError::Host),
        ("x$1",                PatternError::Host),
    ];
    for (text, want) in cases {
        assert_eq!(Template::new(text, &pattern).unwrap_err(), want, "{text}");
    }
    for text in [
        "//h.test/$1",
        "https://h.test/a//$1",
        "https://h.test",
        "/$1",
    ] {
        assert!(Template::new(text, &pattern).is_ok(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_filled_template_stays_on_its_host(path: Vec<u8>) {
        let pattern = Pattern::new("/**").unwrap();
        let path = [b"/", &path[..]].concat();
        for (template, start) in [("/$1", "/"), ("https://h.test/$1", "https://h.test/")] {
            let template = Template::new(template, &pattern).unwrap();
            let filled = template.fill(&pattern, &path).unwrap();
            prop_assert!(filled.bytes().all(|byte| byte.is_ascii_graphic()));
            let after = filled.strip_prefix(start);
            prop_assert!(after.is_some_and(|after| !after.starts_with(['/', '\\'])));
        }
    }

    #[test]
    fn a_pattern_without_wildcards_matches_itself_only(
        pattern in "/[ -)+->@-z|~]{0,20}",
        other in "/[ -)+->@-z|~]{0,20}",
    ) {
        let compiled = Pattern::new(&pattern).unwrap();
        prop_assert!(compiled.matches(pattern.as_bytes()));
        prop_assert_eq!(compiled.matches(other.as_bytes()), pattern == other);
    }
}
