//! The optimiser as asked for on the command line, and what is frozen.

use clap::{Args, ValueEnum};
use pdloss::graph::step::{FreezeStatistics, Group, Optimizer, RunningVariance, StepOptions};
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// An optimiser by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerName {
    /// Adam with decoupled weight decay
    Adamw,
    /// Gradient descent with momentum
    Sgd,
    /// Lion: the sign of a mean of gradients; wants a third to a tenth of AdamW's rate
    Lion,
    /// LAMB: Adam's direction as long as the tensor that it changes
    Lamb,
}

/// How weights follow their gradients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Optimiser")]
pub(crate) struct OptimizerArgs {
    /// The optimiser, as PyTorch defines it [default: adamw]
    #[arg(long, value_enum)]
    pub(crate) optimizer: Option<OptimizerName>,
    /// Weight decay, not of biases, norms and proxies [default: adamw and lamb 0.01, sgd and lion 0]
    #[arg(long, value_name = "DECAY")]
    pub(crate) weight_decay: Option<f64>,
    /// Weight decay of biases and norms, too
    #[arg(long)]
    pub(crate) decay_all: bool,
    /// Weight decay of the proxies, too
    #[arg(long)]
    pub(crate) decay_proxies: bool,
    /// Momentum of SGD [default: 0.9]
    #[arg(long)]
    pub(crate) momentum: Option<f64>,
    /// sgd: look one step ahead
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// adamw, lion, lamb [default: 0.9]
    #[arg(long)]
    pub(crate) beta1: Option<f64>,
    /// adamw, lion, lamb [default: 0.999, lion 0.99]
    #[arg(long)]
    pub(crate) beta2: Option<f64>,
    /// adamw, lamb [default: adamw 1e-8, lamb 1e-6]
    #[arg(long)]
    pub(crate) adam_eps: Option<f64>,
    /// Factor on the learning rate of the proxies [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub(crate) proxies_rate: Option<f64>,
    /// Settings of the weights that a pattern names: --group 'layer4.*' lr=0.1 decay=0. lr is a factor on the learning rate, decay
    /// the weight decay of those that have one; may be given again, and the first that names a weight has it
    #[arg(long, value_names = ["PATTERN", "lr=FACTOR", "decay=DECAY"], num_args = 1..=3)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) group: Vec<String>,
    /// Keep an average of the weights, DECAY times itself and the rest the new weights each step, which is validated and becomes the
    /// embedder
    #[arg(long, value_name = "DECAY")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ema: Option<f64>,
    /// Scale all gradients down together where their norm is above this [default: never]
    #[arg(long, value_name = "NORM")]
    pub(crate) clip: Option<f64>,
    /// Leave weights as they are: a pattern of their names, such as 'layer1.*'; may be given again
    #[arg(long, value_name = "PATTERN")]
    #[serde(default)]
    pub(crate) freeze: Vec<String>,
    /// Train what --freeze names, too, once STEP steps are made: its optimiser begins then, and its BatchNormalization stays as
    /// --freeze-statistics has it
    #[arg(long, value_name = "STEP")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unfreeze_at: Option<u64>,
    /// Learning rate of each layer as FACTOR times that of the next one; a layer is what PyTorch numbers, such as blocks.3 or layer2.1
    #[arg(long, value_name = "FACTOR")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer_decay: Option<f64>,
    /// Train tensors that would be taken for constants: a pattern of their names, as --freeze has; may be given again
    #[arg(long, value_name = "PATTERN")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) also_train: Vec<String>,
    /// Which BatchNormalization keeps its running statistics, and normalises by them [default: none]
    #[arg(long, value_enum)]
    pub(crate) freeze_statistics: Option<Statistics>,
    /// Which variance of a batch the running variance of BatchNormalization follows [default: sample]
    #[arg(long, value_enum)]
    #[serde(default, skip_serializing_if = "is_of_population")]
    pub(crate) running_variance: Option<Variance>,
    /// Give every layer its own copy of weights that the exporter left to several, as it does with equal ones
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) untie: bool,
    /// Leave Dropout out
    #[arg(long)]
    pub(crate) no_dropout: bool,
}

/// A variance of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Variance {
    /// That of the sample, divided by n - 1, as PyTorch has it
    Sample,
    /// That of the population, divided by n, as ONNX has it
    Population,
}

/// What runs that say nothing of it were begun with.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it so
fn is_of_population(variance: &Option<Variance>) -> bool {
    *variance != Some(Variance::Sample)
}

/// Which BatchNormalization nodes are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Statistics {
    /// None
    None,
    /// Those whose weights are frozen
    Frozen,
    /// All
    All,
}

impl OptimizerArgs {
    /// The flags that were given.
    pub(crate) fn given(&self) -> Vec<String> {
        let table = |args: &Self| toml::Table::try_from(args).expect("its values are TOML's");
        let (own, usual) = (table(self), table(&Self::default()));
        let given = own.iter().filter(|(name, value)| usual.get(*name) != Some(value));
        given.map(|(name, _)| format!("--{}", name.replace('_', "-"))).collect()
    }

    /// What is to be said of flags that are about operators which the backbone has none of.
    pub(crate) fn idle_on(&self, has: impl Fn(&str) -> bool) -> Vec<String> {
        let norms = has("BatchNormalization");
        let statistics = match self.freeze_statistics {
            Some(Statistics::Frozen) if norms && self.freeze.is_empty() => Some("nothing is frozen: see --freeze"),
            Some(Statistics::Frozen | Statistics::All) if !norms => Some("the backbone has no BatchNormalization"),
            _ => None,
        };
        let variance = match self.running_variance {
            Some(Variance::Population) if !norms => Some("the backbone has no BatchNormalization"),
            Some(Variance::Population) if self.freeze_statistics == Some(Statistics::All) => {
                Some("no running statistics follow the batches: see --freeze-statistics")
            }
            _ => None,
        };
        let flags = [
            ("--no-dropout", (self.no_dropout && !has("Dropout")).then_some("the backbone has no Dropout")),
            ("--freeze-statistics", statistics),
            ("--running-variance", variance),
        ];
        flags.into_iter().filter_map(|(flag, why)| Some(format!("{flag} changes nothing here: {}", why?))).collect()
    }

    /// Puts these settings into those of the step.
    ///
    /// # Errors
    /// [`Error::Usage`] for a setting that the optimiser does not have.
    pub(crate) fn set(&self, options: &mut StepOptions) -> Result<()> {
        options.optimizer = self.optimizer()?;
        options.decay_all = self.decay_all;
        options.decay_proxies = self.decay_proxies;
        options.proxies_rate = self.proxies_rate.unwrap_or(1.0);
        options.groups = self.groups()?;
        options.ema = self.ema;
        options.clip = self.clip;
        options.freeze = self.freeze.clone();
        options.unfreeze_at = self.unfreeze_at;
        options.layer_decay = self.layer_decay;
        options.also = self.also_train.clone();
        options.freeze_statistics = match self.freeze_statistics.unwrap_or(Statistics::None) {
            Statistics::None => FreezeStatistics::None,
            Statistics::Frozen => FreezeStatistics::WithWeights,
            Statistics::All => FreezeStatistics::All,
        };
        options.running_variance = match self.running_variance.unwrap_or(Variance::Sample) {
            Variance::Sample => RunningVariance::Sample,
            Variance::Population => RunningVariance::Population,
        };
        options.dropout = !self.no_dropout;
        Ok(())
    }

    /// Refuses what is no setting of a run of this many steps.
    ///
    /// # Errors
    /// [`Error::Usage`] naming flag and value.
    pub(crate) fn check(&self, steps: u64) -> Result<()> {
        match self.unfreeze_at {
            Some(step) if step >= steps => {
                let problem =
                    format!("--unfreeze-at {step}: the run has {steps} steps, so that --freeze would be for all of it");
                Err(Error::Usage(problem))
            }
            _ => Ok(()),
        }
    }

    /// The step until which `--freeze` holds weights, where a run that ends at this one does not reach it.
    pub(crate) fn held_beyond(&self, step: u64) -> Option<u64> {
        self.unfreeze_at.filter(|at| *at >= step)
    }

    /// What per cent of the average of the weights are the first ones after so many steps; 0 where there is no average.
    pub(crate) fn first_in_average(&self, steps: u64) -> f64 {
        self.ema.map_or(0.0, |ema| 100.0 * ema.powf(steps as f64))
    }

    /// The groups that `--group` names: a pattern, and its settings up to the next pattern.
    pub(crate) fn groups(&self) -> Result<Vec<Group>> {
        let wrong = |word: &str, wanted: &str| Err(Error::Usage(format!("--group {word}: {wanted}")));
        let mut groups: Vec<(Group, bool)> = Vec::new(); // with whether a rate was given
        for word in &self.group {
            let setting = [("lr=", true), ("decay=", false)]
                .into_iter()
                .find_map(|(name, is_rate)| word.strip_prefix(name).map(|value| (value, is_rate)));
            let Some((value, is_rate)) = setting else {
                groups.push((Group { pattern: word.clone(), rate: 1.0, decay: None }, false));
                continue;
            };
            let Some((group, has_rate)) = groups.last_mut() else {
                return wrong(word, "wanted a pattern before it, as in --group 'layer4.*' lr=0.1");
            };
            let number = value.parse::<f64>().ok().filter(|number| *number >= 0.0 && number.is_finite());
            let Some(number) = number else { return wrong(word, "wanted a finite number not below 0") };
            if if is_rate { *has_rate } else { group.decay.is_some() } {
                return wrong(word, &format!("'{}' has one already", group.pattern));
            }
            if is_rate {
                (group.rate, *has_rate) = (number, true);
            } else {
                group.decay = Some(number);
            }
        }
        if let Some((Group { pattern, .. }, _)) =
            groups.iter().find(|(group, has_rate)| !has_rate && group.decay.is_none())
        {
            return wrong(pattern, "wanted lr=FACTOR or decay=DECAY, or both, behind the pattern");
        }
        Ok(groups.into_iter().map(|(group, _)| group).collect())
    }

    pub(crate) fn optimizer(&self) -> Result<Optimizer> {
        use OptimizerName as Name;
        let chosen = self.optimizer.unwrap_or(Name::Adamw);
        let given = [
            ("--momentum", self.momentum.is_some(), &[Name::Sgd][..]),
            ("--nesterov", self.nesterov, &[Name::Sgd]),
            ("--beta1", self.beta1.is_some(), &[Name::Adamw, Name::Lion, Name::Lamb]),
            ("--beta2", self.beta2.is_some(), &[Name::Adamw, Name::Lion, Name::Lamb]),
            ("--adam-eps", self.adam_eps.is_some(), &[Name::Adamw, Name::Lamb]),
        ];
        if let Some((flag, ..)) = given.iter().find(|(_, is_given, whose)| *is_given && !whose.contains(&chosen)) {
            let name = chosen.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            return Err(Error::Usage(format!("{flag}: --optimizer {name} has no such setting")));
        }
        Ok(match chosen {
            Name::Adamw => Optimizer::AdamW {
                beta1: self.beta1.unwrap_or(0.9),
                beta2: self.beta2.unwrap_or(0.999),
                epsilon: self.adam_eps.unwrap_or(1e-8),
                weight_decay: self.weight_decay.unwrap_or(0.01),
            },
            Name::Lion => Optimizer::Lion {
                beta1: self.beta1.unwrap_or(0.9),
                beta2: self.beta2.unwrap_or(0.99),
                weight_decay: self.weight_decay.unwrap_or(0.0),
            },
            Name::Lamb => Optimizer::Lamb {
                beta1: self.beta1.unwrap_or(0.9),
                beta2: self.beta2.unwrap_or(0.999),
                epsilon: self.adam_eps.unwrap_or(1e-6),
                weight_decay: self.weight_decay.unwrap_or(0.01),
            },
            Name::Sgd => Optimizer::Sgd {
                momentum: self.momentum.unwrap_or(0.9),
                nesterov: self.nesterov,
                weight_decay: self.weight_decay.unwrap_or(0.0),
            },
        })
    }
}

impl OptimizerArgs {
    /// The same with every default written out.
    ///
    /// # Errors
    /// [`Error::Usage`] for a setting that the optimiser does not have.
    pub(crate) fn resolved(&self) -> Result<Self> {
        let written = match self.optimizer()? {
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => Self {
                optimizer: Some(OptimizerName::Adamw),
                beta1: Some(beta1),
                beta2: Some(beta2),
                adam_eps: Some(epsilon),
                weight_decay: Some(weight_decay),
                ..self.clone()
            },
            Optimizer::Lion { beta1, beta2, weight_decay } => Self {
                optimizer: Some(OptimizerName::Lion),
                beta1: Some(beta1),
                beta2: Some(beta2),
                weight_decay: Some(weight_decay),
                ..self.clone()
            },
            Optimizer::Lamb { beta1, beta2, epsilon, weight_decay } => Self {
                optimizer: Some(OptimizerName::Lamb),
                beta1: Some(beta1),
                beta2: Some(beta2),
                adam_eps: Some(epsilon),
                weight_decay: Some(weight_decay),
                ..self.clone()
            },
            Optimizer::Sgd { momentum, nesterov, weight_decay } => Self {
                optimizer: Some(OptimizerName::Sgd),
                momentum: Some(momentum),
                nesterov,
                weight_decay: Some(weight_decay),
                ..self.clone()
            },
            other => return Err(Error::Usage(format!("--optimizer: there are no flags for {other:?}"))),
        };
        let proxies_rate = Some(self.proxies_rate.unwrap_or(1.0));
        Ok(Self {
            proxies_rate,
            freeze_statistics: Some(self.freeze_statistics.unwrap_or(Statistics::None)),
            running_variance: Some(self.running_variance.unwrap_or(Variance::Sample)),
            ..written
        })
    }
}
