//! Operators that read an image at places between its elements.

use super::{Inferred, Scalar, Shapes, axis_of, one};
use crate::graph::{build::Dim, proto::NodeProto};

pub(super) fn infer(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let first = shapes.of_input(node, 0);
    match node.op_type() {
        "Resize" => {
            let shape = first.shape.as_deref().map(|shape| resized(shapes, node, shape));
            one(first.element, shape)
        }
        "GridSample" => {
            let grid = shapes.of_input(node, 1).shape;
            let shape = first.shape.zip(grid).filter(|(x, grid)| x.len() == grid.len() && x.len() > 2);
            one(first.element, shape.map(|(x, grid)| [&x[..2], &grid[1..grid.len() - 1]].concat()))
        }
        "DepthToSpace" | "SpaceToDepth" => {
            let shape = first.shape.filter(|shape| shape.len() == 4).map(|shape| {
                let block = usize::try_from(node.int("blocksize", 1)).unwrap_or(1).max(1);
                let longer = |dim: &Dim| known(dim).and_then(|n| n.checked_mul(block)).map_or(Dim::Unknown, Dim::Known);
                let shorter = |dim: &Dim, by: usize| known(dim).map_or(Dim::Unknown, |n| Dim::Known(n / by.max(1)));
                let (batch, square) = (shape[0].clone(), block.saturating_mul(block));
                if node.op_type() == "DepthToSpace" {
                    vec![batch, shorter(&shape[1], square), longer(&shape[2]), longer(&shape[3])]
                } else {
                    let deeper = known(&shape[1]).and_then(|n| n.checked_mul(square)).map_or(Dim::Unknown, Dim::Known);
                    vec![batch, deeper, shorter(&shape[2], block), shorter(&shape[3], block)]
                }
            });
            one(first.element, shape)
        }
        _ => Ok(None),
    }
}

fn known(dim: &Dim) -> Option<usize> {
    if let Dim::Known(length) = dim { Some(*length) } else { None }
}

/// The axes that a `Resize` names in its sizes and scales, in their order.
pub(crate) fn axes(node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
    match node.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect(),
        None => Some((0..rank).collect()),
    }
}

fn resized(shapes: &Shapes, node: &NodeProto, shape: &[Dim]) -> Vec<Dim> {
    let unknown = || vec![Dim::Unknown; shape.len()];
    let Some(axes) = axes(node, shape.len()) else { return unknown() };
    let mut out = shape.to_vec();
    if node.given(3).is_some() {
        let fits = node.text("keep_aspect_ratio_policy", "stretch") == "stretch";
        let Some(sizes) = shapes.of_input(node, 3).value.filter(|sizes| fits && sizes.len() == axes.len()) else {
            return unknown();
        };
        for (&axis, size) in axes.iter().zip(&sizes) {
            out[axis] = match size {
                Scalar::Int(length) => usize::try_from(*length).map_or(Dim::Unknown, Dim::Known),
                Scalar::Length(name) => Dim::Named(name.clone()),
                Scalar::Unknown => Dim::Unknown,
            };
        }
        return out;
    }
    let scales = node.given(2).and_then(|name| shapes.numbers(name)).filter(|scales| scales.len() == axes.len());
    let Some(scales) = scales else { return unknown() };
    for (&axis, &scale) in axes.iter().zip(scales) {
        out[axis] = scaled(&shape[axis], scale);
    }
    out
}

/// The length times the scale, rounded down, in float32 as onnxruntime does it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "lengths of images; a scale of 1 is exact"
)]
fn scaled(dim: &Dim, scale: f64) -> Dim {
    match dim {
        dim if scale == 1.0 => dim.clone(),
        Dim::Known(length) if scale.is_finite() && scale > 0.0 => {
            Dim::Known((*length as f32 * scale as f32).floor() as usize)
        }
        _ => Dim::Unknown,
    }
}
