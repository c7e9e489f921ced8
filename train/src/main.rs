//! `pdloss`: the front door. Training, and all that `pdloss-eval` measures; called by that name it is that program, so that what is
//! installed is one file under two names.

use std::path::Path;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::{CommandFactory, Parser, Subcommand};
use pdloss_embed::program::Program;
use pdloss_eval::commands;
use pdloss_eval::process::Allocator;

/// Runs before any library's own start.
// SAFETY: entries of this section are pointers to functions without arguments or results that matter, which this is; it
// needs nothing that a library's start provides.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".preinit_array")]
static CHECK: extern "C" fn() = pdloss_eval::process::check_address_space;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Trains embedders with PD-Loss and other losses, and measures any exported embedder.
#[derive(Debug, Parser)]
#[command(name = "pdloss", version, max_term_width = 110)]
struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Train(pdloss_train::Command),
    #[command(flatten)]
    Measure(commands::Command),
}

/// The same help, but that the program is this one.
fn under_this_name(command: clap::Command) -> clap::Command {
    let renamed = |text: Option<&StyledStr>| text.map(|text| text.to_string().replace("pdloss-eval ", "pdloss "));
    let (short, long) = (renamed(command.get_after_help()), renamed(command.get_after_long_help()));
    let command = short.map_or(command.clone(), |text| command.after_help(text));
    long.map_or(command.clone(), |text| command.after_long_help(text))
}

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_stem().is_some_and(|name| name == "pdloss-eval") {
        return commands::main();
    }
    let program = Program {
        command: pdloss_train::with_resume_alone(Cli::command().mut_subcommands(under_this_name)),
        usual: &[pdloss_train::USUAL, commands::USUAL],
        flags_of: pdloss_train::flags_of,
        elsewhere: &[],
        made_with: commands::made_with(),
    };
    program.run(|cli: Cli, stdout| match cli.command {
        Command::Train(command) => command.run(stdout),
        Command::Measure(command) => command.run(stdout),
    })
}
