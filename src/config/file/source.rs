//! The text of a configuration file, and places in it.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::Usage;
use super::super::error::{quote, show};

/// Longest file, 16 MiB: room for 100,000 sites, and a wrong path does not fill the memory.
const LENGTH_MAX: u64 = 16 << 20;

/// A place in a file, counted from 1; columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Position {
    pub(in crate::config) line: usize,
    column: usize,
}

/// A text, and what it is called in messages.
#[derive(Debug)]
pub(in crate::config) struct Source {
    path: PathBuf,
    text: String,
    /// Where each line begins.
    line_starts: Vec<usize>,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// One line that says why it cannot be read.
    pub(in crate::config) fn read(path: &Path) -> Result<Source, Usage> {
        let cannot = |why: &str| {
            let path = show(&path.to_string_lossy());
            Usage::Wrong(format!("--config: {path}: {why}"))
        };
        let mut bytes = Vec::new();
        let read = File::open(path)
            .and_then(|file| file.take(LENGTH_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| cannot(&error.to_string()))?;
        if read as u64 > LENGTH_MAX {
            return Err(cannot("is longer than 16 MiB; name a configuration file"));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source::new(path.into(), text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
                let source = Source::new(path.into(), text);
                let message = "is not UTF-8 from here on; save the file as UTF-8";
                Err(source.wrong(valid, message))
            }
        }
    }

    pub(super) fn new(path: PathBuf, text: String) -> Source {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes());
        let line_starts = [0].into_iter().chain(ends.map(|end| end + 1)).collect();
        Source {
            path,
            text,
            line_starts,
        }
    }

    /// Where it came from.
    pub(in crate::config) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line of a byte, counted from 1.
    pub(in crate::config) fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Costs O(length of the line).
    pub(super) fn position(&self, offset: usize) -> Position {
        let line = self.line(offset);
        let before = self.text.get(self.line_starts[line - 1]..offset);
        Position {
            line,
            column: before.unwrap_or_default().chars().count() + 1,
        }
    }

    /// A message about what begins at this byte.
    pub(in crate::config) fn wrong(&self, offset: usize, message: &str) -> Usage {
        Usage::Wrong(self.at(self.position(offset), message))
    }

    pub(in crate::config) fn at(&self, position: Position, message: &str) -> String {
        let Position { line, column } = position;
        let path = show(&self.path.to_string_lossy());
        format!("{path}:{line}:{column}: {message}")
    }

    /// The text of a part, as it was typed.
    pub(super) fn part(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// The same in quotes, on one line and shortened.
    pub(super) fn quoted(&self, span: Range<usize>) -> String {
        quote(self.part(span))
    }
}
