//! This project's losses: their gradients are operators of their own, which take up what the forward operator saved.

use super::{Call, Rule, tape::Tape};
use crate::graph::{Result, head::DOMAIN};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "PDLoss" => pd_loss,
        "DLoss" => d_loss,
        "PDLossWithGrad" => with_grad,
        _ => return None,
    })
}

/// `PDLossGrad(g, embeddings, proxies, labels, moments, saved) -> (embeddings_grad, proxies_grad)`
fn pd_loss(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let [moments, saved] = state(tape, call)?;
    let inputs = [call.grad()?, call.input(0)?, call.input(1)?, call.input(2)?, &moments, &saved];
    let grads = tape.many("PDLossGrad", DOMAIN, &inputs, call.node.attribute.clone(), 2)?;
    Ok(grads.into_iter().map(Some).collect())
}

/// `DLossGrad(g, embeddings, labels, moments, saved) -> embeddings_grad`
fn d_loss(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let [moments, saved] = state(tape, call)?;
    let inputs = [call.grad()?, call.input(0)?, call.input(1)?, &moments, &saved];
    let grads = tape.many("DLossGrad", DOMAIN, &inputs, call.node.attribute.clone(), 1)?;
    Ok(grads.into_iter().map(Some).collect())
}

/// What the forward operator keeps for its gradient.
fn state(tape: &mut Tape<'_>, call: &Call<'_>) -> Result<[String; 2]> {
    Ok([tape.output(call.node, 1)?, tape.output(call.node, 2)?])
}

/// The operator has made both gradients already, for `g = 1`.
fn with_grad(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let grad = call.grad()?;
    (2..4).map(|index| Ok(Some(tape.op("Mul", &[call.output(index)?, grad])?))).collect()
}
