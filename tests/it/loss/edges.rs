//! The edge policy: what is an error, what is NaN, what is zero.
#![allow(clippy::unwrap_used, reason = "tests")]

use ndarray::{Array2, array};
use pdloss::loss::{
    Algorithm, Batch, Config, Error, FloorMode, Form, Samples, Serial, backward, d_loss, forward, forward_backward,
    random_proxies,
};

fn rows(count: usize, dim: usize, seed: u64) -> Array2<f32> {
    random_proxies(count, dim, seed).unwrap()
}

fn message(x: (usize, usize), p: (usize, usize), labels: &[i64]) -> String {
    let (x, p) = (Array2::<f32>::ones(x), Array2::<f32>::ones(p));
    forward(&Config::default(), &Batch { embeddings: x.view(), proxies: p.view(), labels }, &Serial)
        .unwrap_err()
        .to_string()
}

#[test]
fn errors_name_the_tensor_and_the_shapes() {
    assert_eq!(message((0, 3), (4, 3), &[]), "embeddings has shape [0, 3], wanted [B, D] with B >= 1 and D >= 1");
    assert_eq!(message((2, 0), (4, 0), &[0, 0]), "embeddings has shape [2, 0], wanted [B, D] with B >= 1 and D >= 1");
    assert_eq!(message((2, 3), (1, 3), &[0, 0]), "proxies has shape [1, 3], wanted [C, 3] with C >= 2");
    assert_eq!(message((2, 3), (4, 5), &[0, 0]), "proxies has shape [4, 5], wanted [C, 3] with C >= 2");
    assert_eq!(message((2, 3), (4, 3), &[0]), "labels has shape [1], wanted [2]");
    assert_eq!(message((2, 3), (4, 3), &[0, -1]), "labels[1] is -1, wanted 0 <= label < 4");
    assert_eq!(message((2, 3), (4, 3), &[4, 0]), "labels[0] is 4, wanted 0 <= label < 4");
    assert_eq!(
        "sum".parse::<Form>().unwrap_err().to_string(),
        "attribute form is \"sum\", wanted log, negative or inverse"
    );
    assert_eq!(
        Config::default().with_floor(f64::NAN).unwrap_err().to_string(),
        "attribute floor is NaN, wanted a finite number above 0"
    );
    for name in ["tangent", "clamp"] {
        assert_eq!(name.parse::<FloorMode>().unwrap().to_string(), name);
    }
}

#[test]
fn state_of_other_shapes_is_refused() {
    let (x, p) = (rows(3, 4, 1), rows(5, 4, 2));
    let saved = forward(
        &Config::default(),
        &Batch { embeddings: x.view(), proxies: p.view(), labels: &[0_i32, 1, 2] },
        &Serial,
    )
    .unwrap()
    .saved;
    let more = rows(4, 4, 1);
    let error = backward(
        &saved,
        1.0,
        &Batch { embeddings: more.view(), proxies: p.view(), labels: &[0_i32, 1, 2, 3] },
        &Serial,
    )
    .unwrap_err();
    assert!(matches!(error, Error::Shape { tensor: "embeddings", .. }), "{error}");
}

#[test]
fn nan_and_infinity_become_a_nan_loss_and_never_a_crash() {
    for path in [Algorithm::Gram, Algorithm::Tiles] {
        for form in [Form::Log, Form::Negative, Form::Inverse] {
            for mode in [FloorMode::Tangent, FloorMode::Clamp] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    for side in 0..2 {
                        let mut inputs = [rows(20, 9, 1), rows(700, 9, 2)];
                        inputs[side][(7, 3)] = bad;
                        let config = Config::default().with_algorithm(path).with_form(form).with_floor_mode(mode);
                        let [x, p] = inputs;
                        let labels: Vec<usize> = (0..20).collect();
                        let out = forward(
                            &config,
                            &Batch { embeddings: x.view(), proxies: p.view(), labels: &labels },
                            &Serial,
                        )
                        .unwrap();
                        assert!(out.loss.is_nan() && out.moments.d_prime.is_nan(), "{path} {form} {mode} {bad}");
                        let back = backward(
                            &out.saved,
                            1.0,
                            &Batch { embeddings: x.view(), proxies: p.view(), labels: &labels },
                            &Serial,
                        )
                        .unwrap();
                        assert!(back.embeddings.iter().chain(&back.proxies).all(|value| value.is_nan()));
                    }
                }
            }
        }
    }
}

#[test]
fn zero_rows_have_no_gradient_and_absent_classes_have_one() {
    for path in [Algorithm::Gram, Algorithm::Tiles] {
        let (mut x, mut p) = (rows(6, 5, 1), rows(40, 5, 2));
        x.row_mut(2).fill(0.0);
        p.row_mut(1).fill(0.0);
        let config = Config::default().with_algorithm(path);
        let (loss, _, out) = forward_backward(
            &config,
            &Batch { embeddings: x.view(), proxies: p.view(), labels: &[0, 1, 2, 2, 0, 3] },
            &Serial,
        )
        .unwrap();
        assert!(loss.is_finite());
        assert!(out.embeddings.row(2).iter().chain(out.proxies.row(1)).all(|&value| value == 0.0));
        assert!(out.proxies.row(30).iter().all(|&value| value != 0.0));
    }
}

#[test]
fn one_dimension_has_nowhere_to_turn() {
    let (x, p) = (array![[2.0], [-1.0], [0.5]], array![[1.0], [-3.0], [4.0]]);
    for path in [Algorithm::Gram, Algorithm::Tiles] {
        let config = Config::default().with_algorithm(path);
        let (loss, _, out) =
            forward_backward(&config, &Batch { embeddings: x.view(), proxies: p.view(), labels: &[0, 1, 1] }, &Serial)
                .unwrap();
        assert!(loss.is_finite() && out.embeddings.iter().chain(&out.proxies).all(|&value| value == 0.0));
    }
}

#[test]
fn d_loss_wants_pairs_of_both_kinds() {
    let x = rows(4, 3, 1);
    let kind = |labels: &[i64]| {
        d_loss(&Config::default(), &Samples { embeddings: x.view(), labels }, &Serial).unwrap_err().to_string()
    };
    assert_eq!(kind(&[0, 1, 2, 3]), "labels hold no genuine pair among 4 samples, wanted at least one");
    assert_eq!(kind(&[5, 5, 5, 5]), "labels hold no impostor pair among 4 samples, wanted at least one");
    assert_eq!(kind(&[5, 5]), "labels has shape [2], wanted [4]");
    let mut bad = x.clone();
    bad[(0, 0)] = f32::NAN;
    assert!(
        d_loss(&Config::default(), &Samples { embeddings: bad.view(), labels: &[0, 0, 1, 1] }, &Serial)
            .unwrap()
            .loss
            .is_nan()
    );
}
