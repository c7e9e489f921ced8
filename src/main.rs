//! `pdloss`: ONNX graphs with PD-Loss in them.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pdloss: {error:#}");
            ExitCode::FAILURE
        }
    }
}
