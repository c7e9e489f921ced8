//! Every loss and setting trains.

use crate::tools::{Place, hues, succeeds, text};

/// The mean loss of the first and the last five of 40 steps on hues.
fn trained(more: &[&str]) -> (f64, f64) {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let usual = ["--batch", "24", "--per-class", "4", "--steps", "40", "--learning-rate", "0.01"];
    succeeds(&place.arguments(text(&data), &[&usual[..], more].concat()));
    let loss = place.column("metrics.csv", "loss");
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    (mean(&loss[..5]), mean(&loss[35..]))
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn every_loss_falls() {
    let losses =
        ["pd", "pd-negative", "pd-inverse", "d-loss", "softmax", "proxy-nca", "proxy-anchor", "multi-similarity"];
    for loss in losses {
        let (first, last) = trained(&["--loss", loss]);
        assert!(last < first - 0.01 * first.abs(), "{loss}: {first} to {last}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn settings_of_loss_and_optimiser_are_heard() {
    let settings: [&[&str]; 5] = [
        &["--optimizer", "sgd", "--nesterov", "--clip", "1", "--warmup", "5"],
        &["--inline"],
        &["--first-proxies", "class-means"],
        &["--loss", "d-loss", "--form", "log", "--floor", "0.5", "--inline"],
        &["--loss", "proxy-anchor", "--alpha", "16", "--margin", "0.2", "--proxies-rate", "10", "--schedule", "step"],
    ];
    for more in settings {
        let (first, last) = trained(more);
        assert!(last < first, "{more:?}: {first} to {last}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn proxies_that_start_at_class_means_start_lower() {
    let (random, _) = trained(&[]);
    let (means, _) = trained(&["--first-proxies", "class-means"]);
    assert!(means < random, "{means} against {random}");
}
