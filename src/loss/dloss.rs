//! D-Loss: the same index over all unordered pairs of a batch, without proxies.
//!
//! Genuine pairs share a label. With `z_i = zbar + a_i`, `t_i = zbar . a_i` and `e_ij = z_i . z_j - |zbar|^2`,
//!
//! ```text
//! e_ij = t_i + t_j + a_i . a_j         sum_ij e_ij = 0         sum_ij e_ij^2 = 2 B sum_i t_i^2 + |K|_F^2
//! ```
//!
//! over all ordered pairs, the diagonal included, because the `a_i` sum to zero; `K = A'A` is the scatter matrix. The
//! diagonal is taken out by hand. Genuine pairs are summed class by class, in blocks of `A_k A_k'`: `sum_k n_k^2 D`, at
//! most what all pairs would cost, and never held whole.
//!
//! All of it is in `f64`, whatever the type of the embeddings: a batch holds few classes, and where they are far apart
//! genuine pairs make up most of the sums they are taken out of (up to `d'^2` times what is left).
//!
//! Every pair weighs `k + b (s_ij - mu_m)`, genuine ones `k' + b' s_ij` more. A row's own terms point along the row and
//! drop out of its gradient:
//!
//! ```text
//! dL/dz_i = B zbar (k + b (zbar.z_i - mu_m)) + b (K zbar + K a_i) + sum_{j in class of i} (k' + b' s_ij) z_j
//! ```

use super::Config;
use super::backward::scatter_gradient;
use super::batch::Samples;
use super::decidability::Decidability;
use super::error::Error;
use super::executor::{Executor, for_each, map};
use super::forward::{suited, widen};
use super::gradient::{Link, Links, Weights};
use super::gram;
use super::moments::{Moments, Summary};
use super::product::{Multiply, Operand, Update};
use super::rows::{Centre, centre, dot_wide, dots, row, vectorised};
use super::scalar::{Label, Real};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// Rows of a class that meet the whole class at once.
const BLOCK: usize = 256;

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct DSaved {
    config: Config,
    reciprocals: Vec<f64>,
    mean: Vec<f64>,
    scatter: Vec<f64>,
    genuine: Summary,
    impostor: Summary,
}

/// [`DSaved`] as arrays, for hosts that carry state between two operators as tensors. All of it is in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct DSavedParts {
    /// One over the length of each embedding, `[B]`.
    pub reciprocals: ndarray::Array1<f64>,
    /// Mean unit embedding, `[D]`.
    pub mean: ndarray::Array1<f64>,
    /// Count, mean and sum of squared deviations of the genuine, then of the impostor cosines, `[6]`.
    pub summaries: ndarray::Array1<f64>,
    /// Scatter matrix of the unit embeddings, `[D, D]`.
    pub scatter: Array2<f64>,
}

/// What [`d_loss`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct DForward {
    /// The loss.
    pub loss: f64,
    /// What it is a function of.
    pub moments: Moments,
    /// What [`d_loss_backward`] needs.
    pub saved: DSaved,
}

/// D-Loss of a batch. [`Config::algorithm`] has no meaning here. Labels may be any integers, negative ones too:
/// they are only compared.
///
/// The paper's form could not be established; `Form::Inverse` is this crate's suggestion, the caller's config decides.
///
/// # Errors
/// If `B < 2`, `D = 0`, shapes disagree, or the batch holds no genuine or no impostor pair ([`Error::Pairs`]): such a
/// batch has no index, and a NaN would hide the sampler's mistake.
pub fn d_loss<T: Real, L: Label>(
    config: &Config,
    samples: &Samples<'_, T, L>,
    executor: &dyn Executor,
) -> Result<DForward, Error> {
    samples.check()?;
    let Samples { embeddings, labels } = *samples;
    let executor = suited(executor, (embeddings.nrows(), embeddings.nrows(), embeddings.ncols()));
    let groups = classes_of(labels);
    let embeddings = widen(&embeddings);
    let embeddings = embeddings.view();
    let (reciprocals, z) = gram::collect(&embeddings, executor);
    let batch = z.count;

    let centred = Centred::new(&embeddings, &reciprocals, &z.mean);
    let squared_mean = dot_wide(&z.mean, &z.mean);
    let own: Vec<f64> = (0..reciprocals.len()).map(|i| 2.0 * centred.along[i] + centred.dot(i, i)).collect();
    let pairs = batch * (batch - 1.0) / 2.0;
    let sum = -0.5 * own.iter().sum::<f64>();
    let square = 0.5
        * (2.0 * batch * centred.along.iter().map(|t| t * t).sum::<f64>()
            + z.scatter.iter().map(|k| k * k).sum::<f64>()
            - own.iter().map(|e| e * e).sum::<f64>());
    let whole = Summary { count: pairs, mean: squared_mean + sum / pairs, squares: square - sum * sum / pairs };

    let genuine = centred.genuine(&groups, squared_mean, executor);
    if genuine.count == 0.0 || genuine.count == pairs {
        let kind = if genuine.count == 0.0 { "genuine" } else { "impostor" };
        return Err(Error::Pairs { kind, samples: labels.len() });
    }
    let impostor = whole.without(genuine);
    let at = Decidability::at(config, &genuine, &impostor);
    let moments = Moments::report(config, &genuine, &impostor, at.d_prime);
    let scatter = super::saved::flat(z.scatter);
    let saved = DSaved { config: *config, reciprocals, mean: z.mean, scatter, genuine, impostor };
    Ok(DForward { loss: at.loss, moments, saved })
}

/// The gradient of `upstream * loss`, `[B, D]`.
///
/// # Errors
/// As [`d_loss`], and if `saved` was made from embeddings of another shape.
pub fn d_loss_backward<T: Real, L: Label>(
    saved: &DSaved,
    upstream: f64,
    samples: &Samples<'_, T, L>,
    executor: &dyn Executor,
) -> Result<Array2<T>, Error> {
    let mut out = Array2::from_elem(samples.embeddings.dim(), T::default());
    d_loss_backward_into(saved, upstream, samples, out.view_mut(), executor)?;
    Ok(out)
}

/// [`d_loss_backward`] into the caller's memory.
///
/// # Errors
/// As [`d_loss_backward`], and if `out` has another shape than `embeddings`.
pub fn d_loss_backward_into<T: Real, L: Label>(
    saved: &DSaved,
    upstream: f64,
    samples: &Samples<'_, T, L>,
    mut out: ArrayViewMut2<'_, T>,
    executor: &dyn Executor,
) -> Result<(), Error> {
    samples.check()?;
    let Samples { embeddings, labels } = *samples;
    let forward = [saved.reciprocals.len(), saved.mean.len()];
    for (tensor, given) in [("embeddings", embeddings.shape()), ("embeddings_grad", out.shape())] {
        if given != forward {
            return Err(Error::shape(tensor, format!("{forward:?} as in the forward pass"), given));
        }
    }
    let executor = suited(executor, (embeddings.nrows(), embeddings.nrows(), embeddings.ncols()));
    let at = Decidability::at(&saved.config, &saved.genuine, &saved.impostor);
    let weights = Weights::new(&at, upstream, &saved.genuine, &saved.impostor);
    let embeddings = widen(&embeddings);
    let embeddings = embeddings.view();
    let centred = Centred::new(&embeddings, &saved.reciprocals, &saved.mean);
    // What the class adds to each row goes in as one link a row, of weight one, to a matrix of sums.
    let sums = centred.toward_class(&classes_of(labels), &weights, dot_wide(&saved.mean, &saved.mean), executor);
    let ones = vec![1.0; sums.nrows()];
    let links = (0..sums.nrows()).map(|row| Link { row, partner: row, weight: 1.0 }).collect();
    let links = Links::new(links, sums.view(), &ones);
    let mut wide = Array2::zeros(embeddings.dim());
    scatter_gradient(
        &weights,
        &embeddings,
        (&saved.reciprocals, &saved.mean),
        (saved.reciprocals.len() as f64, &saved.mean, &saved.scatter),
        &dots(&saved.scatter, &saved.mean),
        &links,
        wide.view_mut(),
        executor,
    );
    out.zip_mut_with(&wide, |out, &value| *out = T::from_f64(value));
    Ok(())
}

/// Samples of each class, classes of one sample left out.
fn classes_of<L: Label>(labels: &[L]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&sample| labels[sample]);
    let classes = order.chunk_by(|&left, &right| labels[left] == labels[right]);
    classes.filter(|class| class.len() > 1).map(<[usize]>::to_vec).collect()
}

/// The centred batch.
struct Centred {
    /// `[B, D]`, row after row.
    rows: Vec<f64>,
    width: usize,
    /// `t_i = zbar . a_i`.
    along: Vec<f64>,
    mean: Vec<f64>,
}

impl Centred {
    fn new(embeddings: &ArrayView2<'_, f64>, reciprocals: &[f64], mean: &[f64]) -> Self {
        let width = mean.len();
        let at = Centre::at(mean);
        vectorised(
            #[inline(always)]
            || {
                let mut rows = vec![0.0; reciprocals.len() * width];
                let mut along = vec![0.0; reciprocals.len()];
                for (index, out) in rows.chunks_exact_mut(width).enumerate() {
                    centre(&row(embeddings, index), reciprocals[index], &at, out);
                    along[index] = dot_wide(out, mean);
                }
                Self { rows, width, along, mean: mean.to_vec() }
            },
        )
    }

    fn row(&self, index: usize) -> &[f64] {
        &self.rows[index * self.width..][..self.width]
    }

    fn dot(&self, left: usize, right: usize) -> f64 {
        dot_wide(self.row(left), self.row(right))
    }

    fn gather(&self, class: &[usize]) -> Vec<f64> {
        class.iter().flat_map(|&sample| self.row(sample).iter().copied()).collect()
    }

    /// Cosines of pairs of one class.
    fn genuine(&self, classes: &[Vec<usize>], squared_mean: f64, executor: &dyn Executor) -> Summary {
        let summaries = map(executor, classes.iter().collect(), |class: &Vec<usize>| {
            let rows = self.gather(class);
            let mut total = Summary::default();
            for (block, start) in rows.chunks(BLOCK * self.width).zip((0..).step_by(BLOCK)) {
                let height = block.len() / self.width;
                let mut products = vec![0.0; height * class.len()];
                let all = Operand::new(&rows, class.len(), self.width);
                let block = Operand::new(block, height, self.width);
                f64::multiply(&mut products, Update::Replace, 1.0, block, all.t());
                let mut deviations = Vec::with_capacity(class.len());
                for (i, products) in products.chunks_exact(class.len()).enumerate() {
                    let left = self.along[class[start + i]];
                    deviations.clear();
                    deviations.extend(
                        (start + i + 1..class.len()).map(|j| squared_mean + left + self.along[class[j]] + products[j]),
                    );
                    total = total.merge(Summary::of(&deviations));
                }
            }
            total
        });
        summaries.into_iter().fold(Summary::default(), Summary::merge)
    }

    /// `sum_{j in class of i} (excess weight of the pair) z_j` for every row `i`.
    fn toward_class(
        &self,
        classes: &[Vec<usize>],
        weights: &Weights,
        squared_mean: f64,
        executor: &dyn Executor,
    ) -> Array2<f64> {
        let mut sums = Array2::zeros((self.along.len(), self.width));
        let mut slots: Vec<_> = sums.outer_iter_mut().map(Some).collect();
        let work: Vec<_> = classes
            .iter()
            .map(|class| {
                let outs: Vec<_> = class.iter().map(|&sample| slots[sample].take()).collect();
                (class, outs)
            })
            .collect();
        for_each(executor, work, |(class, mut outs)| {
            let rows = self.gather(class);
            let all = Operand::new(&rows, class.len(), self.width);
            let mut sums = vec![0.0; BLOCK.min(class.len()) * self.width];
            for (block, start) in rows.chunks(BLOCK * self.width).zip((0..).step_by(BLOCK)) {
                let height = block.len() / self.width;
                let mut pairs = vec![0.0; height * class.len()];
                let block = Operand::new(block, height, self.width);
                f64::multiply(&mut pairs, Update::Replace, 1.0, block, all.t());
                // Each pair's own weight in place of its product; the sum of the weights goes with the mean.
                let mut totals = vec![0.0; height];
                for (i, pairs) in pairs.chunks_exact_mut(class.len()).enumerate() {
                    let left = self.along[class[start + i]];
                    for (j, pair) in pairs.iter_mut().enumerate() {
                        let cosine = squared_mean + left + self.along[class[j]] + *pair;
                        let weight = if j == start + i { 0.0 } else { weights.genuine_excess(cosine) };
                        totals[i] += weight;
                        *pair = weight;
                    }
                }
                let pairs = Operand::new(&pairs, height, class.len());
                f64::multiply(&mut sums, Update::Replace, 1.0, pairs, all);
                for (i, sum) in sums.chunks_exact(self.width).take(height).enumerate() {
                    let Some(out) = &mut outs[start + i] else {
                        continue;
                    };
                    let total = totals[i];
                    for ((out, &sum), &mean) in out.iter_mut().zip(sum).zip(&self.mean) {
                        *out = total.mul_add(mean, sum);
                    }
                }
            }
        });
        sums
    }
}

impl DSaved {
    /// The settings of the forward pass.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// As arrays.
    #[must_use]
    pub fn into_parts(self) -> DSavedParts {
        let width = self.mean.len();
        DSavedParts {
            reciprocals: self.reciprocals.into(),
            mean: self.mean.into(),
            summaries: [self.genuine.to_array(), self.impostor.to_array()].concat().into(),
            scatter: super::saved::square(self.scatter, width),
        }
    }

    /// Back from arrays, as [`into_parts`](Self::into_parts) made them.
    ///
    /// # Errors
    /// If the arrays' shapes disagree with each other.
    pub fn from_parts(config: Config, parts: DSavedParts) -> Result<Self, Error> {
        let width = parts.mean.len();
        if parts.scatter.dim() != (width, width) {
            return Err(Error::shape("scatter", format!("[{width}, {width}]"), parts.scatter.shape()));
        }
        let [genuine, impostor] = Summary::pair(parts.summaries.view())?;
        Ok(Self {
            config,
            reciprocals: parts.reciprocals.to_vec(),
            mean: parts.mean.to_vec(),
            scatter: super::saved::flat(parts.scatter),
            genuine,
            impostor,
        })
    }
}
