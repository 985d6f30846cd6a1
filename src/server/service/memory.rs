//! What the caches and the disk queue hold, by part of the budget.

use super::{BeingMapped, Service};
use crate::cache::entry::Entry;
use crate::cache::held::HeldCache;
use crate::disk::job::Job;
use crate::memory::{Part, Parts, table_bytes};
use crate::sys::allocator::block_length;
use crate::sys::file::FileVersion;
use crate::sys::memory::{Memory, copied_bytes, page_bytes};

/// Bytes of a reference-counted value: two counters before it.
fn counted<T>() -> u64 {
    block_length(size_of::<T>() + 2 * size_of::<usize>())
}

/// Bytes of the list and table of a cache: a node with two links for each entry, and a pair of pointers in the
/// table.
fn list_bytes<H>(cache: &HeldCache<H>) -> u64 {
    let node = size_of::<(FileVersion, H, [u64; 5])>() + 2 * size_of::<usize>();
    let count = cache.entry_count();
    count as u64 * block_length(node) + table_bytes(count, 2 * size_of::<usize>())
}

impl Service {
    /// Adds what it holds to the parts.
    pub(in crate::server) fn memory_bytes(&self, parts: &mut Parts) {
        parts.add(Part::Copies, copied_bytes());
        parts.add(Part::Pages, page_bytes());
        let mapped = self.maps.entry_count() as u64;
        let open = self.descriptors.entry_count() as u64;
        let files = list_bytes(&self.maps)
            + list_bytes(&self.descriptors)
            + mapped * counted::<Memory>()
            + open * counted::<crate::sys::file::OpenFile>()
            + self.watch.file_bytes()
            + table_bytes(
                self.being_mapped.capacity(),
                size_of::<(FileVersion, BeingMapped)>(),
            );
        parts.add(Part::Files, files);
        let paths = self.paths.entry_count() as u64;
        parts.add(Part::Paths, paths * counted::<Entry>());
        let waiting = self.disk.waiting_count() + self.disk.engine.depth();
        parts.add(Part::Jobs, waiting as u64 * block_length(size_of::<Job>()));
    }
}
