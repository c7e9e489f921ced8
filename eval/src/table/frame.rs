//! Rows as a polars table with typed columns, and back.

use polars::prelude::{Column, DataFrame, DataType, NamedFrom, PolarsResult, Series};

use super::Record;
use super::schema::Type;
use super::value::Value;

/// Rows as columns of one type each; a value that is not there is a null of that type.
///
/// # Errors
/// What polars says, such as of two columns of one name.
pub(super) fn frame(rows: &[Record]) -> PolarsResult<DataFrame> {
    let column = |(name, kind): (&str, Type)| -> Column {
        let values: Vec<Value> = rows
            .iter()
            .map(|row| row.get(name).map_or(Value::Missing, |value| value.to_type(kind).unwrap_or_else(|own| own)))
            .collect();
        let name = name.into();
        match kind {
            Type::Whole => Series::new(name, values.iter().map(whole).collect::<Vec<Option<u64>>>()),
            Type::Real => Series::new(name, values.iter().map(Value::number).collect::<Vec<Option<f64>>>()),
            Type::Flag => Series::new(name, values.iter().map(flag).collect::<Vec<Option<bool>>>()),
            Type::Text | Type::Setting => Series::new(name, values.iter().map(text).collect::<Vec<Option<&str>>>()),
        }
        .into()
    };
    DataFrame::new(rows.len(), Record::types(rows).into_iter().map(column).collect())
}

fn whole(value: &Value) -> Option<u64> {
    if let Value::Whole(count) = value { Some(*count) } else { None }
}

fn flag(value: &Value) -> Option<bool> {
    if let Value::Flag(flag) = value { Some(*flag) } else { None }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// The rows of a table, as far as its columns hold words, numbers or flags.
///
/// # Errors
/// What polars says of a column of another type.
pub(super) fn rows(table: &DataFrame) -> PolarsResult<Vec<Record>> {
    let mut rows = vec![Record::new(); table.height()];
    for column in table.columns() {
        let values: Vec<Value> = match column.dtype() {
            DataType::Null => vec![Value::Missing; table.height()],
            DataType::Boolean => column.bool()?.iter().map(Into::into).collect(),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                let column = column.strict_cast(&DataType::UInt64)?;
                column.u64()?.iter().map(|count| count.map_or(Value::Missing, Value::Whole)).collect()
            }
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                let column = column.strict_cast(&DataType::Int64)?;
                #[allow(clippy::cast_precision_loss)] // what is below zero is no count
                let number = |number: i64| u64::try_from(number).map_or(Value::Real(number as f64), Value::Whole);
                column.i64()?.iter().map(|value| value.map_or(Value::Missing, number)).collect()
            }
            DataType::Float32 | DataType::Float64 => {
                let column = column.strict_cast(&DataType::Float64)?;
                column.f64()?.iter().map(Into::into).collect()
            }
            _ => {
                let column = column.strict_cast(&DataType::String)?;
                column.str()?.iter().map(Into::into).collect()
            }
        };
        rows.iter_mut().zip(values).for_each(|(row, value)| {
            row.append(column.name().as_str(), value);
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_nulls_and_comes_back() {
        let mut full = Record::new();
        full.set("model", "m.onnx").set("images", 3_usize).set("eer", 0.5).set("inline", true);
        let mut empty = Record::new();
        for name in ["model", "images", "eer", "inline", "colour"] {
            empty.set(name, Value::Missing);
        }
        let table = frame(&[full.clone(), empty.clone()]).unwrap();
        let types: Vec<DataType> = table.dtypes();
        let text = DataType::String;
        assert_eq!(types, [text.clone(), DataType::UInt64, DataType::Float64, DataType::Boolean, text]);
        assert_eq!(frame(&[empty.clone()]).unwrap().dtypes(), types, "a null has its column's type");
        let back = rows(&table).unwrap();
        assert_eq!(back[1], empty);
        assert!(full.iter().all(|(name, value)| back[0].get(name) == Some(value)));
    }
}
