//! The step graph that `adamw.py` compares: normalised softmax, AdamW with weight decay on everything.

use std::{env, error::Error, path::Path};

use pdloss::graph::{
    file,
    losses::{Loss, NormalizedSoftmax},
    step::{Optimizer, StepOptions, build},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [backbone, out, classes] = arguments.as_slice() else {
        return Err("usage: ort_training_step BACKBONE OUT CLASSES".into());
    };
    let loss = Loss::Softmax(NormalizedSoftmax { temperature: 0.5 });
    let options = StepOptions {
        optimizer: Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-2, weight_decay: 1.0 },
        decay_all: true,
        decay_proxies: true,
        ..StepOptions::new(loss, classes.parse()?)
    };
    let step = build(file::read(Path::new(backbone))?, &options)?;
    file::write(&step, Path::new(out))?;
    Ok(())
}
