//! Where paths to warm come from, checked at the start: nothing is served yet, so these calls may wait.

use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::job::CHECK_LENGTH_MAX;
use crate::settings::Settings;
use crate::store::warming::{Origin, is_list};
use crate::sys::output;

/// Why a source of paths cannot be used.
#[derive(Debug)]
pub(super) enum OriginError {
    /// A list or a directory is not there, or is not below the root.
    Warm {
        /// As it was given.
        path: PathBuf,
        /// What the kernel said, or what is wrong.
        cause: io::Error,
    },
    /// The state cannot be written there.
    CacheState {
        /// As it was given.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Where the caches are filled from, as far as that can be told at the start.
///
/// # Errors
/// When a list or a directory is not there, a directory is not below the root, or no state can be
/// written where it was asked for.
pub(super) fn origins(settings: &Settings) -> Result<Vec<Origin>, OriginError> {
    let mut origins = Vec::new();
    for path in &settings.warm {
        let origin = origin(path, &settings.sites[0].root);
        origins.push(origin.map_err(|cause| {
            let path = path.clone();
            OriginError::Warm { path, cause }
        })?);
    }
    if let Some(path) = &settings.cache_state {
        check_state(path).map_err(|cause| {
            let path = path.clone();
            OriginError::CacheState { path, cause }
        })?;
        origins.push(Origin::State(path.clone()));
    }
    Ok(origins)
}

fn origin(path: &Path, root: &Path) -> io::Result<Origin> {
    let what = fs::metadata(path)?;
    if what.is_file() {
        return Ok(Origin::List(path.into()));
    }
    if !what.is_dir() {
        return Err(io::Error::other("it is neither a file nor a directory"));
    }
    let (path, root) = (fs::canonicalize(path)?, fs::canonicalize(root)?);
    let below = path
        .strip_prefix(&root)
        .map_err(|_| io::Error::other("it is not below the root"))?;
    let below = match below.as_os_str().as_bytes() {
        b"" => b".",
        below => below,
    };
    Ok(Origin::Tree(CString::new(below)?))
}

/// Tries what is done at the end, as far as it leaves what is there as it is. Something else than a list of
/// paths is never replaced by one.
fn check_state(path: &Path) -> io::Result<()> {
    check_list(path)?;
    output::try_beside(path)
}

/// Whether a file may be replaced: it is a list of paths, or not there.
fn check_list(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(what) => what.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::other(
            "it is no regular file, and would be replaced by one at the end",
        ));
    }
    let mut start = Vec::new();
    let file = output::open_regular(path)?;
    file.take(CHECK_LENGTH_MAX).read_to_end(&mut start)?;
    match is_list(&start) {
        true => Ok(()),
        false => Err(io::Error::other(
            "it holds something else than paths, and would be replaced at the end",
        )),
    }
}
