//! Reductions. `g` and `y` stand for the output and its gradient with the reduced axes put back, repeated along them.

use super::{Call, Rule, tape::Tape};
use crate::graph::{
    Result,
    build::Dim,
    shapes::{axis_of, dims, reduction},
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "ReduceSum" => sum,
        "ReduceMean" => mean,
        "ReduceSumSquare" => sum_square,
        "ReduceL1" => l1,
        "ReduceL2" => l2,
        "ReduceMax" | "ReduceMin" => extreme,
        "ReduceLogSum" => log_sum,
        "ReduceLogSumExp" => log_sum_exp,
        "LpNormalization" => normalization,
        _ => return None,
    })
}

/// The axes that the node reduces.
fn axes(tape: &Tape<'_>, call: &Call<'_>) -> Result<Vec<usize>> {
    let rank = tape.rank(call.input(0)?)?;
    match reduction::axes(&tape.shapes, call.node, rank) {
        Some(Some(axes)) => Ok(axes),
        Some(None) => Err(call.error("it reduces no axis (noop_with_empty_axes); leave the node out")),
        None => Err(call.error("its axes must be constants for its gradient")),
    }
}

/// The output, or its gradient, with the reduced axes put back with length 1.
fn put_back(tape: &mut Tape<'_>, call: &Call<'_>, value: &str, axes: &[usize]) -> Result<String> {
    if call.node.int("keepdims", 1) != 0 { Ok(value.to_owned()) } else { tape.unsqueeze(value, axes) }
}

/// `dx = g`
fn sum(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let x = call.input(0)?;
    if reduction::axes(&tape.shapes, call.node, tape.rank(x)?) == Some(None) {
        return Ok(vec![Some(call.grad()?.to_owned())]);
    }
    let axes = axes(tape, call)?;
    let grad = put_back(tape, call, call.grad()?, &axes)?;
    Ok(vec![Some(tape.expand_like(&grad, x)?)])
}

/// `dx = g / n`
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
fn mean(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, axes) = (call.input(0)?, axes(tape, call)?);
    let shape = tape.shape(x)?;
    let reduced: Vec<Dim> = axes.iter().map(|&axis| shape[axis].clone()).collect();
    let count = match dims::product(&reduced) {
        (count, names) if names.is_empty() => tape.scalar(count as f64, x)?,
        _ => {
            let (whole, left) = (tape.op("Size", &[x])?, tape.op("Size", &[call.output(0)?])?);
            let count = tape.op("Div", &[&whole, &left])?;
            tape.cast_like(&count, x)?
        }
    };
    let share = tape.op("Div", &[call.grad()?, &count])?;
    let share = put_back(tape, call, &share, &axes)?;
    Ok(vec![Some(tape.expand_like(&share, x)?)])
}

/// `y = sum(x x): dx = 2 g x`
fn sum_square(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axes = axes(tape, call)?;
    let two = tape.scalar(2.0, call.input(0)?)?;
    let double = tape.op("Mul", &[call.grad()?, &two])?;
    let double = put_back(tape, call, &double, &axes)?;
    Ok(vec![Some(tape.op("Mul", &[call.input(0)?, &double])?)])
}

/// `y = sum |x|: dx = g sign(x)`
fn l1(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axes = axes(tape, call)?;
    let grad = put_back(tape, call, call.grad()?, &axes)?;
    let sign = tape.op("Sign", &[call.input(0)?])?;
    Ok(vec![Some(tape.op("Mul", &[&sign, &grad])?)])
}

/// `y = |x|: dx = g x / y`, 0 where `y = 0`
fn l2(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axes = axes(tape, call)?;
    let ratio = over_length(tape, call.grad()?, call.output(0)?)?;
    let ratio = put_back(tape, call, &ratio, &axes)?;
    Ok(vec![Some(tape.op("Mul", &[call.input(0)?, &ratio])?)])
}

/// `value / length`, 0 where the length is 0.
fn over_length(tape: &mut Tape<'_>, value: &str, length: &str) -> Result<String> {
    let (zero, one) = (tape.scalar(0.0, length)?, tape.scalar(1.0, length)?);
    let empty = tape.op("Equal", &[length, &zero])?;
    let safe = tape.op("Where", &[&empty, &one, length])?;
    let ratio = tape.op("Div", &[value, &safe])?;
    tape.op("Where", &[&empty, &zero, &ratio])
}

/// `y = max(x): dx = g / k` for the `k` elements that equal `y`
fn extreme(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, axes) = (call.input(0)?, axes(tape, call)?);
    let best = put_back(tape, call, call.output(0)?, &axes)?;
    let grad = put_back(tape, call, call.grad()?, &axes)?;
    let equal = tape.op("Equal", &[x, &best])?;
    let mask = tape.cast_like(&equal, x)?;
    let count = tape.sum(&mask, &axes, true)?;
    let share = tape.op("Div", &[&grad, &count])?;
    Ok(vec![Some(tape.op("Mul", &[&mask, &share])?)])
}

/// `y = log sum(x): dx = g / exp(y)`
fn log_sum(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axes = axes(tape, call)?;
    let total = tape.op("Exp", &[call.output(0)?])?;
    let share = tape.op("Div", &[call.grad()?, &total])?;
    let share = put_back(tape, call, &share, &axes)?;
    Ok(vec![Some(tape.expand_like(&share, call.input(0)?)?)])
}

/// `y = log sum(exp x): dx = g exp(x - y)`
fn log_sum_exp(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let axes = axes(tape, call)?;
    let whole = put_back(tape, call, call.output(0)?, &axes)?;
    let grad = put_back(tape, call, call.grad()?, &axes)?;
    let away = tape.op("Sub", &[call.input(0)?, &whole])?;
    let share = tape.op("Exp", &[&away])?;
    Ok(vec![Some(tape.op("Mul", &[&share, &grad])?)])
}

/// `y = x / |x|_p` along one axis: `dx = (g - sum(g y) d|x|/dx) / |x|`, where `d|x|/dx` is `y` for `p = 2` and `sign(x)` for
/// `p = 1`
fn normalization(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, y, grad) = (call.input(0)?, call.output(0)?, call.grad()?);
    let rank = tape.rank(x)?;
    let Some(axis) = axis_of(call.node.int("axis", -1), rank) else {
        return Err(call.error(format!("its axis is none of {rank} axes")));
    };
    let (norm, slope) = match call.node.int("p", 2) {
        1 => ("ReduceL1", tape.op("Sign", &[x])?),
        2 => ("ReduceL2", y.to_owned()),
        p => return Err(call.error(format!("attribute p is {p}, wanted 1 or 2"))),
    };
    let length = tape.reduce(norm, x, &[axis], true)?;
    let product = tape.op("Mul", &[grad, y])?;
    let along = tape.sum(&product, &[axis], true)?;
    let part = tape.op("Mul", &[&along, &slope])?;
    let across = tape.op("Sub", &[grad, &part])?;
    Ok(vec![Some(over_length(tape, &across, &length)?)])
}
