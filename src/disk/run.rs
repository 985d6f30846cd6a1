//! Makes the calls of a job on the calling thread: used by the engines without a ring, and for calls that
//! io_uring lacks.

use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::examine::examine;
use super::list::list;
use crate::job::{
    CHECK_LENGTH_MAX, Done, Job, JobError, LOAD_LENGTH_MAX, OneShot, Save, Syscall, SyscallResult,
};
use crate::memory::slack::{self, FreeMemory};
use crate::site::listing::Name;
use crate::site::mounts::Table;
use crate::sys::allocator;
use crate::sys::beneath::{Links, Located, Root};
use crate::sys::file::{Description, OpenFile};
use crate::sys::mapping::populate;
use crate::sys::mounts::{self as mount_table, PlainPaths};
use crate::sys::output::{self, OutputError};
use crate::sys::watches::{Walk, Watches};

/// Runs a job from its current state to its end, waiting for the disk.
pub(super) fn run(mut job: Job) -> Done {
    loop {
        let answer = match job.step() {
            Syscall::Look(root, path, links) => {
                SyscallResult::Located(root.locate(path, links).and_then(located))
            }
            Syscall::Open(root, path, links) => {
                let (root, path) = (Arc::clone(root), path.to_owned());
                SyscallResult::Opened(open(&root, job.lend_located(), &path, links))
            }
            Syscall::Describe(root, path, links) => {
                SyscallResult::Described(root.describe(path, links))
            }
            Syscall::Walk(resolve) => SyscallResult::Walked(resolve.walk()),
            Syscall::FindRoot(root, watches) => {
                let (walk, root) = find_root(root, watches);
                SyscallResult::RootFound(walk, root)
            }
            Syscall::Read(file, bytes) => SyscallResult::Read(file.read_through(&bytes)),
            Syscall::Map(map) => SyscallResult::Mapped(map.map()),
            Syscall::Examine(opened) => SyscallResult::Examined(examine(opened)),
            Syscall::List(root, listed, links) => {
                SyscallResult::Listed(list(root, listed, links).map(Box::new))
            }
            Syscall::OneShot(what) => SyscallResult::OneShot(once(what)),
            Syscall::Write(log) => {
                let log = Arc::clone(log);
                let (buffer, from) = job.lend_buffer();
                let count = (&*log).write(buffer.get(from..).unwrap_or_default());
                SyscallResult::Written(buffer, count)
            }
            Syscall::Discard => {
                drop(job.take_discarded());
                SyscallResult::Discarded
            }
            Syscall::Finished => return job.finish(),
        };
        job.answer(answer);
    }
}

fn open(
    root: &Root,
    located: Option<Located>,
    path: &CStr,
    links: Links,
) -> rustix::io::Result<(OpenFile, Description)> {
    let located = located.ok_or(Errno::AGAIN)?;
    root.open_located(located, path, links).and_then(opened)
}

/// Every found file is described, so that only regular files are opened.
pub(super) fn located(located: Located) -> rustix::io::Result<(Located, Description)> {
    let description = located.describe()?;
    Ok((located, description))
}

/// Every opened file is described, so that length and bytes of an answer come from the same file.
pub(super) fn opened(file: OpenFile) -> rustix::io::Result<(OpenFile, Description)> {
    let description = file.describe()?;
    Ok((file, description))
}

/// Opens the path of a root again, watched before that if asked to.
///
/// # Blocking
/// Waits for the disk.
pub(crate) fn find_root(root: &Root, watches: Option<&Arc<Watches>>) -> (Walk, io::Result<Root>) {
    let path = root.path();
    let walk = watches.map(|watches| watches.walk_to_root(path.to_bytes()));
    (walk.unwrap_or_default(), root.open_again())
}

fn once(what: &OneShot) -> Done {
    match what {
        OneShot::Populate(all) => {
            for addresses in all {
                // Read errors show when the bytes are sent.
                let _ = populate(addresses);
            }
            Done::Populated
        }
        OneShot::Reopen(path) => Done::Reopened(output::open_appending(path)),
        OneShot::Measure(places, free) => {
            if *free == FreeMemory::GivenBack {
                allocator::give_back();
            }
            let measured = places.measure();
            allocator::set_huge_pages(slack::huge_pages(measured.limit));
            Done::Measured(Some(measured))
        }
        OneShot::Load(path) => Done::Loaded(load(path)),
        OneShot::Save(what) => Done::Saved(save(what)),
        OneShot::Recheck(recheck) => Done::Rechecked(recheck.compare()),
        OneShot::Names(root, directory) => Done::Named(names(root, directory)),
        OneShot::Mounts(roots) => Done::Mounts(mounts(roots.iter().map(|root| &**root))),
        OneShot::Verify(verification) => Done::Verified(verification.is_passed()),
        OneShot::OpenAgain(place, version) => {
            let opened = place.open_again(version).map(Arc::new);
            Done::OpenedAgain(opened.map_err(JobError::of_reopening))
        }
    }
}

fn load(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = output::open_regular(path)?;
    file.take(LOAD_LENGTH_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that was created there since the start may not be ours to replace.
fn save(what: &Save) -> Result<(), OutputError> {
    let mut start = Vec::new();
    match output::open_regular(&what.path) {
        Ok(file) => file.take(CHECK_LENGTH_MAX).read_to_end(&mut start)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    match (what.may_replace)(&start) {
        true => output::replace(&what.path, &what.bytes),
        false => Err(OutputError::NotOurs),
    }
}

/// Reads the mount table, with the paths of these roots.
///
/// # Blocking
/// Waits for the disk, and for mounts in progress.
pub(crate) fn mounts<'a>(roots: impl IntoIterator<Item = &'a Root>) -> Option<Table> {
    let (mut paths, mut plain) = (Vec::new(), PlainPaths::default());
    for root in roots {
        paths.extend(root.absolute_paths(&mut plain).ok()?);
    }
    let table = Table::parse(&mount_table::table().ok()?, paths)?;
    Some(table.identify(mount_table::unique_id))
}

/// The names in a directory below the root; links are not followed.
fn names(root: &Root, directory: &CStr) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    root.open_directory(directory, Links::Followed)?
        .list(|name, what| {
            names.extend(Name::new(name.to_vec(), what));
            ControlFlow::Continue(())
        })?;
    Ok(names)
}
