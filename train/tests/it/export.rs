//! `pdloss export`.

use pdloss::graph::file;
use pdloss::graph::step::Description;

use crate::tools::{Place, fails, succeeds, text};

#[test]
fn a_training_step_says_what_it_is() {
    let place = Place::new();
    let out = place.folder.path().join("step.onnx");
    let arguments = ["export", "--train", text(&place.model), text(&out), "--classes", "7"];
    succeeds(&[&arguments[..], &["--optimizer", "sgd", "--loss", "proxy-anchor", "--alpha", "16"]].concat());
    let description = Description::of(&file::read(&out).unwrap()).unwrap();
    assert_eq!((description.data.as_str(), description.dim, description.classes), ("image", 8, Some(7)));
    assert_eq!((description.loss.name.as_str(), &description.loss.settings["alpha"]), ("proxy-anchor", &16.0.into()));
    assert!(description.state.iter().any(|tensor| tensor.name == "pdloss.momentum.conv.weight"));
}

#[test]
fn a_loss_goes_behind_an_embedder() {
    let place = Place::new();
    let out = place.folder.path().join("loss.onnx");
    for spelling in ["op", "function", "inline"] {
        succeeds(&["export", text(&place.model), text(&out), "--as", spelling, "--classes", "7", "--form", "inverse"]);
        let outputs = file::read(&out).unwrap().graph.unwrap().output;
        assert!(outputs.iter().any(|output| output.name() == "pdloss.loss"), "{spelling}");
    }
}

#[test]
fn flags_that_do_not_go_together_write_nothing() {
    let place = Place::new();
    let out = place.folder.path().join("step.onnx");
    let export =
        |more: &[&'static str]| [&["export", text(&place.model), text(&out), "--classes", "7"][..], more].concat();
    fails(2, &export(&[]), &["--as"]);
    fails(2, &export(&["--as", "op", "--optimizer", "sgd"]), &["only --train"]);
    fails(2, &export(&["--as", "op", "--loss", "softmax"]), &["--loss", "without --train"]);
    fails(2, &export(&["--train", "--as", "function"]), &["function"]);
    fails(2, &export(&["--train", "--labels", "int32"]), &["--labels int32"]);
    fails(2, &export(&["--train", "--beta", "3"]), &["--beta", "multi-similarity"]);
    fails(2, &export(&["--as", "op", "--floor", "0"]), &["floor"]);
    fails(1, &export(&["--train", "--freeze", "nothing*"]), &["nothing*"]);
    fails(
        1,
        &["export", "missing.onnx", text(&out), "--as", "op", "--classes", "7"],
        &["missing.onnx", "No such file"],
    );
    assert!(!out.exists());
}
