//! This project's operators. Gradients of losses are operators of their own, which take up what the forward operator saved.
//!
//! Of the exchanges between ranks: what follows a gather is computed by every rank alike, so its gradient is whole on each; what
//! follows a sum is each rank's own, so its gradient is the sum of theirs.

use super::{Call, Rule, tape::Tape};
use crate::graph::{Result, collective, head::DOMAIN};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "PDLoss" => pd_loss,
        "DLoss" => d_loss,
        "PDLossWithGrad" => with_grad,
        collective::ALL_GATHER => all_gather,
        collective::ALL_REDUCE => all_reduce,
        collective::PD_LOSS_OVER_RANKS => over_ranks,
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
    if call.node.input.get(3).is_some_and(|name| !name.is_empty()) {
        return Err(call.error("its gradients are those of loss_grad * loss: leave loss_grad out, or use PDLoss"));
    }
    let grad = call.grad()?;
    (2..4).map(|index| Ok(Some(tape.op("Mul", &[call.output(index)?, grad])?))).collect()
}

/// As [`with_grad`], behind the token.
fn over_ranks(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let Some(Some(grad)) = call.grads.get(1) else { return Err(call.error("only its loss can have a gradient")) };
    let [embeddings, proxies] = [3, 4].map(|index| tape.op("Mul", &[call.output(index)?, grad]).map(Some));
    Ok(vec![None, embeddings?, proxies?, None])
}

/// `y = rows of all ranks: dx = the rank's own rows of g`
fn all_gather(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let Some(Some(grad)) = call.grads.get(1) else { return Err(call.error("only its rows can have a gradient")) };
    let first = tape.output(call.node, 2)?;
    let first = tape.unsqueeze(&first, &[0])?;
    let shape = tape.op("Shape", &[call.input(1)?])?;
    let (zero, one) = (tape.ints(&[0])?, tape.ints(&[1])?);
    let count = tape.op("Slice", &[&shape, &zero, &one])?;
    let end = tape.op("Add", &[&first, &count])?;
    Ok(vec![None, Some(tape.op("Slice", &[grad, &first, &end, &zero])?)])
}

/// `y = sum of x over all ranks: dx = sum of g over all ranks`
fn all_reduce(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let mut answer = vec![None; call.node.input.len()];
    let given = call.grads.iter().enumerate().skip(1).filter_map(|(index, grad)| Some((index, grad.as_deref()?)));
    let (places, grads): (Vec<usize>, Vec<&str>) = given.unzip();
    for (place, sum) in places.into_iter().zip(tape.all_reduce(&grads)?) {
        answer[place] = Some(sum);
    }
    Ok(answer)
}
