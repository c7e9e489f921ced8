//! Results as tables and files.

mod file;
mod record;

pub(crate) use file::folder_exists;
pub use file::{Kind, write_atomically};
pub use record::{Record, Value};
