//! Tests of media types, with the lists of other servers.

use super::Compressible::{No, Yes};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn a_name_tells_the_media_type() {
    #[rustfmt::skip]
    let cases: &[(&[u8], &str, Compressible)] = &[
        (b"index.html",           "text/html; charset=utf-8",       Yes),
        (b"INDEX.HTM",            "text/html; charset=utf-8",       Yes),
        (b"a/b/style.css",        "text/css; charset=utf-8",        Yes),
        (b"app.js",               "text/javascript; charset=utf-8", Yes),
        (b"app.MJS",              "text/javascript; charset=utf-8", Yes),
        (b"app.js.map",           "application/json",               Yes),
        (b"data.json",            "application/json",               Yes),
        (b"site.webmanifest",     "application/manifest+json",      Yes),
        (b"module.wasm",          "application/wasm",               Yes),
        (b"feed.xml",             "application/xml",                Yes),
        (b"feed.atom",            "application/atom+xml",           Yes),
        (b"logo.svg",             "image/svg+xml",                  Yes),
        (b"logo.svgz",            "application/gzip",               No),
        (b"README.md",            "text/markdown; charset=utf-8",   Yes),
        (b"robots.txt",           "text/plain; charset=utf-8",      Yes),
        (b"table.csv",            "text/csv; charset=utf-8",        Yes),
        (b"main.rs",              "text/x-rust; charset=utf-8",     Yes),
        (b"favicon.ico",          "image/x-icon",                   Yes),
        (b"old.bmp",              "image/bmp",                      Yes),
        (b"sans.ttf",             "font/ttf",                       Yes),
        (b"sans.otf",             "font/otf",                       Yes),
        (b"sans.woff",            "font/woff",                      No),
        (b"sans.woff2",           "font/woff2",                     No),
        (b"a.png",                "image/png",                      No),
        (b"a.avif",               "image/avif",                     No),
        (b"a.webp",               "image/webp",                     No),
        (b"a.jxl",                "image/jxl",                      No),
        (b"a.m4a",                "audio/mp4",                      No),
        (b"a.opus",               "audio/ogg",                      No),
        (b"a.mp4",                "video/mp4",                      No),
        (b"a.ts",                 "video/mp2t",                     No),
        (b"a.pdf",                "application/pdf",                No),
        (b"x.tar.gz",             "application/gzip",               No),
        (b"x.html.zst",           "application/zstd",               No),
        (b"x.html.br",            UNKNOWN,                          No),
        (b"LICENSE",              UNKNOWN,                          No),
        (b"html",                 UNKNOWN,                          No),
        (b"a.html/b",             UNKNOWN,                          No),
        (b"a.html/",              UNKNOWN,                          No),
        (b".html",                UNKNOWN,                          No),
        (b"a/.html",              UNKNOWN,                          No),
        (b".eslintrc.json",       "application/json",               Yes),
        (b"a.",                   UNKNOWN,                          No),
        (b".",                    UNKNOWN,                          No),
        (b"",                     UNKNOWN,                          No),
        (b"a.nosuchextension",    UNKNOWN,                          No),
        (b"a.html ",              UNKNOWN,                          No),
        (b"a.\xff\xfe",           UNKNOWN,                          No),
        (b"\xff\xfe.html",        "text/html; charset=utf-8",       Yes),
    ];
    for (path, field, compressible) in cases {
        let types = MediaTypes::default();
        let found = types.of(path);
        assert_eq!(found.to_string(), *field, "{}", path.escape_ascii());
        assert_eq!(found.compressible, *compressible, "{}", path.escape_ascii());
    }
}

/// `extension type|type…`: the list of another server.
fn list(text: &'static str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.filter_map(|line| line.split_once(' '));
    rows.map(|(extension, types)| (extension, types.split('|').collect()))
        .collect()
}

/// nginx 1.22.1, and media-types 10.0.0 of Debian, which Apache httpd 2.4 and lighttpd 1.4 use.
#[test]
fn each_difference_from_the_lists_of_others_is_decided() {
    let nginx = list(include_str!("lists/nginx-1.22.1.txt"));
    let debian = list(include_str!("lists/debian-10.0.0.txt"));
    assert!(nginx.len() > 100 && debian.len() > 1_400);
    let differences = include_str!("lists/differences.txt");
    let lines = differences.lines().filter(|line| !line.starts_with('#'));
    let mut decided: BTreeMap<&str, Vec<&str>> = lines
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|row| (row[0], row[1..].to_vec()))
        .collect();
    let types = MediaTypes {
        charset: Charset::Omitted,
        own: Vec::new(),
    };
    for extension in nginx.keys().chain(debian.keys()).collect::<BTreeSet<_>>() {
        let ours = types.of(format!("a.{extension}").as_bytes()).to_string();
        let of = |list: &BTreeMap<_, Vec<&'static str>>| list.get(extension).cloned();
        let (of_nginx, of_debian) = (of(&nginx), of(&debian));
        let differs = |others: &Option<Vec<&str>>| {
            let others = others.as_ref();
            others
                .is_some_and(|others| !others.iter().any(|other| ours.eq_ignore_ascii_case(other)))
        };
        if !differs(&of_nginx) && !differs(&of_debian) {
            assert!(
                !decided.contains_key(extension),
                "{extension}: no difference"
            );
            continue;
        }
        let row = decided.remove(extension);
        let [said, said_nginx, said_debian, why] = row.unwrap_or_default()[..] else {
            panic!(
                "{extension} is {ours} here, {of_nginx:?} for nginx and {of_debian:?} for Debian: decide"
            );
        };
        let joined = |others: Option<Vec<&str>>| others.map_or("-".to_owned(), |all| all.join("|"));
        assert_eq!(ours, said, "{extension}: {why}");
        assert_eq!(joined(of_nginx), said_nginx, "{extension}");
        assert_eq!(joined(of_debian), said_debian, "{extension}");
        assert!(why.len() > 5, "{extension}: no reason");
    }
    assert!(decided.is_empty(), "in no list: {decided:?}");
}

#[test]
fn the_tables_are_sorted_so_that_they_can_be_searched() {
    assert!(OVERLAY.is_sorted_by(|one, next| one.0 < next.0));
    assert!(REGISTERED.is_sorted_by(|one, next| one.0 < next.0));
    for (name, _) in REGISTERED {
        let is_overlaid = OVERLAY
            .binary_search_by(|(other, _)| other.cmp(name))
            .is_ok();
        assert!(!is_overlaid, "{name} stands in both");
    }
    assert!(COMPRESSIBLE.is_sorted_by(|one, next| one < next));
    assert!(
        OVERLAY
            .iter()
            .chain(REGISTERED)
            .all(|(name, _)| *name == name.to_ascii_lowercase())
    );
}

#[test]
fn every_text_type_but_xml_names_the_charset_of_the_site() {
    let known = mime_guess::get_extensions("text", "*").expect("there are some");
    let others = mime_guess::get_extensions("application", "*").expect("there are some");
    let extensions = known
        .iter()
        .chain(others)
        .copied()
        .chain(OVERLAY.iter().chain(REGISTERED).map(|(name, _)| *name));
    let named = |name: &str| MediaTypes {
        charset: Charset::Named(name.to_owned()),
        own: Vec::new(),
    };
    let (utf_8, own) = (MediaTypes::default(), named("Shift_JIS"));
    let unsaid = MediaTypes {
        charset: Charset::Omitted,
        own: Vec::new(),
    };
    for extension in extensions {
        let path = format!("a.{extension}");
        let bare = unsaid.of(path.as_bytes()).to_string();
        assert!(!bare.contains(';'), "{extension}: {bare}");
        let is_text = bare.starts_with("text/") && bare != "text/xml";
        for (types, parameter) in [(&utf_8, "; charset=utf-8"), (&own, "; charset=Shift_JIS")] {
            let want = match is_text {
                true => format!("{bare}{parameter}"),
                false => bare.clone(),
            };
            assert_eq!(types.of(path.as_bytes()).to_string(), want);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_look_up_panic(path: Vec<u8>) {
        let found = MediaTypes::default().of(&path).to_string();
        prop_assert!(found.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }

    #[test]
    fn neither_case_nor_directory_matter(
        place in 0..OVERLAY.len(), directory in "[a-z./]{0,8}/", upper: u16,
    ) {
        let (name, _) = OVERLAY[place];
        let mixed: String = name
            .chars()
            .enumerate()
            .map(|(at, c)| if upper >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let types = MediaTypes::default();
        prop_assert_eq!(
            types.of(format!("{directory}a.{mixed}").as_bytes()),
            types.of(format!("a.{name}").as_bytes())
        );
    }
}
