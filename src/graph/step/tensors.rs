//! Small matters of tensors.

use super::description::{Kind, element_name};
use crate::graph::{
    Error, Result,
    build::{Dim, Element},
    literal,
    proto::TensorProto,
};

/// A tensor that changes.
pub(super) struct Trained {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
}

/// What the loss keeps, and the name of its next value.
pub(super) struct Stays {
    pub(super) tensor: Trained,
    pub(super) next: String,
}

/// Type and shape as messages show them.
pub(super) fn describe(tensor: &TensorProto) -> String {
    let element = Element::from_code(tensor.data_type())
        .map_or_else(|| format!("element type {}", tensor.data_type()), |element| element_name(element).to_owned());
    format!("{element} {:?}", tensor.dims)
}

/// Type and lengths of a floating-point initializer.
pub(super) fn facts(tensor: &TensorProto) -> Result<(Element, Vec<usize>)> {
    let element = Element::from_code(tensor.data_type()).filter(|element| element.is_float());
    element.zip(literal::lengths(tensor)).ok_or_else(|| {
        Error::model(tensor.name(), format!("wanted float32 or float64 to train it, got {}", describe(tensor)))
    })
}

/// The same tensor with its numbers in `raw_data`.
pub(super) fn packed(tensor: &TensorProto) -> Result<TensorProto> {
    if tensor.raw_data.is_some() {
        return Ok(tensor.clone());
    }
    let (element, shape) = facts(tensor)?;
    let values =
        literal::numbers(tensor).ok_or_else(|| Error::model(tensor.name(), "its values do not fill its shape"))?;
    Ok(crate::graph::build::floats(tensor.name(), element, &shape, &values))
}

/// Lengths as a declaration has them.
pub(super) fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&length| Dim::Known(length)).collect()
}
