//! What names a connection, and a request on it.

/// Names a connection for as long as the process lives: an index is used again, the pair is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Which user of its place. Comes first in the order, which so is that of their acceptance: it decides
    /// between connections that rest since the same iteration of the loop.
    pub generation: u32,
    /// Place in the table; also the token of its events.
    pub index: u32,
}

/// Names a stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(u32);

impl StreamId {
    /// The only stream of an HTTP/1.1 connection: it answers one request after the other.
    pub const HTTP1: StreamId = StreamId(0);
}

/// Names the request that a stream of a connection carries now. Jobs, deadlines and deliveries belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The connection.
    pub connection: ConnectionId,
    /// The stream of that connection.
    pub stream: StreamId,
}

impl RequestId {
    /// The request of an HTTP/1.1 connection.
    pub fn http1(connection: ConnectionId) -> RequestId {
        RequestId {
            connection,
            stream: StreamId::HTTP1,
        }
    }
}
