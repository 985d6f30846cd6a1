//! Content types of responses.

use super::harness::{Content, Server, Site, engines};

/// Japanese in Shift_JIS, declared in the page itself; not valid UTF-8.
const SHIFT_JIS: &[u8] = b"<meta charset=shift_jis>\x93\xfa\x96\x7b";

fn content_type(server: &Server, path: &str) -> String {
    let response = server.get(path);
    assert_eq!(response.status, 200, "{path}");
    response.field("content-type").expect(path).to_owned()
}

/// Content types of a whole file, of one range of it, and of each part of several ranges.
#[test]
fn text_names_the_charset_that_was_asked_for() {
    #[rustfmt::skip]
    let cases: [(&[&str], &str); 3] = [
        (&[],                         "; charset=utf-8"),
        (&["--charset", "shift_jis"], "; charset=shift_jis"),
        (&["--charset", "none"],      ""),
    ];
    for engine in engines() {
        for (words, parameter) in cases {
            let site = Site::new();
            std::fs::write(site.root().join("page.html"), SHIFT_JIS).unwrap();
            site.file("style.css", "a{}").file("data.json", "{}");
            let server = Server::start(&site, &[&["--disk", engine], words].concat());
            let html = format!("text/html{parameter}");
            // The second response comes from memory.
            for _ in 0..2 {
                assert_eq!(content_type(&server, "/page.html"), html);
            }
            assert_eq!(server.get("/page.html").body, SHIFT_JIS);
            let css = format!("text/css{parameter}");
            assert_eq!(content_type(&server, "/style.css"), css);
            assert_eq!(content_type(&server, "/data.json"), "application/json");
            for (ranges, of_parts) in [("0-3", 0), ("0-3,10-12", 2)] {
                let mut client = server.connect();
                let request =
                    format!("GET /page.html HTTP/1.1\r\nHost: a\r\nRange: bytes={ranges}\r\n\r\n");
                client.send(request.as_bytes());
                let part = client.response(Content::Expected).unwrap();
                assert_eq!(part.status, 206);
                let text = String::from_utf8_lossy(&part.body);
                let line = format!("Content-Type: {html}\r\n");
                assert_eq!(text.matches(&line).count(), of_parts, "{text}");
                if of_parts == 0 {
                    assert_eq!(part.field("content-type"), Some(html.as_str()));
                }
            }
        }
    }
}

#[test]
fn a_type_that_was_asked_for_wins_over_the_table() {
    let site = Site::new();
    for name in ["a.ts", "a.TS", "a.foo", "a.html", "a.rpm", "a.obj", "a.txt"] {
        site.file(name, "content");
    }
    site.file("a.foo.br", "coded");
    let own = "ts=text/plain,.foo=application/foo+json,html=text/html; charset=koi8-r";
    let server = Server::start(&site, &["--type", own, "--type", "txt=image/x-own"]);
    #[rustfmt::skip]
    let cases = [
        ("/a.ts",   "text/plain; charset=utf-8"),
        ("/a.TS",   "text/plain; charset=utf-8"),
        ("/a.foo",  "application/foo+json"),
        ("/a.html", "text/html; charset=koi8-r"),
        ("/a.txt",  "image/x-own"),
        ("/a.rpm",  "application/x-redhat-package-manager"),
        ("/a.obj",  "model/obj"),
    ];
    for (path, want) in cases {
        assert_eq!(content_type(&server, path), want, "{path}");
    }
    let vary = server.get("/a.foo").field("vary").map(str::to_owned);
    assert_eq!(
        vary.as_deref(),
        Some("Accept-Encoding"),
        "JSON has variants"
    );
}
