//! Integration tests in one program. A table of contents:
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod datasets;
mod embeddings;
mod hostile;
mod images;
mod loss_on_tract;
mod models;
mod onnx;
mod recipes;
mod resample;
mod tools;
mod unsteady;
