//! `spede check`: what a configuration leads to on this machine, looked at without serving anything.

mod hosts;
mod redirects;
mod stand_ins;
mod tree;

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use self::redirects::Circle;
use crate::server::{self, StartError};
use crate::settings::{Settings, SiteSettings};

/// Examples shown of each kind of finding; the rest is counted.
const EXAMPLE_COUNT_MAX: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Each site with its directory, a line each.
    pub sites: Vec<String>,
    /// What is as it was asked for, and worth knowing, a line each.
    pub notes: Vec<String>,
    /// What would be served otherwise than somebody may expect, a line each.
    pub warnings: Vec<String>,
    /// Why the server would not start.
    pub errors: Vec<StartError>,
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
    /// Adds redirects that lead in a circle.
    fn add_circles(&mut self, sites: &[SiteSettings]) {
        for circle in redirects::circles(sites) {
            match circle {
                Circle::Closed(way) => self
                    .warnings
                    .push(format!("redirects lead in a circle: {way}")),
                Circle::BehindTls(way) => self.notes.push(format!(
                    "redirects lead in a circle if a proxy for TLS leads here: {way}"
                )),
            }
        }
    }

    /// How it went.
    pub fn verdict(&self) -> Verdict {
        match (&self.errors[..], &self.warnings[..]) {
            ([], []) => Verdict::Fine,
            ([], _) => Verdict::Warned,
            _ => Verdict::Fatal,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.sites {
            writeln!(formatter, "{line}")?;
        }
        for line in &self.notes {
            writeln!(formatter, "note: {line}")?;
        }
        for line in &self.warnings {
            writeln!(formatter, "warning: {line}")?;
        }
        for cause in &self.errors {
            writeln!(formatter, "error: {cause}")?;
        }
        match (self.verdict(), self.warnings.len()) {
            (Verdict::Fatal, _) => Ok(()),
            (_, 0) => writeln!(formatter, "no problem found"),
            (_, 1) => writeln!(formatter, "1 warning"),
            (_, count) => writeln!(formatter, "{count} warnings"),
        }
    }
}

/// Looks at everything that the server would use: roots, lists of paths, sizes, and all files below the roots. Binds
/// nothing, so that it can be run beside a server.
pub fn run(settings: &Settings) -> Report {
    let sites = &settings.sites;
    let mut report = Report {
        sites: sites.iter().map(|site| site_line(site, sites)).collect(),
        notes: hosts::notes(sites),
        errors: sites.iter().filter_map(root_error).collect(),
        ..Report::default()
    };
    if report.errors.is_empty() {
        match server::preflight(settings) {
            Ok(warnings) => report.warnings = warnings,
            Err(cause) => report.errors.push(cause),
        }
    }
    if report.errors.is_empty() {
        report.add_circles(sites);
        report.warnings.extend(site_warnings(sites));
    }
    report
}

/// A site and the directory that it serves.
fn site_line(site: &SiteSettings, sites: &[SiteSettings]) -> String {
    let hosts = match sites {
        [_] if site.hosts.is_empty() => String::from("all hosts"),
        _ => hosts::names(site),
    };
    format!("site for {hosts}: {}", shown(&resolved_root(site)))
}

/// The directory of a site without symbolic links, as far as it can be found.
fn resolved_root(site: &SiteSettings) -> PathBuf {
    let root = server::found_root(site);
    let absolute = || std::path::absolute(root).unwrap_or_else(|_| root.into());
    fs::canonicalize(root).unwrap_or_else(|_| absolute())
}

/// Why a directory cannot be served.
fn root_error(site: &SiteSettings) -> Option<StartError> {
    let root = server::found_root(site);
    let usable = || match fs::metadata(root)?.is_dir() {
        true => Ok(rustix::fs::access(root, Access::EXEC_OK)?),
        false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
    };
    let cause = usable().err()?;
    let root = root.into();
    Some(StartError::Root { root, cause })
}

/// What is wrong with sites and below their roots. A directory that several serve alike is looked at once.
fn site_warnings(sites: &[SiteSettings]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut warnings = Vec::new();
    for site in sites {
        let place = match sites {
            [_] => String::new(),
            _ => format!("{}: ", shown(server::found_root(site))),
        };
        let stand_ins = stand_ins::warnings(site).into_iter();
        warnings.extend(stand_ins.map(|line| format!("{place}{line}")));
        let dot_files = site.policy.naming.dot_files;
        if !seen.insert((resolved_root(site), dot_files)) {
            continue;
        }
        let findings = tree::walk(server::found_root(site), dot_files);
        let found = findings.kinds().filter(|(_, found)| found.count > 0);
        warnings.extend(found.map(|(kind, found)| {
            let (name, advice) = (kind.name(), kind.advice());
            let names = found.examples.iter().map(|path| shown(path));
            let names = examples(names.collect(), found.count);
            format!("{place}{name}: {names}; {advice}")
        }));
    }
    warnings
}

/// Examples, and how many there are beyond.
fn examples(names: Vec<String>, count: u64) -> String {
    let more = match count - names.len() as u64 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

/// A path on one line.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
