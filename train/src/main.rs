//! `pdloss`: parse, run, exit code.

use std::process::ExitCode;

use pdloss_embed::program;
use pdloss_train::Cli;

fn main() -> ExitCode {
    program::run(|cli: Cli, stdout| cli.run(stdout))
}
