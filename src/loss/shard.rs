//! The loss over shards: classes or samples on different machines, combined exactly.
//!
//! A shard sums up its own rows ([`RowMoments`]) and the genuine pairs it can see ([`Summary`]). These merge, by value:
//! `D x D` numbers travel, never similarities and never rows other than the proxies that the batch's own labels name.
//! From the merged statistics each shard computes the loss and the gradient of its own rows.

use super::Config;
use super::backward::scatter_gradient;
use super::batch::{Batch, rows_of};
use super::decidability::Decidability;
use super::error::Error;
use super::executor::Executor;
use super::forward::genuine_cosines;
use super::gradient::{Link, Links, Weights};
use super::gram::RowMoments;
use super::moments::{Moments, Summary};
use super::rows::dot_wide;
use super::scalar::{Label, Real};
use ndarray::{Array2, ArrayView2};

/// Everything the loss and any row's gradient depend on beside the row itself and its genuine pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Of all embeddings.
    pub embeddings: RowMoments,
    /// Of all proxies.
    pub proxies: RowMoments,
    /// Of the cosines of all samples with their own class.
    pub genuine: Summary,
}

/// The cosines of samples and the proxies of their classes, `own` being one row a sample: `proxies[labels[i]]`.
///
/// # Errors
/// If the two have different shapes.
pub fn genuine_summary<T: Real>(embeddings: ArrayView2<'_, T>, own: ArrayView2<'_, T>) -> Result<Summary, Error> {
    Ok(Summary::of(&cosines(&embeddings, &own)?))
}

fn cosines<T: Real>(embeddings: &ArrayView2<'_, T>, own: &ArrayView2<'_, T>) -> Result<Vec<f64>, Error> {
    if embeddings.dim() != own.dim() {
        return Err(Error::shape("own", format!("{:?}", embeddings.shape()), own.shape()));
    }
    let each: Vec<usize> = (0..embeddings.nrows()).collect();
    Ok(genuine_cosines(embeddings, &reciprocals(embeddings), own, &reciprocals(own), &each))
}

fn reciprocals<T: Real>(rows: &ArrayView2<'_, T>) -> Vec<f64> {
    let mut out = vec![0.0; rows.nrows()];
    super::rows::reciprocal_lengths(rows, &mut out);
    out
}

impl Statistics {
    /// The loss and its moments.
    #[must_use]
    pub fn loss(&self, config: &Config) -> (f64, Moments) {
        let impostor = self.impostor();
        let at = Decidability::at(config, &self.genuine, &impostor);
        (at.loss, Moments::report(config, &self.genuine, &impostor, at.d_prime))
    }

    fn impostor(&self) -> Summary {
        let (z, q) = (&self.embeddings, &self.proxies);
        let squares = z.count * dot_wide(&q.apply(&z.mean), &z.mean)
            + q.count * dot_wide(&z.apply(&q.mean), &q.mean)
            + (&z.scatter * &q.scatter).sum();
        Summary { count: z.count * q.count, mean: dot_wide(&z.mean, &q.mean), squares }.without(self.genuine)
    }

    fn weights(&self, config: &Config, upstream: f64) -> Weights {
        let impostor = self.impostor();
        Weights::new(&Decidability::at(config, &self.genuine, &impostor), upstream, &self.genuine, &impostor)
    }

    /// Gradient of `upstream * loss` by a shard's embeddings; `own` holds the proxy of each sample's class.
    ///
    /// # Errors
    /// If the two have different shapes.
    pub fn embedding_gradient<T: Real>(
        &self,
        config: &Config,
        upstream: f64,
        embeddings: ArrayView2<'_, T>,
        own: ArrayView2<'_, T>,
        executor: &dyn Executor,
    ) -> Result<Array2<T>, Error> {
        let weights = self.weights(config, upstream);
        let links = cosines(&embeddings, &own)?.into_iter().enumerate();
        let links =
            links.map(|(row, cosine)| Link { row, partner: row, weight: weights.genuine_excess(cosine) }).collect();
        let own_reciprocals = reciprocals(&own);
        let links = Links::new(links, own, &own_reciprocals);
        Ok(gradient(&weights, &embeddings, &self.embeddings, &self.proxies, &links, executor))
    }

    /// Gradient of `upstream * loss` by a shard's proxies, those of `batch`. Its embeddings are those of all samples of
    /// these classes, wherever they live, and its labels their classes counted from the shard's first.
    ///
    /// # Errors
    /// If shapes disagree or a label is not below the number of the shard's proxies.
    pub fn proxy_gradient<T: Real, L: Label>(
        &self,
        config: &Config,
        upstream: f64,
        batch: &Batch<'_, T, L>,
        executor: &dyn Executor,
    ) -> Result<Array2<T>, Error> {
        let Batch { embeddings: samples, proxies, labels } = *batch;
        if samples.ncols() != proxies.ncols() || samples.nrows() != labels.len() {
            let wanted = format!("[{}, {}]", labels.len(), proxies.ncols());
            return Err(Error::shape("embeddings", wanted, samples.shape()));
        }
        let classes = rows_of(labels, proxies.nrows())?;
        let weights = self.weights(config, upstream);
        let sample_reciprocals = reciprocals(&samples);
        let cosines = genuine_cosines(&samples, &sample_reciprocals, &proxies, &reciprocals(&proxies), &classes);
        let links = classes
            .iter()
            .zip(cosines)
            .enumerate()
            .map(|(partner, (&row, cosine))| Link { row, partner, weight: weights.genuine_excess(cosine) })
            .collect();
        let links = Links::new(links, samples, &sample_reciprocals);
        Ok(gradient(&weights, &proxies, &self.proxies, &self.embeddings, &links, executor))
    }
}

fn gradient<T: Real>(
    weights: &Weights,
    rows: &ArrayView2<'_, T>,
    own: &RowMoments,
    other: &RowMoments,
    links: &Links<'_, T>,
    executor: &dyn Executor,
) -> Array2<T> {
    let mut out = Array2::from_elem(rows.dim(), T::default());
    let scatter: Vec<T> = other.scatter.iter().map(|&value| T::from_f64(value)).collect();
    scatter_gradient(
        weights,
        rows,
        (&reciprocals(rows), &own.mean),
        (other.count, &other.mean, &scatter),
        &other.apply(&own.mean),
        links,
        out.view_mut(),
        executor,
    );
    out
}
