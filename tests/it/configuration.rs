//! Configuration files, `spede check`, and the first contact with the program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::harness::{Content, Server, Site};
use super::sources::document;

/// Runs the program in a directory, without the tester's variables.
fn spede(directory: &Path, words: &[&str]) -> Output {
    let ours = std::env::vars().filter(|(name, _)| name.starts_with("SPEDE_"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.args(words).current_dir(directory).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Checks an example from elsewhere: its directories are one with a few pages.
fn check_example(site: &Site, example: &str) -> Output {
    for page in ["index.html", "404.html", "50x.html", "busy.html"] {
        site.file(&format!("pages/{page}"), "page");
    }
    let mut words = vec!["check", "--config", "example.toml"];
    let mut text = String::new();
    for line in example.lines() {
        match line.trim_start().strip_prefix("root = ") {
            Some(_) => text.push_str("root = \"pages\"\n"),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    if !text.contains("[[site]]") {
        words.push("pages");
    }
    site.file("example.toml", &text);
    spede(&site.root(), &words)
}

/// The code blocks of a document that are marked as TOML.
fn examples(name: &str) -> Vec<String> {
    let text = document(name);
    let blocks = text.split("```toml\n").skip(1);
    let examples = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    examples.collect()
}

#[test]
fn every_example_of_the_documentation_is_taken() {
    let site = Site::new();
    let documents = [
        "docs/configuration.md",
        "docs/migrating.md",
        "docs/operations.md",
        "README.md",
    ];
    let examples: Vec<String> = documents.into_iter().flat_map(examples).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        let checked = check_example(&site, &example);
        let text = out(&checked);
        assert_eq!(checked.status.code(), Some(0), "{example}\n{text}");
        assert!(text.contains("# example.toml:"), "{text}");
    }
}

/// Each section has a configuration of another server, where it is from, and what it is here.
#[test]
fn each_configuration_of_another_server_has_its_counterpart() {
    let text = document("docs/migrating.md");
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    assert!(sections.len() >= 10);
    for section in sections {
        let position = |part: &str| section.find(part).unwrap_or_else(|| panic!("{section}"));
        let theirs = ["```nginx\n", "```caddy\n"];
        let theirs = theirs.into_iter().find(|start| section.contains(start));
        let theirs = position(theirs.unwrap_or("a configuration"));
        assert!(position("](https://") < theirs && theirs < position("```toml\n"));
        assert_eq!(section.matches("```toml\n").count(), 1, "{section}");
    }
}

/// A server of the counterpart in a section of docs/migrating.md, with a few pages as each of its sites.
fn migrated(site: &Site, title: &str) -> Server {
    let text = document("docs/migrating.md");
    let (_, section) = text.split_once(&format!("\n## {title}\n")).unwrap();
    let (_, toml) = section.split_once("```toml\n").unwrap();
    let checked = check_example(site, toml.split("```").next().unwrap());
    assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.current_dir(site.root()).env_remove("SPEDE_ROOT");
    command.args(["--listen", "127.0.0.1:0", "--config", "example.toml"]);
    Server::spawn(&mut command)
}

#[test]
fn counterparts_do_what_the_other_server_did() {
    #[rustfmt::skip]
    let cases = [
        // section                            host               path                     status and a field
        ("Sites by name",                     "a.example.org",   "/404.html",             200, "Content-Length: 4"),
        ("Sites by name",                     "example.net",     "/404.html",             200, "Content-Length: 4"),
        ("No answer for other names",         "example.com",     "/404.html",             200, "Content-Length: 4"),
        ("No answer for other names",         "example.org",     "/404.html",             421, "X-Content-Type-Options: nosniff"),
        ("Error pages",                       "any",             "/missing.png",          404, "Content-Length: 4"),
        ("Single-page applications in nginx", "any",             "/users/7",              200, "Content-Length: 4"),
        ("Types and charset",                 "any",             "/404.html",             200, "Content-Type: text/html; charset=koi8-r"),
        ("Redirects in nginx",                "example.org",     "/a?b",                  301, "Location: http://www.example.org/a?b"),
        ("Redirects in nginx",                "www.example.org", "/download/a/media/b.c", 301, "Location: /download/a/mp3/b.c"),
        ("Redirects in nginx",                "www.example.org", "/old.html",             302, "Location: /new.html"),
        ("Cache-Control and other fields in nginx", "any",       "/404.html",             200, "X-Frame-Options: DENY"),
        ("Redirects in Caddy",                "www.example.com", "/a",                    302, "Location: https://example.com/a"),
        ("Fields in Caddy",                   "app.example.com", "/users/7",              200, "Cache-Control: public, max-age=0, must-revalidate"),
        ("Fields in Caddy",                   "app.example.com", "/",                     200, "Cache-Control: public, max-age=0, must-revalidate"),
        ("Fields in Caddy",                   "app.example.com", "/missing.js",           404, "Referrer-Policy: no-referrer-when-downgrade"),
    ];
    let site = Site::new();
    let mut last = None;
    for (title, host, path, status, field) in cases {
        let (_, server) = match last.take() {
            Some((same, server)) if same == title => last.insert((title, server)),
            _ => last.insert((title, migrated(&site, title))),
        };
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let answer = client.response(Content::Expected).unwrap();
        let (name, value) = field.split_once(": ").unwrap();
        let got = (answer.status, answer.field(&name.to_ascii_lowercase()));
        assert_eq!(got, (status, Some(value)), "{title}: {host}{path}");
    }
}

#[test]
fn the_printed_default_file_is_that_of_the_defaults() {
    let site = Site::new();
    let printed = out(&spede(&site.root(), &["config", "--default"]));
    // As printed it changes nothing; with its values uncommented it says the same in other words.
    let is_default = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let values = printed.lines().filter(is_default);
    let values = values.filter(|line| !line.starts_with("##") && !line.ends_with('='));
    let uncommented: String = values.map(|line| format!("{}\n", &line[1..])).collect();
    assert!(uncommented.lines().count() > 30, "{printed}");
    site.file("printed.toml", &printed);
    site.file("values.toml", &uncommented);
    fs::create_dir(site.path("www")).unwrap();
    let strip = |text: String| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("config = "));
        let value = |line: &str| line.split("  # ").next().unwrap().to_owned();
        lines.map(value).collect()
    };
    let plain = strip(out(&spede(&site.root(), &["check"])));
    for file in ["printed.toml", "values.toml"] {
        let checked = spede(&site.root(), &["check", "-c", file]);
        assert_eq!(checked.status.code(), Some(0), "{}", out(&checked));
        assert_eq!(strip(out(&checked)), plain, "{file}");
    }
}

#[test]
fn options_win_over_variables_and_variables_over_the_file() {
    let site = Site::new();
    fs::create_dir(site.path("www")).unwrap();
    site.file(
        "spede.toml",
        "grace = 7\nmap-count = 9\n\npath-cache = 11\nindex = [\"a.htm\", \"b.htm\"]\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command
        .current_dir(site.root())
        .env("SPEDE_CONFIG", "spede.toml");
    command.env("SPEDE_MAP_COUNT", "8").env("SPEDE_GRACE", "8");
    let text = out(&command.args(["check", "--grace", "6"]).output().unwrap());
    for line in [
        "grace = \"6\"  # command line",
        "map-count = \"8\"  # SPEDE_MAP_COUNT",
        "path-cache = \"11\"  # spede.toml:4",
        "index = [\"a.htm\", \"b.htm\"]  # spede.toml:5",
        "fields-max = \"100\"  # default",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
}

#[test]
fn a_server_is_what_its_file_says() {
    let site = Site::new();
    site.file("sub/one.htm", "the index");
    site.file("spede.toml", "index = \"one.htm\"\n");
    let config = site.path("spede.toml");
    let server = Server::start(&site, &["--config", config.to_str().unwrap()]);
    let answer = server.get("/sub/");
    assert_eq!((answer.status, &*answer.body), (200, &b"the index"[..]));
}

#[test]
fn a_wrong_file_is_refused_with_its_position() {
    let site = Site::new();
    site.file("spede.toml", "grace = 7\n\n  map-cach = 1\n");
    site.file("pair.toml", "grace = 7\nmap-max = \"2GiB\"\n");
    site.file("type.toml", "type = [\"ts=text/plain\", \"ts=text/css\"]\n");
    site.file("latin1.toml", b"grace = 7\n# \xe4\n".as_slice());
    let cases = [
        (
            "spede.toml",
            "spede: spede.toml:3:3: 'map-cach' is not a key; did you mean 'map-cache'?\n",
        ),
        (
            "pair.toml",
            "spede: pair.toml:2:1: map-max: 2 GiB does not fit into --map-cache 256 MiB; write at most 256 MiB\n",
        ),
        (
            "type.toml",
            "spede: type.toml:1:1: type: 'ts' is given twice\n",
        ),
        (
            "latin1.toml",
            "spede: latin1.toml:2:3: is not UTF-8 from here on; save the file as UTF-8\n",
        ),
        (
            "none.toml",
            "spede: --config: none.toml: No such file or directory (os error 2)\n",
        ),
    ];
    for (file, want) in cases {
        for words in [&["--config", file][..], &["check", "--config", file]] {
            let refused = spede(&site.root(), words);
            assert_eq!(refused.status.code(), Some(2));
            assert_eq!(String::from_utf8_lossy(&refused.stderr), want);
        }
    }
}

#[test]
fn a_check_tells_by_its_exit_code_what_it_found() {
    let site = Site::new();
    site.file("www/fine.html", "fine");
    let code = |words: &[&str]| {
        let checked = spede(&site.root(), words);
        (checked.status.code(), out(&checked))
    };
    let (fine, text) = code(&["check"]);
    assert_eq!(fine, Some(0), "{text}");
    assert!(text.ends_with("\nno problem found\n"), "{text}");
    std::os::unix::fs::symlink("/etc/hostname", site.path("www/out")).unwrap();
    let (warned, text) = code(&["check"]);
    assert_eq!(warned, Some(1), "{text}");
    assert!(
        text.contains("warning: links that leave the root, so 404: out; "),
        "{text}"
    );
    let (fatal, text) = code(&["check", "missing"]);
    assert_eq!(fatal, Some(2), "{text}");
    assert!(text.contains("error: cannot serve missing: "), "{text}");
}

#[test]
fn the_example_in_the_default_file_is_taken() {
    let site = Site::new();
    let printed = out(&spede(&site.root(), &["config", "--default"]));
    let (_, sites) = printed.split_once("#### Sites").unwrap();
    let example = sites.lines().filter_map(|line| line.strip_prefix("#   "));
    let example: String = example.map(|line| format!("{line}\n")).collect();
    let checked = check_example(&site, &example);
    let text = out(&checked);
    assert_eq!(checked.status.code(), Some(0), "{example}\n{text}");
    assert_eq!(text.matches("\n[[site]]  # ").count(), 2, "{text}");
}

#[test]
fn a_check_names_each_site_and_what_its_hosts_lead_to() {
    let site = Site::new();
    site.file("a/fine.html", "fine");
    site.file("b/fine.html", "fine");
    std::os::unix::fs::symlink("nowhere", site.path("b/dangling")).unwrap();
    let first = "[[site]]\nhosts = [\"example.org\", \"*.example.org\"]\nroot = \"a\"\n";
    let second = "[[site]]\nhosts = \"Www.Example.org.\"\nroot = \"b\"\n";
    let rest = "[[site]]\nroot = \"a\"\n";
    let lines = |text: &str| {
        site.file("s.toml", text);
        let checked = spede(&site.root(), &["check", "-c", "s.toml"]);
        assert!(checked.stderr.is_empty(), "{checked:?}");
        let text = out(&checked);
        let from = text.find("\nsite for ").unwrap();
        (checked.status.code(), text[from + 1..].to_owned())
    };
    let root = fs::canonicalize(site.root()).unwrap();
    let root = root.display();
    let want = format!(
        "site for example.org, *.example.org: {root}/a\n\
         site for Www.Example.org.: {root}/b\n\
         note: *.example.org does not cover www.example.org, which another site has\n\
         note: requests for other hosts are answered with 421; a [[site]] without hosts would take them\n\
         warning: b: links that lead nowhere, so 404: dangling; remove the link or restore its target\n\
         1 warning\n"
    );
    assert_eq!(lines(&format!("{first}{second}")), (Some(1), want));
    let want = format!(
        "site for example.org, *.example.org: {root}/a\n\
         site for all other hosts: {root}/a\n\
         no problem found\n"
    );
    assert_eq!(lines(&format!("{first}{rest}")), (Some(0), want));
    let spa = first.replace(
        "\"a\"",
        "\"a\"\nspa = true\nerror-page = \"404=/fine.html\"",
    );
    let want = format!(
        "site for example.org, *.example.org: {root}/a\n\
         site for all other hosts: {root}/a\n\
         warning: a: fallback /index.html leads to no file, so routes are 404; put it there\n\
         1 warning\n"
    );
    assert_eq!(lines(&format!("{spa}{rest}")), (Some(1), want));
    let missing = second.replace("\"b\"", "\"missing\"");
    let file = rest.replace("\"a\"", "\"a/fine.html\"");
    let want = format!(
        "site for Www.Example.org.: {root}/missing\n\
         site for all other hosts: {root}/a/fine.html\n\
         error: cannot serve missing: No such file or directory (os error 2); name a directory that exists, as spede DIR or root = \"DIR\"\n\
         error: cannot serve a/fine.html: not a directory; name a directory, not a file, as spede DIR or root = \"DIR\"\n"
    );
    assert_eq!(lines(&format!("{missing}{file}")), (Some(2), want));
}

#[test]
fn a_check_finds_redirects_that_lead_from_site_to_site_and_back() {
    let site = Site::new();
    site.file("a/fine.html", "fine");
    let table = |host: &str, to: &str| {
        format!(
            "[[site]]\nhosts = \"{host}\"\nroot = \"a\"\n\
             [[site.redirect]]\nfrom = \"/x/**\"\nto = \"{to}\"\n"
        )
    };
    let cases = [
        ("http://b.org/x/$1", "http://A.org:80/x/$1", Some(1)),
        ("http://b.org/x/$1", "http://a.org/y/$1", Some(0)),
        ("http://b.org/x/$1", "http://c.org/x/$1", Some(0)),
        ("https://a.org/x/$1", "http://c.org/x/$1", Some(0)),
    ];
    for (first, second, code) in cases {
        site.file("s.toml", table("a.org", first) + &table("b.org", second));
        let checked = spede(&site.root(), &["check", "-c", "s.toml"]);
        let text = out(&checked);
        assert_eq!(checked.status.code(), code, "{text}");
        assert_eq!(
            text.contains("warning: redirects lead in a circle: /x/"),
            code == Some(1),
            "{text}"
        );
        let is_noted =
            text.contains("note: redirects lead in a circle if a proxy for TLS leads here: /x/");
        assert_eq!(is_noted, first.starts_with("https:"), "{text}");
    }
}

#[test]
fn what_a_check_shows_is_a_file_that_means_the_same() {
    let site = Site::new();
    site.file("a/fine.html", "fine");
    let text = "\
        grace = 7\nindex = [\"a.htm\", \"b'\\\"\\u00fc.htm\"]\ntype = \"ts=text/plain\"\n\
        [[site]]\nhosts = ['a.org', \"b.org\"]\nroot = \"\"\"a\"\"\"\nspa = true\nranges-max = 0x1_0\n";
    site.file("first.toml", text);
    let shown = |file: &str| {
        let checked = spede(&site.root(), &["check", "-c", file]);
        let text = out(&checked);
        let (values, report) = text.split_once("\n\nsite for ").unwrap();
        (values.to_owned(), report.to_owned())
    };
    let (first, report) = shown("first.toml");
    site.file("second.toml", &first);
    let (second, same_report) = shown("second.toml");
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| line.split("  # ").next().unwrap().to_owned();
        text.lines().map(value).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert_eq!(report, same_report);
    assert!(first.contains("[[site]]  # first.toml:4"), "{first}");
}

#[test]
fn names_of_other_servers_are_answered_with_ours() {
    let site = Site::new();
    let cases = [
        (
            "-p",
            "write -l PORT for this machine, -l :PORT for all addresses",
        ),
        (
            "--port",
            "write -l PORT for this machine, -l :PORT for all addresses",
        ),
        (
            "--host",
            "write -l PORT for this machine, -l :PORT for all addresses",
        ),
        (
            "--bind",
            "write -l PORT for this machine, -l :PORT for all addresses",
        ),
        ("--root", "write the directory alone: spede DIR"),
        ("--list", "write --directories list"),
        ("--log", "did you mean --access-log?"),
        (
            "--server-name",
            "hosts are set in a file: see --config and spede config --default",
        ),
        (
            "--tls",
            "spede speaks plain HTTP; put a proxy for TLS before it, over -l unix:PATH",
        ),
        (
            "--gzip",
            "put a file.br, file.zst or file.gz beside the file, and it is sent to who takes it",
        ),
        (
            "--workers",
            "one thread serves all; disk access in parallel is --disk-depth",
        ),
    ];
    for (option, advice) in cases {
        let refused = spede(&site.root(), &[option, "3000"]);
        let line = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(
            line,
            format!("spede: {option}: is not an option; {advice}\n")
        );
    }
}

#[test]
fn without_www_the_working_directory_is_served() {
    let site = Site::new();
    site.file("fine.html", "fine");
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.current_dir(site.root()).env_remove("SPEDE_ROOT");
        Server::spawn(command.args(["--listen", "127.0.0.1:0"]))
    };
    let server = start();
    assert_eq!(server.get("/fine.html").status, 200);
    site.file("www/other.html", "other");
    let server = start();
    assert_eq!(server.get("/fine.html").status, 404);
    assert_eq!(server.get("/other.html").status, 200);
}
