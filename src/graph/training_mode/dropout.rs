//! Dropout whose mask is a pure function of a number (the step), the node and the place: a run that is resumed draws what
//! the uninterrupted one would have drawn, on any machine.

use crate::graph::{
    Error, Result,
    build::{Value, attribute, floats, integers, node},
    literal,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto},
    shapes::Shapes,
};

/// A prime below 2^31, so that products of two rests fit into 63 bits. As 5 does not divide `P - 1`, `u^5 mod P` is a
/// permutation, and one that mixes well.
const P: i64 = 2_147_483_647;
/// Odd multipliers without pattern, from the digits of pi and e.
const PLACE: i64 = 1_415_926_535;
const SECOND: i64 = 718_281_828;
const STEP: i64 = 897_932_384;
const NODE: i64 = 459_045_235;

fn is_dropout(node: &NodeProto) -> bool {
    node.is_standard() && node.op_type() == "Dropout"
}

/// Every `Dropout` becomes what it is in inference.
pub(super) fn turn_off(model: &mut ModelProto) {
    for node in model.graph.iter_mut().flat_map(|graph| &mut graph.node).filter(|node| is_dropout(node)) {
        node.op_type = Some("Identity".to_owned());
        node.input.truncate(1);
        node.output.truncate(1);
        node.attribute.clear();
    }
}

/// Every `Dropout` becomes a product with its mask: `y = x keep / (1 - ratio)`.
pub(super) fn write_out(model: &mut ModelProto, seed: &str) -> Result<()> {
    let shapes = Shapes::of(model)?;
    let Some(graph) = model.graph.as_mut() else { return Err(Error::model("model", "it has no graph")) };
    let mut nodes = Vec::new();
    let mut count = 0;
    for node in &graph.node {
        if !is_dropout(node) {
            nodes.push(node.clone());
            continue;
        }
        count += 1;
        nodes.extend(masked(node, seed, count, ratio(graph, node)?, &shapes)?);
    }
    graph.node = nodes;
    Ok(())
}

fn ratio(graph: &GraphProto, node: &NodeProto) -> Result<f64> {
    let Some(name) = node.given(1) else { return Ok(0.5) };
    let made = |node: &NodeProto| literal::of_node(node).filter(|tensor| tensor.name() == name);
    let given = graph.initializer.iter().find(|tensor| tensor.name() == name).cloned();
    let tensor: Option<TensorProto> = given.or_else(|| graph.node.iter().find_map(made));
    match tensor.as_ref().and_then(literal::numbers).as_deref() {
        Some([ratio]) if (0.0..1.0).contains(ratio) => Ok(*ratio),
        Some([ratio]) => Err(Error::model(node.label(), format!("its ratio is {ratio}, wanted 0 <= ratio < 1"))),
        _ => Err(Error::model(node.label(), format!("its ratio '{name}' must be a constant float32 or float64"))),
    }
}

/// The nodes of one dropout.
fn masked(drop: &NodeProto, seed: &str, number: i64, ratio: f64, shapes: &Shapes) -> Result<Vec<NodeProto>> {
    let (Some(x), Some(y)) = (drop.given(0), drop.made(0)) else {
        return Err(Error::model(drop.label(), "wanted an input and an output"));
    };
    let Some(element) = shapes.element(x).filter(|element| element.is_float()) else {
        return Err(Error::model(drop.label(), "wanted float32 or float64"));
    };
    let mut body = Body { prefix: format!("{y}.dropout"), nodes: Vec::new() };
    let prime = body.number("prime", P);
    // An offset for every step and node.
    let one = body.ints("one", &[1]);
    let seed = body.op("Reshape", &[seed, &one], "seed");
    let seed = body.op("Mod", &[&seed, &prime], "seed_rest");
    let (step, of_node) = (body.number("step_factor", STEP), body.number("node_offset", (NODE * number) % P));
    let seed = body.op("Mul", &[&seed, &step], "seed_spread");
    let seed = body.op("Add", &[&seed, &of_node], "seed_of_node");
    let seed = body.mixed(&seed, &prime, "seed_mixed");
    // A number below P for every place.
    let (zero, next) = (body.scalar("zero", 0), body.scalar("next", 1));
    let size = body.op("Size", &[x], "size");
    let place = body.op("Range", &[&zero, &size, &next], "place");
    let place_factor = body.number("place_factor", PLACE);
    let place = body.op("Mul", &[&place, &place_factor], "place_spread");
    let place = body.op("Add", &[&place, &seed], "place_offset");
    let mixed = body.mixed(&place, &prime, "first");
    let second = body.number("second_factor", SECOND);
    let mixed = body.op("Mul", &[&mixed, &second], "second_spread");
    let mixed = body.op("Add", &[&mixed, &seed], "second_offset");
    let mixed = body.mixed(&mixed, &prime, "second");
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a share of P fits in 31 bits")]
    let limit = body.number("limit", (ratio * P as f64) as i64);
    let keep = body.op("GreaterOrEqual", &[&mixed, &limit], "keep_flat");
    let shape = body.op("Shape", &[x], "shape");
    let keep_name = drop.made(1).map_or_else(|| format!("{y}.dropout.keep"), str::to_owned);
    body.nodes.push(node("Reshape", &[&keep, &shape], &[&keep_name], Vec::new()));
    let to = vec![attribute("to", Value::Int(i64::from(element.code())))];
    let kept = format!("{y}.dropout.kept");
    body.nodes.push(node("Cast", &[&keep_name], &[&kept], to));
    let scale = body.constant("scale", floats("", element, &[], &[1.0 / (1.0 - ratio)]));
    let mask = body.op("Mul", &[&kept, &scale], "mask");
    body.nodes.push(node("Mul", &[x, &mask], &[y], Vec::new()));
    Ok(body.nodes)
}

struct Body {
    prefix: String,
    nodes: Vec<NodeProto>,
}

impl Body {
    fn op(&mut self, operator: &str, inputs: &[&str], name: &str) -> String {
        let output = format!("{}.{name}", self.prefix);
        self.nodes.push(node(operator, inputs, &[&output], Vec::new()));
        output
    }

    fn constant(&mut self, name: &str, tensor: TensorProto) -> String {
        let output = format!("{}.{name}", self.prefix);
        self.nodes.push(node("Constant", &[], &[&output], vec![attribute("value", Value::Tensor(Box::new(tensor)))]));
        output
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.constant(name, integers("", &[values.len()], values))
    }

    fn number(&mut self, name: &str, value: i64) -> String {
        self.ints(name, &[value])
    }

    fn scalar(&mut self, name: &str, value: i64) -> String {
        self.constant(name, integers("", &[], &[value]))
    }

    /// `u^5 mod P`
    fn mixed(&mut self, value: &str, prime: &str, name: &str) -> String {
        let rest = self.op("Mod", &[value, prime], &format!("{name}_rest"));
        let mut power = rest.clone();
        for step in ["square", "fourth"] {
            power = self.op("Mul", &[&power, &power], &format!("{name}_{step}"));
            power = self.op("Mod", &[&power, prime], &format!("{name}_{step}_rest"));
        }
        power = self.op("Mul", &[&power, &rest], &format!("{name}_fifth"));
        self.op("Mod", &[&power, prime], name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_power_is_a_permutation() {
        assert_ne!((P - 1) % 5, 0);
        assert!([PLACE, SECOND, STEP, NODE].iter().all(|factor| (1..P).contains(factor)));
    }
}
