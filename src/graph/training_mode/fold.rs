//! Constant subgraphs, computed once.
//!
//! Integers (shapes, axes, indices) are followed by the shape inference; floats by the few operators that exporters leave
//! between constants. Initializers of floats are weights, not constants: what depends on them stays.

use std::collections::{HashMap, HashSet};

use ndarray::{ArrayD, Axis, IxDyn, Zip, concatenate};

use crate::graph::{
    Error, Result,
    build::{Dim, Element, Value, attribute, floats, integers, node},
    literal,
    proto::{ModelProto, NodeProto, TensorProto},
    shapes::{Shapes, axis_of},
};

/// The largest constant that is computed here, in elements ...
const LARGEST: usize = 1 << 20;
/// ... and how many all of them have together: small nodes can ask for any number of large constants.
const LARGEST_IN_ALL: usize = 1 << 24;

/// Replaces every node whose result is constant by that constant, and drops what nothing uses any more.
///
/// # Errors
/// When a node's inputs contradict each other.
pub fn fold(model: &mut ModelProto) -> Result<()> {
    let shapes = Shapes::of(model)?;
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let mut known: HashMap<String, Number> = HashMap::new();
    let outputs: HashSet<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
    let mut room = LARGEST_IN_ALL;
    for node in &mut graph.node {
        let [name] = node.output.as_slice() else { continue };
        let name = name.clone();
        if let Some(tensor) = literal::of_node(node) {
            known.extend(Number::of(&tensor).map(|number| (name, number)));
            continue;
        }
        let folded = of_integers(&shapes, &name).or_else(|| {
            let number = compute(node, &known, &shapes)?;
            room = room.checked_sub(number.values.len())?;
            let tensor = number.tensor();
            known.insert(name.clone(), number);
            Some(tensor)
        });
        if let Some(tensor) = folded {
            *node = constant(&name, tensor);
        }
    }
    drop_unused(&mut graph.node, &outputs);
    // Weights stay even where nothing uses them: their names may mean something to the caller.
    let used: HashSet<&str> = graph.node.iter().flat_map(used_by).collect();
    let is_weight = |tensor: &TensorProto| Element::from_code(tensor.data_type()).is_none_or(Element::is_float);
    let stays =
        |tensor: &TensorProto| is_weight(tensor) || used.contains(tensor.name()) || outputs.contains(tensor.name());
    graph.initializer.retain(stays);
    Ok(())
}

fn constant(name: &str, tensor: TensorProto) -> NodeProto {
    node("Constant", &[], &[name], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
}

/// A result of integers that the shape inference knows, as a constant.
fn of_integers(shapes: &Shapes, name: &str) -> Option<TensorProto> {
    let fact = shapes.get(name)?;
    let values = shapes.integers(name)?;
    let lengths: Vec<usize> = match fact.shape.as_deref()? {
        [] => Vec::new(),
        [Dim::Known(length)] => vec![*length],
        _ => return None,
    };
    let fits = fact.element == Some(Element::I64) && literal::count(&lengths) == Some(values.len());
    fits.then(|| integers("", &lengths, &values))
}

/// Leaves out nodes that lead to no output.
fn drop_unused(nodes: &mut Vec<NodeProto>, outputs: &HashSet<String>) {
    let mut needed = outputs.clone();
    let mut kept: Vec<NodeProto> = Vec::new();
    for node in nodes.drain(..).rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            needed.extend(used_by(&node).into_iter().map(str::to_owned));
            kept.push(node);
        }
    }
    kept.reverse();
    *nodes = kept;
}

/// The values that a node takes, those that its subgraphs take from outside among them.
fn used_by(node: &NodeProto) -> Vec<&str> {
    let graphs =
        node.attribute.iter().flat_map(|attribute| attribute.g.as_deref().into_iter().chain(&attribute.graphs));
    let inside = graphs.flat_map(|graph| {
        let outputs = graph.output.iter().map(|output| output.name());
        outputs.chain(graph.node.iter().flat_map(used_by))
    });
    node.input.iter().map(String::as_str).chain(inside).collect()
}

/// A constant of floats.
struct Number {
    element: Element,
    values: ArrayD<f64>,
}

impl Number {
    fn of(tensor: &TensorProto) -> Option<Self> {
        let element = Element::from_code(tensor.data_type()).filter(|element| element.is_float())?;
        let values = ArrayD::from_shape_vec(IxDyn(&literal::lengths(tensor)?), literal::numbers(tensor)?).ok()?;
        Some(Self { element, values })
    }

    fn tensor(&self) -> TensorProto {
        let values: Vec<f64> = self.values.iter().copied().collect();
        floats("", self.element, self.values.shape(), &values)
    }

    /// Rounded to its type.
    #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
    fn rounded(element: Element, values: ArrayD<f64>) -> Self {
        let values = if element == Element::F32 { values.mapv(|value| f64::from(value as f32)) } else { values };
        Self { element, values }
    }
}

/// The result of a node over constants. One operation in float64 rounded to float32 is the operation in float32.
#[expect(clippy::cast_precision_loss, reason = "integers are short shapes")]
fn compute(node: &NodeProto, known: &HashMap<String, Number>, shapes: &Shapes) -> Option<Number> {
    if !node.is_standard() {
        return None;
    }
    let lengths = || {
        let shape = shapes.shape(node.made(0)?)?;
        let known = |dim: &Dim| if let Dim::Known(length) = dim { Some(*length) } else { None };
        let lengths = shape.iter().map(known).collect::<Option<Vec<usize>>>()?;
        literal::count(&lengths).is_some_and(|count| count <= LARGEST).then_some(lengths)
    };
    let of = |index: usize| known.get(node.given(index)?);
    let unary = |function: fn(f64) -> f64| of(0).map(|x| Number::rounded(x.element, x.values.mapv(function)));
    let binary = |function: fn(f64, f64) -> f64| {
        let (left, right, lengths) = (of(0)?, of(1)?, lengths()?);
        let (a, b) = (left.values.broadcast(lengths.as_slice())?, right.values.broadcast(lengths.as_slice())?);
        Some(Number::rounded(left.element, Zip::from(a).and(b).map_collect(|&a, &b| function(a, b))))
    };
    match node.op_type() {
        "Identity" => unary(|x| x),
        "Neg" => unary(|x| -x),
        "Sqrt" => unary(f64::sqrt),
        "Reciprocal" => unary(|x| 1.0 / x),
        "Add" => binary(|a, b| a + b),
        "Sub" => binary(|a, b| a - b),
        "Mul" => binary(|a, b| a * b),
        "Div" => binary(|a, b| a / b),
        "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => {
            let (x, lengths) = (of(0)?, lengths()?);
            Some(Number { element: x.element, values: x.values.to_shape(lengths).ok()?.to_owned() })
        }
        "Expand" => {
            let (x, lengths) = (of(0)?, lengths()?);
            Some(Number { element: x.element, values: x.values.broadcast(lengths.as_slice())?.to_owned() })
        }
        "Concat" => {
            let parts: Vec<&Number> = (0..node.input.len()).map(of).collect::<Option<_>>()?;
            let axis = axis_of(node.int("axis", 0), lengths()?.len())?;
            let values: Vec<_> = parts.iter().map(|part| part.values.view()).collect();
            Some(Number { element: parts.first()?.element, values: concatenate(Axis(axis), &values).ok()? })
        }
        "ConstantOfShape" => {
            let fill = node.tensor("value");
            let element = fill.map_or(Some(Element::F32), |fill| Element::from_code(fill.data_type()))?;
            let value = fill.map_or(Some(0.0), |fill| literal::numbers(fill)?.first().copied())?;
            element.is_float().then_some(())?;
            Some(Number { element, values: ArrayD::from_elem(IxDyn(&lengths()?), value) })
        }
        "Cast" => {
            let element = Element::from_code(i32::try_from(node.int("to", 0)).ok()?).filter(|to| to.is_float())?;
            let values = match of(0) {
                Some(x) => x.values.clone(),
                None => {
                    let values = shapes.integers(node.given(0)?)?;
                    let values = values.into_iter().map(|value| value as f64).collect();
                    ArrayD::from_shape_vec(IxDyn(&lengths()?), values).ok()?
                }
            };
            Some(Number::rounded(element, values))
        }
        _ => None,
    }
}
