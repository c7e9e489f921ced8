//! The forward pass: loss, moments and the state for the gradient.

use super::decidability::Decidability;
use super::error::Error;
use super::executor::{Executor, Serial};
use super::gram;
use super::moments::{Moments, Summary};
use super::rows::{dot_wide, row, vectorised};
use super::saved::{Saved, SavedSide};
use super::scalar::{Label, Real};
use super::tiles::{self, Sums, Units};
use super::{Config, Path};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// What [`forward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward<T> {
    /// The loss.
    pub loss: f64,
    /// What it is a function of.
    pub moments: Moments,
    /// What [`backward`](super::backward) needs.
    pub saved: Saved<T>,
}

/// The loss of embeddings `[B, D]` against proxies `[C, D]` with one label a sample.
///
/// # Errors
/// If shapes disagree, `B = 0`, `C < 2`, `D = 0`, or a label is not below `C`. NaN and infinity in the inputs are no
/// error: the loss is NaN.
pub fn forward<T: Real, L: Label>(
    config: &Config,
    embeddings: ArrayView2<'_, T>,
    proxies: ArrayView2<'_, T>,
    labels: &[L],
    executor: &dyn Executor,
) -> Result<Forward<T>, Error> {
    let classes = check(&embeddings, &proxies, labels)?;
    let path = choose(
        config.path(),
        embeddings.nrows(),
        proxies.nrows(),
        embeddings.ncols(),
        4.0,
    );
    let executor = suited(
        executor,
        embeddings.nrows(),
        proxies.nrows(),
        embeddings.ncols(),
    );
    Ok(run(
        config,
        path,
        &embeddings,
        &proxies,
        &classes,
        None,
        executor,
    )
    .0)
}

/// What the tiles path knows beyond [`Saved`] when forward and backward are one call.
pub(crate) struct Streamed<T> {
    pub(crate) units: Units<T>,
    /// [`Sums::shift`].
    pub(crate) shift: Vec<T>,
    /// [`Sums::products`].
    pub(crate) products: Vec<T>,
}

/// Forward on a chosen path. With `products` on the tiles path, those are filled as [`tiles::sums`] does.
pub(crate) fn run<T: Real>(
    config: &Config,
    path: Path,
    embeddings: &ArrayView2<'_, T>,
    proxies: &ArrayView2<'_, T>,
    classes: &[usize],
    products: Option<ArrayViewMut2<'_, T>>,
    executor: &dyn Executor,
) -> (Forward<T>, Option<Streamed<T>>) {
    let (samples, proxies_count) = (embeddings.nrows() as f64, proxies.nrows() as f64);
    // Total squared deviation but for `C sum_i (a_i . qbar)^2`.
    let (embedding_side, proxy_side, squares, streamed) = if path == Path::Tiles {
        let units = Units::of(embeddings);
        let fused = products.is_some();
        let Sums {
            reciprocals,
            mean,
            shift,
            squares,
            products,
        } = tiles::sums(&units, proxies, products, executor);
        let embedding_side = SavedSide {
            reciprocals: units.reciprocals.clone(),
            mean: units.mean.clone(),
            scatter: Vec::new(),
        };
        let streamed = fused.then_some(Streamed {
            units,
            shift,
            products,
        });
        (
            embedding_side,
            SavedSide {
                reciprocals,
                mean,
                scatter: Vec::new(),
            },
            squares,
            streamed,
        )
    } else {
        let (embedding_reciprocals, z) = gram::collect(embeddings, executor);
        let (proxy_reciprocals, q) = gram::collect(proxies, executor);
        let along: f64 = dot_wide(&q.apply(&z.mean), &z.mean);
        let squares = samples * along + inner(&z.scatter, &q.scatter);
        let narrow =
            |scatter: &Array2<f64>| scatter.iter().map(|&value| T::from_f64(value)).collect();
        (
            SavedSide {
                reciprocals: embedding_reciprocals,
                scatter: narrow(&z.scatter),
                mean: z.mean,
            },
            SavedSide {
                reciprocals: proxy_reciprocals,
                scatter: narrow(&q.scatter),
                mean: q.mean,
            },
            squares,
            None,
        )
    };

    let cosines = genuine_cosines(
        embeddings,
        &embedding_side.reciprocals,
        proxies,
        &proxy_side.reciprocals,
        classes,
    );
    let whole = Summary {
        count: samples * proxies_count,
        mean: dot_wide(&embedding_side.mean, &proxy_side.mean),
        squares: squares
            + proxies_count * spread_along(embeddings, &embedding_side, &proxy_side.mean),
    };
    let genuine = Summary::of(&cosines);
    let impostor = whole.without(genuine);
    let at = Decidability::at(config, &genuine, &impostor);
    let moments = Moments::report(config, &genuine, &impostor, at.d_prime);
    let saved = Saved {
        config: *config,
        path,
        embeddings: embedding_side,
        proxies: proxy_side,
        cosines,
        genuine,
        impostor,
    };
    (
        Forward {
            loss: at.loss,
            moments,
            saved,
        },
        streamed,
    )
}

/// `<left, right>` of two matrices.
fn inner(left: &Array2<f64>, right: &Array2<f64>) -> f64 {
    match (left.as_slice(), right.as_slice()) {
        (Some(left), Some(right)) => vectorised(|| dot_wide(left, right)),
        _ => (left * right).sum(),
    }
}

/// `sum_i (a_i . qbar)^2`: how far the samples' mean similarities lie from the overall mean.
fn spread_along<T: Real>(
    embeddings: &ArrayView2<'_, T>,
    side: &SavedSide<T>,
    direction: &[f64],
) -> f64 {
    let at_mean = dot_wide(&side.mean, direction);
    vectorised(|| {
        side.reciprocals
            .iter()
            .enumerate()
            .map(|(index, reciprocal)| {
                let off = dot_wide(&row(embeddings, index), direction) * reciprocal - at_mean;
                off * off
            })
            .sum()
    })
}

/// The cosine of each sample and its own class.
pub(crate) fn genuine_cosines<T: Real>(
    embeddings: &ArrayView2<'_, T>,
    embedding_reciprocals: &[f64],
    proxies: &ArrayView2<'_, T>,
    proxy_reciprocals: &[f64],
    classes: &[usize],
) -> Vec<f64> {
    vectorised(|| {
        classes
            .iter()
            .enumerate()
            .map(|(sample, &class)| {
                let plain = dot_wide(&row(embeddings, sample), &row(proxies, class));
                plain * embedding_reciprocals[sample] * proxy_reciprocals[class]
            })
            .collect()
    })
}

/// Whether shapes agree; the labels as row numbers.
pub(crate) fn check<T: Real, L: Label>(
    embeddings: &ArrayView2<'_, T>,
    proxies: &ArrayView2<'_, T>,
    labels: &[L],
) -> Result<Vec<usize>, Error> {
    let (batch, width) = embeddings.dim();
    if batch == 0 || width == 0 {
        return Err(Error::shape(
            "embeddings",
            "[B, D] with B >= 1 and D >= 1",
            embeddings.shape(),
        ));
    }
    if proxies.nrows() < 2 || proxies.ncols() != width {
        return Err(Error::shape(
            "proxies",
            format!("[C, {width}] with C >= 2"),
            proxies.shape(),
        ));
    }
    if labels.len() != batch {
        return Err(Error::shape(
            "labels",
            format!("[{batch}]"),
            &[labels.len()],
        ));
    }
    rows_of(labels, proxies.nrows())
}

/// The labels as row numbers below `classes`.
pub(crate) fn rows_of<L: Label>(labels: &[L], classes: usize) -> Result<Vec<usize>, Error> {
    let row = |(row, label): (usize, &L)| {
        label.index(classes).ok_or_else(|| Error::Label {
            row,
            label: label.to_string(),
            classes,
        })
    };
    labels.iter().enumerate().map(row).collect()
}

/// The cheaper path by multiply-adds. `similarities` is how often the tiles path pays `B C D`.
pub(crate) fn choose(
    path: Path,
    batch: usize,
    classes: usize,
    width: usize,
    similarities: f64,
) -> Path {
    let (batch, classes, width) = (batch as f64, classes as f64, width as f64);
    // Forward over half of each Gram matrix, and a little more where its blocks straddle the diagonal; backward whole.
    let gram = 1.6 * (batch + classes) * width * width;
    match path {
        Path::Auto if gram <= similarities * batch * classes * width => Path::Gram,
        Path::Auto => Path::Tiles,
        forced => forced,
    }
}

/// The caller's threads where there is enough to do for them, else the calling thread.
pub(crate) fn suited(
    executor: &dyn Executor,
    batch: usize,
    classes: usize,
    width: usize,
) -> &dyn Executor {
    const ENOUGH: usize = 4_000_000;
    let rows = batch + classes;
    let least = batch
        .saturating_mul(classes)
        .min(rows.saturating_mul(width))
        .saturating_mul(width);
    if least < ENOUGH { &Serial } else { executor }
}
