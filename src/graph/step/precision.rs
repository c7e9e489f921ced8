//! Products in 16 bits: what of a step is computed in float16 or bfloat16, and how its loss is scaled.
//!
//! Matrix products and convolutions of the backbone, forward and backward, take numbers of 16 bits and give such numbers, as the
//! tensor cores of a GPU have it. All else is float32: weights in the state, statistics and normalisation, softmax, sums, the
//! loss, proxies and the optimiser. Two spellings:
//!
//! ```text
//! x ─ Cast(16) ─ Conv ─ Cast(32) ─ y                                  the node computes in 16 bits: for a device that has them
//! x ─ Cast(16) ─ Cast(32) ─ Conv ─ Cast(16) ─ Cast(32) ─ y            emulated: the same numbers in, rounded the same, for any runtime
//! ```
//!
//! Emulated, products are added up in float32, as tensor cores add them. What the gradient spells as a product with constants of
//! its own (sums, pools, interpolation) stays float32, and so does `ConvTranspose` in bfloat16, of which onnxruntime has no kernel.
//!
//! In float16 gradients are multiplied by a number `S` where they enter the backbone and divided by it where they leave it at a
//! weight, so that small ones do not vanish. A step whose gradients are not finite changes neither weights, proxies, averages nor
//! the optimiser, and halves `S`; so many finite steps one after the other double it (Micikevicius et al. 2018, "Mixed Precision
//! Training", section 3.2). Running statistics, what the loss keeps and the step's number follow every step. `S` is a power of two,
//! so that scaling rounds nothing.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    Kind, names,
    tensors::{Stays, Trained},
};
use crate::graph::{
    Error, Result,
    build::{Element, Value, attribute, declare, floats, integers, node},
    gradient::{self, Operators},
    head::{DOMAIN, Place},
    nodes::Nodes,
    proto::{GraphProto, ModelProto, NodeProto},
    shapes::Shapes,
};

/// What the names of what it adds start with.
const PREFIX: &str = "pdloss.precision.";

/// The opset from which on `Conv` knows bfloat16.
const CONV_OF_BFLOAT16: i64 = 22;

/// The largest scale: its inverse is still a normal number.
const LARGEST: f64 = 8.507_059_173_023_462e37; // 2^126

/// A floating-point type of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// IEEE 754's float16: 11 digits, up to 65504.
    F16,
    /// The upper half of a float32: 8 digits, its range.
    Bf16,
}

impl Half {
    /// The format's number.
    fn code(self) -> i64 {
        match self {
            Self::F16 => 10,
            Self::Bf16 => 16,
        }
    }
}

impl std::fmt::Display for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        })
    }
}

/// How the gradient's scale changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// The first one, a power of two.
    pub first: f64,
    /// After so many finite steps one after the other it is doubled.
    pub every: u64,
}

impl Default for LossScale {
    /// 65536, doubled after 2,000 steps, as PyTorch has it.
    fn default() -> Self {
        Self { first: 65536.0, every: 2000 }
    }
}

/// In what the backbone's products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// The type.
    pub half: Half,
    /// Whether float32 nodes round what they take and give, in place of nodes of 16 bits.
    pub emulated: bool,
    /// How gradients are scaled; none where they are not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scale: Option<LossScale>,
}

impl Precision {
    /// Of this type, with a loss scale for float16, whose gradients vanish without one.
    #[must_use]
    pub fn new(half: Half, emulated: bool) -> Self {
        Self { half, emulated, scale: (half == Half::F16).then(LossScale::default) }
    }

    /// Refuses what cannot be in a step of these operators.
    pub(super) fn check(&self, operators: Operators) -> Result<()> {
        if operators == Operators::Cpu && !self.emulated {
            let reason = "on the processor this project's operators compute in float32; wanted standard operators, or the emulated spelling";
            return Err(Error::model(format!("products in {}", self.half), reason));
        }
        let Some(LossScale { first, every }) = self.scale else { return Ok(()) };
        if !((1.0..=LARGEST).contains(&first) && first.log2().fract() == 0.0) {
            return Err(Error::model("loss scale", format!("wanted a power of two from 1 to 2^126, got {first}")));
        }
        if every == 0 || i64::try_from(every).is_err() {
            let reason = format!("wanted to double it after 1 to {} steps, got {every}", i64::MAX);
            return Err(Error::model("loss scale", reason));
        }
        Ok(())
    }
}

/// Which products are in 16 bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounded {
    /// How many nodes, forward and backward.
    pub products: usize,
    /// How many of the step stay float32 because the type has no kernel for them, by operator and reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left: Vec<(String, usize)>,
}

/// Marks where gradients enter the backbone, behind its embedding, and declares the scale.
pub(super) fn bound(graph: &mut GraphProto, place: &mut Place, precision: Precision) -> Result<()> {
    if place.element != Element::F32 {
        let reason = format!("products in {} want a backbone of float32, and it gives float64", precision.half);
        return Err(Error::model(place.name.as_str(), reason));
    }
    let bound = format!("{PREFIX}embeddings");
    let mut end = node("Identity", &[&place.name], &[&bound], Vec::new());
    end.doc_string = Some(gradient::entrance(precision.scale.map(|_| names::LOSS_SCALE)));
    graph.node.push(end);
    place.name = bound;
    if let Some(scale) = precision.scale {
        graph.initializer.push(floats(names::LOSS_SCALE, Element::F32, &[], &[scale.first]));
        graph.input.push(declare(names::LOSS_SCALE, Element::F32, &[]));
        for name in [names::FINITE_STEPS, names::SKIPPED_STEPS] {
            graph.initializer.push(integers(name, &[], &[0]));
            graph.input.push(declare(name, Element::I64, &[]));
        }
    }
    Ok(())
}

/// Divides the gradients of weights by the scale, which those of proxies have not.
///
/// # Errors
/// For a weight of float64.
pub(super) fn unscale(graph: &mut GraphProto, trained: &[Trained], gradients: &mut [String]) -> Result<()> {
    for (tensor, gradient) in trained.iter().zip(gradients).filter(|(tensor, _)| tensor.kind == Kind::Weight) {
        if tensor.element != Element::F32 {
            return Err(Error::model(tensor.name.as_str(), "a loss scale wants weights of float32, and it is float64"));
        }
        let name = format!("{PREFIX}{gradient}");
        graph.node.push(node("Div", &[gradient, names::LOSS_SCALE], &[&name], Vec::new()));
        *gradient = name;
    }
    Ok(())
}

/// Puts the products before `embeddings`, and those behind where gradients enter, into 16 bits.
///
/// # Errors
/// Where a convolution that bfloat16 is meant for has an opset that does not know it.
pub(super) fn round(model: &mut ModelProto, embeddings: &str, precision: Precision) -> Result<Rounded> {
    let (shapes, opset) = (Shapes::of(model)?, model.opset());
    let Some(graph) = model.graph.as_mut() else { return Ok(Rounded::default()) };
    let of_backbone = of_backbone(graph, embeddings);
    let constants: HashSet<String> = graph.node.iter().filter(|node| is_own_constant(node)).map(first).collect();
    let mut rounder = Rounder { precision, nodes: Vec::new(), rounded: HashMap::new() };
    let mut told = Rounded::default();
    for (mut node, is_of_backbone) in std::mem::take(&mut graph.node).into_iter().zip(of_backbone) {
        let is_float = |name: &String| name.is_empty() || shapes.element(name) == Some(Element::F32);
        let is_sum = node.input.iter().any(|name| constants.contains(name));
        if !is_of_backbone || !is_product(&node) || is_sum || !node.input.iter().all(is_float) {
            rounder.nodes.push(node);
            continue;
        }
        match lacks(&node, precision, opset) {
            Some(Lack::Stays(why)) => {
                let why = format!("{}: {why}", node.op_type());
                match told.left.iter_mut().find(|(reason, _)| *reason == why) {
                    Some((_, count)) => *count += 1,
                    None => told.left.push((why, 1)),
                }
                rounder.nodes.push(node);
                continue;
            }
            Some(Lack::Refused(why)) => return Err(node.error(why)),
            None => {}
        }
        told.products += 1;
        for name in node.input.iter_mut().filter(|name| !name.is_empty()) {
            *name = rounder.taken(name);
        }
        rounder.product(node);
    }
    graph.node = rounder.nodes;
    Ok(told)
}

/// Why a product is not computed in 16 bits.
enum Lack {
    Stays(&'static str),
    Refused(String),
}

fn lacks(node: &NodeProto, Precision { half, emulated, .. }: Precision, opset: i64) -> Option<Lack> {
    match (half, node.op_type()) {
        (Half::Bf16, "ConvTranspose") => Some(Lack::Stays("onnxruntime has no kernel of it in bfloat16")),
        (Half::Bf16, "Conv") if !emulated && opset < CONV_OF_BFLOAT16 => Some(Lack::Refused(format!(
            "convolutions know bfloat16 from opset {CONV_OF_BFLOAT16} on, and the model has opset {opset}; export it with opset \
             {CONV_OF_BFLOAT16} or newer, or take float16"
        ))),
        _ => None,
    }
}

/// Which nodes are of the backbone: what its embedding is computed from, and what its gradient comes back through.
fn of_backbone(graph: &GraphProto, embeddings: &str) -> Vec<bool> {
    let mut before = HashSet::from([embeddings]);
    let mut is_of: Vec<bool> = vec![false; graph.node.len()];
    for (node, is_of) in graph.node.iter().zip(&mut is_of).rev() {
        if node.output.iter().any(|name| before.contains(name.as_str())) {
            before.extend(node.input.iter().map(String::as_str));
            *is_of = true;
        }
    }
    let mut behind: HashSet<&str> = HashSet::new();
    for (node, is_of) in graph.node.iter().zip(&mut is_of) {
        if gradient::is_entrance_of_gradient(node) || node.input.iter().any(|name| behind.contains(name.as_str())) {
            behind.extend(node.output.iter().map(String::as_str).filter(|name| !name.is_empty()));
            *is_of = true;
        }
    }
    is_of
}

fn first(node: &NodeProto) -> String {
    node.output.first().cloned().unwrap_or_default()
}

/// Whether it makes a constant that the gradient, and not the backbone, multiplies with.
fn is_own_constant(node: &NodeProto) -> bool {
    node.op_type() == "Constant" && node.made(0).is_some_and(gradient::is_own)
}

fn is_product(node: &NodeProto) -> bool {
    match node.domain() {
        DOMAIN => matches!(node.op_type(), "ConvInputGrad" | "ConvWeightGrad" | "WinogradConv"),
        _ => node.is_standard() && matches!(node.op_type(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul"),
    }
}

/// Nodes under construction.
struct Rounder {
    precision: Precision,
    nodes: Vec<NodeProto>,
    /// Values by name: what stands for them where a product takes them.
    rounded: HashMap<String, String>,
}

impl Rounder {
    /// A value as products take it.
    fn taken(&mut self, value: &str) -> String {
        if let Some(known) = self.rounded.get(value) {
            return known.clone();
        }
        let narrow = format!("{PREFIX}{value}.narrow");
        self.cast(value, &narrow, self.precision.half.code());
        let taken = self.wide(narrow, &format!("{PREFIX}{value}.rounded"));
        self.rounded.insert(value.to_owned(), taken.clone());
        taken
    }

    /// The product, whose result keeps its name.
    fn product(&mut self, mut node: NodeProto) {
        let result = first(&node);
        let own = format!("{PREFIX}{result}.product");
        node.output[0].clone_from(&own);
        self.nodes.push(node);
        let mut from = own.clone();
        if self.precision.emulated {
            from = format!("{PREFIX}{result}.narrow");
            self.cast(&own, &from, self.precision.half.code());
        }
        self.cast(&from, &result, i64::from(Element::F32.code()));
        if let Some(last) = self.nodes.last_mut() {
            // The product has the name that it had.
            last.name = Some(format!("{PREFIX}{result}.wide"));
        }
        let stands_for = if self.precision.emulated { result.clone() } else { own };
        self.rounded.insert(result, stands_for);
    }

    /// A number of 16 bits as the products take it.
    fn wide(&mut self, narrow: String, name: &str) -> String {
        if !self.precision.emulated {
            return narrow;
        }
        self.cast(&narrow, name, i64::from(Element::F32.code()));
        name.to_owned()
    }

    fn cast(&mut self, from: &str, to: &str, code: i64) {
        self.nodes.push(node("Cast", &[from], &[to], vec![attribute("to", Value::Int(code))]));
    }
}

/// What a loss scale does to the updates of a step.
pub(super) struct Scaled {
    scale: LossScale,
    /// Whether the gradients are finite.
    is_finite: String,
}

impl Scaled {
    /// By the norm of all gradients.
    pub(super) fn write(nodes: &mut Nodes, precision: Option<Precision>, norm: &str) -> Option<Self> {
        let scale = precision?.scale?;
        let most = nodes.number(f64::from(f32::MAX));
        // False for NaN.
        Some(Self { scale, is_finite: nodes.op("LessOrEqual", &[norm, &most]) })
    }

    /// The number of this step among those that were not skipped, where `finished` is its number among all.
    pub(super) fn number(nodes: &mut Nodes, finished: &str) -> String {
        nodes.sub(finished, names::SKIPPED_STEPS)
    }

    /// The next value, or what there was.
    pub(super) fn either(&self, nodes: &mut Nodes, next: &str, before: &str) -> String {
        nodes.op("Where", &[&self.is_finite, next, before])
    }

    /// The next scale and counts.
    pub(super) fn next(&self, nodes: &mut Nodes) -> Vec<Stays> {
        nodes.element = Element::F32;
        let every = nodes.integer(i64::try_from(self.scale.every).unwrap_or(i64::MAX));
        let (zero, one) = (nodes.integer(0), nodes.integer(1));
        let counted = nodes.add(names::FINITE_STEPS, &one);
        let is_due = nodes.op("GreaterOrEqual", &[&counted, &every]);
        let doubled = nodes.scale(names::LOSS_SCALE, 2.0);
        let largest = nodes.number(LARGEST);
        let doubled = nodes.op("Min", &[&doubled, &largest]);
        let kept = nodes.op("Where", &[&is_due, &doubled, names::LOSS_SCALE]);
        let halved = nodes.scale(names::LOSS_SCALE, 0.5);
        let scale = self.either(nodes, &kept, &halved);
        let counted = nodes.op("Where", &[&is_due, &zero, &counted]);
        let finite = self.either(nodes, &counted, &zero);
        let more = nodes.add(names::SKIPPED_STEPS, &one);
        let skipped = self.either(nodes, names::SKIPPED_STEPS, &more);
        let values = [
            (names::LOSS_SCALE, Element::F32, scale),
            (names::FINITE_STEPS, Element::I64, finite),
            (names::SKIPPED_STEPS, Element::I64, skipped),
        ];
        let stays = values.into_iter().map(|(name, element, next)| Stays {
            tensor: Trained { name: name.to_owned(), element, shape: Vec::new(), kind: Kind::Scale },
            next,
        });
        stays.collect()
    }
}
