//! Normalizations.

use super::{Spelling, Writer};
use crate::graph::{Result, build::int, proto::NodeProto, shapes::axis_of};

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
fn group(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (x, scale, bias) = (writer.input(node, 0)?, writer.input(node, 1)?, writer.input(node, 2)?);
    let rank = writer.rank(x)?;
    let channels = writer.length(x, 1)?;
    let groups = usize::try_from(node.int("num_groups", 0)).ok().filter(|&groups| groups > 0 && channels % groups == 0);
    let Some(groups) = groups else {
        return Err(writer.error(format!("its num_groups does not divide {channels} channels")));
    };
    let (ones, zeros) = (vec![1.0; groups], vec![0.0; groups]);
    let (ones, zeros) = (writer.numbers(&[groups], &ones, x)?, writer.numbers(&[groups], &zeros, x)?);
    let rows = writer.reshape(x, &[0, int(groups), -1])?;
    let epsilon = node.attr("epsilon").cloned().into_iter().collect();
    let rows = writer.with("InstanceNormalization", &[&rows, &ones, &zeros], epsilon)?;
    let mut value = writer.reshape_like(&rows, x)?;
    let behind: Vec<usize> = (1..rank - 1).collect();
    for (operator, vector) in [("Mul", scale), ("Add", bias)] {
        let vector = if writer.length(vector, 0)? == groups && groups != channels {
            let column = writer.unsqueeze(vector, &[1])?;
            let lengths = writer.ints(&[int(groups), int(channels / groups)])?;
            let whole = writer.op("Expand", &[&column, &lengths])?;
            writer.reshape(&whole, &[int(channels)])?
        } else {
            vector.to_owned()
        };
        let column = writer.unsqueeze(&vector, &behind)?;
        value = writer.op(operator, &[&value, &column])?;
    }
    Ok(value)
}

/// `y = scale x / sqrt(mean(x x) + epsilon)` over all axes from `axis` on
fn root_mean_square(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let (x, scale) = (writer.input(node, 0)?, writer.input(node, 1)?);
    let rank = writer.rank(x)?;
    let Some(axis) = axis_of(node.int("axis", -1), rank) else {
        return Err(writer.error(format!("its axis is none of {rank} axes")));
    };
    let axes: Vec<usize> = (axis..rank).collect();
    let square = writer.op("Mul", &[x, x])?;
    let mean = writer.reduce("ReduceMean", &square, &axes, true)?;
    let mean = writer.shifted(&mean, node.float("epsilon", 1e-5))?;
    let root = writer.op("Sqrt", &[&mean])?;
    let unit = writer.op("Div", &[x, &root])?;
    writer.op("Mul", &[&unit, scale])
}

/// `y = (x - mean) / (sqrt(mean(x x) - mean^2) + 1e-9)`
fn mean_variance(writer: &mut Writer, node: &NodeProto) -> Result<String> {
    let x = writer.input(node, 0)?;
    let rank = writer.rank(x)?;
    let axes = node.ints("axes").unwrap_or(&[0, 2, 3]);
    let axes: Option<Vec<usize>> = axes.iter().map(|&axis| axis_of(axis, rank)).collect();
    let axes = axes.ok_or_else(|| writer.error(format!("its axes are none of {rank} axes")))?;
    let mean = writer.reduce("ReduceMean", x, &axes, true)?;
    let centred = writer.op("Sub", &[x, &mean])?;
    let square = writer.op("Mul", &[&centred, &centred])?;
    let variance = writer.reduce("ReduceMean", &square, &axes, true)?;
    let deviation = writer.op("Sqrt", &[&variance])?;
    let deviation = writer.shifted(&deviation, 1e-9)?;
    writer.op("Div", &[&centred, &deviation])
}
