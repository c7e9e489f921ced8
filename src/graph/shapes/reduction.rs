//! Reductions.

use super::{Inferred, Scalar, Shapes, axis_of, one};
use crate::graph::{
    build::{Dim, Element},
    proto::NodeProto,
};

pub(super) fn infer(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let first = shapes.of_input(node, 0);
    match node.op_type() {
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin"
        | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            let product = first.value.as_ref().filter(|_| node.op_type() == "ReduceProd").map(|values| {
                let known = |scalar: &Scalar| if let Scalar::Int(value) = scalar { Some(*value) } else { None };
                let product = values.iter().map(known).try_fold(1_i64, |product, value| product.checked_mul(value?));
                product.map_or(Scalar::Unknown, Scalar::Int)
            });
            let whole = node.given(1).is_none() && node.ints("axes").is_none_or(<[i64]>::is_empty);
            let to_one = whole && node.int("keepdims", 1) == 0 && node.int("noop_with_empty_axes", 0) == 0;
            let shape = match first.shape {
                _ if to_one => Some(Vec::new()),
                shape => shape.and_then(|shape| reduced(shapes, node, &shape)),
            };
            let value = product.map(|product| vec![product]);
            Ok(Some(vec![super::Fact { element: first.element, shape, value }]))
        }
        "ArgMax" | "ArgMin" => {
            let shape = first.shape.and_then(|shape| {
                let axis = axis_of(node.int("axis", 0), shape.len())?;
                Some(without(&shape, &[axis], node.int("keepdims", 1) != 0))
            });
            one(Some(Element::I64), shape)
        }
        "TopK" => {
            let shape = first.shape.as_ref().and_then(|shape| {
                let axis = axis_of(node.int("axis", -1), shape.len())?;
                let count = shapes.setting(node, 1, "k").filter(|count| count.len() == 1);
                let mut shape = shape.clone();
                shape[axis] = count.and_then(|count| usize::try_from(count[0]).ok()).map_or(Dim::Unknown, Dim::Known);
                Some(shape)
            });
            let fact = |element| super::Fact { element, shape: shape.clone(), value: None };
            Ok(Some(vec![fact(first.element), fact(Some(Element::I64))]))
        }
        _ => Ok(None),
    }
}

fn reduced(shapes: &Shapes, node: &NodeProto, shape: &[Dim]) -> Option<Vec<Dim>> {
    let keep = node.int("keepdims", 1) != 0;
    match axes(shapes, node, shape.len())? {
        Some(axes) => Some(without(shape, &axes, keep)),
        None => Some(shape.to_vec()),
    }
}

/// The axes that a reduction goes over, sorted; the inner `None` where it goes over none at all, the outer where that is not
/// known before it runs.
#[expect(clippy::option_option, reason = "unknown and nothing are different answers")]
pub(crate) fn axes(shapes: &Shapes, node: &NodeProto, rank: usize) -> Option<Option<Vec<usize>>> {
    let named = node.given(1).is_some() || node.ints("axes").is_some();
    let axes = if named { shapes.setting(node, 1, "axes")? } else { Vec::new() };
    if axes.is_empty() {
        let nothing = node.int("noop_with_empty_axes", 0) != 0;
        return Some((!nothing).then(|| (0..rank).collect()));
    }
    let mut axes: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<_>>()?;
    axes.sort_unstable();
    Some(Some(axes))
}

fn without(shape: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    let keep_one = |(index, dim): (usize, &Dim)| match (axes.contains(&index), keep) {
        (false, _) => Some(dim.clone()),
        (true, true) => Some(Dim::Known(1)),
        (true, false) => None,
    };
    shape.iter().enumerate().filter_map(keep_one).collect()
}
