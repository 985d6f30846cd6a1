//! What a disk job finds out, as a pure machine: it says which call to make next and is told what
//! came of it. Every engine runs the same machine, so they cannot differ in what they find.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use crate::cache::entry::Expectation;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::site::resolve::{Candidate, Lookup, OnDirectory};
use crate::sys::file::{Description, FileKind, FileVersion, OpenFile};
use crate::sys::mapping::Mapping;

/// What is asked of the disk.
#[derive(Debug)]
pub enum Job {
    /// Find the file that a look-up leads to. With expectations: first see whether everything is
    /// as it was, and if so look no further.
    Resolve(Resolve),
    /// Make a file resident and map it.
    Map(Map),
    /// Make part of a file resident.
    Warm(Warm),
    /// Append lines to a log.
    Append(Append),
}

/// What came of a job.
#[derive(Debug)]
pub enum Done {
    /// Of [`Job::Resolve`].
    Resolved(Outcome),
    /// Of [`Job::Map`].
    Mapped {
        /// The version that was asked for.
        version: FileVersion,
        /// The mapping; an error also when the file is no longer of that version.
        mapping: io::Result<Mapping>,
    },
    /// Of [`Job::Warm`].
    Warmed(io::Result<()>),
    /// Of [`Job::Append`]: the buffer comes back, emptied.
    Appended {
        /// To be used again.
        buffer: Vec<u8>,
        /// Whether all was written.
        result: io::Result<()>,
    },
}

/// A file that was opened, and what it was at that moment.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The descriptor.
    pub file: Arc<OpenFile>,
    /// Its version, by `statx` of this descriptor.
    pub version: FileVersion,
}

/// What a look-up leads to.
#[derive(Debug)]
pub enum Outcome {
    /// All that was expected still holds.
    Unchanged,
    /// A file.
    File(Box<FoundFile>),
    /// A directory where a file was looked for; the path to go to.
    Moved(String),
    /// Nothing that is served: 404 or 403. A fact worth remembering.
    Refused(Status),
    /// The disk could not say: 500 or 503. Not a fact.
    Failed(Status),
}

/// A file that a look-up led to.
#[derive(Debug)]
pub struct FoundFile {
    /// Its name below the root.
    pub path: CString,
    /// The file.
    pub identity: Opened,
    /// Its usable twins.
    pub twins: Vec<(Coding, Opened)>,
    /// What every path that was looked at led to.
    pub expectations: Vec<Expectation>,
}

/// The kernel call that a job needs next.
#[derive(Debug)]
pub enum Step<'a> {
    /// `openat2` beneath the root, then `statx` of what was opened. Answer with
    /// [`Resolve::opened`].
    Open(&'a CStr),
    /// `statx` of a path. Answer with [`Resolve::described`].
    Describe(&'a CStr),
    /// None: take the outcome.
    Finished,
}

/// Where a look-up stands.
#[derive(Debug)]
enum Stage {
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
    /// Nothing is left to do.
    Finished(Outcome),
}

/// The look-up of one path: candidates in order, then the twins of the first that is a file.
#[derive(Debug)]
pub struct Resolve {
    lookup: Lookup,
    expected: Option<Arc<[Expectation]>>,
    seen: Vec<Expectation>,
    stage: Stage,
}

impl Resolve {
    /// A look-up that starts from nothing.
    pub fn new(lookup: Lookup) -> Resolve {
        let stage = Stage::Opening { candidate: 0 };
        Resolve {
            lookup,
            expected: None,
            seen: Vec::new(),
            stage,
        }
    }

    /// A look-up that may end early if all is as expected.
    pub fn checking(lookup: Lookup, expected: Arc<[Expectation]>) -> Resolve {
        let stage = Stage::Checking(0);
        Resolve {
            lookup,
            expected: Some(expected),
            seen: Vec::new(),
            stage,
        }
    }

    /// The next call to make.
    pub fn step(&self) -> Step<'_> {
        match &self.stage {
            Stage::Checking(at) => match self.expected.as_deref().and_then(|all| all.get(*at)) {
                Some(expectation) => Step::Describe(&expectation.path),
                None => Step::Finished,
            },
            Stage::Opening { candidate } => Step::Open(&self.lookup.candidates[*candidate].path),
            Stage::Twins {
                candidate, twin, ..
            } => Step::Open(&self.lookup.candidates[*candidate].twins[*twin].1),
            Stage::Finished(_) => Step::Finished,
        }
    }

    /// What came of [`Step::Describe`]. Anything but what was expected starts the look-up anew.
    pub fn described(&mut self, description: rustix::io::Result<Description>) {
        let Stage::Checking(at) = self.stage else {
            return;
        };
        let version = description
            .ok()
            .filter(|description| description.kind == FileKind::Regular)
            .map(|description| description.version);
        let expected = self.expected.as_deref().unwrap_or_default();
        self.stage = match expected.get(at) {
            Some(expectation) if expectation.version != version => Stage::Opening { candidate: 0 },
            _ if at + 1 < expected.len() => Stage::Checking(at + 1),
            _ => Stage::Finished(Outcome::Unchanged),
        };
    }

    /// What came of [`Step::Open`].
    pub fn opened(&mut self, opened: rustix::io::Result<(OpenFile, Description)>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Outcome::Unchanged));
        self.stage = match stage {
            Stage::Opening { candidate } => self.candidate_opened(candidate, opened),
            Stage::Twins {
                candidate,
                twin,
                identity,
                twins,
            } => self.twin_opened(candidate, twin, identity, twins, opened),
            stage => stage,
        };
    }

    /// The outcome, once [`step`](Resolve::step) says that it is there.
    pub fn finish(self) -> Outcome {
        match self.stage {
            Stage::Finished(outcome) => outcome,
            _ => Outcome::Unchanged,
        }
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
                    kind: FileKind::Special,
                    ..
                },
            )) => self.not_here(candidate, Status::NotFound),
            Err(error) => match meaning(error) {
                Meaning::Missing => self.not_here(candidate, Status::NotFound),
                Meaning::Forbidden => Stage::Finished(Outcome::Refused(Status::Forbidden)),
                Meaning::Failed(status) => Stage::Finished(Outcome::Failed(status)),
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

/// What an error of `openat2` says about the site.
enum Meaning {
    Missing,
    Forbidden,
    Failed(Status),
}

/// The one place where errors of the disk become statuses.
fn meaning(error: Errno) -> Meaning {
    match error {
        // EXDEV: a way out of the root, which must look as if it were not there. ENXIO, ENODEV:
        // a socket, or a device without a driver.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NXIO
        | Errno::NODEV
        | Errno::INVAL
        | Errno::ILSEQ => Meaning::Missing,
        Errno::ACCESS | Errno::PERM => Meaning::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            Meaning::Failed(Status::ServiceUnavailable)
        }
        _ => Meaning::Failed(Status::InternalServerError),
    }
}

/// Makes a file resident and maps it: in this order, because a mapping that is populated while it
/// exists makes others wait for `mmap_lock`.
#[derive(Debug)]
pub struct Map {
    /// The file.
    pub file: Arc<OpenFile>,
    /// The version that the mapping is for; its length is mapped.
    pub version: FileVersion,
}

impl Map {
    /// Maps the file, if it is still what it was.
    ///
    /// # Errors
    /// ESTALE when the file has changed; else those of `statx(2)` and `mmap(2)`.
    pub fn finish(&self) -> io::Result<Mapping> {
        let length = usize::try_from(self.version.length).map_err(|_| Errno::FBIG)?;
        let mapping = Mapping::of(&self.file, length)?;
        match self.file.describe()?.version == self.version {
            true => Ok(mapping),
            false => Err(Errno::STALE.into()),
        }
    }
}

/// Makes part of a file resident, so that sending it does not wait.
#[derive(Debug)]
pub struct Warm {
    /// The file.
    pub file: Arc<OpenFile>,
    /// Which bytes; what lies past the end of the file is not there and no error.
    pub bytes: Range<u64>,
}

/// Appends bytes to a log.
#[derive(Debug)]
pub struct Append {
    /// Where to; opened with `O_APPEND`, or standard output.
    pub log: Arc<File>,
    /// Whole lines.
    pub buffer: Vec<u8>,
}
