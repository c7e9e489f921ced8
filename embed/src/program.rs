//! What the programs' `main`s share: parse, run, exit code.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use crate::console::printable;
use crate::error::{Error, Result};

/// Runs a program on its command line as parsed: 0 done, 1 the run failed, 2 the command line was wrong. A reader of standard output that goes away before
/// the end is no failure; output that cannot be written for another reason is.
pub fn run<C>(
    parsed: std::result::Result<C, clap::Error>,
    command: impl FnOnce(C, &mut dyn Write) -> Result<()>,
) -> ExitCode {
    let cli = match parsed {
        Ok(cli) => cli,
        Err(asked) => {
            let printed = asked.print();
            // Help and version go to standard output.
            return match printed {
                Err(e) if !asked.use_stderr() && e.kind() != ErrorKind::BrokenPipe => {
                    failed(&Error::write("standard output", e))
                }
                _ => ExitCode::from(u8::try_from(asked.exit_code()).unwrap_or(2)),
            };
        }
    };
    let mut stdout = UntilClosed { inner: std::io::stdout().lock(), closed: false };
    let done = command(cli, &mut stdout);
    match done.and_then(|()| stdout.flush().map_err(|e| Error::write("standard output", e))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> ExitCode {
    // Nobody reading standard error changes nothing.
    let _ = writeln!(std::io::stderr(), "error: {}", printable(&error.to_string()));
    ExitCode::from(error.exit_code())
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
