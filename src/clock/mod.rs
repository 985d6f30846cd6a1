//! The time as a value: sampled once per loop iteration, passed down, never read below.

use std::time::Instant;

use crate::http::date::HttpDate;
use crate::sys::file::FileTime;

/// The time of one iteration of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines and ages.
    pub monotonic: Instant,
    /// For comparison with file times.
    pub wall: FileTime,
    /// `wall` in whole seconds, for validators.
    pub date: HttpDate,
    /// `date` in the format of a Date field.
    pub rendered: [u8; 29],
}

impl Now {
    /// Combines both clocks. Renders the Date: reuse the value while the second lasts.
    pub fn at(monotonic: Instant, wall: FileTime) -> Now {
        let date = HttpDate::from_unix_seconds(wall.seconds);
        Now {
            monotonic,
            wall,
            date,
            rendered: date.render(),
        }
    }

    /// The same, advanced to a later time; the rendered Date is kept within the same second.
    #[must_use]
    pub fn moved_to(&self, monotonic: Instant, wall: FileTime) -> Now {
        if wall.seconds == self.wall.seconds {
            Now {
                monotonic,
                wall,
                ..*self
            }
        } else {
            Now::at(monotonic, wall)
        }
    }
}

/// A moment in 2027, for tests.
#[cfg(test)]
pub(crate) fn sample_now() -> Now {
    let wall = FileTime {
        seconds: 1_800_000_000,
        nanoseconds: 0,
    };
    Now::at(Instant::now(), wall)
}
