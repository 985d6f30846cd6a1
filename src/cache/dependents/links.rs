//! Names in directories, and the lists of what depends on each.
//!
//! Links of one name stand in a list, and so do those of one dependent. Who that is, this does not know.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::cache::arena::Arena;
use crate::sys::allocator::block_length;

/// A directory, by the number that the kernel has given its watch: at least 1, and not given again.
pub(crate) type DirectoryId = i32;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The directory.
    pub(crate) directory: DirectoryId,
    /// A hash of the name. Two names of one hash are told of each other's changes.
    pub(crate) name: u32,
}

/// No link, no group.
pub(super) const NONE: u32 = u32::MAX;
/// What depends on nothing has its link here.
pub(super) const NOWHERE: DirectoryId = 0;

/// Whose a link is.
#[derive(Debug)]
pub(super) enum Of<T> {
    /// The first link of something that depends.
    Target(T),
    /// Another link of it; the number of its first.
    First(u32),
    /// A link of a group.
    Group(u32),
}

/// One name that something depends on.
#[derive(Debug)]
pub(super) struct Link<T> {
    pub(super) of: Of<T>,
    key: Key,
    /// Others that depend on the same name.
    next: u32,
    previous: u32,
    /// The next link of the same dependent.
    sibling: u32,
    /// The group that it depends on besides; with the first link.
    pub(super) group: u32,
}

/// All links, found by their number and by the name that they are for.
#[derive(Debug)]
pub(super) struct Links<T> {
    arena: Arena<Link<T>>,
    /// The first link of each name, by directory.
    directories: HashMap<DirectoryId, HashTable<u32>, RandomState>,
    /// Bytes of the tables of names.
    name_bytes: usize,
}

impl<T> Default for Links<T> {
    fn default() -> Links<T> {
        Links {
            arena: Arena::default(),
            directories: HashMap::default(),
            name_bytes: 0,
        }
    }
}

/// Bytes of a table of names, in whole blocks.
fn table_length(names: &HashTable<u32>) -> usize {
    usize::try_from(block_length(names.allocation_size())).unwrap_or(usize::MAX)
}

fn spread(name: u32) -> u64 {
    u64::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<T> Links<T> {
    /// A link by its number.
    pub(super) fn peek(&self, number: u32) -> Option<&Link<T>> {
        self.arena.peek(number)
    }

    /// The same, to be changed.
    pub(super) fn peek_mut(&mut self, number: u32) -> Option<&mut Link<T>> {
        self.arena.peek_mut(number)
    }

    /// The first link of a name.
    pub(super) fn first(&self, key: Key) -> Option<u32> {
        let is_name = |other: &u32| {
            let link = self.arena.peek(*other);
            link.is_some_and(|link| link.key.name == key.name)
        };
        let names = self.directories.get(&key.directory)?;
        names.find(spread(key.name), is_name).copied()
    }

    /// The first link of each name in a directory.
    pub(super) fn of_directory(&self, directory: DirectoryId) -> impl Iterator<Item = u32> {
        let names = self.directories.get(&directory);
        names.into_iter().flatten().copied()
    }

    /// Whether there is a link for a name in a directory.
    pub(super) fn needs(&self, directory: DirectoryId) -> bool {
        self.directories.contains_key(&directory)
    }

    /// Makes the links of one dependent, at least one, and gives the number of the first.
    pub(super) fn link_all(
        &mut self,
        mut keys: impl Iterator<Item = Key>,
        first_of: impl FnOnce(u32) -> Of<T>,
        other_of: impl Fn(u32) -> Of<T>,
    ) -> u32 {
        let nowhere = Key {
            directory: NOWHERE,
            name: 0,
        };
        let first = self.arena.next();
        self.link(keys.next().unwrap_or(nowhere), first_of(first));
        for key in keys {
            let number = self.link(key, other_of(first));
            let sibling = self
                .arena
                .peek_mut(first)
                .map(|link| std::mem::replace(&mut link.sibling, number));
            if let (Some(sibling), Some(link)) = (sibling, self.arena.peek_mut(number)) {
                link.sibling = sibling;
            }
        }
        first
    }

    fn link(&mut self, key: Key, of: Of<T>) -> u32 {
        let number = self.arena.insert(Link {
            of,
            key,
            next: NONE,
            previous: NONE,
            sibling: NONE,
            group: NONE,
        });
        if key.directory == NOWHERE {
            return number;
        }
        let Links {
            arena,
            directories,
            name_bytes,
        } = self;
        let names = directories.entry(key.directory).or_default();
        let is_name = |other: &u32| {
            let link = arena.peek(*other);
            link.is_some_and(|link| link.key.name == key.name)
        };
        if let Some(head) = names.find_mut(spread(key.name), is_name) {
            let next = std::mem::replace(head, number);
            if let Some(link) = arena.peek_mut(next) {
                link.previous = number;
            }
            if let Some(link) = arena.peek_mut(number) {
                link.next = next;
            }
            return number;
        }
        let hash_of = |other: &u32| {
            let link = arena.peek(*other);
            link.map_or(0, |link| spread(link.key.name))
        };
        *name_bytes -= table_length(names);
        names.insert_unique(spread(key.name), number, hash_of);
        *name_bytes += table_length(names);
        number
    }

    /// The links of one name, from this one on.
    pub(super) fn list(&self, first: u32) -> impl Iterator<Item = &Link<T>> {
        std::iter::successors(self.arena.peek(first), |link| self.arena.peek(link.next))
    }

    /// Takes all links of one dependent out, and gives whose the first was.
    pub(super) fn unlink_all(
        &mut self,
        first: u32,
        unneeded: &mut Vec<DirectoryId>,
    ) -> Option<Of<T>> {
        let mut whose = None;
        let mut number = first;
        while let Some(link) = self.arena.remove(number) {
            self.unlink(number, link.key, link.next, link.previous, unneeded);
            number = link.sibling;
            whose.get_or_insert(link.of);
        }
        whose
    }

    fn unlink(
        &mut self,
        number: u32,
        key: Key,
        next: u32,
        previous: u32,
        unneeded: &mut Vec<DirectoryId>,
    ) {
        if let Some(link) = self.arena.peek_mut(next) {
            link.previous = previous;
        }
        if let Some(link) = self.arena.peek_mut(previous) {
            link.next = next;
            return;
        }
        let Some(names) = self.directories.get_mut(&key.directory) else {
            return;
        };
        if let Ok(mut head) = names.find_entry(spread(key.name), |head| *head == number) {
            match next {
                NONE => drop(head.remove()),
                next => *head.get_mut() = next,
            }
        }
        if names.is_empty() {
            self.name_bytes -= table_length(names);
            self.directories.remove(&key.directory);
            unneeded.push(key.directory);
        }
    }

    /// Bytes that the links and their tables take.
    pub(super) fn bytes(&self) -> usize {
        let directory = size_of::<(DirectoryId, HashTable<u32>)>() + 1;
        self.arena.bytes() + self.name_bytes + self.directories.capacity() * 8 / 7 * directory
    }
}
