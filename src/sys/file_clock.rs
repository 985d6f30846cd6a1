//! The clocks that the times of files are taken from, and how far they tell changes apart.

use std::sync::LazyLock;

use rustix::time::{ClockId, clock_gettime};

use super::file::{FileTime, OpenFile};
use super::watches;

/// What the time of a file says of its next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileClock {
    /// A change after somebody has looked at the time gets another one.
    EveryChange,
    /// A change gets another one once the kernel's clock has ticked.
    Tick,
    /// Another machine or another program gives the time.
    Elsewhere,
}

/// File systems that have timestamps of that kind where the kernel knows them: ext4, XFS, Btrfs, tmpfs.
const MULTIGRAIN: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];
/// The first kernel that does: "multigrain timestamps".
const MULTIGRAIN_SINCE: (u32, u32) = (6, 13);

static KERNEL: LazyLock<(u32, u32)> = LazyLock::new(|| {
    let name = rustix::system::uname();
    version(name.release().to_bytes()).unwrap_or((0, 0))
});

impl FileClock {
    /// That of the file system that a file is on.
    ///
    /// # Blocking
    /// Waits for the server of a network file system.
    pub(crate) fn of(file: &OpenFile) -> FileClock {
        let magic = rustix::fs::fstatfs(file.descriptor()).map_or(0, |about| {
            about.f_type.cast_unsigned() & u64::from(u32::MAX)
        });
        if MULTIGRAIN.contains(&magic) && *KERNEL >= MULTIGRAIN_SINCE {
            FileClock::EveryChange
        } else if watches::is_of_this_machine(magic) {
            FileClock::Tick
        } else {
            FileClock::Elsewhere
        }
    }
}

/// The time that a change of a file would be given now, where the clock is this kernel's and it only ticks.
pub(crate) fn ticked() -> FileTime {
    let time = clock_gettime(ClockId::RealtimeCoarse);
    FileTime {
        seconds: time.tv_sec,
        nanoseconds: u32::try_from(time.tv_nsec).unwrap_or(0),
    }
}

/// The first two numbers of a release: `6.12.3-amd64`.
fn version(release: &[u8]) -> Option<(u32, u32)> {
    let release = std::str::from_utf8(release).ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        let cases = [
            ("6.18.44-fc-v657", Some((6, 18))),
            ("6.1.0-28-amd64", Some((6, 1))),
            ("6.13", Some((6, 13))),
            ("6.13-rc1", Some((6, 13))),
            ("6", None),
            ("", None),
        ];
        for (release, want) in cases {
            assert_eq!(version(release.as_bytes()), want, "{release}");
        }
    }
}
