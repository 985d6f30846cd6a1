//! Runs a job to its end on the thread that calls: what the engines without a ring have in common.

use std::io::{self, Write};

use super::job::{Append, Done, Job, Map, Resolve, Step, Warm};
use crate::sys::beneath::Root;
use crate::sys::file::{Description, OpenFile};

/// Bytes read at a time when a file is made resident.
pub(super) const SCRATCH_LENGTH: usize = 64 * 1024;

/// Makes the calls of a job, waiting for the disk as long as it takes. `scratch` is where bytes
/// pass through that nobody wants.
pub(super) fn run(job: Job, root: &Root, scratch: &mut [u8]) -> Done {
    match job {
        Job::Resolve(job) => resolve(job, root),
        Job::Map(job) => map(&job, scratch),
        Job::Warm(job) => warm(job, scratch),
        Job::Append(job) => append(job),
    }
}

fn resolve(mut job: Resolve, root: &Root) -> Done {
    loop {
        match job.step() {
            Step::Open(path) => {
                let opened = root.open_file(path).and_then(with_description);
                job.opened(opened);
            }
            Step::Describe(path) => {
                let described = root.describe(path);
                job.described(described);
            }
            Step::Finished => return Done::Resolved(job.finish()),
        }
    }
}

/// Opens are always followed by a look at what was opened, so that length and bytes of an answer
/// come from one file.
fn with_description(file: OpenFile) -> rustix::io::Result<(OpenFile, Description)> {
    let description = file.describe()?;
    Ok((file, description))
}

fn map(job: &Map, scratch: &mut [u8]) -> Done {
    let warmed = job.file.warm(0..job.version.length, scratch);
    let mapping = warmed.and_then(|()| job.finish());
    Done::Mapped {
        version: job.version,
        mapping,
    }
}

fn warm(job: Warm, scratch: &mut [u8]) -> Done {
    let result = job.file.warm(job.bytes, scratch);
    Done::Warmed(result)
}

fn append(job: Append) -> Done {
    let Append { log, mut buffer } = job;
    let result: io::Result<()> = (&*log).write_all(&buffer);
    buffer.clear();
    Done::Appended { buffer, result }
}
