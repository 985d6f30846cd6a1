//! Establishes the identity of an opened file whose metadata is not sufficient.

use std::time::{Duration, Instant};

use crate::job::{Examined, Opened};
use crate::site::validators::{Examination, Identity, TICK, hash};
use crate::sys::file::FileTime;
use crate::sys::file_clock::{FileClock, ticked};

/// Polling interval while waiting for the clock to tick.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Examines an opened file.
///
/// # Blocking
/// Waits for the disk, and up to 20 ms for the clock.
pub(crate) fn examine(opened: &Opened) -> Examined {
    let before = ticked();
    match Identity::examination_of(&opened.version, before) {
        Examination::Nothing(identity) => Examined::by(identity),
        Examination::Clock => Examined::by(by_clock(opened)),
        Examination::Content => {
            let identity = match read(opened) {
                Some(content) => Identity::Content(hash(&content)),
                None => soon(before),
            };
            Examined::by(identity)
        }
        Examination::Copy => match read(opened) {
            Some(content) => Examined {
                identity: Identity::Copy(hash(&content)),
                content: Some(content.into()),
            },
            None => Examined::by(soon(before)),
        },
    }
}

/// The whole content, if the version has not changed.
fn read(opened: &Opened) -> Option<Box<[u8]>> {
    let length = usize::try_from(opened.version.length).ok()?;
    let content = opened.file.read_start(length).ok()?;
    is_still(opened).then_some(content)
}

/// Waits until no other change can get the same timestamp, if the file's clock is known.
fn by_clock(opened: &Opened) -> Identity {
    let changed = opened.version.changed;
    match FileClock::of(&opened.file) {
        // The file was described after it was opened: this change has a timestamp of its own.
        FileClock::EveryChange => return Identity::Version,
        FileClock::Tick => {}
        FileClock::Elsewhere => return soon(changed),
    }
    let began = Instant::now();
    while ticked() <= changed {
        if began.elapsed() > TICK {
            // The clock was set back.
            return soon(changed);
        }
        std::thread::park_timeout(POLL_INTERVAL);
    }
    match is_still(opened) {
        true => Identity::Version,
        false => soon(ticked()),
    }
}

fn is_still(opened: &Opened) -> bool {
    let now = opened.file.describe();
    now.is_ok_and(|now| now.version == opened.version)
}

/// Identity of a file changed at this time: not distinguishable until a tick later.
fn soon(changed: FileTime) -> Identity {
    Identity::later(changed.after(TICK))
}
