//! What several tests use.

use std::process::{Command, Output};

#[path = "../../../embed/tests/it/tools.rs"]
mod files;

pub(crate) use files::*;

/// The tool with these arguments, run to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pdloss-eval")).args(arguments).output().expect("the tool starts")
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the tool, which must fail with this exit code and say each of these on standard error, and nothing of a panic.
pub(crate) fn fails(code: i32, arguments: &[&str], says: &[&str]) {
    let output = run(arguments);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert!(!error.contains("panicked"), "{error}");
    for words in says {
        assert!(error.contains(words), "{arguments:?}: wanted '{words}' in: {error}");
    }
}
