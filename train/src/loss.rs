//! The loss as asked for on the command line.

use clap::{Args, ValueEnum};
use pdloss::graph::losses::{Loss, MultiSimilarity, NormalizedSoftmax, ProxyAnchor, ProxyNca};
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

impl LossArgs {
    /// The loss's name, as it is typed.
    pub(crate) fn word(&self) -> String {
        let name = self.loss.unwrap_or(LossName::Pd);
        name.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it compares the images of a batch with each other, so that a batch needs two of one class and two classes.
    pub(crate) fn needs_pairs(&self) -> bool {
        matches!(self.loss, Some(LossName::DLoss | LossName::MultiSimilarity))
    }

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
            other => return Err(Error::Usage(format!("--loss {}: there are no flags for it", other.name()))),
        })
    }
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
    }
}
