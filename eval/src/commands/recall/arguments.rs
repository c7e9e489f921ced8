//! The arguments of `recall`.

use std::path::PathBuf;

use clap::Args;
use pdloss_embed::preprocess::Kind;
use pdloss_embed::program::Usual;
use pdloss_embed::retrieval::Metric;

use crate::commands::variants::Storage;
use crate::commands::{InputArgs, IntervalArgs};
use crate::index::FLAT;
use crate::runs::Layout;

const EXAMPLES: &str = "Examples:
  pdloss-eval recall --model model.onnx --data CUB_200_2011
  pdloss-eval recall --model model.onnx --data photos/ --preset imagenet \\
      --out result.json
  pdloss-eval recall --model model.onnx --data test.txt --label 2 --k 1,10
  pdloss-eval recall --model model.onnx --data sop.zip --format sop \\
      --save-embeddings sop.npy
  pdloss-eval recall --embeddings sop.npy --index IVF256,Flat
  pdloss-eval recall --embeddings cub.npy --matryoshka 64,128,256 \\
      --storage int8,binary
  pdloss-eval recall --embeddings huge.npy --memory 1024
  pdloss-eval recall --embeddings faces.npy \\
      --templates ijbc_face_tid_mid.txt --open-set \\
      --gallery ijbc_1N_gallery_G1.csv,ijbc_1N_gallery_G2.csv \\
      --probes ijbc_1N_probe_mixed.csv
  pdloss-eval recall --model model.onnx --data roxford5k/jpg \\
      --ground-truth gnd_roxford5k.pkl
  pdloss-eval recall --model model.onnx --data photos/ \\
      --corruptions gaussian-noise,jpeg --severities 1,3,5

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

/// One line a paragraph: help is wrapped where it is read.
const DETAILS: &str = "Ties are broken by the lower row. A query is left out of its own neighbours by its row, and copies of its image (files of \
    equal bytes) are left out too. Queries without another image of their class are left out and counted.";

pub(in crate::commands) const USUAL: Usual = Usual {
    command: "recall",
    calls: &["recall --model FILE.onnx --data PATH", "recall --embeddings FILE.npy"],
    flags: &["model", "data", "split", "label", "preset", "embeddings", "labels", "k", "out", "save-run", "json"],
};

/// What intervals are drawn of here.
const DRAWS: &str = "Confidence intervals from this many draws, 100 or more, of classes (of people, in identification), each with all its queries; \
    with --ground-truth of queries";

/// Arguments of `recall`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{DETAILS}"))]
#[command(mut_arg("bootstrap", |bootstrap| bootstrap.help(DRAWS)))]
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
    /// Count copies of an image (files of equal bytes) as neighbours of each other
    #[arg(long, help_heading = "Measure")]
    pub keep_copies: bool,
    /// Take and print every figure: also mAP and MRR, for which the whole gallery is sorted for every query, precision@K, mAP@K,
    /// nDCG@K, hits by class size, and how well k-means clusters agree with classes (NMI, adjusted Rand index)
    #[arg(long, help_heading = "Measure")]
    pub all_figures: bool,
    /// Identification in which some queries have no image of their class in the gallery, and should be turned away: DIR at FAR
    #[arg(long, help_heading = "Measure")]
    pub open_set: bool,
    /// Measure embeddings cut to their first D dimensions, too: a row each
    #[arg(long, value_delimiter = ',', value_name = "D,D,...", help_heading = "Measure", conflicts_with = "save_run")]
    pub matryoshka: Vec<usize>,
    /// Measure embeddings kept in fewer bytes, too, a row each: int8, binary, or pq and a number of bytes
    #[arg(long, value_delimiter = ',', value_name = "int8,binary,pqN", help_heading = "Measure", conflicts_with_all = ["save_run", "index"])]
    pub storage: Vec<Storage>,
    /// Leave the embeddings in their file and read it block by block: of their numbers no more than so many MiB are in memory at a
    /// time; done by itself, with 512, where there is no room for all of them
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Kept embeddings",
        conflicts_with_all = ["model", "data", "all_figures", "storage"])]
    pub memory: Option<u32>,
    /// Queries and gallery of Revisited Oxford or Paris, judged as easy, medium and hard: mAP, mP@1, 5 and 10 (gnd_roxford5k.pkl)
    #[arg(long, value_name = "FILE.pkl", help_heading = "Measure", conflicts_with_all = [
        "k", "keep_copies", "all_figures", "open_set", "matryoshka", "storage", "memory", "templates", "save_run", "split", "classes",
        "label", "root", "format", "skip_bad",
    ])]
    pub ground_truth: Option<PathBuf>,
    /// Measure the same images corrupted, too, as the model gets them: a row for each kind and severity
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,KIND", help_heading = "Robustness",
        conflicts_with_all = ["embeddings", "save_run", "templates", "ground_truth"])]
    pub corruptions: Vec<Kind>,
    /// Severities of the corruptions, 1 to 5
    #[arg(long, value_delimiter = ',', value_name = "N,N", default_value = "1,2,3,4,5", help_heading = "Robustness",
        requires = "corruptions", conflicts_with = "embeddings", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub severities: Vec<u8>,
    /// Seed of the noise
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Robustness",
        requires = "corruptions",
        conflicts_with = "embeddings"
    )]
    pub corruption_seed: u64,
    /// Search templates, each of several images: list of image, template and medium (IJB-C's ijbc_face_tid_mid.txt)
    #[arg(long, value_name = "FILE", help_heading = "Templates", requires_all = ["gallery", "probes"],
        conflicts_with_all = ["memory", "keep_copies"])]
    pub templates: Option<PathBuf>,
    /// The templates that are searched: CSV with TEMPLATE_ID and SUBJECT_ID (ijbc_1N_gallery_G1.csv); of several galleries, each is
    /// searched by itself: a row each
    #[arg(long, value_delimiter = ',', value_name = "FILE,FILE", help_heading = "Templates", requires = "templates")]
    pub gallery: Vec<PathBuf>,
    /// The templates that search them (ijbc_1N_probe_mixed.csv); with --open-set also those of people whom a gallery lacks
    #[arg(long, value_name = "FILE", help_heading = "Templates", requires = "templates")]
    pub probes: Option<PathBuf>,
    /// Intervals
    #[command(flatten)]
    pub intervals: IntervalArgs,
    /// Write the result: .csv, .json, .parquet or .md
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// Keep the run, query by query and with d' of all pairs, in a new folder: for report, compare and tabulate
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub save_run: Option<PathBuf>,
    /// Maps of the embeddings that the run keeps
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Layout::Pca, help_heading = "Results", requires = "save_run",
        conflicts_with = "memory")]
    pub map: Layout,
}
