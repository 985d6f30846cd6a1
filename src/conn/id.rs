//! What names a connection.

/// Names a connection for as long as the process lives: an index is used again, the pair is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Which user of its place. Comes first in the order, which so is that of their acceptance: it decides
    /// between connections that rest since the same iteration of the loop.
    pub generation: u32,
    /// Place in the table; also the token of its events.
    pub index: u32,
}
