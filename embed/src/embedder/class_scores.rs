//! Outputs that are a classifier's answer, and not an embedding: probabilities, and a number for each class of ImageNet.

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto};

/// Nodes that leave numbers what they mean.
const PASS: [&str; 10] = [
    "Cast",
    "Identity",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
];
/// Nodes that make probabilities.
const PROBABILITIES: [&str; 2] = ["Softmax", "LogSoftmax"];
/// What a layer of a number for each class is.
const LINEAR: [&str; 6] = ["Gemm", "MatMul", "Conv", "Add", "QLinearMatMul", "QGemm"];
/// Classes of ImageNet-1k and -21k, with and without one for the background.
const IMAGENET: [usize; 4] = [1000, 1001, 21_841, 21_843];
/// What exporters call numbers by class.
const NAMES: [&str; 6] = ["logit", "prob", "softmax", "class", "predict", "fc_out"];

/// What is to be said of an output that looks like a classifier's answer, of so many numbers where that is declared.
pub(super) fn doubt(graph: &GraphProto, output: &str, dim: Option<usize>) -> Option<String> {
    let tensors = graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)));
    let makers = Makers(tensors.collect());
    let before = |name: &str| makers.before(name);
    let last = before(output)?;
    let is_probability = PROBABILITIES.contains(&last.op_type.as_str());
    let linear = if is_probability { before(last.input.first()?) } else { Some(last) };
    let linear = linear.filter(|node| LINEAR.contains(&node.op_type.as_str()));
    let lower = output.to_lowercase();
    let named = linear.is_some() && NAMES.iter().any(|word| lower.contains(word));
    let of_imagenet = linear.is_some() && dim.is_some_and(|dim| IMAGENET.contains(&dim));
    let why = match (is_probability, named, dim) {
        (true, ..) => format!("comes out of {}", last.op_type),
        (_, true, _) => "is called like one".into(),
        (.., Some(dim)) if of_imagenet => format!("has {dim} numbers, as many as ImageNet has classes"),
        _ => return None,
    };
    // A sum is the second half of a layer, and what its first takes is wanted.
    let layer = match linear {
        Some(sum) if sum.op_type == "Add" => sum.input.iter().find_map(|input| before(input)),
        layer => layer,
    };
    let tensor = layer.filter(|layer| LINEAR.contains(&layer.op_type.as_str())).and_then(|layer| layer.input.first());
    let cure = tensor.map_or_else(
        || "--output NAME takes a tensor before it".to_owned(),
        |tensor| format!("--output {tensor} takes what its last layer is given"),
    );
    Some(format!("output {output} {why}: are these scores of classes, and not an embedding? {cure}"))
}

/// Which node makes a tensor.
struct Makers<'g>(HashMap<&'g str, &'g NodeProto>);

impl<'g> Makers<'g> {
    /// The node that makes this tensor, nodes that pass numbers on left out.
    fn before(&self, name: &str) -> Option<&'g NodeProto> {
        let mut node = *self.0.get(name)?;
        // In a cycle, which no model may have, there is no end.
        for _ in 0..self.0.len() {
            if !PASS.contains(&node.op_type.as_str()) {
                return Some(node);
            }
            node = self.0.get(node.input.first()?.as_str())?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: &[(&str, &[&str], &str)]) -> GraphProto {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let node = |(operator, input, output): &(&str, &[&str], &str)| NodeProto {
            op_type: (*operator).to_owned(),
            input: owned(input),
            output: vec![(*output).to_owned()],
            ..NodeProto::default()
        };
        GraphProto { node: nodes.iter().map(node).collect(), ..GraphProto::default() }
    }

    #[test]
    fn answers_of_classifiers_are_doubted_and_embeddings_are_not() {
        let pool: (&str, &[&str], &str) = ("GlobalAveragePool", &["x"], "pool");
        let flat: (&str, &[&str], &str) = ("Flatten", &["pool"], "flat");
        let fc = |name: &'static str| -> (&str, &[&str], &str) { ("Gemm", &["flat", "w", "b"], name) };
        let said = |nodes: &[(&str, &[&str], &str)], output: &str, dim: Option<usize>| {
            doubt(&graph(&[&[pool, flat], nodes].concat()), output, dim).unwrap_or_default()
        };
        let softmax = said(&[fc("z"), ("Softmax", &["z"], "y")], "y", Some(40));
        assert!(softmax.contains("comes out of Softmax") && softmax.contains("--output flat "), "{softmax}");
        assert!(
            said(&[fc("z"), ("LogSoftmax", &["z"], "s"), ("Identity", &["s"], "y")], "y", None).contains("LogSoftmax")
        );
        assert!(said(&[fc("output")], "output", Some(1000)).contains("1000 numbers, as many as ImageNet"));
        assert!(said(&[fc("output")], "output", Some(21_841)).contains("21841 numbers"));
        assert!(said(&[fc("logits")], "logits", Some(7)).contains("is called like one"));
        let sum = said(&[("MatMul", &["flat", "w"], "m"), ("Add", &["m", "b"], "y")], "y", Some(1000));
        assert!(sum.contains("--output flat "), "{sum}");
        for (nodes, output, dim) in [
            (&[fc("embedding")][..], "embedding", Some(512)),
            (&[fc("z"), ("LpNormalization", &["z"], "class_token")], "class_token", Some(128)),
            (&[fc("z"), ("Tanh", &["z"], "y")], "y", Some(1000)),
            (&[], "flat", Some(1000)),
            (&[("Identity", &["y"], "y")], "y", Some(1000)),
        ] {
            assert_eq!(said(nodes, output, dim), "");
        }
    }
}
