//! Watches on files and directories (`inotify(7)`), and the walk that finds the directories a path depends on.
//!
//! A walk opens nothing that is served: it says in which directories which names were looked up on
//! the way, links included, and each directory is watched *before* a name is looked up in it. So
//! a lookup after the walk either sees a change or gets an event for it.
//!
//! Adding a watch asks the file system for permission and waits for the disk, so that is for helpers
//! and for the start; removing one is for the bin.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use inotify::{Inotify, WatchDescriptor, WatchMask};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::deferred_drops::{DeferredDrops, Discarded, Unwatching};
use super::describe::describe;
use super::file::{Description, FileKind, OpenFile};

/// Links that are followed in one walk; the kernel follows as many (`path_resolution(7)`).
const LINK_COUNT_MAX: usize = 40;
/// Names that one walk may note; a look-up of more is not watched.
const NAME_COUNT_MAX: usize = 256;
/// Rounds in which the way to the root is walked, until two agree.
const ROUND_COUNT_MAX: usize = 8;
/// The name that stands for the directory itself: no entry has it.
pub(crate) const ITSELF: &[u8] = b"";

/// What stands for all names in a directory: none has a slash in it.
pub(crate) const ANY: &[u8] = b"/";

/// Changes of the names in a directory.
const NAMES: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE)
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::MASK_ADD);
/// Those, and changes of the files in it. The end of a writing is among them because a write through
/// a shared mapping raises no other event.
const CONTENT: WatchMask = NAMES
    .union(WatchMask::MODIFY)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::CLOSE_WRITE);
/// The directory itself goes away.
const AWAY: WatchMask = WatchMask::MOVE_SELF
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::MASK_ADD);

/// A mapped file is another version: it was written to, or a name of it was given to another file or removed,
/// which changes its number of links.
const FILE: WatchMask = WatchMask::MODIFY.union(WatchMask::ATTRIB);

/// A name is removed. A directory that somebody holds open does not tell of its own end, its parent does.
const REMOVED: WatchMask = WatchMask::DELETE
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::MASK_ADD);

/// File systems that tell all their changes: those of this machine. On a network file system others
/// make changes that nobody tells here; FUSE is whatever its server is; the lower layers of an
/// overlay change unseen. Those that take two names for one (FAT, NTFS, HFS+) tell of a name that may
/// not be the one that was looked up. `statfs(2)`, `linux/magic.h`.
const TELLING: [u64; 16] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // Btrfs
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
    0xF2F5_2010, // F2FS
    0x2FC1_2FC1, // ZFS
    0xCA45_1A4E, // bcachefs
    0x7371_7368, // SquashFS
    0xE0F5_E1E2, // EROFS
    0x9660,      // ISO 9660
    0x3434,      // NILFS
    0x1501_3346, // UDF
    0x5265_4973, // ReiserFS
    0x7275,      // romfs
    0x28CD_3D45, // cramfs
];
/// A change made through the overlay itself is told; enough for the way to the root.
const OVERLAY: u64 = 0x794C_7630;

/// Why something cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// The file system does not tell of all changes.
    FileSystem,
    /// The kernel refuses: ENOSPC past `max_user_watches`, EACCES where the directory may be
    /// searched but not read.
    Refused(Errno),
    /// Too many names or links on the way, or a way that does not come to rest.
    TooLong,
}

/// Whether the files of a file system are changed by this kernel alone, by what `statfs(2)` says of it.
pub(super) fn is_of_this_machine(magic: u64) -> bool {
    TELLING.contains(&magic) || magic == OVERLAY
}

/// The directories that something depends on, and the names in them.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Each watched directory, and a name that was looked up in it after that.
    pub names: Vec<(WatchDescriptor, Box<[u8]>)>,
    /// The directory that a look-up's names are in, where no link led there.
    pub directory: Option<WatchDescriptor>,
    /// When a directory or a link on the way was last given its name, in seconds since 1970; later where what
    /// is in a directory has changed since, for that moves its ctime too.
    pub since: i64,
    /// Why it is not all that must be watched.
    pub unwatched: Option<Unwatched>,
}

/// What watches are added through, from any thread.
#[derive(Debug)]
pub(crate) struct Watches {
    watches: inotify::Watches,
    deferred_drops: DeferredDrops,
    /// Types of file systems by device.
    types: Mutex<HashMap<u64, u64>>,
}

/// What walks go through.
#[derive(Debug)]
struct Directory {
    descriptor: OwnedFd,
    device: u64,
    watch: std::cell::OnceCell<WatchDescriptor>,
}

/// A name and what it leads to, the link not followed.
enum Found {
    Directory(Directory),
    Link(Vec<u8>),
    Else,
}

/// A walk ends before its path does: something is not there, is no directory, or not watched.
struct Ended;

/// Which directories a walk may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// Those beneath the one where it began, as `RESOLVE_BENEATH`.
    Root,
    /// All.
    Machine,
}

struct Walker<'a> {
    watches: &'a Watches,
    within: Within,
    link_count: usize,
    /// Which directories and links it came through.
    trace: Vec<(u64, u64)>,
    walk: Walk,
}

impl Watches {
    /// Adds watches to an instance; removed ones become deferred drops.
    pub(crate) fn new(inotify: &Inotify, deferred_drops: DeferredDrops) -> Watches {
        Watches {
            watches: inotify.watches(),
            deferred_drops,
            types: Mutex::default(),
        }
    }

    /// Walks to a directory beneath a root and looks names up there, each of which may be a link
    /// that leads on. Both are paths relative to the root.
    pub(super) fn walk_beneath<'a>(
        &self,
        root: BorrowedFd<'_>,
        directory: &[u8],
        names: impl Iterator<Item = &'a [u8]>,
    ) -> Walk {
        let mut walker = Walker::new(self, Within::Root);
        let Ok((begin, what)) = open(root, OsStr::new(".")) else {
            walker.walk.unwatched = Some(Unwatched::TooLong);
            return walker.walk;
        };
        walker.walk.since = what.version.changed.seconds;
        let mut place = vec![Rc::new(begin)];
        let mut direct = None;
        if walker.follow(&mut place, directory).is_ok() {
            if walker.link_count == 0 {
                direct = place.last().map(Rc::clone);
            }
            for name in names {
                if name == ANY {
                    // What is wrong with it was noted.
                    let _ = place.last().map(|here| walker.watch(here, CONTENT, ANY));
                    continue;
                }
                // Where it ends early, what it depends on was noted.
                let _ = walker.follow(&mut place.clone(), name);
            }
        }
        walker.walk.directory = direct.and_then(|directory| directory.watch.get().cloned());
        walker.walk
    }

    /// Walks an absolute path to a directory and watches for anything that would make it lead
    /// elsewhere: parents of links for their names, directories for their own moves, the parent of the last
    /// for its removal. Where something is missing, its parent is watched for it.
    ///
    /// Walks until two walks agree, so that everything was watched before it was last looked at.
    pub(crate) fn walk_to_root(&self, path: &[u8]) -> Walk {
        let (mut trace, mut names) = (Vec::new(), Vec::new());
        for round in 0..ROUND_COUNT_MAX {
            let mut walker = Walker::new(self, Within::Machine);
            // What was watched in a round that did not count is given out as well.
            walker.walk.names = names;
            match open(rustix::fs::CWD, OsStr::new("/")) {
                Ok((begin, _)) => drop(walker.follow(&mut vec![Rc::new(begin)], path)),
                Err(_) => walker.walk.unwatched = Some(Unwatched::TooLong),
            }
            if walker.walk.unwatched.is_some() || (round > 0 && walker.trace == trace) {
                return walker.walk;
            }
            trace = walker.trace;
            names = walker.walk.names;
        }
        Walk {
            names,
            directory: None,
            since: i64::MAX,
            unwatched: Some(Unwatched::TooLong),
        }
    }

    fn add(&self, directory: &Directory, mask: WatchMask) -> Result<WatchDescriptor, Unwatched> {
        self.add_open(directory.descriptor.as_fd(), mask)
            .map_err(|error| {
                Unwatched::Refused(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
            })
    }

    /// Watches the inode of an open file for being written to.
    ///
    /// # Errors
    /// Those of `inotify_add_watch(2)`: ENOSPC past `max_user_watches`; ENOENT without /proc.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn add_file(&self, file: &OpenFile) -> io::Result<WatchDescriptor> {
        self.add_open(file.descriptor(), FILE)
    }

    fn add_open(&self, what: BorrowedFd<'_>, mask: WatchMask) -> io::Result<WatchDescriptor> {
        let path = format!("/proc/self/fd/{}", what.as_raw_fd());
        self.watches.clone().add(path, mask)
    }

    /// Has a watch removed. Its last event, `IN_IGNORED`, comes some time later.
    pub(crate) fn remove(&self, watch: WatchDescriptor) {
        let watches = self.watches.clone();
        self.deferred_drops
            .put(Discarded::Watch(Unwatching { watches, watch }));
    }

    /// Whether changes on the file system of a directory are told.
    fn is_told(&self, directory: &Directory, within: Within) -> bool {
        let types = || self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let known = types().get(&directory.device).copied();
        // A file system that does not answer holds up nobody who looks at another: it is asked without the lock.
        let magic = known.unwrap_or_else(|| {
            let magic = rustix::fs::fstatfs(&directory.descriptor).map_or(0, |about| {
                about.f_type.cast_unsigned() & u64::from(u32::MAX)
            });
            types().insert(directory.device, magic);
            magic
        });
        TELLING.contains(&magic) || (within == Within::Machine && magic == OVERLAY)
    }
}

/// Where a name stands in what is left of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WalkStep {
    /// Others come after it.
    OnTheWay,
    /// It is what the path leads to, unless it is a link.
    Last,
}

impl<'a> Walker<'a> {
    fn new(watches: &'a Watches, within: Within) -> Walker<'a> {
        Walker {
            watches,
            within,
            link_count: 0,
            trace: Vec::new(),
            walk: Walk::default(),
        }
    }

    /// Goes along a path from where `place` is; afterwards it is where the path leads.
    fn follow(&mut self, place: &mut Vec<Rc<Directory>>, path: &[u8]) -> Result<(), Ended> {
        let mut to_do: Vec<Vec<u8>> = components(path);
        while let Some(name) = to_do.pop() {
            match (&name[..], place.len(), self.within) {
                (b"..", 1, Within::Root) => return Err(Ended),
                (b"..", 1, Within::Machine) => continue,
                (b"..", ..) => {
                    place.pop();
                    continue;
                }
                _ => {}
            }
            let Some(here) = place.last().map(Rc::clone) else {
                return Err(Ended);
            };
            let step = match to_do.is_empty() {
                true => WalkStep::Last,
                false => WalkStep::OnTheWay,
            };
            match self.look(&here, &name, step)? {
                Found::Directory(directory) => place.push(Rc::new(directory)),
                Found::Link(target) => {
                    self.link_count += 1;
                    if self.link_count > LINK_COUNT_MAX {
                        return Err(Ended);
                    }
                    if target.first() == Some(&b'/') {
                        if self.within == Within::Root {
                            return Err(Ended);
                        }
                        place.truncate(1);
                    }
                    to_do.append(&mut components(&target));
                }
                Found::Else => return Err(Ended),
            }
        }
        Ok(())
    }

    /// Looks a name up, with everything watched that may change what it leads to. The directories on the way
    /// to the root cannot be removed before it is, so only the last name is watched for that.
    fn look(&mut self, here: &Rc<Directory>, name: &[u8], step: WalkStep) -> Result<Found, Ended> {
        if self.within == Within::Root {
            self.watch(here, CONTENT, name)?;
        }
        let (found, what) = look_up(here, name);
        if let Some(Description { version, .. }) = what {
            self.trace.push((version.device, version.inode));
            let named_at = self.named_at(&found, step, version.changed.seconds);
            self.walk.since = self.walk.since.max(named_at);
        }
        if self.within == Within::Machine {
            match &found {
                Found::Directory(directory) => {
                    self.watch(directory, AWAY, ITSELF)?;
                    if step == WalkStep::Last {
                        self.watch(here, REMOVED, name)?;
                    }
                }
                Found::Link(_) | Found::Else => self.watch(here, NAMES, name)?,
            }
        }
        Ok(found)
    }

    /// When what was found was given its name, as far as that makes a path lead elsewhere.
    fn named_at(&self, found: &Found, step: WalkStep, changed: i64) -> i64 {
        match (found, self.within, step) {
            // Whoever saw another link there may have done so in the same second.
            (Found::Link(_), ..) => changed.saturating_add(1),
            (Found::Directory(_), Within::Root, _) => changed,
            // Those on the way to the root are changed for the sake of others: /tmp all the time.
            (Found::Directory(_), Within::Machine, WalkStep::Last) => changed,
            (Found::Directory(_) | Found::Else, ..) => i64::MIN,
        }
    }

    fn watch(&mut self, directory: &Directory, mask: WatchMask, name: &[u8]) -> Result<(), Ended> {
        let unwatched = match self.add(directory, mask) {
            Ok(watch) => {
                self.walk.names.push((watch, name.into()));
                (self.walk.names.len() > NAME_COUNT_MAX).then_some(Unwatched::TooLong)
            }
            Err(unwatched) => Some(unwatched),
        };
        if unwatched.is_none() {
            return Ok(());
        }
        self.walk.unwatched = unwatched;
        Err(Ended)
    }

    fn add(&self, directory: &Directory, mask: WatchMask) -> Result<WatchDescriptor, Unwatched> {
        if let Some(watch) = directory.watch.get() {
            return Ok(watch.clone());
        }
        if !self.watches.is_told(directory, self.within) {
            return Err(Unwatched::FileSystem);
        }
        let watch = self.watches.add(directory, mask)?;
        if self.within == Within::Root {
            // Always with the same mask, so once is enough.
            let _ = directory.watch.set(watch.clone());
        }
        Ok(watch)
    }
}

/// The names of a path, last first; without those that are nothing.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .rev()
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn look_up(here: &Directory, name: &[u8]) -> (Found, Option<Description>) {
    let name = OsStr::from_bytes(name);
    let Ok((opened, what)) = open(here.descriptor.as_fd(), name) else {
        return (Found::Else, None);
    };
    let found = match what.kind {
        FileKind::Directory => Found::Directory(opened),
        FileKind::Link => match rustix::fs::readlinkat(&opened.descriptor, c"", Vec::new()) {
            Ok(target) => Found::Link(target.into_bytes()),
            Err(_) => Found::Else,
        },
        _ => Found::Else,
    };
    (found, Some(what))
}

fn open(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<(Directory, Description)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let what = describe(descriptor.as_fd())?;
    let directory = Directory {
        descriptor,
        device: what.version.device,
        watch: std::cell::OnceCell::new(),
    };
    Ok((directory, what))
}
