//! The table of CUDA kernels: read from `cuda_kernels.tsv`, whose head says what its columns are.

use std::sync::LazyLock;

/// The release of onnxruntime-gpu whose kernels are in the table.
pub const ONNXRUNTIME: &str = "1.31.1";

const TABLE: &str = include_str!("cuda_kernels.tsv");

/// Element types by the format's number, with the table's word and the one for people.
const TYPES: [(i32, &str, &str); 14] = [
    (1, "f32", "float32"),
    (2, "u8", "uint8"),
    (3, "i8", "int8"),
    (4, "u16", "uint16"),
    (5, "i16", "int16"),
    (6, "i32", "int32"),
    (7, "i64", "int64"),
    (8, "str", "string"),
    (9, "bool", "bool"),
    (10, "f16", "float16"),
    (11, "f64", "float64"),
    (12, "u32", "uint32"),
    (13, "u64", "uint64"),
    (16, "bf16", "bfloat16"),
];

/// What people call an element type.
pub(super) fn called(code: i32) -> &'static str {
    TYPES.iter().find(|known| known.0 == code).map_or("another type", |known| known.2)
}

/// A value of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Input(usize),
    Output(usize),
}

/// Versions of an operator that have kernels of the same types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) operator: &'static str,
    first: i64,
    last: Option<i64>,
    /// The types that values may have; none for an operator that others make up.
    types: Vec<(Place, Vec<i32>)>,
}

impl Row {
    /// Whether a node of the operator at this opset has a kernel, or is made up of others. A value whose type is not known may
    /// have any.
    pub(super) fn fits(&self, opset: i64, type_of: impl Fn(Place) -> Option<i32>) -> bool {
        let is_of = opset >= self.first && self.last.is_none_or(|last| opset <= last);
        is_of && self.types.iter().all(|(place, types)| type_of(*place).is_none_or(|code| types.contains(&code)))
    }

    fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let operator = fields.next().filter(|name| !name.is_empty())?;
        let first = fields.next()?.parse().ok()?;
        let last = match fields.next()? {
            "-" => None,
            last => Some(last.parse().ok()?),
        };
        let types: Option<Vec<_>> = fields.filter(|field| *field != "function").map(types_of_value).collect();
        Some(Self { operator, first, last, types: types? })
    }
}

fn types_of_value(field: &str) -> Option<(Place, Vec<i32>)> {
    let (place, words) = field.split_once('=')?;
    let place = match place.strip_prefix("in") {
        Some(index) => Place::Input(index.parse().ok()?),
        None => Place::Output(place.strip_prefix("out")?.parse().ok()?),
    };
    let mut types = Vec::new();
    for word in words.split(' ') {
        match word {
            "all" => types.extend(TYPES.iter().filter(|known| known.1 != "str").map(|known| known.0)),
            word => types.push(TYPES.iter().find(|known| known.1 == word)?.0),
        }
    }
    Some((place, types))
}

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#'))
}

/// The table's rows of an operator.
pub(super) fn rows(operator: &str) -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| lines().filter_map(Row::read).collect());
    let first = ROWS.partition_point(|row| row.operator < operator);
    let count = ROWS[first..].iter().take_while(|row| row.operator == operator).count();
    &ROWS[first..first + count]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a node has a kernel whose first input, and first output too, are of this type.
    fn has(operator: &str, opset: i64, word: &str) -> bool {
        let code = TYPES.iter().find(|known| known.1 == word).unwrap().0;
        let only = |place| matches!(place, Place::Input(0) | Place::Output(0)).then_some(code);
        rows(operator).iter().any(|row| row.fits(opset, only))
    }

    #[test]
    fn every_line_is_a_row_in_order_and_none_is_there_twice() {
        let read: Vec<Row> =
            lines().map(|line| Row::read(line).unwrap_or_else(|| panic!("not a row: {line}"))).collect();
        assert!(read.len() > 200);
        assert!(read.is_sorted_by_key(|row| row.operator), "looked up by halves");
        for (at, row) in read.iter().enumerate() {
            assert!(row.last.is_none_or(|last| row.first <= last), "{row:?}");
            let others = read[..at].iter().filter(|other| other.operator == row.operator);
            for other in others {
                let same = (other.first, other.last) == (row.first, row.last) && other.types != row.types;
                let before = other.last.is_some_and(|last| last < row.first);
                assert!(same || before, "{other:?} and {row:?}");
            }
        }
    }

    #[test]
    fn the_head_names_its_source() {
        let head = TABLE.lines().next().unwrap();
        assert!(head.contains(&format!("onnxruntime-gpu {ONNXRUNTIME}:")), "{head}");
    }

    #[test]
    fn known_kernels() {
        assert!(has("Conv", 1, "f32") && has("Conv", 10, "f16") && has("Conv", 11, "f16") && has("Conv", 21, "f64"));
        assert!(!has("Conv", 21, "bf16"), "bfloat16 is known from opset 22 on");
        assert!(has("Conv", 22, "bf16") && has("Conv", 27, "bf16"));
        assert!(has("Mul", 13, "bf16") && has("Mul", 14, "bf16") && !has("Mul", 12, "bf16") && !has("Mul", 6, "f32"));
        assert!(has("MaxPool", 21, "f32") && !has("MaxPool", 22, "f32"), "the kernel is of version 12 alone");
        assert!(has("Softmax", 13, "bf16") && !has("LogSoftmax", 13, "bf16") && !has("Log", 13, "bf16"));
        assert!(has("Mish", 18, "f32"), "made up of others");
        for none in ["Hardmax", "Det", "BitShift", "Unique", "NoSuchOperator"] {
            assert!(!has(none, 17, "f32"), "{none}");
        }
    }
}
