//! Which nodes of a model have a CUDA kernel: onnxruntime-gpu runs the others on the processor, and copies what they take and give.
//!
//! The standard's operators go by a table, `cuda_kernels.tsv`, which `cuda_kernels.py` writes from the registry of one release of
//! onnxruntime-gpu; this project's own by a list of the caller's. onnxruntime computes constants once, and the
//! arithmetic of shapes on the processor on purpose: such nodes want no kernel. Operators that neither provider has a kernel for, but the
//! standard defines by others, are those others.

mod host;
mod table;
mod types;

use super::{
    Result,
    head::DOMAIN,
    proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto},
    shapes::Shapes,
};
use host::{of_host, subgraphs};
pub use table::ONNXRUNTIME;
use table::Place;
use types::Types;

/// The operators of `com.pdloss` that have CUDA kernels, of float32, float16 and bfloat16. Those that exchange something between
/// ranks do it through the processor's memory.
pub const OWN: &[&str] = &[
    "ActivationGrad",
    "BatchNormGrad",
    "BatchNormTraining",
    "ConvInputGrad",
    "ConvWeightGrad",
    "DLoss",
    "DLossGrad",
    "GradientNorm",
    "LayerNormGrad",
    "MaxPoolGrad",
    "PDLoss",
    "PDLossGrad",
    "PDLossWithGrad",
    "Update",
];

/// A node without a CUDA kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutKernel {
    /// The node's name, or what it makes first.
    pub name: String,
    /// The operator, with its domain where that is not the standard's.
    pub operator: String,
    /// The version of its domain that the model imports.
    pub opset: i64,
    /// The element type of what it is mainly given; nothing where that is not known.
    pub element: Option<&'static str>,
}

/// What was found of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernels {
    /// How many nodes the model has, those of graphs inside nodes among them; constants are none.
    pub nodes: usize,
    /// Those without a CUDA kernel, in the model's order.
    pub without: Vec<WithoutKernel>,
}

/// Looks up every node of a model; of the domain `com.pdloss` the operators `own` have kernels.
///
/// # Errors
/// When a node's inputs contradict each other.
pub fn without_cuda_kernel(model: &ModelProto, own: &[&str]) -> Result<Kernels> {
    let shapes = Shapes::of(model)?;
    let mut look = Look { functions: &model.functions, own, depth: 0, found: Kernels::default() };
    if let Some(graph) = &model.graph {
        // From the 4th version of the format on, an initializer that is also an input is only that input's default.
        look.graph(graph, model.ir_version() < 4, &model.opset_import, Some(&shapes), &mut Types::default());
    }
    Ok(look.found)
}

struct Look<'a> {
    functions: &'a [FunctionProto],
    own: &'a [&'a str],
    /// How many functions call each other, down to here.
    depth: usize,
    found: Kernels,
}

/// How deep functions may call each other: none calls itself in a model that runs.
const DEEPEST: usize = 8;

impl Look<'_> {
    fn graph(
        &mut self,
        graph: &GraphProto,
        defaults_hold: bool,
        imports: &[OperatorSetIdProto],
        shapes: Option<&Shapes>,
        types: &mut Types,
    ) {
        types.declare(graph);
        for (node, is_of_host) in graph.node.iter().zip(of_host(graph, defaults_hold)) {
            types.follow(node, shapes);
            if node.is_standard() && node.op_type() == "Constant" {
                continue;
            }
            let is_called =
                |function: &&FunctionProto| (function.domain(), function.name()) == (node.domain(), node.op_type());
            if let Some(function) = self.functions.iter().find(is_called).filter(|_| self.depth < DEEPEST) {
                let output = |name: &String| ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() };
                let output = function.output.iter().map(output).collect();
                let body = GraphProto { node: function.node.clone(), output, ..GraphProto::default() };
                self.depth += 1;
                self.graph(&body, false, &function.opset_import, None, &mut Types::default());
                self.depth -= 1;
                continue;
            }
            self.found.nodes += 1;
            let opset = version(node, imports);
            if !is_of_host && !self.has_kernel(node, opset, types) {
                let first = node.output.first().map_or("", String::as_str);
                self.found.without.push(WithoutKernel {
                    name: if node.name().is_empty() { first } else { node.name() }.to_owned(),
                    operator: node.operator(),
                    opset,
                    element: main_type(node, types).map(table::called),
                });
            }
            for inner in subgraphs(node) {
                self.graph(inner, true, imports, None, types);
            }
        }
    }

    fn has_kernel(&self, node: &NodeProto, opset: i64, types: &Types) -> bool {
        /// The format's number of float64.
        const F64: i32 = 11;
        if node.domain() == DOMAIN {
            // Settings and moments are float64 whatever the operator's type.
            let place = if node.op_type() == "Update" { 2 } else { 0 };
            let element = node.given(place).and_then(|name| types.get(name));
            return self.own.contains(&node.op_type()) && element != Some(F64);
        }
        let type_of = |place| match place {
            Place::Input(index) => node.given(index).and_then(|name| types.get(name)),
            Place::Output(index) => node.made(index).and_then(|name| types.get(name)),
        };
        table::rows(&node.operator()).iter().any(|row| row.fits(opset, type_of))
    }
}

/// The type of the first input, of what is chosen from where the first one chooses, and of the result where there is no input.
fn main_type(node: &NodeProto, types: &Types) -> Option<i32> {
    let place = usize::from(node.op_type() == "Where");
    node.given(place).or_else(|| node.made(0)).and_then(|name| types.get(name))
}

/// The version of a node's domain; 1 where the model does not name it.
fn version(node: &NodeProto, imports: &[OperatorSetIdProto]) -> i64 {
    let is_its = |set: &&OperatorSetIdProto| {
        set.domain() == node.domain() || (node.is_standard() && matches!(set.domain(), "" | "ai.onnx"))
    };
    imports.iter().find(is_its).map_or(1, |set| set.version())
}
