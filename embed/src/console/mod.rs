//! What a person at a terminal reads: notes and progress on standard error, tables on standard output.

mod progress;
mod table;

use std::io::Write;

pub use progress::{Pace, Progress};
pub use table::{Align, Table, width};

/// A line on standard error.
pub fn note(line: &str) {
    // Nobody reading standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}
