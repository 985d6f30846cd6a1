//! The look-up of one path: which file it leads to, which twins that has, and what must stay as it
//! is for this to hold.
//!
//! Where the directories that it goes through are to be watched, they are so before anything is
//! looked at. The walk that does it takes a helper, so it is left out where the loop knows that the
//! directory is watched already; then a link, which may lead out of it, is noticed and walked after all.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::outcome::{Footing, FoundFile, Ground, Meaning, Opened, Outcome, Site, meaning};
use super::{Done, Step};
use crate::cache::entry::Expectation;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::site::resolve::{Candidate, Lookup, OnDirectory};
use crate::sys::beneath::{Links, Root};
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
    /// Opening a candidate.
    Opening { candidate: usize },
    /// Opening the twins of a candidate that was found; the next to open.
    Twins {
        candidate: usize,
        twin: usize,
        identity: Opened,
        twins: Vec<(Coding, Opened)>,
    },
    /// Opening the directory itself, to list it.
    OpeningDirectory,
    /// Reading the names in it.
    Listing(Arc<OpenFile>),
    /// Nothing is left to do.
    Finished(Outcome),
}

/// The look-up of one path: candidates in order, then the twins of the first that is a file.
#[derive(Debug)]
pub struct Resolve {
    lookup: Lookup,
    expected: Option<Vec<Expectation>>,
    seen: Vec<Expectation>,
    stage: Stage,
    walks: u32,
    site: Site,
    footing: Footing,
}

impl Resolve {
    /// A look-up that starts from nothing.
    pub fn new(lookup: Lookup, site: Site) -> Resolve {
        Resolve::with(lookup, None, site)
    }

    /// A look-up that may end early if all is as expected.
    pub fn checking(lookup: Lookup, expected: Vec<Expectation>, site: Site) -> Resolve {
        Resolve::with(lookup, Some(expected), site)
    }

    fn with(lookup: Lookup, expected: Option<Vec<Expectation>>, site: Site) -> Resolve {
        let mut resolve = Resolve {
            stage: Stage::ComparingRoot,
            lookup,
            expected,
            seen: Vec::new(),
            walks: 0,
            footing: Footing {
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
        match self.site.ground {
            Ground::Unknown(_) => Stage::Walking,
            Ground::Unwatched | Ground::Watched(_) => self.after_walk(),
        }
    }

    fn after_walk(&self) -> Stage {
        match &self.expected {
            Some(expected) if !expected.is_empty() => Stage::Checking(0),
            _ => first_stage(&self.lookup),
        }
    }

    /// What becomes of links: where there was no walk, one must not go unnoticed.
    fn links(&self) -> Links {
        match self.site.ground {
            Ground::Watched(_) => Links::Noticed,
            Ground::Unwatched | Ground::Unknown(_) => Links::Followed,
        }
    }

    /// There is a link after all: everything from the start, with a walk.
    fn walk_first(&mut self) {
        if let Ground::Watched(watches) = &self.site.ground {
            self.site.ground = Ground::Unknown(Arc::clone(watches));
        }
        self.seen.clear();
        self.stage = Stage::Walking;
    }

    /// Makes the calls of [`Step::Walk`].
    ///
    /// # Blocking
    /// Waits for the disk.
    pub fn walk(&self) -> Walk {
        let Ground::Unknown(watches) = &self.site.ground else {
            return Walk::default();
        };
        let names = self.lookup.names();
        self.site.root.walk(watches, self.lookup.directory(), names)
    }

    /// What came of [`Step::Walk`].
    pub(super) fn walked(&mut self, walk: Walk) {
        self.footing.walk = Some(walk);
        self.stage = self.after_walk();
    }

    /// What came of [`Step::FindRoot`]. A root that is not there for a moment stays what it was.
    pub(super) fn root_found(&mut self, root: io::Result<Root>) {
        self.stage = match root {
            Ok(root) if !root.is_same(&self.site.root) => {
                Stage::Finished(Outcome::Elsewhere(Arc::new(root)))
            }
            _ => self.after_root(),
        };
    }

    pub(super) fn step(&self) -> Step<'_> {
        let (root, links) = (&self.site.root, self.links());
        let open = |path| Step::Open(root, path, links);
        match &self.stage {
            Stage::ComparingRoot => Step::Describe(root, root.path(), Links::Followed),
            Stage::OpeningRoot => Step::FindRoot(root, None),
            Stage::Walking => Step::Walk(self),
            Stage::Checking(at) => match self.expected.as_deref().and_then(|all| all.get(*at)) {
                Some(expectation) => Step::Describe(root, &expectation.path, links),
                None => Step::Finished,
            },
            Stage::Opening { candidate } => open(&self.lookup.candidates[*candidate].path),
            Stage::Twins {
                candidate, twin, ..
            } => open(&self.lookup.candidates[*candidate].twins[*twin].1),
            Stage::OpeningDirectory => match &self.lookup.listing {
                Some(listed) => open(&listed.directory),
                None => Step::Finished,
            },
            Stage::Listing(directory) => match &self.lookup.listing {
                Some(listed) => Step::List(directory, listed),
                None => Step::Finished,
            },
            Stage::Finished(_) => Step::Finished,
        }
    }

    /// What came of [`Step::Describe`]. Anything but what was expected starts the look-up anew.
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
            self.footing.is_linked |= description.link_count > 1;
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
                self.footing.is_linked = false;
                first_stage(&self.lookup)
            }
            _ if at + 1 < expected.len() => Stage::Checking(at + 1),
            _ => Stage::Finished(Outcome::Unchanged),
        };
    }

    /// What came of [`Step::Open`].
    pub(super) fn opened(&mut self, opened: rustix::io::Result<(OpenFile, Description)>) {
        if let Err(Errno::AGAIN | Errno::INTR) = opened
            && self.walks < WALK_TRIES_MAX
        {
            self.walks += 1;
            return;
        }
        match &opened {
            Err(Errno::LOOP) if self.links() == Links::Noticed => return self.walk_first(),
            Ok((_, what)) if what.kind == FileKind::Regular => {
                self.footing.is_linked |= what.link_count > 1;
            }
            _ => {}
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Opening { candidate } => self.candidate_opened(candidate, opened),
            Stage::Twins {
                candidate,
                twin,
                identity,
                twins,
            } => self.twin_opened(candidate, twin, identity, twins, opened),
            Stage::OpeningDirectory => match opened {
                Ok((directory, what)) if what.kind == FileKind::Directory => {
                    Stage::Listing(Arc::new(directory))
                }
                Ok(_) => Stage::Finished(Outcome::Refused(Status::NotFound)),
                Err(error) => Stage::Finished(meaning(error).outcome()),
            },
            stage => stage,
        };
    }

    /// What came of [`Step::List`].
    pub(super) fn listed(&mut self, listed: io::Result<Vec<u8>>) {
        let outcome = match listed {
            Ok(page) => Outcome::Listed(page),
            Err(_) => Outcome::Failed(Status::InternalServerError),
        };
        self.stage = Stage::Finished(outcome);
    }

    /// The outcome, once [`step`](Resolve::step) says that it is there.
    pub(super) fn finish(self) -> Done {
        let outcome = match self.stage {
            Stage::Finished(outcome) => outcome,
            _ => Outcome::Unchanged,
        };
        Done::Resolved(outcome, self.footing)
    }

    /// Gives it up where it stands.
    pub(super) fn abandon(self, status: Status) -> Done {
        Done::Resolved(Outcome::Failed(status), self.footing)
    }

    fn candidate_opened(
        &mut self,
        candidate: usize,
        opened: rustix::io::Result<(OpenFile, Description)>,
    ) -> Stage {
        let here = &self.lookup.candidates[candidate];
        match opened {
            Ok((
                file,
                Description {
                    kind: FileKind::Regular,
                    version,
                    ..
                },
            )) => {
                let identity = Opened {
                    file: Arc::new(file),
                    version,
                };
                self.seen.push(Expectation {
                    path: here.path.clone(),
                    version: Some(version),
                });
                self.next_twin(candidate, 0, identity, Vec::new())
            }
            Ok((
                _,
                Description {
                    kind: FileKind::Directory,
                    ..
                },
            )) => match &self.lookup.on_directory {
                OnDirectory::Redirect(path) => Stage::Finished(Outcome::Moved(path.clone())),
                OnDirectory::Missing => self.not_here(candidate, Status::NotFound),
            },
            Ok((
                _,
                Description {
                    kind: FileKind::Special | FileKind::Link,
                    ..
                },
            )) => self.not_here(candidate, Status::NotFound),
            Err(error) => match meaning(error) {
                Meaning::Missing => self.not_here(candidate, Status::NotFound),
                meaning => Stage::Finished(meaning.outcome()),
            },
        }
    }

    /// A candidate is no file: on to the next.
    fn not_here(&mut self, candidate: usize, status: Status) -> Stage {
        let path = self.lookup.candidates[candidate].path.clone();
        self.seen.push(Expectation {
            path,
            version: None,
        });
        if candidate + 1 < self.lookup.candidates.len() {
            Stage::Opening {
                candidate: candidate + 1,
            }
        } else if status == Status::NotFound && self.lookup.listing.is_some() {
            Stage::OpeningDirectory
        } else {
            Stage::Finished(Outcome::Refused(status))
        }
    }

    fn twin_opened(
        &mut self,
        candidate: usize,
        twin: usize,
        identity: Opened,
        mut twins: Vec<(Coding, Opened)>,
        opened: rustix::io::Result<(OpenFile, Description)>,
    ) -> Stage {
        let (coding, path) = self.lookup.candidates[candidate].twins[twin].clone();
        let found = opened
            .ok()
            .filter(|(_, what)| what.kind == FileKind::Regular);
        let version = found.as_ref().map(|(_, what)| what.version);
        self.seen.push(Expectation { path, version });
        if let Some((file, Description { version, .. })) = found {
            // An older twin is of an older version of the file. Two representations of one length and
            // one mtime would share their strong entity tag (RFC 9110 §8.8.3.3).
            let shares_tag = |other: &Opened| {
                other.version.length == version.length && other.version.modified == version.modified
            };
            let distinct =
                !shares_tag(&identity) && !twins.iter().any(|(_, twin)| shares_tag(twin));
            if version.modified >= identity.version.modified && distinct {
                twins.push((
                    coding,
                    Opened {
                        file: Arc::new(file),
                        version,
                    },
                ));
            }
        }
        self.next_twin(candidate, twin + 1, identity, twins)
    }

    fn next_twin(
        &mut self,
        candidate: usize,
        twin: usize,
        identity: Opened,
        twins: Vec<(Coding, Opened)>,
    ) -> Stage {
        let here: &Candidate = &self.lookup.candidates[candidate];
        if twin < here.twins.len() {
            return Stage::Twins {
                candidate,
                twin,
                identity,
                twins,
            };
        }
        let path = here.path.clone();
        let expectations = std::mem::take(&mut self.seen);
        let found = FoundFile {
            path,
            identity,
            twins,
            expectations,
        };
        Stage::Finished(Outcome::File(Box::new(found)))
    }
}

/// Where a look-up begins that expects nothing.
fn first_stage(lookup: &Lookup) -> Stage {
    match (lookup.candidates.is_empty(), &lookup.listing) {
        (false, _) => Stage::Opening { candidate: 0 },
        (true, Some(_)) => Stage::OpeningDirectory,
        (true, None) => Stage::Finished(Outcome::Refused(Status::NotFound)),
    }
}
