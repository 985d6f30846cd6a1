//! Values in chunks, named by numbers of 32 bits.
//!
//! A number costs half of what a pointer does, and chunks are neither copied nor doubled when there are more
//! values: the memory in use is that of the values, give or take one chunk. Numbers of values that were
//! taken out are given again.

use crate::sys::allocator::block_length;

/// Values in a chunk.
const CHUNK: usize = 64;
/// No number: the end of the list of free places.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
enum ArenaSlot<T> {
    Used(T),
    /// The next free place.
    Free(u32),
}

/// Values by number.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<ArenaSlot<T>>>,
    free: u32,
    count: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena {
            chunks: Vec::new(),
            free: NONE,
            count: 0,
        }
    }
}

impl<T> Arena<T> {
    /// The number that the next value gets.
    ///
    /// # Panics
    /// With more than four billion values, which is more than any cache may hold.
    pub(crate) fn next(&self) -> u32 {
        if self.free != NONE {
            return self.free;
        }
        match u32::try_from(self.count) {
            Ok(number) if number != NONE => number,
            _ => unreachable!("no cache holds so many"),
        }
    }

    /// Takes a value in and gives its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let number = self.next();
        self.count += 1;
        match self.place_mut(number) {
            Some(place) => {
                let free = std::mem::replace(place, ArenaSlot::Used(value));
                if let ArenaSlot::Free(next) = free {
                    self.free = next;
                }
            }
            None => {
                if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                    self.chunks.push(Vec::with_capacity(CHUNK));
                }
                if let Some(chunk) = self.chunks.last_mut() {
                    chunk.push(ArenaSlot::Used(value));
                }
            }
        }
        number
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let free = self.free;
        let place = self.place_mut(number)?;
        if let ArenaSlot::Free(_) = place {
            return None;
        }
        let place = std::mem::replace(place, ArenaSlot::Free(free));
        self.free = number;
        self.count -= 1;
        if self.count == 0 {
            // Nothing is left, so all memory is given back.
            *self = Arena::default();
        }
        match place {
            ArenaSlot::Used(value) => Some(value),
            ArenaSlot::Free(_) => None,
        }
    }

    /// A value.
    pub(crate) fn peek(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        match self.chunks.get(number / CHUNK)?.get(number % CHUNK)? {
            ArenaSlot::Used(value) => Some(value),
            ArenaSlot::Free(_) => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn peek_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.place_mut(number)? {
            ArenaSlot::Used(value) => Some(value),
            ArenaSlot::Free(_) => None,
        }
    }

    fn place_mut(&mut self, number: u32) -> Option<&mut ArenaSlot<T>> {
        let number = number as usize;
        self.chunks.get_mut(number / CHUNK)?.get_mut(number % CHUNK)
    }

    /// Values.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes that are allocated, without those that values have allocated themselves.
    pub(crate) fn bytes(&self) -> usize {
        let chunks = self.chunks.len() as u64 * block_length(CHUNK * size_of::<ArenaSlot<T>>());
        let list = block_length(self.chunks.capacity() * size_of::<Vec<ArenaSlot<T>>>());
        usize::try_from(chunks + list).unwrap_or(usize::MAX)
    }
}
