//! The CUDA provider's stream and handles of libraries, as ONNX Runtime hands them to a running node.
#![allow(unsafe_code)]

use std::ffi::c_int;

use super::{cublas::Blas, cudnn::Dnn, driver::Stream};
use crate::{error::Result, ort_api::Run};

/// ONNX Runtime's numbers of the resources.
const STREAM: c_int = 10_000;
const CUDNN_HANDLE: c_int = 10_001;
const CUBLAS_HANDLE: c_int = 10_002;
/// Since version 3 of the resources, in most of their numberings.
const USE_TF32: c_int = 10_011;

/// The stream of the run in progress.
pub(crate) fn stream(run: &Run<'_>) -> Result<Stream> {
    let raw = run.resource(STREAM)?;
    // SAFETY: the host's documented stream of the run, which lives at least as long as the run.
    unsafe { Stream::of(raw) }
}

/// Stream and handle of the run in progress.
pub(crate) fn open(run: &Run<'_>) -> Result<(Stream, Blas)> {
    let stream = stream(run)?;
    let handle = run.resource(CUBLAS_HANDLE)?;
    // SAFETY: the host's documented handle for that stream. Kernels of one stream are run one after the other, so nobody
    // else uses it during this one.
    let blas = unsafe { Blas::of(handle, stream.raw()) }?;
    Ok((stream, blas))
}

/// cuDNN's handle of the run in progress, on its stream.
pub(crate) fn dnn(run: &Run<'_>, stream: &Stream) -> Result<Dnn> {
    let handle = run.resource(CUDNN_HANDLE)?;
    // SAFETY: as for cuBLAS's.
    unsafe { Dnn::of(handle, stream.raw(), stream.context()) }
}

/// Whether the provider was told that float32 products may be rounded to TF32. No where the host does not say.
pub(crate) fn allows_tf32(run: &Run<'_>) -> bool {
    // A boolean in a pointer's place; an older numbering has a function here.
    run.resource_of(3, USE_TF32).is_ok_and(|value| value.addr() == 1)
}
