//! Tensors that become their own next values, in the same memory where the host bound one buffer as input and as output.
#![allow(unsafe_code)]

use std::{marker::PhantomData, ops::Range, ptr};

use super::{Plain, Run, Tensor};
use crate::error::{Error, Result};

/// A part of a tensor and of its next value.
#[derive(Debug)]
pub(crate) struct Block<'a, T> {
    old: *const T,
    new: *mut T,
    length: usize,
    run: PhantomData<&'a mut [T]>,
}

// SAFETY: it is the only way to its part of the output, as a `&mut [T]` is: `Run` hands out each output once, and no input twice that
// is changed here. The part of the input that it reads is the same memory, or memory that nobody writes during the run.
unsafe impl<T: Plain> Send for Block<'_, T> {}

impl<'a, T: Plain> Block<'a, T> {
    /// The memory of the next value, which holds the numbers of the old one.
    pub(crate) fn take(self) -> &'a mut [T] {
        if !ptr::eq(self.old, self.new) {
            // SAFETY: both are `length` numbers long, by `Run::next_values`, which also saw that input and output are apart where they
            // are not the same memory.
            unsafe { ptr::copy_nonoverlapping(self.old, self.new, self.length) };
        }
        // SAFETY: `Run::next_values` checked type, alignment and length of the output, made blocks that are apart, and saw that no
        // other tensor of the node lies there. Every number has been written: here, or by whoever filled the input.
        unsafe { std::slice::from_raw_parts_mut(self.new, self.length) }
    }
}

/// A tensor and its next value, cut into blocks.
pub(crate) struct NextValue<'a, T> {
    /// In order; all as long as was asked for, but the last.
    pub(crate) blocks: Vec<Block<'a, T>>,
    /// The lengths of the tensor.
    pub(crate) shape: Vec<usize>,
}

impl<'a> Run<'a> {
    /// For each pair of an input and an output of the node the input, and the output as its next value, in blocks of `length` numbers.
    ///
    /// # Errors
    /// Where an input is missing or of another type; where an output lies in memory of any input but its own, or of another output.
    ///
    /// # Panics
    /// When one output is taken twice, or one of these inputs elsewhere.
    pub(crate) fn next_values<T: Plain>(
        &self,
        name: &'static str,
        pairs: &[(usize, usize)],
        length: usize,
    ) -> Result<Vec<Option<NextValue<'a, T>>>> {
        let blocks_of = |(old, new): (Tensor<'a>, Option<Tensor<'a>>)| -> Result<Option<NextValue<'a, T>>> {
            let count = old.shape().iter().product();
            let from = old.elements::<T>(count)?;
            let Some(new) = new.map(|new| new.elements::<T>(count)).transpose()? else { return Ok(None) };
            let blocks = (0..count).step_by(length.max(1)).map(|start| {
                // SAFETY: `start` is below `count`, and the input is that long.
                let old = unsafe { from.as_ptr().add(start) }.cast_const();
                // SAFETY: the output is as long as the input.
                let new = unsafe { new.as_ptr().add(start) };
                Block { old, new, length: length.min(count - start), run: PhantomData }
            });
            Ok(Some(NextValue { blocks: blocks.collect(), shape: old.shape().to_vec() }))
        };
        self.next_tensors(name, pairs)?.into_iter().map(blocks_of).collect()
    }

    /// The same as tensors, on whichever device.
    ///
    /// # Errors
    /// As `next_values`, but for types.
    ///
    /// # Panics
    /// As `next_values`.
    pub(crate) fn next_tensors(
        &self,
        name: &'static str,
        pairs: &[(usize, usize)],
    ) -> Result<Vec<(Tensor<'a>, Option<Tensor<'a>>)>> {
        let mut written: Vec<(Range<usize>, usize)> = Vec::new();
        let mut tensors = Vec::new();
        for &(input, output) in pairs {
            assert!(!self.read.borrow().contains(&input), "input {input} is read elsewhere");
            self.changed.borrow_mut().insert(input);
            let old = self.tensor(input, name)?.ok_or_else(|| Error::tensor(name, "a tensor", "none"))?;
            let new = self.output_tensor(output, old.shape())?;
            let span = new.as_ref().map(Tensor::span).transpose()?;
            written.extend(span.filter(|span| !span.is_empty()).map(|span| (span, input)));
            tensors.push((old, new));
        }
        written.sort_by_key(|(range, _)| range.start);
        if let Some(two) = written.windows(2).find(|two| two[1].0.start < two[0].0.end) {
            let got = format!("one buffer for those of inputs {} and {}", two[0].1, two[1].1);
            return Err(Error::tensor(name, "a buffer for each output", got));
        }
        for index in 0..self.inputs()? {
            let Some(tensor) = self.tensor(index, name)? else { continue };
            let read = tensor.span()?;
            let first = written.partition_point(|(range, _)| range.end <= read.start);
            let others = written[first..].iter().take_while(|(range, _)| range.start < read.end && !read.is_empty());
            if let Some((_, of)) = others.into_iter().find(|(range, of)| *of != index || *range != read) {
                let wanted = "memory that no output is written to, but its own next value's";
                return Err(Error::tensor(
                    name,
                    wanted,
                    format!("input {index} in the buffer of input {of}'s next value"),
                ));
            }
        }
        Ok(tensors)
    }
}

impl Tensor<'_> {
    /// The addresses that its numbers take.
    fn span(&self) -> Result<Range<usize>> {
        let start = self.data.addr();
        Ok(start..start + self.byte_count()?)
    }
}
