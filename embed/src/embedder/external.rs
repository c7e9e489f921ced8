//! The files that a model and its weights lie in, checked before anything opens them: a device or a pipe would be read for
//! ever, and a runtime would say neither which tensor nor which file is wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

use crate::error::{Error, Result};

/// Opens a file that must be regular once links are followed.
///
/// # Errors
/// [`Error::File`] where it cannot be read, [`Error::Data`] where it is something else.
pub fn open_regular(path: &Path) -> Result<File> {
    let meta = std::fs::metadata(path).map_err(|e| Error::read(path, e))?;
    if !meta.is_file() {
        let kind = if meta.is_dir() { "a folder" } else { "a pipe, socket or device" };
        return Err(Error::data(path, format!("is {kind}; wanted a regular file, or a link to one")));
    }
    File::open(path).map_err(|e| Error::read(path, e))
}

/// Reads a file that must be regular once links are followed.
///
/// # Errors
/// As [`open_regular`].
pub fn read_regular(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    open_regular(path)?.read_to_end(&mut content).map_err(|e| Error::read(path, e))?;
    Ok(content)
}

/// The files of all external tensors, wherever in the model these are, by location; each is regular and long enough.
pub(super) fn files(model: &Path, proto: &ModelProto) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut problem = None;
    each_tensor(proto, &mut |tensor| {
        if problem.is_none()
            && let Err(e) = check(model, tensor, &mut found)
        {
            problem = Some(e);
        }
    });
    problem.map_or(Ok(found), Err)
}

fn check(model: &Path, tensor: &TensorProto, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    if tensor.external_data.is_empty() && tensor.data_location != Some(DataLocation::External as i32) {
        return Ok(());
    }
    let wrong = |problem: String| Error::model(model, format!("tensor '{}': {problem}", tensor.name));
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let location =
        entry("location").ok_or_else(|| wrong("is kept outside of the model, which does not say where".into()))?;
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(is_plain) {
        return Err(wrong(format!(
            "is kept in '{location}'; wanted a file beside the model, named by a relative path without '..'"
        )));
    }
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => {
            text.trim().parse::<u64>().map(Some).map_err(|_| wrong(format!("its external {key} '{text}' is no number")))
        }
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    let path = model.with_file_name(location);
    let meta = std::fs::metadata(&path)
        .map_err(|e| wrong(format!("keeps weights in {}, which cannot be read: {e}", path.display())))?;
    if !meta.is_file() {
        return Err(wrong(format!("keeps weights in {}, which is no regular file", path.display())));
    }
    let end = offset.checked_add(length.unwrap_or(0)).filter(|end| *end <= meta.len());
    if end.is_none() {
        return Err(wrong(format!(
            "keeps {} bytes from byte {offset} in {}, which has {}",
            length.map_or("its".to_owned(), |n| n.to_string()),
            path.display(),
            meta.len()
        )));
    }
    found.insert(location.to_owned(), path);
    Ok(())
}

/// Puts the values of all external tensors into the model, for a runtime that does not follow links.
pub(super) fn inline(model: &Path, proto: &mut ModelProto) -> Result<()> {
    let files = files(model, proto)?;
    if files.is_empty() {
        return Ok(());
    }
    let mut contents = BTreeMap::new();
    for (location, path) in files {
        contents.insert(location, read_regular(&path)?);
    }
    each_tensor_mut(proto, &mut |tensor| {
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.clone());
        let number = |key: &str| entry(key).and_then(|text| text.trim().parse::<usize>().ok());
        let Some(content) = entry("location").and_then(|location| contents.get(&location)) else { return };
        let rest = content.get(number("offset").unwrap_or(0)..).unwrap_or_default();
        tensor.raw_data = rest[..number("length").unwrap_or(rest.len()).min(rest.len())].to_vec();
        tensor.external_data.clear();
        tensor.data_location = Some(DataLocation::Default as i32);
    });
    Ok(())
}

fn each_tensor_mut(proto: &mut ModelProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    fn of_graph(graph: &mut GraphProto, visit: &mut dyn FnMut(&mut TensorProto)) {
        graph.initializer.iter_mut().for_each(&mut *visit);
        graph.node.iter_mut().for_each(|node| of_node(node, visit));
    }
    fn of_node(node: &mut NodeProto, visit: &mut dyn FnMut(&mut TensorProto)) {
        for AttributeProto { t, tensors, g, graphs, .. } in &mut node.attribute {
            t.iter_mut().chain(tensors).for_each(&mut *visit);
            g.iter_mut().chain(graphs).for_each(|graph| of_graph(graph, visit));
        }
    }
    proto.graph.iter_mut().for_each(|graph| of_graph(graph, visit));
    proto.functions.iter_mut().flat_map(|f| &mut f.node).for_each(|node| of_node(node, visit));
}

/// Calls `visit` with every tensor of the model: initializers, dense and sparse, attributes, subgraphs, functions.
fn each_tensor<'a>(proto: &'a ModelProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    if let Some(graph) = &proto.graph {
        of_graph(graph, visit);
    }
    for function in &proto.functions {
        function.node.iter().for_each(|node| of_node(node, visit));
    }
}

fn of_graph<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    graph.initializer.iter().for_each(&mut *visit);
    graph.sparse_initializer.iter().for_each(|sparse| of_sparse(sparse, visit));
    graph.node.iter().for_each(|node| of_node(node, visit));
}

fn of_node<'a>(node: &'a NodeProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    for AttributeProto { t, tensors, sparse_tensor, sparse_tensors, g, graphs, .. } in &node.attribute {
        t.iter().chain(tensors).for_each(&mut *visit);
        sparse_tensor.iter().chain(sparse_tensors).for_each(|sparse| of_sparse(sparse, visit));
        g.iter().chain(graphs).for_each(|graph| of_graph(graph, visit));
    }
}

fn of_sparse<'a>(sparse: &'a SparseTensorProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    sparse.values.iter().chain(&sparse.indices).for_each(visit);
}
