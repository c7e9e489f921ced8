//! Matrix products, and this project's own operators.

use super::{Fact, Inferred, Shapes, dims, einsum::Equation, one, window};
use crate::graph::{
    build::{Dim, Element},
    collective::TOKEN,
    proto::NodeProto,
};

pub(super) fn infer(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let element = shapes.of_input(node, 0).element;
    match node.op_type() {
        "MatMul" => product(shapes, node, false, false),
        "Gemm" => {
            let (Some(left), Some(right)) = (shapes.of_input(node, 0).shape, shapes.of_input(node, 1).shape) else {
                return one(element, None);
            };
            let ([a, b], [c, d]) = (left.as_slice(), right.as_slice()) else {
                let reason = format!("wanted two matrices, got {} and {}", dims::show(&left), dims::show(&right));
                return Err(reason);
            };
            let (rows, inner) = if node.int("transA", 0) == 0 { (a, b) } else { (b, a) };
            let (other, columns) = if node.int("transB", 0) == 0 { (c, d) } else { (d, c) };
            agree(inner, other, &left, &right)?;
            one(element, Some(vec![rows.clone(), columns.clone()]))
        }
        "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "LpPool" | "GlobalAveragePool" | "GlobalLpPool"
        | "GlobalMaxPool" => window::infer(shapes, node),
        "Einsum" => {
            let operands: Option<Vec<Vec<Dim>>> =
                (0..node.input.len()).map(|index| shapes.of_input(node, index).shape).collect();
            let Some(operands) = operands else { return one(element, None) };
            let ranks: Vec<usize> = operands.iter().map(Vec::len).collect();
            let equation = Equation::read(node.text("equation", ""), &ranks)?;
            one(element, Some(equation.shape(&operands)))
        }
        "Attention" => attention(shapes, node),
        _ => Ok(None),
    }
}

/// `com.microsoft.FusedMatMul`: a product with either side's last two axes exchanged.
pub(super) fn fused_mat_mul(shapes: &Shapes, node: &NodeProto) -> Result<Vec<Fact>, String> {
    let facts = product(shapes, node, node.int("transA", 0) != 0, node.int("transB", 0) != 0)?;
    Ok(facts.unwrap_or_default())
}

fn product(shapes: &Shapes, node: &NodeProto, turn_left: bool, turn_right: bool) -> Inferred {
    let first = shapes.of_input(node, 0);
    let (Some(mut left), Some(mut right)) = (first.shape, shapes.of_input(node, 1).shape) else {
        return one(first.element, None);
    };
    let (given_left, given_right) = (left.clone(), right.clone());
    if left.is_empty() || right.is_empty() {
        return Err("wanted vectors or matrices, got a single number".to_owned());
    }
    let (left_is_vector, right_is_vector) = (left.len() == 1, right.len() == 1);
    if left_is_vector {
        left.insert(0, Dim::Known(1));
    } else if turn_left {
        let rank = left.len();
        left.swap(rank - 1, rank - 2);
    }
    if right_is_vector {
        right.push(Dim::Known(1));
    } else if turn_right {
        let rank = right.len();
        right.swap(rank - 1, rank - 2);
    }
    let (left_stack, left_matrix) = left.split_at(left.len() - 2);
    let (right_stack, right_matrix) = right.split_at(right.len() - 2);
    agree(&left_matrix[1], &right_matrix[0], &given_left, &given_right)?;
    let mut shape = dims::broadcast(left_stack, right_stack)?;
    if !left_is_vector {
        shape.push(left_matrix[0].clone());
    }
    if !right_is_vector {
        shape.push(right_matrix[1].clone());
    }
    one(first.element, Some(shape))
}

/// `[batch, heads, queries, length]`, or with the heads side by side `[batch, queries, heads * length]`; only the first of its
/// outputs.
fn attention(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let (query, value) = (shapes.of_input(node, 0), shapes.of_input(node, 2).shape);
    let shape = query.shape.zip(value).and_then(|(query, value)| match (query.as_slice(), value.as_slice()) {
        ([batch, heads, queries, _], [.., length]) => {
            Some(vec![batch.clone(), heads.clone(), queries.clone(), length.clone()])
        }
        ([batch, queries, _], [.., Dim::Known(width)]) => {
            let heads = |name| usize::try_from(node.int(name, 1)).ok().filter(|&heads| heads > 0);
            let (queries_heads, heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
            let width = (width / heads).checked_mul(queries_heads)?;
            Some(vec![batch.clone(), queries.clone(), Dim::Known(width)])
        }
        _ => None,
    });
    one(query.element, shape)
}

fn agree(inner: &Dim, other: &Dim, left: &[Dim], right: &[Dim]) -> Result<(), String> {
    match (inner, other) {
        (Dim::Known(one), Dim::Known(two)) if one != two => {
            let (left, right) = (dims::show(left), dims::show(right));
            Err(format!("shapes {left} and {right} do not multiply: {one} against {two}"))
        }
        _ => Ok(()),
    }
}

/// `PDLoss` and its kin: gradients look like what they are gradients of, the rest is a loss, its moments and its state. Exchanges
/// change nothing but the number of gathered rows.
pub(super) fn loss(shapes: &Shapes, node: &NodeProto) -> Vec<Fact> {
    let like = |index| Fact { value: None, ..shapes.of_input(node, index) };
    let loss = Fact { element: like(0).element, shape: Some(Vec::new()), value: None };
    let doubles = |dim| Fact { element: Some(Element::F64), shape: Some(vec![dim]), value: None };
    let moments = doubles(Dim::Known(8));
    let number = |element| Fact { element: Some(element), shape: Some(Vec::new()), value: None };
    match node.op_type() {
        "PDLoss" | "DLoss" => vec![loss, moments, doubles(Dim::Unknown)],
        "PDLossWithGrad" => vec![loss, moments, like(0), like(1)],
        "PDLossGrad" => vec![like(1), like(2)],
        "DLossGrad" => vec![like(1)],
        "AllGather" => {
            let mut all = like(1);
            if let Some(count) = all.shape.as_mut().and_then(|shape| shape.first_mut()) {
                *count = Dim::Unknown;
            }
            vec![number(TOKEN), all, number(TOKEN)]
        }
        "PDLossOverRanks" => {
            let loss = Fact { element: like(1).element, ..number(Element::F64) };
            vec![number(TOKEN), loss, moments, like(1), like(2)]
        }
        "AllReduce" => std::iter::once(number(TOKEN)).chain((1..node.input.len()).map(like)).collect(),
        // The weights come first, as among its outputs; nothing reads the others.
        "BatchNormTraining" => vec![like(0), like(1), like(1), like(1), like(1)],
        "BatchNormGrad" | "LayerNormGrad" => vec![like(1), like(2), like(2)],
        "ActivationGrad" => vec![like(0)],
        // Whoever writes it knows the weights.
        "MaxPoolGrad" => vec![like(1)],
        "ConvWeightGrad" | "ConvInputGrad" => vec![Fact { shape: None, ..like(0) }],
        // Whoever writes it knows that its window fits.
        "WinogradConv" => window::infer(shapes, node).ok().flatten().unwrap_or_default(),
        "GradientNorm" => vec![loss],
        "Update" => (4..node.input.len()).map(like).take(node.output.len()).collect(),
        _ => Vec::new(),
    }
}
