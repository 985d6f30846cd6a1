//! What tells the bytes of an opened file from those of its other versions, where its metadata alone does not.

use std::time::{Duration, Instant};

use crate::job::{Examined, Opened};
use crate::site::validators::{Identity, Sought, TICK, hash};
use crate::sys::file::FileTime;
use crate::sys::file_clock::{FileClock, ticked};

/// How often the clock is looked at until it ticks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Looks into an opened file.
///
/// # Blocking
/// Waits for the disk, and up to 20 ms for the clock.
pub(crate) fn examine(opened: &Opened) -> Examined {
    let before = ticked();
    match Identity::sought(&opened.version, before) {
        Sought::Nothing(identity) => Examined::by(identity),
        Sought::Clock => Examined::by(by_clock(opened)),
        Sought::Content => {
            let identity = match read(opened) {
                Some(content) => Identity::Content(hash(&content)),
                None => soon(before),
            };
            Examined::by(identity)
        }
        Sought::Copy => match read(opened) {
            Some(content) => Examined {
                identity: Identity::Copy(hash(&content)),
                content: Some(content.into()),
            },
            None => Examined::by(soon(before)),
        },
    }
}

/// The whole content, if it is of the version that was seen.
fn read(opened: &Opened) -> Option<Box<[u8]>> {
    let length = usize::try_from(opened.version.length).ok()?;
    let content = opened.file.read_start(length).ok()?;
    is_still(opened).then_some(content)
}

/// Sees to it that no other change gets the time of this one, where the clock is known.
fn by_clock(opened: &Opened) -> Identity {
    let changed = opened.version.changed;
    match FileClock::of(&opened.file) {
        // It was looked at when it was opened.
        FileClock::EveryChange => return Identity::Version,
        FileClock::Tick => {}
        FileClock::Elsewhere => return soon(changed),
    }
    let began = Instant::now();
    while ticked() <= changed {
        if began.elapsed() > TICK {
            // A clock that was set back.
            return soon(changed);
        }
        std::thread::park_timeout(LOOK_EVERY);
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

/// Nothing before a change at this moment could be told from another one.
fn soon(changed: FileTime) -> Identity {
    Identity::later(changed.after(TICK))
}
