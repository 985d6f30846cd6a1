//! Files of the operator that are written: the log, the saved state, a drawing.
//!
//! Nothing that another user has put in the place of such a file is written to or waited for. Links are
//! followed only where root or the user of this process has made them, step by step, so that what was
//! looked at is what is followed. A file that is replaced is written under a random name that did not
//! exist (`O_EXCL`) and renamed. Source: `open(2)`, `proc_sys_fs(5)` on `protected_symlinks`.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Links followed on the way to a file, and tries where it changes meanwhile.
const STEP_COUNT_MAX: usize = 16;
/// Other users who may write a directory, and so may have put there what is in it.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_OR_OTHERS_WRITE: u32 = 0o022;

/// How an output is opened. `O_NONBLOCK`: a FIFO without a reader is an error, not a wait.
const OPEN_FLAGS: OFlags = OFlags::WRONLY
    .union(OFlags::APPEND)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Why a file is not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// What the kernel said.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A link that could lead anywhere.
    #[error("it is a symbolic link made by another user (uid {0})")]
    ForeignLink(u32),
    /// More links than anybody needs, or a file that changes all the time.
    #[error("it leads through {STEP_COUNT_MAX} symbolic links")]
    TooManyLinks,
    /// Something that another user may have put there.
    #[error("it was created by another user (uid {0}) in a world-writable directory")]
    Planted(u32),
    /// Perhaps a second name of a file that is somebody's.
    #[error("it has {0} names (hard links) in a directory that others can write")]
    SeveralNames(u64),
    /// A FIFO that nobody has opened for reading.
    #[error("it is a FIFO that nobody reads")]
    NoReader,
    /// A socket cannot be opened.
    #[error("it is a socket, which cannot be opened; - writes to standard output of any kind")]
    Socket,
    /// A whole disk.
    #[error("it is a block device")]
    BlockDevice,
    /// Something that has come there meanwhile.
    #[error("it holds something else than what is written there")]
    NotOurs,
    /// Something that renaming would replace, and must not.
    #[error("it is no regular file, and would be replaced by one")]
    NotReplaceable,
}

impl From<Errno> for OutputError {
    fn from(error: Errno) -> OutputError {
        OutputError::Io(error.into())
    }
}

/// What an output writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// A regular file, or a device: it takes what there is room for.
    File,
    /// A FIFO with a name: its reader may leave, and another may come.
    Fifo,
    /// A descriptor that the process was given.
    Given,
}

/// Something to write to.
#[derive(Debug)]
pub(crate) struct Output {
    /// Open for writing, at the end if it is a file. FIFOs and terminals do not wait: they say EAGAIN.
    pub file: File,
    /// Its kind.
    pub kind: OutputKind,
}

/// What is at the end of a path, its links followed.
enum Found {
    /// Nothing.
    Nothing(PathBuf),
    /// This, and how it was when it was looked at.
    Something(PathBuf, Stat),
    /// A link of procfs, which leads to a file without a path. Nobody else can make one.
    Magic(PathBuf),
    /// Standard output or standard error.
    Given(OwnedFd),
}

/// Opens what a path leads to for writing at its end, and makes it where there is nothing.
///
/// `/dev/stdout` and `/dev/stderr` are the descriptors themselves: opening them anew fails where they
/// are sockets.
///
/// # Errors
/// [`OutputError`].
///
/// # Blocking
/// Waits for the disk, never for the reader of a FIFO.
pub(crate) fn open_appending(path: &Path) -> Result<Output, OutputError> {
    for _ in 0..STEP_COUNT_MAX {
        let opened = match find(path)? {
            Found::Given(descriptor) => {
                return Ok(Output {
                    file: descriptor.into(),
                    kind: OutputKind::Given,
                });
            }
            Found::Nothing(path) => create(&path)?,
            Found::Magic(path) => Some(open_magic(&path)?),
            Found::Something(path, seen) => open_seen(&path, &seen)?,
        };
        if let Some(output) = opened {
            return Ok(output);
        }
    }
    Err(OutputError::TooManyLinks)
}

/// Follows links, as far as root or we have made them.
fn find(path: &Path) -> Result<Found, OutputError> {
    let mut path = path.to_path_buf();
    for _ in 0..STEP_COUNT_MAX {
        if let Some(given) = given(&path) {
            return Ok(Found::Given(given?));
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Found::Nothing(path)),
            opened => opened?,
        };
        let seen = rustix::fs::fstat(&link)?;
        if FileType::from_raw_mode(seen.st_mode) != FileType::Symlink {
            return Ok(Found::Something(path, seen));
        }
        if rustix::fs::fstatfs(&link)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
            return Ok(Found::Magic(path));
        }
        if !is_trusted(seen.st_uid) {
            return Err(OutputError::ForeignLink(seen.st_uid));
        }
        let target = rustix::fs::readlinkat(&link, c"", Vec::new())?.into_bytes();
        path = directory_of(&path).join(PathBuf::from(std::ffi::OsString::from_vec(target)));
    }
    Err(OutputError::TooManyLinks)
}

/// Standard output or standard error under one of their names.
fn given(path: &Path) -> Option<io::Result<OwnedFd>> {
    use std::os::fd::AsFd;
    let duplicate = |descriptor: std::os::fd::BorrowedFd<'_>| descriptor.try_clone_to_owned();
    match path.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => Some(duplicate(io::stdout().as_fd())),
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => Some(duplicate(io::stderr().as_fd())),
        _ => None,
    }
}

/// Makes a file; `None` where something has come between.
fn create(path: &Path) -> Result<Option<Output>, OutputError> {
    let flags = OPEN_FLAGS.difference(OFlags::NONBLOCK) | OFlags::CREATE | OFlags::EXCL;
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::openat(CWD, path, flags | OFlags::NOFOLLOW, mode) {
        Ok(made) => Ok(Some(Output {
            file: made.into(),
            kind: OutputKind::File,
        })),
        Err(Errno::EXIST) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_magic(path: &Path) -> Result<Output, OutputError> {
    let opened = rustix::fs::openat(CWD, path, OPEN_FLAGS, Mode::empty());
    let opened = match opened {
        Err(Errno::NXIO) => {
            let seen = rustix::fs::stat(path)?;
            return Err(match FileType::from_raw_mode(seen.st_mode) {
                FileType::Socket => OutputError::Socket,
                _ => OutputError::NoReader,
            });
        }
        opened => opened?,
    };
    let kind = rustix::fs::fstat(&opened)?;
    settle(opened, FileType::from_raw_mode(kind.st_mode))
}

/// Opens the file that was checked; `None` if it was replaced meanwhile.
fn open_seen(path: &Path, seen: &Stat) -> Result<Option<Output>, OutputError> {
    let kind = FileType::from_raw_mode(seen.st_mode);
    match kind {
        FileType::Directory => return Err(io::Error::from(io::ErrorKind::IsADirectory).into()),
        FileType::Socket => return Err(OutputError::Socket),
        FileType::BlockDevice => return Err(OutputError::BlockDevice),
        _ => check_owner(path, seen)?,
    }
    let flags = OPEN_FLAGS | OFlags::NOFOLLOW;
    let opened = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NXIO) if kind == FileType::Fifo => return Err(OutputError::NoReader),
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        opened => opened?,
    };
    let now = rustix::fs::fstat(&opened)?;
    if !is_same(&now, seen) {
        return Ok(None);
    }
    settle(opened, kind).map(Some)
}

/// Whether nobody else can have put a file there for us to write to.
fn check_owner(path: &Path, seen: &Stat) -> Result<(), OutputError> {
    let directory = rustix::fs::stat(directory_of(path))?;
    let is_owner_known = is_trusted(seen.st_uid) || seen.st_uid == directory.st_uid;
    if directory.st_mode & OTHERS_WRITE != 0 && !is_owner_known {
        return Err(OutputError::Planted(seen.st_uid));
    }
    let is_regular = FileType::from_raw_mode(seen.st_mode) == FileType::RegularFile;
    let is_shared = directory.st_mode & GROUP_OR_OTHERS_WRITE != 0 || !is_trusted(directory.st_uid);
    match seen.st_nlink {
        // As wide as it is on the architecture with the widest.
        #[allow(clippy::useless_conversion)]
        count if count > 1 && is_regular && is_shared => {
            Err(OutputError::SeveralNames(u64::from(count)))
        }
        _ => Ok(()),
    }
}

/// Whether a user is root or the one that we are.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Files wait for the disk; a ring would say EAGAIN instead. All others must not wait for anybody.
fn settle(opened: OwnedFd, kind: FileType) -> Result<Output, OutputError> {
    let kind = match kind {
        FileType::RegularFile => {
            rustix::fs::fcntl_setfl(&opened, OFlags::APPEND)?;
            OutputKind::File
        }
        FileType::Fifo => OutputKind::Fifo,
        _ => OutputKind::File,
    };
    Ok(Output {
        file: opened.into(),
        kind,
    })
}

/// The directory in which a path is a name.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Opens a regular file for reading. If it was replaced by a FIFO meanwhile, the call does not wait.
///
/// # Errors
/// Those of `open(2)`; [`io::ErrorKind::InvalidInput`] for what is no regular file.
///
/// # Blocking
/// Waits for the disk.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    match kind {
        FileType::RegularFile => Ok(file.into()),
        FileType::Directory => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        )),
    }
}

/// Writes a file in place of what it was, if that is a regular file or nothing: whoever reads it finds
/// the one or the other, whole. It keeps its mode and, where that is allowed, its owner.
///
/// # Errors
/// [`OutputError`]; then everything is as it was.
///
/// # Blocking
/// Waits for the disk, until the bytes are there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let before = match rustix::fs::lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Some(stat),
        Ok(_) => return Err(OutputError::NotReplaceable),
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    let mut new = beside(path)?;
    new.write_all(bytes)?;
    if let Some(before) = before {
        // Only root may give files away; the mode comes last, since a change of owner may take from it.
        let (user, group) = (before.st_uid, before.st_gid);
        let _ = std::os::unix::fs::fchown(new.as_file(), Some(user), Some(group));
        let mode = Permissions::from_mode(before.st_mode & 0o777);
        new.as_file().set_permissions(mode)?;
    }
    new.as_file().sync_all()?;
    new.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

/// Tries whether [`replace`] could make its file, and leaves everything as it is.
///
/// # Errors
/// Those of `open(2)` for a new file in that directory.
pub(crate) fn try_beside(path: &Path) -> io::Result<()> {
    beside(path)?.close()
}

/// A new file under a random name in the directory of another; it is removed when it is dropped.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".spede-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory_of(path))
}

/// Writes a file for whoever runs a command: in place of a regular file, or into a FIFO, a device or a
/// descriptor.
///
/// # Errors
/// [`OutputError`].
///
/// # Blocking
/// Waits for the disk, or for the reader.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    match find(path)? {
        Found::Nothing(path) => replace(&path, bytes),
        Found::Something(path, seen)
            if FileType::from_raw_mode(seen.st_mode) == FileType::RegularFile =>
        {
            replace(&path, bytes)
        }
        _ => {
            let Output { mut file, kind } = open_appending(path)?;
            // An inherited descriptor is shared: its flags stay as they are.
            if kind != OutputKind::Given {
                rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
            }
            Ok(file.write_all(bytes)?)
        }
    }
}
