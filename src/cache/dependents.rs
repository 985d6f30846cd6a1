//! What depends on which name in which directory, so that a change touches just that.
//!
//! ```text
//!   (directory, name) ──► links ──► what depends on it
//!                               └─► a group: the names on the way to a directory, on which all depend
//!                                   that look something up there
//! ```
//!
//! Links of one name stand in a list, and so do those of one dependent, so adding and removing cost O(names of
//! the one that is added or removed), however many depend on one name. What has a way to its directory in common
//! shares it as a group: a dependent costs one link for each name in its last directory, however deep that is.
//! A dependent is removed by dropping its [`Ticket`].

use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::arena::Arena;

mod links;
mod ticket;

pub(crate) use links::{DirectoryId, Key};
use links::{Links, NONE, NOWHERE, Of};
pub(crate) use ticket::{Released, Ticket};

/// Names on which many depend.
#[derive(Debug)]
struct Group {
    keys: Rc<[Key]>,
    /// The directory that all of them have a name in.
    directory: DirectoryId,
    first: u32,
    member_count: u32,
}

/// The table. `T` is what depends.
#[derive(Debug)]
pub(crate) struct Dependents<T> {
    links: Links<T>,
    groups: Arena<Group>,
    /// Groups by the directory that they lead to and their names.
    by_keys: HashMap<(DirectoryId, Rc<[Key]>), u32, RandomState>,
    released: Released,
}

impl<T> Default for Dependents<T> {
    fn default() -> Dependents<T> {
        Dependents {
            links: Links::default(),
            groups: Arena::default(),
            by_keys: HashMap::default(),
            released: Rc::default(),
        }
    }
}

impl<T> Dependents<T> {
    /// Takes something in that depends on these names. The last of them is in the directory in which it was
    /// looked up.
    pub(crate) fn add(&mut self, target: T, mut keys: Vec<Key>) -> Ticket {
        let directory = keys.last().map_or(NOWHERE, |key| key.directory);
        keys.sort_unstable();
        keys.dedup();
        let (own, shared): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| key.directory == directory);
        let group = match shared.is_empty() {
            true => NONE,
            false => self.join(directory, shared),
        };
        let first = self
            .links
            .link_all(own.into_iter(), |_| Of::Target(target), Of::First);
        if let Some(link) = self.links.peek_mut(first) {
            link.group = group;
        }
        Ticket::of(first, &self.released)
    }

    /// Replaces a dependent.
    pub(crate) fn replace(&mut self, link: u32, by: impl FnOnce(T) -> T) {
        if let Some(link) = self.links.peek_mut(link) {
            let whose = std::mem::replace(&mut link.of, Of::Group(NONE));
            link.of = match whose {
                Of::Target(target) => Of::Target(by(target)),
                whose => whose,
            };
        }
    }

    /// The group of these names, with another member.
    fn join(&mut self, directory: DirectoryId, keys: Vec<Key>) -> u32 {
        let keys: Rc<[Key]> = keys.into();
        let known = self.by_keys.get(&(directory, Rc::clone(&keys)));
        if let Some(number) = known {
            if let Some(group) = self.groups.peek_mut(*number) {
                group.member_count += 1;
            }
            return *number;
        }
        let number = self.groups.next();
        let of = |_| Of::Group(number);
        let first = self.links.link_all(keys.iter().copied(), of, of);
        self.by_keys.insert((directory, Rc::clone(&keys)), number);
        self.groups.insert(Group {
            keys,
            directory,
            first,
            member_count: 1,
        })
    }

    /// Gives what depends on a name to `touch`.
    pub(crate) fn of(&self, key: Key, touch: &mut impl FnMut(&T)) {
        if let Some(first) = self.links.first(key) {
            self.touch_list(first, touch);
        }
    }

    /// Gives what depends on any name in a directory to `touch`; some more than once.
    pub(crate) fn of_directory(&self, directory: DirectoryId, touch: &mut impl FnMut(&T)) {
        for first in self.links.of_directory(directory) {
            self.touch_list(first, touch);
        }
    }

    fn touch_list(&self, first: u32, touch: &mut impl FnMut(&T)) {
        for link in self.links.list(first) {
            match &link.of {
                Of::Target(target) => touch(target),
                Of::First(first) => self.touch_target(*first, touch),
                Of::Group(group) => self.touch_members(*group, touch),
            }
        }
    }

    fn touch_target(&self, first: u32, touch: &mut impl FnMut(&T)) {
        if let Some(Of::Target(target)) = self.links.peek(first).map(|link| &link.of) {
            touch(target);
        }
    }

    /// All members of a group have a name in its directory, so they are found there.
    fn touch_members(&self, number: u32, touch: &mut impl FnMut(&T)) {
        let Some(group) = self.groups.peek(number) else {
            return;
        };
        let names = self.links.of_directory(group.directory);
        for link in names.flat_map(|first| self.links.list(first)) {
            if link.group == number
                && let Of::Target(target) = &link.of
            {
                touch(target);
            }
        }
    }

    /// Whether anything depends on a name in a directory.
    pub(crate) fn needs(&self, directory: DirectoryId) -> bool {
        self.links.needs(directory)
    }

    /// Removes the dependents whose tickets were dropped since the last call. `gone` gets each, and `unneeded` the
    /// directories on which nothing depends any more.
    pub(crate) fn collect(&mut self, mut gone: impl FnMut(T), unneeded: &mut Vec<DirectoryId>) {
        loop {
            let Some(first) = self.released.borrow_mut().pop() else {
                return;
            };
            let group = self.links.peek(first).map_or(NONE, |link| link.group);
            if let Some(Of::Target(target)) = self.links.unlink_all(first, unneeded) {
                self.leave(group, unneeded);
                gone(target);
            }
        }
    }

    fn leave(&mut self, number: u32, unneeded: &mut Vec<DirectoryId>) {
        let Some(group) = self.groups.peek_mut(number) else {
            return;
        };
        group.member_count -= 1;
        if group.member_count == 0
            && let Some(group) = self.groups.remove(number)
        {
            self.by_keys.remove(&(group.directory, group.keys));
            self.links.unlink_all(group.first, unneeded);
        }
    }

    /// Bytes that the table takes.
    pub(crate) fn bytes(&self) -> usize {
        let group = size_of::<((DirectoryId, Rc<[Key]>), u32)>() + 1;
        self.links.bytes() + self.groups.bytes() + self.by_keys.capacity() * 8 / 7 * group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(directory: DirectoryId, name: u32) -> Key {
        Key { directory, name }
    }

    fn drawn(next: &mut impl FnMut(u64) -> u64) -> Key {
        let mut small = |from| u32::try_from(next(4)).expect("small") + from;
        key(small(1).cast_signed(), small(0))
    }

    #[test]
    fn a_deep_directory_costs_each_of_its_files_one_link() {
        let mut table: Dependents<u64> = Dependents::default();
        let deep = |name| (1..10).map(|level| key(level, 0)).chain([key(10, name)]);
        let tickets: Vec<Ticket> = (1..=1_000)
            .map(|name| table.add(name.into(), deep(name).collect()))
            .collect();
        let bytes = table.bytes() / tickets.len();
        assert!(bytes <= 60, "{bytes} bytes for each");
        let mut touched = 0;
        table.of(key(5, 0), &mut |_| touched += 1);
        assert_eq!(touched, 1_000);
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
                let keys: Vec<Key> = (0..next(5)).map(|_| drawn(&mut next)).collect();
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
            let asked = drawn(&mut next);
            let mut got: Vec<u32> = Vec::new();
            table.of(asked, &mut |number| got.push(*number));
            let mut want: Vec<u32> = model
                .iter()
                .filter(|(_, keys, _)| keys.contains(&asked))
                .map(|(number, ..)| *number)
                .collect();
            got.sort_unstable();
            want.sort_unstable();
            assert_eq!(got, want, "{asked:?}");
        }
        drop(model);
        let mut unneeded = Vec::new();
        table.collect(|_| (), &mut unneeded);
        assert!((1..5).all(|directory| !table.needs(directory)));
    }
}
