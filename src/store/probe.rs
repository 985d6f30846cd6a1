//! Calls that never wait: the store makes them while it decides, so they are passed in and faked in tests.
//!
//! Whatever may wait for the disk is a job instead.

use std::fmt::Debug;
use std::io;
use std::ops::Range;

use inotify::EventMask;

use crate::sys::file::{Description, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::pagemap::Presence;

/// What the kernel told of a watched inode, or of one in a watched directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileEvent<'a> {
    /// The number of the watch.
    pub watch: i32,
    /// What happened.
    pub mask: EventMask,
    /// To which name in the directory.
    pub name: Option<&'a [u8]>,
}

/// What can be asked of the kernel at once.
pub(crate) trait Probe: Debug {
    /// What an open file is now: `statx(2)` of its descriptor, 0.2 µs.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    fn describe(&self, file: &OpenFile) -> io::Result<Description>;

    /// Whether bytes of a file are in the page cache (`cachestat(2)`). `None`: the kernel does not say, of files of
    /// others and before Linux 6.5.
    fn is_cached(&self, file: &OpenFile, bytes: &Range<u64>) -> Option<bool>;

    /// Whether all pages of a mapping are in memory. `None`: the kernel never says.
    fn presence(&self, addresses: &Addresses) -> Option<Presence>;

    /// Gives all events that are there now. Those that come meanwhile wait for the next time, so that whoever makes
    /// them without end does not hold the loop.
    fn drain_events(&mut self, take: &mut dyn FnMut(FileEvent<'_>));
}

/// A kernel that says what a test wants.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct FakeProbe {
    /// What [`Probe::is_cached`] says of everything.
    pub cached: Option<bool>,
    /// What [`Probe::presence`] says of everything.
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
