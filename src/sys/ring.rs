//! io_uring as a queue of owned calls: what the kernel reads or writes belongs to the ring until the
//! call has returned, whoever has lost interest meanwhile.
//!
//! Every call is forced onto a worker thread of the kernel (`IOSQE_ASYNC`): an open that is tried
//! at once runs the file system's own code in the submitter when the name is cached, and there it
//! may wait. The ring allows the calls below and nothing else (`IORING_REGISTER_RESTRICTIONS`),
//! because seccomp does not see what goes through it. `io_uring(7)`, `io_uring_register(2)`.

#![allow(unsafe_code)]

use std::borrow::Cow;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::Arc;

use io_uring::register::{Probe, Restriction};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, OpenHow};
use io_uring::{Builder, IoUring, opcode};
use rustix::fs::{Statx, StatxFlags};
use rustix::io::Errno;
use slab::Slab;

use super::beneath::{Links, Located, Root, stat_flags};
use super::deferred_drops::Descriptor;
use super::file::{Description, OpenFile};
use super::scratch;

/// A call to make.
#[derive(Debug)]
pub(crate) enum Call {
    /// `openat2` beneath the root, with `O_PATH`.
    Look(Arc<Root>, CString, Links),
    /// `openat2` of what was located by this path, or of the path.
    Open(Arc<Root>, Located, CString, Links),
    /// `statx` of a path below the root.
    Describe(Arc<Root>, CString, Links),
    /// `preadv` of bytes that nobody wants: see [`OpenFile::read_through`].
    Read(Arc<OpenFile>, Range<u64>),
    /// `write` to the end of a log, from the given byte of the buffer on.
    Write(Arc<File>, Vec<u8>, usize),
    /// `close`.
    Close(Descriptor),
}

/// What a call gave.
#[derive(Debug)]
pub(crate) enum Returned {
    /// Of [`Call::Look`].
    Located(rustix::io::Result<Located>),
    /// Of [`Call::Open`].
    Opened(rustix::io::Result<OpenFile>),
    /// Of [`Call::Describe`].
    Described(rustix::io::Result<Description>),
    /// Of [`Call::Read`]: bytes read.
    Read(io::Result<usize>),
    /// Of [`Call::Write`]: the buffer, and bytes written.
    Written(Vec<u8>, io::Result<usize>),
    /// Of [`Call::Close`].
    Closed,
    /// Nothing: the kernel had no worker to make this call. A limit on processes or threads is reached
    /// (`RLIMIT_NPROC`, `pids.max`).
    NotMade(Call),
}

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// `io_uring_setup(2)` failed: EPERM (seccomp, `kernel.io_uring_disabled`), ENOSYS, ENOMEM.
    #[error("io_uring_setup: {0}")]
    Refused(io::Error),
    /// The kernel lacks an operation.
    #[error("this kernel's io_uring has no {0}")]
    Lacks(&'static str),
    /// Limits on workers or restrictions could not be registered.
    #[error("io_uring_register: {0}")]
    Registration(io::Error),
    /// A ring was made, and the first call through it failed.
    #[error("a call through io_uring failed: {0}")]
    Unusable(io::Error),
}

/// The operations that a ring must have, which are also all that it allows.
const OPERATIONS: [(u8, &str); 5] = [
    (opcode::OpenAt2::CODE, "OPENAT2"),
    (opcode::Statx::CODE, "STATX"),
    (opcode::Readv::CODE, "READV"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Close::CODE, "CLOSE"),
];

/// A call under way. It does not move, so that the kernel may hold pointers into it.
struct InFlight {
    token: u64,
    call: Call,
    /// Of an open: where, and by which path, if that is not the path of the call.
    directory: RawFd,
    number: Option<CString>,
    how: OpenHow,
    stat: MaybeUninit<Statx>,
}

impl InFlight {
    fn new(token: u64, call: Call) -> InFlight {
        let (mut directory, mut number) = (-1, None);
        let (flags, resolve) = match &call {
            Call::Look(root, _, links) => {
                directory = root.raw_directory();
                Root::look_how(*links)
            }
            Call::Open(root, located, path, links) => {
                let entrance = root.entrance(located, path, *links);
                directory = entrance.directory.as_raw_fd();
                let how = Root::open_how(&entrance);
                if let Cow::Owned(path) = entrance.path {
                    number = Some(path);
                }
                how
            }
            _ => (0, 0),
        };
        InFlight {
            token,
            call,
            directory,
            number,
            how: OpenHow::new().flags(flags).resolve(resolve),
            stat: MaybeUninit::zeroed(),
        }
    }
}

/// A ring, to be used on the thread that made it.
pub(crate) struct Ring {
    ring: IoUring,
    in_flight: Slab<NonNull<InFlight>>,
    unsubmitted: bool,
}

/// Sets of flags to make a ring with, the best first: each kernel refuses those that it does not know with
/// EINVAL. SINGLE_ISSUER spares a lock (Linux 6.0), COOP_TASKRUN an interrupt a completion (5.19). A ring
/// that is not yet enabled, so that it can be restricted, is there from 5.10.
const FLAGS: [fn(&mut Builder) -> &mut Builder; 3] = [
    |builder| builder.setup_single_issuer().setup_coop_taskrun(),
    |builder| builder.setup_coop_taskrun(),
    |builder| builder,
];

/// A ring with the best flags that the kernel has.
fn build(entries: u32) -> io::Result<IoUring> {
    let mut unknown = io::Error::from_raw_os_error(libc::EINVAL);
    for flags in FLAGS {
        let mut builder = IoUring::builder();
        match flags(builder.setup_r_disabled()).build(entries) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => unknown = error,
            made => return made,
        }
    }
    Err(unknown)
}

impl Ring {
    /// A ring for at most `depth` calls at once, each on a worker of its own.
    ///
    /// # Errors
    /// See [`RingError`].
    pub(crate) fn new(depth: u32) -> Result<Ring, RingError> {
        let ring = build(depth.next_power_of_two()).map_err(RingError::Refused)?;
        Ring::enabled(ring, depth)
    }

    /// Restricts a ring to the operations that are used, and enables it.
    fn enabled(ring: IoUring, depth: u32) -> Result<Ring, RingError> {
        let submitter = ring.submitter();
        let mut probe = Probe::new();
        submitter
            .register_probe(&mut probe)
            .map_err(RingError::Registration)?;
        if let Some((_, name)) = OPERATIONS.iter().find(|op| !probe.is_supported(op.0)) {
            return Err(RingError::Lacks(name));
        }
        // Reads count among the unbounded calls when they are forced onto a worker, opens among
        // the bounded ones, so both limits matter.
        let mut workers = [depth, depth];
        let asynchronous = Flags::ASYNC.bits();
        let mut restrictions: Vec<Restriction> = OPERATIONS
            .iter()
            .map(|op| Restriction::sqe_op(op.0))
            .collect();
        restrictions.push(Restriction::sqe_flags_allowed(asynchronous));
        restrictions.push(Restriction::sqe_flags_required(asynchronous));
        submitter
            .register_iowq_max_workers(&mut workers)
            .and_then(|()| submitter.register_restrictions(&mut restrictions))
            .and_then(|()| submitter.register_enable_rings())
            .map_err(RingError::Registration)?;
        Ok(Ring {
            ring,
            in_flight: Slab::new(),
            unsubmitted: false,
        })
    }

    /// Looks at a root through the ring and waits for it: whether calls are made at all shows only then.
    ///
    /// # Errors
    /// [`RingError::Unusable`].
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn try_out(&mut self, root: &Arc<Root>) -> Result<(), RingError> {
        let call = Call::Look(Arc::clone(root), c".".to_owned(), Links::Followed);
        let busy = || RingError::Unusable(Errno::BUSY.into());
        self.push(0, call).map_err(|_| busy())?;
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => {
                    waited.map_err(RingError::Unusable)?;
                }
            }
            self.unsubmitted = !self.ring.submission().is_empty();
            let unusable = |errno: Errno| RingError::Unusable(errno.into());
            match self.reap() {
                Some((_, Returned::Located(located))) => {
                    return located.map(drop).map_err(unusable);
                }
                Some(_) => return Err(unusable(Errno::CANCELED)),
                None => {}
            }
        }
    }

    /// Readable when calls have returned.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open for as long as the ring lives.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Takes a call; it begins with the next [`submit`](Ring::submit). `token` comes back with
    /// its result.
    ///
    /// # Errors
    /// Gives the call back when the queue of the kernel is full.
    pub(crate) fn push(&mut self, token: u64, call: Call) -> Result<(), Call> {
        if self.ring.submission().is_full() && self.submit().is_err() {
            return Err(call);
        }
        let boxed = Box::new(InFlight::new(token, call));
        let place = NonNull::from(Box::leak(boxed));
        let slot = self.in_flight.insert(place);
        // SAFETY: `place` is a leaked box that nobody else refers to yet.
        let entry = entry(unsafe { &mut *place.as_ptr() })
            .flags(Flags::ASYNC)
            .user_data(slot as u64);
        // SAFETY: what the entry points to lies in the leaked box, in what the box owns, or in
        // static memory; all of it stays until `take` has seen this call's completion.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        if pushed.is_err() {
            let in_flight = self.take(slot);
            return Err(in_flight.call);
        }
        self.unsubmitted = true;
        Ok(())
    }

    /// Submits the entries pushed since the last call: one system call, or none. Gives how many calls
    /// have begun.
    ///
    /// # Errors
    /// Those of `io_uring_enter(2)`. EAGAIN, EBUSY and EINTR pass: the next iteration tries again.
    pub(crate) fn submit(&mut self) -> io::Result<usize> {
        if !self.unsubmitted {
            return Ok(0);
        }
        match self.ring.submit() {
            Ok(count) => {
                self.unsubmitted = !self.ring.submission().is_empty();
                Ok(count)
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EBUSY | libc::EINTR) => Ok(0),
                _ => Err(error),
            },
        }
    }

    /// Whether [`reap`](Ring::reap) has something, or [`submit`](Ring::submit) has to be tried again.
    pub(crate) fn is_ready(&self) -> bool {
        if self.unsubmitted {
            return true;
        }
        // SAFETY: `&self` is not shared with other threads, and no other queue object lives now.
        let completions = unsafe { self.ring.completion_shared() };
        !completions.is_empty()
    }

    /// The next call that has returned.
    pub(crate) fn reap(&mut self) -> Option<(u64, Returned)> {
        let completion = self.ring.completion().next()?;
        let slot = usize::try_from(completion.user_data()).ok()?;
        let in_flight = self.take(slot);
        Some((in_flight.token, returned(*in_flight, completion.result())))
    }

    /// Takes a call out that the kernel has done with.
    fn take(&mut self, slot: usize) -> Box<InFlight> {
        let place = self.in_flight.remove(slot);
        // SAFETY: the place was leaked from a box in `push`, stands in the table once, and the
        // kernel no longer points to it.
        unsafe { Box::from_raw(place.as_ptr()) }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.in_flight.len();
        formatter
            .debug_struct("Ring")
            .field("in_flight", &count)
            .finish()
    }
}

/// What the kernel is given for a call.
fn entry(in_flight: &mut InFlight) -> Entry {
    let InFlight {
        call,
        directory,
        number,
        how,
        stat,
        ..
    } = in_flight;
    match call {
        Call::Look(_, path, _) | Call::Open(_, _, path, _) => {
            let path = number.as_ref().unwrap_or(path);
            opcode::OpenAt2::new(Fd(*directory), path.as_ptr(), &raw const *how).build()
        }
        Call::Describe(root, path, links) => {
            let directory = Fd(root.raw_directory());
            opcode::Statx::new(directory, path.as_ptr(), stat.as_mut_ptr().cast())
                .mask(StatxFlags::BASIC_STATS.bits())
                .flags(i32::try_from(stat_flags(*links).bits()).unwrap_or(0))
                .build()
        }
        Call::Read(file, bytes) => {
            let pieces = scratch::pieces(bytes.end - bytes.start);
            let count = u32::try_from(pieces.len()).unwrap_or(1);
            opcode::Readv::new(Fd(file.descriptor().as_raw_fd()), pieces.as_ptr(), count)
                .offset(bytes.start)
                .build()
        }
        Call::Write(log, buffer, from) => {
            let rest = buffer.get(*from..).unwrap_or_default();
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            // The place is the end, wherever that is, since the log is opened with O_APPEND.
            opcode::Write::new(Fd(log.as_fd().as_raw_fd()), rest.as_ptr(), length)
                .offset(u64::MAX)
                .build()
        }
        Call::Close(descriptor) => opcode::Close::new(Fd(descriptor.as_fd().as_raw_fd())).build(),
    }
}

/// A result of the kernel in terms of its call.
fn returned(in_flight: InFlight, result: i32) -> Returned {
    // Nobody cancels calls here, so this is what becomes of those that no worker could be made for.
    if result == -libc::ECANCELED {
        return Returned::NotMade(in_flight.call);
    }
    let count =
        || usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(result.wrapping_neg()));
    let error = || Errno::from_raw_os_error(result.wrapping_neg());
    let opened = || match result {
        // SAFETY: the kernel has just opened it for this call, so nobody else has it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(result) }),
        _ => Err(error()),
    };
    match in_flight.call {
        Call::Look(root, ..) => {
            Returned::Located(opened().map(|descriptor| root.adopt_located(descriptor)))
        }
        Call::Open(root, located, ..) => {
            let adopt = |descriptor| root.adopt_opened(descriptor, located);
            Returned::Opened(opened().and_then(adopt))
        }
        Call::Describe(..) => Returned::Described(match result {
            0.. => {
                // SAFETY: it began as zeroes, which are a valid value, and the kernel has filled it.
                let stat = unsafe { in_flight.stat.assume_init() };
                Ok(Description::from(stat))
            }
            _ => Err(error()),
        }),
        Call::Read(..) => Returned::Read(count()),
        Call::Write(_, buffer, _) => Returned::Written(buffer, count()),
        Call::Close(descriptor) => {
            // Refused before it began, it is still open; after any other error it is not.
            if result == -libc::EACCES {
                drop(descriptor);
            } else {
                descriptor.closed();
            }
            Returned::Closed
        }
    }
}

#[cfg(test)]
mod tests;
