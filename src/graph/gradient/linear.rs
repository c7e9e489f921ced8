//! Matrix products.

use super::{Call, Rule, tape::Tape};
use crate::graph::{
    Result,
    build::{Value, attribute, int},
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "MatMul" => mat_mul,
        "Gemm" => gemm,
        _ => return None,
    })
}

/// `scale A B` of two matrices, either of them turned first.
pub(super) fn product(
    tape: &mut Tape<'_>,
    (left, turn_left): (&str, bool),
    (right, turn_right): (&str, bool),
    scale: f64,
) -> Result<String> {
    #[expect(clippy::cast_possible_truncation, reason = "the attribute that it comes from has 32 bits")]
    let attributes = vec![
        attribute("transA", Value::Int(i64::from(turn_left))),
        attribute("transB", Value::Int(i64::from(turn_right))),
        attribute("alpha", Value::Float(scale as f32)),
    ];
    tape.with("Gemm", &[left, right], attributes)
}

/// The value with its last two axes exchanged. onnxruntime fuses this into the product that follows.
fn turned(tape: &mut Tape<'_>, value: &str) -> Result<String> {
    let rank = tape.rank(value)?;
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 1, rank - 2);
    tape.transpose(value, &perm)
}

/// `Y = A B` over stacks of matrices: `dA = G B', dB = A' G`, summed over stacks that were repeated. A matrix behind a stack
/// (a linear layer over tokens) sums inside one product: `dB = rows(A)' rows(G)`.
fn mat_mul(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (rank_a, rank_b) = (tape.rank(a)?, tape.rank(b)?);
    // Vectors become matrices of one row or column, and so does the gradient.
    let left = if rank_a == 1 { tape.unsqueeze(a, &[0])? } else { a.to_owned() };
    let right = if rank_b == 1 { tape.unsqueeze(b, &[1])? } else { b.to_owned() };
    let mut grad = call.grad()?.to_owned();
    if rank_b == 1 {
        let rank = tape.rank(&grad)?;
        grad = tape.unsqueeze(&grad, &[rank])?;
    }
    if rank_a == 1 {
        let rank = tape.rank(&grad)?;
        grad = tape.unsqueeze(&grad, &[rank - 1])?;
    }
    let (stacks, matrix_right) = (tape.rank(&left)?, tape.rank(&right)? == 2);
    let mut grads = vec![None, None];
    if call.wants(0) {
        let part = if stacks == 2 && matrix_right {
            product(tape, (&grad, false), (&right, true), 1.0)?
        } else {
            let turned = turned(tape, &right)?;
            tape.op("MatMul", &[&grad, &turned])?
        };
        let part = if rank_a == 1 { tape.unbroadcast(&part, &left)? } else { part };
        grads[0] = Some(if rank_a == 1 { tape.reshape_like(&part, a)? } else { tape.unbroadcast(&part, a)? });
    }
    if call.wants(1) {
        let part = if matrix_right {
            let rows = flat(tape, &left)?;
            let grad = flat(tape, &grad)?;
            product(tape, (&rows, true), (&grad, false), 1.0)?
        } else {
            let turned = turned(tape, &left)?;
            tape.op("MatMul", &[&turned, &grad])?
        };
        let part = tape.unbroadcast(&part, &right)?;
        grads[1] = Some(tape.reshape_like(&part, b)?);
    }
    Ok(grads)
}

/// All but the last axis as one.
fn flat(tape: &mut Tape<'_>, value: &str) -> Result<String> {
    let rank = tape.rank(value)?;
    if rank == 2 {
        return Ok(value.to_owned());
    }
    tape.with("Flatten", &[value], vec![attribute("axis", Value::Int(int(rank) - 1))])
}

/// `Y = alpha A B + beta C`, with `A` and `B` turned on demand: `dA = alpha G B', dB = alpha A' G, dC = beta G`
fn gemm(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (a, b, grad) = (call.input(0)?, call.input(1)?, call.grad()?);
    let turned = |name| call.node.int(name, 0) != 0;
    let (turn_a, turn_b) = (turned("transA"), turned("transB"));
    let alpha = call.node.float("alpha", 1.0);
    let mut grads = vec![None, None, None];
    if call.wants(0) {
        grads[0] = Some(if turn_a {
            product(tape, (b, turn_b), (grad, true), alpha)?
        } else {
            product(tape, (grad, false), (b, !turn_b), alpha)?
        });
    }
    if call.wants(1) {
        grads[1] = Some(if turn_b {
            product(tape, (grad, true), (a, turn_a), alpha)?
        } else {
            product(tape, (a, !turn_a), (grad, false), alpha)?
        });
    }
    if call.wants(2) {
        let part = tape.unbroadcast(grad, call.input(2)?)?;
        let beta = call.node.float("beta", 1.0);
        grads[2] = Some(if (beta - 1.0).abs() < f64::EPSILON {
            part
        } else {
            let beta = tape.scalar(beta, grad)?;
            tape.op("Mul", &[&part, &beta])?
        });
    }
    Ok(grads)
}
