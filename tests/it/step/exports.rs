//! Backbones as PyTorch's exporters write them: which of their tensors are parameters, which of them layers share, and what a
//! step does with running statistics.

use std::{collections::HashMap, path::Path};

use pdloss::graph::{
    build::{Dim, Element, Value, attribute, declare, floats, integers, node},
    file,
    losses::{Loss, NormalizedSoftmax},
    proto::{ModelProto, NodeProto, StringStringEntryProto, TensorProto},
    step::{
        COPIES, Copied, Description, FreezeStatistics, Kind, Parameters, RunningVariance, StepOptions, build,
        export_embedder, untie,
    },
    training_mode::free_batch,
};

use crate::step::{
    backbones::{model, normal},
    driver::{Array, Driver, assert_close},
};

fn options() -> StepOptions {
    StepOptions::new(Loss::Softmax(NormalizedSoftmax::default()), 3)
}

fn batch() -> Dim {
    Dim::Named("batch".to_owned())
}

fn tensor(name: &str, shape: &[usize]) -> TensorProto {
    floats(name, Element::F32, shape, &normal(shape.iter().product(), 7))
}

/// `[batch, 4]` to `[batch, 3]`, float32; the nodes take `images`.
fn flat(nodes: Vec<NodeProto>, mut initializers: Vec<TensorProto>) -> ModelProto {
    let mut nodes = nodes;
    nodes.push(node("MatMul", &["last", "head.weight"], &["features"], vec![]));
    initializers.push(tensor("head.weight", &[4, 3]));
    model(17, (Element::F32, &[batch(), Dim::Known(4)]), (Element::F32, &[batch(), Dim::Known(3)]), nodes, initializers)
}

fn described(backbone: ModelProto) -> Description {
    let step = build(backbone, &options()).expect("the backbone trains");
    Description::of(&step).expect("the step describes itself")
}

fn trained(description: &Description) -> Vec<&str> {
    let weights = description.state.iter().filter(|state| state.kind == Kind::Weight);
    weights.map(|state| state.name.as_str()).collect()
}

/// A net whose exporter wrote down its program's inputs.
fn signed(lines: &str) -> ModelProto {
    let nodes = vec![
        node("Mul", &["images", "gain"], &["a"], vec![]),
        node("MatMul", &["a", "first.weight"], &["b"], vec![]),
        node("Add", &["b", "table"], &["c"], vec![]),
        node("Mul", &["c", "temperature"], &["d"], vec![]),
        node("Add", &["d", "made"], &["e"], vec![]),
        node("Mul", &["e", "half"], &["last"], vec![]),
    ];
    let initializers = vec![
        tensor("gain", &[4]),
        tensor("first.weight", &[4, 4]),
        tensor("table", &[4]),
        tensor("temperature", &[]),
        floats("made", Element::F32, &[4], &[0.11, 0.52, 0.23, 0.94]),
        floats("half", Element::F32, &[], &[0.5]),
    ];
    let mut model = flat(nodes, initializers);
    model.producer_name = Some("pytorch".to_owned());
    let text = format!("\n# inputs\n{lines}x: USER_INPUT\n\n# outputs\ny: USER_OUTPUT\n");
    model.graph.as_mut().expect("a graph").metadata_props = vec![StringStringEntryProto {
        key: Some("pkg.torch.export.ExportedProgram.graph_signature".to_owned()),
        value: Some(text),
    }];
    model
}

#[test]
fn what_the_exporter_calls_a_parameter_is_trained_and_nothing_else() {
    let lines = "p_gain: PARAMETER target='gain'\np_first_weight: PARAMETER target='first.weight'\n\
                 p_temperature: PARAMETER target='temperature'\np_head_weight: PARAMETER target='head.weight'\n\
                 b_table: BUFFER target='table' persistent=True\n";
    let description = described(signed(lines));
    // The gain meets the data before any layer, and the temperature is a single number: both are parameters.
    assert_eq!(trained(&description), ["gain", "first.weight", "temperature", "head.weight"]);
    let parameters = &description.parameters;
    assert_eq!((parameters.trained, parameters.tensors, parameters.trained_values), (4, 4, 4 + 16 + 1 + 12));
    assert_eq!(parameters.buffers, ["table", "made"]);
    assert!(
        parameters
            .to_string()
            .ends_with("no parameters of PyTorch, so they stay (--also-train trains them): 'table', 'made'"),
        "{parameters}"
    );
    assert!(parameters.notes.is_empty(), "{:?}", parameters.notes);

    // Where parameters are missing, what the exporter computed may be made of them, but not what looks like a table or a mask.
    for (numbers, look) in [([0.5, 1.0, 1.5, 2.0], "numbers at equal steps"), ([3.0; 4], "one whole number throughout")]
    {
        let mut model = signed(&format!("{lines}p_bias: PARAMETER target='bias'\n"));
        let graph = model.graph.as_mut().expect("a graph");
        *graph.initializer.iter_mut().find(|tensor| tensor.name() == "made").unwrap() =
            floats("made", Element::F32, &[4], &numbers);
        let description = described(model);
        assert_eq!(trained(&description), ["gain", "first.weight", "temperature", "head.weight"]);
        let left = &description.parameters.left;
        assert!(left.iter().any(|left| left.name == "made" && left.reason.starts_with(look)), "{left:?}");
    }
    let missing = format!("{lines}p_bias: PARAMETER target='norm.weight'\nb_mean: BUFFER target='norm.running_mean'\n");
    let description = described(signed(&missing));
    assert_eq!(trained(&description), ["gain", "first.weight", "temperature", "made", "head.weight"]);
    let [said] = description.parameters.notes.as_slice() else { panic!("{:?}", description.parameters.notes) };
    assert!(said.contains("folded the BatchNormalization of 'norm'") && said.contains("optimize=False"), "{said}");

    // Asked for, a buffer is trained.
    let also = StepOptions { also: vec!["table".to_owned()], ..options() };
    let description = Description::of(&build(signed(lines), &also).unwrap()).unwrap();
    assert!(trained(&description).contains(&"table"));
}

/// A weight that is used as it is and turned, of which the newer exporter writes both.
#[test]
fn what_the_exporter_made_of_a_parameter_that_is_there_is_trained_and_said() {
    let lines = "p_gain: PARAMETER target='gain'\np_first_weight: PARAMETER target='first.weight'\n\
                 p_temperature: PARAMETER target='temperature'\np_head_weight: PARAMETER target='head.weight'\n\
                 b_table: BUFFER target='table'\n";
    let with_made = |numbers: &[f64], lines: &str| {
        let mut model = signed(lines);
        let graph = model.graph.as_mut().expect("a graph");
        *graph.initializer.iter_mut().find(|tensor| tensor.name() == "made").unwrap() =
            floats("made", Element::F32, &[4], numbers);
        described(model)
    };
    // The gain has the first numbers of the first weight, too: the one that has no others comes first.
    let numbers = normal(16, 7);
    let turned: Vec<f64> = numbers[..4].iter().rev().copied().collect();
    for (numbers, of) in [(&turned[..], "gain"), (&numbers[12..16], "first.weight")] {
        let description = with_made(numbers, lines);
        assert_eq!(trained(&description), ["gain", "first.weight", "temperature", "made", "head.weight"]);
        assert_eq!(description.parameters.buffers, ["table"]);
        let notes = description.parameters.notes.join("\n");
        let said = format!("'made' has the numbers of '{of}' in another shape or order, or some of them");
        assert!(notes.contains(&said) && notes.contains("optimize=False) keeps one"), "{notes}");
    }
    let mut other = turned.clone();
    other[0] += 1e-3;
    let description = with_made(&other, lines);
    assert!(description.parameters.notes.is_empty() && description.parameters.buffers == ["table", "made"]);
    // Of a table's few numbers some are in a weight by chance.
    let description = with_made(&[numbers[4], numbers[4], numbers[5], numbers[5]], lines);
    assert!(description.parameters.notes.is_empty(), "{:?}", description.parameters.notes);

    // What was made of a buffer that is not there cannot be told from what was made of a parameter that is not.
    let lost = format!("{lines}p_bias: PARAMETER target='bias'\nb_r: BUFFER target='R'\n");
    let description = with_made(&other, &lost);
    assert!(trained(&description).contains(&"made"));
    let notes = description.parameters.notes.join("\n");
    assert!(
        notes.contains("as the exporter computed with them: 'R'; ") && notes.contains("is among 'made'"),
        "{notes}"
    );
}

#[test]
fn single_numbers_of_the_module_itself_are_parameters_in_pytorchs_exports() {
    let net = |producer: &str| {
        let mut model = signed("");
        model.producer_name = Some(producer.to_owned());
        model.graph.as_mut().expect("a graph").metadata_props.clear();
        described(model)
    };
    assert_eq!(trained(&net("pytorch")), ["first.weight", "table", "temperature", "made", "half", "head.weight"]);
    let other = net("tf2onnx");
    assert_eq!(trained(&other), ["first.weight", "table", "made", "head.weight"]);
    assert!(other.parameters.left.iter().any(|left| left.name == "temperature" && left.reason.contains("constant")));
}

/// Constant folding leaves a weight and what was made of it, which are then trained apart.
#[test]
fn a_weight_that_is_there_again_in_another_order_is_said() {
    let weight = tensor("first.weight", &[4, 4]);
    let numbers = weight.raw_data.clone().unwrap();
    let turned: Vec<u8> = (0..16).flat_map(|at| numbers[4 * (at % 4 * 4 + at / 4)..][..4].to_vec()).collect();
    let again =
        |bytes: Vec<u8>| TensorProto { name: Some("onnx::MatMul_15".into()), raw_data: Some(bytes), ..weight.clone() };
    let nodes = || {
        vec![
            node("MatMul", &["images", "first.weight"], &["a"], vec![]),
            node("MatMul", &["a", "onnx::MatMul_15"], &["last"], vec![]),
        ]
    };
    let notes = |bytes: Vec<u8>| {
        let mut model = flat(nodes(), vec![weight.clone(), again(bytes)]);
        model.producer_name = Some("pytorch".into());
        described(model).parameters.notes.join("\n")
    };
    let said = "'onnx::MatMul_15' has the numbers of 'first.weight' in another shape or order";
    assert!(notes(turned.clone()).contains(said), "{}", notes(turned));
    let mut others = numbers;
    others[0] ^= 1;
    assert!(!notes(others).contains(said));
}

#[test]
fn the_node_behind_which_no_shape_is_known_is_named() {
    let nodes = vec![node("Mystery", &["images"], &["a"], vec![]), node("Relu", &["a"], &["last"], vec![])];
    let error = build(flat(nodes, vec![]), &options()).expect_err("refused").to_string();
    assert!(error.contains("its rank is not known") && error.contains("it is lost at Mystery"), "{error}");
}

#[test]
fn masks_are_no_parameters() {
    let mask = floats("mask", Element::F32, &[4], &[0.0, -100.0, -100.0, 0.0]);
    let nodes = vec![
        node("MatMul", &["images", "first.weight"], &["a"], vec![]),
        node("Add", &["a", "mask"], &["last"], vec![]),
    ];
    let description = described(flat(nodes, vec![tensor("first.weight", &[4, 4]), mask]));
    let left: Vec<(&str, &str)> =
        description.parameters.left.iter().map(|left| (left.name.as_str(), left.reason.as_str())).collect();
    assert_eq!(left, [("mask", "it holds zeros and one number far below, as a mask does")]);
}

/// An export of the older exporter, which does not say which tensors are parameters: a table of positions under a name of the
/// module, one under a name that the exporter made up, and one that it wrote into a node.
fn unsigned(producer: &str) -> ModelProto {
    let table = |name: &str| floats(name, Element::F32, &[4], &[0.1, 0.2, 0.3, 0.4]);
    let constant = |name: &str| {
        node("Constant", &[], &[name], vec![attribute("value", Value::Tensor(Box::new(tensor("", &[4]))))])
    };
    let nodes = vec![
        constant("/rope/Constant_3_output_0"),
        constant("shift.weight"),
        node("MatMul", &["images", "first.weight"], &["a"], vec![]),
        node("Add", &["a", "rope.steps"], &["b"], vec![]),
        node("Mul", &["b", "onnx::Mul_12"], &["c"], vec![]),
        node("Add", &["c", "/rope/Constant_3_output_0"], &["d"], vec![]),
        node("Add", &["d", "onnx::Add_13"], &["e"], vec![]),
        node("Add", &["e", "shift.weight"], &["last"], vec![]),
    ];
    let tensors =
        vec![tensor("first.weight", &[4, 4]), table("rope.steps"), table("onnx::Mul_12"), tensor("onnx::Add_13", &[4])];
    ModelProto { producer_name: Some(producer.to_owned()), ..flat(nodes, tensors) }
}

#[test]
fn tables_of_older_exports_are_held_or_told() {
    let description = described(unsigned("pytorch"));
    assert_eq!(trained(&description), ["first.weight", "rope.steps", "onnx::Add_13", "head.weight", "shift.weight"]);
    let Parameters { left, buffers, notes, .. } = &description.parameters;
    let [left] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!(left.name, "onnx::Mul_12");
    assert!(
        left.reason.starts_with("numbers at equal steps under a name that the exporter made up"),
        "{}",
        left.reason
    );
    assert_eq!(buffers, &["/rope/Constant_3_output_0"]);
    let said = notes.iter().find(|note| note.contains("look like tables")).expect("the table is told");
    assert!(said.contains("'rope.steps' (numbers at equal steps)") && said.contains("--freeze"), "{said}");
    assert!(!said.contains("first.weight"), "{said}");

    // Each can be had otherwise.
    let also = ["onnx::Mul_12", "/rope/Constant_3_output_0"].map(str::to_owned).to_vec();
    let other = StepOptions { also, freeze: vec!["rope.*".to_owned()], ..options() };
    let description =
        Description::of(&build(unsigned("pytorch"), &other).expect("it trains")).expect("it is described");
    let all =
        ["first.weight", "onnx::Mul_12", "onnx::Add_13", "head.weight", "/rope/Constant_3_output_0", "shift.weight"];
    assert_eq!(trained(&description), all);
    assert!(!description.parameters.notes.iter().any(|note| note.contains("look like tables")));

    // Other programs name and write tensors in other ways.
    let description = described(unsigned("another"));
    assert_eq!(trained(&description).len(), 7);
    let said = description.parameters.notes.iter().find(|note| note.contains("look like tables"));
    assert!(said.is_some_and(|said| said.contains("'onnx::Mul_12'")), "{said:?}");
}

/// Two convolutions with BatchNormalization of which the exporter merged equal tensors: one of ones, one of zeros.
fn merged() -> ModelProto {
    let identity = |from: &str, to: &str| node("Identity", &[from], &[to], vec![]);
    let normalization = |name: &str, x: &str, weight: &str, bias: &str| {
        let inputs = [x, weight, bias, &format!("{name}.running_mean"), &format!("{name}.running_var")];
        node("BatchNormalization", &inputs, &[name], vec![attribute("momentum", Value::Float(0.9))])
    };
    let nodes = vec![
        identity("n1.weight", "n2.running_var"),
        identity("n1.bias", "n2.running_mean"),
        identity("n1.bias", "n2.bias"),
        identity("n1.weight", "n2.weight"),
        identity("n1.weight", "n1.running_var"),
        identity("n1.bias", "n1.running_mean"),
        node("Conv", &["images", "c1.weight"], &["a"], vec![]),
        normalization("n1", "a", "n1.weight", "n1.bias"),
        node("Relu", &["n1"], &["b"], vec![]),
        node("Conv", &["b", "c2.weight"], &["c"], vec![]),
        normalization("n2", "c", "n2.weight", "n2.bias"),
        node("GlobalAveragePool", &["n2"], &["d"], vec![]),
        node("Flatten", &["d"], &["features"], vec![]),
    ];
    let initializers = vec![
        tensor("c1.weight", &[3, 2, 2, 2]),
        tensor("c2.weight", &[3, 3, 2, 2]),
        floats("n1.weight", Element::F32, &[3], &[1.0; 3]),
        floats("n1.bias", Element::F32, &[3], &[0.0; 3]),
    ];
    let mut made = model(
        17,
        (Element::F32, &[batch(), Dim::Known(3)]),
        (Element::F32, &[batch(), Dim::Known(3)]),
        nodes,
        initializers,
    );
    made.graph.as_mut().expect("a graph").input =
        vec![declare("images", Element::F32, &[batch(), Dim::Known(2), Dim::Known(5), Dim::Known(5)])];
    made
}

fn images() -> (Array, Vec<i64>) {
    (Array::f32(&[6, 2, 5, 5], &normal(6 * 50, 3)), vec![0, 1, 2, 0, 1, 2])
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn merged_tensors_are_told_statistics_become_their_own_and_untie_tells_all_apart() {
    let backbone = merged();
    let mut driver = Driver::new(backbone.clone(), &options());
    let parameters = &driver.description.parameters;
    let shared: Vec<(&str, usize)> =
        parameters.shared.iter().map(|shared| (shared.name.as_str(), shared.layers.len())).collect();
    assert_eq!(shared, [("n1.weight", 2), ("n1.bias", 2)]);
    let said = parameters.to_string();
    assert!(
        said.contains(
            "one tensor feeds 2 layers and is trained as one (--untie): 'n1.weight' in BatchNormalization 'n1', \
             BatchNormalization 'n2'"
        ),
        "{said}"
    );
    assert!(parameters.notes[0].starts_with("4 running means and variances are read by other nodes too"));
    let running = driver.description.state.iter().filter(|state| state.kind == Kind::Running);
    let running: Vec<String> = running.map(|state| state.name.clone()).collect();
    assert_eq!(running, ["n1.running_mean", "n1.running_var", "n2.running_mean", "n2.running_var"]);

    let (data, labels) = images();
    driver.step(&data, &labels, 0.1);
    assert_ne!(driver.weight("n1.running_var"), driver.weight("n2.running_var"));
    // Back in an embedder of the backbone as it was exported, each has its own place.
    let state: HashMap<String, TensorProto> =
        driver.state.iter().map(|(name, array)| (name.clone(), array.tensor(name))).collect();
    let embedder = export_embedder(&backbone, |name| state.get(name).cloned()).unwrap();
    let graph = embedder.graph.as_ref().unwrap();
    for name in running {
        let written = graph.initializer.iter().find(|tensor| tensor.name() == name).expect("written");
        assert_eq!(Array::of(written), driver.state[&name], "{name}");
        assert!(graph.node.iter().all(|node| !node.output.contains(&name)), "{name} is made twice");
    }

    let mut apart = backbone;
    let copies = untie(&mut apart).unwrap();
    let names: Vec<&str> = copies.iter().map(|copy| copy.name.as_str()).collect();
    assert_eq!(&names[4..], ["n2.weight", "n2.bias"]);
    let recorded = apart.metadata_props.iter().find(|entry| entry.key() == COPIES).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Copied>>(recorded.value()).unwrap(), copies);
    let mut driver = Driver::new(apart, &options());
    assert_eq!((driver.description.parameters.trained, driver.description.parameters.shared.len()), (6, 0));
    driver.step(&data, &labels, 0.1);
    assert_ne!(driver.weight("n1.weight"), driver.weight("n2.weight"));
}

/// The weight that the exporter merged with a variance is trained; a variance that stays is not to become it.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn frozen_statistics_stay_what_they_were_where_they_were_merged_with_weights() {
    let frozen = StepOptions { freeze_statistics: FreezeStatistics::All, ..options() };
    let mut driver = Driver::new(merged(), &frozen);
    let (data, labels) = images();
    (0..3).for_each(|_| drop(driver.step(&data, &labels, 0.5)));
    assert!(driver.weight("n1.weight").iter().any(|value| (value - 1.0).abs() > 1e-3));
    let state: HashMap<String, TensorProto> =
        driver.state.iter().map(|(name, array)| (name.clone(), array.tensor(name))).collect();
    let embedder = export_embedder(&merged(), |name| state.get(name).cloned()).unwrap();
    let graph = embedder.graph.as_ref().unwrap();
    for norm in graph.node.iter().filter(|node| node.op_type() == "BatchNormalization") {
        for (index, wanted) in [(3, 0.0), (4, 1.0)] {
            let read = graph.initializer.iter().find(|tensor| tensor.name() == norm.input[index]);
            let values = Array::of(read.expect("an initializer of its own")).values();
            assert_eq!(values, [wanted; 3], "{}", norm.input[index]);
        }
    }
    // As long as nothing has moved, the graph stays as it was exported.
    let same = export_embedder(&merged(), |_| None).unwrap();
    assert_eq!(same.graph.unwrap().initializer.len(), 4);
}

/// Stored as half precision behind Cast they have been passed over without a word.
#[test]
fn statistics_that_stand_behind_other_nodes_are_said_to_stay() {
    let inputs = ["images", "n.weight", "n.bias", "n.mean", "n.var.wide"];
    let wide = |from: &str, to: &str| node("Reshape", &[from, "four"], &[to], vec![]);
    let norm = |mean: &str| {
        let inputs = [inputs[0], inputs[1], inputs[2], mean, inputs[4]];
        node("BatchNormalization", &inputs, &["last"], vec![])
    };
    let vector = |name: &str, shape: &[usize]| floats(name, Element::F32, shape, &[1.0; 4]);
    let tensors = || {
        let small = [("n.weight", &[4][..]), ("n.bias", &[4]), ("n.mean", &[1, 4]), ("n.var", &[1, 4])];
        let small = small.map(|(name, shape)| vector(name, shape));
        small.into_iter().chain([integers("four", &[1], &[4])]).collect::<Vec<_>>()
    };
    let backbone = |standardised: bool| {
        let mean = if standardised {
            vec![node("Mul", &["n.mean", "n.mean"], &["square"], vec![]), wide("square", "n.mean.wide")]
        } else {
            vec![wide("n.mean", "n.mean.wide")]
        };
        let nodes = mean.into_iter().chain([wide("n.var", "n.var.wide"), norm("n.mean.wide")]);
        flat(nodes.collect(), tensors())
    };
    let said = |backbone: ModelProto, options: &StepOptions| {
        let notes = Description::of(&build(backbone, options).unwrap()).unwrap().parameters.notes;
        notes.into_iter().find(|note| note.contains("keep their running statistics"))
    };
    let note = said(backbone(false), &options()).expect("it is said");
    assert!(note.starts_with("1 BatchNormalization nodes") && note.contains("behind Reshape"), "{note}");
    assert_eq!(said(backbone(true), &options()), None, "computed ones are no running statistics");
    let frozen = StepOptions { freeze_statistics: FreezeStatistics::All, ..options() };
    assert_eq!(said(backbone(false), &frozen), None, "as it was asked for");
}

/// Merged with a weight and stored behind a node they would move with it, frozen or not.
#[test]
fn statistics_made_of_what_is_trained_are_refused() {
    let wide = |from: &str, to: &str| node("Reshape", &[from, "four"], &[to], vec![]);
    let inputs = ["images", "weight", "bias", "mean", "variance"];
    let nodes = vec![
        wide("n.weight", "weight"),
        wide("n.bias", "bias"),
        wide("n.bias", "mean"),
        wide("n.weight", "variance"),
        node("BatchNormalization", &inputs, &["last"], vec![]),
    ];
    let vector = |name: &str| floats(name, Element::F32, &[1, 4], &[1.0; 4]);
    let backbone = || {
        let tensors = vec![vector("n.weight"), vector("n.bias"), tensor("w", &[4, 4]), integers("four", &[1], &[4])];
        let mut nodes = nodes.clone();
        nodes.insert(0, node("MatMul", &["raw", "w"], &["images"], vec![]));
        let mut model = flat(nodes, tensors);
        model.graph.as_mut().unwrap().input[0].name = Some("raw".to_owned());
        model
    };
    let frozen = StepOptions { freeze_statistics: FreezeStatistics::All, ..options() };
    for options in [options(), frozen.clone()] {
        let error = build(backbone(), &options).unwrap_err().to_string();
        assert!(
            error.contains("its running statistics are 'n.bias' behind Reshape") && error.contains("--freeze"),
            "{error}"
        );
    }
    let kept = StepOptions { freeze: vec!["n.*".to_owned()], ..frozen };
    assert!(build(backbone(), &kept).is_ok());
}

/// One reader each, though exporters wrote them as constants.
#[test]
fn statistics_in_constants_are_nobody_elses() {
    let vector = |name: &str, value: f64| floats(name, Element::F32, &[4], &[value; 4]);
    let constant = |name: &str, value: f64| {
        node("Constant", &[], &[name], vec![attribute("value", Value::Tensor(Box::new(vector("", value))))])
    };
    let inputs = ["images", "n.weight", "n.bias", "n.mean", "n.var"];
    let nodes =
        vec![constant("n.mean", 0.0), constant("n.var", 1.0), node("BatchNormalization", &inputs, &["last"], vec![])];
    let description = described(flat(nodes, vec![vector("n.weight", 1.0), vector("n.bias", 0.0)]));
    let notes = &description.parameters.notes;
    assert!(notes.iter().all(|note| !note.contains("read by other nodes")), "{notes:?}");
    assert_eq!(description.parameters.trained, description.parameters.tensors, "{}", description.parameters);
    let running = description.state.iter().filter(|state| state.kind == Kind::Running).map(|state| state.name.as_str());
    assert_eq!(running.collect::<Vec<_>>(), ["n.mean", "n.var"]);
}

#[test]
fn a_tensor_that_layers_read_directly_is_told_apart_under_new_names() {
    let nodes = vec![
        node("Transpose", &["w"], &["w.turned"], vec![]),
        node("Transpose", &["w"], &["w.turned.2"], vec![]),
        node("MatMul", &["images", "w"], &["a"], vec![]),
        node("Add", &["a", "b"], &["a.biased"], vec![]),
        node("MatMul", &["a.biased", "w.turned"], &["c"], vec![]),
        node("Add", &["c", "b"], &["c.biased"], vec![]),
        // A weight that is standardised is one, however many nodes read it.
        node("ReduceMean", &["v"], &["v.mean"], vec![]),
        node("Sub", &["v", "v.mean"], &["v.centred"], vec![]),
        node("MatMul", &["c.biased", "v.centred"], &["d"], vec![]),
        node("MatMul", &["d", "w.turned.2"], &["e"], vec![]),
        node("Mul", &["e", "scale.p"], &["f"], vec![]),
        node("Mul", &["f", "scale.p"], &["last"], vec![]),
    ];
    let single = floats("scale.p", Element::F32, &[1], &[1.5]);
    let mut backbone = flat(nodes, vec![tensor("w", &[4, 4]), tensor("b", &[4]), tensor("v", &[4, 4]), single]);
    let shared = described(backbone.clone()).parameters.shared;
    let shared: Vec<(&str, usize)> = shared.iter().map(|shared| (shared.name.as_str(), shared.layers.len())).collect();
    assert_eq!(shared, [("w", 3), ("b", 2)]);
    let copies = untie(&mut backbone).unwrap();
    let copies: Vec<(&str, &str)> = copies.iter().map(|copy| (copy.name.as_str(), copy.of.as_str())).collect();
    assert_eq!(copies, [("w.2", "w"), ("w.3", "w"), ("b.2", "b")], "one number of arithmetic stays one");
    let description = described(backbone);
    assert_eq!(trained(&description), ["w", "b", "v", "scale.p", "head.weight", "w.2", "w.3", "b.2"]);
    assert!(description.parameters.shared.is_empty(), "{:?}", description.parameters.shared);
}

/// `running_var' = 0.9 running_var + 0.1 v`, where `v` is the sum of squares about the mean, by `n - 1` or by `n`.
#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn the_running_variance_is_pytorchs_unless_it_is_to_be_that_of_onnx() {
    let inputs = ["images", "n.weight", "n.bias", "n.mean", "n.var"];
    let nodes = vec![node("BatchNormalization", &inputs, &["last"], vec![attribute("momentum", Value::Float(0.9))])];
    let vector = |name: &str, value: f64| floats(name, Element::F32, &[4], &[value; 4]);
    let backbone = || {
        let tensors = [("n.weight", 1.0), ("n.bias", 0.0), ("n.mean", 0.5), ("n.var", 2.0)];
        flat(nodes.clone(), tensors.map(|(name, value)| vector(name, value)).to_vec())
    };
    // One channel holds 1, 2, 6: mean 3, squares about it 4 + 1 + 9 = 14.
    let values: Vec<f64> = [1.0, 2.0, 6.0].iter().flat_map(|x| [*x, 2.0 * x, -x, 0.0]).collect();
    let data = Array::f32(&[3, 4], &values);
    let cases = [(RunningVariance::Sample, 14.0 / 2.0), (RunningVariance::Population, 14.0 / 3.0)];
    assert_eq!(options().running_variance, RunningVariance::Sample);
    for (running_variance, variance) in cases {
        let mut driver = Driver::new(backbone(), &StepOptions { running_variance, ..options() });
        driver.step(&data, &[0, 1, 2], 0.0);
        let wanted = [1.0, 4.0, 1.0, 0.0].map(|scale| 0.9 * 2.0 + 0.1 * scale * variance);
        assert_close("running variance", &driver.weight("n.var"), &wanted, 1e-6);
        assert_close("running mean", &driver.weight("n.mean"), &[0.75, 1.05, 0.15, 0.45], 1e-6);
    }
}

#[test]
fn an_export_in_training_mode_keeps_frozen_statistics() {
    let mut backbone = merged();
    for norm in backbone.graph.as_mut().unwrap().node.iter_mut().filter(|node| node.op_type() == "BatchNormalization") {
        norm.attribute.push(attribute("training_mode", Value::Int(1)));
        let more = [1, 2].map(|index| format!("{}.{index}", norm.output[0]));
        norm.output.extend(more);
    }
    let frozen = StepOptions { freeze_statistics: FreezeStatistics::All, ..options() };
    let step = build(backbone, &frozen).unwrap();
    let description = Description::of(&step).unwrap();
    assert!(description.state.iter().all(|state| state.kind != Kind::Running));
    let norms =
        step.graph.iter().flat_map(|graph| &graph.node).filter(|node| ["n1", "n2"].contains(&node.output[0].as_str()));
    for norm in norms {
        assert!(norm.attribute.iter().all(|attribute| attribute.name() != "training_mode"), "{norm:?}");
    }
}

fn export(name: &str) -> ModelProto {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exports").join(name);
    file::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// PyTorch counts 14 parameters of 1459 values in the net.
#[test]
fn exports_of_a_net_train_as_many_parameters_as_pytorch_counts() {
    for name in ["training.onnx", "training_script.onnx"] {
        let parameters = described(export(name)).parameters;
        assert_eq!((parameters.trained, parameters.tensors), (14, 14), "{name}: {parameters}");
        assert_eq!((parameters.trained_values, parameters.values), (1459, 1459), "{name}: {parameters}");
        assert!(parameters.notes.is_empty() && parameters.shared.is_empty(), "{name}: {:?}", parameters.notes);
    }
    let notes = described(export("default.onnx")).parameters.notes;
    for words in ["'bn1', 'bn2'", "'token', 'attention.qkv.weight'", "'mul' is 1 / x of the parameter 'power'"] {
        assert!(notes.iter().any(|note| note.contains(words)), "{words}: {notes:?}");
    }
    let script = described(export("script.onnx")).parameters;
    assert!(script.notes[0].contains("2 of 2 convolutions"), "{:?}", script.notes);
}

#[test]
#[cfg_attr(not(onnxruntime), ignore = "needs onnxruntime: set ORT_DYLIB_PATH")]
fn a_fixed_batch_is_freed_and_each_row_is_what_it_was() {
    use crate::runtime::{Arrays, open, run};
    for (name, fixed) in [("default.onnx", 1), ("script.onnx", 1), ("four.onnx", 4)] {
        let before = export(name);
        let mut freed = before.clone();
        assert_eq!(free_batch(&mut freed).unwrap(), Some(fixed), "{name}");
        assert_eq!(free_batch(&mut freed.clone()).unwrap(), None, "{name}: it is free now");
        let graph = before.graph.as_ref().unwrap();
        let filled = |name: &str| graph.initializer.iter().any(|tensor| tensor.name() == name);
        let input = graph.input.iter().find(|input| !filled(input.name())).unwrap().name().to_owned();
        let output = graph.output[0].name().to_owned();
        let pixels = 3 * 32 * 32;
        let values = normal((fixed + 3) * pixels, 21);
        let embed = |model: &ModelProto, from: usize, count: usize| {
            let values = &values[from * pixels..(from + count) * pixels];
            let feeds = Arrays::from([(input.clone(), Array::f32(&[count, 3, 32, 32], values))]);
            run(&mut open(model).unwrap(), &feeds).unwrap()[&output].values()
        };
        let all = embed(&freed, 0, fixed + 3);
        for first in 0..=3 {
            let rows = &all[first * 16..(first + fixed) * 16];
            assert_close(name, rows, &embed(&before, first, fixed), 1e-5);
        }
        assert_ne!(all[..16], all[16..32]);
    }
}
