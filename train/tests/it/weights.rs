//! What of a backbone is trained, said and recorded; what cannot be is refused.

use pdloss::graph::build::{Dim, Element, Value, attribute, declare, node};
use pdloss::graph::file;
use pdloss::graph::proto::{GraphProto, ModelProto, TensorProto};
use pdloss::graph::step::Description;

use crate::tools::{Place, fails, fixtures, hues, run, succeeds, text};

/// A place whose backbone is changed.
fn changed(change: impl FnOnce(&mut GraphProto)) -> Place {
    let place = Place::new();
    let mut model = file::read(&place.model).unwrap();
    change(model.graph.as_mut().unwrap());
    file::write(&model, &place.model).unwrap();
    place
}

/// Every weight a `Constant` node.
fn constants(graph: &mut GraphProto) {
    let is_weight = |tensor: &TensorProto| !tensor.name().contains("running");
    let (weights, others) = std::mem::take(&mut graph.initializer).into_iter().partition(is_weight);
    graph.initializer = others;
    let of = |tensor: TensorProto| {
        let name = tensor.name().to_owned();
        node("Constant", &[], &[&name], vec![attribute("value", Value::Tensor(Box::new(tensor)))])
    };
    let nodes: Vec<_> = Vec::into_iter(weights).map(of).collect();
    graph.node.splice(0..0, nodes);
}

/// The weights of convolution and linear layer as tensors of another type behind a node.
fn stored(graph: &mut GraphProto, code: i32, size: usize, operator: &str) {
    for name in ["conv.weight", "linear.weight"] {
        let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name() == name).unwrap();
        let count: i64 = tensor.dims.iter().product();
        tensor.name = Some(format!("{name}.stored"));
        tensor.data_type = Some(code);
        // 0.5 in float16; in int8 some number.
        let number = if size == 2 { vec![0x00, 0x38] } else { vec![5] };
        tensor.raw_data = Some(number.repeat(count.try_into().unwrap()));
        let stored = format!("{name}.stored");
        let (inputs, attributes) = match operator {
            "Cast" => (vec![stored.as_str()], vec![attribute("to", Value::Int(1))]),
            _ => (vec![stored.as_str(), "scale"], Vec::new()),
        };
        graph.node.insert(0, node(operator, &inputs, &[name], attributes));
    }
    if operator != "Cast" {
        graph.initializer.push(pdloss::graph::build::floats("scale", Element::F32, &[], &[0.1]));
    }
}

/// Names and bytes of all tensors, `Constant` nodes' among them.
fn tensors(model: &ModelProto) -> Vec<(String, i32, Option<Vec<u8>>)> {
    let graph = model.graph.as_ref().unwrap();
    let constants = graph.node.iter().filter(|node| node.op_type() == "Constant").map(|node| {
        let tensor = node.attribute[0].t.as_ref().unwrap();
        (node.output[0].clone(), tensor.data_type(), tensor.raw_data.clone())
    });
    let initializers =
        graph.initializer.iter().map(|tensor| (tensor.name().to_owned(), tensor.data_type(), tensor.raw_data.clone()));
    initializers.chain(constants).collect()
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn weights_in_constants_and_behind_casts_are_trained_said_and_recorded() {
    let shapes = fixtures().join("shapes");
    // float16 of equal numbers has equal rows: gradients still differ from tensor to tensor.
    let places = [
        (Place::new(), "trains 5 of 5 tensors (452 of 452 values)"),
        (changed(constants), "trains 5 of 5 tensors (452 of 452 values)"),
        (
            changed(|graph| stored(graph, 10, 2, "Cast")),
            "trains 5 of 5 tensors (452 of 452 values); in float32, though of 16 bits",
        ),
    ];
    for (place, says) in places {
        let output =
            run(&place.arguments(text(&shapes), &["--batch", "40", "--steps", "4", "--learning-rate", "0.01"]));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.contains(says), "{says}: {error}");
        let manifest = std::fs::read_to_string(place.file("run.toml")).unwrap();
        assert!(manifest.contains("[made_with.parameters]\ntrained = 5\ntensors = 5\n"), "{manifest}");
        let (before, after) = (file::read(&place.model).unwrap(), file::read(&place.file("embedder.onnx")).unwrap());
        for ((name, code, old), (_, new_code, new)) in tensors(&before).iter().zip(tensors(&after)) {
            assert_eq!(*code, new_code, "{name} keeps its type");
            assert_ne!(*old, new, "{name} was trained");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_backbone_of_which_nothing_is_trained_is_refused_with_counts() {
    let shapes = fixtures().join("shapes");
    let int8 = || {
        changed(|graph| {
            stored(graph, 3, 1, "DequantizeLinear");
            graph.node.retain(|node| node.op_type() != "BatchNormalization");
            graph
                .node
                .iter_mut()
                .filter(|node| node.op_type() == "Relu")
                .for_each(|node| node.input[0] = "conv.map".to_owned());
            graph.node.iter_mut().filter(|node| node.op_type() == "Gemm").for_each(|node| node.input.truncate(2));
        })
    };
    let frozen = ["--freeze", "*.weight", "--freeze", "*.bias"];
    for loss in ["pd", "proxy-anchor", "multi-similarity"] {
        let more = ["--batch", "40", "--steps", "2", "--loss", loss];
        let place = int8();
        let arguments = place.arguments(text(&shapes), &more);
        fails(
            1,
            &arguments,
            &[
                "nothing to train",
                "trains 0 of",
                "'conv.weight.stored', 'linear.weight.stored' stay: quantised (int8)",
                "quantise what comes out",
            ],
        );
        assert!(!place.out.exists());
        let place = Place::new();
        fails(
            1,
            &place.arguments(text(&shapes), &[&more[..], &frozen].concat()),
            &["nothing to train", "trains 0 of 5", "freeze less"],
        );
        assert!(!place.out.exists());
    }
    let (place, whole) = (int8(), Place::new());
    let out = place.folder.path().join("step.onnx");
    fails(1, &["export", "--train", text(&place.model), text(&out), "--classes", "7"], &["nothing to train", "int8"]);
    let export = ["export", "--train", text(&whole.model), text(&out), "--classes", "7"];
    fails(1, &[&export[..], &frozen].concat(), &["nothing to train", "trains 0 of 5"]);
    assert!(!out.exists());
    let output = run(&[&export[..], &["--freeze", "conv.*"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("trains 4 of 5 tensors (128 of 452 values); 'conv.weight' stays: frozen by 'conv.*'"),
        "{error}"
    );
    let parameters = Description::of(&file::read(&out).unwrap()).unwrap().parameters;
    assert_eq!((parameters.trained, parameters.tensors, parameters.left[0].name.as_str()), (4, 5, "conv.weight"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn shapes_that_the_model_leaves_open_follow_from_the_images_and_maps_are_refused() {
    let shapes = fixtures().join("shapes");
    let steps = ["--batch", "40", "--steps", "2"];
    let open = changed(|graph| {
        let declare = |name| pdloss::graph::build::declare(name, Element::F32, &[]);
        graph.input = vec![declare("image")];
        graph.output = vec![declare("embedding")];
        graph.input.iter_mut().chain(&mut graph.output).for_each(|value| {
            let Some(pdloss::graph::proto::TypeProtoValue::TensorType(tensor)) =
                &mut value.r#type.as_mut().unwrap().value
            else {
                unreachable!()
            };
            tensor.shape = None;
        });
    });
    succeeds(&open.arguments(text(&shapes), &steps));
    let known = |lengths: [usize; 3]| lengths.map(Dim::Known);
    let map = changed(|graph| {
        let lengths = known([12, 8, 8]);
        graph.output = vec![declare("relu.map", Element::F32, &[&[Dim::Unknown], &lengths[..]].concat())];
    });
    fails(1, &map.arguments(text(&shapes), &steps), &["relu.map", "got the map [", "12, 8, 8]", "--output"]);
    assert!(!map.out.exists());
    let place = Place::new();
    let output = run(&place.arguments(text(&shapes), &[&steps[..], &["--freeze", "layer1.*"]].concat()));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("none of the") && !error.contains("Some("), "{error}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn proxies_that_no_file_holds_are_refused_before_they_are_made() {
    let place = Place::new();
    let out = place.folder.path().join("step.onnx");
    for more in [&["--train"][..], &["--as", "op"], &["--as", "inline"]] {
        for classes in ["4294967296", "18446744073709551615", "1000000000"] {
            let arguments = ["export", text(&place.model), text(&out), "--classes", classes];
            fails(2, &[&arguments[..], more].concat(), &["--classes", "2 GiB"]);
        }
    }
    // So many that they would be known only with the length of an embedding.
    fails(1, &["export", text(&place.model), text(&out), "--classes", "500000000", "--train"], &["proxies", "2 GiB"]);
    assert!(!out.exists());
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn what_a_run_does_is_said_before_its_first_step_and_at_each_validation() {
    let place = Place::new();
    let data = place.folder.path().join("hues");
    hues(&data, 8);
    let more =
        ["--classes", "1-4", "--validation-classes", "5-8", "--batch", "8", "--steps", "4", "--validate-every", "2"];
    let output = run(&place.arguments(text(&data), &more));
    let error = String::from_utf8_lossy(&output.stderr);
    for says in [
        "trains on 32 images of 4 classes",
        "validates on 32 images of 4 classes",
        "4 steps of 8 images, at random; 4 steps an epoch; loss pd, learning rate 0.001",
        "trains 5 of 5 tensors",
        "step 0: recall@1 ",
        "step 2: recall@1 ",
        "step 4: recall@1 ",
    ] {
        assert!(error.contains(says), "wanted '{says}' in {error}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_run_that_moves_no_weight_is_no_training() {
    let shapes = fixtures().join("shapes");
    // Biases begin at 0, which any number at all moves.
    for more in [
        &["--learning-rate", "1e-30"][..],
        &["--learning-rate", "1e-30", "--weight-decay", "0.5"],
        &["--optimizer", "sgd", "--clip", "1e-30"],
        &["--optimizer", "lion", "--learning-rate", "1e-30"],
        &["--group", "*.weight", "lr=1e-30"],
        &["--loss", "d-loss", "--learning-rate", "1e-30"],
    ] {
        let place = Place::new();
        let more = [&["--batch", "40", "--steps", "2", "--freeze", "*.bias"], more].concat();
        let says = ["step 2: 0 of the 432 values of 3 trained tensors have moved", "'conv.weight'", "--learning-rate"];
        fails(1, &place.arguments(text(&shapes), &more), &says);
        assert!(!place.file("embedder.onnx").exists(), "{more:?}");
    }
    let place = Place::new();
    let output = run(&place.arguments(text(&shapes), &["--batch", "40", "--steps", "2", "--learning-rate", "1e-30"]));
    let error = String::from_utf8_lossy(&output.stderr);
    let says = "20 of the 452 values of 5 trained tensors have moved; as they were: 'conv.weight', 'norm.weight'";
    assert!(output.status.success() && error.contains(says), "{error}");
}

/// PyTorch's `momentum=None`, as its newer exporter and its older one write it.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn running_statistics_that_do_not_follow_the_batches_are_said() {
    for (momentum, says) in
        [(1.0, "their running statistics stay as they are"), (0.0, "are those of the last batch alone")]
    {
        let place = changed(|graph| {
            let norm = graph.node.iter_mut().find(|node| node.op_type() == "BatchNormalization").unwrap();
            norm.attribute.retain(|attribute| attribute.name() != "momentum");
            norm.attribute.push(attribute("momentum", Value::Float(momentum)));
        });
        let shapes = fixtures().join("shapes");
        let output = run(&place.arguments(text(&shapes), &["--batch", "40", "--steps", "1"]));
        let error = String::from_utf8_lossy(&output.stderr);
        let said = "1 BatchNormalization, the first '";
        assert!(output.status.success() && error.contains(said) && error.contains(says), "{momentum}: {error}");
        assert!(std::fs::read_to_string(place.file("run.toml")).unwrap().contains(says));
    }
}

/// The straight-through estimator without the stop of gradients that ONNX does not have: `w + (sign(w) - w)`.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_weight_that_decay_alone_moves_is_said_to_have_no_gradient() {
    let place = changed(|graph| {
        for name in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|name| *name == "conv.weight") {
            *name = "through".to_owned();
        }
        let estimator = [("Sign", &["conv.weight"][..], "sign"), ("Sub", &["sign", "conv.weight"], "rest")];
        let estimator = estimator.into_iter().chain([("Add", &["conv.weight", "rest"][..], "through")]);
        graph.node.splice(0..0, estimator.map(|(op, inputs, output)| node(op, inputs, &[output], Vec::new())));
    });
    let shapes = fixtures().join("shapes");
    let output = run(&place.arguments(text(&shapes), &["--batch", "40", "--steps", "2"]));
    let error = String::from_utf8_lossy(&output.stderr);
    let says = "128 of the 452 values of 5 trained tensors have moved; as they were: 'conv.weight'; no gradient has reached 1 of them";
    assert!(output.status.success() && error.contains(says), "{error}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn trained_tensors_that_end_as_they_began_are_said_and_recorded() {
    let shapes = fixtures().join("shapes");
    let place = Place::new();
    let more = ["--batch", "40", "--steps", "2", "--group", "conv.*", "lr=1e-30"];
    let output = run(&place.arguments(text(&shapes), &more));
    let error = String::from_utf8_lossy(&output.stderr);
    let says = "128 of the 452 values of 5 trained tensors have moved; as they were: 'conv.weight'";
    assert!(output.status.success() && error.contains(says), "{error}");
    let recorded = |place: &Place| std::fs::read_to_string(place.file("run.toml")).unwrap();
    assert!(recorded(&place).contains(says), "{}", recorded(&place));
    // A run that goes on says it again, and records it once.
    let resumed = run(&["train", "--resume", text(&place.out)]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(recorded(&place).matches(says).count(), 1);
    let whole = Place::new();
    succeeds(&whole.arguments(text(&shapes), &["--batch", "40", "--steps", "2"]));
    assert!(!recorded(&whole).contains("have moved"), "{}", recorded(&whole));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn weights_of_a_group_without_a_learning_rate_are_not_said_to_be_trained() {
    let shapes = fixtures().join("shapes");
    let steps = ["--batch", "40", "--steps", "2"];
    let place = Place::new();
    let output = run(&place.arguments(text(&shapes), &[&steps[..], &["--group", "conv.*", "lr=0"]].concat()));
    let error = String::from_utf8_lossy(&output.stderr);
    let says =
        "trains 4 of 5 tensors (128 of 452 values); 'conv.weight' stays: learning rate times 0 by group 'conv.*'";
    assert!(output.status.success() && error.contains(says), "{error}");
    assert!(!error.contains("have moved"), "what is not trained need not move: {error}");
    // Proxies that stay at random are a choice, weights that all stay are none.
    succeeds(&Place::new().arguments(text(&shapes), &[&steps[..], &["--group", "pdloss.proxies", "lr=0"]].concat()));
    let place = Place::new();
    let all = ["--group", "*.weight", "lr=0", "--group", "*.bias", "lr=0"];
    let says = ["nothing to train: trains 0 of 5", "give its group a rate above 0"];
    fails(1, &place.arguments(text(&shapes), &[&steps[..], &all].concat()), &says);
    assert!(!place.out.exists());
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn the_header_comes_again_where_a_run_goes_on_and_not_where_quiet_is_asked_for() {
    let shapes = fixtures().join("shapes");
    let place = Place::new();
    let more = ["--batch", "40", "--per-class", "4", "--steps", "2", "--loss", "supcon"];
    let header = ["trains on 160 images of 10 classes", "2 steps of 40 images, 4 of each of 10 classes", "loss supcon"];
    let said = |arguments: &[&str]| {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        error
    };
    let first = said(&place.arguments(text(&shapes), &more));
    let again = said(&["train", "--resume", text(&place.out)]);
    let quiet = said(&["train", "--resume", text(&place.out), "--quiet"]);
    for words in header {
        assert!(first.contains(words) && again.contains(words) && !quiet.contains(words), "{words}: {first} {again}");
    }
    // What was measured is on disk, a row a step, when the program ends.
    assert_eq!(place.table("metrics.csv", &[]).len(), 3);
}
