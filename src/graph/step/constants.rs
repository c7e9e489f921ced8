//! The constants of a graph, and what their names and numbers tell of them.

use crate::graph::{
    literal,
    proto::{GraphProto, NodeProto, TensorProto},
};

/// `TensorProto.DataType`
const FLOAT: i32 = 1;
const DOUBLE: i32 = 11;
pub(super) const FLOAT16: i32 = 10;
pub(super) const BFLOAT16: i32 = 16;
pub(super) const INT32: i32 = 6;

/// Types of the numbers in quantised layers, and what they are called.
pub(super) fn quantised(code: i32) -> Option<&'static str> {
    Some(match code {
        2 => "uint8",
        3 => "int8",
        4 => "uint16",
        5 => "int16",
        INT32 => "int32",
        17..=20 => "float8",
        21 => "uint4",
        22 => "int4",
        23 => "float4",
        _ => return None,
    })
}

/// An initializer or the value of a `Constant` node.
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    /// The element type by the format's number.
    pub(super) code: i32,
    pub(super) count: usize,
    pub(super) is_constant: bool,
    pub(super) proto: Option<&'a TensorProto>,
}

impl<'a> Tensor<'a> {
    pub(super) fn all(graph: &'a GraphProto) -> Vec<Self> {
        let count = |proto: &TensorProto| literal::lengths(proto).and_then(|lengths| literal::count(&lengths));
        let of = |name, proto: &'a TensorProto, is_constant| {
            let count = count(proto).unwrap_or(0);
            Tensor { name, code: proto.data_type(), count, is_constant, proto: Some(proto) }
        };
        let constant = |node: &'a NodeProto| {
            let (true, Some(name)) = (node.is_standard() && node.op_type() == "Constant", node.made(0)) else {
                return None;
            };
            if let Some(proto) = node.tensor("value") {
                return Some(of(name, proto, true));
            }
            let floats = node.attr("value_floats").map(|attribute| attribute.floats.len());
            let count = floats.or(node.attr("value_float").map(|_| 1))?;
            Some(Tensor { name, code: FLOAT, count, is_constant: true, proto: None })
        };
        let initializers = graph.initializer.iter().map(|proto| of(proto.name(), proto, false));
        initializers.chain(graph.node.iter().filter_map(constant)).collect()
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.code, FLOAT | DOUBLE) || self.is_half()
    }

    pub(super) fn is_half(&self) -> bool {
        matches!(self.code, FLOAT16 | BFLOAT16)
    }

    /// Whether the name is one of a module's attribute (`head.scale`), and none that exporters make up.
    pub(super) fn has_module_name(&self) -> bool {
        self.has_own_name() && self.name.contains('.')
    }

    /// Whether a person may have given the name.
    pub(super) fn has_own_name(&self) -> bool {
        !self.is_constant && self.has_given_name()
    }

    /// The same, of the name alone.
    pub(super) fn has_given_name(&self) -> bool {
        let made_up =
            ["onnx::", "val_", "_val", "p2o", "scalar_tensor", "const", "Const", "lifted_tensor", "_tensor_constant"];
        !self.name.contains(['/', ':'])
            && !self.name.chars().all(|c| c.is_ascii_digit())
            && !made_up.iter().any(|start| self.name.starts_with(start))
    }

    /// Whether PyTorch's older exporter wrote it into a `Constant` node under a name that it made up, `/head/Constant_1_output_0`
    /// or a number: its parameters are initializers.
    pub(super) fn is_written_out(&self) -> bool {
        let last = self.name.rsplit('/').next().unwrap_or(self.name);
        self.is_constant && !self.has_given_name() && (last.starts_with("Constant") || last.parse::<u64>().is_ok())
    }

    /// Whether all of several numbers are the same whole one, as in the regions that a mask is made of.
    pub(super) fn is_one_whole_number(&self) -> bool {
        let numbers = self.proto.filter(|_| self.count > 1).and_then(literal::any_floats);
        numbers.is_some_and(|numbers| numbers[0].fract() == 0.0 && numbers.iter().all(|number| *number == numbers[0]))
    }

    /// Whether an exporter wrote it for a scale or bias that a module has not: nothing but ones or zeros, under no own name.
    pub(super) fn fills_in(&self) -> bool {
        let numbers = self.proto.filter(|_| !self.has_given_name()).and_then(literal::any_floats);
        numbers.is_some_and(|numbers| [0.0, 1.0].iter().any(|fill| numbers.iter().all(|number| number == fill)))
    }

    /// Why its numbers cannot be trained, whatever is done with them.
    pub(super) fn unfit(&self) -> Option<String> {
        let numbers = self.proto.and_then(literal::any_floats);
        match numbers {
            Some(numbers) if numbers.iter().any(|number| !number.is_finite()) => {
                Some("not all of its numbers are finite, as in a mask".to_owned())
            }
            Some(numbers) if is_mask(&numbers) => {
                Some("it holds zeros and one number far below, as a mask does".to_owned())
            }
            None if self.proto.is_some() => Some("its data does not fill its shape".to_owned()),
            _ => None,
        }
    }
}

/// Whether the numbers are those of a mask that is added before a softmax: zeros, and one number that leaves nothing.
fn is_mask(numbers: &[f64]) -> bool {
    const LEAVES_NOTHING: f64 = -50.0;
    let mut others = numbers.iter().filter(|number| **number != 0.0);
    let Some(first) = others.next().filter(|first| **first <= LEAVES_NOTHING) else { return false };
    others.all(|other| other == first) && numbers.contains(&0.0)
}
