//! Where the launch sequences put their work: kernels, products and scratch memory of one run.

use std::cell::RefCell;

use super::{
    ElementType,
    cublas::{Blas, Operand, Product},
    driver::Stream,
    params::{Address, Parameters},
};
use crate::{
    error::{Error, Result},
    ort_api::{Memory, Scratch},
};

/// Threads in a block of most kernels: eight warps.
pub(crate) const THREADS: u32 = 256;
const WARPS: usize = 8;

/// Blocks of kernels whose threads stride over elements: enough for any device, few enough to start quickly.
const STRIDING_BLOCKS: usize = 4096;

/// One run's work on the device, in the order in which it was put in.
pub(crate) struct Queue<'a> {
    /// None where no products are made.
    blas: Option<Blas>,
    memory: Memory<'a>,
    held: RefCell<Vec<Scratch>>,
    pub(crate) element: ElementType,
    /// Last, because its context stays current until it is dropped.
    stream: Stream,
}

impl Drop for Queue<'_> {
    fn drop(&mut self) {
        for scratch in self.held.take() {
            // Nothing can be done about a failure, and the run's result does not depend on it.
            let _ = self.memory.give_back(scratch);
        }
    }
}

/// How a kernel is cut into blocks of [`THREADS`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Grid {
    /// So many blocks.
    Blocks(usize),
    /// A warp for each row.
    Warps(usize),
    /// Threads stride over so many elements.
    Elements(usize),
    /// A thread for each column, and so many slabs of rows.
    Columns(usize, usize),
    /// So many columns and rows of blocks.
    Rectangle(usize, usize),
}

impl Grid {
    /// Columns and rows of blocks.
    pub(crate) fn size(self) -> Result<(u32, u32)> {
        let threads = THREADS as usize;
        let (columns, rows) = match self {
            Self::Blocks(blocks) => (blocks, 1),
            Self::Warps(warps) => (warps.div_ceil(WARPS), 1),
            Self::Elements(elements) => (elements.div_ceil(threads).clamp(1, STRIDING_BLOCKS), 1),
            Self::Columns(columns, slabs) => (columns.div_ceil(threads), slabs),
            Self::Rectangle(columns, rows) => (columns, rows),
        };
        Ok((int(columns)?, int(rows)?))
    }
}

/// A length as kernels take it.
pub(crate) fn int(length: usize) -> Result<u32> {
    let fits = u32::try_from(length).ok().filter(|&length| i32::try_from(length).is_ok());
    fits.ok_or_else(|| Error::Device(format!("wanted lengths below 2^31, got {length}")))
}

impl<'a> Queue<'a> {
    pub(crate) fn new(stream: Stream, blas: Option<Blas>, memory: Memory<'a>, element: ElementType) -> Self {
        Self { blas, memory, held: RefCell::default(), element, stream }
    }

    /// Memory for so many elements of a size, until the queue is dropped. What it holds is unspecified.
    pub(crate) fn scratch(&self, elements: usize, size: usize) -> Result<Address> {
        let scratch = self.memory.take(elements * size)?;
        let address = Address(scratch.address());
        self.held.borrow_mut().push(scratch);
        Ok(address)
    }

    pub(crate) fn launch<P: Parameters>(&self, name: &str, grid: Grid, parameters: &P) -> Result<()> {
        self.stream.launch(name, grid.size()?, THREADS, 0, parameters)
    }

    /// The stream that all of it goes to.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Launches the variant of a kernel for the operator's element type.
    pub(crate) fn launch_typed<P: Parameters>(&self, name: &str, grid: Grid, parameters: &P) -> Result<()> {
        self.launch(&format!("{name}_{}", self.element.suffix()), grid, parameters)
    }

    /// Launches a kernel that wants blocks of 1024 threads.
    pub(crate) fn launch_wide<P: Parameters>(&self, name: &str, blocks: usize, parameters: &P) -> Result<()> {
        self.stream.launch(name, Grid::Blocks(blocks).size()?, 1024, 0, parameters)
    }

    /// Launches the variant of a kernel for the operator's element type, with dynamic shared memory for each block.
    pub(crate) fn launch_shared<P: Parameters>(
        &self,
        name: &str,
        grid: Grid,
        bytes: usize,
        parameters: &P,
    ) -> Result<()> {
        let name = format!("{name}_{}", self.element.suffix());
        self.stream.launch(&name, grid.size()?, THREADS, int(bytes)?, parameters)
    }

    /// Shared memory that a block of a kernel for tensor cores may have; none on devices that run none.
    pub(crate) fn tensor_memory(&self) -> Option<usize> {
        self.stream.tensor_memory()
    }

    /// Launches the variant of a kernel whose blocks are single warps.
    pub(crate) fn launch_warps<P: Parameters>(
        &self,
        name: &str,
        (columns, rows): (usize, usize),
        parameters: &P,
    ) -> Result<()> {
        let name = format!("{name}_{}", self.element.suffix());
        self.stream.launch(&name, (int(columns)?, int(rows)?), 32, 0, parameters)
    }

    /// `out[m, n] = left[m, k] right[k, n]`; `add`: to what is there.
    pub(crate) fn multiply(
        &self,
        out: Address,
        [m, n, k]: [usize; 3],
        left: Operand,
        right: Operand,
        add: bool,
    ) -> Result<()> {
        self.blas()?.multiply(&Product { out, left, right, shape: [m, n, k], count: 1, add })
    }

    /// For each of so many groups of `rows` rows: `out[dim, dim] = group' group`.
    pub(crate) fn grams(&self, out: Address, matrix: Address, groups: usize, rows: usize, dim: usize) -> Result<()> {
        let left = Operand { address: matrix, transposed: true };
        let right = Operand { address: matrix, transposed: false };
        self.blas()?.multiply(&Product { out, left, right, shape: [dim, dim, rows], count: groups, add: false })
    }

    fn blas(&self) -> Result<&Blas> {
        self.blas.as_ref().ok_or_else(|| Error::Device("cuBLAS was not opened".to_owned()))
    }
}

/// A factor as it lies in memory.
pub(crate) fn plain(address: Address) -> Operand {
    Operand { address, transposed: false }
}

/// A factor that lies in memory as its transpose.
pub(crate) fn transposed(address: Address) -> Operand {
    Operand { address, transposed: true }
}
