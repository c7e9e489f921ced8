//! Results as tables and files.

mod file;
mod histogram;
mod plot;
mod record;
pub(crate) mod scale;
mod typeset;

pub use file::{Kind, write_atomically};
pub(crate) use file::{folder_exists, read_records};
pub(crate) use histogram::histogram;
pub use plot::Pictures;
pub use record::{Record, Value};
pub(crate) use typeset::{Cell, Sheet};
