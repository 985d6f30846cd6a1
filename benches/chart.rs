//! Common parts of the plots of benches: rows with names at the left, the first one on top.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;

const WIDTH: u32 = 900;
/// Height of a row, and of the margins.
const ROW_HEIGHT: usize = 32;
const FRAME_HEIGHT: usize = 125;
/// Width of the column of names.
pub(crate) const NAME_WIDTH: u32 = 180;
pub(crate) const FONT: &str = "sans-serif";

/// A white area for a number of panels and rows.
pub(crate) fn area(path: &Path, panels: usize, rows: usize) -> Result<Area<'_>> {
    let height = u32::try_from(panels * (FRAME_HEIGHT + rows * ROW_HEIGHT))?;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// The position of a row on the axis.
pub(crate) fn place(row: usize) -> f64 {
    -(row as f64)
}

/// The axis of a number of rows.
pub(crate) fn axis(rows: usize) -> Range<f64> {
    place(rows) + 0.5..0.5
}

/// Draws the legend, on top of the plot.
pub(crate) fn draw_legend<'a, 'b: 'a, X: Ranged<ValueType = f64>>(
    chart: &mut Chart<'a, 'b, X>,
    position: SeriesLabelPosition,
) -> Result {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 13))
        .draw()?;
    Ok(())
}

/// Names of the rows, beside the axis.
pub(crate) fn draw_names<'n, X: Ranged<ValueType = f64>>(
    area: &Area<'_>,
    chart: &Chart<'_, '_, X>,
    names: impl Iterator<Item = &'n str>,
) -> Result {
    let (_, top) = area.get_base_pixel();
    for (row, name) in names.enumerate() {
        let (_, y) = chart.backend_coord(&(1.0, place(row)));
        let at = (14, y - top - 7);
        area.draw(&Text::new(name.to_owned(), at, (FONT, 13)))?;
    }
    Ok(())
}
