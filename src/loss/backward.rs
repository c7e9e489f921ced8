//! The backward pass, from the state that the forward pass left; and both in one call.

use super::decidability::Decidability;
use super::error::Error;
use super::executor::{Executor, Serial, for_each};
use super::forward::{Streamed, check, choose, run, suited, widen, widens};
use super::gradient::{Link, Links, Opposite, Side, Weights, finish_block};
use super::moments::Moments;
use super::product::{Operand, Update};
use super::rows::{Centre, Cut, band, band_mut, centre_block, scatter_along};
use super::saved::{Saved, SavedSide};
use super::scalar::{Label, Real};
use super::tiles::{self, Units, split};
use super::{Config, Path};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use std::ops::Range;

/// Gradients of the loss, each of its input's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients<T> {
    /// `[B, D]`.
    pub embeddings: Array2<T>,
    /// `[C, D]`.
    pub proxies: Array2<T>,
}

impl<T: Real> Gradients<T> {
    fn zeros(embeddings: &ArrayView2<'_, T>, proxies: &ArrayView2<'_, T>) -> Self {
        let zeros = |(rows, columns)| Array2::from_elem((rows, columns), T::default());
        Self { embeddings: zeros(embeddings.dim()), proxies: zeros(proxies.dim()) }
    }
}

/// The gradients of `upstream * loss`, from what [`forward`](super::forward()) saved and the same inputs.
///
/// # Errors
/// As [`forward`](super::forward()), and if `saved` was made from inputs of other shapes.
pub fn backward<T: Real, L: Label>(
    saved: &Saved<T>,
    upstream: f64,
    embeddings: ArrayView2<'_, T>,
    proxies: ArrayView2<'_, T>,
    labels: &[L],
    executor: &dyn Executor,
) -> Result<Gradients<T>, Error> {
    let mut out = Gradients::zeros(&embeddings, &proxies);
    let into = (out.embeddings.view_mut(), out.proxies.view_mut());
    backward_into(saved, upstream, embeddings, proxies, labels, into, executor)?;
    Ok(out)
}

/// [`backward`] into the caller's memory: `out` is the gradients of embeddings and proxies.
///
/// # Errors
/// As [`backward`], and if an output has another shape than its input.
pub fn backward_into<T: Real, L: Label>(
    saved: &Saved<T>,
    upstream: f64,
    embeddings: ArrayView2<'_, T>,
    proxies: ArrayView2<'_, T>,
    labels: &[L],
    out: (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>),
    executor: &dyn Executor,
) -> Result<(), Error> {
    let classes = check(&embeddings, &proxies, labels)?;
    check_out(&embeddings, &proxies, &out)?;
    let saved_shape = |rows: &[f64]| [rows.len(), saved.embeddings.mean.len()];
    for (tensor, saved, given) in [
        ("embeddings", saved_shape(&saved.embeddings.reciprocals), embeddings.shape()),
        ("proxies", saved_shape(&saved.proxies.reciprocals), proxies.shape()),
    ] {
        if saved != given {
            return Err(Error::shape(tensor, format!("{saved:?} as in the forward pass"), given));
        }
    }
    let executor = suited(executor, embeddings.nrows(), proxies.nrows(), embeddings.ncols());
    Job { saved, upstream, embeddings, proxies, classes: &classes, executor }.write(None, out);
    Ok(())
}

/// Loss, moments and gradients of the loss in one call. Cheaper than the two calls where the tiles path is taken.
///
/// # Errors
/// As [`forward`](super::forward()).
pub fn forward_backward<T: Real, L: Label>(
    config: &Config,
    embeddings: ArrayView2<'_, T>,
    proxies: ArrayView2<'_, T>,
    labels: &[L],
    executor: &dyn Executor,
) -> Result<(f64, Moments, Gradients<T>), Error> {
    let mut out = Gradients::zeros(&embeddings, &proxies);
    let into = (out.embeddings.view_mut(), out.proxies.view_mut());
    let (loss, moments) = forward_backward_into(config, 1.0, embeddings, proxies, labels, into, executor)?;
    Ok((loss, moments, out))
}

/// [`forward_backward`] into the caller's memory, with the gradients multiplied by `upstream`.
///
/// # Errors
/// As [`forward`](super::forward()), and if an output has another shape than its input.
pub fn forward_backward_into<T: Real, L: Label>(
    config: &Config,
    upstream: f64,
    embeddings: ArrayView2<'_, T>,
    proxies: ArrayView2<'_, T>,
    labels: &[L],
    mut out: (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>),
    executor: &dyn Executor,
) -> Result<(f64, Moments), Error> {
    let classes = check(&embeddings, &proxies, labels)?;
    check_out(&embeddings, &proxies, &out)?;
    let (batch, width) = embeddings.dim();
    let path = choose(config.path(), batch, proxies.nrows(), width, 3.0);
    let executor = suited(executor, batch, proxies.nrows(), width);
    let streams = path == Path::Tiles && !widens::<T>(path, embeddings.dim(), proxies.nrows());
    let products = streams.then(|| out.1.view_mut());
    let (forward, streamed) = run(config, path, &embeddings, &proxies, &classes, products, executor);
    let job = Job { saved: &forward.saved, upstream, embeddings, proxies, classes: &classes, executor };
    job.write(streamed, out);
    Ok((forward.loss, forward.moments))
}

fn check_out<T: Real>(
    embeddings: &ArrayView2<'_, T>,
    proxies: &ArrayView2<'_, T>,
    out: &(ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>),
) -> Result<(), Error> {
    for (tensor, wanted, given) in
        [("embeddings_grad", embeddings.shape(), out.0.shape()), ("proxies_grad", proxies.shape(), out.1.shape())]
    {
        if wanted != given {
            return Err(Error::shape(tensor, format!("{wanted:?}"), given));
        }
    }
    Ok(())
}

/// Everything a backward pass works from.
struct Job<'a, T> {
    saved: &'a Saved<T>,
    upstream: f64,
    embeddings: ArrayView2<'a, T>,
    proxies: ArrayView2<'a, T>,
    classes: &'a [usize],
    executor: &'a dyn Executor,
}

impl<T: Real> Job<'_, T> {
    fn write(&self, streamed: Option<Streamed<T>>, out: (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>)) {
        let saved = self.saved;
        if widens::<T>(saved.path, self.embeddings.dim(), self.proxies.nrows()) {
            return self.write_wide(out);
        }
        let at = Decidability::at(&saved.config, &saved.genuine, &saved.impostor);
        let weights = Weights::new(&at, self.upstream, &saved.genuine, &saved.impostor);
        if saved.path == Path::Tiles {
            self.write_tiles(&weights, streamed, out);
        } else {
            self.write_gram(&weights, out);
        }
    }

    fn write_wide(&self, mut out: (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>)) {
        let (embeddings, proxies) = (widen(&self.embeddings), widen(&self.proxies));
        let saved = self.saved.clone().without_scatter();
        let (mut z, mut q) = (Array2::zeros(embeddings.dim()), Array2::zeros(proxies.dim()));
        let job = Job {
            saved: &saved,
            upstream: self.upstream,
            embeddings: embeddings.view(),
            proxies: proxies.view(),
            classes: self.classes,
            executor: self.executor,
        };
        job.write(None, (z.view_mut(), q.view_mut()));
        out.0.zip_mut_with(&z, |out, &value| *out = T::from_f64(value));
        out.1.zip_mut_with(&q, |out, &value| *out = T::from_f64(value));
    }

    fn links(&self, weights: &Weights) -> (Links<'_, T>, Links<'_, T>) {
        let weight = |sample: usize| weights.genuine_excess(self.saved.cosines[sample]);
        let pairs = || self.classes.iter().enumerate();
        let of_samples =
            pairs().map(|(sample, &class)| Link { row: sample, partner: class, weight: weight(sample) }).collect();
        let of_classes =
            pairs().map(|(sample, &class)| Link { row: class, partner: sample, weight: weight(sample) }).collect();
        (
            Links::new(of_samples, self.proxies, &self.saved.proxies.reciprocals),
            Links::new(of_classes, self.embeddings, &self.saved.embeddings.reciprocals),
        )
    }

    /// A side's scatter matrix times the mean of the other.
    fn along(&self, rows: &ArrayView2<'_, T>, side: &SavedSide<T>, direction: &[f64]) -> Vec<f64> {
        scatter_along(rows, &side.reciprocals, &side.mean, direction, self.executor)
    }

    fn write_gram(&self, weights: &Weights, out: (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>)) {
        let (z, q) = (&self.saved.embeddings, &self.saved.proxies);
        let (of_samples, of_classes) = self.links(weights);
        let (x, p) = (self.embeddings, self.proxies);
        for (rows, own, others, other, links, out) in [(x, z, p, q, of_samples, out.0), (p, q, x, z, of_classes, out.1)]
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

    fn write_tiles(
        &self,
        weights: &Weights,
        streamed: Option<Streamed<T>>,
        out: (ArrayViewMut2<'_, T>, ArrayViewMut2<'_, T>),
    ) {
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
        let side = Side { rows: self.proxies, reciprocals: &q.reciprocals, mean: &q.mean, centre: &centre };
        let samples = (z.reciprocals.len() as f64, &z.mean[..]);
        let toward = if let Some(Streamed { along_shift, products }) = streamed {
            // The rows of the output hold `K_z b_c` for `b_c = q_c - qs`: the constant is `K_z qs`.
            let samples = Opposite::new(weights, samples, &q.mean, &along_shift);
            write_blocks(&side, &samples, &of_classes, out.1, light(self.proxies.len()), |_, _, written, product| {
                for (product, written) in product.chunks_exact_mut(width).zip(written.rows()) {
                    product.iter_mut().zip(written).for_each(|(product, &value)| *product = value * slope);
                }
            });
            products
        } else {
            let units = Units::of(&self.embeddings);
            let samples = Opposite::new(weights, samples, &q.mean, &self.along(&self.embeddings, z, &q.mean));
            tiles::backward(&units, &side, weights.slope, &samples, &of_classes, out.1, self.executor)
        };

        let centre = Centre::at(&z.mean);
        let side = Side { rows: self.embeddings, reciprocals: &z.reciprocals, mean: &z.mean, centre: &centre };
        let along = self.along(&self.proxies, q, &z.mean);
        let classes = Opposite::new(weights, (q.reciprocals.len() as f64, &q.mean), &z.mean, &along);
        write_blocks(&side, &classes, &of_samples, out.0, light(self.embeddings.len()), |range, _, _, product| {
            let toward = &toward[range.start * width..range.end * width];
            product.iter_mut().zip(toward).for_each(|(product, &value)| *product = value * slope);
        });
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
