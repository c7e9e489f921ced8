//! The training step as asked for on the command line: loss, optimiser, proxies.

use std::collections::BTreeSet;

use pdloss::graph;
use pdloss::graph::head::{DOMAIN, Spelling};
use pdloss::graph::losses::{Loss, SoftTriple};
use pdloss::graph::proto::{ModelProto, NodeProto};
use pdloss::graph::step::{Operators, StepOptions};
use pdloss::loss::{FloorMode, Form};
use pdloss_embed::embedder::Device;
use pdloss_embed::{Error, Result};

use crate::loss::LossArgs;
use crate::optimizer::OptimizerArgs;

/// What a step is written in where this project's library is there.
pub(crate) fn operators(device: Device) -> Operators {
    match device {
        Device::Cpu => Operators::Cpu,
        Device::Cuda(_) => Operators::Cuda,
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
    optimizer.set(&mut options)?;
    options.seed = seed;
    options.memory = loss.memory();
    options.check().map_err(|e| by_flag(&e, loss))?;
    Ok(options)
}

/// Flags by what the step's own settings call them.
const FLAGS: [(&str, &str); 12] = [
    ("average of the weights", "--ema"),
    ("layer decay", "--layer-decay"),
    ("step that unfreezes", "--unfreeze-at"),
    ("largest gradient norm", "--clip"),
    ("factor on the proxies' learning rate", "--proxies-rate"),
    ("memory of earlier batches", "--memory-bank"),
    ("start of the memory", "--memory-start"),
    ("weight_decay of the optimiser", "--weight-decay"),
    ("momentum of the optimiser", "--momentum"),
    ("beta1 of the optimiser", "--beta1"),
    ("beta2 of the optimiser", "--beta2"),
    ("epsilon of the optimiser", "--adam-eps"),
];

/// What is wrong with the settings of a step, under the flag that gave it.
pub(crate) fn by_flag(error: &graph::Error, loss: &LossArgs) -> Error {
    let graph::Error::Model { subject, reason } = error else { return Error::Usage(error.to_string()) };
    let of_step = FLAGS.iter().find(|(what, _)| what == subject).map(|(_, flag)| *flag);
    let setting = || subject.split_once(" of the loss ").and_then(|(setting, _)| loss.flag_of(setting));
    let subject = of_step.or_else(setting).unwrap_or(subject);
    Error::Usage(format!("{subject}: {reason}"))
}

/// What models with a loss are spelt in, in words: which operators they want of this project's library, if any.
pub(crate) fn spelt(models: &[&ModelProto]) -> String {
    let nodes = models.iter().flat_map(|model| &model.graph).flat_map(|graph| &graph.node);
    let own: BTreeSet<&str> = nodes.filter(|node| node.domain() == DOMAIN).map(NodeProto::op_type).collect();
    if own.is_empty() {
        return "in standard operators, which run without this project's library".to_owned();
    }
    let names = own.into_iter().collect::<Vec<_>>().join(", ");
    format!("with this project's operators ({names} of {DOMAIN}), which want its library")
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
    if let Loss::SoftTriple(SoftTriple { centers: 1, .. }) = &chosen {
        let why = "with --centers 1 there is nothing to choose or to keep apart";
        idle.push(("--gamma", loss.gamma.is_some(), why.to_owned()));
        idle.push(("--penalty", loss.penalty.is_some(), why.to_owned()));
    }
    if !chosen.has_proxies() {
        let why = format!("the loss {} has no proxies", chosen.name());
        idle.push(("--proxies-rate", optimizer.proxies_rate.is_some(), why.clone()));
        idle.push(("--decay-proxies", optimizer.decay_proxies, why));
    }
    let is_held = optimizer.unfreeze_at.is_some() && optimizer.freeze.is_empty();
    idle.push(("--unfreeze-at", is_held, "nothing is frozen; --freeze names what is".to_owned()));
    idle.push((
        "--layer-decay",
        optimizer.layer_decay == Some(1.0),
        "a factor of 1 is every layer's own rate".to_owned(),
    ));
    let groups = optimizer.groups()?;
    let decays = optimizer.optimizer()?.weight_decay() != 0.0 || groups.iter().any(|group| group.decay > Some(0.0));
    if !decays {
        let why = "the weight decay is 0; --weight-decay gives one";
        idle.push(("--decay-all", optimizer.decay_all, why.to_owned()));
        idle.push(("--decay-proxies", optimizer.decay_proxies, why.to_owned()));
    }
    match idle.into_iter().find(|(_, is_given, _)| *is_given) {
        Some((flag, _, why)) => Err(Error::Usage(format!("{flag} changes nothing here: {why}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::LossName;
    use crate::optimizer::OptimizerName;

    #[test]
    fn writing_defaults_out_changes_nothing() {
        let names = [OptimizerName::Sgd, OptimizerName::Lion, OptimizerName::Lamb].map(Some);
        for optimizer in names.into_iter().chain([None]) {
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
        assert!(refused(OptimizerArgs { beta1: Some(1.5), ..OptimizerArgs::default() }).contains("--beta1: wanted"));
        assert!(
            refused(OptimizerArgs { clip: Some(0.0), ..OptimizerArgs::default() })
                .contains("--clip: wanted a finite number above 0, got 0")
        );
        assert!(
            refused(OptimizerArgs { ema: Some(1.0), ..OptimizerArgs::default() })
                .contains("--ema: wanted a decay between 0 and 1, got 1")
        );
        let lion = OptimizerArgs { optimizer: Some(OptimizerName::Lion), ..OptimizerArgs::default() };
        assert!(
            refused(OptimizerArgs { adam_eps: Some(0.1), ..lion }).contains("--optimizer lion has no such setting")
        );
        let group =
            |words: &[&str]| OptimizerArgs { group: words.iter().map(|&w| w.into()).collect(), ..Default::default() };
        for (words, says) in [
            (&["lr=0.1"][..], "wanted a pattern before it"),
            (&["a.*"], "wanted lr=FACTOR or decay=DECAY"),
            (&["a.*", "b.*", "lr=2"], "--group a.*"),
            (&["a.*", "lr=x"], "lr=x: wanted a finite number"),
            (&["a.*", "decay=-1"], "decay=-1: wanted a finite number"),
            (&["a.*", "lr=1", "lr=2"], "'a.*' has one already"),
        ] {
            assert!(refused(group(words)).contains(says), "{words:?}: {}", refused(group(words)));
        }
        let groups = group(&["a.*", "decay=0", "lr=0.5", "b", "lr=2"]).groups().unwrap();
        let told: Vec<_> = groups.iter().map(|group| (group.pattern.as_str(), group.rate, group.decay)).collect();
        assert_eq!(told, [("a.*", 0.5, Some(0.0)), ("b", 2.0, None)]);
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
        let one = LossArgs { loss: Some(LossName::SoftTriple), centers: Some(1), ..plain };
        assert_eq!(idle(&one), "");
        assert!(idle(&LossArgs { gamma: Some(0.2), ..one.clone() }).contains("--gamma changes nothing here"));
        assert!(idle(&LossArgs { penalty: Some(0.2), ..one }).contains("--penalty changes nothing here"));
    }
}
