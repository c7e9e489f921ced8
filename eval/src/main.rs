//! `pdloss-eval`: parse, run, exit code.

use std::process::ExitCode;

use clap::CommandFactory;
use pdloss_embed::program::Program;
use pdloss_eval::commands::{Cli, USUAL};
use pdloss_eval::process::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    let elsewhere = &[("train", "pdloss"), ("export", "pdloss")];
    let program = Program { command: Cli::command(), usual: &[USUAL], flags_of: |table| table, elsewhere };
    program.run(|cli: Cli, stdout| cli.command.run(stdout))
}
