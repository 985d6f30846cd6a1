//! The estimated hit ratio by cache size, as a plot and in words.

use maud::Markup;

use crate::cache::curve::{Curve, CurvePoint, Unit};
use crate::plot::curves::{Chart, Point};
use crate::text::{bytes, number};

/// A plot of both hit ratios by size, with the current size marked.
pub(super) fn plot(curve: &Curve, current: u64, name: &str) -> Markup {
    let point = |point: &CurvePoint| Point {
        size: point.capacity,
        label: size(point.capacity, curve.unit),
        requests: point.hit_ratio,
        bytes: point.hit_ratio_bytes,
    };
    let chart = Chart {
        points: curve.points.iter().map(point).collect(),
        current: (current, "current"),
        axis: "",
    };
    let title = format!("Hit ratio of the {name} cache by its size");
    chart.figure(&title, &words(curve, current))
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

/// The smallest size that is nearly as good as the largest, if it is not the current one.
fn advice(points: &[CurvePoint], at: usize, unit: Unit) -> String {
    /// A gain below this is not worth another doubling.
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
    fn words_give_the_effect_of_larger_and_smaller_sizes() {
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
}
