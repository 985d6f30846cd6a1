//! The paper's own SPED: every job runs to its end where it is submitted, on the loop.
//!
//! While the disk is slow nobody is served. It is here because it is what the other engines are
//! measured against, because it needs nothing of the kernel, and because with everything in the
//! page cache nothing is faster.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use super::job::{Append, Done, Job, Resolve, Step};
use super::{Disk, JobId, Saturated};
use crate::sys::beneath::Root;
use crate::sys::file::{Description, OpenFile};

/// Bytes read at a time when a file is made resident.
const SCRATCH_LENGTH: usize = 64 * 1024;

/// The engine.
#[derive(Debug)]
pub struct Blocking {
    root: Rc<Root>,
    done: Vec<(JobId, Done)>,
    scratch: Vec<u8>,
}

impl Blocking {
    /// An engine for files beneath `root`.
    pub fn new(root: Rc<Root>) -> Blocking {
        Blocking {
            root,
            done: Vec::new(),
            scratch: vec![0; SCRATCH_LENGTH],
        }
    }

    fn resolve(&self, mut resolve: Resolve) -> Done {
        loop {
            match resolve.step() {
                Step::Open(path) => {
                    let opened = self.root.open_file(path).and_then(with_description);
                    resolve.opened(opened);
                }
                Step::Describe(path) => {
                    let described = self.root.describe(path);
                    resolve.described(described);
                }
                Step::Finished => return Done::Resolved(resolve.finish()),
            }
        }
    }
}

/// Opens are always followed by a look at what was opened, so that length and bytes of an answer
/// come from one file.
fn with_description(file: OpenFile) -> rustix::io::Result<(OpenFile, Description)> {
    let description = file.describe()?;
    Ok((file, description))
}

fn append(job: Append) -> Done {
    let Append { log, mut buffer } = job;
    let result = (&*log).write_all(&buffer);
    buffer.clear();
    Done::Appended { buffer, result }
}

impl Disk for Blocking {
    fn submit(&mut self, id: JobId, job: Job) -> Result<(), Saturated> {
        let done = match job {
            Job::Resolve(resolve) => self.resolve(resolve),
            Job::Map(map) => {
                let warmed = map.file.warm(map.version.length, &mut self.scratch);
                let mapping = warmed.and_then(|()| map.finish());
                Done::Mapped {
                    version: map.version,
                    mapping,
                }
            }
            Job::Append(job) => append(job),
        };
        self.done.push((id, done));
        Ok(())
    }

    fn reap(&mut self, done: &mut Vec<(JobId, Done)>) -> io::Result<()> {
        done.append(&mut self.done);
        Ok(())
    }

    fn wake_source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn has_results(&self) -> bool {
        !self.done.is_empty()
    }

    fn depth(&self) -> usize {
        self.done.len()
    }

    fn name(&self) -> &'static str {
        "blocking"
    }
}
