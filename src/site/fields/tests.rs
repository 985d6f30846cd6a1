//! What rules come to for a path.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::http::facts::list::of_both;
use crate::site::fields::cors::Origin;

fn rule(pattern: &str, changes: Vec<Change>) -> Rule {
    Rule {
        pattern: Pattern::new(pattern).unwrap(),
        changes,
    }
}

fn rules(rules: Vec<Rule>) -> FieldRules {
    FieldRules {
        rules,
        ..FieldRules::default()
    }
}

fn set(name: &str, value: &str) -> Change {
    Change::Set(ResponseField::new(name, value).unwrap())
}

fn add(name: &str, value: &str) -> Change {
    Change::Add(ResponseField::added(name, value).unwrap())
}

fn remove(name: &str) -> Change {
    Change::Remove(FieldName::new(name).unwrap())
}

fn cache_control(value: &str) -> Change {
    Change::CacheControl(FieldValue::new(value).unwrap())
}

fn cors(origins: &[&str]) -> AllowedOrigins {
    let origins: Vec<_> = origins
        .iter()
        .map(|text| Origin::parse(text).unwrap())
        .collect();
    AllowedOrigins::new(&origins).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"));
    text.lines().map(str::to_owned).collect()
}

/// The lines of the file that a path leads to, whose name is that of the path.
fn of_file(rules: &FieldRules, path: &str) -> Vec<String> {
    let types = MediaTypes::default();
    lines(
        &rules
            .of_file(
                path.as_bytes(),
                &path.as_bytes()[1..],
                &types,
                Audience::Everybody,
            )
            .lines,
    )
}

fn of_other(
    rules: &FieldRules,
    path: &str,
    fields: &[(&str, &str)],
    answer: Answer,
) -> Vec<String> {
    lines(&of_both("GET", "a", path, fields, |request| {
        rules.lines(request, answer)
    }))
}

const MISSING: Answer = Answer::Plain(Status::NotFound);

#[test]
fn all_rules_of_a_path_apply_in_order() {
    let rules = rules(vec![
        rule(
            "/**",
            vec![
                set("Cache-Control", "no-cache"),
                set("X-Frame-Options", "DENY"),
            ],
        ),
        rule(
            "/assets/**",
            vec![cache_control("max-age=9"), add("Link", "</a>")],
        ),
        rule(
            "/assets/x/**",
            vec![add("Link", "</b>"), remove("x-frame-options")],
        ),
        rule(
            "/assets/x/y/**",
            vec![set("cache-control", "no-store"), set("link", "</c>")],
        ),
        rule("/other", vec![set("X", "y")]),
    ]);
    #[rustfmt::skip]
    let cases: [(&str, &[&str], &[&str]); 6] = [
        // path              in the answer with the file                             in an error
        ("/a",               &["Cache-Control: no-cache", "X-Frame-Options: DENY"],
                             &["Cache-Control: no-cache", "X-Frame-Options: DENY"]),
        ("/assets/a",        &["X-Frame-Options: DENY", "Link: </a>", "Cache-Control: max-age=9"],
                             &["Cache-Control: no-cache", "X-Frame-Options: DENY", "Link: </a>"]),
        ("/assets/x/a",      &["Link: </a>", "Link: </b>", "Cache-Control: max-age=9"],
                             &["Cache-Control: no-cache", "Link: </a>", "Link: </b>"]),
        ("/assets/x/y/a",    &["cache-control: no-store", "link: </c>"],
                             &["cache-control: no-store", "link: </c>"]),
        ("//assets/./%61",   &["X-Frame-Options: DENY", "Link: </a>", "Cache-Control: max-age=9"],
                             &["Cache-Control: no-cache", "X-Frame-Options: DENY", "Link: </a>"]),
        ("/%zz",             &[], &[]),
    ];
    for (path, file, other) in cases {
        assert_eq!(of_file(&rules, path), file, "{path}");
        assert_eq!(of_other(&rules, path, &[], MISSING), other, "{path}");
    }
    assert!(of_file(&FieldRules::default(), "/a").is_empty());
}

#[test]
fn a_hashed_name_is_immutable_unless_a_rule_says_otherwise() {
    const PATH: &str = "/app.3f9a1c2b.js";
    const LINE: &str = "Cache-Control: public, max-age=31536000, immutable";
    let with = |changes| rules(vec![rule("/**", changes)]);
    #[rustfmt::skip]
    let cases: [(FieldRules, &[&str]); 6] = [
        (FieldRules::default(),                  &[LINE]),
        (with(vec![set("X", "y")]),              &["X: y", LINE]),
        (with(vec![cache_control("no-cache")]),  &["Cache-Control: no-cache"]),
        (with(vec![set("Cache-Control", "a")]),  &["Cache-Control: a"]),
        (with(vec![remove("Cache-Control")]),    &[]),
        (FieldRules { immutable: Immutable::Off, ..FieldRules::default() }, &[]),
    ];
    for (rules, want) in cases {
        assert_eq!(of_file(&rules, PATH), want);
        let other = of_other(&rules, PATH, &[], MISSING);
        assert!(!other.contains(&LINE.to_owned()), "an error is not");
    }
    // The name of the file counts: the path may lead to another.
    let fields = FieldRules::default();
    let types = MediaTypes::default();
    let found = fields.of_file(PATH.as_bytes(), b"index.html", &types, Audience::Everybody);
    assert!(found.lines.is_empty());
}

#[test]
fn type_charset_and_disposition_are_those_of_the_file() {
    let rules = rules(vec![
        rule(
            "/**",
            vec![Change::Charset(Charset::Named("koi8-r".to_owned()))],
        ),
        rule(
            "/data/*",
            vec![
                Change::ContentType(FieldValue::new("application/x-data").unwrap()),
                Change::Disposition(Disposition::Attachment),
            ],
        ),
        rule(
            "/data/shown",
            vec![Change::Disposition(Disposition::Inline)],
        ),
        rule("/plain/**", vec![Change::Charset(Charset::Omitted)]),
    ]);
    #[rustfmt::skip]
    let cases = [
        ("/a.html",       "text/html; charset=koi8-r", ""),
        ("/a.png",        "image/png",                 ""),
        ("/plain/a.html", "text/html",                 ""),
        ("/data/a.html",  "application/x-data",        "Content-Disposition: attachment"),
        ("/data/shown",   "application/x-data",        "Content-Disposition: inline"),
    ];
    for (path, media_type, line) in cases {
        let types = MediaTypes::default();
        let fields = rules.of_file(
            path.as_bytes(),
            &path.as_bytes()[1..],
            &types,
            Audience::Everybody,
        );
        assert_eq!(fields.media_type, media_type, "{path}");
        assert_eq!(lines(&fields.lines).concat(), line, "{path}");
        assert!(of_other(&rules, path, &[], MISSING).is_empty(), "{path}");
    }
}

#[test]
fn some_answers_keep_fields_of_their_own() {
    let all = rules(vec![rule(
        "/**",
        vec![
            set("Cache-Control", "max-age=9"),
            set("Content-Security-Policy", "default-src *"),
            set("X", "y"),
        ],
    )]);
    #[rustfmt::skip]
    let cases: [(Answer, &[&str], &str); 5] = [
        (MISSING,  &["Cache-Control: max-age=9", "Content-Security-Policy: default-src *", "X: y"], "a 404 is cacheable"),
        (Answer::Plain(Status::MovedPermanently),
                   &["Cache-Control: max-age=9", "Content-Security-Policy: default-src *", "X: y"], "so is a redirect"),
        (Answer::Plain(Status::ServiceUnavailable),
                   &["Content-Security-Policy: default-src *", "X: y"], "an outage is not cached"),
        (Answer::ErrorPage,
                   &["Content-Security-Policy: default-src *", "X: y"], "a page of an error is revalidated"),
        (Answer::Document, &["X: y"], "a list has its own"),
    ];
    for (answer, want, because) in cases {
        assert_eq!(of_other(&all, "/a", &[], answer), want, "{because}");
    }
}

#[test]
fn switches_come_before_rules() {
    let mut fields = rules(vec![
        rule(
            "/embed/**",
            vec![
                remove("X-Frame-Options"),
                set("Content-Security-Policy", "x"),
            ],
        ),
        rule("/public/**", vec![Change::Cors(cors(&["*"]))]),
    ]);
    fields.security = SecurityFields::On;
    fields.cors = Some(cors(&["https://a"]));
    const REFERRER: &str = "Referrer-Policy: strict-origin-when-cross-origin";
    const ANCESTORS: &str = "Content-Security-Policy: frame-ancestors 'self'";
    const FRAMES: &str = "X-Frame-Options: SAMEORIGIN";
    const ONE: &str = "Access-Control-Allow-Origin: https://a";
    const ALL: &str = "Access-Control-Allow-Origin: *";
    #[rustfmt::skip]
    let cases: [(&str, &[&str]); 4] = [
        ("/a",        &[REFERRER, ANCESTORS, FRAMES, ONE]),
        ("/%zz",      &[REFERRER, ANCESTORS, FRAMES, ONE]),
        ("/embed/a",  &[REFERRER, "Content-Security-Policy: x", ONE]),
        ("/public/a", &[REFERRER, ANCESTORS, FRAMES, ALL]),
    ];
    for (path, want) in cases {
        for got in [
            of_file(&fields, path),
            of_other(&fields, path, &[], MISSING),
        ] {
            let (exposed, rest) = got.split_last().unwrap();
            assert!(exposed.starts_with("Access-Control-Expose-Headers: "));
            assert_eq!(rest, want, "{path}");
        }
    }
}

#[test]
fn fields_of_all_answers_come_between_switches_and_rules() {
    let mut fields = rules(vec![rule("/a/**", vec![set("X", "z")])]);
    fields.security = SecurityFields::On;
    let of_line = |line| ResponseField::of_line(line).unwrap();
    fields.headers = vec![of_line("x-frame-options: DENY"), of_line("X: y")];
    #[rustfmt::skip]
    let cases = [
        ("/b",   ["x-frame-options: DENY", "X: y"]),
        ("/%zz", ["x-frame-options: DENY", "X: y"]),
        ("/a/b", ["x-frame-options: DENY", "X: z"]),
    ];
    for (path, want) in cases {
        assert_eq!(of_file(&fields, path)[2..], want, "{path}");
        assert_eq!(of_other(&fields, path, &[], MISSING)[2..], want, "{path}");
    }
}

#[test]
fn several_origins_are_found_again_by_the_head_that_depends_on_them() {
    let mut fields = rules(vec![
        rule("/x", vec![]),
        rule(
            "/b/*",
            vec![
                Change::Cors(cors(&["*"])),
                Change::Cors(cors(&["https://b", "https://c"])),
            ],
        ),
        rule("/c/*", vec![Change::Cors(cors(&["https://c"]))]),
    ]);
    fields.cors = Some(cors(&["https://a", "https://c"]));
    #[rustfmt::skip]
    let cases = [
        ("/a",   "https://a", "Access-Control-Allow-Origin: https://a"),
        ("/a",   "https://b", ""),
        ("/b/a", "https://b", "Access-Control-Allow-Origin: https://b"),
        ("/b/a", "https://a", ""),
        ("/c/a", "https://c", ""),
    ];
    for (path, origin, want) in cases {
        let types = MediaTypes::default();
        let file = fields.of_file(path.as_bytes(), b"a", &types, Audience::Everybody);
        let is_several = lines(&file.lines).contains(&"Vary: Origin".to_owned());
        assert_eq!(is_several, !file.origins.is_none(), "{path}");
        let asking = [("Origin", origin)];
        let line = of_both("GET", "a", path, &asking, |request| {
            match file.origins.is_none() {
                true => Vec::new(),
                false => fields.origin_line(file.origins, request).to_vec(),
            }
        });
        assert_eq!(lines(&line).concat(), want, "{path} {origin}");
        let other = of_other(&fields, path, &asking, MISSING);
        assert_eq!(
            other.contains(&want.to_owned()),
            !want.is_empty(),
            "{path} {origin}"
        );
    }
}

#[test]
fn the_length_of_all_fields_is_known() {
    let rules = rules(vec![
        rule("/a", vec![set("X", "yz"), add("X", "y"), remove("X")]),
        rule("/b", vec![cache_control("abc")]),
    ]);
    assert_eq!(
        rules.length(),
        "X: yz\r\n".len() + "X: y\r\n".len() + "abc".len()
    );
}

#[test]
fn files_of_guarded_paths_are_for_no_shared_cache_unless_a_rule_says_so() {
    let types = MediaTypes::default();
    let of = |rules: &FieldRules, path: &str| {
        let found = &path.as_bytes()[1..];
        let fields = rules.of_file(path.as_bytes(), found, &types, Audience::Admitted);
        String::from_utf8(fields.lines).expect("text")
    };
    let plain = FieldRules::default();
    let private = "Cache-Control: private\r\n";
    assert_eq!(of(&plain, "/a.html"), private);
    assert_eq!(of(&plain, "/app.3f9a1c2b.js"), private);
    let rules = FieldRules {
        rules: vec![Rule {
            pattern: Pattern::new("/**").expect("a pattern"),
            changes: vec![cache_control("no-store")],
        }],
        ..FieldRules::default()
    };
    assert_eq!(of(&rules, "/a.html"), "Cache-Control: no-store\r\n");
}
