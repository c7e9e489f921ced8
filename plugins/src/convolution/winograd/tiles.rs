//! Tiles of images: how they lie, and their forms `B' d B`, `A g A'` and `A' m A`.

use std::{mem::MaybeUninit, ops::Range};

use super::ELEMENTS;
use crate::cpu::Float;

/// The tiles of a batch of images, in rows: all rows of an image, then those of the next.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    /// Rows of an image.
    pub(super) rows: usize,
    /// Tiles in a row.
    pub(super) columns: usize,
    /// Rows of all images.
    pub(super) all: usize,
}

impl Tiles {
    /// Two by two of these places each.
    pub(super) fn of(batch: usize, places: [usize; 2]) -> Self {
        let [rows, columns] = places.map(|places| places.div_ceil(2));
        Self { rows, columns, all: batch * rows }
    }

    /// The rows in blocks of so many tiles or fewer, but whole rows.
    pub(super) fn blocks(self, most: usize) -> impl Iterator<Item = Range<usize>> + Clone {
        let rows = (most / self.columns).max(1);
        (0..self.all).step_by(rows).map(move |first| first..(first + rows).min(self.all))
    }
}

/// Images, a plane for each of their channels.
#[derive(Clone, Copy)]
pub(super) struct Images<'a, T> {
    pub(super) values: &'a [T],
    pub(super) channels: usize,
    pub(super) lengths: [usize; 2],
}

impl<'a, T> Images<'a, T> {
    /// A line of an image; nothing where it has none.
    fn line(&self, image: usize, channel: usize, line: Option<usize>) -> Option<&'a [T]> {
        let [height, width] = self.lengths;
        let line = line.filter(|&line| line < height)?;
        Some(&self.values[((image * self.channels + channel) * height + line) * width..][..width])
    }
}

/// What a form is made of: some rows of tiles.
#[derive(Clone, Copy)]
pub(super) struct Part<'a, T> {
    pub(super) images: Images<'a, T>,
    pub(super) tiles: Tiles,
    /// The first row, and behind the last.
    pub(super) rows: (usize, usize),
}

impl<T: Float> Part<'_, T> {
    /// Tiles in it.
    pub(super) fn count(&self) -> usize {
        (self.rows.1 - self.rows.0) * self.tiles.columns
    }

    /// `B' d B` of these channels, of tiles that overlap by two, with so many zeros in front of each axis: `[channel, element, tile]`.
    pub(super) fn met(self, begin: [usize; 2], channels: Range<usize>, out: &mut Vec<T>) {
        // A row of pairs has one more than tiles: loops run over all rows together, and what is between them is no tile.
        let all = (self.rows.1 - self.rows.0) * (self.tiles.columns + 1);
        let mut lines = vec![T::zero(); 8 * all];
        let mut scratch = vec![T::zero(); 3 * all];
        self.each(channels, out, |channel, out| {
            pulp::Arch::new().dispatch(Met {
                part: self,
                begin,
                channel,
                lines: &mut lines,
                scratch: &mut scratch,
                out,
            });
        });
    }

    /// `A g A'` of these channels: `[channel, element, tile]`.
    pub(super) fn spread(self, channels: Range<usize>, out: &mut Vec<T>) {
        let mut lines = vec![T::zero(); 4 * self.tiles.columns];
        self.each(channels, out, |channel, out| {
            pulp::Arch::new().dispatch(Spread { part: self, channel, lines: &mut lines, out });
        });
    }

    fn each(&self, channels: Range<usize>, out: &mut Vec<T>, mut form: impl FnMut(usize, &mut [T])) {
        let of_channel = ELEMENTS * self.count();
        out.resize(channels.len() * of_channel, T::zero());
        for (channel, out) in channels.zip(out.chunks_exact_mut(of_channel)) {
            form(channel, out);
        }
    }
}

struct Met<'a, T> {
    part: Part<'a, T>,
    begin: [usize; 2],
    channel: usize,
    /// Four for each row of tiles, with zeros where there is padding.
    lines: &'a mut [T],
    scratch: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Float> pulp::WithSimd for Met<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { part, begin, channel, lines, scratch, out } = self;
        let (Part { images, tiles, rows }, count) = (part, part.count());
        let columns = tiles.columns;
        let (width, all) = (2 * columns + 2, lines.len() / 8);
        // What of a line lies under the tiles, behind the padding.
        let met = (width - begin[1]).min(images.lengths[1]);
        for (step, lines) in lines.chunks_exact_mut(2 * all).enumerate() {
            for (row, line) in (rows.0..rows.1).zip(lines.chunks_exact_mut(width)) {
                let (image, first) = (row / tiles.rows, row % tiles.rows * 2);
                let line = &mut line[begin[1]..][..met];
                match images.line(image, channel, (first + step).checked_sub(begin[0])) {
                    Some(values) => line.copy_from_slice(&values[..met]),
                    None => line.fill(T::zero()),
                }
            }
        }
        let (even, rest) = scratch.split_at_mut(all);
        let (odd, rest) = rest.split_at_mut(all);
        let element = &mut rest[..all - 1];
        let pairs = |line: usize| lines[line * 2 * all..][..2 * all].as_chunks::<2>().0;
        for (line, out) in out.chunks_exact_mut(4 * count).enumerate() {
            let (left, right) = [(0, 2), (1, 2), (2, 1), (1, 3)][line];
            let sign = if line == 1 { T::one() } else { -T::one() };
            for ((even, odd), (left, right)) in even.iter_mut().zip(&mut *odd).zip(pairs(left).iter().zip(pairs(right)))
            {
                (*even, *odd) = (left[0] + sign * right[0], left[1] + sign * right[1]);
            }
            let (this, next, between, behind) = (&even[..all - 1], &even[1..], &odd[..all - 1], &odd[1..]);
            for ((left, right, sign), out) in [
                (this, next, -T::one()),
                (between, next, T::one()),
                (next, between, -T::one()),
                (between, behind, -T::one()),
            ]
            .into_iter()
            .zip(out.chunks_exact_mut(count))
            {
                element.iter_mut().zip(left).zip(right).for_each(|((out, &left), &right)| *out = left + sign * right);
                for (out, element) in out.chunks_exact_mut(columns).zip(element.chunks(columns + 1)) {
                    out.copy_from_slice(&element[..columns]);
                }
            }
        }
    }
}

/// A row of tiles in each of the four elements of a line.
#[inline(always)]
fn elements<T>(out: &mut [T], line: usize, count: usize, first: usize, columns: usize) -> [&mut [T]; 4] {
    let mut rest = &mut out[line * 4 * count..][..4 * count];
    [(); 4].map(|()| {
        let (element, behind) = std::mem::take(&mut rest).split_at_mut(count);
        rest = behind;
        &mut element[first..][..columns]
    })
}

struct Spread<'a, T> {
    part: Part<'a, T>,
    channel: usize,
    /// Two, with zeros behind an odd length.
    lines: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Float> pulp::WithSimd for Spread<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { part, channel, lines, out } = self;
        let (Part { images, tiles, rows }, count) = (part, part.count());
        let columns = tiles.columns;
        let (width, met) = (2 * columns, images.lengths[1]);
        for (place, row) in (rows.0..rows.1).enumerate() {
            let (image, first) = (row / tiles.rows, row % tiles.rows * 2);
            for (step, line) in lines.chunks_exact_mut(width).enumerate() {
                match images.line(image, channel, Some(first + step)) {
                    Some(values) => line[..met].copy_from_slice(values),
                    None => line.fill(T::zero()),
                }
            }
            let (upper, lower) = lines.split_at(width);
            let (upper, lower) = (&upper.as_chunks::<2>().0[..columns], &lower.as_chunks::<2>().0[..columns]);
            for line in 0..4 {
                let [first, second, third, fourth] = elements(out, line, count, place * columns, columns);
                for index in 0..columns {
                    let (upper, lower) = (upper[index], lower[index]);
                    let [even, odd] = match line {
                        0 => upper,
                        1 => [upper[0] + lower[0], upper[1] + lower[1]],
                        2 => [upper[0] - lower[0], upper[1] - lower[1]],
                        _ => [-lower[0], -lower[1]],
                    };
                    first[index] = even;
                    second[index] = even + odd;
                    third[index] = even - odd;
                    fourth[index] = -odd;
                }
            }
        }
    }
}

/// `A' m A` of a row of tiles: one line of places, or two.
pub(super) struct Gathered<'a, T> {
    /// From the first tile's first element on.
    pub(super) products: &'a [T],
    /// From an element to the next.
    pub(super) apart: usize,
    /// Of a line.
    pub(super) places: usize,
    /// What comes to each.
    pub(super) bias: T,
    pub(super) out: &'a mut [MaybeUninit<T>],
}

impl<T: Float> pulp::WithSimd for Gathered<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { products, apart, places, bias, out } = self;
        let columns = places.div_ceil(2);
        let of = |element: usize| &products[element * apart..][..columns];
        let mut sums = vec![T::zero(); 4 * columns];
        for (step, line) in out.chunks_mut(places).enumerate() {
            let sign = if step == 0 { T::one() } else { -T::one() };
            for (column, sums) in sums.chunks_exact_mut(columns).enumerate() {
                let [upper, middle, lower] = [0, 4, 8].map(|row| of(row + 4 * step + column));
                for (sum, ((&upper, &middle), &lower)) in sums.iter_mut().zip(upper.iter().zip(middle).zip(lower)) {
                    *sum = upper + sign * (middle + lower);
                }
            }
            let (left, right) = sums.split_at(2 * columns);
            let ((first, second), (third, fourth)) = (left.split_at(columns), right.split_at(columns));
            let sums = first.iter().zip(second).zip(third.iter().zip(fourth));
            let (pairs, last) = line.as_chunks_mut::<2>();
            for (pair, ((&first, &second), (&third, &fourth))) in pairs.iter_mut().zip(sums) {
                *pair = [first + second + third + bias, second - third - fourth + bias].map(MaybeUninit::new);
            }
            if let [place] = last {
                place.write(first[columns - 1] + second[columns - 1] + third[columns - 1] + bias);
            }
        }
    }
}
