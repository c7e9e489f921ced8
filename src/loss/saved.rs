//! What the forward pass keeps for the backward pass, and its form as plain arrays.

use super::error::Error;
use super::moments::{Moments, Summary};
use super::scalar::Real;
use super::{Algorithm, Config};
use ndarray::{Array1, Array2};

/// One side of the similarities: embeddings or proxies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SavedSide<T> {
    /// One over each row's length; 0 for rows without direction.
    pub(crate) reciprocals: Vec<f64>,
    pub(crate) mean: Vec<f64>,
    /// `[D, D]` row after row on the Gram path, else empty.
    pub(crate) scatter: Vec<T>,
}

/// The state between [`forward`](super::forward()) and [`backward`](super::backward()).
#[derive(Clone, Debug, PartialEq)]
pub struct Saved<T> {
    pub(crate) config: Config,
    /// [`Algorithm::Gram`] or [`Algorithm::Tiles`], never [`Algorithm::Auto`].
    pub(crate) algorithm: Algorithm,
    pub(crate) embeddings: SavedSide<T>,
    pub(crate) proxies: SavedSide<T>,
    /// Cosine of each sample and its class.
    pub(crate) cosines: Vec<f64>,
    pub(crate) genuine: Summary,
    pub(crate) impostor: Summary,
}

/// [`Saved`] as arrays, for hosts that carry state between two operators as tensors.
///
/// On the Gram path the scatter matrices are `[D, D]`; on the tiles path they are `[0, 0]`, and that is how the path is
/// told when the state comes back. Everything that decides accuracy is in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedParts<T> {
    /// One over the length of each embedding, `[B]`; 0 for rows without direction.
    pub embedding_reciprocals: Array1<f64>,
    /// One over the length of each proxy, `[C]`.
    pub proxy_reciprocals: Array1<f64>,
    /// Mean unit embedding, `[D]`.
    pub embedding_mean: Array1<f64>,
    /// Mean unit proxy, `[D]`.
    pub proxy_mean: Array1<f64>,
    /// Cosine of each sample and its own class, `[B]`, without temperature.
    pub genuine_cosines: Array1<f64>,
    /// Count, mean and sum of squared deviations of the genuine, then of the impostor cosines, `[6]`.
    pub summaries: Array1<f64>,
    /// Scatter matrix of the unit embeddings about their mean, `[D, D]` or `[0, 0]`.
    pub embedding_scatter: Array2<T>,
    /// Scatter matrix of the unit proxies about their mean, `[D, D]` or `[0, 0]`.
    pub proxy_scatter: Array2<T>,
}

/// A scatter matrix `[width, width]`, or `[0, 0]` where none was kept.
pub(crate) fn square<T>(values: Vec<T>, width: usize) -> Array2<T> {
    let width = if values.is_empty() { 0 } else { width };
    Array2::from_shape_vec((width, width), values).expect("a scatter matrix has as many rows as a mean has elements")
}

pub(crate) fn flat<T: Clone>(matrix: Array2<T>) -> Vec<T> {
    matrix.as_standard_layout().into_owned().into_raw_vec_and_offset().0
}

impl<T: Real> Saved<T> {
    /// The settings of the forward pass.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The path that was taken: [`Algorithm::Gram`] or [`Algorithm::Tiles`].
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The moments, as the forward pass reported them.
    #[must_use]
    pub fn moments(&self) -> Moments {
        let at = super::decidability::Decidability::at(&self.config, &self.genuine, &self.impostor);
        Moments::report(&self.config, &self.genuine, &self.impostor, at.d_prime)
    }

    /// The same state for another element type, where no element is kept: on the tiles path.
    pub(crate) fn without_scatter<U>(self) -> Saved<U> {
        let side =
            |side: SavedSide<T>| SavedSide { reciprocals: side.reciprocals, mean: side.mean, scatter: Vec::new() };
        Saved {
            config: self.config,
            algorithm: self.algorithm,
            embeddings: side(self.embeddings),
            proxies: side(self.proxies),
            cosines: self.cosines,
            genuine: self.genuine,
            impostor: self.impostor,
        }
    }

    /// As arrays.
    #[must_use]
    pub fn into_parts(self) -> SavedParts<T> {
        let width = self.embeddings.mean.len();
        let summaries = [self.genuine.to_array(), self.impostor.to_array()].concat();
        SavedParts {
            embedding_reciprocals: self.embeddings.reciprocals.into(),
            proxy_reciprocals: self.proxies.reciprocals.into(),
            embedding_mean: self.embeddings.mean.into(),
            proxy_mean: self.proxies.mean.into(),
            genuine_cosines: self.cosines.into(),
            summaries: summaries.into(),
            embedding_scatter: square(self.embeddings.scatter, width),
            proxy_scatter: square(self.proxies.scatter, width),
        }
    }

    /// Back from arrays, as [`into_parts`](Self::into_parts) made them. The path is read from the scatter matrices;
    /// `config.algorithm()` is not looked at.
    ///
    /// # Errors
    /// If the arrays' shapes disagree with each other.
    pub fn from_parts(config: Config, parts: SavedParts<T>) -> Result<Self, Error> {
        let width = parts.embedding_mean.len();
        let batch = parts.embedding_reciprocals.len();
        let algorithm = if parts.embedding_scatter.is_empty() { Algorithm::Tiles } else { Algorithm::Gram };
        let side = if algorithm == Algorithm::Gram { width } else { 0 };
        for (tensor, given, wanted) in
            [("proxy_mean", parts.proxy_mean.len(), width), ("genuine_cosines", parts.genuine_cosines.len(), batch)]
        {
            if given != wanted {
                return Err(Error::shape(tensor, format!("[{wanted}]"), &[given]));
            }
        }
        for (tensor, matrix) in
            [("embedding_scatter", &parts.embedding_scatter), ("proxy_scatter", &parts.proxy_scatter)]
        {
            if matrix.dim() != (side, side) {
                return Err(Error::shape(tensor, format!("[{side}, {side}]"), matrix.shape()));
            }
        }
        let [genuine, impostor] = Summary::pair(parts.summaries.view())?;
        Ok(Self {
            config,
            algorithm,
            embeddings: SavedSide {
                reciprocals: parts.embedding_reciprocals.to_vec(),
                mean: parts.embedding_mean.to_vec(),
                scatter: flat(parts.embedding_scatter),
            },
            proxies: SavedSide {
                reciprocals: parts.proxy_reciprocals.to_vec(),
                mean: parts.proxy_mean.to_vec(),
                scatter: flat(parts.proxy_scatter),
            },
            cosines: parts.genuine_cosines.to_vec(),
            genuine,
            impostor,
        })
    }
}
