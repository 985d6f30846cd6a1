//! What a path leads to.

use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::time::{Duration, Instant};

use super::dependents::Ticket;
use super::weight::Weight;
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::site::representation::Variants;
use crate::site::resolve::{Expectation, LookupPlan};
use crate::sys::allocator::block_length;
use crate::sys::file::FileVersion;

/// What a look-up saw beside the files that it led to. Names are not kept: the look-up is planned anew when
/// it is to be checked, and has the same names in the same order.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// `None`, which is most often so: nothing.
    besides: Option<Box<Besides>>,
}

#[derive(Clone, Debug)]
struct Besides {
    /// Candidates that were not there, before the one that was.
    missing_count: usize,
    /// Precompressed files that are there and are not used, by their place among those that were looked for.
    unused: Box<[(usize, FileVersion)]>,
}

impl Seen {
    /// Of a look-up that saw all this, in order, and led to `file` with precompressed files in these codings.
    pub fn of(all: &[Expectation], file: &CStr, used: &[Coding]) -> Seen {
        let missing_count = all.iter().take_while(|one| *one.path != *file).count();
        let is_used = |path: &CStr| {
            let suffix = path.to_bytes().strip_prefix(file.to_bytes());
            let is_suffix = |coding: &Coding| suffix == Some(coding.suffix().as_bytes());
            used.iter().any(is_suffix)
        };
        let precompressed = all.iter().skip(missing_count + 1).enumerate();
        let unused = precompressed.filter(|(_, one)| !is_used(&one.path));
        let unused: Box<[_]> = unused
            .filter_map(|(place, one)| Some((place, one.version?)))
            .collect();
        let is_nothing = missing_count == 0 && unused.is_empty();
        Seen {
            besides: (!is_nothing).then(|| {
                Box::new(Besides {
                    missing_count,
                    unused,
                })
            }),
        }
    }

    /// All paths that were looked at, in order: if each still leads to the same, so does the look-up.
    pub fn expectations(&self, lookup: &LookupPlan, variants: &Variants) -> Vec<Expectation> {
        let mut all = Vec::new();
        let besides = self.besides.as_ref();
        let missing_count = besides.map_or(0, |besides| besides.missing_count);
        for (index, candidate) in lookup.candidates.iter().enumerate() {
            let is_file = index == missing_count;
            let version = is_file.then_some(variants.identity.version);
            let path = candidate.path.clone();
            all.push(Expectation { path, version });
            if is_file {
                let precompressed = candidate.precompressed.iter().enumerate();
                all.extend(precompressed.map(|(place, (coding, path))| Expectation {
                    path: path.clone(),
                    version: self.variant(place, *coding, variants),
                }));
                break;
            }
        }
        all
    }

    fn variant(&self, place: usize, coding: Coding, variants: &Variants) -> Option<FileVersion> {
        let used = variants
            .coded
            .iter()
            .find(|variant| variant.coding == coding);
        let unused = || {
            let mut unused = self.besides.as_ref()?.unused.iter();
            unused.find(|unused| unused.0 == place)
        };
        used.map(|variant| variant.version)
            .or_else(|| unused().map(|unused| unused.1))
    }
}

/// What was found for a path. Most entries are files, and a box would cost each hit a line of the cache.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// A file, with what must still hold for it to be the right one.
    File {
        /// The file and its precompressed variants.
        variants: Variants,
        /// What the look-up saw besides.
        seen: Seen,
    },
    /// A directory asked for without its slash; the path to send the client to.
    Moved(String),
    /// Nothing, or nothing that is served: 404 or 403.
    Refused(Status),
    /// A directory without an index, which is listed. Its page is not here, and its entry in no cache of paths.
    Listed,
}

impl Resolution {
    /// Bytes that it has allocated, without rendered heads.
    fn bytes(&self) -> u64 {
        match self {
            Resolution::File { variants, seen } => {
                let besides = seen.besides.as_ref().map_or(0, |besides| {
                    block_length(size_of::<Besides>()) + block_length(size_of_val(&*besides.unused))
                });
                block_length(size_of_val(&*variants.coded)) + besides
            }
            Resolution::Moved(path) => block_length(path.capacity()),
            Resolution::Refused(_) | Resolution::Listed => 0,
        }
    }
}

/// One entry of the path cache.
#[derive(Debug)]
pub struct Entry {
    /// What was found.
    pub resolution: Resolution,
    /// When the disk was last asked about it; `None`: nobody did, or something that it depends on has changed.
    confirmed: Cell<Option<Instant>>,
    /// How long it is trusted after that, in milliseconds; [`FOR_EVER_MS`]: until something tells of a change.
    lifetime_ms: Cell<u32>,
    /// How long after that whoever uses it has it checked ahead of time, in milliseconds.
    check_after_ms: Cell<u32>,
    /// Whether it was answered from after its lifetime.
    was_stale: Cell<bool>,
    generation: Cell<u32>,
    /// Its place among those that are told of changes.
    ticket: Held,
    /// Spellings of its path that are remembered.
    spellings: Cell<u32>,
    requests: Cell<u32>,
    bytes: Cell<u64>,
    /// Whether it is in the list of those with most bytes.
    is_listed: Cell<bool>,
    /// What it takes, with all that belongs to it but heads.
    _weight: Weight,
}

/// A lifetime that does not end.
const FOR_EVER_MS: u32 = u32::MAX;

/// How far an entry may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It may be answered from.
    Fresh,
    /// The same, and its lifetime is half over: whoever uses it has it checked in the background.
    Due,
    /// It must be checked first.
    Expired,
}

/// A ticket that may be exchanged for another.
#[derive(Default)]
struct Held(Cell<Option<Ticket>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// How long an entry is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// Without a look at the disk.
    pub lifetime: Duration,
    /// In no later generation than this, which is the one in which the disk was asked.
    pub generation: u32,
}

impl Trust {
    /// How long an entry is trusted whose directories are watched.
    pub const FOR_EVER: Duration = Duration::MAX;
}

/// When an entry was confirmed, how long that holds, and when it is to be checked ahead of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) confirmed: Option<Instant>,
    pub(super) lifetime_ms: u32,
    pub(super) check_after_ms: u32,
    pub(super) generation: u32,
}

impl Entry {
    /// How far it is trusted.
    pub(super) fn times(&self) -> Times {
        Times {
            confirmed: self.confirmed.get(),
            lifetime_ms: self.lifetime_ms.get(),
            check_after_ms: self.check_after_ms.get(),
            generation: self.generation.get(),
        }
    }

    /// Its place among those that are told of changes, which it has no longer.
    pub(super) fn take_ticket(&self) -> Option<Ticket> {
        self.ticket.0.take()
    }

    /// Becomes the entry for what leads to this status, with nothing counted.
    pub(super) fn restore(&mut self, status: Status, times: Times, ticket: Option<Ticket>) {
        // A status takes nothing besides.
        self.resolution = Resolution::Refused(status);
        self.confirmed = Cell::new(times.confirmed);
        self.lifetime_ms = Cell::new(times.lifetime_ms);
        self.check_after_ms = Cell::new(times.check_after_ms);
        self.generation = Cell::new(times.generation);
        self.ticket = Held(Cell::new(ticket));
        self.was_stale = Cell::new(false);
        self.spellings = Cell::new(0);
        self.requests = Cell::new(0);
        self.bytes = Cell::new(0);
        self.is_listed = Cell::new(false);
    }

    /// An entry that nobody trusts yet.
    pub fn new(resolution: Resolution) -> Entry {
        let counters = 2 * size_of::<usize>();
        let own = block_length(counters + size_of::<Entry>());
        Entry {
            _weight: Weight::of(own + resolution.bytes()),
            resolution,
            confirmed: Cell::new(None),
            lifetime_ms: Cell::new(0),
            check_after_ms: Cell::new(0),
            was_stale: Cell::new(false),
            generation: Cell::new(0),
            ticket: Held::default(),
            spellings: Cell::new(0),
            requests: Cell::new(0),
            bytes: Cell::new(0),
            is_listed: Cell::new(false),
        }
    }

    /// One that is trusted for `lifetime` in the first generation.
    #[cfg(test)]
    pub(super) fn trusted(resolution: Resolution, now: &Now, lifetime: Duration) -> Entry {
        let entry = Entry::new(resolution);
        let generation = 0;
        let trust = Trust {
            lifetime,
            generation,
        };
        entry.trust(trust, None, now);
        entry
    }

    /// How far it may be relied on now, in this generation.
    pub fn validity(&self, now: &Now, generation: u32) -> Validity {
        let Some(age) = self.age(now, generation) else {
            return Validity::Expired;
        };
        let lifetime_ms = self.lifetime_ms.get();
        let check_after_ms = self.check_after_ms.get();
        // Almost every hit: the next whole second is before both.
        let soon_ms = (age.as_secs() + 1).saturating_mul(1_000);
        if soon_ms <= u64::from(check_after_ms.min(lifetime_ms)) {
            return Validity::Fresh;
        }
        let age_ms = milliseconds(age);
        let is_over = match lifetime_ms {
            // One that is told of changes has rested: what is in use is compared before.
            FOR_EVER_MS => {
                check_after_ms > 0 && age_ms >= check_after_ms.saturating_add(check_after_ms / 3)
            }
            _ => age_ms >= lifetime_ms,
        };
        if is_over {
            return Validity::Expired;
        }
        match age_ms >= check_after_ms {
            true => Validity::Due,
            false => Validity::Fresh,
        }
    }

    /// How long ago the disk was asked; `None` where something that it depends on is known to have changed since.
    pub fn age(&self, now: &Now, generation: u32) -> Option<Duration> {
        let confirmed = self.confirmed.get()?;
        self.is_of(generation)
            .then(|| now.monotonic.saturating_duration_since(confirmed))
    }

    fn age_ms(&self, now: &Now, generation: u32) -> Option<u32> {
        self.age(now, generation).map(milliseconds)
    }

    /// Whether nothing has come of the last check, and the next one is not to be made yet.
    pub fn is_check_postponed(&self, now: &Now, generation: u32) -> bool {
        let age_ms = self.age_ms(now, generation);
        age_ms.is_some_and(|age_ms| age_ms < self.check_after_ms.get())
    }

    /// Whether it may be answered from when it is of this age.
    pub fn is_trusted_at(&self, age: Duration) -> bool {
        milliseconds(age) < self.lifetime_ms.get()
    }

    /// A check has begun: it is not due again while the entry is trusted.
    pub fn begin_check(&self) {
        self.check_after_ms.set(self.lifetime_ms.get());
    }

    /// Whether something tells of all that changes it.
    pub fn is_watched(&self) -> bool {
        self.lifetime_ms.get() == FOR_EVER_MS
    }

    /// Has one that is told of changes compared all the same once in this time: by whoever uses it in the last quarter
    /// of it, or before it is used again after that. Zero: by whoever uses it next.
    pub fn compare_every(&self, every: Duration) {
        self.check_after_ms.set(milliseconds(every / 4 * 3));
    }

    /// It was compared beside the requests and holds. Gives whether that counts: where something is known to have
    /// changed since, it does not.
    pub fn confirm(&self, now: &Now, generation: u32) -> bool {
        let counts = self.confirmed.get().is_some() && self.is_of(generation);
        if counts {
            self.confirmed.set(Some(now.monotonic));
        }
        counts
    }

    /// Has it checked in `pause` from now on, not before.
    pub fn postpone_check(&self, pause: Duration, now: &Now) {
        if let Some(age) = self.age(now, self.generation.get()) {
            self.check_after_ms.set(milliseconds(age + pause));
        }
    }

    /// Notes that it was answered from after its lifetime. Gives whether that is the first time since it was
    /// confirmed.
    pub fn note_stale(&self) -> bool {
        !self.was_stale.replace(true)
    }

    /// Whether it was, since it was confirmed.
    pub fn was_stale(&self) -> bool {
        self.was_stale.get()
    }

    /// The device of the file that it leads to, if it leads to one.
    pub fn device(&self) -> Option<u64> {
        self.variants()
            .map(|variants| variants.identity.version.device)
    }

    /// The file that it leads to, and its precompressed variants.
    pub fn variants(&self) -> Option<&Variants> {
        match &self.resolution {
            Resolution::File { variants, .. } => Some(variants),
            Resolution::Moved(_) | Resolution::Refused(_) | Resolution::Listed => None,
        }
    }

    /// Whether the disk was asked in this generation.
    pub fn is_of(&self, generation: u32) -> bool {
        self.generation.get() == generation
    }

    /// Trusts the entry: the disk was asked. For less time while the metadata of its files does not tell their
    /// bytes from others yet.
    pub fn trust(&self, trust: Trust, ticket: Option<Ticket>, now: &Now) {
        let own = self.variants().and_then(|variants| variants.lifetime(now));
        let lifetime_ms = milliseconds(trust.lifetime);
        let (lifetime_ms, check_after_ms) = match own.map(milliseconds) {
            Some(ms) if ms < lifetime_ms => (ms, ms),
            _ if lifetime_ms == FOR_EVER_MS => (FOR_EVER_MS, FOR_EVER_MS),
            _ => (lifetime_ms, lifetime_ms / 2),
        };
        self.lifetime_ms.set(lifetime_ms);
        self.check_after_ms.set(check_after_ms);
        self.confirmed.set(Some(now.monotonic));
        self.was_stale.set(false);
        self.generation.set(trust.generation);
        self.ticket.0.set(ticket);
    }

    /// Trusts the entry no longer: something that it depends on has changed.
    pub fn distrust(&self) {
        self.confirmed.set(None);
    }

    /// Counts a request and gives how many there have been.
    pub fn count_request(&self) -> u32 {
        let requests = self.requests.get().saturating_add(1);
        self.requests.set(requests);
        requests
    }

    /// Requests so far.
    pub fn request_count(&self) -> u32 {
        self.requests.get()
    }

    /// Counts bytes of content that were answered with, and gives how many there have been.
    pub fn count_bytes(&self, bytes: u64) -> u64 {
        let bytes = self.bytes.get().saturating_add(bytes);
        self.bytes.set(bytes);
        bytes
    }

    /// Bytes of content so far.
    pub fn byte_count(&self) -> u64 {
        self.bytes.get()
    }

    /// Another spelling of its path is remembered.
    pub(super) fn add_spelling(&self) {
        self.spellings.set(self.spellings.get().saturating_add(1));
    }

    /// A spelling is remembered no more. Gives whether that was the last one.
    pub(super) fn drop_spelling(&self) -> bool {
        self.spellings.set(self.spellings.get().saturating_sub(1));
        self.spellings.get() == 0
    }

    /// Whether some spelling of its path is remembered.
    pub(super) fn is_remembered(&self) -> bool {
        self.spellings.get() > 0
    }

    /// Whether it says the same of a file as what was found now.
    pub(super) fn is_same(&self, found: &Resolution) -> bool {
        match (&self.resolution, found) {
            (Resolution::File { variants: own, .. }, Resolution::File { variants, .. }) => {
                let known = |one: &Variants| {
                    let file = &one.identity;
                    (file.validators.entity_tag, file.identity)
                };
                own.versions().eq(variants.versions()) && known(own) == known(variants)
            }
            _ => false,
        }
    }

    /// Whether it is in the list of those with most bytes.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed.get()
    }

    /// It is from now on.
    pub(super) fn enlist(&self) {
        self.is_listed.set(true);
    }

    /// It is no longer.
    pub(super) fn strike(&self) {
        self.is_listed.set(false);
    }

    /// Has it count on from so many.
    pub(super) fn take_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// Takes over the counts of the entry that this one replaces.
    pub fn inherit_requests(&self, predecessor: &Entry) {
        self.requests.set(predecessor.requests.get());
        self.bytes.set(predecessor.bytes.get());
    }
}

/// Whole milliseconds, as far as they can be told apart from [`FOR_EVER_MS`].
fn milliseconds(time: Duration) -> u32 {
    let whole = u32::try_from(time.as_secs()).unwrap_or(FOR_EVER_MS);
    let whole_ms = whole.saturating_mul(1_000);
    whole_ms.saturating_add(time.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::curve::tests::now;
    use crate::site::media_type::MediaTypes;
    use crate::site::representation::{Representation, Vary};
    use crate::site::resolve::{self, Directories, DotFiles, Naming};
    use crate::site::validators::Sighting;
    use crate::sys::file::FileTime;

    fn version(inode: u64) -> FileVersion {
        let time = FileTime {
            seconds: 1,
            nanoseconds: 2,
        };
        FileVersion {
            device: 1,
            inode,
            length: 3,
            modified: time,
            changed: time,
        }
    }

    #[test]
    fn what_a_look_up_saw_is_known_without_the_names() {
        let naming = Naming {
            index: vec!["index.htm".into(), "index.html".into(), "x.png".into()],
            dot_files: DotFiles::Refused,
            directories: Directories::Hidden,
            media_types: MediaTypes::default(),
        };
        let (br, zstd, gzip) = (Coding::Brotli, Coding::Zstd, Coding::Gzip);
        type Case<'a> = (&'a [u8], &'a [Option<u64>], usize, &'a [Coding], &'a str);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            // path        inodes seen, in order                      file at  used
            (b"/a.png",    &[Some(1)],                                     0, &[],         "no media that compress"),
            (b"/a.html",   &[Some(1), None, None, None],                   0, &[],         "no twins"),
            (b"/a.html",   &[Some(1), Some(2), None, Some(3)],             0, &[br, gzip], "two twins"),
            (b"/a.html",   &[Some(1), Some(2), Some(4), Some(3)],          0, &[zstd],     "two that are too old"),
            (b"/a.html",   &[Some(1), Some(2), Some(2), None],             0, &[br],       "one file by two names"),
            (b"/d/",       &[None, Some(1), Some(2), None, Some(3)],       1, &[gzip],     "the second index"),
            (b"/d/",       &[None, None, Some(1)],                         2, &[],         "the last index"),
        ];
        for (path, inodes, at, used, because) in cases {
            let lookup = resolve::plan(path, &naming).expect("a path");
            let mut names: Vec<_> = lookup.candidates[..=*at]
                .iter()
                .map(|candidate| candidate.path.clone())
                .collect();
            names.extend(
                lookup.candidates[*at]
                    .precompressed
                    .iter()
                    .map(|variant| variant.1.clone()),
            );
            let all: Vec<Expectation> = names
                .into_iter()
                .zip(*inodes)
                .map(|(path, inode)| Expectation {
                    path,
                    version: inode.map(version),
                })
                .collect();
            assert_eq!(all.len(), inodes.len(), "{because}");
            let describe = |inode, coding| {
                Representation::new(
                    "a/b",
                    Sighting::of(version(inode)),
                    coding,
                    Vary::Nothing,
                    &now(),
                )
            };
            let variant = |coding: &Coding| {
                let mut precompressed = lookup.candidates[*at].precompressed.iter();
                let place = precompressed
                    .position(|variant| variant.0 == *coding)
                    .expect("a twin");
                describe(inodes[at + 1 + place].expect("it is there"), *coding)
            };
            let variants = Variants {
                identity: describe(1, Coding::Identity),
                coded: used.iter().map(variant).collect(),
            };
            let seen = Seen::of(&all, &lookup.candidates[*at].path, used);
            assert_eq!(seen.expectations(&lookup, &variants), all, "{because}");
        }
    }
}
