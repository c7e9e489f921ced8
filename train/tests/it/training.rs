//! Whole runs, and what they leave behind.

use std::collections::BTreeMap;

use pdloss::graph::build::{Dim, Element, declare};
use pdloss::graph::file;
use pdloss_embed::embedder::Model;
use pdloss_embed::preprocess::Patch;

use crate::tools::{Place, fails, fixtures, hues, measure, run, succeeds, text};

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_learns_classes_it_never_saw_and_its_embedder_is_a_model_like_the_backbone() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 24);
    let more = ["--classes", "1-12", "--validation-classes", "13-24", "--batch", "24", "--steps", "60"];
    let more = [&more[..], &["--learning-rate", "0.01", "--validate-every", "20"]].concat();
    let table = succeeds(&place.arguments(text(&data), &more));
    let recall = place.column("validation.csv", "recall@1");
    assert_eq!(place.column("validation.csv", "step"), [0.0, 20.0, 40.0, 60.0]);
    assert!(recall[3] > recall[0] + 0.1, "{recall:?}");
    let digits: String = recall[3].to_string().chars().take(5).collect();
    assert!(table.contains(&digits), "{digits} is not in {table}");
    let loss = place.column("metrics.csv", "loss");
    assert_eq!(loss.len(), 60);
    assert!(loss[50..].iter().sum::<f64>() < loss[..10].iter().sum::<f64>(), "{loss:?}");

    // What the tool says of the embedder is what the run says.
    let embedder = place.file("embedder.onnx");
    let model = Model::read(&embedder, None).unwrap();
    assert_eq!((model.input.name.as_str(), model.output.as_str()), ("image", "embedding"));
    let (before, after) =
        (file::read(&place.model).unwrap().graph.unwrap(), file::read(&embedder).unwrap().graph.unwrap());
    assert_eq!((&before.node, &before.input, &before.output), (&after.node, &after.input, &after.output));
    for (old, new) in before.initializer.iter().zip(&after.initializer) {
        assert_eq!((old.name(), &old.dims), (new.name(), &new.dims));
        assert_ne!(old.raw_data, new.raw_data, "{} was trained", old.name());
    }
    let manifests = [&place.model, &embedder].map(|model| Patch::read(&Patch::beside(model)).unwrap());
    assert_eq!((&manifests[0].resize, &manifests[0].mean), (&manifests[1].resize, &manifests[1].mean));
    let measured = measure(&place, &data, "13-24");
    assert!((measured - recall[3]).abs() < 1e-12, "{measured} against {}", recall[3]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_s_folder_says_what_it_takes_to_run_it_again() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    succeeds(
        &place.arguments(text(&shapes), &["--batch", "40", "--epochs", "0.75", "--flip", "--loss", "pd-negative"]),
    );
    let run: BTreeMap<String, toml::Value> =
        toml::from_str(&std::fs::read_to_string(place.file("run.toml")).unwrap()).unwrap();
    let made = &run["made_with"];
    assert_eq!(made["images"].as_integer(), Some(160));
    assert_eq!(made["classes"].as_integer(), Some(10));
    assert_eq!(made["part"].as_str(), Some("zero-shot train (classes 1-10)"));
    assert_eq!(made["model_sha256"].as_str().unwrap(), Model::read(&place.model, None).unwrap().sha256);
    let settings = &run["settings"];
    assert_eq!(settings["loss"]["form"].as_str(), Some("negative"));
    assert_eq!(settings["optimizer"]["weight_decay"].as_float(), Some(0.01));
    assert_eq!(settings["augmentation"]["flip"].as_bool(), Some(true));
    assert_eq!(settings["preprocessing"]["resize"].as_str(), Some("exact:16x16"));
    assert_eq!(place.column("metrics.csv", "step"), [1.0, 2.0, 3.0], "three quarters of four batches");
    let d_prime = place.column("metrics.csv", "d_prime");
    for (loss, d_prime) in place.column("metrics.csv", "loss").iter().zip(d_prime) {
        assert!((loss + d_prime).abs() < 1e-4, "the negative form is -d': {loss} {d_prime}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_loss_that_is_no_number_stops_the_run() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let more = ["--batch", "32", "--steps", "50", "--optimizer", "sgd", "--learning-rate", "1e30"];
    fails(1, &place.arguments(text(&shapes), &more), &["the loss is", "learning rate", "--clip"]);
    assert!(!place.file("checkpoint.safetensors").exists(), "what it reached is not kept");
    assert!(place.column("metrics.csv", "step").len() < 50);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_collapse_is_said_aloud() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    // Weights that decay to nothing but the bias, which is all that is left then.
    let more = ["--batch", "32", "--steps", "150", "--learning-rate", "0.1", "--schedule", "constant"];
    let more = [&more[..], &["--weight-decay", "9", "--loss", "softmax", "--freeze", "pdloss.proxies"]].concat();
    let output = run(&place.arguments(text(&shapes), &more));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert_eq!(error.matches("THE EMBEDDINGS ARE COLLAPSING").count(), 1, "{error}");
    assert!(*place.column("metrics.csv", "mean_cosine").last().unwrap() > 0.98);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn images_that_cannot_be_used_stop_the_run_before_it_begins_unless_they_are_skipped() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 3);
    std::fs::write(data.join("class01/3.png"), "this is no image").unwrap();
    let more = ["--batch", "8", "--steps", "3"];
    fails(1, &place.arguments(text(&data), &more), &["class01/3.png"]);
    assert!(!place.out.exists(), "nothing was begun");
    let more = [&more[..], &["--skip-bad"]].concat();
    let output = run(&place.arguments(text(&data), &more));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.contains("skipped: image class01/3.png"), "{error}");
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains("images = 23"));

    // Of what is validated on, too, and a class of which none is left.
    let place = Place::new();
    (0..8).for_each(|number| std::fs::write(data.join(format!("class02/{number}.png")), "no image").unwrap());
    let other = place.folder.path().join("other");
    hues(&other, 4);
    std::fs::write(other.join("class03/5.png"), "this is no image").unwrap();
    let more = [&more[..], &["--validation", text(&other), "--allow-overlap"]].concat();
    let output = run(&place.arguments(text(&data), &more));
    let error = String::from_utf8_lossy(&output.stderr);
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    for says in [
        "1 of the 3 classes have no image that can be used: 'class02'",
        "1 of the 32 images to validate on cannot be used and are left out (--skip-bad)",
    ] {
        assert!(error.contains(says) && manifest.contains(says), "{says}: {error}");
    }
    assert!(error.contains("skipped: image class03/5.png"), "{error}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_inner_tensor_can_be_the_embedding_and_frozen_weights_stay() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let more = ["--batch", "32", "--steps", "4", "--output", "flat", "--freeze", "conv.*"];
    let output = run(&place.arguments(text(&shapes), &[&more[..], &["--validation-split", "protocol"]].concat()));
    let said = String::from_utf8_lossy(&output.stderr);
    let left = "the embedder ends at 'flat' (--output): what comes behind it in the model is left away, with 'linear.weight', 'linear.bias'";
    assert!(output.status.success() && said.contains(left), "{said}");
    let graph = |path: &std::path::Path| file::read(path).unwrap().graph.unwrap();
    let (before, after) = (graph(&place.model), graph(&place.file("embedder.onnx")));
    assert_eq!(after.output.iter().map(|output| output.name()).collect::<Vec<_>>(), ["flat"]);
    assert!(after.node.iter().all(|node| node.op_type() != "Gemm") && after.output[0].r#type.is_some());
    for old in &before.initializer {
        let new = after.initializer.iter().find(|new| new.name() == old.name());
        assert_eq!(new.is_none(), old.name().starts_with("linear."), "{}", old.name());
        let is_same = new.is_none_or(|new| new.raw_data == old.raw_data);
        assert_eq!(is_same, ["conv.weight", "linear.weight", "linear.bias"].contains(&old.name()), "{}", old.name());
    }
    // Of a model with a batch of its own, too, whose outputs are replaced before.
    let fixed = Place::new();
    let mut model = file::read(&fixed.model).unwrap();
    model.graph.as_mut().unwrap().input = vec![declare("image", Element::F32, &[4, 3, 16, 16].map(Dim::Known))];
    model.graph.as_mut().unwrap().output = vec![declare("embedding", Element::F32, &[4, 8].map(Dim::Known))];
    file::write(&model, &fixed.model).unwrap();
    succeeds(&fixed.arguments(text(&shapes), &["--batch", "32", "--steps", "1", "--output", "flat"]));
    let cut = graph(&fixed.file("embedder.onnx"));
    assert!(cut.node.iter().all(|node| node.op_type() != "Gemm") && cut.output[0].r#type.is_some());
    // What measures it needs no --output: the figure is the run's own.
    let validated = place.table("validation.csv", &[]);
    let at = validated[0].iter().position(|name| name == "recall@1").unwrap();
    let result = place.out.join("r.json");
    let embedder = place.file("embedder.onnx");
    succeeds(&[
        "recall",
        "--model",
        text(&embedder),
        "--data",
        text(&shapes),
        "--split",
        "protocol",
        "--k",
        "1",
        "--out",
        text(&result),
    ]);
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
    let (found, wanted) =
        (result[0]["recall@1"].as_f64().unwrap(), validated.last().unwrap()[at].parse::<f64>().unwrap());
    assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_backbone_exported_for_single_images_trains_on_batches() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let mut model = file::read(&place.model).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![declare("image", Element::F32, &[1, 3, 16, 16].map(Dim::Known))];
    graph.output = vec![declare("embedding", Element::F32, &[1, 8].map(Dim::Known))];
    file::write(&model, &place.model).unwrap();
    succeeds(&place.arguments(text(&shapes), &["--batch", "20", "--steps", "3", "--validation-split", "protocol"]));
    assert_eq!(Model::read(&place.file("embedder.onnx"), None).unwrap().fixed_batch(), Some(1));
}
