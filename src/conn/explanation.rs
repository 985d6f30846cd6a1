//! The results of the caches for one request, shown in Server-Timing and in the access log.

use std::fmt::Write as _;
use std::time::Duration;

/// What a cache said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// It knew.
    Hit,
    /// It knew, and had to check with the disk first.
    Expired,
    /// It did not.
    Miss,
}

impl CacheResult {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Expired => "expired",
            CacheResult::Miss => "miss",
        }
    }
}

/// Where an answer comes from. What was not asked is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Of the path cache.
    pub path: Option<CacheResult>,
    /// Whether the head was rendered before: with the entry of the path cache.
    pub head: Option<CacheResult>,
    /// Of the cache of mappings: a miss is sent from a descriptor.
    pub map: Option<CacheResult>,
    /// Of the cache of descriptors, where there was no mapping: a miss was opened.
    pub descriptor: Option<CacheResult>,
    /// How long the request waited for the disk.
    pub disk: Option<Duration>,
    /// How long ago the answer was confirmed, where the disk did not say in time whether it still holds.
    pub stale: Option<Duration>,
}

/// Whether responses say where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTiming {
    /// They do not.
    Hidden,
    /// In a Server-Timing field.
    Shown,
}

impl Explanation {
    /// The caches that were asked, by name.
    pub fn look_ups(&self) -> impl Iterator<Item = (&'static str, CacheResult)> {
        let all = [
            ("path", self.path),
            ("head", self.head),
            ("map", self.map),
            ("descriptor", self.descriptor),
        ];
        all.into_iter()
            .filter_map(|(name, look_up)| Some((name, look_up?)))
    }

    /// How long it waited for the disk, in milliseconds.
    pub fn disk_ms(&self) -> Option<f64> {
        self.disk.map(|disk| disk.as_secs_f64() * 1e3)
    }

    /// How old the answer was, in milliseconds, where it was not confirmed in time.
    pub fn stale_ms(&self) -> Option<f64> {
        self.stale.map(|stale| stale.as_secs_f64() * 1e3)
    }

    /// The value of a Server-Timing field, empty if there is nothing to say:
    /// `path;desc=miss, map;desc=miss, disk;dur=20.4`. W3C Server Timing §4.
    pub fn server_timing(&self) -> String {
        let mut field = String::new();
        for (name, look_up) in self.look_ups() {
            let comma = if field.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(field, "{comma}{name};desc={}", look_up.name());
        }
        for (name, ms) in [("disk", self.disk_ms()), ("stale", self.stale_ms())] {
            if let Some(ms) = ms {
                let comma = if field.is_empty() { "" } else { ", " };
                let _ = write!(field, "{comma}{name};dur={ms:.3}");
            }
        }
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_names_what_was_asked_and_nothing_else() {
        let mut explanation = Explanation::default();
        assert_eq!(explanation.server_timing(), "");
        explanation.disk = Some(Duration::from_micros(20_400));
        assert_eq!(explanation.server_timing(), "disk;dur=20.400");
        explanation.path = Some(CacheResult::Expired);
        explanation.map = Some(CacheResult::Miss);
        assert_eq!(
            explanation.server_timing(),
            "path;desc=expired, map;desc=miss, disk;dur=20.400"
        );
        explanation.stale = Some(Duration::from_millis(2_500));
        assert_eq!(
            explanation.server_timing(),
            "path;desc=expired, map;desc=miss, disk;dur=20.400, stale;dur=2500.000"
        );
    }
}
