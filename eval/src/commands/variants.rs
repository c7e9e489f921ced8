//! Embeddings as they could be kept in less room: cut to their first dimensions, or each in fewer bits.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ndarray::{Array2, s};

use super::given::once_each;
use crate::index::FLAT;
use crate::{Error, Result};
use pdloss_embed::embeddings::Embeddings;

/// How a number of a kept embedding is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As the model gives it.
    Float32,
    /// One byte a dimension, between the least and the greatest value of the dimension (FAISS's SQ8); queries stay float32.
    Int8,
    /// The sign of each dimension, of queries, too: similarity is the Hamming distance's.
    Binary,
    /// So many bytes in all (FAISS's product quantiser); queries stay float32.
    Pq(usize),
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "float32" => Ok(Self::Float32),
            "int8" => Ok(Self::Int8),
            "binary" => Ok(Self::Binary),
            _ => text
                .strip_prefix("pq")
                .and_then(|bytes| bytes.parse().ok())
                .filter(|bytes| *bytes > 0)
                .map(Self::Pq)
                .ok_or_else(|| "wanted float32, int8, binary, or pq and a number of bytes, such as pq16".into()),
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float32 => f.write_str("float32"),
            Self::Int8 => f.write_str("int8"),
            Self::Binary => f.write_str("binary"),
            Self::Pq(bytes) => write!(f, "pq{bytes}"),
        }
    }
}

/// One way to keep embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// Dimensions that are kept, the first ones; `None` for all.
    pub(super) dims: Option<usize>,
    pub(super) storage: Storage,
}

impl Variant {
    /// Embeddings as they are, and every other way that is asked for.
    pub(super) fn all(matryoshka: &[usize], storages: &[Storage]) -> Vec<Self> {
        let dims = [None].into_iter().chain(matryoshka.iter().copied().map(Some));
        let stored = |dims| [Storage::Float32].iter().chain(storages).map(move |&storage| Self { dims, storage });
        once_each(dims.flat_map(stored))
    }

    /// The index that stores them, where they are stored in full the one that is asked for.
    pub(super) fn factory(&self, own: &str) -> String {
        match self.storage {
            Storage::Float32 => own.to_owned(),
            Storage::Int8 => "SQ8".into(),
            Storage::Binary => FLAT.into(),
            Storage::Pq(bytes) => format!("PQ{bytes}"),
        }
    }

    /// Bytes of one embedding.
    pub(super) fn bytes(&self, dim: usize) -> usize {
        match self.storage {
            Storage::Float32 => 4 * dim,
            Storage::Int8 => dim,
            Storage::Binary => dim.div_ceil(8),
            Storage::Pq(bytes) => bytes,
        }
    }

    /// Refuses more dimensions than there are.
    ///
    /// # Errors
    /// [`Error::Usage`] naming both.
    pub(super) fn check(&self, dim: usize) -> Result<()> {
        let dims = self.dims.unwrap_or(dim);
        if dims > dim || dims == 0 {
            return Err(Error::Usage(format!(
                "--matryoshka {dims}: embeddings have {dim} dimensions; wanted 1 to {dim}"
            )));
        }
        Ok(())
    }

    /// Refuses to compare directions where what is left of a row by [`Variant::of`] has none.
    ///
    /// # Errors
    /// [`Error::Embeddings`] naming the cut and the row.
    pub(super) fn check_directions(&self, varied: &Embeddings) -> Result<()> {
        let Some(dims) = self.dims else { return Ok(()) };
        match varied.matrix.rows().into_iter().position(|row| row.iter().all(|value| *value == 0.0)) {
            None => Ok(()),
            Some(at) => Err(Error::Embeddings(format!(
                "--matryoshka {dims}: the first {dims} numbers of {} are all zeros, which has no cosine with anything; leave {dims} out, or use \
                 --metric l2",
                varied.rows[varied.first + at].name
            ))),
        }
    }

    /// What is to be said of the embeddings that [`Variant::of`] gives: rows that are all the same, dimensions whose sign is.
    ///
    /// # Errors
    /// Those of telling the other ranks, which have a part of the rows each.
    pub(super) fn doubt(&self, varied: &Embeddings) -> Result<Option<String>> {
        if let Some(dims) = self.dims
            && varied.sameness_over_ranks()?.is_some()
        {
            return Ok(Some(format!(
                "--matryoshka {dims}: the first {dims} numbers are the same in all rows, so that the order of the rows decides what is nearest"
            )));
        }
        if self.storage != Storage::Binary || varied.rows.len() < 2 {
            return Ok(None);
        }
        let (constant, dim) = (varied.constant_dimensions_over_ranks()?, varied.dim());
        Ok((2 * constant > dim).then(|| {
            format!(
                "binary: the sign of {constant} of {dim} dimensions is the same in every row, so that their bits tell nothing apart; \
                 wanted numbers on both sides of 0 (embeddings before a ReLU, or less their mean)"
            )
        }))
    }

    /// Dimensions of what is searched, of embeddings of so many.
    pub(super) fn dim(&self, dim: usize) -> usize {
        self.dims.unwrap_or(dim)
    }

    /// The embeddings to search: cut, and for signs as plus and minus one. They must have been checked.
    pub(super) fn of<'e>(&self, embeddings: &'e Embeddings) -> Cow<'e, Embeddings> {
        if self.dims.is_none() && self.storage != Storage::Binary {
            return Cow::Borrowed(embeddings);
        }
        let matrix = self.kept(embeddings.matrix.slice(s![.., ..self.dim(embeddings.dim())]).to_owned());
        Cow::Owned(Embeddings {
            matrix,
            rows: embeddings.rows.clone(),
            first: embeddings.first,
            classes: embeddings.classes.clone(),
            files: embeddings.files.clone(),
            notes: embeddings.notes.clone(),
        })
    }

    /// Rows of such embeddings.
    pub(super) fn kept(&self, mut rows: Array2<f32>) -> Array2<f32> {
        let dims = self.dim(rows.ncols());
        if dims < rows.ncols() {
            rows = rows.slice(s![.., ..dims]).to_owned();
        }
        if self.storage == Storage::Binary {
            rows.mapv_inplace(|value| if value > 0.0 { 1.0 } else { -1.0 });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_keep_embeddings_have_names_and_sizes() {
        let storage = |text: &str| text.parse::<Storage>();
        for text in ["float32", "int8", "binary", "pq16"] {
            assert_eq!(storage(text).map(|storage| storage.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "pq", "pq0", "PQ16", "int4"] {
            assert!(storage(text).unwrap_err().contains("pq16"), "{text}");
        }
        let bytes = |storage: Storage| Variant { dims: None, storage }.bytes(100);
        let sizes = [Storage::Float32, Storage::Int8, Storage::Binary, Storage::Pq(20)].map(bytes);
        assert_eq!(sizes, [400, 100, 13, 20]);
    }

    #[test]
    fn every_dimension_is_kept_every_way_once() {
        let found = Variant::all(&[8, 4, 8], &[Storage::Binary, Storage::Float32]);
        let words: Vec<String> =
            found.iter().map(|v| format!("{} {}", v.dims.map_or("all".into(), |d| d.to_string()), v.storage)).collect();
        assert_eq!(words, ["all float32", "all binary", "8 float32", "8 binary", "4 float32", "4 binary"]);
    }
}
