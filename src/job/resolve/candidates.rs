//! From a candidate to a file: looks it up and opens it, then its precompressed variants.

use std::ffi::CString;
use std::sync::Arc;

use rustix::io::Errno;

use super::super::Refusal;
use super::super::error::LookupFailure;
use super::super::outcome::{FoundFile, Opened, Outcome};
use super::{OpenProgress, Resolve, Stage, look_for};
use crate::http::content_coding::Coding;
use crate::site::resolve::{Candidate, Expectation, OnDirectory, is_outdated};
use crate::site::validators::Identity;
use crate::sys::beneath::Located;
use crate::sys::file::{Description, FileKind, OpenFile};
use crate::sys::file_place::FilePlace;

impl Resolve {
    pub(super) fn candidate_located(
        &mut self,
        candidate: usize,
        located: rustix::io::Result<(Located, Description)>,
    ) -> Stage {
        match located {
            Ok((located, what)) => match what.kind {
                FileKind::Regular => Stage::Candidate {
                    candidate,
                    reach: OpenProgress::Opening(Some(located)),
                },
                FileKind::Directory => {
                    if let OnDirectory::Redirect(path) = &self.dependencies.plan.on_directory {
                        self.redirect = Some(path.clone());
                    }
                    self.next_candidate(candidate)
                }
                FileKind::Special | FileKind::Link => self.next_candidate(candidate),
            },
            Err(error) => self.candidate_failed(candidate, error),
        }
    }

    pub(super) fn candidate_opened(
        &mut self,
        candidate: usize,
        opened: rustix::io::Result<(OpenFile, Description)>,
    ) -> Stage {
        let (file, what) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.candidate_failed(candidate, error),
        };
        let path = self.dependencies.plan.candidates[candidate].path.clone();
        let identity = self.open_file(file, path.clone(), what);
        self.seen.push(Expectation {
            path,
            version: Some(what.version),
        });
        self.next_variant(candidate, 0, identity, Vec::new())
    }

    fn open_file(&mut self, file: OpenFile, path: CString, what: Description) -> Opened {
        self.dependencies.is_linked |= what.link_count > 1;
        let file = file.found_at(Arc::new(FilePlace::new(&self.site.root, path)));
        Opened {
            identity: Identity::of(&what.version, self.site.tags, self.site.asked),
            ..Opened::new(Arc::new(file), what.version)
        }
    }

    pub(super) fn candidate_failed(&mut self, candidate: usize, error: Errno) -> Stage {
        match LookupFailure::from(error) {
            LookupFailure::Refused(Refusal::Missing) => self.next_candidate(candidate),
            failure => Stage::Finished(failure.into()),
        }
    }

    /// The candidate is no file: try the next.
    pub(super) fn next_candidate(&mut self, candidate: usize) -> Stage {
        let path = self.dependencies.plan.candidates[candidate].path.clone();
        self.seen.push(Expectation {
            path,
            version: None,
        });
        if candidate + 1 < self.dependencies.plan.candidates.len() {
            look_for(candidate + 1)
        } else if let Some(path) = self.redirect.take() {
            Stage::Finished(Outcome::Moved(path))
        } else if self.dependencies.plan.listing.is_some() {
            Stage::Listing
        } else {
            Stage::Finished(Outcome::Refused(Refusal::Missing))
        }
    }

    /// Records the version of a precompressed variant, if it is a file.
    pub(super) fn see_variant(
        &mut self,
        candidate: usize,
        variant: usize,
        identity: &Opened,
        what: Option<Description>,
    ) {
        let what = what.filter(|what| what.kind == FileKind::Regular);
        self.dependencies.is_linked |= what.is_some_and(|what| what.link_count > 1);
        let (_, path) = &self.dependencies.plan.candidates[candidate].precompressed[variant];
        if what.is_some_and(|what| is_outdated(what.version.modified, identity.version.modified)) {
            self.outdated.push(path.clone());
        }
        self.seen.push(Expectation {
            path: path.clone(),
            version: what.map(|what| what.version),
        });
    }

    pub(super) fn variant_opened(
        &mut self,
        candidate: usize,
        variant: usize,
        identity: Opened,
        mut precompressed: Vec<(Coding, Opened)>,
        opened: rustix::io::Result<(OpenFile, Description)>,
    ) -> Stage {
        let what = opened.as_ref().ok().map(|(_, what)| *what);
        self.see_variant(candidate, variant, &identity, what);
        if let Ok((file, what)) = opened
            && is_of_use(&what, &identity)
        {
            let candidate = &self.dependencies.plan.candidates[candidate];
            let (coding, path) = candidate.precompressed[variant].clone();
            precompressed.push((coding, self.open_file(file, path, what)));
        }
        self.next_variant(candidate, variant + 1, identity, precompressed)
    }

    pub(super) fn next_variant(
        &mut self,
        candidate: usize,
        variant: usize,
        identity: Opened,
        precompressed: Vec<(Coding, Opened)>,
    ) -> Stage {
        let here: &Candidate = &self.dependencies.plan.candidates[candidate];
        if variant < here.precompressed.len() {
            return Stage::Variants {
                candidate,
                variant,
                identity,
                precompressed,
                reach: OpenProgress::Looking,
            };
        }
        let path = here.path.clone();
        let expectations = std::mem::take(&mut self.seen);
        let found = FoundFile {
            path,
            identity,
            precompressed,
            outdated: std::mem::take(&mut self.outdated),
            expectations,
        };
        found_stage(Box::new(found))
    }
}

/// Ends with this file, after any examinations it needs.
pub(super) fn found_stage(found: Box<FoundFile>) -> Stage {
    match found.unexamined() {
        Some(_) => Stage::Examining(found),
        None => Stage::Finished(Outcome::File(found)),
    }
}

/// Whether a precompressed variant is usable. An older one belongs to an older version of the file.
pub(super) fn is_of_use(what: &Description, identity: &Opened) -> bool {
    what.kind == FileKind::Regular && !is_outdated(what.version.modified, identity.version.modified)
}
