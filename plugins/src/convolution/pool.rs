//! The gradient of the largest of each window: that of a place goes to the first of its largest elements. An element that is no number, or
//! minus infinity, is never the largest.

use std::mem::MaybeUninit;

use pdloss::loss::Executor;

use super::shape::Shape;
use crate::cpu::{Float, each};

/// Numbers of images that a task has, where those are small.
const BLOCK: usize = 1 << 14;

/// The gradient of `x`, every channel of which is a group. A task has some of the images' channels.
pub(super) fn max_pool_grad<T: Float>(
    shape: &Shape,
    (grad, x): (&[T], &[T]),
    out: &mut [MaybeUninit<T>],
    threads: &dyn Executor,
) {
    let (area, count) = (shape.area(), shape.count());
    let planes = BLOCK.div_ceil(area);
    let parts = grad.chunks(planes * count).zip(x.chunks(planes * area)).zip(out.chunks_mut(planes * area));
    each(threads, parts, |_, ((grad, x), out)| {
        let mut padded = Padded::new(shape);
        for ((grad, x), out) in grad.chunks(count).zip(x.chunks(area)).zip(out.chunks_mut(area)) {
            padded.add(shape, grad, x);
            padded.write(shape, out);
        }
    });
}

/// An image with what windows meet around it.
struct Padded<T> {
    /// Rows, and the length of a row.
    size: [usize; 2],
    values: Vec<T>,
    sums: Vec<T>,
    /// For each place of a row the largest so far, and how far into its window that stands.
    best: Vec<T>,
    at: Vec<u32>,
}

impl<T: Float> Padded<T> {
    fn new(shape: &Shape) -> Self {
        let size = [0, 1].map(|axis| shape.window.span(axis, shape.places[axis]));
        let (count, columns) = (size[0] * size[1], shape.places[1]);
        // A stride more, so that the last place of a row has one to itself.
        let values = vec![T::neg_infinity(); count + shape.window.strides[1]];
        let best = vec![T::zero(); columns];
        Self { size, values, sums: vec![T::zero(); count], best, at: vec![0; columns] }
    }

    /// The rows of the image that are met, each with its place here, and how many columns are.
    fn rows(&self, shape: &Shape) -> (impl Iterator<Item = (usize, usize)> + use<T>, usize) {
        let (size, begin, lengths) = (self.size, shape.window.begin, shape.lengths);
        let met = [0, 1].map(|axis| size[axis].saturating_sub(begin[axis]).min(lengths[axis]));
        ((0..met[0]).map(move |row| (row * lengths[1], (row + begin[0]) * size[1] + begin[1])), met[1])
    }

    /// Sums the gradient of each place where its largest element stands.
    fn add(&mut self, shape: &Shape, grad: &[T], x: &[T]) {
        let (rows, columns) = self.rows(shape);
        for (from, to) in rows {
            self.values[to..][..columns].copy_from_slice(&x[from..][..columns]);
        }
        self.sums.fill(T::zero());
        let (window, arch) = (&shape.window, pulp::Arch::new());
        for (row, grad) in grad.chunks(shape.places[1]).enumerate() {
            let first = row * window.strides[0] * self.size[1];
            self.best.fill(T::neg_infinity());
            self.at.fill(u32::MAX);
            for tap in 0..shape.taps() {
                let (down, along) = (tap / window.kernel[1], tap % window.kernel[1]);
                let offset = down * window.dilations[0] * self.size[1] + along * window.dilations[1];
                arch.dispatch(Largest {
                    values: &self.values[first + offset..],
                    stride: window.strides[1],
                    // A plane of more elements is none of an image.
                    offset: u32::try_from(offset).unwrap_or(u32::MAX),
                    best: &mut self.best,
                    at: &mut self.at,
                });
            }
            for (column, (&grad, &at)) in grad.iter().zip(&self.at).enumerate() {
                if at != u32::MAX {
                    self.sums[first + column * window.strides[1] + at as usize] += grad;
                }
            }
        }
    }

    /// The sums of the image's own elements.
    fn write(&self, shape: &Shape, out: &mut [MaybeUninit<T>]) {
        out.fill(MaybeUninit::new(T::zero()));
        let (rows, columns) = self.rows(shape);
        for (to, from) in rows {
            out[to..][..columns].write_copy_of_slice(&self.sums[from..][..columns]);
        }
    }
}

/// Looks at one element of the window of each place of a row.
struct Largest<'a, T> {
    values: &'a [T],
    stride: usize,
    offset: u32,
    best: &'a mut [T],
    at: &'a mut [u32],
}

impl<T: Float> pulp::WithSimd for Largest<'_, T> {
    type Output = ();

    // A closure would not be compiled for the instruction set that it is called with.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let values = self.values;
        match self.stride {
            1 => self.look(values.iter().copied()),
            2 => self.look(values.as_chunks::<2>().0.iter().map(|two| two[0])),
            stride => self.look(values.iter().step_by(stride).copied()),
        }
    }
}

impl<T: Float> Largest<'_, T> {
    /// Without branches: which is the largest is as good as random.
    #[inline(always)]
    fn look(self, values: impl Iterator<Item = T>) {
        for ((value, best), at) in values.zip(self.best).zip(self.at) {
            let is_larger = value > *best;
            *best = if is_larger { value } else { *best };
            *at = if is_larger { self.offset } else { *at };
        }
    }
}
