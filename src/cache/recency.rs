//! Entries found by their key, in lists in order of use.
//!
//! One hash table for all lists, whose places are numbers of entries: 32 bits instead of two pointers. The hash
//! is kept with the entry, so a table that grows reads no keys, and a lookup computes it once for all
//! lists. A look-up allocates nothing.

use hashbrown::{Equivalent, HashTable};

use super::arena::Arena;
use crate::sys::allocator::block_length;

/// No entry: the end of a list.
const NONE: u32 = u32::MAX;

/// What an entry has to know of itself.
pub(crate) trait Member {
    /// The hash of its key.
    fn hash(&self) -> u64;

    /// The list that it is in.
    fn list(&self) -> u8 {
        0
    }
}

#[derive(Debug)]
struct Node<K, T> {
    key: K,
    member: T,
    newer: u32,
    older: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    newest: u32,
    oldest: u32,
    count: usize,
}

/// Entries in so many lists.
#[derive(Debug)]
pub(crate) struct Recency<K, T, const LISTS: usize = 1> {
    index: HashTable<u32>,
    nodes: Arena<Node<K, T>>,
    lists: [List; LISTS],
}

impl<K, T, const LISTS: usize> Default for Recency<K, T, LISTS> {
    fn default() -> Recency<K, T, LISTS> {
        Recency {
            index: HashTable::new(),
            nodes: Arena::default(),
            lists: [List {
                newest: NONE,
                oldest: NONE,
                count: 0,
            }; LISTS],
        }
    }
}

/// The table goes by the first bits and the last. Sampling has made some of the first ones equal.
fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}

impl<K: Eq, T: Member, const LISTS: usize> Recency<K, T, LISTS> {
    /// Where this is a call, it costs a hit a fiftieth of its instructions.
    #[inline(always)]
    fn find<Q>(&self, key: &Q, hash: u64) -> Option<u32>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let is_it = |number: &u32| {
            let node = self.nodes.peek(*number);
            node.is_some_and(|node| key.equivalent(&node.key))
        };
        self.index.find(spread(hash), is_it).copied()
    }

    /// The entry of a key; marks nothing.
    pub(crate) fn peek<Q>(&self, key: &Q, hash: u64) -> Option<&T>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let number = self.find(key, hash)?;
        Some(&self.nodes.peek(number)?.member)
    }

    /// The number of the entry of a key, for as long as that is there.
    pub(crate) fn number<Q>(&self, key: &Q, hash: u64) -> Option<u32>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.find(key, hash)
    }

    /// An entry by its number.
    pub(crate) fn by_number_mut(&mut self, number: u32) -> Option<&mut T> {
        Some(&mut self.nodes.peek_mut(number)?.member)
    }

    /// The same, to be changed.
    pub(crate) fn peek_mut<Q>(&mut self, key: &Q, hash: u64) -> Option<&mut T>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let number = self.find(key, hash)?;
        Some(&mut self.nodes.peek_mut(number)?.member)
    }

    /// The entry of a key, which is the one of its list that was used last from now on.
    pub(crate) fn look_up<Q>(&mut self, key: &Q, hash: u64) -> Option<&mut T>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let number = self.find(key, hash)?;
        let node = self.nodes.peek(number)?;
        let list = node.member.list();
        if node.newer != NONE {
            self.unlink(number, list);
            self.link_newest(number, list);
        }
        Some(&mut self.nodes.peek_mut(number)?.member)
    }

    /// Takes an entry in as the one that was used last. Its key must not be there.
    pub(crate) fn insert(&mut self, key: K, member: T) -> u32 {
        let number = self.add(key, member);
        if let Some(list) = self.list_of(number) {
            self.link_newest(number, list);
        }
        number
    }

    /// The same as the one that was used longest ago.
    pub(crate) fn insert_oldest(&mut self, key: K, member: T) -> u32 {
        let number = self.add(key, member);
        if let Some(list) = self.list_of(number) {
            self.link_oldest(number, list);
        }
        number
    }

    /// Takes the entry of a key out.
    pub(crate) fn remove<Q>(&mut self, key: &Q, hash: u64) -> Option<(K, T)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let number = self.find(key, hash)?;
        self.take(number)
    }

    /// Takes the entry of a list out that was used longest ago.
    pub(crate) fn remove_oldest(&mut self, list: u8) -> Option<(K, T)> {
        match self.lists[usize::from(list)].oldest {
            NONE => None,
            number => self.take(number),
        }
    }

    /// Marks the entry of a list as used that was used longest ago.
    pub(crate) fn renew_oldest(&mut self, list: u8) {
        let number = self.lists[usize::from(list)].oldest;
        if number != NONE && number != self.lists[usize::from(list)].newest {
            self.unlink(number, list);
            self.link_newest(number, list);
        }
    }

    /// Takes all entries out that are not to be kept.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &T) -> bool) {
        for list in 0..LISTS {
            let mut number = self.lists[list].newest;
            while let Some(node) = self.nodes.peek(number) {
                let older = node.older;
                if !keep(&node.key, &node.member) {
                    self.take(number);
                }
                number = older;
            }
        }
    }

    /// The entries of a list, the one used last first.
    pub(crate) fn newest_first(&self, list: u8) -> impl Iterator<Item = (&K, &T)> {
        self.chain(self.lists[usize::from(list)].newest, |node| node.older)
    }

    /// The entries of a list, the one used last at the end.
    pub(crate) fn oldest_first(&self, list: u8) -> impl Iterator<Item = (&K, &T)> {
        self.chain(self.lists[usize::from(list)].oldest, |node| node.newer)
    }

    fn chain(
        &self,
        first: u32,
        next: impl Fn(&Node<K, T>) -> u32,
    ) -> impl Iterator<Item = (&K, &T)> {
        let first = self.nodes.peek(first);
        let nodes = std::iter::successors(first, move |node| self.nodes.peek(next(node)));
        nodes.map(|node| (&node.key, &node.member))
    }

    /// Entries in a list.
    pub(crate) fn count(&self, list: u8) -> usize {
        self.lists[usize::from(list)].count
    }

    /// Entries in all lists.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes that are allocated, without those that keys and entries have allocated themselves.
    pub(crate) fn bytes(&self) -> usize {
        let index = block_length(self.index.allocation_size());
        self.nodes.bytes() + usize::try_from(index).unwrap_or(usize::MAX)
    }

    fn list_of(&self, number: u32) -> Option<u8> {
        Some(self.nodes.peek(number)?.member.list())
    }

    fn add(&mut self, key: K, member: T) -> u32 {
        let hash = spread(member.hash());
        let number = self.nodes.insert(Node {
            key,
            member,
            newer: NONE,
            older: NONE,
        });
        let nodes = &self.nodes;
        let hash_of = |number: &u32| {
            let node = nodes.peek(*number);
            node.map_or(0, |node| spread(node.member.hash()))
        };
        self.index.insert_unique(hash, number, hash_of);
        number
    }

    fn take(&mut self, number: u32) -> Option<(K, T)> {
        let node = self.nodes.peek(number)?;
        let (hash, list) = (spread(node.member.hash()), node.member.list());
        self.unlink(number, list);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        let node = self.nodes.remove(number)?;
        if self.nodes.len() == 0 {
            self.index = HashTable::new();
        }
        Some((node.key, node.member))
    }

    fn unlink(&mut self, number: u32, list: u8) {
        let Some(node) = self.nodes.peek(number) else {
            return;
        };
        let (newer, older) = (node.newer, node.older);
        match self.nodes.peek_mut(newer) {
            Some(node) => node.older = older,
            None => self.lists[usize::from(list)].newest = older,
        }
        match self.nodes.peek_mut(older) {
            Some(node) => node.newer = newer,
            None => self.lists[usize::from(list)].oldest = newer,
        }
        self.lists[usize::from(list)].count -= 1;
    }

    fn link_newest(&mut self, number: u32, list: u8) {
        let before = self.lists[usize::from(list)].newest;
        match self.nodes.peek_mut(before) {
            Some(node) => node.newer = number,
            None => self.lists[usize::from(list)].oldest = number,
        }
        self.lists[usize::from(list)].newest = number;
        self.lists[usize::from(list)].count += 1;
        if let Some(node) = self.nodes.peek_mut(number) {
            (node.newer, node.older) = (NONE, before);
        }
    }

    fn link_oldest(&mut self, number: u32, list: u8) {
        let before = self.lists[usize::from(list)].oldest;
        match self.nodes.peek_mut(before) {
            Some(node) => node.older = number,
            None => self.lists[usize::from(list)].newest = number,
        }
        self.lists[usize::from(list)].oldest = number;
        self.lists[usize::from(list)].count += 1;
        if let Some(node) = self.nodes.peek_mut(number) {
            (node.newer, node.older) = (before, NONE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::workload::{Random, mix};

    struct Marked(u64, u8);

    impl Member for Marked {
        fn hash(&self) -> u64 {
            self.0
        }

        fn list(&self) -> u8 {
            self.1
        }
    }

    fn is_like(table: &Recency<u64, Marked, 2>, model: &[Vec<u64>; 2]) {
        for (list, model) in [0, 1].into_iter().zip(model) {
            let keys: Vec<u64> = table.oldest_first(list).map(|entry| *entry.0).collect();
            assert_eq!((&keys, table.count(list)), (model, model.len()));
            let mut reversed: Vec<u64> = table.newest_first(list).map(|entry| *entry.0).collect();
            reversed.reverse();
            assert_eq!(reversed, keys);
        }
        assert_eq!(table.len(), model[0].len() + model[1].len());
    }

    /// Against plain lists, whatever is done to it.
    #[test]
    fn lists_are_in_order_of_use() {
        let mut table: Recency<u64, Marked, 2> = Recency::default();
        let mut model: [Vec<u64>; 2] = Default::default();
        let mut random = Random(3);
        for _ in 0..40_000 {
            let (drawn, key) = (random.next() % 100, random.next() % 300);
            let hash = mix(key % 150);
            let held = model.iter().position(|list| list.contains(&key));
            match (drawn, held) {
                (0..50, Some(list)) => {
                    assert!(table.look_up(&key, hash).is_some());
                    model[list].retain(|other| *other != key);
                    model[list].push(key);
                }
                (50..70, Some(list)) => {
                    assert!(table.remove(&key, hash).is_some());
                    model[list].retain(|other| *other != key);
                }
                (70..75, _) => {
                    let list = usize::from(drawn > 72);
                    let oldest = table
                        .remove_oldest(u8::from(drawn > 72))
                        .map(|entry| entry.0);
                    let expected = model[list].first().copied();
                    assert_eq!(oldest, expected);
                    model[list].retain(|other| Some(*other) != expected);
                }
                (75..80, _) => {
                    let list = usize::from(drawn > 77);
                    table.renew_oldest(u8::from(drawn > 77));
                    let turn = usize::from(!model[list].is_empty());
                    model[list].rotate_left(turn);
                }
                (80, _) => {
                    table.retain(|key, _| key % 5 != 0);
                    for list in &mut model {
                        list.retain(|key| key % 5 != 0);
                    }
                }
                (_, None) => {
                    assert!(table.peek(&key, hash).is_none());
                    let list = usize::from(drawn % 2 == 0);
                    if drawn.is_multiple_of(3) {
                        table.insert_oldest(key, Marked(hash, u8::from(drawn % 2 == 0)));
                        model[list].insert(0, key);
                    } else {
                        table.insert(key, Marked(hash, u8::from(drawn % 2 == 0)));
                        model[list].push(key);
                    }
                }
                (_, Some(_)) => assert!(table.peek(&key, hash).is_some()),
            }
            is_like(&table, &model);
        }
    }
}
