//! The caches of content, mappings before descriptors: which is asked for what, what is kept and what is let go of.
//!
//! Knows neither what they hold nor whether that may still be used. The server holds mappings and files, `spede
//! simulate` nothing: both decide by this.

use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::content::{Budget, ContentCache};
use crate::cache::entry::Entry;
use crate::cache::path::PathRemoval;
use crate::settings::CacheBudget;
use crate::site::representation::Variants;
use crate::sys::file::FileVersion;

/// Whether a cache was asked for a request before: it counts one look-up a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    #[default]
    First,
    Again,
}

impl Look {
    /// What a cache holds of a version.
    pub(crate) fn at<'a, T>(
        self,
        cache: &'a mut ContentCache<T>,
        version: &FileVersion,
    ) -> Option<&'a T> {
        match self {
            Look::First => cache.look_up(version),
            Look::Again => cache.get(version),
        }
    }
}

/// Whether a request waited for a job when it was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// One did.
    Requested,
    /// It was expected that one would.
    Prefetch,
}

/// Whether the file of a version was opened for the request that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It was: a miss of the cache of descriptors.
    Yes,
    /// It was not.
    No,
}

/// The caches of content, by the version of the file. A request asks for the mapping first, if the file is short
/// enough for one, and else for the descriptor.
#[derive(Debug)]
pub(crate) struct Holdings<M, D> {
    /// Mapped files.
    pub(crate) maps: ContentCache<M>,
    /// Open files.
    pub(crate) descriptors: ContentCache<D>,
    /// Longer files are not mapped.
    map_file_length_max: u64,
}

impl<M, D> Holdings<M, D> {
    /// Nothing is held, and at most `descriptor_count_max` files are kept open.
    pub(crate) fn new(cache: &CacheBudget, descriptor_count_max: usize) -> Holdings<M, D> {
        let maps = Budget {
            bytes_max: cache.map_bytes_max,
            count_max: cache.map_count_max,
        };
        let descriptors = Budget {
            bytes_max: u64::MAX,
            count_max: descriptor_count_max,
        };
        Holdings {
            maps: ContentCache::new(maps),
            descriptors: ContentCache::new(descriptors),
            map_file_length_max: cache.map_file_length_max,
        }
    }

    /// Whether a file is short enough to be mapped.
    pub(crate) fn is_mappable(&self, version: &FileVersion) -> bool {
        version.length <= self.map_file_length_max
    }

    /// The descriptor of a version, for a request that has no mapping of it. What was opened for the request is not
    /// looked for.
    pub(crate) fn descriptor(
        &mut self,
        version: &FileVersion,
        opened: Opened,
        look: Look,
    ) -> Option<&D> {
        match (opened, look) {
            (Opened::Yes, Look::First) => {
                self.descriptors.note_opened(version);
                None
            }
            (Opened::Yes, Look::Again) => None,
            (Opened::No, look) => look.at(&mut self.descriptors, version),
        }
    }

    /// Keeps a file open that was opened.
    pub(crate) fn keep_open(&mut self, version: FileVersion, file: D, demand: Demand) {
        if version.length > 0 && !self.maps.holds(&version) {
            match demand {
                Demand::Prefetch => drop(self.descriptors.fill(version, file)),
                Demand::Requested => drop(self.descriptors.insert(version, file)),
            }
        }
    }

    /// Whether a mapping of a version would be kept for now.
    pub(crate) fn may_be_mapped(&self, version: &FileVersion) -> bool {
        !self.maps.holds(version) && self.maps.has_room_for(version.length)
    }

    /// Takes a mapping in. Gives the versions that are mapped no more; `version` itself is one of them where there is
    /// no room for it.
    pub(crate) fn keep_mapped(
        &mut self,
        version: FileVersion,
        mapped: M,
        demand: Demand,
    ) -> Vec<FileVersion> {
        let evicted = match demand {
            Demand::Prefetch => match self.maps.fill(version, mapped) {
                Ok(()) => Vec::new(),
                Err(_) => return vec![version],
            },
            Demand::Requested => self.maps.insert(version, mapped),
        };
        // Where a newcomer may have to go soon, its file stays open: the next request needs it then.
        if self.maps.has_room_for_all() {
            self.descriptors.release(&version);
        }
        evicted.into_iter().map(|(version, _)| version).collect()
    }

    /// An entry of the path cache has gone for another. Gives the versions that nobody will ask for.
    pub(crate) fn departed(
        &mut self,
        previous: &Entry,
        why: PathRemoval,
        by: &Entry,
    ) -> Vec<FileVersion> {
        match why {
            PathRemoval::Forgotten => {
                self.release_descriptors(previous);
                Vec::new()
            }
            PathRemoval::Replaced => self.replaced(previous, by),
        }
    }

    /// An entry is remembered no more. Whoever asks for its path again has its file opened again, so nobody will
    /// ask for its descriptor.
    pub(crate) fn release_descriptors(&mut self, entry: &Entry) {
        for version in entry.variants().into_iter().flat_map(Variants::versions) {
            self.descriptors.release(&version);
        }
    }

    /// A path leads elsewhere now. Nobody will ask for the version that it led to.
    fn replaced(&mut self, previous: &Entry, by: &Entry) -> Vec<FileVersion> {
        let mut gone = Vec::new();
        let news = by.variants();
        let Some(variants) = previous.variants() else {
            return gone;
        };
        for old in variants.all() {
            let version = old.version;
            let new = news.map(|news| news.in_coding(old.coding).version);
            if new == Some(version) {
                continue;
            }
            if let Some(new) = new {
                self.maps.succeed(&version, &new);
            }
            self.maps.remove(&version);
            self.descriptors.remove(&version);
            gone.push(version);
        }
        gone
    }

    /// Holds nothing any more.
    pub(crate) fn clear(&mut self) {
        self.maps.clear();
        self.descriptors.clear();
    }
}

/// Whether an entry was asked for often enough that its file is mapped for those who come after.
pub(crate) fn is_asked_again(request_count: u32) -> bool {
    request_count >= MAP_AFTER_REQUEST_COUNT
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::cache::entry::{Resolution, Seen};
    use crate::clock::Now;
    use crate::http::content_coding::Coding;
    use crate::http::status::Status;
    use crate::site::representation::{Representation, Vary};
    use crate::site::validators::Sighting;
    use crate::sys::file::FileTime;

    const LENGTH: u64 = 100;

    fn version(inode: u64) -> FileVersion {
        let time = FileTime {
            seconds: 1_700_000_000,
            nanoseconds: 5,
        };
        FileVersion {
            device: 1,
            inode,
            length: LENGTH,
            modified: time,
            changed: time,
        }
    }

    fn entry(inode: u64) -> Entry {
        let now = Now::at(Instant::now(), version(inode).modified);
        let sighting = Sighting::of(version(inode));
        let identity = Representation::new("a", sighting, Coding::Identity, Vary::Nothing, &now);
        Entry::new(Resolution::File {
            variants: Variants {
                identity,
                coded: Box::default(),
            },
            seen: Seen::default(),
        })
    }

    /// Holds a mapping and a descriptor of one version.
    fn holdings() -> Holdings<(), ()> {
        let cache = CacheBudget {
            map_bytes_max: 10 * LENGTH,
            map_file_length_max: LENGTH,
            map_count_max: 10,
            path_count_max: 10,
            descriptor_count_max: None,
            watched_directory_count_max: 0,
            revalidate: Duration::ZERO,
        };
        let mut holdings = Holdings::new(&cache, 10);
        assert!(holdings.may_be_mapped(&version(1)));
        assert_eq!(holdings.keep_mapped(version(1), (), Demand::Requested), []);
        holdings.descriptors.insert(version(1), ());
        holdings
    }

    #[test]
    fn what_goes_with_a_path_depends_on_why_it_went() {
        use PathRemoval::{Forgotten, Replaced};
        let refused = || Entry::new(Resolution::Refused(Status::NotFound));
        #[rustfmt::skip]
        let cases = [
            // Why      by         mapped  open    because
            (Forgotten, entry(2),  true,   false,  "what it said may still be so: the mapping serves other paths"),
            (Replaced,  entry(1),  true,   true,   "the same version is there again"),
            (Replaced,  entry(2),  false,  false,  "another version is there"),
            (Replaced,  refused(), false,  false,  "no file is there"),
        ];
        for (why, by, is_mapped, is_open, because) in cases {
            let mut holdings = holdings();
            let gone = holdings.departed(&entry(1), why, &by);
            assert_eq!(holdings.maps.holds(&version(1)), is_mapped, "{because}");
            assert_eq!(
                holdings.descriptors.holds(&version(1)),
                is_open,
                "{because}"
            );
            let want: &[FileVersion] = if is_mapped { &[] } else { &[version(1)] };
            assert_eq!(gone, want, "{because}");
        }
    }

    #[test]
    fn a_file_is_not_kept_open_beside_its_mapping() {
        let mut holdings = holdings();
        holdings.descriptors.clear();
        holdings.keep_open(version(1), (), Demand::Requested);
        assert!(!holdings.descriptors.holds(&version(1)));
        holdings.keep_open(version(2), (), Demand::Requested);
        assert!(holdings.descriptors.holds(&version(2)));
        assert_eq!(
            holdings.descriptor(&version(2), Opened::Yes, Look::First),
            None
        );
        assert_eq!(
            holdings.descriptor(&version(2), Opened::No, Look::First),
            Some(&())
        );
        assert_eq!(holdings.keep_mapped(version(2), (), Demand::Requested), []);
        assert!(!holdings.descriptors.holds(&version(2)), "it is mapped now");
        assert!(!holdings.may_be_mapped(&version(2)));
    }
}
