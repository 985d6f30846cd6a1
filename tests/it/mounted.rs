//! Mounting of FUSE file systems of tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use fuser::{BackgroundSession, Config, Filesystem, Notifier, SessionACL};
use tempfile::TempDir;

use super::harness::{Server, is_root, skip};

/// A mounted file system; unmounted when dropped.
pub struct Mounted {
    directory: PathBuf,
    session: Option<BackgroundSession>,
    /// Removed after unmounting.
    own: Option<TempDir>,
}

impl Mounted {
    /// Mounts it at this directory, or at one of its own.
    pub fn mount(tree: impl Filesystem + 'static, directory: Option<&Path>) -> Option<Mounted> {
        if !is_root() || !Path::new("/dev/fuse").exists() {
            skip("a FUSE tree takes root and /dev/fuse");
            return None;
        }
        let own = match directory {
            Some(_) => None,
            None => Some(tempfile::tempdir().unwrap()),
        };
        let directory = directory.or(own.as_ref().map(TempDir::path)).unwrap();
        let mut config = Config::default();
        config.acl = SessionACL::All;
        match fuser::spawn_mount(tree, directory, &config) {
            Ok(session) => Some(Mounted {
                directory: directory.to_owned(),
                session: Some(session),
                own,
            }),
            Err(error) => {
                skip(&format!("FUSE cannot be mounted here: {error}"));
                None
            }
        }
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Invalidates caches of the kernel.
    pub fn notifier(&self) -> Notifier {
        self.session.as_ref().unwrap().notifier()
    }

    /// Starts a server on it, by a command that executes the program.
    pub fn serve_by(&self, mut command: Command, engine: &str, words: &[&str]) -> Server {
        command.args(["--listen", "127.0.0.1:0", "--disk", engine]);
        Server::spawn(command.args(words).arg(&self.directory))
    }

    /// Starts a server on it.
    pub fn serve(&self, engine: &str, words: &[&str]) -> Server {
        self.serve_by(Command::new(env!("CARGO_BIN_EXE_spede")), engine, words)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.session.take());
        drop(self.own.take());
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Operations waiting for an answer.
#[derive(Default)]
pub struct Held(Mutex<Vec<Work>>);

impl Held {
    /// Adds one.
    pub fn hold(&self, work: impl FnOnce() + Send + 'static) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(Box::new(work));
    }

    /// Answers all of them.
    pub fn release(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for work in all {
            work();
        }
    }

    /// Number of waiting operations.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
