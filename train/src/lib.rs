//! Training as a library, and ONNX graphs with PD-Loss in them. The binary `pdloss` is a thin shell over [`Cli`].
//!
//! `train` flows one way:
//!
//! ```text
//! cli -> settings -> plan ─┬▶ images (augment) + sampler ─▶ loader ─▶ session ─▶ metrics, monitor
//!                          └▶ objective (loss, optimizer) ────────────────▶ session ─▶ checkpoint, probe, embedder, validation
//! ```
#![deny(unsafe_code)]

mod augment;
mod backbone;
mod checkpoint;
mod cli;
mod export;
mod folder;
mod images;
mod loader;
mod loss;
mod metrics;
mod monitor;
mod objective;
mod optimizer;
mod parts;
mod plan;
mod probe;
mod proof;
mod random;
mod sampler;
mod schedule;
mod session;
mod settings;
mod summary;
mod tensor;
mod train;
mod validation;

use std::io::Write;

pub use cli::Cli;
use cli::Command;
use pdloss_embed::Result;

impl Cli {
    /// Runs the command; results go to `stdout`.
    ///
    /// # Errors
    /// Whatever stops the command.
    pub fn run(&self, stdout: &mut dyn Write) -> Result<()> {
        match &self.command {
            Command::Train(args) => train::run(plan::Plan::new(args)?, stdout),
            Command::Export(args) => export::run(args),
        }
    }
}
