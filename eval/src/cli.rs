//! The command line as typed; what it means is checked by the commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dataset::{Format, Split};
use crate::embedder::{Choice, Device};
use crate::index::{FLAT, Metric};
use crate::preprocess::Patch;

/// Measures exported ONNX embedders, exactly and without Python.
#[derive(Debug, Parser)]
#[command(name = "pdloss-eval", version, max_term_width = 110, propagate_version = true)]
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
    /// Inputs, outputs and preprocessing of a model, and one image through it
    Inspect(Box<InspectArgs>),
}

/// Which model, and how to run it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// The tensor that is the embedding: an output, or any inner tensor
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// What runs the model
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub runtime: Choice,
    /// libonnxruntime.so to use [default: ORT_DYLIB_PATH, then beside the executable, then .runtime/ above it]
    #[arg(long, value_name = "FILE")]
    pub onnxruntime: Option<PathBuf>,
    /// cpu, cuda or cuda:N; what cannot be had is an error
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Threads of everything together: decoding, the runtime, FAISS [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Images a batch, where the model does not fix it [default: 8 on cpu, 32 on cuda]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Preprocessing manifest [default: the model's path with .toml, where that exists]
    #[arg(long, value_name = "FILE.toml")]
    pub preprocess: Option<PathBuf>,
    /// Single steps of preprocessing
    #[command(flatten)]
    pub patch: Patch,
}

/// Which images.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Folder, archive (.zip, .tar, .tar.gz) or list of labelled images
    #[arg(long, value_name = "PATH", required_unless_present = "embeddings")]
    pub data: Option<PathBuf>,
    /// How the data is laid out
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// The part to measure
    #[arg(long, value_enum, default_value_t = Split::Protocol)]
    pub split: Split,
    /// Only these classes, by the data set's numbers from 1: 1-10,15
    #[arg(long, value_name = "RANGES", value_parser = parse_ranges)]
    pub classes: Option<Ranges>,
    /// Label column of a list: a header's name or a number from 1 [default: the first]
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Go on without images that cannot be used, and report them
    #[arg(long)]
    pub skip_bad: bool,
}

/// Arguments of `recall`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RECALL_EXAMPLES)]
pub struct RecallArgs {
    /// The ONNX embedder
    #[arg(long, value_name = "FILE.onnx", required_unless_present = "embeddings", conflicts_with = "embeddings")]
    pub model: Option<PathBuf>,
    /// Images
    #[command(flatten)]
    pub data: DataArgs,
    /// Model
    #[command(flatten)]
    pub run: ModelArgs,
    /// Similarity of two embeddings
    #[arg(long, value_enum, default_value_t = Metric::Cosine, help_heading = "Measure")]
    pub metric: Metric,
    /// FAISS factory string; Flat is exact, others are checked against it on a sample
    #[arg(long, default_value = FLAT, value_name = "FACTORY", help_heading = "Measure")]
    pub index: String,
    /// The K of Recall@K [default: 1,2,4,8; 1,10,100,1000 for sop; 1,10,20,30,40 for inshop]
    #[arg(long, value_delimiter = ',', value_name = "K,K,...", help_heading = "Measure")]
    pub k: Option<Vec<usize>>,
    /// Write the result: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// Keep the embeddings: .npy (labels in a .csv beside it) or .safetensors
    #[arg(long, value_name = "FILE", help_heading = "Results", conflicts_with = "embeddings")]
    pub save_embeddings: Option<PathBuf>,
    /// Measure kept embeddings: .npy, .safetensors, or raw float32 with --dim
    #[arg(long, value_name = "FILE", help_heading = "Kept embeddings", conflicts_with = "data")]
    pub embeddings: Option<PathBuf>,
    /// Their labels, one a line or a CSV with a label column
    #[arg(long, value_name = "FILE", help_heading = "Kept embeddings", requires = "embeddings")]
    pub labels: Option<PathBuf>,
    /// Their dimension, for raw float32
    #[arg(long, value_name = "N", help_heading = "Kept embeddings", requires = "embeddings")]
    pub dim: Option<usize>,
}

/// Arguments of `inspect`.
#[derive(Clone, Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct InspectArgs {
    /// The ONNX embedder
    #[arg(long, value_name = "FILE.onnx")]
    pub model: PathBuf,
    /// Image to put through it [default: a plain grey one]
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Model
    #[command(flatten)]
    pub run: ModelArgs,
}

const RECALL_EXAMPLES: &str = "Examples:
  pdloss-eval recall --model model.onnx --data CUB_200_2011
  pdloss-eval recall --model model.onnx --data photos/ --preset imagenet --out result.json
  pdloss-eval recall --model model.onnx --data test.txt --label 2 --k 1,10
  pdloss-eval recall --model model.onnx --data sop.zip --format sop --save-embeddings sop.npy
  pdloss-eval recall --embeddings sop.npy --index IVF256,Flat

Ties are broken by the lower row. A query is left out of its own neighbours by its row. Queries without another
image of their class are left out and counted. Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

const INSPECT_EXAMPLES: &str = "Examples:
  pdloss-eval inspect --model model.onnx
  pdloss-eval inspect --model model.onnx --image photo.jpg --output /pool/out --preset imagenet";

/// Class numbers that `1-10,15` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(pub Vec<usize>);

fn parse_ranges(text: &str) -> Result<Ranges, String> {
    let wrong = || format!("'{text}' are no classes: wanted numbers from 1 and ranges, such as 1-10,15");
    let number = |t: &str| t.trim().parse::<usize>().ok().filter(|&n| n > 0).ok_or_else(wrong);
    let mut classes = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > 10_000_000 {
            return Err(wrong());
        }
        classes.extend(first..=last);
    }
    classes.sort_unstable();
    classes.dedup();
    Ok(Ranges(classes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ranges_are_numbers_in_order() {
        assert_eq!(parse_ranges("15,1-3,2").unwrap().0, [1, 2, 3, 15]);
        for wrong in ["", "0", "3-1", "a", "1-", "-1"] {
            assert!(parse_ranges(wrong).is_err(), "{wrong}");
        }
    }
}
