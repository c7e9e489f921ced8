//! `pdloss-eval`: parse, plan, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pdloss_eval::cli::{Cli, Command};
use pdloss_eval::{Result, compare, inspect, page, process, recall, scores, tabulate, verify};

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
    let mut stdout = std::io::stdout().lock();
    match &cli.command {
        Command::Recall(args) => recall::Plan::new(args)?.run(&mut stdout).map(drop),
        Command::Verify(args) => verify::Plan::new(args)?.run(&mut stdout).map(drop),
        Command::Scores(args) => scores::run(args, &mut stdout).map(drop),
        Command::Report(args) => page::run(args),
        Command::Compare(args) => compare::run(args, &mut stdout).map(drop),
        Command::Tabulate(args) => tabulate::run(args, &mut stdout).map(drop),
        Command::Inspect(args) => inspect::run(args, &mut stdout).map(drop),
    }
}
