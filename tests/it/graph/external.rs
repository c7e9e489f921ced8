//! Models whose tensors lie in files beside them.

use std::{env, fs, path::PathBuf};

use pdloss::graph::{
    build::{Element, Value, attribute, floats, node},
    file,
    proto::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto},
};

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("pdloss-external-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("deep")).unwrap();
    folder
}

fn outside(name: &str, shape: &[usize], entries: &[(&str, &str)]) -> TensorProto {
    let values = vec![0.0; shape.iter().product()];
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).to_owned()),
        value: Some((*value).to_owned()),
    };
    TensorProto {
        raw_data: None,
        data_location: Some(1),
        external_data: entries.iter().map(entry).collect(),
        ..floats(name, Element::F32, shape, &values)
    }
}

fn model(initializers: Vec<TensorProto>, constant: TensorProto) -> ModelProto {
    let nodes = vec![node("Constant", &[], &["c"], vec![attribute("value", Value::Tensor(Box::new(constant)))])];
    let graph = GraphProto { initializer: initializers, node: nodes, ..GraphProto::default() };
    let opset = OperatorSetIdProto { domain: None, version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

#[test]
fn tensors_are_brought_in_from_several_files_and_into_attributes() {
    let folder = folder("several");
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    fs::write(folder.join("a.bin"), bytes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    fs::write(folder.join("deep/b.bin"), bytes(&[5.0, 6.0])).unwrap();
    let path = folder.join("model.onnx");
    let tensors = vec![
        outside("whole", &[4], &[("location", "a.bin")]),
        outside("part", &[2], &[("location", "./a.bin"), ("offset", "4"), ("length", "8")]),
    ];
    let constant = outside("", &[1, 2], &[("location", "deep/b.bin"), ("offset", "0"), ("checksum", "none")]);
    file::write(&model(tensors, constant), &path).unwrap();
    let graph = file::read(&path).unwrap().graph.unwrap();
    let values = |tensor: &TensorProto| {
        assert!(tensor.external_data.is_empty() && tensor.data_location.is_none());
        tensor.raw_data.clone().unwrap()
    };
    assert_eq!(values(&graph.initializer[0]), bytes(&[1.0, 2.0, 3.0, 4.0]));
    assert_eq!(values(&graph.initializer[1]), bytes(&[2.0, 3.0]));
    assert_eq!(values(graph.node[0].attribute[0].t.as_ref().unwrap()), bytes(&[5.0, 6.0]));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_that_do_not_hold_a_tensor_are_named_with_it() {
    let folder = folder("wrong");
    fs::write(folder.join("short.bin"), [0; 12]).unwrap();
    let absolute = folder.join("short.bin").display().to_string();
    let path = folder.join("model.onnx");
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("location", "short.bin")], "wants 16 bytes from byte 0 of 'short.bin', which has 12"),
        (&[("location", "short.bin"), ("offset", "18446744073709551615")], "from byte 18446744073709551615"),
        (&[("location", "short.bin"), ("length", "12")], "wants 16 bytes by its shape [4], but is kept in 12"),
        (&[("location", "short.bin"), ("offset", "-1")], "its offset '-1' is no number"),
        (&[("location", "missing.bin")], "missing.bin, which cannot be read"),
        (&[("location", "deep")], "deep, which is no regular file"),
        (&[("location", "../short.bin")], "named by a relative path without '..'"),
        (&[("location", &absolute)], "named by a relative path without '..'"),
        (&[("offset", "0")], "does not say where"),
    ];
    for (entries, says) in cases {
        for in_constant in [false, true] {
            let (wrong, right) = (outside("wrong", &[4], entries), floats("right", Element::F32, &[1], &[0.0]));
            let model = if in_constant { model(vec![], wrong) } else { model(vec![wrong], right) };
            file::write(&model, &path).unwrap();
            let error = file::read(&path).unwrap_err().to_string();
            assert!(error.contains("tensor 'wrong'") && error.contains(says), "{says}: {error}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}
