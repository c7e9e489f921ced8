//! What batches must have for a loss, a sampler and a memory: chosen, checked, and said.

use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Description, Memory};
use pdloss_embed::dataset::Dataset;
use pdloss_embed::{Error, Result};

use crate::backbone::of_graph;
use crate::parts::{self, SHOWN};
use crate::sampler::Sampler;
use crate::sampling::SamplerName;
use crate::settings::Settings;

/// How batches of these images are drawn.
///
/// # Errors
/// As [`Sampler::with_weights`].
pub(crate) fn sampler_of(data: &Dataset, settings: &Settings) -> Result<Sampler> {
    let labels: Vec<usize> = data.items.iter().map(|item| item.class).collect();
    let weights: Vec<f64> = data.items.iter().filter_map(|item| data.weights.get(&item.name).copied()).collect();
    Sampler::with_weights(&labels, &weights, (settings.batch, settings.drawing()?), settings.seed)
}

/// What is said of classes that the weights of a list keep out of every batch.
///
/// # Errors
/// [`Error::Usage`] where fewer than two are left.
pub(crate) fn never_drawn(data: &Dataset) -> Result<Option<String>> {
    if data.weights.is_empty() {
        return Ok(None);
    }
    let mut is_drawn = vec![false; data.classes.len()];
    let weighs = |name: &String| data.weights.get(name).is_none_or(|weight| *weight > 0.0);
    data.items.iter().filter(|item| weighs(&item.name)).for_each(|item| is_drawn[item.class] = true);
    let never: Vec<String> =
        is_drawn.iter().zip(&data.classes).filter(|(drawn, _)| !**drawn).map(|(_, name)| format!("'{name}'")).collect();
    let (all, left) = (is_drawn.len(), is_drawn.len() - never.len());
    if left == 1 {
        return Err(Error::Usage(format!(
            "--weight-column: 1 of the {all} classes has images that weigh more than 0; training wants at least 2"
        )));
    }
    let more = if never.len() > SHOWN { ", ..." } else { "" };
    // That all weigh 0 is the sampler's to say.
    Ok((!never.is_empty() && left > 0).then(|| {
        format!(
            "--weight-column: all images of {} of the {all} classes weigh 0, so that {left} are trained on: not {}{more}",
            never.len(),
            never[..never.len().min(SHOWN)].join(", ")
        )
    }))
}

/// Refuses hard classes where nobody has the vectors of all of them.
pub(crate) fn check_hard_classes(settings: &Settings) -> Result<()> {
    let ranks = settings.ranks;
    if ranks == 1 || !settings.shard_classes {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--sampler hard-classes: each of {ranks} ranks has the proxies of a part of the classes (--shard-classes)"
    )))
}

/// Sees to it that batches have pairs, for a loss that wants them, and classes, for a sampler of classes; what is to be said of it.
/// Runs of version 0.1 keep the batches that they were begun with.
pub(crate) fn balance(settings: &mut Settings, classes: usize, is_begun: bool) -> Result<Option<String>> {
    let (loss, takes) = (settings.loss.word(), settings.loss.takes_of_class());
    let chosen = settings.sampling.clone().unwrap_or_default();
    let (needs_pairs, by_class) = (settings.loss.needs_pairs(), chosen.sampler.map(SamplerName::is_by_class));
    match settings.per_class {
        _ if is_begun || !(needs_pairs || by_class == Some(true)) => Ok(None),
        Some(_) if !needs_pairs => Ok(None),
        None if by_class == Some(false) && !settings.loss.needs_pairs_of_batch() => Ok(None),
        None if by_class == Some(false) => Ok(Some(format!(
            "the loss {loss} compares images of a class, which batches of {} may not have: those without are passed over",
            chosen.word().unwrap_or_default()
        ))),
        None if !needs_pairs => {
            let word = chosen.word().unwrap_or_default();
            let each = parts::per_class(&format!("{word} draws"), None, settings.batch, classes)?;
            settings.per_class = Some(each);
            Ok(Some(format!("--per-class {each} is taken: {word} draws batches of whole classes")))
        }
        Some(each) => {
            parts::check_pairs(&loss, settings.batch, each)?;
            let idle = takes.map_or(0, |takes| each.saturating_sub(takes));
            Ok((idle > 0).then(|| {
                format!(
                    "the loss {loss} takes two images of each class of a batch: of --per-class {each}, {idle} are embedded for \
                     nothing"
                )
            }))
        }
        None => {
            let compares = format!("the loss {loss} compares");
            let each = parts::per_class(&compares, takes, settings.batch, classes)?;
            settings.per_class = Some(each);
            Ok(Some(format!(
                "--per-class {each} is taken: the loss {loss} compares images of a class, which random batches may not have"
            )))
        }
    }
}

/// What is to be said of a memory of earlier batches.
pub(crate) fn of_memory(settings: &Settings, step: &ModelProto) -> Result<Option<String>> {
    let Some(Memory { rows, start }) = settings.loss.memory() else { return Ok(None) };
    let description = Description::of(step).map_err(|e| of_graph(&settings.model, e))?;
    let bytes = rows as f64 * (description.dim * 4 + 8) as f64;
    let from = if start == 0 { "from the first step on".to_owned() } else { format!("after {start} steps") };
    Ok(Some(format!(
        "--memory-bank {rows}: each image of a batch is compared with the other {} and with the {rows} before it as they were embedded \
         then, {from}; gradients go to the batch alone; the memory takes {:.1} MiB",
        settings.batch.saturating_sub(1),
        bytes / f64::from(1 << 20)
    )))
}
