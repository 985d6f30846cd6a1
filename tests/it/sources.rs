//! Input of the style checks: every Rust file of the repository, in any directory, and the tests in it.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Directories without sources: build output, and the site of the README.
const OTHER_DIRECTORIES: [&str; 2] = ["target", "www"];

/// One Rust file.
pub struct Source {
    /// Relative to the root of the repository.
    pub path: PathBuf,
    pub text: String,
}

/// Every Rust file.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(ROOT)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && !OTHER_DIRECTORIES.contains(&&*name) {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(Source {
                    text: fs::read_to_string(&path).unwrap(),
                    path: path.strip_prefix(ROOT).unwrap().to_owned(),
                });
            }
        }
    }
    for directory in ["src", "src/sys", "tests/it", "benches", "benches/stall"] {
        let is_seen = |source: &Source| source.path.parent() == Some(Path::new(directory));
        assert!(found.iter().any(is_seen), "no sources in {directory}");
    }
    found
}

/// The text of another file of the repository.
pub fn document(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

impl Source {
    /// The location of a line, in the format of compilers; `index` counts from 0.
    pub fn place(&self, index: usize) -> String {
        format!("{}:{}", self.path.display(), index + 1)
    }

    /// Whether it lies below a directory of the repository.
    pub fn is_below(&self, directory: &str) -> bool {
        self.path.starts_with(directory)
    }

    /// Its module path: `cache`, `path`; those of the integration tests begin with `it`. `None` for files
    /// outside of the library and the integration tests.
    pub fn modules(&self) -> Option<Vec<String>> {
        let (mut modules, below) = match self.path.strip_prefix("src") {
            Ok(below) => (Vec::new(), below),
            Err(_) => (
                vec!["it".to_owned()],
                self.path.strip_prefix("tests/it").ok()?,
            ),
        };
        let names = below.with_extension("");
        modules.extend(names.iter().map(|name| name.to_str().unwrap().to_owned()));
        let last = modules.last().unwrap();
        if last == "mod" || (below.iter().count() == 1 && ["lib", "main"].contains(&&**last)) {
            modules.pop();
        }
        Some(modules)
    }

    /// The full names of its tests, as the harness lists them; integration tests begin with `it::`.
    pub fn tests(&self) -> Vec<String> {
        let Some(file) = self.modules() else {
            return Vec::new();
        };
        // Open inline modules, each with its indentation.
        let mut inline: Vec<(usize, &str)> = Vec::new();
        let mut found = Vec::new();
        let mut is_test = false;
        for line in self.text.lines() {
            let code = line.trim_start();
            let indentation = line.len() - code.len();
            let visible = after_visibility(code);
            if let Some(rest) = visible.strip_prefix("mod ") {
                if let Some(name) = rest.strip_suffix(" {") {
                    inline.push((indentation, name));
                }
            } else if code == "}" && inline.last().is_some_and(|open| open.0 == indentation) {
                inline.pop();
            } else if code == "#[test]" {
                is_test = true;
            } else if let Some(rest) = visible.strip_prefix("fn ").filter(|_| is_test) {
                let name = rest.split('(').next().unwrap();
                let modules = inline.iter().map(|open| open.1);
                let path = file.iter().map(String::as_str).chain(modules);
                found.push(path.chain([name]).collect::<Vec<_>>().join("::"));
                is_test = false;
            }
        }
        assert!(inline.is_empty(), "{}: {inline:?}", self.path.display());
        found
    }

    /// Its lines, with test-only code replaced by empty lines: line numbers stay.
    pub fn lines_without_tests(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.text.lines().collect();
        let name = self.path.file_name().unwrap();
        if name == "tests.rs" || lines.contains(&"#![cfg(test)]") {
            lines.fill("");
        }
        while let Some(start) = lines.iter().position(|line| line.trim() == "#[cfg(test)]") {
            let indentation = lines[start].len() - lines[start].trim_start().len();
            // An item ends at a line of its own depth: with its brace or its semicolon.
            let is_last = |line: &&str| {
                line.len() - line.trim_start().len() == indentation
                    && (*line.trim() == *"}" || line.ends_with(';') || line.ends_with("{}"))
            };
            let length = lines[start..].iter().position(is_last);
            let length = length.unwrap_or_else(|| panic!("{}: no end", self.place(start)));
            lines[start..=start + length].fill("");
        }
        lines
    }
}

/// Code without its `pub`, `pub(crate)` or `pub(in …)`.
pub fn after_visibility(code: &str) -> &str {
    let Some(rest) = code.strip_prefix("pub") else {
        return code;
    };
    match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_start(),
        None => rest.trim_start(),
    }
}

#[test]
fn tests_are_found_as_the_harness_finds_them() {
    let program = std::env::current_exe().unwrap();
    let listed = std::process::Command::new(program).arg("--list").output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    let mut listed: Vec<_> = names.map(|name| format!("it::{name}")).collect();
    let sources = sources();
    let tests = sources.iter().filter(|source| source.is_below("tests/it"));
    let mut found: Vec<_> = tests.flat_map(Source::tests).collect();
    listed.sort();
    found.sort();
    assert_eq!(found, listed);
}
