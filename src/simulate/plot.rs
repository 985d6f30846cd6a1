//! The curves as an SVG file: hit ratios in requests and bytes by size, one chart a cache, with a line at today's size.

use super::report::Report;
use super::row::Row;
use crate::plot::curves::{Chart, Point};
use crate::plot::document;
use crate::text::exact_bytes;

/// Draws both curves.
pub(super) fn draw(report: &Report) -> String {
    let (map, path) = report.today;
    let (map_words, path_words) = (
        format!("today: {}", exact_bytes(map)),
        format!("today: {path}"),
    );
    let charts = [
        (
            "Hit ratio by size of the file cache",
            Chart {
                points: points(&report.map, exact_bytes),
                current: (map, &map_words),
                axis: "size of the file cache (--map-cache)",
            },
        ),
        (
            "Hit ratio by size of the path cache",
            Chart {
                points: points(&report.path, |count| count.to_string()),
                current: (path, &path_words),
                axis: "paths in the path cache (--path-cache)",
            },
        ),
    ];
    document(&charts)
}

fn points(rows: &[Row], label: impl Fn(u64) -> String) -> Vec<Point> {
    let point = |row: &Row| Point {
        size: row.size,
        label: label(row.size),
        requests: row.hit_ratio(),
        bytes: row.byte_hit_ratio(),
    };
    rows.iter().map(point).collect()
}
