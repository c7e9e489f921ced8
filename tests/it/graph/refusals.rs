//! What cannot be differentiated is named; what is shared is added up.

use pdloss::graph::{
    build::{
        Element::{F32, F64},
        Value::{self, Int, Ints},
        declare, node,
    },
    gradient::{differentiate, influences},
    proto::{AttributeProto, GraphProto, ModelProto},
};

use crate::{
    graph::model::Case,
    runtime::{open, run},
};

fn error(model: &ModelProto, loss: &str, wrt: &[&str]) -> String {
    let mut changed = model.clone();
    let error = differentiate(&mut changed, loss, wrt).unwrap_err().to_string();
    assert!(changed == *model, "a model that is refused stays as it was");
    error
}

#[test]
fn operators_without_a_rule_are_named_all_at_once() {
    let case = Case::new("unknown", F32).input("x", &[2, 3], -1.0, 1.0).input("w", &[3], -1.0, 1.0);
    let case = case.op("LRN", &["w"], "lrn", &[("size", Int(1))]).op("Trilu", &["x"], "aside", &[]);
    let case = case.op("Mul", &["x", "lrn"], "a", &[]).op("Fancy", &["a"], "fancy", &[]).domain("some.where");
    let case = case.op("ReduceSum", &["fancy"], "loss", &[("keepdims", Int(0))]);
    let model = case.model(&[("loss", F32)]);
    let reason = "there is no rule to differentiate this operator";
    let (norm, any) = ("use BatchNormalization or GroupNormalization", "write it in MatMul, Conv and arithmetic");
    assert_eq!(error(&model, "loss", &["w"]), format!("LRN 'lrn', some.where.Fancy 'fancy': {reason}; {norm}"));
    // What does not lie between the loss and the values asked for need not be known.
    assert_eq!(
        error(&model, "loss", &["x"]),
        format!("some.where.Fancy 'fancy': {reason}; {any}, or freeze the weights before it")
    );
    assert_eq!(influences(&model, "loss", &["x", "w", "aside"]).unwrap(), [true, true, false]);
}

/// Attributes of the standard's newer versions, or of none, would change a result without changing its gradient.
#[test]
fn attributes_that_a_rule_does_not_know_are_named() {
    let gradient = |operator: &str, inputs: &[&str], attribute: (&str, Value)| {
        let case =
            Case::new(operator, F32).input("x", &[1, 4, 2, 2], -1.0, 1.0).op(operator, inputs, "y", &[attribute]);
        let case = case.op("ReduceSum", &["y"], "loss", &[("keepdims", Int(0))]).model(&[("loss", F32)]);
        differentiate(&mut case.clone(), "loss", &["x"]).map_err(|error| error.to_string())
    };
    let attention = ["x", "x", "x"];
    let reason = gradient("Attention", &attention, ("left_window_size", Int(2))).unwrap_err();
    assert_eq!(
        reason,
        "Attention 'y' with attribute 'left_window_size': there is no rule to differentiate this operator; give it a mask in \
         place of a window"
    );
    assert!(gradient("Attention", &attention, ("left_window_size", Int(-1))).is_ok());
    let text = |text: &str| Value::Text(text.to_owned());
    assert!(gradient("SpaceToDepth", &["x"], ("mode", text("CRD"))).unwrap_err().contains("with attribute 'mode'"));
    assert!(gradient("Gelu", &["x"], ("approximate", text("fast"))).unwrap_err().contains("approximate is 'fast'"));
    // Whatever comes to an operator with a rule, by the operators' own names.
    for operator in [
        "Relu",
        "Softmax",
        "Sigmoid",
        "Erf",
        "Exp",
        "HardSwish",
        "Mish",
        "Swish",
        "Sqrt",
        "Neg",
        "Tanh",
        "Abs",
        "Softplus",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "ReduceSum",
        "ReduceMean",
        "Transpose",
        "Flatten",
        "Identity",
        "TopK",
        "Split",
        "LeakyRelu",
        "LpNormalization",
        "MeanVarianceNormalization",
        "Elu",
        "Selu",
        "Celu",
        "Cast",
        "Dropout",
    ] {
        let reason = gradient(operator, &["x"], ("of_tomorrow", Int(1))).unwrap_err();
        assert!(reason.contains(&format!("{operator} 'y' with attribute 'of_tomorrow'")), "{reason}");
    }
}

#[test]
fn what_has_no_gradient_is_said() {
    let case = Case::new("none", F32).input("x", &[2, 3], -1.0, 1.0).input("w", &[3], -1.0, 1.0);
    let case = case.index("i", &[2], &[0, 1]).op("Shape", &["w"], "shape", &[]).op("Relu", &["x"], "a", &[]);
    let case = case.op("ReduceSum", &["a"], "loss", &[("keepdims", Int(0))]);
    let model = case.model(&[("loss", F32)]);
    assert_eq!(error(&model, "loss", &["x", "w"]), "w: 'loss' does not depend on it, so it has no gradient");
    assert_eq!(error(&model, "a", &["x"]), "a: wanted a single number to differentiate, got shape [2, 3]");
    assert_eq!(error(&model, "loss", &["i"]), "i: wanted float32 or float64 to have a gradient, got another type");
    assert_eq!(error(&model, "loss", &["nobody"]), "nobody: the graph has no value of this name");
    assert_eq!(error(&model, "nothing", &["x"]), "nothing: the graph has no value of this name");
    let mut old = model.clone();
    old.opset_import[0].version = Some(13);
    let reason = "model: wanted opset 17 or newer to write gradients in, got 13; upgrade it first";
    assert_eq!(error(&old, "loss", &["x"]), reason);
    let free = Case::new("free", F32).input("x", &[2, 3], -1.0, 1.0).ints("pads", &[1, 0, 0, 0]);
    let free = free.op("Pad", &["x", "pads"], "a", &[("mode", pdloss::graph::build::Value::Text("mirror".to_owned()))]);
    let free = free.op("ReduceSum", &["a"], "loss", &[("keepdims", Int(0))]).model(&[("loss", F32)]);
    assert_eq!(
        error(&free, "loss", &["x"]),
        "Pad 'a': its mode is 'mirror'; wanted constant, reflect, edge or wrap for its gradient"
    );
}

#[test]
fn bounds_and_amounts_have_no_gradient() {
    let case =
        Case::new("bounds", F32).input("x", &[3], -1.0, 1.0).input("low", &[], -0.5, 0.0).input("fill", &[], 0.0, 1.0);
    let case =
        case.ints("pads", &[1, 1]).op("Clip", &["x", "low"], "a", &[]).op("Pad", &["a", "pads", "fill"], "b", &[]);
    let model = case.op("ReduceSum", &["b"], "loss", &[("keepdims", Int(0))]).model(&[("loss", F32)]);
    assert_eq!(influences(&model, "loss", &["x", "low", "fill"]).unwrap(), [true, false, false]);
    assert_eq!(error(&model, "loss", &["x", "low"]), "low: 'loss' does not depend on it, so it has no gradient");
}

#[test]
fn what_a_subgraph_takes_from_outside_is_not_lost() {
    let mut case = Case::new("branches", F32).input("x", &[2], -1.0, 1.0).input("w", &[2], -1.0, 1.0);
    let branch = |name: &str, operator: &str| {
        let inner = node(operator, &["x", "w"], &[name], Vec::new());
        let graph = GraphProto { node: vec![inner], output: vec![declare(name, F32, &[])], ..GraphProto::default() };
        AttributeProto {
            name: Some(format!("{name}_branch")),
            g: Some(Box::new(graph)),
            r#type: Some(5),
            ..AttributeProto::default()
        }
    };
    case.nodes.push(node("Mul", &["x", "w"], &["direct"], Vec::new()));
    case.nodes.push(node("If", &["condition"], &["chosen"], vec![branch("then", "Add"), branch("else", "Sub")]));
    let case = case.op("Add", &["direct", "chosen"], "a", &[]).op("ReduceSum", &["a"], "loss", &[("keepdims", Int(0))]);
    let model = case.model(&[("loss", F32)]);
    assert_eq!(
        error(&model, "loss", &["w"]),
        "If 'chosen': there is no rule to differentiate this operator; export it with the branch that is taken, so that its condition is a constant"
    );
}

#[test]
fn gradients_that_are_scaled_already_are_not_differentiated() {
    let case = Case::new("PDLossWithGrad", F32).input("x", &[4, 3], -1.0, 1.0).input("p", &[5, 3], -1.0, 1.0);
    let case = case.input("scale", &[1], 1.0, 2.0).index("labels", &[4], &[0, 1, 2, 3]);
    let case = case.ops("PDLossWithGrad", &["x", "p", "labels", "scale"], &["loss", "moments", "dx", "dp"], &[]);
    let error = error(&case.domain("com.pdloss").model(&[("loss", F32)]), "loss", &["x"]);
    assert!(error.contains("loss_grad * loss: leave loss_grad out, or use PDLoss"), "{error}");
}

#[test]
fn the_losses_of_this_project_have_operators_for_their_gradients() {
    for (operator, inputs, outputs, inside) in [
        ("PDLoss", &["x", "p", "labels"][..], &["loss"][..], Some("PDLossGrad")),
        ("DLoss", &["x", "labels"], &["loss", "moments"], Some("DLossGrad")),
        ("PDLossWithGrad", &["x", "p", "labels"], &["loss", "moments", "dx", "dp"], None),
    ] {
        let case = Case::new(operator, F32).input("x", &[4, 3], -1.0, 1.0).input("p", &[5, 3], -1.0, 1.0);
        let case = case.index("labels", &[4], &[0, 1, 2, 3]).ops(operator, inputs, outputs, &[("floor", Int(1))]);
        let mut model = case.domain("com.pdloss").model(&[("loss", F32)]);
        let wrt = if inputs.len() == 3 { &["x", "p"][..] } else { &["x"] };
        assert_eq!(differentiate(&mut model, "loss", wrt).unwrap().len(), wrt.len());
        let nodes = &model.graph.as_ref().unwrap().node;
        let forward = nodes.iter().find(|node| node.op_type() == operator).unwrap();
        let Some(inside) = inside else {
            assert!(["dx", "dp"].iter().all(|made| nodes.iter().any(|node| node.input.iter().any(|it| it == made))));
            continue;
        };
        let backward = nodes.iter().find(|node| node.op_type() == inside).unwrap();
        // What the forward operator left out it is made to save, and its settings hold for both.
        assert_eq!(forward.output.len(), 3);
        assert_eq!(backward.input[1..], [inputs, &[forward.output[1].as_str(), &forward.output[2]]].concat());
        assert_eq!((backward.domain(), &backward.attribute), ("com.pdloss", &forward.attribute));
    }
}

#[test]
fn malformed_nodes_are_refused_and_crash_nothing() {
    let x = |shape: &[usize]| Case::new("malformed", F32).input("x", shape, -1.0, 1.0);
    let image = |weights: &[usize], settings: &[(&str, Value)]| {
        x(&[1, 2, 3, 3]).input("w", weights, 0.0, 1.0).op("Conv", &["x", "w"], "y", settings)
    };
    let huge = || Ints(vec![i64::MAX, i64::MAX]);
    let cases = [
        image(&[5], &[]),
        image(&[2, 2, 3], &[]),
        image(&[2, 2, 3, 3], &[("group", Int(0))]),
        image(&[2, 2, 3, 3], &[("strides", Ints(vec![0, 1]))]),
        image(&[2, 2, 3, 3], &[("dilations", huge())]),
        image(&[2, 2, 5, 5], &[]),
        x(&[1, 2]).op("MaxPool", &["x"], "y", &[("kernel_shape", Ints(vec![2, 2]))]),
        x(&[1, 2, 3, 3]).op("AveragePool", &["x"], "y", &[("kernel_shape", huge())]),
        x(&[]).ints("at", &[0]).op("Gather", &["x", "at"], "y", &[]),
        x(&[2, 3]).op("Softmax", &["x"], "y", &[("axis", Int(7))]),
        x(&[2, 3]).op("Transpose", &["x"], "y", &[("perm", Ints(vec![0, 9]))]),
        x(&[2, 3]).ints("to", &[4, 4]).op("Reshape", &["x", "to"], "y", &[]),
        x(&[2, 3]).ints("pads", &[1]).op("Pad", &["x", "pads"], "y", &[]),
        x(&[2, 3]).op("Gemm", &["x"], "y", &[]),
        x(&[2, 3]).op("MatMul", &["x", "nobody"], "y", &[]),
        x(&[]).op("MatMul", &["x", "x"], "y", &[]),
    ];
    for case in cases {
        let case = case.op("ReduceSum", &["y"], "loss", &[("keepdims", Int(0))]);
        println!("{}", error(&case.model(&[("loss", F32)]), "loss", &["x"]));
    }
}

#[test]
fn contradicting_shapes_are_named() {
    let case = Case::new("contradiction", F32).input("x", &[2, 3], -1.0, 1.0).input("w", &[4, 5], -1.0, 1.0);
    let model = case.op("MatMul", &["x", "w"], "y", &[]).op("ReduceSum", &["y"], "loss", &[]).model(&[("loss", F32)]);
    assert_eq!(error(&model, "loss", &["w"]), "MatMul 'y': shapes [2, 3] and [4, 5] do not multiply: 3 against 4");
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn shared_weights_accumulate() {
    // One weight, used by two layers, by a third through a copy, and twice by one node.
    let case = Case::new("shared", F64).input("x", &[2, 3], -1.0, 1.0).input("w", &[3, 3], -1.0, 1.0);
    let case =
        case.op("MatMul", &["x", "w"], "a", &[]).op("Tanh", &["a"], "b", &[]).op("MatMul", &["b", "w"], "c", &[]);
    let case = case.op("Identity", &["w"], "copy", &[]).op("MatMul", &["c", "copy"], "d", &[]);
    let case = case.op("MatMul", &["w", "w"], "squared", &[]).op("MatMul", &["d", "squared"], "y", &[]);
    println!("{:.1e}", case.check().unwrap());
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
fn a_name_that_is_taken_is_left_alone() {
    let case = Case::new("taken", F32).input("x", &[2], -1.0, 1.0).op("Mul", &["x", "x"], "x.gradient", &[]);
    let case = case.op("ReduceSum", &["x.gradient"], "loss", &[("keepdims", Int(0))]);
    let mut model = case.model(&[]);
    let names = differentiate(&mut model, "loss", &["x"]).unwrap();
    assert_eq!(names, ["x.gradient_"]);
    model.graph.as_mut().unwrap().output = vec![declare(&names[0], F32, &[pdloss::graph::build::Dim::Known(2)])];
    let out = run(&mut open(&model).unwrap(), &case.feeds()).unwrap();
    let x = case.feeds()["x"].values();
    assert!(out[&names[0]].values().iter().zip(x).all(|(gradient, x)| (gradient - 2.0 * x).abs() < 1e-6));
}

/// Shapes beyond any memory, by whatever way they come about, are refused with a name: nothing overflows, nothing is allocated.
#[test]
fn shapes_beyond_any_memory_are_refused() {
    let x = |shape: &[usize]| Case::new("huge", F32).input("x", shape, -1.0, 1.0);
    let image = || x(&[1, 2, 3, 3]).input("w", &[2, 2, 3, 3], 0.0, 1.0);
    let lengths = |value: i64| Ints(vec![value, value]);
    let far = i64::from(i32::MAX);
    let mut doubling = x(&[2, 3]).op("Relu", &["x"], "k0", &[]);
    for step in 0..70 {
        let (from, to) = (format!("k{step}"), format!("k{}", step + 1));
        doubling = doubling.op("Concat", &[&from, &from], &to, &[("axis", Int(1))]);
    }
    let cases = [
        ("Tile", x(&[2, 3]).ints("times", &[i64::MAX, 4]).op("Tile", &["x", "times"], "y", &[])),
        (
            "Tile twice",
            x(&[2, 3]).ints("t", &[1 << 40, 1]).op("Tile", &["x", "t"], "a", &[]).op("Tile", &["a", "t"], "y", &[]),
        ),
        ("a negative Tile", x(&[2, 3]).ints("times", &[-1, 4]).op("Tile", &["x", "times"], "y", &[])),
        ("Concat", doubling.op("Relu", &["k70"], "y", &[])),
        ("Expand", x(&[1, 1]).ints("to", &[1 << 40, 1 << 40]).op("Expand", &["x", "to"], "y", &[])),
        ("Reshape", x(&[2, 3]).ints("to", &[1 << 40, 1 << 40]).op("Reshape", &["x", "to"], "y", &[])),
        ("Pad", x(&[2, 3]).ints("pads", &[1 << 40, 1 << 40, 0, 0]).op("Pad", &["x", "pads"], "y", &[])),
        (
            "ConvTranspose",
            image().op("ConvTranspose", &["x", "w"], "y", &[("strides", lengths(far)), ("group", Int(i64::MAX))]),
        ),
        (
            "AveragePool",
            x(&[1, 1, 3, 3]).op(
                "AveragePool",
                &["x"],
                "y",
                &[("kernel_shape", lengths(far)), ("pads", Ints(vec![far; 4])), ("count_include_pad", Int(1))],
            ),
        ),
        (
            "ConstantOfShape",
            x(&[2, 3]).ints("to", &[1 << 40, 1 << 40]).op("ConstantOfShape", &["to"], "c", &[]).op(
                "Add",
                &["x", "c"],
                "y",
                &[],
            ),
        ),
    ];
    for (what, case) in cases {
        let model = case.op("ReduceSum", &["y"], "loss", &[("keepdims", Int(0))]).model(&[("loss", F32)]);
        println!("{what}: {}", error(&model, "loss", &["x"]));
    }
    let hollow = |dims: &[i64], bytes: usize| {
        let mut model = x(&[2, 3]).op("ReduceSum", &["x"], "loss", &[("keepdims", Int(0))]).model(&[("loss", F32)]);
        model.graph.as_mut().unwrap().initializer.push(pdloss::graph::proto::TensorProto {
            name: Some("w".to_owned()),
            data_type: Some(1),
            dims: dims.to_vec(),
            raw_data: Some(vec![0; bytes]),
            ..Default::default()
        });
        error(&model, "loss", &["x"])
    };
    assert!(
        hollow(&[1 << 32, 1 << 32], 8).contains("w: its shape [4294967296, 4294967296] has more than 2^63 elements")
    );
    assert!(hollow(&[3, 5], 8).contains("wants 15 elements, its data has 2"));
    assert!(hollow(&[1 << 31, 1 << 31], 0).contains("its data has 0"));
}
