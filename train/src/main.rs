//! `pdloss`: ONNX graphs with PD-Loss in them, and training on them. Parse, plan, run, exit code.
//!
//! `train` flows one way:
//!
//! ```text
//! cli -> settings -> plan ─┬▶ images (augment) + sampler ─▶ loader ─▶ session ─▶ metrics, monitor
//!                          └▶ step (graph) ──────────────────────────▶ session ─▶ checkpoint, embedder, validation
//! ```
#![deny(unsafe_code)]

mod augment;
mod checkpoint;
mod cli;
mod export;
mod folder;
mod images;
mod loader;
mod metrics;
mod monitor;
mod plan;
mod random;
mod sampler;
mod schedule;
mod session;
mod settings;
mod objective;
mod tensor;
mod train;
mod validation;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use pdloss_eval::{Result, process};

fn main() -> ExitCode {
    // SAFETY: the first statement of main; no thread has been started yet.
    #[allow(unsafe_code)]
    unsafe {
        process::set_table_style();
    }
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Train(args) => train::run(plan::Plan::new(args)?, &mut std::io::stdout().lock()),
        Command::Export(args) => export::run(args),
    }
}
