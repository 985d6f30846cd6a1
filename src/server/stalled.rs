//! Stalled responses: their peers accept nothing while they hold files open. When descriptors are short, those with
//! the longest stall give up their files.
//!
//! There is no list of them while descriptors are ample, so an ordinary response costs nothing here. When they are
//! short, the table of connections is searched, a part at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connections::Connections;
use crate::conn::ConnectionId;

/// Entries of the table that are examined in one iteration of the loop: about 0.1 ms.
const LOOK_COUNT_MAX: usize = 4_096;
/// Pause before the next search.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Stalled responses of the current search, the longest stall first.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    found: VecDeque<(Instant, ConnectionId)>,
    /// Where the search continues.
    next_place: usize,
    looked: Option<Instant>,
}

impl Stalled {
    /// The connection whose peer has accepted nothing for the longest time, and nothing since `before`.
    pub(super) fn next(
        &mut self,
        connections: &mut Connections,
        before: Instant,
        now: Instant,
    ) -> Option<ConnectionId> {
        let is_due = |looked: Instant| now.saturating_duration_since(looked) >= LOOK_PAUSE;
        let is_known = self
            .found
            .front()
            .is_some_and(|(since, _)| *since <= before);
        if !is_known && self.looked.is_none_or(is_due) {
            self.look(connections);
            self.looked = Some(now);
        }
        while let Some((since, id)) = self.found.front().copied() {
            if since > before {
                return None;
            }
            self.found.pop_front();
            let connected = connections.find(id);
            if connected.is_some_and(|it| it.stalled_since() == Some(since)) {
                return Some(id);
            }
        }
        None
    }

    fn look(&mut self, connections: &Connections) {
        let first = self.next_place;
        if first == 0 {
            self.found.clear();
        }
        let end = first + LOOK_COUNT_MAX;
        self.next_place = match end < connections.place_count() {
            true => end,
            false => 0,
        };
        self.found.extend(connections.stalled(first..end));
        self.found.make_contiguous().sort_unstable();
    }
}
