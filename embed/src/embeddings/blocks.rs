//! Kept embeddings that stay in their file, some rows in memory at a time: for those that are larger than it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1, s};
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::matrix::{self, ByRows};
use super::parquet::Rows;
use super::{Row, digest_of, sameness};
use crate::console::Progress;
use crate::error::{Error, Result};

/// The numbers of a file, `[rows, dim]`, read some rows at a time.
#[derive(Debug)]
pub struct Blocks {
    path: PathBuf,
    shape: (usize, usize),
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    /// Row by row from a byte of the file on.
    Plain { file: File, start: u64, dtype: Dtype },
    /// In the columns of a parquet file.
    Parquet(Box<Rows>),
}

/// Kept embeddings of which the numbers stay in their file.
#[derive(Debug)]
pub struct OnDisk {
    /// What each row is.
    pub rows: Vec<Row>,
    /// Class names.
    pub classes: Vec<String>,
    /// What was assumed in reading them: a sentence each.
    pub notes: Vec<String>,
    /// The numbers.
    pub blocks: Blocks,
    /// SHA-256 over values and labels, as of embeddings in memory.
    pub sha256: String,
    /// What one look at every row has shown.
    pub seen: Seen,
}

/// What one look at every row has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// As [`Embeddings::sameness`](super::Embeddings::sameness).
    pub sameness: Option<f64>,
    /// As [`Embeddings::twins`](super::Embeddings::twins), rows of the same 64-bit digest being taken for equal.
    pub twins: usize,
    /// The lengths of the shortest and of the longest row.
    pub lengths: (f64, f64),
}

/// One look at every row, before their labels are known.
pub(super) struct Pass {
    /// Of the values, as float32.
    pub(super) digest: Sha256,
    /// The first value that is no number: its row and place.
    not_finite: Option<(usize, usize, f32)>,
    sameness: Option<f64>,
    /// A digest of each row, and its number.
    rows: Vec<(u64, usize)>,
    lengths: (f64, f64),
    notes: Vec<String>,
}

impl Blocks {
    pub(super) fn new(path: &Path, found: ByRows) -> Self {
        let ByRows { file, start, shape, dtype } = found;
        Self { path: path.into(), shape, numbers: Numbers::Plain { file, start, dtype } }
    }

    pub(super) fn of_parquet(path: &Path, rows: Rows) -> Self {
        let shape = (rows.count(), rows.dim());
        Self { path: path.into(), shape, numbers: Numbers::Parquet(Box::new(rows)) }
    }

    /// Rows of the file.
    pub fn rows(&self) -> usize {
        self.shape.0
    }

    /// Dimension of an embedding.
    pub fn dim(&self) -> usize {
        self.shape.1
    }

    /// Some rows.
    ///
    /// # Errors
    /// [`Error::File`] where they cannot be read.
    pub fn read(&mut self, rows: Range<usize>) -> Result<Array2<f32>> {
        let numbers = self.numbers(&rows)?;
        self.matrix(rows.len(), numbers)
    }

    /// The rows of these numbers, which ascend.
    ///
    /// # Errors
    /// As [`Blocks::read`].
    pub fn select(&mut self, rows: &[usize]) -> Result<Array2<f32>> {
        let mut values = Vec::with_capacity(rows.len() * self.dim());
        for run in rows.chunk_by(|a, b| a + 1 == *b) {
            values.extend(self.numbers(&(run[0]..run[0] + run.len()))?);
        }
        self.matrix(rows.len(), values)
    }

    fn matrix(&self, rows: usize, values: Vec<f32>) -> Result<Array2<f32>> {
        Array2::from_shape_vec((rows, self.dim()), values).map_err(|e| Error::data(&self.path, e.to_string()))
    }

    fn numbers(&mut self, rows: &Range<usize>) -> Result<Vec<f32>> {
        match &mut self.numbers {
            Numbers::Parquet(all) => all.read(rows.clone()),
            Numbers::Plain { file, start, dtype } => {
                let bytes = bytes_of(&self.path, (file, *start), rows, self.shape.1 * dtype.bitsize() / 8)?;
                Ok(matrix::numbers(*dtype, &bytes))
            }
        }
    }

    /// Looks at every row once, with no more than so many bytes of them in memory at a time.
    pub(super) fn look_through(&mut self, bytes: usize, is_raw: bool) -> Result<Pass> {
        /// As read, as numbers, and behind the first row.
        const COPIES: usize = 4;
        let (count, dim) = self.shape;
        let most = (bytes / (8 * COPIES * dim.max(1))).max(1);
        let mut pass = Pass {
            digest: Sha256::new(),
            not_finite: None,
            sameness: (count > 1 && dim > 0).then_some(0.0),
            rows: Vec::with_capacity(count),
            lengths: (f64::INFINITY, 0.0),
            notes: Vec::new(),
        };
        let (mut unusual, mut first_row) = (0, None);
        let progress = Progress::new("reading", "rows", count);
        for first in (0..count).step_by(most) {
            let last = (first + most).min(count);
            let (mut is_digested, is_said) = (false, !pass.notes.is_empty());
            let numbers = match &mut self.numbers {
                Numbers::Parquet(rows) => {
                    let numbers = rows.read(first..last)?;
                    pass.notes.extend(rows.rounded(&self.path).filter(|_| !is_said));
                    numbers
                }
                Numbers::Plain { file, start, dtype } => {
                    let bytes = bytes_of(&self.path, (file, *start), &(first..last), dim * dtype.bitsize() / 8)?;
                    if *dtype == Dtype::F64 && !is_said {
                        let doubles = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
                        pass.notes = matrix::rounded(&self.path, doubles);
                    }
                    is_digested = *dtype == Dtype::F32;
                    if is_digested {
                        pass.digest.update(&bytes);
                    }
                    matrix::numbers(*dtype, &bytes)
                }
            };
            unusual += if is_raw { matrix::unusual(&numbers) } else { 0 };
            let rows = self.matrix(last - first, numbers)?;
            if !is_digested {
                matrix::update(&mut pass.digest, &rows);
            }
            let first_row = first_row.get_or_insert_with(|| rows.row(0).to_owned());
            pass.sameness = pass.sameness.and_then(|widest| {
                let mut with_first = Array2::zeros((rows.nrows() + 1, dim));
                with_first.row_mut(0).assign(first_row);
                with_first.slice_mut(s![1.., ..]).assign(&rows);
                sameness(with_first.view()).map(|apart| apart.max(widest))
            });
            for (at, row) in rows.rows().into_iter().enumerate() {
                pass.look_at(first + at, row);
            }
            progress.advance(last - first);
        }
        if is_raw {
            pass.notes.extend(matrix::strange(&self.path, unusual, count * dim));
        }
        Ok(pass)
    }
}

/// Some rows of so many bytes each, from where the first begins.
fn bytes_of(path: &Path, (file, start): (&mut File, u64), rows: &Range<usize>, width: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; rows.len() * width];
    let place = SeekFrom::Start(start + (rows.start * width) as u64);
    let read = file.seek(place).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|e| Error::read(path, e)).map(|()| bytes)
}

impl Pass {
    fn look_at(&mut self, number: usize, row: ArrayView1<'_, f32>) {
        if self.not_finite.is_none() {
            let found = row.iter().enumerate().find(|(_, value)| !value.is_finite());
            self.not_finite = found.map(|(at, &value)| (number, at, value));
        }
        let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        self.lengths = (self.lengths.0.min(length), self.lengths.1.max(length));
        self.rows.push((digest_of(row), number));
    }

    /// Refuses what is no number, and nothing at all.
    ///
    /// # Errors
    /// [`Error::Embeddings`] naming the row.
    pub(super) fn check(&self, rows: &[Row], dim: usize) -> Result<()> {
        if rows.is_empty() || dim == 0 {
            return Err(Error::Embeddings(format!("nothing to measure: the matrix is {} x {dim}", rows.len())));
        }
        match self.not_finite {
            Some((row, at, value)) => Err(super::not_finite(&rows[row].name, value, at)),
            None => Ok(()),
        }
    }

    /// What was seen, and what is said of it.
    pub(super) fn seen(mut self, about: &[Row]) -> (Seen, Vec<String>) {
        self.rows.sort_unstable();
        let twins = self.rows.chunk_by(|a, b| a.0 == b.0).map(|equal| {
            let first = about[equal[0].1].image;
            equal[1..].iter().filter(|(_, row)| first.is_none() || about[*row].image != first).count()
        });
        let seen = Seen { sameness: self.sameness, twins: twins.sum(), lengths: self.lengths };
        (seen, self.notes)
    }
}
