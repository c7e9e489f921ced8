//! What is refused before anything runs: exit code 2, and no folder left behind.

use pdloss::graph::build::{Dim, Element, declare, node};
use pdloss::graph::file;

use crate::tools::{Place, fails, fixtures, hues, run, succeeds, text};

#[test]
fn help_has_examples() {
    for command in ["train", "export"] {
        let help = succeeds(&[command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  pdloss {command}")), "{help}");
        assert!(help.contains("Exit codes: 0 done, 1 the run failed, 2 the command line was wrong."), "{help}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn flags_that_cannot_be_are_refused_by_name() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let cases: [(&[&str], &[&str]); 24] = [
        (&["--batch", "0"], &["--batch 0"]),
        (&["--batch", "161"], &["--batch 161", "160"]),
        (&["--batch", "32", "--per-class", "5"], &["--per-class 5", "--batch 32"]),
        (&["--batch", "32", "--per-class", "2"], &["16 classes, but there are 10"]),
        (&["--steps", "0"], &["--steps 0"]),
        (&["--epochs", "0"], &["--epochs 0"]),
        (&["--epochs", "2", "--steps", "3"], &["--epochs", "--steps"]),
        (&["--threads", "0"], &["--threads 0"]),
        (&["--learning-rate", "0"], &["--learning-rate 0"]),
        (&["--steps", "5", "--warmup", "6"], &["--warmup 6", "5 steps"]),
        (&["--random-crop", "1.5"], &["--random-crop 1.5"]),
        (&["--rotate=-3"], &["--rotate -3", "0 to 180 degrees"]),
        (&["--loss", "pd", "--alpha", "2"], &["--alpha", "proxy-anchor"]),
        (&["--loss", "hinge"], &["hinge", "proxy-anchor"]),
        (&["--optimizer", "sgd", "--beta1", "0.5"], &["--beta1", "sgd"]),
        (&["--momentum", "1.5", "--optimizer", "sgd"], &["momentum", "1.5"]),
        (&["--clip=-1"], &["--clip", "-1"]),
        (&["--patience", "3"], &["--patience", "--validation"]),
        (&["--keep", "best"], &["--keep best", "--validation"]),
        (&["--validate-every", "0", "--validation-split", "all"], &["--validate-every 0"]),
        (&["--loss", "d-loss", "--first-proxies", "class-means"], &["class-means", "no proxies"]),
        (&["--split", "half"], &["half", "zero-shot-train"]),
        (&["--classes", "5-2"], &["5-2"]),
        (&["--seed=-1"], &["--seed"]),
    ];
    for (more, says) in cases {
        // A repeated flag would be refused for that.
        let mut arguments = place.arguments(text(&shapes), more);
        if more.contains(&"--threads") {
            let at = arguments.iter().position(|argument| *argument == "--threads").unwrap();
            arguments.drain(at..at + 2);
        }
        fails(2, &arguments, says);
        assert!(!place.out.exists(), "{more:?}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_folder_that_exists_is_not_written_into() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    std::fs::create_dir(&place.out).unwrap();
    fails(2, &place.arguments(text(&shapes), &["--steps", "1"]), &["--out", "exists", "--resume"]);
    assert_eq!(std::fs::read_dir(&place.out).unwrap().count(), 0);
    fails(2, &["train", "--resume", text(&place.out), "--steps", "3"], &["--resume"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn models_and_data_that_cannot_be_trained_on_are_named() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let models = fixtures().join("models");
    let one = place.folder.path().join("one");
    hues(&one, 1);
    let model = |name: &str| models.join(name);
    let preset = ["--resize", "exact:8x8"];
    let cases = [
        (model("fixed_batch_4.onnx"), &shapes, 1, "nothing to train"),
        (model("float16.onnx"), &shapes, 1, "nothing to train"),
        (model("unknown_operator.onnx"), &shapes, 1, "Frobnicate"),
        (model("two_inputs.onnx"), &shapes, 1, "2 inputs"),
        (model("not_onnx.onnx"), &shapes, 1, "not_onnx.onnx"),
        (model("missing.onnx"), &shapes, 1, "missing.onnx"),
        (place.model.clone(), &one, 1, "has 1 class"),
        (place.model.clone(), &models, 1, "models"),
    ];
    for (model, data, code, says) in cases {
        let mut arguments = vec!["train", "--model", text(&model), "--data", text(data), "--out", text(&place.out)];
        if model != place.model {
            arguments.extend(preset);
        }
        fails(code, &arguments, &[says]);
        assert!(!place.out.exists());
    }
    let more = ["--device", "cuda", "--batch", "16", "--steps", "1"];
    fails(1, &place.arguments(text(&shapes), &more), &["--device cuda:0 cannot be had"]);
    assert!(!place.out.exists());
}

#[test]
fn one_program_has_every_command() {
    let help = succeeds(&["--help"]);
    for command in ["train", "export", "recall", "verify", "scores", "report", "compare", "tabulate", "inspect"] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    let help = succeeds(&["recall", "--help"]);
    assert!(help.contains("pdloss recall --model") && !help.contains("pdloss-eval"), "{help}");
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let printed = succeeds(&["recall", "--model", text(&model), "--data", text(&data), "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(rows[0]["recall@1"].as_f64().unwrap() > 0.3, "{printed}");
}

#[test]
#[cfg(unix)]
fn the_program_is_the_measuring_one_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("pdloss-eval");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pdloss"), &name).unwrap();
    let called = |arguments: &[&str]| std::process::Command::new(&name).args(arguments).output().unwrap();
    let version = called(&["--version"]).stdout;
    assert!(version.starts_with(b"pdloss-eval "), "{}", String::from_utf8_lossy(&version));
    let refused = called(&["train"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && error.contains("pdloss train"), "{error}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn the_settings_of_a_run_make_it_again() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    let more = [
        "--steps",
        "3",
        "--batch-size",
        "20",
        "--per-class",
        "4",
        "--lr",
        "4e-3",
        "--flip",
        "--rotate",
        "9.5",
        "--seed",
        "7",
        "--classes",
        "1-6",
        "--validation-classes",
        "7-9",
        "--validate-every",
        "2",
        "--loss",
        "softmax",
        "--freeze",
        "norm.*",
        "--optimizer",
        "sgd",
        "--decay-at",
        "0.25,0.5",
        "--schedule",
        "step",
        "--keep",
        "best",
    ];
    succeeds(&place.arguments(text(&shapes), &more));
    let again = place.folder.path().join("again");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&again)]);
    let settings = |folder: &std::path::Path| -> toml::Table {
        let text = std::fs::read_to_string(folder.join("run.toml")).unwrap();
        toml::from_str::<toml::Table>(&text).unwrap()["settings"].as_table().unwrap().clone()
    };
    assert_eq!(settings(&place.out), settings(&again));
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    assert_eq!(bytes(&place.out), bytes(&again));
    // Settings of the loss that change nothing are in a run's record, too.
    for (at, form) in [&["--form", "log"][..], &["--form", "negative"], &["--floor-mode", "clamp"]].iter().enumerate() {
        let (first, second) = (place.folder.path().join(format!("a{at}")), place.folder.path().join(format!("b{at}")));
        let mut arguments = place.arguments(text(&shapes), &["--steps", "1", "--batch", "20"]);
        arguments.extend(*form);
        let out = arguments.iter().position(|argument| *argument == text(&place.out)).unwrap();
        arguments[out] = text(&first);
        succeeds(&arguments);
        succeeds(&["train", "--config", text(&first.join("run.toml")), "--out", text(&second)]);
        assert_eq!(settings(&first), settings(&second));
    }
    let other = place.folder.path().join("other");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&other), "--seed", "8"]);
    let state = |folder: &std::path::Path| std::fs::read(folder.join("checkpoint.safetensors")).unwrap();
    assert!(state(&place.out) != state(&other), "what is typed goes before the file");
}

#[test]
fn flags_that_change_nothing_are_refused_or_said() {
    let place = Place::new();
    let shapes = fixtures().join("shapes");
    for (flags, owner) in [
        (&["--schedule", "constant", "--final-rate", "0.1"][..], "--schedule cosine"),
        (&["--decay-at", "0.3"], "--schedule step"),
        (&["--schedule", "constant", "--decay", "0.5"], "--schedule step"),
        (&["--optimizer", "sgd", "--decay-all"], "--weight-decay gives one"),
        (&["--weight-decay", "0", "--decay-proxies"], "--weight-decay gives one"),
    ] {
        fails(2, &place.arguments(text(&shapes), flags), &["changes nothing here", owner]);
    }
    fails(2, &place.arguments(text(&shapes), &["--allow-overlap"]), &["--allow-overlap: nothing to validate on"]);
    let (model, out) = (fixtures().join("embedder.onnx"), place.folder.path().join("o.onnx"));
    let export = ["export", text(&model), text(&out), "--as", "op", "--classes", "3", "--onnxruntime", "x.so"];
    fails(2, &export, &["--onnxruntime x.so: nothing is run without --train"]);
}

#[test]
fn what_is_called_otherwise_here_is_named() {
    let cases: [(&[&str], &[&str]); 38] = [
        (&["recall", "--output-dir", "x"], &["--save-run <DIR>: Keep", "--out <FILE>: Write"]),
        (&["train", "--output-dir", "x"], &["--out <RUN>"]),
        (&["report", "a", "-o", "x"], &["--out <PAGE.html>"]),
        (&["tabulate", "a", "--csv", "x"], &["--out <FILE>"]),
        (&["recall", "--image-size", "224"], &["--resize exact:WxH"]),
        (&["inspect", "--bgr"], &["--channels"]),
        (&["train", "--samples-per-class", "4"], &["--per-class <N>"]),
        (&["recall", "--topk", "5"], &["--k <K,K,...>"]),
        (&["recall", "-k", "5"], &["--k <K,K,...>"]),
        (&["recall", "--gpu"], &["--device cuda"]),
        (&["train", "--no-cuda"], &["--device cpu"]),
        (&["train", "--num-epochs", "3"], &["--epochs <N>"]),
        (&["train", "--iterations", "3"], &["--steps <N>"]),
        (&["train", "--dataset", "x"], &["--data <PATH>"]),
        (&["train", "--weights", "x"], &["--model <FILE.onnx>", "--init-from <RUN>"]),
        (&["recall", "--checkpoint", "x"], &["--model <FILE.onnx>"]),
        (&["train", "--num-workers", "3"], &["--threads <N>"]),
        (&["train", "--embedding-dim", "128"], &["dimension of the model's output"]),
        (&["export", "a", "b", "--embedding-dim", "128"], &["--dim"]),
        (&["train", "--num-classes", "3"], &["the classes are those of the images"]),
        (&["export", "a", "b", "--num-classes", "3"], &["--classes"]),
        (&["train", "--batch_size", "3"], &["--batch"]),
        (&["train", "--per_class=3"], &["--per-class <N>"]),
        (&["train", "--optim", "sgd"], &["--optimizer"]),
        (&["train", "--wd", "1"], &["--weight-decay"]),
        (&["train", "--fp16"], &["training is in float32"]),
        (&["train", "--save-best"], &["--keep best"]),
        (&["train", "--eval-every", "5"], &["--validate-every"]),
        (&["train", "--overwrite"], &["nothing is written over a run"]),
        (&["train", "--tensorboard", "x"], &["--log-dir"]),
        (&["train", "--pairs", "x"], &["--pairs is a flag of verify"]),
        (&["verify", "--roc", "x"], &["--plot"]),
        (&["scores", "--positives", "x"], &["--genuine"]),
        (&["tabulate", "a", "--sort-by", "x"], &["--sort"]),
        (&["evaluate"], &["`pdloss recall`: Recall@K", "`pdloss verify`"]),
        (&["fit"], &["`pdloss train`"]),
        (&["plot"], &["`pdloss report`"]),
        (&["convert"], &["`pdloss export`"]),
    ];
    for (words, says) in cases {
        let output = crate::tools::run(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(!error.contains("similar"), "{words:?}: {error}");
        for tip in says {
            assert!(
                error.contains(&format!("tip: {tip}")) || error.contains(tip) && !tip.starts_with('-'),
                "{words:?}: {error}"
            );
        }
    }
    // A word that is nobody's stays what it was.
    fails(2, &["train", "--mdoel", "x"], &["a similar argument exists: '--model'"]);
    // A file of --config has the same names.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.toml");
    std::fs::write(&file, "output_dir = 'x'").unwrap();
    fails(2, &["train", "--config", text(&file)], &["no flag --output-dir; --out <RUN>"]);
}

#[test]
fn flags_that_are_printed_are_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags.toml");
    for (words, places) in [
        (&["train", "--model", "m", "--data", "d", "--out", "o"][..], &[][..]),
        (&["export", "a.onnx", "b.onnx", "--as", "op", "--classes", "3"], &["a.onnx", "b.onnx"]),
        (&["recall", "--model", "m", "--data", "d", "--k", "1,5"], &[]),
        (&["recall", "--embeddings", "e.npy"], &[]),
        (&["verify", "--model", "m", "--data", "d", "--all-pairs"], &[]),
        (&["verify", "--model", "m", "--data", "d", "--pairs", "p", "--bootstrap", "9", "--seed", "5"], &[]),
        (&["scores", "--genuine", "g", "--impostor", "i"], &[]),
        (&["report", "r", "--out", "p.html"], &["r"]),
        (&["compare", "a", "b"], &["a", "b"]),
        (&["tabulate", "a"], &["a"]),
        (&["tabulate", "a", "--pivot", "dataset"], &["a"]),
        (&["inspect", "--model", "m"], &[]),
        (&["inspect", "--model", "m", "--suggest", "--data", "d"], &[]),
    ] {
        let printed = succeeds(&[words, &["--print-config"]].concat());
        std::fs::write(&file, &printed).unwrap();
        let again = [&words[..1], places, &["--config", text(&file), "--print-config"]].concat();
        assert_eq!(succeeds(&again), printed, "{words:?}");
    }
    // All that a command takes, where nothing is given yet; a run still wants what it wants.
    for command in ["train", "export", "recall", "verify", "scores", "inspect", "report", "compare", "tabulate"] {
        let printed = succeeds(&[command, "--print-config"]);
        assert!(printed.lines().any(|line| line.starts_with("# ") && line.ends_with(" =")), "{command}: {printed}");
        std::fs::write(&file, &printed).unwrap();
        assert_eq!(run(&[command, "--config", text(&file)]).status.code(), Some(2), "{command}");
    }
}

#[test]
fn answers_of_a_classifier_are_said_where_preprocessing_is_tried() {
    let place = Place::new();
    let photos = place.folder.path().join("photos");
    hues(&photos, 4);
    let mut model = file::read(&place.model).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(node("Softmax", &["embedding"], &["probability"], Vec::new()));
    graph.output = vec![declare("probability", Element::F32, &[Dim::Named("batch".to_owned()), Dim::Known(8)])];
    file::write(&model, &place.model).unwrap();
    let arguments = ["inspect", "--model", text(&place.model), "--suggest", "--data", text(&photos), "--json"];
    let found: serde_json::Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
    let notes = found[0]["notes"].as_str().unwrap();
    assert!(notes.contains("comes out of Softmax") && notes.contains("--output"), "{found}");
}
