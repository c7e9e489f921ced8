//! State of which each rank has a part: the proxies of its classes, and the optimiser's tensors of these.

use std::ops::Range;

use pdloss::graph::head::names::PROXIES;
use pdloss::graph::step::Description;
use pdloss_embed::files::Take;
use pdloss_embed::ranks::{stream, world};

use crate::tensor::Tensor;

/// The tensors that lie on several ranks, row after row in the ranks' order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shards {
    names: Vec<String>,
    /// Rows of such a tensor on all ranks together.
    classes: usize,
}

impl Shards {
    /// Those of a step, where its classes are spread over the ranks.
    pub(crate) fn of(step: &Description, is_spread: bool) -> Self {
        if !is_spread || world().is_alone() {
            return Self::default();
        }
        let of_proxies =
            step.state.iter().filter(|tensor| tensor.name == PROXIES || tensor.of.as_deref() == Some(PROXIES));
        Self { names: of_proxies.map(|tensor| tensor.name.clone()).collect(), classes: step.classes.unwrap_or(0) }
    }

    /// Whether this tensor is one of them.
    pub(crate) fn hold(&self, name: &str) -> bool {
        self.names.iter().any(|held| held == name)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The shape of a tensor on all ranks together.
    pub(crate) fn whole_shape(&self, tensor: &Tensor) -> Vec<usize> {
        let mut shape = tensor.shape.clone();
        if self.hold(&tensor.name) {
            shape[0] = self.classes;
        }
        shape
    }

    /// Which rows of `classes` this rank has: all, where they are not spread.
    pub(crate) fn own(&self, classes: usize) -> Range<usize> {
        if self.is_empty() { 0..classes } else { world().share(classes) }
    }

    /// Which bytes of the whole tensor are this rank's.
    pub(crate) fn own_bytes(&self, tensor: &Tensor) -> Range<usize> {
        let whole: usize = self.whole_shape(tensor).iter().product::<usize>() * tensor.size_of_number();
        if !self.hold(&tensor.name) {
            return 0..whole;
        }
        let (rows, row) = (world().share(self.classes), whole / self.classes.max(1));
        rows.start * row..rows.end * row
    }

    /// The bytes of the whole tensor, block by block on the first rank, which may have none of it.
    ///
    /// # Errors
    /// The first error of `take`.
    pub(crate) fn stream(&self, tensor: &Tensor, take: &mut Take<'_>) -> std::io::Result<()> {
        match (self.hold(&tensor.name), world().is_first()) {
            (true, _) => stream(tensor.bytes.len(), &|range| tensor.bytes[range].to_vec(), take),
            (false, true) => take(&tensor.bytes),
            (false, false) => Ok(()),
        }
    }
}
