//! What is known to be as it was because its directories are watched.
//!
//! ```text
//!   event ──► (directory, name) ──► entries: checked before they are used again
//!                               ├─► ways to directories: walked again
//!                               └─► the way to the root: followed again
//! ```
//!
//! Directories are watched by jobs, so an event may come before the job that caused it is done: the
//! last events are kept, and a result is compared with those that came since its job was submitted.
//!
//! A directory is watched for as long as an entry or a way needs it. Ways are kept in the order of
//! use, so that a directory stays watched for the next look-up; they go first where there are too many.

mod walks;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use foldhash::fast::{RandomState, SeedableRandomState};
use inotify::{EventMask, WatchDescriptor};
use lru::LruCache;
use rustix::io::Errno;

pub(crate) use super::recent::EventSequence;
use super::recent::{Event, RecentEvents};
use crate::cache::dependents::{Dependents, DirectoryId, Key, Ticket};
use crate::cache::entry::Entry;
use crate::cache::key::{self, PathKey, PathKeyBuf};
use crate::cache::key_hasher;
use crate::memory::table_bytes;
use crate::site::resolve::{self, LookupPlan};
use crate::site::sites::SiteId;
use crate::sys::watches::{ANY, ITSELF, Unwatched, Walk, Watches};

/// The way to a directory: all the names on it, and no link among them.
#[derive(Debug)]
pub(crate) struct WatchedPath {
    /// The site below whose root it leads, and the directory there.
    path: PathKeyBuf,
    keys: Box<[Key]>,
    directory: DirectoryId,
    since: EventSequence,
    /// As of a [`Walk`].
    named_at: i64,
}

impl WatchedPath {
    /// When it was last made to lead there, in seconds since 1970.
    pub(crate) fn named_at(&self) -> i64 {
        self.named_at
    }
}

/// What depends on directories.
#[derive(Debug)]
enum Target {
    /// For one that is checked after a time besides: a hash of its directory.
    Entry(Weak<Entry>, Option<NonZeroU32>),
    /// An entry that leads to no file, by its number in the path cache, while nobody answers from it.
    Missing(u32, Option<NonZeroU32>),
    WatchedPath(Weak<WatchedPath>),
    /// The path of the root of a site.
    Root(SiteId),
}

/// How the path of a root is watched.
#[derive(Debug)]
pub(crate) enum RootWatch {
    /// It is, and no event was about it.
    Stable(Ticket),
    /// It is, and has changed meanwhile.
    Changed(Ticket),
    /// It cannot be.
    Unwatched,
}

/// What a look-up turned out to depend on.
#[derive(Debug)]
pub(crate) enum WatchState {
    /// On these names, and no event was about them.
    Stable(Vec<Key>),
    /// On something that changed meanwhile, or that is no longer watched.
    Invalidated,
    /// On something that cannot be watched, and on these names.
    Unwatched(Unwatched, Vec<Key>),
}

/// Watched directories and those who depend on them.
#[derive(Debug)]
pub(crate) struct Directories {
    // Watches, those who depend on them, and what is to be told to the store: an event changes all at once.
    /// What jobs add watches through; `None`: nothing is watched.
    watches: Option<Arc<Watches>>,
    known: HashMap<DirectoryId, WatchDescriptor, RandomState>,
    /// Watches that are being removed, until the kernel has confirmed that.
    closing: HashSet<DirectoryId, RandomState>,
    count_max: usize,
    dependents: Dependents<Target>,
    watched_paths: LruCache<PathKeyBuf, (Rc<WatchedPath>, Ticket), RandomState>,
    recent: RecentEvents,
    /// Entries whose names were taken from files or given to others, until somebody asks for them.
    renamed: Vec<Rc<Entry>>,
    /// Numbers of entries that lead to no file and are to be checked, until somebody asks for them.
    missing: Vec<u32>,
    hasher: SeedableRandomState,
    /// The hash that stands for all names in a directory.
    any: u32,
    /// Sites whose roots have paths that events were about, until the store takes them.
    touched_roots: Vec<SiteId>,
    /// Entries that are checked after a time, by directory.
    polled: HashMap<NonZeroU32, usize, RandomState>,
    polled_count: usize,
    refused: u64,
}

impl Directories {
    /// At most `count_max` directories, watched through this instance.
    pub(crate) fn new(watches: Option<Arc<Watches>>, count_max: usize) -> Directories {
        let watches = watches.filter(|_| count_max > 0);
        let mut watched_paths = LruCache::unbounded_with_hasher(RandomState::default());
        watched_paths.resize(NonZeroUsize::new(count_max).unwrap_or(NonZeroUsize::MIN));
        let mut directories = Directories {
            watches,
            known: HashMap::default(),
            closing: HashSet::default(),
            count_max,
            dependents: Dependents::default(),
            watched_paths,
            recent: RecentEvents::default(),
            renamed: Vec::new(),
            missing: Vec::new(),
            hasher: key_hasher(),
            any: 0,
            touched_roots: Vec::new(),
            polled: HashMap::default(),
            polled_count: 0,
            refused: 0,
        };
        directories.any = directories.hash(ANY);
        directories
    }

    /// Names that differ in the case of ASCII letters are one here: a directory may fold them. So are a file
    /// and its precompressed variants: whoever depends on one depends on the others, which may come to be.
    pub(crate) fn hash(&self, name: &[u8]) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        for byte in resolve::without_coding(name) {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        #[allow(clippy::cast_possible_truncation)]
        let short = hasher.finish() as u32;
        short
    }

    /// What jobs add watches through; `None` where nothing is watched.
    pub(crate) fn watches(&self) -> Option<&Arc<Watches>> {
        self.watches.as_ref()
    }

    /// After the events that were taken in so far.
    pub(crate) fn sequence(&self) -> EventSequence {
        self.recent.sequence()
    }

    /// The way to a directory below the root, if it is watched.
    pub(crate) fn watched_path(&mut self, directory: PathKey<'_>) -> Option<Rc<WatchedPath>> {
        let (watched_path, _) = self.watched_paths.get(&directory.to_buf())?;
        (watched_path.since >= self.recent.lost()).then(|| Rc::clone(watched_path))
    }

    /// Takes an event in. `name` is that of an entry of the directory; without one it is about the
    /// directory itself, and all that looked a name up in it is touched.
    pub(crate) fn happened(
        &mut self,
        directory: DirectoryId,
        mask: EventMask,
        name: Option<&[u8]>,
    ) {
        let name = name.map(|name| self.hash(name));
        let is_last = mask.contains(EventMask::IGNORED);
        self.recent.push(Event {
            directory,
            name,
            is_last,
        });
        let mut broken = Vec::new();
        let renames = EventMask::DELETE | EventMask::MOVED_FROM | EventMask::MOVED_TO;
        let is_rename = mask.intersects(renames);
        let (renamed, missing) = (&mut self.renamed, &mut self.missing);
        let touched_roots = &mut self.touched_roots;
        let mut touch = |target: &Target| match target {
            Target::Entry(entry, _) => {
                if let Some(entry) = entry.upgrade() {
                    entry.distrust();
                    if is_rename {
                        renamed.push(entry);
                    }
                }
            }
            Target::Missing(number, _) => missing.push(*number),
            Target::WatchedPath(watched_path) => broken.extend(
                watched_path
                    .upgrade()
                    .map(|watched_path| watched_path.path.clone()),
            ),
            Target::Root(site) => touched_roots.push(*site),
        };
        match name {
            Some(name) => {
                for name in [name, self.any] {
                    let key = Key { directory, name };
                    self.dependents.of(key, &mut touch);
                }
            }
            None => self.dependents.of_directory(directory, &mut touch),
        }
        for path in broken {
            self.watched_paths.pop(&path);
        }
        if is_last {
            self.known.remove(&directory);
            self.closing.remove(&directory);
        }
        self.collect();
    }

    /// Entries that depend on a name that was taken from a file or given to another since the last time.
    pub(crate) fn take_renamed(&mut self) -> Vec<Rc<Entry>> {
        std::mem::take(&mut self.renamed)
    }

    /// Those of them that lead to no file, by their numbers.
    pub(crate) fn take_missing(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.missing)
    }

    /// An entry that leads to no file is told of changes by a number from now on.
    pub(crate) fn rest(&mut self, link: u32, number: u32) {
        self.dependents.replace(link, |target| match target {
            Target::Entry(_, polled) => Target::Missing(number, polled),
            target => target,
        });
    }

    /// Sites whose roots have paths that events were about since the last time.
    pub(crate) fn take_touched_roots(&mut self) -> Vec<SiteId> {
        std::mem::take(&mut self.touched_roots)
    }

    /// Events were lost: ways are walked again, one by one when they are asked for. What was looked up, and the roots,
    /// are for the caller to distrust. O(1).
    pub(crate) fn overflowed(&mut self) {
        self.recent.overflowed();
        self.closing.clear();
    }

    /// Whether an event since then was about one of these names.
    fn happened_since(&self, sequence: EventSequence, keys: &[Key]) -> bool {
        let is_about = |event: &Event, key: &Key| {
            key.directory == event.directory
                && (key.name == self.any || event.name.is_none_or(|name| key.name == name))
        };
        self.recent.since(sequence).is_none_or(|mut events| {
            events.any(|event| keys.iter().any(|key| is_about(event, key)))
        })
    }

    /// Whether an event since then was about a file or a directory itself.
    pub(crate) fn happened_to(&self, watched: DirectoryId, since: EventSequence) -> bool {
        self.recent
            .since(since)
            .is_none_or(|mut events| events.any(|event| event.directory == watched))
    }

    /// Whether a watch is gone that was there when a job of that moment added it.
    pub(crate) fn is_gone(&self, directory: DirectoryId, since: EventSequence) -> bool {
        self.recent.since(since).is_some_and(|mut events| {
            events.any(|event| event.is_last && event.directory == directory)
        })
    }

    /// Remembers the way to a directory that was walked without meeting a link.
    pub(crate) fn remember(&mut self, path: PathKey<'_>, walk: &Walk, lookup: &LookupPlan) {
        let Some(directory) = &walk.directory else {
            return;
        };
        let directory = directory.get_watch_descriptor_id();
        let own: HashSet<u32> = lookup.names().map(|name| self.hash(name)).collect();
        let keys: Vec<Key> = self
            .keys(walk)
            .filter(|key| key.directory != directory || !own.contains(&key.name))
            .collect();
        // The last directory is needed too, even where nothing was looked up on the way to it.
        let mut needed = keys.clone();
        let name = self.hash(ITSELF);
        needed.push(Key { directory, name });
        let watched_path = Rc::new(WatchedPath {
            path: path.to_buf(),
            keys: keys.into(),
            directory,
            since: self.sequence(),
            named_at: walk.since,
        });
        let target = Target::WatchedPath(Rc::downgrade(&watched_path));
        let ticket = self.dependents.add(target, needed);
        self.watched_paths
            .put(path.to_buf(), (watched_path, ticket));
    }

    /// Has an entry told of changes of these names; `None` where there would be too many directories.
    pub(crate) fn hold(&mut self, entry: &Rc<Entry>, keys: Vec<Key>) -> Option<Ticket> {
        let target = Target::Entry(Rc::downgrade(entry), None);
        let ticket = self.dependents.add(target, keys);
        self.make_room();
        (self.known.len() <= self.count_max).then_some(ticket)
    }

    /// Counts an entry that is checked after a time, and has it told of changes as far as they are.
    pub(crate) fn poll(
        &mut self,
        entry: &Rc<Entry>,
        directory: PathKey<'_>,
        keys: Vec<Key>,
    ) -> Ticket {
        let site = directory.site.number().rotate_left(16);
        let directory = NonZeroU32::MIN | (self.hash(directory.path) ^ site);
        let mut add = |keys| {
            *self.polled.entry(directory).or_insert(0) += 1;
            self.polled_count += 1;
            let target = Target::Entry(Rc::downgrade(entry), Some(directory));
            self.dependents.add(target, keys)
        };
        let ticket = add(keys);
        if self.known.len() <= self.count_max {
            return ticket;
        }
        // All but the last of its directories may be needed by others; it is none to make room for.
        let without = add(Vec::new());
        drop(ticket);
        self.collect();
        without
    }

    fn make_room(&mut self) {
        while self.known.len() > self.count_max && self.watched_paths.pop_lru().is_some() {
            self.collect();
        }
    }

    /// Lets go of what a walk has watched, as far as nothing needs it.
    pub(crate) fn release(&mut self, walk: &Walk) {
        self.collect();
        for (watch, _) in &walk.names {
            let directory = watch.get_watch_descriptor_id();
            if !self.dependents.needs(directory) {
                self.unwatch(directory);
            }
        }
    }

    /// Follows what depended on directories and is gone.
    pub(crate) fn collect(&mut self) {
        let Directories {
            dependents,
            polled,
            polled_count,
            ..
        } = self;
        let mut unneeded = Vec::new();
        let gone = |target| {
            if let Target::Entry(_, Some(directory)) | Target::Missing(_, Some(directory)) = target
                && let Some(count) = polled.get_mut(&directory)
            {
                *polled_count -= 1;
                *count -= 1;
                if *count == 0 {
                    polled.remove(&directory);
                }
            }
        };
        dependents.collect(gone, &mut unneeded);
        for directory in unneeded {
            if !self.dependents.needs(directory) {
                self.unwatch(directory);
            }
        }
    }

    fn unwatch(&mut self, directory: DirectoryId) {
        if let (Some(watch), Some(watches)) = (self.known.remove(&directory), &self.watches) {
            watches.remove(watch);
            self.closing.insert(directory);
        }
    }

    /// Watches the path of the root of a site, along the walk of a job that was submitted at `since`.
    pub(crate) fn watch_root(
        &mut self,
        site: SiteId,
        walk: &Walk,
        since: EventSequence,
    ) -> RootWatch {
        let target = Target::Root(site);
        let watch = match self.walked(walk, since) {
            WatchState::Stable(keys) => RootWatch::Stable(self.dependents.add(target, keys)),
            WatchState::Invalidated => {
                let keys = self.keys(walk).collect();
                RootWatch::Changed(self.dependents.add(target, keys))
            }
            WatchState::Unwatched(..) => RootWatch::Unwatched,
        };
        self.make_room();
        let watch = match self.known.len() > self.count_max {
            true => RootWatch::Unwatched,
            false => watch,
        };
        self.release(walk);
        watch
    }

    /// The roots of some sites are served no more: forgets their watched paths.
    pub(crate) fn leave(&mut self, is_meant: &dyn Fn(SiteId) -> bool) {
        let paths = self.watched_paths.iter().map(|(path, _)| path.as_key());
        for path in key::of_sites(paths, is_meant) {
            self.watched_paths.pop(&path);
        }
        self.collect();
    }

    /// Counts what could not be watched though its file system tells of changes. The first time,
    /// gives what to say about it.
    pub(crate) fn refuse(&mut self, why: Option<Errno>) -> Option<String> {
        self.refused += 1;
        if self.refused > 1 {
            return None;
        }
        let (why, advice) = match why {
            None => (
                format!("{} are already watched", self.count_max),
                "raise --watch-directories",
            ),
            Some(error) => (
                error.to_string(),
                match error {
                    Errno::NOSPC => "raise fs.inotify.max_user_watches (sysctl)",
                    Errno::ACCESS => "make it readable for the user that runs spede",
                    _ => "see inotify_add_watch(2)",
                },
            ),
        };
        Some(format!(
            "a directory cannot be watched: {why}; {advice}; its files are polled at --revalidate instead"
        ))
    }

    /// Bytes of its tables, about.
    pub(crate) fn memory_bytes(&self) -> u64 {
        // A way has its path twice and some keys.
        let watched_path = size_of::<(
            Box<[u8]>,
            Rc<WatchedPath>,
            Ticket,
            WatchedPath,
            [usize; 4],
            [Key; 4],
        )>() + 64;
        self.dependents.bytes() as u64
            + table_bytes(
                self.known.capacity(),
                size_of::<(DirectoryId, WatchDescriptor)>(),
            )
            + (self.watched_paths.len() * watched_path) as u64
            + self.recent.memory_bytes()
    }

    /// Directories watched now.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// Directories of entries that are checked after a time, and those entries.
    pub(crate) fn polled(&self) -> (usize, usize) {
        (self.polled.len(), self.polled_count)
    }

    /// Times that a directory could not be watched though its file system tells of changes.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}
