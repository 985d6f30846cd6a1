//! What each path has led to, and whether an answer tells of something that was so at its time.

use std::ffi::CString;

use super::content::Content;
use super::tree::{Moment, Tree};
use crate::site::listing::{self, Name, Names};
use crate::site::resolve::{DotFiles, Listed};
use crate::sys::file::FileKind;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// A file.
    File(Content),
    /// A directory.
    Directory,
    /// The names that the page of a directory shows.
    Listed(Vec<Name>),
    /// Nothing.
    Missing,
}

/// The page of a directory with these names.
pub(super) fn page(listed: &Listed, shown: &[Name]) -> Vec<u8> {
    let mut names = Names::default();
    names.extend(shown.iter().cloned());
    listing::page(listed, names)
}

/// What a path has led to, and since when.
#[derive(Debug, Default)]
struct Timeline(Vec<(Moment, Found)>);

impl Timeline {
    fn note(&mut self, found: Found, now: Moment) {
        if self.0.last().is_none_or(|(_, last)| *last != found) {
            self.0.push((now, found));
        }
    }

    /// What it has led to from `start` to `end`, the latest first.
    fn within(&self, start: Moment, end: Moment) -> impl Iterator<Item = &Found> {
        let mut until = Moment::MAX;
        let known = self.0.iter().rev().map(move |(since, found)| {
            let lasted = (*since, until);
            until = *since;
            (lasted, found)
        });
        known
            .skip_while(move |((since, _), _)| *since > end)
            .take_while(move |((_, until), _)| *until >= start)
            .map(|(_, found)| found)
    }
}

/// Something that is asked for.
#[derive(Debug)]
pub(super) struct Target {
    /// Its path in requests.
    pub path: String,
    /// The same below the root.
    pub below_root: Vec<u8>,
    plain: Timeline,
    compressed: Timeline,
    /// The directory of a path that ends in a slash, and what it has contained.
    listed: Option<(Listed, Timeline)>,
}

impl Target {
    /// A path in requests; one that ends in a slash leads to an index.
    pub(super) fn new(path: String) -> Target {
        let mut below_root = path.as_bytes()[1..].to_vec();
        let mut listed = None;
        if path.ends_with('/') {
            let directory = CString::new(&below_root[..below_root.len() - 1]);
            let directory = Listed {
                directory: directory.expect("a path has no NUL"),
                dot_files: DotFiles::Refused,
            };
            listed = Some((directory, Timeline::default()));
            below_root.extend_from_slice(b"index.html");
        }
        Target {
            path,
            below_root,
            plain: Timeline::default(),
            compressed: Timeline::default(),
            listed,
        }
    }

    /// Whether a change of this file may change the answer.
    pub(super) fn depends_on(&self, path: &[u8]) -> bool {
        let is_listed = self.listed.as_ref().is_some_and(|(listed, _)| {
            let rest = path.strip_prefix(listed.below_root());
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        });
        is_listed || self.below_root == path
    }

    /// Notes what it leads to now.
    pub(super) fn note(&mut self, tree: &Tree, now: Moment) {
        let found = |path: &[u8]| match tree.find(path) {
            Err(_) => Found::Missing,
            Ok(node) => match tree.node(node).description.kind {
                FileKind::Directory => Found::Directory,
                _ => Found::File(tree.node(node).content.clone()),
            },
        };
        self.plain.note(found(&self.below_root), now);
        let compressed = [&self.below_root, &b".gz"[..]].concat();
        self.compressed.note(found(&compressed), now);
        if let Some((listed, timeline)) = &mut self.listed {
            let names = tree.names(listed);
            timeline.note(names.map_or(Found::Missing, Found::Listed), now);
        }
    }

    /// The directory of a path that ends in a slash, and what it has contained from `start` to `end`.
    pub(super) fn listed(
        &self,
        start: Moment,
        end: Moment,
    ) -> Option<(&Listed, impl Iterator<Item = &Found>)> {
        let (listed, timeline) = self.listed.as_ref()?;
        Some((listed, timeline.within(start, end)))
    }

    /// What it has led to from `start` to `end`.
    pub(super) fn within(
        &self,
        coding: Coding,
        start: Moment,
        end: Moment,
    ) -> impl Iterator<Item = &Found> {
        match coding {
            Coding::Plain => self.plain.within(start, end),
            Coding::Gzip => self.compressed.within(start, end),
        }
    }
}

/// Which of two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coding {
    /// The file itself.
    Plain,
    /// Its precompressed variant.
    Gzip,
}
