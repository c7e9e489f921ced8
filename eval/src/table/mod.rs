//! Results as tables and files.

pub(crate) mod columns;
mod file;
mod filter;
mod record;
mod typeset;

pub use file::Kind;
pub(crate) use file::read_records;
pub use filter::Filter;
pub(crate) use filter::matches;
pub use record::{Record, Value};
pub(crate) use typeset::{Cell, Sheet};
