//! Gradients in the shapes of their values: repeated as these were, and summed where these were repeated.

use super::tape::Tape;
use crate::graph::{
    Error, Result,
    build::{Dim, Value, attribute},
    shapes::dims,
};

impl Tape<'_> {
    /// The shape of a value as a tensor: a constant where it is known.
    pub(super) fn shape_tensor(&mut self, value: &str) -> Result<String> {
        let known = self.shapes.shape(value).and_then(numbers);
        match known {
            Some(lengths) => self.ints(&lengths),
            None => self.once(format!("shape {value}"), |tape| tape.op("Shape", &[value])),
        }
    }

    /// `value` in the shape of `like`, which has as many elements.
    pub(super) fn reshape_like(&mut self, value: &str, like: &str) -> Result<String> {
        let shape = self.shape(like)?;
        if self.shapes.shape(value) == Some(shape.as_slice()) {
            return Ok(value.to_owned());
        }
        // One length that is not known can be left to the operator, unless another is 0.
        let free = shape.iter().filter(|dim| !matches!(dim, Dim::Known(1..))).count();
        let target = if free == 1 && !shape.contains(&Dim::Known(0)) {
            let length =
                |dim: &Dim| if let Dim::Known(length) = dim { i64::try_from(*length).unwrap_or(-1) } else { -1 };
            let lengths: Vec<i64> = shape.iter().map(length).collect();
            self.ints(&lengths)?
        } else {
            self.shape_tensor(like)?
        };
        self.op("Reshape", &[value, &target])
    }

    /// `value` repeated to the shape of `like`.
    pub(super) fn expand_like(&mut self, value: &str, like: &str) -> Result<String> {
        if self.shapes.shape(value).is_some() && self.shapes.shape(value) == self.shapes.shape(like) {
            return Ok(value.to_owned());
        }
        let shape = self.shape_tensor(like)?;
        self.op("Expand", &[value, &shape])
    }

    /// The gradient of what was broadcast: summed over the axes along which `target` was repeated.
    pub(super) fn unbroadcast(&mut self, grad: &str, target: &str) -> Result<String> {
        let (from, to) = (self.shape(grad)?, self.shape(target)?);
        let front = from.len().checked_sub(to.len()).ok_or_else(|| {
            let reason = format!("its gradient has shape {}, but it has {}", dims::show(&from), dims::show(&to));
            Error::model(target, reason)
        })?;
        let pairs = || from[front..].iter().zip(&to).enumerate();
        let unclear = pairs().any(|(_, (from, to))| from != to && matches!(to, Dim::Named(_) | Dim::Unknown));
        if unclear {
            return self.unbroadcast_when_run(grad, target, front);
        }
        let repeated =
            pairs().filter(|(_, (from, to))| from != to && **to == Dim::Known(1)).map(|(axis, _)| axis + front);
        let mut axes: Vec<usize> = (0..front).collect();
        axes.extend(repeated);
        // Leading axes disappear, the others stay with length 1: what comes out has the target's shape but for the former.
        let sum = self.sum(grad, &axes, front == 0)?;
        if front == 0 { Ok(sum) } else { self.reshape_like(&sum, target) }
    }

    /// The same where lengths decide at run time which axes were repeated.
    fn unbroadcast_when_run(&mut self, grad: &str, target: &str, front: usize) -> Result<String> {
        let shape = self.shape_tensor(target)?;
        let padded = if front == 0 {
            shape.clone()
        } else {
            let ones = self.ints(&vec![1; front])?;
            self.with("Concat", &[&ones, &shape], vec![attribute("axis", Value::Int(0))])?
        };
        let whole = self.shape_tensor(grad)?;
        let same = self.op("Equal", &[&padded, &whole])?;
        let repeated = self.op("Not", &[&same])?;
        let positions = self.op("NonZero", &[&repeated])?;
        let first = self.ints(&[0])?;
        let axes = self.op("Squeeze", &[&positions, &first])?;
        let nothing = attribute("noop_with_empty_axes", Value::Int(1));
        let sum = self.with("ReduceSum", &[grad, &axes], vec![attribute("keepdims", Value::Int(1)), nothing])?;
        self.op("Reshape", &[&sum, &shape])
    }
}

/// The lengths as integers, where all are known.
pub(super) fn numbers(shape: &[Dim]) -> Option<Vec<i64>> {
    let known = |dim: &Dim| if let Dim::Known(length) = dim { i64::try_from(*length).ok() } else { None };
    shape.iter().map(known).collect()
}
