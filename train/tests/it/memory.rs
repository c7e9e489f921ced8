//! A memory of earlier batches: what it does, says and records.

use safetensors::SafeTensors;

use crate::tools::{Place, fails, hues, said, succeeds, text};

const USUAL: [&str; 8] = ["--batch", "12", "--per-class", "4", "--steps", "5", "--lr", "0.01"];

/// The shape and the bytes of a tensor of a run's checkpoint.
fn kept(place: &Place, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().to_vec(), tensor.data().to_vec())
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_memory_is_said_recorded_and_kept() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let bank = ["--loss", "contrastive", "--memory-bank", "40", "--memory-start", "2"];
    let says = "--memory-bank 40: each image of a batch is compared with the other 11 and with the 40 before it as they were embedded \
                then, after 2 steps";
    let dry = said(&place.arguments(text(&data), &[&USUAL[..], &bank, &["--dry-run"]].concat()));
    assert!(dry.contains(says) && !place.out.exists(), "{dry}");
    let made = said(&place.arguments(text(&data), &[&USUAL[..], &bank].concat()));
    assert!(made.contains(says), "{made}");
    let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
    for line in ["memory_bank = 40", "memory_start = 2", says] {
        assert!(manifest.contains(line), "{manifest}");
    }
    // Of five batches of 12 the last 40 images.
    assert_eq!(kept(&place, "pdloss.memory.count"), (vec![], 40_i64.to_le_bytes().to_vec()));
    assert_eq!(kept(&place, "pdloss.memory.embeddings").0, [40, 8]);
    let (shape, labels) = kept(&place, "pdloss.memory.labels");
    let labels: Vec<i64> = labels.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect();
    assert!(shape == [40] && labels.iter().all(|label| (0..6).contains(label)), "{labels:?}");
    assert!(labels.chunks(4).all(|each| each.iter().all(|label| *label == each[0])), "four of each class: {labels:?}");
    let again = place.folder.path().join("again");
    succeeds(&["train", "--config", text(&place.file("run.toml")), "--out", text(&again)]);
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join("embedder.onnx")).unwrap();
    assert_eq!(bytes(&again), bytes(&place.out), "run.toml says the memory as flags do");
    let plain = Place::new();
    succeeds(&plain.arguments(text(&data), &[&USUAL[..], &bank[..2]].concat()));
    let loss = [&place, &plain].map(|place| place.column("metrics.csv", "loss"));
    assert!(loss[0][..2] == loss[1][..2] && loss[0][2..] != loss[1][2..], "it begins after 2 steps: {loss:?}");
}

/// What a batch lacks the memory may have, and the batch is remembered in any case.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_batch_without_pairs_is_a_step_where_others_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hues");
    hues(&data, 12);
    let usual = ["--batch", "2", "--sampler", "random", "--steps", "12", "--lr", "0.001", "--loss", "triplet"];
    let (alone, with) = (Place::new(), Place::new());
    fails(1, &alone.arguments(text(&data), &usual), &["it is passed over"]);
    let error = said(&with.arguments(text(&data), &[&usual[..], &["--memory-bank", "40"]].concat()));
    assert!(!error.contains("passed over"), "{error}");
    let losses = with.column("metrics.csv", "loss");
    assert_eq!(losses.len(), 12);
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses[6..].iter().any(|loss| *loss > 0.0), "{losses:?}");
    assert_eq!(kept(&with, "pdloss.memory.count").1, 24_i64.to_le_bytes());
}

/// Every loss that takes a memory falls with one, in parts, too.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn losses_fall_with_a_memory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hues");
    hues(&data, 6);
    for loss in ["contrastive", "triplet", "multi-similarity", "supcon", "nt-xent", "circle", "histogram"] {
        for more in [&[][..], &["--accumulate", "3"], &["--inline"]] {
            let place = Place::new();
            let usual = ["--batch", "24", "--per-class", "4", "--steps", "40", "--lr", "0.01", "--loss", loss];
            let bank = ["--memory-bank", "48", "--memory-start", "5"];
            succeeds(&place.arguments(text(&data), &[&usual[..], &bank, more].concat()));
            let losses = place.column("metrics.csv", "loss");
            let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            // After the memory is full, so that the same is compared.
            let (first, last) = (mean(&losses[5..10]), mean(&losses[35..]));
            assert!(last < first, "{loss} {more:?}: {first} to {last}");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn memories_that_cannot_be_are_refused() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let refused = |more: &[&str], says: &[&str]| {
        fails(2, &place.arguments(text(&data), &[&USUAL[..], more].concat()), says);
        assert!(!place.out.exists());
    };
    for loss in ["pd", "softmax", "d-loss", "lifted", "n-pair"] {
        let says = format!("--memory-bank 64: the loss {loss} is not of pairs of a row with others");
        refused(&["--loss", loss, "--memory-bank", "64"], &[&says, "contrastive"]);
    }
    refused(&["--loss", "supcon", "--memory-bank", "11"], &["--memory-bank 11: wanted at least --batch 12"]);
    refused(&["--loss", "supcon", "--memory-start", "11"], &["--memory-bank"]);
    let late = ["--loss", "supcon", "--memory-bank", "12", "--memory-start", "5"];
    refused(&late, &["--memory-start 5: the run has 5 steps, and would never compare a batch with the 12 rows"]);
}

/// Beside a memory of so many rows that their similarities are computed in tiles: the run is that of all at once, nearly.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_memory_is_compared_with_in_tiles() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("hues");
    hues(&data, 6);
    for loss in ["supcon", "multi-similarity"] {
        let usual = ["--loss", loss, "--batch", "24", "--per-class", "4", "--steps", "3", "--memory-bank", "200000"];
        let (tiled, whole) = (Place::new(), Place::new());
        let error = said(&tiled.arguments(text(&data), &[&usual[..], &["--accumulate", "2"]].concat()));
        assert!(error.contains("the loss is computed in tiles of 20 rows"), "{error}");
        let frozen = ["--freeze-statistics", "all"];
        succeeds(&whole.arguments(text(&data), &[&usual[..], &frozen].concat()));
        let parts = Place::new();
        succeeds(&parts.arguments(text(&data), &[&usual[..], &frozen, &["--accumulate", "2"]].concat()));
        let [of_parts, of_whole] = [&parts, &whole].map(|place| place.column("metrics.csv", "loss"));
        for (tiles, all) in of_parts.iter().zip(&of_whole) {
            assert!((tiles - all).abs() < 1e-3 * all.abs(), "{loss}: {of_parts:?} against {of_whole:?}");
        }
    }
}

/// The step that `export` writes has the memory, too.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_exported_step_has_the_memory() {
    let place = Place::new();
    let step = place.folder.path().join("step.onnx");
    let files = ["export", text(&place.model), text(&step), "--train", "--as", "inline", "--classes", "6"];
    succeeds(&[&files[..], &["--loss", "triplet", "--memory-bank", "32"]].concat());
    let model = pdloss::graph::file::read(&step).unwrap();
    let description = pdloss::graph::step::Description::of(&model).unwrap();
    assert_eq!(description.memory.map(|memory| (memory.rows, memory.start)), Some((32, 0)));
    let names = ["pdloss.memory.embeddings", "pdloss.memory.labels", "pdloss.memory.count"];
    assert!(names.iter().all(|name| description.state.iter().any(|state| state.name == *name)));
    let domains = model.graph.unwrap().node.iter().map(|node| node.domain().to_owned()).collect::<Vec<_>>();
    assert!(domains.iter().all(String::is_empty), "standard operators alone");
}
