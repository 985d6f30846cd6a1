//! The ring against the kernel: flags, dropping with calls in flight, more calls than places.

use super::*;
use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

/// A ring, where there is io_uring.
fn ring(depth: u32) -> Option<Ring> {
    Ring::new(depth).ok()
}

/// A pipe that is full: a write to it does not return.
fn full_pipe() -> (io::PipeReader, Arc<File>) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let writer = OwnedFd::from(writer);
    let flags = rustix::fs::fcntl_getfl(&writer).expect("flags");
    let nonblocking = flags | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&writer, nonblocking).expect("flags");
    while rustix::io::write(&writer, &[0; 4_096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).expect("flags");
    (reader, Arc::new(File::from(writer)))
}

/// Each kernel has some of the flags: a ring works with any set of them.
#[test]
fn a_ring_works_with_the_flags_that_a_kernel_has() {
    if ring(4).is_none() {
        println!("skipped: no io_uring here");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let deferred_drops = crate::sys::deferred_drops::DeferredDrops::default();
    let root = Arc::new(Root::open(directory.path(), deferred_drops).expect("a root"));
    for flags in FLAGS {
        let mut builder = IoUring::builder();
        match flags(builder.setup_r_disabled()).build(4) {
            // This kernel does not have them.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            made => {
                let made = Ring::enabled(made.expect("a ring"), 4);
                made.expect("it is enabled")
                    .try_out(&root)
                    .expect("it makes calls");
            }
        }
    }
}

#[test]
fn a_ring_that_is_dropped_with_calls_under_way_waits_for_none_and_frees_nothing_in_use() {
    let Some(mut ring) = ring(4) else {
        return;
    };
    let (mut reader, writer) = full_pipe();
    for token in 0..4 {
        let call = Call::Write(Arc::clone(&writer), vec![b'x'; 1 << 16], 0);
        ring.push(token, call).expect("room");
    }
    assert_eq!(ring.submit().expect("begun"), 4);
    assert!(ring.reap().is_none(), "they wait for the pipe");
    drop(ring);
    // What the four calls point to is theirs for ever, the file among it.
    assert_eq!(Arc::strong_count(&writer), 1 + 4);
    drop(writer);
    // Whatever still comes out of the pipe is what was put in: the buffers were not reused.
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut piece = [0; 4_096];
        // The ring's writers keep the pipe open for as long as they live.
        while let Ok(count @ 1..) = reader.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
            if sender.send(bytes.clone()).is_err() {
                return;
            }
        }
    });
    while let Ok(bytes) = receiver.recv_timeout(Duration::from_millis(200)) {
        let mut bytes = bytes.iter().skip_while(|byte| **byte == 0);
        assert!(bytes.all(|byte| *byte == b'x'));
    }
}

#[test]
fn more_calls_than_the_queue_holds_are_all_made() {
    let Some(mut ring) = ring(2) else {
        return;
    };
    let log = Arc::new(tempfile::tempfile().expect("a file"));
    // The kernel keeps results for twice as many as the ring was made for.
    for token in 0..4 {
        let call = Call::Write(Arc::clone(&log), vec![b'x'; 10], 0);
        ring.push(token, call)
            .expect("the queue is emptied on the way");
    }
    let mut tokens = Vec::new();
    while tokens.len() < 4 {
        ring.submit().expect("begun");
        match ring.reap() {
            Some((token, Returned::Written(buffer, count))) => {
                assert_eq!((buffer.len(), count.expect("written")), (10, 10));
                tokens.push(token);
            }
            Some((_, returned)) => panic!("{returned:?}"),
            None => std::thread::yield_now(),
        }
    }
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..4));
    assert_eq!(ring.in_flight.len(), 0);
}
