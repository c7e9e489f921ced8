//! The backward pass, from the state that the forward pass left; and both in one call.

use super::batch::{Batch, Gradients, GradientsMut, Rows};
use super::decidability::Decidability;
use super::error::Error;
use super::executor::{Executor, Serial, for_each};
use super::forward::{Streamed, choose, run, suited, widen, widens};
use super::gradient::{Link, Links, Opposite, Side, Weights, finish_block};
use super::moments::Moments;
use super::product::{Operand, Update};
use super::rows::{Centre, Cut, band, band_mut, centre_block, scatter_along};
use super::saved::{Saved, SavedSide};
use super::scalar::{Label, Real};
use super::tiles::{self, Units, split};
use super::{Algorithm, Config};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// The gradients of `upstream * loss`, from what [`forward`](super::forward()) saved and the same batch.
///
/// # Errors
/// As [`forward`](super::forward()), and if `saved` was made from inputs of other shapes.
pub fn backward<T: Real, L: Label>(
    saved: &Saved<T>,
    upstream: f64,
    batch: &Batch<'_, T, L>,
    executor: &dyn Executor,
) -> Result<Gradients<T>, Error> {
    let mut out = Gradients::zeros(batch);
    backward_into(saved, upstream, batch, out.view_mut(), executor)?;
    Ok(out)
}

/// [`backward`] into the caller's memory.
///
/// # Errors
/// As [`backward`], and if an output has another shape than its input.
pub fn backward_into<T: Real, L: Label>(
    saved: &Saved<T>,
    upstream: f64,
    batch: &Batch<'_, T, L>,
    out: GradientsMut<'_, T>,
    executor: &dyn Executor,
) -> Result<(), Error> {
    let classes = batch.classes()?;
    out.check(batch)?;
    let saved_shape = |rows: &[f64]| [rows.len(), saved.embeddings.mean.len()];
    for (tensor, saved, given) in [
        ("embeddings", saved_shape(&saved.embeddings.reciprocals), batch.embeddings.shape()),
        ("proxies", saved_shape(&saved.proxies.reciprocals), batch.proxies.shape()),
    ] {
        if saved != given {
            return Err(Error::shape(tensor, format!("{saved:?} as in the forward pass"), given));
        }
    }
    let rows = batch.rows(&classes);
    Job { saved, upstream, rows, executor: suited(executor, rows.shape()) }.write(None, out);
    Ok(())
}

/// Loss, moments and gradients of the loss in one call. Cheaper than the two calls where the tiles path is taken.
///
/// # Errors
/// As [`forward`](super::forward()).
pub fn forward_backward<T: Real, L: Label>(
    config: &Config,
    batch: &Batch<'_, T, L>,
    executor: &dyn Executor,
) -> Result<(f64, Moments, Gradients<T>), Error> {
    let mut out = Gradients::zeros(batch);
    let (loss, moments) = forward_backward_into(config, 1.0, batch, out.view_mut(), executor)?;
    Ok((loss, moments, out))
}

/// [`forward_backward`] into the caller's memory, with the gradients multiplied by `upstream`.
///
/// # Errors
/// As [`forward`](super::forward()), and if an output has another shape than its input.
pub fn forward_backward_into<T: Real, L: Label>(
    config: &Config,
    upstream: f64,
    batch: &Batch<'_, T, L>,
    mut out: GradientsMut<'_, T>,
    executor: &dyn Executor,
) -> Result<(f64, Moments), Error> {
    let classes = batch.classes()?;
    out.check(batch)?;
    let rows = batch.rows(&classes);
    let algorithm = choose(config.algorithm(), rows.shape(), 3.0);
    let executor = suited(executor, rows.shape());
    let streams = algorithm == Algorithm::Tiles && !widens::<T>(algorithm, rows.shape());
    let products = streams.then(|| out.proxies.view_mut());
    let (forward, streamed) = run(config, algorithm, &rows, products, executor);
    Job { saved: &forward.saved, upstream, rows, executor }.write(streamed, out);
    Ok((forward.loss, forward.moments))
}

/// Everything a backward pass works from.
struct Job<'a, T> {
    saved: &'a Saved<T>,
    upstream: f64,
    rows: Rows<'a, T>,
    executor: &'a dyn Executor,
}

impl<T: Real> Job<'_, T> {
    fn write(&self, streamed: Option<Streamed<T>>, out: GradientsMut<'_, T>) {
        let saved = self.saved;
        if widens::<T>(saved.algorithm, self.rows.shape()) {
            return self.write_wide(out);
        }
        let at = Decidability::at(&saved.config, &saved.genuine, &saved.impostor);
        let weights = Weights::new(&at, self.upstream, &saved.genuine, &saved.impostor);
        if saved.algorithm == Algorithm::Tiles {
            self.write_tiles(&weights, streamed, out);
        } else {
            self.write_gram(&weights, out);
        }
    }

    fn write_wide(&self, mut out: GradientsMut<'_, T>) {
        let (embeddings, proxies) = (widen(&self.rows.embeddings), widen(&self.rows.proxies));
        let rows = Rows { embeddings: embeddings.view(), proxies: proxies.view(), classes: self.rows.classes };
        let saved = self.saved.clone().without_scatter();
        let zeros = |rows: &Array2<f64>| Array2::zeros(rows.dim());
        let mut wide = Gradients { embeddings: zeros(&embeddings), proxies: zeros(&proxies) };
        Job { saved: &saved, upstream: self.upstream, rows, executor: self.executor }.write(None, wide.view_mut());
        out.embeddings.zip_mut_with(&wide.embeddings, |out, &value| *out = T::from_f64(value));
        out.proxies.zip_mut_with(&wide.proxies, |out, &value| *out = T::from_f64(value));
    }

    fn links(&self, weights: &Weights) -> (Links<'_, T>, Links<'_, T>) {
        let weight = |sample: usize| weights.genuine_excess(self.saved.cosines[sample]);
        let pairs = || self.rows.classes.iter().enumerate();
        let of_samples =
            pairs().map(|(sample, &class)| Link { row: sample, partner: class, weight: weight(sample) }).collect();
        let of_classes =
            pairs().map(|(sample, &class)| Link { row: class, partner: sample, weight: weight(sample) }).collect();
        (
            Links::new(of_samples, self.rows.proxies, &self.saved.proxies.reciprocals),
            Links::new(of_classes, self.rows.embeddings, &self.saved.embeddings.reciprocals),
        )
    }

    /// A side's scatter matrix times the mean of the other.
    fn along(&self, rows: &ArrayView2<'_, T>, side: &SavedSide<T>, direction: &[f64]) -> Vec<f64> {
        scatter_along(rows, &side.reciprocals, &side.mean, direction, self.executor)
    }

    fn write_gram(&self, weights: &Weights, out: GradientsMut<'_, T>) {
        let (z, q) = (&self.saved.embeddings, &self.saved.proxies);
        let (of_samples, of_classes) = self.links(weights);
        let (x, p) = (self.rows.embeddings, self.rows.proxies);
        for (rows, own, others, other, links, out) in
            [(x, z, p, q, of_samples, out.embeddings), (p, q, x, z, of_classes, out.proxies)]
        {
            scatter_gradient(
                weights,
                &rows,
                (&own.reciprocals, &own.mean),
                (other.reciprocals.len() as f64, &other.mean, &other.scatter),
                &self.along(&others, other, &own.mean),
                &links,
                out,
                self.executor,
            );
        }
    }

    fn write_tiles(&self, weights: &Weights, streamed: Option<Streamed<T>>, out: GradientsMut<'_, T>) {
        let (z, q) = (&self.saved.embeddings, &self.saved.proxies);
        let (of_samples, of_classes) = self.links(weights);
        // Passes without a product: small blocks do, and below this, handing them out costs more than they do.
        let light = |elements: usize| {
            let executor = if elements < 1 << 18 { &Serial } else { self.executor };
            (executor, T::BLOCK_ELEMENTS / 8)
        };
        let slope = T::from_f64(weights.slope);
        let width = q.mean.len();

        let centre = Centre::at(&q.mean);
        let side = Side { rows: self.rows.proxies, reciprocals: &q.reciprocals, mean: &q.mean, centre: &centre };
        let samples = (z.reciprocals.len() as f64, &z.mean[..]);
        let (toward, along) = if let Some(Streamed { along_shift, products, along_mean }) = streamed {
            // The rows of the output hold `K_z b_c` for `b_c = q_c - qs`: the constant is `K_z qs`.
            let samples = Opposite::new(weights, samples, &q.mean, &along_shift);
            write_blocks(
                &side,
                &samples,
                &of_classes,
                out.proxies,
                light(self.rows.proxies.len()),
                |_, _, written, product| {
                    for (product, written) in product.chunks_exact_mut(width).zip(written.rows()) {
                        product.iter_mut().zip(written).for_each(|(product, &value)| *product = value * slope);
                    }
                },
            );
            (products, along_mean)
        } else {
            let units = Units::of(&self.rows.embeddings);
            let samples = Opposite::new(weights, samples, &q.mean, &self.along(&self.rows.embeddings, z, &q.mean));
            let slope = weights.slope;
            let toward = tiles::backward(&units, &side, slope, &samples, &of_classes, out.proxies, self.executor);
            (toward, self.along(&self.rows.proxies, q, &z.mean))
        };

        let centre = Centre::at(&z.mean);
        let side = Side { rows: self.rows.embeddings, reciprocals: &z.reciprocals, mean: &z.mean, centre: &centre };
        let classes = Opposite::new(weights, (q.reciprocals.len() as f64, &q.mean), &z.mean, &along);
        write_blocks(
            &side,
            &classes,
            &of_samples,
            out.embeddings,
            light(self.rows.embeddings.len()),
            |range, _, _, product| {
                let toward = &toward[range.start * width..range.end * width];
                product.iter_mut().zip(toward).for_each(|(product, &value)| *product = value * slope);
            },
        );
    }
}

/// One side's gradient from the other side's count, mean and scatter matrix, and that matrix times the own mean.
#[expect(clippy::too_many_arguments, reason = "one call for three losses, whose states are laid out differently")]
pub(crate) fn scatter_gradient<T: Real>(
    weights: &Weights,
    rows: &ArrayView2<'_, T>,
    (reciprocals, mean): (&[f64], &[f64]),
    (others, others_mean, scatter): (f64, &[f64], &[T]),
    along_mean: &[f64],
    links: &Links<'_, T>,
    out: ArrayViewMut2<'_, T>,
    executor: &dyn Executor,
) {
    let width = mean.len();
    let centre = Centre::at(mean);
    let side = Side { rows: *rows, reciprocals, mean, centre: &centre };
    let opposite = Opposite::new(weights, (others, others_mean), mean, along_mean);
    let slope = T::from_f64(weights.slope);
    write_blocks(&side, &opposite, links, out, (executor, T::BLOCK_ELEMENTS), |_, centred, _, product| {
        let centred = Operand::new(centred, centred.len() / width, width);
        T::multiply(product, Update::Replace, slope, centred, Operand::new(scatter, width, width));
    });
}

/// Writes a gradient block by block. `fill` gets the rows' numbers, the centred rows, what the output held, and the
/// product to set.
fn write_blocks<T: Real>(
    side: &Side<'_, T>,
    opposite: &Opposite<'_, T>,
    links: &Links<'_, T>,
    out: ArrayViewMut2<'_, T>,
    (executor, elements): (&dyn Executor, usize),
    fill: impl Fn(Range<usize>, &[T], &ArrayView2<'_, T>, &mut [T]) + Sync,
) {
    let (rows, width) = side.rows.dim();
    let cut = Cut::new(rows, width, elements, 8, 4 * 1024);
    let work = cut.groups(rows).into_iter().zip(split(out, cut.group)).collect();
    for_each(executor, work, |(group, mut out): (Range<usize>, ArrayViewMut2<'_, T>)| {
        let mut centred = vec![T::default(); cut.block.min(rows) * width];
        let mut product = centred.clone();
        let start = group.start;
        for range in cut.blocks(group) {
            let elements = range.len() * width;
            let (centred, product) = (&mut centred[..elements], &mut product[..elements]);
            let block = band(&side.rows, &range);
            centre_block(&block, &side.reciprocals[range.clone()], side.centre, centred);
            let mut out = band_mut(&mut out, range.start - start..range.end - start);
            fill(range.clone(), centred, &out.view(), product);
            finish_block(side, range, centred, product, opposite, links, &mut out);
        }
    });
}
