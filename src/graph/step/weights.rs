//! Which tensors of a backbone are its parameters, which of those can be trained, and why the others cannot.
//!
//! A parameter is a tensor of numbers, an initializer or the value of a `Constant` node, that a layer computes with, directly
//! or through operators that take nothing else (`Identity`, `Cast`, `Transpose`, `Slice`, `DequantizeLinear`, ...). No
//! parameters are: shapes and indices; bounds, amounts and scales (of `Clip`, `Pad`, `Dropout`, `Resize`, quantisation);
//! running statistics; and single numbers of arithmetic, which may be an epsilon as well as a learnt scale. Where PyTorch's
//! exporter wrote down which tensors are parameters, that decides. Else of single numbers those count that are initializers
//! with a module's name, such as `head.scale`, and in PyTorch's exports every other name that the exporter did not make up;
//! and what PyTorch's older exporter wrote into `Constant` nodes, and tables under names that it made up, are none. `also` names
//! more.

use std::collections::{HashMap, HashSet};

use super::{
    constants::{BFLOAT16, FLOAT16, INT32, Tensor, quantised},
    patterns::Frozen,
    pytorch::{Export, Origin},
    tables::Tables,
};
use crate::graph::{
    gradient,
    proto::{GraphProto, NodeProto},
};

/// A tensor that layers compute with.
#[derive(Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// How many numbers it holds.
    pub(super) values: u64,
    /// Why it cannot be trained.
    pub(super) stays: Option<String>,
    /// What it looks like, where it looks computed and not learned.
    pub(super) look: Option<&'static str>,
}

/// The parameters of a graph: its initializers in their order, then the values of its `Constant` nodes.
///
/// `also` names tensors that are parameters although they look like constants; `export` is what the exporter says. With them
/// come the names of tensors that layers compute with and that are none, as the exporter says.
pub(super) fn find(graph: &GraphProto, data: &str, also: &Frozen, export: &Export) -> (Vec<Parameter>, Vec<String>) {
    let tensors: Vec<Tensor<'_>> = Tensor::all(graph);
    let tables = Tables::among(tensors.iter().filter_map(|tensor| Some((tensor.name, tensor.proto?))));
    let known: HashMap<&str, &Tensor<'_>> = tensors.iter().map(|tensor| (tensor.name, tensor)).collect();
    let mut walk = Walk {
        known: &known,
        also,
        export,
        tables: &tables,
        buffers: HashSet::new(),
        values: HashMap::new(),
        found: HashMap::new(),
        blocked: HashMap::new(),
        dequantised: HashSet::new(),
    };
    for tensor in tensors.iter().filter(|tensor| !tensor.is_constant) {
        walk.values.insert(tensor.name, Value::fixed(tensor));
    }
    walk.values.insert(data, Value::Raw);
    for node in &graph.node {
        walk.node(node);
    }
    let Walk { found, blocked, buffers, .. } = walk;
    let used: HashSet<&str> = graph.node.iter().flat_map(names_in).collect();
    // Where the exporter or a person tells, nothing is guessed.
    let guessed_look =
        |tensor: &Tensor<'_>| tables.look(tensor.name).filter(|_| !export.tells() && !also.holds(tensor.name));
    let parameter = |tensor: &Tensor<'_>| {
        let stays = match found.get(tensor.name) {
            Some(Role::Layer) => blocked.get(tensor.name).cloned().or_else(|| tensor.unfit()),
            Some(Role::Stays(reason)) => Some(reason.clone()),
            None if tensor.is_float()
                && tensor.count > 1
                && !used.contains(tensor.name)
                && !buffers.contains(tensor.name) =>
            {
                Some("no node uses it".to_owned())
            }
            None => return None,
        };
        Some(Parameter { name: tensor.name.to_owned(), values: tensor.count as u64, stays, look: guessed_look(tensor) })
    };
    let buffers = tensors.iter().filter(|tensor| buffers.contains(tensor.name)).map(|tensor| tensor.name.to_owned());
    (tensors.iter().filter_map(parameter).collect(), buffers.collect())
}

/// What a value of the graph is made of.
#[derive(Clone)]
enum Value<'a> {
    /// Tensors of the model alone.
    Fixed(Vec<Source<'a>>),
    /// The data, before any layer.
    Raw,
    /// What comes out of a layer.
    Layered,
}

/// A tensor of the model that a value is made of.
#[derive(Clone, Copy, PartialEq)]
struct Source<'a> {
    name: &'a str,
    /// Whether it is float16 here.
    is_half: bool,
    /// The operator on its way here that has no slope.
    step: Option<&'a str>,
}

impl<'a> Value<'a> {
    fn fixed(tensor: &Tensor<'a>) -> Self {
        let counts = tensor.is_float() || quantised(tensor.code).is_some();
        let source = Source { name: tensor.name, is_half: tensor.is_half(), step: None };
        Self::Fixed(if counts { vec![source] } else { Vec::new() })
    }
}

/// What a tensor is to the layers that take it.
enum Role {
    /// It has a gradient.
    Layer,
    /// It has none, and why.
    Stays(String),
}

struct Walk<'a, 'b> {
    known: &'b HashMap<&'a str, &'b Tensor<'a>>,
    also: &'b Frozen,
    export: &'b Export,
    tables: &'b Tables<'a>,
    /// Tensors that meet the data and are no parameters, as the exporter says.
    buffers: HashSet<&'a str>,
    values: HashMap<&'a str, Value<'a>>,
    found: HashMap<&'a str, Role>,
    /// Why no gradient comes back to a tensor from where it meets the data.
    blocked: HashMap<&'a str, String>,
    /// Integers that become numbers.
    dequantised: HashSet<&'a str>,
}

impl<'a> Walk<'a, '_> {
    fn node(&mut self, node: &'a NodeProto) {
        if node.is_standard() && node.op_type() == "Constant" {
            let value = node.made(0).and_then(|name| self.known.get(name)).map(|tensor| Value::fixed(tensor));
            self.give(node, &value.unwrap_or(Value::Fixed(Vec::new())));
            return;
        }
        let inside: Vec<&str> = names_in(node).into_iter().skip(node.input.len()).collect();
        if !inside.is_empty() {
            let reason = no_rule(node);
            for name in names_in(node) {
                if let Some(Value::Fixed(sources)) = self.values.get(name).cloned() {
                    sources.into_iter().for_each(|source| self.stays(source.name, &reason));
                }
            }
            self.give(node, &Value::Layered);
            return;
        }
        let inputs: Vec<Option<Value<'a>>> =
            node.input.iter().map(|name| self.values.get(name.as_str()).cloned()).collect();
        let is = |wanted: fn(&Value<'_>) -> bool| inputs.iter().flatten().any(wanted);
        let unknown = node.input.iter().zip(&inputs).any(|(name, value)| !name.is_empty() && value.is_none());
        let (raw, layered) = (is(|v| matches!(v, Value::Raw)), is(|v| matches!(v, Value::Layered)) || unknown);
        if !raw && !layered {
            let value = self.alone(node, &inputs);
            self.give(node, &value);
            return;
        }
        let meets_data = is_arithmetic(node) && raw;
        let is_elementary = is_elementary(node) && matches!(inputs.first(), Some(Some(Value::Raw)));
        let before_layers = meets_data || is_elementary;
        for (index, value) in inputs.iter().enumerate() {
            let (Some(Value::Fixed(sources)), false) = (value, is_setting(node, index)) else { continue };
            for &source in sources {
                self.taken(node, index, source, before_layers);
            }
        }
        self.give(node, if before_layers && !layered { &Value::Raw } else { &Value::Layered });
    }

    fn give(&mut self, node: &'a NodeProto, value: &Value<'a>) {
        for name in &node.output {
            self.values.insert(name, value.clone());
        }
    }

    /// The value of a node that takes tensors of the model alone.
    fn alone(&mut self, node: &'a NodeProto, inputs: &[Option<Value<'a>>]) -> Value<'a> {
        let step = gradient::is_constant_step(node).then(|| node.op_type());
        if step.is_some() && !rounds(node) {
            return Value::Fixed(Vec::new());
        }
        let to = if node.op_type() == "Cast" { i32::try_from(node.int("to", 0)).ok() } else { None };
        let mut sources: Vec<Source<'a>> = Vec::new();
        for (index, value) in inputs.iter().enumerate() {
            let (Some(Value::Fixed(of_input)), false) = (value, is_setting(node, index) && step.is_none()) else {
                continue;
            };
            for &Source { name: source, is_half: was_half, step: before } in of_input {
                if self.is_plain_number(node, index, source) && !moves_elements(node) && to.is_none() {
                    continue;
                }
                if node.op_type().ends_with("Normalization")
                    && self.known.get(source).is_some_and(|tensor| tensor.fills_in())
                {
                    continue;
                }
                let is_half = to.map_or(was_half, |to| matches!(to, FLOAT16 | BFLOAT16));
                let needs = was_half && to.is_none() && !(moves_elements(node) && index == 0);
                if needs {
                    self.blocked.entry(source).or_insert_with(|| half_arithmetic(node));
                } else if step.is_none() && !gradient::has_rule(node) {
                    self.blocked.entry(source).or_insert_with(|| no_rule(node));
                }
                if node.op_type() == "DequantizeLinear" {
                    self.dequantised.insert(source);
                }
                let source = Source { name: source, is_half, step: before.or(step) };
                if !sources.contains(&source) {
                    sources.push(source);
                }
            }
        }
        Value::Fixed(sources)
    }

    /// A node takes a tensor together with data.
    fn taken(&mut self, node: &NodeProto, index: usize, source: Source<'a>, before_layers: bool) {
        let Source { name: source, is_half, step } = source;
        let Some(tensor) = self.known.get(source) else { return };
        if node.op_type().ends_with("Normalization") && tensor.fills_in() && !self.also.holds(source) {
            return;
        }
        if let Some(kind) = quantised(tensor.code) {
            // Integers that are no part of a quantised layer are indices and lengths; narrow ones where a layer has its weights are those,
            // brought to their scale by a product.
            let is_weight = tensor.code != INT32 && holds_weight(node, index);
            if tensor.count > 1 && (is_quantised(node) || self.dequantised.contains(source) || is_weight) {
                self.stays(source, &format!("quantised ({kind}): integers have no gradient"));
            }
            return;
        }
        let origin = self.export.origin(source);
        let is_buffer = matches!(origin, Some(Origin::Buffer | Origin::Computed))
            || self.export.is_silent() && tensor.is_written_out();
        if is_buffer && !self.also.holds(source) {
            if tensor.count > 1 {
                self.buffers.insert(source);
            }
            return;
        }
        let named = self.also.holds(source) || origin == Some(Origin::Parameter);
        if before_layers && !named {
            if tensor.count > 1 {
                self.stays(source, "it meets the data before any layer, as preprocessing does");
            }
            return;
        }
        let is_made_up =
            if self.export.tells() { origin.is_none() } else { self.export.is_silent() && !tensor.has_given_name() };
        let look = || {
            // Where a layer has its weights, fresh ones may be that.
            let is_filled = self.export.tells() && !holds_weight(node, index) && tensor.is_one_whole_number();
            self.tables.look(source).or(is_filled.then_some("one whole number throughout"))
        };
        if is_made_up
            && !named
            && let Some(look) = look()
        {
            self.stays(
                source,
                &format!("{look} under a name that the exporter made up: taken for computed, not learned"),
            );
            return;
        }
        if self.is_plain_number(node, index, source) {
            return;
        }
        if let Some(step) = step {
            self.stays(source, &format!("no gradient comes back through {step}, which has no slope"));
        } else if is_half {
            self.stays(source, &half_arithmetic(node));
        } else if gradient::has_rule(node) {
            self.found.insert(source, Role::Layer);
        } else {
            self.stays(source, &no_rule(node));
        }
    }

    /// Whether a tensor is a single number of arithmetic and no parameter; notes why it stays, where a person gave it its name.
    fn is_plain_number(&mut self, node: &NodeProto, index: usize, source: &'a str) -> bool {
        let Some(tensor) = self.known.get(source) else { return false };
        let named = self.also.holds(source) || self.export.origin(source) == Some(Origin::Parameter);
        // An exporter that names its parameters names those of a single number, too.
        let has_name =
            !self.export.tells() && (tensor.has_module_name() || self.export.is_pytorch && tensor.has_own_name());
        let is_plain = tensor.count == 1 && !named && !holds_weight(node, index) && !has_name;
        if is_plain && tensor.has_own_name() && !self.export.tells() {
            self.stays(source, "a single number of arithmetic whose name is not a module's: taken for a constant");
        }
        is_plain
    }

    /// Notes why a tensor stays, unless another layer trains it.
    fn stays(&mut self, source: &'a str, reason: &str) {
        self.found.entry(source).or_insert_with(|| Role::Stays(reason.to_owned()));
    }
}

/// Operators without slope whose outputs are still numbers of their inputs, as binary and quantised weights are.
fn rounds(node: &NodeProto) -> bool {
    let rounding = ["Ceil", "Floor", "Round", "Sign"];
    let compares = ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];
    rounding.contains(&node.op_type()) || compares.contains(&node.op_type())
}

fn no_rule(node: &NodeProto) -> String {
    gradient::no_rule(node)
}

fn half_arithmetic(node: &NodeProto) -> String {
    format!("{} computes in float16; training wants a Cast to float32 before it", node.label())
}

fn is_arithmetic(node: &NodeProto) -> bool {
    matches!(node.op_type(), "Add" | "Sub" | "Mul" | "Div")
}

/// Operators whose output is their first input in another layout.
fn passes_on(node: &NodeProto) -> bool {
    let layout = ["Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];
    layout.contains(&node.op_type())
}

/// Operators that only move the elements of their first input, whatever their type.
fn moves_elements(node: &NodeProto) -> bool {
    passes_on(node) || matches!(node.op_type(), "Gather" | "Slice" | "Split" | "Tile")
}

/// What preprocessing is made of, beside arithmetic.
fn is_elementary(node: &NodeProto) -> bool {
    passes_on(node) || matches!(node.op_type(), "Cast" | "Clip" | "Gather" | "Slice" | "Pad" | "Resize")
}

/// Layers whose weights are integers.
fn is_quantised(node: &NodeProto) -> bool {
    let name = node.op_type();
    name == "DequantizeLinear"
        || name.starts_with("QLinear")
        || name.ends_with("Integer")
        || name.ends_with("NBits")
        || matches!(name, "QGemm" | "QAttention" | "QOrderedMatMul" | "DynamicQuantizeMatMul")
}

/// Inputs that say how a node works, and are no part of what it computes with.
pub(super) fn is_setting(node: &NodeProto, input: usize) -> bool {
    match node.op_type() {
        "BatchNormalization" => input > 2,
        "Clip" | "Dropout" | "Expand" | "OneHot" | "Pad" | "QuantizeLinear" | "Reshape" | "Resize" | "Slice"
        | "Split" | "Squeeze" | "Tile" | "TopK" | "Unsqueeze" | "Upsample" | "DequantizeLinear" => input > 0,
        "Gather" | "GatherElements" | "GatherND" | "CumSum" => input == 1,
        "ScatterElements" | "ScatterND" => input == 1,
        "Where" => input == 0,
        name if name.starts_with("Reduce") => input > 0,
        _ => gradient::is_constant_step(node),
    }
}

/// Places where layers have their weights, also such of a single number.
pub(super) fn holds_weight(node: &NodeProto, input: usize) -> bool {
    match node.op_type() {
        "Conv"
        | "ConvTranspose"
        | "BatchNormalization"
        | "GroupNormalization"
        | "InstanceNormalization"
        | "LayerNormalization" => matches!(input, 1 | 2),
        "Gemm" | "MatMul" | "Concat" => true,
        "PRelu" => input == 1,
        "Gather" | "GatherND" | "GatherElements" => input == 0,
        _ => false,
    }
}

/// The values that a node takes, and after them those that its subgraphs take from outside.
fn names_in(node: &NodeProto) -> Vec<&str> {
    let graphs =
        node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
    let inside = graphs.flat_map(|graph| {
        let outputs = graph.output.iter().map(|output| output.name());
        graph.node.iter().flat_map(names_in).chain(outputs)
    });
    node.input.iter().map(String::as_str).chain(inside).collect()
}
