//! A step whose batch goes through the backbone in parts: what is refused, and what is said of it.

use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Description, Kind, Memory, StepOptions};
use pdloss_embed::{Error, Result};

use crate::backbone::of_graph;
use crate::settings::Settings;
use crate::trainer::{TILE, tile};

/// Whether a loss over pairs is computed in tiles of rows, as all its similarities at once would take too much memory.
///
/// # Errors
/// [`Error::Usage`] for a batch that is too large for a loss without tiles.
pub(crate) fn has_tiles(settings: &Settings, options: &StepOptions) -> Result<bool> {
    /// The most images of which a loss may form all similarities at once: 256 MiB for each matrix of them.
    const MOST: usize = 1 << 13;
    let (batch, loss) = (settings.batch, &options.loss);
    let is_streamed = loss.has_moments() && !settings.inline;
    if settings.accumulate == 1 || !loss.compares_pairs() || is_streamed {
        return Ok(false);
    }
    if loss.sums_of_tile().is_some() {
        return Ok(batch.saturating_mul(compared(batch, options.memory)) > TILE);
    }
    if batch > MOST {
        let name = settings.loss.word();
        return Err(Error::Usage(format!(
            "--batch {batch}: the loss {name} forms the similarities of all pairs of a batch at once; wanted at most {MOST} images, or \
             a loss that is computed in tiles of rows"
        )));
    }
    Ok(false)
}

/// How many rows each row of a batch is compared with.
fn compared(batch: usize, memory: Option<Memory>) -> usize {
    batch.saturating_add(memory.map_or(0, |memory| memory.rows))
}

/// Refuses parts that are not equal on all ranks.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn check(settings: &Settings) -> Result<()> {
    let (batch, parts, ranks) = (settings.batch, settings.accumulate, settings.ranks);
    if ranks == 1 || parts == 1 || batch.is_multiple_of(parts.saturating_mul(ranks)) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--accumulate {parts}: each of {ranks} ranks makes so many parts of its rows; wanted a --batch that {parts} times {ranks} divides, \
         not {batch}, so that all parts are equal"
    )))
}

/// What is to be said of a step in parts.
///
/// # Errors
/// Where the step says nothing of itself.
pub(crate) fn said(settings: &Settings, step: &ModelProto, in_tiles: bool) -> Result<Option<String>> {
    let (batch, parts) = (settings.batch, settings.accumulate);
    if parts == 1 {
        return Ok(None);
    }
    let description = Description::of(step).map_err(|e| of_graph(&settings.model, e))?;
    let each = batch / parts / settings.ranks;
    let normalises = description.state.iter().any(|tensor| tensor.kind == Kind::Running);
    let how = if normalises {
        let of_ranks = if settings.ranks > 1 && settings.sync_statistics { " of all ranks together" } else { "" };
        format!(
            "; BatchNormalization normalises the {each} images of a part{of_ranks}, and its running statistics follow the parts one after \
             the other, in the second pass alone"
        )
    } else {
        String::new()
    };
    let on_ranks = if settings.ranks > 1 { format!(" on each of {} ranks", settings.ranks) } else { String::new() };
    let tiles = if in_tiles {
        let rows = tile(compared(batch, description.memory)).min(batch);
        format!("; the loss is computed in tiles of {rows} rows, and never has all similarities at once")
    } else {
        String::new()
    };
    Ok(Some(format!(
        "--accumulate {parts}: the loss is of all {batch} images of a step, which go through the net {each} at a time{on_ranks}, and once \
         more for the gradients, with the same images and dropout{how}{tiles}"
    )))
}
