//! What a run is, before its first step, and what it came to.

use std::io::Write;

use pdloss::graph;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Description, Group, Kind, State};
use pdloss_embed::console::{self, Align};
use pdloss_embed::dataset::Dataset;
use pdloss_embed::{Error, Result};

use crate::checkpoint::Counters;
use crate::folder::Folder;
use crate::metrics::{METRICS, Rows, VALIDATION};
use crate::sampler::Sampler;
use crate::settings::Settings;

/// The lines before the first step: images, classes and parts, batches and steps.
pub(crate) fn header(
    settings: &Settings,
    data: &Dataset,
    validation: Option<&Dataset>,
    sampler: &Sampler,
    steps: u64,
) -> Vec<String> {
    let part = |data: &Dataset| {
        let (images, classes) = (data.items.len(), data.classes.len());
        format!("{images} images of {classes} classes, part '{}' of {}", data.part, data.source.path().display())
    };
    let mut lines = vec![format!("trains on {}", part(data))];
    if let Some(validation) = validation {
        lines.push(format!("validates on {}", part(validation)));
    }
    let (batch, batches) = (sampler.batch(), sampler.batches());
    let drawn =
        settings.per_class.map_or("at random".to_owned(), |each| format!("{each} of each of {} classes", batch / each));
    lines.push(format!(
        "{steps} steps of {batch} images, {drawn}; {batches} steps an epoch; loss {}, learning rate {}",
        settings.loss.word(),
        settings.schedule.learning_rate
    ));
    lines
}

/// Which tensors weight decay is of, and each group's own settings.
///
/// # Errors
/// Where the step says nothing of itself.
pub(crate) fn decay(settings: &Settings, step: &ModelProto) -> graph::Result<Vec<String>> {
    let description = Description::of(step)?;
    let trained = description.state.iter().filter(|tensor| matches!(tensor.kind, Kind::Weight | Kind::Proxies));
    let (decayed, others): (Vec<&State>, Vec<&State>) = trained.partition(|tensor| tensor.decay);
    let mut lines = Vec::new();
    if !decayed.is_empty() {
        let (some, all) = (decayed.len(), decayed.len() + others.len());
        let left =
            if others.is_empty() { "" } else { "; not of biases, norms and proxies (--decay-all, --decay-proxies)" };
        lines.push(format!("weight decay {} of {some} of {all} tensors{left}", description.optimizer.weight_decay()));
    }
    let groups = settings.optimizer.groups().unwrap_or_default();
    lines.extend(groups.iter().map(|Group { pattern, rate, decay }| {
        let decay = decay.map_or(String::new(), |decay| format!(", weight decay {decay}"));
        format!("group '{pattern}': learning rate times {rate}{decay}")
    }));
    Ok(lines)
}

/// What the run came to, out of its tables.
pub(crate) fn write(folder: &Folder, counters: &Counters, settings: &Settings, stdout: &mut dyn Write) -> Result<()> {
    let word = |value: Option<&f64>| value.map_or("-".to_owned(), |value| format!("{value:.6}"));
    let steps = Rows::read(&folder.metrics(), &METRICS)?;
    let rates = steps.numbers("images_per_second");
    let seconds: f64 = rates.iter().map(|rate| settings.batch as f64 / rate).sum();
    let images = settings.batch * rates.len();
    let mut training = vec![("steps", counters.step.to_string())];
    for name in ["loss", "d_prime", "mean_cosine"] {
        training.push((name, word(steps.numbers(name).last())));
    }
    training.push(("images_per_second", format!("{:.0}", images as f64 / seconds.max(f64::MIN_POSITIVE))));
    if counters.passed_over > 0 {
        training.push(("batches_without_pairs", counters.passed_over.to_string()));
    }
    let mut text = format!("{}\n", row(training));

    let recall = Rows::read(&folder.validation(), &VALIDATION)?.numbers("recall@1");
    if let Some((best, step)) = counters.best {
        let validation = vec![
            ("recall@1 before", word(recall.first())),
            ("recall@1 after", word(recall.last())),
            ("best recall@1", word(Some(&best))),
            ("at step", step.to_string()),
        ];
        text = format!("{text}\n{}\n", row(validation));
    }
    let failed = |e| Error::write("standard output", e);
    writeln!(stdout, "{text}\nembedder: {}", folder.embedder().display()).map_err(failed)
}

/// A table of one row of numbers, for people.
fn row(figures: Vec<(&str, String)>) -> String {
    let (names, cells): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
    let columns = names.into_iter().map(|name| (name.to_owned(), Align::Right)).collect();
    console::Table { columns, rows: vec![cells] }.text(console::width())
}
