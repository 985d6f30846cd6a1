//! `spede check`: what a configuration leads to on this machine, looked at without serving anything.

mod tree;

use std::fmt;
use std::path::Path;

use crate::server::{self, StartError};
use crate::settings::Settings;

/// Examples shown of each kind of finding below the root; the rest is counted.
const EXAMPLE_COUNT_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Why the server would not start.
    pub fatal: Option<StartError>,
    /// What would be served otherwise than somebody may expect, a line each.
    pub warnings: Vec<String>,
}

/// How it went, as an exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to say.
    Fine,
    /// The server would start; see the warnings.
    Warned,
    /// It would not.
    Fatal,
}

impl Report {
    /// How it went.
    pub fn verdict(&self) -> Verdict {
        match (&self.fatal, &self.warnings[..]) {
            (Some(_), _) => Verdict::Fatal,
            (None, []) => Verdict::Fine,
            (None, _) => Verdict::Warned,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.warnings {
            writeln!(formatter, "warning: {line}")?;
        }
        match (&self.fatal, self.warnings.len()) {
            (Some(cause), _) => writeln!(formatter, "error: {cause}"),
            (None, 0) => writeln!(formatter, "no problem found"),
            (None, 1) => writeln!(formatter, "1 warning"),
            (None, count) => writeln!(formatter, "{count} warnings"),
        }
    }
}

/// Looks at everything that the server would use: root, lists of paths, sizes, and all files below the root. Binds
/// nothing, so that it can be run beside a server.
pub fn run(settings: &Settings) -> Report {
    let mut report = Report::default();
    match server::preflight(settings) {
        Ok(warnings) => report.warnings = warnings,
        Err(cause) => {
            report.fatal = Some(cause);
            return report;
        }
    }
    let site = &settings.sites[0];
    let findings = tree::walk(server::found_root(site), site.policy.naming.dot_files);
    for (kind, found) in findings.kinds() {
        if found.count == 0 {
            continue;
        }
        let names: Vec<String> = found.examples.iter().map(|path| shown(path)).collect();
        let more = match found.count - names.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let line = format!(
            "{}: {}{more}; {}",
            kind.name(),
            names.join(", "),
            kind.advice()
        );
        report.warnings.push(line);
    }
    report
}

/// A path on one line.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
