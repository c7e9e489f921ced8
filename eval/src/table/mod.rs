//! Results as tables and files: what their columns are, their values and types, files of them, tables for people and papers.

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

pub use file::Kind;
pub(crate) use file::{read_bytes, read_parquet, read_records};
pub use filter::Filter;
pub(crate) use filter::matches;
pub use record::Record;
pub(crate) use sheet::{Cell, Sheet, cells};
pub use value::Value;

/// The text of a file, without a byte order mark.
///
/// # Errors
/// A sentence that names the encoding where it is not UTF-8.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is UTF-16; wanted UTF-8 (save it as UTF-8)".into());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("is not UTF-8 from byte {} on", e.valid_up_to()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
