//! The order in which the caches are asked for a request, and what each of them counts.
//!
//! ```text
//!   path cache ──► entry ──► file cache ──► open-file cache ──► bytes
//!       │            ▲            │ too long      │ not resident: wait
//!       └─ look up ──┘            └──────►        └ not there: look up
//! ```
//!
//! The server and `spede simulate` run the same functions. They differ in the steps beside the caches ([`PathSteps`],
//! [`ContentSteps`]): the server submits jobs and asks the kernel, `simulate` knows the result from the log.

use std::rc::Rc;

use super::holdings::{self, Look};
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::cache::path::{Known, PathCache, PathRemoval};
use crate::clock::Now;
use crate::conn::CacheResult;
use crate::site::representation::Variants;
use crate::sys::file::FileVersion;

/// The steps of a request beside the path cache.
pub(crate) trait PathSteps {
    /// What the request leads to.
    type Answer;

    /// The path cache.
    fn cache(&mut self) -> &mut PathCache;

    /// Takes the result of the path cache, once for each request.
    fn note(&mut self, result: CacheResult);

    /// Answers from an entry.
    fn answer(&mut self, entry: &Rc<Entry>) -> Self::Answer;

    /// Starts the revalidation of an entry for which the request does not wait.
    fn revalidate_ahead(&mut self, entry: &Rc<Entry>);

    /// Revalidates an expired entry, and answers then.
    fn revalidate(&mut self, entry: &Rc<Entry>) -> Self::Answer;

    /// Looks the path up at the disk, and answers then.
    fn look_up(&mut self) -> Self::Answer;
}

/// Asks the path cache for a request. A request that it has not counted yet is counted, by the cache and at the entry.
pub(crate) fn find<S: PathSteps>(
    steps: &mut S,
    key: PathKey<'_>,
    look: Look,
    now: &Now,
) -> S::Answer {
    let known = match look {
        Look::First => {
            let known = steps.cache().look_up(key, now);
            if let Known::Fresh(entry) | Known::Due(entry) | Known::Expired(entry) = &known {
                entry.count_request();
            }
            steps.note(match &known {
                Known::Fresh(_) | Known::Due(_) => CacheResult::Hit,
                Known::Expired(_) => CacheResult::Expired,
                Known::Unknown => CacheResult::Miss,
            });
            known
        }
        Look::Again => steps.cache().look_up_again(key, now),
    };
    match known {
        Known::Fresh(entry) => steps.answer(&entry),
        Known::Due(entry) => {
            steps.revalidate_ahead(&entry);
            steps.answer(&entry)
        }
        Known::Expired(entry) => steps.revalidate(&entry),
        Known::Unknown => steps.look_up(),
    }
}

/// Caches the entry that a look-up found for a request, and counts the request at it. Replaced and evicted entries are
/// passed to `gone`.
pub(crate) fn remember(
    cache: &mut PathCache,
    key: PathKey<'_>,
    entry: &Rc<Entry>,
    gone: &mut dyn FnMut(Rc<Entry>, PathRemoval),
) {
    entry.count_request();
    cache.insert(key, Rc::clone(entry), gone);
}

/// Whether an entry can be revalidated by comparing the versions of its files, without opening them. Other entries are
/// looked up again.
pub(crate) fn is_comparable(entry: &Entry) -> bool {
    entry.variants().is_some_and(Variants::is_settled)
}

/// The steps of a request for the bytes of one version of a file.
pub(crate) trait ContentSteps {
    /// A file in the file cache.
    type Mapping;
    /// An open file.
    type File;
    /// What a request waits for while bytes are read.
    type Wait;

    /// Whether the file cache takes files of this length.
    fn is_mappable(&self, version: &FileVersion) -> bool;

    /// Asks the file cache.
    fn mapping(&mut self, version: &FileVersion) -> Option<Self::Mapping>;

    /// Asks the open-file cache, or takes the file that was opened for this request.
    fn descriptor(&mut self, version: &FileVersion) -> Option<Self::File>;

    /// Has bytes read that are not resident and must not be sent before they are.
    fn wait(&mut self, version: &FileVersion, file: &Self::File) -> Option<Self::Wait>;

    /// Requests for the entry so far, with this one.
    fn request_count(&self) -> u32;

    /// Whether the file is to be mapped after its first request.
    fn is_mapped_at_once(&self, file: &Self::File) -> bool;

    /// Takes the file into the file cache, for later requests.
    fn map(&mut self, version: &FileVersion, file: &Self::File);
}

/// Where the bytes of a version come from.
#[derive(Debug)]
pub(crate) enum Supplied<M, F, W> {
    /// From the file cache.
    Mapping(M),
    /// From an open file.
    File(F),
    /// They are being read.
    Waiting(W),
    /// No cache holds the file: it has to be opened.
    Missing,
}

/// Finds the bytes of a version: in the file cache, if it takes files of this length, else by an open file. A file is
/// mapped with its second request.
pub(crate) fn supply<S: ContentSteps>(
    steps: &mut S,
    version: &FileVersion,
) -> Supplied<S::Mapping, S::File, S::Wait> {
    let is_mappable = steps.is_mappable(version);
    if is_mappable && let Some(mapping) = steps.mapping(version) {
        return Supplied::Mapping(mapping);
    }
    let Some(file) = steps.descriptor(version) else {
        return Supplied::Missing;
    };
    if let Some(wait) = steps.wait(version, &file) {
        return Supplied::Waiting(wait);
    }
    if is_mappable
        && (holdings::is_asked_again(steps.request_count()) || steps.is_mapped_at_once(&file))
    {
        steps.map(version, &file);
    }
    Supplied::File(file)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;
    use crate::cache::entry::{Resolution, Trust};
    use crate::clock::sample_now;
    use crate::http::status::Status;
    use crate::site::sites::SiteId;
    use crate::sys::file::FileTime;

    const LIFETIME: Duration = Duration::from_secs(10);

    /// Records the steps of a request.
    struct Steps {
        cache: PathCache,
        taken: Vec<&'static str>,
    }

    impl PathSteps for Steps {
        type Answer = u32;

        fn cache(&mut self) -> &mut PathCache {
            &mut self.cache
        }

        fn note(&mut self, result: CacheResult) {
            self.taken.push(match result {
                CacheResult::Hit => "hit",
                CacheResult::Expired => "expired",
                CacheResult::Miss => "miss",
            });
        }

        fn answer(&mut self, entry: &Rc<Entry>) -> u32 {
            self.taken.push("answer");
            entry.request_count()
        }

        fn revalidate_ahead(&mut self, _: &Rc<Entry>) {
            self.taken.push("revalidate ahead");
        }

        fn revalidate(&mut self, entry: &Rc<Entry>) -> u32 {
            self.taken.push("revalidate");
            entry.request_count()
        }

        fn look_up(&mut self) -> u32 {
            self.taken.push("look up");
            0
        }
    }

    #[test]
    fn a_request_is_counted_once_and_answered_by_the_age_of_its_entry() {
        let key = |path| PathKey::new(SiteId::FIRST, path);
        let begin = sample_now();
        let mut steps = Steps {
            cache: PathCache::new(NonZeroUsize::MAX),
            taken: Vec::new(),
        };
        let entry = Rc::new(Entry::new(Resolution::Refused(Status::NotFound)));
        let trust = Trust {
            lifetime: LIFETIME,
            generation: steps.cache.generation(),
        };
        entry.trust(trust, None, &begin);
        let mut gone = |_, _| panic!("no entry leaves");
        remember(&mut steps.cache, key(b"/a"), &entry, &mut gone);
        #[rustfmt::skip]
        let cases: [(&[u8], _, _, &[_], _); 7] = [
            // Path  look         age  steps                                  requests
            (b"/a",  Look::First, 0,   &["hit", "answer"],                        2),
            (b"/a",  Look::Again, 0,   &["answer"],                               2),
            (b"/a",  Look::First, 6,   &["hit", "revalidate ahead", "answer"],    3),
            (b"/a",  Look::First, 10,  &["expired", "revalidate"],                4),
            (b"/a",  Look::Again, 10,  &["revalidate"],                           4),
            (b"/b",  Look::First, 0,   &["miss", "look up"],                      0),
            (b"/b",  Look::Again, 0,   &["look up"],                              0),
        ];
        for (path, look, age_s, want, requests) in cases {
            let mut now = begin;
            now.monotonic += Duration::from_secs(age_s);
            let got = find(&mut steps, key(path), look, &now);
            assert_eq!(steps.taken, want, "{look:?} after {age_s} s");
            assert_eq!(got, requests, "{look:?} after {age_s} s");
            steps.taken.clear();
        }
    }

    /// What there is of a file, and the steps of a request for it.
    #[derive(Clone, Copy, Debug)]
    struct Known {
        is_mappable: bool,
        is_mapped: bool,
        is_open: bool,
        is_resident: bool,
        request_count: u32,
        is_mapped_at_once: bool,
    }

    struct Asked(Known, Vec<&'static str>);

    impl ContentSteps for Asked {
        type Mapping = ();
        type File = ();
        type Wait = ();

        fn is_mappable(&self, _: &FileVersion) -> bool {
            self.0.is_mappable
        }

        fn mapping(&mut self, _: &FileVersion) -> Option<()> {
            self.1.push("file cache");
            self.0.is_mapped.then_some(())
        }

        fn descriptor(&mut self, _: &FileVersion) -> Option<()> {
            self.1.push("open files");
            self.0.is_open.then_some(())
        }

        fn wait(&mut self, _: &FileVersion, (): &()) -> Option<()> {
            self.1.push("resident?");
            (!self.0.is_resident).then_some(())
        }

        fn request_count(&self) -> u32 {
            self.0.request_count
        }

        fn is_mapped_at_once(&self, (): &()) -> bool {
            self.0.is_mapped_at_once
        }

        fn map(&mut self, _: &FileVersion, (): &()) {
            self.1.push("map");
        }
    }

    #[test]
    fn bytes_come_from_the_file_cache_before_an_open_file() {
        let never = FileTime {
            seconds: 0,
            nanoseconds: 0,
        };
        let version = FileVersion {
            device: 1,
            inode: 1,
            length: 1,
            modified: never,
            changed: never,
        };
        let first = Known {
            is_mappable: true,
            is_mapped: false,
            is_open: true,
            is_resident: true,
            request_count: 1,
            is_mapped_at_once: false,
        };
        let (mapped, second) = (
            Known {
                is_mapped: true,
                ..first
            },
            Known {
                request_count: 2,
                ..first
            },
        );
        #[rustfmt::skip]
        let cases: [(Known, &[_], &str); 7] = [
            (first,                                    &["file cache", "open files", "resident?"],        "File(())"),
            (second,                                   &["file cache", "open files", "resident?", "map"], "File(())"),
            (Known { is_mapped_at_once: true, ..first }, &["file cache", "open files", "resident?", "map"], "File(())"),
            (mapped,                                   &["file cache"],                                   "Mapping(())"),
            (Known { is_mappable: false, ..second },   &["open files", "resident?"],                      "File(())"),
            (Known { is_resident: false, ..second },   &["file cache", "open files", "resident?"],        "Waiting(())"),
            (Known { is_open: false, ..second },       &["file cache", "open files"],                     "Missing"),
        ];
        for (known, want, supplied) in cases {
            let mut steps = Asked(known, Vec::new());
            let got = supply(&mut steps, &version);
            assert_eq!(steps.1, want, "{known:?}");
            assert_eq!(format!("{got:?}"), supplied, "{known:?}");
        }
    }
}
