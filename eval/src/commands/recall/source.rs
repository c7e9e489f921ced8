//! What is measured: embeddings in memory, or in their file.

use std::path::{Path, PathBuf};

use pdloss_embed::console::inform;
use pdloss_embed::dataset::Request;
use pdloss_embed::embedder::Prepared;
use pdloss_embed::embeddings::{Embeddings, OnDisk, Row, bytes_in_memory};
use pdloss_embed::process::free_memory;
use pdloss_embed::ranks::{agree, world};
use pdloss_embed::retrieval::{Build, Metric, Retrieval, Search, measure_by_blocks, measure_over_ranks, rows_within};

use super::RecallArgs;
use crate::commands::arguments::{Notes, describe_dimension, describe_lengths};
use crate::commands::variants::Variant;
use crate::index::FLAT;
use crate::{Error, Result};

/// Where the embeddings come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Images and their model.
    Images { data: Request, model: Box<Prepared>, skip_bad: bool, save: Option<PathBuf>, efficiency: bool },
    /// A file of embeddings.
    Kept { path: PathBuf, labels: Option<PathBuf>, dim: Option<usize>, memory: Memory },
}

/// How much of a file of embeddings is in memory at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// All, where there is room or the measures want it.
    All,
    /// All, where there is room.
    AsFits,
    /// So many bytes at most.
    Bytes(usize),
}

impl Memory {
    /// # Errors
    /// [`Error::Usage`] for `--memory` on several ranks.
    pub(super) fn of(args: &RecallArgs) -> Result<Self> {
        match args.memory {
            Some(_) if !world().is_alone() => {
                Err(Error::Usage("--memory: several ranks keep a part of the embeddings each, in memory".into()))
            }
            Some(_) if args.index != FLAT => Err(Error::Usage(format!(
                "--index {}: embeddings that stay in their file (--memory) are searched exactly; wanted {FLAT}",
                args.index
            ))),
            Some(mebibytes) => Ok(Self::Bytes((mebibytes as usize) << 20)),
            None => {
                let wants_all = args.all_figures || !args.storage.is_empty() || args.templates.is_some();
                let by_blocks = world().is_alone() && args.index == FLAT && !wants_all && args.ground_truth.is_none();
                Ok(if by_blocks { Self::AsFits } else { Self::All })
            }
        }
    }

    /// Bytes of a file of this size that are in memory at a time, where that is not all of it.
    fn of_file(self, path: &Path, notes: &mut Notes) -> Option<usize> {
        const USUAL: usize = 512 << 20;
        match self {
            Self::All => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::AsFits => {
                // What is not there, or damaged, is said by who reads it.
                let of_file = || std::fs::metadata(path).map_or(0, |about| about.len());
                let size = bytes_in_memory(path).ok().flatten().unwrap_or_else(of_file);
                let free = free_memory().filter(|&free| !has_room(size, free))?;
                notes.add(format!(
                    "{} takes {} MiB, and {} MiB of memory are free: it is read block by block, {} MiB at a time (--memory)",
                    path.display(),
                    size >> 20,
                    free >> 20,
                    USUAL >> 20
                ));
                Some(USUAL)
            }
        }
    }
}

/// Whether embeddings of so many bytes can be searched in memory: beside the matrix there are the gallery, its rows of unit length, and
/// the index.
fn has_room(bytes: u64, free: u64) -> bool {
    bytes.saturating_mul(5) <= free
}

/// Embeddings to be measured.
pub(super) enum Held {
    /// In memory.
    Memory(Box<Embeddings>),
    /// In their file, and how many bytes of them may be in memory.
    File(Box<OnDisk>, usize),
}

impl Held {
    /// Reads kept embeddings; with their SHA-256.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn read(
        path: &Path,
        (dim, labels): (Option<usize>, Option<&Path>),
        memory: Memory,
        notes: &mut Notes,
    ) -> Result<(Self, String)> {
        let Some(bytes) = memory.of_file(path, notes) else {
            let (embeddings, sha256) = Embeddings::read_part(path, dim, labels)?;
            notes.extend(&embeddings.notes);
            return Ok((Self::Memory(Box::new(embeddings)), sha256));
        };
        inform(&format!("looks at every row of {}", path.display()));
        let kept = OnDisk::open(path, dim, labels, bytes)?;
        notes.extend(&kept.notes);
        let sha256 = kept.sha256.clone();
        Ok((Self::File(Box::new(kept), bytes), sha256))
    }

    pub(super) fn rows(&self) -> &[Row] {
        match self {
            Self::Memory(embeddings) => &embeddings.rows,
            Self::File(kept, _) => &kept.rows,
        }
    }

    pub(super) fn rows_mut(&mut self) -> &mut [Row] {
        match self {
            Self::Memory(embeddings) => &mut embeddings.rows,
            Self::File(kept, _) => &mut kept.rows,
        }
    }

    pub(super) fn classes(&self) -> &[String] {
        match self {
            Self::Memory(embeddings) => &embeddings.classes,
            Self::File(kept, _) => &kept.classes,
        }
    }

    pub(super) fn dim(&self) -> usize {
        match self {
            Self::Memory(embeddings) => embeddings.dim(),
            Self::File(kept, _) => kept.blocks.dim(),
        }
    }

    /// How far apart all rows are where they are all the same, and how many are equal to others.
    ///
    /// # Errors
    /// Those of telling the other ranks.
    pub(super) fn alike(&self) -> Result<(Option<f64>, usize)> {
        match self {
            Self::Memory(embeddings) => embeddings.alike_over_ranks(),
            Self::File(kept, _) => Ok((kept.seen.sameness, kept.seen.twins)),
        }
    }

    /// Searches the embeddings kept in this way.
    ///
    /// # Errors
    /// Those of the search.
    pub(super) fn measure(
        &mut self,
        variant: &Variant,
        search: &Search,
        build: &Build<'_>,
        notes: &mut Notes,
    ) -> Result<Retrieval> {
        let dim = variant.dim(self.dim());
        if search.metric == Metric::Cosine {
            describe_dimension(dim, notes);
        }
        match self {
            Self::Memory(embeddings) => {
                let varied = variant.of(embeddings);
                if search.metric == Metric::Cosine {
                    agree(variant.check_directions(&varied))?;
                }
                notes.extend(variant.doubt(&varied)?.as_slice());
                if search.metric == Metric::Ip {
                    describe_lengths(varied.lengths_over_ranks()?, notes);
                }
                measure_over_ranks(&varied, search, build)
            }
            Self::File(kept, bytes) => {
                if search.metric == Metric::Ip && dim == kept.blocks.dim() {
                    describe_lengths(kept.seen.lengths, notes);
                }
                let most = rows_within(*bytes, kept.blocks.dim());
                let OnDisk { rows, blocks, .. } = kept.as_mut();
                measure_by_blocks((rows, blocks), most, &|rows| variant.kept(rows), search, build)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_that_leave_no_room_stay_in_their_file() {
        assert!(has_room(1 << 30, 5 << 30) && !has_room(1 << 30, (5 << 30) - 1) && !has_room(u64::MAX, 1 << 40));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.npy");
        let file = std::fs::File::create(&path).unwrap();
        let of = |memory: Memory| {
            let mut notes = Notes::default();
            let bytes = memory.of_file(&path, &mut notes);
            (bytes, notes.take())
        };
        assert_eq!(of(Memory::AsFits), (None, Vec::new()));
        // A file with a hole takes no room on the disk.
        file.set_len(1 << 43).unwrap();
        assert_eq!((of(Memory::All).0, of(Memory::Bytes(7)).0), (None, Some(7)));
        if free_memory().is_some() {
            let (bytes, said) = of(Memory::AsFits);
            assert_eq!(bytes, Some(512 << 20));
            assert!(said[0].contains("takes 8388608 MiB") && said[0].contains("--memory"), "{said:?}");
        }
    }
}
