//! The step graph that `adamw.py` compares: normalised softmax, AdamW with weight decay on everything. With `operators` behind the
//! others it uses those of this project's library.

use std::{env, error::Error, path::Path};

use pdloss::graph::{
    file,
    losses::{Loss, NormalizedSoftmax},
    step::{Operators, Optimizer, StepOptions, build},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (backbone, out, classes, operators) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [backbone, out, classes] => (backbone, out, classes, Operators::Standard),
        [backbone, out, classes, "operators"] => (backbone, out, classes, Operators::Cpu),
        _ => return Err("usage: ort_training_step BACKBONE OUT CLASSES [operators]".into()),
    };
    let loss = Loss::Softmax(NormalizedSoftmax { temperature: 0.5 });
    let options = StepOptions {
        optimizer: Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-2, weight_decay: 1.0 },
        operators,
        decay_all: true,
        decay_proxies: true,
        ..StepOptions::new(loss, classes.parse()?)
    };
    let step = build(file::read(Path::new(backbone))?, &options)?;
    file::write(&step, Path::new(out))?;
    Ok(())
}
