//! Two ratios by size as curves, with one size marked.

use maud::{Markup, html};

use super::{WIDTH, at};

/// Height and margins of the plot.
pub(super) const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
/// Minimum distance of two labelled sizes.
const LABEL_DISTANCE_MIN: f64 = 90.0;
/// A label closer to the edge than this is aligned to the edge.
const LABEL_WIDTH: f64 = 80.0;

/// Ratios at one size.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    /// The size, on a logarithmic axis.
    pub(crate) size: u64,
    /// The size as text.
    pub(crate) label: String,
    /// Hits in requests, 0 to 1.
    pub(crate) requests: f64,
    /// Hits in bytes.
    pub(crate) bytes: f64,
}

/// The data of a plot.
#[derive(Clone, Debug)]
pub(crate) struct Chart<'a> {
    /// From the smallest size to the largest.
    pub(crate) points: Vec<Point>,
    /// The marked size, and its label.
    pub(crate) current: (u64, &'a str),
    /// The label of the axis, if no heading gives it.
    pub(crate) axis: &'a str,
}

impl Chart<'_> {
    /// The plot as a part of a page, with a description for screen readers.
    pub(crate) fn figure(&self, title: &str, description: &str) -> Markup {
        super::figure(HEIGHT, title, description, &self.content())
    }

    /// The plot without a frame.
    pub(super) fn content(&self) -> Markup {
        let right = WIDTH - RIGHT;
        html! {
            @for percent in [0, 25, 50, 75, 100] {
                @let y = at(y_of(f64::from(percent) / 100.0));
                line.grid x1=(LEFT) x2=(right) y1=(y) y2=(y) {}
                text x=(LEFT - 8.0) y=(at(y_of(f64::from(percent) / 100.0) + 4.0)) text-anchor="end" { (percent) " %" }
            }
            @for (x, label) in self.labels() {
                text x=(at(x)) y=(HEIGHT - BOTTOM + 20.0) text-anchor=(anchor(x)) { (label) }
            }
            @let x = self.x_of(self.current.0);
            line.current x1=(at(x)) x2=(at(x)) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
            text x=(at(x)) y=(TOP - 10.0) text-anchor=(anchor(x)) { (self.current.1) }
            (self.curve("requests", |point| point.requests))
            (self.curve("bytes", |point| point.bytes))
            text.requests x=(LEFT) y=(HEIGHT - 4.0) { "— requests" }
            text.bytes x=(LEFT + 100.0) y=(HEIGHT - 4.0) { "- - bytes" }
            text x=(right) y=(HEIGHT - 4.0) text-anchor="end" { (self.axis) }
        }
    }

    fn curve(&self, class: &str, ratio: impl Fn(&Point) -> f64) -> Markup {
        let place = |point: &Point| (at(self.x_of(point.size)), at(y_of(ratio(point))));
        let places: Vec<_> = self.points.iter().map(place).collect();
        let line: Vec<_> = places.iter().map(|(x, y)| format!("{x},{y}")).collect();
        html! {
            polyline class={ "curve " (class) } points=(line.join(" ")) {}
            @for (x, y) in places { circle class=(class) cx=(x) cy=(y) r="2.5" {} }
        }
    }

    /// Labels that have room, and their positions.
    fn labels(&self) -> Vec<(f64, &str)> {
        let mut labels: Vec<(f64, &str)> = Vec::new();
        for point in &self.points {
            let x = self.x_of(point.size);
            let has_room = |last: &(f64, &str)| x - last.0 >= LABEL_DISTANCE_MIN;
            if labels.last().is_none_or(has_room) {
                labels.push((x, &point.label));
            }
        }
        labels
    }

    /// If all sizes are equal they are in the middle.
    fn x_of(&self, size: u64) -> f64 {
        let position = |point: Option<&Point>| point.map_or(0.0, |point| doublings(point.size));
        let (first, last) = (position(self.points.first()), position(self.points.last()));
        let share = match last > first {
            true => (doublings(size) - first) / (last - first),
            false => 0.5,
        };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - RIGHT - LEFT)
    }
}

/// Zero has the position of one.
// Places are rounded to tenths anyway.
#[allow(clippy::cast_precision_loss)]
fn doublings(size: u64) -> f64 {
    (size.max(1) as f64).log2()
}

fn y_of(ratio: f64) -> f64 {
    HEIGHT - BOTTOM - ratio.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
}

/// Alignment of a label at this position, so that it is not cut off.
fn anchor(x: f64) -> &'static str {
    match x {
        x if x > WIDTH - LABEL_WIDTH / 2.0 => "end",
        x if x < LABEL_WIDTH / 2.0 => "start",
        _ => "middle",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(sizes: &[u64], current: u64) -> Chart<'static> {
        let point = |(index, size): (usize, &u64)| Point {
            size: *size,
            label: format!("{size} B"),
            requests: f64::from(u32::try_from(index).expect("a few")) / 2.0,
            bytes: 0.25,
        };
        Chart {
            points: sizes.iter().enumerate().map(point).collect(),
            current: (current, "current"),
            axis: "size",
        }
    }

    #[test]
    fn a_plot_goes_up_where_a_larger_size_gives_more() {
        let text = chart(&[64, 128, 256], 128).figure("Hits", "words");
        let text = text.into_string();
        let points = "52.0,210.0 339.0,118.0 626.0,26.0";
        assert!(text.contains(points), "{text}");
        assert_eq!(text.matches("current").count(), 2, "its class and its word");
        assert!(
            text.contains("<line class=\"current\" x1=\"339.0\""),
            "{text}"
        );
    }

    #[test]
    fn labels_do_not_overlap_and_single_sizes_stand_in_the_middle() {
        #[rustfmt::skip]
        let cases: [(&[u64], &[&str], &str); 4] = [
            (&[7],                       &["7 B"],                  "one size"),
            (&[1_000, 1_001, 64_000],    &["1000 B", "64000 B"],    "two that are nearly the same"),
            (&[0, 1, 2, 4, 8, 16, 32, 64, 128],
                                         &["0 B", "4 B", "16 B", "64 B"], "each second has room"),
            (&[],                        &[],                       "no size"),
        ];
        for (sizes, want, because) in cases {
            let chart = chart(sizes, 7);
            let labels = chart.labels();
            let words: Vec<&str> = labels.iter().map(|label| label.1).collect();
            assert_eq!(words, want, "{because}");
        }
        let middle = LEFT + (WIDTH - RIGHT - LEFT) / 2.0;
        assert!((chart(&[7], 7).x_of(7) - middle).abs() < 0.1);
    }

    #[test]
    fn a_file_needs_no_page_for_its_colours() {
        let charts = [("<one>", chart(&[1, 2], 1)), ("two", chart(&[1, 2], 2))];
        let text = super::super::document(&charts);
        assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>"));
        assert!(
            !text.contains("var(") && text.contains("stroke: #0f6b4f"),
            "{text}"
        );
        assert!(text.contains("&lt;one&gt;") && text.contains("translate(0 308.0)"));
        assert_eq!(text.matches("<polyline").count(), 4);
    }
}
