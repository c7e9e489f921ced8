//! One step of small nets that PyTorch exported (`fixtures/torch`), against what autograd says of every tensor.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::HashMap, fs, path::Path};

use pdloss::graph::{
    file,
    losses::{Loss, NormalizedSoftmax},
    proto::{ModelProto, TensorProto},
    step::{Description, Kind, Optimizer, StepOptions, build},
};

use crate::runtime::{Array, Arrays, Numbers, open, run};

/// Relative to the largest element of a tensor's own gradient.
const CLOSE: f64 = 1e-4;
/// So large that the rounding of the weights themselves does not show in their differences.
const RATE: f32 = 1e4;

fn array(tensor: &TensorProto) -> Array {
    let shape = tensor.dims.iter().map(|&length| length as usize).collect();
    let raw = tensor.raw_data.as_deref().unwrap();
    let numbers = match tensor.data_type() {
        7 => Numbers::I64(raw.as_chunks().0.iter().map(|word| i64::from_le_bytes(*word)).collect()),
        _ => Numbers::F32(raw.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()),
    };
    Array { shape, numbers }
}

fn tensors(model: &ModelProto) -> HashMap<&str, Array> {
    model.graph.as_ref().unwrap().initializer.iter().map(|tensor| (tensor.name(), array(tensor))).collect()
}

/// The furthest of all gradients, and whose it is.
fn furthest(backbone: ModelProto, expected: &ModelProto) -> (f64, String) {
    let expected = tensors(expected);
    let proxies = &expected["proxies"];
    let loss = Loss::Softmax(NormalizedSoftmax { temperature: 0.5 });
    let options = StepOptions {
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        dropout: false,
        dim: Some(proxies.shape[1]),
        ..StepOptions::new(loss, proxies.shape[0])
    };
    let step = build(backbone, &options).unwrap();
    let description = Description::of(&step).unwrap();
    let mut feeds = Arrays::new();
    feeds.insert(description.data.clone(), expected["images"].clone());
    feeds.insert("pdloss.labels".to_owned(), expected["labels"].clone());
    feeds.insert("pdloss.proxies".to_owned(), proxies.clone());
    feeds.insert("pdloss.learning_rate".to_owned(), Array { shape: vec![], numbers: Numbers::F32(vec![RATE]) });
    let mut session = open(&step).unwrap();
    let out = run(&mut session, &feeds).unwrap();
    let before = tensors(&step);
    let trained = description.state.iter().filter(|state| matches!(state.kind, Kind::Weight | Kind::Proxies));
    let trained: HashMap<&str, &str> = trained.map(|state| (state.name.as_str(), state.next.as_str())).collect();
    let mut worst = (0.0, String::new());
    for (name, wanted) in expected.iter().filter_map(|(name, wanted)| Some((name.strip_prefix("gradient.")?, wanted))) {
        let next = trained.get(name).unwrap_or_else(|| panic!("{name} is not trained"));
        let start = if name == "pdloss.proxies" { proxies } else { &before[name] };
        let wanted = wanted.values();
        let own = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        for ((new, old), wanted) in out[*next].values().into_iter().zip(start.values()).zip(wanted) {
            let distance = ((old - new) / f64::from(RATE) - wanted).abs() / own;
            if distance > worst.0 || distance.is_nan() {
                worst = (distance, name.to_owned());
            }
        }
    }
    worst
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
#[allow(clippy::print_stdout, reason = "tests report what they measured")]
fn every_tensor_of_an_export_moves_as_autograd_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/torch");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".expected.onnx").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    let mut far = Vec::new();
    for name in names {
        let read = |suffix: &str| file::read(&folder.join(format!("{name}{suffix}"))).unwrap();
        let (distance, whose) = furthest(read(".onnx"), &read(".expected.onnx"));
        println!("{name:<24} {distance:.1e} at {whose}");
        if distance > CLOSE || distance.is_nan() {
            far.push(format!("{name}: {whose} is {distance:.1e} of its largest element away"));
        }
    }
    assert!(far.is_empty(), "{}", far.join("\n"));
}
