//! Runs that are killed and go on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::tools::{Place, fails, fixtures, program, succeeds, text};

const SETTINGS: [&str; 18] = [
    "--batch",
    "20",
    "--per-class",
    "4",
    "--steps",
    "60",
    "--learning-rate",
    "0.01",
    "--random-crop",
    "0.5",
    "--flip",
    "--rotate",
    "10",
    "--validation-split",
    "protocol",
    "--validate-every",
    "15",
    "--checkpoint-every=7",
];

/// Everything a run leaves that must not depend on whether it was killed.
struct Left {
    checkpoint: Vec<u8>,
    embedder: Vec<u8>,
    metrics: Vec<Vec<String>>,
    validation: Vec<Vec<String>>,
}

impl Left {
    fn by(place: &Place) -> Self {
        let bytes = |name| std::fs::read(place.file(name)).unwrap();
        Self {
            checkpoint: bytes("checkpoint.safetensors"),
            embedder: bytes("embedder.onnx"),
            metrics: place.table("metrics.csv", &["images_per_second"]),
            validation: place.table("validation.csv", &[]),
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_killed_at_any_moment_goes_on_to_the_same_bits() {
    // Killed soon after it began, in the middle, and each time once more later.
    let deaths = killed_and_resumed(&SETTINGS, &[0, 3, 11]);
    assert!(deaths >= 4, "the processes were really killed: {deaths} times");
}

/// What a loss, an optimiser and averages keep from step to step is part of the checkpoint.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn whatever_a_run_keeps_from_step_to_step_goes_on() {
    let more = ["--loss", "curricularface", "--optimizer", "lamb", "--ema", "0.9", "--schedule", "one-cycle"];
    let group = ["--group", "linear.*", "lr=0.5", "decay=0.1"];
    let deaths = killed_and_resumed(&[&SETTINGS[..], &more, &group].concat(), &[3]);
    assert!(deaths >= 1, "the processes were really killed: {deaths} times");
}

/// Of a step in parts nothing is kept but the state of the step.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_in_parts_goes_on() {
    let more = ["--accumulate", "5", "--loss", "multi-similarity", "--ema", "0.9", "--clip", "1"];
    let deaths = killed_and_resumed(&[&SETTINGS[..], &more].concat(), &[3]);
    assert!(deaths >= 1, "the processes were really killed: {deaths} times");
}

/// The nearest classes of a stretch are kept until it ends, and the means that the next ones are found by.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_with_hard_classes_goes_on() {
    for more in [&["--loss", "proxy-anchor"][..], &["--loss", "contrastive", "--accumulate", "2"]] {
        let hard = ["--sampler", "hard-classes", "--hard-every", "9", "--hard-share", "0.4"];
        let deaths = killed_and_resumed(&[&SETTINGS[..], &hard, more].concat(), &[3]);
        assert!(deaths >= 1, "the processes were really killed: {deaths} times");
    }
}

/// What is remembered of earlier batches is state of the step.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_with_a_memory_goes_on() {
    for more in [&["--loss", "supcon", "--inline"][..], &["--loss", "triplet", "--accumulate", "2"]] {
        let memory = ["--memory-bank", "50", "--memory-start", "10"];
        let deaths = killed_and_resumed(&[&SETTINGS[..], &memory, more].concat(), &[11]);
        assert!(deaths >= 1, "the processes were really killed: {deaths} times");
    }
}

/// The loss scale, and what it counts, is state of the step.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_in_16_bits_goes_on() {
    let scale = ["--precision", "f16", "--loss-scale", "1073741824", "--loss-scale-steps", "6", "--ema", "0.9"];
    for more in [&scale[..], &["--precision", "bf16", "--accumulate", "2"]] {
        let deaths = killed_and_resumed(&[&SETTINGS[..], more].concat(), &[11]);
        assert!(deaths >= 1, "the processes were really killed: {deaths} times");
    }
}

/// Runs to the end, and again with a death after each of these numbers of steps and two more later; how many there were.
fn killed_and_resumed(settings: &[&str], after: &[usize]) -> usize {
    let shapes = fixtures().join("shapes");
    let whole = Place::new();
    succeeds(&whole.arguments(text(&shapes), settings));
    let expected = Left::by(&whole);
    assert_eq!(expected.metrics.len(), 61);

    let mut deaths = 0;
    for &patience in after {
        let place = Place::new();
        let mut arguments = place.arguments(text(&shapes), settings);
        let out = text(&place.out).to_owned();
        for rows in [patience, patience + 25, 1000] {
            let mut child = program().args(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let began = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                let checkpoint = place.file("checkpoint.safetensors").exists();
                let steps = std::fs::read_to_string(place.file("metrics.csv")).map_or(0, |t| t.lines().count());
                // A run is there once its manifest is.
                if place.file("run.toml").exists() && (rows == 0 || checkpoint && steps > rows) {
                    child.kill().unwrap();
                    deaths += 1;
                    break child.wait().unwrap();
                }
                assert!(began.elapsed() < Duration::from_secs(120), "the run hangs");
                std::thread::sleep(Duration::from_millis(2));
            };
            let mut error = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut error).unwrap();
            assert!(status.success() || status.code().is_none(), "{error}");
            arguments = vec!["train", "--resume", &out];
            if status.success() {
                break;
            }
        }
        succeeds(&["train", "--resume", &out]);
        let left = Left::by(&place);
        assert_eq!(left.metrics, expected.metrics);
        assert_eq!(left.validation, expected.validation);
        let is_same = left.checkpoint == expected.checkpoint && left.embedder == expected.embedder;
        assert!(is_same, "checkpoint and embedder, to the bit");
        let names: Vec<_> = std::fs::read_dir(&place.out).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 6, "nothing half written is left: {names:?}");
    }
    deaths
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_goes_on_only_with_what_it_was_begun_with() {
    let shapes = fixtures().join("shapes");
    let place = Place::new();
    let data = place.folder.path().join("hues");
    crate::tools::hues(&data, 3);
    succeeds(&place.arguments(text(&data), &["--batch", "8", "--steps", "2"]));
    let resume = ["train", "--resume", text(&place.out)];
    let half_written = [place.file(".pdloss-x1"), place.file("embedder.onnx.partial")];
    half_written.iter().for_each(|path| std::fs::write(path, "half").unwrap());
    succeeds(&resume);
    assert!(half_written.iter().all(|path| !path.exists()));

    std::fs::copy(data.join("class00/0.png"), data.join("class00/9.png")).unwrap();
    fails(1, &resume, &["hues", "is not the data set that the run was begun with"]);
    std::fs::remove_file(data.join("class00/9.png")).unwrap();

    let model = std::fs::read(&place.model).unwrap();
    std::fs::copy(place.file("embedder.onnx"), &place.model).unwrap();
    fails(1, &resume, &["backbone.onnx", "is not the model that the run was begun with"]);
    std::fs::write(&place.model, model).unwrap();

    let checkpoint = place.file("checkpoint.safetensors");
    let bytes = std::fs::read(&checkpoint).unwrap();
    std::fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    fails(1, &resume, &["checkpoint.safetensors", "is no checkpoint"]);
    std::fs::write(&checkpoint, bytes).unwrap();
    succeeds(&resume);

    fails(2, &["train", "--resume", text(&shapes)], &["--resume", "no run was begun there"]);
    std::fs::write(place.file("run.toml"), "made_with = 3").unwrap();
    fails(1, &resume, &["run.toml"]);
}
