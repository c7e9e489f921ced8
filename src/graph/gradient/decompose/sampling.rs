//! `GridSample`: an image read at places that the graph computes.

use super::{super::tape::Tape, Spelling};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, int},
    proto::NodeProto,
};

pub(super) fn spelling(operator: &str) -> Option<Spelling> {
    (operator == "GridSample").then_some(grid_sample as Spelling)
}

/// What becomes of places outside the image.
#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// One axis of the image.
#[derive(Clone, Copy)]
struct Axis {
    length: usize,
    /// -1 and 1 are the centres of the outer elements, else their outer edges.
    aligned: bool,
    padding: Padding,
}

/// An element that a place is read from: where it stands along each axis, as a float, and its weight.
struct Tap {
    at: String,
    weight: Option<String>,
}

/// `y = sum of x at the elements around each place, by their weights`
fn grid_sample(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (x, grid) = (node.needed(0)?, node.needed(1)?);
    if tape.rank(x)? != 4 {
        return Err(node.error("only images [batch, channels, height, width] can be differentiated"));
    }
    let padding = match node.text("padding_mode", "zeros") {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(node.error(format!("its padding_mode is '{other}'"))),
    };
    let mode = node.text("mode", "linear");
    let [height, width] = [2, 3].map(|axis| tape.length(x, axis));
    let (height, width) = (height?, width?);
    let mut taps = Vec::new();
    // The grid names the last axis of the image first.
    for (index, length) in [(1, height), (0, width)] {
        let axis = Axis { length, aligned: node.int("align_corners", 0) != 0, padding };
        let at = tape.slice(grid, 3, (index, index + 1, 1))?;
        let at = tape.reshape(&at, &[0, -1, 1])?;
        let at = axis.place(tape, &at)?;
        taps.push(match mode {
            "nearest" => axis.nearest(tape, &at)?,
            "linear" | "bilinear" => axis.linear(tape, &at)?,
            "cubic" | "bicubic" => axis.cubic(tape, &at)?,
            other => return Err(node.error(format!("its mode is '{other}'"))),
        });
    }
    // [batch, height * width, channels]
    let rows = tape.reshape(x, &[0, 0, int(height * width)])?;
    let rows = tape.transpose(&rows, &[0, 2, 1])?;
    let mut parts = Vec::new();
    for row in &taps[0] {
        for column in &taps[1] {
            parts.push(read(tape, &rows, [row, column], [height, width], padding)?);
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let sum = tape.op("Sum", &parts)?;
    let sum = tape.transpose(&sum, &[0, 2, 1])?;
    let known = |dim: &Dim| if let Dim::Known(length) = dim { int(*length) } else { -1 };
    let target: Vec<i64> = tape.shape(grid)?[1..3].iter().map(known).collect();
    if target.iter().all(|&length| length == -1) {
        return Err(node.error("a length of its grid must be known for its gradient"));
    }
    tape.reshape(&sum, &[0, 0, target[0], target[1]])
}

/// The elements at a row and a column, times their weights, `[batch, places, channels]`.
fn read(
    tape: &mut Tape<'_>,
    rows: &str,
    [row, column]: [&Tap; 2],
    [height, width]: [usize; 2],
    padding: Padding,
) -> Result<String> {
    let mut weights: Vec<String> = [row, column].iter().filter_map(|tap| tap.weight.clone()).collect();
    let mut places = Vec::new();
    for (tap, length) in [(row, height), (column, width)] {
        let (first, last) = (tape.scalar(0.0, &tap.at)?, tape.scalar(last(length), &tap.at)?);
        let inside = tape.op("Clip", &[&tap.at, &first, &last])?;
        if padding == Padding::Zeros {
            let same = tape.op("Equal", &[&inside, &tap.at])?;
            weights.push(tape.cast_like(&same, &tap.at)?);
        }
        places.push(inside);
    }
    let line = tape.scaled(&places[0], last(width) + 1.0)?;
    let place = tape.op("Add", &[&line, &places[1]])?;
    let place = tape.with("Cast", &[&place], vec![attribute("to", Value::Int(7))])?;
    let mut value = tape.with("GatherND", &[rows, &place], vec![attribute("batch_dims", Value::Int(1))])?;
    for weight in weights {
        value = tape.op("Mul", &[&value, &weight])?;
    }
    Ok(value)
}

/// The place of the last element.
#[expect(clippy::cast_precision_loss, reason = "lengths of images")]
fn last(length: usize) -> f64 {
    length as f64 - 1.0
}

impl Axis {
    /// From -1 to 1, to elements.
    fn place(self, tape: &mut Tape<'_>, at: &str) -> Result<String> {
        let half = if self.aligned { last(self.length) / 2.0 } else { (last(self.length) + 1.0) / 2.0 };
        let scaled = tape.scaled(at, half)?;
        tape.shifted(&scaled, last(self.length) / 2.0)
    }

    /// Places outside, brought inside.
    fn inside(self, tape: &mut Tape<'_>, at: &str) -> Result<String> {
        match self.padding {
            Padding::Zeros => Ok(at.to_owned()),
            Padding::Border => {
                let (first, last) = (tape.scalar(0.0, at)?, tape.scalar(last(self.length), at)?);
                tape.op("Clip", &[at, &first, &last])
            }
            Padding::Reflection => {
                // A zigzag between the borders: r - | |x - low| mod 2r - r |.
                let (low, range) =
                    if self.aligned { (0.0, last(self.length)) } else { (-0.5, last(self.length) + 1.0) };
                if range == 0.0 {
                    return tape.scaled(at, 0.0);
                }
                let away = tape.shifted(at, -low)?;
                let away = tape.op("Abs", &[&away])?;
                let turns = tape.scaled(&away, 0.5 / range)?;
                let turns = tape.op("Floor", &[&turns])?;
                let turns = tape.scaled(&turns, 2.0 * range)?;
                let rest = tape.op("Sub", &[&away, &turns])?;
                let rest = tape.shifted(&rest, -range)?;
                let rest = tape.op("Abs", &[&rest])?;
                let rest = tape.op("Neg", &[&rest])?;
                tape.shifted(&rest, range + low)
            }
        }
    }

    fn nearest(self, tape: &mut Tape<'_>, at: &str) -> Result<Vec<Tap>> {
        let at = tape.op("Round", &[at])?;
        let at = self.inside(tape, &at)?;
        // Reflected at an edge it may lie between two elements.
        let at = tape.op("Round", &[&at])?;
        Ok(vec![Tap { at, weight: None }])
    }

    fn linear(self, tape: &mut Tape<'_>, at: &str) -> Result<Vec<Tap>> {
        let at = self.inside(tape, at)?;
        let before = tape.op("Floor", &[&at])?;
        let share = tape.op("Sub", &[&at, &before])?;
        let rest = tape.op("Neg", &[&share])?;
        let rest = tape.shifted(&rest, 1.0)?;
        let after = tape.shifted(&before, 1.0)?;
        Ok(vec![Tap { at: before, weight: Some(rest) }, Tap { at: after, weight: Some(share) }])
    }

    /// Keys' convolution with a = -0.75 over the four elements around.
    fn cubic(self, tape: &mut Tape<'_>, at: &str) -> Result<Vec<Tap>> {
        const A: f64 = -0.75;
        let before = tape.op("Floor", &[at])?;
        let share = tape.op("Sub", &[at, &before])?;
        let mut taps = Vec::new();
        for step in [-1.0, 0.0, 1.0, 2.0] {
            let place = tape.shifted(&before, step)?;
            let place = self.inside(tape, &place)?;
            let away = tape.shifted(&share, -step)?;
            let away = tape.op("Abs", &[&away])?;
            // By Horner: a t^3 - 5a t^2 + 8a t - 4a for the outer two, (a + 2) t^3 - (a + 3) t^2 + 1 for the inner.
            let outer = !(0.0..=1.0).contains(&step);
            let factors = if outer { [A, -5.0 * A, 8.0 * A, -4.0 * A] } else { [A + 2.0, -(A + 3.0), 0.0, 1.0] };
            let mut weight = tape.scaled(&away, factors[0])?;
            for (index, factor) in factors[1..].iter().enumerate() {
                weight = tape.shifted(&weight, *factor)?;
                if index < 2 {
                    weight = tape.op("Mul", &[&weight, &away])?;
                }
            }
            taps.push(Tap { at: place, weight: Some(weight) });
        }
        Ok(taps)
    }
}
