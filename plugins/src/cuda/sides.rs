//! One side of the similarities, a pass at a time: lengths and mean, centred bands, scatter matrix. CPU twin: `rows.rs` and
//! `gram.rs` of `pdloss::loss`.

use super::{
    params::{AddScatter, Address, Along, Band, Centre, ScatterAlong, Side, SumSlabs, UnitRows},
    queue::{Grid, Queue, int},
};
use crate::error::Result;

/// Elements of a band's centred rows, and of a tile: 16 MiB each, so that what one kernel writes the next still finds in the
/// second-level cache of a large device.
const BAND_ELEMENTS: usize = 4 << 20;

const F32: usize = size_of::<f32>();
const F64: usize = size_of::<f64>();

/// Cuts `count` rows into bands of at most `rows`.
pub(crate) fn bands(count: usize, rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(rows).map(move |first| (first, rows.min(count - first)))
}

/// Rows in a band of matrices of this width.
pub(crate) fn band_rows(count: usize, width: usize) -> usize {
    (BAND_ELEMENTS / width).clamp(32, count.max(32)).min(count)
}

pub(crate) fn band(first: usize, count: usize) -> Result<Band> {
    Ok(Band { first: int(first)?, count: int(count)? })
}

/// Rows in a slab, and slabs: what a block goes through.
fn slabs(count: usize) -> (usize, usize) {
    const MOST_SLABS: usize = 2048;
    let slab = count.div_ceil(MOST_SLABS).next_multiple_of(32);
    (slab, count.div_ceil(slab))
}

/// Lengths and mean of all rows.
pub(crate) fn measure(queue: &Queue<'_>, side: &Side) -> Result<()> {
    let (count, dim) = (side.count as usize, side.dim as usize);
    let (slab, slabs) = slabs(count);
    let partials = queue.scratch(slabs * dim, F64)?;
    let unit_rows = UnitRows { side: *side, partials, slab: int(slab)?, unused: 0 };
    queue.launch_typed("unit_rows", Grid::Blocks(slabs), &unit_rows)?;
    sum_slabs(queue, partials, slabs, dim, side.mean, 1.0 / f64::from(side.count), false)
}

/// `out[width] = scale * sum of partials[slabs, width]`; `add`: to what is there.
pub(crate) fn sum_slabs(
    queue: &Queue<'_>,
    partials: Address,
    slabs: usize,
    width: usize,
    out: Address,
    scale: f64,
    add: bool,
) -> Result<()> {
    let parameters =
        SumSlabs { partials, out, scale, slabs: int(slabs)?, width: int(width)?, add: u32::from(add), unused: 0 };
    queue.launch_wide("sum_slabs", width.div_ceil(32), &parameters)
}

/// Centred unit rows of a band, and zeros up to `padded` rows.
pub(crate) fn centre(queue: &Queue<'_>, side: &Side, band: Band, padded: usize, out: Address) -> Result<()> {
    let parameters = Centre { side: *side, out, band, padded: int(padded)?, unused: 0 };
    queue.launch_typed("centre", Grid::Warps(padded), &parameters)
}

/// `(unit row - mean) . direction` of every row.
pub(crate) fn along(queue: &Queue<'_>, side: &Side, direction: Address) -> Result<Address> {
    let out = queue.scratch(side.count as usize, F64)?;
    queue.launch_typed("along", Grid::Warps(side.count as usize), &Along { side: *side, direction, out })?;
    Ok(out)
}

/// The scatter matrix times a direction, `[dim]`, and behind it the sum of the squares of the rows' parts along it.
pub(crate) fn scatter_along(queue: &Queue<'_>, side: &Side, direction: Address) -> Result<Address> {
    let (count, dim) = (side.count as usize, side.dim as usize);
    let (slab, slabs) = slabs(count);
    let partials = queue.scratch(slabs * (dim + 1), F64)?;
    let out = queue.scratch(dim + 1, F64)?;
    let parameters = ScatterAlong { side: *side, direction, partials, slab: int(slab)?, unused: 0 };
    queue.launch_typed("scatter_along", Grid::Blocks(slabs), &parameters)?;
    sum_slabs(queue, partials, slabs, dim + 1, out, 1.0, false)?;
    Ok(out)
}

/// Sum of the outer products of the centred rows with themselves, `[dim, dim]` in f64.
///
/// Bands of groups: cuBLAS makes one `dim x dim` product of each group, all of a band at once, which keeps every
/// multiprocessor busy where `dim` is small and bounds how many rows are added up in f32.
pub(crate) fn scatter(queue: &Queue<'_>, side: &Side, out: Address) -> Result<()> {
    let (count, dim) = (side.count as usize, side.dim as usize);
    let group = dim.max(256).min(count);
    let rows = (BAND_ELEMENTS / dim / group).clamp(1, count.div_ceil(group)) * group;
    let centred = queue.scratch(rows * dim, F32)?;
    let partials = queue.scratch(rows / group * dim * dim, F32)?;
    for (first, count) in bands(count, rows) {
        let groups = count.div_ceil(group);
        centre(queue, side, band(first, count)?, groups * group, centred)?;
        queue.grams(partials, centred, groups, group, dim)?;
        let elements = dim * dim;
        let parameters = AddScatter {
            partials,
            scatter: out,
            elements: elements as u64,
            groups: int(groups)?,
            add: u32::from(first > 0),
        };
        queue.launch("add_scatter", Grid::Elements(elements), &parameters)?;
    }
    Ok(())
}
