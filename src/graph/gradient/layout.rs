//! Operators that move elements: their gradients move them back.

use super::{Call, LARGEST, Rule, tape::Tape};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, int},
    shapes::{axis_of, layout},
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
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
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

fn axis(tape: &Tape<'_>, call: &Call<'_>, default: i64) -> Result<usize> {
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

fn zeros_like(tape: &mut Tape<'_>, value: &str) -> Result<String> {
    let zero = tape.scalar(0.0, value)?;
    tape.expand_like(&zero, value)
}

/// `y = x[start : end : step]: dx` has `g` there and zeros elsewhere
fn slice(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, grad) = (call.input(0)?, call.grad()?);
    let shape = tape.shape(x)?;
    let Some(ranges) = layout::slice_ranges(&tape.shapes, call.node, shape.len()) else {
        return Err(call.error("its starts, ends, axes and steps must be constants for its gradient"));
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
    // One axis after the other, last first, each into zeros as long as the axis was.
    let mut part = grad.to_owned();
    let mut longer = tape.shape(call.output(0)?)?;
    for range in ranges.iter().rev() {
        let whole = tape.length(x, range.axis)?;
        let Some((start, count)) = range.within(whole) else { return Err(call.error("its step is 0")) };
        if count > LARGEST {
            let reason = format!("it takes {count} elements by steps; its gradient is written for {LARGEST} at most");
            return Err(call.error(reason));
        }
        let positions: Vec<i64> = (0..count).map(|step| start + range.step * int(step)).collect();
        longer[range.axis] = Dim::Known(whole);
        let mut column = vec![1; shape.len()];
        column[range.axis] = int(count);
        let positions = tape.ints(&positions)?;
        let positions = tape.reshape(&positions, &column)?;
        let positions = {
            let shape = tape.shape_tensor(&part)?;
            tape.op("Expand", &[&positions, &shape])?
        };
        let empty = {
            let Some(lengths) = super::tape::numbers(&longer) else {
                return Err(call.error("with steps other than 1 all lengths must be known for its gradient"));
            };
            let zero = tape.scalar(0.0, x)?;
            let lengths = tape.ints(&lengths)?;
            tape.op("Expand", &[&zero, &lengths])?
        };
        let along = vec![attribute("axis", Value::Int(int(range.axis)))];
        part = tape.with("ScatterElements", &[&empty, &positions, &part], along)?;
    }
    Ok(vec![Some(part)])
}

/// `part` surrounded by zeros in the shape of `whole`, `begin` of them in front.
fn pad_to(tape: &mut Tape<'_>, part: &str, begin: &[i64], whole: &str) -> Result<String> {
    let known = |tape: &Tape<'_>, value: &str| tape.shapes.shape(value).and_then(super::tape::numbers);
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

/// `y = x` surrounded by constants: `dx` is the inner part of `g`
fn pad(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let mode = call.node.text("mode", "constant");
    if mode != "constant" {
        return Err(call.error(format!("its mode is '{mode}'; only 'constant' can be differentiated")));
    }
    let rank = tape.rank(call.input(0)?)?;
    let Some(amounts) = layout::pads(&tape.shapes, call.node, rank) else {
        return Err(call.error("its pads must be constants for its gradient"));
    };
    if amounts.iter().any(|&(begin, end)| begin < 0 || end < 0) {
        return Err(call.error("it takes elements away; use Slice for that"));
    }
    let axes: Vec<usize> = (0..rank).filter(|&axis| amounts[axis] != (0, 0)).collect();
    if axes.is_empty() {
        return Ok(vec![Some(call.grad()?.to_owned())]);
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

/// `y = x[indices]` along an axis: `dx` collects `g` where the indices point
fn gather(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, indices, grad) = (call.input(0)?, call.input(1)?, call.grad()?);
    let (axis, rank) = (axis(tape, call, 0)?, tape.rank(x)?);
    let index_rank = tape.rank(indices)?;
    if let (Some(&[index]), 0) = (tape.shapes.integers(indices).as_deref(), index_rank)
        && index >= 0
    {
        let part = tape.unsqueeze(grad, &[axis])?;
        let mut begin = vec![0; rank];
        begin[axis] = index;
        return Ok(vec![Some(pad_to(tape, &part, &begin, x)?)]);
    }
    // With the axis in front, each index names one slice.
    let mut front: Vec<usize> = (0..rank).collect();
    front[..=axis].rotate_right(1);
    let mut grad_front: Vec<usize> = (axis..axis + index_rank).collect();
    grad_front.extend((0..axis).chain(axis + index_rank..rank + index_rank - 1));
    let zeros = zeros_like(tape, x)?;
    let zeros = tape.transpose(&zeros, &front)?;
    let column = tape.unsqueeze(indices, &[index_rank])?;
    let grad = tape.transpose(grad, &grad_front)?;
    let add = vec![attribute("reduction", Value::Text("add".to_owned()))];
    let sum = tape.with("ScatterND", &[&zeros, &column, &grad], add)?;
    let mut back: Vec<usize> = (0..rank).collect();
    back[..=axis].rotate_left(1);
    Ok(vec![Some(tape.transpose(&sum, &back)?)])
}

/// `y_i.. = x_(index_i)..`: `dx` collects `g` where the indices point
fn gather_elements(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axis = axis(tape, call, 0)?;
    let zeros = zeros_like(tape, call.input(0)?)?;
    let add = vec![attribute("axis", Value::Int(int(axis))), attribute("reduction", Value::Text("add".to_owned()))];
    Ok(vec![Some(tape.with("ScatterElements", &[&zeros, call.input(1)?, call.grad()?], add)?)])
}

/// The same with whole index vectors
fn gather_nd(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if call.node.int("batch_dims", 0) != 0 {
        return Err(call.error("with batch_dims other than 0 it cannot be differentiated"));
    }
    let zeros = zeros_like(tape, call.input(0)?)?;
    let add = vec![attribute("reduction", Value::Text("add".to_owned()))];
    Ok(vec![Some(tape.with("ScatterND", &[&zeros, call.input(1)?, call.grad()?], add)?)])
}
