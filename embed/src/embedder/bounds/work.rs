//! What an image costs a model, by its graph: parameters, and the operations of its products.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};

use super::known::{Known, of_tensor};
use super::{follow, name, needs};
use crate::error::Result;

/// What a graph says of its cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Values of the tensors of floats, and of quantised weights, that nodes take.
    pub parameters: u64,
    /// Operations of a run: two (a product and a sum) for each pair of numbers that a convolution or a matrix product
    /// multiplies. Other operators are not counted, as is usual. Else the node whose products cannot be counted.
    pub operations: std::result::Result<u64, String>,
}

/// Operators that may multiply matrices where none of the counted ones is seen.
const UNCOUNTED: [&str; 12] = [
    "Attention",
    "DeformConv",
    "Einsum",
    "GRU",
    "If",
    "LSTM",
    "Loop",
    "QLinearConv",
    "QLinearMatMul",
    "RNN",
    "Scan",
    "SequenceMap",
];

/// The work of the main graph where its input has this shape.
///
/// # Errors
/// Those of [`check`](super::check).
pub(in super::super) fn work(path: &Path, proto: &ModelProto, input: (&str, &[usize])) -> Result<Work> {
    let mut products: u128 = 0;
    let mut uncounted: Option<String> = None;
    follow(path, proto, Some(input), |node, known| match multiplied(node, known) {
        Some(count) => products = products.saturating_add(count),
        None if uncounted.is_none() => uncounted = Some(format!("{} ({})", name(node), node.op_type)),
        None => (),
    })?;
    let operations = match uncounted {
        Some(node) => Err(node),
        None => Ok(u64::try_from(products.saturating_mul(2)).unwrap_or(u64::MAX)),
    };
    Ok(Work { parameters: parameters(proto), operations })
}

/// Pairs of numbers that a node multiplies; `None` where that cannot be said.
fn multiplied(node: &NodeProto, known: &HashMap<&str, Known>) -> Option<u128> {
    let shape = |name: Option<&String>| name.and_then(|name| known.get(name.as_str())).map(|known| &known.shape);
    let (input, weight) = (shape(node.input.first()), shape(node.input.get(1)));
    let count = |shape: &[u128]| shape.iter().fold(1_u128, |product, &dim| product.saturating_mul(dim));
    let made = || shape(node.output.first()).map(|shape| count(shape));
    if !["", "ai.onnx"].contains(&node.domain.as_str()) {
        return None;
    }
    match node.op_type.as_str() {
        // Each value of the result is a sum over the input channels of its group and the kernel.
        "Conv" | "ConvInteger" => Some(made()?.saturating_mul(count(weight?.get(1..)?))),
        // Each value of the input goes to as many.
        "ConvTranspose" => Some(count(input?).saturating_mul(count(weight?.get(1..)?))),
        "MatMul" | "MatMulInteger" => Some(made()?.saturating_mul(*input?.last()?)),
        "Gemm" => {
            let transposed = node.attribute.iter().any(|a| a.name == "transA" && a.i != 0);
            Some(made()?.saturating_mul(*input?.get(usize::from(!transposed))?))
        }
        operator if UNCOUNTED.contains(&operator) => None,
        _ => Some(0),
    }
}

fn parameters(proto: &ModelProto) -> u64 {
    let Some(graph) = &proto.graph else { return 0 };
    let taken: HashSet<&str> = graph.node.iter().flat_map(needs).collect();
    let initializers = graph.initializer.iter().filter(|tensor| taken.contains(tensor.name.as_str()));
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant");
    let constants = constants.flat_map(|node| node.attribute.iter().filter_map(|a| a.t.as_ref()));
    // A constant of one value is a setting: a scale, an epsilon, a bound.
    let constants = constants.filter(|tensor| of_tensor(tensor).count() > 1);
    let is_weight = |tensor: &&TensorProto| {
        matches!(
            DataType::try_from(tensor.data_type),
            Ok(DataType::Float
                | DataType::Float16
                | DataType::Bfloat16
                | DataType::Double
                | DataType::Int8
                | DataType::Uint8)
        )
    };
    let counts = initializers.chain(constants).filter(is_weight).map(|tensor| of_tensor(tensor).count());
    u64::try_from(counts.fold(0_u128, u128::saturating_add)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_onnx::pb::{AttributeProto, GraphProto};

    fn tensor(name: &str, dims: &[i64]) -> TensorProto {
        let count = dims.iter().product::<i64>();
        let float_data = vec![0.5; usize::try_from(count).unwrap()];
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: DataType::Float.into(),
            float_data,
            ..Default::default()
        }
    }

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        let input = inputs.iter().map(ToString::to_string).collect();
        NodeProto { op_type: op.into(), input, output: vec![output.into()], ..Default::default() }
    }

    fn worked(nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> Work {
        let graph = GraphProto { node: nodes, initializer: tensors, ..Default::default() };
        let proto = ModelProto { graph: Some(graph), ..Default::default() };
        work(Path::new("m.onnx"), &proto, ("x", &[1, 6, 8, 8])).unwrap()
    }

    #[test]
    fn products_of_convolutions_and_matrices_are_counted_by_hand() {
        // 6 channels in 2 groups to 4, a kernel of 3x3, no padding: 4x6x6 values of 3x3x3 products.
        let mut conv = node("Conv", &["x", "w"], "a");
        conv.attribute = vec![AttributeProto { name: "group".into(), i: 2, ..Default::default() }];
        let gemm = node("Gemm", &["c", "v", "b"], "y");
        let nodes = vec![conv, node("Relu", &["a"], "r"), node("Flatten", &["r"], "c"), gemm];
        let weights =
            || vec![tensor("w", &[4, 3, 3, 3]), tensor("v", &[144, 5]), tensor("b", &[5]), tensor("unused", &[9])];
        let found = worked(nodes.clone(), weights());
        assert_eq!(found, Work { parameters: 108 + 720 + 5, operations: Ok(2 * (144 * 27 + 144 * 5)) });
        // The result of an unknown operator has no shape, so the product behind it has no count.
        let behind = [&nodes[..3], &[node("Own", &["c"], "d"), node("Gemm", &["d", "v"], "y")]].concat();
        assert_eq!(worked(behind, weights()).operations, Err("y (Gemm)".into()));
        let recurrent = vec![node("LSTM", &["x", "w", "v"], "y")];
        assert_eq!(worked(recurrent, weights()).operations, Err("y (LSTM)".into()));
    }
}
