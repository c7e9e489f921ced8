//! Step graphs on onnxruntime: losses, optimisers and whole training runs against plain loops in `f64`.
#![cfg(feature = "onnx")]

mod backbones;
mod driver;
mod embedder;
mod losses;
mod optimizers;
mod reference;
mod refusals;
mod training;
