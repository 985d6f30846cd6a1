//! The table of open connections.

use std::ops::Range;
use std::time::{Duration, Instant};

use slab::Slab;

use super::deadlines::Armed;
use super::places::{IdleOrder, Oldest, Rest};
use super::ready::Task;
use crate::conn::{Activity, Connection, ConnectionId, Timeouts};
use crate::job::JobId;
use crate::observe::status::ByActivity;
use crate::observe::status::PeerUser;
use crate::settings::Role;
use crate::site::sites::LastSite;
use crate::store::event_sync::EventSync;
use crate::store::request::{RequestState, SendState};
use crate::sys::allocator::block_length;
use crate::transport::{Flow, Transport};

/// The table grows by one part in so many, and by so many entries at least: doubling it would exceed a small budget.
const GROWTH_SHARE: usize = 4;
const GROWTH_COUNT_MIN: usize = 64;

/// Whether a connection is in an ordered list of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// It is, with the time at which it became idle, or held memory.
    Listed,
    /// It was not when it was last examined.
    Unlisted,
}

/// The client of a connection, as far as responses depend on it.
#[derive(Debug)]
pub(super) struct Client {
    /// What it may request.
    pub role: Role,
    /// The site of its last request.
    pub last_site: LastSite,
    /// The user of the peer.
    pub user: PeerUser,
    /// Whether all changes made before its bytes were sent are known.
    pub event_sync: EventSync,
}

/// A connection with everything that belongs to it. Its protocol, transport, request and response are one field each.
/// The other fields are its positions in the lists of the loop.
#[derive(Debug)]
pub(super) struct Connected {
    /// The transport, which is closed on drop.
    pub transport: Transport,
    /// The protocol.
    pub connection: Connection,
    /// The client.
    pub client: Client,
    /// Whether it is in the list of connections with something to do.
    pub queued: bool,
    /// The request that waits for a response.
    pub request: RequestState,
    /// The response that is being sent. With pipelining it may precede that of `request`.
    pub sending: SendState,
    /// Its position in the wheel of deadlines.
    pub armed: Option<Armed>,
    /// Whether it is in the list of idle connections.
    place: Listing,
    /// Whether it is in the list of connections that hold memory.
    holding: Listing,
    /// Size of its buffers and log lines at the last count, in bytes.
    held_bytes: u64,
    generation: u32,
}

impl Connected {
    /// The jobs for which it waits.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> + use<> {
        self.request.job().into_iter().chain(self.sending.job())
    }

    /// Its next deadline: of the connection itself, or of a request that waits for the disk.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let own = self.connection.deadline(timeouts);
        match self.request.job().is_none() && self.sending.job().is_none() {
            true => own,
            false => self.deadline_at_disk(own, timeouts.disk),
        }
    }

    #[cold]
    fn deadline_at_disk(&self, own: Option<Instant>, timeout: Duration) -> Option<Instant> {
        let deadlines = [
            own,
            self.request.deadline(timeout),
            self.sending.deadline(timeout),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Its next task.
    pub(super) fn task(&self) -> Task {
        match self.connection.outbox().is_empty() {
            true => Task::Input,
            false => Task::Sending,
        }
    }

    /// Since when its peer accepts nothing, while the response holds a file open that could be reopened later.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        let is_stalled = self.transport.output() == Flow::Blocked
            && self.sending.job().is_none()
            && self.connection.outbox().holds_file();
        is_stalled.then(|| self.connection.since())
    }

    /// Whether it has to be added to the list of idle connections.
    pub(super) fn is_unlisted(&self) -> bool {
        self.place == Listing::Unlisted
    }

    /// A new connection: there may be bytes already.
    pub(super) fn new(transport: Transport, connection: Connection, role: Role) -> Connected {
        Connected {
            transport,
            connection,
            client: Client {
                role,
                last_site: LastSite::default(),
                user: PeerUser::NotLookedUp,
                event_sync: EventSync::default(),
            },
            queued: false,
            request: RequestState::default(),
            sending: SendState::default(),
            armed: None,
            place: Listing::Listed,
            holding: Listing::Unlisted,
            held_bytes: 0,
            generation: 0,
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    table: Slab<Connected>,
    generation: u32,
    accepted: u64,
    idle_order: IdleOrder,
    given_up: u64,
    /// Memory that all of them hold, in bytes.
    held_bytes: u64,
    holding_order: IdleOrder,
    holders_given_up: u64,
}

impl Connections {
    /// Adds a connection.
    pub(super) fn insert(&mut self, mut connected: Connected) -> ConnectionId {
        self.generation = self.generation.wrapping_add(1);
        self.accepted += 1;
        connected.generation = self.generation;
        let since = connected.connection.rests_since();
        if self.table.len() == self.table.capacity() {
            let more = (self.table.len() / GROWTH_SHARE).max(GROWTH_COUNT_MIN);
            self.table.reserve_exact(more);
        }
        let index = self.table.insert(connected);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let id = ConnectionId {
            index,
            generation: self.generation,
        };
        // Every connection begins idle.
        if let Some(since) = since {
            self.idle_order.push(since, id);
        }
        id
    }

    /// Adds a connection that is idle again to the list of idle ones.
    pub(super) fn list(&mut self, id: ConnectionId) {
        let Connections {
            table, idle_order, ..
        } = self;
        if let Some(connected) = table.get_mut(id.index as usize)
            && let Some(since) = connected.connection.rests_since()
        {
            connected.place = Listing::Listed;
            idle_order.push(since, id);
        }
    }

    /// The connection that has been idle for longest.
    pub(super) fn oldest_idle(&mut self) -> Oldest {
        let Connections {
            table, idle_order, ..
        } = self;
        idle_order.oldest(|id| {
            let connected = table.get_mut(id.index as usize);
            match connected.filter(|connected| connected.generation == id.generation) {
                None => Rest::Gone,
                Some(connected) => match connected.connection.rests_since() {
                    Some(since) => Rest::Since(since),
                    None => {
                        connected.place = Listing::Unlisted;
                        Rest::Busy
                    }
                },
            }
        })
    }

    /// Counts the memory of a connection after it was driven.
    pub(super) fn account(&mut self, id: ConnectionId) -> Option<&mut Connected> {
        let Connections {
            table,
            held_bytes,
            holding_order,
            ..
        } = self;
        let connected = table.get_mut(id.index as usize)?;
        if connected.generation != id.generation {
            return None;
        }
        let held = connected.connection.held_bytes();
        if held != connected.held_bytes {
            *held_bytes = *held_bytes + held - connected.held_bytes;
            connected.held_bytes = held;
        }
        if held > 0 && connected.holding == Listing::Unlisted {
            connected.holding = Listing::Listed;
            holding_order.push(connected.connection.since(), id);
        }
        Some(connected)
    }

    /// Memory that connections hold, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// The connection that holds memory and has made no progress for longest.
    pub(super) fn oldest_holder(&mut self) -> Oldest {
        let Connections {
            table,
            holding_order,
            ..
        } = self;
        holding_order.oldest(|id| {
            let connected = table.get_mut(id.index as usize);
            match connected.filter(|connected| connected.generation == id.generation) {
                None => Rest::Gone,
                Some(connected) if connected.held_bytes > 0 => {
                    Rest::Since(connected.connection.since())
                }
                Some(connected) => {
                    connected.holding = Listing::Unlisted;
                    Rest::Busy
                }
            }
        })
    }

    /// Counts a connection that was closed for its memory.
    pub(super) fn note_holder_given_up(&mut self) {
        self.holders_given_up += 1;
    }

    /// Connections closed for their memory since the start.
    pub(super) fn holders_given_up(&self) -> u64 {
        self.holders_given_up
    }

    /// Counts an idle connection that was closed for a new one.
    pub(super) fn note_given_up(&mut self) {
        self.given_up += 1;
    }

    /// Idle connections closed for new ones since the start.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// The connection with this identifier, if it is still open.
    pub(super) fn find(&mut self, id: ConnectionId) -> Option<&mut Connected> {
        let connected = self.table.get_mut(id.index as usize)?;
        (connected.generation == id.generation).then_some(connected)
    }

    /// Whether an entry in the wheel of deadlines belongs to an open connection.
    pub(super) fn stands_at(&mut self, id: ConnectionId, armed: Armed) -> bool {
        let connected = self.find(id);
        connected.is_some_and(|connected| connected.armed == Some(armed))
    }

    /// The connection at an index of the table.
    pub(super) fn at(&mut self, index: usize) -> Option<(ConnectionId, &mut Connected)> {
        let connected = self.table.get_mut(index)?;
        let index = u32::try_from(index).ok()?;
        Some((
            ConnectionId {
                index,
                generation: connected.generation,
            },
            connected,
        ))
    }

    /// Removes a connection; its socket is closed on drop.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connected> {
        self.find(id)?;
        let removed = self.table.try_remove(id.index as usize)?;
        self.held_bytes -= removed.held_bytes;
        let table = &self.table;
        let is_open = |id: ConnectionId| {
            let connected = table.get(id.index as usize);
            connected.is_some_and(|connected| connected.generation == id.generation)
        };
        if removed.place == Listing::Listed {
            self.idle_order.note_gone(is_open);
        }
        if removed.holding == Listing::Listed {
            self.holding_order.note_gone(is_open);
        }
        Some(removed)
    }

    /// The identifiers of all connections, in the order of the table.
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        let name = |(index, connected): (usize, &Connected)| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            ConnectionId {
                index,
                generation: connected.generation,
            }
        };
        self.table.iter().map(name).collect()
    }

    /// Memory of the table in bytes.
    pub(super) fn table_bytes(&self) -> u64 {
        // An entry of the table is a connection or a link to the next free entry.
        block_length(self.table.capacity() * (size_of::<Connected>() + size_of::<usize>()))
            + block_length(self.idle_order.bytes())
            + block_length(self.holding_order.bytes())
    }

    /// Memory of the buffers of connections, in bytes. O(connections).
    pub(super) fn buffer_bytes(&self) -> u64 {
        let all = self.table.iter();
        all.map(|(_, connected)| connected.connection.buffer_bytes())
            .sum()
    }

    /// Memory of their log lines, in bytes. O(connections).
    pub(super) fn log_bytes(&self) -> u64 {
        let all = self.table.iter();
        all.map(|(_, connected)| connected.connection.log_bytes())
            .sum()
    }

    /// Idle connections, and since when. O(connections).
    pub(super) fn idle(&self) -> impl Iterator<Item = (Instant, ConnectionId)> {
        self.table.iter().filter_map(|(index, connected)| {
            let id = ConnectionId {
                index: u32::try_from(index).ok()?,
                generation: connected.generation,
            };
            Some((connected.connection.idle_since()?, id))
        })
    }

    /// Whether one of the first `count` connections is still open. O(connections).
    pub(super) fn has_one_before(&self, count: u64) -> bool {
        let age = self.accepted - count.min(self.accepted);
        // Generations are that count, and may have wrapped around.
        let is_before = |connected: &Connected| {
            u64::from(self.generation.wrapping_sub(connected.generation)) >= age
        };
        self.table.iter().any(|(_, connected)| is_before(connected))
    }

    /// Connections in a part of the table whose peers accept nothing, and since when.
    pub(super) fn stalled(
        &self,
        places: Range<usize>,
    ) -> impl Iterator<Item = (Instant, ConnectionId)> {
        places.filter_map(|index| {
            let connected = self.table.get(index)?;
            let id = ConnectionId {
                index: u32::try_from(index).ok()?,
                generation: connected.generation,
            };
            Some((connected.stalled_since()?, id))
        })
    }

    /// Size of the table in entries.
    pub(super) fn place_count(&self) -> usize {
        self.table.capacity()
    }

    /// Number of connections whose responses gave up their files. O(connections): for /status.
    pub(super) fn parked_count(&self) -> usize {
        let all = self.table.iter();
        all.filter(|(_, connected)| connected.connection.outbox().is_parked())
            .count()
    }

    /// Number of open connections.
    pub(super) fn count(&self) -> usize {
        self.table.len()
    }

    /// Number of accepted connections since the start.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Number of connections by activity. O(connections): for /status.
    pub(super) fn by_activity(&self) -> ByActivity {
        let mut counts = ByActivity::default();
        for (_, connected) in &self.table {
            let count = match connected.connection.activity() {
                _ if connected.jobs().next().is_some() => &mut counts.waiting,
                Activity::Idle => &mut counts.idle,
                Activity::Receiving => &mut counts.receiving,
                // A connection that requests the status page waits only for its rendering.
                Activity::Waiting | Activity::Sending => &mut counts.sending,
                Activity::Lingering => &mut counts.lingering,
            };
            *count += 1;
        }
        counts
    }
}
