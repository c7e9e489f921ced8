//! Step graphs on onnxruntime: losses, optimisers and whole training runs against plain loops in `f64`.
#![cfg(feature = "onnx")]
#![allow(clippy::cast_possible_truncation, reason = "rounding to float32 is meant, and lengths are small")]

mod backbones;
mod driver;
mod embedder;
#[path = "../common/environment.rs"]
mod environment;
mod losses;
mod optimizers;
mod parameters;
mod reference;
mod refusals;
mod training;
