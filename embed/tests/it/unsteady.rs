//! Embeddings that depend on the batch or on chance: refused, put into inference mode, or said with their size.

use pdloss_embed::Result;
use pdloss_embed::embedder::{Choice, Device, Embedder, Model, Options, Prepared};
use pdloss_embed::preprocess::Patch;
use tract_onnx::pb::{ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use crate::onnx::{N, boolean, floats, function, graph, graph_attribute, int, model, node, projection, save};

const IMAGE: [i64; 4] = [N, 3, 8, 8];

fn options(runtime: Choice, batch: usize) -> Options {
    Options { runtime, library: None, device: Device::Cpu, threads: 1, batch: Some(batch) }
}

/// Reads and opens a model.
fn open(proto: &ModelProto, inference_mode: bool) -> Result<Embedder> {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "m.onnx", proto);
    let flags: Patch = toml::from_str("preset = 'none'\nresize = 'exact:8x8'").unwrap();
    Prepared::read(&path, None, None, (&flags, inference_mode), options(Choice::Onnxruntime, 4))?.open()
}

/// A projection, and these nodes from `z` to `y`.
fn ending(nodes: Vec<NodeProto>, more: Vec<TensorProto>, opset: i64) -> ModelProto {
    let (mut all, mut initializers) = projection("z");
    all.extend(nodes);
    initializers.extend(more);
    model(&IMAGE, opset, all, initializers)
}

fn statistics() -> Vec<TensorProto> {
    let row = |name: &str, value: f32| floats(name, &[4], &[value; 4]);
    vec![row("scale", 1.0), row("bias", 0.5), row("mean", 0.25), row("var", 4.0)]
}

const NORM: [&str; 5] = ["z", "scale", "bias", "mean", "var"];

fn norm(outputs: &[&str], training: Option<i64>) -> NodeProto {
    node("BatchNormalization", &NORM, outputs, training.map(|on| int("training_mode", on)).into_iter().collect())
}

#[test]
fn answers_of_a_classifier_are_said_before_anything_is_measured() {
    let said = |nodes, more| open(&ending(nodes, more, 17), false).unwrap().notes().join("; ");
    let softmax = said(vec![node("Softmax", &["z"], &["y"], vec![int("axis", 1)])], vec![]);
    assert!(softmax.contains("output y comes out of Softmax: are these scores of classes"), "{softmax}");
    let plain = said(vec![node("Identity", &["z"], &["y"], vec![])], vec![]);
    assert!(!plain.contains("scores of classes"), "{plain}");
}

#[test]
fn nodes_in_training_mode_are_refused_by_name_and_cured_by_the_flag() {
    let ratio = || floats("ratio", &[], &[0.5]);
    let dropout = |mode: &str| node("Dropout", &["z", "ratio", mode], &["y"], vec![]);
    let constant = node("Constant", &[], &["on"], vec![crate::onnx::value(boolean("", true))]);
    let cases = [
        ("batch norm 15", ending(vec![norm(&["y", "m", "v"], Some(1))], statistics(), 15)),
        (
            "batch norm 9 with its statistics as outputs",
            ending(vec![norm(&["y", "m", "v", "sm", "sv"], None)], statistics(), 9),
        ),
        ("dropout by initializer", ending(vec![dropout("on")], vec![ratio(), boolean("on", true)], 17)),
        ("dropout by constant node", ending(vec![constant, dropout("on")], vec![ratio()], 17)),
    ];
    for (what, proto) in cases {
        let message = open(&proto, false).unwrap_err().to_string();
        assert!(message.contains("y (") && message.contains("--inference-mode"), "{what}: {message}");
        let embedder = open(&proto, true).unwrap_or_else(|e| panic!("{what}: {e}"));
        let [note] = embedder.notes() else { panic!("{what}: {:?}", embedder.notes()) };
        assert!(note.contains("INFERENCE MODE: y ("), "{what}: {note}");
    }
}

#[test]
fn inference_mode_takes_the_running_statistics() {
    let rows = |proto: &ModelProto, inference_mode| {
        let mut embedder = open(proto, inference_mode).unwrap();
        let images = (0..2 * 192).map(|v| v as f32 / 192.0).collect();
        embedder.workers()[0].embed(images, 2, [3, 8, 8]).unwrap()
    };
    let trained = rows(&ending(vec![norm(&["y", "m", "v"], Some(1))], statistics(), 15), true);
    let exported = rows(&ending(vec![norm(&["y"], None)], statistics(), 15), false);
    assert_eq!(trained, exported);
}

#[test]
fn training_mode_is_found_in_functions_and_subgraphs() {
    let mut called = ending(vec![], vec![], 17);
    let names = ["z", "s", "b", "m", "v"];
    let inner = node("BatchNormalization", &names, &["o", "rm", "rv"], vec![int("training_mode", 1)]);
    called.functions = vec![function("Norm", &names, &["o"], vec![inner], 17)];
    called.opset_import.push(OperatorSetIdProto { domain: "local".into(), version: 1 });
    let graph_of = called.graph.as_mut().unwrap();
    graph_of.initializer.extend(statistics());
    let mut call = node("Norm", &NORM, &["y"], vec![]);
    call.domain = "local".into();
    graph_of.node.push(call);

    let branch = |node: NodeProto| {
        let mut branch = graph(vec![node], vec![]);
        branch.output = vec![tract_onnx::pb::ValueInfoProto { name: "o".into(), ..Default::default() }];
        branch
    };
    let normed = branch(norm(&["o", "rm", "rv"], Some(1)));
    let plain = branch(node("Identity", &["z"], &["o"], vec![]));
    let either = node(
        "If",
        &["yes"],
        &["y"],
        vec![graph_attribute("then_branch", normed), graph_attribute("else_branch", plain)],
    );
    let mut initializers = statistics();
    initializers.push(boolean("yes", true));
    for (what, proto) in [("function", called), ("subgraph", ending(vec![either], initializers, 17))] {
        let message = open(&proto, false).unwrap_err().to_string();
        assert!(message.contains("o (BatchNormalization)"), "{what}: {message}");
        let embedder = open(&proto, true).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(embedder.notes().len(), 1, "{what}: {:?}", embedder.notes());
    }
}

#[test]
fn chance_has_no_inference_mode() {
    for op in ["RandomNormalLike", "RandomUniformLike", "Bernoulli"] {
        let nodes = vec![node(op, &["z"], &["r"], vec![]), node("Add", &["z", "r"], &["y"], vec![])];
        let proto = ending(nodes, vec![], 17);
        assert!(open(&proto, false).unwrap_err().to_string().contains(&format!("r ({op})")));
        let message = open(&proto, true).unwrap_err().to_string();
        assert!(message.contains(op) && message.contains("has no inference mode"), "{message}");
    }
}

#[test]
fn what_the_embedding_does_not_need_and_what_is_off_is_let_pass() {
    let ratio = || floats("ratio", &[], &[0.5]);
    let aside = vec![node("RandomNormalLike", &["z"], &["r"], vec![]), node("Identity", &["z"], &["y"], vec![])];
    let cases = [
        ending(aside, vec![], 17),
        ending(vec![norm(&["y"], Some(0))], statistics(), 15),
        ending(vec![norm(&["y"], None)], statistics(), 9),
        ending(vec![node("Dropout", &["z"], &["y", "mask"], vec![])], vec![], 10),
        ending(vec![node("Dropout", &["z", "ratio"], &["y"], vec![])], vec![ratio()], 17),
        ending(vec![node("Dropout", &["z", "ratio", "off"], &["y"], vec![])], vec![ratio(), boolean("off", false)], 17),
        ending(
            vec![node("Dropout", &["z", "none", "on"], &["y"], vec![])],
            vec![floats("none", &[], &[0.0]), boolean("on", true)],
            17,
        ),
    ];
    for (at, proto) in cases.iter().enumerate() {
        let embedder = open(proto, false).unwrap_or_else(|e| panic!("case {at}: {e}"));
        assert!(embedder.notes().is_empty(), "case {at}: {:?}", embedder.notes());
    }
}

/// Operators that let images meet, in no training mode: only running them shows it.
#[test]
fn an_embedding_that_depends_on_its_batch_is_said_with_the_size() {
    let mean = node("ReduceMean", &["z"], &["m"], vec![int("keepdims", 1), axes(&[0])]);
    let over_batch = node("Softmax", &["z"], &["y"], vec![int("axis", 0)]);
    let cases = [
        vec![mean, node("Sub", &["z", "m"], &["y"], vec![])],
        vec![over_batch],
        vec![node("CumSum", &["z", "axis"], &["y"], vec![])],
        // The last image meets no other.
        vec![node("CumSum", &["z", "axis"], &["y"], vec![int("reverse", 1)])],
    ];
    for (at, nodes) in cases.into_iter().enumerate() {
        let axis = TensorProto { dims: vec![], ..crate::onnx::ints("axis", &[0]) };
        let proto = ending(nodes, vec![axis], 17);
        for runtime in [Choice::Onnxruntime, Choice::Tract] {
            let folder = tempfile::tempdir().unwrap();
            let model = Model::read(&save(folder.path(), "m.onnx", &proto), None).unwrap();
            let embedder = Embedder::open(model, Some([3, 8, 8]), &options(runtime, 5));
            let mut embedder = embedder.unwrap_or_else(|e| panic!("case {at} on {runtime:?}: {e}"));
            let said = embedder
                .unsteadiness([3, 8, 8], "give --batch 1")
                .unwrap()
                .unwrap_or_else(|| panic!("case {at} on {runtime:?}"));
            let size = said.split("apart by ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
            assert!(said.contains("DEPEND ON THE BATCH") && size.is_some_and(|s| s > 0.01 && s <= 2.0), "{said}");
        }
    }
    // Finite among others, and 1 / 0 alone.
    let mean = node("ReduceMean", &["z"], &["m"], vec![int("keepdims", 1), axes(&[0])]);
    let nodes = vec![mean, node("Sub", &["z", "m"], &["d"], vec![]), node("Div", &["z", "d"], &["y"], vec![])];
    let proto = ending(nodes, vec![], 17);
    for (runtime, says) in [(Choice::Onnxruntime, "of NaN or infinite ones in the other; cure"), (Choice::Tract, "")] {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::read(&save(folder.path(), "m.onnx", &proto), None).unwrap();
        let mut embedder = Embedder::open(model, Some([3, 8, 8]), &options(runtime, 5)).unwrap();
        let said = embedder.unsteadiness([3, 8, 8], "cure").unwrap().unwrap_or_default();
        assert!(said.contains("DEPEND ON THE BATCH") && said.contains(says), "{runtime:?}: {said}");
    }
    // alone, nothing can meet
    let proto = ending(vec![node("Softmax", &["z"], &["y"], vec![int("axis", 0)])], vec![], 17);
    let folder = tempfile::tempdir().unwrap();
    let model = Model::read(&save(folder.path(), "m.onnx", &proto), None).unwrap();
    let mut embedder = Embedder::open(model, Some([3, 8, 8]), &options(Choice::Onnxruntime, 1)).unwrap();
    assert_eq!(embedder.unsteadiness([3, 8, 8], "give --batch 1").unwrap(), None);
}

fn axes(values: &[i64]) -> tract_onnx::pb::AttributeProto {
    let ints = tract_onnx::pb::attribute_proto::AttributeType::Ints as i32;
    tract_onnx::pb::AttributeProto { name: "axes".into(), ints: values.into(), r#type: ints, ..Default::default() }
}

#[test]
fn a_batch_that_is_baked_into_the_graph_says_batch_1() {
    let shape = crate::onnx::ints("shape", &[1, 192]);
    let nodes = vec![node("Reshape", &["x", "shape"], &["f"], vec![]), node("MatMul", &["f", "w"], &["y"], vec![])];
    let proto = model(&IMAGE, 17, nodes, vec![shape, crate::onnx::weights("w", &[192, 4])]);
    for runtime in [Choice::Onnxruntime, Choice::Tract] {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), "m.onnx", &proto);
        let open = |batch| {
            let mut embedder = Embedder::open(Model::read(&path, None)?, Some([3, 8, 8]), &options(runtime, batch))?;
            embedder.unsteadiness([3, 8, 8], "give --batch 1")
        };
        let message = open(8).unwrap_err().to_string();
        assert!(message.contains("give --batch 1"), "{runtime:?}: {message}");
        assert_eq!(open(1).unwrap(), None);
    }
}
