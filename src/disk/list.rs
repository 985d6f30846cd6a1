//! Reads a directory and renders its page: on helper threads, since it takes milliseconds and waits for the
//! disk.

use std::ffi::CString;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use rustix::io::Errno;

use crate::job::Listing;
use crate::site::listing::{self, Name, Names};
use crate::site::resolve::Listed;
use crate::sys::beneath::{Links, Root};
use crate::sys::file::{Description, FileKind};
use crate::sys::memory::Growing;

/// Keyed with random seeds, so that collisions cannot be constructed: others may choose the names in a
/// directory.
static DIGESTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Reads a directory and renders its page.
///
/// # Errors
/// Those of `openat2(2)` and `getdents(2)`; ENOMEM when the memory limit of pages is reached.
///
/// # Blocking
/// Waits for the disk.
pub(super) fn list(root: &Root, listed: &Listed, links: Links) -> rustix::io::Result<Listing> {
    let directory = root.open_directory(&listed.directory, links)?;
    let mut memory = Growing::default();
    let mut names = Names::default();
    let (mut is_polled, mut refused) = (false, false);
    let read = directory.list(|name, what| {
        if !listed.shows(name) {
            return ControlFlow::Continue(());
        }
        is_polled |= what.kind != FileKind::Regular || what.link_count > 1;
        let Some(what) = target(root, listed, name, *what) else {
            return ControlFlow::Continue(());
        };
        names.extend(Name::new(name.to_vec(), &what));
        refused = !memory.grow_to(names.memory_bytes());
        match refused {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let page_length = names.page_length_max();
    if refused || !memory.grow_to(names.memory_bytes() + page_length) {
        return Err(Errno::NOMEM);
    }
    let page = listing::page(listed, names).into_boxed_slice();
    Ok(Listing {
        digest: DIGESTS.hash_one(&page),
        page,
        is_polled,
    })
}

/// The target of a name, if a request for it succeeds: a dangling link or one that leaves the root has none.
fn target(root: &Root, listed: &Listed, name: &[u8], what: Description) -> Option<Description> {
    if what.kind != FileKind::Link {
        return Some(what);
    }
    let path = [listed.directory.as_bytes(), b"/", name].concat();
    let path = CString::new(path).ok()?;
    let located = root.locate(&path, Links::Followed).ok()?;
    located.describe().ok()
}
