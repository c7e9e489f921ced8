//! Matrix products of row-major blocks, each on the calling thread.
//!
//! The one place that names the matrix-product crate. Parallel work is split into blocks above this level, by an
//! [`Executor`](super::Executor), so that the result never depends on the number of threads.

use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};

/// A row-major matrix, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a, T> Operand<'a, T> {
    /// `values` holds `rows x columns` elements, row after row.
    #[inline]
    pub(crate) fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        Self { values: &values[..rows * columns], rows, columns, transposed: false }
    }

    /// The transpose, without moving anything.
    #[inline]
    pub(crate) fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// The elements as they lie.
    pub(crate) fn values(self) -> &'a [T] {
        self.values
    }

    fn matrix(self) -> MatRef<'a, T> {
        let matrix = MatRef::from_row_major_slice(self.values, self.rows, self.columns);
        if self.transposed { matrix.transpose() } else { matrix }
    }

    fn shape(self) -> (usize, usize) {
        if self.transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }
}

/// Whether a product replaces its output or is added to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// `out = product`
    Replace,
    /// `out += product`
    Add,
}

impl Update {
    fn accum(self) -> Accum {
        match self {
            Self::Replace => Accum::Replace,
            Self::Add => Accum::Add,
        }
    }
}

/// The products the loss needs, for one element type.
pub trait Multiply: Sized {
    /// `out (=|+=) alpha * left * right`, with `out` row-major.
    fn multiply(out: &mut [Self], update: Update, alpha: Self, left: Operand<'_, Self>, right: Operand<'_, Self>);
    /// The lower triangle of `out (=|+=) block' * block`; what lies above the diagonal is left as it was.
    fn gram(out: &mut [Self], update: Update, block: Operand<'_, Self>);
}

macro_rules! multiply {
    ($real:ty) => {
        impl Multiply for $real {
            fn multiply(
                out: &mut [Self],
                update: Update,
                alpha: Self,
                left: Operand<'_, Self>,
                right: Operand<'_, Self>,
            ) {
                let (rows, columns) = (left.shape().0, right.shape().1);
                let out = MatMut::from_row_major_slice_mut(&mut out[..rows * columns], rows, columns);
                matmul(out, update.accum(), left.matrix(), right.matrix(), alpha, Par::Seq);
            }

            fn gram(out: &mut [Self], update: Update, block: Operand<'_, Self>) {
                let columns = block.shape().1;
                let out = MatMut::from_row_major_slice_mut(&mut out[..columns * columns], columns, columns);
                triangular::matmul(
                    out,
                    triangular::BlockStructure::TriangularLower,
                    update.accum(),
                    block.t().matrix(),
                    triangular::BlockStructure::Rectangular,
                    block.matrix(),
                    triangular::BlockStructure::Rectangular,
                    1.0,
                    Par::Seq,
                );
            }
        }
    };
}

multiply!(f32);
multiply!(f64);
