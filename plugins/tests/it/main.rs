//! Tests of the operators from outside, one program. Apart from it are those that need a process of their own.

#[path = "../common/mod.rs"]
mod common;
/// Step graphs are driven as the crate `pdloss` drives them.
#[path = "../../../tests/it/runtime.rs"]
mod runtime;

use common::session::environment;

mod activation;
mod both;
mod cases;
mod convolution;
mod examples;
mod first_sessions;
mod kernels;
mod normalization;
mod pools;
mod refusals;
mod step;
mod stress;
mod update;
mod winograd;
