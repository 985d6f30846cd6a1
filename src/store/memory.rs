//! The memory of the caches and of the disk queue by part of the budget, and evictions when the budget is used up.

use super::Store;
use crate::cache::{TableBytes, entry_and_path_bytes};
use crate::memory::plan::{Holdings, Kept, Victim};
use crate::memory::{Part, Parts};
use crate::site::rendered::head_bytes;
use crate::sys::allocator::block_length;
use crate::sys::file::OpenFile;
use crate::sys::file_place::FilePlace;
use crate::sys::memory::{Memory, copied_bytes, page_bytes};

/// Overhead of a reference-counted value, in bytes: two counters before it.
fn counted<T>() -> u64 {
    block_length(size_of::<T>() + 2 * size_of::<usize>())
}

/// Estimated length of the path of an open file: their sum is not known.
const PATH_LENGTH_ASSUMED: usize = 32;

/// Memory of an open file with its path, in bytes.
fn open_file_bytes() -> u64 {
    counted::<OpenFile>() + counted::<FilePlace>() + block_length(PATH_LENGTH_ASSUMED)
}

/// Memory of a cache without its entries, in bytes.
fn bookkeeping(bytes: TableBytes) -> u64 {
    bytes.ghosts + bytes.curve
}

impl Store {
    /// Adds the memory of the store to the parts.
    pub(crate) fn memory_bytes(&self, parts: &mut Parts) {
        let (maps, open, paths) = (
            self.contents.held.maps.table_bytes(),
            self.contents.held.descriptors.table_bytes(),
            self.paths.cache.table_bytes(),
        );
        let statistics = bookkeeping(maps) + bookkeeping(open) + bookkeeping(paths);
        parts.add(Part::Statistics, statistics + self.paths.top.memory_bytes());
        parts.add(Part::Copies, copied_bytes());
        parts.add(Part::Pages, page_bytes());
        let files = maps.table
            + open.table
            + self.contents.held.maps.entry_count() as u64 * counted::<Memory>()
            + self.contents.held.descriptors.entry_count() as u64 * open_file_bytes()
            + self.freshness.watch.file_bytes()
            + self.residency.memory_bytes();
        parts.add(Part::Files, files);
        let paths = paths.table + entry_and_path_bytes() + self.paths.past.memory_bytes();
        parts.add(Part::Paths, paths + self.freshness.rechecks.memory_bytes());
        parts.add(Part::Heads, head_bytes());
        parts.add(
            Part::Directories,
            self.freshness.watch.directories.memory_bytes(),
        );
        parts.add(Part::Jobs, self.jobs.memory_bytes());
    }

    /// Kernel memory for the caches. O(1).
    pub(crate) fn kept(&self) -> Kept {
        Kept {
            watches: self.freshness.watch.count() + self.freshness.watch.directories.count(),
            open_files: self.contents.held.descriptors.entry_count(),
            connections: 0,
        }
    }

    /// Memory of the entries of each cache, kernel memory included. O(1).
    fn holdings(&self) -> Holdings {
        let mapped = self.contents.held.maps.entry_count();
        let open = self.contents.held.descriptors.entry_count();
        let kept = |watches, open_files| Kept {
            watches,
            open_files,
            connections: 0,
        };
        Holdings {
            files: match mapped {
                0 => 0,
                _ => copied_bytes() + mapped as u64 * counted::<Memory>() + kept(mapped, 0).bytes(),
            },
            open_files: open as u64 * open_file_bytes() + kept(0, open).bytes(),
            paths: match self.paths.cache.entry_count() {
                0 => 0,
                _ => entry_and_path_bytes() + head_bytes(),
            },
        }
    }

    /// Evicts the least valuable entry of the largest cache. Returns whether there was one.
    pub(crate) fn give_way(&mut self) -> bool {
        match self.holdings().victim() {
            Some(Victim::Files) => match self.contents.held.maps.give_way() {
                Some((version, _)) => {
                    self.freshness.watch.remove(&version);
                    true
                }
                None => false,
            },
            Some(Victim::OpenFiles) => self.contents.held.descriptors.give_way().is_some(),
            Some(Victim::Paths) => {
                let (is_one, gone) = self.paths.give_way();
                if let Some(entry) = gone {
                    self.contents.held.release_descriptors(&entry);
                }
                is_one
            }
            None => false,
        }
    }

    /// Lets caches that were reduced grow a little.
    pub(crate) fn grow(&mut self) {
        self.contents.held.maps.grow();
        self.contents.held.descriptors.grow();
        self.paths.cache.grow();
    }
}
