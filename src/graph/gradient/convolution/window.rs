//! What a kernel meets as it moves over an image: padding, and the elements at each place inside the kernel.

use super::{Conv, Tape, int, ints};
use crate::graph::{
    Result,
    build::{Value, attribute},
    shapes::window::Window,
};

/// For each place inside the kernel, the elements of `x` that it meets: `[N, C, places...]`.
pub(super) fn slices(tape: &mut Tape<'_>, conv: &Conv, x: &str, places: &[usize]) -> Result<Vec<String>> {
    let window = &conv.window;
    let padded = pad(tape, x, 2, &ints(&window.begin), &ints(&window.end))?;
    let axes: Vec<usize> = (2..conv.axes() + 2).collect();
    offsets(&window.kernel).iter().map(|offset| slice(tape, &padded, offset, window, places, &axes)).collect()
}

/// Every place inside a kernel, the last axis fastest.
pub(super) fn offsets(kernel: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &length in kernel {
        let longer = |front: &Vec<usize>| (0..length).map(|at| [front.as_slice(), &[at]].concat()).collect::<Vec<_>>();
        all = all.iter().flat_map(longer).collect();
    }
    all
}

pub(super) fn slice(
    tape: &mut Tape<'_>,
    padded: &str,
    offset: &[usize],
    window: &Window,
    places: &[usize],
    axes: &[usize],
) -> Result<String> {
    let start = |axis: usize| int(offset[axis] * window.dilations[axis]);
    let starts: Vec<i64> = (0..axes.len()).map(start).collect();
    let span = |axis: usize| int((places[axis] - 1) * window.strides[axis] + 1);
    let ends: Vec<i64> = (0..axes.len()).map(|axis| starts[axis] + span(axis)).collect();
    if (0..axes.len()).all(|axis| tape.length(padded, axes[axis]).is_ok_and(|length| span(axis) == int(length)))
        && window.strides.iter().all(|&stride| stride == 1)
    {
        return Ok(padded.to_owned());
    }
    let (starts, ends) = (tape.ints(&starts)?, tape.ints(&ends)?);
    let (axes, steps) = (tape.ints(&ints(axes))?, tape.ints(&ints(&window.strides))?);
    tape.op("Slice", &[padded, &starts, &ends, &axes, &steps])
}

/// Zeros around the axes from `first` on.
pub(super) fn pad(tape: &mut Tape<'_>, x: &str, first: usize, begin: &[i64], end: &[i64]) -> Result<String> {
    if begin.iter().chain(end).all(|&amount| amount == 0) {
        return Ok(x.to_owned());
    }
    let rank = tape.rank(x)?;
    let around = |amounts: &[i64]| {
        let mut all = vec![0; rank];
        all[first..first + amounts.len()].copy_from_slice(amounts);
        all
    };
    let amounts = tape.ints(&[around(begin), around(end)].concat())?;
    let zero = tape.scalar(0.0, x)?;
    tape.op("Pad", &[x, &amounts, &zero])
}

/// `Concat`, or the only part.
pub(super) fn side_by_side(tape: &mut Tape<'_>, parts: &[String], axis: usize) -> Result<String> {
    if let [only] = parts {
        return Ok(only.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    tape.with("Concat", &parts, vec![attribute("axis", Value::Int(int(axis)))])
}
