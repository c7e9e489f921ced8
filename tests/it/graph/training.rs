//! Inference graphs made ready for training.

use pdloss::graph::{
    build::{
        Dim, Element,
        Element::{F32, F64},
        Value::{Float, Int, Ints, Text},
        declare, floats, integers, node,
    },
    gradient::differentiate,
    proto::{ModelProto, NodeProto},
    shapes::Shapes,
    training_mode::{Options, fold, free_batch, prepare},
    upgrade::upgrade,
};

use crate::{
    graph::model::Case,
    runtime::{Array, Arrays, Numbers, open, run},
};

const CHANNELS: usize = 3;

fn with_parameters(case: Case) -> Case {
    case.input("scale", &[CHANNELS], 0.5, 2.0).input("bias", &[CHANNELS], -1.0, 1.0)
}

/// Normalization by the batch, spelt out by hand.
fn by_hand(shape: &[usize]) -> Case {
    let others: Vec<i64> = (0..shape.len() as i64).filter(|&axis| axis != 1).collect();
    let along: Vec<i64> = (1..shape.len() as i64 - 1).collect();
    let over = || [("axes", Ints(others.clone())), ("keepdims", Int(1))];
    with_parameters(Case::new(&format!("by hand {shape:?}"), F64).input("x", shape, -1.0, 3.0))
        .ints("along", &along)
        .number("epsilon", f64::from(1e-3_f32))
        .op("ReduceMean", &["x"], "mean", &over())
        .op("Sub", &["x", "mean"], "centred", &[])
        .op("Mul", &["centred", "centred"], "squares", &[])
        .op("ReduceMean", &["squares"], "variance", &over())
        .op("Add", &["variance", "epsilon"], "wide", &[])
        .op("Sqrt", &["wide"], "deviation", &[])
        .op("Div", &["centred", "deviation"], "unit", &[])
        .op("Unsqueeze", &["scale", "along"], "scales", &[])
        .op("Unsqueeze", &["bias", "along"], "biases", &[])
        .op("Mul", &["unit", "scales"], "scaled", &[])
        .op("Add", &["scaled", "biases"], "y", &[])
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn batch_normalization_in_training_mode_equals_its_formula() {
    for shape in [&[4, CHANNELS, 2, 3][..], &[5, CHANNELS], &[3, CHANNELS, 4], &[1, CHANNELS, 2, 2]] {
        let mut reference = by_hand(shape);
        if shape.len() == 2 {
            // There are no axes behind the channels to unsqueeze.
            for node in &mut reference.nodes {
                if node.op_type() == "Unsqueeze" {
                    *node = pdloss::graph::build::node("Identity", &[&node.input[0]], &[&node.output[0]], Vec::new());
                }
            }
        }
        reference.check().unwrap();
        for symbolic in [false, true] {
            let mut case = with_parameters(Case::new("op", F64).input("x", shape, -1.0, 3.0));
            case.constants.push(floats("mean", F64, &[CHANNELS], &[1.0, -2.0, 0.5]));
            case.constants.push(floats("variance", F64, &[CHANNELS], &[1.0, 2.0, 4.0]));
            let settings = [("epsilon", Float(1e-3)), ("momentum", Float(0.75))];
            case = case.op("BatchNormalization", &["x", "scale", "bias", "mean", "variance"], "y", &settings);
            case.symbolic = symbolic;
            let mut model = case.model(&[("y", F64)]);
            let running = prepare(&mut model, &Options::default()).unwrap();
            assert_eq!(running.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["mean", "variance"]);
            case.nodes = model.graph.unwrap().node;
            let count: usize = shape.iter().product();
            let weights: Vec<f64> = (0..count).map(|index| (index as f64 * 1.7).sin()).collect();
            let gradients = |case: &Case, more: &[&str]| {
                let (mut model, names) = case.differentiated().unwrap();
                for name in more {
                    let any = declare(name, F64, &[]);
                    let graph = model.graph.as_mut().unwrap();
                    graph.output.push(any);
                    if let Some(pdloss::graph::proto::TypeProtoValue::TensorType(tensor)) =
                        graph.output.last_mut().unwrap().r#type.as_mut().and_then(|kind| kind.value.as_mut())
                    {
                        tensor.shape = None;
                    }
                }
                let mut feeds = case.feeds();
                let weights = Array { shape: shape.to_vec(), numbers: Numbers::F64(weights.clone()) };
                feeds.insert("loss.weights".to_owned(), weights);
                let outputs = run(&mut open(&model).unwrap(), &feeds).unwrap();
                (names.iter().map(|name| outputs[name].values()).collect::<Vec<_>>(), outputs)
            };
            let (wanted, batch) = gradients(&reference, &["y", "mean", "variance"]);
            let (got, outputs) = gradients(&case, &["y", &running[0].next, &running[1].next]);
            for (got, wanted) in got.iter().zip(&wanted).chain([(&outputs["y"].values(), &batch["y"].values())]) {
                for (got, wanted) in got.iter().zip(wanted) {
                    assert!((got - wanted).abs() < 1e-12 * wanted.abs().max(1.0), "{shape:?} {got} {wanted}");
                }
            }
            for (old, running, new) in
                [([1.0, -2.0, 0.5], &running[0].next, "mean"), ([1.0, 2.0, 4.0], &running[1].next, "variance")]
            {
                for ((got, old), new) in outputs[running].values().iter().zip(old).zip(batch[new].values()) {
                    assert!((got - (0.75 * old + 0.25 * new)).abs() < 1e-12, "{got} {old} {new}");
                }
            }
        }
    }
}

fn conv_and_norm() -> ModelProto {
    let mut case = Case::new("conv and norm", F32).input("x", &[2, 3, 5, 5], -1.0, 1.0);
    case.constants.push(floats("w", F32, &[3, 3, 1, 1], &[0.5, -0.2, 0.1, 0.3, 0.9, -0.4, 0.2, 0.2, 0.7]));
    for (name, values) in [
        ("scale", [1.0, 2.0, 0.5]),
        ("bias", [0.0, 0.1, 0.2]),
        ("mean", [0.1, 0.2, 0.3]),
        ("variance", [1.0, 0.5, 2.0]),
    ] {
        case.constants.push(floats(name, F32, &[3], &values));
    }
    let case = case.op("Conv", &["x", "w"], "c", &[]);
    let case = case.op("BatchNormalization", &["c", "scale", "bias", "mean", "variance"], "y", &[]);
    let case =
        case.op("Mul", &["y", "y"], "squares", &[]).op("ReduceSum", &["squares"], "loss", &[("keepdims", Int(0))]);
    case.model(&[("loss", F32)])
}

#[test]
fn frozen_statistics_stay_and_still_carry_gradients() {
    let mut model = conv_and_norm();
    let running =
        prepare(&mut model, &Options { frozen: &|node| node.op_type() == "BatchNormalization", ..Options::default() })
            .unwrap();
    assert!(running.is_empty());
    differentiate(&mut model, "loss", &["w", "scale", "bias"]).unwrap();
    let mut model = conv_and_norm();
    assert_eq!(prepare(&mut model, &Options::default()).unwrap().len(), 2);
}

#[test]
fn what_the_forward_pass_alone_needs_is_not_kept() {
    let mut model = conv_and_norm();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.push(floats("low", F32, &[], &[0.0]));
    graph.initializer.push(floats("high", F32, &[], &[6.0]));
    graph.node[1].output[0] = "n".to_owned();
    graph.node.insert(2, node("Clip", &["n", "low", "high"], &["y"], Vec::new()));
    prepare(&mut model, &Options::default()).unwrap();
    differentiate(&mut model, "loss", &["w", "scale", "bias"]).unwrap();
    let nodes = &model.graph.as_ref().unwrap().node;
    let users = |value: &str| -> Vec<&str> {
        nodes.iter().filter(|node| node.input.iter().any(|name| name == value)).map(NodeProto::op_type).collect()
    };
    // Mean and centring; clipping. Any node behind the loss would hold the whole tensor until then.
    assert_eq!(users("c"), ["ReduceMean", "Sub"]);
    assert_eq!(users("n"), ["Clip"]);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn statistics_below_the_first_trained_weight_run_too() {
    let mut model = conv_and_norm();
    let running = prepare(&mut model, &Options::default()).unwrap();
    // Nothing of the normalization has a gradient here, and it must be written out all the same.
    model.graph.as_mut().unwrap().initializer.push(floats("factor", F32, &[], &[2.0]));
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(node("Mul", &["loss", "factor"], &["scaled"], Vec::new()));
    let names = differentiate(&mut model, "scaled", &["factor"]).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.output = vec![declare(&names[0], F32, &[]), declare(&running[0].next, F32, &[Dim::Known(3)])];
    let feeds = Arrays::from([(
        "x".to_owned(),
        Array { shape: vec![2, 3, 5, 5], numbers: Numbers::F32((0..150).map(|index| (index as f32).sin()).collect()) },
    )]);
    let outputs = run(&mut open(&model).unwrap(), &feeds).unwrap();
    assert!(outputs[&names[0]].values()[0] > 0.0);
    assert_ne!(outputs[&running[0].next].values(), [0.1, 0.2, 0.3]);
}

fn dropout(ratio: f64) -> (ModelProto, String) {
    let mut case = Case::new("dropout", F32).input("x", &[40, 50], 1.0, 2.0);
    case.constants.push(floats("ratio", F32, &[], &[ratio]));
    let case = case.op("Dropout", &["x", "ratio"], "a", &[]).op("Dropout", &["a", "ratio"], "b", &[]);
    let case = case.op("ReduceSum", &["b"], "loss", &[("keepdims", Int(0))]).symbolic();
    let mut model = case.model(&[("a", F32), ("b", F32), ("loss", F32)]);
    model.graph.as_mut().unwrap().input.push(declare("step", Element::I64, &[]));
    prepare(&mut model, &Options { dropout: Some("step"), ..Options::default() }).unwrap();
    let gradient = differentiate(&mut model, "loss", &["x"]).unwrap().remove(0);
    let dims = [Dim::Named("batch".to_owned()), Dim::Known(50)];
    model.graph.as_mut().unwrap().output.push(declare(&gradient, F32, &dims));
    (model, gradient)
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn dropout_is_a_function_of_the_step() {
    for ratio in [0.0, 0.2, 0.5] {
        let (model, gradient) = dropout(ratio);
        let mut session = open(&model).unwrap();
        let mut at = |step: i64| {
            let ones = Array { shape: vec![40, 50], numbers: Numbers::F32(vec![1.0; 2000]) };
            let step = Array { shape: vec![], numbers: Numbers::I64(vec![step]) };
            run(&mut session, &Arrays::from([("x".to_owned(), ones), ("step".to_owned(), step)])).unwrap()
        };
        let first = at(0);
        assert_eq!(first, at(0), "the same step draws the same mask");
        let mut shares = Vec::new();
        let mut agreements = 0;
        for step in [0, 1, 2, 1000, 2_000_000_000, i64::MAX] {
            let out = at(step);
            let kept = |name: &str| -> Vec<bool> { out[name].values().iter().map(|&value| value != 0.0).collect() };
            let (a, b) = (kept("a"), kept("b"));
            shares.push(a.iter().filter(|&&kept| kept).count() as f64 / 2000.0);
            agreements += usize::from(step != 0 && out["a"] == first["a"]);
            // What is left is scaled to keep the mean, and the gradient is that of a product with the masks.
            let scale = 1.0 / (1.0 - ratio);
            assert!(out["a"].values().iter().all(|&value| value == 0.0 || (value - scale).abs() < 1e-6));
            assert_eq!(out["b"], out[&gradient]);
            // Two nodes draw apart from each other.
            let both = a.iter().zip(&b).filter(|(_, b)| **b).count() as f64 / 2000.0;
            assert!((both - (1.0 - ratio) * (1.0 - ratio)).abs() < 0.05, "{ratio} {both}");
            // Neighbours do not know of each other.
            let pairs = a.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64 / 1999.0;
            assert!((pairs - (1.0 - ratio) * (1.0 - ratio)).abs() < 0.05, "{ratio} {pairs}");
        }
        // Five standard deviations.
        let allowed = 5.0 * (ratio * (1.0 - ratio) / 2000.0).sqrt() + 1e-9;
        assert!(shares.iter().all(|share| (share - (1.0 - ratio)).abs() <= allowed), "{ratio} {shares:?}");
        assert_eq!(agreements, if ratio == 0.0 { 5 } else { 0 });
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn constants_are_folded() {
    let case = Case::new("fold", F32)
        .input("x", &[2, 3, 4], -1.0, 1.0)
        .int("one", 1)
        .ints("front", &[0])
        .ints("free", &[-1])
        .op("Shape", &["x"], "shape", &[])
        .op("Gather", &["shape", "one"], "length", &[])
        .op("Cast", &["length"], "float", &[("to", Int(1))])
        .op("Sqrt", &["float"], "root", &[])
        .op("Unsqueeze", &["length", "front"], "vector", &[])
        .op("Concat", &["vector", "free"], "target", &[("axis", Int(0))])
        .op("Reshape", &["x", "target"], "turned", &[])
        .op("Identity", &["turned"], "unused", &[])
        .op("Div", &["turned", "root"], "y", &[]);
    let before = case.model(&[("y", F32)]);
    let mut after = before.clone();
    fold(&mut after).unwrap();
    let kinds: Vec<&str> = after.graph.as_ref().unwrap().node.iter().map(NodeProto::op_type).collect();
    assert_eq!(kinds, ["Constant", "Constant", "Reshape", "Div"]);
    assert!(after.graph.as_ref().unwrap().initializer.is_empty());
    let out = |model: &ModelProto| run(&mut open(model).unwrap(), &case.feeds()).unwrap();
    assert_eq!(out(&before), out(&after));
    // Scales that an exporter without folding joins in the graph.
    let joined =
        Case::new("joined", F32).input("x", &[1, 2, 3, 4], -1.0, 1.0).ints("same", &[1, 1]).ints("twice", &[2, 2]);
    let joined = joined.op("Cast", &["same"], "a", &[("to", Int(1))]).op("Cast", &["twice"], "b", &[("to", Int(1))]);
    let joined = joined.op("Concat", &["a", "b"], "scales", &[("axis", Int(0))]);
    let before = joined.op("Resize", &["x", "", "scales"], "y", &[]).model(&[("y", F32)]);
    let mut after = before.clone();
    fold(&mut after).unwrap();
    let kinds: Vec<&str> = after.graph.as_ref().unwrap().node.iter().map(NodeProto::op_type).collect();
    assert_eq!(kinds, ["Constant", "Resize"]);
    // With a batch that is not known its length stays in the graph.
    let mut symbolic = Case { symbolic: true, ..case }.model(&[("y", F32)]);
    fold(&mut symbolic).unwrap();
    let shapes = Shapes::of(&symbolic).unwrap();
    assert_eq!(shapes.shape("turned").unwrap()[0], Dim::Known(3));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn older_opsets_are_brought_up() {
    let x = |opset| Case::new("old", F32).input("x", &[2, 3, 4], -1.0, 1.0).opset(opset);
    let cases = [
        x(9).op("Clip", &["x"], "y", &[("min", Float(-0.3)), ("max", Float(0.4))]),
        x(9).op("Clip", &["x"], "y", &[("max", Float(0.4))]),
        x(9).op("Slice", &["x"], "y", &[("starts", Ints(vec![1])), ("ends", Ints(vec![3])), ("axes", Ints(vec![2]))]),
        x(10).op("Pad", &["x"], "y", &[("pads", Ints(vec![0, 0, 1, 0, 0, 2])), ("value", Float(0.5))]),
        x(12).op("ReduceSum", &["x"], "y", &[("axes", Ints(vec![1]))]),
        x(12).op("Unsqueeze", &["x"], "a", &[("axes", Ints(vec![0]))]).op(
            "Squeeze",
            &["a"],
            "y",
            &[("axes", Ints(vec![0]))],
        ),
        x(12).ops("Split", &["x"], &["a", "b"], &[("axis", Int(2)), ("split", Ints(vec![1, 3]))]).op(
            "Neg",
            &["b"],
            "y",
            &[],
        ),
        x(12).op("Softmax", &["x"], "y", &[("axis", Int(2))]),
        x(11).op("Dropout", &["x"], "y", &[("ratio", Float(0.3))]),
        x(14).op("Relu", &["x"], "y", &[]),
    ];
    for case in cases {
        let before = case.model(&[("y", F32)]);
        let mut after = before.clone();
        upgrade(&mut after).unwrap();
        let out = |model: &ModelProto| run(&mut open(model).unwrap(), &case.feeds()).unwrap();
        assert_eq!(out(&before), out(&after), "{:?}", case.nodes[0].op_type);
    }
    let mut ancient = x(6).op("Relu", &["x"], "y", &[]).model(&[("y", F32)]);
    assert_eq!(upgrade(&mut ancient).unwrap_err().to_string(), "model: wanted opset 7 or newer, got 6");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn single_image_models_take_batches() {
    let mut case = Case::new("single", F32).input("x", &[1, 4, 1, 1], -1.0, 1.0);
    case.constants.push(integers("flat", &[2], &[1, 4]));
    let case = case.op("Relu", &["x"], "a", &[]).op("Reshape", &["a", "flat"], "y", &[("allowzero", Int(0))]);
    let mut model = case.model(&[("y", F32)]);
    model.graph.as_mut().unwrap().output = vec![declare("y", F32, &[Dim::Known(1), Dim::Known(4)])];
    free_batch(&mut model).unwrap();
    let x = Array { shape: vec![3, 4, 1, 1], numbers: Numbers::F32((0..12).map(|value| value as f32).collect()) };
    let out = run(&mut open(&model).unwrap(), &Arrays::from([("x".to_owned(), x.clone())])).unwrap();
    assert_eq!(out["y"], Array { shape: vec![3, 4], ..x });

    // A constant that stands beside one image stands beside each.
    let mut beside = Case::new("beside", F32).input("x", &[1, 4], -1.0, 1.0);
    beside.constants.push(floats("w", F32, &[1, 4], &[9.0; 4]));
    let beside = beside.op("Concat", &["x", "w"], "y", &[("axis", Int(1))]);
    let mut model = beside.model(&[("y", F32)]);
    model.graph.as_mut().unwrap().output = vec![declare("y", F32, &[Dim::Known(1), Dim::Known(8)])];
    assert_eq!(free_batch(&mut model).unwrap(), Some(1));
    let x = Array { shape: vec![2, 4], numbers: Numbers::F32((0..8).map(|value| value as f32).collect()) };
    let out = run(&mut open(&model).unwrap(), &Arrays::from([("x".to_owned(), x)])).unwrap();
    let wanted = [0.0, 1.0, 2.0, 3.0, 9.0, 9.0, 9.0, 9.0, 4.0, 5.0, 6.0, 7.0, 9.0, 9.0, 9.0, 9.0];
    assert_eq!(out["y"], Array { shape: vec![2, 8], numbers: Numbers::F32(wanted.to_vec()) });

    // The first image alone is that of no batch.
    let mut held = Case::new("held", F32).input("x", &[1, 4], -1.0, 1.0);
    held.constants.push(integers("first", &[], &[0]));
    held.constants.push(integers("front", &[1], &[0]));
    let held = held.op("Gather", &["x", "first"], "a", &[("axis", Int(0))]).op("Unsqueeze", &["a", "front"], "y", &[]);
    let mut model = held.model(&[("y", F32)]);
    model.graph.as_mut().unwrap().output = vec![declare("y", F32, &[Dim::Known(1), Dim::Known(4)])];
    let before = model.clone();
    let error = free_batch(&mut model).unwrap_err().to_string();
    assert_eq!(
        error,
        "y: wanted [batch, ...] once the batch is free, got [1, 4]: the model holds it at 1, from Gather 'a' on. The batch of the \
         model is fixed at 1; export it with a free one, in PyTorch by torch.onnx.export(model, (torch.randn(2, 4),), \
         \"model.onnx\", dynamic_shapes=({0: torch.export.Dim(\"batch\")},))"
    );
    assert_eq!(model, before);
    model.producer_name = Some("pytorch".to_owned());
    let error = free_batch(&mut model).unwrap_err().to_string();
    let line = "dynamo=False, input_names=[\"x\"], dynamic_axes={\"x\": {0: \"batch\"}})";
    assert!(error.ends_with(line), "{error}");
}

/// What a model of a fixed batch gives for a larger one, row by row as before.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn constants_that_hold_the_batch_are_freed() {
    let ints =
        |case: &mut Case, name: &str, values: &[i64]| case.constants.push(integers(name, &[values.len()], values));
    let images = |batch: usize| Case::new("fixed", F32).input("x", &[batch, 6, 2, 2], -1.0, 1.0);
    // Squeeze drops no batch, whether its axes are given or not.
    let squeezed = images(1).op("GlobalAveragePool", &["x"], "a", &[]).op("Squeeze", &["a"], "y", &[]);
    let mut named = images(1).op("GlobalAveragePool", &["x"], "a", &[]);
    ints(&mut named, "axes", &[0, 2, 3]);
    let named = named.op("Squeeze", &["a", "axes"], "y", &[]);
    // A slice of all images, and lengths to resize to.
    let mut sliced = images(3);
    for (name, values) in [("from", [0, 1]), ("to", [3, 5]), ("over", [0, 1])] {
        ints(&mut sliced, name, &values);
    }
    let sliced = sliced.op("Slice", &["x", "from", "to", "over"], "a", &[]).op("GlobalAveragePool", &["a"], "b", &[]);
    let sliced = sliced.op("Flatten", &["b"], "y", &[]);
    let mut resized = images(2);
    ints(&mut resized, "sizes", &[2, 6, 4, 4]);
    let resized = resized.op("Resize", &["x", "", "", "sizes"], "a", &[("mode", Text("nearest".to_owned()))]).op(
        "Flatten",
        &["a"],
        "y",
        &[],
    );
    // Heads beside the batch on one axis, tokens first, and back.
    let mut tokens = images(2);
    for (name, values) in [("cut", &[2, 6, 4][..]), ("heads", &[4, 4, 3]), ("whole", &[4, 2, 6]), ("flat", &[2, 24])] {
        ints(&mut tokens, name, values);
    }
    let perm = |order: &[i64]| [("perm", Ints(order.to_vec()))];
    let tokens = tokens
        .op("Reshape", &["x", "cut"], "a", &[])
        .op("Transpose", &["a"], "b", &perm(&[2, 0, 1]))
        .op("Reshape", &["b", "heads"], "c", &[])
        .op("Neg", &["c"], "d", &[])
        .op("Reshape", &["d", "whole"], "e", &[])
        .op("Transpose", &["e"], "f", &perm(&[1, 0, 2]))
        .op("Reshape", &["f", "flat"], "y", &[]);
    // What is the same for each image, as often as there are images.
    let mut added = images(2);
    let row: Vec<f64> = (0..24).map(f64::from).collect();
    added.constants.push(floats("rows", F32, &[2, 6, 2, 2], &[row.clone(), row].concat()));
    let added = added.op("Add", &["x", "rows"], "a", &[]).op("Flatten", &["a"], "y", &[]);
    for (what, case, batch, dim) in [
        ("squeezed", squeezed, 1, 6),
        ("named", named, 1, 6),
        ("sliced", sliced, 3, 4),
        ("resized", resized, 2, 96),
        ("tokens", tokens, 2, 24),
        ("added", added, 2, 24),
    ] {
        let mut before = case.model(&[("y", F32)]);
        let lengths: &[Dim] = if what == "squeezed" || what == "named" {
            &[Dim::Known(6)]
        } else {
            &[Dim::Known(batch), Dim::Known(dim)]
        };
        before.graph.as_mut().unwrap().output = vec![declare("y", F32, lengths)];
        let mut freed = before.clone();
        assert_eq!(free_batch(&mut freed).unwrap(), Some(batch), "{what}");
        let values: Vec<f32> = (0..(batch + 2) * 24).map(|value| (value * 37 % 101) as f32).collect();
        let embed = |model: &ModelProto, from: usize, count: usize| {
            let part = values[from * 24..(from + count) * 24].to_vec();
            let x = Array { shape: vec![count, 6, 2, 2], numbers: Numbers::F32(part) };
            run(&mut open(model).unwrap(), &Arrays::from([("x".to_owned(), x)])).unwrap()["y"].values()
        };
        let all = embed(&freed, 0, batch + 2);
        assert_eq!(all.len(), (batch + 2) * dim, "{what}");
        for first in 0..=2 {
            assert_eq!(all[first * dim..(first + batch) * dim], embed(&before, first, batch), "{what}");
        }
    }
}

#[test]
fn wrong_models_are_named() {
    let mut case = Case::new("wrong", F32).input("x", &[2, 3], -1.0, 1.0).input("mean", &[3], 0.0, 1.0);
    for name in ["scale", "bias", "variance"] {
        case.constants.push(floats(name, F32, &[3], &[1.0; 3]));
    }
    let case = case.op("BatchNormalization", &["x", "scale", "bias", "mean", "variance"], "y", &[]);
    let mut model = case.model(&[("y", F32)]);
    let error = prepare(&mut model, &Options::default()).unwrap_err().to_string();
    assert_eq!(error, "BatchNormalization 'y': its running mean 'mean' is not an initializer");
    let mut case = Case::new("ratio", F32).input("x", &[2, 3], -1.0, 1.0);
    case.constants.push(floats("ratio", F32, &[], &[1.0]));
    let mut model = case.op("Dropout", &["x", "ratio"], "y", &[]).model(&[("y", F32)]);
    let error = prepare(&mut model, &Options { dropout: Some("step"), ..Options::default() }).unwrap_err().to_string();
    assert_eq!(error, "Dropout 'y': its ratio is 1, wanted 0 <= ratio < 1");
}
