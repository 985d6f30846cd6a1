//! The two slow file systems, mounted again for each measurement, and their files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, Filesystem, MountOption, SessionACL};

use crate::command::run;
use crate::disk::Disk;
use crate::image::{self, LoopDevice, SlowImage};
use crate::tree::SlowTree;

/// Attempts to unmount a busy file system, a tenth of a second apart, before a lazy unmount.
const UNMOUNT_TRIES: u32 = 20;

/// A kind of slow file system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bed {
    /// Each lookup, open and read below `/cold` is slow, as on a network file system.
    Fuse,
    /// Each read of the block device is slow.
    Ext4,
}

impl Bed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Bed::Fuse => "fuse",
            Bed::Ext4 => "ext4",
        }
    }

    /// Mounts it cold below `work`; `image` is the result of [`image::build`].
    ///
    /// # Errors
    /// When the kernel or a tool fails; partial mounts are undone.
    pub(crate) fn mount(self, work: &Path, image: Option<&Path>) -> Result<Mounted, String> {
        let disk = Arc::new(Disk::new());
        let root = work.join("root");
        if self == Bed::Fuse {
            let tree = SlowTree {
                disk: Arc::clone(&disk),
            };
            return Ok(Mounted {
                _ext4: None,
                _fuse: FuseMount::new(tree, &root)?,
                root,
                disk,
            });
        }
        let file = File::open(image.ok_or("no image was made")?).map_err(|e| e.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let slow = SlowImage {
            disk: Arc::clone(&disk),
            image: Arc::new(file),
            length,
        };
        let device = work.join("device");
        let fuse = FuseMount::new(slow, &device)?;
        let ext4 = Ext4Mount::new(LoopDevice::attach(&device.join(image::NAME))?, &root)?;
        Ok(Mounted {
            _ext4: Some(ext4),
            _fuse: fuse,
            root,
            disk,
        })
    }
}

/// A mounted file system; unmounted when dropped, in the order of the fields.
pub(crate) struct Mounted {
    _ext4: Option<Ext4Mount>,
    _fuse: FuseMount,
    /// The root for servers.
    pub(crate) root: PathBuf,
    pub(crate) disk: Arc<Disk>,
}

struct FuseMount {
    directory: PathBuf,
    session: Option<BackgroundSession>,
}

impl FuseMount {
    fn new(files: impl Filesystem, directory: &Path) -> Result<FuseMount, String> {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("stall".into())];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(files, directory, &config)
            .map_err(|error| format!("FUSE cannot be mounted: {error}"))?;
        Ok(FuseMount {
            directory: directory.into(),
            session: Some(session),
        })
    }
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        unmount(&self.directory);
        if let Some(session) = self.session.take() {
            // It is unmounted already: only the thread has to be awaited.
            let _ = session.umount_and_join();
        }
    }
}

struct Ext4Mount {
    directory: PathBuf,
    _device: LoopDevice,
}

impl Ext4Mount {
    fn new(device: LoopDevice, directory: &Path) -> Result<Ext4Mount, String> {
        fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        // Without read-ahead of inode tables, which would warm the cold inodes of a group.
        run(Command::new("mount")
            .args(["-t", "ext4", "-o", "ro,noatime,inode_readahead_blks=0"])
            .arg(&device.0)
            .arg(directory))?;
        Ok(Ext4Mount {
            directory: directory.into(),
            _device: device,
        })
    }
}

impl Drop for Ext4Mount {
    fn drop(&mut self) {
        unmount(&self.directory);
    }
}

/// Unmounts; a busy file system is detached, so that its directory is free.
fn unmount(directory: &Path) {
    for _ in 0..UNMOUNT_TRIES {
        if run(Command::new("umount").arg(directory)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if let Err(error) = run(Command::new("umount").arg("-l").arg(directory)) {
        println!("left behind: {error}");
    }
}
