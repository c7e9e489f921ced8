//! PD-Loss behind an embedder, in one of three spellings.
//!
//! [`Spelling::Operator`] is one node of this project's domain, for an ONNX Runtime with its library. [`Spelling::Function`]
//! is the same loss written out in standard operators (opset 17) as a function inside the model, [`Spelling::Inline`] the
//! same nodes in the graph itself, for runtimes that know no functions; these form all `B x C` similarities. All give the
//! same loss and moments from the same inputs.

use std::collections::HashMap;

use crate::loss::{Config, FloorMode, Form, VARIANCE_FLOOR, random_proxies};

use super::{
    Error, Result,
    build::{Dim, Element, Value, attribute, declare, declared, floats, integers, node},
    proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto},
};

/// The domain of the operators.
pub const DOMAIN: &str = "com.pdloss";
/// The domain of the function: its own, so that a model with the function can be opened where the operators are registered.
pub const FUNCTION_DOMAIN: &str = "com.pdloss.function";
/// The name of operator and function.
pub const NAME: &str = "PDLoss";
/// What the names of all that the loss adds start with, but for the labels.
const PREFIX: &str = "pdloss.";
/// The oldest version of the standard operators that the function can be written in.
pub const OPSET: i64 = 17;

/// How the loss is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// One node of the domain [`DOMAIN`].
    Operator,
    /// A function in standard operators.
    Function,
    /// Standard operators in the graph itself.
    Inline,
}

/// What to put behind an embedder.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The loss.
    pub config: Config,
    /// How it is written.
    pub spelling: Spelling,
    /// Which of the model's outputs holds the embeddings; the only one where `None`.
    pub embeddings: Option<String>,
    /// The type of the labels: [`Element::I64`] or [`Element::I32`].
    pub labels: Element,
    /// Rows of the proxies.
    pub classes: usize,
    /// The length of an embedding, for models that do not declare it.
    pub dim: Option<usize>,
}

/// The names of what [`attach`] adds to a graph.
pub mod names {
    /// Input: class numbers.
    pub const LABELS: &str = "labels";
    /// Initializer: the proxies.
    pub const PROXIES: &str = "pdloss.proxies";
    /// Output: the loss.
    pub const LOSS: &str = "pdloss.loss";
    /// What the operator keeps for its gradient; no output of the graph.
    pub const SAVED: &str = "pdloss.saved";
    /// Output: mu_genuine, mu_impostor, var_genuine, var_impostor, d', n_genuine, n_impostor, bad labels; float64.
    pub const MOMENTS: &str = "pdloss.moments";
}

/// Adds labels, proxies and the loss to the model; the embedder's own outputs stay.
///
/// The proxies' first values are random, drawn by `seed`.
///
/// # Errors
/// When the embedder does not end in one `[batch, dim]` tensor of floats, uses a name that the loss needs, or is older than
/// opset 17 where the loss is spelt in standard operators.
pub fn attach(model: &mut ModelProto, head: &Head, seed: u64) -> Result<()> {
    let opset =
        model.opset_import.iter().find(|set| matches!(set.domain(), "" | "ai.onnx")).map_or(0, |set| set.version());
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let place = find_embeddings(graph, head)?;
    refuse_taken_names(graph)?;

    let proxies = random_proxies::<f64>(head.classes, place.dim, seed)
        .map_err(|error| Error::model("proxies", error.to_string()))?;
    let values = proxies.into_raw_vec_and_offset().0;
    graph.initializer.push(floats(names::PROXIES, place.element, &[head.classes, place.dim], &values));
    graph.input.push(declare(names::LABELS, head.labels, std::slice::from_ref(&place.batch)));
    graph.output.push(declare(names::LOSS, place.element, &[]));
    graph.output.push(declare(names::MOMENTS, Element::F64, &[Dim::Known(8)]));

    let inputs = [place.name.as_str(), names::PROXIES, names::LABELS];
    let outputs = [names::LOSS, names::MOMENTS];
    if head.spelling != Spelling::Operator && opset < OPSET {
        let reason = format!("wanted opset {OPSET} or newer to write the loss in, got {opset}");
        return Err(Error::model("model", reason));
    }
    let mut call = node(NAME, &inputs, &outputs, Vec::new());
    let domain = match head.spelling {
        Spelling::Operator => {
            call.attribute = attributes(&head.config);
            call.output.push(names::SAVED.to_owned());
            DOMAIN
        }
        Spelling::Inline => {
            graph.node.extend(inlined(function(&head.config, place.element, opset), &inputs, &outputs));
            return Ok(());
        }
        Spelling::Function => {
            model.functions.push(function(&head.config, place.element, opset));
            // Functions inside a model came with the 8th version of the format.
            model.ir_version = model.ir_version.max(Some(8));
            FUNCTION_DOMAIN
        }
    };
    call.domain = Some(domain.to_owned());
    graph.node.push(call);
    if model.opset_import.iter().all(|set| set.domain() != domain) {
        model.opset_import.push(opset_import(domain, 1));
    }
    Ok(())
}

/// The nodes of a function, its inputs and outputs under the caller's names and all else under `pdloss.`.
fn inlined(function: FunctionProto, inputs: &[&str], outputs: &[&str]) -> Vec<NodeProto> {
    let formal = function.input.iter().chain(&function.output);
    let actual = inputs.iter().chain(outputs);
    let given: HashMap<&String, &&str> = formal.zip(actual).collect();
    let rename = |name: &mut String| {
        *name = given.get(name).map_or_else(|| format!("{PREFIX}{name}"), |actual| (**actual).to_owned());
    };
    let mut nodes = function.node;
    for node in &mut nodes {
        node.input.iter_mut().chain(&mut node.output).for_each(rename);
    }
    nodes
}

/// The embedder's output.
struct Place {
    name: String,
    element: Element,
    batch: Dim,
    dim: usize,
}

fn find_embeddings(graph: &GraphProto, head: &Head) -> Result<Place> {
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name()).collect();
    let output = match &head.embeddings {
        Some(name) => graph.output.iter().find(|output| output.name() == name),
        None if outputs.len() == 1 => graph.output.first(),
        None => {
            return Err(Error::model(
                "embedder",
                format!("say which of its outputs holds the embeddings: {outputs:?}"),
            ));
        }
    };
    let Some(output) = output else {
        let name = head.embeddings.as_deref().unwrap_or_default();
        return Err(Error::model("embedder", format!("it has no output '{name}', only {outputs:?}")));
    };
    let name = output.name().to_owned();
    let wrong = |got: String| Error::model(&name, format!("wanted [batch, dim] of float32 or float64, got {got}"));
    let (element, shape) = declared(output).ok_or_else(|| wrong("another type".to_owned()))?;
    if !matches!(element, Element::F32 | Element::F64) {
        return Err(wrong("integers".to_owned()));
    }
    let (batch, dim) = match shape.as_deref() {
        Some([batch, dim]) => (batch.clone(), dim.clone()),
        Some(shape) => return Err(wrong(format!("{} axes", shape.len()))),
        None => (Dim::Unknown, Dim::Unknown),
    };
    let dim = match (dim, head.dim) {
        (Dim::Known(dim), Some(told)) if dim != told => {
            return Err(Error::model(name, format!("its embeddings have {dim} numbers, not {told}")));
        }
        (Dim::Known(dim), _) | (_, Some(dim)) => dim,
        _ => return Err(Error::model(name, "the model does not say how long an embedding is; give it")),
    };
    Ok(Place { name, element, batch, dim })
}

fn refuse_taken_names(graph: &GraphProto) -> Result<()> {
    let inputs = graph.input.iter().map(|input| input.name());
    let initializers = graph.initializer.iter().map(TensorProto::name);
    let results = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let is_taken = |name: &&str| *name == names::LABELS || name.starts_with(PREFIX);
    match inputs.chain(initializers).chain(results).find(is_taken) {
        Some(name) => Err(Error::model(name, "the embedder uses this name already; the loss needs it")),
        None => Ok(()),
    }
}

fn opset_import(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

#[expect(clippy::cast_possible_truncation, reason = "an attribute is a 32-bit number")]
fn attributes(config: &Config) -> Vec<AttributeProto> {
    vec![
        attribute("form", Value::Text(config.form().to_string())),
        attribute("temperature", Value::Float(config.temperature() as f32)),
        attribute("floor", Value::Float(config.floor() as f32)),
        attribute("floor_mode", Value::Text(config.floor_mode().to_string())),
        attribute("eps", Value::Float(config.eps() as f32)),
    ]
}

/// The loss and its moments in standard operators: `PDLoss(embeddings, proxies, labels) -> (loss, moments)`.
///
/// Two passes over the similarities: means first, then the squares of what is left. Differentiable everywhere: no branch,
/// the floor is `Relu`.
#[must_use]
pub fn function(config: &Config, element: Element, opset: i64) -> FunctionProto {
    let mut body = Body { element, nodes: Vec::new() };
    unit_rows(&mut body, "embeddings", "z");
    unit_rows(&mut body, "proxies", "q");
    body.with("Transpose", &["q"], "q_t", vec![attribute("perm", Value::Ints(vec![1, 0]))]);
    body.op("MatMul", &["z", "q_t"], "s");
    moments(&mut body);
    form(&mut body, config);
    report(&mut body, config);
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FunctionProto {
        name: Some(NAME.to_owned()),
        domain: Some(FUNCTION_DOMAIN.to_owned()),
        input: strings(&["embeddings", "proxies", "labels"]),
        output: strings(&["loss", "moments"]),
        node: body.nodes,
        opset_import: vec![opset_import("", opset)],
        doc_string: Some("PD-Loss (arXiv 2508.17082) in standard operators".to_owned()),
        ..FunctionProto::default()
    }
}

/// `rows / max(|rows|, 1e-12)`.
fn unit_rows(body: &mut Body, rows: &str, unit: &str) {
    let name = |part: &str| format!("{unit}_{part}");
    body.op("Mul", &[rows, rows], &name("squares"));
    body.sum(&name("squares"), &name("square"), Some(1), true);
    body.number(&name("least"), 1e-24);
    body.op("Max", &[&name("square"), &name("least")], &name("floored"));
    body.op("Sqrt", &[&name("floored")], &name("length"));
    body.op("Div", &[rows, &name("length")], unit);
}

/// From the similarities `s`: counts, `mu_g`, `mu_m`, `var_g`, `var_m`.
fn moments(body: &mut Body) {
    let axis = vec![attribute("axis", Value::Int(1))];
    body.integers("last", &[1], &[1]);
    body.op("Unsqueeze", &["labels", "last"], "column");
    body.with("GatherElements", &["s", "column"], "g", axis); // [B, 1], the similarity to the own class
    body.op("Shape", &["g"], "g_shape");
    body.op("Shape", &["s"], "s_shape");
    for (name, shape) in [("n_g", "g_shape"), ("n_all", "s_shape")] {
        let float = format!("{shape}_float");
        body.cast(shape, &float, body.element);
        body.with("ReduceProd", &[&float], name, vec![attribute("keepdims", Value::Int(0))]);
    }
    body.op("Sub", &["n_all", "n_g"], "n_m");

    body.sum("g", "sum_g", None, false);
    body.sum("s", "sum_all", None, false);
    body.op("Sub", &["sum_all", "sum_g"], "sum_m");
    body.op("Div", &["sum_g", "n_g"], "mu_g");
    body.op("Div", &["sum_m", "n_m"], "mu_m");

    spread(body, "g", "mu_g", "g_from_g");
    body.op("Div", &["g_from_g", "n_g"], "var_g");
    spread(body, "s", "mu_m", "all_from_m");
    spread(body, "g", "mu_m", "g_from_m");
    body.op("Sub", &["all_from_m", "g_from_m"], "m_from_m");
    body.op("Div", &["m_from_m", "n_m"], "var_m");
}

/// `squares = sum((values - centre)^2)`
fn spread(body: &mut Body, values: &str, centre: &str, squares: &str) {
    let (away, square) = (format!("{squares}_away"), format!("{squares}_square"));
    body.op("Sub", &[values, centre], &away);
    body.op("Mul", &[&away, &away], &square);
    body.sum(&square, squares, None, false);
}

/// From the moments: `d_prime` and `loss`.
fn form(body: &mut Body, config: &Config) {
    body.op("Sub", &["mu_g", "mu_m"], "gap");
    body.op("Add", &["var_g", "var_m"], "variance");
    body.number("variance_floor", VARIANCE_FLOOR);
    body.op("Add", &["variance", "variance_floor"], "variance_floored");
    body.number("half", 0.5);
    body.op("Mul", &["variance_floored", "half"], "variance_mean");
    body.op("Sqrt", &["variance_mean"], "spread");
    body.op("Div", &["gap", "spread"], "d_prime");
    match (config.form(), config.floor_mode()) {
        (Form::Negative, _) => body.op("Neg", &["d_prime"], "loss"),
        (form, FloorMode::Tangent) => tangent(body, form, config.floor()),
        (form, FloorMode::Clamp) => clamp(body, form, config),
    }
}

/// `L(max(d', floor)) + slope * max(floor - d', 0)`: the curve above the floor, its tangent below.
fn tangent(body: &mut Body, form: Form, floor: f64) {
    held(body, "d_prime", floor, "d_held");
    let steepness = if form == Form::Log { 1.0 / floor } else { 1.0 / (floor * floor) };
    body.number("steepness", steepness);
    body.op("Mul", &["d_held_short", "steepness"], "below");
    if form == Form::Log {
        body.op("Log", &["d_held"], "log_d");
        body.op("Sub", &["below", "log_d"], "curve");
        body.number("half_log_2", 0.5 * std::f64::consts::LN_2);
        body.op("Add", &["curve", "half_log_2"], "loss");
    } else {
        body.op("Reciprocal", &["d_held"], "inverse_d");
        body.op("Add", &["inverse_d", "below"], "loss");
    }
}

/// The paper's letter: `-log(max(gap / t, eps)) + log(V / t^2 + eps) / 2`, or the quotient of the same two.
fn clamp(body: &mut Body, form: Form, config: &Config) {
    body.number("temperature", config.temperature());
    body.op("Div", &["gap", "temperature"], "gap_scaled");
    held(body, "gap_scaled", config.eps(), "gap_held");
    body.number("temperature_square", config.temperature() * config.temperature());
    body.op("Div", &["variance", "temperature_square"], "variance_scaled");
    body.number("eps", config.eps());
    body.op("Add", &["variance_scaled", "eps"], "variance_widened");
    if form == Form::Log {
        body.op("Log", &["gap_held"], "log_gap");
        body.op("Log", &["variance_widened"], "log_variance");
        body.op("Mul", &["log_variance", "half"], "half_log_variance");
        body.op("Sub", &["half_log_variance", "log_gap"], "loss");
    } else {
        body.op("Mul", &["variance_widened", "half"], "half_variance");
        body.op("Sqrt", &["half_variance"], "spread_scaled");
        body.op("Div", &["spread_scaled", "gap_held"], "loss");
    }
}

/// `out = max(value, least)`, as `value + Relu(least - value)`: NaN stays NaN. `{out}_short` is what was missing.
fn held(body: &mut Body, value: &str, least: f64, out: &str) {
    let (limit, difference, short) = (format!("{out}_limit"), format!("{out}_difference"), format!("{out}_short"));
    body.number(&limit, least);
    body.op("Sub", &[&limit, value], &difference);
    body.op("Relu", &[&difference], &short);
    body.op("Add", &[value, &short], out);
}

/// The eight moments as one float64 vector, means and variances with the temperature as in the paper.
fn report(body: &mut Body, config: &Config) {
    body.number("scale", 1.0 / config.temperature());
    body.number("scale_square", 1.0 / (config.temperature() * config.temperature()));
    for (name, scale) in [("mu_g", "scale"), ("mu_m", "scale"), ("var_g", "scale_square"), ("var_m", "scale_square")] {
        body.op("Mul", &[name, scale], &format!("{name}_reported"));
    }
    body.number("no_bad_labels", 0.0);
    body.integers("one", &[1], &[1]);
    let parts = [
        "mu_g_reported",
        "mu_m_reported",
        "var_g_reported",
        "var_m_reported",
        "d_prime",
        "n_g",
        "n_m",
        "no_bad_labels",
    ];
    let vectors: Vec<String> = parts.iter().map(|part| format!("{part}_vector")).collect();
    for (part, vector) in parts.iter().zip(&vectors) {
        body.op("Reshape", &[part, "one"], vector);
    }
    let vectors: Vec<&str> = vectors.iter().map(String::as_str).collect();
    body.with("Concat", &vectors, "moments_as_given", vec![attribute("axis", Value::Int(0))]);
    body.cast("moments_as_given", "moments", Element::F64);
}

/// The nodes of a function under construction.
struct Body {
    element: Element,
    nodes: Vec<NodeProto>,
}

impl Body {
    fn op(&mut self, operator: &str, inputs: &[&str], output: &str) {
        self.with(operator, inputs, output, Vec::new());
    }

    fn with(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) {
        self.nodes.push(node(operator, inputs, &[output], attributes));
    }

    fn number(&mut self, name: &str, value: f64) {
        let tensor = floats(name, self.element, &[], &[value]);
        self.with("Constant", &[], name, vec![attribute("value", Value::Tensor(Box::new(tensor)))]);
    }

    fn integers(&mut self, name: &str, shape: &[usize], values: &[i64]) {
        let tensor = integers(name, shape, values);
        self.with("Constant", &[], name, vec![attribute("value", Value::Tensor(Box::new(tensor)))]);
    }

    fn cast(&mut self, input: &str, output: &str, element: Element) {
        self.with("Cast", &[input], output, vec![attribute("to", Value::Int(i64::from(element.code())))]);
    }

    /// Sums along an axis, or everything.
    fn sum(&mut self, input: &str, output: &str, axis: Option<i64>, keep: bool) {
        let keep = vec![attribute("keepdims", Value::Int(i64::from(keep)))];
        match axis {
            Some(axis) => {
                let axes = format!("{output}_axes");
                self.integers(&axes, &[1], &[axis]);
                self.with("ReduceSum", &[input, &axes], output, keep);
            }
            None => self.with("ReduceSum", &[input], output, keep),
        }
    }
}
