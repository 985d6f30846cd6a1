//! A slow disk: every request takes [`DELAY`], [`SLOTS`] run concurrently, others queue.
//!
//! It does not know files: a request is a closure that makes the reply after the delay.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Duration of a request, independent of its size.
pub(crate) const DELAY: Duration = Duration::from_millis(20);
/// Concurrent requests.
pub(crate) const SLOTS: usize = 32;
/// Maximum length of a read: the most that FUSE requests in one piece.
pub(crate) const READ_MAX: usize = 1 << 20;

/// Makes the reply; may use the buffer ([`READ_MAX`] bytes), whose content is undefined.
type Reply = Box<dyn FnOnce(&mut [u8]) + Send>;

/// The disk; when it is dropped its threads end with the last queued request.
pub(crate) struct Disk(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

struct Queue {
    replies: VecDeque<Reply>,
    /// Requests queued or running.
    depth: usize,
    /// Maximum of `depth` since the last query.
    deepest: usize,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no slot panics while it holds it")
    }

    fn next(&self) -> Option<Reply> {
        let mut queue = self.lock();
        loop {
            if let Some(reply) = queue.replies.pop_front() {
                return Some(reply);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.arrived.wait(queue).expect("as for lock");
        }
    }

    /// One slot: takes a request, waits, replies, repeats.
    fn work(&self) {
        let mut buffer = vec![0; READ_MAX];
        while let Some(reply) = self.next() {
            thread::sleep(DELAY);
            reply(&mut buffer);
            self.lock().depth -= 1;
        }
    }
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                replies: VecDeque::new(),
                depth: 0,
                deepest: 0,
                is_closed: false,
            }),
            arrived: Condvar::new(),
        });
        for _ in 0..SLOTS {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work());
        }
        Disk(shared)
    }

    pub(crate) fn submit(&self, reply: impl FnOnce(&mut [u8]) + Send + 'static) {
        let mut queue = self.0.lock();
        queue.replies.push_back(Box::new(reply));
        queue.depth += 1;
        queue.deepest = queue.deepest.max(queue.depth);
        drop(queue);
        self.0.arrived.notify_one();
    }

    /// Maximum queue length since the last call, including running requests.
    pub(crate) fn take_deepest(&self) -> usize {
        let mut queue = self.0.lock();
        let depth = queue.depth;
        std::mem::replace(&mut queue.deepest, depth)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.arrived.notify_all();
    }
}
