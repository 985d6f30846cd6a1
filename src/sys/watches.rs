//! Watches on files and directories (`inotify(7)`), and the walk that finds the directories a path depends on.
//!
//! A walk opens no served file. It reports the directories, and the names that were looked up in them, links included.
//! Each directory is watched *before* a name is looked up in it. So a lookup after the walk either sees a change or
//! gets an event for it.
//!
//! Adding a watch checks permissions and waits for the disk, so only helpers do it, and the start. Watches are removed
//! by deferred drops.

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

/// Maximum number of links in one walk, as in the kernel (`path_resolution(7)`).
const LINK_COUNT_MAX: usize = 40;
/// Maximum number of names of one walk; a lookup with more is not watched.
const NAME_COUNT_MAX: usize = 256;
/// Maximum number of walks to the root until two of them agree.
const ROUND_COUNT_MAX: usize = 8;
/// The name that stands for the directory itself: no entry has it.
pub(crate) const ITSELF: &[u8] = b"";

/// The name that stands for all names in a directory: no entry has it.
pub(crate) const ANY: &[u8] = b"/";

/// Changes of the names in a directory.
const NAMES: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE)
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::MASK_ADD);
/// Changes of the names and of the files in a directory. The closing of a written file is included, because a write
/// through a shared mapping raises no other event.
const CONTENT: WatchMask = NAMES
    .union(WatchMask::MODIFY)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::CLOSE_WRITE);
/// The directory itself is moved or removed.
const AWAY: WatchMask = WatchMask::MOVE_SELF
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::MASK_ADD);

/// A mapped file has another version: it was written, or one of its names was removed or given to another file, which
/// changes its number of links.
const FILE: WatchMask = WatchMask::MODIFY.union(WatchMask::ATTRIB);

/// A name is removed. A directory that a process holds open does not report its own removal, its parent does.
const REMOVED: WatchMask = WatchMask::DELETE
    .union(WatchMask::ONLYDIR)
    .union(WatchMask::MASK_ADD);

/// File systems that report all changes: local ones. On a network file system, other machines make changes without an
/// event here. FUSE depends on its server. The lower layers of an overlay change without an event. File systems that
/// treat two names as one (FAT, NTFS, HFS+) may report another name than the one that was looked up. `statfs(2)`,
/// `linux/magic.h`.
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
/// A change through the overlay itself is reported, which is enough for the path of the root.
const OVERLAY: u64 = 0x794C_7630;

/// Why something cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwatched {
    /// The file system does not report all changes.
    FileSystem,
    /// The kernel refuses: ENOSPC beyond `max_user_watches`, EACCES if the directory may be searched but not read.
    Refused(Errno),
    /// The path has too many names or links, or keeps changing.
    TooLong,
}

/// Whether the files of a file system are changed by this kernel alone, by what `statfs(2)` says of it.
pub(super) fn is_of_this_machine(magic: u64) -> bool {
    TELLING.contains(&magic) || magic == OVERLAY
}

/// The directories that a lookup depends on, and the names in them.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Each watched directory, and a name that was looked up in it after that.
    pub names: Vec<(WatchDescriptor, Box<[u8]>)>,
    /// The directory of the names of a lookup, if no link led there.
    pub directory: Option<WatchDescriptor>,
    /// When a directory or a link on the path got its name, in seconds since 1970. It may be later, because changes in
    /// a directory move its ctime too.
    pub since: i64,
    /// Why the watches are not complete.
    pub unwatched: Option<Unwatched>,
}

/// An inotify instance, to which any thread may add watches.
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
    /// Those beneath its start, as with `RESOLVE_BENEATH`.
    Root,
    /// All.
    Machine,
}

struct Walker<'a> {
    watches: &'a Watches,
    within: Within,
    link_count: usize,
    /// The directories and links that it has passed.
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

    /// Walks to a directory beneath a root and looks names up there. Each name may be a link. Both paths are relative
    /// to the root.
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
                    // The error was noted.
                    let _ = place.last().map(|here| walker.watch(here, CONTENT, ANY));
                    continue;
                }
                // If it ends early, its dependencies were noted.
                let _ = walker.follow(&mut place.clone(), name);
            }
        }
        walker.walk.directory = direct.and_then(|directory| directory.watch.get().cloned());
        walker.walk
    }

    /// Walks an absolute path to a directory and watches everything that decides where it leads: parents of links for
    /// their names, directories for their own moves, the parent of the last one for its removal. If a name is missing,
    /// its parent is watched for it.
    ///
    /// Repeats the walk until two walks agree, so that everything was watched before it was last examined.
    pub(crate) fn walk_to_root(&self, path: &[u8]) -> Walk {
        let (mut trace, mut names) = (Vec::new(), Vec::new());
        for round in 0..ROUND_COUNT_MAX {
            let mut walker = Walker::new(self, Within::Machine);
            // The watches of previous rounds are returned as well.
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

    /// Watches the inode of an open file for writes.
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

    /// Whether the file system of a directory reports its changes.
    fn is_told(&self, directory: &Directory, within: Within) -> bool {
        let types = || self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let known = types().get(&directory.device).copied();
        // The call is made without the lock: a file system that does not respond delays no lookup on another one.
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

/// The position of a name in the rest of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WalkStep {
    /// Other names follow.
    OnTheWay,
    /// It is the last one, unless it is a link.
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

    /// Follows a path from `place`, which is the end of the path afterwards.
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

    /// Looks a name up after watching everything that may change its result. The directories on the path of the root
    /// cannot be removed before the root, so only the last name is watched for its removal.
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

    /// When a file or directory got its name, as far as that changes the result of a path.
    fn named_at(&self, found: &Found, step: WalkStep, changed: i64) -> i64 {
        match (found, self.within, step) {
            // Another link may have been there in the same second.
            (Found::Link(_), ..) => changed.saturating_add(1),
            (Found::Directory(_), Within::Root, _) => changed,
            // Directories on the path of the root change for other reasons: /tmp all the time.
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

/// The names of a path in reverse order, without empty ones and `.`.
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
