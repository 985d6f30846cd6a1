//! Bar charts.

use maud::{Markup, html};

use super::{WIDTH, at};
use crate::text::number;

/// Height and margins of the chart.
const HEIGHT: f64 = 150.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 24.0;
/// Between two bars.
const GAP: f64 = 3.0;
/// A bar with any count is visible.
const BAR_HEIGHT_MIN: f64 = 2.0;
/// Maximum width of a bar and the gap after it.
const STEP_MAX: f64 = 90.0;
/// Maximum number of labelled bars.
const LABEL_COUNT_MAX: usize = 8;

/// One bar: its upper bound and its count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// The bound as text.
    pub(crate) below: String,
    /// The height of the bar.
    pub(crate) count: u64,
}

/// The chart as a part of a page, the first bar at the left. Requires at least one bar.
pub(crate) fn figure(title: &str, bars: &[Bar]) -> Markup {
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
    let content = html! {
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
    };
    super::figure(HEIGHT, title, &words.join("; "), &content)
}
