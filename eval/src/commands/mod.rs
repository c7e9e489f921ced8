//! The commands, one a file or folder, each with its own arguments.

mod arguments;
mod assess;
pub mod compare;
mod efficiency;
mod groups;
pub mod inspect;
mod named;
mod outcome;
pub mod recall;
pub mod report;
mod retrieval_figures;
mod score_files;
pub mod scores;
mod suggest;
pub mod tabulate;
mod templates;
mod variants;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pdloss_embed::dataset::{Dataset, Request, Source};
use pdloss_embed::embedder::{Embedder, Prepared};
use pdloss_embed::program::{Program, Usual};
use pdloss_embed::ranks::{agree, same, world};

use crate::Result;
use crate::table::{Record, Value};
pub use arguments::{InputArgs, IntervalArgs};
pub use compare::{By, CompareArgs};
pub use inspect::InspectArgs;
pub use outcome::VerificationOut;
pub use recall::RecallArgs;
pub use report::ReportArgs;
pub use scores::ScoresArgs;
pub use tabulate::TabulateArgs;
pub use verify::{Flip, VerifyArgs};

/// Measures exported ONNX embedders, exactly and without Python.
#[derive(Debug, Parser)]
#[command(name = "pdloss-eval", version, max_term_width = 110)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The tool's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recall@K, R-precision and MAP@R of an embedder on labelled images
    Recall(Box<RecallArgs>),
    /// Accuracy, error rates and d' of an embedder on pairs of images
    Verify(Box<VerifyArgs>),
    /// The same figures from files of genuine and impostor scores
    Scores(Box<ScoresArgs>),
    /// One HTML page of kept runs: tables, curves, pictures of what was found
    Report(ReportArgs),
    /// Whether two models really differ on the same data
    Compare(CompareArgs),
    /// Many results in one table: sorted, filtered, pivoted, for papers
    Tabulate(TabulateArgs),
    /// Inputs, outputs and preprocessing of a model, and one image through it
    Inspect(Box<InspectArgs>),
}

/// Adds model, preprocessing and runtime to a record.
fn describe_model(prepared: &Prepared, embedder: &Embedder, record: &mut Record) {
    let model = prepared.model();
    record.set("model", model.path.display().to_string()).set("model_sha256", model.sha256.as_str());
    record.set("output", model.output.as_str());
    record.set("preprocessing", prepared.recipe.to_line()).set("preprocessing_from", prepared.origin.to_string());
    let (runtime, version) = embedder.runtime();
    record.set("runtime", runtime).set("runtime_version", version);
    record.set("device", prepared.options.device.to_string()).set("batch", embedder.batch());
    // They were printed when the model was opened.
    for sentence in embedder.notes() {
        record.keep_note(sentence);
    }
}

/// Adds the list that images and labels are read from, where that is what was given, and the column that was asked for.
fn describe_list(request: &Request, record: &mut Record) {
    let path = &request.path;
    if path.is_file() && !Source::is_archive(path) {
        record.set("list", path.display().to_string()).set("label", request.label.clone());
    }
}

/// `, by the list labels.csv, label 'shape'`; nothing where images are read by no list.
fn by_list(record: &Record) -> String {
    let word = |name: &str| record.get(name).map(Value::word).filter(|word| !word.is_empty());
    let label = word("label").map_or(String::new(), |label| format!(", label '{label}'"));
    word("list").map_or(String::new(), |list| format!(", by the list {list}{label}"))
}

/// Refuses ranks that would not measure the same.
fn alike(data: &Dataset, model: &Prepared) -> Result<()> {
    if world().is_alone() {
        return Ok(());
    }
    same("pdloss-eval", env!("CARGO_PKG_VERSION"))?;
    same("the model's SHA-256", &model.model().sha256)?;
    same("the preprocessing", &model.recipe.to_line())?;
    data.same_over_ranks()
}

/// Refuses ranks whose runtimes would not give the same bits.
fn same_runtime(embedder: &Embedder) -> Result<()> {
    let (runtime, version) = embedder.runtime();
    same("the runtime", &format!("{runtime} {version}, {} images at a time", embedder.batch()))
}

impl Command {
    /// Runs the command; results go to `stdout`.
    ///
    /// # Errors
    /// Whatever stops the command.
    pub fn run(&self, stdout: &mut dyn Write) -> Result<()> {
        match self {
            Self::Recall(args) => agree(recall::Plan::new(args))?.run(stdout).map(drop),
            Self::Verify(args) => agree(verify::Plan::new(args))?.run(stdout).map(drop),
            Self::Scores(args) => scores::run(args, stdout).map(drop),
            Self::Report(args) => report::run(args),
            Self::Compare(args) => compare::run(args, stdout).map(drop),
            Self::Tabulate(args) => tabulate::run(args, stdout).map(drop),
            Self::Inspect(args) => inspect::run(args, stdout).map(drop),
        }
    }
}

/// What `--version` says of what the measuring is made with.
pub fn made_with() -> Vec<String> {
    vec![crate::level::in_words()]
}

/// The program `pdloss-eval`: parse, run, exit code.
pub fn main() -> ExitCode {
    let elsewhere = &[("train", "pdloss"), ("export", "pdloss")];
    let program = Program {
        command: Cli::command(),
        usual: &[USUAL],
        flags_of: |table| table,
        elsewhere,
        made_with: made_with(),
    };
    program.run(|cli: Cli, stdout| cli.command.run(stdout))
}

/// The flags in the short help of each command.
pub const USUAL: &[Usual] =
    &[recall::USUAL, verify::USUAL, scores::USUAL, report::USUAL, compare::USUAL, tabulate::USUAL, inspect::USUAL];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
