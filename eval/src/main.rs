//! `pdloss-eval`: parse, run, exit code.

use std::process::ExitCode;

use pdloss_embed::program;
use pdloss_eval::commands::Cli;
use pdloss_eval::process::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    program::run(|cli: Cli, stdout| cli.run(stdout))
}
