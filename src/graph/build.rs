//! Makes the pieces of a graph: nodes, attributes, constants, declarations.

use super::proto::{
    AttributeProto, NodeProto, TensorProto, TensorShapeProto, TensorShapeProtoDimension,
    TensorShapeProtoDimensionValue as Length, TypeProto, TypeProtoTensor, TypeProtoValue, ValueInfoProto,
};

/// Element types, as the format numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// True or false.
    Bool,
}

impl Element {
    /// The format's number.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F64 => 11,
        }
    }

    /// The type of this number, where it is one of these.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        [Self::F32, Self::F64, Self::I32, Self::I64, Self::Bool].into_iter().find(|element| element.code() == code)
    }

    /// Whether a value of this type can have a gradient.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// One length of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// This many.
    Known(usize),
    /// Named, and the same wherever the name stands.
    Named(String),
    /// Anything.
    Unknown,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Float(f32),
    /// One integer.
    Int(i64),
    /// Several integers.
    Ints(Vec<i64>),
    /// Text.
    Text(String),
    /// A constant.
    Tensor(Box<TensorProto>),
}

/// A named attribute.
#[must_use]
pub fn attribute(name: &str, value: Value) -> AttributeProto {
    let mut attribute = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match value {
        Value::Float(value) => {
            attribute.f = Some(value);
            1
        }
        Value::Int(value) => {
            attribute.i = Some(value);
            2
        }
        Value::Text(value) => {
            attribute.s = Some(value.into_bytes());
            3
        }
        Value::Tensor(value) => {
            attribute.t = Some(*value);
            4
        }
        Value::Ints(values) => {
            attribute.ints = values;
            7
        }
    };
    attribute.r#type = Some(kind);
    attribute
}

/// A node of the default domain.
#[must_use]
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> NodeProto {
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: Some(operator.to_owned()),
        name: outputs.first().map(|&name| name.to_owned()),
        input: strings(inputs),
        output: strings(outputs),
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// A tensor of floating-point numbers, kept as `element`.
///
/// # Panics
/// When `element` is an integer type, or the values do not fill the shape.
#[must_use]
pub fn floats(name: &str, element: Element, shape: &[usize], values: &[f64]) -> TensorProto {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: values do not fill the shape");
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the tensor's type is the purpose")]
    let raw = match element {
        Element::F32 => values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect(),
        Element::F64 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Element::I32 | Element::I64 | Element::Bool => unreachable!("{name}: not a floating-point type"),
    };
    tensor(name, element, shape, raw)
}

/// A tensor of 64-bit integers.
///
/// # Panics
/// When the values do not fill the shape.
#[must_use]
pub fn integers(name: &str, shape: &[usize], values: &[i64]) -> TensorProto {
    assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: values do not fill the shape");
    tensor(name, Element::I64, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// A length or an axis as ONNX writes it.
pub(crate) fn int(length: usize) -> i64 {
    i64::try_from(length).expect("tensors have fewer than 2^63 elements")
}

fn tensor(name: &str, element: Element, shape: &[usize], raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(element.code()),
        dims: shape.iter().map(|&length| int(length)).collect(),
        raw_data: Some(raw),
        ..TensorProto::default()
    }
}

/// Declares a value's name, type and shape.
#[must_use]
pub fn declare(name: &str, element: Element, shape: &[Dim]) -> ValueInfoProto {
    let length = |dim: &Dim| TensorShapeProtoDimension {
        value: match dim {
            Dim::Known(length) => Some(Length::DimValue(int(*length))),
            Dim::Named(name) => Some(Length::DimParam(name.clone())),
            Dim::Unknown => None,
        },
        ..TensorShapeProtoDimension::default()
    };
    let tensor = TypeProtoTensor {
        elem_type: Some(element.code()),
        shape: Some(TensorShapeProto { dim: shape.iter().map(length).collect() }),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { value: Some(TypeProtoValue::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// The element type and shape of a declared tensor, where they are known.
#[must_use]
pub fn declared(value: &ValueInfoProto) -> Option<(Element, Option<Vec<Dim>>)> {
    let Some(TypeProtoValue::TensorType(tensor)) = value.r#type.as_ref()?.value.as_ref() else { return None };
    let element = Element::from_code(tensor.elem_type())?;
    let dim = |dim: &TensorShapeProtoDimension| match &dim.value {
        Some(Length::DimValue(length)) => usize::try_from(*length).map_or(Dim::Unknown, Dim::Known),
        Some(Length::DimParam(name)) if !name.is_empty() => Dim::Named(name.clone()),
        _ => Dim::Unknown,
    };
    Some((element, tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dim).collect())))
}

/// A number, or its decimal in a string where a float32 does not hold that.
pub(crate) fn decimal(name: &str, value: f64) -> AttributeProto {
    #[expect(clippy::cast_possible_truncation, reason = "what is lost is looked at")]
    let short = value as f32;
    match short.to_string().parse::<f64>() {
        Ok(read) if read.to_bits() == value.to_bits() => attribute(name, Value::Float(short)),
        _ => attribute(name, Value::Text(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_all_their_digits() {
        for (value, is_short) in [(0.9, true), (1e-8, true), (0.0, true), (0.999_999_999, false), (1.0 / 3.0, false)] {
            let written = decimal("beta", value);
            let read = match written.s.as_ref().map(|text| String::from_utf8_lossy(text).into_owned()) {
                Some(text) => text.parse::<f64>().unwrap(),
                None => written.f().to_string().parse().unwrap(),
            };
            assert_eq!((read, written.s.is_none()), (value, is_short));
        }
    }
}
