//! Training as a library, and ONNX graphs with PD-Loss in them. The program `pdloss` is a thin shell over [`Command`]
//! and, where the feature `program` is on, over the commands that measure.
//!
//! `train` flows one way:
//!
//! ```text
//! cli -> settings -> plan ─┬▶ images (augment) + sampler ─▶ loader ─▶ trainer ─▶ metrics, monitor
//!                          └▶ objective (loss, optimizer) ────────────────▶ trainer ─▶ checkpoint, probe, embedder, validation
//! ```
//!
//! The repository's pages: `docs/tutorial.md` is the whole way from a PyTorch model to a page of results, `docs/training.md` the
//! choice of loss, batch and learning rate, `docs/step-graph.md` the graph that trains, `docs/cli.md` every flag.
#![deny(unsafe_code)]

mod augment;
mod backbone;
mod batches;
mod checkpoint;
mod cli;
mod color;
mod config;
mod events;
mod export;
mod find;
mod first;
mod folder;
mod going_on;
mod images;
mod in_parts;
mod init;
mod loader;
mod loss;
mod metrics;
mod mining;
mod monitor;
mod neighbours;
mod objective;
mod optimizer;
mod overlap;
mod parts;
mod past;
mod picture;
mod plan;
mod precision;
mod probe;
mod proof;
mod providers;
mod rand_augment;
mod random;
mod record;
mod rehearsal;
mod sampler;
mod sampling;
mod schedule;
mod session;
mod settings;
mod shards;
mod steps;
mod summary;
mod tensor;
mod train;
mod trainer;
mod validation;

use std::io::Write;

pub use cli::{Command, ExportArgs, TrainArgs, USUAL, with_resume_alone};
pub use config::flags_of;
use pdloss_embed::Result;
use pdloss_embed::ranks::agree;

impl Command {
    /// Runs the command; results go to `stdout`.
    ///
    /// # Errors
    /// Whatever stops the command.
    pub fn run(&self, stdout: &mut dyn Write) -> Result<()> {
        match self {
            Self::Train(args) => train::run(agree(plan::Plan::new(args))?, args.aim(), stdout),
            Self::Export(args) => export::run(args),
        }
    }
}
