//! A plot of the report as SVG: what each server's processor time is in multiples of spede's.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::report::Part;
use crate::servers::{self, Program};

const WIDTH: u32 = 900;
/// Height of a workload, and of everything around them.
const PART_HEIGHT: u32 = 30;
const FRAME_HEIGHT: u32 = 130;
const NAME_WIDTH: u32 = 180;
const FONT: &str = "sans-serif";
/// Beyond this many times spede's the axis ends.
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

/// Writes `compare.svg` into the directory, which exists.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(directory: &Path, parts: &[Part]) -> Result<(), Box<dyn Error>> {
    let path = directory.join("compare.svg");
    let count = u32::try_from(parts.len())?;
    let size = (WIDTH, FRAME_HEIGHT + count * PART_HEIGHT);
    let area = SVGBackend::new(&path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let bottom = -f64::from(count) + 0.5;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .caption(
            "Server CPU per request, in multiples of spede's",
            (FONT, 17),
        )
        .x_label_area_size(45)
        .y_label_area_size(NAME_WIDTH)
        .build_cartesian_2d((0.5..RATIO_MAX).log_scale(), bottom..0.5)?;
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
        let points: Vec<(f64, f64)> = parts
            .iter()
            .enumerate()
            .filter_map(|(place, part)| {
                let row = part.rows.iter().find(|row| row.program == program)?;
                let ratio = part.ratio(row, |sample| sample.cpu_us);
                Some((
                    ratio.clamp(0.5, RATIO_MAX),
                    -f64::from(u32::try_from(place).ok()?),
                ))
            })
            .collect();
        if points.is_empty() {
            continue;
        }
        chart
            .draw_series(
                points
                    .iter()
                    .map(|point| Circle::new(*point, 5, shade.filled())),
            )?
            .label(program.name())
            .legend(move |at| Circle::new(at, 5, shade.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 13))
        .draw()?;
    for (place, part) in parts.iter().enumerate() {
        let at = -f64::from(u32::try_from(place)?);
        let (_, y) = chart.backend_coord(&(1.0, at));
        area.draw(&Text::new(part.workload.name, (14, y - 7), (FONT, 13)))?;
    }
    area.present()?;
    Ok(())
}
