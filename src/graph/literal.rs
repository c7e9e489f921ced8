//! The numbers inside constant tensors.

use super::{
    build::Element,
    proto::{NodeProto, TensorProto},
};

/// The lengths of a constant; `None` where they are not lengths.
pub(crate) fn lengths(tensor: &TensorProto) -> Option<Vec<usize>> {
    tensor.dims.iter().map(|&length| usize::try_from(length).ok()).collect()
}

/// The values of a tensor of integers or truths; `None` for other types and for sizes that disagree with the shape.
pub(crate) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = tensor.raw_data.as_deref();
    let values: Vec<i64> = match (Element::from_code(tensor.data_type())?, raw) {
        (Element::I64, Some(raw)) => words(raw).map(i64::from_le_bytes).collect(),
        (Element::I64, None) => tensor.int64_data.clone(),
        (Element::I32, Some(raw)) => words(raw).map(|word| i64::from(i32::from_le_bytes(word))).collect(),
        (Element::Bool, Some(raw)) => raw.iter().map(|&byte| i64::from(byte != 0)).collect(),
        (Element::I32 | Element::Bool, None) => tensor.int32_data.iter().map(|&value| i64::from(value)).collect(),
        (Element::F32 | Element::F64, _) => return None,
    };
    fills(tensor, values)
}

/// The values of a tensor of floating-point numbers; `None` for other types and for sizes that disagree with the shape.
pub(crate) fn numbers(tensor: &TensorProto) -> Option<Vec<f64>> {
    let raw = tensor.raw_data.as_deref();
    let values = match (Element::from_code(tensor.data_type())?, raw) {
        (Element::F32, Some(raw)) => words(raw).map(|word| f64::from(f32::from_le_bytes(word))).collect(),
        (Element::F32, None) => tensor.float_data.iter().map(|&value| f64::from(value)).collect(),
        (Element::F64, Some(raw)) => words(raw).map(f64::from_le_bytes).collect(),
        (Element::F64, None) => tensor.double_data.clone(),
        (Element::I32 | Element::I64 | Element::Bool, _) => return None,
    };
    fills(tensor, values)
}

/// The tensor that a `Constant` node makes; `None` for other nodes, and for text and sparse tensors.
pub(crate) fn of_node(node: &NodeProto) -> Option<TensorProto> {
    if !node.is_standard() || node.op_type() != "Constant" {
        return None;
    }
    let attribute = node.attribute.iter().find(|attribute| attribute.name().starts_with("value"))?;
    let one = |element: Element| TensorProto { data_type: Some(element.code()), ..TensorProto::default() };
    let mut tensor = match attribute.name() {
        "value" => attribute.t.clone()?,
        "value_int" => TensorProto { int64_data: vec![attribute.i()], ..one(Element::I64) },
        "value_float" => TensorProto { float_data: vec![attribute.f()], ..one(Element::F32) },
        "value_ints" => {
            let dims = vec![i64::try_from(attribute.ints.len()).ok()?];
            TensorProto { dims, int64_data: attribute.ints.clone(), ..one(Element::I64) }
        }
        "value_floats" => {
            let dims = vec![i64::try_from(attribute.floats.len()).ok()?];
            TensorProto { dims, float_data: attribute.floats.clone(), ..one(Element::F32) }
        }
        _ => return None,
    };
    tensor.name = node.output.first().cloned();
    Some(tensor)
}

fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    raw.as_chunks::<N>().0.iter().copied()
}

fn fills<T>(tensor: &TensorProto, values: Vec<T>) -> Option<Vec<T>> {
    (lengths(tensor)?.iter().product::<usize>() == values.len()).then_some(values)
}
