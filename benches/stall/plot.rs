//! Plots of the report as SVG: hot latencies by server, and cold files per second.

use std::path::Path;

use plotters::prelude::*;

use crate::bed::Bed;
use crate::chart::{self, Area, FONT, NAME_WIDTH, Result, place};
use crate::options::{DEPTHS, Kind};
use crate::report::{Figure, Outcome, Report};
use crate::servers::Server;

type Row = (Server, Outcome);

const GREEN: RGBColor = RGBColor(0, 140, 90);
const ORANGE: RGBColor = RGBColor(225, 140, 0);
const RED: RGBColor = RGBColor(200, 30, 40);
const GREY: RGBColor = RGBColor(150, 150, 150);
const BLUE: RGBColor = RGBColor(40, 90, 180);

/// Writes all plots that have figures into the existing directory.
pub(crate) fn write(directory: &Path, report: &Report) -> std::result::Result<(), String> {
    let latencies = [(Kind::Small, "small"), (Kind::Big, "big")];
    for bed in report.beds() {
        for (kind, size) in latencies {
            let rows = report.medians(bed, kind);
            let path = directory.join(format!("stall-{}-{size}.svg", bed.name()));
            if !rows.is_empty() {
                plot_latencies(&path, bed, kind, &rows)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
    }
    let path = directory.join("stall-depth.svg");
    plot_rates(&path, report).map_err(|error| format!("{}: {error}", path.display()))
}

/// Points for p50, p99 and max of each server, joined by a line, on a logarithmic axis.
fn plot_latencies(path: &Path, bed: Bed, kind: Kind, rows: &[Row]) -> Result {
    let area = chart::area(path, 1, rows.len())?;
    let cold = match kind {
        Kind::Small => "16 clients fetch cold files of 4 KiB",
        _ => "4 clients fetch cold files of 8 MiB",
    };
    let title = format!("Hot requests while {cold} ({})", bed.name());
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .caption(title, (FONT, 17))
        .x_label_area_size(45)
        .y_label_area_size(NAME_WIDTH)
        .build_cartesian_2d((0.05..30_000.0).log_scale(), chart::axis(rows.len()))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc("latency, counted from the moment a request was due")
        .x_label_formatter(&|value| time_label(*value))
        .light_line_style(BLACK.mix(0.06))
        .draw()?;
    for (row, (_, outcome)) in rows.iter().enumerate() {
        let ends = (outcome.get(Figure::HotP50), outcome.get(Figure::HotMax));
        if let (Some(least), Some(most)) = ends {
            let line = vec![(least, place(row)), (most, place(row))];
            chart.draw_series([PathElement::new(line, GREY.stroke_width(2))])?;
        }
    }
    let marks = [
        ("p50", Figure::HotP50, GREEN),
        ("p99", Figure::HotP99, ORANGE),
        ("max", Figure::HotMax, RED),
    ];
    for (name, figure, colour) in marks {
        let points = rows.iter().enumerate().filter_map(|(row, (_, outcome))| {
            let point = (outcome.get(figure)?, place(row));
            Some(Circle::new(point, 5, colour.filled()))
        });
        chart
            .draw_series(points)?
            .label(name)
            .legend(move |at| Circle::new(at, 5, colour.filled()));
    }
    chart::draw_legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    chart::draw_names(&area, &chart, rows.iter().map(|row| row.0.name))?;
    area.present()?;
    Ok(())
}

fn time_label(ms: f64) -> String {
    if ms >= 1_000.0 {
        format!("{} s", ms / 1_000.0)
    } else {
        format!("{ms} ms")
    }
}

/// Two bars per server, one for each number of clients; one panel per file system.
fn plot_rates(path: &Path, report: &Report) -> Result {
    let beds: Vec<(Bed, [Vec<Row>; 2])> = report
        .beds()
        .into_iter()
        .map(|bed| {
            let rows = DEPTHS.map(|clients| report.medians(bed, Kind::Depth(clients)));
            (bed, rows)
        })
        .filter(|(_, rows)| rows.iter().any(|rows| !rows.is_empty()))
        .collect();
    let Some(most) = beds.iter().map(|(_, rows)| rows[0].len()).max() else {
        return Ok(());
    };
    let area = chart::area(path, beds.len(), most)?;
    for (panel, (bed, rows)) in area.split_evenly((beds.len(), 1)).iter().zip(&beds) {
        plot_panel(panel, *bed, rows)?;
    }
    area.present()?;
    Ok(())
}

fn plot_panel(panel: &Area<'_>, bed: Bed, columns: &[Vec<Row>; 2]) -> Result {
    let rate = |outcome: &Outcome| outcome.get(Figure::ColdPerSecond).unwrap_or(0.0);
    let rates = columns.iter().flatten().map(|(_, outcome)| rate(outcome));
    let most = rates.fold(1.0, f64::max) * 1.1;
    let count = columns[0].len();
    let mut chart = ChartBuilder::on(panel)
        .margin(10)
        .caption(
            format!("Cold files of 4 KiB a second ({})", bed.name()),
            (FONT, 17),
        )
        .x_label_area_size(45)
        .y_label_area_size(NAME_WIDTH)
        .build_cartesian_2d(0.0..most, chart::axis(count))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc("files/s")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let bars = [(GREEN, 0.35), (BLUE, 0.0)];
    for ((column, clients), (colour, offset)) in columns.iter().zip(DEPTHS).zip(bars) {
        let rectangles = column.iter().enumerate().map(|(row, (_, outcome))| {
            let bottom = place(row) + offset - 0.35;
            let corners = [(0.0, bottom), (rate(outcome), bottom + 0.33)];
            Rectangle::new(corners, colour.filled())
        });
        chart
            .draw_series(rectangles)?
            .label(format!("{clients} clients"))
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart::draw_legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    chart::draw_names(panel, &chart, columns[0].iter().map(|row| row.0.name))
}
