//! A plot of the report as SVG: processor time of each server relative to spede.

use std::path::Path;

use plotters::prelude::*;

use crate::chart::{self, FONT, NAME_WIDTH, Result, place};
use crate::report::Part;
use crate::servers::{self, Program};

/// End of the axis, as a multiple of spede's time.
const RATIO_MAX: f64 = 12.0;

fn colour(program: Program) -> RGBColor {
    match program {
        Program::Spede => RGBColor(0, 140, 90),
        Program::Floor => RGBColor(120, 120, 120),
        Program::Lighttpd => RGBColor(40, 90, 180),
        Program::Nginx => RGBColor(225, 140, 0),
        Program::H2o => RGBColor(150, 60, 170),
        Program::Caddy => RGBColor(200, 30, 40),
        Program::StaticWebServer => RGBColor(110, 80, 50),
    }
}

/// Writes `compare.svg` into the existing directory.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(directory: &Path, parts: &[Part]) -> Result {
    let path = directory.join("compare.svg");
    let area = chart::area(&path, 1, parts.len())?;
    let title = "Server CPU per request, in multiples of spede's";
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .caption(title, (FONT, 17))
        .x_label_area_size(45)
        .y_label_area_size(NAME_WIDTH)
        .build_cartesian_2d((0.5..RATIO_MAX).log_scale(), chart::axis(parts.len()))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc("less than spede | more than spede (logarithmic)")
        .x_label_formatter(&|value| format!("{value}"))
        .light_line_style(BLACK.mix(0.06))
        .draw()?;
    for program in servers::ALL {
        let shade = colour(program);
        let points = ratios(parts, program);
        if points.is_empty() {
            continue;
        }
        let dots = points.iter().map(|at| Circle::new(*at, 5, shade.filled()));
        chart
            .draw_series(dots)?
            .label(program.name())
            .legend(move |at| Circle::new(at, 5, shade.filled()));
    }
    chart::draw_legend(&mut chart, SeriesLabelPosition::LowerRight)?;
    chart::draw_names(&area, &chart, parts.iter().map(|part| part.workload.name))?;
    area.present()?;
    Ok(())
}

/// Processor time of a server relative to spede, and the row of the workload.
fn ratios(parts: &[Part], program: Program) -> Vec<(f64, f64)> {
    let ratio = |(row, part): (usize, &Part)| {
        let own = part.rows.iter().find(|row| row.program == program)?;
        let ratio = part.ratio(own, |sample| sample.cpu_us);
        Some((ratio.clamp(0.5, RATIO_MAX), place(row)))
    };
    parts.iter().enumerate().filter_map(ratio).collect()
}
