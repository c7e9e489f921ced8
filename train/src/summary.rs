//! What a run is, before its first step, and what it came to.

use std::io::Write;

use pdloss::graph;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Description, Group, Kind, State};
use pdloss_embed::console::{self, Align, Speech};
use pdloss_embed::dataset::Dataset;
use pdloss_embed::{Error, Result};
use toml::{Table, Value};

use crate::checkpoint::Counters;
use crate::cli::Keep;
use crate::folder::Folder;
use crate::metrics::{METRICS, Rows, VALIDATION};
use crate::sampler::Sampler;
use crate::settings::Settings;

/// The lines before the first step: images, classes and parts, batches and steps; the last argument says how many
/// steps, and at which rate.
pub(crate) fn header(
    settings: &Settings,
    data: &Dataset,
    validation: Option<&Dataset>,
    sampler: &Sampler,
    (steps, rate): (&str, &str),
) -> Vec<String> {
    let mut lines = vec![format!("trains on {}", data.in_words_of(&settings.data.request()))];
    let chosen = settings.validation.as_ref().map(|validation| validation.data.request());
    let validates = |(data, request): (&Dataset, _)| format!("validates on {}", data.in_words_of(&request));
    lines.extend(validation.zip(chosen).map(validates));
    let (batch, batches) = (sampler.batch(), sampler.batches());
    lines.push(format!(
        "{steps} of {batch} images, {}; {batches} steps an epoch; loss {}, {rate}",
        sampler.in_words(),
        settings.loss.word()
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
    let (own, both) = (description.proxies_rate, description.rate_of_proxies());
    if own != 1.0 && own != both {
        lines.push(format!("proxies: learning rate times {both}, as --proxies-rate {own} and their group both count"));
    }
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
    let skipped = steps.numbers("loss").len().saturating_sub(steps.numbers("gradient_norm").len());
    if skipped > 0 {
        training.push(("skipped_steps", skipped.to_string()));
    }
    if counters.passed_over > 0 {
        training.push(("batches_without_pairs", counters.passed_over.to_string()));
    }
    let mut text = format!("{}\n", row(training));

    let validations = Rows::read(&folder.validation(), &VALIDATION)?;
    let recall = |step| word(validations.at(step, "recall@1").as_ref());
    if let Some((best, step)) = counters.best {
        let validation = vec![
            ("recall@1 before", recall(0)),
            ("recall@1 after", recall(counters.step)),
            ("best recall@1", word(Some(&best))),
            ("at step", step.to_string()),
        ];
        text = format!("{text}\n{}\n", row(validation));
    }
    if Speech::now().settings {
        text = format!("{}\n\n{text}", what_was_run(folder)?);
    }
    let failed = |e| Error::write("standard output", e);
    writeln!(stdout, "{text}\nembedder: {}, {}", folder.embedder().display(), of_embedder(counters, settings))
        .map_err(failed)
}

/// Which state the run's embedder has, and what the other choice would have kept.
fn of_embedder(counters: &Counters, settings: &Settings) -> String {
    let keep = settings.validation.as_ref().map(|validation| validation.keep);
    let weights = match settings.optimizer.ema {
        Some(ema) => format!("the average of the weights (--ema {ema})"),
        None => "the weights".to_owned(),
    };
    let last = counters.step;
    match (keep, counters.best) {
        (Some(Keep::Best), Some((_, step))) => format!("{weights} of step {step}, which validated best (--keep best)"),
        (Some(Keep::Last), Some((_, step))) if step != last => {
            format!(
                "{weights} of the last step, {last}, which validated no better than step {step}; --keep best keeps that"
            )
        }
        (Some(Keep::Last), Some(_)) => format!("{weights} of the last step, {last}, which validated best"),
        _ => format!("{weights} of the last step, {last}; nothing was validated on, so none is known to be better"),
    }
}

/// The run's own record as a table of two columns, for people.
fn what_was_run(folder: &Folder) -> Result<String> {
    fn walk(name: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
        match value {
            Value::Table(inner) => inner.iter().for_each(|(key, value)| {
                walk(&if name.is_empty() { key.clone() } else { format!("{name}.{key}") }, value, rows);
            }),
            Value::String(word) => rows.push(vec![name.to_owned(), word.clone()]),
            value => rows.push(vec![name.to_owned(), value.to_string()]),
        }
    }
    let path = folder.manifest();
    let file = std::fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
    let record: Table = toml::from_str(&file).map_err(|e| Error::data(&path, e.to_string().trim()))?;
    let mut rows = Vec::new();
    walk("", &Value::Table(record), &mut rows);
    let columns = vec![("what was run".to_owned(), Align::Right), ("value".to_owned(), Align::Left)];
    Ok(console::Table { columns, rows }.text(Some(console::readable_width())))
}

/// A table of one row of numbers, for people.
pub(crate) fn row(figures: Vec<(&str, String)>) -> String {
    let (names, cells): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
    let columns = names.into_iter().map(|name| (name.to_owned(), Align::Right)).collect();
    console::Table { columns, rows: vec![cells] }.text(console::width())
}
