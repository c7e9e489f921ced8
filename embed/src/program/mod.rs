//! What the programs' `main`s share: parse, run, exit code; help, configuration files, completions and manual pages.

mod config;
mod help;
mod hints;
mod meeting;
mod numbers;
mod pages;
mod speech;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};
use std::time::Duration;

use clap::{ArgMatches, Command, FromArgMatches};

use crate::console::{in_short, note, printable, silence};
use crate::error::{Error, Result};
use crate::ranks::{World, world};

pub use help::Usual;

/// A program as its command line has it.
#[derive(Debug)]
pub struct Program {
    /// Commands and their flags.
    pub command: Command,
    /// The flags in the short help of each command.
    pub usual: &'static [&'static [Usual]],
    /// What a file of `--config` says, by the names of flags: for files that are no list of flags, such as a run's own.
    pub flags_of: fn(toml::Table) -> toml::Table,
    /// Commands that are looked for here, and the program that has them.
    pub elsewhere: &'static [(&'static str, &'static str)],
    /// Lines that `--version` says, too.
    pub made_with: Vec<String>,
}

/// Values of the image flag that was called `--color` once; it is `--channels` now.
const CHANNELS: [&str; 3] = ["rgb", "bgr", "gray"];

impl Program {
    /// Runs the program on its command line: 0 done, 1 the run failed, 2 the command line was wrong. A reader of standard output
    /// that goes away before the end is no failure; output that cannot be written for another reason is.
    ///
    /// Of several ranks the first one speaks and writes for all; what they all end with, they end with together, and an error of
    /// one of them ends the others.
    pub fn run<C: FromArgMatches>(self, command: impl FnOnce(C, &mut dyn Write) -> Result<()>) -> ExitCode {
        // A limit on the size of files (`ulimit -f`) is then an error of writing, as a full disk is, and no end without a word.
        #[cfg(unix)]
        drop(signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false))));
        let joined = pdloss_ranks::join();
        let world = world();
        if !world.is_first() {
            silence();
        }
        let code = if world.is_alone() {
            self.answer(joined, command)
        } else {
            // Were a rank to end by itself, the others would wait for it.
            std::panic::catch_unwind(AssertUnwindSafe(|| self.answer(joined, command))).unwrap_or_else(|_| {
                world.abort(PANICKED);
                PANICKED
            })
        };
        world.finish();
        ExitCode::from(code)
    }

    fn answer<C: FromArgMatches>(
        self,
        joined: pdloss_ranks::Result<&World>,
        command: impl FnOnce(C, &mut dyn Write) -> Result<()>,
    ) -> u8 {
        let mut stdout = UntilClosed { inner: std::io::stdout().lock(), closed: !world().is_first() };
        let asked = self.matches(std::env::args_os().collect());
        let (name, version) = (self.command.get_name(), self.command.get_version().unwrap_or_default());
        if let Err(error) = meeting::alike(name, version, &asked) {
            return failed(&error);
        }
        let done = match asked {
            Ok(Asked::Run(matches)) => match C::from_arg_matches(&matches) {
                Ok(cli) => match joined.map_err(|e| Error::Measure(e.to_string())).and_then(|_| together(&matches)) {
                    Ok(()) => command(cli, &mut stdout),
                    Err(refused) => Err(refused),
                },
                Err(wrong) => return printed(&wrong),
            },
            Ok(Asked::Completions(shell)) => pages::completions(shell, self.whole(), &mut stdout),
            Ok(Asked::Manual(_)) if !world().is_first() => Ok(()),
            Ok(Asked::Manual(folder)) => pages::manual(self.whole(), &folder),
            Ok(Asked::Config(text)) => {
                stdout.write_all(text.as_bytes()).map_err(|e| Error::write("standard output", e))
            }
            Err(Refused::Parsing(asked)) => return printed(&asked),
            Err(Refused::Config(error)) => Err(error),
        };
        match done.and_then(|()| stdout.flush().map_err(|e| Error::write("standard output", e))) {
            Ok(()) => 0,
            Err(error) => failed(&error),
        }
    }

    /// The whole command line, with what every program has.
    fn whole(&self) -> Command {
        let usual: Vec<Usual> = self.usual.concat();
        let program = numbers::taken_below_zero(with_parts(self.command.clone(), &self.made_with));
        let program = speech::add(program.mut_subcommands(config::add));
        help::in_two_lengths(pages::add(program), &usual)
    }

    fn matches(&self, words: Vec<OsString>) -> std::result::Result<Asked, Refused> {
        let mut program = self.whole();
        let words = config::expand(&program, words, self.flags_of).map_err(Refused::Config)?;
        let words = with_channels(words);
        let texts: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        program = program.color(speech::colors(&texts));
        if config::is_asked_for(&texts) {
            program = config::without_required(program);
        }
        let matches = program.try_get_matches_from_mut(&words).map_err(|mut error| {
            hints::add(&mut error, &program, &texts, self.elsewhere);
            Refused::Parsing(numbers::explained(error, &program, &texts))
        })?;
        speech::of(&matches).set();
        Ok(match matches.subcommand() {
            Some(("completions", of)) => match of.get_one("shell") {
                Some(shell) => Asked::Completions(*shell),
                None => Asked::Run(matches),
            },
            Some(("man", of)) => match of.get_one::<PathBuf>("folder") {
                Some(folder) => Asked::Manual(folder.clone()),
                None => Asked::Run(matches),
            },
            Some((_, of)) if of.try_get_one("print-config").is_ok_and(|given| given == Some(&true)) => {
                Asked::Config(config::text(&program, &words, of))
            }
            _ => Asked::Run(matches),
        })
    }
}

/// What a command line asks for.
enum Asked {
    Run(ArgMatches),
    Completions(clap_complete::Shell),
    Manual(PathBuf),
    Config(String),
}

/// Why a command line asks for nothing.
enum Refused {
    Parsing(clap::Error),
    Config(Error),
}

/// `--color bgr` as it is spelt now, for those who know it as it was.
fn with_channels(words: Vec<OsString>) -> Vec<OsString> {
    let mut words = words;
    for at in 0..words.len() {
        let (word, next) = (words[at].to_string_lossy(), words.get(at + 1).map(|next| next.to_string_lossy()));
        let (value, is_one_word) = match word.strip_prefix("--color") {
            Some("") => (next.unwrap_or_default().into_owned(), false),
            Some(rest) => (rest.trim_start_matches('=').to_owned(), true),
            None if word == "--" => break,
            None => continue,
        };
        if CHANNELS.contains(&value.as_str()) {
            note(&format!("--color {value} is --channels {value} now; the next release does not know it any more"));
            words[at] = if is_one_word { format!("--channels={value}").into() } else { "--channels".into() };
        }
    }
    words
}

/// What a rank that panicked ends with.
const PANICKED: u8 = 101;

/// The commands that several ranks run together.
const TOGETHER: [&str; 3] = ["train", "recall", "verify"];

/// Refuses a command that only one process can run, where there are more.
fn together(matches: &ArgMatches) -> Result<()> {
    let (name, ranks) = (matches.subcommand_name().unwrap_or_default(), world().size());
    if ranks == 1 || TOGETHER.contains(&name) {
        return Ok(());
    }
    let several = TOGETHER.join(", ");
    Err(Error::Usage(format!("{name} runs as one process, and {ranks} were started; several run {several} together")))
}

/// `--version` with what the program is made with, and a line about MPI; `-V` stays one line.
fn with_parts(program: Command, made_with: &[String]) -> Command {
    let version = program.get_version().unwrap_or_default();
    let mpi = match pdloss_ranks::library() {
        Some(library) => format!("with MPI: {library}"),
        None => "without MPI (the feature mpi adds it)".to_owned(),
    };
    let lines: Vec<&str> =
        [version].into_iter().chain(made_with.iter().map(String::as_str)).chain([mpi.as_str()]).collect();
    let text: &'static str = Box::leak(lines.join("\n").into_boxed_str());
    program.long_version(text)
}

/// Prints what clap has to say; help and version go to standard output.
fn printed(asked: &clap::Error) -> u8 {
    if !world().is_first() {
        return u8::try_from(asked.exit_code()).unwrap_or(2);
    }
    match asked.print() {
        Err(e) if !asked.use_stderr() && e.kind() != ErrorKind::BrokenPipe => {
            failed(&Error::write("standard output", e))
        }
        _ => u8::try_from(asked.exit_code()).unwrap_or(2),
    }
}

/// How long a rank waits with an error of its own, which another one may have, too, and say first.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says what went wrong, once for all ranks where all know of it; where only this one does, it ends the others.
fn failed(error: &Error) -> u8 {
    let world = world();
    let is_ours = !world.is_alone() && !matches!(error, Error::Ranks { .. });
    let who = if is_ours { format!("rank {} on {}: ", world.rank(), world.host()) } else { String::new() };
    if is_ours && !world.is_first() {
        std::thread::sleep(PATIENCE);
    }
    if is_ours || world.is_first() {
        // Nobody reading standard error changes nothing.
        let _ = writeln!(std::io::stderr(), "error: {who}{}", printable(&in_short(&error.to_string())));
    }
    if is_ours {
        world.abort(error.exit_code());
    }
    error.exit_code()
}

/// Writes until its reader goes away, and takes everything after that without a word: `| head` ends no run.
struct UntilClosed<W> {
    inner: W,
    closed: bool,
}

impl<W: Write> UntilClosed<W> {
    fn unless_closed<T>(&mut self, instead: T, write: impl FnOnce(&mut W) -> std::io::Result<T>) -> std::io::Result<T> {
        if self.closed {
            return Ok(instead);
        }
        match write(&mut self.inner) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(instead)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.unless_closed(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_name_of_the_image_flag_is_understood() {
        let of = |words: &[&str]| with_channels(words.iter().map(OsString::from).collect());
        assert_eq!(of(&["p", "run", "--color", "bgr"]), ["p", "run", "--channels", "bgr"]);
        assert_eq!(of(&["p", "run", "--color=gray"]), ["p", "run", "--channels=gray"]);
        assert_eq!(of(&["p", "run", "--color", "never"]), ["p", "run", "--color", "never"]);
        assert_eq!(of(&["p", "--", "--color=gray"]), ["p", "--", "--color=gray"]);
    }

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_went_away_is_no_failure() {
        let mut closed = UntilClosed { inner: Fails(ErrorKind::BrokenPipe), closed: false };
        assert!(writeln!(closed, "words").is_ok() && closed.flush().is_ok() && closed.closed);
        let mut full = UntilClosed { inner: Fails(ErrorKind::StorageFull), closed: false };
        assert_eq!(writeln!(full, "words").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
