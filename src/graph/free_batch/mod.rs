//! Models that were exported for a fixed number of images, as PyTorch's exporter makes them unless it is told otherwise.
//!
//! [`free_batch`] follows the shapes of the model twice, for the batch that it was exported for and for one many times larger:
//! what grows is the batch's. Where a constant holds the batch (the shape of a `Reshape`, the bounds of a `Slice`), or a tensor
//! of one image meets a batch (a class token that is put in front of others), the node is written so that it takes any batch.
//! That the rows of the result are those of the model as it was is for the caller to see, by running both.

mod place;

use std::collections::{HashMap, HashSet};

use super::{
    Error, Result,
    build::{Dim, Value, attribute, declared, int, integers, node},
    literal,
    proto::{
        GraphProto, ModelProto, NodeProto, TensorShapeProtoDimensionValue as Length, TypeProtoValue, ValueInfoProto,
    },
    shapes::{Fact, Shapes, axis_of, dims},
};
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

/// How to export the model with a free batch, in a sentence: the call of `torch.onnx.export` for the exporter that wrote it.
#[must_use]
pub fn cure(model: &ModelProto) -> String {
    let first = model.graph.iter().flat_map(|graph| &graph.input).find_map(lengths).unwrap_or_default();
    let shown = |length: &usize| if *length == 0 { "...".to_owned() } else { length.to_string() };
    let lengths: Vec<String> = first.iter().skip(1).map(shown).collect();
    let example = format!("torch.randn(2, {})", lengths.join(", "));
    let graph = model.graph.as_ref();
    let input = graph.and_then(|graph| graph.input.first()).map_or("input", |input| input.name());
    let is_pytorch = model.producer_name().eq_ignore_ascii_case("pytorch");
    let is_dynamo = graph.is_some_and(|graph| {
        graph.metadata_props.iter().any(|entry| entry.key().starts_with("pkg.torch"))
            || graph.node.iter().flat_map(|node| &node.metadata_props).any(|entry| entry.key().starts_with("pkg.torch"))
    });
    let of_dynamo = format!(
        "torch.onnx.export(model, ({example},), \"model.onnx\", dynamic_shapes=({{0: torch.export.Dim(\"batch\")}},))"
    );
    let of_script = format!(
        "torch.onnx.export(model, ({example},), \"model.onnx\", dynamo=False, input_names=[\"{input}\"], \
         dynamic_axes={{\"{input}\": {{0: \"batch\"}}}})"
    );
    match (is_pytorch, is_dynamo) {
        (true, false) => format!("export it with a free one: {of_script}"),
        (true, true) => format!("export it with a free one: {of_dynamo}"),
        (false, _) => format!("export it with a free one, in PyTorch by {of_dynamo}"),
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
            match node.op_type() {
                "Reshape" => self.reshape(&mut node),
                "Gather" => self.gather(&mut node),
                "Expand" => self.expand(&mut node),
                "Squeeze" => self.squeeze(&mut node),
                "Slice" => self.slice(&mut node),
                "Resize" => self.resize(&mut node)?,
                "Concat" => self.concat(&mut node)?,
                "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Where" | "Max" | "Min" | "Sum" | "Mean" | "And" | "Or"
                | "Xor" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Mod" | "PRelu"
                | "MatMul" => {
                    self.meet(&mut node)?;
                }
                _ => {}
            }
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

    /// The vector `[batch]`, of the length that the batch has when the model runs.
    fn length(&mut self) -> Result<String> {
        if let Some(name) = &self.length {
            return Ok(name.clone());
        }
        let (shape, name) = (format!("{PREFIX}shape"), format!("{PREFIX}length"));
        let [start, end] = [0, 1].map(|value| self.constant(&[value]));
        let data = self.data.clone();
        self.put(node("Shape", &[&data], &[&shape], Vec::new()), false)?;
        self.put(node("Slice", &[&shape, &start, &end], &[&name], Vec::new()), false)?;
        self.length = Some(name.clone());
        Ok(name)
    }

    fn constant(&mut self, values: &[i64]) -> String {
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        let name = format!("{PREFIX}{}", text.join("_"));
        if self.constants.iter().all(|tensor| tensor.name() != name) {
            let tensor = integers(&name, &[values.len()], values);
            // A list of numbers has no shape that could be wrong.
            let _ = self.wide.constant(&tensor);
            let _ = self.narrow.constant(&tensor);
            self.constants.push(tensor);
        }
        name
    }

    /// A shape in which the length of one axis is the batch's.
    fn target(&mut self, shape: &[i64], axis: usize) -> Result<String> {
        let length = self.length()?;
        let text: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let name = format!("{PREFIX}at_{axis}_of_{}", text.join("_"));
        if self.wide.get(&name).is_some() {
            return Ok(name);
        }
        let mut parts = Vec::new();
        if axis > 0 {
            parts.push(self.constant(&shape[..axis]));
        }
        parts.push(length);
        if axis + 1 < shape.len() {
            parts.push(self.constant(&shape[axis + 1..]));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.put(node("Concat", &parts, &[&name], vec![attribute("axis", Value::Int(0))]), false)?;
        Ok(name)
    }

    /// A shape with the batch in it holds it where the elements of the batch come to lie.
    fn reshape(&mut self, node: &mut NodeProto) {
        let (Some(x), Some(target), Some(y)) = (node.given(0), node.given(1), node.made(0)) else { return };
        let (Some(from), Some(to)) = (self.narrow.shape(x).and_then(known), self.narrow.shape(y).and_then(known))
        else {
            return;
        };
        let (Some(lengths), Some(before), Some(place)) =
            (self.wide.integers(target), self.narrow.integers(target), self.place(x))
        else {
            return;
        };
        let Some(after) = place.after(&from, &to, self.batch) else { return };
        let y = y.to_owned();
        if after.inner * self.batch != to[after.axis] {
            self.places.insert(y, after);
        }
        // What the model computes from its input's shape follows the batch by itself, and so does a -1 in its place.
        let zero_copies = node.int("allowzero", 0) == 0;
        let is_free = match lengths.get(after.axis) {
            Some(-1) => true,
            Some(0) => zero_copies && after.axis == place.axis,
            _ => lengths != before,
        };
        if is_free {
            return;
        }
        let mut shape: Vec<i64> = to.iter().map(|&length| int(length)).collect();
        let keeps_axis = after.axis == place.axis && from[place.axis] == to[after.axis] && !to.contains(&0);
        shape[after.axis] = if keeps_axis { 0 } else { -1 };
        node.input[1] = self.constant(&shape);
        node.attribute.retain(|attribute| attribute.name() != "allowzero");
    }

    /// All elements of a flat tensor, one after the other, are those of a `Reshape`, as which they come for any batch.
    fn gather(&mut self, node: &mut NodeProto) {
        let (Some(x), Some(indices)) = (node.given(0), node.given(1)) else { return };
        let Some(shape) = self.counting.get(indices).cloned() else { return };
        let count: i64 = shape.iter().product();
        if self.narrow.shape(x) == usize::try_from(count).ok().map(|count| vec![Dim::Known(count)]).as_deref() {
            node.op_type = Some("Reshape".to_owned());
            node.attribute.clear();
            node.input[1] = self.constant(&shape);
            self.reshape(node);
        }
    }

    /// A length of one in the shape keeps what is there.
    fn expand(&mut self, node: &mut NodeProto) {
        let (Some(x), Some(target)) = (node.given(0), node.given(1)) else { return };
        let (Some(mut lengths), Some(place)) = (self.wide.integers(target), self.place(x)) else { return };
        let (Some(from), rank) = (self.narrow.shape(x).and_then(known), lengths.len()) else { return };
        let Some(axis) = (place.axis + rank).checked_sub(from.len()) else { return };
        if lengths[axis] == int(from[place.axis]) && lengths[axis] != 1 {
            lengths[axis] = 1;
            node.input[1] = self.constant(&lengths);
        }
    }

    /// An axis of one image is none to drop.
    fn squeeze(&mut self, node: &mut NodeProto) {
        let Some(x) = node.given(0) else { return };
        let (Some(shape), Some(place)) = (self.narrow.shape(x).and_then(known), self.place(x)) else { return };
        let given = self.narrow.setting(node, 1, "axes").filter(|axes| !axes.is_empty());
        let all: Vec<i64> = (0..shape.len()).filter(|&axis| shape[axis] == 1).map(int).collect();
        let axes = given.unwrap_or(all);
        let is_batch = |axis: &i64| axis_of(*axis, shape.len()) == Some(place.axis);
        let has_list = node.given(1).is_some() || node.attr("axes").is_some();
        if has_list && !axes.iter().any(is_batch) {
            return;
        }
        let kept: Vec<i64> = axes.iter().copied().filter(|axis| !is_batch(axis)).collect();
        if kept.is_empty() {
            node.op_type = Some("Identity".to_owned());
            node.input.truncate(1);
            node.attribute.clear();
        } else if node.given(1).is_some() {
            node.input[1] = self.constant(&kept);
        } else {
            node.attribute.retain(|attribute| attribute.name() != "axes");
            node.attribute.push(attribute("axes", Value::Ints(kept)));
        }
    }

    /// A slice of all images is one of all, however many there are.
    fn slice(&mut self, node: &mut NodeProto) {
        let (Some(x), Some(starts), Some(ends)) = (node.given(0), node.given(1), node.given(2)) else { return };
        let (Some(starts), Some(mut ends)) = (self.wide.integers(starts), self.wide.integers(ends)) else { return };
        let (Some(shape), Some(place)) = (self.narrow.shape(x).and_then(known), self.place(x)) else { return };
        let first: Vec<i64> = (0..starts.len()).map(int).collect();
        let axes = self.wide.setting(node, 3, "axes").unwrap_or(first);
        for ((axis, start), end) in axes.iter().zip(&starts).zip(&mut ends) {
            let is_batch = axis_of(*axis, shape.len()) == Some(place.axis);
            if is_batch && *start == 0 && *end == int(shape[place.axis]) {
                *end = i64::MAX;
            }
        }
        if ends.contains(&i64::MAX) {
            node.input[2] = self.constant(&ends);
        }
    }

    /// Lengths to resize to leave the batch as it is.
    fn resize(&mut self, node: &mut NodeProto) -> Result<()> {
        let (Some(x), Some(sizes)) = (node.given(0), node.given(3)) else { return Ok(()) };
        let (Some(sizes), Some(place)) = (self.wide.integers(sizes), self.place(x)) else { return Ok(()) };
        let Some(shape) = self.narrow.shape(x).and_then(known) else { return Ok(()) };
        let is_fixed = sizes.len() == shape.len() && sizes.get(place.axis) == Some(&int(shape[place.axis]));
        if is_fixed && place.inner == 1 && shape[place.axis] == self.batch {
            node.input[3] = self.target(&sizes, place.axis)?;
        }
        Ok(())
    }

    /// What is put beside a batch is repeated for each of its images.
    fn concat(&mut self, node: &mut NodeProto) -> Result<()> {
        let Some(place) = node.input.iter().filter(|name| self.grows(name)).find_map(|name| self.place(name)) else {
            return Ok(());
        };
        for index in 0..node.input.len() {
            let name = node.input[index].clone();
            let Some(shape) = self.narrow.shape(&name).and_then(known) else { continue };
            let along = axis_of(node.int("axis", 0), shape.len());
            if self.grows(&name) || along == Some(place.axis) || shape.get(place.axis) != Some(&self.batch) {
                continue;
            }
            let one = self.one_image(&name, place.axis)?;
            let repeated = format!("{PREFIX}{name}.of_{index}_{}", node.made(0).unwrap_or_default());
            let target = self.target(&vec![1; shape.len()], place.axis)?;
            self.narrow.set(&repeated, self.narrow.get(&name).cloned().unwrap_or_default());
            self.put(super::build::node("Expand", &[&one, &target], &[&repeated], Vec::new()), false)?;
            node.input[index] = repeated;
        }
        Ok(())
    }

    /// What is the same for each image of a batch meets a batch of any size as one.
    fn meet(&mut self, node: &mut NodeProto) -> Result<()> {
        let from_the_end = |shape: &[usize], axis: usize| shape.len() - axis;
        let grown = node.input.iter().filter(|name| self.grows(name)).find_map(|name| {
            let (place, shape) = (self.place(name)?, self.narrow.shape(name).and_then(known)?);
            Some(from_the_end(&shape, place.axis))
        });
        let Some(grown) = grown else { return Ok(()) };
        for index in 0..node.input.len() {
            let name = node.input[index].clone();
            let Some(shape) = self.narrow.shape(&name).and_then(known) else { continue };
            let Some(axis) = shape.len().checked_sub(grown) else { continue };
            if !self.grows(&name) && self.batch > 1 && shape[axis] == self.batch {
                node.input[index] = self.one_image(&name, axis)?;
            }
        }
        Ok(())
    }

    /// The part of a value that belongs to the first image.
    fn one_image(&mut self, name: &str, axis: usize) -> Result<String> {
        if self.batch == 1 {
            return Ok(name.to_owned());
        }
        let one = format!("{PREFIX}{name}{FIRST}{axis}");
        if self.wide.get(&one).is_none() {
            let [start, end, axes] = [0, 1, int(axis)].map(|value| self.constant(&[value]));
            let element = self.narrow.element(name);
            let mut shape = self.narrow.shape(name).map(<[Dim]>::to_vec);
            if let Some(shape) = &mut shape {
                shape[axis] = Dim::Known(1);
            }
            self.narrow.set(&one, Fact { element, shape, value: None });
            self.put(node("Slice", &[name, &start, &end, &axes], &[&one], Vec::new()), false)?;
        }
        Ok(one)
    }
}

/// The lengths, where all are numbers.
fn known(shape: &[Dim]) -> Option<Vec<usize>> {
    shape.iter().map(|dim| if let Dim::Known(length) = dim { Some(*length) } else { None }).collect()
}
