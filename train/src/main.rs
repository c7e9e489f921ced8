//! `pdloss`: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use pdloss_train::Cli;

fn main() -> ExitCode {
    let cli = Cli::of_command_line();
    match cli.run(&mut std::io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
