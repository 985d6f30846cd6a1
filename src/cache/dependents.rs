//! What depends on which name in which directory, so that a change touches just that.
//!
//! ```text
//!   (directory, name) ──► places ──► held: what depends, and its keys with its place in each
//! ```
//!
//! Each side knows where it stands in the other, so adding and removing cost O(keys of the one that
//! is added or removed), however many depend on one name: all of a site depends on the first
//! directories of its paths. What is removed says so by dropping its [`Ticket`], whoever holds it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use slab::Slab;

/// A directory, by the number that the kernel has given its watch; it is not given again.
pub type DirectoryId = i32;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The directory.
    pub directory: DirectoryId,
    /// A hash of the name. Two names of one hash are told of each other's changes.
    pub name: u64,
}

/// Keeps a place in the table; dropping it gives the place up.
#[derive(Debug)]
pub struct Ticket {
    slot: usize,
    released: Rc<RefCell<Vec<usize>>>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.released.borrow_mut().push(self.slot);
    }
}

/// Where one of those who depend on a name has it among its keys.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: usize,
    index: usize,
}

#[derive(Debug)]
struct Held<T> {
    target: T,
    /// Its keys, and its place among those of each.
    keys: Box<[(Key, usize)]>,
}

/// The table. `T` is what depends.
#[derive(Debug)]
pub struct Dependents<T> {
    directories: HashMap<DirectoryId, HashMap<u64, Vec<Place>, RandomState>, RandomState>,
    held: Slab<Held<T>>,
    released: Rc<RefCell<Vec<usize>>>,
}

impl<T> Default for Dependents<T> {
    fn default() -> Dependents<T> {
        Dependents {
            directories: HashMap::default(),
            held: Slab::new(),
            released: Rc::default(),
        }
    }
}

impl<T> Dependents<T> {
    /// Takes something in that depends on these names.
    pub fn add(&mut self, target: T, mut keys: Vec<Key>) -> Ticket {
        keys.sort_unstable();
        keys.dedup();
        let slot = self.held.vacant_key();
        let keys = keys.into_iter().enumerate().map(|(index, key)| {
            let names = self.directories.entry(key.directory).or_default();
            let places = names.entry(key.name).or_default();
            places.push(Place { slot, index });
            (key, places.len() - 1)
        });
        let keys = keys.collect();
        self.held.insert(Held { target, keys });
        Ticket {
            slot,
            released: Rc::clone(&self.released),
        }
    }

    /// Those that depend on a name.
    pub fn of(&self, key: Key) -> impl Iterator<Item = &T> {
        let places = self
            .directories
            .get(&key.directory)
            .and_then(|names| names.get(&key.name));
        places
            .into_iter()
            .flatten()
            .filter_map(|place| self.held.get(place.slot))
            .map(|held| &held.target)
    }

    /// Those that depend on any name in a directory; some more than once.
    pub fn of_directory(&self, directory: DirectoryId) -> impl Iterator<Item = &T> {
        let names = self.directories.get(&directory);
        names
            .into_iter()
            .flat_map(HashMap::values)
            .flatten()
            .filter_map(|place| self.held.get(place.slot))
            .map(|held| &held.target)
    }

    /// Whether anything depends on a name in a directory.
    pub fn needs(&self, directory: DirectoryId) -> bool {
        self.directories.contains_key(&directory)
    }

    /// Takes out what was given up since the last time. `gone` is given what it was, and the
    /// directories that nothing needs any more.
    pub fn collect(&mut self, mut gone: impl FnMut(T), unneeded: &mut Vec<DirectoryId>) {
        loop {
            let Some(slot) = self.released.borrow_mut().pop() else {
                return;
            };
            let Some(held) = self.held.try_remove(slot) else {
                continue;
            };
            for (key, at) in held.keys {
                self.remove(key, at, unneeded);
            }
            gone(held.target);
        }
    }

    fn remove(&mut self, key: Key, at: usize, unneeded: &mut Vec<DirectoryId>) {
        let Some(names) = self.directories.get_mut(&key.directory) else {
            return;
        };
        let Some(places) = names.get_mut(&key.name) else {
            return;
        };
        places.swap_remove(at);
        if let Some(moved) = places.get(at)
            && let Some(held) = self.held.get_mut(moved.slot)
        {
            held.keys[moved.index].1 = at;
        }
        if places.is_empty() {
            names.remove(&key.name);
            if names.is_empty() {
                self.directories.remove(&key.directory);
                unneeded.push(key.directory);
            }
        }
    }

    /// How many depend on something.
    pub fn count(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(directory: DirectoryId, name: u64) -> Key {
        Key { directory, name }
    }

    /// Against a plain list, whatever is done to it.
    #[test]
    fn a_change_touches_just_what_depends_on_it() {
        let mut table = Dependents::default();
        let mut model: Vec<(u32, Vec<Key>, Ticket)> = Vec::new();
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        for number in 0..4_000 {
            if next(2) == 0 || model.is_empty() {
                let keys: Vec<Key> = (0..next(5))
                    .map(|_| key(i32::try_from(next(4)).expect("small"), next(4)))
                    .collect();
                let ticket = table.add(number, keys.clone());
                model.push((number, keys, ticket));
            } else {
                let at = usize::try_from(next(model.len() as u64)).expect("small");
                let (number, keys, ticket) = model.swap_remove(at);
                drop(ticket);
                let (mut gone, mut unneeded) = (Vec::new(), Vec::new());
                table.collect(|target| gone.push(target), &mut unneeded);
                assert_eq!(gone, [number]);
                for directory in unneeded {
                    assert!(keys.iter().any(|key| key.directory == directory));
                    assert!(!table.needs(directory));
                }
            }
            let asked = key(i32::try_from(next(4)).expect("small"), next(4));
            let mut got: Vec<u32> = table.of(asked).copied().collect();
            let mut want: Vec<u32> = model
                .iter()
                .filter(|(_, keys, _)| keys.contains(&asked))
                .map(|(number, ..)| *number)
                .collect();
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!(got, want, "{asked:?}");
            assert_eq!(table.count(), model.len());
        }
        drop(model);
        let mut unneeded = Vec::new();
        table.collect(|_| (), &mut unneeded);
        assert!((0..4).all(|directory| !table.needs(directory)));
    }
}
