//! The paths to prefetch: from lists, directories, and the most requested paths of the last run. Says what to look up
//! next, and does no I/O itself.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::percent_encode;
use serde::Serialize;

use crate::cache::path::PATH_LENGTH_MAX;
use crate::http::target::ENCODED;
use crate::site::listing::{Name, NameKind};
use crate::site::resolve::{DotFiles, VARIANT_CODINGS};

/// First line of a saved list; the number changes with the format.
const STATE_HEAD: &str = "# spede cache state 1: paths, the one asked for most first\n";
/// The common start of all its formats.
const STATE_HEAD_START: &[u8] = b"# spede cache state ";

/// A source of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file with a path on each line.
    List(PathBuf),
    /// The same, written by an earlier run; it may be missing.
    State(PathBuf),
    /// A directory with everything below it, relative to the root.
    Tree(CString),
}

/// The state of a source.
#[derive(Debug)]
enum PathSource {
    Unread(Origin),
    Lines {
        bytes: Vec<u8>,
        at: usize,
        origin: PathBuf,
        wrong: u64,
    },
    Tree {
        directories: VecDeque<CString>,
        paths: VecDeque<Vec<u8>>,
    },
}

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look this path up.
    Path(Vec<u8>),
    /// Read this file, and call [`Warming::loaded`].
    Load(PathBuf),
    /// Read the names in this directory, and call [`Warming::named`].
    Names(CString),
    /// Report this: a part of a source is invalid.
    Say(String),
    /// Wait until a source was read.
    Wait,
    /// Nothing.
    Over,
}

/// The progress.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct WarmNumbers {
    /// Whether it is not completed.
    pub under_way: bool,
    /// Paths looked up.
    pub paths: u64,
    /// Paths of files among these, which are in the path cache now.
    pub files: u64,
}

/// Prefetching, and its progress.
#[derive(Debug)]
pub(crate) struct Warming {
    sources: VecDeque<PathSource>,
    is_reading: bool,
    look_ups: usize,
    index: Vec<String>,
    dot_files: DotFiles,
    numbers: WarmNumbers,
}

impl Warming {
    /// These sources in this order; index names stand for their directory.
    pub(crate) fn new(origins: Vec<Origin>, index: Vec<String>, dot_files: DotFiles) -> Warming {
        Warming {
            sources: origins.into_iter().map(PathSource::Unread).collect(),
            is_reading: false,
            look_ups: 0,
            index,
            dot_files,
            numbers: WarmNumbers::default(),
        }
    }

    /// Whether there is a next step now.
    pub(crate) fn is_wanting(&self) -> bool {
        !self.sources.is_empty() && !self.is_reading
    }

    /// The progress.
    pub(crate) fn numbers(&self) -> WarmNumbers {
        WarmNumbers {
            under_way: !self.sources.is_empty() || self.look_ups > 0,
            ..self.numbers
        }
    }

    /// The next step.
    pub(crate) fn next(&mut self) -> Next {
        loop {
            if self.is_reading {
                return Next::Wait;
            }
            let Some(source) = self.sources.front_mut() else {
                return Next::Over;
            };
            match source {
                PathSource::Unread(Origin::List(path) | Origin::State(path)) => {
                    self.is_reading = true;
                    return Next::Load(path.clone());
                }
                PathSource::Unread(Origin::Tree(directory)) => {
                    *source = PathSource::Tree {
                        directories: VecDeque::from([directory.clone()]),
                        paths: VecDeque::new(),
                    };
                }
                PathSource::Lines {
                    bytes,
                    at,
                    origin,
                    wrong,
                } => {
                    if let Some(path) = next_path(bytes, at, wrong) {
                        return Next::Path(path);
                    }
                    let notice = complaint(origin, *wrong);
                    self.sources.pop_front();
                    if let Some(notice) = notice {
                        return Next::Say(notice);
                    }
                }
                PathSource::Tree { directories, paths } => {
                    if let Some(path) = paths.pop_front() {
                        return Next::Path(path);
                    }
                    if let Some(directory) = directories.front() {
                        self.is_reading = true;
                        return Next::Names(directory.clone());
                    }
                    self.sources.pop_front();
                }
            }
        }
    }

    /// Processes a file that was read. Returns a line for standard error if it could not be read.
    pub(crate) fn loaded(&mut self, read: io::Result<Vec<u8>>) -> Option<String> {
        self.is_reading = false;
        let Some(PathSource::Unread(origin)) = self.sources.pop_front() else {
            return None;
        };
        let (path, is_state) = match origin {
            Origin::List(path) => (path, false),
            Origin::State(path) => (path, true),
            Origin::Tree(_) => return None,
        };
        match read {
            Ok(bytes) => {
                self.sources.push_front(PathSource::Lines {
                    bytes,
                    at: 0,
                    origin: path,
                    wrong: 0,
                });
                None
            }
            // The first run has no file.
            Err(error) if is_state && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!(
                "cannot read {}: {error}; the caches start without it",
                path.display()
            )),
        }
    }

    /// Processes the names of a directory. A directory that could not be read is omitted.
    pub(crate) fn named(&mut self, read: io::Result<Vec<Name>>) {
        self.is_reading = false;
        let Some(PathSource::Tree { directories, paths }) = self.sources.front_mut() else {
            return;
        };
        let (Some(directory), Ok(mut names)) = (directories.pop_front(), read) else {
            return;
        };
        names.sort_by(|one, other| one.bytes.cmp(&other.bytes));
        let below = match directory.as_bytes() {
            b"." => Vec::new(),
            directory => [directory, b"/"].concat(),
        };
        let encoded = |path: &[u8]| format!("/{}", percent_encode(path, ENCODED)).into_bytes();
        let all: BTreeSet<&[u8]> = names.iter().map(|name| &name.bytes[..]).collect();
        let is_index = |name: &[u8]| self.index.iter().any(|index| index.as_bytes() == name);
        let is_variant = |name: &[u8]| {
            VARIANT_CODINGS.iter().any(|coding| {
                name.strip_suffix(coding.suffix().as_bytes())
                    .is_some_and(|of| all.contains(of))
            })
        };
        if all.iter().any(|name| is_index(name)) {
            paths.push_back(encoded(&below));
        }
        let is_hidden = |name: &Name| {
            self.dot_files == DotFiles::Refused
                && name.bytes.starts_with(b".")
                && name.bytes != b".well-known"
        };
        for name in names.iter().filter(|name| !is_hidden(name)) {
            let path = [&below, &name.bytes[..]].concat();
            match name.kind {
                NameKind::Directory => directories.extend(CString::new(path)),
                NameKind::File if is_index(&name.bytes) || is_variant(&name.bytes) => {}
                NameKind::File => paths.push_back(encoded(&path)),
            }
        }
    }

    /// Notes that a lookup has begun.
    pub(crate) fn begin(&mut self) {
        self.numbers.paths += 1;
        self.look_ups += 1;
    }

    /// Notes that a lookup is completed.
    pub(crate) fn finish(&mut self) {
        self.look_ups = self.look_ups.saturating_sub(1);
    }

    /// Notes that a file was cached.
    pub(crate) fn found(&mut self) {
        self.numbers.files += 1;
    }

    /// Ends it: the caches have no room for more.
    pub(crate) fn end(&mut self) {
        self.sources.clear();
        self.is_reading = false;
    }
}

/// Whether this is the start of a list of paths: a saved list, even if it was edited, or lines of paths, or an empty
/// file.
pub(crate) fn is_list(start: &[u8]) -> bool {
    let (mut at, mut paths, mut wrong) = (0, 0, 0);
    while next_path(start, &mut at, &mut wrong).is_some() {
        paths += 1;
    }
    start.is_empty() || start.starts_with(STATE_HEAD_START) || (paths > 0 && wrong == 0)
}

/// The next line with a path, without its query. Empty lines and lines that begin with `#` are skipped.
fn next_path(bytes: &[u8], at: &mut usize, wrong: &mut u64) -> Option<Vec<u8>> {
    while *at < bytes.len() {
        let rest = &bytes[*at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = &rest[..length.unwrap_or(rest.len())];
        *at += line.len() + 1;
        let line = line.trim_ascii();
        match line.first() {
            None | Some(b'#') => {}
            Some(b'/') if line.len() <= PATH_LENGTH_MAX && line.iter().all(is_path_byte) => {
                let end = line.iter().position(|byte| *byte == b'?');
                return Some(line[..end.unwrap_or(line.len())].to_vec());
            }
            Some(_) => *wrong += 1,
        }
    }
    None
}

/// Whether a byte may be in a request target.
fn is_path_byte(byte: &u8) -> bool {
    !byte.is_ascii_whitespace() && !byte.is_ascii_control()
}

fn complaint(origin: &Path, wrong: u64) -> Option<String> {
    let lines = match wrong {
        0 => return None,
        1 => String::from("1 line is not a path and is omitted"),
        more => format!("{more} lines are not paths and are omitted"),
    };
    Some(format!(
        "{}: {lines}; a line is a path as clients request it, like /css/site.css",
        origin.display()
    ))
}

/// The content of the saved list.
pub(crate) fn state_of<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = STATE_HEAD.as_bytes().to_vec();
    for path in paths {
        bytes.extend_from_slice(path);
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file::FileTime;

    fn paths(warming: &mut Warming) -> (Vec<String>, Next) {
        let mut paths = Vec::new();
        loop {
            match warming.next() {
                Next::Path(path) => paths.push(String::from_utf8(path).expect("ASCII")),
                other => return (paths, other),
            }
        }
    }

    fn warming(origin: Origin) -> Warming {
        Warming::new(vec![origin], vec!["index.html".into()], DotFiles::Refused)
    }

    #[test]
    fn lines_are_paths_or_nothing_or_wrong() {
        let mut warming = warming(Origin::List("list".into()));
        assert_eq!(warming.next(), Next::Load("list".into()));
        assert_eq!(warming.next(), Next::Wait);
        let long = format!("/{}\n", "x".repeat(PATH_LENGTH_MAX));
        let text = format!("# no\n/a?b\n\n  /c%20d\r\nhttp://e/\n/f g\n{long}/last");
        assert_eq!(warming.loaded(Ok(text.into_bytes())), None);
        let (found, then) = paths(&mut warming);
        assert_eq!(found, ["/a", "/c%20d", "/last"]);
        let Next::Say(line) = then else {
            panic!("three lines are wrong: {then:?}");
        };
        assert!(line.starts_with("list: 3 lines are not paths"), "{line}");
        assert_eq!(warming.next(), Next::Over);
    }

    #[test]
    fn what_was_written_is_read_again_and_need_not_be_there() {
        let state = state_of([&b"/often"[..], b"/seldom"].into_iter());
        let mut again = warming(Origin::State("state".into()));
        assert_eq!(again.next(), Next::Load("state".into()));
        assert_eq!(again.loaded(Ok(state)), None);
        let expected = vec![String::from("/often"), String::from("/seldom")];
        assert_eq!(paths(&mut again), (expected, Next::Over));
        let missing = || Err(io::ErrorKind::NotFound.into());
        let mut first = warming(Origin::State("state".into()));
        first.next();
        assert_eq!(first.loaded(missing()), None);
        let mut list = warming(Origin::List("list".into()));
        list.next();
        assert!(list.loaded(missing()).is_some(), "that was asked for");
        assert_eq!(list.next(), Next::Over);
    }

    #[test]
    fn only_lists_of_paths_are_replaced() {
        #[rustfmt::skip]
        let cases = [
            ("",                                        true,  "empty"),
            ("# spede cache state 1: paths\n",          true,  "ours, with nothing in it"),
            ("# spede cache state 1: paths\nwhat\n/a\n", true,  "ours, with a mistake made in it"),
            ("/a\n\n# more\n/b?x\n",                   true,  "made by hand"),
            ("/a\nb = 1\n",                             false, "a path, and something else"),
            ("#!/deferred_drops/sh\n",                             false, "a comment, and no path"),
            ("\u{7f}ELF\0",                             false, "a program"),
        ];
        for (start, expected, because) in cases {
            assert_eq!(is_list(start.as_bytes()), expected, "{because}");
        }
    }

    #[test]
    fn a_tree_is_walked_and_its_names_become_paths() {
        let name = |bytes: &[u8], kind| Name {
            bytes: bytes.to_vec(),
            kind,
            length: 1,
            modified: FileTime {
                seconds: 0,
                nanoseconds: 0,
            },
        };
        let mut warming = warming(Origin::Tree(c"some dir".into()));
        assert_eq!(warming.next(), Next::Names(c"some dir".into()));
        assert!(!warming.is_wanting());
        warming.named(Ok(vec![
            name(b"sub", NameKind::Directory),
            name(b"b?.js.gz", NameKind::File),
            name(b"b?.js", NameKind::File),
            name(b"index.html", NameKind::File),
            name(b"lone.gz", NameKind::File),
        ]));
        let (found, then) = paths(&mut warming);
        let expected = ["/some%20dir/", "/some%20dir/b%3F.js", "/some%20dir/lone.gz"];
        assert_eq!(found, expected);
        assert_eq!(then, Next::Names(c"some dir/sub".into()));
        warming.named(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(warming.next(), Next::Over);
        assert!(!warming.numbers().under_way);
    }
}
