//! `pdloss export`.

use std::path::Path;

use pdloss::graph::file;
use pdloss::graph::step::Description;

use crate::tools::{Place, fails, run, succeeds, text};

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
fn what_was_written_is_said() {
    let place = Place::new();
    let out = place.folder.path().join("step.onnx");
    let said = |more: &[&str]| {
        let arguments = [&["export", text(&place.model), text(&out), "--classes", "7"], more].concat();
        let output = run(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let wrote = format!("wrote {} (", text(&out));
    for (more, says) in [
        (
            &["--as", "op"][..],
            "the embedder and its loss, loss pd with 7 classes, with this project's operators (PDLoss",
        ),
        (&["--as", "inline"], "the embedder and its loss, loss pd with 7 classes, in standard operators"),
        (&["--train"], "a training step, loss pd with 7 classes, with this project's operators ("),
        (
            &["--train", "--as", "inline", "--loss", "softmax"],
            "a training step, loss softmax with 7 classes, in standard operators",
        ),
    ] {
        let said = said(more);
        assert!(said.contains(&wrote) && said.contains(says), "{more:?}: {said}");
        assert_eq!(said.contains("trains 5 of 5 tensors"), more.contains(&"--train"), "{said}");
    }
    assert_eq!(said(&["--as", "op", "--quiet"]), "");
}

#[test]
fn a_place_that_cannot_be_is_refused_before_the_work() {
    let place = Place::new();
    let (none, folder) = (place.folder.path().join("none/step.onnx"), place.folder.path());
    let export =
        |out: &Path| ["export", text(&place.model), text(out), "--as", "op", "--classes", "7"].map(str::to_owned);
    for (out, says) in [
        (none.as_path(), "there is no folder"),
        (folder, "is a folder, wanted a file"),
        (&place.model, "would be written over EMBEDDER"),
    ] {
        let arguments = export(out);
        fails(2, &arguments.each_ref().map(String::as_str), &["OUT ", says]);
    }
    let logs = folder.join("logs");
    std::fs::write(&logs, "").unwrap();
    let shapes = crate::tools::fixtures().join("shapes");
    fails(2, &place.arguments(text(&shapes), &["--log-dir", text(&logs)]), &["--log-dir", "wanted a folder"]);
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
