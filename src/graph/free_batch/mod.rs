//! Models that were exported for a fixed number of images, as PyTorch's exporter makes them unless it is told otherwise.
//!
//! [`free_batch`] follows the shapes of the model twice, for the batch that it was exported for and for one many times larger:
//! what grows is the batch's. Where a constant holds the batch (the shape of a `Reshape`, the bounds of a `Slice`), or a tensor
//! of one image meets a batch (a class token that is put in front of others), the node is written so that it takes any batch.
//! That the rows of the result are those of the model as it was is for the caller to see, by running both.

mod cure;
mod place;
mod repair;

use std::collections::{HashMap, HashSet};

use super::{
    Error, Result,
    build::{Dim, declared},
    literal,
    proto::{
        GraphProto, ModelProto, NodeProto, TensorShapeProtoDimensionValue as Length, TypeProtoValue, ValueInfoProto,
    },
    shapes::{Fact, Shapes, dims},
};
pub use cure::cure;
use place::Place;

/// The name of the length that was a number.
const BATCH: &str = "batch";
/// How many times larger the second batch is: no length of a net is a multiple of this prime by chance.
const FACTOR: usize = 10_007;
/// What the names of added values start with.
const PREFIX: &str = "free_batch.";

/// What stands in the name of the part of a value that belongs to the first image.
const FIRST: &str = ".first_along_";

/// Whether a value of a freed model is the part of `whole` that belongs to its first image.
#[must_use]
pub fn is_first_of(value: &str, whole: &str) -> bool {
    value.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(whole)).is_some_and(|rest| rest.starts_with(FIRST))
}

/// Lets the model take batches of any size, where its data input is declared for a fixed number of images; that number, or
/// `None` for models whose batch is free already, which stay as they are.
///
/// # Errors
/// When the batch does not come through to an output that had it, or a node holds it, with the call of `torch.onnx.export` that
/// exports the model with a free batch. The model is unchanged then.
pub fn free_batch(model: &mut ModelProto) -> Result<Option<usize>> {
    let Some(graph) = model.graph.as_ref() else { return Err(Error::model("model", "it has no graph")) };
    let filled: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let data = graph.input.iter().filter(|input| !filled.contains(input.name()));
    let fixed: Vec<(String, Vec<usize>)> =
        data.filter_map(|input| Some((input.name().to_owned(), lengths(input)?))).collect();
    let Some((_, first)) = fixed.first() else { return Ok(None) };
    let batch = first[0];
    let mut freed = model.clone();
    Walk::over(&mut freed, &fixed, batch).map_err(|error| match error {
        Error::Model { subject, reason } => Error::Model {
            subject,
            reason: format!("{reason}. The batch of the model is fixed at {batch}; {}", cure(model)),
        },
        other => other,
    })?;
    *model = freed;
    Ok(Some(batch))
}

/// The lengths of a batch of images: of a declared input of at least two axes, the first of which is a number.
fn lengths(value: &ValueInfoProto) -> Option<Vec<usize>> {
    let (_, shape) = declared(value)?;
    let shape = shape.filter(|shape| shape.len() > 1)?;
    let known = |dim: &Dim| if let Dim::Known(length) = dim { *length } else { 0 };
    Some(shape.iter().map(known).collect()).filter(|lengths: &Vec<usize>| lengths[0] > 0)
}

/// Frees a batch that is fixed. Where it cannot be freed, a batch of one is an error: no loss compares an image with none.
///
/// # Errors
/// As [`free_batch`], for a batch of one.
pub(crate) fn free_or_keep(model: &mut ModelProto) -> Result<()> {
    let is_single =
        model.graph.iter().flat_map(|graph| &graph.input).filter_map(lengths).any(|lengths| lengths[0] == 1);
    match free_batch(model) {
        // Then every batch has as many images as the model is fixed at.
        Err(_) if !is_single => Ok(()),
        answer => answer.map(drop),
    }
}

/// Declares the first length as free, where it is a number.
fn free(value: &mut ValueInfoProto) {
    let Some(TypeProtoValue::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut()) else {
        return;
    };
    if let Some(first) = tensor.shape.as_mut().and_then(|shape| shape.dim.first_mut()) {
        first.value = Some(Length::DimParam(BATCH.to_owned()));
    }
}

/// The shapes of the model and of the same with a larger batch, node by node.
struct Walk {
    opset: i64,
    batch: usize,
    narrow: Shapes,
    wide: Shapes,
    /// Places of the batch that do not follow from the shapes.
    places: HashMap<String, Place>,
    /// Constants that count: 0, 1, 2, ... in this shape.
    counting: HashMap<String, Vec<i64>>,
    /// The data, whose first length is the batch's.
    data: String,
    /// Nodes that were added or written anew.
    nodes: Vec<NodeProto>,
    /// Initializers of new shapes.
    constants: Vec<super::proto::TensorProto>,
    /// The name of the batch's length as a vector of one, once it is needed.
    length: Option<String>,
    /// The first node behind which the batch is gone.
    lost: Option<String>,
}

impl Walk {
    fn over(model: &mut ModelProto, fixed: &[(String, Vec<usize>)], batch: usize) -> Result<()> {
        let narrow = Shapes::of(model)?;
        let opset = model.opset();
        let Some(graph) = model.graph.as_mut() else { return Ok(()) };
        let made = graph.node.iter().filter_map(literal::of_node);
        let counting = graph.initializer.iter().cloned().chain(made).filter_map(|tensor| {
            let values = literal::integers(&tensor)?;
            let counts = values.len() > 1 && values.iter().zip(0..).all(|(value, number)| *value == number);
            counts.then(|| (tensor.name().to_owned(), tensor.dims.clone()))
        });
        let counting = counting.collect();
        let outputs: Vec<ValueInfoProto> = std::mem::take(&mut graph.output);
        let nodes = std::mem::take(&mut graph.node);
        graph.value_info.clear();
        let mut wide = Shapes::of(model)?;
        for (name, lengths) in fixed {
            let mut fact = wide.get(name).cloned().unwrap_or_default();
            if let Some(first) = fact.shape.as_mut().and_then(|shape| shape.first_mut()) {
                *first = Dim::Known(lengths[0].saturating_mul(FACTOR));
            }
            wide.set(name, fact);
        }
        let data = fixed.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let mut walk = Self {
            opset,
            batch,
            narrow,
            wide,
            places: HashMap::new(),
            counting,
            data,
            nodes: Vec::new(),
            constants: Vec::new(),
            length: None,
            lost: None,
        };
        for node in nodes {
            walk.node(node)?;
        }
        let Some(graph) = model.graph.as_mut() else { return Ok(()) };
        graph.node = std::mem::take(&mut walk.nodes);
        graph.initializer.append(&mut walk.constants);
        graph.output = outputs;
        for input in graph.input.iter_mut().filter(|input| fixed.iter().any(|(name, _)| name == input.name())) {
            free(input);
        }
        walk.outputs(graph)?;
        // What is written must be right with the batch as a name, too.
        Shapes::of(model).map(drop)
    }

    /// Frees the outputs' declarations, and refuses those that the batch does not come through to.
    fn outputs(&self, graph: &mut GraphProto) -> Result<()> {
        for output in &mut graph.output {
            let name = output.name().to_owned();
            let had_batch = lengths(output).is_some_and(|lengths| lengths[0] == self.batch);
            let wide = self.wide.shape(&name);
            let has_batch = match wide.and_then(<[Dim]>::first) {
                Some(Dim::Known(length)) => *length == self.batch.saturating_mul(FACTOR),
                Some(_) => true,
                None => wide.is_none(),
            };
            if has_batch && had_batch {
                free(output);
            } else if had_batch {
                let narrow = self.narrow.shape(&name).unwrap_or_default();
                let behind = self.lost.as_ref().map_or_else(String::new, |node| format!(", from {node} on"));
                let reason = format!(
                    "wanted [batch, ...] once the batch is free, got {}: the model holds it at {}{behind}",
                    dims::show(narrow),
                    self.batch
                );
                return Err(Error::model(name, reason));
            }
        }
        Ok(())
    }

    /// Writes a node so that it takes any batch, and follows its shapes.
    fn node(&mut self, mut node: NodeProto) -> Result<()> {
        let takes_batch = node.input.iter().any(|name| self.grows(name));
        if node.is_standard() && takes_batch {
            self.repair(&mut node)?;
        }
        self.put(node, takes_batch)
    }

    /// Notes a finished node and the shapes of what it makes.
    fn put(&mut self, node: NodeProto, takes_batch: bool) -> Result<()> {
        self.wide.add(&node).map_err(|error| match error {
            Error::Model { subject, reason } => Error::model(subject, format!("it holds the batch: {reason}")),
            other => other,
        })?;
        let carried = node.input.iter().find_map(|name| {
            let place = self.places.get(name)?;
            Some((*place, known(self.narrow.shape(name)?)?[place.axis]))
        });
        let mut passes = node.output.iter().all(String::is_empty);
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if takes_batch && self.wide.shape(name).is_none_or(|shape| known(shape).is_none()) {
                self.guess(name);
            }
            let grows = self.grows(name);
            passes |= grows || !self.wide.element(name).is_none_or(|element| element.is_float());
            let own =
                || Place::of(&known(self.narrow.shape(name)?)?, &known(self.wide.shape(name)?)?, self.batch, FACTOR);
            if let (Some((place, length)), Some(own), false) = (carried, own(), self.places.contains_key(name)) {
                let same = self.narrow.shape(name).and_then(known).is_some_and(|shape| shape[own.axis] == length);
                if same && place.inner != own.inner {
                    self.places.insert(name.clone(), Place { axis: own.axis, inner: place.inner });
                }
            }
        }
        if takes_batch && !passes && self.lost.is_none() && node.op_type() != "Shape" {
            self.lost = Some(node.label());
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Takes what an operator without shapes makes of a batch for a batch, where it was one for one image.
    fn guess(&mut self, name: &str) {
        let Some(fact) = self.narrow.get(name) else { return };
        let Some(mut shape) = fact.shape.as_deref().and_then(known) else { return };
        if shape.first() == Some(&self.batch) {
            shape[0] = self.batch.saturating_mul(FACTOR);
            let shape = Some(shape.into_iter().map(Dim::Known).collect());
            self.wide.set(name, Fact { element: fact.element, shape, value: None });
        }
    }

    /// Whether a value is larger for a larger batch.
    fn grows(&self, name: &str) -> bool {
        let (narrow, wide) = (self.narrow.shape(name), self.wide.shape(name));
        !name.is_empty() && narrow.zip(wide).is_some_and(|(narrow, wide)| narrow != wide)
    }

    fn place(&self, name: &str) -> Option<Place> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        Place::of(&known(self.narrow.shape(name)?)?, &known(self.wide.shape(name)?)?, self.batch, FACTOR)
    }
}

/// The lengths, where all are numbers.
fn known(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(|dim| if let Dim::Known(length) = dim { Some(*length) } else { None }).collect()
}
