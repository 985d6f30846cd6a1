//! The caches: what paths lead to, mapped files, open descriptors; and what they count.
//!
//! Three tables with one rule each:
//!
//! - [`path::PathCache`]: a site and a raw path of it lead to an [`entry::Entry`], which is facts only: versions,
//!   rendered heads, or that there is nothing. It holds no file.
//! - [`content::ContentCache`] of mappings and of descriptors: a [`FileVersion`](crate::sys::file::FileVersion)
//!   leads to its bytes. A changed file is another key, so a length of one version can never be
//!   sent with bytes of another.
//!
//! `ranked.rs` decides for all of them who stays when there is not room for all; [`curve`] tells what
//! another size would give; `stats.rs` is what they count; `top.rs` lists what most bytes and misses go to.
//!
//! Nothing here opens, reads or looks at a clock. What is in use is reference-counted: eviction
//! forgets it, the last user closes or unmaps it.

pub(crate) mod arena;
pub mod content;
pub mod curve;
pub(crate) mod dependents;
pub mod entry;
mod ghost;
pub mod key;
mod meter;
pub(crate) mod past;
pub mod path;
mod ranked;
pub(crate) mod recency;
pub(crate) mod stats;
pub(crate) mod top;
mod weight;

pub(crate) use weight::entry_and_path_bytes;

/// Requests for a path after which its file is mapped: a file asked for once never enters the map.
pub(crate) const MAP_AFTER_REQUEST_COUNT: u32 = 2;
#[cfg(test)]
#[allow(unreachable_pub)]
mod workload;

/// Memory that a cache has allocated for itself, without that of its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct TableBytes {
    /// Its table of entries.
    pub(crate) table: u64,
    /// What is remembered of keys that are not held. Bounded.
    pub(crate) ghosts: u64,
    /// The miniatures that its curve is drawn with. Bounded.
    pub(crate) curve: u64,
}

impl TableBytes {
    /// Of a cache with its curve.
    fn of<K, V>(entries: &ranked::Ranked<K, V>, meter: &meter::Meter) -> TableBytes
    where
        K: Eq + std::hash::Hash,
    {
        let (table, ghosts) = entries.bytes();
        TableBytes {
            table: table as u64,
            ghosts: ghosts as u64,
            curve: meter.curve_bytes(),
        }
    }
}

/// What hashes are seeded with: peers choose paths, so by chance; in tests always the same.
#[cfg(not(test))]
pub(crate) fn key_hasher() -> foldhash::fast::SeedableRandomState {
    foldhash::fast::SeedableRandomState::random()
}

#[cfg(test)]
pub(crate) fn key_hasher() -> foldhash::fast::SeedableRandomState {
    use foldhash::SharedSeed;
    foldhash::fast::SeedableRandomState::with_seed(1, SharedSeed::global_fixed())
}
