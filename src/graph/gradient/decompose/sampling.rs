//! `GridSample`: an image read at places that the graph computes.

use super::{Spelling, Writer};
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
fn grid_sample(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (x, grid) = (writer.input(node, 0)?, writer.input(node, 1)?);
    if writer.rank(x)? != 4 {
        return Err(writer.error("only images [batch, channels, height, width] can be differentiated"));
    }
    let padding = match node.text("padding_mode", "zeros") {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection,
        other => return Err(writer.error(format!("its padding_mode is '{other}'"))),
    };
    let mode = node.text("mode", "linear");
    let [height, width] = [2, 3].map(|axis| writer.length(x, axis));
    let (height, width) = (height?, width?);
    let mut taps = Vec::new();
    // The grid names the last axis of the image first.
    for (index, length) in [(1, height), (0, width)] {
        let axis = Axis { length, aligned: node.int("align_corners", 0) != 0, padding };
        let at = writer.slice(grid, 3, (index, index + 1, 1))?;
        let at = writer.reshape(&at, &[0, -1, 1])?;
        let at = axis.place(writer, &at)?;
        taps.push(match mode {
            "nearest" => axis.nearest(writer, &at)?,
            "linear" | "bilinear" => axis.linear(writer, &at)?,
            "cubic" | "bicubic" => axis.cubic(writer, &at)?,
            other => return Err(writer.error(format!("its mode is '{other}'"))),
        });
    }
    // [batch, height * width, channels]
    let rows = writer.reshape(x, &[0, 0, int(height * width)])?;
    let rows = writer.transpose(&rows, &[0, 2, 1])?;
    let mut parts = Vec::new();
    for row in &taps[0] {
        for column in &taps[1] {
            parts.push(read(writer, &rows, [row, column], [height, width], padding)?);
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let sum = writer.op("Sum", &parts)?;
    let sum = writer.transpose(&sum, &[0, 2, 1])?;
    let known = |dim: &Dim| if let Dim::Known(length) = dim { int(*length) } else { -1 };
    let target: Vec<i64> = writer.shape(grid)?[1..3].iter().map(known).collect();
    if target.iter().all(|&length| length == -1) {
        return Err(writer.error("a length of its grid must be known for its gradient"));
    }
    writer.reshape(&sum, &[0, 0, target[0], target[1]])
}

/// The elements at a row and a column, times their weights, `[batch, places, channels]`.
fn read(
    writer: &mut Writer,
    rows: &str,
    [row, column]: [&Tap; 2],
    [height, width]: [usize; 2],
    padding: Padding,
) -> Result<String> {
    let mut weights: Vec<String> = [row, column].iter().filter_map(|tap| tap.weight.clone()).collect();
    let mut places = Vec::new();
    for (tap, length) in [(row, height), (column, width)] {
        let (first, last) = (writer.scalar(0.0, &tap.at)?, writer.scalar(last(length), &tap.at)?);
        let inside = writer.op("Clip", &[&tap.at, &first, &last])?;
        if padding == Padding::Zeros {
            let same = writer.op("Equal", &[&inside, &tap.at])?;
            weights.push(writer.cast_like(&same, &tap.at)?);
        }
        places.push(inside);
    }
    let line = writer.scaled(&places[0], last(width) + 1.0)?;
    let place = writer.op("Add", &[&line, &places[1]])?;
    let place = writer.with("Cast", &[&place], vec![attribute("to", Value::Int(7))])?;
    let mut value = writer.with("GatherND", &[rows, &place], vec![attribute("batch_dims", Value::Int(1))])?;
    for weight in weights {
        value = writer.op("Mul", &[&value, &weight])?;
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
    fn place(self, writer: &mut Writer, at: &str) -> Result<String> {
        let half = if self.aligned { last(self.length) / 2.0 } else { (last(self.length) + 1.0) / 2.0 };
        let scaled = writer.scaled(at, half)?;
        writer.shifted(&scaled, last(self.length) / 2.0)
    }

    /// Places outside, brought inside.
    fn inside(self, writer: &mut Writer, at: &str) -> Result<String> {
        match self.padding {
            Padding::Zeros => Ok(at.to_owned()),
            Padding::Border => {
                let (first, last) = (writer.scalar(0.0, at)?, writer.scalar(last(self.length), at)?);
                writer.op("Clip", &[at, &first, &last])
            }
            Padding::Reflection => {
                // A zigzag between the borders: r - | |x - low| mod 2r - r |.
                let (low, range) =
                    if self.aligned { (0.0, last(self.length)) } else { (-0.5, last(self.length) + 1.0) };
                if range == 0.0 {
                    return writer.scaled(at, 0.0);
                }
                let away = writer.shifted(at, -low)?;
                let away = writer.op("Abs", &[&away])?;
                let turns = writer.scaled(&away, 0.5 / range)?;
                let turns = writer.op("Floor", &[&turns])?;
                let turns = writer.scaled(&turns, 2.0 * range)?;
                let rest = writer.op("Sub", &[&away, &turns])?;
                let rest = writer.shifted(&rest, -range)?;
                let rest = writer.op("Abs", &[&rest])?;
                let rest = writer.op("Neg", &[&rest])?;
                writer.shifted(&rest, range + low)
            }
        }
    }

    fn nearest(self, writer: &mut Writer, at: &str) -> Result<Vec<Tap>> {
        let at = writer.op("Round", &[at])?;
        let at = self.inside(writer, &at)?;
        // Reflected at an edge it may lie between two elements.
        let at = writer.op("Round", &[&at])?;
        Ok(vec![Tap { at, weight: None }])
    }

    fn linear(self, writer: &mut Writer, at: &str) -> Result<Vec<Tap>> {
        let at = self.inside(writer, at)?;
        let before = writer.op("Floor", &[&at])?;
        let share = writer.op("Sub", &[&at, &before])?;
        let rest = writer.op("Neg", &[&share])?;
        let rest = writer.shifted(&rest, 1.0)?;
        let after = writer.shifted(&before, 1.0)?;
        Ok(vec![Tap { at: before, weight: Some(rest) }, Tap { at: after, weight: Some(share) }])
    }

    /// Keys' convolution with a = -0.75 over the four elements around.
    fn cubic(self, writer: &mut Writer, at: &str) -> Result<Vec<Tap>> {
        const A: f64 = -0.75;
        let before = writer.op("Floor", &[at])?;
        let share = writer.op("Sub", &[at, &before])?;
        let mut taps = Vec::new();
        for step in [-1.0, 0.0, 1.0, 2.0] {
            let place = writer.shifted(&before, step)?;
            let place = self.inside(writer, &place)?;
            let away = writer.shifted(&share, -step)?;
            let away = writer.op("Abs", &[&away])?;
            // By Horner: a t^3 - 5a t^2 + 8a t - 4a for the outer two, (a + 2) t^3 - (a + 3) t^2 + 1 for the inner.
            let outer = !(0.0..=1.0).contains(&step);
            let factors = if outer { [A, -5.0 * A, 8.0 * A, -4.0 * A] } else { [A + 2.0, -(A + 3.0), 0.0, 1.0] };
            let mut weight = writer.scaled(&away, factors[0])?;
            for (index, factor) in factors[1..].iter().enumerate() {
                weight = writer.shifted(&weight, *factor)?;
                if index < 2 {
                    weight = writer.op("Mul", &[&weight, &away])?;
                }
            }
            taps.push(Tap { at: place, weight: Some(weight) });
        }
        Ok(taps)
    }
}
