//! The numbers inside constant tensors.

use super::{
    build::Element,
    proto::{NodeProto, TensorProto},
};

/// The lengths of a constant; `None` where they are not lengths.
pub(crate) fn lengths(tensor: &TensorProto) -> Option<Vec<usize>> {
    tensor.dims.iter().map(|&length| usize::try_from(length).ok()).collect()
}

/// How many elements a tensor of these lengths has; `None` where that is more than any memory holds.
pub(crate) fn count(lengths: &[usize]) -> Option<usize> {
    let count = lengths.iter().try_fold(1_usize, |count, &length| count.checked_mul(length))?;
    isize::try_from(count).is_ok().then_some(count)
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

/// The values of a tensor of floating-point numbers, float16 and bfloat16 among them; `None` as for [`numbers`].
pub(crate) fn any_floats(tensor: &TensorProto) -> Option<Vec<f64>> {
    let words: Vec<u16> = match (&tensor.raw_data, Half::of(tensor)) {
        (_, None) => return numbers(tensor),
        (Some(raw), Some(_)) => words(raw).map(u16::from_le_bytes).collect(),
        // The format keeps them in 32 bits, of which the lower half counts.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the lower half is wanted")]
        (None, Some(_)) => tensor.int32_data.iter().map(|&value| value as u16).collect(),
    };
    let half = Half::of(tensor)?;
    fills(tensor, words.into_iter().map(|word| half.number(word)).collect())
}

/// Floating-point types of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// IEEE 754's.
    Float16,
    /// The upper half of a float32.
    Bfloat16,
}

impl std::fmt::Display for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Float16 { "float16" } else { "bfloat16" })
    }
}

impl Half {
    /// A tensor's type, where it is one of these.
    pub(crate) fn of(tensor: &TensorProto) -> Option<Self> {
        match tensor.data_type() {
            10 => Some(Self::Float16),
            16 => Some(Self::Bfloat16),
            _ => None,
        }
    }

    fn number(self, word: u16) -> f64 {
        match self {
            Self::Float16 => half::f16::from_bits(word).to_f64(),
            Self::Bfloat16 => half::bf16::from_bits(word).to_f64(),
        }
    }

    /// The nearest number of this type, little-endian.
    pub(crate) fn bytes(self, value: f64) -> [u8; 2] {
        match self {
            Self::Float16 => half::f16::from_f64(value).to_le_bytes(),
            Self::Bfloat16 => half::bf16::from_f64(value).to_le_bytes(),
        }
    }
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

/// How many elements a tensor's data has; `None` for types that are none of [`Element`].
pub(crate) fn stored(tensor: &TensorProto) -> Option<usize> {
    let element = Element::from_code(tensor.data_type())?;
    let size = match element {
        Element::F32 | Element::I32 => 4,
        Element::F64 | Element::I64 => 8,
        Element::Bool => 1,
    };
    Some(match (&tensor.raw_data, element) {
        (Some(raw), _) => raw.len() / size,
        (None, Element::F32) => tensor.float_data.len(),
        (None, Element::F64) => tensor.double_data.len(),
        (None, Element::I64) => tensor.int64_data.len(),
        (None, Element::I32 | Element::Bool) => tensor.int32_data.len(),
    })
}

fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    raw.as_chunks::<N>().0.iter().copied()
}

fn fills<T>(tensor: &TensorProto, values: Vec<T>) -> Option<Vec<T>> {
    (count(&lengths(tensor)?)? == values.len()).then_some(values)
}
