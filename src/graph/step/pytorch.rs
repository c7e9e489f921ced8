//! What PyTorch's exporters say of a model's tensors: which are parameters, and what became of those that are not there.

use std::collections::{BTreeMap, HashMap, HashSet};

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
    /// The buffers of which that is true, but for those of normalisations.
    missing_buffers: Vec<String>,
    /// Tensors that the exporter made of a parameter that is still there, and that.
    made: BTreeMap<String, String>,
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
        let tensors: HashMap<String, Origin> = lines.iter().cloned().collect();
        let is_lost = |(name, origin): &&(String, Origin)| {
            let is_there = present.contains(name.as_str());
            *origin == Origin::Buffer && !is_there && module_of_norm(&tensors, name).is_none()
        };
        let missing_buffers = lines.iter().filter(is_lost).map(|(name, _)| name.clone()).collect();
        let made = match (tensors.is_empty(), is_pytorch) {
            (false, _) => {
                let is_own = |name: &str| tensors.get(name) == Some(&Origin::Parameter);
                made_of(graph, |name| !tensors.contains_key(name), is_own)
            }
            (true, true) => made_of(graph, |name| name.starts_with("onnx::"), |_| true),
            (true, false) => BTreeMap::new(),
        };
        Self { is_pytorch, tensors, missing, missing_buffers, made }
    }

    /// Whether it says of its tensors what they are.
    pub(super) fn tells(&self) -> bool {
        !self.tensors.is_empty()
    }

    /// Whether PyTorch wrote the model, by the exporter that says nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.is_pytorch && !self.tells()
    }

    /// What a tensor is, where that is known. What was made of a parameter is trained in its place.
    pub(super) fn origin(&self, name: &str) -> Option<Origin> {
        let of_parameter = || (self.tells() && self.made.contains_key(name)).then_some(Origin::Parameter);
        let unnamed = || (self.tells() && self.missing.is_empty()).then_some(Origin::Computed);
        self.tensors.get(name).copied().or_else(of_parameter).or_else(unnamed)
    }

    /// What of the module is not in the model as it was, in sentences.
    pub(super) fn notes(&self, graph: &GraphProto) -> Vec<String> {
        let mut notes = Vec::new();
        let of_norm = |name: &str| module_of_norm(&self.tensors, name);
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
        notes.extend(self.of_buffers(graph));
        notes.extend(self.computed_numbers(graph));
        if !self.tells() {
            notes.extend(folded(graph));
        }
        let cure = if self.tells() { "optimize=False" } else { "do_constant_folding=False" };
        notes.extend(self.made.iter().map(|(made, of)| {
            format!(
                "'{made}' has the numbers of '{of}' in another shape or order, or some of them: the exporter computed it from that, and they \
                 part where they are trained; torch.onnx.export(..., {cure}) keeps one"
            )
        }));
        notes
    }

    /// Buffers that are not there, where the exporter's own tensors are trained: these may be made of them.
    fn of_buffers(&self, graph: &GraphProto) -> Option<String> {
        let is_made = |name: &str| !self.tensors.contains_key(name) && !self.made.contains_key(name);
        let of_floats = |tensor: &&TensorProto| {
            let count = literal::lengths(tensor).and_then(|lengths| literal::count(&lengths));
            count > Some(1) && is_made(tensor.name()) && literal::any_floats(tensor).is_some()
        };
        let made: Vec<&str> = graph.initializer.iter().filter(of_floats).map(TensorProto::name).collect();
        let may_be = !self.missing_buffers.is_empty() && !self.missing.is_empty() && !made.is_empty();
        may_be.then(|| {
            format!(
                "buffers are not in the model under their names, as the exporter computed with them: {}; what it made of them cannot be told \
                 from what it made of parameters, and is trained, too, if it is among {}; torch.onnx.export(..., optimize=False) keeps them",
                listed(&self.missing_buffers.iter().collect::<Vec<_>>()),
                listed(&made)
            )
        })
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

/// The module of a tensor, where that is a BatchNormalization.
fn module_of_norm(tensors: &HashMap<String, Origin>, name: &str) -> Option<String> {
    let module = name.rsplit_once('.').map_or("", |(module, _)| module);
    tensors.contains_key(&format!("{module}.running_mean")).then(|| module.to_owned())
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

/// Which tensors have the numbers of a parameter that is still there, all of them in another shape or order or a share of them: the
/// exporter made them of it, by folding constants. `is_made` says which may be so, `is_own` of which.
fn made_of(
    graph: &GraphProto,
    is_made: impl Fn(&str) -> bool,
    is_own: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    /// A table of so few different numbers may share them with a weight by chance.
    const FEW: usize = 4;
    let count =
        |tensor: &TensorProto| literal::lengths(tensor).and_then(|lengths| literal::count(&lengths)).unwrap_or(0);
    let of = |is: &dyn Fn(&str) -> bool| -> Vec<&TensorProto> {
        graph.initializer.iter().filter(|tensor| count(tensor) > 1 && is(tensor.name())).collect()
    };
    let (made, own) = (of(&|name| is_made(name)), of(&|name| is_own(name) && !is_made(name)));
    let sorted = |tensor: &TensorProto| {
        let mut values = literal::any_floats(tensor)?;
        values.sort_unstable_by(f64::total_cmp);
        // Masks and tables of one number are nobody's weights.
        (values.first() != values.last()).then_some(values)
    };
    let mut known: HashMap<String, Option<Vec<f64>>> = HashMap::new();
    let mut found = BTreeMap::new();
    for tensor in made {
        // One that has no other numbers comes before one that has.
        let mut larger: Vec<&TensorProto> =
            own.iter().copied().filter(|own| count(own).is_multiple_of(count(tensor))).collect();
        larger.sort_by_key(|own| count(own));
        let Some(values) = (if larger.is_empty() { None } else { sorted(tensor) }) else { continue };
        let different = 1 + values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let mut is_of = |own: &TensorProto| {
            let theirs = known.entry(own.name().to_owned()).or_insert_with(|| sorted(own));
            let is_sure = different >= FEW || count(own) == values.len();
            is_sure && theirs.as_ref().is_some_and(|theirs| are_among(&values, theirs))
        };
        if let Some(own) = larger.into_iter().find(|own| is_of(own)) {
            found.insert(tensor.name().to_owned(), own.name().to_owned());
        }
    }
    found
}

/// Whether each of these numbers is among the others, as often; both in order.
fn are_among(values: &[f64], others: &[f64]) -> bool {
    let mut others = others.iter();
    values.iter().all(|value| others.by_ref().find(|other| *other >= value) == Some(value))
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
