//! The saved state in device memory: the parts of `state.rs` by address, in its order.
//!
//! The length follows from the shapes, so that ONNX Runtime can allocate it while the device still computes. PD-Loss's
//! state is the CPU's to the number; D-Loss needs no scatter matrix here, and its state ends before it.

use super::params::{Address, Side};
use crate::state::{HEADER, SUMMARIES};

const F64: usize = size_of::<f64>();

/// The lengths that a run's tensors have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    /// None: D-Loss.
    pub(crate) classes: Option<usize>,
    pub(crate) dim: usize,
}

impl Shape {
    /// Whether two scatter matrices need fewer multiply-adds than similarities do, forward and backward: `2 (B + C) D^2`
    /// against `4 B C D`. D-Loss looks at every pair anyway, for its label.
    pub(crate) fn prefers_gram(&self) -> bool {
        // As on the CPU: few classes need few similarities, and the tiles' moments are the most accurate there.
        let few = 64;
        self.classes.is_some_and(|classes| {
            let (batch, classes_f, dim) = (self.batch as f64, classes as f64, self.dim as f64);
            classes > few && (batch + classes_f) * dim <= 2.0 * batch * classes_f
        })
    }

    /// Numbers in the saved state.
    pub(crate) fn state(&self, gram: bool) -> usize {
        let matrices = if gram { 2 * self.dim * self.dim } else { 0 };
        let proxies = self.classes.map_or(0, |classes| classes + self.dim + self.batch);
        HEADER + self.batch + self.dim + SUMMARIES + proxies + matrices
    }

    /// Whether a state of this length was made on the Gram path; None where it is not of these shapes. The CPU's state of
    /// D-Loss is taken too: what it has more is at the end.
    pub(crate) fn gram_of(&self, length: usize) -> Option<bool> {
        if self.classes.is_none() && length == self.state(false) + self.dim * self.dim {
            return Some(false);
        }
        [false, true].into_iter().find(|&gram| length == self.state(gram) && (!gram || self.classes.is_some()))
    }
}

/// Where the parts of a saved state are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) header: Address,
    pub(crate) embeddings: Side,
    /// The embeddings again for D-Loss.
    pub(crate) proxies: Side,
    /// Null for D-Loss.
    pub(crate) cosines: Address,
    pub(crate) summaries: Address,
    /// `[dim, dim]`, on the Gram path.
    pub(crate) embedding_scatter: Address,
    /// `[dim, dim]`, on the Gram path.
    pub(crate) proxy_scatter: Address,
}

impl Layout {
    /// Of a state at `start`, for rows of these shapes.
    pub(crate) fn new(
        start: Address,
        shape: &Shape,
        rows: (Address, Option<Address>),
        counts: (u32, u32, u32),
    ) -> Self {
        let mut end = start;
        let mut take = |numbers: usize| {
            let start = end;
            end = end.after(numbers, F64);
            start
        };
        let Shape { batch, dim, .. } = *shape;
        let (batch_int, classes_int, dim_int) = counts;
        let header = take(HEADER);
        let reciprocals = take(batch);
        if let (Some(classes), Some(proxies)) = (shape.classes, rows.1) {
            let proxy_reciprocals = take(classes);
            let (mean, proxy_mean) = (take(dim), take(dim));
            return Self {
                header,
                embeddings: Side { rows: rows.0, reciprocals, mean, count: batch_int, dim: dim_int },
                proxies: Side {
                    rows: proxies,
                    reciprocals: proxy_reciprocals,
                    mean: proxy_mean,
                    count: classes_int,
                    dim: dim_int,
                },
                cosines: take(batch),
                summaries: take(SUMMARIES),
                embedding_scatter: take(dim * dim),
                proxy_scatter: take(dim * dim),
            };
        }
        let embeddings = Side { rows: rows.0, reciprocals, mean: take(dim), count: batch_int, dim: dim_int };
        let none = Address::NULL;
        Self {
            header,
            embeddings,
            proxies: embeddings,
            cosines: none,
            summaries: take(SUMMARIES),
            embedding_scatter: none,
            proxy_scatter: none,
        }
    }
}
