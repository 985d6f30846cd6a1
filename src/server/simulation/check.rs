//! What has to hold of each answer.

use std::collections::BTreeMap;

use super::client::{Known, Sent};
use super::content::Content;
use super::disk::COPIED_LENGTH_MAX;
use super::history::{self, Coding, Found, Target};
use super::profile::{MAP_LENGTH_MAX, Profile, Storage};
use super::response::{Body, Response};
use super::tree::{Moment, Tree};
use crate::settings::Directories;
use crate::site::resolve::Listed;

/// The unit in which the kernel maps files.
const PAGE_LENGTH: usize = 4_096;
/// Bytes that tell a content from all others.
const NUMBER_LENGTH: usize = 8;

/// An answer, and what it may tell of.
pub(super) struct Answer<'a> {
    /// What was asked.
    pub sent: &'a Sent,
    /// What was answered.
    pub response: &'a Response,
    /// What the path leads to, and has led to.
    pub target: &'a Target,
    /// Where.
    pub tree: &'a Tree,
    /// The answer is what the path has led to at some time from here on...
    pub since: Moment,
    /// ...to here.
    pub now: Moment,
}

impl Answer<'_> {
    fn coding(&self) -> Coding {
        match self.response.field("content-encoding") {
            Some("gzip") => Coding::Gzip,
            _ => Coding::Plain,
        }
    }

    fn within(&self, coding: Coding) -> impl Iterator<Item = &Found> {
        self.target.within(coding, self.since, self.now)
    }

    /// Fails unless something holds.
    fn demand(&self, holds: bool, otherwise: &str) {
        if holds {
            return;
        }
        let held: Vec<&Found> = self.within(self.coding()).collect();
        let fields = ["content-length", "content-range", "etag"].map(|it| self.response.field(it));
        panic!(
            "{otherwise}: {} {fields:?} for {} to {:?}, at {}: since {} it was {held:?}",
            self.response.status, self.target.path, self.sent, self.now, self.since
        );
    }

    /// The content that fits; none if several do, as short ranges may.
    fn fitting(&self, fits: impl Fn(&Content) -> bool) -> Option<Content> {
        let mut fitting = self.contents().into_iter().filter(|it| fits(it));
        let first = fitting.next().cloned();
        self.demand(first.is_some(), "no version has it");
        first.filter(|_| fitting.next().is_none())
    }

    /// The node of a file that was written over while it was sent, so that the answer may be of several of its
    /// contents. docs/specification.md allows that for mappings, and where the file is longer than before, which
    /// looks as if it had grown.
    fn written_over(&self, length: usize) -> Vec<usize> {
        let may_be_mapped = may_be_mapped(length);
        let contents = self.contents();
        let of_length = contents.iter().filter(|content| content.length() == length);
        let is_written_over = |content: &&&Content| {
            let is_same = |it: &&&Content| it.node() == content.node();
            let has_grown = |it: &&Content| may_be_mapped || it.length() > length;
            contents.iter().filter(is_same).count() > 1
                && contents.iter().filter(is_same).any(has_grown)
        };
        let nodes = of_length.filter(is_written_over);
        nodes.map(|content| content.node()).collect()
    }

    /// Whether each of its bytes is of some content of this node, or one of the zeros after the end of a mapped file in
    /// its last page.
    fn is_mixture_of(&self, node: usize, first: usize, length: usize) -> bool {
        let mut contents = self.contents();
        contents.retain(|it| it.node() == node);
        let is_mapped = may_be_mapped(length);
        let has = |(place, byte): (usize, &u8)| {
            let place = first + place;
            contents.iter().any(|content| {
                let rest = content.length()..content.length().next_multiple_of(PAGE_LENGTH);
                content.bytes().get(place) == Some(byte)
                    || (is_mapped && *byte == 0 && rest.contains(&place))
            })
        };
        self.response.body.iter().enumerate().all(has)
    }

    /// What was in the files that the path has led to, whatever has become of their names: a look-up that has found
    /// one opens that.
    fn contents(&self) -> Vec<&Content> {
        let mut contents: Vec<&Content> = Vec::new();
        for found in self.within(self.coding()) {
            let Found::File(content) = found else {
                continue;
            };
            let of_file = self.tree.contents(content.node(), self.since, self.now);
            for content in of_file {
                if !contents.contains(&content) {
                    contents.push(content);
                }
            }
        }
        contents
    }

    fn was(&self, coding: Coding, wanted: &Found) {
        let was = self.within(coding).any(|found| found == wanted);
        self.demand(was, "it was not so");
    }

    /// Whether the directory of the path was so at some time.
    fn was_listed(&self, fits: impl Fn(&Found, &Listed) -> bool) -> bool {
        let listed = self.target.listed(self.since, self.now);
        listed.is_some_and(|(listed, mut found)| found.any(|found| fits(found, listed)))
    }

    /// Whether bytes were to come.
    fn has_body(&self) -> bool {
        self.sent.body == Body::AsSaid
    }
}

/// What holds of all answers of a run together.
#[derive(Debug)]
pub(super) struct Checker {
    /// How well the storage is.
    storage: Storage,
    /// Whether directories without an index are listed.
    directories: Directories,
    /// Pages of directories among the answers.
    pub page_count: u64,
    /// Answers so far.
    pub answered: u64,
    /// By status.
    pub by_status: BTreeMap<u16, u64>,
    /// Which content each tag stands for.
    tags: BTreeMap<(usize, Coding, String), u32>,
    /// A digest of everything that was answered and asked of the disk, and when.
    pub digest: u64,
}

impl Checker {
    /// Before the first answer.
    pub(super) fn new(profile: &Profile) -> Checker {
        Checker {
            storage: profile.storage,
            directories: profile.directories,
            page_count: 0,
            answered: 0,
            by_status: BTreeMap::new(),
            tags: BTreeMap::new(),
            digest: 0,
        }
    }

    /// Checks an answer. Gives what its client knows from now on.
    ///
    /// # Panics
    /// If it is not one that may be given.
    pub(super) fn check(&mut self, answer: &Answer<'_>) -> Option<Known> {
        let Answer { sent, response, .. } = answer;
        self.answered += 1;
        *self.by_status.entry(response.status).or_default() += 1;
        self.note(response, answer.now);
        let content = match response.status {
            200 if response.field("content-security-policy").is_some() => {
                self.check_page(answer);
                return None;
            }
            200 | 206 => self.content(answer)?,
            304 => {
                let known = sent.known.as_ref();
                answer.demand(known.is_some(), "there was no condition");
                let known = known?;
                answer.was(known.coding, &Found::File(known.content.clone()));
                return None;
            }
            301 => {
                answer.was(Coding::Plain, &Found::Directory);
                return None;
            }
            404 => {
                answer.was(Coding::Plain, &Found::Missing);
                let is_page = self.directories == Directories::Listed
                    && answer.target.listed(answer.since, answer.now).is_some();
                let was_missing = || answer.was_listed(|found, _| *found == Found::Missing);
                answer.demand(!is_page || was_missing(), "the directory was there");
                return None;
            }
            416 => {
                answer.demand(sent.is_range, "nobody asked for a part");
                return None;
            }
            500 | 503 | 504 => {
                let may_fail = self.storage == Storage::Failing || response.status == 503;
                answer.demand(may_fail, "nothing has failed");
                return None;
            }
            _ => {
                answer.demand(false, "nobody expects that");
                return None;
            }
        };
        if content.length() < NUMBER_LENGTH {
            return None;
        }
        self.check_tag(answer, content.number());
        answer.has_body().then(|| Known {
            content,
            coding: answer.coding(),
            tag: response.field("etag").map(str::to_owned),
        })
    }

    /// A page is that of a directory without an index, as the directory was at one moment.
    fn check_page(&mut self, answer: &Answer<'_>) {
        self.page_count += 1;
        let is_listed = self.directories == Directories::Listed;
        answer.demand(is_listed, "directories are not listed");
        answer.was(Coding::Plain, &Found::Missing);
        let fits = |found: &Found, listed: &Listed| match found {
            Found::Listed(names) => {
                let page = history::page(listed, names);
                match answer.has_body() {
                    true => page == answer.response.body,
                    false => page.len() == answer.response.length(),
                }
            }
            _ => false,
        };
        answer.demand(answer.was_listed(fits), "the directory was never so");
    }

    /// What was sent, or would have been; none where that cannot be told.
    fn content(&self, answer: &Answer<'_>) -> Option<Content> {
        let response = answer.response;
        let (first, length) = match response.status {
            206 => {
                answer.demand(answer.sent.is_range, "nobody asked for a part");
                response.range()
            }
            _ => (0, response.length()),
        };
        if answer.has_body() {
            let mut written_over = answer.written_over(length).into_iter();
            if written_over.any(|node| answer.is_mixture_of(node, first, length)) {
                return None;
            }
            let body = &response.body;
            return answer.fitting(|it| it.length() == length && it.has(first, body));
        }
        let number = self.number_of(answer);
        answer.fitting(|content| {
            let is_known = number.is_none_or(|number| number == content.number());
            content.length() == length && is_known
        })
    }

    /// One strong tag stands for one content.
    fn check_tag(&mut self, answer: &Answer<'_>, number: u32) {
        // Which of two versions of one length a head without bytes is of is not known.
        if let Some(key) = tag_key(answer).filter(|_| answer.has_body()) {
            let before = *self.tags.entry(key).or_insert(number);
            answer.demand(before == number, "its tag stands for another content");
        }
    }

    /// The content that the tag of an answer stands for, if bytes were seen with it.
    fn number_of(&self, answer: &Answer<'_>) -> Option<u32> {
        self.tags.get(&tag_key(answer)?).copied()
    }

    /// Takes something that has happened into the digest.
    pub(super) fn mix(&mut self, value: u64) {
        self.digest = (self.digest ^ value)
            .wrapping_mul(0x0100_0000_01B3)
            .rotate_left(23);
    }

    fn note(&mut self, response: &Response, now: Moment) {
        self.mix(now);
        self.mix(u64::from(response.status));
        self.mix(response.body.len() as u64);
        for byte in response.body.iter().take(NUMBER_LENGTH) {
            self.mix(u64::from(*byte));
        }
    }
}

/// Whether files of this length are mapped instead of copied.
fn may_be_mapped(length: usize) -> bool {
    length > COPIED_LENGTH_MAX && length <= MAP_LENGTH_MAX
}

fn tag_key(answer: &Answer<'_>) -> Option<(usize, Coding, String)> {
    let tag = answer.response.field("etag")?;
    Some((answer.sent.target, answer.coding(), tag.to_owned()))
}
