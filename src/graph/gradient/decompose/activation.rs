//! Activations and rearrangements.

use super::{Spelling, Writer};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, int},
    proto::NodeProto,
};

pub(super) fn spelling(operator: &str) -> Option<Spelling> {
    Some(match operator {
        "Mish" => mish,
        "Swish" => swish,
        "Softsign" => softsign,
        "Selu" => selu,
        "Celu" => celu,
        "ThresholdedRelu" => thresholded,
        "Tile" => tile,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        _ => return None,
    })
}

/// `y = x tanh(log(1 + exp x))`
fn mish(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let soft = writer.op("Softplus", &[x])?;
    let gate = writer.op("Tanh", &[&soft])?;
    writer.op("Mul", &[x, &gate])
}

/// `y = x sigmoid(alpha x)`
fn swish(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let steep = writer.scaled(x, node.float("alpha", 1.0))?;
    let gate = writer.op("Sigmoid", &[&steep])?;
    writer.op("Mul", &[x, &gate])
}

/// `y = x / (1 + |x|)`
fn softsign(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let size = writer.op("Abs", &[x])?;
    let below = writer.shifted(&size, 1.0)?;
    writer.op("Div", &[x, &below])
}

/// `y = gamma x` where `x > 0`, else `gamma alpha (exp x - 1)`
#[expect(clippy::cast_possible_truncation, reason = "the attribute has 32 bits")]
fn selu(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let alpha = node.float("alpha", 1.673_263_2) as f32;
    let bent = writer.with("Elu", &[writer.input(node, 0)?], vec![attribute("alpha", Value::Float(alpha))])?;
    writer.scaled(&bent, node.float("gamma", 1.050_701))
}

/// `y = x` where `x > 0`, else `alpha (exp(x / alpha) - 1)`
fn celu(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let alpha = node.float("alpha", 1.0);
    let narrow = writer.scaled(writer.input(node, 0)?, 1.0 / alpha)?;
    let bent = writer.op("Elu", &[&narrow])?;
    writer.scaled(&bent, alpha)
}

/// `y = x` where `x > alpha`, else 0
fn thresholded(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let (alpha, zero) = (writer.scalar(node.float("alpha", 1.0), x)?, writer.scalar(0.0, x)?);
    let above = writer.op("Greater", &[x, &alpha])?;
    writer.op("Where", &[&above, x, &zero])
}

/// Copies of `x` behind one another along each axis
fn tile(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    /// More copies than any exporter writes, each of which is an input of a node.
    const MOST: i64 = 4096;
    let (x, repeats) = (writer.input(node, 0)?, writer.input(node, 1)?);
    let shape = writer.shape(x)?;
    let mut value = x.to_owned();
    if shape.iter().all(|dim| *dim == Dim::Known(1)) {
        return writer.op("Expand", &[&value, repeats]);
    }
    let known = writer.shapes.get(repeats).and_then(|fact| fact.value.clone());
    for (axis, dim) in shape.iter().enumerate() {
        let times = known.as_ref().and_then(|known| known.get(axis));
        match times {
            Some(crate::graph::shapes::Scalar::Int(1)) => {}
            _ if *dim == Dim::Known(1) => {
                // One element is repeated as often as the graph says when it runs.
                let at = writer.ints(&[int(axis)])?;
                let times = writer.op("Gather", &[repeats, &at])?;
                let mut parts = Vec::new();
                for other in 0..shape.len() {
                    parts.push(if other == axis { times.clone() } else { writer.ints(&[1])? });
                }
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let target = writer.concat(&parts, 0)?;
                value = writer.op("Expand", &[&value, &target])?;
            }
            Some(crate::graph::shapes::Scalar::Int(times @ 2..=MOST)) => {
                let copies: Vec<&str> = (0..*times).map(|_| value.as_str()).collect();
                value = writer.concat(&copies, int(axis))?;
            }
            _ => {
                let reason = format!("how often it repeats axis {axis} must be a constant from 1 to {MOST}");
                return Err(writer.error(reason));
            }
        }
    }
    Ok(value)
}

/// The block of a `DepthToSpace` or `SpaceToDepth`.
fn block(writer: &Writer, node: &NodeProto) -> Result<usize> {
    let block = usize::try_from(node.int("blocksize", 0)).ok().filter(|block| (1..=1024).contains(block));
    block.ok_or_else(|| writer.error("its blocksize must lie between 1 and 1024"))
}

/// Channels become blocks of places
fn depth_to_space(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (x, block) = (writer.input(node, 0)?, block(writer, node)?);
    let [channels, height, width] = [1, 2, 3].map(|axis| writer.length(x, axis));
    let (channels, height, width) = (int(channels? / (block * block)), int(height?), int(width?));
    let block = int(block);
    let (inner, order) = match node.text("mode", "DCR") {
        "DCR" => ([0, block, block, channels, height, width], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([0, channels, block, block, height, width], [0, 1, 4, 2, 5, 3]),
        other => return Err(writer.error(format!("its mode is '{other}', wanted DCR or CRD"))),
    };
    let apart = writer.reshape(x, &inner)?;
    let turned = writer.transpose(&apart, &order)?;
    writer.reshape(&turned, &[0, channels, height * block, width * block])
}

/// Blocks of places become channels
fn space_to_depth(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (x, block) = (writer.input(node, 0)?, block(writer, node)?);
    let [channels, height, width] = [1, 2, 3].map(|axis| writer.length(x, axis));
    let (channels, height, width) = (int(channels?), int(height? / block), int(width? / block));
    let block = int(block);
    let apart = writer.reshape(x, &[0, channels, height, block, width, block])?;
    let turned = writer.transpose(&apart, &[0, 3, 5, 1, 2, 4])?;
    writer.reshape(&turned, &[0, channels * block * block, height, width])
}
