//! Models of every odd shape, on both runtimes by the same code.

use ndarray::Array2;
use pdloss_embed::dataset::{Dataset, Request, Split};
use pdloss_embed::embedder::{Choice, Device, Embedder, Model, Options};
use pdloss_embed::pipeline::embed;
use pdloss_embed::preprocess::{Layout, Patch, Preset, Recipe};
use pdloss_embed::{Error, Result};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, ModelProto, tensor_shape_proto, type_proto};

use crate::onnx::{self, N};
use crate::tools::{colored_folder, fixtures, text};

const BOTH: [Choice; 2] = [Choice::Onnxruntime, Choice::Tract];

/// Embeds a folder of seven 8x8 images with one of the odd models.
fn run(model: &str, output: Option<&str>, runtime: Choice, batch: Option<usize>) -> Result<Array2<f32>> {
    let folder = tempfile::tempdir().unwrap();
    colored_folder(folder.path(), 1, 7);
    let request = Request { split: Split::All, ..Request::of(folder.path()) };
    let data = Dataset::load(&request)?;
    // A whole path goes before the fixtures'.
    let model = Model::read(&fixtures().join("models").join(model), output)?;
    let resize = Some("exact:8x8".parse().unwrap());
    let flags = Patch { preset: Some(Preset::None), resize, ..Patch::default() };
    let (recipe, _) = Recipe::of(&model.path, None, &flags, model.takes())?;
    model.accepts(&recipe)?;
    let shape = if model.layout() == Layout::Nchw { [3, 8, 8] } else { [8, 8, 3] };
    let options = Options { runtime, library: None, device: Device::Cpu, threads: 2, batch };
    let mut embedder = Embedder::open(model, Some(shape), &options)?;
    Ok(embed(&data, &recipe, &mut embedder, 2, false)?.embeddings.matrix)
}

fn error(model: &str, output: Option<&str>, runtime: Choice) -> String {
    run(model, output, runtime, None).unwrap_err().to_string()
}

/// Mean colour of image `number` of class 0, over 255: what the pooling models give.
fn mean_color(number: usize) -> [f32; 3] {
    [0.0, 1.0, number as f32 / 255.0]
}

fn assert_is_mean_color(rows: &Array2<f32>, what: &str) {
    assert_eq!(rows.dim(), (7, 3), "{what}");
    for (number, row) in rows.rows().into_iter().enumerate() {
        for (got, want) in row.iter().zip(mean_color(number)) {
            // float16 keeps three digits
            assert!((got - want).abs() < 1e-3, "{what}, image {number}: {row}");
        }
    }
}

#[test]
fn batches_fixed_or_free_and_outputs_of_any_rank_give_the_same_rows() {
    let models =
        ["fixed_batch_1.onnx", "fixed_batch_4.onnx", "rank_4.onnx", "float16.onnx", "lying_shape.onnx", "nhwc.onnx"];
    for runtime in BOTH {
        for model in models {
            let rows = run(model, None, runtime, None).unwrap_or_else(|e| panic!("{model} on {runtime:?}: {e}"));
            assert_is_mean_color(&rows, &format!("{model} on {runtime:?}"));
        }
    }
}

#[test]
fn an_output_or_an_inner_tensor_is_chosen_by_name() {
    for runtime in BOTH {
        for name in ["flat", "pooled"] {
            assert_is_mean_color(&run("two_outputs.onnx", Some(name), runtime, None).unwrap(), name);
        }
        assert_eq!(run("two_outputs.onnx", Some("embedding"), runtime, None).unwrap().ncols(), 4);
    }
    let several = run("two_outputs.onnx", None, Choice::Tract, None).unwrap_err();
    assert_eq!(several.exit_code(), 2);
    let several = several.to_string();
    assert!(
        several.contains("--output") && several.contains("flat FLOAT [?, 3]") && several.contains("embedding"),
        "{several}"
    );
    let none = error("two_outputs.onnx", Some("fourth"), Choice::Tract);
    assert!(none.contains("no tensor 'fourth'"), "{none}");
}

#[test]
fn external_data_is_found_and_counts_in_the_digest() {
    let whole = run("external.onnx", None, Choice::Onnxruntime, None).unwrap();
    let other = run("external.onnx", None, Choice::Tract, None).unwrap();
    assert!(whole.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5));
    // an inner tensor: the model is then handed over in memory, its weights still beside the file
    for runtime in BOTH {
        assert_is_mean_color(&run("external.onnx", Some("flat"), runtime, None).unwrap(), "external");
    }

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("external.onnx");
    std::fs::copy(fixtures().join("models/external.onnx"), &copy).unwrap();
    let message = Model::read(&copy, None).unwrap_err().to_string();
    assert!(message.contains("external.bin"), "{message}");
    let mut weights = std::fs::read(fixtures().join("models/external.bin")).unwrap();
    std::fs::write(folder.path().join("external.bin"), &weights).unwrap();
    let before = Model::read(&copy, None).unwrap().sha256;
    weights[0] ^= 1;
    std::fs::write(folder.path().join("external.bin"), &weights).unwrap();
    assert_ne!(before, Model::read(&copy, None).unwrap().sha256);
}

#[test]
fn models_that_are_no_embedders_are_refused_by_what_they_are() {
    for runtime in BOTH {
        let unknown = error("unknown_operator.onnx", None, runtime);
        assert!(unknown.contains("Frobnicate"), "{unknown}");
        let map = error("feature_map.onnx", None, runtime);
        assert!(map.contains("[7, 3, 8, 8]") || map.contains("[8, 3, 8, 8]"), "{map}");
        let nan = error("nan_output.onnx", None, runtime);
        assert!(nan.contains("0/0.png has NaN"), "{nan}");
    }
    assert!(error("integer_output.onnx", None, Choice::Tract).contains("no float output; found: winner INT64 [?, 1]"));
    assert!(error("two_inputs.onnx", None, Choice::Tract).contains("has 2 inputs"));
    assert!(error("not_onnx.onnx", None, Choice::Tract).contains("not an ONNX model"));
    assert!(error("nowhere.onnx", None, Choice::Tract).contains("nowhere.onnx: cannot read"));
}

#[test]
fn a_batch_that_contradicts_the_model_is_a_usage_error() {
    let failed = run("fixed_batch_4.onnx", None, Choice::Tract, Some(3)).unwrap_err();
    assert!(matches!(&failed, Error::Usage(m) if m.contains("fixed at 4")), "{failed}");
    assert_is_mean_color(&run("rank_4.onnx", None, Choice::Onnxruntime, Some(3)).unwrap(), "batch 3");
}

#[test]
fn the_recipe_must_make_what_the_model_takes() {
    let model = Model::read(&fixtures().join("models/fixed_batch_1.onnx"), None).unwrap();
    let accepts = |toml: &str| {
        let flags: Patch = toml::from_str(toml).unwrap();
        let (recipe, _) = Recipe::of(&model.path, None, &flags, model.takes()).unwrap();
        model.accepts(&recipe).unwrap_err().to_string()
    };
    assert!(accepts("crop = 9").contains("makes images of 9x9, when the model's input is image FLOAT [1, 3, 8, 8]"));
    assert!(accepts("preset = 'none'\ncolor = 'gray'\ncrop = 8").contains("makes 1 channels"));
    assert!(accepts("preset = 'none'\nscale = 1").contains("does not say the image's size"));
}

/// tract takes images of any width where the height alone is free.
#[test]
fn a_side_that_the_model_fixes_is_wanted_though_the_other_is_free() {
    let mut proto =
        ModelProto::decode(std::fs::read(fixtures().join("models/fixed_batch_1.onnx")).unwrap().as_slice()).unwrap();
    let input = &mut proto.graph.as_mut().unwrap().input[0];
    let Some(type_proto::Value::TensorType(of)) = input.r#type.as_mut().unwrap().value.as_mut() else { panic!() };
    of.shape.as_mut().unwrap().dim[2].value = Some(tensor_shape_proto::dimension::Value::DimParam("h".into()));
    let file = tempfile::Builder::new().suffix(".onnx").tempfile().unwrap();
    std::fs::write(file.path(), proto.encode_to_vec()).unwrap();
    let model = Model::read(file.path(), None).unwrap();
    let accepts = |toml: &str| {
        let flags: Patch = toml::from_str(toml).unwrap();
        let (recipe, _) = Recipe::of(&model.path, None, &flags, model.takes()).unwrap();
        model.accepts(&recipe).map_err(|e| e.to_string())
    };
    assert_eq!(accepts("resize = 'exact:8x11'"), Ok(()));
    assert!(
        accepts("resize = 'exact:11x8'")
            .unwrap_err()
            .contains("makes images of 11x8, when the model's input is image FLOAT [1, 3, ?, 8]")
    );
    assert!(accepts("preset = 'none'\nscale = 1").unwrap_err().contains("does not say the image's size at the end"));
}

#[test]
fn tract_agrees_with_onnxruntime_on_the_fixtures_embedder() {
    let request = Request { split: Split::All, classes: vec![1, 2, 3], ..Request::of(fixtures().join("shapes")) };
    let data = Dataset::load(&request).unwrap();
    let rows: Vec<_> = BOTH
        .iter()
        .map(|&runtime| {
            let model = Model::read(&fixtures().join("embedder.onnx"), None).unwrap();
            let (recipe, _) = Recipe::of(&model.path, None, &Patch::default(), model.takes()).unwrap();
            let options = Options { runtime, library: None, device: Device::Cpu, threads: 2, batch: Some(5) };
            let mut embedder = Embedder::open(model, Some([1, 48, 48]), &options).unwrap();
            embed(&data, &recipe, &mut embedder, 2, false).unwrap().embeddings.matrix
        })
        .collect();
    let apart = rows[0].iter().zip(&rows[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "off by {apart}");
    assert!(rows[0].iter().any(|v| v.abs() > 0.1));
}

#[test]
fn weights_that_broke_are_no_embeddings() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = vec![
        onnx::node("Mul", &["x", "w"], &["broken"], vec![]),
        onnx::node("Relu", &["broken"], &["kept"], vec![]),
        onnx::node("GlobalAveragePool", &["kept"], &["pooled"], vec![]),
        onnx::node("Flatten", &["pooled"], &["y"], vec![]),
    ];
    let model = onnx::model(&[N, 3, 8, 8], 17, nodes, vec![onnx::floats("w", &[1], &[f32::NAN])]);
    let path = onnx::save(folder.path(), "broken.onnx", &model);
    for (runtime, says) in [(Choice::Tract, "its weights 'w' have NaN"), (Choice::Onnxruntime, "NaN")] {
        let said = error(text(&path), None, runtime);
        assert!(said.contains(says), "{runtime:?}: {said}");
    }
}

/// Mean of each channel of images of this type and shape.
fn pooling(element: DataType, shape: &[i64]) -> ModelProto {
    let axes = AttributeProto { ints: vec![0, 3, 1, 2], ..onnx::int("perm", 0) };
    let axes = AttributeProto { r#type: AttributeType::Ints as i32, ..axes };
    let cast = onnx::node("Cast", &["x"], &["numbers"], vec![onnx::int("to", DataType::Float as i64)]);
    let turn = onnx::node("Transpose", &["numbers"], &["turned"], vec![axes]);
    let pooled = if shape[1] == 3 { "numbers" } else { "turned" };
    let mut nodes = vec![cast];
    nodes.extend((shape[1] != 3).then_some(turn));
    nodes.push(onnx::node("GlobalAveragePool", &[pooled], &["pooled"], vec![]));
    nodes.push(onnx::node("Flatten", &["pooled"], &["y"], vec![]));
    let mut model = onnx::model(shape, 17, nodes, vec![]);
    let graph = model.graph.as_mut().unwrap();
    let Some(type_proto::Value::TensorType(tensor)) = &mut graph.input[0].r#type.as_mut().unwrap().value else {
        unreachable!()
    };
    tensor.elem_type = element as i32;
    graph.output[0].r#type = None;
    model
}

#[test]
fn pixels_as_they_are_and_float64_go_into_models_that_take_them_so() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, columns) = ([N, 3, 8, 8], [N, 8, 8, 3]);
    let cases = [
        ("levels", DataType::Uint8, rows, 255.0),
        ("levels_last", DataType::Uint8, columns, 255.0),
        ("levels_of_four", DataType::Uint8, [4, 3, 8, 8], 255.0),
        ("doubles", DataType::Double, rows, 1.0),
    ];
    for (name, element, shape, brightest) in cases {
        let path = onnx::save(folder.path(), &format!("{name}.onnx"), &pooling(element, &shape));
        for runtime in BOTH {
            let found = run(text(&path), None, runtime, None).unwrap_or_else(|e| panic!("{name} on {runtime:?}: {e}"));
            assert_is_mean_color(&(found / brightest), &format!("{name} on {runtime:?}"));
        }
    }
    // What nobody says is taken from the type; what somebody says must fit it.
    let model = Model::read(&folder.path().join("levels.onnx"), None).unwrap();
    let of = |flags: &str| {
        let flags: Patch = toml::from_str(flags).unwrap();
        let (recipe, origin) = Recipe::of(&model.path, None, &flags, model.takes()).unwrap();
        (recipe.leaves_levels(), model.accepts(&recipe).err().map(|e| e.to_string()), origin.to_string())
    };
    let (levels, error, origin) = of("");
    assert!(levels && error.is_none() && origin.contains("resize") && !origin.contains("mean"), "{error:?} {origin}");
    assert!(of("resize = 'exact:8x8'").0 && of("preset = 'none'\ncrop = 8").0);
    for flags in
        ["preset = 'imagenet'", "preset = 'none'\ncrop = 8\nscale = '1/255'", "resize = 'exact:8x8'\nmean = [127.5]"]
    {
        let (levels, error, _) = of(flags);
        let error = error.unwrap();
        assert!(!levels && error.contains("UINT8") && error.contains("--scale 1 --mean 0 --std 1"), "{error}");
    }
    let path = onnx::save(folder.path(), "integers.onnx", &pooling(DataType::Int32, &rows));
    let refused = Model::read(&path, None).unwrap_err().to_string();
    assert!(refused.contains("input x INT32 [?, 3, 8, 8]: wanted FLOAT, FLOAT16 or DOUBLE, or UINT8"), "{refused}");
}

#[test]
fn models_of_pixels_are_tried_with_pixels_for_what_depends_on_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut proto = pooling(DataType::Uint8, &[N, 3, 8, 8]);
    let graph = proto.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output[0] = "row".into();
    // Less the mean over the batch.
    let axes = AttributeProto { ints: vec![0], r#type: AttributeType::Ints as i32, ..onnx::int("axes", 0) };
    graph.node.push(onnx::node("ReduceMean", &["row"], &["mean"], vec![axes]));
    graph.node.push(onnx::node("Sub", &["row", "mean"], &["y"], vec![]));
    let path = onnx::save(folder.path(), "m.onnx", &proto);
    for runtime in BOTH {
        let options = Options { runtime, library: None, device: Device::Cpu, threads: 1, batch: Some(4) };
        let mut embedder = Embedder::open(Model::read(&path, None).unwrap(), Some([3, 8, 8]), &options).unwrap();
        let said = embedder.unsteadiness([3, 8, 8], "").unwrap().unwrap_or_default();
        assert!(said.contains("EMBEDDINGS DEPEND ON THE BATCH"), "{runtime:?}: {said}");
    }
}
