//! Tensors that lie in files beside the model, as PyTorch's exporter leaves them: brought into it.
//!
//! A file is opened only where its name is a relative path without `..`, and where it is regular once links are followed; a
//! tensor is taken only where the file holds as many bytes as its shape and type want.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Component, Path},
};

use super::{
    Error, Result, literal,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto},
};

/// `TensorProto.DataLocation.EXTERNAL`
const EXTERNAL: i32 = 1;

/// The most bytes that a model may have with everything in it: what one ONNX file can hold.
const LARGEST: u64 = i32::MAX as u64;

/// Puts the values of all external tensors into the model, wherever in it they are; `path` is the model's file.
///
/// # Errors
/// Naming the tensor and the file, where that is missing, no regular file, elsewhere than beside the model or below it, or too
/// short; where all of them together are more than one ONNX file can hold.
pub(super) fn bring_in(path: &Path, model: &mut ModelProto) -> Result<()> {
    let mut files = Files { model: path, open: HashMap::new(), bytes: 0 };
    let mut first_error = None;
    each_tensor(model, &mut |tensor| {
        if first_error.is_none() && is_external(tensor) {
            first_error = files.fill(tensor).err();
        }
    });
    first_error.map_or(Ok(()), Err)
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(EXTERNAL) || !tensor.external_data.is_empty()
}

/// The contents of the files that were read, by location.
struct Files<'a> {
    model: &'a Path,
    open: HashMap<String, Vec<u8>>,
    /// Of all tensors that were filled.
    bytes: u64,
}

impl Files<'_> {
    fn fill(&mut self, tensor: &mut TensorProto) -> Result<()> {
        let shown = self.model.display().to_string();
        let name = tensor.name().to_owned();
        let wrong = |reason: String| Error::model(shown.as_str(), format!("tensor '{name}' {reason}"));
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
        let Some(location) = entry("location").map(str::to_owned) else {
            return Err(wrong("is kept outside of the model, which does not say where".to_owned()));
        };
        let number = |key: &str| {
            let parse = |text: &str| {
                let parsed = text.trim().parse::<u64>();
                parsed.map_err(|_| wrong(format!("is kept in '{location}': its {key} '{text}' is no number")))
            };
            entry(key).map(parse).transpose()
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let Some(wanted) = bytes(tensor) else {
            return Err(wrong(format!(
                "is kept in '{location}': its type {} and shape {:?} have no length in bytes",
                tensor.data_type(),
                tensor.dims
            )));
        };
        if let Some(length) = length.filter(|length| *length != wanted) {
            return Err(wrong(format!(
                "wants {wanted} bytes by its shape {:?}, but is kept in {length} bytes of '{location}'",
                tensor.dims
            )));
        }
        self.bytes = self.bytes.saturating_add(wanted);
        if self.bytes > LARGEST {
            return Err(wrong(format!(
                "and those before it have {} bytes outside of the model; at most {LARGEST} are read, which is what one ONNX \
                 file holds",
                self.bytes
            )));
        }
        let content = self.content(&location).map_err(wrong)?;
        let end = offset.checked_add(wanted);
        let range = usize::try_from(offset).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
        let Some(values) = range.and_then(|(start, end)| content.get(start..end)) else {
            let have = content.len();
            return Err(wrong(format!(
                "wants {wanted} bytes from byte {offset} of '{location}', which has {have}: the file was cut, or belongs to \
                 another model"
            )));
        };
        tensor.raw_data = Some(values.to_vec());
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }

    fn content(&mut self, location: &str) -> Result<&[u8], String> {
        if !self.open.contains_key(location) {
            let content = read(self.model, location)?;
            self.open.insert(location.to_owned(), content);
        }
        Ok(&self.open[location])
    }
}

fn read(model: &Path, location: &str) -> Result<Vec<u8>, String> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(is_plain) {
        return Err(format!(
            "is kept in '{location}'; wanted a file beside the model, named by a relative path without '..'"
        ));
    }
    let path = model.with_file_name(location);
    let failed = |error: std::io::Error| format!("is kept in {}, which cannot be read: {error}", path.display());
    let meta = std::fs::metadata(&path).map_err(failed)?;
    if !meta.is_file() {
        return Err(format!("is kept in {}, which is no regular file", path.display()));
    }
    let mut content = Vec::new();
    // One byte more than can be used tells a file that is too large.
    File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut content)).map_err(failed)?;
    Ok(content)
}

/// The bytes of a tensor of its type and shape, as files hold them.
fn bytes(tensor: &TensorProto) -> Option<u64> {
    let count = u64::try_from(literal::count(&literal::lengths(tensor)?)?).ok()?;
    // By `TensorProto.DataType`; texts cannot lie outside.
    let bits = match tensor.data_type() {
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        21..=23 => 4,
        25 | 26 => 2,
        _ => return None,
    };
    count.checked_mul(bits).map(|bits| bits.div_ceil(8))
}

/// Calls `visit` with every tensor of the model: initializers, dense and sparse, attributes, subgraphs, functions.
fn each_tensor(model: &mut ModelProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    if let Some(graph) = &mut model.graph {
        of_graph(graph, visit);
    }
    for function in &mut model.functions {
        function.node.iter_mut().for_each(|node| of_node(node, visit));
    }
}

fn of_graph(graph: &mut GraphProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    graph.initializer.iter_mut().for_each(&mut *visit);
    graph.sparse_initializer.iter_mut().for_each(|sparse| of_sparse(sparse, visit));
    graph.node.iter_mut().for_each(|node| of_node(node, visit));
}

fn of_node(node: &mut NodeProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    for AttributeProto { t, tensors, sparse_tensor, sparse_tensors, g, graphs, .. } in &mut node.attribute {
        t.iter_mut().chain(tensors).for_each(&mut *visit);
        sparse_tensor.iter_mut().chain(sparse_tensors).for_each(|sparse| of_sparse(sparse, visit));
        g.iter_mut().map(|graph| &mut **graph).chain(graphs).for_each(|graph| of_graph(graph, visit));
    }
}

fn of_sparse(sparse: &mut SparseTensorProto, visit: &mut dyn FnMut(&mut TensorProto)) {
    sparse.values.iter_mut().chain(&mut sparse.indices).for_each(visit);
}
