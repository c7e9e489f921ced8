//! PD-Loss and D-Loss as ONNX Runtime operators, domain `com.pdloss`, version 1.
#![deny(unsafe_code)]

mod backward;
mod cpu;
mod error;
mod forward;
mod kernel;
mod ort_api;
mod register;
pub mod schema;
mod settings;
mod state;

pub use error::{Error, Result};
pub use register::{RegisterCustomOps, register};
