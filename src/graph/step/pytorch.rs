//! What PyTorch's exporters say of a model's tensors: which are parameters, and what became of those that are not there.

use std::collections::{HashMap, HashSet};

use super::description::listed;
use crate::graph::{
    literal,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
};

/// Where the exporter of `torch.export` programs writes its program's inputs down, a line each.
const SIGNATURE: &str = "pkg.torch.export.ExportedProgram.graph_signature";

/// What a tensor is in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `torch.nn.Parameter`.
    Parameter,
    /// A buffer, or a constant of the program.
    Buffer,
    /// The exporter computed it, and of constants alone: every parameter is in the model.
    Computed,
}

/// What the exporter says.
#[derive(Clone, Debug, Default)]
pub(super) struct Export {
    /// Whether PyTorch wrote the model.
    pub(super) is_pytorch: bool,
    /// The tensors by their names in the module; empty where the exporter says nothing, as the older one does.
    tensors: HashMap<String, Origin>,
    /// The parameters that no tensor of the model is called after.
    missing: Vec<String>,
}

impl Export {
    pub(super) fn of(model: &ModelProto) -> Self {
        let is_pytorch = model.producer_name().eq_ignore_ascii_case("pytorch");
        let Some(graph) = &model.graph else { return Self { is_pytorch, ..Self::default() } };
        let text = graph.metadata_props.iter().find(|entry| entry.key() == SIGNATURE).map_or("", |entry| entry.value());
        let lines: Vec<(String, Origin)> = text.lines().filter_map(line).collect();
        let present: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        let is_missing =
            |(name, origin): &&(String, Origin)| *origin == Origin::Parameter && !present.contains(name.as_str());
        let missing = lines.iter().filter(is_missing).map(|(name, _)| name.clone()).collect();
        Self { is_pytorch, tensors: lines.into_iter().collect(), missing }
    }

    /// Whether it says of its tensors what they are.
    pub(super) fn tells(&self) -> bool {
        !self.tensors.is_empty()
    }

    /// Whether PyTorch wrote the model, by the exporter that says nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.is_pytorch && !self.tells()
    }

    /// What a tensor is, where that is known.
    pub(super) fn origin(&self, name: &str) -> Option<Origin> {
        let unnamed = || (self.tells() && self.missing.is_empty()).then_some(Origin::Computed);
        self.tensors.get(name).copied().or_else(unnamed)
    }

    /// What of the module is not in the model as it was, in sentences.
    pub(super) fn notes(&self, graph: &GraphProto) -> Vec<String> {
        let mut notes = Vec::new();
        let of_norm = |name: &str| {
            let module = name.rsplit_once('.').map_or("", |(module, _)| module);
            let is_norm = self.tensors.contains_key(&format!("{module}.running_mean"));
            is_norm.then(|| module.to_owned())
        };
        let mut norms: Vec<String> = self.missing.iter().filter_map(|name| of_norm(name)).collect();
        norms.dedup();
        let others: Vec<&String> = self.missing.iter().filter(|name| of_norm(name).is_none()).collect();
        if !norms.is_empty() {
            notes.push(format!(
                "the exporter folded the BatchNormalization of {} into other layers: without it they train otherwise than in \
                 PyTorch; torch.onnx.export(..., optimize=False) keeps it",
                listed(&norms)
            ));
        }
        if !others.is_empty() {
            notes.push(format!(
                "{} of PyTorch's parameters are not in the model under their names, as the exporter transposed or computed with \
                 them, merged equal ones or left zeros out: {}; torch.onnx.export(..., optimize=False) keeps them",
                others.len(),
                listed(&others)
            ));
        }
        notes.extend(self.computed_numbers(graph));
        if !self.tells() {
            notes.extend(folded(graph));
            notes.extend(doubled(graph));
        }
        notes
    }

    /// Single numbers that the exporter computed from a parameter: they do not follow it in training.
    fn computed_numbers(&self, graph: &GraphProto) -> Vec<String> {
        let single = |tensor: &TensorProto| match literal::any_floats(tensor).as_deref() {
            Some([value]) => Some((tensor.name().to_owned(), *value)),
            _ => None,
        };
        let all = graph
            .initializer
            .iter()
            .filter(|tensor| literal::lengths(tensor).and_then(|l| literal::count(&l)) == Some(1));
        let numbers: Vec<(String, f64)> = all.filter_map(single).collect();
        let (named, made): (Vec<_>, Vec<_>) =
            numbers.iter().partition(|(name, _)| self.tensors.get(name) == Some(&Origin::Parameter));
        let functions: [Named; 5] =
            [("1 / x", |x| 1.0 / x), ("-x", |x| -x), ("exp x", f64::exp), ("sqrt x", f64::sqrt), ("x^2", |x| x * x)];
        let is_arithmetic = |node: &&NodeProto| matches!(node.op_type(), "Mul" | "Div" | "Pow" | "Add" | "Sub");
        let mut notes = Vec::new();
        for (made, value) in made.into_iter().filter(|(name, _)| !self.tensors.contains_key(name)) {
            let used = graph.node.iter().filter(is_arithmetic).any(|node| node.input.contains(made));
            let is_near = |x: f64| (x - value).abs() <= 1e-6 * value.abs() && x != 1.0;
            let found = named.iter().find_map(|(name, x)| {
                functions.iter().find(|(_, function)| is_near(function(*x))).map(|(word, _)| (name, word))
            });
            if let (true, Some((name, word))) = (used, found) {
                notes.push(format!(
                    "'{made}' is {word} of the parameter '{name}', computed by the exporter: it stays when that is trained; \
                     torch.onnx.export(..., optimize=False) keeps it"
                ));
            }
        }
        notes
    }
}

/// A function by its formula.
type Named = (&'static str, fn(f64) -> f64);

/// `p_head_scale: PARAMETER target='head.scale'`
fn line(line: &str) -> Option<(String, Origin)> {
    let (_, rest) = line.split_once(": ")?;
    let (kind, rest) = rest.split_once(" target='")?;
    let name = rest.split('\'').next()?;
    let origin = match kind {
        "PARAMETER" => Origin::Parameter,
        "BUFFER" | "CONSTANT_TENSOR" => Origin::Buffer,
        _ => return None,
    };
    Some((name.to_owned(), origin))
}

/// Tensors that the exporter made, by folding constants, of others that are still there: the same numbers in another shape or order.
fn doubled(graph: &GraphProto) -> Vec<String> {
    let count =
        |tensor: &TensorProto| literal::lengths(tensor).and_then(|lengths| literal::count(&lengths)).unwrap_or(0);
    let (made, own): (Vec<&TensorProto>, Vec<&TensorProto>) = graph
        .initializer
        .iter()
        .filter(|tensor| count(tensor) > 1)
        .partition(|tensor| tensor.name().starts_with("onnx::"));
    let counts: HashSet<usize> = made.iter().map(|tensor| count(tensor)).collect();
    let sorted = |tensor: &TensorProto| {
        let mut values = literal::any_floats(tensor)?;
        values.sort_unstable_by(f64::total_cmp);
        // Masks and tables of one number are nobody's weights.
        (values.first() != values.last()).then_some(values)
    };
    let own: Vec<(&str, Vec<f64>)> = own
        .into_iter()
        .filter(|tensor| counts.contains(&count(tensor)))
        .filter_map(|tensor| Some((tensor.name(), sorted(tensor)?)))
        .collect();
    let said = |tensor: &TensorProto| {
        let values = sorted(tensor)?;
        let (name, _) = own.iter().find(|(_, other)| *other == values)?;
        Some(format!(
            "'{}' has the numbers of '{name}' in another shape or order: the exporter computed it from that, and they part where they are trained; \
             torch.onnx.export(..., do_constant_folding=False) keeps one",
            tensor.name()
        ))
    };
    made.into_iter().filter_map(said).collect()
}

/// Convolutions into which BatchNormalization was folded, or may have been.
fn folded(graph: &GraphProto) -> Option<String> {
    let is = |name: &'static str| move |node: &&NodeProto| node.is_standard() && node.op_type() == name;
    let convolutions: Vec<&NodeProto> = graph.node.iter().filter(is("Conv")).collect();
    let made = convolutions.iter().filter(|node| {
        [1, 2].iter().all(|&index| node.given(index).is_some_and(|name| name.starts_with("onnx::Conv_")))
    });
    let (made, all) = (made.count(), convolutions.len());
    if made > 0 {
        return Some(format!(
            "{made} of {all} convolutions have weights and biases that the exporter computed, as it does where it folds \
             BatchNormalization into them: without it they train otherwise than in PyTorch; torch.onnx.export(..., \
             training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False) keeps it"
        ));
    }
    let has_norm = graph.node.iter().any(|node| node.op_type().ends_with("Normalization"));
    let with_bias = convolutions.iter().filter(|node| node.given(2).is_some()).count();
    (!has_norm && with_bias == all && all > 1).then(|| {
        format!(
            "all {all} convolutions have a bias, and nothing normalises behind them: if the net had BatchNormalization, the \
             exporter folded it into them, and they train without"
        )
    })
}
