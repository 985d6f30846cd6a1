//! Answers whose peers take nothing while they hold files open: where descriptors are short, those that have waited
//! longest give their files up.
//!
//! No list of them is kept while descriptors are ample, so that an ordinary answer costs nothing here. Where they are
//! short, the table of connections is looked through, a part at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::connections::Connections;
use crate::conn::ConnectionId;

/// Places of the table that are looked at in one iteration of the loop: about 0.1 ms.
const LOOK_COUNT_MAX: usize = 4_096;
/// How long before the next look.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Answers that were found to be stalled since the table was last begun with, the longest stall first.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    found: VecDeque<(Instant, ConnectionId)>,
    /// Where the next look begins.
    next_place: usize,
    looked: Option<Instant>,
}

impl Stalled {
    /// The connection whose peer has taken nothing for longest, and not since `before`.
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
