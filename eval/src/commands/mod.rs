//! The commands, one a file or folder, each with its own arguments.

mod arguments;
mod assess;
pub mod compare;
mod efficiency;
mod given;
mod groups;
pub mod inspect;
mod named;
mod outcome;
pub mod recall;
pub mod report;
mod retrieval_figures;
mod score_files;
pub mod scores;
mod seen;
mod suggest;
pub mod tabulate;
mod templates;
mod variants;
pub mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pdloss_embed::dataset::{Dataset, Request};
use pdloss_embed::embedder::{Embedder, Prepared};
use pdloss_embed::program::{Program, Usual};
use pdloss_embed::ranks::{agree, same, world};

use crate::table::Record;
use crate::{Error, Result};
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

/// Adds the list that images and labels were read from, where that is what was given, and the column of the labels.
fn describe_list(request: &Request, dataset: &Dataset, record: &mut Record) {
    if let Some(list) = request.list() {
        record.set("list", list.display().to_string()).set("label", dataset.label.clone());
    }
}

/// Fewer draws leave the ends of an interval to a handful of numbers: those of two need not even hold the figure between them.
const LEAST_DRAWS: usize = 100;

/// Refuses so few draws, or so many, and intervals beyond whose ends not one of them lies.
fn check_draws(flag: &str, draws: usize, (most, usual): (usize, usize), confidence: f64) -> Result<()> {
    if !(confidence > 0.0 && confidence < 1.0) {
        let wanted = "wanted a number between 0 and 1, such as 0.95";
        return Err(Error::Usage(format!("--confidence {confidence}: {wanted}")));
    }
    if !(LEAST_DRAWS..=most).contains(&draws) {
        let wanted = format!("wanted {LEAST_DRAWS} to {most} draws; {usual} is usual");
        return Err(Error::Usage(format!("{flag} {draws}: {wanted}")));
    }
    // 1 - 0.98 is not 0.02 to the last digit.
    let wanted = (2.0 / (1.0 - confidence) - 1e-6).ceil();
    if (draws as f64) < wanted {
        return Err(Error::Usage(format!(
            "{flag} {draws}: not one draw lies beyond either end of an interval of {confidence}; wanted at least {wanted} draws, or a \
             smaller --confidence"
        )));
    }
    Ok(())
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
