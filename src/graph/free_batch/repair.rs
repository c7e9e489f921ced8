//! Nodes that hold the batch, written so that they take any.

use super::{FIRST, PREFIX, Walk, known};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, int, integers, node as node_of},
    proto::NodeProto,
    shapes::{Fact, axis_of},
};

/// The version of the standard operators from which on `Squeeze` takes its axes as an input.
const AXES_ARE_AN_INPUT: i64 = 13;

impl Walk {
    /// Writes a node that a batch comes to so that it takes any.
    pub(super) fn repair(&mut self, node: &mut NodeProto) -> Result<()> {
        match node.op_type() {
            "Reshape" => self.reshape(node),
            "Gather" => self.gather(node),
            "Expand" => self.expand(node),
            "Squeeze" => self.squeeze(node),
            "Slice" => self.slice(node),
            "Resize" => self.resize(node)?,
            "Concat" => self.concat(node)?,
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Where" | "Max" | "Min" | "Sum" | "Mean" | "And" | "Or" | "Xor"
            | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Mod" | "PRelu" | "MatMul" => {
                self.meet(node)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The vector `[batch]`, of the length that the batch has when the model runs.
    fn length(&mut self) -> Result<String> {
        if let Some(name) = &self.length {
            return Ok(name.clone());
        }
        let (shape, name) = (format!("{PREFIX}shape"), format!("{PREFIX}length"));
        let [start, end] = [0, 1].map(|value| self.constant(&[value]));
        let data = self.data.clone();
        self.put(node_of("Shape", &[&data], &[&shape], Vec::new()), false)?;
        self.put(node_of("Slice", &[&shape, &start, &end], &[&name], Vec::new()), false)?;
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
        self.put(node_of("Concat", &parts, &[&name], vec![attribute("axis", Value::Int(0))]), false)?;
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
        } else if self.opset >= AXES_ARE_AN_INPUT {
            node.input.truncate(1);
            node.input.push(self.constant(&kept));
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
            self.put(node_of("Expand", &[&one, &target], &[&repeated], Vec::new()), false)?;
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
            self.put(node_of("Slice", &[name, &start, &end, &axes], &[&one], Vec::new()), false)?;
        }
        Ok(one)
    }
}
