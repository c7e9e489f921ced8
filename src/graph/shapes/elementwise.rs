//! Operators whose output has the shape of their inputs, or what these broadcast to.

use super::{Inferred, Shapes, dims::broadcast, one, value};
use crate::graph::{
    build::{Dim, Element},
    proto::NodeProto,
};

pub(super) fn infer(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let first = shapes.of_input(node, 0);
    match node.op_type() {
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "GroupNormalization"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "InstanceNormalization"
        | "LRN"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Not"
        | "PRelu"
        | "RMSNormalization"
        | "Reciprocal"
        | "Relu"
        | "RotaryEmbedding"
        | "Round"
        | "ScatterElements"
        | "ScatterND"
        | "Selu"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu"
        | "Trilu" => one(first.element, first.shape),
        "Identity" => Ok(Some(vec![first])),
        "IsInf" | "IsNaN" => one(Some(Element::Bool), first.shape),
        "Cast" => {
            let element = i32::try_from(node.int("to", 0)).ok().and_then(Element::from_code);
            let value = first.value.filter(|_| matches!(element, Some(Element::I32 | Element::I64)));
            Ok(Some(vec![super::Fact { element, shape: first.shape, value }]))
        }
        "Bernoulli" | "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => {
            let dtype = i32::try_from(node.int("dtype", 0)).ok().filter(|&code| code != 0);
            one(dtype.map_or(first.element, Element::from_code), first.shape)
        }
        "RandomNormal" | "RandomUniform" => {
            let lengths = node.ints("shape").unwrap_or_default().iter();
            let shape = lengths.map(|&length| usize::try_from(length).map_or(Dim::Unknown, Dim::Known)).collect();
            one(i32::try_from(node.int("dtype", 1)).ok().and_then(Element::from_code), Some(shape))
        }
        "DequantizeLinear" => one(shapes.of_input(node, 1).element, first.shape),
        "QuantizeLinear" => one(None, first.shape),
        "CastLike" => one(shapes.of_input(node, 1).element, first.shape),
        "Dropout" => {
            let mask = super::Fact { element: Some(Element::Bool), ..first.clone() };
            Ok(Some(vec![super::Fact { value: None, ..first }, mask]))
        }
        "BatchNormalization" => {
            let channel = |index| super::Fact { value: None, ..shapes.of_input(node, index) };
            Ok(Some(vec![first, channel(3), channel(4)]))
        }
        "LayerNormalization" => {
            let reduced = first.shape.as_ref().map(|shape| {
                let from = super::axis_of(node.int("axis", -1), shape.len()).unwrap_or(0);
                let (kept, gone) = shape.split_at(from);
                kept.iter().cloned().chain(gone.iter().map(|_| Dim::Known(1))).collect()
            });
            let statistic = super::Fact { element: first.element, shape: reduced, value: None };
            Ok(Some(vec![first, statistic.clone(), statistic]))
        }
        "Add" | "Div" | "Max" | "Mean" | "Min" | "Mod" | "Mul" | "Pow" | "Sub" | "Sum" => {
            let shape = all(shapes, node, 0)?;
            let value = value::arithmetic(shapes, node);
            Ok(Some(vec![super::Fact { element: first.element, shape, value }]))
        }
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Or" | "Xor" => {
            let value = value::comparison(shapes, node);
            Ok(Some(vec![super::Fact { element: Some(Element::Bool), shape: all(shapes, node, 0)?, value }]))
        }
        "Where" => {
            let value = value::choice(shapes, node);
            let element = shapes.of_input(node, 1).element;
            Ok(Some(vec![super::Fact { element, shape: all(shapes, node, 0)?, value }]))
        }
        _ => Ok(None),
    }
}

/// What all inputs broadcast to.
fn all(shapes: &Shapes, node: &NodeProto, from: usize) -> Result<Option<Vec<Dim>>, String> {
    let mut whole: Vec<Dim> = Vec::new();
    for index in from..node.input.len() {
        let Some(shape) = shapes.of_input(node, index).shape else { return Ok(None) };
        whole = broadcast(&whole, &shape)?;
    }
    Ok(Some(whole))
}
