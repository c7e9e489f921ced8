//! Writes the gradient of a number in an ONNX model behind it.
//!
//!     cargo run --example differentiate -- model.onnx gradient.onnx LOSS
//!
//! The model is prepared for training (batch statistics, no dropout) and differentiated with respect to every float
//! initializer that the value `LOSS` depends on. Each gradient becomes an output; standard output has one line `gradient
//! <initializer> <output>` for each, and `running <initializer> <value>` for each running statistic, separated by tabs.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::{env, path::Path, process::ExitCode};

use pdloss::graph::{
    build::{Element, declare},
    file,
    gradient::{differentiate, influences},
    shapes::Shapes,
    training_mode::{Options, free_batch, prepare},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, out, loss] = arguments.as_slice() else {
        eprintln!("usage: differentiate MODEL OUT LOSS");
        return ExitCode::from(2);
    };
    match run(Path::new(model), Path::new(out), loss) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("differentiate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path, out: &Path, loss: &str) -> pdloss::graph::Result<()> {
    let mut model = file::read(path)?;
    free_batch(&mut model)?;
    let running = prepare(&mut model, &Options::default())?;
    let initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
    let is_float = |code: i32| Element::from_code(code).is_some_and(Element::is_float);
    let weights: Vec<String> =
        initializers.filter(|tensor| is_float(tensor.data_type())).map(|tensor| tensor.name().to_owned()).collect();
    let weights: Vec<&str> = weights.iter().map(String::as_str).collect();
    let reached = influences(&model, loss, &weights)?;
    let reached = weights.into_iter().zip(reached).filter_map(|(name, reached)| reached.then_some(name));
    let weights: Vec<&str> = reached.collect();
    let gradients = differentiate(&mut model, loss, &weights)?;
    let shapes = Shapes::of(&model)?;
    let values = gradients.iter().chain(running.iter().map(|running| &running.next));
    let outputs = values.map(|name| {
        let element = shapes.element(name).unwrap_or(Element::F32);
        declare(name, element, shapes.shape(name).unwrap_or_default())
    });
    let outputs: Vec<_> = outputs.collect();
    if let Some(graph) = model.graph.as_mut() {
        graph.output.extend(outputs);
    }
    file::write(&model, out)?;
    for (weight, gradient) in weights.iter().zip(&gradients) {
        println!("gradient\t{weight}\t{gradient}");
    }
    for running in &running {
        println!("running\t{}\t{}", running.name, running.next);
    }
    Ok(())
}
