//! What `verify` is told on the command line.

use std::path::PathBuf;

use clap::Args;
use pdloss_embed::program::Usual;

use crate::commands::assess::FigureArgs;
use crate::commands::groups::GroupArgs;
use crate::commands::outcome::VerificationOut;
use crate::commands::{InputArgs, IntervalArgs};

const EXAMPLES: &str = "Examples:
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairs.txt \\
      --preset face-112
  pdloss-eval verify --model face.onnx --data cplfw.zip \\
      --pairs pairs_CPLFW.txt --flip add --bootstrap 1000
  pdloss-eval verify --model face.onnx --data lfw/ --pairs pairsDevTest.txt \\
      --threshold-pairs pairsDevTrain.txt
  pdloss-eval verify --model face.onnx --data lfw.bin --preset face-112 \\
      --plot pictures/
  pdloss-eval verify --model model.onnx --data photos/ --all-pairs \\
      --out result.json
  pdloss-eval verify --embeddings faces.npy --all-pairs
  pdloss-eval verify --embeddings faces.npy \\
      --templates ijbc_face_tid_mid.txt \\
      --pairs ijbc_template_pair_label.txt

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "Scores are cosines. A pair is accepted at score >= threshold; error rates are taken at observed scores. EER is the mean \
    of FMR and FNMR where they are closest. FNMR@FMR takes the smallest threshold whose FMR does not exceed the target, and \
    has no value below 3 / impostor pairs.";

/// How the embeddings of an image and of its mirror image become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flip {
    /// Their sum
    Add,
    /// One after the other
    Concat,
}

pub(in crate::commands) const USUAL: Usual = Usual {
    command: "verify",
    calls: &["verify --model FILE.onnx --data PATH --pairs FILE", "verify --model FILE.onnx --data PATH --all-pairs"],
    flags: &[
        "model",
        "data",
        "pairs",
        "all-pairs",
        "preset",
        "flip",
        "align",
        "bootstrap",
        "out",
        "plot",
        "save-run",
        "json",
    ],
};

/// Arguments of `verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
pub struct VerifyArgs {
    /// What is embedded, or was
    #[command(flatten)]
    pub input: InputArgs,
    /// List of pairs: LFW's, CPLFW's, or a CSV of path_a, path_b, same[, fold]; insightface's .bin goes to --data alone
    #[arg(long, value_name = "FILE", help_heading = "Pairs")]
    pub pairs: Option<PathBuf>,
    /// The pairs are of templates, each of several images: list of image, template and medium (IJB-C's ijbc_face_tid_mid.txt); --pairs
    /// then has two templates and 1 or 0 a line (ijbc_template_pair_label.txt)
    #[arg(long, value_name = "FILE", help_heading = "Pairs", requires = "pairs",
        conflicts_with_all = ["all_pairs", "threshold_pairs", "skip_missing", "groups", "align"])]
    pub templates: Option<PathBuf>,
    /// Every image against every other of a labelled set
    #[arg(long, help_heading = "Pairs", conflicts_with_all = ["pairs", "threshold_pairs", "skip_missing"])]
    pub all_pairs: bool,
    /// Pairs that --all-pairs may compare; beyond them nothing is embedded [default: those of 200000 images]
    #[arg(long, value_name = "N", help_heading = "Pairs", requires = "all_pairs", conflicts_with = "pairs")]
    pub max_pairs: Option<u64>,
    /// Let copies of an image (files of equal bytes) make pairs with each other
    #[arg(long, help_heading = "Pairs", requires = "all_pairs", conflicts_with = "pairs")]
    pub keep_copies: bool,
    /// Choose the threshold on this list (LFW View 1: pairsDevTrain.txt) instead of on the other folds
    #[arg(long, value_name = "FILE", help_heading = "Pairs", requires = "pairs")]
    pub threshold_pairs: Option<PathBuf>,
    /// Go on without pairs whose images are not there, and count them; folds stay where they are
    #[arg(long, help_heading = "Pairs", requires = "pairs")]
    pub skip_missing: bool,
    /// Embed the mirror image too
    #[arg(long, value_enum, help_heading = "Pairs", conflicts_with = "embeddings")]
    pub flip: Option<Flip>,
    /// Align faces to the 112x112 ArcFace template by five landmarks: CSV of path and x1,y1,...,x5,y5
    #[arg(long, value_name = "FILE.csv", help_heading = "Pairs", conflicts_with = "embeddings")]
    pub align: Option<PathBuf>,
    /// Intervals
    #[command(flatten)]
    pub intervals: IntervalArgs,
    /// Groups
    #[command(flatten)]
    pub groups: GroupArgs,
    /// Figures
    #[command(flatten)]
    pub figures: FigureArgs,
    /// Results
    #[command(flatten)]
    pub results: VerificationOut,
}
