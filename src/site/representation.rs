//! A representation: one version of one file in one content coding, and the fields of its heads.

use std::time::Duration;

use super::fields::FileFields;
use super::rendered::{FieldWriter, RenderedHead};
use super::validators::{Identity, Predecessor, Sighting};
use crate::clock::Now;
use crate::http::content_coding::{Coding, CodingSet};
use crate::http::precondition::Validators;
use crate::sys::file::FileVersion;

/// Whether the choice of this representation depended on Accept-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is only one representation.
    Nothing,
    /// There are precompressed variants: every answer has `Vary: Accept-Encoding`.
    AcceptEncoding,
}

/// One version of one file in one coding.
#[derive(Clone, Debug)]
pub struct Representation {
    /// The version; bytes may only be taken from a file or mapping of this version.
    pub version: FileVersion,
    /// What identifies it among other versions.
    pub(crate) identity: Identity,
    /// The latest mtime, in seconds, of the other versions known at this path; the minimum of the type if
    /// there are none.
    pub(crate) newest_before: i64,
    /// The coding of the bytes.
    pub(crate) coding: Coding,
    /// Its validators, for preconditions. The Last-Modified is never later than the time of rendering.
    pub(crate) validators: Validators,
    /// Whether answers carry Vary.
    pub(crate) vary: Vary,
    /// The fields of its heads.
    pub head: RenderedHead,
}

impl Representation {
    /// Describes a version of a file as seen at `now`. `media_type` is that of the file without
    /// its coding.
    pub fn new(
        media_type: &str,
        sighting: Sighting,
        coding: Coding,
        vary: Vary,
        now: &Now,
    ) -> Representation {
        Representation::with_fields(&media_type.into(), sighting, coding, vary, now)
    }

    /// The same with the fields that a site gives the file, whose media type is among them.
    pub(crate) fn with_fields(
        fields: &FileFields<'_>,
        sighting: Sighting,
        coding: Coding,
        vary: Vary,
        now: &Now,
    ) -> Representation {
        let mut representation = Representation {
            version: sighting.version,
            identity: sighting.identity,
            newest_before: sighting.newest_before.unwrap_or(i64::MIN),
            coding,
            validators: sighting.validators(coding, now),
            vary,
            head: RenderedHead::default(),
        };
        representation.head = RenderedHead::of(&representation, fields);
        representation
    }

    /// Its data as a predecessor, for when another version replaces it.
    pub(crate) fn as_predecessor(&self) -> Predecessor {
        Predecessor {
            version: self.version,
            identity: self.identity,
            entity_tag: self.validators.entity_tag,
            newest_before: Some(self.newest_before).filter(|newest| *newest > i64::MIN),
        }
    }

    /// Adds the fields that 200, 206 and 304 share (RFC 9110 §15.4.5).
    pub(crate) fn add_common_fields(&self, head: &mut impl FieldWriter) {
        if let Some(tag) = &self.validators.entity_tag {
            head.field("ETag", tag.field());
        }
        self.add_vary(head);
    }

    /// Adds Vary, if the choice depended on a field.
    pub(crate) fn add_vary(&self, head: &mut impl FieldWriter) {
        if self.vary == Vary::AcceptEncoding {
            head.field("Vary", b"Accept-Encoding");
        }
    }

    /// Adds the fields that describe the content: those of 200 and 206, except its type and length.
    pub(crate) fn add_content_fields(&self, head: &mut impl FieldWriter) {
        self.add_common_fields(head);
        self.add_last_modified(head);
        head.field("Accept-Ranges", b"bytes");
        if self.coding != Coding::Identity {
            head.field("Content-Encoding", self.coding.token().as_bytes());
        }
    }

    /// Adds the fields that describe it as the page of an error, except its type and length. Validators and ranges are
    /// about what the request asks for, which is not this file; so is its date, from which caches would guess how long
    /// the error lasts (RFC 9111 §4.2.2).
    pub(crate) fn add_error_page_fields(&self, head: &mut impl FieldWriter) {
        head.field("Cache-Control", b"no-cache");
        self.add_vary(head);
        if self.coding != Coding::Identity {
            head.field("Content-Encoding", self.coding.token().as_bytes());
        }
    }

    fn add_last_modified(&self, head: &mut impl FieldWriter) {
        head.field("Last-Modified", &self.validators.last_modified.render());
    }

    /// Adds the fields of a 304: the shared ones, and the date if that is the only validator (RFC 9110
    /// §15.4.5).
    pub(super) fn add_not_modified_fields(&self, head: &mut impl FieldWriter) {
        self.add_common_fields(head);
        if self.validators.entity_tag.is_none() {
            self.add_last_modified(head);
        }
    }
}

/// All representations of one file.
#[derive(Clone, Debug)]
pub struct Variants {
    /// The file itself.
    pub identity: Representation,
    /// Its precompressed variants, at most one per coding.
    pub coded: Box<[Representation]>,
}

impl Variants {
    /// The file and its precompressed variants.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Representation> {
        std::iter::once(&self.identity).chain(&self.coded)
    }

    /// The versions of the file and of its precompressed variants.
    pub(crate) fn versions(&self) -> impl Iterator<Item = FileVersion> {
        self.all().map(|representation| representation.version)
    }

    /// The codings of the precompressed variants.
    pub(crate) fn codings(&self) -> CodingSet {
        let mut set = CodingSet::default();
        for representation in &self.coded {
            set.insert(representation.coding);
        }
        set
    }

    /// The representation in a coding; the file itself if there is no such precompressed variant.
    pub(crate) fn in_coding(&self, coding: Coding) -> &Representation {
        let variant = self
            .coded
            .iter()
            .find(|representation| representation.coding == coding);
        variant.unwrap_or(&self.identity)
    }

    /// Whether all stay valid as long as the metadata of the files does.
    pub(crate) fn is_settled(&self) -> bool {
        self.all()
            .all(|representation| representation.identity.is_settled())
    }

    /// How long answers may use them without another examination of the files; `None`: as long as their
    /// metadata stays.
    pub(crate) fn lifetime(&self, now: &Now) -> Option<Duration> {
        self.all()
            .filter_map(|representation| representation.identity.lifetime(now))
            .min()
    }
}
