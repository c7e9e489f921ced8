//! Embeddings of which each rank has a part: some rows of the matrix, and the descriptions of all.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView1, ArrayView2, s};

use super::{Embeddings, digest_of, matrix, sameness};
use crate::error::Result;
use crate::ranks::{all, stream, world};

impl Embeddings {
    /// The values of all ranks' rows in their order, row by row in little-endian f32, block by block on the first rank.
    ///
    /// # Errors
    /// The first error of `take`.
    pub(super) fn stream(&self, take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        let dim = self.dim();
        // Blocks may begin and end within a row.
        let part = |bytes: std::ops::Range<usize>| {
            let values = self.matrix.slice(s![bytes.start / 4 / dim..bytes.end.div_ceil(4 * dim), ..]);
            let first = bytes.start / 4 % dim;
            values.iter().skip(first).take(bytes.len() / 4).flat_map(|value| value.to_le_bytes()).collect()
        };
        stream(4 * self.matrix.len(), &part, take)
    }

    /// The rows of all ranks in their order, some at a time, on every rank: the number of the first, and these rows.
    pub fn each_block(&self, take: &mut dyn FnMut(usize, ArrayView2<'_, f32>)) {
        /// Rows at a time.
        const BLOCK: usize = 1 << 14;
        let (world, dim) = (world(), self.dim());
        if world.is_alone() {
            return take(0, self.matrix.view());
        }
        let counts = world.gather_numbers(self.matrix.nrows() as u64);
        let mut before = 0;
        for (rank, count) in counts.into_iter().enumerate() {
            let count = usize::try_from(count).expect("a number of rows in memory");
            for first in (0..count).step_by(BLOCK) {
                let own = if rank == world.rank() { first..(first + BLOCK).min(count) } else { 0..0 };
                let bytes =
                    self.matrix.slice(s![own, ..]).iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
                let values = matrix::floats(&world.gather(&bytes).concat());
                let rows = ArrayView2::from_shape((values.len() / dim, dim), &values).expect("whole rows");
                take(before + first, rows);
            }
            before += count;
        }
    }

    /// The parts of all ranks put together, on the first of them; `None` on the others. For few rows: the first rank then holds them
    /// all.
    ///
    /// # Errors
    /// Those of [`Embeddings::new`].
    pub fn whole(&self) -> Result<Option<Self>> {
        if world().is_alone() {
            return Ok(Some(self.clone()));
        }
        let mut bytes = Vec::new();
        let mut take = |block: &[u8]| {
            bytes.extend_from_slice(block);
            Ok(())
        };
        self.stream(&mut take).map_err(|error| crate::Error::Embeddings(error.to_string()))?;
        if !world().is_first() {
            return Ok(None);
        }
        let all = Array2::from_shape_vec((self.rows.len(), self.dim()), matrix::floats(&bytes));
        let all = all.map_err(|error| crate::Error::Embeddings(format!("those of all ranks: {error}")))?;
        let whole = Self::new(all, self.rows.clone(), self.classes.clone())?;
        Ok(Some(Self { files: self.files.clone(), notes: self.notes.clone(), ..whole }))
    }

    /// [`Embeddings::sameness`] of the rows of all ranks.
    ///
    /// # Errors
    /// Those of telling the other ranks.
    pub fn sameness_over_ranks(&self) -> Result<Option<f64>> {
        let world = world();
        if world.is_alone() {
            return Ok(self.sameness());
        }
        // Every rank compares its rows with the first of all.
        let own: Vec<u8> =
            self.matrix.rows().into_iter().take(1).flatten().flat_map(|value| value.to_le_bytes()).collect();
        let firsts = world.gather(&own);
        let firsts = firsts.iter().find(|first| !first.is_empty()).map_or(&[][..], Vec::as_slice);
        let mut rows = Array2::zeros((self.matrix.nrows() + 1, self.dim()));
        rows.row_mut(0).assign(&ndarray::aview1(&matrix::floats(firsts)));
        rows.slice_mut(s![1.., ..]).assign(&self.matrix);
        let own = if self.matrix.is_empty() { Some(0.0) } else { sameness(rows.view()) };
        let all = world.gather_numbers(own.map_or(u64::MAX, f64::to_bits));
        let apart = all.iter().map(|&bits| (bits != u64::MAX).then(|| f64::from_bits(bits)));
        let widest = apart.collect::<Option<Vec<f64>>>().map(|apart| apart.into_iter().fold(0.0, f64::max));
        Ok(widest.filter(|_| self.rows.len() > 1))
    }

    /// [`Embeddings::sameness`] of the rows of all ranks; and, where they are not all the same, how many are equal to others.
    ///
    /// # Errors
    /// Those of telling the other ranks.
    pub fn alike_over_ranks(&self) -> Result<(Option<f64>, usize)> {
        let sameness = self.sameness_over_ranks()?;
        let twins = if sameness.is_some() { 0 } else { self.twins_over_ranks() };
        Ok((sameness, twins))
    }

    /// The lengths of the shortest and of the longest row of all ranks.
    ///
    /// # Errors
    /// Those of telling the other ranks.
    pub fn lengths_over_ranks(&self) -> Result<(f64, f64)> {
        let length = |row: ArrayView1<'_, f32>| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let widened = |(least, most): (f64, f64), (low, high): (f64, f64)| (least.min(low), most.max(high));
        let lengths = self.matrix.rows().into_iter().map(length).map(|length| (length, length));
        // A rank may have no row.
        let found = all(&lengths.reduce(widened))?;
        Ok(found.into_iter().flatten().fold((f64::INFINITY, 0.0), widened))
    }

    /// How many dimensions have one value in all rows of all ranks.
    ///
    /// # Errors
    /// Those of telling the other ranks.
    pub fn constant_dimensions_over_ranks(&self) -> Result<usize> {
        let one_of = |column: ArrayView1<'_, f32>| {
            let first = *column.first()?;
            column.iter().all(|value| *value == first).then_some(first)
        };
        let own: Vec<Option<f32>> = self.matrix.columns().into_iter().map(one_of).collect();
        let found = all(&(!self.matrix.is_empty()).then_some(own))?;
        let found: Vec<Vec<Option<f32>>> = found.into_iter().flatten().collect();
        let is_constant = |&column: &usize| {
            let mut values = found.iter().map(|own| own[column]);
            values.next().flatten().is_some_and(|first| values.all(|value| value == Some(first)))
        };
        Ok((0..self.dim()).filter(is_constant).count())
    }

    /// [`Embeddings::twins`] of the rows of all ranks. Rows travel as 64-bit digests, and rows with the same one are taken for equal.
    pub fn twins_over_ranks(&self) -> usize {
        let world = world();
        if world.is_alone() {
            return self.twins();
        }
        let own: Vec<u8> = self.matrix.rows().into_iter().flat_map(|row| digest_of(row).to_le_bytes()).collect();
        let all = world.gather(&own).concat();
        let (mut first, mut twins): (HashMap<[u8; 8], usize>, usize) = (HashMap::new(), 0);
        for (at, &digest) in all.as_chunks::<8>().0.iter().enumerate() {
            let earlier = *first.entry(digest).or_insert(at);
            let image = self.rows[at].image;
            twins += usize::from(earlier != at && !(image.is_some() && image == self.rows[earlier].image));
        }
        twins
    }
}
