//! Entity tag and Last-Modified of a version of a file.
//!
//! A tag must not change while the bytes do not, and must change when they do. Metadata guarantees this once
//! no further change can get the same timestamps. Before that, and where timestamps never guarantee it, the
//! content is compared ([`Identity`]). Rationale: docs/design.md.

use std::num::NonZeroU64;
use std::time::Duration;

use xxhash_rust::xxh3;

use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::date::HttpDate;
use crate::http::entity_tag::EntityTag;
use crate::http::precondition::{Dating, Origin, Validators};
use crate::sys::file::{FileTime, FileVersion};

/// How long after a change another change of the file may get the same timestamp: the kernel's clock for file
/// times ticks every 1 to 10 ms.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// The same where the file system stores whole seconds; FAT stores even seconds only.
const WHOLE_SECONDS: i64 = 2;
/// Times before 1990 are not real: there was no Linux. Packaging tools pin them for reproducible output: 0
/// and 1 (Nix, Guix, OSTree), 1980-01-01 and 1980-02-01 (zip, Gradle), 1985-10-26 (npm).
const PINNED_BEFORE: i64 = 631_152_000;
/// Maximum seconds from mtime to ctime for which the mtime counts as the time of the write: after its last
/// write a file is closed, given its permissions and renamed into place.
const AFTER_WRITE: i64 = 2;
/// Maximum length of a file identified by its content, in bytes. It is read in each lookup.
pub(crate) const CONTENT_LENGTH_MAX: u64 = 64 * 1024;

/// Source of entity tags.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// All metadata of the version: equal tags mean equal bytes.
    File,
    /// mtime in seconds and length, as in nginx: copies that keep those have equal tags.
    Mirror,
}

/// What identifies the bytes of an opened file among its other versions.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its metadata: no other bytes had it, and none will.
    Version,
    /// Its content, with this hash. Other bytes will have other metadata.
    Content(u64),
    /// Its content as it was read, with this hash. Other bytes may still get the same metadata, so only the
    /// copy that was read may be sent with it.
    Copy(u64),
    /// Nothing before this time, in nanoseconds since 1970.
    Later(i64),
    /// Nothing: its timestamps are pinned, and it is too long to be hashed.
    Never,
}

impl Identity {
    /// The identity of a version by its metadata alone, as seen not before `asked`. `None`: the file has to
    /// be examined.
    pub(crate) fn of(version: &FileVersion, tags: EntityTags, asked: FileTime) -> Option<Identity> {
        match tags {
            EntityTags::File => {
                let changed = version.changed;
                let is_clear = !has_whole_seconds(version)
                    && changed.seconds >= PINNED_BEFORE
                    && changed.after(TICK) <= asked;
                is_clear.then_some(Identity::Version)
            }
            EntityTags::Mirror => Some(match second_is_over(version.modified) {
                over if over <= asked => Identity::Version,
                over => Identity::later(over),
            }),
        }
    }

    /// The examination that a version needs.
    pub(crate) fn examination_of(version: &FileVersion, now: FileTime) -> Examination {
        let over = second_is_over(version.changed);
        let is_pinned = version.changed.seconds < PINNED_BEFORE;
        match (has_whole_seconds(version), version.length) {
            (false, _) if !is_pinned => Examination::Clock,
            (_, 0..=CONTENT_LENGTH_MAX) if is_pinned || over <= now => Examination::Content,
            (_, 0..=CONTENT_LENGTH_MAX) => Examination::Copy,
            _ if is_pinned => Examination::Nothing(Identity::Never),
            _ if over <= now => Examination::Nothing(Identity::Version),
            _ => Examination::Nothing(Identity::later(over)),
        }
    }

    /// The identity of a version that is not distinguishable before this time.
    pub(crate) fn later(moment: FileTime) -> Identity {
        Identity::Later(i64::try_from(nanoseconds(moment)).unwrap_or(i64::MAX))
    }

    /// The same after the content was found to have changed without the metadata: identified by this digest.
    /// `Copy` and `Later` stay: their content is read for each answer anyway.
    #[must_use]
    pub(crate) fn of_edited(self, digest: NonZeroU64) -> Identity {
        match self {
            Identity::Copy(_) | Identity::Later(_) => self,
            Identity::Version | Identity::Content(_) | Identity::Never => {
                Identity::Content(digest.get())
            }
        }
    }

    /// Whether this digest changes the identity.
    pub(crate) fn is_outdated_by(self, digest: NonZeroU64) -> bool {
        self.of_edited(digest) != self
    }

    /// Whether it stays valid as long as the metadata does.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Identity::Version | Identity::Content(_) | Identity::Never => true,
            Identity::Copy(_) | Identity::Later(_) => false,
        }
    }

    /// How long an answer may use it without another examination; `None`: as long as the metadata stays.
    pub(crate) fn lifetime(&self, now: &Now) -> Option<Duration> {
        match self {
            Identity::Copy(_) => Some(Duration::ZERO),
            Identity::Later(moment) => {
                let left = i128::from(*moment) - nanoseconds(now.wall);
                let left = u64::try_from(left.max(0)).unwrap_or(u64::MAX);
                // A millisecond more, so that the time has passed.
                Some(Duration::from_nanos(left) + Duration::from_millis(1))
            }
            _ => None,
        }
    }
}

/// The examination that an opened file needs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Examination {
    /// Wait until no other change can get the same timestamp.
    Clock,
    /// Hash its content.
    Content,
    /// Hash its content and keep it.
    Copy,
    /// None.
    Nothing(Identity),
}

/// The hash of a content: XXH3, which is stable across machines and versions.
pub(crate) fn hash(content: &[u8]) -> u64 {
    xxh3::xxh3_64_with_seed(content, CONTENT_SEED)
}

/// Makes the hash of a content differ from the hash of metadata that has the same bytes.
const CONTENT_SEED: u64 = 1;

/// A version of a file, as found at a path.
#[derive(Copy, Clone, Debug)]
pub struct Sighting {
    /// The version.
    pub(crate) version: FileVersion,
    /// What identifies its bytes.
    pub(crate) identity: Identity,
    /// Source of entity tags.
    pub(crate) tags: EntityTags,
    /// Latest time at which a directory or link on its path got its name, in seconds since 1970.
    pub(crate) since: i64,
    /// The latest mtime of the other versions known at this path, in seconds since 1970.
    pub(crate) newest_before: Option<i64>,
}

/// An earlier version at a path.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Predecessor {
    /// The version.
    pub(crate) version: FileVersion,
    /// What identified its bytes.
    pub(crate) identity: Identity,
    /// The entity tag that it had.
    pub(crate) entity_tag: Option<EntityTag>,
    /// As of a [`Sighting`].
    pub(crate) newest_before: Option<i64>,
}

impl Predecessor {
    /// The latest mtime, in seconds since 1970, of it and of those before it.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.newest_before.max(Some(self.version.modified.seconds))
    }
}

impl Sighting {
    /// A version without known predecessors.
    pub fn of(version: FileVersion) -> Sighting {
        Sighting {
            version,
            identity: Identity::Version,
            tags: EntityTags::File,
            since: 0,
            newest_before: None,
        }
    }

    /// The same at a path with this predecessor.
    #[must_use]
    pub(crate) fn after(self, previous: &Predecessor, coding: Coding) -> Sighting {
        let is_same = match (self.tags, previous.entity_tag) {
            (EntityTags::File, None) => previous.identity.is_settled(),
            // Such a tag appears only after the second is over, even if the metadata identifies the version
            // before.
            (EntityTags::Mirror, None) => !has_whole_seconds(&self.version),
            (_, tag) => tag == self.entity_tag(coding),
        };
        let newest_before = match is_same && previous.version == self.version {
            true => previous.newest_before,
            false => previous.newest(),
        };
        Sighting {
            newest_before: newest_before.max(self.newest_before),
            ..self
        }
    }

    /// The entity tag; `None` where nothing identifies the version.
    ///
    /// It does not depend on device or host: they change at a reboot, the bytes do not. Nor on the birth
    /// time, which FUSE may deliver late. It does depend on the inode: files unpacked within one tick of the
    /// clock differ in nothing else.
    pub(crate) fn entity_tag(&self, coding: Coding) -> Option<EntityTag> {
        let version = &self.version;
        let hash = match (self.identity, self.tags) {
            (Identity::Later(_) | Identity::Never, _) => return None,
            (_, EntityTags::Mirror) => {
                let (seconds, length) = (version.modified.seconds, version.length);
                return EntityTag::of_time_and_length(seconds, length, coding);
            }
            (Identity::Content(hash) | Identity::Copy(hash), EntityTags::File) => hash,
            (Identity::Version, EntityTags::File) => hash_of_metadata(version),
        };
        Some(EntityTag::of_hash(hash, coding))
    }

    /// The validators for a request at `now`.
    pub(crate) fn validators(&self, coding: Coding, now: &Now) -> Validators {
        let (modified, changed) = (self.version.modified.seconds, self.version.changed.seconds);
        let is_ambiguous = modified < PINNED_BEFORE
            || self.version.modified > now.wall
            || !self.identity.is_settled()
            || self.newest_before.is_some_and(|newest| newest >= modified);
        let origin = match self.tags {
            EntityTags::Mirror => Origin::Write,
            EntityTags::File if (0..=AFTER_WRITE).contains(&(changed.saturating_sub(modified))) => {
                Origin::Write
            }
            EntityTags::File => Origin::Hand,
        };
        let since = HttpDate::from_unix_seconds(changed.max(self.since).max(modified));
        Validators {
            entity_tag: self.entity_tag(coding),
            // RFC 9110 §8.8.2.1: a Last-Modified later than the Date must not be sent.
            last_modified: HttpDate::from_unix_seconds(modified).min(now.date),
            dating: match is_ambiguous {
                true => Dating::Ambiguous,
                false => Dating::Known { since, origin },
            },
        }
    }
}

fn hash_of_metadata(version: &FileVersion) -> u64 {
    let (modified, changed) = (version.modified, version.changed);
    let words = [
        version.inode,
        version.length,
        modified.seconds.cast_unsigned(),
        changed.seconds.cast_unsigned(),
        u64::from(modified.nanoseconds) << 32 | u64::from(changed.nanoseconds),
    ];
    let mut bytes = [0; 40];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    xxh3::xxh3_64(&bytes)
}

/// Whether the file system seems to store whole seconds: otherwise such a time is one in a million.
fn has_whole_seconds(version: &FileVersion) -> bool {
    version.modified.nanoseconds == 0 && version.changed.nanoseconds == 0
}

/// When no further change can get this second.
fn second_is_over(time: FileTime) -> FileTime {
    FileTime {
        seconds: time.seconds.saturating_add(WHOLE_SECONDS),
        nanoseconds: 0,
    }
}

fn nanoseconds(time: FileTime) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
}

#[cfg(test)]
mod tests;
