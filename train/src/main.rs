//! `pdloss`: parse, run, exit code.

use std::process::ExitCode;

use pdloss_embed::program;
use pdloss_train::Cli;

fn main() -> ExitCode {
    program::run(Cli::of_command_line(), |cli, stdout| cli.run(stdout))
}
