//! The step graph that `tests/torch/compare.py` holds against autograd: normalised softmax, plain gradient descent, no dropout.
//!
//!     torch_step BACKBONE OUT CLASSES DIM
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::{env, error::Error, path::Path, process::ExitCode};

use pdloss::graph::{
    file,
    losses::{Loss, NormalizedSoftmax},
    step::{Description, Optimizer, StepOptions, build},
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torch_step: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [backbone, out, classes, dim] = arguments.as_slice() else {
        return Err("usage: torch_step BACKBONE OUT CLASSES DIM".into());
    };
    let loss = Loss::Softmax(NormalizedSoftmax { temperature: 0.5 });
    let options = StepOptions {
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        dropout: false,
        dim: Some(dim.parse()?),
        ..StepOptions::new(loss, classes.parse()?)
    };
    let step = build(file::read(Path::new(backbone))?, &options)?;
    let description = Description::of(&step)?;
    for left in &description.parameters.left {
        println!("left\t{}\t{}", left.name, left.reason);
    }
    for state in &description.state {
        println!("state\t{}\t{}\t{:?}", state.name, state.next, state.kind);
    }
    file::write(&step, Path::new(out))?;
    Ok(())
}
