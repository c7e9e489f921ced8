//! Rows around one direction: cosines near 0.99, their variance near 1e-6. Sums of squares minus squared means lose
//! everything there; centred sums do not.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests report what they measured")]

use ndarray::{Array2, ArrayView2, Axis};
use pdloss::loss::{Algorithm, Batch, Config, RowMoments, Threads, forward_backward, random_proxies};
use pdloss::testing::{Case, Distribution};

/// Gradient of the proxies by the same polynomial sums in `f32`, not centred: `E[s^2] - mu^2`.
fn uncentred(x: ArrayView2<'_, f32>, p: ArrayView2<'_, f32>, labels: &[usize]) -> (f32, Array2<f32>) {
    let unit = |rows: ArrayView2<'_, f32>| {
        let mut rows = rows.to_owned();
        rows.outer_iter_mut().for_each(|mut row| row /= row.dot(&row).sqrt());
        rows
    };
    let (z, q) = (unit(x), unit(p));
    let (b, c) = (z.nrows() as f32, q.nrows() as f32);
    let (zz, qq) = (z.t().dot(&z), q.t().dot(&q));
    let (z_sum, q_sum) = (z.sum_axis(Axis(0)), q.sum_axis(Axis(0)));
    let genuine: Vec<f32> = labels.iter().enumerate().map(|(i, &y)| z.row(i).dot(&q.row(y))).collect();
    let n = b * (c - 1.0);
    let sum: f32 = genuine.iter().sum();
    let squares: f32 = genuine.iter().map(|s| s * s).sum();
    let (mu_g, mu_m) = (sum / b, (z_sum.dot(&q_sum) - sum) / n);
    let variance = squares / b - mu_g * mu_g + ((&zz * &qq).sum() - squares) / n - mu_m * mu_m;
    let v = variance + 1e-12;
    let index = (mu_g - mu_m) / (v / 2.0).sqrt();
    let steep = 1.0 / index.max(1.0);
    let (pull, squeeze) = (steep / (v / 2.0).sqrt(), steep * index / (2.0 * v));
    let slope = 2.0 * squeeze / n;
    let level = pull / n - slope * mu_m;
    let mut dq = q.dot(&zz) * slope + &(z_sum * level);
    for (i, &y) in labels.iter().enumerate() {
        let excess = (-pull + 2.0 * squeeze * (genuine[i] - mu_g)) / b - level - slope * genuine[i];
        dq.row_mut(y).scaled_add(excess, &z.row(i));
    }
    for ((mut row, q), p) in dq.outer_iter_mut().zip(q.outer_iter()).zip(p.outer_iter()) {
        let along = row.dot(&q);
        row.scaled_add(-along, &q);
        row /= p.dot(&p).sqrt();
    }
    (variance, dq)
}

fn relative(got: &Array2<f32>, truth: &[f64]) -> f64 {
    let off: f64 = got.iter().zip(truth).map(|(&got, truth)| (f64::from(got) - truth).powi(2)).sum();
    (off / truth.iter().map(|truth| truth * truth).sum::<f64>()).sqrt()
}

#[test]
fn f32_gradients_survive_nearly_parallel_rows() {
    for (shape, path) in [((256, 1000, 128), Algorithm::Gram), ((64, 1000, 256), Algorithm::Tiles)] {
        let case = Case::new(shape, Distribution::NearlyParallel, Config::default());
        let truth = case.reference();
        let x = ArrayView2::from_shape((case.batch, case.dim), &case.embeddings).unwrap();
        let p = ArrayView2::from_shape((case.classes, case.dim), &case.proxies).unwrap();
        let config = case.config.with_algorithm(path);
        let (_, moments, ours) =
            forward_backward(&config, &Batch { embeddings: x, proxies: p, labels: &case.labels }, &Threads).unwrap();
        let (variance, naive) = uncentred(x, p, &case.rows());
        let errors = (relative(&ours.embeddings, &truth.embeddings), relative(&ours.proxies, &truth.proxies));
        let naive = relative(&naive, &truth.proxies);
        println!(
            "{path}: mean cosine {:.4}, variances {:.2e} and {:.2e} (uncentred f32 sum of both: {variance:.2e}); \
             relative gradient error: embeddings {:.2e}, proxies {:.2e}; uncentred f32, proxies {naive:.2e}",
            moments.mu_impostor, moments.var_genuine, moments.var_impostor, errors.0, errors.1
        );
        assert!((0.98..0.995).contains(&moments.mu_impostor) && moments.var_impostor < 2e-5);
        assert!(errors.0 < 1e-4 && errors.1 < 1e-4);
        assert!(naive.is_nan() || naive > 1e-2, "the uncentred formula was expected to fail");
    }
}

#[test]
fn rows_that_mislead_the_estimate_of_the_mean_cost_no_digits() {
    // Every row that the estimate looks at lies elsewhere than all the others.
    let (classes, dim) = (20_480, 24);
    let noise = random_proxies::<f32>(classes, dim, 1).unwrap();
    let p =
        Array2::from_shape_fn((classes, dim), |(c, d)| 0.05 * noise[(c, d)] + f32::from(d == usize::from(c % 40 == 0)));
    let wide = p.mapv(f64::from);
    let (narrow, truth) = (RowMoments::of(p.view(), &Threads), RowMoments::of(wide.view(), &Threads));
    let largest = truth.scatter.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let off = (&narrow.scatter - &truth.scatter).iter().fold(0.0_f64, |off, value| off.max(value.abs()));
    println!("scatter matrix off by {:.1e} of its largest element", off / largest);
    assert!(off < 1e-6 * largest);
    for path in [Algorithm::Gram, Algorithm::Tiles] {
        let x = random_proxies::<f32>(20, dim, 2).unwrap();
        let labels: Vec<usize> = (0..20).collect();
        let config = Config::default().with_algorithm(path);
        let (_, _, ours) =
            forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &labels }, &Threads)
                .unwrap();
        let (_, _, truth) = forward_backward(
            &config,
            &Batch { embeddings: x.mapv(f64::from).view(), proxies: wide.view(), labels: &labels },
            &Threads,
        )
        .unwrap();
        let truth: Vec<f64> = truth.proxies.iter().copied().collect();
        assert!(relative(&ours.proxies, &truth) < 1e-5);
    }
}
