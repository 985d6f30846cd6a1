//! The time as a value: sampled once a turn of the loop, passed down, never read below.

use std::time::Instant;

use crate::http::date::HttpDate;
use crate::sys::file::FileTime;

/// One moment, as everything that happens in one turn of the loop sees it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines and ages.
    pub monotonic: Instant,
    /// For comparing with the times of files.
    pub wall: FileTime,
    /// `wall` in whole seconds, for validators.
    pub date: HttpDate,
    /// `date` as it stands in a Date field.
    pub rendered: [u8; 29],
}

impl Now {
    /// A moment from both clocks. The Date is rendered here: keep the value while the second lasts.
    pub fn at(monotonic: Instant, wall: FileTime) -> Now {
        let date = HttpDate::from_unix_seconds(wall.seconds);
        Now {
            monotonic,
            wall,
            date,
            rendered: date.render(),
        }
    }

    /// The same moment later, the rendered Date kept if the second is still the same.
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
