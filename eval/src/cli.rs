//! The command line as typed; what it means is checked by the commands.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::dataset::{Format, Request, Split};
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

impl DataArgs {
    /// What is to be loaded from `path`.
    pub fn request(&self, path: &Path) -> Request {
        Request {
            path: path.into(),
            format: self.format,
            split: self.split,
            classes: self.classes.clone().map(|ranges| ranges.0).unwrap_or_default(),
            label: self.label.clone(),
        }
    }
}

/// Images and a model that embeds them, or the embeddings that were kept.
#[derive(Clone, Debug, Args)]
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
    /// Measure kept embeddings: .npy, .safetensors, or raw float32 with --dim (verify finds pairs by their names)
    #[arg(long, value_name = "FILE", help_heading = "Kept embeddings", conflicts_with = "data")]
    pub embeddings: Option<PathBuf>,
    /// Their labels, one a line or a CSV with a label column
    #[arg(long, value_name = "FILE", help_heading = "Kept embeddings", requires = "embeddings")]
    pub labels: Option<PathBuf>,
    /// Their dimension, for raw float32
    #[arg(long, value_name = "N", help_heading = "Kept embeddings", requires = "embeddings")]
    pub dim: Option<usize>,
}

/// Arguments of `recall`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RECALL_EXAMPLES)]
pub struct RecallArgs {
    /// What is embedded, or was
    #[command(flatten)]
    pub input: InputArgs,
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
    /// Keep the run, query by query and with d' of all pairs, in a new folder: for report, compare and tabulate
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub save_run: Option<PathBuf>,
}

/// How the embeddings of an image and of its mirror image become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flip {
    /// Their sum
    Add,
    /// One after the other
    Concat,
}

/// Where the figures of a verification go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct VerificationOut {
    /// Write the result: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the points of the DET and ROC curves: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE")]
    pub points: Option<PathBuf>,
    /// Draw ROC, DET and score distributions into this folder, as PNG and SVG
    #[arg(long, value_name = "DIR")]
    pub plot: Option<PathBuf>,
    /// Keep the run, with its curves and pairs, in a new folder: for report, compare and tabulate
    #[arg(long, value_name = "DIR")]
    pub save_run: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArgs {
    /// What is embedded, or was
    #[command(flatten)]
    pub input: InputArgs,
    /// List of pairs: LFW's, CPLFW's, or a CSV of path_a, path_b, same[, fold]; insightface's .bin goes to --data alone
    #[arg(long, value_name = "FILE", help_heading = "Pairs")]
    pub pairs: Option<PathBuf>,
    /// Every image against every other of a labelled set
    #[arg(long, help_heading = "Pairs", conflicts_with_all = ["pairs", "threshold_pairs", "skip_missing"])]
    pub all_pairs: bool,
    /// Choose the threshold on this list (LFW View 1: pairsDevTrain.txt) instead of on the other folds
    #[arg(long, value_name = "FILE", help_heading = "Pairs", requires = "pairs")]
    pub threshold_pairs: Option<PathBuf>,
    /// Go on without pairs whose images are not there, and count them; folds stay where they are
    #[arg(long, help_heading = "Pairs")]
    pub skip_missing: bool,
    /// Embed the mirror image too
    #[arg(long, value_enum, help_heading = "Pairs", conflicts_with = "embeddings")]
    pub flip: Option<Flip>,
    /// Align faces to the 112x112 ArcFace template by five landmarks: CSV of path and x1,y1,...,x5,y5
    #[arg(long, value_name = "FILE.csv", help_heading = "Pairs", conflicts_with = "embeddings")]
    pub align: Option<PathBuf>,
    /// Confidence intervals from this many draws of subjects
    #[arg(long, value_name = "N", help_heading = "Intervals")]
    pub bootstrap: Option<usize>,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Intervals", requires = "bootstrap")]
    pub seed: u64,
    /// Confidence of the intervals
    #[arg(long, value_name = "P", default_value_t = 0.95, help_heading = "Intervals", requires = "bootstrap")]
    pub confidence: f64,
    /// Results
    #[command(flatten)]
    pub results: VerificationOut,
}

/// Arguments of `scores`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SCORES_EXAMPLES)]
pub struct ScoresArgs {
    /// Scores of genuine pairs: text (one a line), .csv, .npy or .parquet
    #[arg(long, value_name = "FILE")]
    pub genuine: PathBuf,
    /// Scores of impostor pairs
    #[arg(long, value_name = "FILE")]
    pub impostor: PathBuf,
    /// Column of a .csv or .parquet: a name, or a number from 1 [default: score, or the only one]
    #[arg(long, value_name = "COLUMN")]
    pub column: Option<String>,
    /// The scores are distances: smaller is more alike
    #[arg(long)]
    pub distance: bool,
    /// Results
    #[command(flatten)]
    pub results: VerificationOut,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportArgs {
    /// Folders that --save-run or `pdloss train` wrote, or result files (.json, .csv, .parquet)
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "PAGE.html")]
    pub out: PathBuf,
    /// Folder or archive that the images are in now [default: the data that each run names]
    #[arg(long, value_name = "PATH")]
    pub images: Option<PathBuf>,
    /// Leave pictures out
    #[arg(long, conflicts_with = "images")]
    pub no_images: bool,
    /// Title of the page
    #[arg(long, value_name = "TEXT", default_value = "Embedder report")]
    pub title: String,
}

/// What is drawn at random when two runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Queries of recall, each by itself
    Query,
    /// Classes of recall, with all their queries: what is found for images of one class hangs together
    Class,
    /// Pairs of verification, each by itself
    Pair,
    /// Subjects of verification, with all pairs that they are on
    Subject,
}

/// Arguments of `compare`.
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub struct CompareArgs {
    /// A run's folder, written by --save-run
    #[arg(value_name = "A")]
    pub a: PathBuf,
    /// Another, on the same data
    #[arg(value_name = "B")]
    pub b: PathBuf,
    /// What is drawn [default: query for recall, subject for verification]
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// Draws of the test, and of the intervals
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub draws: usize,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Confidence of the intervals; a difference counts where its p is below 1 - P
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub confidence: f64,
    /// Write the table: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `tabulate`.
#[derive(Clone, Debug, Args)]
#[command(after_help = TABULATE_EXAMPLES)]
pub struct TabulateArgs {
    /// Result files (.json, .csv, .parquet), or folders that --save-run or `pdloss train` wrote
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// Only rows for which this holds: =, !=, <, <=, > or >= between a column and a value; * stands for any letters
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub filters: Vec<crate::tabulate::Filter>,
    /// Columns, in this order; * stands for any letters [default: every column for .csv, .json and .parquet; result,
    /// model, dataset and the measures for people]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Sort by this column, measures from the best on; -COLUMN turns it round
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// A column for each value of this one
    #[arg(long, value_name = "COLUMN")]
    pub pivot: Option<String>,
    /// What stands in the pivoted columns
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',', default_value = "recall@1", requires = "pivot")]
    pub measure: Vec<String>,
    /// What tells the rows of a pivoted table apart
    #[arg(long, value_name = "COLUMN", default_value = "model", requires = "pivot")]
    pub rows: String,
    /// Digits after the point, for people
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub digits: usize,
    /// Write the table: .csv, .json, .parquet, or with the best in bold .md or .tex
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
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

const VERIFY_EXAMPLES: &str = "Examples:
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairs.txt --preset face-112
  pdloss-eval verify --model face.onnx --data cplfw.zip --pairs pairs_CPLFW.txt --flip add --bootstrap 1000
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairsDevTest.txt --threshold-pairs pairsDevTrain.txt
  pdloss-eval verify --model face.onnx --data lfw.bin --preset face-112 --plot pictures/
  pdloss-eval verify --model model.onnx --data photos/ --all-pairs --out result.json
  pdloss-eval verify --embeddings faces.npy --all-pairs

Scores are cosines. A pair is accepted at score >= threshold; error rates are taken at observed scores. EER is the mean
of FMR and FNMR where they are closest. FNMR@FMR takes the smallest threshold whose FMR does not exceed the target, and
has no value below 3 / impostor pairs. Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

const SCORES_EXAMPLES: &str = "Examples:
  pdloss-eval scores --genuine genuine.txt --impostor impostor.txt --plot pictures/
  pdloss-eval scores --genuine same.csv --impostor different.csv --column distance --distance";

const REPORT_EXAMPLES: &str = "Examples:
  pdloss-eval recall --model model.onnx --data CUB_200_2011 --save-run runs/cub
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairs.txt --save-run runs/lfw
  pdloss-eval report runs/cub runs/lfw --out report.html

The page is one file that needs no network. Results that are files show in the table alone; folders bring their curves,
galleries and mistakes.";

const COMPARE_EXAMPLES: &str = "Examples:
  pdloss-eval compare runs/a runs/b
  pdloss-eval compare runs/a runs/b --by class --out difference.md

Paired randomisation test (models exchanged query by query, class by class, or pair by pair) and percentile bootstrap. Of
subjects, on whom pairs depend two at a time, the p is read off the bootstrap's draws. Where several figures are tested,
p_holm is p after Holm's correction, and the verdict goes by it. d' is compared on scores brought to one scale.";

const TABULATE_EXAMPLES: &str = "Examples:
  pdloss-eval tabulate results/*.json --sort recall@1
  pdloss-eval tabulate runs/* --where dataset=cub* --where 'recall@1>0.5' --out table.md
  pdloss-eval tabulate runs/* --pivot dataset --measure recall@1,map@r --out table.tex

The columns 'result' (which file), 'model' and 'dataset' (last part of the data's path) are made where they lack.
LaTeX wants \\usepackage{booktabs}.";

const INSPECT_EXAMPLES: &str = "Examples:
  pdloss-eval inspect --model model.onnx
  pdloss-eval inspect --model model.onnx --image photo.jpg --output /pool/out --preset imagenet";

/// Class numbers that `1-10,15` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(pub Vec<usize>);

/// Understands `1-10,15`.
///
/// # Errors
/// A sentence that says what is wanted.
pub fn parse_ranges(text: &str) -> Result<Ranges, String> {
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
