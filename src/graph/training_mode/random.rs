//! Operators whose numbers come by chance, as stochastic depth has them: drawn by seed and step in training, as the masks of
//! `Dropout` are, and what they are on average in inference.

use std::collections::{HashMap, HashSet};

use super::noise::{Body, Seed};
use crate::graph::{
    Error, Result,
    build::{Element, Value, attribute, floats, integers, node},
    literal,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    shapes::Shapes,
};

/// Added to the number of a node, so that none draws what a `Dropout` draws.
const FIRST: i64 = 1 << 20;
/// As many numbers as a float32 has between 1/2 and 1.
const STEPS: i64 = 1 << 24;

fn is_random(node: &NodeProto) -> bool {
    let operators = ["Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];
    node.is_standard() && operators.contains(&node.op_type())
}

/// Every one of these operators becomes a function of the seed.
pub(super) fn write_out(model: &mut ModelProto, seed: Seed<'_>) -> Result<()> {
    if !model.graph.iter().flat_map(|graph| &graph.node).any(is_random) {
        return Ok(());
    }
    let shapes = Shapes::of(model)?;
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    let mut nodes = Vec::new();
    let mut number = FIRST;
    for node in std::mem::take(&mut graph.node) {
        if is_random(&node) {
            // Normal numbers take two.
            number += 2;
            nodes.extend(drawn(&node, seed, number, &shapes)?);
        } else {
            nodes.push(node);
        }
    }
    graph.node = nodes;
    Ok(())
}

/// The nodes that make one operator's numbers.
fn drawn(random: &NodeProto, seed: Seed<'_>, number: i64, shapes: &Shapes) -> Result<Vec<NodeProto>> {
    let Some(y) = random.made(0) else { return Err(Error::model(random.label(), "it has no output")) };
    let element = shapes.element(y).filter(|element| element.is_float());
    let Some(element) = element else { return Err(Error::model(random.label(), "wanted float32 or float64")) };
    let mut body = Body { prefix: format!("{y}.drawn"), nodes: Vec::new() };
    let (shape, size) = match random.given(0) {
        Some(like) => (body.op("Shape", &[like], "shape"), body.op("Size", &[like], "size")),
        None => {
            let lengths = random.ints("shape").unwrap_or_default();
            let count =
                lengths.iter().try_fold(1_i64, |count, &length| count.checked_mul(length)).filter(|&count| count >= 0);
            let Some(count) = count else {
                return Err(Error::model(random.label(), format!("its shape {lengths:?} is none that memory holds")));
            };
            let size = body.constant("size", integers("", &[], &[count]));
            (body.constant("shape", integers("", &[lengths.len()], lengths)), size)
        }
    };
    let before = body.before(seed, shapes.shape(y), &size, &random.label())?;
    let share = |body: &mut Body, number: i64, what: &str| {
        // 24 of the 31 bits, which a float32 holds exactly: below 1 after rounding, too.
        let mut part = Body { prefix: format!("{}.{what}", body.prefix), nodes: Vec::new() };
        let places = part.places(seed, number, &size, before.as_deref());
        let fewer = part.number("fewer", 128);
        let steps = part.op("Div", &[&places, &fewer], "steps");
        let steps = part.op("Reshape", &[&steps, &shape], "shaped");
        let float = part.cast(&steps, element, "float");
        #[expect(clippy::cast_precision_loss, reason = "a power of two")]
        let unit = part.constant("unit", floats("", element, &[], &[1.0 / STEPS as f64]));
        let share = part.op("Mul", &[&float, &unit], "share");
        body.nodes.append(&mut part.nodes);
        share
    };
    let number_of = |body: &mut Body, name: &str, value: f64| body.constant(name, floats("", element, &[], &[value]));
    let uniform = share(&mut body, number, "first");
    match random.op_type() {
        "Bernoulli" => {
            let chance = body.cast(random.given(0).unwrap_or_default(), element, "chance");
            let hit = body.op("Less", &[&uniform, &chance], "hit");
            let to = vec![attribute("to", Value::Int(i64::from(element.code())))];
            body.nodes.push(node("Cast", &[&hit], &[y], to));
        }
        "RandomUniform" | "RandomUniformLike" => {
            let (low, high) = (random.float("low", 0.0), random.float("high", 1.0));
            let (range, low) = (number_of(&mut body, "range", high - low), number_of(&mut body, "low", low));
            let wide = body.op("Mul", &[&uniform, &range], "wide");
            body.nodes.push(node("Add", &[&wide, &low], &[y], Vec::new()));
        }
        _ => {
            // Box and Muller: sqrt(-2 log u) cos(2 pi v).
            let other = share(&mut body, number + 1, "second");
            let (least, minus_two) = (number_of(&mut body, "least", 1e-7), number_of(&mut body, "minus_two", -2.0));
            let circle = number_of(&mut body, "circle", std::f64::consts::TAU);
            let above = body.op("Max", &[&uniform, &least], "above");
            let log = body.op("Log", &[&above], "log");
            let square = body.op("Mul", &[&log, &minus_two], "square");
            let radius = body.op("Sqrt", &[&square], "radius");
            let angle = body.op("Mul", &[&other, &circle], "angle");
            let side = body.op("Cos", &[&angle], "side");
            let normal = body.op("Mul", &[&radius, &side], "normal");
            let (scale, mean) = (random.float("scale", 1.0), random.float("mean", 0.0));
            let (scale, mean) = (number_of(&mut body, "scale", scale), number_of(&mut body, "mean", mean));
            let wide = body.op("Mul", &[&normal, &scale], "wide");
            body.nodes.push(node("Add", &[&wide, &mean], &[y], Vec::new()));
        }
    }
    Ok(body.nodes)
}

/// Every such operator of the main graph becomes what it is in inference.
///
/// # Errors
/// Naming one that makes no mask by which the data is multiplied.
pub(super) fn turn_off(model: &mut ModelProto) -> Result<()> {
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    into_inference(graph);
    match graph.node.iter().find(|node| is_random(node)) {
        Some(node) => {
            let reason = "its numbers come by chance, and it makes no mask of stochastic depth, which inference does \
                          without; export the model in inference mode";
            Err(Error::model(node.label(), reason))
        }
        None => Ok(()),
    }
}

/// Masks of stochastic depth become what they are on average, the chance that the data stays: `floor(u + p)` or `u < p` of
/// uniform numbers `u`, and `Bernoulli`, where the data is multiplied by them. Divided by `p` it is the data itself.
pub(crate) fn into_inference(graph: &mut GraphProto) {
    let masks: Vec<(String, Mask)> = masks(graph);
    let numbers: HashMap<String, Mask> = masks.into_iter().collect();
    if numbers.is_empty() {
        return;
    }
    for node in &mut graph.node {
        let Some(name) = node.made(0).map(str::to_owned) else { continue };
        *node = match numbers.get(&name) {
            Some(Mask::Number(value, element)) => {
                let tensor = floats("", *element, &[], &[*value]);
                self::node("Constant", &[], &[&name], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
            }
            Some(Mask::Value(chance)) => self::node("Identity", &[chance], &[&name], Vec::new()),
            None => continue,
        };
    }
    drop_unused_chance(graph);
}

/// What a mask is on average.
enum Mask {
    Number(f64, Element),
    /// What that value says.
    Value(String),
}

fn masks(graph: &GraphProto) -> Vec<(String, Mask)> {
    let mut users: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    for node in &graph.node {
        node.input.iter().for_each(|name| users.entry(name).or_default().push(node));
    }
    let constants = graph.initializer.iter().map(|tensor| (tensor.name(), tensor.clone()));
    let made = graph.node.iter().filter_map(|node| Some((node.made(0)?, literal::of_node(node)?)));
    let constants: HashMap<&str, TensorProto> = constants.chain(made).collect();
    let number = |name: Option<&str>| {
        let tensor = constants.get(name?)?;
        let element = Element::from_code(tensor.data_type())?;
        let numbers = literal::numbers(tensor)?;
        let [value] = numbers.as_slice() else { return None };
        Some((*value, element)).filter(|(value, _)| (0.0..=1.0).contains(value))
    };
    let only_user = |name: &str| match users.get(name).map(Vec::as_slice) {
        Some([only]) => Some(*only),
        _ => None,
    };
    let multiplies = |name: &str| {
        let users = users.get(name).map_or(&[][..], Vec::as_slice);
        !users.is_empty() && users.iter().all(|user| matches!(user.op_type(), "Mul" | "Div"))
    };
    let casted = |name: &str| only_user(name).filter(|user| matches!(user.op_type(), "Cast" | "CastLike"));
    let mut found = Vec::new();
    for node in graph.node.iter().filter(|node| is_random(node)) {
        let Some(drawn) = node.made(0) else { continue };
        if node.op_type() == "Bernoulli" {
            let chance = node.given(0).unwrap_or_default();
            let same_type = node.attr("dtype").is_none();
            if same_type && multiplies(drawn) {
                found.push((drawn.to_owned(), Mask::Value(chance.to_owned())));
            }
            continue;
        }
        let is_unit = node.op_type().starts_with("RandomUniform")
            && node.float("low", 0.0) == 0.0
            && (node.float("high", 1.0) - 1.0).abs() < f64::EPSILON;
        let Some(user) = only_user(drawn).filter(|_| is_unit) else { continue };
        let other = user.input.iter().map(String::as_str).find(|name| *name != drawn);
        let Some((chance, element)) = number(other) else { continue };
        let (Some(next), Some(shifted)) = (user.made(0).and_then(only_user), user.made(0)) else { continue };
        let mask = match user.op_type() {
            "Add" if next.op_type() == "Floor" => next.made(0),
            "Less" if user.given(0) == Some(drawn) => casted(shifted).and_then(|cast| cast.made(0)),
            _ => None,
        };
        if let Some(mask) = mask.filter(|mask| multiplies(mask)) {
            found.push((mask.to_owned(), Mask::Number(chance, element)));
        }
    }
    found
}

/// Leaves out random numbers that nothing takes any more, and what only they lead to.
fn drop_unused_chance(graph: &mut GraphProto) {
    loop {
        let used: HashSet<&str> = graph.node.iter().flat_map(|node| &node.input).map(String::as_str).collect();
        let outputs = graph.output.iter().map(|output| output.name());
        let used: HashSet<String> = used.into_iter().chain(outputs).map(str::to_owned).collect();
        let before = graph.node.len();
        let is_free = |node: &NodeProto| is_random(node) || matches!(node.op_type(), "Add" | "Less");
        graph.node.retain(|node| !is_free(node) || node.output.iter().any(|output| used.contains(output)));
        if graph.node.len() == before {
            return;
        }
    }
}
