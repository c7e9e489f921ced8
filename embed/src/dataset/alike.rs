//! Whether the ranks of a run have the same data.

use sha2::{Digest, Sha256};

use super::Dataset;
use crate::error::Result;
use crate::ranks::{same, world};

/// Images whose bytes every rank reads for this.
const SAMPLE: usize = 32;

impl Dataset {
    /// Refuses to go on where ranks have other lists of images, or other bytes of some images from all over the list. Other images are
    /// read by one rank each.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) on every rank.
    pub fn same_over_ranks(&self) -> Result<()> {
        if world().is_alone() {
            return Ok(());
        }
        let mut digests = vec![[0; 32]; self.items.len()];
        same("the SHA-256 of the list of images", &self.sha256(&digests))?;
        let count = SAMPLE.min(self.items.len());
        for at in (0..count).map(|at| at * self.items.len() / count) {
            // One that cannot be read is an error later, or skipped, as is asked for.
            if let Ok(bytes) = self.source.read(&self.items[at].name) {
                digests[at] = Sha256::digest(&bytes).into();
            }
        }
        same(&format!("the SHA-256 of {count} of the images' files"), &self.sha256(&digests))
    }
}
