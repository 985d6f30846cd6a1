//! The sources of paths to prefetch, checked at the start: nothing is served yet, so these calls may wait.

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
    /// A list or a directory is missing, or not below the root.
    Warm {
        /// The configured path.
        path: PathBuf,
        /// The error.
        cause: io::Error,
    },
    /// The state file cannot be written.
    CacheState {
        /// The configured path.
        path: PathBuf,
        /// The error.
        cause: io::Error,
    },
}

/// Checks the sources of paths to prefetch.
///
/// # Errors
/// A list or a directory is missing, a directory is not below the root, or the state file cannot be written.
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

/// Tests whether the state can be saved at the end, without a change. Only a list of paths is ever replaced.
fn check_state(path: &Path) -> io::Result<()> {
    check_list(path)?;
    output::try_beside(path)
}

/// Whether a file may be replaced: it is a list of paths, or missing.
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
