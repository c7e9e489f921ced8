//! Embeddings with the names, classes and roles of their rows; saved and read back, so that measuring again needs no
//! model. Four forms: `.npy` with a CSV of rows beside it, `.safetensors` (all in one), raw little-endian f32, and `.parquet` of
//! other programs, which is read alone.

mod blocks;
mod bundle;
mod labels;
mod matrix;
mod over_ranks;
mod parquet;
mod read;

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1, ArrayView2};
use sha2::{Digest, Sha256};

pub use blocks::{Blocks, OnDisk, Seen};
pub use read::bytes_in_memory;

use crate::dataset::Role;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::files::{ending, write_atomically, write_over_ranks};
use crate::ranks::{agree, world};

/// One row's name, class and role, and what it must not be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The image's name.
    pub name: String,
    /// Index into [`Embeddings::classes`].
    pub class: usize,
    /// The part it plays.
    pub role: Role,
    /// A number that it shares with copies of the same image (files of equal bytes); `None` where there are none. Copies
    /// are no neighbours of each other.
    pub image: Option<u32>,
    /// The camera that took it, where images of the same class and camera are no neighbours of each other.
    pub camera: Option<u32>,
}

impl Row {
    /// A row that may be compared with all others.
    pub fn new(name: impl Into<String>, class: usize, role: Role) -> Self {
        Self { name: name.into(), class, role, image: None, camera: None }
    }
}

/// Copies of images among rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Rows that are copies of an earlier one.
    pub rows: usize,
    /// Those whose class is another than that one's.
    pub other_class: usize,
}

/// A matrix `[rows, dim]` of finite numbers, and what each row is.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One row an image.
    pub matrix: Array2<f32>,
    /// Of every image; as many as the matrix has rows, but where the matrix is one rank's part.
    pub rows: Vec<Row>,
    /// Which of `rows` the matrix begins with: 0, but on several ranks that have a part each.
    pub first: usize,
    /// Class names.
    pub classes: Vec<String>,
    /// SHA-256 of the file of each row's image; empty where no files were read.
    pub files: Vec<[u8; 32]>,
    /// What was assumed in reading them, or said when they were made: a sentence each.
    pub notes: Vec<String>,
}

/// What is wrong with a number that is none.
fn not_finite(row: &str, value: f32, at: usize) -> Error {
    let of_float32 = if value.is_infinite() { "; as float32, which goes up to 3.4e38" } else { "" };
    Error::Embeddings(format!("{row} has {value} at position {at}{of_float32}"))
}

impl Embeddings {
    /// Puts rows and their descriptions together.
    ///
    /// # Errors
    /// [`Error::Embeddings`] where the counts differ, the matrix is empty, or a value is NaN or infinite (named by row).
    pub fn new(matrix: Array2<f32>, rows: Vec<Row>, classes: Vec<String>) -> Result<Self> {
        if matrix.nrows() != rows.len() {
            return Err(Error::Embeddings(format!("{} rows, but {} labels", matrix.nrows(), rows.len())));
        }
        Self::part(matrix, 0, rows, classes)
    }

    /// The rows of a rank, from `first` on, and the descriptions of all.
    ///
    /// # Errors
    /// [`Error::Embeddings`] where there are no rows on any rank, or a value is NaN or infinite (named by row).
    pub(crate) fn part(matrix: Array2<f32>, first: usize, rows: Vec<Row>, classes: Vec<String>) -> Result<Self> {
        if rows.is_empty() || matrix.ncols() == 0 {
            return Err(Error::Embeddings(format!(
                "nothing to measure: the matrix is {} x {}",
                matrix.nrows(),
                matrix.ncols()
            )));
        }
        let embeddings = Self { matrix, rows, first, classes, files: Vec::new(), notes: Vec::new() };
        embeddings.check().map(|()| embeddings)
    }

    /// Refuses what is no number.
    ///
    /// # Errors
    /// [`Error::Embeddings`] naming the row.
    pub fn check(&self) -> Result<()> {
        for (row, about) in self.matrix.rows().into_iter().zip(&self.rows[self.first..]) {
            if let Some((at, value)) = row.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(not_finite(&about.name, *value, at));
            }
        }
        Ok(())
    }

    /// How many rows are copies of others, by [`Row::image`].
    pub fn copies(&self) -> Copies {
        copies(&self.rows)
    }

    /// How far apart rows are at most, as a share of the first one's length, where that is no more than what float32 rounds:
    /// they are then all the same. `None` where they differ, and for fewer than two.
    pub fn sameness(&self) -> Option<f64> {
        sameness(self.matrix.view())
    }

    /// How many rows are equal to an earlier one, number by number, and are not known to be copies of its image.
    pub fn twins(&self) -> usize {
        let mut first: HashMap<u64, usize> = HashMap::new();
        let mut twins = 0;
        for (at, row) in self.matrix.rows().into_iter().enumerate() {
            let earlier = *first.entry(digest_of(row)).or_insert(at);
            let image = self.rows[at].image;
            let is_copy = image.is_some() && image == self.rows[earlier].image;
            twins += usize::from(earlier != at && !is_copy && row == self.matrix.row(earlier));
        }
        twins
    }

    /// Dimension of an embedding.
    pub fn dim(&self) -> usize {
        self.matrix.ncols()
    }

    /// Whether [`Embeddings::save`] knows the path's ending.
    ///
    /// # Errors
    /// [`Error::Usage`] naming flag and path.
    pub fn can_save(flag: &str, path: &Path) -> Result<()> {
        if ["npy", "safetensors"].contains(&ending(path).as_str()) {
            return Ok(());
        }
        Err(Error::Usage(format!("{flag} {}: wanted a file that ends in .npy or .safetensors", path.display())))
    }

    /// The files that [`Embeddings::save`] writes for this path.
    pub fn files(path: &Path) -> Vec<PathBuf> {
        if ending(path) == "npy" { vec![path.into(), labels_beside(path)] } else { vec![path.into()] }
    }

    /// Writes `.npy` (and `.csv` beside it) or `.safetensors`, each whole or not at all. The CSV is written first and holds a
    /// digest of its matrix, so that labels beside another matrix are refused. The notes are kept with the labels. Of several ranks, each
    /// with a part of the rows, the first one writes, and none holds all rows.
    ///
    /// # Errors
    /// [`Error::Usage`] for another ending, [`Error::File`] where writing fails; [`Error::Ranks`] on every one of several ranks.
    pub fn save(&self, path: &Path) -> Result<()> {
        match ending(path).as_str() {
            "npy" => {
                let mut hasher = Sha256::new();
                // Nothing fails.
                let _ = self.stream(&mut |block| {
                    hasher.update(block);
                    Ok(())
                });
                let beside = labels_beside(path);
                let digest = hex(&hasher.finalize());
                agree(if world().is_first() {
                    write_atomically(&beside, |file| labels::write(self, &digest, file))
                } else {
                    Ok(())
                })?;
                let shape = (self.rows.len(), self.dim());
                let head = |file: &mut File| {
                    ndarray_npy::write_zeroed_npy::<f32, _>(file, shape).map_err(std::io::Error::other)
                };
                write_over_ranks(path, head, |take| self.stream(take))
            }
            "safetensors" => {
                let head = bundle::head(self).map_err(|e| Error::write(path, std::io::Error::other(e)));
                let head = agree(head)?;
                write_over_ranks(path, |file| file.write_all(&head), |take| self.stream(take))
            }
            _ => Self::can_save("embeddings", path),
        }
    }

    /// SHA-256 over the values and the labels: the same numbers and classes give the same digest in every form.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        matrix::update(&mut hasher, &self.matrix);
        self.with_labels(hasher)
    }

    /// The digest of values, gone on with over the labels.
    fn with_labels(&self, hasher: Sha256) -> String {
        sha256_of(hasher, &self.rows, &self.classes)
    }
}

/// The digest of values, gone on with over the labels.
fn sha256_of(mut hasher: Sha256, rows: &[Row], classes: &[String]) -> String {
    for row in rows {
        hasher.update(classes[row.class].as_bytes());
        hasher.update([0]);
        hasher.update(row.role.as_str());
        // Nothing where there are none, so that digests stay what they were in version 0.1.
        for number in [row.image, row.camera].into_iter().flatten() {
            hasher.update(number.to_le_bytes());
        }
    }
    hex(&hasher.finalize())
}

/// SHA-256 over name, class and role of every row and which of them share a camera or an image, in any order: embeddings of one data set
/// by two models have one. Rows without names are known by their places.
pub fn rows_sha256(rows: &[Row], classes: &[String]) -> String {
    let words = rows.iter().map(|row| [row.name.as_str(), classes[row.class].as_str(), row.role.as_str()]);
    let mut sorted: Vec<_> = words.zip(rows).map(|(words, row)| (words, row.image, row.camera)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    // Numbers are given in the order of rows, which may be another.
    let (mut images, mut cameras) = (HashMap::new(), HashMap::new());
    let renumbered = |known: &mut HashMap<u32, usize>, number: Option<u32>| {
        let next = known.len() + 1;
        number.map_or(0, |number| *known.entry(number).or_insert(next))
    };
    let mut hasher = Sha256::new();
    for (words, image, camera) in sorted {
        for word in words {
            hasher.update(word);
            hasher.update([0]);
        }
        for number in [renumbered(&mut images, image), renumbered(&mut cameras, camera)] {
            hasher.update((number as u64).to_le_bytes());
        }
    }
    hex(&hasher.finalize())
}

/// How many of these rows are copies of others, by [`Row::image`].
pub fn copies(rows: &[Row]) -> Copies {
    let mut first: HashMap<u32, usize> = HashMap::new();
    let mut copies = Copies::default();
    for row in rows {
        let Some(image) = row.image else { continue };
        match first.get(&image) {
            None => drop(first.insert(image, row.class)),
            Some(&class) => {
                copies.rows += 1;
                copies.other_class += usize::from(class != row.class);
            }
        }
    }
    copies
}

/// The same for rows that are equal, number by number.
fn digest_of(row: ArrayView1<'_, f32>) -> u64 {
    let mut hasher = DefaultHasher::new();
    // 0 and -0 are one number.
    hasher.write(&row.iter().flat_map(|value| (value + 0.0).to_le_bytes()).collect::<Vec<u8>>());
    hasher.finish()
}

fn sameness(rows: ArrayView2<'_, f32>) -> Option<f64> {
    const ROUNDING: f64 = 1e-6;
    let length = |row: ArrayView1<'_, f32>| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    // A rank may have none.
    let first = rows.rows().into_iter().next()?;
    let most = ROUNDING * length(first);
    let apart = |row: ArrayView1<'_, f32>| {
        let squares = row.iter().zip(&first).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let mut widest = 0.0_f64;
    for row in rows.rows().into_iter().skip(1) {
        widest = widest.max(apart(row));
        if widest > most {
            return None;
        }
    }
    (rows.nrows() > 1).then(|| if widest > 0.0 { widest / length(first) } else { 0.0 })
}

fn labels_beside(path: &Path) -> PathBuf {
    path.with_extension("csv")
}
