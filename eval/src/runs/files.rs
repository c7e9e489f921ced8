//! Which image files a run measured: a digest of each, by which other images under the same names are noticed.

use std::collections::HashMap;
use std::path::Path;

use pdloss_embed::digest::{hex, sha256};
use pdloss_embed::embeddings::Embeddings;
use polars::prelude::Column;

use crate::Result;
use crate::table::parquet::{self as table, Table};

const FILES: &str = "files.parquet";
/// Digits of a SHA-256 that are kept: two files have the same by chance once in 2^64.
const DIGITS: usize = 16;

/// The images of a run by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(Vec<(String, String)>);

impl Files {
    /// Those that embeddings were made of; `None` where no files were read.
    pub fn of(embeddings: &Embeddings) -> Option<Self> {
        let file =
            |(row, digest): (&pdloss_embed::embeddings::Row, &[u8; 32])| (row.name.clone(), hex(&digest[..DIGITS / 2]));
        (!embeddings.files.is_empty()).then(|| Self(embeddings.rows.iter().zip(&embeddings.files).map(file).collect()))
    }

    /// What is kept of a file of these bytes.
    pub fn digest(bytes: &[u8]) -> String {
        sha256(bytes)[..DIGITS].to_owned()
    }

    /// The digests by the images' names.
    pub fn by_name(&self) -> HashMap<&str, &str> {
        self.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let columns = vec![
            Column::new("name".into(), self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()),
            Column::new("sha256".into(), self.0.iter().map(|(_, digest)| digest.as_str()).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(FILES), columns)
    }

    /// Those of a run's folder; `None` where it has none: earlier versions kept none, and kept embeddings have none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        if !folder.join(FILES).is_file() {
            return Ok(None);
        }
        let table = Table::read(folder.join(FILES))?;
        Ok(Some(Self(table.words("name")?.into_iter().zip(table.words("sha256")?).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdloss_embed::dataset::Role;
    use pdloss_embed::embeddings::Row;

    #[test]
    fn digests_are_kept_by_name_and_come_back() {
        let rows = ["a.png", "b.png"].map(|name| Row::new(name, 0, Role::Both)).into();
        let mut embeddings = Embeddings::new(ndarray::Array2::ones((2, 3)), rows, vec!["a".into()]).unwrap();
        assert_eq!(Files::of(&embeddings), None);
        // SHA-256 of nothing begins so.
        let nothing = [0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14];
        let digest = |byte: u8| std::array::from_fn(|at| nothing.get(at).copied().unwrap_or(byte));
        embeddings.files = vec![digest(1), [9; 32]];
        let files = Files::of(&embeddings).unwrap();
        assert_eq!(files.by_name()["a.png"], Files::digest(b""));
        assert_eq!(files.by_name()["b.png"], "09".repeat(8));
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Files::read(folder.path()).unwrap(), None);
        files.write(folder.path()).unwrap();
        assert_eq!(Files::read(folder.path()).unwrap(), Some(files));
    }
}
