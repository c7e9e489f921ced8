//! What `recall` and `verify` take alike: images and a model that embeds them, or the embeddings that were kept.

use std::path::PathBuf;

use clap::Args;
use pdloss_embed::arguments::{DataArgs, ModelArgs};

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
