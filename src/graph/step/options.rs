//! The settings of a training step.

use super::Optimizer;
use crate::graph::{Error, Result, head::Spelling, losses::Loss};

/// What to train, with which loss, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOptions {
    /// The loss.
    pub loss: Loss,
    /// How PD-Loss and D-Loss are written: as operators of this project's library, or in standard operators, which form all
    /// similarities and need no library. The other losses are always in standard operators.
    pub spelling: Spelling,
    /// Rows of the proxies. Losses without proxies ignore it.
    pub classes: usize,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
    /// Weight decay on biases and norms as well, that is on everything with less than two axes.
    pub decay_all: bool,
    /// Weight decay on the proxies.
    pub decay_proxies: bool,
    /// Factor on the learning rate of the proxies.
    pub proxies_rate: f64,
    /// Scales all gradients down together when their common norm is larger than this.
    pub clip: Option<f64>,
    /// Weights that stay as they are: patterns of their names, with `*`, `?` and `[a-z]`. `pdloss.proxies` is one of the
    /// names.
    pub freeze: Vec<String>,
    /// Tensors to train that would be taken for constants: patterns of their names, as in `freeze`.
    pub also: Vec<String>,
    /// Which BatchNormalization nodes keep their running statistics, and normalise by them.
    pub freeze_statistics: FreezeStatistics,
    /// Which variance of a batch the running variance follows.
    pub running_variance: RunningVariance,
    /// Whether Dropout nodes drop anything.
    pub dropout: bool,
    /// Which of the backbone's outputs holds the embeddings; the only one where `None`.
    pub embeddings: Option<String>,
    /// Length of an embedding, for backbones that do not declare it.
    pub dim: Option<usize>,
    /// Seed of the proxies' first values and of dropout.
    pub seed: u64,
}

/// Which BatchNormalization nodes keep their running statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreezeStatistics {
    /// None: all normalise by the batch.
    #[default]
    None,
    /// Those whose scale is frozen.
    WithWeights,
    /// All.
    All,
}

/// Which variance of a batch of `n` values a channel the running variance of BatchNormalization follows. The batch itself is
/// normalised by the variance of the population in either case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunningVariance {
    /// Of the sample, divided by `n - 1`, as PyTorch has it.
    #[default]
    Sample,
    /// Of the population, divided by `n`, as ONNX has it.
    Population,
}

impl StepOptions {
    /// The settings that this crate suggests: AdamW, nothing frozen, no clipping, the library's operators.
    #[must_use]
    pub fn new(loss: Loss, classes: usize) -> Self {
        Self {
            loss,
            spelling: Spelling::Operator,
            classes,
            optimizer: Optimizer::default(),
            decay_all: false,
            decay_proxies: false,
            proxies_rate: 1.0,
            clip: None,
            freeze: Vec::new(),
            also: Vec::new(),
            freeze_statistics: FreezeStatistics::None,
            running_variance: RunningVariance::Sample,
            dropout: true,
            embeddings: None,
            dim: None,
            seed: 0,
        }
    }

    /// Whether the graph needs this project's library.
    #[must_use]
    pub fn needs_library(&self) -> bool {
        self.loss.has_moments() && self.spelling == Spelling::Operator
    }

    /// Refuses values out of range; [`build`](super::build) does it too.
    ///
    /// # Errors
    /// Naming the setting and its value.
    pub fn check(&self) -> Result<()> {
        self.loss.check()?;
        self.optimizer.check()?;
        if self.spelling == Spelling::Function {
            let reason = "a function has no gradient; wanted the operators or standard operators in the graph";
            return Err(Error::model("spelling of the loss", reason));
        }
        if !(self.proxies_rate >= 0.0 && self.proxies_rate.is_finite()) {
            let reason = format!("wanted a finite number not below 0, got {}", self.proxies_rate);
            return Err(Error::model("factor on the proxies' learning rate", reason));
        }
        match self.clip {
            Some(norm) if !(norm > 0.0 && norm.is_finite()) => {
                Err(Error::model("largest gradient norm", format!("wanted a finite number above 0, got {norm}")))
            }
            _ => Ok(()),
        }
    }
}
