//! Checks whether the path of the root resolves to another directory now.

use std::io;
use std::sync::Arc;

use super::{Done, Syscall};
use crate::sys::beneath::Root;
use crate::sys::watches::{Walk, Watches};

/// Watches the path of the root and opens its target.
#[derive(Debug)]
pub(crate) struct Follow {
    root: Arc<Root>,
    watches: Arc<Watches>,
    found: Option<(Walk, io::Result<Root>)>,
}

impl Follow {
    /// Follows the path from which `root` was opened.
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
        // A root that is missing for a moment stays in use.
        let root = root.ok().filter(|root| !root.is_same(&self.root));
        Done::Followed {
            walk,
            root: root.map(Arc::new),
        }
    }
}
