//! What tells the versions of a file apart for those who ask again: its entity tag and its date.
//!
//! A tag must not change while the bytes do not, and must change when they do. The metadata of a file
//! says so once its times can no longer be given to another change; before that, and where they never
//! tell, its content does ([`Identity`]). Rationale: docs/design.md.

use std::num::NonZeroU64;
use std::time::Duration;

use xxhash_rust::xxh3;

use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::date::HttpDate;
use crate::http::entity_tag::EntityTag;
use crate::http::precondition::{Dating, Origin, Validators};
use crate::sys::file::{FileTime, FileVersion};

/// How long after a change of a file another one may be given the same time: the kernel's clock for file
/// times ticks every 1 to 10 ms.
pub const TICK: Duration = Duration::from_millis(20);
/// The same where the file system keeps whole seconds; FAT keeps every second one.
const WHOLE_SECONDS: i64 = 2;
/// Times from before 1990 are no times: there was no Linux. What packs files has them pinned to make its
/// result reproducible: 0 and 1 (Nix, Guix, OSTree), 1980-01-01 and 1980-02-01 (zip, Gradle), 1985-10-26 (npm).
const PINNED_BEFORE: i64 = 631_152_000;
/// The most by which the last change of a file may come after the last write to it for the time of that write
/// to pass as its own, in seconds: it is closed, given its permissions and renamed into place.
const AFTER_WRITE: i64 = 2;
/// Longest file that is told apart by its content, in bytes. It is read for each look-up.
pub const CONTENT_LENGTH_MAX: u64 = 64 * 1024;

/// What entity tags are made of.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// All that tells one version of one file from another: two equal tags are the same bytes.
    File,
    /// Its mtime in seconds and its length, as nginx does: copies that keep those have equal tags.
    Mirror,
}

/// What of an opened file tells its bytes from those of its other versions.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Its metadata: no other bytes had it, and none will.
    Version,
    /// Its content, which has this hash; and other bytes will have other metadata.
    Content(u64),
    /// Its content as it was read, which has this hash: other bytes may get the same metadata yet. Only the
    /// copy that was read may be sent with it.
    Copy(u64),
    /// Nothing before this moment, in nanoseconds since 1970.
    Later(i64),
    /// Nothing: its times are never set, and it is too long to be read for it.
    Never,
}

impl Identity {
    /// That of a file whose metadata says enough, by what was seen of it at a moment not before `asked`.
    /// `None`: the file has to be looked into.
    pub fn of(version: &FileVersion, tags: EntityTags, asked: FileTime) -> Option<Identity> {
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

    /// What tells the bytes of a file apart that has to be looked into, as far as its metadata says.
    pub fn sought(version: &FileVersion, now: FileTime) -> Sought {
        let over = second_is_over(version.changed);
        let is_pinned = version.changed.seconds < PINNED_BEFORE;
        match (has_whole_seconds(version), version.length) {
            (false, _) if !is_pinned => Sought::Clock,
            (_, 0..=CONTENT_LENGTH_MAX) if is_pinned || over <= now => Sought::Content,
            (_, 0..=CONTENT_LENGTH_MAX) => Sought::Copy,
            _ if is_pinned => Sought::Nothing(Identity::Never),
            _ if over <= now => Sought::Nothing(Identity::Version),
            _ => Sought::Nothing(Identity::later(over)),
        }
    }

    /// That of a version that nothing tells apart before this moment.
    pub fn later(moment: FileTime) -> Identity {
        Identity::Later(i64::try_from(nanoseconds(moment)).unwrap_or(i64::MAX))
    }

    /// The same where it has turned out that the content has changed without the metadata, and has this digest
    /// now. What is read for each answer needs to be told nothing.
    #[must_use]
    pub fn of_edited(self, digest: NonZeroU64) -> Identity {
        match self {
            Identity::Copy(_) | Identity::Later(_) => self,
            Identity::Version | Identity::Content(_) | Identity::Never => {
                Identity::Content(digest.get())
            }
        }
    }

    /// Whether that is news.
    pub fn is_outdated_by(self, digest: NonZeroU64) -> bool {
        self.of_edited(digest) != self
    }

    /// Whether it stays what it is as long as the metadata does.
    pub fn is_settled(&self) -> bool {
        match self {
            Identity::Version | Identity::Content(_) | Identity::Never => true,
            Identity::Copy(_) | Identity::Later(_) => false,
        }
    }

    /// For how long an answer may be given by it without another look; `None`: as long as the metadata stays.
    pub fn lifetime(&self, now: &Now) -> Option<Duration> {
        match self {
            Identity::Copy(_) => Some(Duration::ZERO),
            Identity::Later(moment) => {
                let left = i128::from(*moment) - nanoseconds(now.wall);
                let left = u64::try_from(left.max(0)).unwrap_or(u64::MAX);
                // A little more, so that the moment has come.
                Some(Duration::from_nanos(left) + Duration::from_millis(1))
            }
            _ => None,
        }
    }
}

/// What has to be found out about an opened file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Whether another change may still be given the same time.
    Clock,
    /// Its content.
    Content,
    /// Its content, which is to be kept.
    Copy,
    /// Nothing.
    Nothing(Identity),
}

/// The hash of a content. Its algorithm is that of XXH3, which is the same everywhere and for ever.
pub fn hash(content: &[u8]) -> u64 {
    xxh3::xxh3_64_with_seed(content, CONTENT_SEED)
}

/// So that a content and metadata that happen to be the same bytes have two hashes.
const CONTENT_SEED: u64 = 1;

/// A version of a file as it was found at a path.
#[derive(Copy, Clone, Debug)]
pub struct Sighting {
    /// Which version.
    pub version: FileVersion,
    /// What tells its bytes from others.
    pub identity: Identity,
    /// What entity tags are made of here.
    pub tags: EntityTags,
    /// When a directory or a link on the way to it was last given its name, in seconds since 1970.
    pub since: i64,
    /// The latest mtime of the other versions that this path is known to have led to, in the same.
    pub newest_before: Option<i64>,
}

/// A version that a path has led to before.
#[derive(Copy, Clone, Debug)]
pub struct Predecessor {
    /// Which version.
    pub version: FileVersion,
    /// What told its bytes from others.
    pub identity: Identity,
    /// The entity tag that it was given.
    pub entity_tag: Option<EntityTag>,
    /// As of a [`Sighting`].
    pub newest_before: Option<i64>,
}

impl Predecessor {
    /// The latest mtime, in seconds since 1970, of it and of those before it.
    pub fn newest(&self) -> Option<i64> {
        self.newest_before.max(Some(self.version.modified.seconds))
    }
}

impl Sighting {
    /// A version that nothing is known against.
    pub fn of(version: FileVersion) -> Sighting {
        Sighting {
            version,
            identity: Identity::Version,
            tags: EntityTags::File,
            since: 0,
            newest_before: None,
        }
    }

    /// The same at a path that has led to this before.
    #[must_use]
    pub fn after(self, previous: &Predecessor, coding: Coding) -> Sighting {
        let is_same = match (self.tags, previous.entity_tag) {
            (EntityTags::File, None) => previous.identity.is_settled(),
            // The tag comes late there though the metadata may tell all.
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

    /// The entity tag; `None` where nothing tells the version from others.
    ///
    /// Neither device nor host is in it: they change when a machine is started again, the bytes do not. Nor
    /// is the birth time, which FUSE gives to those who ask after others did. The inode is: files that are
    /// unpacked within one tick of the clock differ in nothing else.
    pub fn entity_tag(&self, coding: Coding) -> Option<EntityTag> {
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

    /// The validators, for those who ask at `now`.
    pub fn validators(&self, coding: Coding, now: &Now) -> Validators {
        let (modified, changed) = (self.version.modified.seconds, self.version.changed.seconds);
        let is_void = modified < PINNED_BEFORE
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
            dating: match is_void {
                true => Dating::Scratch,
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

/// Whether a file system keeps no more than that; a time without a fraction is one in a million else.
fn has_whole_seconds(version: &FileVersion) -> bool {
    version.modified.nanoseconds == 0 && version.changed.nanoseconds == 0
}

/// When no change is given the second of this time any more.
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
