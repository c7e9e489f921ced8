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
    if !tape.operators.are_of_library() {
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
    let (place, x, s) = match (tape.under(a, "Sigmoid"), tape.under(b, "Sigmoid")) {
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

/// `y = v (1 + erf(x / sqrt 2))`, where `v` is `x` or a multiple of it: GELU as exporters write it, but for a factor. All of the gradient,
/// by `v`, so that none goes by the other.
pub(super) fn gelu_by_erf(tape: &mut Tape<'_>, call: &Call<'_>) -> Result<Option<Vec<Option<String>>>> {
    for place in [0, 1] {
        let (v, bell) = (call.input(place)?, call.input(1 - place)?);
        let Some((x, factor)) = under_bell(tape, bell) else { continue };
        let is_multiple = v == x || tape.beside_number(v, "Mul").is_some_and(|(of, _)| of == x);
        let is_like = |name: &str| tape.shapes.shape(name).is_some_and(|shape| Some(shape) == tape.shapes.shape(x));
        let fits = tape.element(x)? == Element::F32 && is_like(v) && is_like(call.output(0)?);
        if !is_multiple || !fits || !call.wants(place) {
            continue;
        }
        // Twice the slope of GELU in either case: with `v = c x` it is `2 c` by `x`, and `x` is `v / c`.
        let made = activation(tape, call, "gelu", &[x], &[("factor", 2.0 * factor)])?;
        return Ok(made.map(|grad| {
            let mut grads = vec![None, None];
            grads[place] = Some(grad);
            grads
        }));
    }
    Ok(None)
}

/// The `x` and `c` of `c (1 + erf(x / sqrt 2))`.
fn under_bell<'a>(tape: &Tape<'a>, value: &str) -> Option<(&'a str, f64)> {
    use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
    let is = |number: f64, wanted: f64| (number - wanted).abs() < 1e-6;
    let (sum, factor) = tape.beside_number(value, "Mul").unzip();
    let (erf, one) = tape.beside_number(sum.unwrap_or(value), "Add")?;
    let scaled = tape.under(erf, "Erf").filter(|_| is(one, 1.0))?;
    let divided = || {
        let node = tape.maker(scaled, "Div")?;
        let (x, by) = (node.given(0)?, node.given(1)?);
        tape.number(by).filter(|&by| is(by, SQRT_2)).map(|_| x)
    };
    let product = tape.beside_number(scaled, "Mul").filter(|&(_, by)| is(by, FRAC_1_SQRT_2)).map(|(x, _)| x);
    Some((product.or_else(divided)?, factor.unwrap_or(1.0)))
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
