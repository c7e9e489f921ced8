//! `pdloss-eval`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use pdloss_embed::program;
use pdloss_eval::commands::Cli;
use pdloss_eval::process::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    program::run(Cli::try_parse(), |cli, stdout| cli.run(stdout))
}
