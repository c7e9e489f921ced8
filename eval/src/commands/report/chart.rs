//! Charts as inline SVG: geometry is reckoned here, drawn by the template, coloured by the style sheet. What the page's script
//! reads back under the pointer travels beside each chart, worded here.

use std::fmt::Write;

use serde::Serialize;

use super::looks::{alike, look};
use super::ticks::{Tick, room, side_by_side, tick};
use crate::plot::scale::{Scale, told};

/// One axis, linear in the numbers given.
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Where it is marked, and with what.
    pub(super) ticks: Vec<(f64, String)>,
    /// A place on it in words: of a logarithmic axis the number, not its logarithm.
    pub(super) word: Box<dyn Fn(f64) -> String>,
}

/// A line, or the area below it.
#[derive(Default)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// A histogram: two points a bin, and the area below.
    pub(super) filled: bool,
    /// Drawn faintly, and neither in the legend nor read: what a smoothed line was made of.
    pub(super) faint: bool,
    /// Read and not drawn.
    pub(super) unseen: bool,
    /// The number by which it looks; its place, where there is none.
    pub(super) style: Option<usize>,
    /// Points that are shown as such; all of a short line, where none are named.
    pub(super) dots: Vec<(f64, f64)>,
    /// Intervals, `(x, low, high)`: a band where there are as many as points, else a line at each.
    pub(super) spread: Vec<(f64, f64, f64)>,
}

/// A plot's rectangle: all the width there is, or, for two axes of one scale, a square with its diagonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Wide,
    Square,
}

/// What the template draws.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) caption: String,
    /// What is to be seen, for who cannot see it.
    description: String,
    x_label: String,
    y_label: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    series: Vec<Line>,
    /// A line from the lower left to the upper right corner of the square, such as `FMR = FNMR`.
    diagonal: Option<String>,
    /// Places on the horizontal axis that have a name.
    marks: Vec<Tick>,
    /// The plot's left end, which leaves room for the labels before it, and its right end.
    left: f64,
    right: f64,
    /// The same as numbers.
    pub(super) numbers: super::Table,
    /// What the script reads back, as JSON that can stand in a page.
    reading: String,
    /// What its bands and thin lines are; nothing, where it has none.
    pub(super) note: String,
    /// Which lines look alike; nothing, where none do.
    alike: String,
    /// Is shown on demand.
    pub(super) more: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    /// The style sheet's classes of its colour, dashes and width.
    look: String,
    path: String,
    filled: bool,
    faint: bool,
    dots: Vec<(String, String)>,
    /// A band, or a line at each interval.
    spread: String,
    band: bool,
}

/// What is read of a line: `(x, y, "x", "y")` in the picture's units and in words.
#[derive(Serialize)]
struct Reading {
    name: String,
    look: String,
    shown: bool,
    points: Vec<(f64, f64, String, String)>,
}

/// The plot's rectangle in the picture of 480 x 330; the template draws its frame.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 458.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 276.0;
/// Lines of no more points show them.
const DOTTED: usize = 12;
/// Readings stand at least so far apart.
const READ_EVERY: f64 = 1.0;

impl Axis {
    /// A linear axis over these values, with room, marked at round numbers.
    pub(super) fn over(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|v| v.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
        let Scale { from, to, ticks } = Scale::over(low, high, 5);
        let step = to / 1000.0 - from / 1000.0;
        Self { label: label.into(), from, to, ticks, word: Box::new(move |at| told(at, step)) }
    }

    /// The same, with other words for its places.
    pub(super) fn worded(self, word: impl Fn(f64) -> String + 'static) -> Self {
        Self { word: Box::new(word), ..self }
    }

    fn place(&self, value: f64, low: f64, high: f64) -> f64 {
        low + Scale::share(self.from, self.to, value) * (high - low)
    }
}

impl Chart {
    /// Lays out lines on two axes. Points that are no numbers break a line.
    pub(super) fn new(
        shape: Shape,
        caption: String,
        description: String,
        (x, y): (&Axis, &Axis),
        series: &[Series],
        numbers: super::Table,
    ) -> Self {
        let left = LEFT.max(room(y.ticks.iter().map(|(_, label)| label.as_str())));
        let right = match shape {
            Shape::Wide => RIGHT,
            Shape::Square => left + (BOTTOM - TOP),
        };
        let across = |v: f64| x.place(v, left, right);
        let up = |v: f64| y.place(v, BOTTOM, TOP);
        let ticks = x.ticks.iter().map(|(at, label)| (across(*at), label));
        let number = |(number, series): (usize, &Series)| series.style.unwrap_or(number);
        let style = |of: (usize, &Series)| look(number(of));
        let place = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().map(|&(a, b)| (across(a), up(b))).filter(|(a, b)| a.is_finite() && b.is_finite()).collect()
        };
        let line = |(number, series): (usize, &Series)| {
            let points = series.points.iter().map(|&(a, b)| (across(a), up(b)));
            let dots = match &series.dots[..] {
                [] if series.points.len() <= DOTTED && !series.filled && !series.faint => place(&series.points),
                named => place(named),
            };
            let band = !series.spread.is_empty() && series.spread.len() == series.points.len();
            Line {
                name: series.name.clone(),
                look: style((number, series)),
                path: path(points, series.filled.then(|| up(0.0_f64.max(y.from)))),
                filled: series.filled,
                faint: series.faint,
                dots: dots.into_iter().map(|(a, b)| (format!("{a:.1}"), format!("{b:.1}"))).collect(),
                spread: spread(series.spread.iter().map(|&(at, low, high)| (across(at), up(low), up(high))), band),
                band,
            }
        };
        let reading = |(number, series): (usize, &Series)| Reading {
            name: series.name.clone(),
            look: style((number, series)),
            shown: !series.unseen,
            points: read(&series.points, series.filled, &across, &up)
                .into_iter()
                // What the plot's edge cuts off is not pointed at; what is not drawn has no height.
                .filter(|&(a, b, _)| is_within(a, left, right) && (series.unseen || is_within(b, TOP, BOTTOM)))
                .map(|(a, b, (of_x, of_y))| (a, b, (x.word)(of_x), (y.word)(of_y)))
                .collect(),
        };
        let read: Vec<Reading> = series.iter().enumerate().filter(|(_, s)| !s.faint).map(reading).collect();
        // A page ends a script at `</`, wherever it stands.
        let reading = serde_json::to_string(&read).expect("numbers and words are JSON").replace('<', "\\u003c");
        Self {
            caption,
            description,
            x_label: x.label.clone(),
            y_label: y.label.clone(),
            x_ticks: side_by_side(ticks),
            y_ticks: y.ticks.iter().map(|(at, label)| tick(up(*at), up(*at), label)).collect(),
            series: series.iter().enumerate().filter(|(_, s)| !s.unseen).map(line).collect(),
            diagonal: (shape == Shape::Square).then(|| {
                let at = |v: f64| format!("{:.1} {:.1}", across(v), up(v));
                format!("M{}L{}", at(x.from.max(y.from)), at(x.to.min(y.to)))
            }),
            note: String::new(),
            marks: Vec::new(),
            left,
            right,
            numbers,
            reading,
            alike: alike(
                series.iter().enumerate().filter(|(_, s)| !s.unseen && !s.faint).map(|of| (number(of), &of.1.name)),
            ),
            more: false,
        }
    }

    /// Names a place on the horizontal axis.
    pub(super) fn mark(mut self, x: &Axis, at: f64, label: String) -> Self {
        if (x.from..=x.to).contains(&at) {
            let at = x.place(at, self.left, self.right);
            self.marks.push(tick(at, at, &label));
        }
        self
    }
}

fn is_within(at: f64, from: f64, to: f64) -> bool {
    (from - 0.1..=to + 0.1).contains(&at)
}

/// Where a line is read: the middle of each bin of a histogram, points of other lines that are not too near each other.
#[allow(clippy::type_complexity)] // a place, and what stands there
fn read(
    points: &[(f64, f64)],
    bins: bool,
    across: &dyn Fn(f64) -> f64,
    up: &dyn Fn(f64) -> f64,
) -> Vec<(f64, f64, (f64, f64))> {
    let middle = |bin: &[(f64, f64)]| (bin[0].0 + (bin[bin.len() - 1].0 - bin[0].0) / 2.0, bin[0].1);
    let points: Vec<(f64, f64)> = if bins { points.chunks(2).map(middle).collect() } else { points.to_vec() };
    let tenth = |v: f64| (v * 10.0).round() / 10.0;
    let mut read: Vec<(f64, f64, (f64, f64))> = Vec::new();
    for (at, &(a, b)) in points.iter().enumerate() {
        let (x, y) = (across(a), up(b));
        let far =
            |&(before, height, _): &(f64, f64, _)| (x - before).abs() >= READ_EVERY || (y - height).abs() >= READ_EVERY;
        if x.is_finite() && y.is_finite() && (at + 1 == points.len() || read.last().is_none_or(far)) {
            read.push((tenth(x), tenth(y), (a, b)));
        }
    }
    read
}

/// Intervals as a closed band, or as a line each.
fn spread(intervals: impl DoubleEndedIterator<Item = (f64, f64, f64)> + Clone, band: bool) -> String {
    let known = intervals.filter(|(at, low, high)| at.is_finite() && low.is_finite() && high.is_finite());
    if !band {
        return known.map(|(at, low, high)| format!("M{at:.1} {low:.1}V{high:.1}")).collect();
    }
    let upper = known.clone().map(|(at, _, high)| (at, high));
    let lower = known.rev().map(|(at, low, _)| (at, low));
    let outline = path(upper.chain(lower), None);
    if outline.is_empty() { outline } else { outline + "Z" }
}

/// An SVG path; closed down to `ground` where there is one. Points within a tenth of a unit of the last are left out.
fn path(points: impl Iterator<Item = (f64, f64)>, ground: Option<f64>) -> String {
    let mut out = String::new();
    let mut last: Option<(f64, f64)> = None;
    let (mut first_x, mut end_x) = (None, 0.0);
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

    /// A chart of these lines, on axes that end at 0 and 1.
    fn of(lines: &[Series]) -> serde_json::Value {
        let axis = || Axis::over("x", [0.0, 1.0].into_iter());
        let table = super::super::Table::new("", std::iter::empty(), Vec::new());
        let chart = Chart::new(Shape::Square, String::new(), String::new(), (&axis(), &axis()), lines, table);
        serde_json::to_value(&chart).unwrap()
    }

    fn line(name: String, points: &[(f64, f64)]) -> Series {
        Series { name, points: points.to_vec(), ..Series::default() }
    }

    #[test]
    fn what_the_plots_edge_cuts_off_is_not_read() {
        let points = [(-0.5, 0.5), (0.0, 0.0), (0.5, 0.5), (0.6, 1.7), (1.0, 1.0), (1.5, 0.5)];
        let unseen = Series { unseen: true, ..line("rate".into(), &points) };
        let chart = of(&[line("a".into(), &points), unseen]);
        let read: serde_json::Value = serde_json::from_str(chart["reading"].as_str().unwrap()).unwrap();
        let words = |at: usize| -> Vec<&str> {
            read[at]["points"].as_array().unwrap().iter().map(|point| point[2].as_str().unwrap()).collect()
        };
        assert_eq!(words(0), ["0.000", "0.500", "1.000"]);
        // What is not drawn is read whatever its height.
        assert_eq!(words(1), ["0.000", "0.500", "0.600", "1.000"]);
    }

    #[test]
    fn intervals_are_a_band_or_a_line_each() {
        let intervals = [(1.0, 5.0, 3.0), (2.0, 6.0, 4.0), (3.0, f64::NAN, 1.0)];
        assert_eq!(spread(intervals.into_iter(), true), "M1.0 3.0L2.0 4.0L2.0 6.0L1.0 5.0Z");
        assert_eq!(spread(intervals.into_iter(), false), "M1.0 5.0V3.0M2.0 6.0V4.0");
        assert_eq!(spread(std::iter::empty(), true), "");
    }

    #[test]
    fn bins_are_read_in_their_middle_and_lines_at_their_ends() {
        let same = |v: f64| v;
        let bins = [(0.0, 3.0), (4.0, 3.0), (4.0, 7.0), (8.0, 7.0)];
        assert_eq!(read(&bins, true, &same, &same), [(2.0, 3.0, (2.0, 3.0)), (6.0, 7.0, (6.0, 7.0))]);
        let line = [(0.0, 0.0), (0.2, 0.2), (5.0, 0.0), (5.1, 0.0)];
        let at: Vec<f64> = read(&line, false, &same, &same).iter().map(|r| r.0).collect();
        assert_eq!(at, [0.0, 5.0, 5.1]);
    }
}
