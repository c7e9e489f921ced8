//! Small matrices of integers, row by row: exporters turn the amounts of a `Pad` around in one.

use super::{Scalar, Shapes, slice};
use crate::graph::{build::Dim, proto::NodeProto};

/// The elements of a node's first output, where that is such a matrix, or a vector made of one.
pub(super) fn follow(shapes: &Shapes, node: &NodeProto) -> Option<Vec<Scalar>> {
    let (x, y) = (node.given(0)?, node.made(0)?);
    let elements = shapes.tables.get(x).or_else(|| shapes.get(x)?.value.as_ref())?;
    let (from, to) = (lengths(shapes, x)?, lengths(shapes, y)?);
    if from.iter().product::<usize>() != elements.len() || (from.len() < 2 && to.len() < 2) || to.len() > 2 {
        return None;
    }
    let at = |row: usize, column: usize| elements.get(row * from.get(1)? + column).cloned();
    match (node.op_type(), from.as_slice()) {
        ("Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Identity" | "Cast", _) => Some(elements.clone()),
        ("Transpose", &[rows, columns]) => {
            let turned = node.ints("perm").is_none_or(|perm| perm == [1, 0]);
            let places = (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column)));
            places.map(|(row, column)| at(row, column)).collect::<Option<_>>().filter(|_| turned)
        }
        ("Slice", &[rows, columns]) => {
            let mut taken = [(0..rows).collect::<Vec<usize>>(), (0..columns).collect()];
            for range in slice::ranges(shapes, node, 2)? {
                let (start, count) = range.within(from[range.axis])?;
                let place = |step: usize| usize::try_from(start + range.step * i64::try_from(step).ok()?).ok();
                taken[range.axis] = (0..count).map(place).collect::<Option<_>>()?;
            }
            let [rows, columns] = taken;
            let places = rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column)));
            places.map(|(row, column)| at(row, column)).collect()
        }
        _ => None,
    }
}

fn lengths(shapes: &Shapes, value: &str) -> Option<Vec<usize>> {
    let known = |dim: &Dim| if let Dim::Known(length) = dim { Some(*length) } else { None };
    shapes.shape(value)?.iter().map(known).collect()
}
