//! A disk that carries the jobs out in virtual time, on a tree of its own.
//!
//! Each call of a job takes effect at one moment and is answered at a later one, so the tree may change before,
//! between and after. Calls end out of order, fail, come short, or hang.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use inotify::Inotify;
use rustix::io::Errno;

use super::history;
use super::profile::{CALL_MAX, Profile, Storage};
use super::random::Random;
use super::tree::{Moment, ROOT, Tree, nanoseconds};
use crate::job::{
    Compared, Done, Examined, Job, JobId, Listing, Map, Mapped, OneShot, Recheck, Remembered,
    Resolve, Syscall, SyscallResult, Unmapped, digest,
};
use crate::site::resolve::Listed;
use crate::site::validators::{Identity, hash};
use crate::sys::beneath::{Links, Located, Root};
use crate::sys::deferred_drops::{DeferredDrops, Discarded};
use crate::sys::file::{Description, FileKind, FileVersion, OpenFile};
use crate::sys::mapping::Mapping;
use crate::sys::memory::Memory;
use crate::sys::watches::{Walk, Watches};

/// Longest file that is copied instead of mapped, as in `Map::map`.
pub(super) const COPIED_LENGTH_MAX: usize = 4_096;

/// The tree, as jobs, writers and the probe share it.
pub(super) type SharedTree = Rc<RefCell<Tree>>;

/// A job under way, and what its last call gave, until it is told.
#[derive(Debug)]
struct Running {
    job: Job,
    result: Option<SyscallResult>,
    /// When its first call was made.
    began: Option<Moment>,
}

/// When a look-up was at the disk.
#[derive(Clone, Copy, Debug)]
struct LookedUp {
    began: Moment,
    ended: Moment,
}

/// The disk.
#[derive(Debug)]
pub(super) struct FakeDisk {
    tree: SharedTree,
    random: Random,
    storage: Storage,
    running: BTreeMap<u64, Running>,
    submitted: Vec<(u64, Moment)>,
    finished: Vec<(JobId, Done)>,
    bin: DeferredDrops,
    root: Arc<Root>,
    /// Gives numbers to watches; its own events are never read.
    _inotify: Option<Inotify>,
    watches: Option<Arc<Watches>>,
    /// Look-ups that are over, by path, in the order in which they ended.
    looked_up: BTreeMap<Vec<u8>, Vec<LookedUp>>,
    /// Descriptors that were given out and not yet closed.
    open_count: usize,
}

impl FakeDisk {
    /// A disk with this tree. The real directory is only opened.
    pub(super) fn new(
        tree: SharedTree,
        profile: &Profile,
        directory: &std::path::Path,
        random: Random,
    ) -> FakeDisk {
        let bin = DeferredDrops::default();
        let inotify = profile
            .is_watched
            .then(|| Inotify::init().expect("an inotify instance"));
        let watches = inotify
            .as_ref()
            .map(|inotify| Arc::new(Watches::new(inotify, bin.clone())));
        FakeDisk {
            tree,
            random,
            storage: profile.storage,
            running: BTreeMap::new(),
            submitted: Vec::new(),
            finished: Vec::new(),
            root: Arc::new(Root::open(directory, bin.clone()).expect("the directory opens")),
            bin,
            _inotify: inotify,
            watches,
            looked_up: BTreeMap::new(),
            open_count: 0,
        }
    }

    /// The root.
    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// What watches are added through.
    pub(super) fn watches(&self) -> Option<&Arc<Watches>> {
        self.watches.as_ref()
    }

    /// Whether jobs are under way or were not yet taken.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty() || self.has_results()
    }

    /// Whether results were not yet taken.
    pub(super) fn has_results(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Descriptors that somebody holds.
    pub(super) fn open_count(&self) -> usize {
        self.open_count
    }

    /// Takes a job.
    pub(super) fn submit(&mut self, id: JobId, job: Job) {
        if let Syscall::Finished = job.step() {
            self.finished.push((id, job.finish()));
            return;
        }
        let running = Running {
            job,
            result: None,
            began: None,
        };
        self.running.insert(id.0, running);
        let delay = self.latency();
        self.submitted.push((id.0, delay));
    }

    /// Jobs that were taken since the last time, and in how long [`act`](FakeDisk::act) is to be called.
    pub(super) fn take_submitted(&mut self) -> Vec<(u64, Moment)> {
        std::mem::take(&mut self.submitted)
    }

    /// Whether events wait.
    pub(super) fn has_events(&self) -> bool {
        self.tree.borrow().has_events()
    }

    /// Takes the results.
    pub(super) fn reap(&mut self, done: &mut Vec<(JobId, Done)>) {
        done.append(&mut self.finished);
    }

    /// The next call of a job takes effect, or is answered. Gives how long the next thing takes.
    pub(super) fn act(&mut self, id: u64, now: Moment) -> Option<Moment> {
        let mut running = self.running.remove(&id).expect("it is under way");
        running.began.get_or_insert(now);
        match running.result.take() {
            None => running.result = Some(self.perform(&mut running.job)),
            Some(result) => running.job.answer(result),
        }
        if running.result.is_none()
            && let Syscall::Finished = running.job.step()
        {
            self.note_look_up(&running, now);
            self.finished.push((JobId(id), running.job.finish()));
            return None;
        }
        self.running.insert(id, running);
        Some(self.latency())
    }

    fn note_look_up(&mut self, running: &Running, now: Moment) {
        if let Job::Resolve(resolve) = &running.job
            && let Some(candidate) = resolve.lookup().candidates.first()
        {
            let path = candidate.path.as_bytes().to_vec();
            self.looked_up.entry(path).or_default().push(LookedUp {
                began: running.began.unwrap_or(now),
                ended: now,
            });
        }
    }

    /// When the first of those look-ups of a path began that have ended since.
    pub(super) fn first_look_up(&self, path: &[u8], since: Moment) -> Option<Moment> {
        let all = self.looked_up.get(path)?.iter().rev();
        let ended_since = all.take_while(|look_up| look_up.ended >= since);
        ended_since.map(|look_up| look_up.began).min()
    }

    /// Does what engines do in between: closes what was let go of.
    pub(super) fn empty_bin(&mut self, count: usize) {
        for _ in 0..count {
            match self.bin.take() {
                None => return,
                Some(Discarded::Descriptor(_)) => self.open_count -= 1,
                Some(Discarded::Mapping(_)) => {}
                Some(Discarded::Watch(unwatching)) => {
                    let watch = unwatching.number();
                    drop(unwatching);
                    self.tree.borrow_mut().unwatched(watch);
                }
            }
        }
    }

    fn latency(&mut self) -> Moment {
        const MILLISECOND: Moment = 1_000_000;
        let (is_slow, is_failing) = match self.storage {
            Storage::Healthy => (false, false),
            Storage::Slow => (true, false),
            Storage::Failing => (true, true),
        };
        match self.random.below(2_000) {
            0..=9 if is_slow => self.random.between(50, 900) * MILLISECOND,
            10 if is_failing => self.random.between(1_000, 40_000) * MILLISECOND,
            // The call is one part of it, its answer another.
            _ => self.random.between(20_000, nanoseconds(CALL_MAX) / 2),
        }
    }

    /// An error, now and then.
    fn fault(&mut self) -> Option<Errno> {
        const ERRORS: [Errno; 5] = [
            Errno::IO,
            Errno::MFILE,
            Errno::NOMEM,
            Errno::AGAIN,
            Errno::INTR,
        ];
        let is_due = self.storage == Storage::Failing && self.random.is_one_in(150);
        is_due.then(|| ERRORS[self.random.index(ERRORS.len())])
    }

    fn perform(&mut self, job: &mut Job) -> SyscallResult {
        if let Syscall::Open(..) = job.step() {
            let located = job.lend_located().expect("it was located");
            return SyscallResult::Opened(self.open(&located));
        }
        match job.step() {
            Syscall::Look(_, path, _) => SyscallResult::Located(self.look(path)),
            Syscall::Describe(root, path, links) => {
                SyscallResult::Described(self.describe(root, path, links))
            }
            Syscall::Walk(resolve) => SyscallResult::Walked(self.walk(resolve)),
            Syscall::FindRoot(root, watches) => {
                let walk = watches.map_or_else(Walk::default, |_| self.walk_to_root());
                self.open_count += 1;
                SyscallResult::RootFound(walk, root.open_again())
            }
            Syscall::Read(file, bytes) => SyscallResult::Read(self.read(file, &bytes)),
            Syscall::Map(map) => SyscallResult::Mapped(self.map(map)),
            Syscall::Examine(_) => SyscallResult::Examined(Examined::by(Identity::Version)),
            Syscall::List(_, listed, _) => SyscallResult::Listed(self.list(listed)),
            Syscall::OneShot(OneShot::Populate(_)) => SyscallResult::OneShot(Done::Populated),
            Syscall::OneShot(OneShot::Recheck(recheck)) => {
                SyscallResult::OneShot(Done::Rechecked(self.compare(recheck)))
            }
            step => panic!("no job of a simulation does {step:?}"),
        }
    }

    fn descriptor(&mut self, node: usize) -> OwnedFd {
        self.open_count += 1;
        let tree = self.tree.borrow();
        tree.node(node)
            .file
            .try_clone()
            .expect("a descriptor is free")
            .into()
    }

    fn description(&self, node: usize) -> Description {
        self.tree.borrow().node(node).description
    }

    fn look(&mut self, path: &CStr) -> rustix::io::Result<(Located, Description)> {
        if let Some(error) = self.fault() {
            return Err(error);
        }
        let node = self.tree.borrow().find(path.to_bytes())?;
        let descriptor = self.descriptor(node);
        let located = self.root.adopt_located(descriptor);
        Ok((located, self.description(node)))
    }

    fn open(&mut self, located: &Located) -> rustix::io::Result<(OpenFile, Description)> {
        if let Some(error) = self.fault() {
            return Err(error);
        }
        let inode = located.describe()?.version.inode;
        let node = self.tree.borrow().of_inode(inode);
        let file = OpenFile::new(self.descriptor(node), self.bin.clone());
        Ok((file, self.description(node)))
    }

    fn describe(
        &mut self,
        root: &Root,
        path: &CStr,
        links: Links,
    ) -> rustix::io::Result<Description> {
        if path.to_bytes().starts_with(b"/") {
            return root.describe(path, links);
        }
        if let Some(error) = self.fault() {
            return Err(error);
        }
        let node = self.tree.borrow().find(path.to_bytes())?;
        Ok(self.description(node))
    }

    /// Reads a directory at one moment. It has no links and no directories in it.
    fn list(&mut self, listed: &Listed) -> rustix::io::Result<Box<Listing>> {
        if let Some(error) = self.fault() {
            return Err(error);
        }
        let names = self.tree.borrow().names(listed)?;
        let page = history::page(listed, &names);
        Ok(Box::new(Listing {
            digest: hash(&page),
            page: page.into_boxed_slice(),
            is_polled: false,
        }))
    }

    fn compare(&mut self, recheck: &Recheck) -> Vec<Compared> {
        let remembered = recheck.remembered().iter();
        remembered
            .map(|one| match self.fault() {
                Some(_) => Compared::Differs,
                None => compare(&self.tree.borrow(), one),
            })
            .collect()
    }

    /// Adds the watch of a directory to a walk.
    fn watch(&self, walk: &mut Walk, directory: usize, name: &[u8]) {
        let watches = self.watches.as_ref().expect("there are watches");
        let mut tree = self.tree.borrow_mut();
        let file = tree
            .node(directory)
            .file
            .try_clone()
            .expect("a descriptor is free");
        // Closed at once: its bin is another.
        let file = OpenFile::new(file.into(), DeferredDrops::default());
        let watch = watches.add_file(&file).expect("a watch is free");
        tree.watched(directory, watch.get_watch_descriptor_id());
        let changed = tree.node(directory).description.version.changed.seconds;
        walk.since = walk.since.max(changed);
        walk.names.push((watch.clone(), name.into()));
        walk.directory = Some(watch);
    }

    fn walk(&self, resolve: &Resolve) -> Walk {
        let mut walk = Walk::default();
        let mut here = ROOT;
        let directory = resolve.lookup().directory();
        for name in directory
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            self.watch(&mut walk, here, name);
            match self.tree.borrow().child(here, name) {
                Some(node) => here = node,
                None => {
                    walk.directory = None;
                    return walk;
                }
            }
        }
        for name in resolve.lookup().names() {
            self.watch(&mut walk, here, name);
        }
        walk
    }

    /// The way to the root, which never changes.
    pub(super) fn walk_to_root(&self) -> Walk {
        let mut walk = Walk::default();
        self.watch(&mut walk, ROOT, b"the way to the root");
        walk
    }

    fn read(&mut self, file: &OpenFile, bytes: &Range<u64>) -> io::Result<usize> {
        if let Some(error) = self.fault() {
            return Err(error.into());
        }
        let mut tree = self.tree.borrow_mut();
        let node = tree.of(file);
        let end = tree.node(node).description.version.length.min(bytes.end);
        if end <= bytes.start {
            return Ok(0);
        }
        tree.set_resident(node, true);
        let is_short = self.random.is_one_in(4);
        let length = end - bytes.start;
        let count = if is_short {
            self.random.between(1, length + 1)
        } else {
            length
        };
        usize::try_from(count).map_err(io::Error::other)
    }

    fn map(&mut self, map: &Map) -> Mapped {
        let (file, version) = (map.file(), map.version());
        let fault = self.fault();
        let watches = self
            .watches
            .as_ref()
            .expect("only what is watched is mapped");
        let mut mapped = Mapped {
            version,
            watch: None,
            memory: Err(Unmapped::Unwatched),
            digest: None,
        };
        if fault.is_some() {
            return mapped;
        }
        let watch = watches.add_file(file).expect("a watch is free");
        let mut tree = self.tree.borrow_mut();
        let node = tree.of(file);
        tree.watched(node, watch.get_watch_descriptor_id());
        mapped.watch = Some(watch);
        let is_same = tree.node(node).description.version == version;
        let memory = match is_same {
            true => map_whole(file, version.length),
            false => Err(Errno::STALE.into()),
        };
        match memory {
            Ok((memory, digest)) => (mapped.memory, mapped.digest) = (Ok(memory), Some(digest)),
            Err(error) => mapped.memory = Err(Unmapped::Failed(error)),
        }
        mapped
    }
}

/// Compares the files of a path as `Remembered::compare` does.
fn compare(tree: &Tree, remembered: &Remembered) -> Compared {
    for expectation in &remembered.expectations {
        let node = tree.find(expectation.path.as_bytes()).ok();
        let node = node.map(|node| tree.node(node));
        let node = node.filter(|node| node.description.kind == FileKind::Regular);
        let version = node.map(|node| node.description.version);
        if version != expectation.version {
            return Compared::Differs;
        }
        let held = |(held, _): &&(FileVersion, NonZeroU64)| Some(*held) == version;
        if let Some((version, remembered)) = remembered.contents.iter().find(held)
            && let Some(node) = node
        {
            let found = digest(node.content.bytes());
            if found != *remembered {
                return Compared::Content(*version, found);
            }
        }
    }
    Compared::Same
}

fn map_whole(file: &OpenFile, length: u64) -> io::Result<(Memory, NonZeroU64)> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let bytes = file.read_start(length)?;
    let digest = digest(&bytes);
    let memory = match length <= COPIED_LENGTH_MAX {
        true => Memory::Copied(bytes.into()),
        false => Memory::Mapped(Mapping::of(file, length)?),
    };
    Ok((memory, digest))
}
