//! Compares files with their cached state, many per job, to find writes that produce no event: through a
//! shared mapping, by AIO, or through a loop device.
//!
//! The kernel updates the mtime at the first store into a clean page, but not at later stores into the same
//! page until it is written back. So content held in memory is compared as well.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::site::resolve::Expectation;
use crate::site::validators::hash;
use crate::sys::beneath::{Links, Root};
use crate::sys::file::{FileKind, FileVersion};

/// Maximum length of content that is compared: each is read once every `--recheck`.
pub(crate) const CONTENT_LENGTH_MAX: u64 = 1 << 20;

/// Digest of content. Not collision-resistant: only the author of the files could make two of them collide.
pub(crate) fn digest(content: &[u8]) -> NonZeroU64 {
    NonZeroU64::new(hash(content)).unwrap_or(NonZeroU64::MIN)
}

/// The cached state of one path.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// The root of its site.
    pub root: Arc<Root>,
    /// The version at each name.
    pub expectations: Vec<Expectation>,
    /// The digests of contents held in memory, by version.
    pub contents: Vec<(FileVersion, NonZeroU64)>,
}

/// Result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Nothing has changed.
    Same,
    /// A name has another version, or the comparison failed.
    Differs,
    /// This version has other content, with this digest.
    Content(FileVersion, NonZeroU64),
}

/// The comparison of several paths.
#[derive(Debug)]
pub(crate) struct Recheck {
    remembered: Vec<Remembered>,
}

impl Recheck {
    /// Compares these.
    pub(crate) fn new(remembered: Vec<Remembered>) -> Recheck {
        Recheck { remembered }
    }

    /// What is compared, for a simulated disk.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> &[Remembered] {
        &self.remembered
    }

    /// Compares them, in order.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn compare(&self) -> Vec<Compared> {
        let compare = |one: &Remembered| one.compare().unwrap_or(Compared::Differs);
        self.remembered.iter().map(compare).collect()
    }
}

impl Remembered {
    fn compare(&self) -> io::Result<Compared> {
        for expectation in &self.expectations {
            let described = self.root.describe(&expectation.path, Links::Followed).ok();
            let version = described
                .filter(|described| described.kind == FileKind::Regular)
                .map(|described| described.version);
            if version != expectation.version {
                return Ok(Compared::Differs);
            }
            let held = |(held, _): &&(FileVersion, NonZeroU64)| Some(*held) == version;
            if let Some((version, digest)) = self.contents.iter().find(held) {
                let compared = self.compare_content(expectation, *version, *digest)?;
                if compared != Compared::Same {
                    return Ok(compared);
                }
            }
        }
        Ok(Compared::Same)
    }

    fn compare_content(
        &self,
        expectation: &Expectation,
        version: FileVersion,
        remembered: NonZeroU64,
    ) -> io::Result<Compared> {
        let path = &expectation.path;
        let located = self.root.locate(path, Links::Followed)?;
        if located.describe()?.version != version {
            return Ok(Compared::Differs);
        }
        let file = self.root.open_located(located, path, Links::Followed)?;
        let length = usize::try_from(version.length).map_err(io::Error::other)?;
        let found = digest(&file.read_start(length)?);
        Ok(match file.describe()?.version == version {
            false => Compared::Differs,
            true if found == remembered => Compared::Same,
            true => Compared::Content(version, found),
        })
    }
}
