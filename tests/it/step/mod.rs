//! Step graphs on onnxruntime: losses, optimisers and whole training runs against plain loops in `f64`.
#![allow(clippy::cast_possible_truncation, reason = "rounding to float32 is meant, and lengths are small")]

mod autograd;
mod backbones;
mod driver;
mod embedder;
mod exports;
mod held;
mod in_parts;
mod labels;
mod losses;
mod memory;
mod optimizers;
mod parameters;
mod precision;
mod providers;
mod reference;
mod refusals;
mod training;
