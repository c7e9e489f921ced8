//! `f64` gradients against central differences, for every form and branch of the floor.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "tests report what they measured")]

use ndarray::{Array2, ArrayView2};
use pdloss::loss::{
    Algorithm, Batch, Config, FloorMode, Form, Samples, Serial, d_loss, d_loss_backward, forward, forward_backward,
    random_proxies,
};

/// Largest distance between a gradient and central differences of `loss`, relative to the largest element.
fn against_differences(at: &Array2<f64>, gradient: &Array2<f64>, loss: impl Fn(ArrayView2<'_, f64>) -> f64) -> f64 {
    let largest = gradient.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let mut worst = 0.0_f64;
    for (index, &expected) in gradient.indexed_iter() {
        let mut moved = at.clone();
        // Five points: the error falls with the fourth power of the step, so the step need not be small.
        let mut value = |step: f64| {
            moved[index] = at[index] + step;
            loss(moved.view())
        };
        let step = 1e-3;
        let slope = (8.0 * (value(step) - value(-step)) - (value(2.0 * step) - value(-2.0 * step))) / (12.0 * step);
        worst = worst.max((slope - expected).abs());
    }
    assert!(largest > 0.0 && worst.is_finite());
    worst / largest
}

/// Samples near (or opposite to) their classes, so that the index falls on the wanted side of the floor.
fn data(sign: f64) -> (Array2<f64>, Array2<f64>, Vec<usize>) {
    let proxies = random_proxies::<f64>(6, 7, 1).unwrap() * 1.7;
    let noise = random_proxies::<f64>(9, 7, 2).unwrap();
    let labels: Vec<usize> = (0..9).map(|i| i * i % 5).collect();
    let embeddings = Array2::from_shape_fn((9, 7), |(i, d)| sign * proxies[(labels[i], d)] + 0.8 * noise[(i, d)]);
    (embeddings, proxies, labels)
}

#[test]
fn every_form_and_branch_agrees_with_central_differences() {
    let mut branches = 0;
    for form in [Form::Log, Form::Negative, Form::Inverse] {
        for sign in [1.0, -1.0] {
            let tangent = Config::default().with_form(form);
            let clamp = tangent.with_floor_mode(FloorMode::Clamp).with_temperature(0.3).unwrap();
            for config in [tangent.with_floor(0.2).unwrap(), tangent.with_floor(30.0).unwrap(), clamp] {
                for path in [Algorithm::Gram, Algorithm::Tiles] {
                    let config = config.with_algorithm(path);
                    let (x, p, y) = data(sign);
                    let (_, moments, gradients) = forward_backward(
                        &config,
                        &Batch { embeddings: x.view(), proxies: p.view(), labels: &y },
                        &Serial,
                    )
                    .unwrap();
                    assert_eq!(moments.d_prime > 0.2, sign > 0.0, "the case is on its side of the floor");
                    let loss = |x: ArrayView2<'_, f64>, p: ArrayView2<'_, f64>| {
                        forward(&config, &Batch { embeddings: x, proxies: p, labels: &y }, &Serial).unwrap().loss
                    };
                    let of_x = against_differences(&x, &gradients.embeddings, |x| loss(x, p.view()));
                    let of_p = against_differences(&p, &gradients.proxies, |p| loss(x.view(), p));
                    println!(
                        "{form} {} floor {} d' {:+.2} {path}: embeddings {of_x:.1e}, proxies {of_p:.1e}",
                        config.floor_mode(),
                        config.floor(),
                        moments.d_prime
                    );
                    assert!(of_x < 1e-6 && of_p < 1e-6);
                    branches += 1;
                }
            }
        }
    }
    assert_eq!(branches, 36);
}

#[test]
fn d_loss_agrees_with_central_differences() {
    for form in [Form::Log, Form::Negative, Form::Inverse] {
        for floor in [0.2, 30.0] {
            for mode in [FloorMode::Tangent, FloorMode::Clamp] {
                let config = Config::default().with_form(form).with_floor(floor).unwrap().with_floor_mode(mode);
                let (x, _, y) = data(1.0);
                let forward = d_loss(&config, &Samples { embeddings: x.view(), labels: &y }, &Serial).unwrap();
                let gradient =
                    d_loss_backward(&forward.saved, 1.0, &Samples { embeddings: x.view(), labels: &y }, &Serial)
                        .unwrap();
                let worst = against_differences(&x, &gradient, |x| {
                    d_loss(&config, &Samples { embeddings: x, labels: &y }, &Serial).unwrap().loss
                });
                println!("D-Loss {form} {mode} floor {floor}: {worst:.1e}");
                assert!(worst < 1e-6);
            }
        }
    }
}

#[test]
fn loss_and_slope_are_continuous_at_the_floor() {
    let (x, p, y) = data(1.0);
    for form in [Form::Log, Form::Inverse] {
        let config = Config::default().with_form(form);
        let (_, moments, _) =
            forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &y }, &Serial).unwrap();
        let at = |floor: f64| {
            let config = config.with_floor(floor).unwrap();
            forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &y }, &Serial).unwrap()
        };
        let (above, below) = (at(moments.d_prime * (1.0 - 1e-9)), at(moments.d_prime * (1.0 + 1e-9)));
        assert!((above.0 - below.0).abs() < 1e-12);
        for (above, below) in above.2.proxies.iter().zip(&below.2.proxies) {
            assert!((above - below).abs() < 1e-8);
        }
    }
}

#[test]
fn upstream_scales_the_gradients_and_d_prime_has_its_closed_form() {
    let (x, p, y) = data(1.0);
    let config = Config::default();
    let forward = forward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &y }, &Serial).unwrap();
    let m = forward.moments;
    let index = (m.mu_genuine - m.mu_impostor) / ((m.var_genuine + m.var_impostor) / 2.0).sqrt();
    assert!((index - m.d_prime).abs() < 1e-9);
    assert!((forward.loss - (0.5 * 2.0_f64.ln() - index.ln())).abs() < 1e-9);
    let at = |upstream| {
        pdloss::loss::backward(
            &forward.saved,
            upstream,
            &Batch { embeddings: x.view(), proxies: p.view(), labels: &y },
            &Serial,
        )
        .unwrap()
        .embeddings
    };
    let (one, three) = (at(1.0), at(-3.0));
    assert!(one.iter().zip(&three).all(|(one, three)| (one * -3.0 - three).abs() < 1e-12));
}
