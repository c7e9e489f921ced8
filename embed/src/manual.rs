//! Completions for shells and manual pages, made from a program's own command line.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{Error, Result};
use crate::files;

/// Arguments of `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// Whose completions to print
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Folder to write the pages into; made where it is not there
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

impl CompletionsArgs {
    /// Writes the completions of this command line to `stdout`.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be written.
    pub fn write(&self, mut command: Command, stdout: &mut dyn Write) -> Result<()> {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        stdout.write_all(&script).map_err(|e| Error::write("standard output", e))
    }
}

impl ManArgs {
    /// Writes a page for this command line and one for each of its commands, and names them on `stdout`.
    ///
    /// # Errors
    /// [`Error::File`] where a page or the folder cannot be written.
    pub fn write(&self, command: Command, stdout: &mut dyn Write) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::write(&self.folder, e))?;
        let name = command.get_name().to_owned();
        // Headings, wrapping and the commands' full names are settled by `build`.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        self.page(&command, &name, stdout)?;
        for inner in command.get_subcommands() {
            self.page(inner, &format!("{name}-{}", inner.get_name()), stdout)?;
        }
        Ok(())
    }

    fn page(&self, command: &Command, name: &str, stdout: &mut dyn Write) -> Result<()> {
        let path = self.folder.join(format!("{name}.1"));
        let mut page = Vec::new();
        let manual = clap_mangen::Man::new(command.clone()).title(name);
        manual.render(&mut page).map_err(|e| Error::write(&path, e))?;
        files::write_atomically(&path, |file| file.write_all(&page))?;
        writeln!(stdout, "{}", path.display()).map_err(|e| Error::write("standard output", e))
    }
}
