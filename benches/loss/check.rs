//! Nothing is timed before it was seen to be right.

use crate::Problem;
use ndarray::{Array2, ArrayView2, Axis};
use pdloss::loss::{Algorithm, Batch, Config, RowMoments, Statistics, Threads, forward_backward, genuine_summary};

fn agree(what: &str, got: &Array2<f32>, truth: ArrayView2<'_, f64>) {
    let largest = truth.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let worst = got
        .iter()
        .zip(truth)
        .map(|(&got, truth)| (f64::from(got) - truth).abs())
        .fold(0.0, |worst: f64, off| if off.is_nan() { f64::INFINITY } else { worst.max(off) });
    assert!(got.dim() == truth.dim() && worst <= 2e-5 * largest, "{what}: off by {:e}", worst / largest);
}

/// Checks ours and the plain version; says against what.
pub(crate) fn check(problem: &mut Problem) -> &'static str {
    let config = Config::default();
    let (batch, classes) = (problem.x.nrows(), problem.p.nrows());
    let rows: Vec<usize> = problem.y.iter().map(|&label| label as usize).collect();
    let wide = |rows: &Array2<f32>| rows.mapv(f64::from);
    let (x, p) = (wide(&problem.x), wide(&problem.p));
    if batch * classes * x.ncols() <= 100_000_000 {
        let slices = (x.as_slice().unwrap(), p.as_slice().unwrap());
        let truth = pdloss::reference::pd_loss(&config, x.ncols(), slices.0, slices.1, &rows);
        let (dx, dp) = (
            ArrayView2::from_shape(x.dim(), &truth.embeddings).unwrap(),
            ArrayView2::from_shape(p.dim(), &truth.proxies).unwrap(),
        );
        for run in [Problem::ours, Problem::plain] {
            let loss = run(problem);
            assert!((loss - truth.loss).abs() < 1e-5, "loss {loss}, truth {}", truth.loss);
            agree("embeddings", &problem.dx, dx);
            agree("proxies", &problem.dp, dp);
        }
        return "oracle";
    }
    if classes <= 200_000 {
        // The loops would take minutes: the other path, in f64, which the tests hold to the oracle.
        let tiles = config.with_algorithm(Algorithm::Tiles);
        let (loss, _, truth) =
            forward_backward(&tiles, &Batch { embeddings: x.view(), proxies: p.view(), labels: &rows }, &Threads)
                .unwrap();
        for run in [Problem::ours, Problem::plain] {
            let got = run(problem);
            assert!((got - loss).abs() < 1e-4, "loss {got}, truth {loss}");
            agree("embeddings", &problem.dx, truth.embeddings.view());
            agree("proxies", &problem.dp, truth.proxies.view());
        }
        return "f64 tiles";
    }
    let own = p.select(Axis(0), &rows);
    let statistics = Statistics {
        embeddings: RowMoments::of(x.view(), &Threads),
        proxies: RowMoments::of(p.view(), &Threads),
        genuine: genuine_summary(x.view(), own.view()).unwrap(),
    };
    let got = problem.ours();
    let truth = statistics.loss(&config).0;
    assert!((got - truth).abs() < 1e-5, "loss {got}, truth {truth}");
    let dx = statistics.embedding_gradient(&config, 1.0, x.view(), own.view(), &Threads).unwrap();
    agree("embeddings", &problem.dx, dx.view());
    let sample = p.slice_axis(Axis(0), ndarray::Slice::from(..4096));
    let (mine, labels): (Vec<usize>, Vec<i64>) =
        problem.y.iter().enumerate().filter(|(_, label)| **label < 4096).map(|(i, &label)| (i, label)).unzip();
    let samples = x.select(Axis(0), &mine);
    let batch = Batch { embeddings: samples.view(), proxies: sample, labels: &labels };
    let dp = statistics.proxy_gradient(&config, 1.0, &batch, &Threads).unwrap();
    agree("proxies", &problem.dp.slice_axis(Axis(0), ndarray::Slice::from(..4096)).to_owned(), dp.view());
    "f64 Gram, 4096 rows"
}
