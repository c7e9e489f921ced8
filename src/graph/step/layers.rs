//! The layers of a backbone from its beginning to its end, for learning rates that differ from layer to layer.
//!
//! A layer is what PyTorch numbers: the tensors whose names agree up to their first number between dots, `blocks.3` of
//! `blocks.3.attn.qkv.weight`, `layer2.1` of `layer2.1.conv1.weight`. Layers come in the order in which the graph uses them.
//! Parameters without such a number belong to the next layer; those before the first one are a layer of their own, and so are those
//! behind the last. In a backbone that numbers nothing, every module is a layer: what comes before the last dot or slash of a name, and
//! where there is none, the node that takes the tensor.

use std::collections::{HashMap, HashSet};

use crate::graph::proto::GraphProto;

/// The factor of each layer on the learning rate.
pub(super) struct Factors {
    factors: HashMap<String, f64>,
    /// How many layers there are.
    layers: usize,
    decay: Option<f64>,
}

impl Factors {
    /// `decay` to the power of how many layers come behind a parameter's.
    pub(super) fn of(graph: &GraphProto, parameters: &HashSet<&str>, decay: Option<f64>) -> Self {
        let Some(factor) = decay else { return Self { factors: HashMap::new(), layers: 0, decay } };
        let (layers, of_tensor) = layers(graph, parameters);
        let behind = |layer: usize| i32::try_from(layers - 1 - layer).unwrap_or(i32::MAX);
        let factors = of_tensor.into_iter().map(|(name, layer)| (name, factor.powi(behind(layer)))).collect();
        Self { factors, layers, decay }
    }

    /// 1 for what is of no layer, such as proxies.
    pub(super) fn of_weight(&self, name: &str) -> f64 {
        self.factors.get(name).copied().unwrap_or(1.0)
    }

    pub(super) fn said(&self) -> Option<String> {
        let (decay, last) = (self.decay?, self.layers.saturating_sub(1));
        let first = decay.powi(i32::try_from(last).unwrap_or(i32::MAX));
        Some(format!(
            "layer decay {decay} over {} layers: the learning rate of the last one as it is, of the first one times {first:.3}",
            self.layers
        ))
    }
}

/// How many layers there are, and that of each parameter that a node uses.
fn layers(graph: &GraphProto, parameters: &HashSet<&str>) -> (usize, Vec<(String, usize)>) {
    let mut readers: HashMap<&str, String> = HashMap::new();
    let mut used = Vec::new();
    for (index, node) in graph.node.iter().enumerate() {
        for name in node.input.iter().map(String::as_str).filter(|name| parameters.contains(name)) {
            readers.entry(name).or_insert_with(|| {
                used.push(name);
                format!("node {index}")
            });
        }
    }
    let is_numbered = used.iter().any(|name| numbered(name).is_some());
    let layer_of = |name: &'_ str| -> Option<String> {
        if is_numbered {
            numbered(name)
        } else {
            let module = name.rsplit_once(['.', '/']).map(|(module, _)| module.to_owned());
            module.or_else(|| readers.get(name).cloned())
        }
    };
    let mut order: Vec<Option<String>> = Vec::new();
    let keys: Vec<Option<String>> = used.iter().map(|name| layer_of(name)).collect();
    if keys.first().is_some_and(Option::is_none) {
        order.push(None);
    }
    for key in keys.iter().flatten() {
        if !order.iter().flatten().any(|known| known == key) {
            order.push(Some(key.clone()));
        }
    }
    let numbers = order.len();
    let place = |key: &String| order.iter().position(|known| known.as_ref() == Some(key)).unwrap_or(0);
    let mut of_tensor = Vec::new();
    let last = keys.iter().rposition(Option::is_some);
    let first = keys.iter().position(Option::is_some).unwrap_or(keys.len());
    for (at, (name, key)) in used.iter().zip(&keys).enumerate() {
        let layer = match key {
            Some(key) => place(key),
            None if at < first => 0,
            None => keys[at..].iter().flatten().next().map_or(numbers, place),
        };
        of_tensor.push(((*name).to_owned(), layer));
    }
    let has_end = last.is_some_and(|last| last + 1 < keys.len());
    ((numbers + usize::from(has_end)).max(1), of_tensor)
}

/// The name up to its first number between dots.
fn numbered(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let at = parts.iter().position(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))?;
    (parts.len() > at + 1).then(|| parts[..=at].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::build::{Element, floats, node};

    fn factors(names: &[&str]) -> Vec<f64> {
        let graph = GraphProto {
            node: names.iter().map(|name| node("Mul", &["x", name], &["x"], Vec::new())).collect(),
            initializer: names.iter().map(|name| floats(name, Element::F32, &[1], &[1.0])).collect(),
            ..GraphProto::default()
        };
        let parameters = names.iter().copied().filter(|name| !name.starts_with("val_")).collect();
        let factors = Factors::of(&graph, &parameters, Some(0.5));
        names.iter().map(|name| factors.of_weight(name)).collect()
    }

    #[test]
    fn tensors_without_a_module_are_of_the_node_that_takes_them() {
        let names = ["onnx::Conv_190", "onnx::Conv_191", "onnx::Conv_193", "onnx::Conv_194"];
        let graph = GraphProto {
            node: names.chunks(2).map(|pair| node("Conv", &["x", pair[0], pair[1]], &["x"], Vec::new())).collect(),
            ..GraphProto::default()
        };
        let factors = Factors::of(&graph, &names.into_iter().collect(), Some(0.5));
        assert_eq!(names.map(|name| factors.of_weight(name)), [0.5, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn layers_are_what_pytorch_numbers() {
        let names = [
            "conv1.weight",
            "bn1.weight",
            "layer1.0.conv1.weight",
            "layer1.0.bn1.bias",
            "layer1.1.conv1.weight",
            "fc.weight",
        ];
        assert_eq!(factors(&names), [0.125, 0.125, 0.25, 0.25, 0.5, 1.0]);
        let names = [
            "patch.proj.weight",
            "blocks.0.attn.qkv.weight",
            "blocks.0.mlp.0.weight",
            "pool.weight",
            "blocks.1.norm.weight",
        ];
        assert_eq!(factors(&names), [0.25, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!(factors(&["conv.weight", "norm.weight", "norm.bias", "linear.weight"]), [0.25, 0.5, 0.5, 1.0]);
        assert_eq!(factors(&["0.weight", "2.weight"]), [0.5, 1.0]);
        // What an exporter makes of axes and lengths is no layer, and neither is it one in a place.
        assert_eq!(factors(&["val_1", "layer1.0.w", "val_2", "layer1.1.w", "val_3"]), [1.0, 0.5, 1.0, 1.0, 1.0]);
        assert_eq!(factors(&["conv/kernel:0", "conv/bias:0", "linear/kernel:0"]), [0.5, 0.5, 1.0]);
        let none = Factors::of(&GraphProto::default(), &HashSet::new(), None);
        assert!(none.of_weight("pdloss.proxies") == 1.0 && none.said().is_none());
    }
}
