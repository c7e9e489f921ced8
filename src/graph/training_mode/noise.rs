//! Numbers that look like chance, and are a pure function of a number (the step), the node and the place.

use crate::graph::{
    Error, Result,
    build::{Dim, Element, Value, attribute, integers, node},
    proto::{NodeProto, TensorProto},
};

/// A prime below 2^31, so that products of two rests fit into 63 bits. As 5 does not divide `P - 1`, `u^5 mod P` is a
/// permutation, and one that mixes well.
pub(super) const P: i64 = 2_147_483_647;
/// Odd multipliers without pattern, from the digits of pi and e.
const PLACE: i64 = 1_415_926_535;
const SECOND: i64 = 718_281_828;
const STEP: i64 = 897_932_384;
const NODE: i64 = 459_045_235;

/// What the numbers of a graph are drawn by.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    /// The value that decides them all: the step.
    pub(super) value: &'a str,
    /// Where the graph runs on several ranks: which rows of the batch are this one's.
    pub(super) rows: Option<&'a Rows>,
}

/// This rank's rows of the batch: the names of the place of the first, int64 `[]`, and of something with one number a row.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The place of the first.
    pub first: String,
    /// As long as there are rows.
    pub each: String,
}

/// Nodes under construction.
pub(super) struct Body {
    pub(super) prefix: String,
    pub(super) nodes: Vec<NodeProto>,
}

/// Whether the numbers of a value of this shape lie row after row of the batch; `None` where they lie otherwise.
fn follows_batch(shape: Option<&[Dim]>) -> Option<bool> {
    let is_open = |dim: &Dim| !matches!(dim, Dim::Known(_));
    match shape {
        Some(shape) if !shape.iter().any(is_open) => Some(false),
        Some(shape) if shape.first().is_some_and(is_open) => Some(true),
        _ => None,
    }
}

impl Body {
    pub(super) fn op(&mut self, operator: &str, inputs: &[&str], name: &str) -> String {
        let output = format!("{}.{name}", self.prefix);
        self.nodes.push(node(operator, inputs, &[&output], Vec::new()));
        output
    }

    pub(super) fn cast(&mut self, value: &str, element: Element, name: &str) -> String {
        let output = format!("{}.{name}", self.prefix);
        let to = vec![attribute("to", Value::Int(i64::from(element.code())))];
        self.nodes.push(node("Cast", &[value], &[&output], to));
        output
    }

    pub(super) fn constant(&mut self, name: &str, tensor: TensorProto) -> String {
        let output = format!("{}.{name}", self.prefix);
        self.nodes.push(node("Constant", &[], &[&output], vec![attribute("value", Value::Tensor(Box::new(tensor)))]));
        output
    }

    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.constant(name, integers("", &[values.len()], values))
    }

    pub(super) fn number(&mut self, name: &str, value: i64) -> String {
        self.ints(name, &[value])
    }

    pub(super) fn scalar(&mut self, name: &str, value: i64) -> String {
        self.constant(name, integers("", &[], &[value]))
    }

    /// How many places of the whole batch's value come before those of this rank's rows, which are `size`; `None` where there
    /// are no other ranks, or the value is the same on all.
    ///
    /// # Errors
    /// When the places of a row do not lie together: what is drawn for an image would depend on how the batch is divided.
    pub(super) fn before(
        &mut self,
        seed: Seed<'_>,
        shape: Option<&[Dim]>,
        size: &str,
        label: &str,
    ) -> Result<Option<String>> {
        let Some(rows) = seed.rows else { return Ok(None) };
        match follows_batch(shape) {
            Some(false) => Ok(None),
            Some(true) => {
                let (one, count) = (self.scalar("one_row", 1), self.op("Size", &[&rows.each], "rows"));
                let count = self.op("Max", &[&count, &one], "rows_divided_by");
                let of_row = self.op("Div", &[size, &count], "size_of_row");
                Ok(Some(self.op("Mul", &[&rows.first, &of_row], "before")))
            }
            None => Err(Error::model(
                label,
                "its random numbers do not lie image after image, so that those of an image would depend on how the batch is divided \
                 among ranks or parts; train without it (--no-dropout), or undivided",
            )),
        }
    }

    /// A number from 0 to below `P` for each of `size` places, in order, the first `before` of them left out: other ones for every
    /// node, and for every value of `seed`.
    pub(super) fn places(&mut self, seed: Seed<'_>, number: i64, size: &str, before: Option<&str>) -> String {
        let seed = seed.value;
        let prime = self.number("prime", P);
        // An offset for every step and node.
        let one = self.ints("one", &[1]);
        let seed = self.op("Reshape", &[seed, &one], "seed");
        let seed = self.op("Mod", &[&seed, &prime], "seed_rest");
        let (step, of_node) = (self.number("step_factor", STEP), self.number("node_offset", (NODE * number) % P));
        let seed = self.op("Mul", &[&seed, &step], "seed_spread");
        let seed = self.op("Add", &[&seed, &of_node], "seed_of_node");
        let seed = self.mixed(&seed, &prime, "seed_mixed");
        // A number below P for every place.
        let (zero, next) = (self.scalar("zero", 0), self.scalar("next", 1));
        let mut place = self.op("Range", &[&zero, size, &next], "place");
        if let Some(before) = before {
            place = self.op("Add", &[&place, before], "place_in_batch");
        }
        let place_factor = self.number("place_factor", PLACE);
        let place = self.op("Mul", &[&place, &place_factor], "place_spread");
        let place = self.op("Add", &[&place, &seed], "place_offset");
        let mixed = self.mixed(&place, &prime, "first");
        let second = self.number("second_factor", SECOND);
        let mixed = self.op("Mul", &[&mixed, &second], "second_spread");
        let mixed = self.op("Add", &[&mixed, &seed], "second_offset");
        self.mixed(&mixed, &prime, "second")
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
