//! Backbones as PyTorch's exporters write them by default: weights beside the model, a batch of one.

use std::path::{Path, PathBuf};

use pdloss::graph::build::{Dim, Element, Value, attribute, declare, declared, floats, integers, node};
use pdloss::graph::file;
use pdloss::graph::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use pdloss::graph::step::{COPIES, Description, Kind};
use tempfile::TempDir;

use crate::tools::{Place, fails, fixtures, run, succeeds, text};

/// An export of the fixtures, with all that lies beside it.
fn export(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixtures().join("exports")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem.to_string_lossy().trim_end_matches(".onnx") == name) {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let model = folder.path().join(format!("{name}.onnx"));
    (folder, model)
}

/// `train` for some steps, with these further arguments.
fn arguments<'a>(model: &'a Path, data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let files = ["train", "--model", text(model), "--data", text(data), "--out", text(out)];
    let batches = ["--batch", "16", "--per-class", "4", "--steps", "3", "--threads", "1"];
    [&files[..], &batches, more].concat()
}

fn has_free_batch(model: &ModelProto) -> bool {
    let graph = model.graph.as_ref().unwrap();
    [&graph.input[0], &graph.output[0]].iter().all(|value| {
        let (_, shape) = declared(value).unwrap();
        matches!(shape.unwrap()[0], Dim::Named(_) | Dim::Unknown)
    })
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn default_exports_train_as_they_are_and_what_they_lost_is_said_and_recorded() {
    let shapes = fixtures().join("shapes");
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("default", &[], &["fixed at 1: it is freed", "'bn1', 'bn2'", "'mul' is 1 / x of the parameter 'power'"]),
        ("four", &[], &["fixed at 4: it is freed", "trains 10 of 10"]),
        ("script", &["--untie"], &["--untie: 1 copies", "'onnx::Conv_121'", "trains 12 of 12"]),
        ("training_script", &[], &["trains 14 of 14 tensors (1459 of 1459 values)"]),
    ];
    for (name, more, says) in cases {
        let (folder, model) = export(name);
        let out = folder.path().join("run");
        let output = run(&arguments(&model, &shapes, &out, more));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {error}");
        let manifest = std::fs::read_to_string(out.join("run.toml")).unwrap();
        for words in says {
            assert!(error.contains(words), "{name}: {words}: {error}");
        }
        assert!(name != "default" || manifest.contains("is 1 / x of the parameter"), "{manifest}");
        // One file, whose weights are others than those of the export; a batch of one stays as it was exported.
        let embedder = out.join("embedder.onnx");
        let (before, after) = (file::read(&model).unwrap(), file::read(&embedder).unwrap());
        assert_eq!(has_free_batch(&after), ["four", "training_script"].contains(&name), "{name}");
        let tensors = |model: &ModelProto, name: &str| {
            let graph = model.graph.as_ref().unwrap();
            graph.initializer.iter().find(|tensor| tensor.name() == name).and_then(|tensor| tensor.raw_data.clone())
        };
        for tensor in ["linear.weight", "scale", "power", "attention.bias"] {
            let before = tensors(&before, tensor);
            assert!(before.is_some() && before != tensors(&after, tensor), "{name}: {tensor} was trained");
        }
        // The run goes on from its end, which reads, frees and copies all of it again.
        succeeds(&["train", "--resume", text(&out)]);
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_is_not_trained_as_it_is_in_the_backbone_is_said_with_quiet_too() {
    let shapes = fixtures().join("shapes");
    // Two layers of the first have one tensor; in the second nothing is left out.
    for (name, more, is_said) in
        [("script", &["--quiet"][..], true), ("training_script", &["--quiet"], false), ("training_script", &[], true)]
    {
        let (folder, model) = export(name);
        let out = folder.path().join("run");
        let output = run(&arguments(&model, &shapes, &out, more));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {error}");
        assert_eq!(error.contains(" tensors ("), is_said, "{name} {more:?}: {error}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_is_of_the_weights_beside_its_model_too() {
    let shapes = fixtures().join("shapes");
    let (folder, model) = export("default");
    let (data, out) = (folder.path().join("default.onnx.data"), folder.path().join("run"));
    succeeds(&arguments(&model, &shapes, &out, &[]));
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&data, &bytes).unwrap();
    fails(1, &["train", "--resume", text(&out)], &["is not the model that the run was begun with"]);
    bytes.truncate(64);
    std::fs::write(&data, &bytes).unwrap();
    let (again, step) = (folder.path().join("again"), folder.path().join("step.onnx"));
    let export = ["export", text(&model), text(&step), "--train", "--classes", "3"];
    fails(1, &arguments(&model, &shapes, &again, &[]), &["tensor '", "default.onnx.data", "which has 64"]);
    fails(1, &export, &["tensor '", "default.onnx.data", "which has 64", "the file was cut"]);
    std::fs::remove_file(&data).unwrap();
    fails(1, &arguments(&model, &shapes, &again, &[]), &["tensor '", "default.onnx.data", "cannot be read"]);
    fails(1, &export, &["tensor '", "default.onnx.data", "cannot be read"]);
    assert!(!again.exists() && !step.exists());
}

/// A place whose backbone is for one image, and whose embedding passes through these nodes, from `flat` to `last`.
fn single(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> Place {
    let place = Place::new();
    let mut model = file::read(&place.model).unwrap();
    let GraphProto { node: list, initializer, input, output, .. } = model.graph.as_mut().unwrap();
    let known = Dim::Known;
    input[0] = declare("image", Element::F32, &[known(1), known(3), known(16), known(16)]);
    output[0] = declare("embedding", Element::F32, &[known(1), known(8)]);
    let mut gemm = list.pop().unwrap();
    gemm.input[0] = "last".to_owned();
    list.extend(nodes);
    list.push(gemm);
    initializer.extend(constants);
    file::write(&model, &place.model).unwrap();
    place
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_batch_that_cannot_be_freed_is_refused_before_anything_is_written() {
    let shapes = fixtures().join("shapes");
    let axes = |value: i64| integers("front", &[1], &[value]);
    // The first image alone; and the mean over the batch, whose shapes fit any batch and whose rows do not.
    let first = single(
        vec![
            node("Gather", &["flat", "zero"], &["one"], Vec::new()),
            node("Unsqueeze", &["one", "front"], &["last"], Vec::new()),
        ],
        vec![integers("zero", &[], &[0]), axes(0)],
    );
    let mean = single(
        vec![
            node("ReduceMean", &["flat"], &["mean"], vec![attribute("axes", Value::Ints(vec![0]))]),
            node("Add", &["flat", "mean"], &["last"], Vec::new()),
        ],
        vec![floats("unused", Element::F32, &[1], &[0.0])],
    );
    let cure = "torch.onnx.export(model, (torch.randn(2, 3, 16, 16),), \"model.onnx\", dynamic_shapes=";
    for (place, says) in [(first, "from Gather 'one' on"), (mean, "with its batch free it gives")] {
        fails(1, &place.arguments(text(&shapes), &["--batch", "16", "--steps", "2"]), &[says, "fixed at 1", cure]);
        let step = place.folder.path().join("step.onnx");
        fails(
            1,
            &["export", text(&place.model), text(&step), "--train", "--classes", "3"],
            &[says, "fixed at 1", cure],
        );
        assert!(!place.out.exists() && !step.exists());
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn export_train_records_copies_and_takes_the_running_variance() {
    let (folder, model) = export("script");
    let step = folder.path().join("step.onnx");
    let export = |more: &[&'static str]| {
        succeeds(&[&["export", text(&model), text(&step), "--train", "--classes", "3"][..], more].concat());
        file::read(&step).unwrap()
    };
    let description = |model: &ModelProto| Description::of(model).unwrap();
    let untied = export(&["--untie"]);
    let copies = untied.metadata_props.iter().find(|entry| entry.key() == COPIES).unwrap().value().to_owned();
    assert!(copies.contains("\"name\":\"onnx::Conv_124\",\"of\":\"onnx::Conv_121\""), "{copies}");
    let weights = description(&untied).state.into_iter().filter(|state| state.kind == Kind::Weight);
    assert_eq!(weights.count(), 12);
    assert_eq!(description(&export(&[])).parameters.shared[0].layers.len(), 2);

    let place = Place::new();
    let choices = [&[][..], &["--running-variance", "sample"], &["--running-variance", "population"]];
    let nodes = |spelling: &str, more: &[&str]| {
        let step = place.folder.path().join("step.onnx");
        let files = ["export", text(&place.model), text(&step), "--train", "--as", spelling, "--classes", "3"];
        succeeds(&[&files[..], more].concat());
        file::read(&step).unwrap().graph.unwrap().node
    };
    let of_sample = choices.map(|more| {
        let nodes = nodes("op", more);
        let norm = nodes.iter().find(|node| node.op_type() == "BatchNormTraining").unwrap();
        norm.attribute.iter().find(|attribute| attribute.name() == "sample").unwrap().i()
    });
    assert_eq!(of_sample, [1, 1, 0]);
    let sizes = choices.map(|more| nodes("inline", more).len());
    assert!(sizes[0] == sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
}
