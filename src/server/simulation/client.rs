//! Clients: they ask, several times at once, read now and then, stop reading, and leave in the middle.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use super::content::Content;
use super::history::{Coding, Target};
use super::random::Random;
use super::response::{Body, Response};
use super::tree::Moment;
use crate::conn::ConnectionId;
use crate::transport::Noted;
use crate::transport::wire::WireClient;

/// What a client knows of a file from an answer.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// What was in it.
    pub content: Content,
    /// Of which file it was.
    pub coding: Coding,
    /// Its tag.
    pub tag: Option<String>,
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// What for.
    pub target: usize,
    /// Whether only the head is wanted.
    pub body: Body,
    /// With what it is compared.
    pub known: Option<Known>,
    /// Whether a part is wanted.
    pub is_range: bool,
    /// When.
    pub at: Moment,
}

/// The client's end of a connection.
#[derive(Debug)]
struct Link {
    wire: WireClient,
    id: ConnectionId,
    unanswered: VecDeque<Sent>,
    /// What there was no room for yet.
    outgoing: Vec<u8>,
    received: Vec<u8>,
    /// The next response is not complete before so many bytes are received.
    needed: usize,
    paused_until: Moment,
    /// The server has said that it answers nothing more.
    is_last: bool,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    random: Random,
    link: Option<Link>,
    known: BTreeMap<usize, Known>,
}

/// What a client has done.
#[derive(Debug)]
pub(super) enum Did {
    /// It has sent something, or taken something.
    Moved(ConnectionId),
    /// It has left.
    Left(ConnectionId),
    /// It has found the connection closed, with so many answers outstanding; whether it was told before.
    Closed(ConnectionId, usize, bool),
    /// Nothing.
    Nothing,
}

/// Bytes that a client reads at once.
const READ_LENGTH_MAX: u64 = 128 << 10;

impl Client {
    /// A client without a connection.
    pub(super) fn new(random: Random) -> Client {
        Client {
            random,
            link: None,
            known: BTreeMap::new(),
        }
    }

    /// Whether it has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Takes its end of a connection.
    pub(super) fn connect(&mut self, id: ConnectionId, wire: WireClient) {
        self.link = Some(Link {
            wire,
            id,
            unanswered: VecDeque::new(),
            outgoing: Vec::new(),
            received: Vec::new(),
            needed: 0,
            paused_until: 0,
            is_last: false,
        });
    }

    /// What an event would say to the server now.
    pub(super) fn events(&self) -> Option<Noted> {
        self.link.as_ref().map(|link| link.wire.events())
    }

    /// Requests without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.unanswered.len())
    }

    /// How long until it acts again.
    pub(super) fn pause(&mut self) -> Moment {
        match self.random.below(50) {
            0 => self.random.between(1_000_000, 400_000_000),
            _ => self.random.between(10_000, 8_000_000),
        }
    }

    /// Leaves.
    pub(super) fn leave(&mut self) -> Did {
        self.link
            .take()
            .map_or(Did::Nothing, |link| Did::Left(link.id))
    }

    /// Sends requests, reads, or leaves; at the end of a run (`may_ask` is not set) it only reads.
    pub(super) fn act(&mut self, targets: &[Target], may_ask: bool, now: Moment) -> Did {
        let Some(link) = &mut self.link else {
            return Did::Nothing;
        };
        if may_ask && self.random.is_one_in(300) {
            return self.leave();
        }
        if may_ask && self.random.is_one_in(300) {
            link.paused_until = now + self.random.between(1_000_000, 30_000_000_000);
        }
        if may_ask && link.unanswered.len() < 6 && !link.is_last && self.random.is_one_in(2) {
            for _ in 0..self.random.between(1, 4) {
                self.ask(targets, now);
            }
            return self.exchange();
        }
        match now < link.paused_until && may_ask {
            true => Did::Nothing,
            false => self.exchange(),
        }
    }

    fn ask(&mut self, targets: &[Target], now: Moment) {
        let random = &mut self.random;
        let target = random.rank(targets.len());
        let body = match random.is_one_in(6) {
            true => Body::None,
            false => Body::AsSaid,
        };
        let method = match body {
            Body::None => "HEAD",
            Body::AsSaid => "GET",
        };
        let path = &targets[target].path;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: simulated\r\n");
        let known = self
            .known
            .get(&target)
            .filter(|_| random.is_one_in(3))
            .cloned();
        let mut field = |name, value: &str| {
            let _ = write!(text, "{name}: {value}\r\n");
        };
        if let Some(tag) = known.as_ref().and_then(|known| known.tag.as_ref()) {
            field("If-None-Match", tag);
        }
        if random.is_one_in(3)
            || known
                .as_ref()
                .is_some_and(|known| known.coding == Coding::Gzip)
        {
            field("Accept-Encoding", "gzip");
        }
        let is_range = body == Body::AsSaid && random.is_one_in(8);
        if is_range {
            let start = random.below(3_000);
            let end = start + random.between(1, 40_000);
            field("Range", &format!("bytes={start}-{end}"));
        }
        text.push_str("\r\n");
        let link = self.link.as_mut().expect("it is connected");
        link.outgoing.extend_from_slice(text.as_bytes());
        link.unanswered.push_back(Sent {
            target,
            body,
            known,
            is_range,
            at: now,
        });
    }

    /// Sends what waits for room, and reads some of what has come.
    fn exchange(&mut self) -> Did {
        let Some(link) = &mut self.link else {
            return Did::Nothing;
        };
        let sent = link.wire.send(&link.outgoing);
        link.outgoing.drain(..sent);
        let room = usize::try_from(self.random.between(1, READ_LENGTH_MAX)).expect("small");
        let before = link.received.len();
        let is_over = link.wire.receive(room, &mut link.received);
        match link.received.len() > before || sent > 0 {
            true => Did::Moved(link.id),
            false if is_over => self.closed(),
            false => Did::Nothing,
        }
    }

    fn closed(&mut self) -> Did {
        let link = self.link.take().expect("it is connected");
        Did::Closed(link.id, link.unanswered.len(), link.is_last)
    }

    /// The next whole answer, and what it is for.
    pub(super) fn answer(&mut self) -> Option<(Sent, Response)> {
        let link = self.link.as_mut()?;
        let Some(sent) = link.unanswered.front() else {
            assert!(link.received.is_empty(), "bytes that nobody asked for");
            return None;
        };
        if link.received.len() < link.needed {
            return None;
        }
        match Response::take(&mut link.received, sent.body) {
            Err(needed) => {
                link.needed = needed;
                None
            }
            Ok(response) => {
                link.needed = 0;
                link.is_last |= response.field("connection") == Some("close");
                Some((link.unanswered.pop_front()?, response))
            }
        }
    }

    /// Remembers what it was answered.
    pub(super) fn know(&mut self, target: usize, known: Known) {
        self.known.insert(target, known);
    }
}
