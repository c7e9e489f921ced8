//! The training step as asked for on the command line: loss, optimiser, proxies.

use pdloss::graph::head::Spelling;
use pdloss::graph::step::StepOptions;
use pdloss_embed::{Error, Result};

use crate::loss::LossArgs;
use crate::optimizer::OptimizerArgs;

/// The settings of the step graph.
///
/// # Errors
/// [`Error::Usage`] for flags that do not go together, or values out of range.
pub(crate) fn options(
    loss: &LossArgs,
    optimizer: &OptimizerArgs,
    spelling: Spelling,
    classes: usize,
    seed: u64,
) -> Result<StepOptions> {
    let mut options = StepOptions::new(loss.loss()?, classes);
    options.spelling = spelling;
    optimizer.set(&mut options)?;
    options.seed = seed;
    options.check().map_err(|e| Error::Usage(e.to_string()))?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::OptimizerName;

    #[test]
    fn writing_defaults_out_changes_nothing() {
        for optimizer in [None, Some(OptimizerName::Sgd)] {
            let args = OptimizerArgs { optimizer, clip: Some(0.5), ..OptimizerArgs::default() };
            let make = |args| options(&LossArgs::default(), args, Spelling::Operator, 3, 0).unwrap();
            assert_eq!(make(&args.resolved().unwrap()), make(&args));
        }
    }

    #[test]
    fn values_out_of_range_and_foreign_flags_of_the_optimiser_are_refused() {
        let refused = |optimizer: OptimizerArgs| {
            options(&LossArgs::default(), &optimizer, Spelling::Operator, 3, 0).unwrap_err().to_string()
        };
        assert!(refused(OptimizerArgs { momentum: Some(0.5), ..OptimizerArgs::default() }).contains("--momentum"));
        assert!(refused(OptimizerArgs { beta1: Some(1.5), ..OptimizerArgs::default() }).contains("beta1"));
        assert!(refused(OptimizerArgs { clip: Some(0.0), ..OptimizerArgs::default() }).contains("norm"));
    }
}
