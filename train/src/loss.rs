//! The loss as asked for on the command line.

use clap::{Args, ValueEnum};
use pdloss::graph::losses::{
    ArcFace, Circle, Contrastive, CosFace, CurricularFace, Histogram, Lifted, Loss, MultiSimilarity, NPair,
    NormalizedSoftmax, NtXent, ProxyAnchor, ProxyNca, SoftTriple, SubcenterArcFace, SupCon, Triplet, Triplets,
};
use pdloss::graph::step::Memory;
use pdloss::loss::{Config, FloorMode, Form};
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// A loss by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LossName {
    /// PD-Loss: -log d'
    #[value(aliases = ["pdloss", "pd-loss"])]
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
    /// ArcFace: softmax with a margin on the angle to the own proxy
    Arcface,
    /// CosFace: softmax with a margin on the cosine with the own proxy
    Cosface,
    /// ArcFace with several proxies a class, of which the nearest counts
    SubcenterArcface,
    /// ArcFace in which near impostors weigh more as training goes on
    Curricularface,
    /// SoftTriple: softmax with several proxies a class, weighed by nearness
    SoftTriple,
    /// Multi-Similarity, without proxies
    MultiSimilarity,
    /// Circle loss, without proxies
    Circle,
    /// Triplet loss, batch-hard or semi-hard (--triplets), without proxies
    Triplet,
    /// Contrastive loss, without proxies
    Contrastive,
    /// Supervised contrastive loss, without proxies
    Supcon,
    /// NT-Xent, the loss of SimCLR, without proxies
    NtXent,
    /// N-pair loss: two images of each class, not normalised, without proxies
    NPair,
    /// Lifted structured loss, without proxies
    Lifted,
    /// Histogram loss, without proxies
    Histogram,
}

impl LossName {
    /// The loss with its paper's settings.
    fn usual(self) -> Loss {
        let decidability = |form| Config::default().with_form(form);
        match self {
            Self::Pd => Loss::Pd(decidability(Form::Log)),
            Self::PdNegative => Loss::Pd(decidability(Form::Negative)),
            Self::PdInverse => Loss::Pd(decidability(Form::Inverse)),
            Self::DLoss => Loss::DLoss(decidability(Form::Inverse)),
            Self::Softmax => Loss::Softmax(NormalizedSoftmax::default()),
            Self::ProxyNca => Loss::ProxyNca(ProxyNca::default()),
            Self::ProxyAnchor => Loss::ProxyAnchor(ProxyAnchor::default()),
            Self::Arcface => Loss::ArcFace(ArcFace::default()),
            Self::Cosface => Loss::CosFace(CosFace::default()),
            Self::SubcenterArcface => Loss::SubcenterArcFace(SubcenterArcFace::default()),
            Self::Curricularface => Loss::CurricularFace(CurricularFace::default()),
            Self::SoftTriple => Loss::SoftTriple(SoftTriple::default()),
            Self::MultiSimilarity => Loss::MultiSimilarity(MultiSimilarity::default()),
            Self::Circle => Loss::Circle(Circle::default()),
            Self::Triplet => Loss::Triplet(Triplet::default()),
            Self::Contrastive => Loss::Contrastive(Contrastive::default()),
            Self::Supcon => Loss::SupCon(SupCon::default()),
            Self::NtXent => Loss::NtXent(NtXent::default()),
            Self::NPair => Loss::NPair(NPair::default()),
            Self::Lifted => Loss::Lifted(Lifted::default()),
            Self::Histogram => Loss::Histogram(Histogram::default()),
        }
    }

    /// As it is typed.
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether a flag is about this loss; `setting` is what a number is called among the loss's settings.
    fn has(self, flag: &str, setting: &str) -> bool {
        let mut loss = self.usual();
        match flag {
            "--form" => matches!(self, Self::Pd | Self::DLoss),
            "--triplets" => self == Self::Triplet,
            "--floor" | "--floor-mode" | "--eps" | "--temperature" if loss.has_moments() => true,
            _ => loss.number_mut(setting).is_some() || loss.count_mut(setting).is_some(),
        }
    }
}

/// Which triplets of a batch the triplet loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TripletsName {
    /// Each image with its farthest genuine and its nearest impostor, by distance
    BatchHard,
    /// Each genuine pair with the nearest impostor beyond it, by squared distance
    SemiHard,
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
    /// Divides the similarities: softmax (0.05), proxy-nca (1/9), supcon and nt-xent (0.1); in pd and d-loss (1) it cancels but
    /// in moments and clamp
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
    /// Margin: proxy-anchor (0.1), cosface (0.35), soft-triple (0.01), circle (0.4), triplet (0.2), contrastive and lifted (1); of
    /// angles in radians: arcface, subcenter-arcface and curricularface (0.5)
    #[arg(long)]
    pub(crate) margin: Option<f64>,
    /// The paper's lambda: multi-similarity (1)
    #[arg(long)]
    pub(crate) base: Option<f64>,
    /// Margin of the mining: multi-similarity (0.1)
    #[arg(long)]
    pub(crate) mining: Option<f64>,
    /// Multiplies the similarities: arcface, cosface, subcenter-arcface and curricularface (64), soft-triple (20), circle (80)
    #[arg(long)]
    pub(crate) logit_scale: Option<f64>,
    /// Proxies a class: subcenter-arcface (3), soft-triple (10)
    #[arg(long, value_name = "K")]
    pub(crate) centers: Option<usize>,
    /// Softness of the choice among a class's proxies: soft-triple (0.1)
    #[arg(long)]
    pub(crate) gamma: Option<f64>,
    /// Weight of what is added: soft-triple (0.2), distances between a class's proxies; n-pair (0.002), lengths of the embeddings
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) penalty: Option<f64>,
    /// How fast the weight of near impostors follows the batches: curricularface (0.01)
    #[arg(long, value_name = "SHARE")]
    pub(crate) curriculum_rate: Option<f64>,
    /// triplet: which triplets of a batch [default: batch-hard]
    #[arg(long, value_enum)]
    pub(crate) triplets: Option<TripletsName>,
    /// Nodes of the histograms: histogram (151)
    #[arg(long, value_name = "N")]
    pub(crate) bins: Option<usize>,
    /// Cross-batch memory (XBM): a batch is compared with the last N images, too, as they were embedded then; contrastive, triplet,
    /// multi-similarity, supcon, nt-xent, circle, histogram
    #[arg(long, value_name = "N")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_bank: Option<usize>,
    /// Steps after which the memory is compared with [default: 0]
    #[arg(long, value_name = "STEPS", requires = "memory_bank")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_start: Option<u64>,
}

/// A number of a loss: its flag, what the loss calls it, and where it is kept.
type Number<'a, T> = (&'static str, &'static str, &'a mut Option<T>);

impl LossArgs {
    /// Numbers of losses but those of d' (where the temperature is one, too).
    fn numbers(&mut self) -> [Number<'_, f64>; 10] {
        [
            ("--temperature", "temperature", &mut self.temperature),
            ("--alpha", "alpha", &mut self.alpha),
            ("--beta", "beta", &mut self.beta),
            ("--margin", "margin", &mut self.margin),
            ("--base", "base", &mut self.base),
            ("--mining", "epsilon", &mut self.mining),
            ("--logit-scale", "scale", &mut self.logit_scale),
            ("--gamma", "gamma", &mut self.gamma),
            ("--penalty", "penalty", &mut self.penalty),
            ("--curriculum-rate", "rate", &mut self.curriculum_rate),
        ]
    }

    fn counts(&mut self) -> [Number<'_, usize>; 2] {
        [("--centers", "centers", &mut self.centers), ("--bins", "bins", &mut self.bins)]
    }

    /// The flag of what a loss calls one of its numbers.
    pub(crate) fn flag_of(&self, setting: &str) -> Option<&'static str> {
        let mut own = self.clone();
        let numbers = own.numbers().map(|(flag, name, _)| (name, flag));
        let counts = own.counts().map(|(flag, name, _)| (name, flag));
        numbers.into_iter().chain(counts).find(|(name, _)| *name == setting).map(|(_, flag)| flag)
    }

    fn name(&self) -> LossName {
        self.loss.unwrap_or(LossName::Pd)
    }

    /// Refuses a flag of another loss.
    fn refuse_foreign(&self) -> Result<()> {
        let mut own = self.clone();
        let mut given = vec![
            ("--form", "", self.form.is_some()),
            ("--floor", "", self.floor.is_some()),
            ("--floor-mode", "", self.floor_mode.is_some()),
            ("--eps", "", self.eps.is_some()),
            ("--triplets", "", self.triplets.is_some()),
        ];
        given.extend(own.numbers().map(|(flag, setting, value)| (flag, setting, value.is_some())));
        given.extend(own.counts().map(|(flag, setting, value)| (flag, setting, value.is_some())));
        if let (Some(rows), false) = (self.memory_bank, self.name().usual().takes_memory()) {
            let have = LossName::value_variants().iter().filter(|name| name.usual().takes_memory());
            let have: Vec<String> = have.map(|name| name.word()).collect();
            return Err(Error::Usage(format!(
                "--memory-bank {rows}: the loss {} is not of pairs of a row with others, which a memory adds to; it belongs to {}",
                self.word(),
                have.join(", ")
            )));
        }
        let is_foreign = |(flag, setting, is_given): &(&str, &str, bool)| *is_given && !self.name().has(flag, setting);
        let Some((flag, setting, _)) = given.into_iter().find(is_foreign) else { return Ok(()) };
        let whose = LossName::value_variants().iter().filter(|name| name.has(flag, setting));
        let whose: Vec<String> = whose.map(|name| name.word()).collect();
        Err(Error::Usage(format!("{flag}: belongs to {}, not to {}", whose.join(", "), self.word())))
    }

    /// The loss that these flags name.
    ///
    /// # Errors
    /// [`Error::Usage`] for a flag that the loss does not have, or a value out of range.
    pub(crate) fn loss(&self) -> Result<Loss> {
        self.refuse_foreign()?;
        let mut loss = self.name().usual();
        match &mut loss {
            Loss::Pd(config) | Loss::DLoss(config) => *config = self.decidability(*config)?,
            Loss::Triplet(triplet) => {
                triplet.triplets = match self.triplets {
                    None | Some(TripletsName::BatchHard) => Triplets::BatchHard,
                    Some(TripletsName::SemiHard) => Triplets::SemiHard,
                }
            }
            _ => {}
        }
        let mut own = self.clone();
        for (_, setting, value) in own.numbers() {
            if let (Some(number), Some(value)) = (loss.number_mut(setting), value) {
                *number = *value;
            }
        }
        for (_, setting, value) in own.counts() {
            if let (Some(count), Some(value)) = (loss.count_mut(setting), value) {
                *count = *value;
            }
        }
        Ok(loss)
    }

    /// What the loss remembers of earlier batches.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.memory_bank.map(|rows| Memory { rows, start: self.memory_start.unwrap_or(0) })
    }

    /// Refuses a memory that a run of so many steps ends before.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub(crate) fn check(&self, steps: u64) -> Result<()> {
        match self.memory() {
            Some(Memory { rows, start }) if start >= steps => Err(Error::Usage(format!(
                "--memory-start {start}: the run has {steps} steps, and would never compare a batch with the {rows} rows of \
                 --memory-bank; wanted a number below {steps}"
            ))),
            _ => Ok(()),
        }
    }

    fn decidability(&self, usual: Config) -> Result<Config> {
        let mut config = usual.with_form(self.form.unwrap_or(usual.form()));
        if let Some(mode) = self.floor_mode {
            config = config.with_floor_mode(mode);
        }
        let usage = |e: pdloss::loss::Error| match e {
            pdloss::loss::Error::Attribute { attribute, wanted, given } => {
                Error::Usage(format!("--{}: wanted {wanted}, got {given}", attribute.replace('_', "-")))
            }
            other => Error::Usage(other.to_string()),
        };
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
    }

    /// The loss's name, as it is typed.
    pub(crate) fn word(&self) -> String {
        self.name().word()
    }

    /// Whether it compares the images of a batch with each other, so that a batch needs two of one class and two classes.
    pub(crate) fn needs_pairs(&self) -> bool {
        self.name().usual().compares_pairs()
    }

    /// Whether there is nothing to compare in a batch without pairs: where earlier batches are remembered, there may be, and it is to be
    /// remembered itself.
    pub(crate) fn needs_pairs_of_batch(&self) -> bool {
        self.needs_pairs() && self.memory_bank.is_none()
    }

    /// How many images of a class it compares, where that is not all that a batch has.
    pub(crate) fn takes_of_class(&self) -> Option<usize> {
        (self.name() == LossName::NPair).then_some(2)
    }

    /// The same with every default written out, so that a run's settings do not change with this program's.
    ///
    /// # Errors
    /// As [`LossArgs::loss`].
    pub(crate) fn resolved(&self) -> Result<Self> {
        let mut loss = self.loss()?;
        let mut written = Self {
            loss: Some(self.name()),
            memory_bank: self.memory_bank,
            memory_start: self.memory().map(|memory| memory.start),
            ..Self::default()
        };
        if let Loss::Pd(config) | Loss::DLoss(config) = &loss {
            written = Self {
                loss: Some(if matches!(loss, Loss::Pd(_)) { LossName::Pd } else { LossName::DLoss }),
                form: Some(config.form()),
                floor: Some(config.floor()),
                floor_mode: Some(config.floor_mode()),
                temperature: Some(config.temperature()),
                eps: Some(config.eps()),
                ..written
            };
            return Ok(written);
        }
        if self.name() == LossName::Triplet {
            written.triplets = Some(self.triplets.unwrap_or(TripletsName::BatchHard));
        }
        for (_, setting, value) in written.numbers() {
            *value = loss.number_mut(setting).copied();
        }
        for (_, setting, value) in written.counts() {
            *value = loss.count_mut(setting).copied();
        }
        Ok(written)
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
        let lifted = LossArgs { loss: Some(LossName::Lifted), memory_bank: Some(64), ..LossArgs::default() };
        let error = refused(lifted);
        assert!(
            error.contains("--memory-bank 64: the loss lifted") && error.contains("contrastive, supcon"),
            "{error}"
        );
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
            let memory_bank = name.usual().takes_memory().then_some(9);
            let args = LossArgs { loss: Some(name), memory_bank, ..LossArgs::default() };
            let resolved = args.resolved().unwrap();
            assert_eq!((resolved.loss().unwrap(), resolved.memory()), (args.loss().unwrap(), args.memory()));
            let text = toml::to_string(&resolved).unwrap();
            assert_eq!(toml::from_str::<LossArgs>(&text).unwrap(), resolved, "{text}");
        }
    }
}
