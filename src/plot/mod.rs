//! SVG charts: curves of ratios by size, and bar charts of counts.
//!
//! Charts have classes instead of colours. A page includes [`STYLE`] and defines the colours; [`document`]
//! makes a separate file. Knows nothing of the meaning of the data.

pub(crate) mod bars;
pub(crate) mod curves;

use maud::{Markup, PreEscaped, html};

/// The style of charts, with the colours `--ink`, `--soft`, `--line`, `--first` and `--second`.
pub(crate) const STYLE: &str = include_str!("plot.css");

/// Width of each chart, in units of its own.
const WIDTH: f64 = 640.0;
/// Height of a heading in a file, and of the margin below a chart.
const HEADING_HEIGHT: f64 = 44.0;
const GAP: f64 = 14.0;
/// Pixels per unit in a file.
const SCALE: f64 = 1.3;
/// The colours of a file: some SVG viewers do not support variables.
const COLOURS: [(&str, &str); 5] = [
    ("var(--ink)", "#1c2430"),
    ("var(--soft)", "#59626e"),
    ("var(--line)", "#ddd8cd"),
    ("var(--first)", "#0f6b4f"),
    ("var(--second)", "#8a4b08"),
];

/// Charts with headings, one below the other, as a file.
pub(crate) fn document(charts: &[(&str, curves::Chart<'_>)]) -> String {
    let step = HEADING_HEIGHT + curves::HEIGHT + GAP;
    // There are only a few.
    #[allow(clippy::cast_precision_loss)]
    let height = step * charts.len() as f64;
    let style = COLOURS
        .iter()
        .fold(STYLE.to_owned(), |style, (name, colour)| {
            style.replace(name, colour)
        });
    let document = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(at(WIDTH * SCALE)) height=(at(height * SCALE))
            viewBox={ "0 0 " (WIDTH) " " (height) } {
            style { (PreEscaped(style)) }
            rect width="100%" height="100%" fill="#ffffff" {}
            @for (index, (heading, chart)) in charts.iter().enumerate() {
                @let top = at(step * f64::from(u32::try_from(index).unwrap_or(u32::MAX)));
                g transform={ "translate(0 " (top) ")" } {
                    text.heading x=(at(WIDTH / 2.0)) y=(at(HEADING_HEIGHT - 12.0)) text-anchor="middle" { (heading) }
                    g transform={ "translate(0 " (at(HEADING_HEIGHT)) ")" } { (chart.content()) }
                }
            }
        }
    };
    document.into_string()
}

/// A chart as a part of a page, with a description for screen readers.
fn figure(height: f64, title: &str, description: &str, content: &Markup) -> Markup {
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            title { (title) }
            desc { (description) }
            (content)
        }
    }
}

/// A coordinate, to a tenth.
fn at(value: f64) -> String {
    format!("{value:.1}")
}
