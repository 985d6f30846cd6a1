//! Style rules that can be checked automatically. docs/contributing.md.

use super::sources::{after_visibility, document, sources};

/// Maximum length of a file and of a function, in lines.
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 60;
/// Maximum number of fields of a struct without a comment on their number.
const FIELD_COUNT_MAX: usize = 12;

/// The layer of a top-level module; imports only go down.
fn layer(module: &str) -> Option<u32> {
    Some(match module {
        "main" => 70,
        "defect" => 65,
        "config" => 60,
        "simulate" | "check" => 55,
        "server" => 50,
        "observe" | "transport" => 48,
        "disk" => 40,
        // Its immediate questions to the kernel are passed in.
        "store" => 35,
        "settings" => 32,
        "conn" => 30,
        "cache" => 20,
        // It knows neither entries nor requests.
        "job" => 15,
        // The same row of the drawing: the site is passed the time, the clock knows no site.
        "site" => 11,
        "clock" | "memory" | "histogram" | "plot" => 10,
        "http" | "sys" | "text" => 0,
        _ => return None,
    })
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap()
}

/// The module of the crate's root that a path begins with.
fn first_name(path: &str) -> &str {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    &path[..end.unwrap_or(path.len())]
}

#[test]
fn imports_go_down_the_layers() {
    for source in sources() {
        let Some(modules) = source.modules().filter(|_| source.is_below("src")) else {
            continue;
        };
        // The crate root names all.
        let Some(module) = modules.first() else {
            continue;
        };
        let own = layer(module).unwrap_or_else(|| panic!("{module} has no layer"));
        let to_root = "super::".repeat(modules.len());
        for (index, line) in source.lines_without_tests().iter().enumerate() {
            let is_climbing = code(line).contains(&to_root) && !line.starts_with(' ');
            assert!(!is_climbing, "{}: use crate::", source.place(index));
        }
        for (index, line) in source.text.lines().enumerate() {
            for part in code(line).split("crate::").skip(1) {
                let name = first_name(part);
                let place = source.place(index);
                assert!(!part.starts_with(['{', '*']), "{place}: one module a line");
                let Some(other) = layer(name) else {
                    assert!(!name.starts_with(char::is_lowercase), "{place}: {name}?");
                    continue;
                };
                let is_down = other < own || name == module;
                assert!(is_down, "{place}: {module} imports {name}");
            }
        }
    }
}

/// The page and the logs use the counters of the store; they do not depend on its structure.
#[test]
fn observe_knows_only_the_numbers_of_the_store() {
    for source in sources() {
        if !source.is_below("src/observe") {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            let is_plain = code(line)
                .split("crate::store")
                .skip(1)
                .all(|rest| rest.starts_with("::numbers::"));
            assert!(is_plain, "{}: {line}", source.place(index));
        }
    }
}

#[test]
fn nothing_below_the_disk_does_io() {
    let forbidden = [
        "std::{",
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
        "Inotify::",
        "Pagemap::open",
        "MountEvents::",
    ];
    for source in sources() {
        let Some(modules) = source.modules().filter(|_| source.is_below("src")) else {
            continue;
        };
        let Some(module) = modules.first() else {
            continue;
        };
        if layer(module).is_none_or(|layer| layer >= 40) || module == "sys" {
            continue;
        }
        for (index, line) in source.lines_without_tests().iter().enumerate() {
            for word in forbidden {
                // A handle, used by engines only.
                let is_handle = *line == "use std::fs::File;";
                let is_free = is_handle || !line.contains(word);
                assert!(is_free, "{}: {word}", source.place(index));
            }
        }
    }
}

/// The result of a job is an error of the disk; the store decides about the answer.
#[test]
fn engines_and_jobs_know_neither_statuses_nor_requests() {
    for source in sources() {
        if !source.is_below("src/job") && !source.is_below("src/disk") {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            for name in ["http::status", "http::request", "Status::"] {
                let is_free = !code(line).contains(name);
                assert!(is_free, "{}: {name}", source.place(index));
            }
        }
    }
}

#[test]
fn unsafe_is_only_in_sys_and_says_why_it_is_sound() {
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = code(line);
            let begins = [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe trait",
                "unsafe extern",
                "unsafe(",
            ];
            // Text inside strings is not code.
            let is_text = code.contains('"') && !source.is_below("src");
            if is_text || !begins.iter().any(|word| code.contains(word)) {
                continue;
            }
            let place = source.place(index);
            assert!(source.is_below("src/sys"), "{place}: unsafe outside of sys");
            let before = &lines[index.saturating_sub(8)..index];
            let has_reason = before.iter().any(|line| line.contains("// SAFETY:"));
            assert!(has_reason, "{place}: no SAFETY");
        }
    }
}

#[test]
fn files_open_with_what_they_do_and_stay_short() {
    for source in sources() {
        let place = source.path.display();
        let opens = source.text.starts_with("//!");
        assert!(opens, "{place} does not open with //!");
        let lines = source.text.lines().count();
        let is_short = lines <= FILE_LINES_MAX;
        assert!(is_short, "{place} has {lines} lines");
    }
}

/// Whether a line begins a function with a body, with any visibility and qualifiers.
fn begins_function(line: &str) -> bool {
    let code = after_visibility(line.trim_start());
    let mut words = code.split(' ').take_while(|word| *word != "fn");
    let is_qualified =
        words.all(|word| ["const", "async", "unsafe", "extern", "\"C\""].contains(&word));
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

/// Length in lines of the function that begins at the first line, up to its closing brace at the same depth;
/// 0 for a declaration.
fn function_length(lines: &[&str]) -> Option<usize> {
    let indentation = lines[0].len() - lines[0].trim_start().len();
    let ends = |end: &str| format!("{}{end}", " ".repeat(indentation));
    let (closed, declared) = (ends("}"), ends(")"));
    lines.iter().enumerate().find_map(|(length, line)| {
        let is_declared = line.starts_with(&declared) && line.ends_with(';');
        match is_declared {
            true => Some(0),
            false => (*line == closed).then_some(length),
        }
    })
}

#[test]
fn functions_stay_short() {
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            if !begins_function(line) {
                continue;
            }
            let place = source.place(start);
            let length = function_length(&lines[start..]);
            let length = length.unwrap_or_else(|| panic!("{place}: no end"));
            // A table of cases may be as long as its cases.
            let body = &lines[start..start + length];
            let is_table = body.iter().any(|line| line.contains("#[rustfmt::skip]"));
            let is_short = length <= FUNCTION_LINES_MAX || is_table;
            assert!(is_short, "{place}: {length} lines");
        }
    }
}

/// Number of fields of the struct that begins at the first line, and whether a comment right before them
/// gives the reason. `None` if no struct with named fields begins here.
fn fields(lines: &[&str]) -> Option<(usize, bool)> {
    let first = lines[0].trim_start();
    let is_struct = after_visibility(first).starts_with("struct ") && first.ends_with('{');
    if !is_struct {
        return None;
    }
    let indentation = " ".repeat(lines[0].len() - first.len());
    let end = format!("{indentation}}}");
    let body = || {
        lines[1..]
            .iter()
            .take_while(|line| **line != end)
            .filter_map(|line| line.strip_prefix(&indentation)?.strip_prefix("    "))
    };
    let is_field = |line: &&str| {
        let name = first_name(after_visibility(line));
        !name.is_empty() && after_visibility(line)[name.len()..].starts_with(": ")
    };
    let has_reason = body().next().is_some_and(|line| line.starts_with("// "));
    Some((body().filter(is_field).count(), has_reason))
}

#[test]
fn fields_are_counted_and_their_reason_is_found() {
    let cases = [
        (
            "struct A {\n    a: u8,\n    pub b: u8,\n}",
            Some((2, false)),
        ),
        (
            "struct A {\n    // Why.\n    pub(in crate::b) a: u8,\n}",
            Some((1, true)),
        ),
        (
            "struct A {\n    /// What.\n    a: fn(\n        b: u8,\n    ),\n}",
            Some((1, false)),
        ),
        (
            "    pub(crate) struct A<T> {\n        r#in: T,\n        b: T,\n    }\n    c: u8,",
            Some((1, false)),
        ),
        ("struct A(u8);", None),
        ("let a = A {\n    b: 1,\n};", None),
    ];
    for (text, wanted) in cases {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(fields(&lines), wanted, "{text}");
    }
}

#[test]
fn a_struct_of_many_fields_says_why() {
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for start in 0..lines.len() {
            let Some((count, has_reason)) = fields(&lines[start..]) else {
                continue;
            };
            let place = source.place(start);
            let is_small = count <= FIELD_COUNT_MAX || has_reason;
            assert!(is_small, "{place}: {count} fields, and no comment says why");
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
    for source in sources() {
        // The file that lists the words.
        if source.path.ends_with("tests/it/tidy.rs") {
            continue;
        }
        let place = source.path.display();
        for word in words {
            assert!(!source.text.contains(word), "{place}: {word}");
        }
        // Benches measure time, and some of their clients pause.
        let sleeps = source.text.matches("thread::sleep").count();
        let allowed = usize::from(source.path.ends_with("tests/it/harness.rs"));
        let is_bench = source.is_below("benches");
        assert!(is_bench || sleeps <= allowed, "{place}: sleeps");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let (manifest, design) = (document("Cargo.toml"), document("docs/design.md"));
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
