//! What `recall` and `verify` take alike: images and a model that embeds them, or the embeddings that were kept.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Arg, Args};
use pdloss_embed::arguments::{DataArgs, ModelArgs};
use pdloss_embed::console::note;
use pdloss_embed::dataset::Dataset;
use pdloss_embed::embeddings::{Embeddings, Row, copies};

use pdloss_embed::files::{can_write, distinct, ending, spares};

use super::check_draws;
use crate::metrics::verification::Bootstrap;
use crate::table::Record;
use crate::{Error, Result};

/// More draws move no digit that anybody reads, and take days.
const MOST_DRAWS: usize = 1_000_000;

/// How intervals are drawn.
#[derive(Clone, Debug, Args)]
pub struct IntervalArgs {
    /// Confidence intervals from this many draws of subjects, 100 or more
    #[arg(long, value_name = "N", help_heading = "Intervals")]
    pub bootstrap: Option<usize>,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Intervals", requires = "bootstrap")]
    pub seed: u64,
    /// Confidence of the intervals
    #[arg(long, value_name = "P", default_value_t = 0.95, help_heading = "Intervals", requires = "bootstrap")]
    pub confidence: f64,
}

impl IntervalArgs {
    /// The same, where intervals are wanted.
    ///
    /// # Errors
    /// [`Error::Usage`] for numbers that make no sense.
    pub(super) fn drawn(&self) -> Result<Option<Bootstrap>> {
        let Self { bootstrap: draws, seed, confidence: level } = *self;
        draws.map_or(Ok(()), |draws| check_draws("--bootstrap", draws, (MOST_DRAWS, 1000), level))?;
        Ok(draws.map(|replicates| Bootstrap { replicates, seed, level }))
    }
}

/// Images and a model that embeds them, or the embeddings that were kept: flags of the one are refused beside the other.
#[derive(Clone, Debug, Args)]
#[command(mut_args(apart_from_kept))]
pub struct InputArgs {
    /// The ONNX embedder
    #[arg(long, value_name = "FILE.onnx", required_unless_present = "embeddings", conflicts_with = "embeddings")]
    pub model: Option<PathBuf>,
    /// Images
    #[command(flatten)]
    pub data: DataArgs,
    /// Model
    #[command(flatten)]
    pub run: ModelArgs,
    /// Keep the embeddings: .npy (labels in a .csv beside it) or .safetensors
    #[arg(long, value_name = "FILE", help_heading = "Results", conflicts_with = "embeddings")]
    pub save_embeddings: Option<PathBuf>,
    /// Measure what the model costs, too: latency, throughput, memory, parameters, operations
    #[arg(long, help_heading = "Results", conflicts_with = "embeddings")]
    pub efficiency: bool,
    /// Measure kept embeddings: .npy, .safetensors, .parquet, or raw float32 with --dim (verify finds pairs by their names)
    #[arg(long, value_name = "FILE", help_heading = "Kept embeddings", conflicts_with = "data")]
    pub embeddings: Option<PathBuf>,
    /// Their labels, one a line or a CSV with a label column (.safetensors brings its own, .parquet where it has such a column)
    #[arg(long, value_name = "FILE", help_heading = "Kept embeddings", conflicts_with = "model")]
    pub labels: Option<PathBuf>,
    /// Their dimension, for raw float32
    #[arg(long, value_name = "N", help_heading = "Kept embeddings", conflicts_with = "model")]
    pub dim: Option<usize>,
}

/// Kept embeddings are measured as they are: no flag about images, or about what embeds them, has a meaning beside them.
fn apart_from_kept(arg: Arg) -> Arg {
    /// Searches and comparisons run on threads, too, and bad pairs of a list may be skipped.
    const OF_BOTH: [&str; 2] = ["threads", "skip_bad"];
    let of_images = |heading: &str| heading == "Data" || heading == "Model" || heading.starts_with("Preprocessing");
    if arg.get_help_heading().is_some_and(of_images) && !OF_BOTH.contains(&arg.get_id().as_str()) {
        arg.conflicts_with("embeddings")
    } else {
        arg
    }
}

impl InputArgs {
    /// Refuses `--skip-bad` where there is neither an image nor a list of pairs to be bad.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(super) fn no_images_to_skip(&self) -> Result<()> {
        if !self.data.skip_bad {
            return Ok(());
        }
        Err(Error::Usage("--skip-bad changes nothing here: kept embeddings have no images that could be bad".into()))
    }

    /// Tries the places that embeddings are kept in, and whether these and the other `outputs` are distinct and none of the
    /// files that are read, of which `inputs` are those that only the command knows.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flags.
    pub(super) fn check_places(&self, inputs: &[(&str, &Path)], outputs: &[(&str, &Path)]) -> Result<()> {
        const FLAG: &str = "--save-embeddings";
        let mut kept: Vec<PathBuf> = self.save_embeddings.iter().cloned().collect();
        if let Some(path) = &self.save_embeddings {
            Embeddings::can_save(FLAG, path)?;
            // Their labels lie beside them.
            kept.extend((ending(path) == "npy").then(|| path.with_extension("csv")));
        }
        kept.iter().try_for_each(|path| can_write(FLAG, path))?;
        let kept = kept.iter().map(|path| (FLAG, path.as_path()));
        let outputs: Vec<_> = kept.chain(outputs.iter().copied()).collect();
        distinct(&outputs)?;
        // Where no labels are named, they lie beside the embeddings.
        let beside = self.embeddings.as_ref().filter(|_| self.labels.is_none()).map(|path| path.with_extension("csv"));
        let read = [
            ("--data", &self.data.data),
            ("--embeddings", &self.embeddings),
            ("the labels of --embeddings,", &beside),
            ("--labels", &self.labels),
            ("--preprocess", &self.run.preprocess),
        ];
        let read = read.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?)));
        spares(&read.chain(inputs.iter().copied()).collect::<Vec<_>>(), &outputs)
    }
}

/// The rows that a data set's images will be, as far as is known before they are read.
pub(super) fn rows_of(dataset: &Dataset) -> Vec<Row> {
    let row = |item: &pdloss_embed::dataset::Item| Row {
        camera: item.camera,
        ..Row::new(item.name.clone(), item.class, item.role)
    };
    dataset.items.iter().map(row).collect()
}

/// Sentences that a person must read: recorded, and printed when the command ends, below its table or before its error.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Drop for Notes {
    fn drop(&mut self) {
        self.0.iter().for_each(|text| note(text));
    }
}

impl Notes {
    /// Adds a sentence, once: what is true of several rows of a result is said for all of them.
    pub(super) fn add(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.0.contains(&text) {
            self.0.push(text);
        }
    }

    pub(super) fn extend(&mut self, texts: &[String]) {
        texts.iter().for_each(|text| self.add(text.as_str()));
    }

    /// Prints them now where standard output is a screen, so that the figures are the last thing on it. Elsewhere they come
    /// behind, so that the figures are the first lines.
    pub(super) fn before_figures(&mut self) {
        if std::io::stdout().is_terminal() {
            self.0.drain(..).for_each(|text| note(&text));
        }
    }

    /// What has been said so far.
    pub(super) fn said(&self) -> &[String] {
        &self.0
    }

    /// What is yet to be printed, which then is not.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }

    /// Adds the column `notes`, behind what is there already.
    pub(super) fn record(&self, record: &mut Record) {
        for text in &self.0 {
            record.keep_note(text);
        }
    }
}

/// Adds the number of copies among the images, and says what becomes of them: whether they are `counted`, in words.
pub(super) fn describe_copies(
    rows: &[Row],
    (counted, consequence): (bool, &str),
    notes: &mut Notes,
    record: &mut Record,
) {
    let copies = copies(rows);
    record.set("copies", copies.rows).set("copies_counted", counted);
    if copies.rows == 0 {
        return;
    }
    let labels = match copies.other_class {
        0 => String::new(),
        other => format!(", {other} of them under another label"),
    };
    notes.add(format!("{} images are copies of others (files of equal bytes){labels}: {consequence}", copies.rows));
}

/// Says where all of so many embeddings are the same: nothing can then be told apart by them; and how many are equal to others.
pub(super) fn describe_sameness(count: usize, (sameness, twins): (Option<f64>, usize), notes: &mut Notes) {
    if let Some(apart) = sameness {
        notes.add(if apart == 0.0 {
            format!("all {count} embeddings are equal: what is found is by the order of rows, and no figure says anything")
        } else {
            format!(
                "all {count} embeddings are equal but for {apart:.1e} of their length, where float32 rounds 6.0e-8: what is found may \
                 be what was rounded, and no figure says much"
            )
        });
        return;
    }
    if twins > 0 {
        let are = if twins == 1 { "embedding is" } else { "embeddings are" };
        notes.add(format!(
            "{twins} {are} equal to another one, number by number, and not known to be of a copy of its image: each counts"
        ));
    }
}

/// Says where embeddings are one number each: their cosines are 1 and -1, by sign.
pub(super) fn describe_dimension(dim: usize, notes: &mut Notes) {
    if dim == 1 {
        notes.add(
            "embeddings of 1 dimension: every cosine is 1 or -1, and only signs are compared; --metric l2 of recall compares numbers",
        );
    }
}

/// What is to be said of inner products of rows of which the shortest and the longest have these lengths.
pub(super) fn describe_lengths((least, most): (f64, f64), notes: &mut Notes) {
    /// What rounding does to rows of one length.
    const ALIKE: f64 = 1.01;
    if most > ALIKE * least {
        notes.add(format!(
            "rows have lengths from {least:.3} to {most:.3}: under --metric ip long ones are near to every query, and a row need not be \
             nearest to itself; --metric cosine compares directions alone"
        ));
    }
}

/// Class names as a result carries them: the first few, how many there are, and a digest where not all are named.
pub(super) fn class_names(rows: &[Row], classes: &[String]) -> String {
    const SHOWN: usize = 10;
    let mut present: Vec<usize> = rows.iter().map(|row| row.class).collect();
    present.sort_unstable();
    present.dedup();
    let names: Vec<&str> = present.iter().map(|&class| classes[class].as_str()).collect();
    if names.len() <= SHOWN {
        return names.join("; ");
    }
    let digest = pdloss_embed::digest::sha256(names.join("\n").as_bytes());
    format!("{}; ... {} in all, SHA-256 {}", names[..SHOWN].join("; "), names.len(), &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    #[test]
    fn flags_about_images_and_models_are_refused_beside_kept_embeddings() {
        let command = InputArgs::augment_args(Command::new("measure"));
        let apart = |arg: &Arg| command.get_arg_conflicts_with(arg).iter().any(|rival| rival.get_id() == "embeddings");
        let together: Vec<&str> =
            command.get_arguments().filter(|arg| !apart(arg)).map(|arg| arg.get_id().as_str()).collect();
        // Whoever adds a flag says here that it has a meaning beside them.
        assert_eq!(together, ["skip_bad", "threads", "embeddings", "labels", "dim"]);
        let words = |more: &[&str]| {
            let words = [&["measure", "--embeddings", "e.npy"], more].concat();
            InputArgs::augment_args(Command::new("measure")).try_get_matches_from(words)
        };
        assert!(words(&["--threads", "2", "--dim", "3"]).is_ok());
        for flag in [&["--classes", "1-3"][..], &["--split", "test"], &["--mean", "0"], &["--batch", "8"]] {
            let error = words(flag).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{flag:?}");
            assert!(error.to_string().contains("cannot be used with"), "{flag:?}: {error}");
        }
    }
}
