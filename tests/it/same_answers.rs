//! All engines give the same bytes: random requests on a random tree.

use std::os::unix::fs::symlink;

use super::harness::{Content, Server, Site, age, engines};

/// A generator whose seed is printed, so that a failure can be replayed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    pub(super) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const DIRECTORIES: [&str; 5] = ["", "a/", "a/b/", "with space/", ".hidden/"];
/// Lengths around a page, the longest mapped file, a window, and two windows.
const LENGTHS: [usize; 12] = [
    0, 1, 4_095, 4_096, 4_097, 16_384, 16_385, 524_287, 524_288, 524_289, 1_048_577, 1_600_000,
];
const ENDINGS: [&str; 4] = [".bin", ".html", ".js", ""];

/// Creates a tree and returns the paths to request.
fn plant(site: &Site, random: &mut Random) -> Vec<String> {
    let mut paths: Vec<String> = [
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/with%20space/",
        "/.hidden/",
        "/none",
    ]
    .map(String::from)
    .into();
    for index in 0..60 {
        let directory = *random.of(&DIRECTORIES);
        let name = format!("{directory}file{index}{}", random.of(&ENDINGS));
        let bytes = vec![b'a' + u8::try_from(index % 26).unwrap(); *random.of(&LENGTHS)];
        site.file(&name, &bytes);
        paths.push(format!("/{}", name.replace(' ', "%20")));
        if random.below(3) == 0 {
            let half = &bytes[..bytes.len() / 2];
            site.file(
                &format!("{name}{}", random.of(&[".gz", ".br", ".zst"])),
                half,
            );
        }
        if random.below(4) == 0 {
            let target = name.strip_prefix(directory).unwrap();
            symlink(target, site.path(&format!("{directory}link{index}"))).unwrap();
            paths.push(format!("/{}link{index}", directory.replace(' ', "%20")));
        }
    }
    symlink("/etc/passwd", site.path("out")).unwrap();
    symlink("../../root/a", site.path("a/around")).unwrap();
    symlink("nothing", site.path("dangling")).unwrap();
    site.file("a/index.html", "the index");
    age(
        &site.path("a/index.html"),
        std::time::Duration::from_secs(9_000),
    );
    paths.extend(["/out", "/a/around/", "/dangling"].map(String::from));
    paths
}

/// A random request, and whether its response has content.
fn request(paths: &[String], random: &mut Random) -> (String, Content) {
    let mut path = random.of(paths).clone();
    match random.below(12) {
        0 => path.push('/'),
        1 => path = path.replace('a', "%61"),
        2 => path.push_str("/../x"),
        3 => path.push_str("?query"),
        _ => {}
    }
    let mut fields = String::new();
    match random.below(6) {
        0 => {
            let first = random.below(1_100_000);
            let last = first + random.below(600_000);
            fields.push_str(&format!("Range: bytes={first}-{last}\r\n"));
        }
        1 => fields.push_str(&format!("Range: bytes=-{}\r\n", random.below(5_000))),
        2 => fields.push_str("If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
        _ => {}
    }
    if random.below(2) == 0 {
        fields.push_str("Accept-Encoding: br, gzip, zstd\r\n");
    }
    let (method, content) = match random.below(8) {
        0 => ("HEAD", Content::None),
        _ => ("GET", Content::Expected),
    };
    let text = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    (text, content)
}

#[test]
fn engines_give_the_same_bytes_on_a_random_tree() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random(seed);
    let site = Site::new();
    let paths = plant(&site, &mut random);
    let servers: Vec<Server> = engines()
        .iter()
        .map(|engine| Server::start(&site, &["--disk", engine, "--directories", "list"]))
        .collect();
    let mut clients: Vec<_> = servers.iter().map(Server::connect).collect();
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..600 {
        let (text, content) = request(&paths, &mut random);
        let mut answers = clients.iter_mut().map(|client| {
            client.send(text.as_bytes());
            let mut response = client.response(content).unwrap();
            response.fields.retain(|(name, _)| name != "date");
            response
        });
        let first = answers.next().unwrap();
        *statuses.entry(first.status).or_insert(0) += 1;
        for (answer, engine) in answers.zip(&engines()[1..]) {
            assert_eq!(answer.status, first.status, "seed {seed}, {engine}: {text}");
            assert_eq!(answer.fields, first.fields, "seed {seed}, {engine}: {text}");
            assert!(answer.body == first.body, "seed {seed}, {engine}: {text}");
        }
    }
    for status in [200, 206, 301, 304, 404] {
        assert!(statuses.contains_key(&status), "seed {seed}: {statuses:?}");
    }
}
