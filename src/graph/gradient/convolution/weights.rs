//! The gradient of a convolution's weights, from its input `x` and the gradient `g` of its output.

use super::{
    Call, Conv, SOME_PLACES, Tape, int, ints,
    rows::{channels_last, columns},
    window::{pad, side_by_side, slice, slices},
};
use crate::graph::{
    Result,
    build::{Value, attribute, floats},
    gradient::linear::product,
    head::DOMAIN,
    shapes::window::Window,
};

/// The operator.
const CONV_WEIGHT_GRAD: &str = "ConvWeightGrad";

/// `dW`, from the convolution's input and the gradient of its output.
pub(super) fn weight_grad(
    tape: &mut Tape<'_>,
    call: &Call<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    rows: Option<String>,
) -> Result<String> {
    // The operator has images and rows, and no lengths need be known.
    if conv.has_operators(tape) {
        let mut made = tape.many(CONV_WEIGHT_GRAD, DOMAIN, &[grad, x], conv.attributes(), 1)?;
        return Ok(made.swap_remove(0));
    }
    if conv.is_pointwise() && conv.groups == 1 && conv.count().is_none_or(|count| count > SOME_PLACES) {
        return weight_grad_by_image(tape, conv, &[x.to_owned()], grad, weights);
    }
    let (Some(_), Some(places)) = (&conv.lengths, &conv.places) else {
        return Err(call.error("all lengths but the batch must be known for the gradient of its weights"));
    };
    if conv.groups > 1 {
        if (conv.channels_in, conv.channels_out) != (conv.groups, conv.groups) {
            let parts = slices(tape, conv, x, places)?;
            return weight_grad_by_image(tape, conv, &parts, grad, weights);
        }
        if conv.is_whole() {
            let product = tape.op("Mul", &[x, grad])?;
            let sum = tape.sum(&product, &[0], false)?;
            return tape.reshape_like(&sum, weights);
        }
        return match conv.axes() {
            2 => weight_grad_by_diagonals(tape, conv, (x, grad), weights, places),
            _ => weight_grad_by_offset(tape, conv, (x, grad), weights, places),
        };
    }
    let (count, kernel) = (places.iter().product::<usize>(), conv.window.kernel.iter().product::<usize>());
    if rows.is_none() && conv.channels_in <= 4 && kernel > 9 {
        return weight_grad_as_conv(tape, conv, x, grad, weights);
    }
    if rows.is_none() && conv.channels_in > 4 && count > SOME_PLACES {
        let parts = slices(tape, conv, x, places)?;
        return weight_grad_by_image(tape, conv, &parts, grad, weights);
    }
    let rows = match rows {
        Some(rows) => rows,
        None => columns(tape, x, conv, places)?,
    };
    let flat = channels_last(tape, grad)?;
    let flat = tape.reshape(&flat, &[-1, int(conv.channels_out)])?;
    let sums = product(tape, (&flat, true), (&rows, false), 1.0)?;
    let axes = conv.axes();
    let apart = [&[int(conv.channels_out)], ints(&conv.window.kernel).as_slice(), &[int(conv.channels_in)]].concat();
    let apart = tape.reshape(&sums, &apart)?;
    let perm: Vec<usize> = [0, axes + 1].into_iter().chain(1..=axes).collect();
    tape.transpose(&apart, &perm)
}

/// One product for each image and place inside the kernel, summed over the images.
fn weight_grad_by_image(
    tape: &mut Tape<'_>,
    conv: &Conv,
    parts: &[String],
    grad: &str,
    weights: &str,
) -> Result<String> {
    let (each_in, each_out) = (conv.channels_in / conv.groups, conv.channels_out / conv.groups);
    let count = conv.count().map_or(-1, int);
    let stack = |each: usize| {
        if conv.groups == 1 { vec![0, int(each), count] } else { vec![0, int(conv.groups), int(each), count] }
    };
    let rank = stack(1).len();
    let grad = tape.reshape(grad, &stack(each_out))?;
    let mut sums = Vec::new();
    for part in parts {
        let part = tape.reshape(part, &stack(each_in))?;
        let perm: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
        let turned = tape.transpose(&part, &perm)?;
        let product = tape.op("MatMul", &[&grad, &turned])?;
        let sum = tape.sum(&product, &[0], false)?;
        sums.push(if parts.len() == 1 { sum } else { tape.unsqueeze(&sum, &[rank - 1])? });
    }
    join(tape, &sums, rank - 1, weights)
}

/// The parts of a gradient of weights, side by side, in the weights' shape.
fn join(tape: &mut Tape<'_>, parts: &[String], axis: usize, weights: &str) -> Result<String> {
    let whole = side_by_side(tape, parts, axis)?;
    tape.reshape_like(&whole, weights)
}

/// One kernel a channel: for each place inside the kernel, the sum of products.
fn weight_grad_by_offset(
    tape: &mut Tape<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    places: &[usize],
) -> Result<String> {
    let others: Vec<usize> = (0..conv.axes() + 2).filter(|&axis| axis != 1).collect();
    let mut sums = Vec::new();
    for part in slices(tape, conv, x, places)? {
        let product = tape.op("Mul", &[grad, &part])?;
        let sum = tape.sum(&product, &others, false)?;
        sums.push(tape.unsqueeze(&sum, &[1])?);
    }
    join(tape, &sums, 1, weights)
}

/// One kernel a channel, over images: for each row of the kernel, one matrix product a channel of columns of `x` with
/// columns of `g`, summed over batch, rows and blocks of columns. The pairs of columns that belong to a place in the kernel
/// lie on a diagonal of it. That is several times the multiplications needed, in an operator that is many times as fast.
fn weight_grad_by_diagonals(
    tape: &mut Tape<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    places: &[usize],
) -> Result<String> {
    let window = &conv.window;
    // Narrow blocks waste fewer products, wide ones suit the matrix product: 14 measured best among the divisors of 56.
    let widest = (16 / window.strides[1]).clamp(1, places[1]);
    let block = (1..=widest).rev().find(|block| places[1].is_multiple_of(*block)).unwrap_or(1);
    let block = if block < 4 { places[1] } else { block };
    let width = (block - 1) * window.strides[1] + window.reach(1);
    let padded = pad(tape, x, 2, &ints(&window.begin), &ints(&window.end))?;
    let turned = tape.transpose(&padded, &[1, 0, 2, 3])?;
    let step = block * window.strides[1];
    let blocks: Vec<String> = (0..places[1] / block)
        .map(|index| {
            let (from, axis) = (int(index * step), tape.ints(&[3])?);
            let (starts, ends) = (tape.ints(&[from])?, tape.ints(&[from + int(width)])?);
            tape.op("Slice", &[&turned, &starts, &ends, &axis])
        })
        .collect::<Result<_>>()?;
    let columns = side_by_side(tape, &blocks, 3)?;
    let grad = tape.transpose(grad, &[1, 0, 2, 3])?;
    let channels = int(conv.channels_in);
    let grad = tape.reshape(&grad, &[channels, -1, int(block)])?;
    let mut products = Vec::new();
    let rows = Window {
        strides: vec![window.strides[0]],
        dilations: vec![window.dilations[0]],
        kernel: vec![window.kernel[0]],
        ..window.clone()
    };
    for row in 0..window.kernel[0] {
        let part = slice(tape, &columns, &[row], &rows, &places[..1], &[2])?;
        let part = tape.reshape(&part, &[channels, -1, int(width)])?;
        let part = tape.transpose(&part, &[0, 2, 1])?;
        let product = tape.op("MatMul", &[&part, &grad])?;
        products.push(tape.unsqueeze(&product, &[1])?);
    }
    let all = side_by_side(tape, &products, 1)?;
    let all = tape.reshape(&all, &[channels * int(window.kernel[0]), int(width * block)])?;
    let mut diagonals = vec![0.0; width * block * window.kernel[1]];
    for place in 0..block {
        for column in 0..window.kernel[1] {
            let of_x = place * window.strides[1] + column * window.dilations[1];
            diagonals[(of_x * block + place) * window.kernel[1] + column] = 1.0;
        }
    }
    let element = tape.element(x)?;
    let diagonals = tape.constant(floats("", element, &[width * block, window.kernel[1]], &diagonals))?;
    let sums = tape.op("MatMul", &[&all, &diagonals])?;
    tape.reshape_like(&sums, weights)
}

/// Batch and channels exchanged, the gradient is a convolution of `x` with `g`, spread by the strides.
fn weight_grad_as_conv(tape: &mut Tape<'_>, conv: &Conv, x: &str, grad: &str, weights: &str) -> Result<String> {
    let perm: Vec<usize> = [1, 0].into_iter().chain(2..conv.axes() + 2).collect();
    let (image, kernel) = (tape.transpose(x, &perm)?, tape.transpose(grad, &perm)?);
    let window = &conv.window;
    let attributes = vec![
        attribute("strides", Value::Ints(ints(&window.dilations))),
        attribute("dilations", Value::Ints(ints(&window.strides))),
        attribute("pads", Value::Ints(ints(&[window.begin.as_slice(), &window.end].concat()))),
    ];
    let sums = tape.with("Conv", &[&image, &kernel], attributes)?;
    let sums = cut(tape, conv, &sums)?;
    let sums = tape.transpose(&sums, &perm)?;
    tape.reshape_like(&sums, weights)
}

/// As much as the kernel is long: strides may leave a rest of the input that no window reached.
fn cut(tape: &mut Tape<'_>, conv: &Conv, sums: &str) -> Result<String> {
    let axes: Vec<i64> = (0..conv.axes()).map(|axis| int(axis) + 2).collect();
    let kernel = ints(&conv.window.kernel);
    let (starts, ends, axes) = (tape.ints(&vec![0; axes.len()])?, tape.ints(&kernel)?, tape.ints(&axes)?);
    tape.op("Slice", &[sums, &starts, &ends, &axes])
}
