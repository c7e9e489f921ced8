//! Normalizations.

use super::{super::tape::Tape, Spelling};
use crate::graph::{
    Result,
    build::{floats, int},
    proto::NodeProto,
    shapes::axis_of,
};

pub(super) fn spelling(operator: &str) -> Option<Spelling> {
    Some(match operator {
        "GroupNormalization" => group,
        "RMSNormalization" => root_mean_square,
        "MeanVarianceNormalization" => mean_variance,
        _ => return None,
    })
}

/// `y = scale (x - mean) / sqrt(variance + epsilon) + bias` over each group of channels, as one `InstanceNormalization` over
/// groups. Up to opset 20 scale and bias have a number for each group, then for each channel.
fn group(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (x, scale, bias) = (node.needed(0)?, node.needed(1)?, node.needed(2)?);
    let rank = tape.rank(x)?;
    let channels = tape.length(x, 1)?;
    let groups = usize::try_from(node.int("num_groups", 0)).ok().filter(|&groups| groups > 0 && channels % groups == 0);
    let Some(groups) = groups else {
        return Err(node.error(format!("its num_groups does not divide {channels} channels")));
    };
    let element = tape.element(x)?;
    let [ones, zeros] = [1.0, 0.0].map(|value| tape.constant(floats("", element, &[groups], &vec![value; groups])));
    let (ones, zeros) = (ones?, zeros?);
    let rows = tape.reshape(x, &[0, int(groups), -1])?;
    let epsilon = node.attr("epsilon").cloned().into_iter().collect();
    let rows = tape.with("InstanceNormalization", &[&rows, &ones, &zeros], epsilon)?;
    let mut value = tape.reshape_like(&rows, x)?;
    let behind: Vec<usize> = (1..rank - 1).collect();
    for (operator, vector) in [("Mul", scale), ("Add", bias)] {
        let vector = if tape.length(vector, 0)? == groups && groups != channels {
            let column = tape.unsqueeze(vector, &[1])?;
            let lengths = tape.ints(&[int(groups), int(channels / groups)])?;
            let whole = tape.op("Expand", &[&column, &lengths])?;
            tape.reshape(&whole, &[int(channels)])?
        } else {
            vector.to_owned()
        };
        let column = tape.unsqueeze(&vector, &behind)?;
        value = tape.op(operator, &[&value, &column])?;
    }
    Ok(value)
}

/// `y = scale x / sqrt(mean(x x) + epsilon)` over all axes from `axis` on
fn root_mean_square(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let (x, scale) = (node.needed(0)?, node.needed(1)?);
    let rank = tape.rank(x)?;
    let Some(axis) = axis_of(node.int("axis", -1), rank) else {
        return Err(node.error(format!("its axis is none of {rank} axes")));
    };
    let axes: Vec<usize> = (axis..rank).collect();
    let square = tape.op("Mul", &[x, x])?;
    let mean = tape.reduce("ReduceMean", &square, &axes, true)?;
    let mean = tape.shifted(&mean, node.float("epsilon", 1e-5))?;
    let root = tape.op("Sqrt", &[&mean])?;
    let unit = tape.op("Div", &[x, &root])?;
    tape.op("Mul", &[&unit, scale])
}

/// `y = (x - mean) / (sqrt(mean(x x) - mean^2) + 1e-9)`
fn mean_variance(tape: &mut Tape<'_>, node: &NodeProto) -> Result<String> {
    let x = node.needed(0)?;
    let rank = tape.rank(x)?;
    let axes = node.ints("axes").unwrap_or(&[0, 2, 3]);
    let axes: Option<Vec<usize>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
    let axes = axes.ok_or_else(|| node.error(format!("its axes are none of {rank} axes")))?;
    let mean = tape.reduce("ReduceMean", x, &axes, true)?;
    let centred = tape.op("Sub", &[x, &mean])?;
    let square = tape.op("Mul", &[&centred, &centred])?;
    let variance = tape.reduce("ReduceMean", &square, &axes, true)?;
    let deviation = tape.op("Sqrt", &[&variance])?;
    let deviation = tape.shifted(&deviation, 1e-9)?;
    tape.op("Div", &[&centred, &deviation])
}
