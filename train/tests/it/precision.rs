//! Products in 16 bits: what runs say, record and reach; and models of float16.

use pdloss::graph::file;
use pdloss::graph::proto::{ModelProto, TensorProto, TypeProtoValue};
use pdloss::graph::step::{Description, Half, Kind};

use crate::tools::{Place, fails, hues, measure, said, succeeds, text};

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn sixteen_bits_learn_about_as_much_as_float32() {
    let recall = |more: &[&str]| {
        let place = Place::new();
        let data = place.folder.path().join("hues");
        hues(&data, 24);
        let usual = ["--classes", "1-12", "--validation-classes", "13-24", "--batch", "24", "--steps", "60"];
        let usual = [&usual[..], &["--learning-rate", "0.01", "--validate-every", "60"], more].concat();
        let error = said(&place.arguments(text(&data), &usual));
        let recall = place.column("validation.csv", "recall@1");
        assert!(recall[1] > recall[0] + 0.1, "{more:?}: {recall:?}");
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        let embedder = std::fs::read(place.file("embedder.onnx")).unwrap();
        (recall[1], error, manifest, embedder)
    };
    let (whole, error, manifest, embedder) = recall(&[]);
    assert!(!error.contains("products") && !manifest.contains("precision"), "{error}");
    for (name, half, scale) in [("bf16", "bfloat16", false), ("f16", "float16", true)] {
        let (reached, error, manifest, other) = recall(&["--precision", name]);
        assert!((reached - whole).abs() < 0.1, "{name}: {reached} against {whole}");
        assert_ne!(other, embedder, "rounding is seen in what is trained");
        let says = format!("5 products of the backbone are in {half} (emulated: float32 nodes");
        assert!(error.contains(&says), "{error}");
        assert!(manifest.contains(&says) && manifest.contains(&format!("precision = \"{name}\"")), "{manifest}");
        assert_eq!(error.contains("gradients are scaled by 65536 at first"), scale, "{error}");
        assert_eq!(manifest.contains("loss_scale = 65536.0"), scale, "{manifest}");
    }
}

/// 2^40: halved until gradients fit, which leaves them as they were.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn steps_that_overflow_are_skipped_and_said() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 6);
    let more = ["--batch", "12", "--steps", "60", "--precision", "f16", "--loss-scale", "1099511627776"];
    let output = crate::tools::run(&place.arguments(text(&data), &more));
    let (error, table) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{error}");
    let says = "step 1: the gradient overflows float16 at loss scale 1099511627776, which is halved";
    assert!(error.matches("overflows float16").count() == 1 && error.contains(says), "{error}");
    let rows = place.table("metrics.csv", &[]);
    let at = rows[0].iter().position(|column| column == "gradient_norm").unwrap();
    let skipped = rows[1..].iter().filter(|row| row[at].is_empty()).count();
    assert!((10..50).contains(&skipped), "{skipped}");
    assert!(rows[1..10].iter().all(|row| row[at].is_empty()), "the first ones");
    assert!(table.contains("skipped_steps") && table.contains(&skipped.to_string()), "{table}");
    // Where none was left, the learning rate is not to blame.
    let place = Place::new();
    let more = ["--batch", "12", "--steps", "5", "--precision", "f16", "--loss-scale", "1099511627776"];
    fails(1, &place.arguments(text(&data), &more), &["step 5: every step was skipped", "--loss-scale"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn precisions_that_cannot_be_are_refused() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 3);
    let refused = |more: &[&str], says: &[&str]| {
        fails(2, &place.arguments(text(&data), &[&["--batch", "8", "--steps", "2"], more].concat()), says);
        assert!(!place.out.exists());
    };
    refused(&["--loss-scale", "8"], &["--loss-scale: belongs to --precision f16, not to f32"]);
    refused(&["--precision", "bf16", "--loss-scale-steps", "8"], &["--loss-scale-steps: belongs to --precision f16"]);
    refused(&["--precision", "f16", "--loss-scale", "100"], &["--loss-scale 100: wanted a power of two"]);
    refused(&["--precision", "f8"], &["bf16"]);
    let step = place.folder.path().join("step.onnx");
    let export = ["export", text(&place.model), text(&step), "--classes", "6", "--as", "inline", "--precision", "f16"];
    fails(2, &export, &["--precision", "--train"]);
}

/// The step that `export` writes: emulated for the processor, and nodes of 16 bits for a device.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn an_exported_step_has_the_precision() {
    let place = Place::new();
    for (device, emulated) in [("cpu", true), ("cuda", false)] {
        let step = place.folder.path().join(format!("{device}.onnx"));
        let files = ["export", text(&place.model), text(&step), "--train", "--as", "inline", "--classes", "6"];
        let error = said(&[&files[..], &["--precision", "f16", "--device", device]].concat());
        assert!(error.contains("5 products of the backbone are in float16"), "{error}");
        assert_eq!(error.contains("not tried on a GPU"), !emulated, "{error}");
        let model = file::read(&step).unwrap();
        let description = Description::of(&model).unwrap();
        let precision = description.precision.unwrap();
        assert_eq!((precision.half, precision.emulated), (Half::F16, emulated));
        assert_eq!(description.state.iter().filter(|state| state.kind == Kind::Scale).count(), 3);
        let nodes = model.graph.unwrap().node;
        let converts = |to| nodes.iter().any(|node| node.op_type() == "Cast" && node.attribute[0].i() == to);
        assert!(converts(10) && converts(1));
    }
}

/// The same model with every number in float16.
fn narrowed(mut model: ModelProto) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    for tensor in &mut graph.initializer {
        let wide = tensor.raw_data.as_ref().unwrap().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let raw: Vec<u8> = wide.flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect();
        *tensor = TensorProto { data_type: Some(10), raw_data: Some(raw), ..tensor.clone() };
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        if let Some(TypeProtoValue::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
            tensor.elem_type = Some(10);
        }
    }
    model
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_model_of_float16_is_trained_in_float32_and_written_in_float16() {
    let place = Place::new();
    file::write(&narrowed(file::read(&place.model).unwrap()), &place.model).unwrap();
    let data = place.folder.path().join("hues");
    hues(&data, 24);
    let usual = ["--classes", "1-12", "--validation-classes", "13-24", "--batch", "24", "--steps", "60"];
    for more in [&["--learning-rate", "0.01"][..], &["--learning-rate", "0.01", "--precision", "f16"]] {
        let out = place.folder.path().join("run");
        let error = said(&place.arguments(text(&data), &[&usual[..], more].concat()));
        assert!(error.contains("the model has numbers of 16 bits: it is trained in float32"), "{error}");
        let recall = place.column("validation.csv", "recall@1");
        assert!(recall[recall.len() - 1] > recall[0] + 0.1, "{recall:?}");
        let graph = file::read(&place.file("embedder.onnx")).unwrap().graph.unwrap();
        assert!(graph.initializer.iter().all(|tensor| tensor.data_type() == 10));
        let measured = measure(&place, &data, "13-24");
        assert!((measured - recall[recall.len() - 1]).abs() < 1e-12, "{measured} against {recall:?}");
        let checkpoint = std::fs::read(place.file("checkpoint.safetensors")).unwrap();
        let state = safetensors::SafeTensors::deserialize(&checkpoint).unwrap();
        assert_eq!(state.tensor("conv.weight").unwrap().dtype(), safetensors::Dtype::F32);
        succeeds(&["train", "--resume", text(&out)]);
        std::fs::remove_dir_all(out).unwrap();
    }
}
