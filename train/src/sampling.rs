//! How the images of a batch are drawn, as asked for on the command line.

use clap::{Args, ValueEnum};
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// A way to draw batches, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SamplerName {
    /// Every image once an epoch, in random order
    Random,
    /// One by one with replacement, those of small classes more often (--weight-power), or as a list says (--weight-column)
    Weighted,
    /// --per-class images of each class of a batch, the classes at random
    Balanced,
    /// The same, where a share of the classes are those nearest to another class of the batch
    HardClasses,
}

impl SamplerName {
    /// As it is typed.
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether its batches are of classes with as many images each.
    pub(crate) fn is_by_class(self) -> bool {
        matches!(self, Self::Balanced | Self::HardClasses)
    }
}

/// How batches are drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Batches")]
pub(crate) struct SamplingArgs {
    /// How the images of a batch are drawn [default: random; balanced with --per-class and for losses of pairs]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sampler: Option<SamplerName>,
    /// weighted: an image weighs 1 / (images of its class)^POWER: 1 has all classes equally often, 0 all images [default: 1]
    #[arg(long, value_name = "POWER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight_power: Option<f64>,
    /// weighted: an image weighs what this column of the list --data says, a number not below 0; a header's name, or a number from 1
    #[arg(long, value_name = "COLUMN", conflicts_with = "weight_power")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight_column: Option<String>,
    /// hard-classes: share of a batch's classes that are nearest to one of its others [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hard_share: Option<f64>,
    /// hard-classes: steps after which the nearest classes are searched anew; the first so many have none [default: an epoch's]
    #[arg(long, value_name = "STEPS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hard_every: Option<u64>,
}

/// The same, with everything that it needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Drawing {
    /// Every image once, in random order.
    Random,
    /// One by one with replacement, each with the weight `1 / (images of its class)^power`.
    Weighted { power: f64 },
    /// The same, each with the weight that the data says.
    Listed,
    /// So many images of each class.
    Balanced { per_class: usize },
    /// The same, with a share of classes near to others; `every` steps they are searched anew, once an epoch where nobody said.
    HardClasses { per_class: usize, share: f64, every: Option<u64> },
}

impl SamplingArgs {
    /// Refuses values out of range, flags of another way to draw, and `per_class` where no class has a number of images.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub(crate) fn check(&self, per_class: Option<usize>) -> Result<()> {
        let of = |name: SamplerName| self.sampler == Some(name);
        let chosen = self.sampler.map_or("the default".to_owned(), |name| format!("--sampler {}", name.word()));
        let foreign = [
            ("--weight-power", self.weight_power.is_some() && !of(SamplerName::Weighted), SamplerName::Weighted),
            ("--weight-column", self.weight_column.is_some() && !of(SamplerName::Weighted), SamplerName::Weighted),
            ("--hard-share", self.hard_share.is_some() && !of(SamplerName::HardClasses), SamplerName::HardClasses),
            ("--hard-every", self.hard_every.is_some() && !of(SamplerName::HardClasses), SamplerName::HardClasses),
        ];
        if let Some((flag, _, whose)) = foreign.into_iter().find(|(_, is_foreign, _)| *is_foreign) {
            return Err(Error::Usage(format!("{flag}: belongs to --sampler {}, not to {chosen}", whose.word())));
        }
        if let (Some(column), Some(power)) = (&self.weight_column, self.weight_power) {
            return Err(Error::Usage(format!(
                "--weight-power {power}: it is of the size of classes, and --weight-column {column} says what images weigh; leave one \
                 of the two out"
            )));
        }
        if let (Some(each), Some(false)) = (per_class, self.sampler.map(SamplerName::is_by_class)) {
            return Err(Error::Usage(format!(
                "--per-class {each}: {chosen} draws images, not classes; leave one of the two out, or take --sampler balanced"
            )));
        }
        if let Some(power) = self.weight_power.filter(|power| !(*power >= 0.0 && power.is_finite())) {
            return Err(Error::Usage(format!("--weight-power {power}: wanted a finite number not below 0")));
        }
        if let Some(share) = self.hard_share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
            return Err(Error::Usage(format!("--hard-share {share}: wanted a number between 0 and 1")));
        }
        match self.hard_every {
            Some(0) => Err(Error::Usage("--hard-every 0: wanted at least 1".into())),
            _ => Ok(()),
        }
    }

    /// The same with defaults written out, so that a run's settings do not change with this program's; `None` where nothing was
    /// chosen.
    pub(crate) fn resolved(&self) -> Option<Self> {
        let sampler = self.sampler?;
        let of = |name: SamplerName, value: f64| (sampler == name).then_some(value);
        Some(Self {
            sampler: Some(sampler),
            weight_power: self.weight_power.or(of(SamplerName::Weighted, 1.0).filter(|_| self.weight_column.is_none())),
            weight_column: self.weight_column.clone(),
            hard_share: self.hard_share.or(of(SamplerName::HardClasses, 0.5)),
            hard_every: self.hard_every,
        })
    }

    /// How batches are drawn, with so many images a class where there is such a number.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none and the way to draw wants one.
    pub(crate) fn drawing(&self, per_class: Option<usize>) -> Result<Drawing> {
        match (self.sampler, per_class) {
            (Some(SamplerName::Random), _) | (None, None) => Ok(Drawing::Random),
            (Some(SamplerName::Weighted), _) if self.weight_column.is_some() => Ok(Drawing::Listed),
            (Some(SamplerName::Weighted), _) => Ok(Drawing::Weighted { power: self.weight_power.unwrap_or(1.0) }),
            (Some(SamplerName::HardClasses), Some(per_class)) => {
                Ok(Drawing::HardClasses { per_class, share: self.hard_share.unwrap_or(0.5), every: self.hard_every })
            }
            (Some(SamplerName::Balanced) | None, Some(per_class)) => Ok(Drawing::Balanced { per_class }),
            (Some(name), None) => {
                Err(Error::Usage(format!("--sampler {}: --per-class says how many images of a class", name.word())))
            }
        }
    }

    /// The words for it, where it was chosen.
    pub(crate) fn word(&self) -> Option<String> {
        self.sampler.map(|name| format!("--sampler {}", name.word()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_do_not_go_together_are_refused_by_name() {
        let of = |sampler| SamplingArgs { sampler, ..SamplingArgs::default() };
        let refused = |args: SamplingArgs, per_class| args.check(per_class).unwrap_err().to_string();
        let hard = of(Some(SamplerName::HardClasses));
        let weighted = of(Some(SamplerName::Weighted));
        assert!(refused(SamplingArgs { weight_power: Some(1.0), ..hard.clone() }, Some(2)).contains("--weight-power"));
        let idle = refused(SamplingArgs { hard_every: Some(9), ..of(None) }, None);
        assert!(idle.contains("--hard-every: belongs to --sampler hard-classes, not to the default"), "{idle}");
        assert!(refused(SamplingArgs { hard_share: Some(0.5), ..weighted.clone() }, None).contains("--hard-share"));
        assert!(refused(weighted.clone(), Some(4)).contains("--per-class 4: --sampler weighted draws images"));
        for power in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(
                refused(SamplingArgs { weight_power: Some(power), ..weighted.clone() }, None).contains("--weight-")
            );
        }
        let column = SamplingArgs { weight_column: Some("w".into()), ..weighted.clone() };
        let both = SamplingArgs { weight_power: Some(1.0), ..column.clone() };
        assert!(refused(both, None).contains("--weight-column w says what images weigh"));
        assert!(
            refused(SamplingArgs { sampler: None, ..column.clone() }, None).contains("--weight-column: belongs to")
        );
        assert_eq!(column.resolved().unwrap().drawing(None).unwrap(), Drawing::Listed);
        for share in [0.0, 1.0, f64::NAN] {
            assert!(refused(SamplingArgs { hard_share: Some(share), ..hard.clone() }, None).contains("--hard-share"));
        }
        assert!(refused(SamplingArgs { hard_every: Some(0), ..hard.clone() }, None).contains("--hard-every 0"));
        assert!(hard.check(Some(2)).is_ok() && of(None).check(Some(2)).is_ok());
        assert!(hard.drawing(None).unwrap_err().to_string().contains("--per-class"));
    }

    #[test]
    fn writing_defaults_out_changes_nothing() {
        for &name in SamplerName::value_variants() {
            let args = SamplingArgs { sampler: Some(name), ..SamplingArgs::default() };
            let resolved = args.resolved().unwrap();
            assert_eq!(resolved.drawing(Some(3)).unwrap(), args.drawing(Some(3)).unwrap());
            let text = toml::to_string(&resolved).unwrap();
            assert_eq!(toml::from_str::<SamplingArgs>(&text).unwrap(), resolved, "{text}");
        }
        assert_eq!(SamplingArgs::default().resolved(), None);
    }
}
