//! What a look-up depends on: the names on a walk, and whether an event was about one of them meanwhile.

use super::{Directories, EventSequence, WatchState, WatchedPath};
use crate::cache::dependents::Key;
use crate::site::resolve::LookupPlan;
use crate::sys::watches::Walk;

impl Directories {
    /// What a look-up in a directory that was watched already depends on.
    pub(crate) fn known(
        &self,
        watched_path: &WatchedPath,
        lookup: &LookupPlan,
        since: EventSequence,
    ) -> WatchState {
        let mut keys = watched_path.keys.to_vec();
        keys.extend(lookup.names().map(|name| Key {
            directory: watched_path.directory,
            name: self.hash(name),
        }));
        let all_known = keys
            .iter()
            .all(|key| self.known.contains_key(&key.directory));
        match all_known && !self.happened_since(since, &keys) {
            true => WatchState::Stable(keys),
            false => WatchState::Invalidated,
        }
    }

    /// What a look-up depends on for which directories were walked. They are watched from now on,
    /// until [`release`](Directories::release) finds that nothing needs them.
    pub(crate) fn walked(&mut self, walk: &Walk, since: EventSequence) -> WatchState {
        for (watch, _) in &walk.names {
            let directory = watch.get_watch_descriptor_id();
            if !self.closing.contains(&directory) && !self.is_gone(directory, since) {
                self.known.entry(directory).or_insert_with(|| watch.clone());
            }
        }
        if self.has_invalidated(walk, since) {
            return WatchState::Invalidated;
        }
        let keys = self.keys(walk).collect();
        match walk.unwatched {
            Some(unwatched) => WatchState::Unwatched(unwatched, keys),
            None => WatchState::Stable(keys),
        }
    }

    /// Whether something on a walk has changed since, or is no longer watched.
    pub(crate) fn has_invalidated(&self, walk: &Walk, since: EventSequence) -> bool {
        let keys: Vec<Key> = self.keys(walk).collect();
        let is_closing = |key: &Key| self.closing.contains(&key.directory);
        keys.iter().any(is_closing) || self.happened_since(since, &keys)
    }

    pub(super) fn keys<'a>(&'a self, walk: &'a Walk) -> impl Iterator<Item = Key> + 'a {
        walk.names.iter().map(|(watch, name)| Key {
            directory: watch.get_watch_descriptor_id(),
            name: self.hash(name),
        })
    }
}
