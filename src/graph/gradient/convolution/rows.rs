//! Convolutions of small images as one matrix product over the batch, whose rows are the windows of all images.

use super::{
    Call, Conv, Tape, int, ints,
    window::{offsets, pad, side_by_side, slice},
};
use crate::graph::{
    Result,
    build::{Value, attribute},
    gradient::linear::product,
    shapes::window::Window,
};

/// `[N, C, ...]` as `[N, ..., C]`.
pub(super) fn channels_last(tape: &mut Tape<'_>, value: &str) -> Result<String> {
    let rank = tape.rank(value)?;
    let perm: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    tape.once(format!("channels last {value}"), |tape| tape.transpose(value, &perm))
}

/// The windows of the whole batch as rows: `[N places, kernel C]`.
pub(super) fn columns(tape: &mut Tape<'_>, x: &str, conv: &Conv, places: &[usize]) -> Result<String> {
    let last = channels_last(tape, x)?;
    let window = &conv.window;
    rows_of(tape, &last, window, (&ints(&window.begin), &ints(&window.end)), places, conv.channels_in, false)
}

/// The same of `[N, ..., C]`; `back` takes the places inside the kernel in reverse order.
fn rows_of(
    tape: &mut Tape<'_>,
    x: &str,
    window: &Window,
    (begin, end): (&[i64], &[i64]),
    places: &[usize],
    channels: usize,
    back: bool,
) -> Result<String> {
    let padded = pad(tape, x, 1, begin, end)?;
    let axes: Vec<usize> = (1..=places.len()).collect();
    let mut offsets = offsets(&window.kernel);
    if back {
        offsets.reverse();
    }
    let parts: Vec<String> =
        offsets.iter().map(|offset| slice(tape, &padded, offset, window, places, &axes)).collect::<Result<_>>()?;
    let whole = side_by_side(tape, &parts, places.len() + 1)?;
    tape.reshape(&whole, &[-1, int(channels * offsets.len())])
}

/// Spells the convolution as one product over the batch; its rows.
pub(super) fn as_product(tape: &mut Tape<'_>, call: &Call<'_>, conv: &Conv) -> Result<String> {
    let (x, weights, y) = (call.input(0)?, call.input(1)?, call.output(0)?);
    let Some(places) = &conv.places else { return Err(call.error("its lengths are not known")) };
    let axes = conv.axes();
    tape.respell(call.node, |tape| {
        let rows = columns(tape, x, conv, places)?;
        let perm: Vec<usize> = [0].into_iter().chain(2..axes + 2).chain([1]).collect();
        let matrix = tape.transpose(weights, &perm)?;
        let matrix = tape.reshape(&matrix, &[int(conv.channels_out), -1])?;
        let mut inputs = vec![rows.as_str(), &matrix];
        inputs.extend(call.node.given(2));
        let product = tape.with("Gemm", &inputs, vec![attribute("transB", Value::Int(1))])?;
        let apart = [&[-1], ints(places).as_slice(), &[int(conv.channels_out)]].concat();
        let last = tape.reshape(&product, &apart)?;
        let front: Vec<i64> = [0, int(axes) + 1].into_iter().chain(1..=int(axes)).collect();
        tape.make(y, "Transpose", &[&last], vec![attribute("perm", Value::Ints(front))])?;
        Ok(rows)
    })
}

/// `dx` as one product over the batch: the rows of `g`, spread by the strides, with the weights turned round.
pub(super) fn input_grad_as_product(
    tape: &mut Tape<'_>,
    conv: &Conv,
    grad: &str,
    weights: &str,
    (lengths, places): (&[usize], &[usize]),
) -> Result<String> {
    let window = &conv.window;
    let axes = conv.axes();
    let mut spread = channels_last(tape, grad)?;
    if window.strides.iter().any(|&stride| stride > 1) {
        let apart: Vec<usize> = (0..axes).map(|axis| 2 + 2 * axis).collect();
        spread = tape.unsqueeze(&spread, &apart)?;
        let zeros: Vec<i64> = window.strides.iter().flat_map(|&stride| [int(stride) - 1, 0]).collect();
        spread = pad(tape, &spread, 2, &vec![0; zeros.len()], &zeros)?;
        let long: Vec<i64> = (0..axes).map(|axis| int(places[axis] * window.strides[axis])).collect();
        spread = tape.reshape(&spread, &[&[-1], long.as_slice(), &[int(conv.channels_out)]].concat())?;
    }
    let begin: Vec<i64> = (0..axes).map(|axis| int(window.reach(axis) - 1) - int(window.begin[axis])).collect();
    let end: Vec<i64> = (0..axes)
        .map(|axis| {
            int(lengths[axis] + window.reach(axis) - 1) - int(places[axis] * window.strides[axis]) - begin[axis]
        })
        .collect();
    let dense = Window { strides: vec![1; axes], ..window.clone() };
    let rows = rows_of(tape, &spread, &dense, (&begin, &end), lengths, conv.channels_out, true)?;
    let perm: Vec<usize> = (2..axes + 2).chain([0, 1]).collect();
    let matrix = tape.transpose(weights, &perm)?;
    let matrix = tape.reshape(&matrix, &[-1, int(conv.channels_in)])?;
    let places_first = product(tape, (&rows, false), (&matrix, false), 1.0)?;
    let last = tape.reshape(&places_first, &[&[-1], ints(lengths).as_slice(), &[int(conv.channels_in)]].concat())?;
    let front: Vec<usize> = [0, axes + 1].into_iter().chain(1..=axes).collect();
    tape.transpose(&last, &front)
}
