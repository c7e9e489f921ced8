//! One result as a row of named values, and rows as a polars table.

use std::collections::HashSet;

use pdloss_embed::console::{Align, Table, width};
use polars::prelude::{AnyValue, Column, DataFrame, PolarsResult};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl Value {
    fn of(value: &AnyValue<'_>) -> Self {
        match value {
            AnyValue::Null => Self::Missing,
            AnyValue::String(text) => Self::Text((*text).to_owned()),
            AnyValue::StringOwned(text) => Self::Text(text.to_string()),
            AnyValue::Float64(real) => Self::Real(*real),
            AnyValue::Float32(real) => Self::Real(f64::from(*real)),
            other if other.is_integer() => match other.try_extract::<u64>() {
                Ok(count) => Self::Whole(count),
                Err(_) => other.try_extract().map_or(Self::Missing, Self::Real),
            },
            other => Self::Text(other.to_string()),
        }
    }

    /// As a number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(count) => Some(*count as f64),
            Self::Real(real) => Some(*real),
            Self::Text(_) | Self::Missing => None,
        }
    }

    /// As a word: a text as it is, a number in its shortest form, nothing for what is missing.
    pub fn word(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(count) => count.to_string(),
            Self::Real(real) => real.to_string(),
            Self::Missing => String::new(),
        }
    }
}

/// Named values in a fixed order: one row of a results file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Record {
    /// An object's names and values, in its order.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Record;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of words and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut record = Record::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    record.set(name, value);
                }
                Ok(record)
            }
        }
        from.deserialize_map(Names)
    }
}

/// A number to six digits behind the point, without zeros at its end.
fn figure(real: f64) -> String {
    let text = format!("{real:.6}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

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

    /// This row as a table of two columns, for people.
    pub fn what_was_run(&self) -> String {
        let words = |value: &Value| match value {
            Value::Real(real) => format!("{real:.3}"),
            other => other.word(),
        };
        let rows = self.0.iter().filter(|(_, value)| *value != Value::Missing);
        let rows = rows.map(|(name, value)| vec![name.clone(), words(value)]).collect();
        let columns = vec![("what was run".to_owned(), Align::Right), ("value".to_owned(), Align::Left)];
        Table { columns, rows }.text(width())
    }

    /// Rows as a table of all their columns, for people at a terminal.
    pub fn text(rows: &[Self]) -> String {
        Self::for_people(rows).text(width())
    }

    /// Rows as a Markdown table of all their columns.
    pub fn markdown(rows: &[Self]) -> String {
        Self::for_people(rows).text(None)
    }

    fn for_people(rows: &[Self]) -> Table {
        let names = Self::columns(rows);
        let is_word = |name: &str| rows.iter().any(|row| matches!(row.get(name), Some(Value::Text(_))));
        let align = |name: &&str| ((*name).to_owned(), if is_word(name) { Align::Left } else { Align::Right });
        let word = |row: &Self, name: &str| match row.get(name) {
            None | Some(Value::Missing) => "-".to_owned(),
            Some(Value::Real(real)) => figure(*real),
            Some(other) => other.word(),
        };
        let cells = rows.iter().map(|row| names.iter().map(|name| word(row, name)).collect()).collect();
        Table { columns: names.iter().map(align).collect(), rows: cells }
    }

    /// Rows as a table of all their columns, in the order in which these first appear.
    pub fn table(rows: &[Self]) -> DataFrame {
        let any = |value: Option<&Value>| match value {
            None | Some(Value::Missing) => AnyValue::Null,
            Some(Value::Text(text)) => AnyValue::StringOwned(text.as_str().into()),
            Some(Value::Whole(count)) => AnyValue::UInt64(*count),
            Some(Value::Real(real)) => AnyValue::Float64(*real),
        };
        let column = |name: &str| {
            let values: Vec<_> = rows.iter().map(|row| any(row.get(name))).collect();
            Column::new(name.into(), values)
        };
        let columns = Self::columns(rows).into_iter().map(column).collect();
        DataFrame::new(rows.len(), columns).unwrap_or_default()
    }

    /// The columns of all rows, in the order in which they first appear.
    pub fn columns(rows: &[Self]) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        for (name, _) in rows.iter().flat_map(|row| &row.0) {
            if seen.insert(name.as_str()) {
                columns.push(name);
            }
        }
        columns
    }

    /// The rows of a table.
    ///
    /// # Errors
    /// What polars says.
    pub(super) fn rows(table: &DataFrame) -> PolarsResult<Vec<Self>> {
        let mut rows = vec![Self::new(); table.height()];
        for column in table.columns() {
            for (at, row) in rows.iter_mut().enumerate() {
                row.set(column.name().as_str(), Value::of(&column.get(at)?));
            }
        }
        Ok(rows)
    }
}
