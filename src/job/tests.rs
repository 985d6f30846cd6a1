//! Jobs as pure machines, driven by scripted results of calls.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::sys::READ_LENGTH_MAX;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;

/// A file that is never read: the machine gets scripted results.
fn any_file() -> (tempfile::TempDir, Arc<OpenFile>) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("a"), "x").expect("a file");
    let root = Root::open(directory.path(), DeferredDrops::default()).expect("a root");
    let file = root.open_file(c"a").expect("a file");
    (directory, Arc::new(file))
}

fn count(bytes: u64) -> io::Result<usize> {
    Ok(usize::try_from(bytes).expect("few bytes"))
}

/// Runs a read job; returns the requested ranges, in order, and the result.
fn reads(
    mut job: Job,
    mut answer: impl FnMut(usize, &Range<u64>) -> io::Result<usize>,
) -> (Vec<Range<u64>>, Done) {
    let mut asked = Vec::new();
    loop {
        match job.step() {
            Syscall::Read(_, bytes) => {
                let result = answer(asked.len(), &bytes);
                asked.push(bytes);
                job.answer(SyscallResult::Read(result));
            }
            Syscall::Finished => return (asked, job.finish()),
            step => panic!("not a read: {step:?}"),
        }
    }
}

#[test]
fn a_short_read_is_continued() {
    let (_directory, file) = any_file();
    let (asked, done) = reads(
        Job::Warm(Warm::new(file, 100..1_000)),
        |at, bytes| match at {
            0 => count(1),
            1 => count(300),
            _ => count(bytes.end - bytes.start),
        },
    );
    assert_eq!(asked, [100..1_000, 101..1_000, 401..1_000]);
    assert!(matches!(done, Done::Warmed(Ok(()))));
}

#[test]
fn a_long_window_is_read_in_pieces_that_fit() {
    let (_directory, file) = any_file();
    let end = 2 * READ_LENGTH_MAX as u64 + 7;
    let (asked, _) = reads(Job::Warm(Warm::new(file, 0..end)), |_, bytes| {
        count(bytes.end - bytes.start)
    });
    assert_eq!(asked.len(), 3);
    assert!(
        asked
            .iter()
            .all(|bytes| bytes.end - bytes.start <= READ_LENGTH_MAX as u64)
    );
    assert_eq!(asked.last().map(|bytes| bytes.end), Some(end));
}

#[test]
fn an_interrupted_read_is_made_again_and_the_end_of_a_file_is_no_error() {
    let (_directory, file) = any_file();
    let (asked, done) = reads(Job::Warm(Warm::new(file, 0..50)), |at, _| match at {
        0 => Err(io::ErrorKind::Interrupted.into()),
        1 => count(20),
        _ => count(0),
    });
    assert_eq!(asked, [0..50, 0..50, 20..50]);
    assert!(matches!(done, Done::Warmed(Ok(()))));
}

fn watches() -> Arc<Watches> {
    let inotify = inotify::Inotify::init().expect("an inotify instance");
    Arc::new(Watches::new(&inotify, DeferredDrops::default()))
}

#[test]
fn a_disk_that_fails_ends_the_job_with_its_error() {
    let (_directory, file) = any_file();
    let broken = || io::Error::from_raw_os_error(libc::EIO);
    let (asked, done) = reads(Job::Warm(Warm::new(Arc::clone(&file), 0..50)), |_, _| {
        Err(broken())
    });
    assert_eq!(asked.len(), 1);
    assert!(matches!(done, Done::Warmed(Err(JobError::Failed))));

    // A file that could not be read is not mapped.
    let version = file.describe().expect("a description").version;
    let map = Map::new(file, version, watches(), Locking::Unlocked);
    let (_, done) = reads(Job::Map(map), |_, _| Err(broken()));
    assert!(matches!(
        done,
        Done::Mapped(Mapped {
            memory: Err(Unmapped::Failed(_)),
            ..
        })
    ));
}

#[test]
fn a_file_is_read_before_it_is_mapped_and_not_mapped_if_it_changed() {
    let (directory, file) = any_file();
    let version = file.describe().expect("a description").version;
    let mut job = Job::Map(Map::new(
        Arc::clone(&file),
        version,
        watches(),
        Locking::Unlocked,
    ));
    assert!(matches!(job.step(), Syscall::Read(_, bytes) if bytes == (0..1)));
    job.answer(SyscallResult::Read(Ok(1)));
    std::fs::write(directory.path().join("a"), "another").expect("a file");
    let Syscall::Map(map) = job.step() else {
        panic!("it is mapped now");
    };
    let mapped = map.map();
    let Err(Unmapped::Failed(error)) = &mapped.memory else {
        panic!("it is not what it was: {mapped:?}");
    };
    assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
    assert!(
        mapped.watch.is_some(),
        "it was watched before it was compared"
    );
    job.answer(SyscallResult::Mapped(mapped));
    assert!(matches!(
        job.finish(),
        Done::Mapped(Mapped {
            memory: Err(Unmapped::Failed(_)),
            ..
        })
    ));
}

/// Appends `lines` to a log with scripted results; returns the bytes left at each write, the bytes written in
/// all, and the error.
fn appends(
    lines: &[u8],
    answers: Vec<io::Result<usize>>,
) -> (Vec<usize>, usize, Option<io::Error>) {
    let log = Arc::new(File::open("/dev/null").expect("/dev/null"));
    let mut job = Job::Append(Append::resuming(log, lines.to_vec(), 0));
    let mut left = Vec::new();
    for answer in answers {
        assert!(matches!(job.step(), Syscall::Write(_)), "it goes on");
        let (buffer, from) = job.lend_buffer();
        left.push(buffer.len() - from);
        job.answer(SyscallResult::Written(buffer, answer));
    }
    assert!(matches!(job.step(), Syscall::Finished), "it is over");
    match job.finish() {
        Done::Appended {
            buffer,
            written,
            failed,
        } => {
            assert_eq!(buffer, lines, "what was not written may be tried again");
            (left, written, failed)
        }
        done => panic!("{done:?}"),
    }
}

#[test]
fn lines_are_written_to_their_end_or_as_far_as_the_log_takes_them() {
    let (left, written, failed) = appends(
        b"0123456789",
        vec![Ok(4), Err(io::ErrorKind::Interrupted.into()), Ok(6)],
    );
    assert_eq!((left, written), (vec![10, 6, 6], 10));
    assert!(failed.is_none());
    let full = io::Error::from_raw_os_error(libc::ENOSPC);
    let (_, written, failed) = appends(b"0123456789", vec![Ok(4), Err(full)]);
    assert_eq!(written, 4);
    assert_eq!(
        failed.and_then(|error| error.raw_os_error()),
        Some(libc::ENOSPC)
    );
    let (_, written, failed) = appends(b"0123456789", vec![Ok(0)]);
    assert_eq!(written, 0);
    assert_eq!(
        failed.map(|error| error.kind()),
        Some(io::ErrorKind::WriteZero)
    );
}

#[test]
fn a_log_that_cannot_be_opened_says_so() {
    let mut job = Job::OneShot(OneShot::Reopen("/nowhere/log".into()), None);
    let is_it = |path: &Path| path == Path::new("/nowhere/log");
    assert!(matches!(job.step(), Syscall::OneShot(OneShot::Reopen(path)) if is_it(path)));
    let refused = Err(io::Error::from(io::ErrorKind::NotFound).into());
    job.answer(SyscallResult::OneShot(Done::Reopened(refused)));
    assert!(matches!(job.step(), Syscall::Finished));
    assert!(matches!(job.finish(), Done::Reopened(Err(_))));
}
