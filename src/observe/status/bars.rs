//! How often something took how long, as bars of a histogram.

use maud::{Markup, html};

use crate::cache::stats::AGE_BUCKETS;
use crate::histogram::Bucket;
use crate::plot::bars::{self, Bar};
use crate::text::{duration, micros};

/// The bars of durations in microseconds.
pub(super) fn of_micros(buckets: &[Bucket]) -> Vec<Bar> {
    let bar = |bucket: &Bucket| Bar {
        below: bucket.below_us.map_or(String::from("more"), micros),
        count: bucket.count,
    };
    trimmed(buckets.iter().map(bar).collect())
}

/// The bars of ages in seconds.
pub(super) fn of_ages(ages: &[u64; AGE_BUCKETS]) -> Vec<Bar> {
    let bar = |(index, count): (usize, &u64)| Bar {
        below: match index + 1 < AGE_BUCKETS {
            true => duration(1 << index),
            false => String::from("more"),
        },
        count: *count,
    };
    trimmed(ages.iter().enumerate().map(bar).collect())
}

/// Without empty bars at both ends.
fn trimmed(mut bars: Vec<Bar>) -> Vec<Bar> {
    let last = bars.iter().rposition(|bar| bar.count > 0);
    bars.truncate(last.map_or(0, |last| last + 1));
    let first = bars.iter().position(|bar| bar.count > 0);
    bars.drain(..first.unwrap_or(0));
    bars
}

/// The chart, under a heading; `none` if all counts are zero.
pub(super) fn drawn(id: &str, title: &str, none: &str, bars: &[Bar]) -> Markup {
    html! {
        div aria-labelledby=(id) role="group" {
            h3 id=(id) { (title) }
            @if bars.is_empty() { p.note { (none) } } @else { (bars::figure(title, bars)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_for_what_was_counted_and_nothing_beside_it() {
        let bucket = |below_us, count| Bucket { below_us, count };
        let buckets = [
            bucket(Some(1), 0),
            bucket(Some(2), 3),
            bucket(Some(4_096), 0),
            bucket(None, 1_000),
        ];
        let bars = of_micros(&buckets);
        let bar = |below: &str, count| Bar {
            below: below.to_owned(),
            count,
        };
        assert_eq!(bars, [bar("2 µs", 3), bar("4.0 ms", 0), bar("more", 1_000)]);
        let text = drawn("id", "Times", "None yet.", &bars).into_string();
        assert!(text.contains("below 2 µs: 3; below more: 1,000"), "{text}");
        assert_eq!(text.matches("<rect").count(), 3);
        let mut ages = [0; AGE_BUCKETS];
        assert!(of_ages(&ages).is_empty());
        ages[7] = 5;
        assert_eq!(of_ages(&ages), [bar("2 min 8 s", 5)]);
        let text = drawn("id", "Times", "None yet.", &[]).into_string();
        assert!(text.contains("None yet.") && !text.contains("<svg"));
    }
}
