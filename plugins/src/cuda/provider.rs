//! The CUDA provider's stream and cuBLAS handle, as ONNX Runtime hands them to a running node.
#![allow(unsafe_code)]

use std::ffi::c_int;

use super::{cublas::Blas, driver::Stream};
use crate::{error::Result, ort_api::Run};

/// ONNX Runtime's numbers of the resources.
const STREAM: c_int = 10_000;
const CUBLAS_HANDLE: c_int = 10_002;

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
