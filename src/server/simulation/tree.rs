//! A tree of files in memory, with the events that a kernel gives of it.
//!
//! Each node is a `memfd`, because descriptors, mappings and watches are real types: bytes are really sent from
//! it, and its watch has a real number. What it *is* (kind, length, times) is said by this tree.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use inotify::EventMask;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::content::Content;
use crate::site::listing::Name;
use crate::site::resolve::Listed;
use crate::sys::file::{Description, FileKind, FileTime, FileVersion, OpenFile};

/// Nanoseconds since the start of a run.
pub(super) type Moment = u64;

/// The wall clock at the start, in seconds since 1970.
const WALL_START: i64 = 1_800_000_000;
const SECOND: u64 = 1_000_000_000;

/// A file or a directory.
#[derive(Debug)]
pub(super) struct Node {
    /// Holds the bytes, and is what is watched.
    pub file: File,
    /// What it is now.
    pub description: Description,
    /// Of a file: what is in it.
    pub content: Content,
    /// Whether its pages are in memory.
    pub is_resident: bool,
    /// Of a file: all that was ever in it, and since when.
    written: Vec<(Moment, Content)>,
    children: BTreeMap<Vec<u8>, usize>,
    watch: Option<i32>,
}

/// An event that waits to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeEvent {
    /// The number of the watch.
    pub watch: i32,
    /// What happened.
    pub mask: EventMask,
    /// To which name.
    pub name: Option<Vec<u8>>,
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    by_inode: HashMap<u64, usize>,
    by_watch: HashMap<i32, usize>,
    events: VecDeque<TreeEvent>,
    event_count_max: usize,
    /// No two changes have the same time.
    changed: Moment,
    contents: u32,
}

/// So long, as far as it can be told.
pub(super) fn nanoseconds(duration: Duration) -> Moment {
    Moment::try_from(duration.as_nanos()).unwrap_or(Moment::MAX / 2)
}

/// The node of the root.
pub(super) const ROOT: usize = 0;

/// The wall clock at a moment.
pub(super) fn wall(moment: Moment) -> FileTime {
    let seconds = i64::try_from(moment / SECOND).expect("runs are short");
    FileTime {
        seconds: WALL_START + seconds,
        nanoseconds: u32::try_from(moment % SECOND).expect("less than a second"),
    }
}

impl Tree {
    /// An empty root, and a queue of at most so many events.
    pub(super) fn new(event_count_max: usize) -> Tree {
        let mut tree = Tree {
            nodes: Vec::new(),
            by_inode: HashMap::new(),
            by_watch: HashMap::new(),
            events: VecDeque::new(),
            event_count_max,
            changed: 0,
            contents: 0,
        };
        tree.add(FileKind::Directory, 0, 0);
        tree
    }

    /// Makes a node without a name.
    fn add(&mut self, kind: FileKind, length: usize, now: Moment) -> usize {
        let content = self.new_content(self.nodes.len(), &[], length);
        let descriptor = rustix::fs::memfd_create("simulated", MemfdFlags::CLOEXEC);
        let file = File::from(descriptor.expect("a memfd"));
        let inode = file.metadata().expect("a memfd is described").ino();
        let index = self.nodes.len();
        let time = self.next_time(now);
        file.write_all_at(content.bytes(), 0)
            .expect("memory takes bytes");
        self.by_inode.insert(inode, index);
        self.nodes.push(Node {
            file,
            description: Description {
                kind,
                version: FileVersion {
                    device: 7,
                    inode: index as u64 + 100,
                    length: length as u64,
                    modified: time,
                    changed: time,
                },
                link_count: 1,
            },
            written: vec![(now, content.clone())],
            content,
            is_resident: true,
            children: BTreeMap::new(),
            watch: None,
        });
        index
    }

    fn new_content(&mut self, node: usize, start: &[u8], length: usize) -> Content {
        self.contents += 1;
        Content::new(self.contents, node, start, length)
    }

    fn next_time(&mut self, now: Moment) -> FileTime {
        self.changed = now.max(self.changed + 1);
        wall(self.changed)
    }

    /// A node.
    pub(super) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// What was in a file from `start` to `end`.
    pub(super) fn contents(
        &self,
        node: usize,
        start: Moment,
        end: Moment,
    ) -> impl Iterator<Item = &Content> {
        let written = &self.nodes[node].written;
        let until = |index: usize| written.get(index + 1).map_or(Moment::MAX, |(at, _)| *at);
        let lasting = written.iter().enumerate();
        lasting
            .filter(move |(index, (since, _))| *since <= end && until(*index) >= start)
            .map(|(_, (_, content))| content)
    }

    /// The node that an open file is of.
    pub(super) fn of(&self, file: &OpenFile) -> usize {
        self.of_inode(file.describe().expect("it is open").version.inode)
    }

    /// The node of a real inode.
    pub(super) fn of_inode(&self, inode: u64) -> usize {
        self.by_inode[&inode]
    }

    /// Says whether the pages of a node are in memory from now on.
    pub(super) fn set_resident(&mut self, node: usize, is_resident: bool) {
        self.nodes[node].is_resident = is_resident;
    }

    /// How many nodes there ever were.
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// What a path below the root leads to.
    pub(super) fn find(&self, path: &[u8]) -> rustix::io::Result<usize> {
        let names = path.split(|byte| *byte == b'/');
        let mut node = ROOT;
        for name in names.filter(|name| !name.is_empty() && *name != b".") {
            if self.nodes[node].description.kind != FileKind::Directory {
                return Err(Errno::NOTDIR);
            }
            node = *self.nodes[node].children.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(node)
    }

    /// A name in a directory.
    pub(super) fn child(&self, directory: usize, name: &[u8]) -> Option<usize> {
        self.nodes[directory].children.get(name).copied()
    }

    /// The names that the page of a directory shows.
    pub(super) fn names(&self, listed: &Listed) -> rustix::io::Result<Vec<Name>> {
        let directory = &self.nodes[self.find(listed.directory.as_bytes())?];
        if directory.description.kind != FileKind::Directory {
            return Err(Errno::NOTDIR);
        }
        let shown = directory.children.iter();
        let shown = shown.filter(|(name, _)| listed.shows(name));
        let name = |(name, node): (&Vec<u8>, &usize)| {
            Name::new(name.clone(), &self.nodes[*node].description)
        };
        Ok(shown.filter_map(name).collect())
    }

    /// Notes the watch that was added to a node.
    pub(super) fn watched(&mut self, node: usize, watch: i32) {
        self.nodes[node].watch = Some(watch);
        self.by_watch.insert(watch, node);
    }

    /// A watch was removed: its last event comes.
    pub(super) fn unwatched(&mut self, watch: i32) {
        if let Some(node) = self.by_watch.remove(&watch) {
            self.nodes[node].watch = None;
            self.push(watch, EventMask::IGNORED, None);
        }
    }

    /// Whether events wait.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes all events.
    pub(super) fn take_events(&mut self) -> VecDeque<TreeEvent> {
        std::mem::take(&mut self.events)
    }

    /// As the kernel does: equal neighbours are one event, and what there is no room for is lost.
    fn push(&mut self, watch: i32, mask: EventMask, name: Option<&[u8]>) {
        let name = name.map(<[u8]>::to_vec);
        let event = TreeEvent { watch, mask, name };
        if self.events.back() == Some(&event) || self.events.len() > self.event_count_max {
            return;
        }
        self.events.push_back(event);
        if self.events.len() == self.event_count_max {
            self.events.push_back(TreeEvent {
                watch: -1,
                mask: EventMask::Q_OVERFLOW,
                name: None,
            });
        }
    }

    fn tell_directory(&mut self, directory: usize, mask: EventMask, name: &[u8]) {
        if let Some(watch) = self.nodes[directory].watch {
            self.push(watch, mask, Some(name));
        }
    }

    fn tell(&mut self, node: usize, mask: EventMask) {
        if let Some(watch) = self.nodes[node].watch {
            self.push(watch, mask, None);
        }
    }

    fn touch_directory(&mut self, directory: usize, now: Moment) {
        let time = self.next_time(now);
        let version = &mut self.nodes[directory].description.version;
        (version.modified, version.changed) = (time, time);
    }

    /// Makes a directory.
    pub(super) fn make_directory(&mut self, parent: usize, name: &[u8], now: Moment) -> usize {
        let node = self.add(FileKind::Directory, 0, now);
        self.nodes[parent].children.insert(name.to_vec(), node);
        self.touch_directory(parent, now);
        let mask = EventMask::CREATE | EventMask::ISDIR;
        self.tell_directory(parent, mask, name);
        node
    }

    /// Makes a file under a name that no request leads to and renames it into its place.
    pub(super) fn publish(&mut self, parent: usize, name: &[u8], length: usize, now: Moment) {
        let node = self.add(FileKind::Regular, length, now);
        self.tell_directory(parent, EventMask::CREATE, b".new");
        let before = self.nodes[parent].children.insert(name.to_vec(), node);
        let time = self.next_time(now);
        self.nodes[node].description.version.changed = time;
        self.touch_directory(parent, now);
        self.tell_directory(parent, EventMask::MOVED_FROM, b".new");
        self.tell_directory(parent, EventMask::MOVED_TO, name);
        if let Some(before) = before {
            self.unlinked(before, now);
        }
    }

    /// Writes to a file: it keeps so many bytes, and is so long then.
    pub(super) fn write(&mut self, place: (usize, &[u8]), kept: usize, length: usize, now: Moment) {
        let (parent, name) = place;
        let Some(node) = self.child(parent, name) else {
            return;
        };
        let time = self.next_time(now);
        let before = self.nodes[node].content.clone();
        let start = &before.bytes()[..kept.min(before.length())];
        let content = self.new_content(node, start, length);
        let written = &mut self.nodes[node];
        let (file, bytes) = (&written.file, content.bytes());
        file.set_len(bytes.len() as u64)
            .expect("memory has any length");
        file.write_all_at(bytes, 0).expect("memory takes bytes");
        let version = &mut written.description.version;
        (version.modified, version.changed) = (time, time);
        version.length = bytes.len() as u64;
        written.written.push((now, content.clone()));
        written.content = content;
        self.tell_directory(parent, EventMask::MODIFY, name);
        self.tell(node, EventMask::MODIFY);
        self.tell_directory(parent, EventMask::CLOSE_WRITE, name);
    }

    /// Renames a file or a directory; what had the new name is no more.
    pub(super) fn rename(&mut self, from: (usize, &[u8]), to: (usize, &[u8]), now: Moment) {
        let Some(node) = self.nodes[from.0].children.remove(from.1) else {
            return;
        };
        let before = self.nodes[to.0].children.insert(to.1.to_vec(), node);
        self.moved(node, from, to, now);
        if let Some(before) = before {
            self.unlinked(before, now);
        }
    }

    /// Gives each of two names what the other had.
    pub(super) fn exchange(&mut self, one: (usize, &[u8]), other: (usize, &[u8]), now: Moment) {
        let found = [one, other].map(|(parent, name)| self.child(parent, name));
        let [Some(of_one), Some(of_other)] = found else {
            return;
        };
        self.nodes[one.0].children.insert(one.1.to_vec(), of_other);
        self.nodes[other.0]
            .children
            .insert(other.1.to_vec(), of_one);
        self.moved(of_one, one, other, now);
        self.moved(of_other, other, one, now);
    }

    fn moved(&mut self, node: usize, from: (usize, &[u8]), to: (usize, &[u8]), now: Moment) {
        let time = self.next_time(now);
        let description = &mut self.nodes[node].description;
        description.version.changed = time;
        let kind = match description.kind {
            FileKind::Directory => EventMask::ISDIR,
            _ => EventMask::empty(),
        };
        self.touch_directory(from.0, now);
        self.touch_directory(to.0, now);
        self.tell_directory(from.0, EventMask::MOVED_FROM | kind, from.1);
        self.tell_directory(to.0, EventMask::MOVED_TO | kind, to.1);
    }

    /// Removes a file.
    pub(super) fn remove(&mut self, parent: usize, name: &[u8], now: Moment) {
        if let Some(node) = self.nodes[parent].children.remove(name) {
            self.touch_directory(parent, now);
            self.unlinked(node, now);
            self.tell_directory(parent, EventMask::DELETE, name);
        }
    }

    fn unlinked(&mut self, node: usize, now: Moment) {
        let time = self.next_time(now);
        let description = &mut self.nodes[node].description;
        description.link_count = 0;
        description.version.changed = time;
        self.tell(node, EventMask::ATTRIB);
    }
}
