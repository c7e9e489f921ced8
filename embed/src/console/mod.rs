//! What a person at a terminal reads: notes and progress on standard error, tables on standard output.

mod printable;
mod progress;
mod speech;
mod table;

use std::io::Write;

pub use printable::{in_short, printable, printable_line};
pub use progress::{Pace, Progress};
pub use speech::{Speech, inform, silence, wrote};
pub use table::{Align, Table, readable_width, width};

/// A line on standard error; control characters of names in it are escaped, and what is too long to be read is cut.
pub fn note(line: &str) {
    if speech::is_silent() {
        return;
    }
    // Nobody reading standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{}", printable(&in_short(line)));
}
