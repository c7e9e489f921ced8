//! What the rows of a file are: labels, names, roles and cameras, from columns of words or whole numbers.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::layout::{Layout, Leaf, is_unsigned};
use super::unreadable;
use crate::dataset::{Role, by_flags, composed, unsaid};
use crate::embeddings::Row;
use crate::error::{Error, Result};

/// Rows that are read at a time.
const SLICE: usize = 1 << 13;

/// Is given a row and its word, `None` where there is none; says what is wrong with it.
type Take<'t> = &'t mut dyn FnMut(usize, Option<&str>) -> std::result::Result<(), String>;

/// What each row is, and the names of the classes in the order in which they come.
pub(super) fn describe(
    path: &Path,
    file: &SerializedFileReader<File>,
    layout: &Layout,
    most: u64,
) -> Result<(Vec<Row>, Vec<String>)> {
    let columns = Words { path, file, most };
    let (mut rows, mut classes) = (Vec::new(), Vec::new());
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let each = |leaf: &Option<Leaf>, take: Take<'_>| {
        leaf.as_ref().map_or(Ok(()), |leaf| columns.each(leaf, layout.rows, take))
    };
    each(&layout.label, &mut |at, label| {
        let label = label.filter(|label| !label.is_empty()).ok_or("has no label")?;
        // However its accents are spelt.
        let class = *numbers.entry(composed(label)).or_insert_with(|| {
            classes.push(label.to_owned());
            classes.len() - 1
        });
        rows.push(Row::new(String::new(), class, Role::Both));
        if layout.name.is_none() {
            rows[at].name = format!("row {at}");
        }
        Ok(())
    })?;
    each(&layout.name, &mut |at, name| {
        rows[at].name = name.map_or_else(|| format!("row {at}"), str::to_owned);
        Ok(())
    })?;
    each(&layout.role, &mut |at, role| {
        let problem = || format!("'{}' is none of query, gallery, both", role.unwrap_or_default());
        rows[at].role = role.and_then(Role::parse).ok_or_else(problem)?;
        Ok(())
    })?;
    let mut flags = [vec![None; rows.len()], vec![None; rows.len()]];
    for (leaf, words) in [&layout.query, &layout.gallery].into_iter().zip(&mut flags) {
        each(leaf, &mut |at, word| {
            words[at] = Some(word.unwrap_or_default().to_owned());
            Ok(())
        })?;
    }
    if layout.query.is_some() || layout.gallery.is_some() {
        let mut silent = None;
        let wrong = |at: usize, problem: String| Error::data(path, format!("row {}: {problem}", at + 1));
        for (at, row) in rows.iter_mut().enumerate() {
            let role = by_flags(flags[0][at].as_deref(), flags[1][at].as_deref(), false);
            let role = role.map_err(|problem| wrong(at, problem))?;
            silent = silent.or(role.is_none().then_some(at));
            row.role = role.unwrap_or(Role::Both);
        }
        if let Some(at) = silent.filter(|_| rows.iter().any(|row| row.role != Role::Both)) {
            return Err(wrong(at, unsaid("rows")));
        }
    }
    each(&layout.camera, &mut |at, camera| {
        let number = |word: &str| word.parse().map_err(|_| format!("'{word}' is no number of a camera"));
        rows[at].camera = camera.filter(|word| !word.is_empty()).map(number).transpose()?;
        Ok(())
    })?;
    Ok((rows, classes))
}

/// Whether a column holds nothing but such words: none is missing, and all can be read.
pub(super) fn holds_only(
    path: &Path,
    file: &SerializedFileReader<File>,
    leaf: &Leaf,
    most: u64,
    is_such: fn(&str) -> bool,
) -> bool {
    let rows = usize::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
    let such = |_, word: Option<&str>| word.filter(|word| is_such(word)).map(drop).ok_or_else(String::new);
    rows > 0 && Words { path, file, most }.each(leaf, rows, &mut { such }).is_ok()
}

struct Words<'f> {
    path: &'f Path,
    file: &'f SerializedFileReader<File>,
    /// Bytes of words that the file may hold.
    most: u64,
}

impl Words<'_> {
    /// Hands over the word of every row.
    fn each(&self, leaf: &Leaf, rows: usize, take: Take<'_>) -> Result<()> {
        let wrong = |problem: String| Error::data(self.path, format!("column '{}': {problem}", leaf.name));
        let unreadable =
            |e: parquet::errors::ParquetError| unreadable(self.path, &format!("column '{}': {e}", leaf.name));
        let about = self.file.metadata().file_metadata().schema_descr().column(leaf.at);
        let (defined, unsigned) = (about.max_def_level(), is_unsigned(&about));
        let (mut at, mut bytes) = (0, 0);
        for group in 0..self.file.num_row_groups() {
            let group = self.file.get_row_group(group).map_err(unreadable)?;
            let mut column = group.get_column_reader(leaf.at).map_err(unreadable)?;
            let last = at + usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            while at < last {
                let (levels, words) = slice(&mut column, SLICE.min(last - at), unsigned).map_err(unreadable)?;
                let count = if defined == 0 { words.len() } else { levels.len() };
                if count == 0 {
                    return Err(wrong(format!("ends behind {at} of {rows} rows")));
                }
                let mut words = words.iter();
                let always = std::iter::repeat_n(defined, if defined == 0 { count } else { 0 });
                for level in levels.into_iter().take(count).chain(always) {
                    let word = if level == defined { words.next() } else { None };
                    let word = word.map(|word| std::str::from_utf8(word.data())).transpose();
                    let word = word.map_err(|_| wrong(format!("row {}: is no UTF-8", at + 1)))?;
                    bytes += word.map_or(0, str::len) as u64;
                    if bytes > self.most || at == rows {
                        return Err(wrong("is damaged: it claims more than its file can hold".into()));
                    }
                    take(at, word).map_err(|problem| wrong(format!("row {}: {problem}", at + 1)))?;
                    at += 1;
                }
            }
        }
        Ok(())
    }
}

/// The levels of up to so many rows, and the words that are there.
fn slice(
    column: &mut ColumnReader,
    rows: usize,
    unsigned: bool,
) -> parquet::errors::Result<(Vec<i16>, Vec<ByteArray>)> {
    let mut levels = Vec::new();
    let words = match column {
        ColumnReader::ByteArrayColumnReader(column) => {
            let mut own = Vec::new();
            column.read_records(rows, Some(&mut levels), None, &mut own)?;
            own
        }
        ColumnReader::Int32ColumnReader(column) => {
            let mut own = Vec::new();
            column.read_records(rows, Some(&mut levels), None, &mut own)?;
            let word = |&number: &i32| if unsigned { number.cast_unsigned().to_string() } else { number.to_string() };
            own.iter().map(|number| word(number).into_bytes().into()).collect()
        }
        ColumnReader::Int64ColumnReader(column) => {
            let mut own = Vec::new();
            column.read_records(rows, Some(&mut levels), None, &mut own)?;
            let word = |&number: &i64| if unsigned { number.cast_unsigned().to_string() } else { number.to_string() };
            own.iter().map(|number| word(number).into_bytes().into()).collect()
        }
        ColumnReader::BoolColumnReader(column) => {
            let mut own = Vec::new();
            column.read_records(rows, Some(&mut levels), None, &mut own)?;
            own.iter().map(|is_so: &bool| is_so.to_string().into_bytes().into()).collect()
        }
        _ => return Err(parquet::errors::ParquetError::General("no column of words".into())),
    };
    Ok((levels, words))
}
