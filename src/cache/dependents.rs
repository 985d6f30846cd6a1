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
//! What is removed says so by dropping its [`Ticket`], whoever holds it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::arena::Arena;
use crate::sys::allocator::block_length;

/// A directory, by the number that the kernel has given its watch: at least 1, and not given again.
pub type DirectoryId = i32;

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The directory.
    pub directory: DirectoryId,
    /// A hash of the name. Two names of one hash are told of each other's changes.
    pub name: u32,
}

/// Keeps a place in the table; dropping it gives the place up.
#[derive(Debug)]
pub struct Ticket {
    link: u32,
    released: Released,
}

/// Where places are given up.
pub type Released = Rc<RefCell<Vec<u32>>>;

impl Ticket {
    /// The ticket of a place that was [handed over](Ticket::hand_over).
    pub fn of(link: u32, released: &Released) -> Ticket {
        Ticket {
            link,
            released: Rc::clone(released),
        }
    }

    /// The number of the place, which somebody else gives up.
    pub fn hand_over(mut self) -> (u32, Released) {
        let link = std::mem::replace(&mut self.link, NONE);
        (link, Rc::clone(&self.released))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.link != NONE {
            self.released.borrow_mut().push(self.link);
        }
    }
}

/// No link, no group.
const NONE: u32 = u32::MAX;
/// What depends on nothing has its link here.
const NOWHERE: DirectoryId = 0;

/// Whose a link is.
#[derive(Debug)]
enum Of<T> {
    /// The first link of something that depends.
    Target(T),
    /// Another link of it; the number of its first.
    First(u32),
    /// A link of a group.
    Group(u32),
}

#[derive(Debug)]
struct Link<T> {
    of: Of<T>,
    key: Key,
    /// Others that depend on the same name.
    next: u32,
    previous: u32,
    /// The next link of the same dependent.
    sibling: u32,
    /// The group that it depends on besides; with the first link.
    group: u32,
}

/// Names on which many depend.
#[derive(Debug)]
struct Group {
    keys: Rc<[Key]>,
    /// The directory that all of them have a name in.
    directory: DirectoryId,
    first: u32,
    member_count: u32,
}

/// Bytes of a table of names, in whole blocks.
fn table_length(names: &HashTable<u32>) -> usize {
    usize::try_from(block_length(names.allocation_size())).unwrap_or(usize::MAX)
}

/// The table. `T` is what depends.
#[derive(Debug)]
pub struct Dependents<T> {
    /// The first link of each name, by directory.
    directories: HashMap<DirectoryId, HashTable<u32>, RandomState>,
    links: Arena<Link<T>>,
    groups: Arena<Group>,
    /// Groups by the directory that they lead to and their names.
    by_keys: HashMap<(DirectoryId, Rc<[Key]>), u32, RandomState>,
    count: usize,
    name_bytes: usize,
    released: Released,
}

impl<T> Default for Dependents<T> {
    fn default() -> Dependents<T> {
        Dependents {
            directories: HashMap::default(),
            links: Arena::default(),
            groups: Arena::default(),
            by_keys: HashMap::default(),
            count: 0,
            name_bytes: 0,
            released: Rc::default(),
        }
    }
}

fn spread(name: u32) -> u64 {
    u64::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<T> Dependents<T> {
    /// Bytes that something takes which depends on so many names in its last directory. The table of names is
    /// between half and seven eighths full, of places of five bytes.
    pub const fn bytes_of(name_count: usize) -> usize {
        name_count * (size_of::<Link<T>>() + 10)
    }

    /// Takes something in that depends on these names. The last of them is in the directory in which it was
    /// looked up.
    pub fn add(&mut self, target: T, mut keys: Vec<Key>) -> Ticket {
        let directory = keys.last().map_or(NOWHERE, |key| key.directory);
        keys.sort_unstable();
        keys.dedup();
        let (own, shared): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| key.directory == directory);
        let group = match shared.is_empty() {
            true => NONE,
            false => self.join(directory, shared),
        };
        let first = self.link_all(own.into_iter(), |_| Of::Target(target), Of::First);
        if let Some(link) = self.links.peek_mut(first) {
            link.group = group;
        }
        self.count += 1;
        Ticket {
            link: first,
            released: Rc::clone(&self.released),
        }
    }

    /// Puts another in the place of what depends.
    pub fn replace(&mut self, link: u32, by: impl FnOnce(T) -> T) {
        if let Some(link) = self.links.peek_mut(link) {
            let whose = std::mem::replace(&mut link.of, Of::Group(NONE));
            link.of = match whose {
                Of::Target(target) => Of::Target(by(target)),
                whose => whose,
            };
        }
    }

    /// Makes the links of one dependent, at least one, and gives the number of the first.
    fn link_all(
        &mut self,
        mut keys: impl Iterator<Item = Key>,
        first_of: impl FnOnce(u32) -> Of<T>,
        other_of: impl Fn(u32) -> Of<T>,
    ) -> u32 {
        let nowhere = Key {
            directory: NOWHERE,
            name: 0,
        };
        let first = self.links.next();
        self.link(keys.next().unwrap_or(nowhere), first_of(first));
        for key in keys {
            let number = self.link(key, other_of(first));
            let sibling = self
                .links
                .peek_mut(first)
                .map(|link| std::mem::replace(&mut link.sibling, number));
            if let (Some(sibling), Some(link)) = (sibling, self.links.peek_mut(number)) {
                link.sibling = sibling;
            }
        }
        first
    }

    fn link(&mut self, key: Key, of: Of<T>) -> u32 {
        let number = self.links.insert(Link {
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
        let Dependents {
            directories,
            links,
            name_bytes,
            ..
        } = self;
        let names = directories.entry(key.directory).or_default();
        let is_name = |other: &u32| {
            let link = links.peek(*other);
            link.is_some_and(|link| link.key.name == key.name)
        };
        if let Some(head) = names.find_mut(spread(key.name), is_name) {
            let next = std::mem::replace(head, number);
            if let Some(link) = links.peek_mut(next) {
                link.previous = number;
            }
            if let Some(link) = links.peek_mut(number) {
                link.next = next;
            }
            return number;
        }
        let hash_of = |other: &u32| {
            let link = links.peek(*other);
            link.map_or(0, |link| spread(link.key.name))
        };
        *name_bytes -= table_length(names);
        names.insert_unique(spread(key.name), number, hash_of);
        *name_bytes += table_length(names);
        number
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
        let first = self.link_all(keys.iter().copied(), of, of);
        self.by_keys.insert((directory, Rc::clone(&keys)), number);
        self.groups.insert(Group {
            keys,
            directory,
            first,
            member_count: 1,
        })
    }

    /// Gives what depends on a name to `touch`.
    pub fn of(&self, key: Key, touch: &mut impl FnMut(&T)) {
        let is_name = |other: &u32| {
            let link = self.links.peek(*other);
            link.is_some_and(|link| link.key.name == key.name)
        };
        let names = self.directories.get(&key.directory);
        if let Some(first) = names.and_then(|names| names.find(spread(key.name), is_name)) {
            self.touch_list(*first, touch);
        }
    }

    /// Gives what depends on any name in a directory to `touch`; some more than once.
    pub fn of_directory(&self, directory: DirectoryId, touch: &mut impl FnMut(&T)) {
        if let Some(names) = self.directories.get(&directory) {
            names
                .iter()
                .for_each(|first| self.touch_list(*first, touch));
        }
    }

    fn list(&self, first: u32) -> impl Iterator<Item = &Link<T>> {
        std::iter::successors(self.links.peek(first), |link| self.links.peek(link.next))
    }

    fn touch_list(&self, first: u32, touch: &mut impl FnMut(&T)) {
        for link in self.list(first) {
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
        let group = self.groups.peek(number);
        let names = group.and_then(|group| self.directories.get(&group.directory));
        for link in names
            .into_iter()
            .flatten()
            .flat_map(|name| self.list(*name))
        {
            if link.group == number
                && let Of::Target(target) = &link.of
            {
                touch(target);
            }
        }
    }

    /// Whether anything depends on a name in a directory.
    pub fn needs(&self, directory: DirectoryId) -> bool {
        self.directories.contains_key(&directory)
    }

    /// Takes out what was given up since the last time. `gone` is given what it was, and the
    /// directories that nothing needs any more.
    pub fn collect(&mut self, mut gone: impl FnMut(T), unneeded: &mut Vec<DirectoryId>) {
        loop {
            let Some(first) = self.released.borrow_mut().pop() else {
                return;
            };
            let group = self.links.peek(first).map_or(NONE, |link| link.group);
            if let Some(Of::Target(target)) = self.unlink_all(first, unneeded) {
                self.count -= 1;
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
            self.unlink_all(group.first, unneeded);
        }
    }

    /// Takes all links of one dependent out, and gives whose the first was.
    fn unlink_all(&mut self, first: u32, unneeded: &mut Vec<DirectoryId>) -> Option<Of<T>> {
        let mut whose = None;
        let mut number = first;
        while let Some(link) = self.links.remove(number) {
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
        if let Some(link) = self.links.peek_mut(next) {
            link.previous = previous;
        }
        if let Some(link) = self.links.peek_mut(previous) {
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

    /// How many depend on something.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the table takes.
    pub fn bytes(&self) -> usize {
        let directory = size_of::<(DirectoryId, HashTable<u32>)>() + 1;
        let group = size_of::<((DirectoryId, Rc<[Key]>), u32)>() + 1;
        self.links.bytes()
            + self.groups.bytes()
            + self.name_bytes
            + self.directories.capacity() * 8 / 7 * directory
            + self.by_keys.capacity() * 8 / 7 * group
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
            assert_eq!(table.count(), model.len());
        }
        drop(model);
        let mut unneeded = Vec::new();
        table.collect(|_| (), &mut unneeded);
        assert!((1..5).all(|directory| !table.needs(directory)));
    }
}
