//! The settings of a training step.

use serde::{Deserialize, Serialize};

use super::{Optimizer, Precision};
use crate::graph::{Error, Result, gradient::Operators, head::Spelling, losses::Loss};

/// What to train, with which loss, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOptions {
    /// The loss.
    pub loss: Loss,
    /// How PD-Loss and D-Loss are written: as operators of this project's library, or in standard operators, which form all
    /// similarities and need no library. The other losses are always in standard operators.
    pub spelling: Spelling,
    /// What the rest of the step is written in. This project's library has operators for the update of the weights, normalization
    /// by the batch, and gradients of activations, normalizations, pools and convolutions.
    pub operators: Operators,
    /// How many classes the proxies are of. Losses without proxies ignore it.
    pub classes: usize,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
    /// Weight decay on biases and norms as well, that is on everything with less than two axes.
    pub decay_all: bool,
    /// Weight decay on the proxies.
    pub decay_proxies: bool,
    /// Factor on the learning rate of the proxies.
    pub proxies_rate: f64,
    /// Weights with a rate or a decay of their own; the first group that names a weight has it.
    pub groups: Vec<Group>,
    /// Keeps an average of the backbone's weights and running statistics beside them, `ema a + (1 - ema) w'` after each step.
    pub ema: Option<f64>,
    /// Scales all gradients down together when their common norm is larger than this.
    pub clip: Option<f64>,
    /// Weights that stay as they are: patterns of their names, with `*`, `?` and `[a-z]`. `pdloss.proxies` is one of the
    /// names.
    pub freeze: Vec<String>,
    /// The number of steps after which what `freeze` names is trained, too; `None` to leave it as it is.
    pub unfreeze_at: Option<u64>,
    /// A factor on the learning rate for each layer from the end of the backbone to its beginning, as `layers` counts them.
    pub layer_decay: Option<f64>,
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
    /// Rows of earlier batches that a loss over pairs compares a batch with.
    pub memory: Option<Memory>,
    /// In what the backbone's products are computed; float32 where `None`.
    pub precision: Option<Precision>,
    /// Whether the graph runs on the ranks of an MPI launcher, each of which is given its rows of one batch.
    pub ranks: Option<Ranks>,
}

/// Weights with settings of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// A pattern of their names, with `*`, `?` and `[a-z]`; `pdloss.proxies` is one of the names.
    pub pattern: String,
    /// Factor on their learning rate, beside that of the proxies.
    pub rate: f64,
    /// Weight decay of those of them that have one; that of the optimiser where `None`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decay: Option<f64>,
}

/// Rows of earlier batches that a loss over pairs compares a batch with, beside its own: Wang et al. 2020, "Cross-Batch Memory for
/// Embedding Learning".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// How many: the last ones, as they were embedded then.
    pub rows: usize,
    /// The number of steps after which batches are compared with them; they are kept from the first step on.
    pub start: u64,
}

impl Memory {
    /// The most rows: more similarities than these with a batch of a few images are no step of anybody.
    const MOST: usize = 1 << 24;

    fn check(self, options: &StepOptions) -> Result<()> {
        let wrong = |reason: String| Err(Error::model("memory of earlier batches", reason));
        let Self { rows, start } = self;
        if !options.loss.takes_memory() {
            return wrong(format!(
                "the loss {} has none: wanted one that follows from the pairs of each row (contrastive, triplet, multi-similarity, supcon, \
                 nt-xent, circle, histogram)",
                options.loss.name()
            ));
        }
        if !(1..=Self::MOST).contains(&rows) {
            return wrong(format!("wanted 1 to {} rows, got {rows}", Self::MOST));
        }
        if i64::try_from(start).is_err() {
            let reason = format!("wanted 0 to {} steps, got {start}", i64::MAX);
            return Err(Error::model("start of the memory", reason));
        }
        Ok(())
    }
}

/// How a step runs on several ranks: embeddings and labels are gathered, every loss is of the whole batch, and gradients are added
/// up. The graph knows neither how many ranks there are nor which one it runs on; on one rank it is the same step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ranks {
    /// BatchNormalization normalises by the whole batch, and not by the rank's rows.
    pub sync_statistics: bool,
    /// `first..end` of the classes whose proxies this rank has, where each has a part of them in their order; PD-Loss only. The graph
    /// is then this rank's own.
    pub classes: Option<(usize, usize)>,
}

impl Ranks {
    /// With statistics of the whole batch, or of the rank's rows.
    #[must_use]
    pub fn new(sync_statistics: bool) -> Self {
        Self { sync_statistics, classes: None }
    }

    /// The same with the proxies of these classes alone on this rank.
    #[must_use]
    pub fn with_classes(self, classes: std::ops::Range<usize>) -> Self {
        Self { classes: Some((classes.start, classes.end)), ..self }
    }
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
            operators: Operators::Standard,
            classes,
            optimizer: Optimizer::default(),
            decay_all: false,
            decay_proxies: false,
            proxies_rate: 1.0,
            groups: Vec::new(),
            ema: None,
            clip: None,
            freeze: Vec::new(),
            unfreeze_at: None,
            layer_decay: None,
            also: Vec::new(),
            freeze_statistics: FreezeStatistics::None,
            running_variance: RunningVariance::Sample,
            dropout: true,
            embeddings: None,
            dim: None,
            seed: 0,
            memory: None,
            precision: None,
            ranks: None,
        }
    }

    /// Whether the graph may need this project's library.
    #[must_use]
    pub fn needs_library(&self) -> bool {
        self.has_operator() || self.operators.are_of_library() || self.ranks.is_some()
    }

    /// Whether the loss is an operator of this project's library.
    pub(super) fn has_operator(&self) -> bool {
        self.loss.has_moments() && self.spelling == Spelling::Operator
    }

    /// Refuses values out of range; [`build`](super::build) does it too.
    ///
    /// # Errors
    /// Naming the setting and its value.
    pub fn check(&self) -> Result<()> {
        self.loss.check()?;
        self.optimizer.check()?;
        self.memory.map_or(Ok(()), |memory| memory.check(self))?;
        self.precision.map_or(Ok(()), |precision| precision.check(self.operators))?;
        if self.spelling == Spelling::Function {
            let reason = "a function has no gradient; wanted the operators or standard operators in the graph";
            return Err(Error::model("spelling of the loss", reason));
        }
        if let Some((first, end)) = self.ranks.and_then(|ranks| ranks.classes) {
            if !matches!(self.loss, Loss::Pd(_)) || self.spelling != Spelling::Operator {
                let reason = "only PD-Loss as an operator has a part of its classes on each rank";
                return Err(Error::model(format!("loss {}", self.loss.name()), reason));
            }
            if first >= end || end > self.classes {
                let reason = format!("wanted at least one of {} on each rank, got {first}..{end}", self.classes);
                return Err(Error::model("classes of a rank", reason));
            }
        }
        if !(self.proxies_rate >= 0.0 && self.proxies_rate.is_finite()) {
            let reason = format!("wanted a finite number not below 0, got {}", self.proxies_rate);
            return Err(Error::model("factor on the proxies' learning rate", reason));
        }
        for Group { pattern, rate, decay } in &self.groups {
            let numbers = [("factor on the learning rate", *rate), ("weight decay", decay.unwrap_or(0.0))];
            if let Some((what, value)) = numbers.into_iter().find(|(_, value)| !(*value >= 0.0 && value.is_finite())) {
                let reason = format!("wanted a finite {what} not below 0, got {value}");
                return Err(Error::model(format!("group '{pattern}'"), reason));
            }
        }
        if let Some(ema) = self.ema.filter(|ema| !(*ema > 0.0 && *ema < 1.0)) {
            return Err(Error::model("average of the weights", format!("wanted a decay between 0 and 1, got {ema}")));
        }
        if let Some(decay) = self.layer_decay.filter(|decay| !(*decay > 0.0 && *decay <= 1.0)) {
            return Err(Error::model("layer decay", format!("wanted a factor above 0 and at most 1, got {decay}")));
        }
        if let Some(step) = self.unfreeze_at.filter(|step| *step == 0 || i64::try_from(*step).is_err()) {
            return Err(Error::model("step that unfreezes", format!("wanted 1 to {}, got {step}", i64::MAX)));
        }
        if self.unfreeze_at.is_some() && self.freeze.is_empty() {
            return Err(Error::model("step that unfreezes", "nothing is frozen until then"));
        }
        if matches!(self.optimizer, Optimizer::Lamb { .. }) && self.ranks.is_some_and(|ranks| ranks.classes.is_some()) {
            let reason = "it wants the norm of all proxies, of which each rank has a part";
            return Err(Error::model("optimiser lamb", reason));
        }
        match self.clip {
            Some(norm) if !(norm > 0.0 && norm.is_finite()) => {
                Err(Error::model("largest gradient norm", format!("wanted a finite number above 0, got {norm}")))
            }
            _ => Ok(()),
        }
    }
}
