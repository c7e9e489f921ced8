//! The element and label types the loss accepts.

use std::fmt::{Debug, Display};

pub(crate) mod sealed {
    /// Keeps [`super::Real`] and [`super::Label`] to the types this crate was proven with.
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
    impl Sealed for usize {}
}

/// An element of embeddings, proxies and gradients: `f32` or `f64`.
pub trait Real:
    sealed::Sealed
    + crate::loss::product::Multiply
    + Copy
    + Debug
    + Display
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + std::ops::Neg<Output = Self>
{
    /// Nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The same value, exactly.
    fn to_f64(self) -> f64;
    /// `self * factor + addend` with one rounding.
    fn fused(self, factor: Self, addend: Self) -> Self;
    /// Below this, the reciprocal of a row's length is subnormal in this type and loses digits.
    const SMALLEST_RECIPROCAL: f64;
    /// Whether `f64` holds more digits.
    const NARROW: bool;
    /// Rows that fit a block: chosen so that a block of rows stays in the second-level cache.
    const BLOCK_ELEMENTS: usize;
}

impl Real for f32 {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "rounding to nearest is the purpose")]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
    const SMALLEST_RECIPROCAL: f64 = 1e-30;
    const NARROW: bool = true;
    const BLOCK_ELEMENTS: usize = 32 * 1024;
}

impl Real for f64 {
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }
    const SMALLEST_RECIPROCAL: f64 = 1e-300;
    const NARROW: bool = false;
    const BLOCK_ELEMENTS: usize = 16 * 1024;
}

/// A class index as callers store it: `i32`, `i64` or `usize`.
pub trait Label: sealed::Sealed + Copy + Debug + Display + Eq + Ord + Send + Sync + 'static {
    /// The row of the proxies this label names, if it names one of `classes`.
    fn index(self, classes: usize) -> Option<usize>;
}

impl Label for i32 {
    #[inline]
    fn index(self, classes: usize) -> Option<usize> {
        usize::try_from(self).ok().filter(|&class| class < classes)
    }
}

impl Label for i64 {
    #[inline]
    fn index(self, classes: usize) -> Option<usize> {
        usize::try_from(self).ok().filter(|&class| class < classes)
    }
}

impl Label for usize {
    #[inline]
    fn index(self, classes: usize) -> Option<usize> {
        Some(self).filter(|&class| class < classes)
    }
}
