//! Guarded paths: addresses, names and passwords.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::harness::{Client, Response, Server, Site, engines, wait_until};
use super::sites::serve;

/// `secret`, as `htpasswd -B` writes it with the lowest cost, and `other` by `openssl passwd -6`.
const USERS: &str = "# who may come in\n\
    bob:$2y$04$ctHjfhPCccYeLnEQCvCuM.EJ3stvfeVx0jmijGwNdudUz/w2yvijO\n\
    eve:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1\n";

fn server(engine: &str, guards: &str) -> (Site, Server) {
    let site = Site::new();
    site.file("open.txt", "open");
    site.file("private/a.txt", "private");
    site.file("private/index.html", "index");
    site.file("lan/a.txt", "lan");
    fs::write(site.beside("users"), USERS).unwrap();
    let users = site.beside("users");
    let guards = guards.replace("USERS", &format!("{users:?}"));
    let config = format!("[[site]]\nroot = {:?}\n{guards}", site.root());
    let server = serve(&site, &config, &["--disk", engine]);
    (site, server)
}

fn ask(client: &mut Client, path: &str, user: Option<&str>) -> Response {
    let field = user.map(|user| format!("Authorization: Basic {}", STANDARD.encode(user)));
    let fields: Vec<&str> = field.iter().map(String::as_str).collect();
    client.get(path, &fields)
}

const PRIVATE: &str =
    "[[site.guard]]\nmatch = '/private/**'\nhtpasswd = USERS\nrealm = 'Only us'\n";

#[test]
fn a_guarded_path_is_answered_to_its_users_only() {
    for engine in engines() {
        let (_site, server) = server(engine, PRIVATE);
        let mut client = server.connect();
        #[rustfmt::skip]
        let cases = [
            ("/open.txt",            None,                     200),
            ("/private/a.txt",       None,                     401),
            ("/private/a.txt",       Some("bob:secret"),       200),
            ("/private/a.txt",       None,                     401),
            ("/private/a.txt",       Some("bob:wrong"),        401),
            ("/private/a.txt",       Some("bob:wrong"),        401),
            ("/private/a.txt",       Some("bob:secret"),       200),
            ("/private/a.txt",       Some("eve:Hello world!"), 200),
            ("/private/a.txt",       Some("eve:secret"),       401),
            ("/private/a.txt",       Some("tom:secret"),       401),
            ("/private/",            Some("bob:secret"),       200),
            ("/private/",            None,                     401),
            ("/private",             None,                     401),
            ("/private",             Some("bob:secret"),       301),
            ("/%70rivate/a.txt",     None,                     401),
            ("//private/./a.txt",    None,                     401),
            ("/private/missing",     None,                     401),
            ("/private/missing",     Some("bob:secret"),       404),
            ("/open.txt",            Some("bob:wrong"),        200),
        ];
        for (path, user, status) in cases {
            let response = ask(&mut client, path, user);
            assert_eq!(response.status, status, "{engine} {path} {user:?}");
            let challenge = response.field("www-authenticate");
            let expected = "Basic realm=\"Only us\", charset=\"UTF-8\"";
            assert_eq!(challenge, (status == 401).then_some(expected), "{path}");
            if path.contains("private") && status == 200 {
                assert_eq!(response.field("cache-control"), Some("private"), "{path}");
            }
        }
        let twice = ["Authorization: Basic Ym9iOnNlY3JldA=="; 2];
        assert_eq!(client.get("/private/a.txt", &twice).status, 401);
        let conditional = ask(&mut client, "/private/a.txt", Some("bob:secret"));
        let tag = format!("If-None-Match: {}", conditional.field("etag").unwrap());
        assert_eq!(client.get("/private/a.txt", &[&tag]).status, 401);
        let both = [&*tag, twice[0]];
        let unchanged = client.get("/private/a.txt", &both);
        assert_eq!(unchanged.status, 304);
        assert_eq!(unchanged.field("cache-control"), Some("private"));
    }
}

#[test]
fn a_page_without_its_extension_is_guarded_like_its_file() {
    let rules = "clean-urls = true\n[[site.guard]]\nmatch = '/a.html'\nhtpasswd = USERS\n";
    let (site, server) = server("threads", rules);
    site.file("a.html", "page").file("b.html", "open");
    let mut client = server.connect();
    for _ in 0..2 {
        assert_eq!(ask(&mut client, "/a", None).status, 401);
        assert_eq!(ask(&mut client, "/b", None).status, 200);
        let admitted = ask(&mut client, "/a", Some("bob:secret"));
        assert_eq!((admitted.status, &*admitted.body), (200, &b"page"[..]));
        assert_eq!(admitted.field("cache-control"), Some("private"));
    }
}

#[test]
fn many_wrong_passwords_of_an_address_are_not_tried() {
    let (_site, server) = server("threads", PRIVATE);
    let mut client = server.connect();
    let right = Some("bob:secret");
    assert_eq!(ask(&mut client, "/private/a.txt", right).status, 200);
    let mut statuses = Vec::new();
    for number in 0..30 {
        let user = format!("bob:wrong{number}");
        statuses.push(ask(&mut client, "/private/a.txt", Some(&user)).status);
    }
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(refused, 10, "{statuses:?}");
    let limited = ask(&mut client, "/private/a.txt", Some("bob:more"));
    assert_eq!(limited.field("retry-after"), Some("60"));
    assert_eq!(
        ask(&mut client, "/private/a.txt", right).status,
        200,
        "it is remembered"
    );
    let mut elsewhere = Client::connect_from([127, 0, 0, 9], server.address());
    assert_eq!(
        ask(&mut elsewhere, "/private/a.txt", Some("bob:new")).status,
        401
    );
}

#[test]
fn addresses_are_admitted_and_refused() {
    for engine in engines() {
        let guards =
            "[[site.guard]]\nmatch = '/lan/**'\nallow = ['127.0.0.0/8']\ndeny = '127.0.0.9'\n";
        let (_site, server) = server(engine, guards);
        for (source, status) in [
            ([127, 0, 0, 1], 200),
            ([127, 0, 0, 9], 403),
            ([127, 0, 0, 8], 200),
        ] {
            let mut client = Client::connect_from(source, server.address());
            for _ in 0..2 {
                assert_eq!(client.get("/lan/a.txt", &[]).status, status, "{source:?}");
                assert_eq!(client.get("/open.txt", &[]).status, 200, "{source:?}");
            }
        }
    }
}

#[test]
fn a_changed_file_of_users_holds_after_a_reload() {
    let (site, server) = server("threads", PRIVATE);
    let mut client = server.connect();
    assert_eq!(
        ask(&mut client, "/private/a.txt", Some("bob:secret")).status,
        200
    );
    let eve = USERS.lines().last().unwrap();
    fs::write(site.beside("users"), format!("{eve}\n")).unwrap();
    server.signal(rustix::process::Signal::HUP);
    wait_until("the file was read", || {
        server.errors().contains("was read again")
    });
    assert_eq!(
        ask(&mut client, "/private/a.txt", Some("bob:secret")).status,
        401
    );
    assert_eq!(
        ask(&mut client, "/private/a.txt", Some("eve:Hello world!")).status,
        200
    );
}
