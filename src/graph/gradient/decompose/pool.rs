//! Pools by a norm, and over whole images.

use super::{super::tape::Tape, Spelling};
use crate::graph::{
    Result,
    build::{Value, attribute},
    proto::NodeProto,
};

pub(super) fn spelling(operator: &str) -> Option<Spelling> {
    Some(match operator {
        "GlobalLpPool" => global_lp,
        "GlobalMaxPool" => global_max,
        "LpPool" => lp,
        _ => return None,
    })
}

/// `|x|^p`
#[expect(clippy::cast_precision_loss, reason = "norms are small numbers")]
fn powers(tape: &mut Tape<'_>, node: &NodeProto) -> Result<(String, f64)> {
    let (x, p) = (node.needed(0)?, node.int("p", 2));
    if p < 1 {
        return Err(node.error(format!("its p is {p}, wanted 1 or more")));
    }
    let size = tape.op("Abs", &[x])?;
    let exponent = tape.scalar(p as f64, x)?;
    Ok((tape.op("Pow", &[&size, &exponent])?, p as f64))
}

/// The `p`-th root; of 0 it has no slope, and gets 0.
fn root(tape: &mut Tape<'_>, sum: &str, p: f64) -> Result<String> {
    let (zero, one) = (tape.scalar(0.0, sum)?, tape.scalar(1.0, sum)?);
    let positive = tape.op("Greater", &[sum, &zero])?;
    let safe = tape.op("Where", &[&positive, sum, &one])?;
    let exponent = tape.scalar(1.0 / p, sum)?;
    let root = tape.op("Pow", &[&safe, &exponent])?;
    tape.op("Where", &[&positive, &root, &zero])
}

/// `y = (sum |x|^p)^(1/p)` over each window: the sum is the mean times the window's size
#[expect(clippy::cast_precision_loss, reason = "windows are small")]
fn lp(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (powers, p) = powers(tape, node)?;
    let size: f64 = node.ints("kernel_shape").unwrap_or_default().iter().map(|&length| length as f64).product();
    let kept = ["kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode"];
    let kept = node.attribute.iter().filter(|attribute| kept.contains(&attribute.name()));
    let mut attributes: Vec<_> = kept.cloned().collect();
    attributes.push(attribute("count_include_pad", Value::Int(1)));
    let mean = tape.with("AveragePool", &[&powers], attributes)?;
    let sum = tape.scaled(&mean, size)?;
    root(tape, &sum, p)
}

/// `y = (sum |x|^p)^(1/p)` over all places
fn global_lp(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (powers, p) = powers(tape, node)?;
    let axes: Vec<usize> = (2..tape.rank(&powers)?).collect();
    let sum = tape.reduce("ReduceSum", &powers, &axes, true)?;
    root(tape, &sum, p)
}

/// `y = max x` over all places
fn global_max(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let axes: Vec<usize> = (2..tape.rank(x)?).collect();
    tape.reduce("ReduceMax", x, &axes, true)
}
