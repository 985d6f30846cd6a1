//! Finding out whether the path of the root leads to another directory by now.

use std::io;
use std::sync::Arc;

use super::{Done, Syscall};
use crate::sys::beneath::Root;
use crate::sys::watches::{Walk, Watches};

/// Watches the way to the root and opens what is at its end.
#[derive(Debug)]
pub(crate) struct Follow {
    root: Arc<Root>,
    watches: Arc<Watches>,
    found: Option<(Walk, io::Result<Root>)>,
}

impl Follow {
    /// Follows the path by which `root` was opened.
    pub(crate) fn new(root: Arc<Root>, watches: Arc<Watches>) -> Follow {
        Follow {
            root,
            watches,
            found: None,
        }
    }

    pub(super) fn step(&self) -> Syscall<'_> {
        match self.found {
            None => Syscall::FindRoot(&self.root, Some(&self.watches)),
            Some(_) => Syscall::Finished,
        }
    }

    pub(super) fn found(&mut self, walk: Walk, root: io::Result<Root>) {
        self.found = Some((walk, root));
    }

    pub(super) fn finish(self) -> Done {
        let (walk, root) = self
            .found
            .unwrap_or_else(|| (Walk::default(), Err(io::ErrorKind::Interrupted.into())));
        // A root that is not there for a moment stays what it was.
        let root = root.ok().filter(|root| !root.is_same(&self.root));
        Done::Followed {
            walk,
            root: root.map(Arc::new),
        }
    }
}
