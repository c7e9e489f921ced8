//! What exports have beside layers: branches that are decided, numbers by chance, weights that are standardised, older opsets.

use pdloss::graph::{
    branches,
    build::{
        Dim,
        Element::{self, F32},
        Value::{self, Float, Int, Ints, Text},
        declare, floats, node,
    },
    gradient::differentiate,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto},
    step::export_embedder,
    training_mode::{Options, prepare},
    upgrade::upgrade,
};

use crate::{
    graph::model::Case,
    runtime::{Array, Arrays, Numbers, open, run},
};

fn text(value: &str) -> Value {
    Text(value.to_owned())
}

fn kinds(model: &ModelProto) -> Vec<&str> {
    model.graph.as_ref().unwrap().node.iter().map(NodeProto::op_type).collect()
}

fn branch(name: &str, nodes: Vec<NodeProto>, constant: f64, output: &str) -> AttributeProto {
    let initializer = vec![floats("inner", F32, &[], &[constant])];
    let output = vec![declare(output, F32, &[])];
    let graph = GraphProto { name: Some(name.to_owned()), node: nodes, initializer, output, ..GraphProto::default() };
    AttributeProto {
        name: Some(name.to_owned()),
        g: Some(Box::new(graph)),
        r#type: Some(5),
        ..AttributeProto::default()
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn the_branch_that_shapes_decide_takes_the_place_of_its_node() {
    // Twice the same names inside, and one outside: y = 3 (2 x) where the second axis has four elements.
    let mut case = Case::new("branches", F32).input("x", &[2, 4], -1.0, 1.0).int("four", 4).int("one", 1);
    case.constants.push(floats("inner", F32, &[], &[0.0]));
    let mut case = case.op("Shape", &["x"], "shape", &[]).op("Gather", &["shape", "one"], "length", &[]);
    case = case.op("Equal", &["length", "four"], "condition", &[]);
    for (input, output, factor) in [("x", "middle", 2.0), ("middle", "last", 3.0)] {
        let scaled = |result: &str| vec![node("Mul", &[input, "inner"], &[result], Vec::new())];
        let branches = vec![
            branch("then_branch", scaled("scaled"), factor, "scaled"),
            branch("else_branch", scaled("other"), -1.0, "other"),
        ];
        case.nodes.push(node("If", &["condition"], &[output], branches));
    }
    let case = case.op("Add", &["last", "inner"], "y", &[]);
    let before = case.model(&[("y", F32)]);
    let mut after = before.clone();
    branches::inline(&mut after).unwrap();
    assert!(!kinds(&after).contains(&"If"));
    let out = |model: &ModelProto| run(&mut open(model).unwrap(), &case.feeds()).unwrap()["y"].values();
    let wanted: Vec<f64> = case.feeds()["x"].values().iter().map(|x| 6.0 * x).collect();
    assert!(out(&after).iter().zip(&wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-6));
    assert_eq!(out(&before), out(&after));
    // A condition that only the data decides stays.
    let mut case = Case::new("data", F32).input("x", &[], 0.5, 1.0).number("zero", 0.0);
    case = case.op("Greater", &["x", "zero"], "condition", &[]);
    let same = |result: &str| vec![node("Identity", &["x"], &[result], Vec::new())];
    let branches = vec![branch("then_branch", same("a"), 0.0, "a"), branch("else_branch", same("b"), 0.0, "b")];
    case.nodes.push(node("If", &["condition"], &["y"], branches));
    let mut model = case.model(&[("y", F32)]);
    branches::inline(&mut model).unwrap();
    assert_eq!(kinds(&model), ["Greater", "If"]);
}

/// Stochastic depth in the three spellings that exporters have, of `x` `[batch, 3]`.
fn stochastic_depth(spelling: &str) -> Case {
    let case = Case::new(spelling, F32).symbolic().input("x", &[400, 3], 1.0, 2.0).number("p", 0.8);
    let case = case.ints("zero", &[0]).ints("one", &[1]).op("Slice", &["x", "zero", "one", "one"], "column", &[]);
    let case = match spelling {
        "floor" => case
            .op("RandomUniformLike", &["column"], "u", &[("dtype", Int(1))])
            .op("Add", &["u", "p"], "raised", &[])
            .op("Floor", &["raised"], "mask", &[]),
        "less" => case.op("RandomUniformLike", &["column"], "u", &[]).op("Less", &["u", "p"], "hit", &[]).op(
            "Cast",
            &["hit"],
            "mask",
            &[("to", Int(1))],
        ),
        _ => case.op("Shape", &["column"], "shape", &[]).op("Expand", &["p", "shape"], "chance", &[]).op(
            "Bernoulli",
            &["chance"],
            "mask",
            &[],
        ),
    };
    case.op("Div", &["mask", "p"], "scaled", &[]).op("Mul", &["x", "scaled"], "y", &[])
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn stochastic_depth_is_drawn_by_the_step_and_left_out_in_inference() {
    for spelling in ["floor", "less", "bernoulli"] {
        let case = stochastic_depth(spelling);
        let exported = case.model(&[("y", F32)]);
        let mut model = exported.clone();
        model.graph.as_mut().unwrap().input.push(declare("step", Element::I64, &[]));
        prepare(&mut model, &Options { dropout: Some("step"), ..Options::default() }).unwrap();
        let x = case.feeds()["x"].clone();
        let mut session = open(&model).unwrap();
        let mut at = |step: i64| {
            let step = Array { shape: vec![], numbers: Numbers::I64(vec![step]) };
            run(&mut session, &Arrays::from([("x".to_owned(), x.clone()), ("step".to_owned(), step)])).unwrap()["y"]
                .values()
        };
        let first = at(7);
        assert_eq!(first, at(7), "{spelling}: the same step draws the same");
        assert_ne!(first, at(8), "{spelling}");
        // An image goes through whole, or not at all.
        let rows: Vec<bool> = first
            .chunks(3)
            .zip(x.values().chunks(3))
            .map(|(row, x)| {
                let kept = row[0] != 0.0;
                let wanted = |x: f64| if kept { x / 0.8 } else { 0.0 };
                assert!(
                    row.iter().zip(x).all(|(got, x)| (got - wanted(*x)).abs() < 1e-5),
                    "{spelling}: {row:?} of {x:?}"
                );
                kept
            })
            .collect();
        let share = rows.iter().filter(|&&kept| kept).count() as f64 / 400.0;
        assert!((share - 0.8).abs() < 0.1, "{spelling}: {share} of the images went through");
        // In inference it is the data: where dropout is off, and in the embedder that is written.
        let mut off = exported.clone();
        prepare(&mut off, &Options::default()).unwrap();
        for model in [off, export_embedder(&exported, |_| None).unwrap()] {
            let out = run(&mut open(&model).unwrap(), &case.feeds()).unwrap()["y"].values();
            assert!(out.iter().zip(x.values()).all(|(got, x)| (got - x).abs() < 1e-6), "{spelling}");
            assert!(!kinds(&model).iter().any(|kind| kind.starts_with("Random") || *kind == "Bernoulli"), "{spelling}");
        }
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn other_chance_is_drawn_too_and_named_where_dropout_is_off() {
    let case = Case::new("noise", F32).input("x", &[2000], 0.0, 1.0);
    let case = case.op("RandomNormalLike", &["x"], "noise", &[("mean", Float(3.0)), ("scale", Float(2.0))]);
    let case = case.op("Add", &["x", "noise"], "y", &[]);
    let mut model = case.model(&[("noise", F32)]);
    model.graph.as_mut().unwrap().input.push(declare("step", Element::I64, &[]));
    let mut off = model.clone();
    prepare(&mut model, &Options { dropout: Some("step"), ..Options::default() }).unwrap();
    let mut feeds = case.feeds();
    feeds.insert("step".to_owned(), Array { shape: vec![], numbers: Numbers::I64(vec![1]) });
    let drawn = run(&mut open(&model).unwrap(), &feeds).unwrap()["noise"].values();
    let mean = drawn.iter().sum::<f64>() / 2000.0;
    let variance = drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2000.0;
    assert!((mean - 3.0).abs() < 0.25 && (variance.sqrt() - 2.0).abs() < 0.2, "{mean} {variance}");
    let error = prepare(&mut off, &Options::default()).unwrap_err().to_string();
    assert!(error.starts_with("RandomNormalLike 'noise': its numbers come by chance"), "{error}");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn weights_are_standardised_in_training_and_inference_alike() {
    // Both spellings: statistics of the weights given, or in training mode.
    for training in [0, 1] {
        let mut case = Case::new("standardised", F32).symbolic().input("x", &[2, 2, 4, 4], -1.0, 1.0);
        case = case.input("w", &[3, 2, 3, 3], -1.0, 1.0).input("scale", &[3], 0.5, 2.0).input("bias", &[3], -1.0, 1.0);
        let case = case.ints("flat", &[1, 3, -1]).ints("whole", &[3, 2, 3, 3]).ints("axes", &[0, 2]);
        let case = case.opset(18).op("Reshape", &["w", "flat"], "rows", &[]);
        let keep = [("keepdims", Int(0))];
        let case = case.op("ReduceMean", &["rows", "axes"], "mean", &keep).op("Mul", &["rows", "rows"], "square", &[]);
        let case =
            case.op("ReduceMean", &["square", "axes"], "of_square", &keep).op("Mul", &["mean", "mean"], "of_mean", &[]);
        let case = case.op("Sub", &["of_square", "of_mean"], "variance", &[]);
        let settings = [("training_mode", Int(1)), ("epsilon", Float(1e-3))];
        let inputs = ["rows", "scale", "bias", "mean", "variance"];
        let case = case.op("BatchNormalization", &inputs, "normal", &settings[1 - training as usize..]);
        let case = case.op("Reshape", &["normal", "whole"], "weights", &[]).op("Conv", &["x", "weights"], "y", &[]);
        if training == 0 {
            println!("{:.1e}", case.check().unwrap());
        }
        let exported = case.model(&[("y", F32)]);
        let mut model = exported.clone();
        assert_eq!(prepare(&mut model, &Options::default()).unwrap(), [], "it has no running statistics");
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(node(
            "ReduceSum",
            &["y"],
            &["loss"],
            vec![pdloss::graph::build::attribute("keepdims", Int(0))],
        ));
        let names = differentiate(&mut model, "loss", &["w", "scale"]).unwrap();
        let graph = model.graph.as_mut().unwrap();
        graph.output =
            vec![declare(&names[0], F32, &[3, 2, 3, 3].map(Dim::Known)), declare("y", F32, &vec![Dim::Unknown; 4])];
        let out = run(&mut open(&model).unwrap(), &case.feeds()).unwrap();
        assert!(out[&names[0]].values().iter().any(|value| value.abs() > 1e-3));
        // The embedder that is written does it by the statistics that the graph computes: the same, and any runtime has it.
        let embedder = export_embedder(&exported, |_| None).unwrap();
        let written = run(&mut open(&embedder).unwrap(), &case.feeds()).unwrap()["y"].values();
        let far = written.iter().zip(out["y"].values()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-5, "{far}");
    }
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn sequences_that_are_taken_apart_at_once_are_splits() {
    let case = |sizes: Case| {
        let case =
            sizes.int("first", 0).int("last", -1).op("SplitToSequence", &["x", "sizes"], "parts", &[("axis", Int(1))]);
        let case = case.op("SequenceAt", &["parts", "first"], "a", &[]).op("SequenceAt", &["parts", "last"], "b", &[]);
        case.op("Neg", &["b"], "y", &[])
    };
    let x = || Case::new("chunks", F32).symbolic().input("x", &[2, 5, 3], -1.0, 1.0);
    for (case, lengths) in [(case(x().int("sizes", 3)), [3, 2]), (case(x().ints("sizes", &[1, 3, 1])), [1, 1])] {
        let exported = case.model(&[("a", F32), ("b", F32)]);
        let mut model = exported.clone();
        prepare(&mut model, &Options::default()).unwrap();
        let out = run(&mut open(&model).unwrap(), &case.feeds()).unwrap();
        assert_eq!(["a", "b"].map(|name| out[name].shape[1]), lengths);
        assert_eq!(out, run(&mut open(&exported).unwrap(), &case.feeds()).unwrap());
        assert!(kinds(&model).contains(&"Split") && !kinds(&model).iter().any(|kind| kind.contains("Sequence")));
    }
    // At a place that only the data knows it stays.
    let open_end = x().int("sizes", 3).index("place", &[], &[1]);
    let open_end = open_end.op("SplitToSequence", &["x", "sizes"], "parts", &[("axis", Int(1))]);
    let open_end = open_end.op("SequenceAt", &["parts", "place"], "y", &[]);
    let mut model = open_end.model(&[("y", F32)]);
    prepare(&mut model, &Options::default()).unwrap();
    assert!(kinds(&model).contains(&"SplitToSequence"));
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn older_images_are_resized_and_older_softmaxes_taken_over_several_axes() {
    let x = |opset| Case::new("old", F32).input("x", &[1, 2, 4, 6], -1.0, 1.0).opset(opset);
    let scales = |case: Case, scales: [f64; 4]| case.numbers("scales", &scales);
    let mut cases = vec![
        x(12).op("Softmax", &["x"], "y", &[("axis", Int(1))]),
        x(11).op("LogSoftmax", &["x"], "y", &[("axis", Int(-2))]),
        x(12).op("Softmax", &["x"], "y", &[]),
    ];
    for mode in ["nearest", "linear"] {
        let settings = [("mode", text(mode))];
        cases.push(scales(x(9), [1.0, 1.0, 2.0, 1.5]).op("Upsample", &["x", "scales"], "y", &settings));
        cases.push(scales(x(10), [1.0, 1.0, 2.0, 1.5]).op("Resize", &["x", "scales"], "y", &settings));
        cases.push(scales(x(10), [1.0, 1.0, 0.5, 0.4]).op("Resize", &["x", "scales"], "y", &settings));
    }
    let rows = Case::new("old", F32).input("x", &[3, 4], -1.0, 1.0).input("u", &[2, 4], -1.0, 1.0).opset(9);
    let rows = rows.index("at", &[2, 4], &[0, 1, 2, 0, 1, 2, 0, 1]);
    cases.push(rows.op("Scatter", &["x", "at", "u"], "y", &[("axis", Int(0))]));
    for case in cases {
        let before = case.model(&[("y", F32)]);
        let mut after = before.clone();
        upgrade(&mut after).unwrap();
        let out = |model: &ModelProto| run(&mut open(model).unwrap(), &case.feeds()).unwrap()["y"].clone();
        let (before, after) = (out(&before), out(&after));
        assert_eq!(before.shape, after.shape);
        let far = before.values().iter().zip(after.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-6, "{} {:?}: {far}", case.nodes[0].op_type(), case.nodes[0].attribute);
    }
    let mixed = scales(x(10), [1.0, 1.0, 0.5, 2.0]).op("Resize", &["x", "scales"], "y", &[("axes", Ints(vec![]))]);
    let error = upgrade(&mut mixed.model(&[("y", F32)])).unwrap_err().to_string();
    assert!(error.starts_with("Resize 'y': its scales must be constants"), "{error}");
}
