//! Measuring while training: early stop, and which embedder is kept.

use crate::tools::{Place, fixtures, hues, measure, succeeds, text};

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_without_progress_is_stopped_and_its_best_embedder_is_kept() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 24);
    // A learning rate that ruins the backbone, which was better before.
    let more = ["--classes", "1-12", "--validation-classes", "13-24", "--batch", "24", "--steps", "400"];
    let more =
        [&more[..], &["--learning-rate", "1", "--validate-every", "3", "--patience", "3", "--keep", "best"]].concat();
    succeeds(&place.arguments(text(&data), &more));
    let recall = place.column("validation.csv", "recall@1");
    let steps = place.column("validation.csv", "step");
    let best = (0..recall.len()).rfold(0, |best, at| if recall[at] >= recall[best] { at } else { best });
    assert_eq!(recall.len(), best + 4, "three validations after the best: {recall:?}");
    assert_eq!(*steps.last().unwrap(), *place.column("metrics.csv", "step").last().unwrap());
    let measured = measure(&place, &data, "13-24");
    assert!((measured - recall[best]).abs() < 1e-12, "{measured} is not the best of {recall:?}");
    assert!(recall.last().unwrap() < &recall[best], "{recall:?}");

    // It is over: going on changes nothing.
    let before = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
    succeeds(&["train", "--resume", text(&place.out)]);
    assert_eq!(std::fs::read(place.file("checkpoint.safetensors")).unwrap(), before);
    assert_eq!(place.column("validation.csv", "step"), steps);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn another_data_set_can_be_validated_on() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 5);
    let shapes = fixtures().join("shapes");
    let more = ["--batch", "8", "--steps", "2", "--validation", text(&shapes), "--validation-split", "test"];
    succeeds(&place.arguments(text(&data), &more));
    assert_eq!(place.column("validation.csv", "queries"), [160.0, 160.0, 160.0]);
}
