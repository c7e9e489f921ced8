//! What a shell and `man` want to know of a program: completions and manual pages, made from its command line.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, Command, value_parser};
use clap_complete::Shell;

use crate::error::{Error, Result};
use crate::files::write_atomically;

/// Adds the two commands.
pub(super) fn add(program: Command) -> Command {
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell)).value_name("SHELL");
    let folder = Arg::new("folder").required(true).value_parser(value_parser!(PathBuf)).value_name("DIR");
    program
        .subcommand(
            Command::new("completions")
                .about("Print completions for a shell")
                .arg(shell.help("bash, elvish, fish, powershell or zsh")),
        )
        .subcommand(Command::new("man").about("Write manual pages into a folder").arg(folder.help("The folder")))
}

/// Prints completions.
pub(super) fn completions(shell: Shell, mut program: Command, out: &mut dyn Write) -> Result<()> {
    let mut text = Vec::new();
    let name = program.get_name().to_owned();
    clap_complete::generate(shell, &mut program, name, &mut text);
    out.write_all(&text).map_err(|e| Error::write("standard output", e))
}

/// Writes a page for the program, `pdloss.1`, and one for each command, `pdloss-train.1`.
pub(super) fn manual(program: Command, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::write(folder, e))?;
    let mut program = program.disable_help_subcommand(true);
    program.build();
    for command in program.get_subcommands().chain([&program]) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let mut page = Vec::new();
        let path = folder.join(format!("{name}.1"));
        clap_mangen::Man::new(command.clone()).render(&mut page).map_err(|e| Error::write(&path, e))?;
        write_atomically(&path, |file| file.write_all(&page))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page_and_its_completions() {
        let program = || add(Command::new("p").subcommand(Command::new("run").arg(Arg::new("data").long("data"))));
        let folder = tempfile::tempdir().unwrap();
        manual(program(), folder.path()).unwrap();
        assert!(std::fs::read_to_string(folder.path().join("p-run.1")).unwrap().contains("data"));
        assert!(std::fs::read_to_string(folder.path().join("p.1")).unwrap().contains("run"));
        let mut text = Vec::new();
        completions(Shell::Bash, program(), &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("--data"));
    }
}
