//! The lengths of a convolution over one or two axes.

use std::ops::Range;

use crate::error::{Error, Result};

/// Lengths of `y = conv(x, W)`. Over one axis there is a first one of length 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) groups: usize,
    /// Channels of `x` in a group.
    pub(crate) each_in: usize,
    /// Channels of `y` in a group.
    pub(crate) each_out: usize,
    /// Of an image of `x`.
    pub(crate) lengths: [usize; 2],
    /// Of an image of `y`.
    pub(crate) places: [usize; 2],
    pub(crate) window: Window,
}

/// What moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    pub(crate) dilations: [usize; 2],
    /// Zeros in front of each axis.
    pub(crate) begin: [usize; 2],
    /// Zeros behind each axis.
    pub(crate) end: [usize; 2],
}

impl Window {
    /// From the first to behind the last element that it meets along an axis.
    pub(super) fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// The refusal of an axis along which cuDNN has no such convolution.
    pub(super) fn not_of_cudnn(&self, axis: usize, also: &str) -> Error {
        let (begin, end) = (self.begin[axis], self.end[axis]);
        Error::Device(format!(
            "cuDNN pads both ends of an axis alike and puts windows wherever they fit, and pads are {begin} and {end} with strides of {} and \
             {also}; wanted standard operators for this convolution, as `pdloss train --device cuda` and `pdloss export --train --device cuda` \
             write them",
            self.strides[axis]
        ))
    }

    /// From the first to behind the last element that it meets along an axis at any of so many places.
    pub(super) fn span(&self, axis: usize, places: usize) -> usize {
        (places - 1).saturating_mul(self.strides[axis]).saturating_add(self.reach(axis))
    }
}

impl Shape {
    /// Of `x` as `[N, C, lengths...]` and `y` as `[N, M, places...]`.
    ///
    /// # Errors
    /// Naming `x_name` or `y_name`, where the two do not go with the window or the groups.
    pub(super) fn of(
        window: Window,
        groups: usize,
        (x_name, x): (&str, &[usize]),
        (y_name, y): (&str, &[usize]),
    ) -> Result<Self> {
        let ([batch, channels_in, lengths @ ..], [batch_out, channels_out, places @ ..]) = (x, y) else {
            return Err(Error::tensor(x_name, "[N, C, ...]", format!("{x:?}")));
        };
        let two = |lengths: &[usize]| match *lengths {
            [height, width] => [height, width],
            _ => [1, lengths.iter().product()],
        };
        let (lengths, places) = (two(lengths), two(places));
        if x.len() != y.len() || batch != batch_out {
            return Err(Error::tensor(y_name, format!("the axes and the batch of {x_name}, {x:?}"), format!("{y:?}")));
        }
        for (name, channels, shape) in [(x_name, channels_in, x), (y_name, channels_out, y)] {
            if groups == 0 || !channels.is_multiple_of(groups) {
                return Err(Error::tensor(name, format!("channels in {groups} groups"), format!("{shape:?}")));
            }
        }
        for axis in 0..2 {
            let padded = lengths[axis] + window.begin[axis] + window.end[axis];
            if places[axis] > 0 && window.span(axis, places[axis]) > padded {
                let wanted = format!("places whose windows lie inside {x_name}, {x:?}");
                return Err(Error::tensor(y_name, wanted, format!("{y:?}")));
            }
        }
        let (each_in, each_out) = (channels_in / groups, channels_out / groups);
        Ok(Self { batch: *batch, groups, each_in, each_out, lengths, places, window })
    }

    /// Refuses what cuDNN has no convolution of.
    pub(crate) fn check_for_cudnn(&self) -> Result<()> {
        for axis in 0..2 {
            let window = &self.window;
            let padded = self.lengths[axis] + 2 * window.begin[axis];
            let rest = padded.checked_sub(window.span(axis, self.places[axis]));
            if rest.is_none_or(|rest| rest >= window.strides[axis]) {
                let also = format!("{} elements under {} places", self.lengths[axis], self.places[axis]);
                return Err(window.not_of_cudnn(axis, &also));
            }
        }
        Ok(())
    }

    /// Elements of an image of `x`.
    pub(crate) fn area(&self) -> usize {
        self.lengths[0] * self.lengths[1]
    }

    /// Places of an image of `y`.
    pub(crate) fn count(&self) -> usize {
        self.places[0] * self.places[1]
    }

    /// Places in the kernel.
    pub(super) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Whether `y` has the places of `x`, each with one element in its window.
    pub(super) fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.window.strides == [1, 1] && self.window.begin == [0, 0] && self.lengths == self.places
    }

    /// Those along an axis whose element, for a place in the kernel, is of the image and no padding: they are `places`, and the
    /// first one's element stands at the result's second number.
    pub(super) fn inside(&self, axis: usize, tap: usize, places: Range<usize>) -> (Range<usize>, usize) {
        let (stride, begin) = (self.window.strides[axis], self.window.begin[axis]);
        let offset = tap * self.window.dilations[axis];
        let first = begin.saturating_sub(offset).div_ceil(stride);
        let end = (self.lengths[axis] + begin).saturating_sub(offset).div_ceil(stride);
        let first = first.clamp(places.start, places.end);
        let end = end.clamp(first, places.end);
        (first..end, (first * stride + offset).saturating_sub(begin))
    }
}
