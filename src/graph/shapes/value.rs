//! Arithmetic on the short integer tensors that shapes are computed with.

use super::{Scalar, Shapes};
use crate::graph::proto::NodeProto;

/// Elementwise arithmetic of two or more short tensors.
pub(super) fn arithmetic(shapes: &Shapes, node: &NodeProto) -> Option<Vec<Scalar>> {
    let compute = |left: i64, right: i64| match node.op_type() {
        "Add" | "Sum" => left.checked_add(right),
        "Sub" => left.checked_sub(right),
        "Mul" => left.checked_mul(right),
        "Div" => left.checked_div(right),
        "Max" => Some(left.max(right)),
        "Min" => Some(left.min(right)),
        "Mod" => left.checked_rem_euclid(right),
        _ => None,
    };
    let neutral = match node.op_type() {
        "Add" | "Sum" | "Sub" => Some(0),
        "Mul" | "Div" => Some(1),
        _ => None,
    };
    let pair = |left: &Scalar, right: &Scalar| match (left, right) {
        (Scalar::Int(left), Scalar::Int(right)) => compute(*left, *right).map_or(Scalar::Unknown, Scalar::Int),
        (length @ Scalar::Length(_), Scalar::Int(number)) if Some(*number) == neutral => length.clone(),
        (Scalar::Int(number), length @ Scalar::Length(_))
            if Some(*number) == neutral && !matches!(node.op_type(), "Sub" | "Div") =>
        {
            length.clone()
        }
        _ => Scalar::Unknown,
    };
    let mut values = shapes.of_input(node, 0).value?;
    for index in 1..node.input.len() {
        values = zip(&values, &shapes.of_input(node, index).value?, pair)?;
    }
    Some(values)
}

/// Truths as 0 and 1.
pub(super) fn comparison(shapes: &Shapes, node: &NodeProto) -> Option<Vec<Scalar>> {
    let pair = |left: &Scalar, right: &Scalar| {
        let truth = match (left, right, node.op_type()) {
            // A length is never negative, so it is not the -1 that marks "as it is" in a shape.
            (Scalar::Length(_), Scalar::Int(..0), "Equal") | (Scalar::Int(..0), Scalar::Length(_), "Equal") => false,
            (Scalar::Int(left), Scalar::Int(right), operator) => match operator {
                "Equal" => left == right,
                "Greater" => left > right,
                "GreaterOrEqual" => left >= right,
                "Less" => left < right,
                "LessOrEqual" => left <= right,
                _ => return Scalar::Unknown,
            },
            _ => return Scalar::Unknown,
        };
        Scalar::Int(i64::from(truth))
    };
    zip(&shapes.of_input(node, 0).value?, &shapes.of_input(node, 1).value?, pair)
}

/// `Where` over short tensors.
pub(super) fn choice(shapes: &Shapes, node: &NodeProto) -> Option<Vec<Scalar>> {
    let [truths, left, right] = [0, 1, 2].map(|index| shapes.of_input(node, index).value);
    let pairs = zip_with(&left?, &right?, |left, right| (left.clone(), right.clone()))?;
    zip_with(&truths?, &pairs, |truth, (left, right)| match truth {
        Scalar::Int(0) => right.clone(),
        Scalar::Int(_) => left.clone(),
        _ if left == right => left.clone(),
        _ => Scalar::Unknown,
    })
}

fn zip(left: &[Scalar], right: &[Scalar], pair: impl Fn(&Scalar, &Scalar) -> Scalar) -> Option<Vec<Scalar>> {
    zip_with(left, right, pair)
}

/// Pairs up two vectors, one of which may be a single element.
fn zip_with<A, B, C>(left: &[A], right: &[B], pair: impl Fn(&A, &B) -> C) -> Option<Vec<C>> {
    let length = match (left.len(), right.len()) {
        (one, other) if one == other => one,
        (1, length) | (length, 1) => length,
        _ => return None,
    };
    let at = |index: usize, length: usize| if length == 1 { 0 } else { index };
    Some((0..length).map(|index| pair(&left[at(index, left.len())], &right[at(index, right.len())])).collect())
}
