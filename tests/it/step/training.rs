//! Whole runs of a convolutional net with BatchNormalization and Dropout.

use pdloss::{
    graph::{
        build::Dim,
        head::Spelling,
        losses::{Loss, MultiSimilarity, NormalizedSoftmax, ProxyAnchor, ProxyNca},
        step::{Description, FreezeStatistics, Kind, StepOptions, build, export_embedder},
    },
    loss::Config,
};

use crate::{
    step::backbones::{IMAGE, convolutional, normal},
    step::driver::{Array, Arrays, Driver, assert_close, open, run},
};

const CLASSES: usize = 4;
const BATCH: usize = 12;

fn batch() -> Dim {
    Dim::Named("batch".to_owned())
}

fn options(loss: Loss) -> StepOptions {
    StepOptions { spelling: Spelling::Inline, ..StepOptions::new(loss, CLASSES) }
}

fn softmax() -> StepOptions {
    options(Loss::Softmax(NormalizedSoftmax::default()))
}

/// Three images of each class: its colours and noise.
fn images(seed: u64) -> (Array, Vec<i64>) {
    let labels: Vec<i64> = (0..BATCH).map(|index| (index % CLASSES) as i64).collect();
    let area = IMAGE[1] * IMAGE[2];
    let colours = normal(CLASSES * IMAGE[0], 77);
    let mut values = normal(BATCH * IMAGE[0] * area, seed);
    for (index, value) in values.iter_mut().enumerate() {
        let (image, channel) = (index / (IMAGE[0] * area), index / area % IMAGE[0]);
        *value = 0.5 * *value + 2.0 * colours[image % CLASSES * IMAGE[0] + channel];
    }
    (Array::f32(&[&[BATCH][..], &IMAGE].concat(), &values), labels)
}

fn train(driver: &mut Driver, steps: std::ops::Range<u64>) -> Vec<Arrays> {
    steps
        .map(|step| {
            let (data, labels) = images(step);
            driver.step(&data, &labels, 0.01)
        })
        .collect()
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn every_loss_falls() {
    let losses = [
        Loss::Pd(Config::default()),
        Loss::DLoss(Config::default()),
        Loss::Softmax(NormalizedSoftmax::default()),
        Loss::ProxyNca(ProxyNca::default()),
        Loss::ProxyAnchor(ProxyAnchor::default()),
        Loss::MultiSimilarity(MultiSimilarity { base: 0.5, ..MultiSimilarity::default() }),
    ];
    for loss in losses {
        let mut driver = Driver::new(convolutional(batch()), &options(loss));
        let outputs = train(&mut driver, 0..40);
        let of = |range: std::ops::Range<usize>| {
            outputs[range.clone()].iter().map(|out| out["pdloss.loss"].number()).sum::<f64>() / range.len() as f64
        };
        let (first, last) = (of(0..5), of(35..40));
        assert!(last < first - 0.1 * first.abs(), "{loss:?}: {first}, then {last}");
        let cosine = outputs[39]["pdloss.mean_cosine"].number();
        assert!(cosine < 0.9, "{loss:?}: mean cosine {cosine}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn the_same_state_gives_the_same_step() {
    let mut driver = Driver::new(convolutional(batch()), &softmax());
    train(&mut driver, 0..3);
    let state = driver.state.clone();
    let outputs = train(&mut driver, 3..6);
    driver.state = state.clone();
    assert!(train(&mut driver, 3..6) == outputs, "the same session differs");

    // The state through its bytes into another session.
    let mut other = Driver::new(convolutional(batch()), &softmax());
    assert!(other.state != state);
    other.state = state.iter().map(|(name, array)| (name.clone(), Array::of(&array.tensor(name)))).collect();
    assert!(train(&mut other, 3..6) == outputs, "another session differs");
}

/// What is not fed has its first value.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn the_file_carries_the_first_state() {
    let mut driver = Driver::new(convolutional(batch()), &softmax());
    let mut fresh = Driver::new(convolutional(batch()), &softmax());
    fresh.state.clear();
    assert!(train(&mut fresh, 0..2) == train(&mut driver, 0..2));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn dropout_follows_from_seed_and_step() {
    let (data, labels) = images(1);
    let embeddings = |options: &StepOptions| -> Vec<Array> {
        let mut driver = Driver::new(convolutional(batch()), options);
        (0..3).map(|_| driver.step(&data, &labels, 0.0)["pdloss.embeddings"].clone()).collect()
    };
    let dropped = embeddings(&softmax());
    assert!(dropped[0] != dropped[1] && dropped[1] != dropped[2] && dropped[0] != dropped[2]);
    assert!(dropped == embeddings(&softmax()));
    let other = embeddings(&StepOptions { seed: 1, ..softmax() });
    assert!(other.iter().all(|other| !dropped.contains(other)));
    let whole = embeddings(&StepOptions { dropout: false, ..softmax() });
    assert!(whole[0] == whole[1] && whole[0] != dropped[0]);
}

/// As PyTorch names them, beside a value called `norm1`.
const NORMS: [&str; 4] =
    ["norm1.running_mean", "norm1.running_variance", "norm2.running_mean", "norm2.running_variance"];

fn running(driver: &Driver) -> Vec<String> {
    let state = driver.description.state.iter().filter(|state| state.kind == Kind::Running);
    state.map(|state| state.name.clone()).collect()
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn statistics_run_or_are_frozen() {
    let mut driver = Driver::new(convolutional(batch()), &softmax());
    assert_eq!(running(&driver), NORMS);
    let before = driver.state.clone();
    train(&mut driver, 0..1);
    assert!(running(&driver).iter().all(|name| driver.state[name] != before[name]));

    let frozen = |freeze: &[&str], freeze_statistics| {
        let freeze = freeze.iter().map(|&pattern| pattern.to_owned()).collect();
        Driver::new(convolutional(batch()), &StepOptions { freeze, freeze_statistics, ..softmax() })
    };
    assert_eq!(running(&frozen(&["norm1*"], FreezeStatistics::None)).len(), 4);
    let mut first = frozen(&["conv1*", "norm1*"], FreezeStatistics::WithWeights);
    assert_eq!(running(&first), NORMS[2..]);
    let mut all = frozen(&[], FreezeStatistics::All);
    assert!(running(&all).is_empty());
    for driver in [&mut first, &mut all] {
        let outputs = train(driver, 0..2);
        assert!(outputs[1]["pdloss.loss"].number().is_finite());
    }
}

/// Nothing before the proxies is trained, so nothing there has a gradient.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn proxies_alone() {
    for freeze_statistics in [FreezeStatistics::None, FreezeStatistics::All] {
        let freeze = ["conv*", "norm*", "last*"].map(str::to_owned).to_vec();
        let mut driver = Driver::new(convolutional(batch()), &StepOptions { freeze, freeze_statistics, ..softmax() });
        let weights: Vec<&str> = driver
            .description
            .state
            .iter()
            .filter(|state| matches!(state.kind, Kind::Weight | Kind::Proxies))
            .map(|state| state.name.as_str())
            .collect();
        assert_eq!(weights, ["pdloss.proxies"]);
        let before = driver.state["pdloss.proxies"].clone();
        train(&mut driver, 0..2);
        assert!(driver.state["pdloss.proxies"] != before);
    }
}

/// The embedder exported after training, in inference mode, gives what a step with frozen statistics and without dropout
/// sees.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn the_exported_embedder_is_what_was_trained() {
    let mut driver = Driver::new(convolutional(batch()), &softmax());
    train(&mut driver, 0..10);
    let backbone = convolutional(batch());
    let embedder = export_embedder(&backbone, |name| Some(driver.state.get(name)?.tensor(name))).expect("exported");
    let (data, labels) = images(50);
    let feeds = Arrays::from([("images".to_owned(), data.clone())]);
    let features = run(&mut open(&embedder), &feeds)["features"].clone();
    let frozen = StepOptions { dropout: false, freeze_statistics: FreezeStatistics::All, ..softmax() };
    let seen = Driver::new(embedder, &frozen).step(&data, &labels, 0.1)["pdloss.embeddings"].clone();
    assert_close("embeddings", &seen.values(), &features.values(), 1e-5);
    let untrained = run(&mut open(&backbone), &feeds)["features"].clone();
    assert!(untrained != features);
}

/// A backbone exported for single images trains on batches.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_batch_of_one_is_freed() {
    let mut single = Driver::new(convolutional(Dim::Known(1)), &softmax());
    let mut free = Driver::new(convolutional(batch()), &softmax());
    assert!(train(&mut single, 0..2) == train(&mut free, 0..2));
}

#[test]
fn descriptions_name_everything() {
    let model = build(convolutional(batch()), &softmax()).expect("built");
    let description = Description::of(&model).expect("described");
    let graph = model.graph.expect("a graph");
    let inputs: Vec<&str> = graph.input.iter().map(|input| input.name()).collect();
    let mut wanted = vec!["images", "pdloss.labels", "pdloss.learning_rate"];
    wanted.extend(description.state.iter().map(|state| state.name.as_str()));
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sorted(inputs), sorted(wanted));
    let outputs: Vec<&str> = graph.output.iter().map(|output| output.name()).collect();
    let mut wanted = vec!["pdloss.loss", "pdloss.mean_cosine", "pdloss.gradient_norm", "pdloss.embeddings"];
    wanted.extend(description.state.iter().map(|state| state.next.as_str()));
    assert_eq!(sorted(outputs), sorted(wanted));
    for state in &description.state {
        let tensor = graph.initializer.iter().find(|tensor| tensor.name() == state.name).expect("a first value");
        let lengths: Vec<usize> = tensor.dims.iter().map(|&length| length as usize).collect();
        assert_eq!(
            (lengths, state.element.as_str()),
            (
                state.shape.clone(),
                match state.kind {
                    Kind::Step => "int64",
                    _ => "float32",
                }
            )
        );
    }
}
