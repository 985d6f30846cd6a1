//! What the kernel would say at once, said by the tree.

use std::cell::RefCell;
use std::io;
use std::ops::Range;

use super::disk::SharedTree;
use super::random::Random;
use crate::store::probe::{FileEvent, Probe};
use crate::sys::file::{Description, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::pagemap::Presence;

/// Asks the tree.
#[derive(Debug)]
pub(super) struct TreeProbe {
    /// The tree.
    pub tree: SharedTree,
    /// Whether the kernel says what is in the page cache.
    pub is_told_of_pages: bool,
    /// For page tables, which forget now and then.
    pub random: RefCell<Random>,
}

impl Probe for TreeProbe {
    fn describe(&self, file: &OpenFile) -> io::Result<Description> {
        let tree = self.tree.borrow();
        Ok(tree.node(tree.of(file)).description)
    }

    fn is_cached(&self, file: &OpenFile, _: &Range<u64>) -> Option<bool> {
        let tree = self.tree.borrow();
        self.is_told_of_pages
            .then(|| tree.node(tree.of(file)).is_resident)
    }

    fn presence(&self, _: &Addresses) -> Option<Presence> {
        let said = match self.random.borrow_mut().below(10) {
            0 => Presence::Absent,
            1 => Presence::Unknown,
            _ => Presence::Present,
        };
        self.is_told_of_pages.then_some(said)
    }

    fn drain_events(&mut self, take: &mut dyn FnMut(FileEvent<'_>)) {
        let events = self.tree.borrow_mut().take_events();
        for event in &events {
            take(FileEvent {
                watch: event.watch,
                mask: event.mask,
                name: event.name.as_deref(),
            });
        }
    }
}
