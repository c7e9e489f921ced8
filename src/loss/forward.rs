//! The forward pass: loss, moments and the state for the gradient.

use super::batch::{Batch, Rows};
use super::decidability::Decidability;
use super::error::Error;
use super::executor::{Executor, Serial};
use super::gram;
use super::moments::{Moments, Summary};
use super::rows::{dot_wide, row, spread_along, vectorised};
use super::saved::{Saved, SavedSide};
use super::scalar::{Label, Real};
use super::tiles::{self, Sums, Units};
use super::{Algorithm, Config};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward<T> {
    /// The loss.
    pub loss: f64,
    /// What it is a function of.
    pub moments: Moments,
    /// What [`backward`](super::backward()) needs.
    pub saved: Saved<T>,
}

/// The loss of a batch.
///
/// # Errors
/// If shapes disagree, `B = 0`, `C < 2`, `D = 0`, or a label is not below `C`. NaN and infinity in the inputs are no
/// error: the loss is NaN.
pub fn forward<T: Real, L: Label>(
    config: &Config,
    batch: &Batch<'_, T, L>,
    executor: &dyn Executor,
) -> Result<Forward<T>, Error> {
    let classes = batch.classes()?;
    let rows = batch.rows(&classes);
    let algorithm = choose(config.algorithm(), rows.shape(), 4.0);
    Ok(run(config, algorithm, &rows, None, suited(executor, rows.shape())).0)
}

/// What the tiles path knows beyond [`Saved`] when forward and backward are one call.
pub(crate) struct Streamed<T> {
    /// [`Sums::along_shift`].
    pub(crate) along_shift: Vec<f64>,
    /// [`Sums::products`].
    pub(crate) products: Vec<T>,
    /// [`Sums::along_mean`].
    pub(crate) along_mean: Vec<f64>,
}

/// Forward on a chosen path. With `products` on the tiles path, those are filled as [`tiles::sums`] does.
pub(crate) fn run<T: Real>(
    config: &Config,
    algorithm: Algorithm,
    rows: &Rows<'_, T>,
    products: Option<ArrayViewMut2<'_, T>>,
    executor: &dyn Executor,
) -> (Forward<T>, Option<Streamed<T>>) {
    let Rows { embeddings, proxies, classes } = rows;
    let (samples, proxies_count) = (embeddings.nrows() as f64, proxies.nrows() as f64);
    if widens::<T>(algorithm, rows.shape()) {
        let (embeddings, proxies) = (widen(embeddings), widen(proxies));
        let wide = Rows { embeddings: embeddings.view(), proxies: proxies.view(), classes };
        let (forward, streamed) = run_tiles(config, &wide, None, executor);
        debug_assert!(streamed.is_none(), "nothing to stream without products");
        return (
            Forward { loss: forward.loss, moments: forward.moments, saved: forward.saved.without_scatter() },
            None,
        );
    }
    if algorithm == Algorithm::Tiles {
        return run_tiles(config, rows, products, executor);
    }
    let (embedding_reciprocals, z) = gram::collect(embeddings, executor);
    let (proxy_reciprocals, q) = gram::collect(proxies, executor);
    let squares = inner(&z.scatter, &q.scatter);
    let narrow = |scatter: &Array2<f64>| scatter.iter().map(|&value| T::from_f64(value)).collect();
    let z = SavedSide { reciprocals: embedding_reciprocals, scatter: narrow(&z.scatter), mean: z.mean };
    let q = SavedSide { reciprocals: proxy_reciprocals, scatter: narrow(&q.scatter), mean: q.mean };

    let cosines = genuine_cosines(embeddings, &z.reciprocals, proxies, &q.reciprocals, classes);
    let spread = |rows, side: &SavedSide<T>, direction: &[f64]| {
        spread_along(rows, &side.reciprocals, &side.mean, direction, executor)
    };
    let squares = squares + samples * spread(proxies, &q, &z.mean) + proxies_count * spread(embeddings, &z, &q.mean);
    let whole = Summary { count: samples * proxies_count, mean: dot_wide(&z.mean, &q.mean), squares };
    let impostor = whole.without(Summary::of(&cosines));
    (conclude(config, algorithm, z, q, cosines, impostor), None)
}

fn run_tiles<T: Real>(
    config: &Config,
    rows: &Rows<'_, T>,
    products: Option<ArrayViewMut2<'_, T>>,
    executor: &dyn Executor,
) -> (Forward<T>, Option<Streamed<T>>) {
    let Rows { embeddings, proxies, classes } = rows;
    let units = Units::of(embeddings);
    let fused = products.is_some();
    let mut pairs: Vec<_> = classes.iter().enumerate().map(|(sample, &class)| (class, sample)).collect();
    pairs.sort_unstable();
    let Sums { reciprocals, mean, along_shift, impostor, products, along_mean } =
        tiles::sums((&units, embeddings), proxies, &pairs, products, executor);
    let z = SavedSide { reciprocals: units.reciprocals, mean: units.mean, scatter: Vec::new() };
    let q = SavedSide { reciprocals, mean, scatter: Vec::new() };
    let cosines = genuine_cosines(embeddings, &z.reciprocals, proxies, &q.reciprocals, classes);
    let forward = conclude(config, Algorithm::Tiles, z, q, cosines, impostor);
    (forward, fused.then_some(Streamed { along_shift, products, along_mean }))
}

fn conclude<T: Real>(
    config: &Config,
    algorithm: Algorithm,
    embeddings: SavedSide<T>,
    proxies: SavedSide<T>,
    cosines: Vec<f64>,
    impostor: Summary,
) -> Forward<T> {
    let genuine = Summary::of(&cosines);
    let at = Decidability::at(config, &genuine, &impostor);
    let moments = Moments::report(config, &genuine, &impostor, at.d_prime);
    let saved = Saved { config: *config, algorithm, embeddings, proxies, cosines, genuine, impostor };
    Forward { loss: at.loss, moments, saved }
}

/// `<left, right>` of two matrices.
fn inner(left: &Array2<f64>, right: &Array2<f64>) -> f64 {
    match (left.as_slice(), right.as_slice()) {
        (Some(left), Some(right)) => vectorised(
            #[inline(always)]
            || dot_wide(left, right),
        ),
        _ => (left * right).sum(),
    }
}

/// The cosine of each sample and its own class.
pub(crate) fn genuine_cosines<T: Real>(
    embeddings: &ArrayView2<'_, T>,
    embedding_reciprocals: &[f64],
    proxies: &ArrayView2<'_, T>,
    proxy_reciprocals: &[f64],
    classes: &[usize],
) -> Vec<f64> {
    vectorised(
        #[inline(always)]
        || {
            let mut cosines = vec![0.0; classes.len()];
            for (sample, (cosine, &class)) in cosines.iter_mut().zip(classes).enumerate() {
                let plain = dot_wide(&row(embeddings, sample), &row(proxies, class));
                *cosine = plain * embedding_reciprocals[sample] * proxy_reciprocals[class];
            }
            cosines
        },
    )
}

/// The cheaper path by multiply-adds. `similarities` is how often the tiles path pays `B C D`.
pub(crate) fn choose(
    algorithm: Algorithm,
    (batch, classes, width): (usize, usize, usize),
    similarities: f64,
) -> Algorithm {
    let (batch, classes, width) = (batch as f64, classes as f64, width as f64);
    // Forward over half of each Gram matrix, and a little more where its blocks straddle the diagonal; backward whole.
    let gram = 1.6 * (batch + classes) * width * width;
    match algorithm {
        // Few classes need few similarities, and the tiles' moments are the most accurate there.
        Algorithm::Auto if classes <= 64.0 => Algorithm::Tiles,
        Algorithm::Auto if gram <= similarities * batch * classes * width => Algorithm::Gram,
        Algorithm::Auto => Algorithm::Tiles,
        forced => forced,
    }
}

/// Whether the tiles are computed in `f64` although the inputs are narrower.
///
/// Genuine pairs first get the weight that an impostor of their similarity would have, and then the difference. With few
/// classes and well separated ones the two nearly cancel, about `d'^2 / 2C` times over. Where classes are few, or the
/// whole is small, the digits lost are bought back by the wider type at no cost worth naming.
pub(crate) fn widens<T: Real>(algorithm: Algorithm, (batch, classes, width): (usize, usize, usize)) -> bool {
    let small = batch.saturating_mul(classes).saturating_mul(width) <= 1 << 18;
    T::NARROW && algorithm == Algorithm::Tiles && (classes <= 16 || small)
}

pub(crate) fn widen<T: Real>(rows: &ArrayView2<'_, T>) -> Array2<f64> {
    rows.map(|value| value.to_f64())
}

/// The caller's threads where there is enough to do for them, else the calling thread.
pub(crate) fn suited(executor: &dyn Executor, (batch, classes, width): (usize, usize, usize)) -> &dyn Executor {
    const ENOUGH: usize = 1_000_000;
    let rows = batch + classes;
    let least = batch.saturating_mul(classes).min(rows.saturating_mul(width)).saturating_mul(width);
    if least < ENOUGH { &Serial } else { executor }
}
