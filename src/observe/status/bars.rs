//! How often something took how long, as bars.

use maud::{Markup, html};

use crate::cache::stats::AGE_BUCKETS;
use crate::histogram::Bucket;
use crate::observe::text::{duration, micros, number};

/// Size of a drawing, and of what is around the bars, in units of its own.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 150.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 24.0;
/// Between two bars.
const GAP: f64 = 3.0;
/// A bar that counts anything is seen.
const BAR_HEIGHT_MIN: f64 = 2.0;
/// A bar and the gap after it are no wider than this.
const STEP_MAX: f64 = 90.0;
/// Bars with a word below them.
const LABEL_COUNT_MAX: usize = 8;

/// One bar: the bound that what it counts stayed below, and the count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    below: String,
    count: u64,
}

/// The bars of times in microseconds.
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

/// Without the empty ones at both ends.
fn trimmed(mut bars: Vec<Bar>) -> Vec<Bar> {
    let last = bars.iter().rposition(|bar| bar.count > 0);
    bars.truncate(last.map_or(0, |last| last + 1));
    let first = bars.iter().position(|bar| bar.count > 0);
    bars.drain(..first.unwrap_or(0));
    bars
}

/// The drawing, under a heading; `none` if nothing was counted.
pub(super) fn drawn(id: &str, title: &str, none: &str, bars: &[Bar]) -> Markup {
    html! {
        div aria-labelledby=(id) role="group" {
            h3 id=(id) { (title) }
            @if bars.is_empty() { p.note { (none) } } @else { (drawing(title, bars)) }
        }
    }
}

fn drawing(title: &str, bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
    // Counts stay far below 2^52, where f64 is exact.
    #[allow(clippy::cast_precision_loss)]
    let step = (WIDTH / bars.len() as f64).min(STEP_MAX);
    #[allow(clippy::cast_precision_loss)]
    let height = |count: u64| {
        let share = count as f64 / most as f64 * (HEIGHT - TOP - BOTTOM);
        if count == 0 {
            0.0
        } else {
            share.max(BAR_HEIGHT_MIN)
        }
    };
    #[allow(clippy::cast_precision_loss)]
    let x = |index: usize| index as f64 * step;
    let every = bars.len().div_ceil(LABEL_COUNT_MAX);
    let words: Vec<String> = bars
        .iter()
        .filter(|bar| bar.count > 0)
        .map(|bar| format!("below {}: {}", bar.below, number(bar.count)))
        .collect();
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
            title { (title) }
            desc { (words.join("; ")) }
            line.grid x1="0" x2=(WIDTH) y1=(HEIGHT - BOTTOM) y2=(HEIGHT - BOTTOM) {}
            @for (index, bar) in bars.iter().enumerate() {
                @let tall = height(bar.count);
                rect.bar x=(at(x(index) + GAP / 2.0)) y=(at(HEIGHT - BOTTOM - tall)) width=(at(step - GAP)) height=(at(tall)) {
                    title { "below " (bar.below) ": " (number(bar.count)) }
                }
                @if bar.count == most {
                    text x=(at(x(index))) y=(at(TOP - 6.0)) { (number(bar.count)) }
                }
                @if (bars.len() - 1 - index).is_multiple_of(every) {
                    // At the right end of its bar, where the bound is.
                    @let (x, anchor) = if index == 0 { (0.0, "start") } else { (x(index) + step - GAP, "end") };
                    text x=(at(x)) y=(at(HEIGHT - 6.0)) text-anchor=(anchor) { "< " (bar.below) }
                }
            }
        }
    }
}

/// A place in the drawing, to a tenth.
fn at(value: f64) -> String {
    format!("{value:.1}")
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
