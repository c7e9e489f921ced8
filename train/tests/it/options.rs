//! Averages, groups, another run's state, rehearsals: what each flag does, says and records.

use pdloss::graph::file;
use pdloss::graph::proto::TensorProto;
use safetensors::SafeTensors;

use crate::tools::{Place, fails, fixtures, hues, run, succeeds, text};

const USUAL: [&str; 6] = ["--batch", "12", "--per-class", "4", "--steps", "5"];

/// The bytes of a tensor of a run's checkpoint.
fn kept(place: &Place, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().to_vec()
}

/// The bytes of a tensor of a run's embedder.
fn embedded(place: &Place, name: &str) -> Vec<u8> {
    let graph = file::read(&place.file("embedder.onnx")).unwrap().graph.unwrap();
    let found = graph.initializer.iter().find(|tensor| tensor.name() == name);
    found.and_then(|tensor: &TensorProto| tensor.raw_data.clone()).unwrap()
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn the_embedder_is_the_average_where_one_is_kept() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let first = numbers(&file::read(&place.model).unwrap().graph.unwrap().initializer[0].raw_data.clone().unwrap());
    let output = run(&place.arguments(text(&data), &[&USUAL[..], &["--ema", "0.5", "--lr", "0.05"]].concat()));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.contains("--ema 0.5") && error.contains("3 % of it"), "{error}");
    for name in ["conv.weight", "norm.weight", "norm.running_mean", "norm.running_var", "linear.bias"] {
        assert_eq!(embedded(&place, name), kept(&place, &format!("pdloss.ema.{name}")), "{name}");
        assert_ne!(embedded(&place, name), kept(&place, name), "{name}");
    }
    // Between where it began and where the weights are, nearer to these.
    let (average, last) = (numbers(&embedded(&place, "conv.weight")), numbers(&kept(&place, "conv.weight")));
    let apart = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
    assert!(apart(&average, &last) < apart(&average, &first));
    assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains("ema = 0.5"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn groups_go_at_their_own_rate() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let first = file::read(&place.model).unwrap().graph.unwrap();
    let more = ["--group", "conv.*", "lr=0", "--group", "linear.*", "decay=0", "--print-config"];
    let config = succeeds(&place.arguments(text(&data), &[&USUAL[..], &more].concat()));
    let file = place.folder.path().join("flags.toml");
    std::fs::write(&file, config).unwrap();
    let output = run(&["train", "--config", text(&file)]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    assert!(error.contains("weight decay 0.01 of 1 of 6 tensors"), "{error}");
    assert!(error.contains("group 'linear.*': learning rate times 1, weight decay 0"), "{error}");
    let begun = |name: &str| first.initializer.iter().find(|t| t.name() == name).unwrap().raw_data.clone().unwrap();
    assert_eq!(embedded(&place, "conv.weight"), begun("conv.weight"));
    assert_ne!(embedded(&place, "linear.weight"), begun("linear.weight"));
    let again = place.folder.path().join("again");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&again)]);
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    assert_eq!(bytes(&again), bytes(&place.out), "run.toml says the groups as flags do");
    let other = Place::new();
    let twice = [&USUAL[..], &["--proxies-rate", "10", "--group", "pdloss.proxies", "lr=10", "--dry-run"]].concat();
    let says = "proxies: learning rate times 100, as --proxies-rate 10 and their group both count";
    assert!(crate::tools::said(&other.arguments(text(&data), &twice)).contains(says));
    let more = [&USUAL[..], &["--group", "nothing.*", "lr=2"]].concat();
    fails(1, &other.arguments(text(&data), &more), &["group pattern 'nothing.*'", "matches none"]);
    fails(2, &other.arguments(text(&data), &[&USUAL[..], &["--group", "conv.*"]].concat()), &["--group conv.*"]);
}

/// Parts of a batch make the steps of the batch, where statistics are not theirs, with this project's operators and standard ones.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_batch_in_parts_makes_the_steps_of_the_batch() {
    let data = Place::new();
    let hues_at = data.folder.path().join("hues");
    hues(&hues_at, 6);
    let usual = ["--batch", "24", "--per-class", "4", "--steps", "4", "--flip", "--clip", "1", "--ema", "0.5"];
    let descent = ["--optimizer", "sgd", "--lr", "0.05", "--freeze-statistics", "all"];
    for loss in
        [&["--loss", "pd"][..], &["--loss", "d-loss"], &["--loss", "pd", "--inline"], &["--loss", "curricularface"]]
    {
        let [whole, parts] = ["1", "8"].map(|parts| {
            let place = Place::new();
            let more = [&usual[..], &descent, loss, &["--accumulate", parts]].concat();
            let output = run(&place.arguments(text(&hues_at), &more));
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{error}");
            let says = "the loss is of all 24 images of a step, which go through the net 3 at a time";
            assert_eq!(error.contains(says), parts == "8", "{error}");
            assert!(!error.contains("BatchNormalization normalises"), "{error}");
            place
        });
        for column in ["loss", "mean_cosine", "gradient_norm"] {
            for (got, wanted) in parts.column("metrics.csv", column).iter().zip(whole.column("metrics.csv", column)) {
                assert!(
                    (got - wanted).abs() <= 1e-4 * wanted.abs().max(1.0),
                    "{loss:?} {column}: {got}, wanted {wanted}"
                );
            }
        }
        for name in ["conv.weight", "norm.weight", "norm.running_mean", "linear.weight", "linear.bias"] {
            let (got, wanted) = (numbers(&embedded(&parts, name)), numbers(&embedded(&whole, name)));
            let largest = wanted.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let apart = got.iter().zip(&wanted).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
            assert!(apart <= 1e-4 * largest, "{loss:?} {name}: {apart} of {largest}");
        }
        assert!(std::fs::read_to_string(parts.file("run.toml")).unwrap().contains("accumulate = 8"));
        assert!(!std::fs::read_to_string(whole.file("run.toml")).unwrap().contains("accumulate = "));
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn parts_of_a_batch_are_recorded_rehearsed_and_refused() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let flags = [&USUAL[..], &["--accumulate", "3", "--no-dropout", "--loss", "triplet"]].concat();
    let said = succeeds(&place.arguments(text(&data), &[&flags[..], &["--dry-run"]].concat()));
    assert!(said.contains("steps made") && !place.out.exists(), "{said}");
    let output = run(&place.arguments(text(&data), &flags));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let says = "BatchNormalization normalises the 4 images of a part, and its running statistics follow";
    assert!(output.status.success() && error.contains(says), "{error}");
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    assert!(manifest.contains("accumulate = 3") && manifest.contains(says), "{manifest}");
    let again = place.folder.path().join("again");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&again)]);
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    assert_eq!(bytes(&again), bytes(&place.out));
    let other = Place::new();
    for parts in ["5", "0", "24"] {
        let wrong = [&USUAL[..], &["--accumulate", parts]].concat();
        let says = format!("--accumulate {parts}: wanted a number that divides --batch 12");
        fails(2, &other.arguments(text(&data), &wrong), &[says.as_str()]);
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_rehearsal_writes_nothing_and_says_what_a_run_takes() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let logs = place.folder.path().join("logs");
    let more = ["--dry-run", "--log-dir", text(&logs), "--validation-classes", "5-6"];
    let said = succeeds(&place.arguments(text(&data), &[&USUAL[..], &more].concat()));
    for column in ["steps made", "state, MiB", "memory at most, MiB", "seconds a step", "hours of steps"] {
        assert!(said.contains(column), "{column}: {said}");
    }
    assert!(!place.out.exists() && !logs.exists() && !said.contains("another run"));
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("events.out.tfevents.1.2.train"), "").unwrap();
    let output = run(&place.arguments(text(&data), &[&USUAL[..], &more].concat()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("there are events of another run in it"), "{said}");
    let refused = [&USUAL[..], &["--dry-run", "--schedule", "step", "--final-rate", "0.5"]].concat();
    fails(2, &place.arguments(text(&data), &refused), &["--final-rate changes nothing here"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_starts_from_another_one_s_state() {
    let first = Place::new();
    let data = first.folder.path().join("hues");
    hues(&data, 6);
    succeeds(&first.arguments(text(&data), &[&USUAL[..], &["--freeze", "conv.*", "--lr", "0.05"]].concat()));
    let still = ["--optimizer", "sgd", "--lr", "1e-30", "--momentum", "0"];
    let from = |more: &[&str]| {
        let place = Place::new();
        let flags = [&USUAL[..], &["--init-from", text(&first.out)], more].concat();
        let output = run(&place.arguments(text(&data), &flags));
        (place, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
    };
    let (place, error, code) = from(&[&["--init", "embedder,proxies", "--ema", "0.5"], &still[..]].concat());
    assert!(code == Some(0) && error.contains("starts from") && error.contains("proxies (1 tensors)"), "{error}");
    assert_eq!(kept(&place, "pdloss.proxies"), kept(&first, "pdloss.proxies"));
    for name in ["conv.weight", "norm.weight", "linear.weight"] {
        assert_eq!(embedded(&place, name), embedded(&first, name), "{name}");
    }
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    assert!(
        manifest.contains("init_sha256 = ") && manifest.contains("init = [\"embedder\", \"proxies\"]"),
        "{manifest}"
    );
    std::fs::remove_file(place.file("checkpoint.safetensors")).unwrap();
    succeeds(&["train", "--resume", text(&place.out)]);

    let (_, error, code) = from(&["--freeze-statistics", "all"]);
    assert!(code == Some(2) && error.contains("'norm.running_mean' is not trained here"), "{error}");
    let (_, error, code) = from(&["--init", "optimizer", "--optimizer", "sgd"]);
    assert!(code == Some(2) && error.contains("--init optimizer") && error.contains("trained by adamw"), "{error}");
    let (_, error, code) = from(&["--init", "proxies", "--classes", "1-5"]);
    assert!(code == Some(1) && error.contains("its classes are not those of this run"), "{error}");
    let (_, error, code) = from(&["--init", "proxies", "--loss", "triplet"]);
    assert!(code == Some(2) && error.contains("the loss triplet has none"), "{error}");
    let held = ["--init", "embedder,optimizer", "--freeze", "conv.*", "--unfreeze-at", "2"];
    let (_, error, code) = from(&held);
    assert!(code == Some(2) && error.contains("--unfreeze-at 2: --init optimizer goes on counting"), "{error}");
    let (place, error, code) = from(&["--init", "embedder,optimizer", "--freeze", "conv.*"]);
    assert!(code == Some(0), "{error}");
    assert_eq!(kept(&place, "pdloss.step"), 10_i64.to_le_bytes());
    // What the optimiser remembers of proxies goes with them.
    let anew = "what it remembers of proxies is left out";
    assert!(error.contains(anew), "{error}");
    let (_, error, code) = from(&["--init", "embedder,optimizer,proxies", "--freeze", "conv.*"]);
    assert!(code == Some(0) && !error.contains(anew), "{error}");
    let (_, error, code) = from(&["--init", "embedder,optimizer", "--freeze", "conv.*", "--classes", "1-5"]);
    assert!(code == Some(0) && error.contains(anew), "of another number of classes, too: {error}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_is_frozen_is_let_go_and_layers_have_their_rates() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let begun = file::read(&place.model).unwrap().graph.unwrap();
    let begun = |name: &str| begun.initializer.iter().find(|t| t.name() == name).unwrap().raw_data.clone().unwrap();
    let flags = ["--freeze", "conv.*", "--unfreeze-at", "3", "--layer-decay", "0.5", "--checkpoint-every", "3"];
    let output = run(&place.arguments(text(&data), &[&USUAL[..], &flags].concat()));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    for says in
        ["frozen until 3 steps are made, and trained from then on: 'conv.weight'", "layer decay 0.5 over 3 layers"]
    {
        assert!(error.contains(says), "{error}");
    }
    assert_ne!(embedded(&place, "conv.weight"), begun("conv.weight"));
    // Its optimiser's memory is not all of one age.
    let other = Place::new();
    let init = ["--init-from", text(&place.out), "--init", "embedder,optimizer"];
    fails(
        2,
        &other.arguments(text(&data), &[&USUAL[..], &init].concat()),
        &["held weights until step 3 (--unfreeze-at)"],
    );
    let again = place.folder.path().join("again");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&again)]);
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    assert_eq!(bytes(&again), bytes(&place.out));
    let other = Place::new();
    let wrong =
        |more: &[&str], says: &str| fails(2, &other.arguments(text(&data), &[&USUAL[..], more].concat()), &[says]);
    wrong(&["--freeze", "conv.*", "--unfreeze-at", "5"], "--unfreeze-at 5: the run has 5 steps");
    wrong(&["--unfreeze-at", "3"], "--unfreeze-at changes nothing here: nothing is frozen");
    wrong(&["--layer-decay", "0"], "--layer-decay: wanted a factor above 0");
    wrong(&["--rand-augment", "2"], "--rand-augment 2: wanted two numbers");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_learning_rate_is_searched_for() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let flags = [&USUAL[..], &["--find-lr", "--accumulate", "2", "--rand-augment", "1,9"]].concat();
    let output = run(&place.arguments(text(&data), &flags));
    let (found, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && found.contains("steepest fall at") && found.contains("find-lr.svg"),
        "{said}{found}"
    );
    assert!(said.contains("up to 120 steps of") && said.contains("learning rates from 1e-7 to 10"), "{said}");
    let rates = place.column("find-lr.csv", "learning_rate");
    let losses = place.column("find-lr.csv", "loss");
    assert!(rates.len() > 40 && rates.windows(2).all(|two| two[1] > two[0]) && losses[0].is_finite());
    assert!(std::fs::read_to_string(place.file("find-lr.svg")).unwrap().starts_with("<svg"));
    let mut left: Vec<_> = std::fs::read_dir(&place.out).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["find-lr.csv", "find-lr.svg"]);
    fails(2, &place.arguments(text(&data), &[&USUAL[..], &["--find-lr"]].concat()), &["--out"]);
    let again = Place::new();
    succeeds(&again.arguments(text(&data), &flags));
    assert_eq!(again.column("find-lr.csv", "loss"), losses, "the same batches, the same numbers");
}

/// The files of `examples/settings` are settings: on the layout that one is for, and a small net.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn ready_settings_are_settings() {
    let place = Place::new();
    let cub = place.folder.path().join("CUB_200_2011");
    hues(&cub.join("images"), 15);
    let names: Vec<String> = (0..15 * 8).map(|at| format!("class{:02}/{}.png", at / 8, at % 8)).collect();
    let lines = |line: &dyn Fn(usize) -> String| (0..names.len()).map(line).collect::<String>();
    std::fs::write(cub.join("images.txt"), lines(&|at| format!("{} {}\n", at + 1, names[at]))).unwrap();
    std::fs::write(cub.join("image_class_labels.txt"), lines(&|at| format!("{} {}\n", at + 1, at / 8 + 1))).unwrap();
    std::fs::write(cub.join("train_test_split.txt"), lines(&|at| format!("{} 1\n", at + 1))).unwrap();
    let classes: String = (0..15).map(|class| format!("{} class{class:02}\n", class + 1)).collect();
    std::fs::write(cub.join("classes.txt"), classes).unwrap();
    std::fs::remove_file(place.model.with_extension("toml")).unwrap();
    let files = fixtures().join("../examples/settings");
    let mut seen = 0;
    for file in std::fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path()) {
        let out = place.folder.path().join("never");
        let small =
            ["--resize", "exact:16x16", "--crop", "16x16", "--batch", "28", "--accumulate", "4", "--steps", "600"];
        let call = [
            "train",
            "--config",
            text(&file),
            "--model",
            text(&place.model),
            "--data",
            text(&cub),
            "--out",
            text(&out),
        ];
        let said = succeeds(&[&call[..], &small, &["--threads", "1", "--dry-run"]].concat());
        assert!(said.contains("steps made") && !out.exists(), "{}: {said}", file.display());
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// As PyTorch's exporters merge equal tensors of a fresh net: its variance is its weight, its mean its bias.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_with_frozen_statistics_of_a_merged_export_is_begun_from() {
    let merge = |place: &Place| {
        let mut model = file::read(&place.model).unwrap();
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.retain(|tensor| !tensor.name().starts_with("norm.running"));
        let norm = graph.node.iter_mut().find(|node| node.op_type() == "BatchNormalization").unwrap();
        (norm.input[3], norm.input[4]) = ("norm.bias".to_owned(), "norm.weight".to_owned());
        file::write(&model, &place.model).unwrap();
    };
    let (first, second) = (Place::new(), Place::new());
    [&first, &second].into_iter().for_each(merge);
    let data = first.folder.path().join("hues");
    hues(&data, 6);
    let flags = [&USUAL[..], &["--freeze-statistics", "all", "--lr", "0.05"]].concat();
    succeeds(&first.arguments(text(&data), &flags));
    let still = ["--optimizer", "sgd", "--momentum", "0", "--lr", "1e-30", "--init-from", text(&first.out)];
    succeeds(&second.arguments(text(&data), &[&USUAL[..], &["--freeze-statistics", "all"], &still].concat()));
    let embedder = |place: &Place| file::read(&place.file("embedder.onnx")).unwrap().graph.unwrap();
    let (one, other) = (embedder(&first), embedder(&second));
    assert!(one.initializer == other.initializer && one.node == other.node);
    assert_ne!(embedded(&first, "norm.weight"), numbers_of_ones(12));
    let norm = one.node.iter().find(|node| node.op_type() == "BatchNormalization").unwrap();
    assert_eq!(embedded(&first, &norm.input[4]), numbers_of_ones(12));
}

fn numbers_of_ones(count: usize) -> Vec<u8> {
    1.0_f32.to_le_bytes().repeat(count)
}
