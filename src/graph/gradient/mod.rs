//! Reverse-mode differentiation of a graph, written as standard operators behind its nodes.
//!
//! [`differentiate`] walks the nodes from the loss back to the values asked for. Each operator has a rule: from the
//! gradients of its outputs it emits the nodes that make the gradients of its inputs. Rules lie in one file per family of
//! operators, each under the formula it follows, where `g` is the gradient of the output `y`. A value used more than once
//! gets the sum. Only what lies between the loss and the values asked for is differentiated, and every operator there is
//! looked up before the first node is emitted.
//!
//! The nodes run on any onnxruntime, at its speed: where several spellings are possible, a rule takes the one measured fastest.

mod activation;
mod broadcast;
mod convolution;
mod decompose;
mod elementwise;
mod indexing;
mod layout;
mod linear;
mod loss;
mod missing;
mod normalization;
mod one_pass;
mod order;
mod pool;
mod reduction;
mod resize;
mod settings;
mod softmax;
mod tape;

use std::collections::{HashMap, HashSet};

use super::{
    Error, Result,
    nodes::{ENTRANCE, HELD},
    proto::{GraphProto, ModelProto, NodeProto},
    shapes::Shapes,
};
use tape::Tape;

/// The oldest version of the standard operators that gradients are written in.
pub const OPSET: i64 = 17;

/// Which operators a graph may be written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operators {
    /// Standard operators alone, which every runtime has.
    #[default]
    Standard,
    /// Those of this project's library, too, as it has them on the processor.
    Cpu,
    /// Those of this project's library, too, as it has them on the CUDA provider.
    Cuda,
}

impl Operators {
    /// Whether those of the library are among them.
    #[must_use]
    pub fn are_of_library(self) -> bool {
        self != Self::Standard
    }
}

/// The documentation of an `Identity` whose gradient is written as a node of its own, times `factor` where there is one: where a
/// gradient enters what lies before.
pub(crate) fn entrance(factor: Option<&str>) -> String {
    format!("{ENTRANCE}{}", factor.unwrap_or_default())
}

/// Whether a node is what the gradient of such an `Identity` enters by.
pub(crate) fn is_entrance_of_gradient(node: &NodeProto) -> bool {
    node.doc_string() == ENTRANCE && node.made(0).is_some_and(is_own)
}

/// Whether a value was made by a gradient.
pub(crate) fn is_own(value: &str) -> bool {
    value.starts_with(tape::PREFIX)
}

/// The largest constant that a rule writes into the graph, in elements.
const LARGEST: usize = 1 << 24;

/// From the gradients of a node's outputs to those of its inputs, in order; `None` where there is none.
type Rule = fn(&mut Tape<'_>, &Call<'_>) -> Result<Vec<Option<String>>>;

/// A node being differentiated.
struct Call<'a> {
    node: &'a NodeProto,
    /// The gradient of each output; `None` where the loss does not depend on it.
    grads: Vec<Option<String>>,
    /// Which inputs need a gradient.
    wanted: Vec<bool>,
}

impl Call<'_> {
    /// The input's name.
    fn input(&self, index: usize) -> Result<&str> {
        self.node.needed(index)
    }

    /// The output's name.
    fn output(&self, index: usize) -> Result<&str> {
        self.node.made(index).ok_or_else(|| self.error(format!("output {index} is missing")))
    }

    /// The gradient of the first output.
    fn grad(&self) -> Result<&str> {
        let grad = self.grads.first().and_then(Option::as_deref);
        grad.ok_or_else(|| self.error("only its first output can have a gradient"))
    }

    fn wants(&self, index: usize) -> bool {
        self.wanted.get(index).copied().unwrap_or(false)
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        self.node.error(reason)
    }
}

/// The rule of a node's operator.
fn rule(node: &NodeProto) -> Option<Rule> {
    if node.domain() == super::head::DOMAIN {
        return loss::rule(node.op_type());
    }
    if !node.is_standard() {
        return activation::rule_of_microsoft(node);
    }
    let name = node.op_type();
    let families = [
        elementwise::rule,
        activation::rule,
        linear::rule,
        convolution::rule,
        pool::rule,
        normalization::rule,
        softmax::rule,
        reduction::rule,
        layout::rule,
        indexing::rule,
        resize::rule,
    ];
    families.into_iter().find_map(|family| family(name))
}

pub(crate) use normalization::{follow_sample_variance, normalise_over_ranks};

/// Whether a node's operator can be differentiated.
pub(crate) fn has_rule(node: &NodeProto) -> bool {
    handles(node) && passed_over(node).is_none()
}

/// Whether there is a rule for the node's operator.
fn handles(node: &NodeProto) -> bool {
    rule(node).is_some() || decompose::handles(node)
}

/// An attribute that the rule of the node's operator would pass over.
fn passed_over(node: &NodeProto) -> Option<&str> {
    // The gradients of this project's losses have the attributes of the losses.
    (handles(node) && node.domain() != super::head::DOMAIN).then(|| settings::unknown(node)).flatten()
}

/// That a node has no rule: its operator, name and layer, and what to write instead.
pub(crate) fn no_rule(node: &NodeProto) -> String {
    format!("there is no rule to differentiate {}; {}", missing::describe(node), missing::rewrite(node))
}

/// Operators whose outputs do not change with small changes of their inputs: the walk ends there.
pub(crate) fn is_constant_step(node: &NodeProto) -> bool {
    const STEPS: &[&str] = &[
        "And",
        "ArgMax",
        "ArgMin",
        "Ceil",
        "ConstantOfShape",
        "Equal",
        "EyeLike",
        "Floor",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "NonZero",
        "Not",
        "OneHot",
        "Or",
        "Range",
        "Round",
        "Shape",
        "Sign",
        "Size",
        "Xor",
    ];
    let is_held = node.op_type() == "Identity" && node.doc_string() == HELD;
    node.is_standard() && (is_held || STEPS.contains(&node.op_type()))
}

/// Which of the values `names` the loss changes with.
///
/// # Errors
/// When the model has no graph.
pub fn influences(model: &ModelProto, loss: &str, names: &[&str]) -> Result<Vec<bool>> {
    let Some(graph) = &model.graph else { return Err(Error::model("model", "it has no graph")) };
    let back = behind(graph, loss);
    Ok(names.iter().map(|name| back.contains(name)).collect())
}

/// Every value that the loss is computed from by steps that can have a gradient, itself included.
fn behind<'a>(graph: &'a GraphProto, loss: &'a str) -> HashSet<&'a str> {
    let mut found = HashSet::from([loss]);
    for node in graph.node.iter().rev().filter(|node| !is_constant_step(node)) {
        if node.output.iter().any(|name| found.contains(name.as_str())) {
            found.extend(sources(node));
        }
    }
    found
}

/// The values that a node's results change with smoothly: its inputs, and what its subgraphs take from outside.
fn sources(node: &NodeProto) -> Vec<&str> {
    let inputs = node.input.iter().enumerate().filter(|(index, _)| carries(node, *index)).map(|(_, name)| name);
    let inside =
        node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
    let inside = inside.flat_map(|graph| &graph.node).flat_map(sources);
    inputs.map(String::as_str).chain(inside).filter(|name| !name.is_empty()).collect()
}

/// Whether an input can have a gradient: bounds, amounts, statistics that are only kept and what gives a type alone cannot.
fn carries(node: &NodeProto, index: usize) -> bool {
    match node.op_type() {
        "CastLike" | "Clip" | "Dropout" | "Pad" | "Resize" if node.is_standard() => index == 0,
        "GridSample" if node.text("mode", "linear") == "nearest" => index == 0,
        "BatchNormalization" if normalization::is_training(node) => index < 3,
        _ => true,
    }
}

/// Appends the nodes that compute `d loss / d value` for every value of `wrt`, and returns the names of these gradients in
/// that order, each of the shape and type of its value.
///
/// `loss` must be a single number (of rank 0, or one element). `wrt` may name initializers, inputs and results of nodes, all
/// of float32 or float64.
///
/// Some nodes of the graph are spelt in another way, with the same results: `BatchNormalization` in training mode (which no
/// stock onnxruntime runs) in operators that exist, convolutions of small images as one matrix product over the batch.
///
/// # Errors
/// When a node on the way has no rule, naming all such nodes; when the loss is not a single number, does not depend on one
/// of `wrt`, or a shape is needed that is not known. The model is unchanged then.
pub fn differentiate(model: &mut ModelProto, loss: &str, wrt: &[&str]) -> Result<Vec<String>> {
    differentiate_with(model, loss, wrt, Operators::Standard)
}

/// [`differentiate`], in these operators.
pub(crate) fn differentiate_with(
    model: &mut ModelProto,
    loss: &str,
    wrt: &[&str],
    operators: Operators,
) -> Result<Vec<String>> {
    let opset = model.opset();
    if opset < OPSET {
        let reason = format!("wanted opset {OPSET} or newer to write gradients in, got {opset}; upgrade it first");
        return Err(Error::model("model", reason));
    }
    let Some(graph) = &model.graph else { return Err(Error::model("model", "it has no graph")) };
    let path = Path::between(graph, &Shapes::of(model)?, loss, wrt)?;
    if path.written_out.is_empty() {
        return append(model, loss, wrt, operators);
    }
    let (written_out, before) = (path.written_out, graph.node.clone());
    let answer = decompose::write_out(model, &written_out).and_then(|()| append(model, loss, wrt, operators));
    if let (Err(_), Some(graph)) = (&answer, model.graph.as_mut()) {
        graph.node = before;
    }
    answer
}

/// [`differentiate`] where every operator on the way has a rule of its own.
fn append(model: &mut ModelProto, loss: &str, wrt: &[&str], operators: Operators) -> Result<Vec<String>> {
    let opset = model.opset();
    let shapes = Shapes::of(model)?;
    let Some(graph) = &model.graph else { return Err(Error::model("model", "it has no graph")) };
    let path = Path::between(graph, &shapes, loss, wrt)?;
    let mut tape = Tape::new(graph, shapes, opset, operators);
    let mut grads: HashMap<&str, Vec<String>> = HashMap::new();
    grads.insert(loss, vec![tape.one_like(loss)?]);
    for &(node, rule) in path.nodes.iter().rev() {
        let of_outputs = node.output.iter().map(|name| {
            Ok(match grads.get(name.as_str()) {
                Some(parts) if !name.is_empty() => Some(tape.total(parts)?),
                _ => None,
            })
        });
        let of_outputs: Vec<Option<String>> = of_outputs.collect::<Result<_>>()?;
        if of_outputs.iter().all(Option::is_none) {
            continue;
        }
        for (name, total) in node.output.iter().zip(&of_outputs) {
            if let Some(total) = total {
                grads.insert(name, vec![total.clone()]);
            }
        }
        let is_wanted = |(index, name): (usize, &String)| carries(node, index) && path.values.contains(name.as_str());
        let wanted = node.input.iter().enumerate().map(is_wanted).collect();
        let call = Call { node, grads: of_outputs, wanted };
        let of_inputs = rule(&mut tape, &call)?;
        for ((name, grad), &wanted) in node.input.iter().zip(of_inputs).zip(&call.wanted) {
            if let (Some(grad), true) = (grad, wanted) {
                // By the rules' contract, also where lengths are computed when the graph runs.
                tape.shapes.assume_like(&grad, name);
                grads.entry(name).or_default().push(grad);
            }
        }
    }
    let mut names = Vec::new();
    for &name in wrt {
        let Some(parts) = grads.get(name) else {
            return Err(Error::model(name, format!("'{loss}' does not depend on it, so it has no gradient")));
        };
        let total = tape.total(parts)?;
        names.push(tape.named(&total, &format!("{name}.gradient")));
    }
    for node in graph.node.iter().filter(|node| normalization::is_training(node)) {
        normalization::write_out(&mut tape, node)?;
    }
    let nodes = tape.finish(&graph.node, &names);
    if let Some(graph) = model.graph.as_mut() {
        graph.node = nodes;
    }
    Ok(names)
}

/// What lies between the values asked for and the loss.
struct Path<'a> {
    /// Nodes with their rules, in the graph's order.
    nodes: Vec<(&'a NodeProto, Rule)>,
    /// Places in the graph of those that are written out in others first.
    written_out: Vec<usize>,
    /// Values that need a gradient.
    values: HashSet<&'a str>,
}

impl<'a> Path<'a> {
    fn between(graph: &'a GraphProto, shapes: &Shapes, loss: &'a str, wrt: &[&'a str]) -> Result<Self> {
        if shapes.get(loss).is_none() {
            return Err(Error::model(loss, "the graph has no value of this name"));
        }
        for &name in wrt {
            match shapes.get(name) {
                None => return Err(Error::model(name, "the graph has no value of this name")),
                Some(fact) if !fact.element.is_some_and(|element| element.is_float()) => {
                    return Err(Error::model(name, "wanted float32 or float64 to have a gradient, got another type"));
                }
                Some(_) => {}
            }
        }
        let back = behind(graph, loss);
        let mut values: HashSet<&str> = wrt.iter().copied().collect();
        let (mut nodes, mut written_out) = (Vec::new(), Vec::new());
        let mut unknown = Vec::new();
        for (place, node) in graph.node.iter().enumerate() {
            let leads = node.output.iter().any(|name| back.contains(name.as_str()));
            let moved = sources(node).iter().any(|name| values.contains(name));
            if !leads || !moved || is_constant_step(node) {
                continue;
            }
            // What follows an integer has no gradient; a type that is not known is taken for a float.
            let float = |name: &&str| shapes.element(name).is_none_or(|element| element.is_float());
            let outputs: Vec<&str> = node.output.iter().map(String::as_str).filter(float).collect();
            if outputs.is_empty() {
                continue;
            }
            match rule(node) {
                _ if passed_over(node).is_some() => unknown.push(node),
                Some(rule) => nodes.push((node, rule)),
                None if decompose::handles(node) => written_out.push(place),
                None => unknown.push(node),
            }
            values.extend(outputs);
        }
        values.retain(|name| back.contains(name));
        if unknown.is_empty() {
            return Ok(Self { nodes, written_out, values });
        }
        Err(missing::error(&unknown))
    }
}
