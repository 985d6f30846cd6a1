//! Files that are closed while a peer takes nothing, and opened again when it goes on.

use std::sync::Arc;

use super::{FileSegment, Outbox, Segment};
use crate::sys::file::{FileVersion, OpenFile};

impl Outbox {
    /// Whether it holds a file open that can be opened again. O(segments).
    pub(crate) fn holds_file(&self) -> bool {
        self.files()
            .any(|segment| !segment.file.is_closed() && segment.file.place().is_some())
    }

    /// Whether a file has to be opened again for what is in it. O(segments).
    pub(crate) fn is_parked(&self) -> bool {
        self.files().any(|segment| segment.file.is_closed())
    }

    fn files(&self) -> impl Iterator<Item = &FileSegment> {
        let segments = self.buffers.segments.iter();
        segments.filter_map(|segment| match segment {
            Segment::File(segment) => Some(segment),
            Segment::Rendered(_) | Segment::Mapped { .. } => None,
        })
    }

    /// Closes the files that can be opened again. Gives their versions, each as often as it stands here.
    /// O(segments).
    pub(crate) fn park(&mut self) -> Vec<FileVersion> {
        let mut versions = Vec::new();
        for segment in &mut self.buffers.segments {
            if let Segment::File(segment) = segment
                && !segment.file.is_closed()
                && let Some(closed) = segment.file.closed()
            {
                versions.push(segment.version);
                segment.file = Arc::new(closed);
            }
        }
        versions
    }

    /// Goes on with a file that was opened again, in this version, wherever it was closed. O(segments).
    pub(crate) fn resume(&mut self, version: &FileVersion, file: &Arc<OpenFile>) {
        for segment in &mut self.buffers.segments {
            if let Segment::File(segment) = segment
                && segment.file.is_closed()
                && segment.version == *version
            {
                segment.file = Arc::clone(file);
            }
        }
    }
}
