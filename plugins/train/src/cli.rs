//! The command line as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pdloss::loss::{FloorMode, Form};

/// ONNX graphs with PD-Loss in them, and training on them.
#[derive(Debug, Parser)]
#[command(name = "pdloss", version, max_term_width = 110, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put PD-Loss behind an embedder: the loss, its moments, labels and proxies in one ONNX model
    Export(ExportArgs),
}

#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The embedder: an ONNX model with an output [batch, dim]
    pub(crate) embedder: PathBuf,
    /// Where to write the model with the loss
    pub(crate) out: PathBuf,
    /// How to write the loss
    #[arg(long = "as", value_enum)]
    pub(crate) spelling: As,
    /// Number of classes: rows of the proxies, the initializer `pdloss.proxies`
    #[arg(long)]
    pub(crate) classes: usize,
    /// Seed of the proxies' first, random values
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The output that holds the embeddings, where the embedder has several
    #[arg(long, value_name = "OUTPUT")]
    pub(crate) embeddings: Option<String>,
    /// Length of an embedding, where the embedder does not say it
    #[arg(long)]
    pub(crate) dim: Option<usize>,
    /// Type of the labels
    #[arg(long, value_enum, default_value_t = Labels::Int64)]
    pub(crate) labels: Labels,
    /// log, negative or inverse
    #[arg(long, default_value_t = Form::Log)]
    pub(crate) form: Form,
    /// d' at which the loss goes on by its tangent
    #[arg(long, default_value_t = 1.0)]
    pub(crate) floor: f64,
    /// tangent, or clamp for the paper's letter
    #[arg(long, default_value_t = FloorMode::Tangent)]
    pub(crate) floor_mode: FloorMode,
    /// Divides the similarities, as in the paper; it cancels but in the moments and in the clamp
    #[arg(long, default_value_t = 1.0)]
    pub(crate) temperature: f64,
    /// Least gap of the clamp
    #[arg(long, default_value_t = 1e-6)]
    pub(crate) eps: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum As {
    /// One node of the domain com.pdloss: runs in ONNX Runtime with this project's library, never forms all similarities
    Op,
    /// A function in standard operators inside the model: runs in any onnxruntime without the library
    Function,
    /// Standard operators in the graph itself: runs where functions are unknown, too (tract)
    Inline,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Labels {
    Int64,
    Int32,
}

const EXPORT_EXAMPLES: &str = "Examples:
  pdloss export embedder.onnx loss.onnx --as op --classes 100
  pdloss export embedder.onnx loss.onnx --as inline --classes 100 --form inverse

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
