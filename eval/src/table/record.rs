//! One result as a row of named values.

use std::collections::HashSet;

use pdloss_embed::console::{self, Align, Table, readable_width, width};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digits::digits;
use super::schema::{Type, range, type_of, usual_names};
use super::value::{Value, common};

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
                let mut seen = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("'{name}' is there twice")));
                    }
                    record.append(name, value);
                }
                Ok(record)
            }
        }
        from.deserialize_map(Names)
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Record {
    /// An empty row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a column: in its place where it is there, else behind all others.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        let name = name.into();
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, before)) => *before = value.into(),
            None => self.0.push((name, value.into())),
        }
        self
    }

    /// Adds a column that is known not to be there: tables of many columns are read so.
    pub(super) fn append(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// Says something that a person must know, and keeps it in the column `notes`.
    pub fn note(&mut self, sentence: &str) -> &mut Self {
        console::note(sentence);
        self.keep_note(sentence)
    }

    /// Keeps in the column `notes` what has been said already.
    pub fn keep_note(&mut self, sentence: &str) -> &mut Self {
        match self.0.iter_mut().find(|(name, _)| name == "notes") {
            Some((_, Value::Text(notes))) => *notes = format!("{notes}; {sentence}"),
            Some((_, value)) => *value = sentence.into(),
            None => self.0.push(("notes".into(), sentence.into())),
        }
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

    /// Every value as the schema has it, where it can be that.
    #[must_use]
    pub(crate) fn typed(self) -> Self {
        let typed = |(name, value): (String, Value)| {
            let value = type_of(&name).map_or(value.clone(), |kind| value.to_type(kind).unwrap_or_else(|own| own));
            (name, value)
        };
        Self(self.0.into_iter().map(typed).collect())
    }

    /// The first share of this row that is none.
    pub(crate) fn out_of_range(&self) -> Option<String> {
        /// What sums of shares are off by.
        const ROUNDING: f64 = 1e-9;
        self.0.iter().find_map(|(name, value)| {
            let ((low, high), value) = (range(name)?, value.number()?);
            let is_none = value < low - ROUNDING || value > high + ROUNDING;
            is_none.then(|| {
                format!("{name} is {value}; wanted a number from {low} to {high}; a percentage is divided by 100")
            })
        })
    }

    /// The type of each column of these rows; where the values of a column have none in common it is text, and that is noted.
    pub(super) fn types(rows: &[Self]) -> Vec<(&str, Type)> {
        let kind = |name: &str| {
            let (kind, doubt) = common(name, rows.iter().filter_map(|row| row.get(name)));
            if let Some(doubt) = doubt {
                console::note(&format!("column '{name}': {doubt}; all its values are taken as text"));
            }
            kind
        };
        Self::columns(rows).into_iter().map(|name| (name, kind(name))).collect()
    }

    /// Gives all values of a column the type that they have in common.
    pub(crate) fn agree(rows: &mut [Self]) {
        let types: Vec<(String, Type)> =
            Self::types(rows).into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        for (name, kind) in types {
            for (_, value) in rows.iter_mut().flat_map(|row| &mut row.0).filter(|(column, _)| *column == name) {
                *value = value.to_type(kind).unwrap_or_else(|own| own);
            }
        }
    }

    /// Rows with every column that results of their `measure` have, missing where they lack: files of one command then have
    /// the same columns.
    pub(crate) fn complete(rows: &[Self]) -> Vec<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut seen = HashSet::new();
        let mut measures: Vec<String> = rows.iter().filter_map(|row| row.get("measure")).map(Value::word).collect();
        measures.dedup();
        let own = Self::columns(rows).into_iter().map(str::to_owned);
        let wanted = measures.iter().flat_map(|measure| usual_names(measure));
        names.extend(wanted.chain(own).filter(|name| seen.insert(name.clone())));
        let row = |row: &Self| {
            Self(names.iter().map(|name| (name.clone(), row.get(name).cloned().unwrap_or(Value::Missing))).collect())
        };
        rows.iter().map(row).collect()
    }

    /// Prints this row as a table of two columns and a blank line, where it is wanted.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn print_what_was_run(&self, stdout: &mut dyn std::io::Write) -> std::io::Result<()> {
        if console::Speech::now().settings { writeln!(stdout, "{}\n", self.what_was_run()) } else { Ok(()) }
    }

    /// This row as a table of two columns, for people, who read it in files and behind pipes, too.
    pub fn what_was_run(&self) -> String {
        let words = |value: &Value| match value {
            Value::Real(real) => format!("{real:.3}"),
            other => other.word(),
        };
        let rows = self.0.iter().filter(|(_, value)| *value != Value::Missing);
        let rows = rows.map(|(name, value)| vec![name.clone(), words(value)]).collect();
        let columns = vec![("what was run".to_owned(), Align::Right), ("value".to_owned(), Align::Left)];
        Table { columns, rows }.text(Some(readable_width()))
    }

    /// Rows as a JSON array of objects, for programs, with a line break at its end.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn write_json(rows: &[Self], to: &mut dyn std::io::Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *to, rows)?;
        writeln!(to)
    }

    /// Rows as a table of all their columns, for people at a terminal. Figures have the digits that the counts of their row
    /// carry.
    pub fn text(rows: &[Self]) -> String {
        Self::text_over(rows, &Self::new())
    }

    /// The same, with `counts` of queries and pairs where the rows do not have them.
    pub fn text_over(rows: &[Self], counts: &Self) -> String {
        let names = Self::columns(rows);
        let is_word =
            |name: &str| rows.iter().any(|row| matches!(row.get(name), Some(Value::Text(_) | Value::Flag(_))));
        let align = |name: &&str| ((*name).to_owned(), if is_word(name) { Align::Left } else { Align::Right });
        let word = |row: &Self, name: &str| match row.get(name) {
            None | Some(Value::Missing) => "-".to_owned(),
            Some(Value::Real(real)) => digits(name, *real, |count| row.get(count).or(counts.get(count))),
            Some(other) => other.word(),
        };
        let cells = rows.iter().map(|row| names.iter().map(|name| word(row, name)).collect()).collect();
        Table { columns: names.iter().map(align).collect(), rows: cells }.text(width())
    }
}
