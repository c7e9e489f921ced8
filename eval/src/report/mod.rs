//! Results as tables and files.

mod file;
mod plot;
mod record;

pub(crate) use file::folder_exists;
pub use file::{Kind, write_atomically};
pub use plot::Pictures;
pub use record::{Record, Value};
