//! Measuring while training: early stop, and which embedder is kept.

use crate::tools::{Place, fails, fixtures, hues, measure, run, succeeds, text};

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
    let printed = succeeds(&place.arguments(text(&data), &more));
    let recall = place.column("validation.csv", "recall@1");
    let steps = place.column("validation.csv", "step");
    let best = (0..recall.len()).rfold(0, |best, at| if recall[at] >= recall[best] { at } else { best });
    assert_eq!(recall.len(), best + 4, "three validations after the best: {recall:?}");
    assert_eq!(*steps.last().unwrap(), *place.column("metrics.csv", "step").last().unwrap());
    let whose = format!("embedder.onnx, the weights of step {}, which validated best (--keep best)", steps[best]);
    assert!(printed.contains(&whose), "{printed}");
    let measured = measure(&place, &data, "13-24");
    assert!((measured - recall[best]).abs() < 1e-12, "{measured} is not the best of {recall:?}");
    assert!(recall.last().unwrap() < &recall[best], "{recall:?}");

    let manifest = || std::fs::read_to_string(place.file("run.toml")).unwrap();
    let stopped = format!("stopped at step {} of 400: 3 validations one after the other", steps.last().unwrap());
    assert!(manifest().contains(&stopped), "{}", manifest());

    // It is over: going on changes nothing.
    let before = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
    succeeds(&["train", "--resume", text(&place.out)]);
    assert_eq!(std::fs::read(place.file("checkpoint.safetensors")).unwrap(), before);
    assert_eq!(place.column("validation.csv", "step"), steps);
    assert_eq!(manifest().matches("stopped at step").count(), 1);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_a_stopped_run_did_not_reach_is_said() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 12);
    let more = [
        "--classes",
        "1-6",
        "--validation-classes",
        "7-12",
        "--batch",
        "12",
        "--steps",
        "200",
        "--learning-rate",
        "1e-9",
    ];
    let stops = ["--validate-every", "1", "--patience", "2", "--ema", "0.9", "--unfreeze-at", "50", "--freeze"];
    let with = |frozen: &str| run(&place.arguments(text(&data), &[&more[..], &stops, &[frozen]].concat()));
    let output = with("conv.*");
    let error = String::from_utf8_lossy(&output.stderr);
    for says in [
        "stopped at step 2 of 200",
        "--unfreeze-at 50 was not reached, so that what --freeze names was never trained",
        "81 % of the average (--ema) is still the first weights",
    ] {
        assert!(error.contains(says), "{says}: {error}");
    }
    assert!(!error.contains("no gradient has reached"), "{error}");
    let other = Place::new();
    let idle = ["--batch", "12", "--steps", "4", "--classes", "1-6", "--validation-classes", "7-12", "--patience", "4"];
    let output = run(&other.arguments(text(&data), &idle));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--patience 4 changes nothing here: the run validates 3 times"), "{error}");
    let place = Place::new();
    let held = |pattern| [&more[..], &stops, &[pattern]].concat();
    fails(
        1,
        &place.arguments(text(&data), &held("*")),
        &["until step 50 all that is trained is frozen, the proxies too"],
    );
    // Proxies move, and nothing of the net.
    let held = held("[a-o]*");
    fails(
        1,
        &place.arguments(text(&data), &held),
        &["held until step 50 (--unfreeze-at), which the run did not reach"],
    );
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn another_data_set_can_be_validated_on() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 5);
    let shapes = fixtures().join("shapes");
    let more = ["--batch", "8", "--steps", "2", "--validation", text(&shapes), "--validation-split", "test"];
    let printed = succeeds(&[&place.arguments(text(&data), &more)[..], &["--verbose"]].concat());
    assert!(printed.contains("embedder.onnx, the weights of the last step, 2"), "{printed}");
    let what = printed.find("made_with.model_sha256").unwrap_or_else(|| panic!("{printed}"));
    assert!(what < printed.find("recall@1 before").unwrap(), "figures come last: {printed}");
    assert_eq!(place.column("validation.csv", "queries"), [160.0, 160.0, 160.0]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_data_set_with_parts_is_trained_on_one_and_validated_on_another() {
    for held in ["val", "valid", "test"] {
        let place = Place::new();
        let data = place.folder.path().join("data");
        hues(&data.join("train"), 6);
        hues(&place.folder.path().join("more"), 9);
        for class in 6..9 {
            let (from, to) = (place.folder.path().join(format!("more/class{class:02}")), data.join(held));
            std::fs::create_dir_all(&to).unwrap();
            std::fs::rename(from, to.join(format!("class{class:02}"))).unwrap();
        }
        std::fs::create_dir_all(data.join("train/.cache")).unwrap();
        std::fs::write(data.join("train/.cache/x.png"), "").unwrap();
        let more = ["--batch", "8", "--steps", "2", "--validation", text(&data)];
        let output = run(&place.arguments(text(&data), &more));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let part = if held == "test" { "test" } else { "val" };
        assert!(error.contains("trains on 48 images of 6 classes, part 'train'"), "{error}");
        assert!(error.contains(&format!("validates on 24 images of 3 classes, part '{part}'")), "{error}");
        // What the data set passed over is said and recorded.
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        let passed = "passed over 1 file hidden: 1 in .cache";
        assert!(error.contains(passed) && manifest.contains(passed), "{error} {manifest}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn lists_start_from_a_root() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 5);
    let list = |name: &str, classes: std::ops::Range<u32>| {
        let row = |(class, number): (u32, u32)| format!("class{class:02}/{number}.png,{class}\n");
        let rows: String = classes.flat_map(|class| (0..8).map(move |number| (class, number))).map(row).collect();
        let path = place.folder.path().join("lists").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, rows).unwrap();
        path
    };
    let (train, held) = (list("train.csv", 0..3), list("held.csv", 3..5));
    let more = ["--batch", "8", "--steps", "2", "--validation", text(&held), "--root", text(&data)];
    succeeds(&place.arguments(text(&train), &more));
    assert_eq!(place.column("validation.csv", "queries"), [16.0, 16.0, 16.0]);
    succeeds(&["train", "--resume", text(&place.out)]);
    // A folder to validate on has no root.
    let other = Place::new();
    let held = other.folder.path().join("held");
    hues(&other.folder.path().join("all"), 7);
    for class in 5..7 {
        std::fs::create_dir_all(&held).unwrap();
        let name = format!("class{class:02}");
        std::fs::rename(other.folder.path().join("all").join(&name), held.join(&name)).unwrap();
    }
    let more = ["--batch", "8", "--steps", "2", "--validation", text(&held), "--root", text(&data)];
    succeeds(&other.arguments(text(&train), &more));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_embedder_that_depends_on_the_batch_is_said_before_it_is_validated() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let mut model = pdloss::graph::file::read(&place.model).unwrap();
    let graph = model.graph.as_mut().unwrap();
    // The mean over the batch is taken off the embeddings.
    let last = graph.node.last_mut().unwrap();
    (last.name, last.output) = (Some("row".into()), vec!["row".into()]);
    let axes = pdloss::graph::build::attribute("axes", pdloss::graph::build::Value::Ints(vec![0]));
    graph.node.push(pdloss::graph::build::node("ReduceMean", &["row"], &["mean"], vec![axes]));
    graph.node.push(pdloss::graph::build::node("Sub", &["row", "mean"], &["embedding"], Vec::new()));
    pdloss::graph::file::write(&model, &place.model).unwrap();
    let more = ["--batch", "8", "--steps", "1", "--classes", "1-4", "--validation-classes", "5-6"];
    let output = run(&place.arguments(text(&data), &more));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said = "validation: EMBEDDINGS DEPEND ON THE BATCH: an image alone and among 8";
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    assert!(error.contains(said) && manifest.contains(said), "{error} {manifest}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_embedder_that_depends_on_the_batch_or_on_chance_is_said_without_a_validation_too() {
    use pdloss::graph::build::{Value, attribute, node};
    let mean = || {
        let axes = attribute("axes", Value::Ints(vec![0]));
        [node("ReduceMean", &["row"], &["more"], vec![axes]), node("Sub", &["row", "more"], &["embedding"], Vec::new())]
    };
    let noise = || {
        [
            node("RandomNormalLike", &["row"], &["more"], Vec::new()),
            node("Add", &["row", "more"], &["embedding"], Vec::new()),
        ]
    };
    let among = || {
        let axis = attribute("axis", Value::Int(0));
        [node("Softmax", &["row"], &["more"], vec![axis]), node("Mul", &["row", "more"], &["embedding"], Vec::new())]
    };
    for (nodes, says) in [(mean(), "BATCH"), (noise(), "CHANCE"), (among(), "BATCH")] {
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 6);
        let mut model = pdloss::graph::file::read(&place.model).unwrap();
        let graph = model.graph.as_mut().unwrap();
        let last = graph.node.last_mut().unwrap();
        (last.name, last.output) = (Some("row".into()), vec!["row".into()]);
        graph.node.extend(nodes);
        pdloss::graph::file::write(&model, &place.model).unwrap();
        let output = run(&place.arguments(text(&data), &["--batch", "8", "--steps", "1"]));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        let said = format!("EMBEDDINGS DEPEND ON {}{says}", if says == "BATCH" { "THE " } else { "" });
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        assert!(error.contains(&said) && manifest.contains(&said), "{error} {manifest}");
        assert!(!error.contains("validation:"), "{error}");
    }
}
