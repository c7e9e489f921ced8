//! Tests of the crate from outside, one program: graphs run on the one onnxruntime of the process.

#[cfg(feature = "onnx")]
mod environment;
#[cfg(feature = "onnx")]
mod graph;
mod loss;
#[cfg(feature = "onnx")]
mod runtime;
#[cfg(feature = "onnx")]
mod step;
