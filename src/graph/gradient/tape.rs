//! The nodes of a gradient under construction, with the shapes of what they make.

use std::collections::{HashMap, HashSet};

use super::{Operators, order};
use crate::graph::{
    Error, Result,
    build::{Dim, Element, Value, attribute, floats, int, integers, node},
    collective::{ALL_REDUCE, all_reduce},
    literal,
    nodes::ENTRANCE,
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto},
    shapes::{Shapes, dims},
};

/// What the names of all emitted values start with.
pub(super) const PREFIX: &str = "pdloss.gradient.";

/// What the keys of constants start with.
const CONSTANT: &str = "constant ";

/// Emits nodes; every emitted value has a shape in `shapes`, as those of the graph have.
pub(super) struct Tape<'a> {
    pub(super) shapes: Shapes,
    opset: i64,
    /// Constants; they stand in front of the graph.
    prelude: Vec<NodeProto>,
    /// The gradient; it stands behind the graph.
    nodes: Vec<NodeProto>,
    /// Nodes of the graph that are spelt in another way, by the first output of the node they stand for.
    replaced: HashMap<String, Vec<NodeProto>>,
    /// The spelling under construction.
    spelling: Option<Vec<NodeProto>>,
    taken: HashSet<String>,
    /// Values made once and used again: constants, shapes, sums.
    made: HashMap<String, String>,
    count: usize,
    /// Constants of the graph.
    constants: HashMap<&'a str, TensorProto>,
    /// What gradients may be written in.
    pub(super) operators: Operators,
    /// The nodes of the graph by the first value that they make.
    makers: HashMap<&'a str, &'a NodeProto>,
}

impl<'a> Tape<'a> {
    pub(super) fn new(graph: &'a GraphProto, shapes: Shapes, opset: i64, operators: Operators) -> Self {
        let inputs = graph.input.iter().map(|input| input.name());
        let results = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        let initializers = graph.initializer.iter().map(TensorProto::name);
        let taken = inputs.clone().chain(results).chain(initializers).map(str::to_owned).collect();
        let inputs: HashSet<&str> = inputs.collect();
        let single = |tensor: &TensorProto| tensor.dims.iter().all(|&length| length == 1);
        let fixed = graph.initializer.iter().filter(|tensor| single(tensor) && !inputs.contains(tensor.name()));
        let mut constants: HashMap<&str, TensorProto> = fixed.map(|tensor| (tensor.name(), tensor.clone())).collect();
        for node in &graph.node {
            if let (Some(tensor), Some(name)) = (literal::of_node(node), node.made(0)) {
                constants.insert(name, tensor);
            }
        }
        let makers = graph.node.iter().filter_map(|node| node.made(0).map(|name| (name, node))).collect();
        Self {
            shapes,
            opset,
            prelude: Vec::new(),
            nodes: Vec::new(),
            replaced: HashMap::new(),
            spelling: None,
            taken,
            made: HashMap::new(),
            count: 0,
            constants,
            operators,
            makers,
        }
    }

    /// The standard operator of this name that makes a value.
    pub(super) fn maker(&self, name: &str, operator: &str) -> Option<&'a NodeProto> {
        self.makers.get(name).copied().filter(|node| node.is_standard() && node.op_type() == operator)
    }

    /// What a value is a function of by this operator.
    pub(super) fn under(&self, name: &str, operator: &str) -> Option<&'a str> {
        self.maker(name, operator)?.given(0)
    }

    /// What a value is the sum or product (by this operator) of, beside a single number, and that number.
    pub(super) fn beside_number(&self, name: &str, operator: &str) -> Option<(&'a str, f64)> {
        let node = self.maker(name, operator)?;
        let (a, b) = (node.given(0)?, node.given(1)?);
        self.number(b).map(|number| (a, number)).or_else(|| Some((b, self.number(a)?)))
    }

    /// The one number that a constant of the graph holds.
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        let tensor = self.constants.get(name)?;
        match literal::numbers(tensor)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    // Facts.

    pub(super) fn shape(&self, name: &str) -> Result<Vec<Dim>> {
        let unknown = || {
            let problem = format!("its rank is not known, and its gradient needs it{}", self.where_lost(name));
            Error::model(name, problem)
        };
        self.shapes.shape(name).map(<[Dim]>::to_vec).ok_or_else(unknown)
    }

    /// Which node it is, of those that lead to a value, behind which no rank is known.
    fn where_lost(&self, name: &str) -> String {
        let is_unknown = |input: &&String| !input.is_empty() && self.shapes.shape(input).is_none();
        let mut maker = self.makers.get(name);
        while let Some(node) = maker {
            match node.input.iter().find(is_unknown) {
                Some(input) => maker = self.makers.get(input.as_str()),
                None => {
                    return format!(
                        "; it is lost at {}, of whose outputs the model should say the shape",
                        node.label()
                    );
                }
            }
        }
        String::new()
    }

    /// How many axes a value has.
    pub(super) fn rank(&self, name: &str) -> Result<usize> {
        self.shape(name).map(|shape| shape.len())
    }

    pub(super) fn element(&self, name: &str) -> Result<Element> {
        let element = self.shapes.element(name).filter(|element| element.is_float());
        element.ok_or_else(|| Error::model(name, "wanted float32 or float64 to have a gradient, got another type"))
    }

    /// The length of an axis, where it must be a number.
    pub(super) fn length(&self, name: &str, axis: usize) -> Result<usize> {
        let shape = self.shape(name)?;
        match shape.get(axis) {
            Some(Dim::Known(length)) => Ok(*length),
            _ => {
                let reason = format!("axis {axis} of {} must have a known length for its gradient", dims::show(&shape));
                Err(Error::model(name, reason))
            }
        }
    }

    // Emission.

    fn fresh(&mut self, stem: &str) -> String {
        loop {
            self.count += 1;
            let name = format!("{PREFIX}{}_{stem}", self.count);
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    fn push(&mut self, node: NodeProto) -> Result<()> {
        self.shapes.add(&node)?;
        match &mut self.spelling {
            _ if node.op_type() == "Constant" => self.prelude.push(node),
            Some(spelling) => spelling.push(node),
            None => self.nodes.push(node),
        }
        Ok(())
    }

    /// Spells a node of the graph in another way: `write` emits nodes that make the node's outputs, in the node's place.
    /// What else they make can be used by its gradient.
    pub(super) fn respell<T>(&mut self, node: &NodeProto, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let facts: Vec<_> = node.output.iter().map(|name| (name, self.shapes.get(name).cloned())).collect();
        self.spelling = Some(Vec::new());
        let answer = write(self);
        let mut nodes = self.spelling.take().unwrap_or_default();
        // The layer that the exporter wrote down.
        for other in &mut nodes {
            other.metadata_props.clone_from(&node.metadata_props);
        }
        // The values are the same, and keep the names of their lengths.
        for (name, fact) in facts {
            if let Some(fact) = fact {
                self.shapes.set(name, fact);
            }
        }
        self.replaced.insert(node.output[0].clone(), nodes);
        answer
    }

    pub(super) fn is_respelt(&self, node: &NodeProto) -> bool {
        node.output.first().is_some_and(|name| self.replaced.contains_key(name))
    }

    /// Emits the node that makes a value of the graph, inside [`Tape::respell`].
    pub(super) fn make(
        &mut self,
        output: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Result<()> {
        self.push(node(operator, inputs, &[output], attributes))
    }

    /// Emits a node of any domain that makes these values of the graph, inside [`Tape::respell`]; what has no name gets one.
    pub(super) fn make_all(
        &mut self,
        outputs: &[Option<&str>],
        (operator, domain): (&str, &str),
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> Result<Vec<String>> {
        let names = outputs.iter().map(|name| name.map_or_else(|| self.fresh(operator), str::to_owned));
        let names: Vec<String> = names.collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = node(operator, inputs, &outputs, attributes);
        node.domain = Some(domain.to_owned());
        self.push(node)?;
        Ok(names)
    }

    /// The name of a node's output, which the node is made to have where it left it out.
    pub(super) fn output(&mut self, node: &NodeProto, index: usize) -> Result<String> {
        if let Some(name) = node.made(index) {
            return Ok(name.to_owned());
        }
        let mut node = match self.replaced.get(&node.output[0]).map(Vec::as_slice) {
            Some([again]) => again.clone(),
            _ => node.clone(),
        };
        if let Some(name) = node.made(index) {
            return Ok(name.to_owned());
        }
        let name = self.fresh(node.op_type());
        if node.output.len() <= index {
            node.output.resize(index + 1, String::new());
        }
        node.output[index].clone_from(&name);
        self.respell(&node.clone(), |tape| tape.push(node))?;
        Ok(name)
    }

    /// One node with one output.
    pub(super) fn op(&mut self, operator: &str, inputs: &[&str]) -> Result<String> {
        self.with(operator, inputs, Vec::new())
    }

    /// One node with attributes and one output.
    pub(super) fn with(&mut self, operator: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Result<String> {
        let mut outputs = self.many(operator, "", inputs, attributes, 1)?;
        Ok(outputs.swap_remove(0))
    }

    /// One node of any domain with any number of outputs.
    pub(super) fn many(
        &mut self,
        operator: &str,
        domain: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        outputs: usize,
    ) -> Result<Vec<String>> {
        let names: Vec<String> = (0..outputs).map(|_| self.fresh(operator)).collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut node = node(operator, inputs, &outputs, attributes);
        if !domain.is_empty() {
            node.domain = Some(domain.to_owned());
        }
        self.push(node)?;
        Ok(names)
    }

    /// The gradient as a node of its own, times a value of the graph where one is named.
    pub(super) fn enter(&mut self, grad: &str, factor: &str) -> Result<String> {
        let made = if factor.is_empty() { self.op("Identity", &[grad])? } else { self.op("Mul", &[grad, factor])? };
        if let Some(node) = self.nodes.last_mut() {
            node.doc_string = Some(ENTRANCE.to_owned());
        }
        Ok(made)
    }

    /// The sums of values over all ranks, in one exchange.
    pub(super) fn all_reduce(&mut self, values: &[&str]) -> Result<Vec<String>> {
        let names: Vec<String> = values.iter().map(|_| self.fresh(ALL_REDUCE)).collect();
        let sums: Vec<&str> = names.iter().map(String::as_str).collect();
        self.push(all_reduce(values, &sums))?;
        Ok(names)
    }

    /// What `make` makes, once for every `key`.
    pub(super) fn once(&mut self, key: String, make: impl FnOnce(&mut Self) -> Result<String>) -> Result<String> {
        // What is computed in the graph's own part cannot use what is made behind it.
        let key = if self.spelling.is_some() && !key.starts_with(CONSTANT) { format!("early {key}") } else { key };
        if let Some(name) = self.made.get(&key) {
            return Ok(name.clone());
        }
        let name = make(self)?;
        self.made.insert(key, name.clone());
        Ok(name)
    }

    pub(super) fn constant(&mut self, tensor: TensorProto) -> Result<String> {
        self.with("Constant", &[], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
    }

    /// A vector of integers.
    pub(super) fn ints(&mut self, values: &[i64]) -> Result<String> {
        self.once(format!("{CONSTANT}{values:?}"), |tape| tape.constant(integers("", &[values.len()], values)))
    }

    /// An integer.
    pub(super) fn int(&mut self, value: i64) -> Result<String> {
        self.once(format!("{CONSTANT}int {value}"), |tape| tape.constant(integers("", &[], &[value])))
    }

    /// A single number of the type of `like`.
    pub(super) fn scalar(&mut self, value: f64, like: &str) -> Result<String> {
        let element = self.element(like)?;
        self.once(format!("{CONSTANT}{value:?} {element:?}"), |tape| tape.constant(floats("", element, &[], &[value])))
    }

    /// `value` times a number.
    pub(super) fn scaled(&mut self, value: &str, factor: f64) -> Result<String> {
        let factor = self.scalar(factor, value)?;
        self.op("Mul", &[value, &factor])
    }

    /// `value` plus a number.
    pub(super) fn shifted(&mut self, value: &str, by: f64) -> Result<String> {
        let by = self.scalar(by, value)?;
        self.op("Add", &[value, &by])
    }

    /// Ones in the shape of a single number.
    pub(super) fn one_like(&mut self, loss: &str) -> Result<String> {
        let shape = self.shape(loss)?;
        if !shape.iter().all(|dim| *dim == Dim::Known(1)) {
            let reason = format!("wanted a single number to differentiate, got shape {}", dims::show(&shape));
            return Err(Error::model(loss, reason));
        }
        let tensor = floats("", self.element(loss)?, &vec![1; shape.len()], &[1.0]);
        self.constant(tensor)
    }

    /// The sum of gradients of one value.
    pub(super) fn total(&mut self, parts: &[String]) -> Result<String> {
        match parts {
            [part] => Ok(part.clone()),
            _ => self.once(format!("total {parts:?}"), |tape| {
                let inputs: Vec<&str> = parts.iter().map(String::as_str).collect();
                tape.op(if inputs.len() == 2 { "Add" } else { "Sum" }, &inputs)
            }),
        }
    }

    pub(super) fn cast(&mut self, value: &str, element: Element) -> Result<String> {
        self.with("Cast", &[value], vec![attribute("to", Value::Int(i64::from(element.code())))])
    }

    /// `value` in the type of `like`.
    pub(super) fn cast_like(&mut self, value: &str, like: &str) -> Result<String> {
        let element = self.element(like)?;
        self.cast(value, element)
    }

    pub(super) fn transpose(&mut self, value: &str, perm: &[usize]) -> Result<String> {
        if perm.iter().enumerate().all(|(index, &axis)| index == axis) {
            return Ok(value.to_owned());
        }
        let perm = perm.iter().map(|&axis| int(axis)).collect();
        self.with("Transpose", &[value], vec![attribute("perm", Value::Ints(perm))])
    }

    /// Sums over axes; over none it is the value itself.
    pub(super) fn sum(&mut self, value: &str, axes: &[usize], keep: bool) -> Result<String> {
        self.reduce("ReduceSum", value, axes, keep)
    }

    /// A reduction; over no axes it is the value itself.
    pub(super) fn reduce(&mut self, operator: &str, value: &str, axes: &[usize], keep: bool) -> Result<String> {
        if axes.is_empty() {
            return Ok(value.to_owned());
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| int(axis)).collect();
        let keep = attribute("keepdims", Value::Int(i64::from(keep)));
        // All reductions take their axes as an input since opset 18, `ReduceSum` since 13.
        if self.opset >= 18 || operator == "ReduceSum" {
            let axes = self.ints(&axes)?;
            return self.with(operator, &[value, &axes], vec![keep]);
        }
        self.with(operator, &[value], vec![attribute("axes", Value::Ints(axes)), keep])
    }

    /// `value` with `lengths` (as `Reshape` takes them).
    pub(super) fn reshape(&mut self, value: &str, lengths: &[i64]) -> Result<String> {
        let target = self.ints(lengths)?;
        self.op("Reshape", &[value, &target])
    }

    /// `value` with an axis of length 1 put in at each of `axes` (counted in the result).
    pub(super) fn unsqueeze(&mut self, value: &str, axes: &[usize]) -> Result<String> {
        if axes.is_empty() {
            return Ok(value.to_owned());
        }
        let axes: Vec<i64> = axes.iter().map(|&axis| int(axis)).collect();
        let axes = self.ints(&axes)?;
        self.op("Unsqueeze", &[value, &axes])
    }

    pub(super) fn concat(&mut self, parts: &[&str], axis: i64) -> Result<String> {
        self.with("Concat", parts, vec![attribute("axis", Value::Int(axis))])
    }

    /// The elements from `start` to before `end` along an axis, every `step`th.
    pub(super) fn slice(&mut self, value: &str, axis: usize, (start, end, step): (i64, i64, i64)) -> Result<String> {
        let (start, end, step) = (self.ints(&[start])?, self.ints(&[end])?, self.ints(&[step])?);
        let axis = self.ints(&[int(axis)])?;
        self.op("Slice", &[value, &start, &end, &axis, &step])
    }

    /// The same value under a name that tells what it is.
    pub(super) fn named(&mut self, value: &str, name: &str) -> String {
        let mut wanted = name.to_owned();
        while !self.taken.insert(wanted.clone()) {
            wanted.push('_');
        }
        self.nodes.push(node("Identity", &[value], &[&wanted], Vec::new()));
        wanted
    }

    /// All nodes in order: those of the graph, some of them spelt in another way, and those of the gradient that `results`
    /// need.
    pub(super) fn finish(mut self, graph: &[NodeProto], results: &[String]) -> Vec<NodeProto> {
        let again = |node: &NodeProto| {
            let spelling = node.output.first().and_then(|name| self.replaced.remove(name));
            spelling.unwrap_or_else(|| vec![node.clone()])
        };
        let body = order::of_evaluation(graph.iter().flat_map(again).collect());
        let mut needed: HashSet<String> = results.iter().cloned().collect();
        let mut gradient: Vec<NodeProto> = Vec::new();
        for node in self.nodes.into_iter().rev() {
            if node.output.iter().any(|name| needed.contains(name)) {
                needed.extend(node.input.iter().cloned());
                gradient.push(node);
            }
        }
        needed.extend(body.iter().flat_map(|node| &node.input).cloned());
        let used = |node: &NodeProto| node.output.iter().any(|name| needed.contains(name));
        let mut nodes: Vec<NodeProto> = self.prelude.into_iter().filter(used).collect();
        nodes.extend(body);
        nodes.extend(gradient.into_iter().rev());
        nodes
    }
}
