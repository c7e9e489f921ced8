//! Every loss and setting trains.

use crate::tools::{Place, fails, hues, run, succeeds, text};

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
    let others = [
        "arcface",
        "cosface",
        "subcenter-arcface",
        "curricularface",
        "soft-triple",
        "circle",
        "triplet",
        "contrastive",
        "supcon",
        "nt-xent",
        "n-pair",
        "lifted",
        "histogram",
    ];
    for loss in losses.into_iter().chain(others) {
        let (first, last) = trained(&["--loss", loss]);
        assert!(last < first - 0.01 * first.abs(), "{loss}: {first} to {last}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn settings_of_loss_and_optimiser_are_heard() {
    let settings: [&[&str]; 8] = [
        &["--optimizer", "sgd", "--nesterov", "--clip", "1", "--warmup", "5"],
        &["--inline"],
        &["--loss", "triplet", "--triplets", "semi-hard", "--margin", "0.5"],
        &["--loss", "soft-triple", "--centers", "3", "--gamma", "0.2", "--penalty", "0.1", "--logit-scale", "10"],
        &["--loss", "curricularface", "--logit-scale", "16", "--margin", "0.3", "--curriculum-rate", "0.1"],
        &["--first-proxies", "class-means"],
        &["--loss", "d-loss", "--form", "log", "--floor", "0.5", "--inline"],
        &["--loss", "proxy-anchor", "--alpha", "16", "--margin", "0.2", "--proxies-rate", "10", "--schedule", "step"],
    ];
    for more in settings {
        let (first, last) = trained(more);
        assert!(last < first, "{more:?}: {first} to {last}");
    }
}

/// What N-pair does not look at is said; several proxies a class do not start at one place.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_a_loss_does_not_use_is_said_or_refused() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let usual = ["--batch", "12", "--steps", "2"];
    let means = ["--loss", "soft-triple", "--first-proxies", "class-means"];
    fails(2, &place.arguments(text(&data), &[&usual[..], &means].concat()), &["class-means", "10 proxies a class"]);
    for (more, says) in
        [(&[][..], "--per-class 2 is taken"), (&["--per-class", "4"], "of --per-class 4, 2 are embedded")]
    {
        let place = Place::new();
        let output = run(&place.arguments(text(&data), &[&usual[..], &["--loss", "n-pair"], more].concat()));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains(says), "{error}");
        assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains(says));
    }
}

/// Of the embedder that the run begins with, whoever trained it.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn class_means_are_those_of_the_weights_that_a_run_begins_with() {
    let before = Place::new();
    let data = before.folder.path().join("hues");
    hues(&data, 6);
    let usual = ["--batch", "24", "--loss", "softmax", "--learning-rate", "1e-2"];
    assert!(run(&before.arguments(text(&data), &[&usual[..], &["--steps", "20"]].concat())).status.success());
    let means = [&usual[..], &["--steps", "1", "--first-proxies", "class-means"]].concat();
    let first_loss = |words: &[&str], place: &Place| {
        let output = run(words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let table = std::fs::read_to_string(place.file("metrics.csv")).unwrap();
        table.lines().nth(1).unwrap().split(',').nth(2).unwrap().parse::<f64>().unwrap()
    };
    let (taken, model, random) = (Place::new(), Place::new(), Place::new());
    let init = ["--init-from", text(&before.out)];
    let of_taken = first_loss(&taken.arguments(text(&data), &[&means[..], &init].concat()), &taken);
    let embedder = before.file("embedder.onnx");
    let words = ["train", "--model", text(&embedder), "--data", text(&data), "--out", text(&model.out)];
    let of_model = first_loss(&[&words[..], &means].concat(), &model);
    let of_random =
        first_loss(&random.arguments(text(&data), &[&usual[..], &["--steps", "1"], &init].concat()), &random);
    assert!((of_taken - of_model).abs() < 1e-4 && of_taken < 0.9 * of_random, "{of_taken} {of_model} {of_random}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn proxies_that_start_at_class_means_start_lower() {
    let (random, _) = trained(&[]);
    let (means, _) = trained(&["--first-proxies", "class-means"]);
    assert!(means < random, "{means} against {random}");
}
