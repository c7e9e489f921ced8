//! The kernels' parameters: twins of the structs of the same names in `kernels/*.cu` and `common.cuh`.
//!
//! Sizes are asserted on both sides; the emulated driver's tests would notice two fields of one size that changed places.
#![allow(unsafe_code)]

/// A place in device memory. Never dereferenced by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Address(pub(crate) u64);

impl Address {
    pub(crate) const NULL: Self = Self(0);

    /// As many elements of a size further on.
    pub(crate) fn after(self, elements: usize, size: usize) -> Self {
        Self(self.0 + (elements * size) as u64)
    }
}

/// What a kernel takes as its one parameter.
///
/// # Safety
/// `#[repr(C)]`, and the struct of the same name in `kernels/` has the same fields in the same order.
pub(crate) unsafe trait Parameters: Copy {}

/// Structs that kernels take, each with its size in the kernels' source.
macro_rules! parameters {
    ($($name:ident: $size:literal),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<$name>() == $size);
            // SAFETY: declared below with `#[repr(C)]`; the size is that which the kernels' source asserts.
            unsafe impl Parameters for $name {}
        )*
    };
}

pub(crate) use parameters;

parameters! {
    UnitRows: 48, SumSlabs: 40, Centre: 56, Along: 48, ScatterAlong: 56, Cosines: 88, Links: 48, GatherLinks: 96,
    AddScatter: 32, ScatterProducts: 32, ScaleScatter: 48, SumTile: 64, WeighTile: 80, Conclude: 168, Weigh: 152, Judge: 320,
    Finish: 240, Prepare: 136, Sweep: 112, Settle: 256, TensorGram: 88, SplitScatter: 64, TensorGradient: 392,
}
const _: () = assert!(size_of::<Side>() == 32 && size_of::<Labels>() == 16 && size_of::<Band>() == 8);
const _: () = assert!(size_of::<Tile>() == 56 && size_of::<Settings>() == 32 && size_of::<Vectors>() == 24);

/// Bytes of the kernels' `Weights`, which the host only allocates.
pub(crate) const WEIGHTS: usize = 80;
/// And of `Pivot`.
pub(crate) const PIVOT: usize = 24;

/// How long vectors of f32 beside rows are: zeros at their end spare kernels a question.
pub(crate) fn padded(dim: usize) -> usize {
    dim.next_multiple_of(128)
}

/// Numbers that a block of `sum_tile` writes.
pub(crate) const TILE_SUMS: usize = 6;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Side {
    pub(crate) rows: Address,
    pub(crate) reciprocals: Address,
    pub(crate) mean: Address,
    pub(crate) count: u32,
    pub(crate) dim: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Labels {
    pub(crate) values: Address,
    pub(crate) bytes: u32,
    pub(crate) count: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Band {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct UnitRows {
    pub(crate) side: Side,
    pub(crate) partials: Address,
    pub(crate) slab: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SumSlabs {
    pub(crate) partials: Address,
    pub(crate) out: Address,
    pub(crate) scale: f64,
    pub(crate) slabs: u32,
    pub(crate) width: u32,
    pub(crate) add: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Centre {
    pub(crate) side: Side,
    pub(crate) out: Address,
    pub(crate) band: Band,
    pub(crate) padded: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Along {
    pub(crate) side: Side,
    pub(crate) direction: Address,
    pub(crate) out: Address,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ScatterAlong {
    pub(crate) side: Side,
    pub(crate) direction: Address,
    pub(crate) partials: Address,
    pub(crate) slab: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Vectors {
    pub(crate) high: Address,
    pub(crate) low: Address,
    pub(crate) rest: Address,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Cosines {
    pub(crate) embeddings: Side,
    pub(crate) proxies: Side,
    pub(crate) labels: Labels,
    pub(crate) out: Address,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Links {
    pub(crate) labels: Labels,
    pub(crate) keys: Address,
    pub(crate) merged: Address,
    pub(crate) heads: Address,
    pub(crate) classes: u32,
    pub(crate) run: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct GatherLinks {
    pub(crate) embeddings: Side,
    pub(crate) high: Address,
    pub(crate) low: Address,
    pub(crate) keys: Address,
    pub(crate) cosines: Address,
    pub(crate) weights: Address,
    pub(crate) sums: Address,
    pub(crate) totals: Address,
    pub(crate) classes: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct AddScatter {
    pub(crate) partials: Address,
    pub(crate) scatter: Address,
    pub(crate) elements: u64,
    pub(crate) groups: u32,
    pub(crate) add: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ScatterProducts {
    pub(crate) embedding_scatter: Address,
    pub(crate) proxy_scatter: Address,
    pub(crate) out: Address,
    pub(crate) dim: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ScaleScatter {
    pub(crate) scatter: Address,
    pub(crate) along: Address,
    pub(crate) weights: Address,
    pub(crate) out: Address,
    pub(crate) constant: Address,
    pub(crate) dim: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Tile {
    pub(crate) values: Address,
    pub(crate) row_along: Address,
    pub(crate) col_along: Address,
    pub(crate) labels: Labels,
    pub(crate) band: Band,
    pub(crate) columns: u32,
    pub(crate) pairs: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SumTile {
    pub(crate) tile: Tile,
    pub(crate) out: Address,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct WeighTile {
    pub(crate) tile: Tile,
    pub(crate) weights: Address,
    pub(crate) column_sums: Address,
    pub(crate) slab: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Settings {
    pub(crate) temperature: f64,
    pub(crate) floor: f64,
    pub(crate) eps: f64,
    pub(crate) form: u32,
    pub(crate) mode: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Conclude {
    pub(crate) header: Address,
    pub(crate) summaries: Address,
    pub(crate) moments: Address,
    pub(crate) loss: Address,
    pub(crate) cosines: Address,
    pub(crate) alongs: [Address; 2],
    pub(crate) centres: Address,
    pub(crate) products: Address,
    pub(crate) tile_sums: Address,
    pub(crate) embedding_mean: Address,
    pub(crate) proxy_mean: Address,
    pub(crate) labels: Labels,
    pub(crate) settings: Settings,
    pub(crate) batch: u32,
    pub(crate) classes: u32,
    pub(crate) dim: u32,
    pub(crate) blocks: u32,
    pub(crate) element: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Weigh {
    pub(crate) header: Address,
    pub(crate) summaries: Address,
    pub(crate) moments: Address,
    pub(crate) upstream: Address,
    pub(crate) embedding_mean: Address,
    pub(crate) proxy_mean: Address,
    pub(crate) out: Address,
    pub(crate) vectors: Address,
    pub(crate) alongs: [Address; 2],
    pub(crate) centres: Address,
    pub(crate) scales: Address,
    pub(crate) centred: Address,
    pub(crate) pivots: Address,
    pub(crate) factors: Address,
    pub(crate) constants: Address,
    pub(crate) batch: u32,
    pub(crate) classes: u32,
    pub(crate) dim: u32,
    pub(crate) gram: u32,
    pub(crate) element: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Judge {
    pub(crate) conclude: Conclude,
    pub(crate) weigh: Weigh,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Finish {
    pub(crate) own: Side,
    pub(crate) other: Side,
    pub(crate) vectors: Vectors,
    pub(crate) others: Vectors,
    pub(crate) product: Address,
    pub(crate) constant: Address,
    pub(crate) tile: Address,
    pub(crate) row_sums: Address,
    pub(crate) cosines: Address,
    pub(crate) heads: Address,
    pub(crate) keys: Address,
    pub(crate) sums: Address,
    pub(crate) totals: Address,
    pub(crate) labels: Labels,
    pub(crate) weights: Address,
    pub(crate) out: Address,
    pub(crate) band: Band,
    pub(crate) columns: u32,
    pub(crate) links: u32,
    pub(crate) side: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Prepare {
    pub(crate) embeddings: Side,
    pub(crate) proxies: Side,
    pub(crate) links: Links,
    pub(crate) probes: Address,
    pub(crate) probe_blocks: u32,
    pub(crate) sort_blocks: u32,
    pub(crate) clear_blocks: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Sweep {
    pub(crate) embeddings: Side,
    pub(crate) proxies: Side,
    pub(crate) probes: Address,
    pub(crate) centres: Address,
    pub(crate) sums: Address,
    pub(crate) grams: Address,
    pub(crate) slab_rows: [u32; 2],
    pub(crate) slabs: u32,
    pub(crate) coarse: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Settle {
    pub(crate) cosines: Cosines,
    pub(crate) links: Links,
    pub(crate) sums: Address,
    pub(crate) centres: Address,
    pub(crate) grams: Address,
    pub(crate) alongs: [Address; 2],
    pub(crate) scatters: [Address; 2],
    pub(crate) matrices: [Address; 2],
    pub(crate) scales: Address,
    pub(crate) inner: Address,
    pub(crate) sum_slabs: [u32; 2],
    pub(crate) gram_slabs: [u32; 2],
    pub(crate) settle_blocks: u32,
    pub(crate) cosine_blocks: u32,
    pub(crate) split: u32,
    pub(crate) unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct TensorGram {
    pub(crate) embeddings: Side,
    pub(crate) proxies: Side,
    pub(crate) partials: Address,
    pub(crate) slab_rows: [u32; 2],
    pub(crate) slabs: u32,
    pub(crate) coarse: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SplitScatter {
    pub(crate) scatter: Address,
    pub(crate) along: Address,
    pub(crate) mean: Address,
    pub(crate) weights: Address,
    pub(crate) matrix: Address,
    pub(crate) factor: Address,
    pub(crate) constant: Address,
    pub(crate) dim: u32,
    pub(crate) split: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct TensorGradient {
    pub(crate) finish: Finish,
    pub(crate) matrix: Address,
    pub(crate) factor: Address,
    pub(crate) centre: Address,
    pub(crate) rest: Address,
    pub(crate) pivot: Address,
    pub(crate) gather: GatherLinks,
    pub(crate) strips: u32,
    pub(crate) blocks: u32,
    pub(crate) slabs: u32,
    pub(crate) slab_tiles: u32,
}
