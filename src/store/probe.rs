//! Calls to the kernel that never wait. The store makes them during a decision, so they are passed in and faked in
//! tests. Calls that may wait for the disk are jobs.
//!

use std::fmt::Debug;
use std::io;
use std::ops::Range;

use inotify::EventMask;

use crate::sys::file::{Description, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::pagemap::Presence;

/// An event of a watched file or directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileEvent<'a> {
    /// The number of the watch.
    pub watch: i32,
    /// The kind of change.
    pub mask: EventMask,
    /// The name in the directory.
    pub name: Option<&'a [u8]>,
}

/// Calls to the kernel that never wait.
pub(crate) trait Probe: Debug {
    /// Describes an open file: `statx(2)` of its descriptor, 0.2 µs.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    fn describe(&self, file: &OpenFile) -> io::Result<Description>;

    /// Whether bytes of a file are in the page cache (`cachestat(2)`). `None`: unknown, for files of other owners and
    /// before Linux 6.5.
    fn is_cached(&self, file: &OpenFile, bytes: &Range<u64>) -> Option<bool>;

    /// Whether all pages of a mapping are resident. `None`: this kernel cannot tell.
    fn presence(&self, addresses: &Addresses) -> Option<Presence>;

    /// Reads the events that are queued now. Events that arrive meanwhile are left for the next call, so that a busy
    /// writer does not hold the loop.
    fn drain_events(&mut self, take: &mut dyn FnMut(FileEvent<'_>));
}

/// A kernel with fixed answers, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeProbe {
    /// The answer of [`Probe::is_cached`].
    pub cached: Option<bool>,
    /// The answer of [`Probe::presence`].
    pub present: Option<Presence>,
}

#[cfg(test)]
impl Probe for FakeProbe {
    fn describe(&self, file: &OpenFile) -> io::Result<Description> {
        Ok(file.describe()?)
    }

    fn is_cached(&self, _: &OpenFile, _: &Range<u64>) -> Option<bool> {
        self.cached
    }

    fn presence(&self, _: &Addresses) -> Option<Presence> {
        self.present
    }

    fn drain_events(&mut self, _: &mut dyn FnMut(FileEvent<'_>)) {}
}
