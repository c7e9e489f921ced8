//! Results as tables and files: what their columns are, their values and types, files of them, tables for people and papers.

mod beside;
mod column;
mod columns;
mod csv;
mod digits;
mod file;
mod filter;
mod frame;
pub(crate) mod parquet;
mod record;
pub mod reference;
pub mod schema;
mod sheet;
mod value;

pub(crate) use digits::in_column;
pub use file::Kind;
pub(crate) use file::{read_parquet, read_records, read_text};
pub use filter::Filter;
pub(crate) use filter::matches;
pub use record::Record;
pub(crate) use sheet::{Cell, Sheet, cells};
pub use value::Value;
