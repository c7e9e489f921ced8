//! ONNX files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;

use super::{
    Error, Result,
    proto::{GraphProto, ModelProto, TensorProto},
};

/// `TensorProto.DataLocation.EXTERNAL`
const EXTERNAL: i32 = 1;

/// Reads a model. Tensors that lie in files of their own stay there; see [`write()`].
///
/// # Errors
/// When the file cannot be read, or holds no model with a graph.
pub fn read(path: &Path) -> Result<ModelProto> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let model =
        ModelProto::decode(bytes.as_slice()).map_err(|source| Error::Format { path: path.to_owned(), source })?;
    // Protocol buffers take almost any short file for a message without fields.
    let Some(graph) = &model.graph else {
        return Err(Error::model(path.display().to_string(), "not an ONNX model: it has no graph"));
    };
    if let Some(name) = external(graph) {
        let reason = format!("tensor '{name}' lies in a file of its own; save the model as one file first");
        return Err(Error::model(path.display().to_string(), reason));
    }
    Ok(model)
}

/// Writes a model under a temporary name beside `path` and renames it: `path` holds the whole model or what it held before.
///
/// # Errors
/// When the file cannot be written, or the model is larger than the 2 GiB that the format allows.
pub fn write(model: &ModelProto, path: &Path) -> Result<()> {
    let length = model.encoded_len();
    if i32::try_from(length).is_err() {
        let reason = format!("{length} bytes, but one ONNX file holds at most 2 GiB: use fewer classes");
        return Err(Error::model(path.display().to_string(), reason));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let written = fs::write(&partial, model.encode_to_vec()).and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// The first tensor, in subgraphs too, that is stored outside the model's file.
fn external(graph: &GraphProto) -> Option<&str> {
    let of = |tensor: &TensorProto| tensor.data_location == Some(EXTERNAL);
    let initializers = graph.initializer.iter().find(|tensor| of(tensor));
    if let Some(tensor) = initializers {
        return Some(tensor.name());
    }
    graph.node.iter().flat_map(|node| &node.attribute).find_map(|attribute| {
        let inside = attribute.t.iter().chain(&attribute.tensors).find(|tensor| of(tensor)).map(TensorProto::name);
        inside.or_else(|| attribute.g.as_deref().into_iter().chain(&attribute.graphs).find_map(external))
    })
}
