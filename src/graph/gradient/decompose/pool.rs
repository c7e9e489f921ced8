//! Pools by a norm, and over whole images.

use super::{Spelling, Writer};
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
fn powers(writer: &mut Writer, node: &NodeProto) -> Result<(String, f64)> {
    let (x, p) = (writer.input(node, 0)?, node.int("p", 2));
    if p < 1 {
        return Err(writer.error(format!("its p is {p}, wanted 1 or more")));
    }
    let size = writer.op("Abs", &[x])?;
    let exponent = writer.scalar(p as f64, x)?;
    Ok((writer.op("Pow", &[&size, &exponent])?, p as f64))
}

/// The `p`-th root; of 0 it has no slope, and gets 0.
fn root(writer: &mut Writer, sum: &str, p: f64) -> Result<String> {
    let (zero, one) = (writer.scalar(0.0, sum)?, writer.scalar(1.0, sum)?);
    let positive = writer.op("Greater", &[sum, &zero])?;
    let safe = writer.op("Where", &[&positive, sum, &one])?;
    let exponent = writer.scalar(1.0 / p, sum)?;
    let root = writer.op("Pow", &[&safe, &exponent])?;
    writer.op("Where", &[&positive, &root, &zero])
}

/// `y = (sum |x|^p)^(1/p)` over each window: the sum is the mean times the window's size
#[expect(clippy::cast_precision_loss, reason = "windows are small")]
fn lp(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (powers, p) = powers(writer, node)?;
    let size: f64 = node.ints("kernel_shape").unwrap_or_default().iter().map(|&length| length as f64).product();
    let kept = ["kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode"];
    let kept = node.attribute.iter().filter(|attribute| kept.contains(&attribute.name()));
    let mut attributes: Vec<_> = kept.cloned().collect();
    attributes.push(attribute("count_include_pad", Value::Int(1)));
    let mean = writer.with("AveragePool", &[&powers], attributes)?;
    let sum = writer.scaled(&mean, size)?;
    root(writer, &sum, p)
}

/// `y = (sum |x|^p)^(1/p)` over all places
fn global_lp(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (powers, p) = powers(writer, node)?;
    let axes: Vec<usize> = (2..writer.rank(&powers)?).collect();
    let sum = writer.reduce("ReduceSum", &powers, &axes, true)?;
    root(writer, &sum, p)
}

/// `y = max x` over all places
fn global_max(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let axes: Vec<usize> = (2..writer.rank(x)?).collect();
    writer.reduce("ReduceMax", x, &axes, true)
}
