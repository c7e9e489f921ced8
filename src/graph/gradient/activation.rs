//! Activations.

use super::{Call, Rule, one_pass, tape::Tape};
use crate::graph::{Result, proto::NodeProto};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Relu" => relu,
        "LeakyRelu" => leaky_relu,
        "PRelu" => p_relu,
        "Clip" => clip,
        "Sigmoid" => sigmoid,
        "HardSigmoid" => hard_sigmoid,
        "HardSwish" => hard_swish,
        "Tanh" => tanh,
        "Erf" => erf,
        "Gelu" => gelu,
        "Softplus" => softplus,
        "Elu" => elu,
        // Without a mask (`training_mode` is written out beforehand) it does nothing.
        "Dropout" => |_, call| match call.node.given(2) {
            None => Ok(vec![Some(call.grad()?.to_owned())]),
            Some(_) => Err(call.error("wanted inference mode; prepare the model for training first")),
        },
        _ => return None,
    })
}

/// What onnxruntime's own domain has of these.
pub(super) fn rule_of_microsoft(node: &NodeProto) -> Option<Rule> {
    (node.domain() == "com.microsoft" && node.op_type() == "Gelu").then_some(gelu as Rule)
}

/// `g` where the condition holds, else 0: a product, because onnxruntime's `Where` takes many times as long.
fn gate(tape: &mut Tape<'_>, condition: &str, grad: &str) -> Result<String> {
    let mask = tape.cast_like(condition, grad)?;
    tape.op("Mul", &[grad, &mask])
}

/// `y = max(x, 0): dx = g` where `y > 0`, else 0
fn relu(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let y = call.output(0)?;
    if let Some(grad) = one_pass::activation(tape, call, "relu", &[y], &[])? {
        return Ok(vec![Some(grad)]);
    }
    let zero = tape.scalar(0.0, y)?;
    let positive = tape.op("Greater", &[y, &zero])?;
    Ok(vec![Some(gate(tape, &positive, call.grad()?)?)])
}

/// `y = x` where `x > 0`, else `alpha x`: `dx = g` or `alpha g`
fn leaky_relu(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (alpha, grad) = (call.node.float("alpha", 0.01), call.grad()?);
    // Where `alpha > 0`, `y` has the sign of `x`, which then need not be kept.
    let sign = if alpha > 0.0 { call.output(0)? } else { call.input(0)? };
    if let Some(grad) = one_pass::activation(tape, call, "leaky-relu", &[sign], &[("alpha", alpha)])? {
        return Ok(vec![Some(grad)]);
    }
    let zero = tape.scalar(0.0, sign)?;
    let positive = tape.op("Greater", &[sign, &zero])?;
    let small = tape.scaled(grad, alpha)?;
    Ok(vec![Some(tape.op("Where", &[&positive, grad, &small])?)])
}

/// `y = x` where `x >= 0`, else `a x`: `dx = g` or `a g`, `da = 0` or `g x`
fn p_relu(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, slope, grad) = (call.input(0)?, call.input(1)?, call.grad()?);
    let zero = tape.scalar(0.0, x)?;
    let negative = tape.op("Less", &[x, &zero])?;
    let mut grads = vec![None, None];
    if call.wants(0) {
        let small = tape.op("Mul", &[grad, slope])?;
        grads[0] = Some(tape.op("Where", &[&negative, &small, grad])?);
    }
    if call.wants(1) {
        let product = tape.op("Mul", &[grad, x])?;
        let masked = gate(tape, &negative, &product)?;
        grads[1] = Some(tape.unbroadcast(&masked, slope)?);
    }
    Ok(grads)
}

/// `y = min(max(x, low), high): dx = g` where `low < y < high`, else 0
///
/// At a bound it is 0, as with `Relu`. By `y`, which the next operator keeps for its own gradient: `x` need not be kept, and
/// onnxruntime can clip in the convolution that makes it.
fn clip(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if call.wants(1) || call.wants(2) {
        return Err(call.error("its bounds cannot be trained"));
    }
    if let Some(grad) = one_pass::clip(tape, call)? {
        return Ok(vec![Some(grad)]);
    }
    let (y, grad) = (call.output(0)?, call.grad()?);
    let mut inside = Vec::new();
    for (index, compare) in [(1, "Greater"), (2, "Less")] {
        if let Some(bound) = call.node.given(index) {
            inside.push(tape.op(compare, &[y, bound])?);
        }
    }
    let inside = match inside.as_slice() {
        [] => return Ok(vec![Some(grad.to_owned())]),
        [one] => one.clone(),
        [above, below, ..] => tape.op("And", &[above, below])?,
    };
    Ok(vec![Some(gate(tape, &inside, grad)?)])
}

/// `dx = g y (1 - y)`
fn sigmoid(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let y = call.output(0)?;
    if let Some(grad) = one_pass::activation(tape, call, "sigmoid", &[y], &[])? {
        return Ok(vec![Some(grad)]);
    }
    let one = tape.scalar(1.0, y)?;
    let rest = tape.op("Sub", &[&one, y])?;
    let slope = tape.op("Mul", &[y, &rest])?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &slope])?)])
}

/// `y = clip(alpha x + beta, 0, 1): dx = alpha g` where `0 < y < 1`, else 0
fn hard_sigmoid(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (y, alpha) = (call.output(0)?, call.node.float("alpha", 0.2));
    if let Some(grad) = one_pass::activation(tape, call, "hard-sigmoid", &[y], &[("alpha", alpha)])? {
        return Ok(vec![Some(grad)]);
    }
    let inside = within(tape, y, 0.0, 1.0)?;
    let grad = tape.scaled(call.grad()?, alpha)?;
    Ok(vec![Some(gate(tape, &inside, &grad)?)])
}

fn within(tape: &mut Tape<'_>, value: &str, low: f64, high: f64) -> Result<String> {
    let (low, high) = (tape.scalar(low, value)?, tape.scalar(high, value)?);
    let above = tape.op("Greater", &[value, &low])?;
    let below = tape.op("Less", &[value, &high])?;
    tape.op("And", &[&above, &below])
}

/// `y = x clip(x / 6 + 1 / 2, 0, 1): dx = 0` below -3, `g` above 3, `g (x / 3 + 1 / 2)` between
fn hard_swish(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, grad) = (call.input(0)?, call.grad()?);
    if let Some(grad) = one_pass::activation(tape, call, "hard-swish", &[x], &[])? {
        return Ok(vec![Some(grad)]);
    }
    let inside = within(tape, x, -3.0, 3.0)?;
    let zero = tape.scalar(0.0, x)?;
    let positive = tape.op("Greater", &[x, &zero])?;
    let outside = gate(tape, &positive, grad)?;
    let third = tape.scaled(x, 1.0 / 3.0)?;
    let slope = tape.shifted(&third, 0.5)?;
    let middle = tape.op("Mul", &[grad, &slope])?;
    Ok(vec![Some(tape.op("Where", &[&inside, &middle, &outside])?)])
}

/// `dx = g (1 - y y)`
fn tanh(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let y = call.output(0)?;
    if let Some(grad) = one_pass::activation(tape, call, "tanh", &[y], &[])? {
        return Ok(vec![Some(grad)]);
    }
    let square = tape.op("Mul", &[y, y])?;
    let one = tape.scalar(1.0, y)?;
    let slope = tape.op("Sub", &[&one, &square])?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &slope])?)])
}

/// `dx = g 2 / sqrt(pi) exp(-x x)`
fn erf(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let bell = bell(tape, call.input(0)?, 1.0, std::f64::consts::FRAC_2_SQRT_PI)?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &bell])?)])
}

/// `height exp(-steepness x x)`
fn bell(tape: &mut Tape<'_>, x: &str, steepness: f64, height: f64) -> Result<String> {
    let square = tape.op("Mul", &[x, x])?;
    let exponent = tape.scaled(&square, -steepness)?;
    let bell = tape.op("Exp", &[&exponent])?;
    tape.scaled(&bell, height)
}

/// `y = x (1 + erf(x / sqrt 2)) / 2: dx = g ((1 + erf(x / sqrt 2)) / 2 + x exp(-x x / 2) / sqrt(2 pi))`;
/// with `approximate = "tanh"`, `y = x (1 + t) / 2` where `t = tanh(c (x + a x^3))`, `c = sqrt(2 / pi)`, `a = 0.044715`:
/// `dx = g ((1 + t) / 2 + x (1 - t t) c (1 + 3 a x x) / 2)`
fn gelu(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
    let x = call.input(0)?;
    let approximate = call.node.text("approximate", "none");
    if !matches!(approximate, "none" | "tanh") {
        return Err(call.error(format!("attribute approximate is '{approximate}', wanted none or tanh")));
    }
    if let Some(grad) = one_pass::gelu(tape, call, approximate)? {
        return Ok(vec![Some(grad)]);
    }
    let (step, slope) = if approximate == "tanh" {
        let (c, a) = (FRAC_2_SQRT_PI * FRAC_1_SQRT_2, 0.044_715);
        let square = tape.op("Mul", &[x, x])?;
        let cubic = tape.scaled(&square, c * a)?;
        let factor = tape.shifted(&cubic, c)?;
        let inner = tape.op("Mul", &[x, &factor])?;
        let t = tape.op("Tanh", &[&inner])?;
        let t_square = tape.op("Mul", &[&t, &t])?;
        let one = tape.scalar(1.0, x)?;
        let rest = tape.op("Sub", &[&one, &t_square])?;
        let cubic = tape.scaled(&square, 1.5 * c * a)?;
        let rise = tape.shifted(&cubic, 0.5 * c)?;
        (t, tape.op("Mul", &[&rest, &rise])?)
    } else {
        let scaled = tape.scaled(x, FRAC_1_SQRT_2)?;
        let erf = tape.op("Erf", &[&scaled])?;
        (erf, bell(tape, x, 0.5, 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2)?)
    };
    let half = tape.scaled(&step, 0.5)?;
    let share = tape.shifted(&half, 0.5)?;
    let moved = tape.op("Mul", &[x, &slope])?;
    let total = tape.op("Add", &[&share, &moved])?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &total])?)])
}

/// `y = log(1 + exp x): dx = g sigmoid(x)`
fn softplus(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let slope = tape.op("Sigmoid", &[call.input(0)?])?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &slope])?)])
}

/// `y = x` where `x > 0`, else `alpha (exp x - 1)`: `dx = g` or `g (y + alpha)`
fn elu(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (y, grad) = (call.output(0)?, call.grad()?);
    let zero = tape.scalar(0.0, y)?;
    let positive = tape.op("Greater", &[y, &zero])?;
    let slope = tape.shifted(y, call.node.float("alpha", 1.0))?;
    let below = tape.op("Mul", &[grad, &slope])?;
    Ok(vec![Some(tape.op("Where", &[&positive, grad, &below])?)])
}
