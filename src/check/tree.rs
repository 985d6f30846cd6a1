//! All files below a root, and what would be served of them otherwise than somebody may expect.

use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::EXAMPLE_COUNT_MAX;
use crate::http::content_coding::Coding;
use crate::settings::DotFiles;
use crate::site::resolve::{VARIANT_CODINGS, is_outdated};
use crate::sys::file::FileTime;

/// The one hidden directory whose files are served either way, RFC 8615.
const WELL_KNOWN: &str = ".well-known";

/// What can be wrong with a name below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unreadable,
    Outside,
    Absolute,
    Dangling,
    Outdated,
    Special,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::Unreadable,
        Kind::Outside,
        Kind::Absolute,
        Kind::Dangling,
        Kind::Outdated,
        Kind::Special,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Unreadable => "not readable for this user, so 403",
            Kind::Outside => "links that leave the root, so 404",
            Kind::Absolute => "absolute links, so 404",
            Kind::Dangling => "links that lead nowhere, so 404",
            Kind::Outdated => "precompressed variants older than their file, so unused",
            Kind::Special => "neither file nor directory, so 404",
        }
    }

    pub(super) fn advice(self) -> &'static str {
        match self {
            Kind::Unreadable => {
                "run the check as the user of the server, or grant read permission (chmod a+rX)"
            }
            Kind::Outside => "copy the target below the root, or serve a directory above both",
            Kind::Absolute => "make the link relative (ln -sr)",
            Kind::Dangling => "remove the link or restore its target",
            Kind::Outdated => "compress the files again after each change",
            Kind::Special => "remove it",
        }
    }
}

/// Names of one kind.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) count: u64,
    /// The first of them, below the root.
    pub(super) examples: Vec<PathBuf>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Findings([Found; Kind::ALL.len()]);

impl Findings {
    pub(super) fn kinds(&self) -> impl Iterator<Item = (Kind, &Found)> {
        Kind::ALL.into_iter().zip(&self.0)
    }

    fn note(&mut self, kind: Kind, path: &Path) {
        let found = &mut self.0[kind as usize];
        found.count += 1;
        if found.examples.len() < EXAMPLE_COUNT_MAX {
            found.examples.push(path.into());
        }
    }
}

/// Looks at all names below a root that may be served, in the order of the alphabet. Links are not followed into
/// directories: what they may lead to lies below the root as well.
pub(super) fn walk(root: &Path, dot_files: DotFiles) -> Findings {
    let mut walk = Walk {
        root: fs::canonicalize(root).unwrap_or_else(|_| root.into()),
        dot_files,
        findings: Findings::default(),
    };
    walk.directory(Path::new(""));
    walk.findings
}

struct Walk {
    root: PathBuf,
    dot_files: DotFiles,
    findings: Findings,
}

impl Walk {
    /// `below` is the path of a directory below the root. The stack is as deep as the directories are nested, which
    /// `PATH_MAX` bounds.
    fn directory(&mut self, below: &Path) {
        let path = self.root.join(below);
        let is_usable = |access| rustix::fs::access(&path, access).is_ok();
        if !is_usable(Access::EXEC_OK) {
            self.findings.note(Kind::Unreadable, below);
        }
        let Ok(entries) = fs::read_dir(&path) else {
            return;
        };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        for name in names {
            if self.is_served(&name) {
                self.name(&below.join(name));
            }
        }
    }

    fn is_served(&self, name: &OsStr) -> bool {
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        !is_hidden || self.dot_files == DotFiles::Served || name == WELL_KNOWN
    }

    fn name(&mut self, below: &Path) {
        let path = self.root.join(below);
        let Ok(what) = fs::symlink_metadata(&path) else {
            return;
        };
        match what.file_type() {
            kind if kind.is_dir() => self.directory(below),
            kind if kind.is_symlink() => self.link(below, &path),
            kind if kind.is_file() => self.file(below, &path, &what),
            kind => self.special(below, kind),
        }
    }

    fn special(&mut self, below: &Path, kind: FileType) {
        if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
            self.findings.note(Kind::Special, below);
        }
    }

    fn link(&mut self, below: &Path, path: &Path) {
        let is_absolute = fs::read_link(path).is_ok_and(|target| target.is_absolute());
        match fs::canonicalize(path) {
            Err(_) => self.findings.note(Kind::Dangling, below),
            Ok(target) if !target.starts_with(&self.root) => {
                self.findings.note(Kind::Outside, below);
            }
            Ok(_) if is_absolute => self.findings.note(Kind::Absolute, below),
            Ok(target) => {
                if let Ok(what) = fs::metadata(&target)
                    && what.is_file()
                {
                    self.file(below, &target, &what);
                }
            }
        }
    }

    fn file(&mut self, below: &Path, path: &Path, what: &Metadata) {
        if rustix::fs::access(path, Access::READ_OK).is_err() {
            self.findings.note(Kind::Unreadable, below);
        }
        let suffixes = VARIANT_CODINGS.map(Coding::suffix);
        let name = below.to_string_lossy();
        let Some(base) = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)) else {
            return;
        };
        if let Ok(file) = fs::metadata(self.root.join(base))
            && file.is_file()
            && is_outdated(modified(what), modified(&file))
        {
            self.findings.note(Kind::Outdated, below);
        }
    }
}

fn modified(what: &Metadata) -> FileTime {
    FileTime {
        seconds: what.mtime(),
        // Below 10^9.
        nanoseconds: u32::try_from(what.mtime_nsec()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn examples(findings: &Findings, kind: Kind) -> Vec<&Path> {
        let found = findings
            .kinds()
            .find(|(other, _)| *other == kind)
            .unwrap()
            .1;
        assert_eq!(found.count, found.examples.len() as u64);
        found.examples.iter().map(PathBuf::as_path).collect()
    }

    #[test]
    fn each_kind_of_mistake_below_a_root_is_found_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        fs::write(directory.path().join("secret"), "").unwrap();
        symlink("../../secret", root.join("sub/out")).unwrap();
        symlink("nowhere", root.join("sub/dangling")).unwrap();
        symlink(root.join("sub"), root.join("absolute")).unwrap();
        symlink("sub/deep", root.join("fine")).unwrap();
        symlink("nowhere", root.join(".git/hidden")).unwrap();
        fs::write(root.join("app.js"), "new").unwrap();
        fs::write(root.join("app.js.gz"), "old").unwrap();
        fs::write(root.join("app.js.br"), "new").unwrap();
        fs::write(root.join("alone.gz"), "an archive").unwrap();
        let old = SystemTime::now() - Duration::from_secs(10);
        let file = fs::File::open(root.join("app.js.gz")).unwrap();
        file.set_modified(old).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("sub/socket")).unwrap();

        let findings = walk(&root, DotFiles::Refused);
        assert_eq!(examples(&findings, Kind::Outside), [Path::new("sub/out")]);
        assert_eq!(
            examples(&findings, Kind::Dangling),
            [Path::new("sub/dangling")]
        );
        assert_eq!(examples(&findings, Kind::Absolute), [Path::new("absolute")]);
        assert_eq!(
            examples(&findings, Kind::Outdated),
            [Path::new("app.js.gz")]
        );
        assert_eq!(
            examples(&findings, Kind::Special),
            [Path::new("sub/socket")]
        );
        assert!(examples(&findings, Kind::Unreadable).is_empty());
        let all = walk(&root, DotFiles::Served);
        let dangling = examples(&all, Kind::Dangling);
        assert_eq!(
            dangling,
            [Path::new(".git/hidden"), Path::new("sub/dangling")]
        );
    }
}
