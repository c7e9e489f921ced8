//! Activations and rearrangements.

use super::{super::tape::Tape, Spelling};
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
fn mish(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let soft = tape.op("Softplus", &[x])?;
    let gate = tape.op("Tanh", &[&soft])?;
    tape.op("Mul", &[x, &gate])
}

/// `y = x sigmoid(alpha x)`
fn swish(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let steep = tape.scaled(x, node.float("alpha", 1.0))?;
    let gate = tape.op("Sigmoid", &[&steep])?;
    tape.op("Mul", &[x, &gate])
}

/// `y = x / (1 + |x|)`
fn softsign(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let size = tape.op("Abs", &[x])?;
    let below = tape.shifted(&size, 1.0)?;
    tape.op("Div", &[x, &below])
}

/// `y = gamma x` where `x > 0`, else `gamma alpha (exp x - 1)`
#[expect(clippy::cast_possible_truncation, reason = "the attribute has 32 bits")]
fn selu(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let alpha = node.float("alpha", 1.673_263_2) as f32;
    let bent = tape.with("Elu", &[node.needed(0)?], vec![attribute("alpha", Value::Float(alpha))])?;
    tape.scaled(&bent, node.float("gamma", 1.050_701))
}

/// `y = x` where `x > 0`, else `alpha (exp(x / alpha) - 1)`
fn celu(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let alpha = node.float("alpha", 1.0);
    let narrow = tape.scaled(node.needed(0)?, 1.0 / alpha)?;
    let bent = tape.op("Elu", &[&narrow])?;
    tape.scaled(&bent, alpha)
}

/// `y = x` where `x > alpha`, else 0
fn thresholded(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let (alpha, zero) = (tape.scalar(node.float("alpha", 1.0), x)?, tape.scalar(0.0, x)?);
    let above = tape.op("Greater", &[x, &alpha])?;
    tape.op("Where", &[&above, x, &zero])
}

/// Copies of `x` behind one another along each axis
fn tile(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    /// More copies than any exporter writes, each of which is an input of a node.
    const MOST: i64 = 4096;
    let (x, repeats) = (node.needed(0)?, node.needed(1)?);
    let shape = tape.shape(x)?;
    let mut value = x.to_owned();
    if shape.iter().all(|dim| *dim == Dim::Known(1)) {
        return tape.op("Expand", &[&value, repeats]);
    }
    let known = tape.shapes.get(repeats).and_then(|fact| fact.value.clone());
    for (axis, dim) in shape.iter().enumerate() {
        let times = known.as_ref().and_then(|known| known.get(axis));
        match times {
            Some(crate::graph::shapes::Scalar::Int(1)) => {}
            _ if *dim == Dim::Known(1) => {
                // One element is repeated as often as the graph says when it runs.
                let at = tape.ints(&[int(axis)])?;
                let times = tape.op("Gather", &[repeats, &at])?;
                let mut parts = Vec::new();
                for other in 0..shape.len() {
                    parts.push(if other == axis { times.clone() } else { tape.ints(&[1])? });
                }
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let target = tape.concat(&parts, 0)?;
                value = tape.op("Expand", &[&value, &target])?;
            }
            Some(crate::graph::shapes::Scalar::Int(times @ 2..=MOST)) => {
                let copies: Vec<&str> = (0..*times).map(|_| value.as_str()).collect();
                value = tape.concat(&copies, int(axis))?;
            }
            _ => {
                let reason = format!("how often it repeats axis {axis} must be a constant from 1 to {MOST}");
                return Err(node.error(reason));
            }
        }
    }
    Ok(value)
}

/// The block of a `DepthToSpace` or `SpaceToDepth`.
fn block(node: &NodeProto) -> Result<usize> {
    let block = usize::try_from(node.int("blocksize", 0)).ok().filter(|block| (1..=1024).contains(block));
    block.ok_or_else(|| node.error("its blocksize must lie between 1 and 1024"))
}

/// Channels become blocks of places
fn depth_to_space(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (x, block) = (node.needed(0)?, block(node)?);
    let [channels, height, width] = [1, 2, 3].map(|axis| tape.length(x, axis));
    let (channels, height, width) = (int(channels? / (block * block)), int(height?), int(width?));
    let block = int(block);
    let (inner, order) = match node.text("mode", "DCR") {
        "DCR" => ([0, block, block, channels, height, width], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([0, channels, block, block, height, width], [0, 1, 4, 2, 5, 3]),
        other => return Err(node.error(format!("its mode is '{other}', wanted DCR or CRD"))),
    };
    let apart = tape.reshape(x, &inner)?;
    let turned = tape.transpose(&apart, &order)?;
    tape.reshape(&turned, &[0, channels, height * block, width * block])
}

/// Blocks of places become channels
fn space_to_depth(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (x, block) = (node.needed(0)?, block(node)?);
    let [channels, height, width] = [1, 2, 3].map(|axis| tape.length(x, axis));
    let (channels, height, width) = (int(channels?), int(height? / block), int(width? / block));
    let block = int(block);
    let apart = tape.reshape(x, &[0, channels, height, block, width, block])?;
    let turned = tape.transpose(&apart, &[0, 3, 5, 1, 2, 4])?;
    tape.reshape(&turned, &[0, channels * block * block, height, width])
}
