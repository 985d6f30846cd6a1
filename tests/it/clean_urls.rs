//! Pages that are asked for without their extension.

use std::fs;

use super::harness::{Client, Server, Site, engines};

fn site() -> Site {
    let site = Site::new();
    site.file("index.html", "root")
        .file("about.html", "about")
        .file("about.html.gz", "zipped")
        .file("both.html", "the page")
        .file("both/index.html", "the directory")
        .file("bare/x", "")
        .file("bare.html", "beside a directory without an index")
        .file("name", "no extension")
        .file("name.html", "behind a file of its name")
        .file("404.html", "missing")
        .file("app.js.html", "never asked for");
    site
}

/// The status, and where it leads or what it has.
fn answer(client: &mut Client, path: &str) -> (u16, String) {
    let response = client.get(path, &[]);
    let text = match response.field("location") {
        Some(location) => location.to_owned(),
        None => String::from_utf8(response.body.clone()).unwrap(),
    };
    (response.status, text)
}

#[test]
fn a_page_has_one_path_without_extension_and_others_redirect_to_it() {
    let site = site();
    for engine in engines() {
        let words = [
            "--disk",
            engine,
            "--clean-urls",
            "--error-page=404=/404.html",
        ];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        #[rustfmt::skip]
        let cases = [
            ("/",                   200, "root"),
            ("/index.html",         308, "/"),
            ("/index.html?a=b",     308, "/?a=b"),
            ("/about",              200, "about"),
            ("/about.html",         308, "/about"),
            ("/about/",             308, "/about"),
            ("/about/?a=b",         308, "/about?a=b"),
            ("/%61bout/",           308, "/about"),
            ("/both",               200, "the page"),
            ("/both/",              200, "the directory"),
            ("/both/index.html",    308, "/both/"),
            ("/bare",               200, "beside a directory without an index"),
            ("/bare/",              308, "/bare"),
            ("/name",               200, "no extension"),
            ("/none",               404, "missing"),
            ("/none/",              404, "missing"),
            ("/none.html",          308, "/none"),
            ("/app.js",             404, "missing"),
            ("/404",                200, "missing"),
        ];
        for _ in 0..3 {
            for (path, status, text) in cases {
                assert_eq!(
                    answer(&mut client, path),
                    (status, text.to_owned()),
                    "{engine} {path}"
                );
            }
            let zipped = client.get("/about", &["Accept-Encoding: gzip"]);
            assert_eq!(zipped.body, b"zipped");
            assert_eq!(
                zipped.field("content-type"),
                Some("text/html; charset=utf-8")
            );
        }
    }
}

#[test]
fn a_directory_without_a_page_is_redirected_to_as_ever() {
    let site = site();
    site.file("dir/index.html", "index").file("empty/x", "");
    let server = Server::start(&site, &["--clean-urls"]);
    let mut client = server.connect();
    for _ in 0..2 {
        assert_eq!(answer(&mut client, "/dir"), (301, "/dir/".to_owned()));
        assert_eq!(answer(&mut client, "/dir/").0, 200);
        assert_eq!(answer(&mut client, "/empty"), (301, "/empty/".to_owned()));
        assert_eq!(
            answer(&mut client, "/empty/").0,
            404,
            "it does not lead back"
        );
    }
}

#[test]
fn without_clean_urls_names_are_names() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    assert_eq!(answer(&mut client, "/about").0, 404);
    assert_eq!(
        answer(&mut client, "/about.html"),
        (200, "about".to_owned())
    );
    assert_eq!(answer(&mut client, "/about/").0, 404);
}

#[test]
fn changes_of_pages_are_seen_by_the_next_request() {
    for engine in engines() {
        let site = Site::new();
        site.file("x", "");
        let server = Server::start(&site, &["--disk", engine, "--clean-urls", "--spa"]);
        let mut client = server.connect();
        let sees = |client: &mut Client, path: &str, status: u16, text: &str| {
            assert_eq!(
                answer(client, path),
                (status, text.to_owned()),
                "{engine} {path}"
            );
        };
        assert_eq!(client.get("/about", &[]).status, 404);
        site.publish("index.html", "app");
        sees(&mut client, "/about", 200, "app");
        sees(&mut client, "/about/", 200, "app");
        for text in ["one", "another"] {
            site.publish("about.html", text);
            for _ in 0..2 {
                sees(&mut client, "/about", 200, text);
                sees(&mut client, "/about/", 308, "/about");
            }
        }
        site.publish("about", "a file of its name");
        sees(&mut client, "/about", 200, "a file of its name");
        fs::remove_file(site.path("about")).unwrap();
        sees(&mut client, "/about", 200, "another");
        fs::remove_file(site.path("about.html")).unwrap();
        sees(&mut client, "/about", 200, "app");
        site.publish("about/index.html", "directory");
        sees(&mut client, "/about", 301, "/about/");
        sees(&mut client, "/about/", 200, "directory");
        site.publish("about.html", "page");
        sees(&mut client, "/about", 200, "page");
        sees(&mut client, "/about/", 200, "directory");
    }
}
