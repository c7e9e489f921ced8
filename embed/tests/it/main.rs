//! Integration tests in one program. A table of contents:
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod archives;
mod blocks;
mod cars196;
mod datasets;
mod embeddings;
mod given;
mod hostile;
mod images;
mod layouts;
mod lists;
mod loss_on_tract;
mod models;
mod neighbours;
mod onnx;
mod parquet;
mod recipes;
mod resample;
mod tools;
mod unsteady;
