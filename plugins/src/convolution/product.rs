//! Matrix products, by the library that the loss multiplies with. Each runs on the calling thread.

use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

use crate::cpu::Float;

/// Rows that begin `stride` numbers apart.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(super) values: &'a [T],
    pub(super) count: usize,
    pub(super) length: usize,
    pub(super) stride: usize,
}

impl<'a, T> Rows<'a, T> {
    fn matrix(self) -> MatRef<'a, T> {
        MatRef::from_row_major_slice_with_stride(self.values, self.count, self.length, self.stride)
    }
}

/// What products are made of.
pub(crate) trait Real: Float {
    /// `out += left right'`, row after row.
    fn add_product(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>);

    /// `out += left right`, row after row.
    fn add_product_of_rows(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>);

    /// `out += left' right`, row after row.
    fn add_product_of_columns(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>);

    /// `out = left' right`, row after row.
    fn product_of_columns(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>);
}

macro_rules! real {
    ($real:ty) => {
        impl Real for $real {
            fn add_product(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>) {
                let out = MatMut::from_row_major_slice_mut(out, left.count, right.count);
                matmul(out, Accum::Add, left.matrix(), right.matrix().transpose(), 1.0, Par::Seq);
            }

            fn add_product_of_rows(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>) {
                let out = MatMut::from_row_major_slice_mut(out, left.count, right.length);
                matmul(out, Accum::Add, left.matrix(), right.matrix(), 1.0, Par::Seq);
            }

            fn add_product_of_columns(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>) {
                let out = MatMut::from_row_major_slice_mut(out, left.length, right.length);
                matmul(out, Accum::Add, left.matrix().transpose(), right.matrix(), 1.0, Par::Seq);
            }

            fn product_of_columns(out: &mut [Self], left: Rows<'_, Self>, right: Rows<'_, Self>) {
                let out = MatMut::from_row_major_slice_mut(out, left.length, right.length);
                matmul(out, Accum::Replace, left.matrix().transpose(), right.matrix(), 1.0, Par::Seq);
            }
        }
    };
}

real!(f32);
real!(f64);
