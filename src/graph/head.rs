//! PD-Loss behind an embedder, in one of three spellings.
//!
//! [`Spelling::Operator`] is one node of this project's domain, for an ONNX Runtime with its library. [`Spelling::Function`]
//! is the same loss written out in standard operators (opset 17) as a function inside the model, [`Spelling::Inline`] the
//! same nodes in the graph itself, for runtimes that know no functions; these form all `B x C` similarities. All give the
//! same loss and moments from the same inputs.

use crate::loss::Config;

use super::{
    Error, Result,
    build::{Dim, Element, Value, attribute, declare, declared, node},
    losses,
    nodes::Nodes,
    proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto, TypeProtoValue},
    proxies,
};

/// The domain of the operators.
pub const DOMAIN: &str = "com.pdloss";
/// The domain of the function: its own, so that a model with the function can be opened where the operators are registered.
pub const FUNCTION_DOMAIN: &str = "com.pdloss.function";
/// The name of operator and function.
pub const NAME: &str = "PDLoss";
/// What the names of all that the loss adds start with.
pub(super) const PREFIX: &str = "pdloss.";
/// The oldest version of the standard operators that the function can be written in.
pub const OPSET: i64 = 17;

/// How the loss is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
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

impl Head {
    /// Behind the model's only output, with int64 labels.
    #[must_use]
    pub fn new(config: Config, spelling: Spelling, classes: usize) -> Self {
        Self { config, spelling, embeddings: None, labels: Element::I64, classes, dim: None }
    }
}

/// The names of what [`attach`] adds to a graph.
pub mod names {
    /// Input: class numbers.
    pub const LABELS: &str = "pdloss.labels";
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
    let place = find_embeddings(graph, head.embeddings.as_deref(), head.dim)?;
    refuse_taken_names(graph)?;

    graph.initializer.push(proxies::random(
        names::PROXIES,
        place.element,
        ([head.classes, place.dim], (0, head.classes)),
        seed,
    )?);
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
            let mut nodes = Nodes::new(PREFIX, place.element, opset);
            let written = losses::pd_loss(&mut nodes, &head.config, &place.name, names::PROXIES, names::LABELS);
            nodes.rename(written.loss, names::LOSS);
            nodes.rename(written.moments.unwrap_or_default(), names::MOMENTS);
            graph.node.extend(nodes.list);
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

/// The embedder's output.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) batch: Dim,
    pub(super) dim: usize,
}

/// `wanted` names the output, where there are several; `told` is the length of an embedding, where the model does not say.
pub(super) fn find_embeddings(graph: &GraphProto, wanted: Option<&str>, told: Option<usize>) -> Result<Place> {
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name()).collect();
    let output = match wanted {
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
        let name = wanted.unwrap_or_default();
        return Err(Error::model("embedder", format!("it has no output '{name}', only {outputs:?}")));
    };
    let name = output.name().to_owned();
    let wrong = |got: String| Error::model(&name, format!("wanted [batch, dim] of float32 or float64, got {got}"));
    let other_type = || match output.r#type.as_ref().and_then(|of| of.value.as_ref()) {
        Some(TypeProtoValue::TensorType(tensor)) => match tensor.elem_type() {
            10 => "float16; a model that computes in float32 has it".to_owned(),
            16 => "bfloat16; a model that computes in float32 has it".to_owned(),
            code => format!("numbers of ONNX's type {code}"),
        },
        Some(_) => "no tensor".to_owned(),
        None => "no type".to_owned(),
    };
    let (element, shape) = declared(output).ok_or_else(|| wrong(other_type()))?;
    if !matches!(element, Element::F32 | Element::F64) {
        return Err(wrong("integers".to_owned()));
    }
    let (batch, dim) = match shape.as_deref() {
        Some([batch, dim]) => (batch.clone(), dim.clone()),
        Some(shape) => return Err(wrong(format!("{} axes", shape.len()))),
        None => (Dim::Unknown, Dim::Unknown),
    };
    let dim = match (dim, told) {
        (Dim::Known(dim), Some(told)) if dim != told => {
            return Err(Error::model(name, format!("its embeddings have {dim} numbers, not {told}")));
        }
        (Dim::Known(dim), _) | (_, Some(dim)) => dim,
        _ => return Err(Error::model(name, "the model does not say how long an embedding is; give it")),
    };
    Ok(Place { name, element, batch, dim })
}

pub(super) fn refuse_taken_names(graph: &GraphProto) -> Result<()> {
    let inputs = graph.input.iter().map(|input| input.name());
    let initializers = graph.initializer.iter().map(TensorProto::name);
    let results = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    match inputs.chain(initializers).chain(results).find(|name| name.starts_with(PREFIX)) {
        Some(name) => Err(Error::model(name, "the embedder uses this name already; the loss needs it")),
        None => Ok(()),
    }
}

pub(super) fn opset_import(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

#[expect(clippy::cast_possible_truncation, reason = "an attribute is a 32-bit number")]
pub(super) fn attributes(config: &Config) -> Vec<AttributeProto> {
    vec![
        attribute("form", Value::Text(config.form().to_string())),
        attribute("temperature", Value::Float(config.temperature() as f32)),
        attribute("floor", Value::Float(config.floor() as f32)),
        attribute("floor_mode", Value::Text(config.floor_mode().to_string())),
        attribute("eps", Value::Float(config.eps() as f32)),
    ]
}

/// The loss and its moments in standard operators: `PDLoss(embeddings, proxies, labels) -> (loss, moments)`.
#[must_use]
pub fn function(config: &Config, element: Element, opset: i64) -> FunctionProto {
    let mut nodes = Nodes::new("", element, opset);
    let written = losses::pd_loss(&mut nodes, config, "embeddings", "proxies", "labels");
    nodes.rename(written.loss, "loss");
    nodes.rename(written.moments.unwrap_or_default(), "moments");
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FunctionProto {
        name: Some(NAME.to_owned()),
        domain: Some(FUNCTION_DOMAIN.to_owned()),
        input: strings(&["embeddings", "proxies", "labels"]),
        output: strings(&["loss", "moments"]),
        node: nodes.list,
        opset_import: vec![opset_import("", opset)],
        doc_string: Some("PD-Loss (arXiv 2508.17082) in standard operators".to_owned()),
        ..FunctionProto::default()
    }
}
