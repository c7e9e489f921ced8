//! What a run ends with is an embedder that embeds; what it was begun with holds until then.

use pdloss::graph::build::{Element, floats, node};
use pdloss::graph::file;

use crate::tools::{Place, fails, fixtures, hues, run, succeeds, text};

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_that_diverges_in_its_last_update_leaves_no_such_embedder() {
    let shapes = fixtures().join("shapes");
    for (more, says) in [
        (&["--optimizer", "adamw"][..], "no embedder.onnx was written"),
        (&["--optimizer", "sgd"], "no embedder.onnx was written"),
        (&["--loss", "softmax"], "no embedder.onnx was written"),
        (&["--validation-split", "protocol"], "no embedder.onnx was written"),
    ] {
        let place = Place::new();
        let usual = ["--batch", "32", "--steps", "1", "--learning-rate", "1e35"];
        fails(
            1,
            &place.arguments(text(&shapes), &[&usual[..], more].concat()),
            &["step 1: the embedder gives NaN", says],
        );
        assert!(!place.file("embedder.onnx").exists() && !place.file("checkpoint.safetensors").exists());
        let left: Vec<_> = std::fs::read_dir(&place.out).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_net_that_gives_only_zeros_is_said_and_no_embedder() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let mut model = file::read(&place.model).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node.iter_mut().filter(|node| node.op_type() == "Gemm").for_each(|node| node.output[0] = "before".to_owned());
    let mut last = node("Relu", &["before"], &["embedding"], Vec::new());
    last.name = Some("last".to_owned());
    graph.node.push(last);
    let bias = graph.initializer.iter_mut().find(|tensor| tensor.name() == "linear.bias").unwrap();
    *bias = floats("linear.bias", Element::F32, &[8], &[-100.0; 8]);
    file::write(&model, &place.model).unwrap();
    let more = ["--batch", "32", "--steps", "60", "--learning-rate", "1e-4"];
    fails(1, &place.arguments(text(&shapes), &more), &["ALL EMBEDDINGS ARE ZERO", "gives nothing but zeros"]);
    assert!(!place.file("embedder.onnx").exists());
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn settings_of_a_run_that_goes_on_are_checked_as_flags_are() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    succeeds(&place.arguments(text(&shapes), &["--batch", "32", "--steps", "2"]));
    let resume = ["train", "--resume", text(&place.out)];
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    let refused = |old: &str, new: &str, says: &[&str]| {
        assert!(manifest.contains(old), "{old} is not in {manifest}");
        std::fs::write(place.file("run.toml"), manifest.replacen(old, new, 1)).unwrap();
        fails(1, &resume, &[&["run.toml"][..], says].concat());
    };
    // What no flag could say.
    refused("rotate = 0.0", "rotate = nan", &["--rotate NaN", "0 to 180"]);
    refused("mean = [0.5]", "mean = []", &["mean has no value; wanted 1 or 3"]);
    refused("mean = [0.5]", "mean = [nan]", &["mean holds NaN"]);
    refused("std = [0.25]", "std = [0.0]", &["std holds 0"]);
    refused("fill = [0]", "fill = []", &["fill has no value; wanted 1 or 3"]);
    refused("scale = 0.00392156862745098", "scale = inf", &["scale holds inf"]);
    refused("steps = 2", "steps = 0", &["--steps 0"]);
    refused("threads = 2", "threads = 0", &["--threads 0"]);
    refused("threads = 2", "threads = 100000", &["--threads 100000", "1024"]);
    refused("checkpoint_every = 200", "checkpoint_every = 0", &["--checkpoint-every 0"]);
    refused("learning_rate = 0.001", "learning_rate = -1.0", &["--learning-rate -1"]);
    refused("beta1 = 0.9", "beta1 = 1.5", &["beta1"]);
    refused("floor = 1.0", "floor = 0.0", &["floor"]);
    refused("batch = 32", "batch = 0", &["--batch 0"]);
    // What a flag could, but which is another run.
    refused("seed = 0", "seed = 1", &["setting seed was 0, now 1"]);
    refused("learning_rate = 0.001", "learning_rate = 0.01", &["setting schedule.learning_rate was 0.001, now 0.01"]);
    refused("flip = false", "flip = true", &["setting augmentation.flip"]);
    refused("steps = 2", "steps = 3", &["setting length.steps was 2, now 3"]);
    // What may be another.
    for (old, new, says) in [("threads = 2", "threads = 1", "threads was 2, now 1"), ("cache = 1024", "cache = 0", "")]
    {
        std::fs::write(place.file("run.toml"), manifest.replacen(old, new, 1)).unwrap();
        let output = run(&resume);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains(says), "{error}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_library_out_of_a_file_is_not_opened_unless_it_is_named_again() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    succeeds(&place.arguments(text(&shapes), &["--batch", "32", "--steps", "2"]));
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    let library = place.folder.path().join("evil.so");
    let named = format!("threads = 2\nonnxruntime = \"{}\"", library.display());
    std::fs::write(place.file("run.toml"), manifest.replacen("threads = 2", &named, 1)).unwrap();
    fails(2, &["train", "--resume", text(&place.out)], &["run.toml names the library", "evil.so", "--onnxruntime"]);
    let found = std::env::var("ORT_DYLIB_PATH")
        .unwrap_or_else(|_| text(&fixtures().join("../.runtime/onnxruntime/libonnxruntime.so")).to_owned());
    succeeds(&["train", "--resume", text(&place.out), "--onnxruntime", &found]);
    fails(1, &["train", "--resume", text(&place.out), "--onnxruntime", text(&library)], &["evil.so"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_that_fails_before_its_first_step_leaves_no_folder_and_sweeps_nothing_of_others() {
    let place = Place::new();
    let (data, other) = (place.folder.path().join("hues"), place.folder.path().join("other"));
    hues(&data, 3);
    hues(&other, 3);
    std::fs::rename(other.join("class00"), other.join("unlike0")).unwrap();
    for class in ["class01", "class02"] {
        std::fs::remove_dir_all(other.join(class)).unwrap();
    }
    std::fs::write(other.join("unlike0/bad.png"), "this is no image").unwrap();
    // Read by the first validation alone, when the folder is there.
    let deep = place.folder.path().join("deep/er/run");
    let mut arguments = place.arguments(text(&data), &["--batch", "8", "--steps", "2", "--allow-overlap"]);
    arguments.extend(["--validation", text(&other)]);
    let at = arguments.iter().position(|argument| *argument == "--out").unwrap();
    arguments[at + 1] = text(&deep);
    fails(1, &arguments, &["unlike0/bad.png"]);
    assert!(!place.folder.path().join("deep").exists());

    succeeds(&place.arguments(text(&data), &["--batch", "8", "--steps", "2"]));
    let (theirs, ours) =
        (["notes.partial", "embedder.onnx.partial.txt"], [".pdloss-12-0-embedder.onnx", "embedder.onnx.partial"]);
    theirs.iter().chain(&ours).for_each(|name| std::fs::write(place.file(name), "x").unwrap());
    succeeds(&["train", "--resume", text(&place.out)]);
    assert!(theirs.iter().all(|name| place.file(name).exists()), "a person's files stay");
    assert!(ours.iter().all(|name| !place.file(name).exists()), "leftovers of a kill go");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_place_that_takes_no_run_is_said_before_anything_is_read() {
    let place = Place::new();
    let beneath = place.model.join("run");
    // Neither model nor data are there: the place is said first.
    let (model, data) = (place.folder.path().join("none.onnx"), place.folder.path().join("none"));
    for (out, says) in
        [(text(&beneath), "backbone.onnx is a file, not a folder"), ("/proc/self/run", "cannot write into")]
    {
        fails(2, &["train", "--model", text(&model), "--data", text(&data), "--out", out], &["--out", says]);
    }
}
