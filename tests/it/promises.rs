//! Every test named in a document exists, and every promise of the specification names a test.

use std::collections::BTreeSet;
use std::path::Path;

use super::sources::{Source, document, sources};

/// Documents that name tests.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/contributing.md",
    "docs/design.md",
    "docs/operations.md",
    "docs/specification.md",
];

/// Full names of all tests, and of all modules with tests.
struct Known {
    tests: BTreeSet<String>,
    modules: BTreeSet<String>,
    /// Modules of the library and of the integration tests, with or without tests.
    all_modules: BTreeSet<String>,
    benches: String,
}

impl Known {
    fn new() -> Known {
        let sources = sources();
        let tests: BTreeSet<String> = sources.iter().flat_map(Source::tests).collect();
        let parents = |name: &str| -> Vec<String> {
            let ends = name.match_indices("::").map(|(end, _)| end);
            ends.map(|end| name[..end].to_owned()).collect()
        };
        let modules = tests.iter().flat_map(|name| parents(name)).collect();
        let all_modules = sources.iter().filter_map(Source::modules);
        Known {
            modules,
            all_modules: all_modules.map(|names| names.join("::")).collect(),
            tests,
            benches: document("Cargo.toml"),
        }
    }

    /// Whether this names something that checks a promise: a test, the tests of a module or a directory, a
    /// script, or a bench with bounds.
    fn holds(&self, name: &str) -> bool {
        if name.contains('/') {
            return Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists();
        }
        if let Some(bench) = name.strip_prefix("cargo bench --bench ") {
            return self
                .benches
                .contains(&format!("[[bench]]\nname = \"{bench}\"\n"));
        }
        let name = name.strip_suffix("::…").unwrap_or(name);
        self.tests.contains(name) || self.modules.contains(name)
    }

    /// Whether this looks like the name of a test: in an existing module, or in none.
    fn is_meant_as_test(&self, name: &str) -> bool {
        let is_path = name
            .chars()
            .all(|c| c.is_alphanumeric() || "_:…".contains(c));
        let Some((module, last)) = name.rsplit_once("::").filter(|_| is_path) else {
            return false;
        };
        let is_of_tests = module.starts_with("it") || module.ends_with("tests") || last == "tests";
        name.starts_with("it::") || (is_of_tests && self.all_modules.contains(first(module)))
    }
}

/// Whether this is a name rather than a phrase.
fn is_name(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:…./".contains(c);
    word.starts_with("cargo bench ") || word.chars().all(is_plain)
}

fn first(path: &str) -> &str {
    path.split("::").next().unwrap()
}

/// The quoted parts (backquotes) of a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Expands `…::` in names: the module of the previous name.
fn full_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut module = String::new();
    let mut full = Vec::new();
    for name in names {
        let name = match name.strip_prefix("…::") {
            Some(rest) => format!("{module}::{rest}"),
            None => name.to_owned(),
        };
        if let Some((parent, _)) = name.rsplit_once("::") {
            module = parent.to_owned();
        }
        full.push(name);
    }
    full
}

#[test]
fn every_test_that_a_document_names_exists() {
    let known = Known::new();
    let (mut count, mut missing) = (0, Vec::new());
    for document_name in DOCUMENTS {
        let text = document(document_name);
        // `…::` refers to the module named before it in the line.
        for (index, line) in text.lines().enumerate() {
            for name in full_names(quoted(line).into_iter()) {
                if known.is_meant_as_test(&name) {
                    count += 1;
                    if !known.holds(&name) {
                        missing.push(format!("{document_name}:{}: no `{name}`", index + 1));
                    }
                }
            }
        }
    }
    assert!(count > 100, "{count} names were read");
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_promise_names_what_holds_it() {
    let known = Known::new();
    let text = document("docs/specification.md");
    let mut columns: Vec<&str> = Vec::new();
    let (mut promises, mut missing) = (0, Vec::new());
    for (index, line) in text.lines().enumerate() {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix('|'))
        else {
            columns.clear();
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if columns.is_empty() {
            columns = cells;
        } else if *columns.last().unwrap() != "held by" {
            // Not promises: choices that the RFC leaves open.
            assert_eq!(columns, ["choice", "RFC"], "line {}", index + 1);
        } else if !cells[0].starts_with("---") {
            promises += 1;
            assert_eq!(cells.len(), columns.len(), "{line}");
            // A promise without a bound needs no test.
            let is_none = cells[1..cells.len() - 1]
                .iter()
                .any(|cell| cell.starts_with("none"));
            let names = full_names(quoted(cells[cells.len() - 1]).into_iter());
            let names: Vec<_> = names.into_iter().filter(|name| is_name(name)).collect();
            if names.is_empty() && !is_none {
                missing.push(format!("line {}: nothing holds it", index + 1));
            }
            let unknown = names.iter().filter(|name| !known.holds(name));
            missing.extend(unknown.map(|name| format!("line {}: no `{name}`", index + 1)));
        }
    }
    assert!(promises > 100, "{promises} promises were read");
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn names_are_told_from_other_words() {
    let known = Known::new();
    #[rustfmt::skip]
    let cases = [
        ("it::promises::names_are_told_from_other_words", true,  true),
        ("it::promises",                                true,  true),
        ("it::promises::…",                             true,  true),
        ("it::promises::names_are_told",                true,  false),
        ("it::nowhere",                                 true,  false),
        ("conn::tests",                                 true,  true),
        ("conn::tests::nothing_of_the_kind",            true,  false),
        ("cargo bench --bench guard",                   false, true),
        ("cargo bench --bench guards",                  false, false),
        (".ci/run",                                     false, true),
        (".ci/walk",                                    false, false),
        ("clock::Now",                                  false, false),
        ("--revalidate",                                false, false),
    ];
    for (name, is_meant, holds) in cases {
        assert_eq!(known.is_meant_as_test(name), is_meant, "{name}");
        assert_eq!(known.holds(name), holds, "{name}");
    }
    let names = full_names(["a::b::c", "…::d", "e"].into_iter());
    assert_eq!(names, ["a::b::c", "a::b::d", "e"]);
}
