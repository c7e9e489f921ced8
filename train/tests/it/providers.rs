//! What is said of a step's nodes that a device has no kernels for.

use pdloss::graph::file;
use pdloss::graph::proto::ModelProto;

use crate::tools::{Place, fails, hues, said, text};

/// The backbone with another activation, at another opset.
fn changed(place: &Place, operator: &str, opset: i64) {
    let mut model: ModelProto = file::read(&place.model).unwrap();
    model.opset_import[0].version = Some(opset);
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.op_type() == "Relu" {
            node.op_type = Some(operator.to_owned());
        }
    }
    file::write(&model, &place.model).unwrap();
}

const SAYS: &str = "have no CUDA kernel by the table of onnxruntime-gpu";

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn nodes_without_a_kernel_are_said_for_a_device() {
    let place = Place::new();
    let step = place.folder.path().join("step.onnx");
    let export = |device: &str| {
        let files = ["export", text(&place.model), text(&step), "--train", "--as", "inline", "--classes", "6"];
        said(&[&files[..], &["--device", device]].concat())
    };
    assert!(!export("cuda").contains(SAYS), "all have one");
    changed(&place, "Elu", 22);
    assert!(!export("cpu").contains(SAYS));
    let error = export("cuda");
    assert!(
        error.contains("1 of the step's ") && error.contains(SAYS) && error.contains(": 1 Elu of float32 at opset 22"),
        "{error}"
    );
}

/// There is no device here to go on with.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_dry_run_says_them_before_it_opens_the_device() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    changed(&place, "Elu", 22);
    let more = ["--batch", "12", "--steps", "2", "--inline", "--device", "cuda", "--dry-run"];
    fails(
        1,
        &place.arguments(text(&data), &more),
        &[SAYS, "1 Elu of float32 at opset 22", "--device cuda:0 cannot be had"],
    );
}
