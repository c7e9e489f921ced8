//! The picture of a search for a learning rate. Its letters' widths are those of a font that comes with the program, so no font
//! needs to be there.

use std::ops::Range;

use pdloss_embed::{Error, Result};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

const SIZE: (u32, u32) = (720, 440);
const FONT: &str = "sans-serif";
const LINE: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const DOTS: RGBColor = RGBColor(0x9d, 0xb8, 0xd9);
const FOUND: RGBColor = RGBColor(0xc2, 0x3b, 0x22);

/// A step of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) rate: f64,
    pub(crate) loss: f64,
    pub(crate) smoothed: f64,
}

/// A rate with the three digits that it carries.
pub(crate) fn rounded(rate: f64) -> String {
    let digits = format!("{rate:.2e}").parse::<f64>().unwrap_or(rate);
    if digits.abs() < 1e-3 { format!("{digits:e}") } else { digits.to_string() }
}

/// The smoothed loss and the losses by the logarithm of the rate between `rates`, as SVG. A loss far above all smoothed ones stands
/// at the edge, hollow.
///
/// # Errors
/// [`Error::Measure`] where the chart cannot be drawn.
pub(crate) fn svg(points: &[Point], rates: (f64, f64), found: Option<f64>, title: &str) -> Result<String> {
    let failed = |reason: String| Error::Measure(format!("--find-lr: its picture cannot be drawn: {reason}"));
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| failed("the built-in font cannot be read".into()))?;
    let mut text = String::new();
    draw(&mut text, points, rates, found, title).map_err(|e| failed(e.to_string()))?;
    Ok(text)
}

fn draw(
    text: &mut String,
    points: &[Point],
    rates: (f64, f64),
    found: Option<f64>,
    title: &str,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let shown: Vec<&Point> = points.iter().filter(|p| p.smoothed.is_finite() && p.loss.is_finite()).collect();
    let high = shown.iter().map(|p| p.smoothed).fold(f64::NEG_INFINITY, f64::max);
    // A loss that runs away alone must not flatten the rest.
    let losses = around(shown.iter().flat_map(|p| [p.smoothed, p.loss.min(high)]));
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 15))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d((rates.0..rates.1).log_scale(), losses.clone())?;
    chart
        .configure_mesh()
        .x_desc("learning rate")
        .y_desc("loss")
        .x_label_formatter(&|rate| format!("{rate:.0e}"))
        .y_label_formatter(&|loss| format!("{loss:.3}"))
        .label_style((FONT, 12))
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(shown.iter().map(|p| {
        let place = (p.rate, p.loss.clamp(losses.start, losses.end));
        let style = if losses.contains(&p.loss) { DOTS.filled() } else { DOTS.stroke_width(1) };
        Circle::new(place, 2, style)
    }))?;
    chart.draw_series(LineSeries::new(shown.iter().map(|p| (p.rate, p.smoothed)), LINE.stroke_width(2)))?;
    if let Some(rate) = found {
        chart.draw_series(DashedLineSeries::new(
            [(rate, losses.start), (rate, losses.end)],
            4,
            3,
            FOUND.stroke_width(1),
        ))?;
        let word = Text::new(
            format!(" steepest fall: {}", rounded(rate)),
            (rate, losses.end),
            (FONT, 13).into_font().color(&FOUND),
        );
        chart.draw_series([word])?;
    }
    drop(chart);
    area.present()?;
    drop(area);
    Ok(())
}

/// The range of the values with some room around them.
fn around(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max));
    let room = if high > low { 0.05 * (high - low) } else { 0.05 * low.abs().max(1.0) };
    low - room..high + room
}
