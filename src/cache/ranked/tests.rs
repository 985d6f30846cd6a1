//! The policy against a plain model of it.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// An entry of the model: key and weight; the one used last stands at the end.
type Listed = (u64, u64);

/// The same policy over lists, with all counts in one table that never forgets.
struct Model {
    room: Room,
    window: Vec<Listed>,
    main: Vec<Listed>,
    /// Count, and the epoch that it is of.
    counts: HashMap<u64, (u8, u32)>,
    look_ups: u64,
    epoch: u32,
    epoch_ends: u64,
}

impl Model {
    fn count(&self, key: u64) -> u8 {
        let (count, epoch) = self.counts.get(&key).copied().unwrap_or((0, self.epoch));
        count.checked_shr(self.epoch - epoch).unwrap_or(0)
    }

    fn weight(&self, more: &[Listed]) -> u64 {
        let all = self.window.iter().chain(&self.main).chain(more);
        all.map(|entry| entry.1).sum()
    }

    fn is_full(&self, more: &[Listed]) -> bool {
        self.weight(more) > self.room.weight_max
            || self.window.len() + self.main.len() + more.len() > self.room.count_max
    }

    fn look_up(&mut self, key: u64) -> bool {
        self.look_ups += 1;
        if self.look_ups >= self.epoch_ends {
            self.epoch += 1;
            let entries = (self.window.len() + self.main.len()).max(16) as u64;
            self.epoch_ends = self.look_ups + 10 * entries;
        }
        let count = self.count(key).saturating_add(1);
        self.counts.insert(key, (count, self.epoch));
        for list in [&mut self.main, &mut self.window] {
            if let Some(at) = list.iter().position(|entry| entry.0 == key) {
                let entry = list.remove(at);
                list.push(entry);
                return true;
            }
        }
        false
    }

    fn insert(&mut self, key: u64, weight: u64) {
        let held = self.weight(&[(key, weight)]);
        if weight > held / 10 {
            self.contend((key, weight));
        } else {
            self.window.push((key, weight));
        }
        while !self.window.is_empty()
            && (self.window.len() > ((self.window.len() + self.main.len()) / 10).max(1)
                || weight_of(&self.window) > self.weight(&[]) / 10)
        {
            let oldest = self.window.remove(0);
            self.contend(oldest);
        }
        while self.is_full(&[]) && !self.main.is_empty() {
            self.main.remove(0);
        }
    }

    fn contend(&mut self, newcomer: Listed) {
        let share = self.room.weight_max / 10;
        let window = weight_of(&self.window);
        let reserved = if newcomer.1 > self.room.weight_max - share {
            window
        } else {
            share.max(window)
        };
        let weight_max = self.room.weight_max.saturating_sub(reserved);
        let reserved = (self.room.count_max / 10).max(self.window.len());
        let count_max = self.room.count_max.saturating_sub(reserved);
        let fits =
            |left: &[Listed]| weight_of(left) + newcomer.1 <= weight_max && left.len() < count_max;
        let victims = (0..=self.main.len()).find(|count| fits(&self.main[*count..]));
        let victims = victims.unwrap_or(self.main.len());
        let count = self.count(newcomer.0);
        if self.main[..victims]
            .iter()
            .all(|victim| self.count(victim.0) < count)
        {
            self.main.drain(..victims);
            self.main.push(newcomer);
        } else {
            self.main.rotate_left(1);
        }
    }
}

fn weight_of(list: &[Listed]) -> u64 {
    list.iter().map(|entry| entry.1).sum()
}

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        asked in prop::collection::vec((0..40_u64, 0..4_u32), 1..600),
        weight_max in 40..400_u64,
        count_max in 2..24_usize,
    ) {
        let room = Room { weight_max, count_max };
        let mut ranked = Ranked::new(room, 4_096);
        let mut model = Model {
            room,
            window: Vec::new(),
            main: Vec::new(),
            counts: HashMap::new(),
            look_ups: 0,
            epoch: 0,
            epoch_ends: 160,
        };
        for (drawn, skew) in asked {
            // Some are asked for more often than others.
            let key = drawn >> skew;
            let hash = crate::cache::workload::mix(key);
            let weight = 1 + key % 37;
            let is_held = ranked.look_up_or_note(&key, hash).is_ok();
            prop_assert_eq!(is_held, model.look_up(key), "{}", key);
            if !is_held {
                ranked.insert(key, hash, weight, (), 0, &mut |_, _, _| {});
                model.insert(key, weight);
            }
            let order = |part| ranked.parts.oldest_first(part).map(|entry| *entry.0).collect();
            let (main, window): (Vec<u64>, Vec<u64>) = (order(MAIN), order(WINDOW));
            let listed = |list: &[Listed]| list.iter().map(|entry| entry.0).collect::<Vec<u64>>();
            prop_assert_eq!((main, window), (listed(&model.main), listed(&model.window)));
            prop_assert_eq!(ranked.weight(), model.weight(&[]));
            prop_assert!(ranked.weight() <= weight_max && ranked.len() <= count_max);
        }
    }
}
