//! Arithmetic with broadcasting, and functions of one number.

use super::{Call, Rule, one_pass, tape::Tape};
use crate::graph::{
    Result,
    build::{Value, attribute},
    nodes::ENTRANCE,
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Add" | "Sum" => add,
        "Sub" => subtract,
        "Mul" => multiply,
        "Div" => divide,
        "Pow" => power,
        "Mod" => remainder,
        "Max" | "Min" => extreme,
        "Mean" => mean,
        "Where" => choose,
        "Identity" => same,
        "Cast" | "CastLike" => |tape, call| Ok(vec![Some(tape.cast_like(call.grad()?, call.input(0)?)?)]),
        "Neg" => |tape, call| Ok(vec![Some(tape.op("Neg", &[call.grad()?])?)]),
        "Abs" => absolute,
        "Sqrt" => root,
        "Exp" => |tape, call| Ok(vec![Some(tape.op("Mul", &[call.grad()?, call.output(0)?])?)]),
        "Log" => |tape, call| Ok(vec![Some(tape.op("Div", &[call.grad()?, call.input(0)?])?)]),
        "Reciprocal" => reciprocal,
        "CumSum" => cumulated,
        "Sin" => sine,
        "Cos" => cosine,
        _ => return None,
    })
}

/// One gradient for each input, where it is wanted, summed over what was broadcast.
fn each(tape: &mut Tape<'_>, call: &Call<'_>, mut of: impl FnMut(&mut Tape<'_>, usize) -> Result<String>) -> Grads {
    let mut grads = Vec::new();
    for index in 0..call.node.input.len() {
        grads.push(if call.wants(index) {
            let grad = of(tape, index)?;
            Some(tape.unbroadcast(&grad, call.input(index)?)?)
        } else {
            None
        });
    }
    Ok(grads)
}

/// `y = x: dx = g`
fn same(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let grad = call.grad()?;
    Ok(vec![Some(match call.node.doc_string().strip_prefix(ENTRANCE) {
        Some(factor) => tape.enter(grad, factor)?,
        None => grad.to_owned(),
    })])
}

/// `y = a + b: da = g, db = g`
fn add(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let grad = call.grad()?;
    each(tape, call, |_, _| Ok(grad.to_owned()))
}

/// `y = (a + b + ...) / n: da = g / n`
#[expect(clippy::cast_precision_loss, reason = "few inputs")]
fn mean(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let count = tape.scalar(call.node.input.len() as f64, call.output(0)?)?;
    let grad = tape.op("Div", &[call.grad()?, &count])?;
    each(tape, call, |_, _| Ok(grad.clone()))
}

/// `y = a - b: da = g, db = -g`
fn subtract(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let grad = call.grad()?;
    let mut grads = each(tape, call, |_, _| Ok(grad.to_owned()))?;
    // Negated after the sum, which may be much smaller.
    if let Some(Some(right)) = grads.get_mut(1) {
        *right = tape.op("Neg", &[right])?;
    }
    Ok(grads)
}

/// `y = a b: da = g b, db = g a`
fn multiply(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if let Some(grads) = one_pass::silu(tape, call)? {
        return Ok(grads);
    }
    if let Some(grads) = one_pass::gelu_by_erf(tape, call)? {
        return Ok(grads);
    }
    each(tape, call, |tape, index| tape.op("Mul", &[call.grad()?, call.input(1 - index)?]))
}

/// `y = a / b: da = g / b, db = -g y / b`
fn divide(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let quotient = tape.op("Div", &[call.grad()?, call.input(1)?])?;
    each(tape, call, |tape, index| {
        if index == 0 {
            return Ok(quotient.clone());
        }
        let product = tape.op("Mul", &[&quotient, call.output(0)?])?;
        tape.op("Neg", &[&product])
    })
}

/// `y = x ^ p: dx = g p x ^ (p - 1), dp = g y log x` where `x > 0`, else 0
fn power(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, p) = (call.input(0)?, call.input(1)?);
    each(tape, call, |tape, index| {
        let grad = call.grad()?;
        if index == 1 {
            let zero = tape.scalar(0.0, x)?;
            let one = tape.scalar(1.0, x)?;
            let positive = tape.op("Greater", &[x, &zero])?;
            let safe = tape.op("Where", &[&positive, x, &one])?;
            let logarithm = tape.op("Log", &[&safe])?;
            let weighted = tape.op("Mul", &[call.output(0)?, &logarithm])?;
            let product = tape.op("Mul", &[grad, &weighted])?;
            return tape.cast_like(&product, p);
        }
        match tape.number(p) {
            Some(1.0) => Ok(grad.to_owned()),
            Some(exponent) => {
                let factor = tape.scalar(exponent, x)?;
                let lower = if (exponent - 2.0).abs() < f64::EPSILON {
                    x.to_owned()
                } else {
                    let less = tape.scalar(exponent - 1.0, x)?;
                    tape.op("Pow", &[x, &less])?
                };
                let slope = tape.op("Mul", &[&lower, &factor])?;
                tape.op("Mul", &[grad, &slope])
            }
            None => {
                let exponent = tape.cast_like(p, x)?;
                let one = tape.scalar(1.0, x)?;
                let less = tape.op("Sub", &[&exponent, &one])?;
                let lower = tape.op("Pow", &[x, &less])?;
                let slope = tape.op("Mul", &[&lower, &exponent])?;
                tape.op("Mul", &[grad, &slope])
            }
        }
    })
}

/// `y = a - b n` with a whole number `n`: `da = g`
fn remainder(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if call.wants(1) {
        return Err(call.error("what it divides by cannot be trained"));
    }
    each(tape, call, |_, _| Ok(call.grad()?.to_owned()))
}

/// `y_i = x_1 + ... + x_i`: `dx_i = g_i + g_(i+1) + ...`
fn cumulated(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let back = attribute("reverse", Value::Int(i64::from(call.node.int("reverse", 0) == 0)));
    let exclusive = attribute("exclusive", Value::Int(call.node.int("exclusive", 0)));
    Ok(vec![Some(tape.with("CumSum", &[call.grad()?, call.input(1)?], vec![back, exclusive])?)])
}

/// `y = max(a, b, ...)`: the first of the largest gets `g`
fn extreme(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let operator = call.node.op_type();
    let keeps = if operator == "Max" { "GreaterOrEqual" } else { "LessOrEqual" };
    let zero = tape.scalar(0.0, call.output(0)?)?;
    let names: Vec<&str> = (0..call.node.input.len()).map(|index| call.input(index)).collect::<Result<_>>()?;
    // The best of all before each input, so that the first of equal ones wins.
    let mut before = vec![names[0].to_owned()];
    for name in names.iter().skip(1).take(names.len().saturating_sub(2)) {
        let best = tape.op(operator, &[&before[before.len() - 1], name])?;
        before.push(best);
    }
    let mut grad = call.grad()?.to_owned();
    let mut parts = vec![String::new(); names.len()];
    for index in (1..names.len()).rev() {
        let stays = tape.op(keeps, &[&before[index - 1], names[index]])?;
        parts[index] = tape.op("Where", &[&stays, &zero, &grad])?;
        grad = tape.op("Where", &[&stays, &grad, &zero])?;
    }
    parts[0] = grad;
    each(tape, call, |_, index| Ok(parts[index].clone()))
}

/// `y = where(c, a, b): da = where(c, g, 0), db = where(c, 0, g)`
fn choose(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (condition, grad) = (call.input(0)?, call.grad()?);
    let zero = tape.scalar(0.0, call.output(0)?)?;
    each(tape, call, |tape, index| {
        let inputs = if index == 1 { [condition, grad, &zero] } else { [condition, &zero, grad] };
        tape.op("Where", &inputs)
    })
}

/// `y = |x|: dx = g sign(x)`
fn absolute(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let sign = tape.op("Sign", &[call.input(0)?])?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &sign])?)])
}

/// `y = sqrt(x): dx = g / (2 y)`
fn root(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let two = tape.scalar(2.0, call.output(0)?)?;
    let double = tape.op("Mul", &[call.output(0)?, &two])?;
    Ok(vec![Some(tape.op("Div", &[call.grad()?, &double])?)])
}

/// `y = 1 / x: dx = -g y y`
fn reciprocal(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let y = call.output(0)?;
    let square = tape.op("Mul", &[y, y])?;
    let product = tape.op("Mul", &[call.grad()?, &square])?;
    Ok(vec![Some(tape.op("Neg", &[&product])?)])
}

/// `y = sin(x): dx = g cos(x)`
fn sine(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let slope = tape.op("Cos", &[call.input(0)?])?;
    Ok(vec![Some(tape.op("Mul", &[call.grad()?, &slope])?)])
}

/// `y = cos(x): dx = -g sin(x)`
fn cosine(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let slope = tape.op("Sin", &[call.input(0)?])?;
    let product = tape.op("Mul", &[call.grad()?, &slope])?;
    Ok(vec![Some(tape.op("Neg", &[&product])?)])
}
