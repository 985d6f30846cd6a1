//! The file cache and the open-file cache: which files they take, keep and release.
//!
//! Does not know what the caches hold, nor whether it is still usable. The server holds mappings and descriptors,
//! `spede simulate` holds nothing.

use crate::cache::MAP_AFTER_REQUEST_COUNT;
use crate::cache::content::{Budget, ContentCache};
use crate::cache::entry::Entry;
use crate::cache::path::PathRemoval;
use crate::settings::CacheBudget;
use crate::site::representation::Variants;
use crate::sys::file::FileVersion;

/// Whether a cache was already asked for a request: it counts each request once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    #[default]
    First,
    Again,
}

impl Look {
    /// Asks a cache for a version.
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

/// Why a job was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// A request waits for it.
    Requested,
    /// A request is expected.
    Prefetch,
}

/// Whether a file was opened for the current request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// It was: a miss of the open-file cache.
    Yes,
    /// It was not.
    No,
}

/// The caches of content, by the version of the file. Their order is that of [`super::caches::supply`].
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
    /// Empty caches with at most `descriptor_count_max` open files.
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

    /// Whether the file cache takes files of this length.
    pub(crate) fn is_mappable(&self, version: &FileVersion) -> bool {
        version.length <= self.map_file_length_max
    }

    /// Asks the open-file cache for a version. A file that was opened for the request counts as a miss and is not
    /// looked up.
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

    /// Caches a descriptor, unless the file is mapped.
    pub(crate) fn keep_open(&mut self, version: FileVersion, file: D, demand: Demand) {
        if version.length > 0 && !self.maps.holds(&version) {
            match demand {
                Demand::Prefetch => drop(self.descriptors.fill(version, file)),
                Demand::Requested => drop(self.descriptors.insert(version, file)),
            }
        }
    }

    /// Whether the file cache would admit this version now.
    pub(crate) fn may_be_mapped(&self, version: &FileVersion) -> bool {
        !self.maps.holds(version) && self.maps.has_room_for(version.length)
    }

    /// Caches a mapping. Returns the evicted versions; `version` is one of them if it was not admitted.
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
        // The file stays open if its mapping may be evicted soon: the next request would need the descriptor.
        if self.maps.has_room_for_all() {
            self.descriptors.release(&version);
        }
        evicted.into_iter().map(|(version, _)| version).collect()
    }

    /// An entry has left the path cache for another one. Returns the versions that are no longer requested.
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

    /// An entry was evicted. The next request for its path opens its file again, so the descriptor is not needed.
    pub(crate) fn release_descriptors(&mut self, entry: &Entry) {
        for version in entry.variants().into_iter().flat_map(Variants::versions) {
            self.descriptors.release(&version);
        }
    }

    /// A path has another result now. The previous version is no longer requested.
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

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.maps.clear();
        self.descriptors.clear();
    }
}

/// Whether an entry has had enough requests for its file to be mapped.
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
