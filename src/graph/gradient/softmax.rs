//! Softmax and its logarithm.

use super::{Call, Rule, tape::Tape};
use crate::graph::{Result, shapes::axis_of};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Softmax" => softmax,
        "LogSoftmax" => log_softmax,
        _ => return None,
    })
}

fn axis(tape: &Tape<'_>, call: &Call<'_>) -> Result<usize> {
    let rank = tape.rank(call.output(0)?)?;
    axis_of(call.node.int("axis", -1), rank).ok_or_else(|| call.error(format!("its axis is none of {rank} axes")))
}

/// `dx = y (g - sum(g y))`
fn softmax(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (y, grad, axis) = (call.output(0)?, call.grad()?, axis(tape, call)?);
    let product = tape.op("Mul", &[grad, y])?;
    let sum = tape.sum(&product, &[axis], true)?;
    let rest = tape.op("Sub", &[grad, &sum])?;
    Ok(vec![Some(tape.op("Mul", &[y, &rest])?)])
}

/// `dx = g - exp(y) sum(g)`
fn log_softmax(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (grad, axis) = (call.grad()?, axis(tape, call)?);
    let sum = tape.sum(grad, &[axis], true)?;
    let share = tape.op("Exp", &[call.output(0)?])?;
    let taken = tape.op("Mul", &[&share, &sum])?;
    Ok(vec![Some(tape.op("Sub", &[grad, &taken])?)])
}
