//! Who has the places for connections when they run short: which idle connection gives its place up, and
//! how many one address may hold.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use foldhash::HashMap;

use crate::conn::ConnectionId;
use crate::conn::Peer;
use crate::settings::Network;
use crate::store::queue::Owner;

/// Entries looked at in one search. A busy server may have to bring as many up to date as it has connections;
/// then the search goes on in the next iteration of the loop.
const LOOK_COUNT_MAX: usize = 4_096;
/// Entries of connections that are gone before they are taken out together.
const GONE_COUNT_MIN: usize = 1_024;
/// The share of the places, in percent, up to which an address may hold any number.
const FREE_PERCENT: usize = 50;

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oldest {
    /// This connection has rested longest.
    Found(ConnectionId),
    /// None rests.
    Nobody,
    /// Not known yet: the search is to be made again.
    Unfinished,
}

/// What is known of a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is closed.
    Gone,
    /// It is busy.
    Busy,
    /// It rests since then.
    Since(Instant),
}

/// Connections in the order in which they came to rest, or did once: a request on a connection changes nothing
/// here. In another of these are those that hold memory, in the order in which they last got on. A moment that is recorded is never later than the true one, so the first entry that is up to date is
/// the oldest.
#[derive(Debug, Default)]
pub(super) struct IdleOrder {
    heap: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    gone: usize,
}

impl IdleOrder {
    /// Takes a connection in, which must not be there already. O(1) for one that has just come to rest.
    pub(super) fn push(&mut self, since: Instant, id: ConnectionId) {
        self.heap.push(Reverse((since, id)));
    }

    /// Notes that a connection in it was closed.
    pub(super) fn note_gone(&mut self, mut is_open: impl FnMut(ConnectionId) -> bool) {
        self.gone += 1;
        if self.gone >= GONE_COUNT_MIN && self.gone * 2 > self.heap.len() {
            self.heap.retain(|Reverse((_, id))| is_open(*id));
            self.gone = 0;
        }
    }

    /// The connection that has rested longest. Takes busy ones out, each of which `rest` is told of: they are
    /// to be put in when they rest again.
    pub(super) fn oldest(&mut self, mut rest: impl FnMut(ConnectionId) -> Rest) -> Oldest {
        for _ in 0..LOOK_COUNT_MAX {
            let Some(Reverse((recorded, id))) = self.heap.peek().copied() else {
                return Oldest::Nobody;
            };
            match rest(id) {
                Rest::Since(since) if since <= recorded => return Oldest::Found(id),
                Rest::Since(since) => {
                    self.heap.pop();
                    self.heap.push(Reverse((since, id)));
                }
                Rest::Busy => drop(self.heap.pop()),
                Rest::Gone => {
                    self.heap.pop();
                    self.gone = self.gone.saturating_sub(1);
                }
            }
        }
        Oldest::Unfinished
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Reverse<(Instant, ConnectionId)>>()
    }
}

/// How many connections each address has.
#[derive(Debug)]
pub(super) struct Shares {
    counts: HashMap<Owner, usize>,
    /// Places in all.
    capacity: usize,
    /// Most for one address once half of the places are taken.
    count_max: usize,
    trusted: Vec<Network>,
    refused: u64,
}

impl Shares {
    /// Of `capacity` places an address may hold so many in a hundred, unless it is trusted.
    pub(super) fn new(capacity: usize, percent: usize, trusted: Vec<Network>) -> Shares {
        Shares {
            counts: HashMap::default(),
            capacity,
            count_max: (capacity.saturating_mul(percent) / 100).max(1),
            trusted,
            refused: 0,
        }
    }

    /// Whether a connection of `peer` may have a place, where `open` are taken. A refusal is counted.
    pub(super) fn admits(&mut self, peer: Peer, open: usize) -> bool {
        let is_free = open.saturating_mul(100) < self.capacity.saturating_mul(FREE_PERCENT);
        if is_free || self.is_trusted(peer) {
            return true;
        }
        let held = self.counts.get(&Owner::from(peer)).copied();
        let is_admitted = held.unwrap_or_default() < self.count_max;
        self.refused += u64::from(!is_admitted);
        is_admitted
    }

    /// Counts a connection in.
    pub(super) fn enter(&mut self, peer: Peer) {
        *self.counts.entry(Owner::from(peer)).or_default() += 1;
    }

    /// Counts a connection out.
    pub(super) fn leave(&mut self, peer: Peer) {
        let owner = Owner::from(peer);
        if let Some(count) = self.counts.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
    }

    /// Connections refused since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether a peer stands for many: at a Unix socket there is only a proxy.
    fn is_trusted(&self, peer: Peer) -> bool {
        match peer {
            Peer::Local => true,
            Peer::Address(address) => {
                let address = address.to_canonical();
                self.trusted.iter().any(|network| network.contains(address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    /// Numbers below a bound, the same in each run.
    fn random_numbers() -> impl FnMut(u64) -> u64 {
        let mut random = 7_u64;
        move |below| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        }
    }

    /// Random connections that come, go, work and rest, against a plain list.
    #[test]
    fn the_oldest_is_the_one_that_rested_longest() {
        let start = Instant::now();
        let mut order = IdleOrder::default();
        let mut open: BTreeMap<u32, Option<Instant>> = BTreeMap::new();
        let mut listed = std::collections::BTreeSet::new();
        let mut next = random_numbers();
        let id = |index| ConnectionId {
            index,
            generation: index,
        };
        for step in 0..20_000_u32 {
            let now = start + Duration::from_millis(step.into());
            let any = open
                .keys()
                .copied()
                .nth(next(open.len().max(1) as u64) as usize);
            match (next(10), any) {
                (0..2, _) | (_, None) => {
                    open.insert(step, Some(now));
                    listed.insert(step);
                    order.push(now, id(step));
                }
                (2..4, Some(any)) => {
                    open.remove(&any);
                    if listed.remove(&any) {
                        order.note_gone(|id| open.contains_key(&id.index));
                    }
                }
                (4..6, Some(any)) => drop(open.insert(any, None)),
                (6..9, Some(any)) => {
                    open.insert(any, Some(now));
                    if listed.insert(any) {
                        order.push(now, id(any));
                    }
                }
                _ => {
                    let found = order.oldest(|id| match open.get(&id.index) {
                        None => Rest::Gone,
                        Some(None) => {
                            listed.remove(&id.index);
                            Rest::Busy
                        }
                        Some(Some(since)) => Rest::Since(*since),
                    });
                    let resting = open
                        .iter()
                        .filter_map(|(index, since)| Some((*since.as_ref()?, *index)));
                    let want = match resting.min() {
                        None => Oldest::Nobody,
                        Some((_, index)) => Oldest::Found(id(index)),
                    };
                    assert_eq!(found, want, "step {step}");
                }
            }
        }
        assert!(order.heap.len() <= 2 * open.len() + GONE_COUNT_MIN + 1);
    }

    #[test]
    fn an_address_has_its_share_once_half_are_taken() {
        let peer = |text: &str| Peer::Address(text.parse().unwrap());
        let trusted = vec![Network::new("10.0.0.0".parse().unwrap(), 8)];
        let mut shares = Shares::new(100, 25, trusted);
        for _ in 0..25 {
            shares.enter(peer("2001:db8::1"));
            shares.enter(peer("10.1.1.1"));
        }
        #[rustfmt::skip]
        let cases = [
            // peer                open  admitted  because
            ("2001:db8::1",        49,   true,     "half of the places are free"),
            ("2001:db8::1",        50,   false,    "it has its quarter"),
            ("2001:db8::2:0:0:9",  50,   false,    "the same network of 64 bits"),
            ("2001:db8:0:1::1",    50,   true,     "another network"),
            ("192.0.2.1",          99,   true,     "it has none"),
            ("10.1.1.1",           99,   true,     "trusted"),
            ("::ffff:10.1.1.1",    99,   true,     "the same address"),
        ];
        for (address, open, is_admitted, because) in cases {
            assert_eq!(
                shares.admits(peer(address), open),
                is_admitted,
                "{address}: {because}"
            );
        }
        assert_eq!(shares.refused(), 2);
        assert!(shares.admits(Peer::Local, 99));
        for _ in 0..25 {
            shares.leave(peer("2001:db8::1"));
        }
        assert!(shares.admits(peer("2001:db8::1"), 50));
        assert_eq!(shares.counts.len(), 1);
    }
}
