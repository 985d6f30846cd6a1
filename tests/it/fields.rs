//! Response fields that are configured: by path, for all answers, and by origin.

use super::harness::{Response, Server, Site, engines};
use super::sites::serve;
use super::sources::document;

/// Every value of a field, in order.
fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let found = response.fields.iter().filter(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str()).collect()
}

fn start(site: &Site, engine: &str, table: &str, words: &[&str]) -> Server {
    let root = site.root();
    let config = format!("[[site]]\nroot = {root:?}\n{table}");
    serve(site, &config, &[&["--disk", engine], words].concat())
}

const RULES: &str = r#"
directories = "list"
[[site.rule]]
match = "/**"
set = { X-All = "yes", Cache-Control = "max-age=1" }
[[site.rule]]
match = "/assets/**"
cache-control = "max-age=86400"
add = { Link = "</a>", Vary = "X-B" }
remove = ["x-all"]
[[site.rule]]
match = "/download/**"
disposition = "attachment"
content-type = "application/x-own"
"#;

fn rules_site() -> Site {
    let site = Site::new();
    site.file("page.html", "<p>page</p>")
        .file("assets/a.css", "p{}")
        .file("assets/a.css.br", "(brotli)")
        .file("assets/empty/x/y", "y")
        .file("download/file.txt", "0123456789");
    site
}

/// Method, path, fields of the request; status, X-All, Cache-Control.
type Case<'a> = (&'a str, &'a str, &'a [&'a str], u16, &'a [&'a str], &'a str);

#[test]
fn fields_by_path_are_in_all_answers_for_it() {
    const ALL: &str = "yes";
    #[rustfmt::skip]
    let cases: [Case<'_>; 14] = [
        // method  path                 fields                              status  X-All    Cache-Control
        ("GET",     "/page.html",        &[],                                200, &[ALL], "max-age=1"),
        ("HEAD",    "/page.html",        &[],                                200, &[ALL], "max-age=1"),
        ("GET",     "//%70age.html",     &[],                                200, &[ALL], "max-age=1"),
        ("GET",     "/page.html",        &["Range: bytes=1-2"],              206, &[ALL], "max-age=1"),
        ("GET",     "/page.html",        &["Range: bytes=1-2,5-6"],          206, &[ALL], "max-age=1"),
        ("GET",     "/page.html",        &["If-None-Match: *"],              304, &[ALL], "max-age=1"),
        ("GET",     "/page.html",        &["If-Match: \"x\""],               412, &[ALL], "max-age=1"),
        ("GET",     "/page.html",        &["Range: bytes=999-"],             416, &[ALL], "max-age=1"),
        ("GET",     "/none",             &[],                                404, &[ALL], "max-age=1"),
        ("GET",     "/download",         &[],                                301, &[ALL], "max-age=1"),
        ("OPTIONS", "/page.html",        &[],                                200, &[ALL], "max-age=1"),
        ("GET",     "/assets/a.css",     &[],                                200, &[],    "max-age=86400"),
        ("GET",     "/assets/a.css",     &["If-None-Match: *"],              304, &[],    "max-age=86400"),
        // What is said of the file is not said of its absence.
        ("GET",     "/assets/none",      &[],                                404, &[],    "max-age=1"),
    ];
    for engine in engines() {
        let site = rules_site();
        let server = start(&site, engine, RULES, &[]);
        let mut client = server.connect();
        for (method, path, fields, status, all, cache_control) in cases {
            // The second answer comes from memory.
            for _ in 0..2 {
                let response = client.request(method, path, fields);
                let case = format!("{engine} {method} {path} {fields:?}: {response:?}");
                assert_eq!(response.status, status, "{case}");
                assert_eq!(values(&response, "x-all"), all, "{case}");
                assert_eq!(
                    response.field("cache-control"),
                    Some(cache_control),
                    "{case}"
                );
            }
        }
        let coded = client.get("/assets/a.css", &["Accept-Encoding: br"]);
        assert_eq!(values(&coded, "vary"), ["X-B", "Accept-Encoding"]);
        assert_eq!(values(&coded, "link"), ["</a>"]);
        assert_eq!(coded.body, b"(brotli)");
        let listed = client.get("/assets/", &[]);
        assert_eq!(
            (listed.status, listed.field("cache-control")),
            (200, Some("no-store"))
        );
        assert_eq!(values(&listed, "link"), ["</a>"]);
        let refused = client.request("BREW", "/page.html", &[]);
        assert_eq!((refused.status, values(&refused, "x-all").len()), (501, 0));
    }
}

#[test]
fn type_and_disposition_are_said_of_the_file_only() {
    for engine in engines() {
        let site = rules_site();
        let server = start(&site, engine, RULES, &[]);
        let mut client = server.connect();
        for range in [None, Some("Range: bytes=0-3")] {
            let response = client.get("/download/file.txt", range.as_slice());
            assert_eq!(response.field("content-type"), Some("application/x-own"));
            assert_eq!(response.field("content-disposition"), Some("attachment"));
        }
        let missing = client.get("/download/none", &[]);
        assert_eq!(missing.field("content-disposition"), None);
        assert_eq!(
            missing.field("content-type"),
            Some("text/html; charset=utf-8")
        );
    }
}

#[test]
fn hashed_names_are_immutable_unless_switched_off() {
    const IMMUTABLE: &str = "public, max-age=31536000, immutable";
    let site = Site::new();
    site.file("assets/index-BQx3k9Zf.css", "p{}")
        .file("assets/index.css", "p{}");
    for (words, want) in [(&[][..], Some(IMMUTABLE)), (&["--immutable", "off"], None)] {
        let server = Server::start(&site, words);
        let mut client = server.connect();
        let hashed = client.get("/assets/index-BQx3k9Zf.css", &[]);
        assert_eq!(hashed.field("cache-control"), want);
        let unchanged = client.get("/assets/index-BQx3k9Zf.css", &["If-None-Match: *"]);
        assert_eq!(
            (unchanged.status, unchanged.field("cache-control")),
            (304, want)
        );
        assert_eq!(
            client.get("/assets/index.css", &[]).field("cache-control"),
            None
        );
        let missing = client.get("/assets/index-CQx3k9Zf.css", &[]);
        assert_eq!(
            (missing.status, missing.field("cache-control")),
            (404, None)
        );
    }
}

#[test]
fn switches_and_header_are_in_all_answers_of_the_site() {
    let site = rules_site();
    let words = [
        "--security-fields",
        "--header",
        "X-Frame-Options: DENY",
        "--header",
        "X: y",
    ];
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    for path in ["/page.html", "/none", "/download", "/%zz"] {
        let response = client.get(path, &[]);
        let fields = [
            "referrer-policy",
            "content-security-policy",
            "x-frame-options",
            "x",
        ];
        let got: Vec<_> = fields.iter().map(|name| response.field(name)).collect();
        let want = [
            "strict-origin-when-cross-origin",
            "frame-ancestors 'self'",
            "DENY",
            "y",
        ];
        assert_eq!(got, want.map(Some), "{path}");
    }
    // It is the server's own, and its policy is stricter.
    let status = client.get("/status", &[]);
    assert_eq!(status.field("x"), None);
}

#[test]
fn one_origin_or_all_may_read_answers_without_vary() {
    let site = rules_site();
    for (cors, want) in [("*", "*"), ("https://a.test", "https://a.test")] {
        let server = Server::start(&site, &["--cors", cors]);
        let mut client = server.connect();
        for (path, fields, status) in [
            ("/page.html", &["Origin: https://b.test"][..], 200),
            ("/page.html", &[], 200),
            ("/page.html", &["If-None-Match: *"], 304),
            ("/none", &[], 404),
        ] {
            let response = client.get(path, fields);
            assert_eq!(response.status, status);
            assert_eq!(response.field("access-control-allow-origin"), Some(want));
            assert_eq!(response.field("vary"), None);
            let exposed = response.field("access-control-expose-headers");
            assert!(exposed.is_some_and(|names| names.contains("Content-Range")));
        }
    }
}

#[test]
fn several_origins_are_told_apart_in_every_answer() {
    let (a, b, other) = (
        "Origin: https://a.test",
        "Origin: https://b.test",
        "Origin: https://c.test",
    );
    #[rustfmt::skip]
    let cases: [(&str, &[&str], u16, Option<&str>); 10] = [
        ("/page.html", &[a],                              200, Some("https://a.test")),
        ("/page.html", &[b],                              200, Some("https://b.test")),
        ("/page.html", &[other],                          200, None),
        ("/page.html", &[],                               200, None),
        ("/page.html", &[b, "If-None-Match: *"],          304, Some("https://b.test")),
        ("/page.html", &[b, "Range: bytes=0-1"],          206, Some("https://b.test")),
        ("/page.html", &[b, "Range: bytes=999-"],         416, Some("https://b.test")),
        ("/none",      &[b],                              404, Some("https://b.test")),
        ("/none",      &[other],                          404, None),
        ("/download",  &[b],                              301, Some("https://b.test")),
    ];
    for engine in engines() {
        let site = rules_site();
        let words = ["--disk", engine, "--cors", "https://a.test,https://b.test"];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        for (path, fields, status, want) in cases {
            for _ in 0..2 {
                let response = client.get(path, fields);
                assert_eq!(response.status, status, "{path} {fields:?}");
                assert_eq!(
                    response.field("access-control-allow-origin"),
                    want,
                    "{path} {fields:?}"
                );
                assert_eq!(values(&response, "vary"), ["Origin"], "{path} {fields:?}");
            }
        }
        let coded = client.get("/assets/a.css", &[b, "Accept-Encoding: br"]);
        assert_eq!(values(&coded, "vary"), ["Origin", "Accept-Encoding"]);
    }
}

#[test]
fn a_preflight_is_answered_for_origins_that_are_allowed() {
    const ASKED: &str = "Access-Control-Request-Method: GET";
    let site = rules_site();
    let table =
        "[[site.rule]]\nmatch = '/assets/**'\ncors = ['https://a.test', 'https://b.test']\n";
    let server = start(&site, "threads", table, &[]);
    let mut client = server.connect();
    #[rustfmt::skip]
    let cases: [(&str, &[&str], u16, Option<&str>); 4] = [
        ("/assets/a.css", &["Origin: https://b.test", ASKED], 204, Some("https://b.test")),
        ("/assets/a.css", &["Origin: https://c.test", ASKED], 200, None),
        ("/assets/a.css", &["Origin: https://b.test"],        200, Some("https://b.test")),
        ("/page.html",    &["Origin: https://b.test", ASKED], 200, None),
    ];
    for (path, fields, status, want) in cases {
        let response = client.request("OPTIONS", path, fields);
        assert_eq!(response.status, status, "{path} {fields:?}");
        assert_eq!(
            response.field("access-control-allow-origin"),
            want,
            "{path} {fields:?}"
        );
        let is_preflight = status == 204;
        let methods = response.field("access-control-allow-methods");
        assert_eq!(methods, is_preflight.then_some("GET, HEAD"));
        assert_eq!(response.field("allow").is_none(), is_preflight);
        // RFC 9110 §8.6.
        assert_eq!(response.field("content-length").is_none(), is_preflight);
    }
    assert_eq!(
        client.get("/page.html", &[]).status,
        200,
        "the connection goes on"
    );
}

#[test]
fn an_error_page_has_the_fields_of_the_path_that_was_asked_for() {
    let site = rules_site();
    site.file("404.html", "the page")
        .file("app.html", "the application");
    let table = format!("error-page = '404=/404.html'\nfallback = '/app.html'\n{RULES}");
    let server = start(&site, "threads", &table, &[]);
    let mut client = server.connect();
    for _ in 0..2 {
        let missing = client.get("/assets/none.css", &[]);
        assert_eq!((missing.status, &*missing.body), (404, &b"the page"[..]));
        assert_eq!(missing.field("cache-control"), Some("no-cache"));
        assert_eq!(missing.field("link"), Some("</a>"));
        let route = client.get("/assets/route", &[]);
        assert_eq!((route.status, &*route.body), (200, &b"the application"[..]));
        assert_eq!(route.field("cache-control"), Some("max-age=1"));
        assert_eq!(route.field("link"), None);
    }
}

/// A rule is for the path of the request; a change of the file does not lose what it says.
#[test]
fn a_new_version_of_a_file_has_the_fields_of_its_path() {
    for engine in engines() {
        let site = rules_site();
        let server = start(&site, engine, RULES, &[]);
        let mut client = server.connect();
        assert_eq!(client.get("/assets/new.css", &[]).status, 404);
        for content in ["one", "two"] {
            site.publish("assets/new.css", content);
            let response = client.get("/assets/new.css", &[]);
            assert_eq!(response.body, content.as_bytes());
            assert_eq!(response.field("cache-control"), Some("max-age=86400"));
        }
    }
}

#[test]
fn the_example_of_the_documentation_does_what_it_says() {
    let text = document("docs/configuration.md");
    let mut examples = text.split("```toml\n").skip(1);
    let example = examples
        .find(|example| example.contains("[[site.rule]]"))
        .unwrap();
    let table = example.split("```").next().unwrap();
    let table: String = table
        .lines()
        .filter(|line| *line != "[[site]]" && !line.starts_with("root = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let site = Site::new();
    for path in [
        "index.html",
        "assets/a.css",
        "data.json",
        "downloads/a.zip",
        "legacy/a.html",
    ] {
        site.file(path, "content");
    }
    let server = start(&site, "threads", &table, &[]);
    let (no_cache, year) = ("no-cache", "public, max-age=31536000, immutable");
    let (framed, permissions) = ("frame-ancestors 'self'", Some("camera=(), microphone=()"));
    let html = "text/html; charset=utf-8";
    #[rustfmt::skip]
    let cases = [
        ("/",                html,                             no_cache, framed,    permissions, None,      None),
        ("/assets/a.css",    "text/css; charset=utf-8",        year,     framed,    permissions, None,      None),
        ("/data.json",       "application/json",               no_cache, framed,    permissions, Some("*"), None),
        ("/downloads/a.zip", "application/zip",                no_cache, "sandbox", None,        None,      Some("attachment")),
        ("/legacy/a.html",   "text/html; charset=iso-8859-1",  no_cache, framed,    permissions, None,      None),
    ];
    let mut client = server.connect();
    for (path, media_type, cache_control, policy, permissions, origin, disposition) in cases {
        let response = client.get(path, &[]);
        let got = [
            "content-type",
            "cache-control",
            "content-security-policy",
            "permissions-policy",
            "access-control-allow-origin",
            "content-disposition",
        ];
        let got = got.map(|name| response.field(name));
        let (media_type, cache_control) = (Some(media_type), Some(cache_control));
        let want = [
            media_type,
            cache_control,
            Some(policy),
            permissions,
            origin,
            disposition,
        ];
        assert_eq!(got, want, "{path}");
    }
    let asking = ["Origin: https://admin.example.org"];
    let response = client.get("/", &asking);
    assert_eq!(
        response.field("access-control-allow-origin"),
        Some("https://admin.example.org")
    );
}
