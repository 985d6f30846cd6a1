//! The look-up of one path: which file it leads to, which precompressed variants that has, and what must stay as it
//! is for this to hold.
//!
//! Where the directories that it goes through are to be watched, they are so before anything is
//! looked at. The walk that does it takes a helper, so it is left out where the loop knows that the
//! directory is watched already; then a link, which may lead out of it, is noticed and walked after all.

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

/// How often a path is walked again after a rename elsewhere disturbed the walk (EAGAIN). The
/// kernel gives up only when a rename or mount happens during `..`, so a few tries are many.
const WALK_TRIES_MAX: u32 = 16;

/// Where a look-up stands.
#[derive(Debug)]
enum Stage {
    /// Comparing the path of the root with the root.
    ComparingRoot,
    /// Opening what it leads to by now.
    OpeningRoot,
    /// Watching all directories on the way.
    Walking,
    /// Comparing with what was expected; the next to compare.
    Checking(usize),
    /// Looking for a candidate, and opening it.
    Candidate {
        candidate: usize,
        reach: OpenProgress,
    },
    /// Looking for the precompressed variants of a candidate that was found, and opening them; the next one.
    Twins {
        candidate: usize,
        variant: usize,
        identity: Opened,
        precompressed: Vec<(Coding, Opened)>,
        reach: OpenProgress,
    },
    /// Looking into those of the opened files whose metadata does not tell all.
    Examining(Box<FoundFile>),
    /// Reading the names in the directory itself.
    Listing,
    /// Nothing is left to do.
    Finished(Outcome),
}

/// How near a file is. Nothing is opened before it was looked at.
#[derive(Debug)]
enum OpenProgress {
    /// It is being looked for.
    Looking,
    /// It was found and is being opened. Lent away meanwhile.
    Opening(Option<Located>),
}

/// The look-up of one path: candidates in order, then the precompressed variants of the first that is a file.
#[derive(Debug)]
pub(crate) struct Resolve {
    expected: Option<Vec<Expectation>>,
    /// The digest of the page that is known of the directory.
    expected_page: Option<u64>,
    seen: Vec<Expectation>,
    /// Twins that are older than the file.
    outdated: Vec<CString>,
    stage: Stage,
    walks: u32,
    site: LookupSite,
    dependencies: Dependencies,
}

impl Resolve {
    /// A look-up that starts from nothing.
    pub(crate) fn new(lookup: LookupPlan, site: LookupSite) -> Resolve {
        Resolve::with(lookup, None, site)
    }

    /// A look-up that may end early if all is as expected.
    pub(crate) fn checking(
        lookup: LookupPlan,
        expected: Vec<Expectation>,
        site: LookupSite,
    ) -> Resolve {
        Resolve::with(lookup, Some(expected), site)
    }

    /// The same, where a page of this digest is known.
    pub(crate) fn expecting_page(self, digest: Option<u64>) -> Resolve {
        Resolve {
            expected_page: digest,
            ..self
        }
    }

    fn with(lookup: LookupPlan, expected: Option<Vec<Expectation>>, site: LookupSite) -> Resolve {
        let mut resolve = Resolve {
            stage: Stage::ComparingRoot,
            expected,
            expected_page: None,
            seen: Vec::new(),
            outdated: Vec::new(),
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

    fn after_root(&self) -> Stage {
        match self.site.coverage {
            WatchCoverage::Unknown(_) => Stage::Walking,
            WatchCoverage::Unwatched | WatchCoverage::Watched(_) => self.after_walk(),
        }
    }

    fn after_walk(&self) -> Stage {
        match &self.expected {
            Some(expected) if !expected.is_empty() => Stage::Checking(0),
            _ => first_stage(&self.dependencies.plan),
        }
    }

    /// What becomes of links: where there was no walk, one must not go unnoticed.
    fn links(&self) -> Links {
        match self.site.coverage {
            WatchCoverage::Watched(_) => Links::Noticed,
            WatchCoverage::Unwatched | WatchCoverage::Unknown(_) => Links::Followed,
        }
    }

    /// There is a link after all: everything from the start, with a walk.
    fn walk_first(&mut self) {
        if let WatchCoverage::Watched(watches) = &self.site.coverage {
            self.site.coverage = WatchCoverage::Unknown(Arc::clone(watches));
        }
        self.seen.clear();
        self.outdated.clear();
        self.stage = Stage::Walking;
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

    /// What came of [`Syscall::Walk`].
    pub(super) fn walked(&mut self, walk: Walk) {
        self.dependencies.walk = Some(walk);
        self.stage = self.after_walk();
    }

    /// What came of [`Syscall::FindRoot`]. A root that is not there for a moment stays what it was.
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
            Stage::Checking(at) => match self.expected.as_deref().and_then(|all| all.get(*at)) {
                Some(expectation) => Syscall::Describe(root, &expectation.path, links),
                None => Syscall::Finished,
            },
            Stage::Candidate { candidate, reach } => {
                reach_for(&self.dependencies.plan.candidates[*candidate].path, reach)
            }
            Stage::Twins {
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

    /// What came of [`Syscall::Describe`]. Anything but what was expected starts the look-up anew.
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
        let expected = self.expected.as_deref().unwrap_or_default();
        self.stage = match expected.get(at) {
            Some(expectation) if expectation.version != version => {
                self.expected = None;
                self.dependencies.is_linked = false;
                first_stage(&self.dependencies.plan)
            }
            _ if at + 1 < expected.len() => Stage::Checking(at + 1),
            _ => Stage::Finished(Outcome::Unchanged),
        };
    }

    /// What came of [`Syscall::Look`]. Only a file is opened, and a precompressed variant only if it is of use.
    pub(super) fn located(&mut self, located: rustix::io::Result<(Located, Description)>) {
        if let Err(error) = &located
            && self.begins_again(*error)
        {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Candidate { candidate, .. } => self.candidate_located(candidate, located),
            Stage::Twins {
                candidate,
                variant,
                identity,
                precompressed,
                ..
            } => match located {
                Ok((located, what)) if is_of_use(&what, &identity) => Stage::Twins {
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

    /// What is to be opened.
    pub(super) fn lend_located(&mut self) -> Option<Located> {
        match &mut self.stage {
            Stage::Candidate {
                reach: OpenProgress::Opening(located),
                ..
            }
            | Stage::Twins {
                reach: OpenProgress::Opening(located),
                ..
            } => located.take(),
            _ => None,
        }
    }

    /// What came of [`Syscall::Open`].
    pub(super) fn opened(&mut self, opened: rustix::io::Result<(OpenFile, Description)>) {
        if let Err(error) = &opened
            && self.begins_again(*error)
        {
            return;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Candidate { candidate, .. } => self.candidate_opened(candidate, opened),
            Stage::Twins {
                candidate,
                variant,
                identity,
                precompressed,
                ..
            } => self.variant_opened(candidate, variant, identity, precompressed, opened),
            stage => stage,
        };
    }

    /// Whether an error says nothing but that the path has to be walked once more, or once with links.
    fn begins_again(&mut self, error: Errno) -> bool {
        if error == Errno::LOOP && self.links() == Links::Noticed {
            self.walk_first();
            return true;
        }
        // ESTALE: what was looked at is gone before it could be opened.
        let is_unproven = matches!(error, Errno::AGAIN | Errno::INTR | Errno::STALE);
        if !is_unproven || self.walks >= WALK_TRIES_MAX {
            return false;
        }
        self.walks += 1;
        if let Stage::Candidate { reach, .. } | Stage::Twins { reach, .. } = &mut self.stage {
            *reach = OpenProgress::Looking;
        }
        true
    }

    /// What came of [`Syscall::Examine`].
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

    /// What came of [`Syscall::List`].
    pub(super) fn listed(&mut self, listed: rustix::io::Result<Box<Listing>>) {
        if let Err(error) = &listed
            && self.begins_again(*error)
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

    /// The outcome, once [`step`](Resolve::step) says that it is there.
    pub(super) fn finish(self) -> Done {
        let outcome = match self.stage {
            Stage::Finished(outcome) => outcome,
            _ => Outcome::Unchanged,
        };
        Done::Resolved(outcome, self.dependencies)
    }

    /// Gives it up where it stands.
    pub(super) fn abandon(self, error: JobError) -> Done {
        Done::Resolved(Outcome::Failed(error), self.dependencies)
    }
}

/// Where a look-up begins that expects nothing.
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
