//! Makes a training step of an embedder, in standard operators alone:
//!
//! ```sh
//! cargo run --example step_graph -- fixtures/models/color.onnx target/step.onnx 20
//! ```

#![allow(clippy::print_stdout, reason = "a program")]

use std::{env, error::Error, path::Path};

use pdloss::{
    graph::{
        file,
        head::Spelling,
        losses::{Loss, NormalizedSoftmax},
        step::{Description, StepOptions, build},
    },
    loss::Config,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [backbone, out, classes, rest @ ..] = arguments.as_slice() else {
        return Err("usage: step_graph BACKBONE OUT CLASSES [pd|softmax]".into());
    };
    let loss = match rest.first().map_or("pd", String::as_str) {
        "softmax" => Loss::Softmax(NormalizedSoftmax::default()),
        _ => Loss::Pd(Config::default()),
    };
    let options = StepOptions { spelling: Spelling::Inline, ..StepOptions::new(loss, classes.parse()?) };
    let step = build(file::read(Path::new(backbone))?, &options)?;
    println!("{} tensors of state", Description::of(&step)?.state.len());
    file::write(&step, Path::new(out))?;
    Ok(())
}
