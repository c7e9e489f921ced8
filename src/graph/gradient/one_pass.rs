//! Gradients of activations as one node of this project's domain, which goes over the numbers once and keeps no masks.
//!
//! The formulas are those of the rules in standard operators, which [`super::activation`] has beside these.

use super::{Call, tape::Tape};
use crate::graph::{
    Result,
    build::{Element, Value, attribute, decimal},
    head::DOMAIN,
};

/// The operator.
const ACTIVATION_GRAD: &str = "ActivationGrad";

/// The gradient by the operator, of the tensors that it is made from beside that of the output, where operators may be written.
pub(super) fn activation(
    tape: &mut Tape<'_>,
    call: &Call<'_>,
    name: &str,
    kept: &[&str],
    settings: &[(&str, f64)],
) -> Result<Option<String>> {
    if !tape.fused {
        return Ok(None);
    }
    let mut attributes = vec![attribute("activation", Value::Text(name.to_owned()))];
    attributes.extend(settings.iter().map(|&(name, value)| decimal(name, value)));
    let inputs = [&[call.grad()?], kept].concat();
    let mut made = tape.many(ACTIVATION_GRAD, DOMAIN, &inputs, attributes, 1)?;
    Ok(made.pop())
}

/// `y = x s`, where `s` is the sigmoid of `x`: all of the gradient of `x`, so that none goes by `s`.
pub(super) fn silu(tape: &mut Tape<'_>, call: &Call<'_>) -> Result<Option<Vec<Option<String>>>> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (place, x, s) = match (tape.under_sigmoid(a), tape.under_sigmoid(b)) {
        (_, Some(x)) if x == a => (0, a, b),
        (Some(x), _) if x == b => (1, b, a),
        _ => return Ok(None),
    };
    if !call.wants(place) {
        return Ok(None);
    }
    let made = activation(tape, call, "silu", &[x, s], &[])?;
    Ok(made.map(|grad| {
        let mut grads = vec![None, None];
        grads[place] = Some(grad);
        grads
    }))
}

/// Clip with bounds that are constants of the graph.
pub(super) fn clip(tape: &mut Tape<'_>, call: &Call<'_>) -> Result<Option<String>> {
    let mut settings = Vec::new();
    for (index, name) in [(1, "low"), (2, "high")] {
        if let Some(bound) = call.node.given(index) {
            match tape.number(bound) {
                Some(bound) => settings.push((name, bound)),
                None => return Ok(None),
            }
        }
    }
    if settings.is_empty() {
        return Ok(None);
    }
    activation(tape, call, "clip", &[call.output(0)?], &settings)
}

/// GELU in float32; the operator has no other.
pub(super) fn gelu(tape: &mut Tape<'_>, call: &Call<'_>, approximate: &str) -> Result<Option<String>> {
    let x = call.input(0)?;
    if tape.element(x)? != Element::F32 {
        return Ok(None);
    }
    activation(tape, call, if approximate == "tanh" { "gelu-tanh" } else { "gelu" }, &[x], &[])
}
