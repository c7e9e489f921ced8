//! One channel of `x` in a group. No products of matrices: rows as long as some images, which each place in the kernel goes over
//! once.
//!
//! Images of `x` have zeros around them, and lie apart by the remainder of a place by the strides (a phase): then what a place in the
//! kernel meets lies side by side, some way into one of the phases. Images of `y` lie in rows as long as theirs, with zeros between.

mod input;
mod weights;

use std::ops::Range;

use super::shape::Shape;
use crate::cpu::Float;
pub(super) use input::input_grad;
pub(super) use weights::weight_grad;

/// Numbers of images that are copied at a time, where those are small.
const COPIES: usize = 2048;

/// Every `stride`th row and column of an image with the zeros around it.
struct Phase {
    /// The first row and column.
    of: [usize; 2],
    /// Which of its rows and columns hold elements of the image.
    inside: [Range<usize>; 2],
    /// The row and column of the image that the first of those is.
    from: [usize; 2],
}

impl Phase {
    /// For each row with elements of the image: where its first one is in the image, and where in the phase, whose rows are so long.
    fn rows(&self, shape: &Shape, length: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (stride, width, from) = (shape.window.strides[0], shape.lengths[1], self.from);
        let [rows, columns] = self.inside.clone();
        let rows = if columns.is_empty() { 0..0 } else { rows };
        rows.enumerate()
            .map(move |(index, row)| ((from[0] + index * stride) * width + from[1], row * length + columns.start))
    }
}

/// Where things lie in the copies.
struct Layout {
    phases: Vec<Phase>,
    /// Rows of a phase, and the length of a row.
    size: [usize; 2],
    /// For each place in the kernel its phase, and where the first place meets an element in it.
    taps: Vec<(usize, usize)>,
    /// Images that are copied at a time.
    images: usize,
}

impl Layout {
    fn of(shape: &Shape) -> Self {
        let window = &shape.window;
        let strides = window.strides;
        let size = [0, 1].map(|axis| window.span(axis, shape.places[axis]).div_ceil(strides[axis]));
        let mut phases: Vec<Phase> = Vec::new();
        let mut taps = Vec::with_capacity(shape.taps());
        for tap in 0..shape.taps() {
            let offset = [tap / window.kernel[1] * window.dilations[0], tap % window.kernel[1] * window.dilations[1]];
            let of = [offset[0] % strides[0], offset[1] % strides[1]];
            let phase = phases.iter().position(|phase| phase.of == of).unwrap_or_else(|| {
                let inside = [0, 1].map(|axis| {
                    let first = window.begin[axis].saturating_sub(of[axis]).div_ceil(strides[axis]);
                    let padded = shape.lengths[axis] + window.begin[axis];
                    let end = padded.saturating_sub(of[axis]).div_ceil(strides[axis]).min(size[axis]);
                    first.min(end)..end
                });
                let from = [0, 1]
                    .map(|axis| (inside[axis].start * strides[axis] + of[axis]).saturating_sub(window.begin[axis]));
                phases.push(Phase { of, inside, from });
                phases.len() - 1
            });
            taps.push((phase, offset[0] / strides[0] * size[1] + offset[1] / strides[1]));
        }
        let images = (COPIES / (size[0] * size[1])).clamp(1, shape.batch.max(1));
        Self { phases, size, taps, images }
    }

    fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// From the first to behind the last place of so many images.
    fn length(&self, shape: &Shape, images: usize) -> usize {
        (images - 1) * self.area() + (shape.places[0] - 1) * self.size[1] + shape.places[1]
    }

    /// Copies an image of `y` into rows of a phase.
    #[inline(always)]
    fn spread<T: Float>(&self, shape: &Shape, places: &[T], out: &mut [T]) {
        for (row, out) in places.chunks(shape.places[1]).zip(out.chunks_mut(self.size[1])) {
            copy(&mut out[..row.len()], row);
        }
    }
}

/// Copies the elements of an image that are of this phase.
#[inline(always)]
fn copy_phase<T: Float>(shape: &Shape, layout: &Layout, phase: &Phase, image: &[T], out: &mut [T]) {
    let (stride, columns) = (shape.window.strides[1], phase.inside[1].len());
    for (from, to) in phase.rows(shape, layout.size[1]) {
        let out = &mut out[to..][..columns];
        let source = &image[from..][..(columns - 1) * stride + 1];
        match stride {
            1 => copy(out, source),
            2 => out.iter_mut().zip(source.iter().step_by(2)).for_each(|(out, &value)| *out = value),
            stride => out.iter_mut().zip(source.iter().step_by(stride)).for_each(|(out, &value)| *out = value),
        }
    }
}

/// Without a call, because rows are short.
#[inline(always)]
fn copy<T: Float>(out: &mut [T], from: &[T]) {
    let (out, out_rest) = out.as_chunks_mut::<8>();
    let (from, from_rest) = from.as_chunks::<8>();
    out.iter_mut().zip(from).for_each(|(out, from)| *out = *from);
    out_rest.iter_mut().zip(from_rest).for_each(|(out, &value)| *out = value);
}
