//! The same requests to nginx and to spede, on equivalent configurations: every difference is a known one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use super::harness::{Client, Content, Response, Site, is_installed, is_root, skip};
use super::same_answers::Random;
use super::sites::{serve, table};

/// Requests of a run.
const REQUEST_COUNT: usize = 500;
/// What all requests follow from: with this seed each known difference occurs.
const SEED: u64 = 5;

/// A running nginx; stopped when dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    /// Starts it with everything that it writes in the temporary directory. It inherits a socket that listens
    /// already, so its port is free and clients need not wait for it.
    fn start(site: &Site) -> Nginx {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let file = site.beside("nginx.conf");
        fs::write(&file, nginx_settings(site, address)).unwrap();
        let script = r#"exec 3<&0 0</dev/null; NGINX="3;" exec nginx "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", "-p"]);
        command.arg(site.beside("")).arg("-c").arg(file);
        let socket = Stdio::from(OwnedFd::from(listener));
        let child = command.stdin(socket).spawn().unwrap();
        Nginx { child, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn nginx_settings(site: &Site, address: SocketAddr) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("{kind}_temp_path temporary-{kind};\n"));
    let (web, app) = (site.path("web"), site.path("app"));
    // The temporary directory is the tester's alone.
    let user = if is_root() { "user root root;" } else { "" };
    format!(
        r"
{user} daemon off; pid nginx.pid; error_log stderr crit;
events {{}}
http {{
    access_log off;
    {temporary}
    types {{ text/html html; text/plain txt; text/css css; text/javascript js; image/png png; }}
    default_type application/octet-stream;
    charset utf-8;
    charset_types text/plain text/css text/javascript;
    gzip_static on;
    gzip_vary on;
    absolute_redirect off;
    if_modified_since before;
    server {{
        listen {address};
        server_name web.example;
        root {web};
        error_page 404 /404.html;
        location /assets/ {{ expires 1h; add_header X-Kind asset always; }}
        location = /old.html {{ return 301 /docs/$is_args$args; }}
        location ~ ^/moved/(.*)$ {{ return 302 /docs/$1$is_args$args; }}
        location ~ /\. {{ return 404; }}
    }}
    server {{
        listen {address};
        server_name app.example;
        root {app};
        location / {{ try_files $uri $uri/ /index.html; }}
    }}
}}
",
        temporary = temporary.concat(),
        web = web.display(),
        app = app.display(),
    )
}

fn spede_settings(site: &Site) -> String {
    let web = r#"
error-pages = { 404 = "/404.html" }

[[site.rule]]
match = "/assets/**"
cache-control = "max-age=3600"
set = { X-Kind = "asset" }

[[site.redirect]]
from = "/old.html"
to = "/docs/"
status = 301

[[site.redirect]]
from = "/moved/**"
to = "/docs/$1"
status = 302
"#;
    table(&["web.example"], &site.path("web"), web)
        + &table(&["app.example"], &site.path("app"), "spa = true")
}

/// Two trees of files, all an hour old.
fn plant(site: &Site) {
    let text = |length: usize| -> Vec<u8> { (b'a'..=b'z').cycle().take(length).collect() };
    site.file("web/index.html", "<p>start")
        .file("web/404.html", "<p>nothing here")
        .file("web/page.html", text(3_000))
        .file("web/with space.txt", text(30))
        .file("web/empty.txt", "")
        .file("web/noextension", text(40))
        .file("web/long.bin", text(100_000))
        .file("web/.secret", "hidden")
        .file("web/docs/index.html", text(600))
        .file("web/docs/guide.txt", text(900))
        .file("web/bare/file.txt", text(20))
        .file("web/assets/app.js", text(5_000))
        .file("web/assets/app.js.gz", text(500))
        .file("web/assets/style.css", text(800))
        .file("web/assets/deep/logo.png", text(700))
        .file("app/index.html", "<p>the application")
        .file("app/main.js", text(4_000))
        .file("app/main.js.gz", text(400))
        .file("app/help/index.html", "<p>help")
        .file("app/images/a.png", text(70));
}

/// Paths of each host; some stand several times, so that all that is to be seen of them occurs.
#[rustfmt::skip]
const WEB: [&str; 32] = [
    "/", "/index.html", "/page.html", "/page.html/", "/with%20space.txt", "/empty.txt", "/noextension", "/long.bin",
    "/.secret", "/docs", "/docs/", "/docs/index.html", "/docs/guide.txt", "/docs%2Fguide.txt", "/docs/missing.txt",
    "/bare", "/bare/", "/bare/file.txt", "/assets", "/assets/", "/assets/app.js", "/assets/style.css", "/assets/deep",
    "/assets/deep/logo.png", "/assets/missing.css", "/old.html", "/moved/guide.txt", "/missing",
    "/empty.txt", "/assets/app.js", "/assets/app.js", "/assets/app.js",
];
#[rustfmt::skip]
const APP: [&str; 12] = [
    "/", "/index.html", "/main.js", "/missing.js", "/help", "/help/", "/users/7", "/images", "/images/",
    "/images/a.png", "/main.js", "/main.js",
];

/// Other spellings of the hosts, and a host without a site.
#[rustfmt::skip]
const OTHER_HOSTS: [&str; 4] = [
    "WEB.EXAMPLE", "web.example:80", "app.example.", "other.example",
];

/// A request. `{tag}` and `{date}` in its fields stand for the validators of the server that it is sent to.
#[derive(Debug)]
struct Request {
    method: &'static str,
    host: &'static str,
    path: String,
    fields: Vec<String>,
}

impl Request {
    fn random(random: &mut Random) -> Request {
        let host = match random.below(12) {
            0..3 => "app.example",
            3 => *random.of(&OTHER_HOSTS),
            _ => "web.example",
        };
        let is_app = host.starts_with("app");
        let path = if is_app {
            *random.of(&APP)
        } else {
            *random.of(&WEB)
        };
        Request {
            method: ["GET", "GET", "GET", "HEAD"][random.below(4)],
            host,
            path: respelled(path, random),
            fields: fields(random),
        }
    }

    /// Sends it to a server on a new connection, with the validators of that server.
    fn send(&self, address: SocketAddr) -> Response {
        if !self.has("{") {
            return exchange(address, self.method, self, &self.fields);
        }
        let accepted = |field: &&String| field.starts_with("Accept-Encoding");
        let plain: Vec<String> = self.fields.iter().filter(accepted).cloned().collect();
        let known = exchange(address, "HEAD", self, &plain);
        let tag = known.field("etag").unwrap_or("\"none\"");
        let date = known.field("last-modified").unwrap_or(OLD);
        let filled = |field: &String| field.replace("{tag}", tag).replace("{date}", date);
        let fields: Vec<String> = self.fields.iter().map(filled).collect();
        exchange(address, self.method, self, &fields)
    }

    /// Whether a field contains this.
    fn has(&self, part: &str) -> bool {
        self.fields.iter().any(|field| field.contains(part))
    }
}

fn exchange(address: SocketAddr, method: &str, request: &Request, fields: &[String]) -> Response {
    let Request { host, path, .. } = request;
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let mut client = Client::connect(address);
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n").as_bytes());
    let content = match method {
        "HEAD" => Content::None,
        _ => Content::Expected,
    };
    client.response(content).unwrap()
}

/// Another spelling of a path, or one near it.
fn respelled(path: &str, random: &mut Random) -> String {
    match random.below(30) {
        0 => path.replace('e', "%65"),
        1 => path.replace('/', "//"),
        2 => format!("/.{path}"),
        3 => format!("/docs/..{path}"),
        4 => format!("/docs/%2e%2e{path}"),
        5 => format!("/..{path}"),
        6 | 7 => format!("{path}?a=1&b=%20"),
        8 => format!("{path}%zz"),
        9 => format!("{path}%00"),
        10 => format!("{path}%c0%af"),
        11 => format!("{path}/."),
        12 => format!("{path}~"),
        _ => path.to_owned(),
    }
}

const OLD: &str = "Fri, 01 Jan 1999 00:00:00 GMT";
const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// Fields of a request: a condition, a range and accepted codings, each or none.
fn fields(random: &mut Random) -> Vec<String> {
    #[rustfmt::skip]
    let conditions = [
        "If-None-Match: {tag}", "If-None-Match: \"a\", W/{tag}", "If-None-Match: \"other\"", "If-None-Match: *",
        "If-Modified-Since: {date}", "If-Modified-Since: yesterday", "If-Match: {tag}", "If-Match: \"other\"",
        "If-Unmodified-Since: {date}",
    ];
    let dated = [
        format!("If-Modified-Since: {OLD}"),
        format!("If-Modified-Since: {FUTURE}"),
        format!("If-Unmodified-Since: {OLD}"),
    ];
    let mut fields = Vec::new();
    match random.below(8) {
        0 | 1 => fields.push((*random.of(&conditions)).to_owned()),
        2 => fields.push(random.of(&dated).clone()),
        _ => {}
    }
    #[rustfmt::skip]
    let ranges = [
        "0-0", "0-99", "10-", "-5", "-0", "20-10", "0-999999999", "999999999-", "x-y", "0-4,10-14", "0-1, 5-6, -3",
        "0-9,5-14", "999999-,3-4", "5-6,0-1",
    ];
    if random.below(3) == 0 {
        fields.push(format!("Range: bytes={}", random.of(&ranges)));
        match random.below(6) {
            0 => fields.push("If-Range: {tag}".to_owned()),
            1 => fields.push("If-Range: {date}".to_owned()),
            2 => fields.push("If-Range: \"other\"".to_owned()),
            _ => {}
        }
    }
    #[rustfmt::skip]
    let codings = [
        "gzip", "gzip, br", "br;q=1.0, gzip;q=0.5", "gzip;q=0", "identity", "*",
    ];
    if random.below(2) == 0 {
        fields.push(format!("Accept-Encoding: {}", random.of(&codings)));
    }
    fields
}

/// What a response means: equal meanings have equal texts in all aspects.
fn meaning(response: &Response) -> BTreeMap<&'static str, String> {
    let field = |name: &str| response.field(name).unwrap_or("-").to_ascii_lowercase();
    let values = |name: &str| -> String {
        let fields = response.fields.iter().filter(|(other, _)| other == name);
        fields.map(|(_, value)| format!("{value}, ")).collect()
    };
    let text = |bytes: &[u8]| -> String { bytes.iter().copied().map(char::from).collect() };
    let mut content_type = field("content-type").replace("; ", ";");
    let mut length = field("content-length");
    let mut body = text(&response.body);
    if let Some((_, boundary)) = content_type.clone().split_once("byteranges;boundary=") {
        assert!(response.body.is_empty() || length == response.body.len().to_string());
        content_type = "multipart/byteranges".to_owned();
        length = "that of the parts".to_owned();
        body = parts(&body, boundary.trim_matches('"'));
    }
    BTreeMap::from([
        ("status", response.status.to_string()),
        ("Content-Type", content_type),
        ("Content-Length", length),
        ("Content-Range", field("content-range")),
        ("Content-Encoding", field("content-encoding")),
        (
            "Location",
            response.field("location").unwrap_or("-").to_owned(),
        ),
        ("Cache-Control", field("cache-control")),
        ("Vary", field("vary")),
        ("Last-Modified", field("last-modified")),
        ("ETag", response.field("etag").is_some().to_string()),
        ("Accept-Ranges", field("accept-ranges")),
        ("X-Kind", values("x-kind")),
        ("content", body),
    ])
}

/// The parts of a multipart content: their fields in order of their names, and their content.
fn parts(body: &str, boundary: &str) -> String {
    let delimiter = format!("--{boundary}");
    let parts = body.split(&delimiter).map(|part| {
        let (head, content) = part.split_once("\r\n\r\n").unwrap_or((part, ""));
        let head: BTreeSet<String> = head.lines().map(|line| line.replace("; ", ";")).collect();
        format!("{head:?}\n{}\n", content.trim_end_matches("\r\n"))
    });
    parts.collect()
}

/// The responses of nginx and of spede to one request.
struct Pair {
    request: Request,
    theirs: Response,
    ours: Response,
}

impl Pair {
    fn statuses(&self) -> (u16, u16) {
        (self.theirs.status, self.ours.status)
    }

    /// Whether both have this status.
    fn are(&self, status: u16) -> bool {
        self.statuses() == (status, status)
    }

    fn path_has(&self, part: &str) -> bool {
        self.request.path.contains(part)
    }

    /// The aspects in which they differ.
    fn differences(&self) -> BTreeSet<&'static str> {
        let (theirs, ours) = (meaning(&self.theirs), meaning(&self.ours));
        let differs = |name: &&&str| theirs[**name] != ours[**name];
        theirs.keys().filter(differs).copied().collect()
    }

    /// A readable line of each difference.
    fn describe(&self, names: &BTreeSet<&'static str>) -> String {
        let (theirs, ours) = (meaning(&self.theirs), meaning(&self.ours));
        let short = |text: &str| -> String { text.chars().take(80).collect() };
        let line = |name: &&str| {
            format!(
                "{name}: {:?}, {:?}",
                short(&theirs[name]),
                short(&ours[name])
            )
        };
        let lines: Vec<String> = names.iter().map(line).collect();
        format!(
            "{:?} {:?}\n    {}",
            self.request,
            self.statuses(),
            lines.join("\n    ")
        )
    }
}

/// A difference that is meant: its reason, the aspects that it concerns (none: another answer altogether), and
/// the pairs that it explains.
type Known = (&'static str, &'static [&'static str], fn(&Pair) -> bool);

/// The small pages that each server has of its own.
const OWN_PAGE: &[&str] = &["Content-Type", "Content-Length", "content"];

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    ("a host without a site is 421, so that the client asks elsewhere; nginx takes its first server (RFC 9110 15.5.20)", &[],
        |pair| pair.request.host == "other.example" && pair.ours.status == 421),
    ("`..` at the root stays there (RFC 3986 5.2.4); for nginx it is 400", &[],
        |pair| pair.request.path.starts_with("/../") && pair.theirs.status == 400),
    ("overlong UTF-8 is 400, as an attempt to hide a character; nginx takes any bytes", &[],
        |pair| pair.path_has("%c0%af") && pair.ours.status == 400),
    ("an encoded slash is data (RFC 3986 2.2), which no name has; nginx decodes it", &[],
        |pair| pair.path_has("%2F") && pair.ours.status == 404),
    ("a directory without index is 404, which does not tell that it exists; nginx: 403", &[],
        |pair| pair.statuses() == (403, 404)),
    ("in an application it is a route like any other path without a file; nginx: 403", &[],
        |pair| pair.request.host.starts_with("app") && pair.path_has("/imag") && pair.theirs.status == 403),
    ("a missing script is no route of an application; nginx sends the page in its place", &[],
        |pair| pair.path_has("/missing.js") && pair.ours.status == 404),
    ("Range is for GET alone (RFC 9110 14.2); nginx answers HEAD with it", &[],
        |pair| pair.request.method == "HEAD" && pair.request.has("Range: bytes") && matches!(pair.statuses(), (206 | 416, 200))),
    ("a malformed Range is ignored, as it may be (RFC 9110 14.2); nginx: 416", &[],
        |pair| (pair.request.has("=x-y") || pair.request.has("=20-10")) && pair.statuses() == (416, 200)),
    ("an empty file is sent whole, since no range of it exists; nginx: 416", &[],
        |pair| pair.path_has("mpty.txt") && pair.statuses() == (416, 200)),
    ("a date that was set after the write identifies no version for If-Range (RFC 9110 8.8.2.2)", &[],
        |pair| pair.request.has("If-Range: {date}") && matches!(pair.statuses(), (206 | 416, 200))),
    ("precompressed files have ranges too; in nginx they have none", &[],
        |pair| matches!(pair.statuses(), (200, 206 | 416)) && pair.theirs.field("content-encoding").is_some()),
    ("`*` accepts every coding (RFC 9110 12.5.3); nginx wants the name", &[],
        |pair| pair.request.has("Encoding: *") && (pair.path_has("/app.js") || pair.path_has("/main.js"))),
    ("overlapping ranges are joined (RFC 9110 15.3.7.2); nginx sends bytes twice, or all if they are more", &[],
        |pair| (pair.request.has("0-9,5-14") || pair.request.has("5-6, -3")) && matches!(pair.statuses(), (200 | 206, 206))),
    ("Accept-Ranges is also in parts and in precompressed files", &["Accept-Ranges"],
        |pair| (pair.are(200) || pair.are(206)) && pair.theirs.field("accept-ranges").is_none()),
    ("304 has no field that the cache has with the tag already (RFC 9110 15.4.5)", &["Last-Modified"],
        |pair| pair.are(304) && pair.ours.field("etag").is_some()),
    ("412 names the current tag, so that the client need not ask", &["ETag"],
        |pair| pair.are(412) && pair.ours.field("etag").is_some()),
    ("pages of errors have no validators, and caches ask again; nginx sends the tag of the page", &["ETag", "Cache-Control"],
        |pair| pair.are(404) && pair.ours.field("cache-control") == Some("no-cache")),
    ("an error keeps the fields of the path that was asked for; in nginx it has those of the page", &["X-Kind"],
        |pair| pair.are(404) && pair.path_has("ts/")),
    ("nginx adds fields twice to 416, and says `expires` and Vary of a page that is not the file", &["X-Kind", "Cache-Control", "Vary"],
        |pair| pair.are(416) && pair.path_has("ts/")),
    ("cache-control of a rule is for files; `expires` is for redirects too", &["Cache-Control"],
        |pair| pair.are(301) && pair.theirs.field("cache-control") == Some("max-age=3600")),
    ("each server has its own small pages of errors and redirects", OWN_PAGE,
        |pair| [301, 302, 400, 412, 416].iter().any(|status| pair.are(*status))),
];

/// Takes what a known difference explains from the differences of a pair; its reason, if that is anything.
fn explain(known: &Known, pair: &Pair, left: &mut BTreeSet<&'static str>) -> Option<&'static str> {
    let (reason, aspects, explains) = *known;
    let concerned = |name: &str| aspects.is_empty() || aspects.contains(&name);
    if !left.iter().any(|name| concerned(name)) || !explains(pair) {
        return None;
    }
    left.retain(|name| !concerned(name));
    Some(reason)
}

#[test]
fn each_difference_from_nginx_is_a_known_one() {
    if !is_installed("nginx") {
        return skip("no nginx (Debian: nginx-light)");
    }
    let site = Site::new();
    plant(&site);
    let nginx = Nginx::start(&site);
    let spede = serve(&site, &spede_settings(&site), &[]);
    let mut random = Random(SEED);
    let (mut seen, mut alike, mut unknown) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for _ in 0..REQUEST_COUNT {
        let request = Request::random(&mut random);
        let theirs = request.send(nginx.address);
        let ours = request.send(spede.address());
        let pair = Pair {
            request,
            theirs,
            ours,
        };
        let mut left = pair.differences();
        if !left.contains("status") {
            alike.insert(pair.ours.status);
        }
        seen.extend(
            KNOWN
                .iter()
                .filter_map(|known| explain(known, &pair, &mut left)),
        );
        if !left.is_empty() {
            unknown.push(pair.describe(&left));
        }
    }
    assert!(unknown.is_empty(), "nginx, spede:\n{}", unknown.join("\n"));
    let reasons = KNOWN.iter().map(|known| known.0);
    let unseen: Vec<&str> = reasons.filter(|reason| !seen.contains(reason)).collect();
    assert!(
        unseen.is_empty(),
        "differences that did not occur: {unseen:#?}"
    );
    let statuses = BTreeSet::from([200, 206, 301, 302, 304, 400, 404, 412, 416]);
    assert_eq!(alike, statuses, "each kind of answer was compared");
}
