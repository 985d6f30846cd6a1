//! Being told that tasks wait for memory: pressure stall information (Documentation/accounting/psi.rst).
//!
//! A trigger is written to a file of pressure and the descriptor polled for `POLLPRI`. Without privileges the
//! window has to be a multiple of two seconds (Linux 6.5); where a trigger is refused nobody is told.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// 200 ms in a window of 2 s during which some task waited for memory.
const TRIGGER: &[u8] = b"some 200000 2000000\0";

/// A trigger; removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Pressure(File);

impl Pressure {
    /// Sets a trigger.
    ///
    /// # Errors
    /// ENOENT and EOPNOTSUPP where the kernel does not measure pressure, EACCES and EPERM where we may not,
    /// EINVAL before Linux 6.5 without privileges.
    ///
    /// # Blocking
    /// Opens a file that the kernel makes.
    pub(crate) fn watch(path: &Path) -> io::Result<Pressure> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK);
        let mut file = options.open(path)?;
        file.write_all(TRIGGER)?;
        Ok(Pressure(file))
    }

    /// What to poll, for priority data alone.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
