//! What a loss is computed of and what its gradient is written to, borrowed; checked once, where a call enters.

use super::error::Error;
use super::scalar::{Label, Real};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// A batch and the proxies that it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T, L> {
    /// `[B, D]`, one row a sample.
    pub embeddings: ArrayView2<'a, T>,
    /// `[C, D]`, one row a class.
    pub proxies: ArrayView2<'a, T>,
    /// `[B]`: the class of each sample, below `C`.
    pub labels: &'a [L],
}

/// A batch that is compared with itself.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a, T, L> {
    /// `[B, D]`, one row a sample.
    pub embeddings: ArrayView2<'a, T>,
    /// `[B]`: the class of each sample, any integers.
    pub labels: &'a [L],
}

/// Gradients of the loss, each of its input's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T> {
    /// `[B, D]`.
    pub embeddings: Array2<T>,
    /// `[C, D]`.
    pub proxies: Array2<T>,
}

/// Memory of the caller's for [`Gradients`].
#[derive(Debug)]
pub struct GradientsMut<'a, T> {
    /// `[B, D]`.
    pub embeddings: ArrayViewMut2<'a, T>,
    /// `[C, D]`.
    pub proxies: ArrayViewMut2<'a, T>,
}

impl<T: Real> Gradients<T> {
    pub(crate) fn zeros<L>(batch: &Batch<'_, T, L>) -> Self {
        let zeros = |shape| Array2::from_elem(shape, T::default());
        Self { embeddings: zeros(batch.embeddings.dim()), proxies: zeros(batch.proxies.dim()) }
    }

    /// To write to.
    pub fn view_mut(&mut self) -> GradientsMut<'_, T> {
        GradientsMut { embeddings: self.embeddings.view_mut(), proxies: self.proxies.view_mut() }
    }
}

impl<T> GradientsMut<'_, T> {
    /// Whether both have the shapes of their inputs.
    pub(crate) fn check<L>(&self, batch: &Batch<'_, T, L>) -> Result<(), Error> {
        for (tensor, wanted, given) in [
            ("embeddings_grad", batch.embeddings.shape(), self.embeddings.shape()),
            ("proxies_grad", batch.proxies.shape(), self.proxies.shape()),
        ] {
            if wanted != given {
                return Err(Error::shape(tensor, format!("{wanted:?}"), given));
            }
        }
        Ok(())
    }
}

/// A batch with shapes that agree, and its labels as row numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, T> {
    pub(crate) embeddings: ArrayView2<'a, T>,
    pub(crate) proxies: ArrayView2<'a, T>,
    /// Row of the proxies for each sample.
    pub(crate) classes: &'a [usize],
}

impl<T> Rows<'_, T> {
    /// `B`, `C`, `D`.
    pub(crate) fn shape(&self) -> (usize, usize, usize) {
        (self.embeddings.nrows(), self.proxies.nrows(), self.embeddings.ncols())
    }
}

impl<'a, T: Real, L: Label> Batch<'a, T, L> {
    /// Whether shapes agree; the labels as row numbers.
    pub(crate) fn classes(&self) -> Result<Vec<usize>, Error> {
        let Self { embeddings, proxies, labels } = self;
        let (batch, width) = embeddings.dim();
        if batch == 0 || width == 0 {
            return Err(Error::shape("embeddings", "[B, D] with B >= 1 and D >= 1", embeddings.shape()));
        }
        if proxies.nrows() < 2 || proxies.ncols() != width {
            return Err(Error::shape("proxies", format!("[C, {width}] with C >= 2"), proxies.shape()));
        }
        if labels.len() != batch {
            return Err(Error::shape("labels", format!("[{batch}]"), &[labels.len()]));
        }
        rows_of(labels, proxies.nrows())
    }

    /// With the labels as [`classes`](Self::classes) gave them.
    pub(crate) fn rows<'b>(&self, classes: &'b [usize]) -> Rows<'b, T>
    where
        'a: 'b,
    {
        Rows { embeddings: self.embeddings, proxies: self.proxies, classes }
    }
}

impl<T: Real, L: Label> Samples<'_, T, L> {
    /// Whether shapes agree.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let (batch, width) = self.embeddings.dim();
        if batch < 2 || width == 0 {
            return Err(Error::shape("embeddings", "[B, D] with B >= 2 and D >= 1", self.embeddings.shape()));
        }
        if self.labels.len() != batch {
            return Err(Error::shape("labels", format!("[{batch}]"), &[self.labels.len()]));
        }
        Ok(())
    }
}

/// The labels as row numbers below `classes`.
pub(crate) fn rows_of<L: Label>(labels: &[L], classes: usize) -> Result<Vec<usize>, Error> {
    let row = |(row, label): (usize, &L)| {
        label.index(classes).ok_or_else(|| Error::Label { row, label: label.to_string(), classes })
    };
    labels.iter().enumerate().map(row).collect()
}
