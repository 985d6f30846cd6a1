//! The curves as an SVG: hit ratios in requests and bytes over size, one panel a cache, with a line
//! at today's size.

use std::ops::Range;

use plotters::prelude::*;

use super::report::Report;
use super::row::Row;
use crate::observe::text::exact_bytes;

/// Width and height in pixels.
const EXTENT: (u32, u32) = (900, 760);
const REQUESTS: RGBColor = RGBColor(31, 119, 180);
const BYTES: RGBColor = RGBColor(214, 108, 20);
const TODAY: RGBColor = RGBColor(176, 32, 72);
const BORDER: RGBColor = RGBColor(110, 110, 110);

/// What a curve shows of a row, 0 to 1.
type Ratio = fn(&Row) -> f64;

/// One cache.
struct Panel<'a> {
    title: &'static str,
    what: &'static str,
    rows: &'a [Row],
    today: u64,
    text: fn(u64) -> String,
}

/// Draws both curves.
///
/// # Errors
/// What the drawing says in words; it writes to memory only.
pub(super) fn draw(report: &Report) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, EXTENT).into_drawing_area();
        area.fill(&WHITE).map_err(words)?;
        let (above, below) = area.split_vertically(EXTENT.1 / 2);
        let map = Panel {
            title: "Hits by size of the map cache",
            what: "size of the map cache (--map-cache)",
            rows: &report.map,
            today: report.today.0,
            text: exact_bytes,
        };
        let path = Panel {
            title: "Hits by size of the path cache",
            what: "paths in the path cache (--path-cache)",
            rows: &report.path,
            today: report.today.1,
            text: |count| count.to_string(),
        };
        panel(&above, &map)?;
        panel(&below, &path)?;
        area.present().map_err(words)?;
    }
    Ok(svg)
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    panel: &Panel<'_>,
) -> Result<(), String> {
    let across = extent(panel.rows);
    let today = position(panel.today);
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 22))
        .margin(14)
        .margin_right(32)
        .x_label_area_size(52)
        .y_label_area_size(60)
        .build_cartesian_2d(across.clone(), 0.0..100.0)
        .map_err(words)?;
    let text = panel.text;
    // Labels stand at whole powers of two only.
    let label = |at: &f64| match at.fract() == 0.0 && (0.0..63.0).contains(at) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        true => text(1 << (*at as u32)),
        false => String::new(),
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&label)
        .y_label_formatter(&|percent| format!("{percent:.0} %"))
        .label_style(("sans-serif", 15))
        .axis_desc_style(("sans-serif", 16))
        .x_desc(panel.what)
        .draw()
        .map_err(words)?;
    let curves: [(&str, RGBColor, Ratio); 2] = [
        ("requests", REQUESTS, Row::hit_ratio),
        ("bytes", BYTES, Row::byte_hit_ratio),
    ];
    for (name, colour, ratio) in curves {
        let points: Vec<_> = panel
            .rows
            .iter()
            .map(|row| (position(row.size), 100.0 * ratio(row)))
            .collect();
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))
            .map_err(words)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        let dots = points
            .into_iter()
            .map(|at| Circle::new(at, 3, colour.filled()));
        chart.draw_series(dots).map_err(words)?;
    }
    let line = [(today, 0.0), (today, 100.0)];
    chart
        .draw_series(LineSeries::new(line, TODAY.stroke_width(2)))
        .map_err(words)?
        .label(format!("today: {}", text(panel.today)))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], TODAY.stroke_width(2)));
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 15))
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BORDER)
        .draw()
        .map_err(words)
}

/// Where a size stands: sizes double from one to the next. None at all stands with one.
// Positions are rounded to pixels anyway.
#[allow(clippy::cast_precision_loss)]
fn position(size: u64) -> f64 {
    (size.max(1) as f64).log2()
}

/// From the smallest to the largest, with some room where they are the same.
fn extent(rows: &[Row]) -> Range<f64> {
    let first = rows.first().map_or(0.0, |row| position(row.size));
    let last = rows.last().map_or(0.0, |row| position(row.size));
    if last - first < 1.0 {
        first - 1.0..last + 1.0
    } else {
        first - 0.1..last + 0.1
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
