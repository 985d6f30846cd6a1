//! What each part of the server holds, summed up.

use crate::memory::{Part, Parts};
use crate::observe::access_log::LogWriter;
use crate::server::connections::Connections;
use crate::server::deadlines::Deadlines;
use crate::server::driver::Driver;
use crate::store::Store;

/// Whoever holds memory.
pub(in crate::server) struct Holders<'a> {
    pub(in crate::server) store: &'a Store,
    pub(in crate::server) driver: &'a Driver,
    pub(in crate::server) connections: &'a Connections,
    pub(in crate::server) deadlines: &'a Deadlines,
    pub(in crate::server) log: &'a LogWriter,
}

/// Bytes by part, as each says. O(connections).
pub(in crate::server) fn gather(holders: &Holders<'_>) -> Parts {
    let Holders {
        store,
        driver,
        connections,
        deadlines,
        log,
    } = holders;
    let mut parts = Parts::default();
    store.memory_bytes(&mut parts);
    parts.add(
        Part::Connections,
        connections.table_bytes() + deadlines.memory_bytes(),
    );
    let buffers = connections.buffer_bytes() + driver.pool.memory_bytes();
    parts.add(Part::Buffers, buffers);
    let lines = driver.response_stats.memory_bytes() + log.memory_bytes();
    parts.add(Part::LogLines, lines + connections.log_bytes());
    parts
}
