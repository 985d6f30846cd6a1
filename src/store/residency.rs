//! Which windows of open files are known to be in the page cache.
//!
//! `sendfile` waits for the disk, whatever flags its file has. So a job reads each window before it is sent. Whether a
//! window that was read or sent before is still resident, `cachestat` tells the owner of the file. For other users it
//! is refused, and `mincore` gives wrong results. For them, a window that was not used for a moment is read again
//! before a response begins with it. A window that was read for a response counts as resident for some seconds, and
//! while the response is in the middle of it. Otherwise a peer that takes a window in ten pieces would have this
//! window and the next one read ten times.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use lru::LruCache;

use crate::store::probe::Probe;
use crate::sys::file::{FileVersion, OpenFile};

/// Length of a window in bytes: one job reads it, and one connection has it ready.
pub(crate) const WINDOW_LENGTH: u64 = 512 * 1024;
/// How long after its last use a window counts as resident.
const TRUST_UNASKED: Duration = Duration::from_millis(20);
/// The same if the kernel cannot tell, for a response in the middle of a window, and for mappings before Linux 6.7.
pub(crate) const TRUST: Duration = Duration::from_secs(5);
/// How long after its last use a mapping is sent without a check of its pages.
pub(crate) const TRUST_MAPPED: Duration = Duration::from_secs(1);
/// Maximum number of windows in flight for which windows are read ahead: 64 MiB over all connections. A window that a
/// connection waits for is read anyway, within the bounds of the disk queue.
pub(super) const WINDOWS_UNDER_WAY_MAX: usize = 128;
/// Maximum number of windows in the table: 32 GiB of files, in about 6 MiB of memory.
const WINDOW_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Memory of one window in bytes: a node of the list with two links, and a pair of pointers in a table that is between
/// half and seven eighths full.
const WINDOW_BYTES: u64 = (size_of::<(Window, Use)>() + 16 + 24) as u64;

/// How long after a job has read it a window is sent without being read again. A day after the last access, `relatime`
/// has the next one write the access time (`mount(8)`), which may wait for the disk. So a job has to make that access.
const READ_AGAIN: Duration = Duration::from_secs(23 * 60 * 60);

/// The position of a response in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowUse {
    /// It is in the previous window, and asks whether this one has to be read ahead.
    Ahead,
    /// At its start.
    Start,
    /// In the middle.
    Midst,
}

/// When a job has read a window, and when it was last used.
#[derive(Clone, Copy, Debug)]
struct Use {
    read: Instant,
    last: Instant,
    /// Whether no byte of it was sent since it was read: its peer may accept bytes only later.
    is_new: bool,
}

/// One window of one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    version: FileVersion,
    index: u64,
}

impl Window {
    /// The window that a byte of a file lies in.
    pub(crate) fn at(version: FileVersion, offset: u64) -> Window {
        Window {
            version,
            index: offset / WINDOW_LENGTH,
        }
    }

    /// The version of its file.
    pub(super) fn version(&self) -> FileVersion {
        self.version
    }

    /// Its range in the file.
    pub(crate) fn bytes(&self) -> Range<u64> {
        let start = self.index * WINDOW_LENGTH;
        start..(start + WINDOW_LENGTH).min(self.version.length)
    }

    /// The next window, if it begins before byte `end` and within the file.
    pub(crate) fn next_before(&self, end: u64) -> Option<Window> {
        let next = Window {
            index: self.index + 1,
            ..*self
        };
        (next.bytes().start < end && !next.bytes().is_empty()).then_some(next)
    }
}

/// The windows that were read or sent.
#[derive(Debug)]
pub(crate) struct Residency {
    used: LruCache<Window, Use, RandomState>,
}

impl Residency {
    /// An empty table.
    pub(crate) fn new() -> Residency {
        let mut used = LruCache::unbounded_with_hasher(RandomState::default());
        used.resize(WINDOW_COUNT_MAX);
        Residency { used }
    }

    /// Memory of the table in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.used.len() as u64 * WINDOW_BYTES
    }

    /// Limits the memory of the table, in bytes.
    pub(crate) fn set_bytes_max(&mut self, bytes_max: u64) {
        let count = usize::try_from(bytes_max / WINDOW_BYTES).unwrap_or(usize::MAX);
        let count = NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        self.used.resize(count.min(WINDOW_COUNT_MAX));
    }

    /// Whether a window of `file` may be sent now. If so, it counts as used, unless it is ahead.
    pub(crate) fn is_resident(
        &mut self,
        window: Window,
        file: &OpenFile,
        place: WindowUse,
        probe: &dyn Probe,
        now: Instant,
    ) -> bool {
        let Some(used) = self.used.get_mut(&window) else {
            return false;
        };
        let idle = now.saturating_duration_since(used.last);
        let told = match idle <= TRUST_UNASKED {
            true => Some(true),
            false => probe.is_cached(file, &window.bytes()),
        };
        let is_trusted = idle <= TRUST && (place != WindowUse::Start || used.is_new);
        let is_there =
            now.saturating_duration_since(used.read) <= READ_AGAIN && told.unwrap_or(is_trusted);
        if is_there && place != WindowUse::Ahead {
            used.last = now;
        }
        is_there
    }

    /// Notes that bytes of a window were sent.
    pub(crate) fn note_sent(&mut self, window: Window, now: Instant) {
        if let Some(used) = self.used.peek_mut(&window) {
            used.last = now;
            used.is_new = false;
        }
    }

    /// Whether the kernel tells which bytes of a file are resident: to its owner, to users who may write it, and from
    /// Linux 6.5 on.
    pub(crate) fn is_told_of(file: &OpenFile, probe: &dyn Probe) -> bool {
        probe.is_cached(file, &(0..1)).is_some()
    }

    /// Removes the windows of a version: its pages were reclaimed. O(windows).
    pub(crate) fn forget(&mut self, version: &FileVersion) {
        let mut window = Some(Window::at(*version, 0));
        while let Some(gone) = window {
            self.used.pop(&gone);
            window = gone.next_before(version.length);
        }
    }

    /// Removes a window that a job begins to read. Pages that are being read count as cached, so its state is unknown
    /// until the job is done.
    pub(crate) fn read_began(&mut self, window: Window) {
        self.used.pop(&window);
    }

    /// Notes that a window was read.
    pub(crate) fn was_read(&mut self, window: Window, now: Instant) {
        let used = Use {
            read: now,
            last: now,
            is_new: true,
        };
        self.used.put(window, used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::probe::FakeProbe;
    use crate::sys::beneath::Root;
    use crate::sys::deferred_drops::DeferredDrops;

    fn file() -> (tempfile::TempDir, OpenFile, FileVersion) {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a"), "x").expect("a file");
        let root = Root::open(directory.path(), DeferredDrops::default()).expect("a root");
        let file = root.open_file(c"a").expect("a file");
        let version = file.describe().expect("a description").version;
        (directory, file, version)
    }

    #[test]
    fn a_window_is_sent_as_long_as_it_was_just_used_or_the_kernel_has_it() {
        use WindowUse::{Ahead, Midst, Start};
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let ms = Duration::from_millis;
        let (_directory, file, version) = file();
        let window = Window::at(version, 0);
        #[rustfmt::skip]
        let cases = [
            // read ago, sent,  use,   kernel says, resident, because
            (ms(0),     false, Start, None,        true,  "it was just read"),
            (ms(20),    false, Start, Some(false), true,  "used a moment ago: nobody is asked"),
            (ms(21),    false, Start, Some(false), false, "the kernel has taken it"),
            (ms(21),    true,  Start, Some(true),  true,  "the kernel has it"),
            (ms(5_000), false, Start, None,        true,  "it was read for this answer"),
            (ms(5_001), false, Start, None,        false, "too long ago to be trusted"),
            (ms(21),    true,  Start, None,        false, "it was read for an earlier answer"),
            (ms(21),    true,  Midst, None,        true,  "the answer is in the midst of it"),
            (ms(21),    true,  Ahead, None,        true,  "it is not needed yet"),
            (DAY,       true,  Midst, Some(true),  false, "the access time is to be written by a job"),
        ];
        for (ago, is_sent, place, cached, want, because) in cases {
            let (read, mut residency) = (Instant::now(), Residency::new());
            residency.read_began(window);
            residency.was_read(window, read);
            if is_sent {
                residency.note_sent(window, read);
            }
            let probe = FakeProbe {
                cached,
                ..FakeProbe::default()
            };
            let got = residency.is_resident(window, &file, place, &probe, read + ago);
            assert_eq!(got, want, "{because}");
        }
    }

    #[test]
    fn a_window_that_is_being_read_again_is_not_sent() {
        let (_directory, file, version) = file();
        let (now, mut residency) = (Instant::now(), Residency::new());
        let (window, probe) = (Window::at(version, 0), FakeProbe::default());
        let is_resident = |residency: &mut Residency| {
            residency.is_resident(window, &file, WindowUse::Start, &probe, now)
        };
        assert!(!is_resident(&mut residency), "nothing is known of it");
        residency.was_read(window, now);
        assert!(is_resident(&mut residency));
        residency.read_began(window);
        assert!(!is_resident(&mut residency));
    }
}
