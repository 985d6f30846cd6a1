//! Unix sockets: binding without replacing anything else, and removing the own socket.
//!
//! An existing socket at the path is replaced only if no process listens on it: a killed process leaves such a socket
//! behind. A file, a FIFO, a link or a directory stays. At the end only the socket that was made here is removed:
//! another server may have put its own there meanwhile. Source: `unix(7)`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::settings::SocketAccess;

/// How long to wait for another process that starts at the same time; it needs about a millisecond.
const TURN_WAIT: Duration = Duration::from_secs(1);
/// The mode if a group is configured without a mode.
const GROUP_MODE: u32 = 0o660;

/// Why a path cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path has a file that the server must not remove.
    #[error("the path is {0}, not a socket; it is left alone")]
    Occupied(&'static str),
    /// No group of this name.
    #[error("there is no group {0}")]
    NoGroup(String),
    /// The socket cannot be given to the group.
    #[error("cannot set the group {0}: {1}")]
    Group(String, io::Error),
}

impl From<Errno> for ListenError {
    fn from(error: Errno) -> ListenError {
        ListenError::Io(error.into())
    }
}

/// The path of a socket that was made here.
#[derive(Debug)]
pub(super) struct OwnPath {
    path: PathBuf,
    /// Device and inode. No other file gets the inode as long as the socket is open.
    identity: (u64, u64),
}

impl OwnPath {
    /// Removes the socket, if it is still the one that was made. To be called while that is open.
    pub(super) fn unlink(&self) {
        let is_own = rustix::fs::lstat(&self.path).is_ok_and(|now| identity(&now) == self.identity);
        if is_own {
            // Gone by now, or not allowed: nothing to be done about either.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket at a path. It does not listen yet, so nobody reaches it before its mode and group are
/// what they shall be.
///
/// # Errors
/// [`ListenError`]; `AddrInUse` where somebody listens there.
pub(super) fn bind(path: &Path, access: &SocketAccess) -> Result<(Socket, OwnPath), ListenError> {
    let group = access.group.as_deref().map(group_of).transpose()?;
    let mode = access.mode.or(group.is_some().then_some(GROUP_MODE));
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    let _turn = take_turn(directory_of(path));
    match bind_with_mode(&socket, &address, mode) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_abandoned(path)?;
            bind_with_mode(&socket, &address, mode)?;
        }
        bound => bound?,
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&made)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        // Somebody who may write here has put it there a moment ago.
        return Err(io::Error::from(io::ErrorKind::AddrInUse).into());
    }
    let own = OwnPath {
        path: path.into(),
        identity: identity(&stat),
    };
    if let Some(group) = group {
        let given = rustix::fs::chownat(&made, c"", None, Some(group), AtFlags::EMPTY_PATH);
        if let Err(error) = given {
            own.unlink();
            let name = access.group.clone().unwrap_or_default();
            return Err(ListenError::Group(name, error.into()));
        }
    }
    Ok((socket, own))
}

/// Binds with this mode and no other, from the first moment on. The mask is that of the process, which has
/// one thread as long as it starts.
fn bind_with_mode(socket: &Socket, address: &SockAddr, mode: Option<u32>) -> io::Result<()> {
    let Some(mode) = mode else {
        return socket.bind(address);
    };
    let former = rustix::process::umask(Mode::from_raw_mode(!mode & 0o777));
    let bound = socket.bind(address);
    rustix::process::umask(former);
    bound
}

/// Removes a socket at which nobody listens.
fn remove_abandoned(path: &Path) -> Result<(), ListenError> {
    let seen = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        seen => seen?,
    };
    match FileType::from_raw_mode(seen.st_mode) {
        FileType::Socket => {}
        FileType::RegularFile => return Err(ListenError::Occupied("a file")),
        FileType::Directory => return Err(ListenError::Occupied("a directory")),
        FileType::Symlink => return Err(ListenError::Occupied("a symbolic link")),
        FileType::Fifo => return Err(ListenError::Occupied("a FIFO")),
        _ => return Err(ListenError::Occupied("a device")),
    }
    // A server whose queue is full would have a connection wait.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let connected = probe.connect(&SockAddr::unix(path)?);
    let is_refused = connected
        .is_err_and(|error| error.raw_os_error() == Some(Errno::CONNREFUSED.raw_os_error()));
    let is_same = rustix::fs::lstat(path).is_ok_and(|now| identity(&now) == identity(&seen));
    if !(is_refused && is_same) {
        return Err(io::Error::from(io::ErrorKind::AddrInUse).into());
    }
    Ok(std::fs::remove_file(path)?)
}

/// Has servers that start at the same time make their sockets one after the other: one that is bound and
/// does not listen yet looks abandoned. Whoever cannot have the lock goes on without.
fn take_turn(directory: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty()).ok()?;
    let until = Instant::now() + TURN_WAIT;
    loop {
        let locked = rustix::fs::flock(directory.as_fd(), FlockOperation::NonBlockingLockExclusive);
        match locked {
            Ok(()) => return Some(directory),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until => {
                std::thread::yield_now();
            }
            Err(_) => return None,
        }
    }
}

fn group_of(name: &str) -> Result<Gid, ListenError> {
    if let Ok(number) = name.parse::<u32>() {
        return Ok(Gid::from_raw(number));
    }
    let found = nix::unistd::Group::from_name(name).map_err(io::Error::from)?;
    let found = found.ok_or_else(|| ListenError::NoGroup(name.to_owned()))?;
    Ok(Gid::from_raw(found.gid.as_raw()))
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        _ => Path::new("."),
    }
}
