//! `pdloss`: ONNX graphs with PD-Loss in them, and training on them. Parse, plan, run, exit code.
#![deny(unsafe_code)]

mod cli;
mod export;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use pdloss_eval::Result;

fn main() -> ExitCode {
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
        Command::Export(arguments) => export::run(arguments),
    }
}
