//! What must hold for any input: invariances, orthogonality, shards, threads.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests; small counts")]

use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use pdloss::loss::{
    Algorithm, Batch, ClassMeans, Config, FloorMode, Form, Gradients, RowMoments, Samples, Serial, Statistics, Summary,
    Threads, class_mean_proxies, d_loss, forward_backward, genuine_summary, random_proxies, random_proxies_of,
};
use proptest::prelude::*;

/// A problem of any shape, drawn by seeds so that it shrinks to a small shape.
#[derive(Clone, Debug)]
struct Problem {
    x: Array2<f64>,
    p: Array2<f64>,
    y: Vec<i64>,
    config: Config,
}

fn problem() -> impl Strategy<Value = Problem> {
    let form = prop_oneof![Just(Form::Log), Just(Form::Negative), Just(Form::Inverse)];
    let path = prop_oneof![Just(Algorithm::Gram), Just(Algorithm::Tiles)];
    (1..30_usize, 3..40_usize, 2..20_usize, any::<u64>(), form, path, 0.1..3.0_f64, 0.0..2.0_f64).prop_map(
        |(batch, classes, dim, seed, form, path, floor, pull)| {
            let p = random_proxies::<f64>(classes, dim, seed).unwrap();
            let noise = random_proxies::<f64>(batch.max(2), dim, seed ^ 1).unwrap();
            let row = |i: usize| (seed as usize).wrapping_add(i * i * 7 + i) % classes;
            let y: Vec<i64> = (0..batch).map(|i| row(i) as i64).collect();
            let x = Array2::from_shape_fn((batch, dim), |(i, d)| pull * p[(row(i), d)] + noise[(i, d)]);
            let config = Config::default().with_form(form).with_floor(floor).unwrap().with_algorithm(path);
            Problem { x, p, y, config }
        },
    )
}

fn run(problem: &Problem) -> (f64, Gradients<f64>) {
    let Problem { x, p, y, config } = problem;
    let (loss, _, gradients) =
        forward_backward(config, &Batch { embeddings: x.view(), proxies: p.view(), labels: y }, &Serial).unwrap();
    (loss, gradients)
}

fn close(left: &Array2<f64>, right: &Array2<f64>, tolerance: f64) -> bool {
    let largest = right.iter().fold(1e-9_f64, |largest, value| largest.max(value.abs()));
    left.dim() == right.dim() && left.iter().zip(right).all(|(l, r)| (l - r).abs() <= tolerance * largest)
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-8 * right.abs().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn temperature_cancels(mut problem in problem(), temperature in 0.01..50.0_f64) {
        let (loss, gradients) = run(&problem);
        problem.config = problem.config.with_temperature(temperature).unwrap();
        let (other, moved) = run(&problem);
        prop_assert_eq!(loss.to_bits(), other.to_bits());
        prop_assert_eq!(gradients, moved);
    }

    #[test]
    fn row_lengths_do_not_matter(mut problem in problem(), by in prop::collection::vec(1e-5..1e5_f64, 40)) {
        let (loss, gradients) = run(&problem);
        for (rows, by) in [(&mut problem.x, &by[..]), (&mut problem.p, &by[3..])] {
            rows.outer_iter_mut().zip(by.iter().cycle()).for_each(|(mut row, &by)| row *= by);
        }
        let (other, mut moved) = run(&problem);
        prop_assert!(near(loss, other));
        for (rows, by) in [(&mut moved.embeddings, &by[..]), (&mut moved.proxies, &by[3..])] {
            rows.outer_iter_mut().zip(by.iter().cycle()).for_each(|(mut row, &by)| row *= by);
        }
        prop_assert!(close(&moved.embeddings, &gradients.embeddings, 1e-7));
        prop_assert!(close(&moved.proxies, &gradients.proxies, 1e-7));
    }

    #[test]
    fn order_of_samples_and_classes_does_not_matter(problem in problem(), turn in 0..100_usize) {
        let (loss, gradients) = run(&problem);
        let (batch, classes) = (problem.x.nrows(), problem.p.nrows());
        let samples: Vec<usize> = (0..batch).map(|i| batch - 1 - (i + turn) % batch).collect();
        let order: Vec<usize> = (0..classes).map(|c| classes - 1 - (c + turn) % classes).collect();
        let place = |old: i64| order.iter().position(|&class| class as i64 == old).unwrap() as i64;
        let moved = Problem {
            x: problem.x.select(Axis(0), &samples),
            p: problem.p.select(Axis(0), &order),
            y: samples.iter().map(|&i| place(problem.y[i])).collect(),
            config: problem.config,
        };
        let (other, moved) = run(&moved);
        prop_assert!(near(loss, other));
        prop_assert!(close(&moved.embeddings, &gradients.embeddings.select(Axis(0), &samples), 1e-7));
        prop_assert!(close(&moved.proxies, &gradients.proxies.select(Axis(0), &order), 1e-7));
    }

    #[test]
    fn rotating_the_space_rotates_the_gradients(mut problem in problem(), seed in any::<u64>()) {
        let (loss, gradients) = run(&problem);
        // A reflection in a random plane, twice: a rotation.
        let planes = random_proxies::<f64>(2, problem.x.ncols(), seed).unwrap();
        let rotate = |rows: &Array2<f64>| {
            let mut rows = rows.clone();
            for plane in planes.outer_iter() {
                let along = rows.dot(&plane);
                for (mut row, along) in rows.outer_iter_mut().zip(along) {
                    row.scaled_add(-2.0 * along, &plane);
                }
            }
            rows
        };
        (problem.x, problem.p) = (rotate(&problem.x), rotate(&problem.p));
        let (other, moved) = run(&problem);
        prop_assert!(near(loss, other));
        prop_assert!(close(&moved.embeddings, &rotate(&gradients.embeddings), 1e-7));
        prop_assert!(close(&moved.proxies, &rotate(&gradients.proxies), 1e-7));
    }

    #[test]
    fn gradients_are_orthogonal_to_their_rows(problem in problem()) {
        let (_, gradients) = run(&problem);
        for (rows, gradients) in [(&problem.x, &gradients.embeddings), (&problem.p, &gradients.proxies)] {
            let largest = gradients.iter().fold(1e-9_f64, |largest, value| largest.max(value.abs()));
            for (row, gradient) in rows.outer_iter().zip(gradients.outer_iter()) {
                let length = row.dot(&row).sqrt();
                prop_assert!((row.dot(&gradient) / length).abs() <= 1e-9 * largest * length.max(1.0));
            }
        }
    }

    #[test]
    fn summaries_merge_and_part(values in prop::collection::vec(-1e3..1e3_f64, 2..60), at in 0.0..1.0_f64) {
        let cut = (at * values.len() as f64) as usize;
        let (left, right) = (Summary::of(&values[..cut]), Summary::of(&values[cut..]));
        let whole = Summary::of(&values);
        let merged = left.merge(right);
        prop_assert!(near(merged.mean, whole.mean) && near(merged.variance(), whole.variance()));
        let parted = whole.without(left);
        prop_assert!(near(parted.count, right.count));
        if right.count > 0.0 {
            prop_assert!((parted.mean - right.mean).abs() < 1e-7 && near(parted.variance() * 1e-6, right.variance() * 1e-6));
        }
    }

    #[test]
    fn views_need_not_be_contiguous(problem in problem()) {
        let (loss, gradients) = run(&problem);
        let wide = |rows: &Array2<f64>| concatenate(Axis(1), &[rows.view(), rows.view()]).unwrap();
        let (x, p) = (wide(&problem.x), wide(&problem.p));
        let dim = problem.x.ncols();
        let columns = p.t().as_standard_layout().into_owned();
        let p: ArrayView2<'_, f64> = columns.t();
        let p = p.slice_move(s![.., ..dim]);
        let (other, _, moved) =
            forward_backward(&problem.config, &Batch { embeddings: x.slice(s![.., dim..]), proxies: p, labels: &problem.y }, &Serial).unwrap();
        prop_assert_eq!(loss.to_bits(), other.to_bits());
        prop_assert_eq!(moved, gradients);
    }
}

fn parts(rows: usize, ways: usize) -> Vec<std::ops::Range<usize>> {
    (0..ways).map(|part| rows * part / ways..rows * (part + 1) / ways).collect()
}

#[test]
fn shards_of_samples_and_classes_give_the_same_loss_and_gradients() {
    let (batch, classes, dim) = (41, 97, 13);
    let (x, p) = (random_proxies::<f64>(batch, dim, 3).unwrap(), random_proxies::<f64>(classes, dim, 4).unwrap());
    let y: Vec<i64> = (0..batch as i64).map(|i| i * 5 % 97).collect();
    let config = Config::default();
    let (loss, moments, whole) =
        forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &y }, &Serial).unwrap();
    let own = p.select(Axis(0), &y.iter().map(|&label| label as usize).collect::<Vec<_>>());
    for ways in [1, 2, 7] {
        let band = |rows: &Array2<f64>, range: &std::ops::Range<usize>| rows.slice(s![range.clone(), ..]).to_owned();
        let (samples, shares) = (parts(batch, ways), parts(classes, ways));
        let merge = |rows: &Array2<f64>, ranges: &[std::ops::Range<usize>]| {
            let moments = ranges.iter().map(|range| RowMoments::of(band(rows, range).view(), &Serial));
            moments.reduce(|left, right| left.merge(&right)).unwrap()
        };
        let genuine = samples.iter().map(|range| genuine_summary(band(&x, range).view(), band(&own, range).view()));
        let statistics = Statistics {
            embeddings: merge(&x, &samples),
            proxies: merge(&p, &shares),
            genuine: genuine.map(Result::unwrap).reduce(Summary::merge).unwrap(),
        };
        let (sharded, sharded_moments) = statistics.loss(&config);
        assert!(near(sharded, loss) && near(sharded_moments.d_prime, moments.d_prime), "{ways} ways");
        for range in &samples {
            let (x, own) = (band(&x, range), band(&own, range));
            let gradient = statistics.embedding_gradient(&config, 1.0, x.view(), own.view(), &Serial).unwrap();
            assert!(close(&gradient, &band(&whole.embeddings, range), 1e-9), "{ways} ways");
        }
        for range in &shares {
            let mine: Vec<usize> = (0..batch).filter(|&i| range.contains(&(y[i] as usize))).collect();
            let labels: Vec<i64> = mine.iter().map(|&i| y[i] - range.start as i64).collect();
            let (p, x) = (band(&p, range), x.select(Axis(0), &mine));
            let batch = Batch { embeddings: x.view(), proxies: p.view(), labels: &labels };
            let gradient = statistics.proxy_gradient(&config, 1.0, &batch, &Serial).unwrap();
            assert!(close(&gradient, &band(&whole.proxies, range), 1e-9), "{ways} ways");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for (batch, classes, dim, path) in [(150, 5000, 40, Algorithm::Gram), (40, 5000, 96, Algorithm::Tiles)] {
        let (x, p) = (random_proxies::<f32>(batch, dim, 5).unwrap(), random_proxies::<f32>(classes, dim, 6).unwrap());
        let y: Vec<i32> = (0..batch as i32).map(|i| i * 31 % 4999).collect();
        let config = Config::default().with_algorithm(path);
        let serial =
            forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &y }, &Serial).unwrap();
        for threads in [1, 2, 3, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let pooled = pool
                .install(|| {
                    forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &y }, &Threads)
                })
                .unwrap();
            assert_eq!(serial.0.to_bits(), pooled.0.to_bits(), "{threads} threads, {path}");
            assert_eq!(serial.2, pooled.2, "{threads} threads, {path}");
        }
    }
}

#[test]
fn first_proxies_are_unit_rows_seeded_and_at_class_means() {
    let first = random_proxies::<f32>(5, 33, 9).unwrap();
    assert_eq!(first, random_proxies::<f32>(5, 33, 9).unwrap());
    assert_ne!(first, random_proxies::<f32>(5, 33, 10).unwrap());
    assert!(first.outer_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-6));
    // Two samples of class 2 at right angles, none of the others.
    let x = ndarray::arr2(&[[2.0, 0.0], [0.0, 3.0]]);
    let means = class_mean_proxies::<f64, i64>(x.view(), &[2, 2], 4, 1).unwrap();
    let half = 0.5_f64.sqrt();
    assert!((means[(2, 0)] - half).abs() < 1e-15 && (means[(2, 1)] - half).abs() < 1e-15);
    assert!(means.outer_iter().all(|row| (row.dot(&row) - 1.0).abs() < 1e-12));
    assert!(class_mean_proxies::<f64, i64>(x.view(), &[2, 4], 4, 1).is_err());
}

#[test]
fn first_proxies_of_a_part_of_the_classes_are_rows_of_the_whole() {
    let (classes, dim) = (7, 5);
    let whole = random_proxies::<f32>(classes, dim, 9).unwrap();
    let x = random_proxies::<f32>(20, dim, 3).unwrap();
    // Classes 3 and 5 have no samples.
    let labels: Vec<i64> = (0..20).map(|at| [0, 1, 2, 4, 6][at % 5]).collect();
    let means = class_mean_proxies(x.view(), &labels, classes, 9).unwrap();
    for rows in [0..7, 0..0, 0..3, 3..5, 6..7, 7..7] {
        let of_rows = ndarray::s![rows.clone(), ..];
        assert_eq!(random_proxies_of::<f32>(classes, dim, 9, rows.clone()).unwrap(), whole.slice(of_rows));
        let mut part = ClassMeans::new(classes, dim, 9, rows).unwrap();
        for (x, labels) in [(0, 7), (7, 20)].map(|(a, b)| (x.slice(ndarray::s![a..b, ..]), &labels[a..b])) {
            part.add(x, labels).unwrap();
        }
        assert_eq!(part.proxies::<f32>(), means.slice(of_rows));
    }
    assert!(
        random_proxies_of::<f32>(classes, dim, 9, 3..8).is_err() && ClassMeans::new(classes, dim, 9, 3..8).is_err()
    );
}

#[test]
fn d_loss_is_blind_to_what_labels_are_called() {
    let x = random_proxies::<f64>(12, 5, 7).unwrap();
    let y: Vec<i64> = (0..12).map(|i| i % 4).collect();
    let named: Vec<i32> = y.iter().map(|&label| [900, -3, 0, 17][label as usize]).collect();
    let config = Config::default().with_form(Form::Inverse).with_floor_mode(FloorMode::Tangent);
    let loss = |result: Result<pdloss::loss::DForward, _>| result.unwrap().loss;
    assert!(near(
        loss(d_loss(&config, &Samples { embeddings: x.view(), labels: &y }, &Serial)),
        loss(d_loss(&config, &Samples { embeddings: x.view(), labels: &named }, &Serial))
    ));
}
