//! What a loss in standard operators says of itself, and the numbers that it is given.

use super::{Nodes, rows::OfRows};
use crate::graph::{Error, Result};

/// A loss written in standard operators alone.
pub(super) trait Formula {
    /// As descriptions and the command line have it.
    fn name(&self) -> &'static str;

    /// Its numbers by name, with their ranges.
    fn numbers(&mut self) -> Vec<Number<'_>> {
        Vec::new()
    }

    /// Its whole numbers.
    fn counts(&mut self) -> Vec<Count<'_>> {
        Vec::new()
    }

    /// What else is chosen, by name.
    fn words(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Whether it compares the rows of a batch with each other, and has no proxies.
    fn compares_pairs(&self) -> bool {
        false
    }

    /// Rows of proxies for each class.
    fn rows_per_class(&self) -> usize {
        1
    }

    /// The same loss, where it follows from sums over rows.
    fn of_rows(&self) -> Option<&dyn OfRows> {
        None
    }

    /// Emits the nodes of the loss.
    fn write(&self, nodes: &mut Nodes, scope: &Scope<'_>) -> Written;
}

/// What a loss is computed of, by the names of values.
pub(super) struct Scope<'a> {
    /// `[batch, dim]`
    pub(super) embeddings: &'a str,
    /// `[classes * rows_per_class, dim]`; empty for losses without.
    pub(super) proxies: &'a str,
    /// How many classes there are; 0 for losses without proxies.
    pub(super) classes: usize,
    /// `[batch]`, int64.
    pub(super) labels: &'a str,
    /// What rows are compared with beside each other, by losses that follow from sums over rows.
    pub(super) remembered: Option<Remembered<'a>>,
}

/// Rows of earlier batches, the last first, by the names of values that have no gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered<'a> {
    /// `[rows, dim]`
    pub(crate) embeddings: &'a str,
    /// `[rows]`, int64.
    pub(crate) labels: &'a str,
    /// int64 `[]`: how many of the first rows count.
    pub(crate) count: &'a str,
}

/// The names of a loss and of what comes beside it in a graph.
pub(crate) struct Written {
    pub(crate) loss: String,
    /// mu_genuine, mu_impostor, var_genuine, var_impostor, d', n_genuine, n_impostor, bad labels; float64.
    pub(crate) moments: Option<String>,
    /// A number that the loss keeps from one step to the next.
    pub(crate) kept: Option<Kept>,
}

impl Written {
    /// Of a loss that has nothing beside it.
    pub(super) fn of(loss: String) -> Self {
        Self { loss, moments: None, kept: None }
    }
}

/// A number of the embeddings' type that a loss reads by its name, 0 before the first step.
pub(crate) struct Kept {
    pub(crate) name: &'static str,
    /// The name of its next value.
    pub(crate) next: String,
}

/// A number that a loss is given.
pub(super) struct Number<'a> {
    pub(super) name: &'static str,
    pub(super) value: &'a mut f64,
    range: Range,
}

#[derive(Clone, Copy)]
enum Range {
    AboveZero,
    FromZero,
    Angle,
    Share,
}

impl<'a> Number<'a> {
    pub(super) fn above_zero(name: &'static str, value: &'a mut f64) -> Self {
        Self { name, value, range: Range::AboveZero }
    }

    pub(super) fn from_zero(name: &'static str, value: &'a mut f64) -> Self {
        Self { name, value, range: Range::FromZero }
    }

    /// From 0 to half of pi.
    pub(super) fn angle(name: &'static str, value: &'a mut f64) -> Self {
        Self { name, value, range: Range::Angle }
    }

    /// From 0 to 1.
    pub(super) fn share(name: &'static str, value: &'a mut f64) -> Self {
        Self { name, value, range: Range::Share }
    }

    /// Refuses a value out of range.
    pub(super) fn check(&self, loss: &str) -> Result<()> {
        let value = *self.value;
        let (is_good, wanted) = match self.range {
            Range::AboveZero => (value > 0.0, "a finite number above 0"),
            Range::FromZero => (value >= 0.0, "a finite number not below 0"),
            Range::Angle => ((0.0..=std::f64::consts::FRAC_PI_2).contains(&value), "radians from 0 to half of pi"),
            Range::Share => ((0.0..=1.0).contains(&value), "a number from 0 to 1"),
        };
        if is_good && value.is_finite() {
            return Ok(());
        }
        Err(Error::model(format!("{} of the loss {loss}", self.name), format!("wanted {wanted}, got {value}")))
    }
}

/// A whole number that a loss is given.
pub(super) struct Count<'a> {
    pub(super) name: &'static str,
    pub(super) value: &'a mut usize,
    pub(super) least: usize,
}

impl Count<'_> {
    /// The largest: more would be a graph of nothing else.
    const MOST: usize = 1 << 20;

    /// Refuses a value out of range.
    pub(super) fn check(&self, loss: &str) -> Result<()> {
        if (self.least..=Self::MOST).contains(self.value) {
            return Ok(());
        }
        let reason = format!("wanted {} to {}, got {}", self.least, Self::MOST, self.value);
        Err(Error::model(format!("{} of the loss {loss}", self.name), reason))
    }
}
