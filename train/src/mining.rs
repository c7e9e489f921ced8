//! Hard classes of a run under way: what stands for each class, and which are nearest to which.
//!
//! For a loss with proxies these are its proxies (of several a class the mean of their directions), as they are when a stretch
//! begins: Suh et al. 2019, "Stochastic Class-Based Hard Example Mining for Deep Metric Learning", takes class signatures so. For a
//! loss over pairs it is a running mean of each class's embeddings, one step of half the way a batch that has the class. That a
//! batch holds classes and the nearest to each is Smirnov et al. 2017, "Doppelganger Mining for Face Representation Learning".

use std::sync::Arc;
use std::time::Instant;

use ndarray::{Array2, Axis};
use pdloss::graph::build::Element;
use pdloss::graph::head::names::PROXIES;
use pdloss::graph::step::Description;
use pdloss_embed::ranks::of_first;
use pdloss_embed::{Error, Result};

use crate::loader::Loader;
use crate::neighbours::Neighbours;
use crate::sampler::Sampler;
use crate::settings::Settings;
use crate::tensor::Tensor;
use crate::trainer::Trainer;

/// The nearest classes, in a checkpoint.
const NEAREST: &str = "pdloss.nearest_classes";
/// The running means, in a checkpoint.
const MEANS: &str = "pdloss.class_means";
/// How much of a running mean stays when a batch has the class.
const KEPT: f32 = 0.5;

/// What stands for each class.
#[derive(Debug)]
enum Source {
    /// So many proxies.
    Proxies(usize),
    /// A running mean of unit rows, zeros before the first.
    Means(Array2<f32>),
}

/// Hard classes.
#[derive(Debug)]
pub(crate) struct Mining {
    source: Source,
    classes: usize,
    /// Steps of a stretch.
    every: u64,
    nearest: Arc<Neighbours>,
    /// Whether threads that make batches know of this stretch.
    is_told: bool,
}

fn wrong(e: ndarray::ShapeError) -> Error {
    Error::Measure(format!("nearest classes: {e}"))
}

/// What stands for a class, in words.
pub(crate) fn source(settings: &Settings) -> &'static str {
    if settings.loss.needs_pairs() { "running means of the classes' embeddings" } else { "the proxies" }
}

impl Mining {
    /// Before the first step, with so many classes; nothing where batches do not follow from nearest classes.
    pub(crate) fn new(sampler: &Sampler, description: &Description, classes: usize) -> Option<Self> {
        let (in_batch, _) = sampler.in_batch().filter(|_| sampler.stretch_is_told())?;
        let source = match description.classes {
            Some(_) => {
                let proxies = description.state.iter().find(|tensor| tensor.name == PROXIES);
                Source::Proxies(proxies.map_or(1, |proxies| proxies.shape[0] / classes.max(1)))
            }
            None => Source::Means(Array2::zeros((classes, description.dim))),
        };
        // A batch that wants one more class has at most this many others beside the class itself.
        let width = (in_batch - 1).min(classes.saturating_sub(1));
        let nearest = Arc::new(Neighbours::none(classes, width));
        Some(Self { source, classes, every: sampler.stretch(), nearest, is_told: false })
    }

    /// What of it belongs to a checkpoint.
    pub(crate) fn state(&self) -> Vec<Tensor> {
        let tensor = |name: &str, element, shape: &[usize], bytes| Tensor {
            name: name.to_owned(),
            element,
            shape: shape.to_vec(),
            bytes,
        };
        let rows = self.nearest.rows();
        let bytes = rows.iter().flat_map(|class| class.to_le_bytes()).collect();
        let mut state = vec![tensor(NEAREST, Element::I64, rows.shape(), bytes)];
        if let Source::Means(means) = &self.source {
            let bytes = means.iter().flat_map(|value| value.to_le_bytes()).collect();
            state.push(tensor(MEANS, Element::F32, means.shape(), bytes));
        }
        state
    }

    /// Goes on from what a checkpoint has of it, which has the shapes of [`Mining::state`].
    ///
    /// # Errors
    /// [`Error::Measure`] where it has others.
    pub(crate) fn put(&mut self, state: &[Tensor]) -> Result<()> {
        for tensor in state {
            let shape = (tensor.shape[0], tensor.shape[1]);
            if tensor.name == NEAREST {
                let rows = tensor.bytes.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect();
                self.nearest = Arc::new(Neighbours::of_rows(Array2::from_shape_vec(shape, rows).map_err(wrong)?));
            } else {
                let values = tensor.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
                self.source = Source::Means(Array2::from_shape_vec(shape, values).map_err(wrong)?);
            }
        }
        Ok(())
    }

    /// Before the step of this number: a stretch that begins gets its nearest classes, and whoever makes batches is told.
    ///
    /// # Errors
    /// Those of the search; where the proxies cannot be copied.
    pub(crate) fn before(&mut self, step: u64, trainer: &Trainer, loader: &Loader) -> Result<()> {
        let begins = step.is_multiple_of(self.every);
        if begins && step > 0 {
            // The first rank's, as batches follow from them: another processor may round otherwise.
            let found = of_first(|| Ok(self.search(trainer)?.rows().iter().copied().collect::<Vec<i64>>()))?;
            let rows = Array2::from_shape_vec(self.nearest.rows().raw_dim(), found);
            self.nearest = Arc::new(Neighbours::of_rows(rows.map_err(wrong)?));
        }
        if begins || !self.is_told {
            loader.tell(step / self.every, &self.nearest);
            self.is_told = true;
        }
        Ok(())
    }

    /// After a step on images of these classes.
    ///
    /// # Errors
    /// Where the embeddings cannot be copied.
    pub(crate) fn after(&mut self, trainer: &Trainer, classes: &[i64]) -> Result<()> {
        let Source::Means(means) = &mut self.source else { return Ok(()) };
        follow(means, &trainer.embeddings()?, classes);
        Ok(())
    }

    fn search(&self, trainer: &Trainer) -> Result<Neighbours> {
        let width = self.nearest.rows().ncols();
        match &self.source {
            Source::Means(means) => Neighbours::among(means.view(), width),
            Source::Proxies(each) => {
                let proxies = trainer.floats(PROXIES)?;
                let dim = proxies.len() / (self.classes * each).max(1);
                let vectors = of_classes(&proxies, dim, *each);
                Neighbours::among(vectors.view(), width)
            }
        }
    }

    /// The seconds that a search takes, of vectors that are no state of a run.
    ///
    /// # Errors
    /// Those of the search.
    pub(crate) fn seconds(&self, dim: usize) -> Result<f64> {
        let noise = |(row, column): (usize, usize)| ((row * dim + column + 1) as f32 * 12.9898).sin();
        let vectors = Array2::from_shape_fn((self.classes, dim), noise);
        let began = Instant::now();
        Neighbours::among(vectors.view(), self.nearest.rows().ncols())?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Searches of a run of so many steps.
    pub(crate) fn searches(&self, steps: u64) -> u64 {
        steps.saturating_sub(1) / self.every
    }
}

/// The row divided by its length; zeros where it has none.
fn unit(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "rounding to float32 is meant")]
    let part = |value: &f32| if length > 1e-12 { (f64::from(*value) / length) as f32 } else { 0.0 };
    row.iter().map(part).collect()
}

/// The mean direction of each class's proxies, of which those of class `c` are the rows `c each .. c each + each`.
fn of_classes(proxies: &[f32], dim: usize, each: usize) -> Array2<f32> {
    let mut vectors = Array2::zeros((proxies.len() / (dim * each).max(1), dim));
    for (at, row) in proxies.chunks_exact(dim).enumerate() {
        let of_class = vectors.row_mut(at / each);
        of_class.into_iter().zip(unit(row)).for_each(|(sum, value)| *sum += value);
    }
    vectors
}

/// Lets the running means follow a batch's embeddings: half the way to the mean of those of a class; all of it the first time.
fn follow(means: &mut Array2<f32>, embeddings: &[f32], classes: &[i64]) {
    let dim = means.ncols();
    let mut present: Vec<usize> = classes.iter().filter_map(|&class| usize::try_from(class).ok()).collect();
    present.sort_unstable();
    present.dedup();
    for class in present {
        let mut sum = vec![0.0_f32; dim];
        let mut count = 0.0_f32;
        let rows = embeddings.chunks_exact(dim).zip(classes);
        for (row, _) in rows.filter(|(_, of)| usize::try_from(**of) == Ok(class)) {
            sum.iter_mut().zip(unit(row)).for_each(|(sum, value)| *sum += value);
            count += 1.0;
        }
        let mut mean = means.index_axis_mut(Axis(0), class);
        let kept = if mean.iter().all(|&value| value == 0.0) { 0.0 } else { KEPT };
        mean.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = kept * *mean + (1.0 - kept) * (sum / count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_means_go_half_the_way_and_begin_at_the_first_batch() {
        let mut means = Array2::zeros((3, 2));
        follow(&mut means, &[3.0, 0.0, 0.0, 2.0, 0.0, 5.0], &[2, 2, 0]);
        assert_eq!(means, ndarray::array![[0.0, 1.0], [0.0, 0.0], [0.5, 0.5]]);
        follow(&mut means, &[-1.0, 0.0], &[2]);
        assert_eq!(means, ndarray::array![[0.0, 1.0], [0.0, 0.0], [-0.25, 0.25]]);
    }

    #[test]
    fn several_proxies_of_a_class_count_by_their_mean_direction() {
        let proxies = [2.0, 0.0, 0.0, 0.5, 0.0, -3.0, 0.0, -1.0];
        assert_eq!(of_classes(&proxies, 2, 2), ndarray::array![[1.0, 1.0], [0.0, -2.0]]);
        assert_eq!(of_classes(&proxies[..4], 2, 1), ndarray::array![[1.0, 0.0], [0.0, 1.0]]);
    }
}
