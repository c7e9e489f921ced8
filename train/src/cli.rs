//! The command line as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, value_parser};
use pdloss_embed::arguments::{Ranges, parse_ranges};
use pdloss_embed::dataset::{Format, Split};
use pdloss_embed::embedder::Device;
use pdloss_embed::preprocess::Patch;
use pdloss_embed::program::Usual;
use serde::{Deserialize, Serialize};

use crate::augment::Augment;
use crate::loss::LossArgs;
use crate::optimizer::OptimizerArgs;
use crate::precision::PrecisionArgs;
use crate::sampling::SamplingArgs;
use crate::schedule::Schedule;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an embedder on labelled images
    Train(Box<TrainArgs>),
    /// Put a loss behind an embedder, or with --train a whole training step, as one ONNX model
    Export(Box<ExportArgs>),
}

/// What the short help of each command shows.
pub const USUAL: &[Usual] = &[
    Usual {
        command: "train",
        calls: &["train --model FILE.onnx --data PATH --out RUN", "train --resume RUN"],
        flags: &[
            "model",
            "out",
            "resume",
            "dry-run",
            "data",
            "split",
            "batch",
            "per-class",
            "steps",
            "epochs",
            "validation-split",
            "validation-classes",
            "loss",
            "learning-rate",
            "random-crop",
            "flip",
            "freeze",
            "preset",
        ],
    },
    Usual {
        command: "export",
        calls: &[
            "export EMBEDDER.onnx OUT.onnx --as op|function|inline --classes N",
            "export BACKBONE.onnx OUT.onnx --train --classes N",
        ],
        flags: &["embedder", "out", "train", "as", "classes", "embeddings", "loss", "optimizer", "freeze"],
    },
];

/// A program with these commands, in which `train --resume` goes with no other flag but `--onnxruntime`.
pub fn with_resume_alone(program: clap::Command) -> clap::Command {
    program.mut_subcommand("train", |train| {
        let others = train.get_arguments().map(|argument| argument.get_id().clone());
        let others: Vec<_> = others.filter(|id| !["resume", "onnxruntime"].contains(&id.as_str())).collect();
        train.mut_arg("resume", |resume| resume.conflicts_with_all(others))
    })
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// The embedder: an ONNX model with an output [batch, dim]
    pub(crate) embedder: PathBuf,
    /// Where to write the model with the loss
    pub(crate) out: PathBuf,
    /// Write a training step: backbone, loss, gradients and optimiser in one model
    #[arg(long)]
    pub(crate) train: bool,
    /// With --train: write the step for the ranks of an MPI launcher, each of which runs its rows of one batch
    #[arg(long, requires = "train")]
    pub(crate) ranks: bool,
    /// With --ranks: BatchNormalization normalises by the whole batch [default: by the rows of its rank]
    #[arg(long, requires = "ranks")]
    pub(crate) sync_statistics: bool,
    /// With --ranks and the loss pd: the graph of rank R of N, which has the proxies of its part of the classes
    #[arg(long, value_name = "R/N", requires = "ranks", value_parser = parse_shard)]
    pub(crate) shard: Option<(usize, usize)>,
    /// How to write the loss; --train takes op (the default there) and inline
    #[arg(long = "as", value_enum, required_unless_present = "train")]
    pub(crate) spelling: Option<As>,
    /// Number of classes: rows of the proxies, the initializer `pdloss.proxies`
    #[arg(long)]
    pub(crate) classes: usize,
    /// Seed of the proxies' first, random values (and of --train's dropout)
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// With --train --as op: where the step will run, cpu or cuda; each has operators of its own
    #[arg(long, value_name = "DEVICE", default_value = "cpu", requires = "train")]
    pub(crate) device: Device,
    /// The output that holds the embeddings, where the embedder has several
    #[arg(long, value_name = "OUTPUT")]
    pub(crate) embeddings: Option<String>,
    /// Length of an embedding, where the embedder does not say it
    #[arg(long)]
    pub(crate) dim: Option<usize>,
    /// Type of the labels; --train takes int64
    #[arg(long, value_enum, default_value_t = Labels::Int64)]
    pub(crate) labels: Labels,
    /// libonnxruntime.so to see by that a batch which --train frees gives the same rows [default: as train has it]
    #[arg(long, value_name = "FILE")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Loss; without --train pd
    #[command(flatten)]
    pub(crate) loss: LossArgs,
    /// Optimiser, of --train
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    /// Precision, of --train
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

/// `R/N` with `R` below `N`.
fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(rank, ranks)| Some((rank.parse().ok()?, ranks.parse().ok()?)));
    numbers
        .filter(|(rank, ranks)| rank < ranks)
        .ok_or_else(|| format!("'{text}': wanted R/N with R from 0 to N - 1, as 0/2"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum As {
    /// One node of the domain com.pdloss: runs in ONNX Runtime with this project's library, never forms all similarities
    Op,
    /// A function in standard operators inside the model: runs in any onnxruntime without the library
    Function,
    /// Standard operators in the graph itself: runs where functions are unknown, too (tract)
    Inline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Labels {
    Int64,
    Int32,
}

/// Where the proxies start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FirstProxies {
    /// At random
    Random,
    /// At the mean direction of their class's embeddings
    ClassMeans,
}

/// What is taken of another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Its embedder's weights and running statistics
    Embedder,
    /// Its proxies: the classes must be the same, in the same order
    Proxies,
    /// Its optimiser's memory, and the number of its steps
    Optimizer,
}

/// Which state the run's embedder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Keep {
    /// The last
    Last,
    /// That of the best validation, the earliest of equals
    Best,
}

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = TRAIN_EXAMPLES, after_long_help = format!("{TRAIN_EXAMPLES}\n\n{TRAIN_DETAILS}"))]
pub struct TrainArgs {
    /// The backbone: an ONNX model with one image input and an embedding
    #[arg(long, value_name = "FILE.onnx", required_unless_present = "resume")]
    pub(crate) model: Option<PathBuf>,
    /// Folder of the run: embedder, checkpoint, settings and tables; must not exist
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the run in this folder, with its own settings; --onnxruntime may be given beside it
    #[arg(long, value_name = "RUN")]
    pub(crate) resume: Option<PathBuf>,

    /// Check everything, read all images, make the first four steps, say what a run would take, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Search for a learning rate: 120 steps at rates from 1e-7 to 10, or until the loss runs away; table and picture, find-lr.csv and
    /// find-lr.svg, go into the folder --out, and nothing is trained
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) find_lr: bool,

    /// Folder, archive (.zip, .tar, .tar.gz) or list of labelled images
    #[arg(long, value_name = "PATH", required_unless_present = "resume", help_heading = "Data")]
    pub(crate) data: Option<PathBuf>,
    /// How the data is laid out
    #[arg(long, value_enum, default_value_t = Format::Auto, help_heading = "Data")]
    pub(crate) format: Format,
    /// The part to train on
    #[arg(long, value_enum, default_value_t = Split::ProtocolTrain, help_heading = "Data")]
    pub(crate) split: Split,
    /// Only these classes, by the data set's own numbers (folders called 1, 2, 10; labels 0, 1, ...), else from 1 in natural
    /// order of names: 1-10,15
    #[arg(long, value_name = "RANGES", value_parser = parse_ranges, help_heading = "Data")]
    pub(crate) classes: Option<Ranges>,
    /// Label column of a list: a header's name, or its number among the columns but that of the paths [default: the first]
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub(crate) label: Option<String>,
    /// Folder or archive that the paths of a list start from, also of a list to validate on [default: the list's folder]
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub(crate) root: Option<PathBuf>,
    /// Go on without images that cannot be used, and report them
    #[arg(long, help_heading = "Data")]
    pub(crate) skip_bad: bool,
    /// MiB of decoded images to keep in memory; changes nothing but the time
    #[arg(long, value_name = "MIB", default_value_t = 1024, help_heading = "Data")]
    pub(crate) cache: usize,

    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 64, alias = "batch-size", help_heading = "Batches")]
    pub(crate) batch: usize,
    /// Let the images of a step through the net in N equal parts, twice: the loss is still of all of them together, and memory that of
    /// a part
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Batches")]
    pub(crate) accumulate: usize,
    /// Balanced batches: this many images of each of batch / N classes [default: images at random; 4 for losses of pairs]
    #[arg(long, value_name = "N", help_heading = "Batches")]
    pub(crate) per_class: Option<usize>,
    /// Sampler
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    /// On several ranks: BatchNormalization normalises by the whole batch [default: by the images of its rank]
    #[arg(long, help_heading = "Batches")]
    pub(crate) sync_statistics: bool,
    /// On several ranks, loss pd: each has the proxies of its part of the classes, and their optimiser's state
    #[arg(long, help_heading = "Batches")]
    pub(crate) shard_classes: bool,
    /// Steps to train
    #[arg(long, value_name = "N", conflicts_with = "epochs", help_heading = "Batches")]
    pub(crate) steps: Option<u64>,
    /// Times to go through the images, where --steps is not given; the last, partial batch of each is left out
    #[arg(long, value_name = "N", default_value_t = 20.0, help_heading = "Batches")]
    pub(crate) epochs: f64,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u64).range(..=i64::MAX as u64), help_heading = "Batches")]
    pub(crate) seed: u64,

    /// Measure Recall@1 on this data set while training [default: --data, where one of the next two is given]
    #[arg(long, value_name = "PATH", help_heading = "Validation")]
    pub(crate) validation: Option<PathBuf>,
    /// Split of the validation set [default: protocol-val: its part val, else test, else what papers measure]
    #[arg(long, value_enum, value_name = "SPLIT", help_heading = "Validation")]
    pub(crate) validation_split: Option<Split>,
    /// Only these classes of it; where they are of --data and no --classes are given, training takes the others
    #[arg(long, value_name = "RANGES", value_parser = parse_ranges, help_heading = "Validation")]
    pub(crate) validation_classes: Option<Ranges>,
    /// Let classes and images be both trained and validated on
    #[arg(long, help_heading = "Validation")]
    pub(crate) allow_overlap: bool,
    /// Steps between validations; one comes before the first step and one after the last [default: a tenth of the run]
    #[arg(long, value_name = "STEPS", help_heading = "Validation")]
    pub(crate) validate_every: Option<u64>,
    /// Stop after this many validations without a better one
    #[arg(long, value_name = "N", help_heading = "Validation")]
    pub(crate) patience: Option<u32>,
    /// Which embedder the run ends with
    #[arg(long, value_enum, default_value_t = Keep::Last, help_heading = "Validation")]
    pub(crate) keep: Keep,

    /// Loss
    #[command(flatten)]
    pub(crate) loss: LossArgs,
    /// Spell the loss in standard operators, instead of this project's
    #[arg(long, help_heading = "Loss")]
    pub(crate) inline: bool,
    /// Where the proxies start
    #[arg(long, value_enum, default_value_t = FirstProxies::Random, help_heading = "Loss")]
    pub(crate) first_proxies: FirstProxies,
    /// Start from the last state of the run in this folder, which had the same model
    #[arg(long, value_name = "RUN", help_heading = "Loss")]
    pub(crate) init_from: Option<PathBuf>,
    /// What --init-from takes of it [default: embedder]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "PART,...",
        requires = "init_from",
        help_heading = "Loss"
    )]
    pub(crate) init: Vec<Part>,
    /// Optimiser
    #[command(flatten)]
    pub(crate) optimizer: OptimizerArgs,
    /// Precision
    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
    /// Learning rate
    #[command(flatten)]
    pub(crate) schedule: Schedule,
    /// Augmentation
    #[command(flatten)]
    pub(crate) augment: Augment,

    /// The tensor that is the embedding: an output, or any inner tensor
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(crate) output: Option<String>,
    /// libonnxruntime.so to use [default: ORT_DYLIB_PATH, the program's Python environment, beside the program, the active environment]
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// cpu, cuda or cuda:N; what cannot be had is an error
    #[arg(long, default_value = "cpu", help_heading = "Model")]
    pub(crate) device: Device,
    /// Threads of the runtime, and as many that make batches [default: all processors]
    #[arg(long, value_name = "N", alias = "workers", help_heading = "Model")]
    pub(crate) threads: Option<usize>,
    /// Write the run's numbers for TensorBoard into this folder, too
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub(crate) log_dir: Option<PathBuf>,
    /// Steps between checkpoints
    #[arg(long, value_name = "STEPS", default_value_t = 200, help_heading = "Model")]
    pub(crate) checkpoint_every: u64,
    /// Preprocessing manifest [default: the model's path with .toml, where that exists]
    #[arg(long, value_name = "FILE.toml", help_heading = "Model")]
    pub(crate) preprocess: Option<PathBuf>,
    /// Single steps of preprocessing
    #[command(flatten)]
    pub(crate) patch: Patch,
}

/// What a call of `train` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// A run.
    Train,
    /// Its first steps, of which nothing is kept.
    Rehearse,
    /// A learning rate.
    FindRate,
}

impl TrainArgs {
    pub(crate) fn aim(&self) -> Aim {
        match (self.dry_run, self.find_lr) {
            (true, _) => Aim::Rehearse,
            (_, true) => Aim::FindRate,
            _ => Aim::Train,
        }
    }
}

const EXPORT_EXAMPLES: &str = "Examples:
  pdloss export embedder.onnx loss.onnx --as op --classes 100
  pdloss export embedder.onnx loss.onnx --as inline --classes 100 --form inverse
  pdloss export backbone.onnx step.onnx --train --classes 100 --optimizer sgd \\
      --clip 1
  pdloss export backbone.onnx step.onnx --train --as inline --classes 100 \\
      --loss proxy-anchor --freeze 'layer1.*'
  pdloss export backbone.onnx step.onnx --train --as inline --classes 100 \\
      --precision f16 --device cuda

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

const TRAIN_EXAMPLES: &str = "Examples:
  pdloss train --model backbone.onnx --data CUB_200_2011 --out run \\
      --validation-split protocol
  pdloss train --model backbone.onnx --data photos/ --classes 1-100 --out run \\
      --flip --random-crop 0.3 --epochs 50
  pdloss train --model backbone.onnx --data photos/ --out run --loss d-loss \\
      --batch 64 --per-class 4 --steps 2000
  pdloss train --model resnet50.onnx --data CUB_200_2011 --out run --ema 0.999 \\
      --group 'layer4.*' lr=0.1 --dry-run
  pdloss train --model resnet50.onnx --data CUB_200_2011 --out run \\
      --batch 512 --accumulate 16 --loss multi-similarity
  pdloss train --model backbone.onnx --data photos/ --out run \\
      --batch 64 --per-class 4 --sampler hard-classes --hard-every 100
  pdloss train --model resnet50.onnx --data photos/ --out run \\
      --loss contrastive --memory-bank 8192 --memory-start 1000
  pdloss train --model vit.onnx --data CUB_200_2011 --out run \\
      --freeze 'blocks.*' --unfreeze-at 500 --layer-decay 0.75
  pdloss train --model resnet50.onnx --data CUB_200_2011 --out run \\
      --device cuda --precision f16
  pdloss train --model backbone.onnx --data photos/ --out rates --find-lr
  pdloss train --resume run
  pdloss-eval recall --model run/embedder.onnx --data CUB_200_2011

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const TRAIN_DETAILS: &str = "The run's folder holds embedder.onnx and embedder.toml (its preprocessing), checkpoint.safetensors, \
    metrics.csv (a row a step), validation.csv and run.toml (settings, digests, versions; also a file for --config). On the \
    processor, with the same settings, a run gives the same bits each time, also where it was killed and resumed.";

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> clap::Command {
        with_resume_alone(Command::augment_subcommands(clap::Command::new("pdloss")))
    }

    #[test]
    fn the_command_line_is_consistent() {
        program().debug_assert();
    }

    #[test]
    fn a_run_goes_on_with_its_own_settings() {
        let take = |more: &[&str]| {
            let words = ["pdloss", "train", "--resume", "run"].iter().chain(more);
            program().try_get_matches_from(words).map(|_| ()).map_err(|e| e.to_string())
        };
        take(&[]).unwrap();
        take(&["--onnxruntime", "library.so"]).unwrap();
        for more in [&["--steps", "3"][..], &["--flip"], &["--loss", "pd"], &["--mean", "0"], &["--seed", "0"]] {
            assert!(take(more).unwrap_err().contains("--resume"), "{more:?}");
        }
    }
}
