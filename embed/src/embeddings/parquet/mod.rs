//! Parquet: embeddings in a column of lists or in a column a dimension, with labels, names, roles and cameras in columns beside them.

mod layout;
mod rows;
mod words;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::Row;
use super::matrix::Stored;
use crate::error::{Error, Result};
use crate::files::open_file;
use crate::guard::{READER, guarded};
use layout::{Layout, Leaf};
pub(super) use rows::Rows;

/// Numbers, or bytes of words, that a byte of a file stands for at most; a file that claims more is damaged. Values that repeat take
/// less than a bit, but embeddings do not repeat so.
const MOST_A_BYTE: u64 = 64;
/// The stack of the thread that reads a footer: for each byte of it, of which a column inside another takes seven at least, ...
const STACK_A_BYTE: usize = 512;
/// ... and beside that.
const STACK: usize = 2 << 20;
/// What any file may claim.
const ROOM: u64 = 1 << 20;

/// A file that is open, and which of its columns hold what.
pub(super) struct Kept {
    file: SerializedFileReader<File>,
    layout: Layout,
    /// What it may claim: see [`MOST_A_BYTE`].
    most: u64,
}

/// Reads the footer, which says what the columns are: on a thread of its own, for the library goes down into columns inside columns
/// by calling itself, and a footer may be made of nothing else.
pub(super) fn open(path: &Path) -> Result<Kept> {
    let failed = |e: std::io::Error| Error::read(path, e);
    let mut file = open_file(path)?;
    let size = file.metadata().map_err(failed)?.len();
    let footer = length_of_footer(&mut file, size).map_err(failed)?;
    let most = size.saturating_mul(MOST_A_BYTE).saturating_add(ROOM);
    let own = path.to_path_buf();
    let read = move || {
        guarded(&own, || {
            let file = SerializedFileReader::new(file).map_err(|e| unreadable(&own, &e))?;
            layout::check_depth(&own, file.metadata())?;
            let holds_only = |leaf: &Leaf, is_such| words::holds_only(&own, &file, leaf, most, is_such);
            let layout = Layout::of(&own, file.metadata(), most, &holds_only)?;
            Ok(Kept { file, layout, most })
        })
    };
    let stack = STACK.saturating_add(footer.saturating_mul(STACK_A_BYTE));
    let thread = std::thread::Builder::new().name(READER.into()).stack_size(stack).spawn(read).map_err(failed)?;
    thread.join().unwrap_or_else(|_| Err(unreadable(path, &"its footer is damaged")))
}

/// What the end of the file says of the length of its footer; nothing where it is no parquet file.
fn length_of_footer(file: &mut File, size: u64) -> std::io::Result<usize> {
    let mut end = [0; 8];
    let Some(place) = size.checked_sub(end.len() as u64) else { return Ok(0) };
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, ..] = end;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    Ok(usize::try_from(length.min(size)).unwrap_or(0))
}

impl Kept {
    /// Whether labels stand in a column of the file.
    pub(super) fn has_labels(&self) -> bool {
        self.layout.label.is_some()
    }

    /// What was chosen among the columns: a sentence each.
    pub(super) fn notes(&self) -> &[String] {
        &self.layout.notes
    }

    /// Bytes of the numbers as float32.
    pub(super) fn bytes(&self) -> u64 {
        4 * (self.layout.rows as u64) * (self.layout.dim as u64)
    }

    /// What each row is, and the names of the classes.
    pub(super) fn describe(&self, path: &Path) -> Result<(Vec<Row>, Vec<String>)> {
        guarded(path, || words::describe(path, &self.file, &self.layout, self.most))
    }

    /// The numbers, some rows at a time.
    pub(super) fn rows(self, path: &Path) -> Rows {
        Rows::new(path, self.file, self.layout)
    }
}

/// This rank's share of the numbers, and what all of them say.
pub(super) fn read(path: &Path, mut rows: Rows) -> Result<Stored> {
    let mut stored = Stored::by_blocks((rows.count(), rows.dim()), &mut |block| rows.read(block))?;
    stored.notes.extend(rows.rounded(path));
    Ok(stored)
}

fn unreadable(path: &Path, e: &dyn std::fmt::Display) -> Error {
    Error::data(path, format!("cannot be read as parquet: {e}"))
}
