//! The rules of the house that a machine can hold. docs/contributing.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file and longest function, in lines.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 5, "sources of {directory} were found");
    found
}

/// The layer of a top-level module; imports only go down.
fn layer(module: &str) -> Option<u32> {
    Some(match module {
        "main" => 70,
        "config" => 60,
        "simulate" => 55,
        "server" => 50,
        "disk" => 40,
        "conn" => 30,
        "cache" => 20,
        // Side by side in the drawing: the site is told the time, the clock knows no site.
        "site" => 11,
        "clock" | "memory" => 10,
        "http" | "sys" => 0,
        _ => return None,
    })
}

fn module_of(path: &Path) -> String {
    let below = path
        .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn imports_go_down_the_layers() {
    for (path, text) in sources("src") {
        let module = module_of(&path);
        let Some(own) = layer(&module) else { continue };
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for part in code.split("crate::").skip(1) {
                let name: String = part
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let Some(other) = layer(&name) else { continue };
                let down = other < own || name == module;
                assert!(
                    down,
                    "{}:{}: {module} imports {name}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn nothing_below_the_disk_does_io() {
    let forbidden = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "Instant::now",
        "SystemTime::now",
        "mio::",
        "socket2",
        "File::open",
        "std::process",
        "std::thread",
        "rand::",
    ];
    for (path, text) in sources("src") {
        let module = module_of(&path);
        if layer(&module).is_none_or(|layer| layer >= 40) || module == "sys" || is_test(&path) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in forbidden {
            assert!(!code.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn unsafe_is_only_in_sys_and_says_why_it_is_sound() {
    for (path, text) in sources("src") {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap();
            let begins = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
            if !begins.iter().any(|word| code.contains(word)) {
                continue;
            }
            let place = format!("{}:{}", path.display(), number + 1);
            assert_eq!(module_of(&path), "sys", "{place}: unsafe outside of sys");
            let before = &lines[number.saturating_sub(8)..number];
            assert!(
                before.iter().any(|line| line.contains("// SAFETY:")),
                "{place}: no SAFETY"
            );
        }
    }
}

#[test]
fn files_open_with_what_they_do_and_stay_short() {
    for directory in ["src", "tests/it", "benches"] {
        for (path, text) in sources(directory) {
            let place = path.display();
            assert!(text.starts_with("//!"), "{place} does not open with //!");
            let lines = text.lines().count();
            assert!(lines <= FILE_LINES_MAX, "{place} has {lines} lines");
        }
    }
}

/// Whether a line begins a function with a body, whatever its visibility and qualifiers.
fn begins_function(line: &str) -> bool {
    let mut code = line.trim_start();
    if let Some(rest) = code.strip_prefix("pub") {
        code = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            Some((_, rest)) => rest,
            None => rest,
        };
    }
    let code = code.trim_start();
    let words = code.split(' ').take_while(|word| *word != "fn");
    let is_qualified = words
        .into_iter()
        .all(|word| ["const", "async", "unsafe", "extern", "\"C\""].contains(&word));
    let is_function = code.split(' ').any(|word| word == "fn");
    is_function && is_qualified && !code.ends_with(';') && !code.ends_with('}')
}

#[test]
fn functions_are_found_whatever_stands_before_them() {
    let cases = [
        ("fn a() {", true),
        ("    pub fn a() {", true),
        ("pub(in crate::server) fn a(", true),
        ("pub(super) const fn a() -> u8 {", true),
        ("pub unsafe extern \"C\" fn a() {", true),
        ("async fn a() {", true),
        ("fn a();", false),
        ("fn a() {}", false),
        ("let f: fn(u8) = a;", false),
        ("// a fn of x", false),
        ("struct A {", false),
    ];
    for (line, wanted) in cases {
        assert_eq!(begins_function(line), wanted, "{line}");
    }
}

#[test]
fn functions_stay_short() {
    for directory in ["src", "tests/it", "benches"] {
        for (path, text) in sources(directory) {
            let lines: Vec<&str> = text.lines().collect();
            for (start, line) in lines.iter().enumerate() {
                let code = line.trim_start();
                let indent = line.len() - code.len();
                if !begins_function(line) {
                    continue;
                }
                let end = format!("{}}}", " ".repeat(indent));
                let length = lines[start..]
                    .iter()
                    .position(|line| *line == end)
                    .unwrap_or(0);
                // A table of cases is as long as it has cases.
                let body = &lines[start..start + length];
                let is_table = body.iter().any(|line| line.contains("#[rustfmt::skip]"));
                let place = format!("{}:{}", path.display(), start + 1);
                assert!(
                    length <= FUNCTION_LINES_MAX || is_table,
                    "{place}: {length} lines"
                );
            }
        }
    }
}

#[test]
fn nothing_is_left_for_later_or_left_out() {
    let words = [
        "TODO",
        "FIXME",
        "XXX",
        "dbg!",
        "#[ignore",
        "#[should_panic",
        "fn get_",
        "fn test_",
    ];
    for directory in ["src", "tests/it", "benches"] {
        for (path, text) in sources(directory) {
            if path.ends_with("tidy.rs") {
                continue;
            }
            for word in words {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
            // Benches time things, and some of their clients think.
            let sleeps = text.matches("thread::sleep").count();
            let allowed = usize::from(path.ends_with("harness.rs"));
            let is_bench = directory == "benches";
            assert!(is_bench || sleeps <= allowed, "{}: sleeps", path.display());
        }
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let read =
        |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (manifest, design) = (read("Cargo.toml"), read("docs/design.md"));
    let section = manifest.split("[dependencies]").nth(1).unwrap();
    for line in section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('['))
    {
        let name = line.split([' ', '.', '=']).next().unwrap();
        assert!(design.contains(name), "{name} is not in docs/design.md");
    }
}
