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

/// The table grows by one part in so many, and by so many places at least: twice as many would be more than
/// a small budget has.
const GROWTH_SHARE: usize = 4;
const GROWTH_COUNT_MIN: usize = 64;

/// Whether a connection stands in an order of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// With a moment since when it rested, or held memory, once.
    Listed,
    /// It did not when it was looked at last.
    Unlisted,
}

/// Who asks on a connection, as far as answers depend on it.
#[derive(Debug)]
pub(super) struct Client {
    /// What it may ask for.
    pub role: Role,
    /// The site of its last request.
    pub last_site: LastSite,
    /// The user at the other end.
    pub user: PeerUser,
    /// Whether the changes are known that were made before its bytes were sent.
    pub event_sync: EventSync,
}

/// A connection, and all that goes with it. Its protocol, its transport, what it asks and what is answered are
/// each one field; the others say where it stands in the lists of the loop.
#[derive(Debug)]
pub(super) struct Connected {
    /// The way to the peer; closed when this is dropped.
    pub transport: Transport,
    /// The protocol.
    pub connection: Connection,
    /// Who asks.
    pub client: Client,
    /// Whether it stands in the list of those that have something to do.
    pub queued: bool,
    /// The request for which an answer is looked for.
    pub request: RequestState,
    /// The answer that is being sent. One before that of `request`, where several were asked for at once.
    pub sending: SendState,
    /// Where it stands in the wheel of deadlines.
    pub armed: Option<Armed>,
    /// Whether it stands in the order of idle connections.
    place: Listing,
    /// Whether it stands in the order of those that hold memory.
    holding: Listing,
    /// Bytes of its buffers and log lines, as they were last counted.
    held_bytes: u64,
    generation: u32,
}

impl Connected {
    /// The jobs that it waits for.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> + use<> {
        self.request.job().into_iter().chain(self.sending.job())
    }

    /// When something about it has taken too long: its own time, or that of what waits for the disk.
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

    /// What it has to do next.
    pub(super) fn task(&self) -> Task {
        match self.connection.outbox().is_empty() {
            true => Task::Input,
            false => Task::Sending,
        }
    }

    /// Since when its peer takes nothing, though an answer holds a file open that could be opened again later.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        let is_stalled = self.transport.output() == Flow::Blocked
            && self.sending.job().is_none()
            && self.connection.outbox().holds_file();
        is_stalled.then(|| self.connection.since())
    }

    /// Whether it is to be listed when it rests again.
    pub(super) fn is_unlisted(&self) -> bool {
        self.place == Listing::Unlisted
    }

    /// A connection just accepted: there may be bytes already.
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
    /// Bytes that all of them hold.
    held_bytes: u64,
    holding_order: IdleOrder,
    holders_given_up: u64,
}

impl Connections {
    /// Takes a connection in.
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
        // Every connection begins at rest.
        if let Some(since) = since {
            self.idle_order.push(since, id);
        }
        id
    }

    /// Puts a connection that rests again into the order of those that do.
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

    /// The connection that has rested longest.
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

    /// Counts what a connection holds now, after something has happened on it. Gives the connection, if it is still
    /// open.
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

    /// Bytes that connections hold.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// The connection that holds memory and has not got on for longest.
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

    /// Counts a connection that was closed for the memory that it held.
    pub(super) fn note_holder_given_up(&mut self) {
        self.holders_given_up += 1;
    }

    /// Connections closed for the memory that they held since the start.
    pub(super) fn holders_given_up(&self) -> u64 {
        self.holders_given_up
    }

    /// Counts an idle connection that gave its place up.
    pub(super) fn note_given_up(&mut self) {
        self.given_up += 1;
    }

    /// Idle connections that gave their places up since the start.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// The connection of a name, if it is still open.
    pub(super) fn find(&mut self, id: ConnectionId) -> Option<&mut Connected> {
        let connected = self.table.get_mut(id.index as usize)?;
        (connected.generation == id.generation).then_some(connected)
    }

    /// Whether an entry in the wheel of deadlines is that of an open connection.
    pub(super) fn stands_at(&mut self, id: ConnectionId, armed: Armed) -> bool {
        let connected = self.find(id);
        connected.is_some_and(|connected| connected.armed == Some(armed))
    }

    /// Who is at a place now.
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

    /// Takes a connection out; its socket is closed when it is dropped.
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

    /// The names of all, in the order of their places.
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

    /// Bytes of the table.
    pub(super) fn table_bytes(&self) -> u64 {
        // An entry of the table is a connection or the next free place.
        block_length(self.table.capacity() * (size_of::<Connected>() + size_of::<usize>()))
            + block_length(self.idle_order.bytes())
            + block_length(self.holding_order.bytes())
    }

    /// Bytes of the buffers that connections hold. O(connections).
    pub(super) fn buffer_bytes(&self) -> u64 {
        let all = self.table.iter();
        all.map(|(_, connected)| connected.connection.buffer_bytes())
            .sum()
    }

    /// Bytes of their log lines. O(connections).
    pub(super) fn log_bytes(&self) -> u64 {
        let all = self.table.iter();
        all.map(|(_, connected)| connected.connection.log_bytes())
            .sum()
    }

    /// Those that are idle, and since when. O(connections).
    pub(super) fn idle(&self) -> impl Iterator<Item = (Instant, ConnectionId)> {
        self.table.iter().filter_map(|(index, connected)| {
            let id = ConnectionId {
                index: u32::try_from(index).ok()?,
                generation: connected.generation,
            };
            Some((connected.connection.idle_since()?, id))
        })
    }

    /// Whether one is open that was so when `count` had been accepted. O(connections).
    pub(super) fn has_one_before(&self, count: u64) -> bool {
        let age = self.accepted - count.min(self.accepted);
        // Generations count the same, and may have begun anew.
        let is_before = |connected: &Connected| {
            u64::from(self.generation.wrapping_sub(connected.generation)) >= age
        };
        self.table.iter().any(|(_, connected)| is_before(connected))
    }

    /// Those at some places of the table whose peers take nothing: since when, and who.
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

    /// How many places the table has.
    pub(super) fn place_count(&self) -> usize {
        self.table.capacity()
    }

    /// Those with answers that have given their files up. O(connections): for /status.
    pub(super) fn parked_count(&self) -> usize {
        let all = self.table.iter();
        all.filter(|(_, connected)| connected.connection.outbox().is_parked())
            .count()
    }

    /// Open now.
    pub(super) fn count(&self) -> usize {
        self.table.len()
    }

    /// Accepted since the start.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many do what, now. O(connections): for /status.
    pub(super) fn by_activity(&self) -> ByActivity {
        let mut counts = ByActivity::default();
        for (_, connected) in &self.table {
            let count = match connected.connection.activity() {
                _ if connected.jobs().next().is_some() => &mut counts.waiting,
                Activity::Idle => &mut counts.idle,
                Activity::Receiving => &mut counts.receiving,
                // Whoever asks for the status page waits for nothing but its making.
                Activity::Waiting | Activity::Sending => &mut counts.sending,
                Activity::Lingering => &mut counts.lingering,
            };
            *count += 1;
        }
        counts
    }
}
