//! The lookup of one path: its file, the precompressed variants of the file, and the conditions under which
//! this stays true.
//!
//! Directories that are to be watched are watched before anything is looked up. That walk needs a helper
//! thread, so it is skipped where the loop knows that the directory is watched already; then a link, which
//! may lead out of it, is detected and walked after all.

mod candidates;

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use candidates::{found_stage, is_of_use};

use super::error::LookupFailure;
use super::outcome::{Dependencies, FoundFile, LookupSite, Opened, Outcome, WatchCoverage};
use super::{Done, Examined, JobError, Listing, Refusal, Syscall};
use crate::http::content_coding::Coding;
use crate::site::resolve::{Expectation, LookupPlan};
use crate::sys::beneath::{Links, Located, Root};
use crate::sys::file::{Description, FileKind, OpenFile};
use crate::sys::watches::Walk;

/// How often a walk is repeated after a concurrent rename disturbed it (EAGAIN). The kernel gives up only
/// when a rename or mount happens during `..`, so a few tries are plenty.
const WALK_TRIES_MAX: u32 = 16;

/// Progress of a lookup.
#[derive(Debug)]
enum Stage {
    /// Comparing the path of the root with the root.
    ComparingRoot,
    /// Opening the new target of that path.
    OpeningRoot,
    /// Watching all directories on the way.
    Walking,
    /// Comparing with the expectations; the index of the next.
    Checking(usize),
    /// Looking for a candidate, and opening it.
    Candidate {
        candidate: usize,
        reach: OpenProgress,
    },
    /// Looking for the precompressed variants of a candidate, and opening them; the index of the next.
    Variants {
        candidate: usize,
        variant: usize,
        identity: Opened,
        precompressed: Vec<(Coding, Opened)>,
        reach: OpenProgress,
    },
    /// Examining those opened files whose metadata is not sufficient.
    Examining(Box<FoundFile>),
    /// Listing the directory itself.
    Listing,
    /// Finished.
    Finished(Outcome),
}

/// Progress on one file. Nothing is opened before its type is known.
#[derive(Debug)]
enum OpenProgress {
    /// Being looked up.
    Looking,
    /// Found and being opened. `None` while it is lent to the engine.
    Opening(Option<Located>),
}

/// The lookup of one path: candidates in order, then the precompressed variants of the first regular file.
#[derive(Debug)]
pub(crate) struct Resolve {
    /// Empty: nothing is compared.
    expected: Vec<Expectation>,
    /// The digest of the cached page of the directory.
    expected_page: Option<u64>,
    seen: Vec<Expectation>,
    /// Variants that are older than the file.
    outdated: Vec<CString>,
    /// Where a directory among the candidates redirects, unless a later candidate is a file.
    redirect: Option<String>,
    stage: Stage,
    walks: u32,
    site: LookupSite,
    dependencies: Dependencies,
}

impl Resolve {
    /// A lookup that ends early if there are expectations and all of them hold.
    pub(crate) fn checking(
        lookup: LookupPlan,
        expected: Vec<Expectation>,
        site: LookupSite,
    ) -> Resolve {
        let mut resolve = Resolve {
            stage: Stage::ComparingRoot,
            expected,
            expected_page: None,
            seen: Vec::new(),
            outdated: Vec::new(),
            redirect: None,
            walks: 0,
            dependencies: Dependencies {
                plan: lookup,
                walk: None,
                is_linked: false,
            },
            site,
        };
        if !resolve.site.is_root_compared {
            resolve.stage = resolve.after_root();
        }
        resolve
    }

    /// Also expects this digest of the page of a directory, if there is one.
    pub(crate) fn expecting_page(self, digest: Option<u64>) -> Resolve {
        Resolve {
            expected_page: digest,
            ..self
        }
    }

    fn after_root(&self) -> Stage {
        match self.site.coverage {
            WatchCoverage::Unknown(_) => Stage::Walking,
            WatchCoverage::Unwatched | WatchCoverage::Watched(_) => self.after_walk(),
        }
    }

    fn after_walk(&self) -> Stage {
        match self.expected.is_empty() {
            false => Stage::Checking(0),
            true => first_stage(&self.dependencies.plan),
        }
    }

    /// Handling of links: without a walk, a link must be detected.
    fn links(&self) -> Links {
        match self.site.coverage {
            WatchCoverage::Watched(_) => Links::Noticed,
            WatchCoverage::Unwatched | WatchCoverage::Unknown(_) => Links::Followed,
        }
    }

    /// Starts again with a walk, because there is a link.
    fn walk_first(&mut self) {
        if let WatchCoverage::Watched(watches) = &self.site.coverage {
            self.site.coverage = WatchCoverage::Unknown(Arc::clone(watches));
        }
        self.seen.clear();
        self.outdated.clear();
        self.redirect = None;
        self.stage = Stage::Walking;
    }

    /// What is looked up.
    #[cfg(test)]
    pub(crate) fn lookup(&self) -> &LookupPlan {
        &self.dependencies.plan
    }

    /// Makes the calls of [`Syscall::Walk`].
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn walk(&self) -> Walk {
        let WatchCoverage::Unknown(watches) = &self.site.coverage else {
            return Walk::default();
        };
        let names = self.dependencies.plan.names();
        self.site
            .root
            .walk(watches, self.dependencies.plan.directory(), names)
    }

    /// Takes the result of [`Syscall::Walk`].
    pub(super) fn walked(&mut self, walk: Walk) {
        self.dependencies.walk = Some(walk);
        self.stage = self.after_walk();
    }

    /// Takes the result of [`Syscall::FindRoot`]. A root that is missing for a moment stays in use.
    pub(super) fn root_found(&mut self, root: io::Result<Root>) {
        self.stage = match root {
            Ok(root) if !root.is_same(&self.site.root) => {
                Stage::Finished(Outcome::Elsewhere(Arc::new(root)))
            }
            _ => self.after_root(),
        };
    }

    pub(super) fn step(&self) -> Syscall<'_> {
        let (root, links) = (&self.site.root, self.links());
        let reach_for = |path, reach: &OpenProgress| match reach {
            OpenProgress::Looking => Syscall::Look(root, path, links),
            OpenProgress::Opening(_) => Syscall::Open(root, path, links),
        };
        match &self.stage {
            Stage::ComparingRoot => Syscall::Describe(root, root.path(), Links::Followed),
            Stage::OpeningRoot => Syscall::FindRoot(root, None),
            Stage::Walking => Syscall::Walk(self),
            Stage::Checking(at) => match self.expected.get(*at) {
                Some(expectation) => Syscall::Describe(root, &expectation.path, links),
                None => Syscall::Finished,
            },
            Stage::Candidate { candidate, reach } => {
                reach_for(&self.dependencies.plan.candidates[*candidate].path, reach)
            }
            Stage::Variants {
                candidate,
                variant,
                reach,
                ..
            } => reach_for(
                &self.dependencies.plan.candidates[*candidate].precompressed[*variant].1,
                reach,
            ),
            Stage::Examining(found) => match found.unexamined() {
                Some(opened) => Syscall::Examine(opened),
                None => Syscall::Finished,
            },
            Stage::Listing => match &self.dependencies.plan.listing {
                Some(listed) => Syscall::List(root, listed, links),
                None => Syscall::Finished,
            },
            Stage::Finished(_) => Syscall::Finished,
        }
    }

    /// Takes the result of [`Syscall::Describe`]. Any difference from the expectation starts the lookup
    /// again.
    pub(super) fn described(&mut self, description: rustix::io::Result<Description>) {
        let at = match self.stage {
            Stage::Checking(at) => at,
            Stage::ComparingRoot => {
                self.stage = match description {
                    Ok(description) if !self.site.root.is(&description) => Stage::OpeningRoot,
                    _ => self.after_root(),
                };
                return;
            }
            _ => return,
        };
        if let Ok(description) = &description {
            self.dependencies.is_linked |= description.link_count > 1;
            if description.kind == FileKind::Link {
                return self.walk_first();
            }
        }
        let version = description
            .ok()
            .filter(|description| description.kind == FileKind::Regular)
            .map(|description| description.version);
        let expected = &self.expected;
        self.stage = match expected.get(at) {
            Some(expectation) if expectation.version != version => {
                self.expected.clear();
                self.dependencies.is_linked = false;
                first_stage(&self.dependencies.plan)
            }
            _ if at + 1 < expected.len() => Stage::Checking(at + 1),
            _ => Stage::Finished(Outcome::Unchanged),
        };
    }

    /// Takes the result of [`Syscall::Look`]. Only a regular file is opened, and a precompressed variant only
    /// if it is usable.
    pub(super) fn located(&mut self, located: rustix::io::Result<(Located, Description)>) {
        if let Err(error) = &located
            && self.must_restart(*error)
        {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Candidate { candidate, .. } => self.candidate_located(candidate, located),
            Stage::Variants {
                candidate,
                variant,
                identity,
                precompressed,
                ..
            } => match located {
                Ok((located, what)) if is_of_use(&what, &identity) => Stage::Variants {
                    candidate,
                    variant,
                    identity,
                    precompressed,
                    reach: OpenProgress::Opening(Some(located)),
                },
                located => {
                    let what = located.ok().map(|(_, what)| what);
                    self.see_variant(candidate, variant, &identity, what);
                    self.next_variant(candidate, variant + 1, identity, precompressed)
                }
            },
            stage => stage,
        };
    }

    /// The file to open.
    pub(super) fn lend_located(&mut self) -> Option<Located> {
        match &mut self.stage {
            Stage::Candidate {
                reach: OpenProgress::Opening(located),
                ..
            }
            | Stage::Variants {
                reach: OpenProgress::Opening(located),
                ..
            } => located.take(),
            _ => None,
        }
    }

    /// Takes the result of [`Syscall::Open`].
    pub(super) fn opened(&mut self, opened: rustix::io::Result<(OpenFile, Description)>) {
        if let Err(error) = &opened
            && self.must_restart(*error)
        {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Candidate { candidate, .. } => self.candidate_opened(candidate, opened),
            Stage::Variants {
                candidate,
                variant,
                identity,
                precompressed,
                ..
            } => self.variant_opened(candidate, variant, identity, precompressed, opened),
            stage => stage,
        };
    }

    /// Restarts the lookup if the error only means that the walk has to be repeated, or has to follow links.
    fn must_restart(&mut self, error: Errno) -> bool {
        if error == Errno::LOOP && self.links() == Links::Noticed {
            self.walk_first();
            return true;
        }
        // ESTALE: the file was removed before it could be opened.
        let is_unproven = matches!(error, Errno::AGAIN | Errno::INTR | Errno::STALE);
        if !is_unproven || self.walks >= WALK_TRIES_MAX {
            return false;
        }
        self.walks += 1;
        if let Stage::Candidate { reach, .. } | Stage::Variants { reach, .. } = &mut self.stage {
            *reach = OpenProgress::Looking;
        }
        true
    }

    /// Takes the result of [`Syscall::Examine`].
    pub(super) fn examined(&mut self, examined: Examined) {
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Examining(mut found) => {
                found.examined(examined);
                found_stage(found)
            }
            stage => stage,
        };
    }

    /// Takes the result of [`Syscall::List`].
    pub(super) fn listed(&mut self, listed: rustix::io::Result<Box<Listing>>) {
        if let Err(error) = &listed
            && self.must_restart(*error)
        {
            return;
        }
        let outcome = match listed {
            Ok(listing) => {
                self.dependencies.is_linked |= listing.is_polled;
                match self.expected_page == Some(listing.digest) {
                    true => Outcome::Unchanged,
                    false => Outcome::Listed(listing),
                }
            }
            Err(error) => LookupFailure::from(error).into(),
        };
        self.stage = Stage::Finished(outcome);
    }

    /// The outcome, once [`step`](Resolve::step) is `Finished`.
    pub(super) fn finish(self) -> Done {
        let outcome = match self.stage {
            Stage::Finished(outcome) => outcome,
            _ => Outcome::Unchanged,
        };
        Done::Resolved(outcome, self.dependencies)
    }

    /// The result if it is abandoned.
    pub(super) fn abandon(self, error: JobError) -> Done {
        Done::Resolved(Outcome::Failed(error), self.dependencies)
    }
}

/// The first stage of a lookup without expectations.
fn first_stage(lookup: &LookupPlan) -> Stage {
    match (lookup.candidates.is_empty(), &lookup.listing) {
        (false, _) => look_for(0),
        (true, Some(_)) => Stage::Listing,
        (true, None) => Stage::Finished(Outcome::Refused(Refusal::Missing)),
    }
}

fn look_for(candidate: usize) -> Stage {
    Stage::Candidate {
        candidate,
        reach: OpenProgress::Looking,
    }
}
