//! The numbers of a file, some rows at a time: pages are unpacked one by one, however large the file's row groups are.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::f16;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{DataType, DoubleType, FixedLenByteArrayType, FloatType};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::layout::{Layout, Leaf, Numbers};
use super::unreadable;
use crate::error::{Error, Result};
use crate::guard::guarded;

/// Numbers that are unpacked at a time.
const SLICE: usize = 1 << 16;

/// The numbers of a file, `[rows, dim]`.
pub(in crate::embeddings) struct Rows {
    path: PathBuf,
    file: SerializedFileReader<File>,
    layout: Layout,
    /// The first row of each row group, and behind the last.
    begins: Vec<usize>,
    /// Where the column of lists was left.
    open: Option<Cursor>,
    /// Whether a number of float64 was rounded.
    lost: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("path", &self.path).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A column of a row group that is open.
struct Cursor {
    group: usize,
    /// The next row, counted from the beginning of the group.
    next: usize,
    column: Column,
}

enum Column {
    Single(ColumnReaderImpl<FloatType>),
    Double(ColumnReaderImpl<DoubleType>),
    Half(ColumnReaderImpl<FixedLenByteArrayType>),
}

/// What stands beside the numbers: where lists begin, and what is missing.
#[derive(Default)]
struct Levels {
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

impl Rows {
    pub(super) fn new(path: &Path, file: SerializedFileReader<File>, layout: Layout) -> Self {
        let mut begins = vec![0];
        for group in file.metadata().row_groups() {
            let count = usize::try_from(group.num_rows()).unwrap_or(0);
            begins.push(begins[begins.len() - 1] + count);
        }
        Self { path: path.into(), file, layout, begins, open: None, lost: false }
    }

    pub(in crate::embeddings) fn count(&self) -> usize {
        self.layout.rows
    }

    pub(in crate::embeddings) fn dim(&self) -> usize {
        self.layout.dim
    }

    /// What is said where numbers were rounded in what was read so far.
    pub(in crate::embeddings) fn rounded(&self, path: &Path) -> Option<String> {
        self.lost.then(|| format!("{} holds float64; its values were rounded to float32", path.display()))
    }

    /// Some rows. Those of a column of lists are found fastest one after the other.
    ///
    /// # Errors
    /// [`Error::Data`] naming the column and the row that is not what is wanted.
    pub(in crate::embeddings) fn read(&mut self, rows: Range<usize>) -> Result<Vec<f32>> {
        let path = self.path.clone();
        guarded(&path, || {
            let mut values = Vec::with_capacity(rows.len() * self.layout.dim);
            for group in 0..self.begins.len() - 1 {
                let begin = self.begins[group];
                let part = rows.start.max(begin)..rows.end.min(self.begins[group + 1]);
                if part.is_empty() {
                    continue;
                }
                let part = part.start - begin..part.end - begin;
                match &self.layout.numbers {
                    Numbers::Lists(leaf) => {
                        let leaf = leaf.clone();
                        self.lists(&leaf, group, part, &mut values)?;
                    }
                    Numbers::Columns(_) => self.columns(group, part, &mut values)?,
                }
            }
            Ok(values)
        })
    }

    fn lists(&mut self, leaf: &Leaf, group: usize, rows: Range<usize>, values: &mut Vec<f32>) -> Result<()> {
        let left = self.open.take().filter(|open| open.group == group && open.next <= rows.start);
        let mut cursor = match left {
            Some(cursor) => cursor,
            None => Cursor { group, next: 0, column: self.column(group, leaf)? },
        };
        self.skip(leaf, &mut cursor.column, rows.start - cursor.next)?;
        let dim = self.layout.dim;
        let most = self.defined(leaf);
        let mut levels = Levels::default();
        for first in rows.clone().step_by((SLICE / dim.max(1)).max(1)) {
            let count = (SLICE / dim.max(1)).max(1).min(rows.end - first);
            levels.definition.clear();
            levels.repetition.clear();
            let before = values.len();
            let found = cursor.column.take(count, &mut levels, values, &mut self.lost);
            let (records, ..) = found.map_err(|e| self.unreadable(leaf, &e))?;
            let begins = |at: usize| levels.repetition.get(at).is_none_or(|&level| level == 0);
            let is_whole = |row: usize| {
                let own = row * dim..(row + 1) * dim;
                begins(own.start)
                    && begins(own.end)
                    && levels.repetition[own.start + 1..own.end].iter().all(|&level| level == 1)
                    && levels.definition[own].iter().all(|&level| level == most)
            };
            let count_found = values.len() - before;
            let all = count * dim;
            if (records, count_found, levels.definition.len(), levels.repetition.len()) != (count, all, all, all)
                || !(0..count).all(is_whole)
            {
                return Err(self.ragged(leaf, self.begins[group] + first, &levels, most));
            }
        }
        cursor.next = rows.end;
        self.open = Some(cursor);
        Ok(())
    }

    /// Names the first row, from `first` on, that is no list of so many numbers.
    fn ragged(&self, leaf: &Leaf, first: usize, levels: &Levels, most: i16) -> Error {
        let dim = self.layout.dim;
        let mut begins: Vec<usize> = (0..levels.repetition.len()).filter(|&at| levels.repetition[at] == 0).collect();
        begins.push(levels.repetition.len());
        for (row, own) in begins.windows(2).enumerate() {
            let defined = levels.definition.get(own[0]..own[1]).unwrap_or_default();
            let numbers = defined.iter().filter(|&&level| level == most).count();
            let problem = match own[1] - own[0] {
                1 if numbers == 0 => "is empty or missing".to_owned(),
                length if numbers < length => format!("lacks {} of its {length} numbers", length - numbers),
                length if length != dim => format!("has {length} numbers, others have {dim}"),
                _ => continue,
            };
            return Error::data(&self.path, format!("column '{}': row {} {problem}", leaf.name, first + row + 1));
        }
        Error::data(&self.path, format!("column '{}': fewer rows than the footer claims", leaf.name))
    }

    fn columns(&mut self, group: usize, rows: Range<usize>, values: &mut Vec<f32>) -> Result<()> {
        let Numbers::Columns(leaves) = &self.layout.numbers else { return Ok(()) };
        let (dim, before) = (leaves.len(), values.len());
        let mut lost = false;
        values.resize(before + rows.len() * dim, 0.0);
        let (mut levels, mut own) = (Levels::default(), Vec::new());
        for (at, leaf) in leaves.iter().enumerate() {
            let mut column = self.column(group, leaf)?;
            self.skip(leaf, &mut column, rows.start)?;
            levels.definition.clear();
            own.clear();
            let found = column.take(rows.len(), &mut levels, &mut own, &mut lost);
            let (records, count, _) = found.map_err(|e| self.unreadable(leaf, &e))?;
            if count != records || records != rows.len() {
                let most = self.defined(leaf);
                let missing = levels.definition.iter().position(|&level| level < most).unwrap_or(records);
                let row = self.begins[group] + rows.start + missing + 1;
                let problem = format!("column '{}': row {row} has no number", leaf.name);
                return Err(Error::data(&self.path, problem));
            }
            for (row, &value) in own.iter().enumerate() {
                values[before + row * dim + at] = value;
            }
        }
        self.lost |= lost;
        Ok(())
    }

    /// The level at which a number of the column is there.
    fn defined(&self, leaf: &Leaf) -> i16 {
        self.file.metadata().file_metadata().schema_descr().column(leaf.at).max_def_level()
    }

    fn skip(&self, leaf: &Leaf, column: &mut Column, rows: usize) -> Result<()> {
        let skipped = match column {
            Column::Single(column) => column.skip_records(rows),
            Column::Double(column) => column.skip_records(rows),
            Column::Half(column) => column.skip_records(rows),
        };
        match skipped.map_err(|e| self.unreadable(leaf, &e))? {
            all if all == rows => Ok(()),
            _ => Err(Error::data(&self.path, format!("column '{}': fewer rows than the footer claims", leaf.name))),
        }
    }

    fn column(&self, group: usize, leaf: &Leaf) -> Result<Column> {
        let found = self.file.get_row_group(group).and_then(|group| group.get_column_reader(leaf.at));
        match found.map_err(|e| self.unreadable(leaf, &e))? {
            ColumnReader::FloatColumnReader(column) => Ok(Column::Single(column)),
            ColumnReader::DoubleColumnReader(column) => Ok(Column::Double(column)),
            ColumnReader::FixedLenByteArrayColumnReader(column) => Ok(Column::Half(column)),
            _ => Err(self.unreadable(leaf, &"its row groups are of several types")),
        }
    }

    fn unreadable(&self, leaf: &Leaf, e: &dyn std::fmt::Display) -> Error {
        unreadable(&self.path, &format!("column '{}': {e}", leaf.name))
    }
}

impl Column {
    /// Up to so many rows behind `values`: the counts of rows, numbers and levels.
    #[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
    fn take(
        &mut self,
        rows: usize,
        levels: &mut Levels,
        values: &mut Vec<f32>,
        lost: &mut bool,
    ) -> parquet::errors::Result<(usize, usize, usize)> {
        match self {
            Self::Single(column) => {
                column.read_records(rows, Some(&mut levels.definition), Some(&mut levels.repetition), values)
            }
            Self::Double(column) => widened(column, rows, levels, values, |&value| {
                *lost |= f64::from(value as f32) != value && !value.is_nan();
                value as f32
            }),
            Self::Half(column) => widened(column, rows, levels, values, |value| {
                value.data().first_chunk().map_or(f32::NAN, |&bytes| f16::from_le_bytes(bytes).to_f32())
            }),
        }
    }
}

fn widened<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Levels,
    values: &mut Vec<f32>,
    number: impl FnMut(&T::T) -> f32,
) -> parquet::errors::Result<(usize, usize, usize)> {
    let mut own = Vec::new();
    let found = column.read_records(rows, Some(&mut levels.definition), Some(&mut levels.repetition), &mut own)?;
    values.extend(own.iter().map(number));
    Ok(found)
}
