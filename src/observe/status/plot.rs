//! The estimated hit ratio by cache size, as a plot and in words.

use maud::{Markup, html};

use crate::cache::curve::{Curve, CurvePoint, Unit};
use crate::observe::text::{bytes, number};

/// Size of the plot, and of what is around the lines, in units of its own.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;

/// A plot of both hit ratios by size, with the current size marked.
pub(super) fn plot(curve: &Curve, current: u64, name: &str) -> Markup {
    let title = format!("Hit ratio of the {name} cache by its size");
    let requests = line(curve, |point| point.hit_ratio);
    let sizes = line(curve, |point| point.hit_ratio_bytes);
    let right = WIDTH - RIGHT;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
            title { (title) }
            desc { (words(curve, current)) }
            @for percent in [0, 25, 50, 75, 100] {
                @let y = y_of(f64::from(percent) / 100.0);
                line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                text x=(LEFT - 8.0) y=(y + 4.0) text-anchor="end" { (percent) " %" }
            }
            @for (index, point) in curve.points.iter().enumerate() {
                @let x = x_of(index, curve.points.len());
                @if index % 2 == 0 {
                    @let anchor = if index + 1 == curve.points.len() { "end" } else { "middle" };
                    text x=(x) y=(HEIGHT - BOTTOM + 20.0) text-anchor=(anchor) { (size(point.capacity, curve.unit)) }
                }
                @if point.capacity == current {
                    line.current x1=(x) x2=(x) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                    text x=(x) y=(TOP - 10.0) text-anchor="middle" { "current" }
                }
            }
            polyline.curve.requests points=(requests) {}
            polyline.curve.bytes points=(sizes) {}
            text.requests x=(LEFT) y=(HEIGHT - 4.0) { "— requests" }
            text.bytes x=(LEFT + 100.0) y=(HEIGHT - 4.0) { "- - bytes" }
        }
    }
}

/// The hit ratio at the current size and at others: `256 MiB give 83 % of requests; 512 MiB would
/// give 91 %.`
pub(super) fn words(curve: &Curve, current: u64) -> String {
    let Some(at) = curve
        .points
        .iter()
        .position(|point| point.capacity == current)
    else {
        return String::new();
    };
    let points = &curve.points;
    let share = |point: &CurvePoint| format!("{:.0} %", point.hit_ratio * 100.0);
    let name = |point: &CurvePoint| size(point.capacity, curve.unit);
    let mut text = format!(
        "{} give {} of requests",
        name(&points[at]),
        share(&points[at])
    );
    if let Some(more) = points.get(at + 1) {
        text.push_str(&format!("; {} would give {}", name(more), share(more)));
    }
    if let Some(less) = at.checked_sub(1).and_then(|below| points.get(below)) {
        text.push_str(&format!(
            "; {} would still give {}",
            name(less),
            share(less)
        ));
    }
    text.push_str(". ");
    text.push_str(&advice(points, at, curve.unit));
    text
}

/// The smallest size that gives nearly as much as the largest, if that is another than the current one.
fn advice(points: &[CurvePoint], at: usize, unit: Unit) -> String {
    /// Less than this more is not worth another doubling.
    const WORTH: f64 = 0.01;
    let enough = |index: usize| {
        points[index..]
            .iter()
            .all(|more| more.hit_ratio - points[index].hit_ratio < WORTH)
    };
    let smallest = (0..points.len()).find(|index| enough(*index)).unwrap_or(at);
    let name = size(points[smallest].capacity, unit);
    match smallest.cmp(&at) {
        std::cmp::Ordering::Less => format!("{name} would give as much, within one per cent."),
        std::cmp::Ordering::Equal => String::from("More would give nothing."),
        std::cmp::Ordering::Greater => format!("Beyond {name} nothing is gained."),
    }
}

fn size(capacity: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => bytes(capacity),
        Unit::Entries => number(capacity),
    }
}

fn x_of(index: usize, count: usize) -> f64 {
    // A curve has a handful of points.
    #[allow(clippy::cast_precision_loss)]
    let share = index as f64 / count.saturating_sub(1).max(1) as f64;
    LEFT + share * (WIDTH - RIGHT - LEFT)
}

fn y_of(ratio: f64) -> f64 {
    HEIGHT - BOTTOM - ratio.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
}

fn line(curve: &Curve, ratio: impl Fn(&CurvePoint) -> f64) -> String {
    let place = |(index, point): (usize, &CurvePoint)| {
        let (x, y) = (x_of(index, curve.points.len()), y_of(ratio(point)));
        format!("{x:.1},{y:.1}")
    };
    let places: Vec<String> = curve.points.iter().enumerate().map(place).collect();
    places.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(ratios: &[f64]) -> Curve {
        let point = |(index, ratio): (usize, &f64)| CurvePoint {
            capacity: 64 << 20 << index,
            hit_ratio: *ratio,
            hit_ratio_bytes: ratio / 2.0,
        };
        Curve {
            points: ratios.iter().enumerate().map(point).collect(),
            unit: Unit::Bytes,
        }
    }

    #[test]
    fn words_say_what_more_and_less_would_give() {
        let curve = curve(&[0.5, 0.7, 0.83, 0.91, 0.915]);
        assert_eq!(
            words(&curve, 256 << 20),
            "256 MiB give 83 % of requests; 512 MiB would give 91 %; 128 MiB would still give \
             70 %. Beyond 512 MiB nothing is gained."
        );
        assert!(
            words(&curve, 1 << 30).ends_with("512 MiB would give as much, within one per cent.")
        );
        assert_eq!(words(&curve, 7), "");
    }

    #[test]
    fn a_plot_goes_up_where_a_larger_size_gives_more() {
        let curve = curve(&[0.0, 0.5, 1.0]);
        let text = plot(&curve, 128 << 20, "map").into_string();
        let points = "52.0,210.0 339.0,118.0 626.0,26.0";
        assert!(text.contains(points), "{text}");
        assert_eq!(text.matches("current").count(), 2, "its class and its word");
    }
}
