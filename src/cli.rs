//! Arguments as typed, and what they set going.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use pdloss::{
    graph::{
        build::Element,
        file,
        loss::{self, Head, Spelling},
    },
    loss::{Config, FloorMode, Form},
};

#[derive(Parser)]
#[command(name = "pdloss", version, about = "ONNX graphs with PD-Loss in them")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put PD-Loss behind an embedder: the loss, its moments, labels and proxies in one ONNX model
    Export(Export),
}

#[derive(clap::Args)]
struct Export {
    /// The embedder: an ONNX model with an output [batch, dim]
    embedder: PathBuf,
    /// Where to write the model with the loss
    out: PathBuf,
    /// How to write the loss
    #[arg(long = "as", value_enum)]
    spelling: As,
    /// Number of classes: rows of the proxies, the initializer `pdloss.proxies`
    #[arg(long)]
    classes: usize,
    /// Seed of the proxies' first, random values
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The output that holds the embeddings, where the embedder has several
    #[arg(long, value_name = "OUTPUT")]
    embeddings: Option<String>,
    /// Length of an embedding, where the embedder does not say it
    #[arg(long)]
    dim: Option<usize>,
    /// Type of the labels
    #[arg(long, value_enum, default_value_t = Labels::Int64)]
    labels: Labels,
    /// log, negative or inverse
    #[arg(long, default_value_t = Form::Log)]
    form: Form,
    /// d' at which the loss goes on by its tangent
    #[arg(long, default_value_t = 1.0)]
    floor: f64,
    /// tangent, or clamp for the paper's letter
    #[arg(long, default_value_t = FloorMode::Tangent)]
    floor_mode: FloorMode,
    /// Divides the similarities, as in the paper; it cancels but in the moments and in the clamp
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Least gap of the clamp
    #[arg(long, default_value_t = 1e-6)]
    eps: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum As {
    /// One node of the domain com.pdloss: runs in ONNX Runtime with this project's library, never forms all similarities
    Op,
    /// A function in standard operators inside the model: runs in any onnxruntime without the library
    Function,
    /// Standard operators in the graph itself: runs where functions are unknown, too (tract)
    Inline,
}

#[derive(Clone, Copy, ValueEnum)]
enum Labels {
    Int64,
    Int32,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Result<()> {
    match Arguments::parse().command {
        Command::Export(arguments) => export(&arguments),
    }
}

fn export(arguments: &Export) -> Result<()> {
    let config = Config::default()
        .with_form(arguments.form)
        .with_floor_mode(arguments.floor_mode)
        .with_floor(arguments.floor)?
        .with_temperature(arguments.temperature)?
        .with_eps(arguments.eps)?;
    let head = Head {
        config,
        spelling: match arguments.spelling {
            As::Op => Spelling::Operator,
            As::Function => Spelling::Function,
            As::Inline => Spelling::Inline,
        },
        embeddings: arguments.embeddings.clone(),
        labels: match arguments.labels {
            Labels::Int64 => Element::I64,
            Labels::Int32 => Element::I32,
        },
        classes: arguments.classes,
        dim: arguments.dim,
    };
    let mut model = file::read(&arguments.embedder)?;
    loss::attach(&mut model, &head, arguments.seed)
        .with_context(|| format!("cannot put the loss behind {}", arguments.embedder.display()))?;
    file::write(&model, &arguments.out)?;
    Ok(())
}
