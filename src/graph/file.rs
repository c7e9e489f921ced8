//! ONNX files.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use prost::Message;

use super::{Error, Result, external, names, proto::ModelProto};

/// What the names of files begin with that are not whole yet.
const UNFINISHED: &str = ".pdloss-";

/// Reads a model. Values that lie in files beside it, as PyTorch's exporter leaves them, are brought into it.
///
/// # Errors
/// When the file cannot be read, or holds no model with a graph, or one with two tensors of one name; when a file beside it is missing, cut or no regular file, or is
/// named by anything but a relative path without `..`, naming the tensor.
pub fn read(path: &Path) -> Result<ModelProto> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let mut model =
        ModelProto::decode(bytes.as_slice()).map_err(|source| Error::Format { path: path.to_owned(), source })?;
    // Protocol buffers take almost any short file for a message without fields.
    let Some(graph) = &model.graph else {
        return Err(Error::model(path.display().to_string(), "not an ONNX model: it has no graph"));
    };
    names::check(graph)?;
    external::bring_in(path, &mut model)?;
    Ok(model)
}

/// Writes a model under a temporary name beside `path` and renames it: `path` holds the whole model or what it held before.
///
/// # Errors
/// When the file cannot be written, or the model is larger than the 2 GiB that the format allows.
pub fn write(model: &ModelProto, path: &Path) -> Result<()> {
    let length = model.encoded_len();
    if i32::try_from(length).is_err() {
        let reason =
            format!("{length} bytes, but one ONNX file holds at most 2 GiB: use fewer classes, or a smaller net");
        return Err(Error::model(path.display().to_string(), reason));
    }
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let (partial, mut file) = beside(path).map_err(failed)?;
    let written = file.write_all(&model.encode_to_vec()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&partial, path)).map_err(|source| {
        // What cannot be removed either is told by its name.
        let _ = fs::remove_file(&partial);
        failed(source)
    })
}

/// A new file in the folder of `path`, under a name that nothing has.
fn beside(path: &Path) -> io::Result<(PathBuf, fs::File)> {
    let name = path.file_name().ok_or_else(|| io::Error::other("wanted the name of a file"))?;
    for number in 0_u32.. {
        let mut unfinished = OsString::from(format!("{UNFINISHED}{}-{number}-", std::process::id()));
        unfinished.push(name);
        let partial = path.with_file_name(unfinished);
        match fs::OpenOptions::new().write(true).create_new(true).open(&partial) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer.map(|file| (partial, file)),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}
