//! Operators that move elements by axes: their gradients move them back.

use super::{Call, LARGEST, Rule, tape::Tape};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, int},
    shapes::{axis_of, layout, slice as slices},
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => reshape,
        "Transpose" => transpose,
        "Expand" => |tape, call| Ok(vec![Some(tape.unbroadcast(call.grad()?, call.input(0)?)?)]),
        "Concat" => concat,
        "Split" => split,
        "Slice" => slice,
        "Pad" => pad,
        "Trilu" => trilu,
        _ => return None,
    })
}

/// `dx = g` in the shape of `x`
fn reshape(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    Ok(vec![Some(tape.reshape_like(call.grad()?, call.input(0)?)?)])
}

/// `dx = g` with the axes put back
fn transpose(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let rank = tape.rank(call.input(0)?)?;
    let perm =
        layout::permutation(call.node, rank).ok_or_else(|| call.error(format!("perm does not fit {rank} axes")))?;
    let mut back = vec![0; rank];
    for (to, &from) in perm.iter().enumerate() {
        back[from] = to;
    }
    Ok(vec![Some(tape.transpose(call.grad()?, &back)?)])
}

pub(super) fn axis(tape: &Tape<'_>, call: &Call<'_>, default: i64) -> Result<usize> {
    let rank = tape.rank(call.input(0)?)?;
    axis_of(call.node.int("axis", default), rank).ok_or_else(|| call.error(format!("its axis is none of {rank} axes")))
}

/// The lengths of a value as a tensor, of one axis.
fn length(tape: &mut Tape<'_>, value: &str, axis: usize) -> Result<String> {
    if let Some(Dim::Known(length)) = tape.shape(value)?.get(axis) {
        return tape.ints(&[int(*length)]);
    }
    tape.with(
        "Shape",
        &[value],
        vec![attribute("start", Value::Int(int(axis))), attribute("end", Value::Int(int(axis) + 1))],
    )
}

/// `y = [a, b, ...]`: each gets its part of `g`
fn concat(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axis = axis(tape, call, 0)?;
    let count = call.node.input.len();
    if count == 1 {
        return Ok(vec![Some(call.grad()?.to_owned())]);
    }
    let shapes: Vec<Vec<Dim>> = (0..count).map(|index| tape.shape(call.input(index)?)).collect::<Result<_>>()?;
    let known =
        |shape: &Vec<Dim>| if let Some(Dim::Known(length)) = shape.get(axis) { Some(int(*length)) } else { None };
    let lengths = match shapes.iter().map(known).collect::<Option<Vec<i64>>>() {
        Some(lengths) => tape.ints(&lengths)?,
        None => {
            let parts: Vec<String> =
                (0..count).map(|index| length(tape, call.input(index)?, axis)).collect::<Result<_>>()?;
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            tape.with("Concat", &parts, vec![attribute("axis", Value::Int(0))])?
        }
    };
    let along = vec![attribute("axis", Value::Int(int(axis)))];
    let parts = tape.many("Split", "", &[call.grad()?, &lengths], along, count)?;
    Ok(parts.into_iter().map(Some).collect())
}

/// `y, z, ... = parts of x: dx = [g_y, g_z, ...]`, zeros for parts that the loss does not see
fn split(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axis = axis(tape, call, 0)?;
    let mut parts = Vec::new();
    for (index, grad) in call.grads.iter().enumerate() {
        parts.push(match grad {
            Some(grad) => grad.clone(),
            None => zeros_like(tape, call.output(index)?)?,
        });
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(vec![Some(tape.with("Concat", &parts, vec![attribute("axis", Value::Int(int(axis)))])?)])
}

pub(super) fn zeros_like(tape: &mut Tape<'_>, value: &str) -> Result<String> {
    let zero = tape.scalar(0.0, value)?;
    tape.expand_like(&zero, value)
}

/// `y = x[start : end : step]: dx` has `g` there and zeros elsewhere
fn slice(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, grad) = (call.input(0)?, call.grad()?);
    let shape = tape.shape(x)?;
    let Some(ranges) = slices::ranges(&tape.shapes, call.node, shape.len()) else {
        // Where it ends need not be known: the gradient is as long as what was taken.
        let Some(begin) = plain_starts(tape, call, shape.len()) else {
            return Err(call.error("its starts, axes and steps must be constants for its gradient"));
        };
        return Ok(vec![Some(pad_to(tape, grad, &begin, x)?)]);
    };
    let simple =
        ranges.iter().all(|range| range.step == 1 && (range.start >= 0 || matches!(shape[range.axis], Dim::Known(_))));
    if simple {
        let mut begin = vec![0; shape.len()];
        for range in &ranges {
            begin[range.axis] = match &shape[range.axis] {
                Dim::Known(length) => range.within(*length).map_or(0, |(start, _)| start),
                _ => range.start,
            };
        }
        return Ok(vec![Some(pad_to(tape, grad, &begin, x)?)]);
    }
    let mut part = grad.to_owned();
    let mut begin = vec![0; shape.len()];
    for range in &ranges {
        let (axis, length) = (range.axis, &shape[range.axis]);
        if range.step == 1 && range.start >= 0 && !matches!(length, Dim::Known(_)) {
            begin[axis] = range.start;
            continue;
        }
        let whole = tape.length(x, axis)?;
        let Some((start, count)) = range.within(whole) else { return Err(call.error("its step is 0")) };
        if range.step == 1 {
            begin[axis] = start;
            continue;
        }
        if whole > LARGEST {
            let reason =
                format!("it takes of {whole} elements by steps; its gradient is written for {LARGEST} at most");
            return Err(call.error(reason));
        }
        part = spread(tape, &part, axis, &positions(whole, start, range.step, count))?;
    }
    Ok(vec![Some(pad_to(tape, &part, &begin, x)?)])
}

/// Where a `Slice` without steps starts along each axis.
fn plain_starts(tape: &Tape<'_>, call: &Call<'_>, rank: usize) -> Option<Vec<i64>> {
    let starts = tape.shapes.setting(call.node, 1, "starts")?;
    let axes = match call.node.given(3) {
        Some(axes) => tape.shapes.integers(axes)?,
        None => (0..int(starts.len())).collect(),
    };
    let steps = call.node.given(4).map_or(Some(vec![1; starts.len()]), |steps| tape.shapes.integers(steps))?;
    let mut begin = vec![0; rank];
    for ((start, axis), step) in starts.into_iter().zip(axes).zip(steps) {
        if step != 1 || start < 0 {
            return None;
        }
        begin[axis_of(axis, rank)?] = start;
    }
    Some(begin)
}

/// For each of `whole` places which of `count` elements stands there; `count` where none does.
fn positions(whole: usize, start: i64, step: i64, count: usize) -> Vec<i64> {
    let mut places = vec![int(count); whole];
    for taken in 0..count {
        if let Some(place) = usize::try_from(start + step * int(taken)).ok().and_then(|at| places.get_mut(at)) {
            *place = int(taken);
        }
    }
    places
}

/// The elements along an axis at the places that want them, and zeros at those that want the one behind the last.
fn spread(tape: &mut Tape<'_>, part: &str, axis: usize, places: &[i64]) -> Result<String> {
    let rank = tape.rank(part)?;
    let mut amounts = vec![0; 2 * rank];
    amounts[rank + axis] = 1;
    let (amounts, zero, places) = (tape.ints(&amounts)?, tape.scalar(0.0, part)?, tape.ints(places)?);
    let longer = tape.op("Pad", &[part, &amounts, &zero])?;
    tape.with("Gather", &[&longer, &places], vec![attribute("axis", Value::Int(int(axis)))])
}

/// `part` surrounded by zeros in the shape of `whole`, `begin` of them in front.
pub(super) fn pad_to(tape: &mut Tape<'_>, part: &str, begin: &[i64], whole: &str) -> Result<String> {
    if tape.shapes.shape(part) == tape.shapes.shape(whole) && begin.iter().all(|&amount| amount == 0) {
        return Ok(part.to_owned());
    }
    let known = |tape: &Tape<'_>, value: &str| tape.shapes.shape(value).and_then(super::broadcast::numbers);
    let amounts = match (known(tape, part), known(tape, whole)) {
        (Some(inner), Some(outer)) => {
            let end = inner.iter().zip(outer).zip(begin).map(|((inner, outer), begin)| outer - inner - begin);
            let amounts: Vec<i64> = begin.iter().copied().chain(end).collect();
            if amounts.iter().all(|&amount| amount == 0) {
                return Ok(part.to_owned());
            }
            tape.ints(&amounts)?
        }
        _ => {
            let (outer, inner, begin) = (tape.shape_tensor(whole)?, tape.shape_tensor(part)?, tape.ints(begin)?);
            let missing = tape.op("Sub", &[&outer, &inner])?;
            let end = tape.op("Sub", &[&missing, &begin])?;
            tape.with("Concat", &[&begin, &end], vec![attribute("axis", Value::Int(0))])?
        }
    };
    let zero = tape.scalar(0.0, part)?;
    tape.op("Pad", &[part, &amounts, &zero])
}

/// `y = x` surrounded by constants: `dx` is the inner part of `g`. Where it is surrounded by its own elements, these also get
/// what their copies got.
fn pad(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, mode) = (call.input(0)?, call.node.text("mode", "constant"));
    let rank = tape.rank(x)?;
    let Some(amounts) = layout::pads(&tape.shapes, call.node, rank) else {
        return Err(call.error("its pads must be constants for its gradient"));
    };
    let axes: Vec<usize> = (0..rank).filter(|&axis| amounts[axis] != (0, 0)).collect();
    let takes_away = amounts.iter().any(|&(begin, end)| begin < 0 || end < 0);
    if mode != "constant" {
        if takes_away {
            return Err(call.error(format!("it takes elements away in mode '{mode}'; use Slice for that")));
        }
        let mut part = call.grad()?.to_owned();
        for axis in axes {
            let length = int(tape.length(x, axis)?);
            let copies = copies(mode, amounts[axis], length).map_err(|reason| call.error(reason))?;
            part = fold_back(tape, &part, axis, amounts[axis].0, length, &copies)?;
        }
        return Ok(vec![Some(part)]);
    }
    if axes.is_empty() {
        return Ok(vec![Some(call.grad()?.to_owned())]);
    }
    if takes_away {
        let front = amounts.iter().map(|(begin, _)| begin.saturating_neg());
        let back: Vec<i64> = front.chain(amounts.iter().map(|(_, end)| end.saturating_neg())).collect();
        let (back, zero) = (tape.ints(&back)?, tape.scalar(0.0, x)?);
        return Ok(vec![Some(tape.op("Pad", &[call.grad()?, &back, &zero])?)]);
    }
    let starts: Vec<i64> = axes.iter().map(|&axis| amounts[axis].0).collect();
    let back = |end: i64| if end == 0 { i64::MAX } else { -end };
    let ends: Vec<i64> = axes.iter().map(|&axis| back(amounts[axis].1)).collect();
    let axes: Vec<i64> = axes.into_iter().map(int).collect();
    let (starts, ends, axes) = (tape.ints(&starts)?, tape.ints(&ends)?, tape.ints(&axes)?);
    let inner = tape.op("Slice", &[call.grad()?, &starts, &ends, &axes])?;
    // The shape is that of the input, also where a length is a name.
    Ok(vec![Some(tape.reshape_like(&inner, call.input(0)?)?)])
}

/// Elements of a padded line that are copies: where they stand, and where what they copy does.
struct Copies {
    from: i64,
    count: i64,
    /// The copies run the other way.
    reversed: bool,
    /// All of them copy one element.
    same: bool,
    onto: i64,
}

/// The copies in front of and behind a line of `length` elements.
fn copies(mode: &str, (begin, end): (i64, i64), length: i64) -> std::result::Result<Vec<Copies>, String> {
    let behind = begin.saturating_add(length);
    let one = |from, count, onto| Copies { from, count, reversed: mode == "reflect", same: mode == "edge", onto };
    let (front, back, most) = match mode {
        "reflect" => (one(0, begin, 1), one(behind, end, length - 1 - end), length - 1),
        "edge" => (one(0, begin, 0), one(behind, end, length - 1), i64::MAX),
        "wrap" => (one(0, begin, length - begin), one(behind, end, 0), length),
        _ => return Err(format!("its mode is '{mode}'; wanted constant, reflect, edge or wrap for its gradient")),
    };
    if begin.max(end) > most {
        return Err(format!("it pads {length} elements by {begin} and {end} in mode '{mode}', more than there are"));
    }
    Ok([front, back].into_iter().filter(|copies| copies.count > 0).collect())
}

/// The inner `length` elements of a padded line, which start at `begin`, and on top of them what their copies have.
fn fold_back(
    tape: &mut Tape<'_>,
    grad: &str,
    axis: usize,
    begin: i64,
    length: i64,
    copies: &[Copies],
) -> Result<String> {
    let rank = tape.rank(grad)?;
    let cut = |tape: &mut Tape<'_>, start: i64, end: i64, step: i64| {
        let (start, end, step) = (tape.ints(&[start])?, tape.ints(&[end])?, tape.ints(&[step])?);
        let axis = tape.ints(&[int(axis)])?;
        tape.op("Slice", &[grad, &start, &end, &axis, &step])
    };
    let mut parts = vec![cut(tape, begin, begin.saturating_add(length), 1)?];
    for copy in copies {
        let last = copy.from.saturating_add(copy.count);
        let mut part = if copy.reversed {
            // An end of -1 would be the last element.
            let end = if copy.from == 0 { i64::MIN + 1 } else { copy.from - 1 };
            cut(tape, last - 1, end, -1)?
        } else {
            cut(tape, copy.from, last, 1)?
        };
        if copy.same {
            part = tape.sum(&part, &[axis], true)?;
        }
        let mut amounts = vec![0; 2 * rank];
        amounts[axis] = copy.onto;
        amounts[rank + axis] = length - copy.onto - if copy.same { 1 } else { copy.count };
        let (amounts, zero) = (tape.ints(&amounts)?, tape.scalar(0.0, &part)?);
        parts.push(tape.op("Pad", &[&part, &amounts, &zero])?);
    }
    tape.total(&parts)
}

/// `y = x` on one side of the diagonal, 0 on the other: `dx = g` there
fn trilu(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let mut inputs = vec![call.grad()?];
    inputs.extend(call.node.given(1));
    let upper = attribute("upper", Value::Int(call.node.int("upper", 1)));
    Ok(vec![Some(tape.with("Trilu", &inputs, vec![upper])?)])
}
