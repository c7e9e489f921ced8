//! One result as a row of named values, and rows as a polars table.

use polars::prelude::{AnyValue, Column, DataFrame};
use serde::Serialize;

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Words.
    Text(String),
    /// A count.
    Whole(u64),
    /// A measure, or seconds.
    Real(f64),
    /// Does not apply here.
    Missing,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Whole(count as u64)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}
impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// Named values in a fixed order: one row of a results file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record(Vec<(String, Value)>);

impl Record {
    /// An empty row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// The value of a column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(column, _)| column == name).map(|(_, value)| value)
    }

    /// Columns and values in order.
    pub fn iter(&self) -> impl Iterator<Item = &(String, Value)> {
        self.0.iter()
    }

    /// The columns whose names `keep` accepts, under the name it returns.
    #[must_use]
    pub fn pick(&self, keep: impl Fn(&str) -> Option<String>) -> Self {
        Self(self.0.iter().filter_map(|(name, value)| keep(name).map(|name| (name, value.clone()))).collect())
    }

    /// This row turned into two columns, `what` and `value`, for people.
    pub fn upright(&self) -> DataFrame {
        let words = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Whole(count) => count.to_string(),
            Value::Real(real) => format!("{real:.3}"),
            Value::Missing => "-".into(),
        };
        let rows = self.0.iter().filter(|(_, value)| *value != Value::Missing);
        let (names, values): (Vec<_>, Vec<_>) = rows.map(|(name, value)| (name.as_str(), words(value))).unzip();
        let height = names.len();
        let columns = vec![Column::new("what was run".into(), names), Column::new("value".into(), values)];
        DataFrame::new(height, columns).unwrap_or_default()
    }

    /// Rows of the same columns as a table.
    pub fn table(rows: &[Self]) -> DataFrame {
        let Some(first) = rows.first() else { return DataFrame::default() };
        let any = |value: Option<&Value>| match value {
            None | Some(Value::Missing) => AnyValue::Null,
            Some(Value::Text(text)) => AnyValue::StringOwned(text.as_str().into()),
            Some(Value::Whole(count)) => AnyValue::UInt64(*count),
            Some(Value::Real(real)) => AnyValue::Float64(*real),
        };
        let column = |name: &String| {
            let values: Vec<_> = rows.iter().map(|row| any(row.get(name))).collect();
            Column::new(name.as_str().into(), values)
        };
        let columns = first.0.iter().map(|(name, _)| column(name)).collect();
        DataFrame::new(rows.len(), columns).unwrap_or_default()
    }
}
