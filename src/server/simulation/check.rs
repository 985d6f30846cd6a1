//! What has to hold of each answer.

use std::collections::BTreeMap;

use super::client::{Known, Sent};
use super::content::Content;
use super::history::{Coding, Found, Target};
use super::profile::Storage;
use super::response::{Body, Response};
use super::tree::Moment;

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

    /// The file that fits.
    fn file(&self, fits: impl Fn(&Content) -> bool) -> Content {
        let mut within = self.within(self.coding());
        let fitting = within.find_map(|found| match found {
            Found::File(content) if fits(content) => Some(content.clone()),
            _ => None,
        });
        self.demand(fitting.is_some(), "no version has it");
        fitting.expect("there is one")
    }

    fn was(&self, coding: Coding, wanted: &Found) {
        let was = self.within(coding).any(|found| found == wanted);
        self.demand(was, "it was not so");
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
    pub(super) fn new(storage: Storage) -> Checker {
        Checker {
            storage,
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
            200 | 206 => self.content(answer),
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

    /// What was sent, or would have been.
    fn content(&self, answer: &Answer<'_>) -> Content {
        let response = answer.response;
        if response.status == 206 {
            answer.demand(answer.sent.is_range, "nobody asked for a part");
            let (first, length) = response.range();
            return answer
                .file(|content| content.length() == length && content.has(first, &response.body));
        }
        if answer.has_body() {
            let body = &response.body;
            return answer.file(|content| content.length() == body.len() && content.has(0, body));
        }
        let number = self.number_of(answer);
        answer.file(|content| {
            let is_known = number.is_none_or(|number| number == content.number());
            content.length() == response.length() && is_known
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

fn tag_key(answer: &Answer<'_>) -> Option<(usize, Coding, String)> {
    let tag = answer.response.field("etag")?;
    Some((answer.sent.target, answer.coding(), tag.to_owned()))
}
