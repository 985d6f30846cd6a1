//! Entity tags and dates: constant for equal bytes, different for others, and never a 304 after a change,
//! with any timestamps of the files.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::{fmt_http_date, parse_http_date};
use tempfile::TempDir;

use super::harness::{Client, Response, Server, Site, Tags, engines, is_root, skip, wait_until};

/// In 2020.
const T: u64 = 1_600_000_000;
/// Pinned mtimes of reproducible builds, archives and package managers.
const PINS: [u64; 5] = [0, 1, 315_532_800, 318_211_200, 499_162_500];

fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn date(seconds: u64) -> String {
    fmt_http_date(moment(seconds))
}

fn tag(response: &Response) -> String {
    let tag = response.field("etag");
    tag.unwrap_or_else(|| panic!("no tag: {response:?}"))
        .to_owned()
}

fn last_modified(response: &Response) -> u64 {
    let date = parse_http_date(response.field("last-modified").unwrap()).unwrap();
    date.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Writes a file with this mtime.
fn write(path: &Path, bytes: &str, mtime: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    set_mtime(path, mtime);
}

fn set_mtime(path: &Path, mtime: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(moment(mtime)).unwrap();
}

/// The status of a GET with one field.
fn status(client: &mut Client, path: &str, name: &str, value: &str) -> u16 {
    client.get(path, &[&format!("{name}: {value}")]).status
}

/// Checks that no condition from `old` holds now, and that the content is whole.
fn nothing_old_holds(client: &mut Client, path: &str, old: &Response, now: &str) {
    let (tag, date) = (tag(old), old.field("last-modified").unwrap().to_owned());
    assert_eq!(status(client, path, "If-None-Match", &tag), 200, "{path}");
    assert_eq!(status(client, path, "If-Match", &tag), 412, "{path}");
    assert_eq!(
        status(client, path, "If-Modified-Since", &date),
        200,
        "{path}: {date}"
    );
    assert_eq!(
        status(client, path, "If-Unmodified-Since", &date),
        412,
        "{path}: {date}"
    );
    for validator in [&tag, &date] {
        let fields = [&format!("If-Range: {validator}"), "Range: bytes=1-"];
        let response = client.get(path, &fields);
        assert_eq!(
            response.status, 200,
            "{path}: a part of another version for {validator}"
        );
        assert_eq!(response.body, now.as_bytes());
    }
}

#[test]
fn a_tag_is_the_same_from_the_first_answer_on() {
    for engine in engines() {
        let site = Site::new();
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = server.connect();
        // As nginx slice requests them: parts of a file published just before, which must have one tag.
        for round in 0..50 {
            let name = format!("f{round}");
            site.publish(&name, "0123456789");
            let url = format!("/{name}");
            let whole = client.get(&url, &[]);
            for first in 0..10 {
                let range = format!("Range: bytes={first}-{first}");
                let part = client.get(&url, &[&range]);
                assert_eq!(part.status, 206);
                assert_eq!(tag(&part), tag(&whole), "{engine}: part {first} of {name}");
            }
        }
        // And as long as its timestamps could be repeated.
        let whole = client.get("/f49", &[]);
        let end = SystemTime::now() + Duration::from_millis(100);
        while SystemTime::now() < end {
            assert_eq!(tag(&client.get("/f49", &[])), tag(&whole));
        }
        drop(server);
        let again = Server::start(&site, &["--disk", engine]).get("/f49");
        assert_eq!(tag(&again), tag(&whole), "after another start");
    }
}

#[test]
fn a_release_with_pinned_dates_and_equal_lengths_is_no_304_and_joins_no_parts() {
    for pin in PINS {
        let site = Site::new();
        write(&site.path("a"), "old bytes", pin);
        let server = Server::start(&site, &[]);
        let mut client = server.connect();
        let old = client.get("/a", &[]);
        assert_eq!(last_modified(&old), pin);
        assert_eq!(status(&mut client, "/a", "If-None-Match", &tag(&old)), 304);
        // A pinned date proves nothing, from the first request on.
        assert_eq!(
            status(&mut client, "/a", "If-Modified-Since", &date(pin)),
            200
        );
        assert_eq!(
            status(&mut client, "/a", "If-Modified-Since", &date(T)),
            200
        );
        let next = site.beside("next");
        write(&next, "new bytes", pin);
        fs::rename(next, site.path("a")).unwrap();
        nothing_old_holds(&mut client, "/a", &old, "new bytes");
    }
}

#[test]
fn equal_dates_of_two_releases_prove_nothing_to_whoever_has_seen_both() {
    let site = Site::new();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    // Renamed into place, written in place, deleted in between, and as an index.
    for (name, way) in [("r", 0), ("w", 1), ("d", 2), ("i/", 3)] {
        let path = site.path(match way {
            3 => "i/index.html",
            _ => name,
        });
        let url = format!("/{name}");
        write(&path, "old bytes", T);
        let old = client.get(&url, &[]);
        let ims = |client: &mut Client, date: &str| status(client, &url, "If-Modified-Since", date);
        assert_eq!(
            ims(&mut client, &date(T)),
            304,
            "{url}: nothing has changed yet"
        );
        match way {
            0 => {
                write(&site.beside("next"), "new bytes", T);
                fs::rename(site.beside("next"), &path).unwrap();
            }
            2 => {
                fs::remove_file(&path).unwrap();
                assert_eq!(client.get(&url, &[]).status, 404);
                write(&path, "new bytes", T);
            }
            _ => write(&path, "new bytes", T),
        }
        nothing_old_holds(&mut client, &url, &old, "new bytes");
        // Still true after a revalidation.
        server.signal(rustix::process::Signal::HUP);
        nothing_old_holds(&mut client, &url, &old, "new bytes");
        // A later version has a date of its own.
        write(&path, "newest bytes", T + 1);
        assert_eq!(client.get(&url, &[]).body, b"newest bytes");
        assert_eq!(ims(&mut client, &date(T + 1)), 304, "{url}");
        assert_eq!(ims(&mut client, &date(T)), 200, "{url}");
    }
}

#[test]
fn going_back_to_an_older_file_is_no_304() {
    for words in [&[][..], &["--watch-directories", "0", "--revalidate", "0"]] {
        let site = Site::new();
        for name in ["a", "dir/b", "link/c"] {
            write(&site.path(&format!("new/{name}")), "new bytes", T + 1_000);
            write(&site.path(&format!("old/{name}")), "old bytes", T);
        }
        let name = |which: &str, what: &str| site.path(&format!("{which}/{what}"));
        fs::rename(name("new", "a"), site.path("a")).unwrap();
        fs::rename(name("new", "dir"), site.path("dir")).unwrap();
        symlink("new/link", site.path("link")).unwrap();
        let server = Server::start(&site, words);
        let mut client = server.connect();
        let urls = ["/a", "/dir/b", "/link/c"];
        let old = urls.map(|url| client.get(url, &[]));
        assert!(old.iter().all(|old| last_modified(old) == T + 1_000));
        fs::rename(name("old", "a"), site.path("a")).unwrap();
        fs::rename(site.path("dir"), site.beside("dir")).unwrap();
        fs::rename(name("old", "dir"), site.path("dir")).unwrap();
        symlink("old/link", site.beside("link")).unwrap();
        fs::rename(site.beside("link"), site.path("link")).unwrap();
        for (url, old) in urls.iter().zip(&old) {
            nothing_old_holds(&mut client, url, old, "old bytes");
        }
    }
}

#[test]
fn going_back_to_an_older_release_by_the_link_of_the_root_is_no_304() {
    for words in [&[][..], &["--watch-directories", "0", "--revalidate", "0"]] {
        let site = Site::new();
        let (new, old) = (site.beside("new"), site.beside("old"));
        for (file, later) in [("later", 1_000), ("equal", 0)] {
            write(&new.join(file), "new bytes", T + later);
            write(&old.join(file), "old bytes", T);
        }
        write(&new.join("shared"), "same bytes", T);
        fs::hard_link(new.join("shared"), old.join("shared")).unwrap();
        fs::remove_dir(site.root()).unwrap();
        symlink("new", site.root()).unwrap();
        let server = Server::start(&site, words);
        let mut client = server.connect();
        let urls = ["/later", "/equal"];
        let before = urls.map(|url| client.get(url, &[]));
        let shared = client.get("/shared", &[]);
        symlink("old", site.beside("next")).unwrap();
        fs::rename(site.beside("next"), site.root()).unwrap();
        for (url, before) in urls.iter().zip(&before) {
            nothing_old_holds(&mut client, url, before, "old bytes");
        }
        let ims = shared.field("last-modified").unwrap();
        assert_eq!(
            status(&mut client, "/shared", "If-Modified-Since", ims),
            304
        );
        assert_eq!(tag(&client.get("/shared", &[])), tag(&shared));
    }
}

#[test]
fn a_date_is_compared_as_the_rfc_says_where_files_only_get_younger() {
    let site = Site::new();
    write(&site.path("a"), "0123456789", T);
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (now, changed) = (now.as_secs(), T + 1_000);
    let whole = client.get("/a", &[]);
    assert_eq!(last_modified(&whole), T);
    #[rustfmt::skip]
    let cases = [
        // date          If-Modified-Since If-Unmodified-Since because
        (T - 1,          200, 412, "modified since"),
        (T,              304, 200, "its own date"),
        (changed,        200, 412, "before its ctime something else may have been there"),
        (now,            304, 200, "it was there by then"),
        (now + 86_400,   304, 200, "a date to come"),
    ];
    for (since, modified, unmodified, because) in cases {
        let since_field = date(since);
        let got = |client: &mut Client, name| status(client, "/a", name, &since_field);
        assert_eq!(got(&mut client, "If-Modified-Since"), modified, "{because}");
        assert_eq!(
            got(&mut client, "If-Unmodified-Since"),
            unmodified,
            "{because}"
        );
    }
    // A date set by hand does not join parts; the date of a write does once its second is over.
    let part = |client: &mut Client, path: &str, date: &str| {
        let fields = [&format!("If-Range: {date}"), "Range: bytes=1-2"];
        client.get(path, &fields).status
    };
    assert_eq!(part(&mut client, "/a", &date(T)), 200);
    site.publish("b", "0123456789");
    let written = client.get("/b", &[]);
    let written = written.field("last-modified").unwrap();
    wait_until("the second is over", || {
        part(&mut client, "/b", written) == 206
    });
    // A mirror relies on dates, like clients that have nothing else.
    let mirror = Server::start(&site, &["--entity-tags", "mirror"]);
    assert_eq!(part(&mut mirror.connect(), "/a", &date(T)), 206);
}

#[test]
fn copies_that_keep_mtimes_have_the_same_tags_where_that_is_asked_for() {
    let (one, other) = (Site::new(), Site::new());
    for site in [&one, &other] {
        write(&site.path("a"), "same", T);
        write(&site.path("a.html"), "same", T);
        write(&site.path("a.html.gz"), "coded", T);
    }
    let tags = |site: &Site, words: &[&str]| {
        let server = Server::start(site, words);
        let mut client = server.connect();
        let coded = client.get("/a.html", &["Accept-Encoding: gzip"]);
        assert_eq!(coded.body, b"coded");
        [client.get("/a", &[]), client.get("/a.html", &[]), coded].map(|one| tag(&one))
    };
    let mirrored = ["--entity-tags", "mirror"];
    // In nginx's format.
    let want = ["\"5f5e1000-4\"", "\"5f5e1000-4\"", "\"5f5e1000-5-gzip\""];
    assert_eq!(tags(&one, &mirrored), want);
    assert_eq!(tags(&other, &mirrored), want);
    let (own, others) = (tags(&one, &[]), tags(&other, &[]));
    assert!(own.iter().zip(&others).all(|(own, other)| own != other));
    // While another change could get the same second, there is no tag.
    one.publish("young", "0123456789");
    let server = Server::start(&one, &mirrored);
    let mut client = server.connect();
    let mut tags = Vec::new();
    wait_until("it has a tag", || {
        let response = client.get("/young", &[]);
        tags.extend(response.field("etag").map(str::to_owned));
        !tags.is_empty()
    });
    let response = client.get("/young", &[]);
    let seconds = last_modified(&response);
    assert_eq!(tag(&response), format!("\"{seconds:x}-a\""));
    let age = SystemTime::now().duration_since(moment(seconds)).unwrap();
    assert!(age >= Duration::from_secs(2), "a tag after {age:?}");
}

#[test]
fn a_date_is_never_of_the_future() {
    let site = Site::new();
    let file = site.path("a");
    fs::write(&file, "x").unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let open = File::options().write(true).open(&file).unwrap();
    open.set_modified(tomorrow).unwrap();
    let server = Server::start(&site, &[]);
    let response = server.get("/a");
    let of = |name: &str| parse_http_date(response.field(name).unwrap()).unwrap();
    assert!(of("last-modified") <= of("date"), "{response:?}");
    // The date is not that of the file, so it proves nothing about it.
    let own = response.field("last-modified").unwrap();
    let mut client = server.connect();
    assert_eq!(status(&mut client, "/a", "If-Modified-Since", own), 200);
}

#[test]
fn no_two_codings_share_a_tag() {
    let site = Site::new();
    let names = ["a.js", "a.js.gz", "a.js.br", "a.js.zst"];
    for name in names {
        // As similar as possible: equal lengths, equal mtimes.
        write(&site.path(name), "0123", T);
    }
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    let mut tags = Vec::new();
    for coding in ["identity", "gzip", "br", "zstd"] {
        let accept = format!("Accept-Encoding: {coding}");
        let response = client.get("/a.js", &[&accept]);
        let used = response.field("content-encoding").unwrap_or("identity");
        assert_eq!(used, coding);
        tags.push(tag(&response));
        let condition = format!("If-None-Match: {}", tags.last().unwrap());
        assert_eq!(client.get("/a.js", &[&accept, &condition]).status, 304);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), names.len(), "{tags:?}");
}

/// A small ext4 with inodes too small for fractions of seconds.
struct WholeSeconds {
    directory: TempDir,
}

impl WholeSeconds {
    fn mount() -> Option<WholeSeconds> {
        if !is_root() {
            skip("a loop mount takes root");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let (image, at) = (directory.path().join("image"), directory.path().join("m"));
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        let succeeds = |program: &str, words: &[&str], paths: &[&PathBuf]| {
            let output = Command::new(program).args(words).args(paths).output();
            output.is_ok_and(|output| output.status.success())
        };
        let is_made = succeeds("mkfs.ext4", &["-q", "-I", "128"], &[&image]);
        if !is_made || !succeeds("mount", &["-o", "loop"], &[&image, &at]) {
            skip("mkfs.ext4 and a loop mount are needed");
            return None;
        }
        Some(WholeSeconds { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("m").join(name)
    }
}

impl Drop for WholeSeconds {
    fn drop(&mut self) {
        let at = self.directory.path().join("m");
        // Lazily: the server may still be exiting.
        let _ = Command::new("umount").arg("-l").arg(at).status();
    }
}

/// Waits for the start of a second, so that several changes fit into one.
fn begin_a_second() -> u64 {
    let whole = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        (now.as_secs(), now.subsec_millis())
    };
    wait_until("a second begins", || whole().1 < 20);
    whole().0
}

/// Unchanged from now on: neither the tag nor the content changes when it is old. The long file gets a tag then.
fn stays_unchanged(client: &mut Client, last: &Response, long: &[u8], engine: &str) {
    let modified = moment(last_modified(last));
    let mut long_tags = Vec::new();
    wait_until("the times are of the past", || {
        assert_eq!(tag(&client.get("/short", &[])), tag(last), "{engine}");
        let response = client.get("/long", &[]);
        assert_eq!(response.body, long);
        long_tags.extend(response.field("etag").map(str::to_owned));
        let age = SystemTime::now().duration_since(modified).unwrap();
        age > Duration::from_millis(2_500) && !long_tags.is_empty()
    });
    long_tags.dedup();
    let count = long_tags.len();
    assert_eq!(count, 1, "{engine}: a tag came and changed: {long_tags:?}");
}

#[test]
fn where_seconds_are_whole_a_tag_still_tells_versions_apart() {
    for engine in engines() {
        let Some(disk) = WholeSeconds::mount() else {
            return;
        };
        fs::create_dir(disk.path("root")).unwrap();
        let file = disk.path("root/short");
        let long = disk.path("root/long");
        let of = |letter: u8| vec![letter; 100_000];
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.args(["--listen", "127.0.0.1:0", "--disk", engine]);
        fs::write(&file, "version 0").unwrap();
        let server = Server::spawn(command.arg(disk.path("root")));
        let mut client = server.connect();
        let tags = Tags::default();
        let second = begin_a_second();
        let mut seen: Vec<(Response, Option<Response>)> = Vec::new();
        for round in 0..10_u8 {
            // In place, with equal lengths.
            fs::write(&file, format!("version {round}")).unwrap();
            fs::write(&long, of(b'a' + round)).unwrap();
            let mut last = None;
            for _ in 0..4 {
                let response = client.get("/short", &[]);
                assert_eq!(response.body, format!("version {round}").as_bytes());
                tags.see(&response);
                last = Some(response);
            }
            let response = client.get("/long", &[]);
            assert_eq!(response.body, of(b'a' + round));
            for (short, long) in &seen {
                nothing_old_holds(&mut client, "/short", short, &format!("version {round}"));
                assert!(long.as_ref().is_none_or(|long| tag(long) != tag(&response)));
            }
            let tagged = response.field("etag").is_some();
            seen.push((last.unwrap(), tagged.then_some(response)));
        }
        let last = &seen.last().unwrap().0;
        assert!(last_modified(last) >= second);
        stays_unchanged(&mut client, last, &of(b'j'), engine);
        assert_eq!(
            status(&mut client, "/short", "If-None-Match", &tag(last)),
            304
        );
        // Copies of sent versions are of no use any more.
        fs::write(&file, "version x").unwrap();
        for (short, _) in &seen {
            nothing_old_holds(&mut client, "/short", short, "version x");
        }
    }
}
