//! The training step as asked for on the command line: the loss and its settings, the optimiser, what is frozen.

use clap::{Args, ValueEnum};
use pdloss::graph::head::Spelling;
use pdloss::graph::losses::{Loss, MultiSimilarity, NormalizedSoftmax, ProxyAnchor, ProxyNca};
use pdloss::graph::step::{FreezeStatistics, Optimizer, StepOptions};
use pdloss::loss::{Config, FloorMode, Form};
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// A loss by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LossName {
    /// PD-Loss: -log d'
    Pd,
    /// PD-Loss without the logarithm: -d'
    PdNegative,
    /// PD-Loss as 1 / d'
    PdInverse,
    /// d' over the pairs of the batch, without proxies; form inverse unless --form says otherwise
    DLoss,
    /// Normalised softmax
    Softmax,
    /// ProxyNCA++
    ProxyNca,
    /// Proxy-Anchor
    ProxyAnchor,
    /// Multi-Similarity, without proxies
    MultiSimilarity,
}

/// The loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossArgs {
    /// The loss [default: pd]
    #[arg(long, value_enum)]
    pub(crate) loss: Option<LossName>,
    /// pd, d-loss: log, negative or inverse
    #[arg(long)]
    #[serde(with = "words", skip_serializing_if = "Option::is_none", default)]
    pub(crate) form: Option<Form>,
    /// pd, d-loss: d' at which the loss goes on by its tangent [default: 1]
    #[arg(long, value_name = "D'")]
    pub(crate) floor: Option<f64>,
    /// pd, d-loss: tangent, or clamp for the paper's letter [default: tangent]
    #[arg(long)]
    #[serde(with = "words", skip_serializing_if = "Option::is_none", default)]
    pub(crate) floor_mode: Option<FloorMode>,
    /// Divides the similarities: softmax (0.05), proxy-nca (1/9); in pd and d-loss (1) it cancels but in moments and clamp
    #[arg(long)]
    pub(crate) temperature: Option<f64>,
    /// pd, d-loss: least gap of the clamp [default: 1e-6]
    #[arg(long)]
    pub(crate) eps: Option<f64>,
    /// Steepness: proxy-anchor (32); multi-similarity (2), for genuine pairs
    #[arg(long)]
    pub(crate) alpha: Option<f64>,
    /// Steepness for impostor pairs: multi-similarity (50)
    #[arg(long)]
    pub(crate) beta: Option<f64>,
    /// Margin: proxy-anchor (0.1)
    #[arg(long)]
    pub(crate) margin: Option<f64>,
    /// The paper's lambda: multi-similarity (1)
    #[arg(long)]
    pub(crate) base: Option<f64>,
    /// Margin of the mining: multi-similarity (0.1)
    #[arg(long)]
    pub(crate) mining: Option<f64>,
}

impl LossArgs {
    /// The loss that these flags name.
    ///
    /// # Errors
    /// [`Error::Usage`] for a flag that the loss does not have, or a value out of range.
    pub(crate) fn loss(&self) -> Result<Loss> {
        use LossName as Name;
        let name = self.loss.unwrap_or(Name::Pd);
        let given = [
            ("--form", self.form.is_some(), &[Name::Pd, Name::DLoss][..]),
            ("--floor", self.floor.is_some(), &[Name::Pd, Name::PdNegative, Name::PdInverse, Name::DLoss]),
            ("--floor-mode", self.floor_mode.is_some(), &[Name::Pd, Name::PdNegative, Name::PdInverse, Name::DLoss]),
            (
                "--temperature",
                self.temperature.is_some(),
                &[Name::Pd, Name::PdNegative, Name::PdInverse, Name::DLoss, Name::Softmax, Name::ProxyNca],
            ),
            ("--eps", self.eps.is_some(), &[Name::Pd, Name::PdNegative, Name::PdInverse, Name::DLoss]),
            ("--alpha", self.alpha.is_some(), &[Name::ProxyAnchor, Name::MultiSimilarity]),
            ("--beta", self.beta.is_some(), &[Name::MultiSimilarity]),
            ("--margin", self.margin.is_some(), &[Name::ProxyAnchor]),
            ("--base", self.base.is_some(), &[Name::MultiSimilarity]),
            ("--mining", self.mining.is_some(), &[Name::MultiSimilarity]),
        ];
        let word = |name: LossName| name.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        if let Some((flag, _, whose)) =
            given.into_iter().find(|(_, is_given, whose)| *is_given && !whose.contains(&name))
        {
            let whose: Vec<String> = whose.iter().map(|&name| word(name)).collect();
            return Err(Error::Usage(format!("{flag}: belongs to {}, not to {}", whose.join(", "), word(name))));
        }
        let decidability = |form: Form| {
            let mut config = Config::default().with_form(self.form.unwrap_or(form));
            if let Some(mode) = self.floor_mode {
                config = config.with_floor_mode(mode);
            }
            let usage = |e: pdloss::loss::Error| Error::Usage(e.to_string());
            if let Some(floor) = self.floor {
                config = config.with_floor(floor).map_err(usage)?;
            }
            if let Some(temperature) = self.temperature {
                config = config.with_temperature(temperature).map_err(usage)?;
            }
            match self.eps {
                Some(eps) => config.with_eps(eps).map_err(usage),
                None => Ok(config),
            }
        };
        Ok(match name {
            Name::Pd => Loss::Pd(decidability(Form::Log)?),
            Name::PdNegative => Loss::Pd(decidability(Form::Negative)?),
            Name::PdInverse => Loss::Pd(decidability(Form::Inverse)?),
            Name::DLoss => Loss::DLoss(decidability(Form::Inverse)?),
            Name::Softmax => {
                let usual = NormalizedSoftmax::default();
                Loss::Softmax(NormalizedSoftmax { temperature: self.temperature.unwrap_or(usual.temperature) })
            }
            Name::ProxyNca => {
                let usual = ProxyNca::default();
                Loss::ProxyNca(ProxyNca { temperature: self.temperature.unwrap_or(usual.temperature) })
            }
            Name::ProxyAnchor => {
                let usual = ProxyAnchor::default();
                let (alpha, margin) = (self.alpha.unwrap_or(usual.alpha), self.margin.unwrap_or(usual.margin));
                Loss::ProxyAnchor(ProxyAnchor { alpha, margin })
            }
            Name::MultiSimilarity => {
                let usual = MultiSimilarity::default();
                Loss::MultiSimilarity(MultiSimilarity {
                    alpha: self.alpha.unwrap_or(usual.alpha),
                    beta: self.beta.unwrap_or(usual.beta),
                    base: self.base.unwrap_or(usual.base),
                    epsilon: self.mining.unwrap_or(usual.epsilon),
                })
            }
        })
    }
}

/// Refuses flags that would change nothing, as typed: a run's own record holds every setting, these too.
///
/// # Errors
/// [`Error::Usage`] that names the flag and why nothing follows from it, and as [`LossArgs::loss`].
pub(crate) fn refuse_idle(loss: &LossArgs, optimizer: &OptimizerArgs) -> Result<()> {
    let chosen = loss.loss()?;
    let mut idle = Vec::new();
    if let Loss::Pd(config) | Loss::DLoss(config) = &chosen {
        let of_floor = [
            ("--floor", loss.floor.is_some()),
            ("--floor-mode", loss.floor_mode.is_some()),
            ("--eps", loss.eps.is_some()),
        ];
        idle.extend(of_floor.into_iter().filter_map(|(flag, is_given)| {
            let why = match (config.form(), config.floor_mode(), flag) {
                (Form::Negative, ..) => "the form negative has no floor",
                (_, FloorMode::Clamp, "--floor") => "--floor-mode clamp holds the gap at --eps",
                (_, FloorMode::Tangent, "--eps") => "it belongs to --floor-mode clamp",
                _ => return None,
            };
            Some((flag, is_given, why.to_owned()))
        }));
    }
    if !chosen.has_proxies() {
        let why = format!("the loss {} has no proxies", chosen.name());
        idle.push(("--proxies-rate", optimizer.proxies_rate.is_some(), why.clone()));
        idle.push(("--decay-proxies", optimizer.decay_proxies, why));
    }
    match idle.into_iter().find(|(_, is_given, _)| *is_given) {
        Some((flag, _, why)) => Err(Error::Usage(format!("{flag} changes nothing here: {why}"))),
        None => Ok(()),
    }
}

impl LossArgs {
    /// The same with every default written out, so that a run's settings do not change with this program's.
    ///
    /// # Errors
    /// As [`LossArgs::loss`].
    pub(crate) fn resolved(&self) -> Result<Self> {
        let nothing = Self::default();
        let decidability = |name: LossName, config: &Config| Self {
            loss: Some(name),
            form: Some(config.form()),
            floor: Some(config.floor()),
            floor_mode: Some(config.floor_mode()),
            temperature: Some(config.temperature()),
            eps: Some(config.eps()),
            ..Self::default()
        };
        Ok(match self.loss()? {
            Loss::Pd(config) => decidability(LossName::Pd, &config),
            Loss::DLoss(config) => decidability(LossName::DLoss, &config),
            Loss::Softmax(NormalizedSoftmax { temperature }) => {
                Self { loss: Some(LossName::Softmax), temperature: Some(temperature), ..nothing }
            }
            Loss::ProxyNca(ProxyNca { temperature }) => {
                Self { loss: Some(LossName::ProxyNca), temperature: Some(temperature), ..nothing }
            }
            Loss::ProxyAnchor(ProxyAnchor { alpha, margin }) => {
                Self { loss: Some(LossName::ProxyAnchor), alpha: Some(alpha), margin: Some(margin), ..nothing }
            }
            Loss::MultiSimilarity(MultiSimilarity { alpha, beta, base, epsilon }) => Self {
                loss: Some(LossName::MultiSimilarity),
                alpha: Some(alpha),
                beta: Some(beta),
                base: Some(base),
                mining: Some(epsilon),
                ..nothing
            },
        })
    }
}

/// An optimiser by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OptimizerName {
    /// Adam with decoupled weight decay
    Adamw,
    /// Gradient descent with momentum
    Sgd,
}

/// How weights follow their gradients.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Optimiser")]
pub(crate) struct OptimizerArgs {
    /// The optimiser, as PyTorch defines it [default: adamw]
    #[arg(long, value_enum)]
    pub(crate) optimizer: Option<OptimizerName>,
    /// Weight decay, not of biases, norms and proxies [default: adamw 0.01, sgd 0]
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
    /// adamw [default: 0.9]
    #[arg(long)]
    pub(crate) beta1: Option<f64>,
    /// adamw [default: 0.999]
    #[arg(long)]
    pub(crate) beta2: Option<f64>,
    /// adamw [default: 1e-8]
    #[arg(long)]
    pub(crate) adam_eps: Option<f64>,
    /// Factor on the learning rate of the proxies [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub(crate) proxies_rate: Option<f64>,
    /// Scale all gradients down together where their norm is above this [default: never]
    #[arg(long, value_name = "NORM")]
    pub(crate) clip: Option<f64>,
    /// Leave weights as they are: a pattern of their names, such as 'layer1.*'; may be given again
    #[arg(long, value_name = "PATTERN")]
    #[serde(default)]
    pub(crate) freeze: Vec<String>,
    /// Which BatchNormalization keeps its running statistics, and normalises by them [default: none]
    #[arg(long, value_enum)]
    pub(crate) freeze_statistics: Option<Statistics>,
    /// Leave Dropout out
    #[arg(long)]
    pub(crate) no_dropout: bool,
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
    fn optimizer(&self) -> Result<Optimizer> {
        let of_sgd = [("--momentum", self.momentum.is_some()), ("--nesterov", self.nesterov)];
        let of_adamw = [("--beta1", self.beta1), ("--beta2", self.beta2), ("--adam-eps", self.adam_eps)];
        let of_adamw = of_adamw.map(|(flag, value)| (flag, value.is_some()));
        let (name, foreign) = match self.optimizer.unwrap_or(OptimizerName::Adamw) {
            OptimizerName::Adamw => ("adamw", &of_sgd[..]),
            OptimizerName::Sgd => ("sgd", &of_adamw[..]),
        };
        if let Some((flag, _)) = foreign.iter().find(|(_, is_given)| *is_given) {
            return Err(Error::Usage(format!("{flag}: --optimizer {name} has no such setting")));
        }
        Ok(match self.optimizer.unwrap_or(OptimizerName::Adamw) {
            OptimizerName::Adamw => Optimizer::AdamW {
                beta1: self.beta1.unwrap_or(0.9),
                beta2: self.beta2.unwrap_or(0.999),
                epsilon: self.adam_eps.unwrap_or(1e-8),
                weight_decay: self.weight_decay.unwrap_or(0.01),
            },
            OptimizerName::Sgd => Optimizer::Sgd {
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
            Optimizer::Sgd { momentum, nesterov, weight_decay } => Self {
                optimizer: Some(OptimizerName::Sgd),
                momentum: Some(momentum),
                nesterov,
                weight_decay: Some(weight_decay),
                ..self.clone()
            },
        };
        let proxies_rate = Some(self.proxies_rate.unwrap_or(1.0));
        Ok(Self {
            proxies_rate,
            freeze_statistics: Some(self.freeze_statistics.unwrap_or(Statistics::None)),
            ..written
        })
    }
}

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
    options.optimizer = optimizer.optimizer()?;
    options.decay_all = optimizer.decay_all;
    options.decay_proxies = optimizer.decay_proxies;
    options.proxies_rate = optimizer.proxies_rate.unwrap_or(1.0);
    options.clip = optimizer.clip;
    options.freeze = optimizer.freeze.clone();
    options.freeze_statistics = match optimizer.freeze_statistics.unwrap_or(Statistics::None) {
        Statistics::None => FreezeStatistics::None,
        Statistics::Frozen => FreezeStatistics::WithWeights,
        Statistics::All => FreezeStatistics::All,
    };
    options.dropout = !optimizer.no_dropout;
    options.seed = seed;
    options.check().map_err(|e| Error::Usage(e.to_string()))?;
    Ok(options)
}

/// Optional values in the words of the command line.
mod words {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let word = Option::<String>::deserialize(deserializer)?;
        word.map(|word| word.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_of_another_loss_is_refused_by_name() {
        let refused = |args: LossArgs| args.loss().unwrap_err().to_string();
        let softmax = LossArgs { loss: Some(LossName::Softmax), floor: Some(0.5), ..LossArgs::default() };
        assert!(refused(softmax).contains("--floor: belongs to pd, pd-negative, pd-inverse, d-loss, not to softmax"));
        let pd = LossArgs { alpha: Some(0.5), ..LossArgs::default() };
        assert!(refused(pd).contains("--alpha"));
        let negative = LossArgs { floor: Some(-1.0), ..LossArgs::default() };
        assert!(refused(negative).contains("floor"));
    }

    #[test]
    fn a_flag_that_changes_nothing_is_refused_in_every_spelling() {
        let (plain, clamp) = (LossArgs::default(), Some(FloorMode::Clamp));
        let idle = |loss: &LossArgs| {
            let refused = refuse_idle(loss, &OptimizerArgs::default());
            refused.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let spelt = |form| match form {
            Form::Negative => (LossName::PdNegative, Some(Form::Negative)),
            _ => (LossName::PdInverse, Some(Form::Inverse)),
        };
        for form in [Form::Negative, Form::Inverse] {
            let (name, form) = spelt(form);
            for base in [
                LossArgs { loss: Some(name), ..plain.clone() },
                LossArgs { loss: Some(LossName::Pd), form, ..plain.clone() },
                LossArgs { loss: Some(LossName::DLoss), form, ..plain.clone() },
            ] {
                assert_eq!(idle(&base), "");
                let eps = LossArgs { eps: Some(1e-3), ..base.clone() };
                assert!(idle(&eps).contains("--eps changes nothing here"), "{eps:?}");
                let floor = LossArgs { floor: Some(0.5), ..base.clone() };
                let both = LossArgs { floor_mode: clamp, ..eps.clone() };
                let negative = form == Some(Form::Negative);
                assert_eq!(idle(&floor).contains("--floor changes nothing here"), negative, "{floor:?}");
                assert_eq!(idle(&both).contains("changes nothing here"), negative, "{both:?}");
                let neither = LossArgs { floor_mode: clamp, ..floor };
                assert!(idle(&neither).contains("--floor changes nothing here"), "{neither:?}");
            }
        }
        let rate = OptimizerArgs { proxies_rate: Some(2.0), ..OptimizerArgs::default() };
        let pairs = LossArgs { loss: Some(LossName::MultiSimilarity), ..plain.clone() };
        let error = refuse_idle(&pairs, &rate).unwrap_err().to_string();
        assert!(
            error.contains("--proxies-rate changes nothing here: the loss multi-similarity has no proxies"),
            "{error}"
        );
        assert!(refuse_idle(&plain, &rate).is_ok());
    }

    #[test]
    fn names_stand_for_forms() {
        let loss = |name, form| LossArgs { loss: Some(name), form, ..LossArgs::default() }.loss().unwrap();
        assert_eq!(loss(LossName::PdNegative, None), loss(LossName::Pd, Some(Form::Negative)));
        assert_eq!(loss(LossName::DLoss, None), Loss::DLoss(Config::default().with_form(Form::Inverse)));
    }

    #[test]
    fn writing_defaults_out_changes_nothing() {
        for &name in LossName::value_variants() {
            let args = LossArgs { loss: Some(name), ..LossArgs::default() };
            let resolved = args.resolved().unwrap();
            assert_eq!(resolved.loss().unwrap(), args.loss().unwrap());
            let text = toml::to_string(&resolved).unwrap();
            assert_eq!(toml::from_str::<LossArgs>(&text).unwrap(), resolved, "{text}");
        }
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
