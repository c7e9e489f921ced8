//! Averages, groups, another run's state, rehearsals: what each flag does, says and records.

use pdloss::graph::file;
use pdloss::graph::proto::TensorProto;
use safetensors::SafeTensors;

use crate::tools::{Place, fails, hues, run, succeeds, text};

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
    let more = [&USUAL[..], &["--group", "nothing.*", "lr=2"]].concat();
    fails(1, &other.arguments(text(&data), &more), &["group pattern 'nothing.*'", "matches none"]);
    fails(2, &other.arguments(text(&data), &[&USUAL[..], &["--group", "conv.*"]].concat()), &["--group conv.*"]);
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
    assert!(!place.out.exists() && !logs.exists());
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
    assert!(code == Some(1) && error.contains("has no tensor 'pdloss.momentum."), "{error}");
    let (_, error, code) = from(&["--init", "proxies", "--classes", "1-5"]);
    assert!(code == Some(1) && error.contains("its classes are not those of this run"), "{error}");
    let (_, error, code) = from(&["--init", "proxies", "--loss", "triplet"]);
    assert!(code == Some(2) && error.contains("the loss triplet has none"), "{error}");
    let (place, error, code) = from(&["--init", "embedder,optimizer", "--freeze", "conv.*"]);
    assert!(code == Some(0), "{error}");
    assert_eq!(kept(&place, "pdloss.step"), 10_i64.to_le_bytes());
}
