//! Steps of preprocessing that a model takes itself, at the head of its graph: `x - 127.5`, `x / 255` ...

use std::collections::HashMap;

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::bounds::of_tensor;
use crate::preprocess::Recipe;

/// What the graph does to its input first: `factor * x + shift`, of the channel that it changes most.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnScaling {
    /// The nodes, in order, with their numbers.
    pub steps: Vec<String>,
    factor: f64,
    /// The most that is added or taken off, in units of the input.
    shift: f64,
}

/// Nodes that change no value.
const PASS: [&str; 8] =
    ["Cast", "Identity", "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Resize", "QuantizeLinear"];

/// The sums and products with constants that follow the input one by one, before anything else is done with it.
pub(super) fn find(graph: &GraphProto, input: &str) -> Option<OwnScaling> {
    let mut takers: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    for node in &graph.node {
        node.input.iter().for_each(|name| takers.entry(name).or_default().push(node));
    }
    let constants = constants(graph);
    let mut found = OwnScaling { steps: Vec::new(), factor: 1.0, shift: 0.0 };
    let mut at = input;
    while let Some(&[node]) = takers.get(at).map(Vec::as_slice) {
        let Some(output) = node.output.first() else { break };
        if PASS.contains(&node.op_type.as_str()) {
            at = output;
            continue;
        }
        if node.op_type == "BatchNormalization" {
            let Some((factor, step)) = folded(node, &constants) else { break };
            found.factor *= factor;
            found.steps.push(step);
            at = output;
            continue;
        }
        // A constant on the left of a difference or a quotient is no step of preprocessing.
        let other = node.input.iter().position(|name| name != at);
        let values = other.and_then(|other| of_tensor(constants.get(node.input[other].as_str())?).values);
        let Some(values) = values.filter(|values| (1..=4).contains(&values.len())) else { break };
        let largest = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        match (node.op_type.as_str(), other) {
            ("Add", _) | ("Sub", Some(1)) => found.shift = found.shift.max(largest / found.factor),
            ("Mul", _) if largest > 0.0 => found.factor *= largest,
            ("Div", Some(1)) if largest > 0.0 => found.factor /= largest,
            _ => break,
        }
        let values: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        found.steps.push(format!("{} {}", node.op_type, values.join(" ")));
        at = output;
    }
    (!found.steps.is_empty()).then_some(found)
}

/// Tensors of a graph that its file holds, by name.
pub(super) fn constants(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let value = node.attribute.iter().find(|attribute| attribute.name == "value")?;
        Some((node.output.first()?.as_str(), value.t.as_ref()?))
    });
    let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    constants.chain(stored).collect()
}

/// The factor of a normalization by stored means and variances, of the channel that it changes most, and the node in words. `None` for
/// one of many channels, which are no pixels, and for one that changes nothing.
fn folded(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Option<(f64, String)> {
    let values = |at: usize| of_tensor(constants.get(node.input.get(at)?.as_str())?).values;
    let (scale, mean, variance) = (values(1)?, values(3)?, values(4)?);
    let fits = (1..=4).contains(&scale.len()) && mean.len() == scale.len() && variance.len() == scale.len();
    let factors = scale.iter().zip(&variance).map(|(scale, variance)| (scale / variance.sqrt()).abs());
    let factor = factors.fold(0.0_f64, f64::max);
    let changes = mean.iter().any(|mean| *mean != 0.0) || (factor - 1.0).abs() > 1e-3;
    let words = |values: &[f64]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ");
    let step = || format!("BatchNormalization of mean {} and variance {}", words(&mean), words(&variance));
    (fits && changes && factor.is_finite() && factor > 0.0).then(|| (factor, step()))
}

impl OwnScaling {
    /// What is to be said where the recipe takes the same steps before the model does, or leaves it other values than it wants.
    pub fn doubt(&self, recipe: &Recipe) -> Option<String> {
        /// The largest pixel, and the most that a normalised one comes to.
        const BRIGHTEST: f64 = 255.0;
        const NORMALISED: f64 = 20.0;
        let most = |values: &[f64]| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let smallest = recipe.std.iter().fold(f64::INFINITY, |least, value| least.min(value.abs()));
        let brightest = (BRIGHTEST * recipe.scale).abs().max(most(&recipe.mean)) / smallest;
        // Caffe's nets take a mean of levels off and divide by nothing.
        let wants_levels = self.factor * NORMALISED < 2.0 || self.shift > NORMALISED;
        let steps = self.steps.join(", ");
        if wants_levels && brightest < NORMALISED {
            return Some(format!(
                "the model begins with {steps}, as for pixels of 0 to 255, and the recipe brings them to {brightest:.2} at most: \
                 they are scaled twice, or not as it wants; give --preset none --scale 1 and a --resize, if the model is to have its pixels as they are"
            ));
        }
        let normalises = recipe.std.iter().any(|v| *v != 1.0) || recipe.mean.iter().any(|v| *v != 0.0);
        (!wants_levels && normalises).then(|| {
            format!(
                "the model begins with {steps}, and the recipe has a mean and a deviation, too: are pixels normalised twice? \
                 --mean 0 --std 1 leaves it to the model"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::tensor_proto::DataType;

    use super::*;
    use crate::preprocess::Preset;

    /// A graph of these nodes one behind the other, each with its constant, and a convolution at the end.
    fn graph(steps: &[(&str, &[f32])]) -> GraphProto {
        let mut graph = GraphProto::default();
        let mut last = "x".to_owned();
        for (at, (operator, values)) in steps.iter().enumerate() {
            let (constant, made) = (format!("c{at}"), format!("y{at}"));
            graph.initializer.push(TensorProto {
                name: constant.clone(),
                dims: vec![values.len() as i64, 1, 1],
                data_type: DataType::Float as i32,
                float_data: values.to_vec(),
                ..TensorProto::default()
            });
            let input = if values.is_empty() { vec![last] } else { vec![last, constant] };
            let output = vec![made.clone()];
            graph.node.push(NodeProto { op_type: (*operator).into(), input, output, ..NodeProto::default() });
            last = made;
        }
        let input = vec![last, "w".into()];
        graph.node.push(NodeProto { op_type: "Conv".into(), input, output: vec!["z".into()], ..NodeProto::default() });
        graph
    }

    fn doubt(steps: &[(&str, &[f32])], recipe: &Recipe) -> String {
        find(&graph(steps), "x").and_then(|found| found.doubt(recipe)).unwrap_or_default()
    }

    #[test]
    fn pixels_that_model_and_recipe_both_scale_are_said() {
        let (imagenet, face) = (Preset::Imagenet.recipe(None), Preset::Face112.recipe(None));
        let levels = Recipe { scale: 1.0, ..Recipe::default() };
        let insightface: &[(&str, &[f32])] = &[("Sub", &[127.5]), ("Mul", &[0.007_812_5])];
        for recipe in [&imagenet, &face, &Recipe::default()] {
            let said = doubt(insightface, recipe);
            assert!(said.contains("Sub 127.5000, Mul 0.0078") && said.contains("scaled twice"), "{said}");
        }
        assert_eq!(doubt(insightface, &levels), "");
        assert!(doubt(&[("Transpose", &[]), ("Div", &[255.0])], &imagenet).contains("scaled twice"));
        assert!(doubt(&[("Div", &[58.4, 57.1, 57.4])], &Recipe::default()).contains("scaled twice"));
        let torchvision: &[(&str, &[f32])] = &[("Sub", &[0.485, 0.456, 0.406]), ("Div", &[0.229, 0.224, 0.225])];
        assert!(doubt(torchvision, &imagenet).contains("normalised twice"));
        assert_eq!(doubt(torchvision, &Recipe::default()), "");
        let caffe: &[(&str, &[f32])] = &[("Sub", &[103.9, 116.8, 123.7])];
        assert!(doubt(caffe, &imagenet).contains("not as it wants"));
        assert_eq!(doubt(caffe, &levels), "");
        assert_eq!(doubt(&[("Mul", &[255.0]), caffe[0]], &Recipe::default()), "");
        assert_eq!(doubt(&[], &imagenet), "");
        assert_eq!(doubt(&[("Relu", &[]), ("Div", &[255.0])], &imagenet), "");
    }

    #[test]
    fn a_normalization_of_pixels_is_a_step_like_any_other() {
        let begins = |channels: usize, mean: f32, variance: f32| {
            let mut graph = GraphProto::default();
            for (name, value) in [("scale", 1.0), ("bias", 0.0), ("mean", mean), ("variance", variance)] {
                graph.initializer.push(TensorProto {
                    name: name.into(),
                    dims: vec![channels as i64],
                    data_type: DataType::Float as i32,
                    float_data: vec![value; channels],
                    ..TensorProto::default()
                });
            }
            let input = ["x", "scale", "bias", "mean", "variance"].map(str::to_owned).to_vec();
            let (op_type, output) = ("BatchNormalization".to_owned(), vec!["y".to_owned()]);
            graph.node.push(NodeProto { op_type, input, output, ..NodeProto::default() });
            find(&graph, "x").and_then(|found| found.doubt(&Preset::Imagenet.recipe(None))).unwrap_or_default()
        };
        let said = begins(3, 127.5, 3364.0);
        assert!(said.contains("BatchNormalization of mean 127.5000") && said.contains("scaled twice"), "{said}");
        assert!(begins(3, 0.45, 0.05).contains("normalised twice"));
        assert_eq!(begins(64, 127.5, 3364.0), "", "a layer of a net");
        assert_eq!(begins(3, 0.0, 1.0), "", "changes nothing");
        assert_eq!(begins(3, 127.5, -1.0), "");
    }
}
