//! Operators that read or write elements at indices.

use super::{
    Call, Rule,
    layout::{axis, pad_to, zeros_like},
    tape::Tape,
};
use crate::graph::{
    Result,
    build::{Value, attribute, int},
    proto::AttributeProto,
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "ScatterElements" => scatter_elements,
        "ScatterND" => scatter_nd,
        "TopK" => top_k,
        _ => return None,
    })
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
    let (x, mut indices) = (call.input(0)?, call.input(1)?.to_owned());
    let stacks = usize::try_from(call.node.int("batch_dims", 0)).ok();
    let stacks = stacks.filter(|&stacks| tape.rank(&indices).is_ok_and(|rank| stacks < rank));
    let Some(stacks) = stacks else { return Err(call.error("its batch_dims do not fit its indices")) };
    // `ScatterND` has no stacks of its own: each index vector begins with its place in them.
    let rank = tape.rank(&indices)?;
    for axis in (0..stacks).rev() {
        let places = places(tape, &indices, axis, rank)?;
        indices = tape.with("Concat", &[&places, &indices], vec![attribute("axis", Value::Int(-1))])?;
    }
    let zeros = zeros_like(tape, x)?;
    let add = vec![attribute("reduction", Value::Text("add".to_owned()))];
    Ok(vec![Some(tape.with("ScatterND", &[&zeros, &indices, call.grad()?], add)?)])
}

/// For every index vector where it stands along an axis, `[..., 1]`.
fn places(tape: &mut Tape<'_>, indices: &str, axis: usize, rank: usize) -> Result<String> {
    let (zero, one) = (tape.int(0)?, tape.int(1)?);
    let whole = tape.shape_tensor(indices)?;
    let at = tape.int(int(axis))?;
    let length = tape.op("Gather", &[&whole, &at])?;
    let range = tape.op("Range", &[&zero, &length, &one])?;
    let mut column = vec![1; rank];
    column[axis] = -1;
    let range = tape.reshape(&range, &column)?;
    let (first, last) = (tape.ints(&[0])?, tape.ints(&[-1])?);
    let front = tape.op("Slice", &[&whole, &first, &last])?;
    let single = tape.ints(&[1])?;
    let target = tape.with("Concat", &[&front, &single], vec![attribute("axis", Value::Int(0))])?;
    tape.op("Expand", &[&range, &target])
}

/// Whether the updates of a scatter are added to what was there.
fn adds(call: &Call<'_>) -> Result<bool> {
    match call.node.text("reduction", "none") {
        "none" => Ok(false),
        "add" => Ok(true),
        other => Err(call.error(format!("its reduction is '{other}'; only 'none' and 'add' can be differentiated"))),
    }
}

/// Single elements, along an axis
fn scatter_elements(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let along = vec![attribute("axis", Value::Int(int(axis(tape, call, 0)?)))];
    scatter(tape, call, ["ScatterElements", "GatherElements"], &along)
}

/// Whole index vectors
fn scatter_nd(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    scatter(tape, call, ["ScatterND", "GatherND"], &[])
}

/// `y = x` with `u` at the indices: `dx = g` with zeros there, `du = g` there; where `u` is added, `dx = g`
fn scatter(tape: &mut Tape<'_>, call: &Call<'_>, [put, take]: [&str; 2], along: &[AttributeProto]) -> Grads {
    let (indices, grad, adds) = (call.input(1)?, call.grad()?, adds(call)?);
    let mut grads = vec![None, None, None];
    if call.wants(0) {
        grads[0] = Some(if adds {
            grad.to_owned()
        } else {
            let zeros = zeros_like(tape, call.input(2)?)?;
            tape.with(put, &[grad, indices, &zeros], along.to_vec())?
        });
    }
    if call.wants(2) {
        grads[2] = Some(tape.with(take, &[grad, indices], along.to_vec())?);
    }
    Ok(grads)
}

/// `y = ` the largest `x` along an axis: `dx = g` where they stood
fn top_k(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axis = axis(tape, call, -1)?;
    let places = tape.output(call.node, 1)?;
    let zeros = zeros_like(tape, call.input(0)?)?;
    let along = vec![attribute("axis", Value::Int(int(axis)))];
    Ok(vec![Some(tape.with("ScatterElements", &[&zeros, &places, call.grad()?], along)?)])
}
