//! Charts as inline SVG: geometry is reckoned here, drawn by the template, coloured by the style sheet.

use std::fmt::Write;

use serde::Serialize;

use crate::plot::scale::Scale;

/// One axis, linear in the numbers given.
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Where it is marked, and with what.
    pub(super) ticks: Vec<(f64, String)>,
}

/// A line, or the area below it.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) filled: bool,
}

/// What the template draws.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    caption: String,
    /// What is to be seen, for who cannot see it.
    description: String,
    x_label: String,
    y_label: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    series: Vec<Line>,
    /// A line from the lower left to the upper right corner of the square, such as `FMR = FNMR`.
    diagonal: Option<String>,
    /// The same as numbers.
    pub(super) numbers: Option<super::Table>,
}

#[derive(Debug, Serialize)]
struct Tick {
    at: String,
    label: String,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// Its colour and dashes, from 0 to 7.
    style: usize,
    path: String,
    filled: bool,
    dots: Vec<(String, String)>,
}

/// The plot's rectangle in the picture of 480 x 330; the template draws its frame.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 458.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 276.0;
/// Lines of no more points show them.
const DOTTED: usize = 12;

impl Axis {
    /// A linear axis over these values, with room, marked at round numbers.
    pub(super) fn over(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|v| v.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
        let Scale { from, to, ticks } = Scale::over(low, high, 5);
        Self { label: label.into(), from, to, ticks }
    }

    fn place(&self, value: f64, low: f64, high: f64) -> f64 {
        low + Scale::share(self.from, self.to, value) * (high - low)
    }
}

impl Chart {
    /// Lays out lines on two axes. Points that are no numbers break a line.
    pub(super) fn new(caption: &str, description: String, x: &Axis, y: &Axis, series: &[Series]) -> Self {
        let across = |v: f64| x.place(v, LEFT, RIGHT);
        let up = |v: f64| y.place(v, BOTTOM, TOP);
        let mut x_ticks: Vec<(f64, &String)> = Vec::new();
        for (at, label) in x.ticks.iter().map(|(at, label)| (across(*at), label)) {
            // A label that would run into the one before is left out.
            let half = |label: &String| 4.0 * label.chars().count() as f64 + 3.0;
            if x_ticks.last().is_none_or(|&(before, other)| at - before > half(label) + half(other)) {
                x_ticks.push((at, label));
            }
        }
        let tick = |(at, label): (f64, &String)| Tick { at: format!("{at:.1}"), label: label.clone() };
        let line = |(number, series): (usize, &Series)| {
            let points = series.points.iter().map(|&(a, b)| (across(a), up(b)));
            let dots = if series.points.len() > DOTTED || series.filled {
                Vec::new()
            } else {
                points.clone().map(|(a, b)| (format!("{a:.1}"), format!("{b:.1}"))).collect()
            };
            let path = path(points, series.filled.then(|| up(0.0_f64.max(y.from))));
            Line { name: series.name.clone(), style: number % 8, path, filled: series.filled, dots }
        };
        Self {
            caption: caption.into(),
            description,
            x_label: x.label.clone(),
            y_label: y.label.clone(),
            x_ticks: x_ticks.into_iter().map(tick).collect(),
            y_ticks: y.ticks.iter().map(|(at, label)| tick((up(*at), label))).collect(),
            series: series.iter().enumerate().map(line).collect(),
            diagonal: None,
            numbers: None,
        }
    }

    /// Adds the line on which both axes, of the same scale, are equal.
    pub(super) fn with_diagonal(mut self, x: &Axis, y: &Axis) -> Self {
        let at = |v: f64| format!("{:.1} {:.1}", x.place(v, LEFT, RIGHT), y.place(v, BOTTOM, TOP));
        let (from, to) = (x.from.max(y.from), x.to.min(y.to));
        self.diagonal = Some(format!("M{}L{}", at(from), at(to)));
        self
    }
}

/// An SVG path; closed down to `ground` where there is one. Points within a tenth of a unit of the last are left out.
fn path(points: impl Iterator<Item = (f64, f64)>, ground: Option<f64>) -> String {
    let mut out = String::new();
    let mut last: Option<(f64, f64)> = None;
    let (mut first_x, mut end_x) = (None, LEFT);
    for (x, y) in points {
        if !(x.is_finite() && y.is_finite()) {
            last = None;
            continue;
        }
        if last.is_some_and(|(a, b)| (a - x).abs() < 0.1 && (b - y).abs() < 0.1) {
            continue;
        }
        let command = match (last.is_some(), ground, first_x) {
            (false, Some(ground), None) => format!("M{x:.1} {ground:.1}L"),
            (false, _, _) => "M".to_owned(),
            (true, _, _) => "L".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "{command}{x:.1} {y:.1}");
        first_x.get_or_insert(x);
        end_x = x;
        last = Some((x, y));
    }
    if let (Some(ground), Some(_)) = (ground, first_x) {
        let _ = write!(out, "L{end_x:.1} {ground:.1}Z");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_marked_at_round_numbers() {
        let axis = Axis::over("x", [0.13, 0.87].into_iter());
        let labels: Vec<&str> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let axis = Axis::over("x", [-3.0, 2400.0].into_iter());
        assert_eq!((axis.from, axis.to), (-500.0, 2500.0));
        assert!(Axis::over("x", [f64::NAN].into_iter()).to > 0.0);
        assert!(Axis::over("x", [7.0].into_iter()).to > 7.0);
    }

    #[test]
    fn lines_break_at_what_is_no_number_and_areas_are_closed() {
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)];
        assert_eq!(path(points.into_iter(), None), "M0.0 1.0L1.0 2.0M3.0 4.0");
        assert_eq!(path(points[..2].iter().copied(), Some(9.0)), "M0.0 9.0L0.0 1.0L1.0 2.0L1.0 9.0Z");
        assert_eq!(path(std::iter::empty(), Some(9.0)), "");
    }
}
