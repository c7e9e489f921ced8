//! `Slice`: which elements it takes of each axis.

use super::{Fact, Shapes, axis_of};
use crate::graph::{build::Dim, proto::NodeProto};

/// One axis of a `Slice`: `start` and `end` inside the axis and `step`, all as the operator's rules clamp them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) axis: usize,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
}

/// The ranges of a `Slice` whose starts, ends, axes and steps are constants, as written.
pub(crate) fn ranges(shapes: &Shapes, node: &NodeProto, rank: usize) -> Option<Vec<Range>> {
    let (starts, ends) = (shapes.setting(node, 1, "starts")?, shapes.setting(node, 2, "ends")?);
    let axes = match (node.given(3).is_some() || node.ints("axes").is_some(), starts.len()) {
        (true, _) => shapes.setting(node, 3, "axes")?,
        (false, length) => (0..i64::try_from(length).ok()?).collect(),
    };
    let steps = if node.given(4).is_some() { shapes.integers(node.given(4)?)? } else { vec![1; starts.len()] };
    let range = |index: usize| {
        let axis = axis_of(*axes.get(index)?, rank)?;
        Some(Range { axis, start: starts[index], end: *ends.get(index)?, step: *steps.get(index)? })
    };
    (0..starts.len()).map(range).collect()
}

impl Range {
    /// Start and count of the elements taken of an axis of this length.
    pub(crate) fn within(self, length: usize) -> Option<(i64, usize)> {
        let length = i64::try_from(length).ok()?;
        let count = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
        let (start, end, step) = (count(self.start), count(self.end), self.step);
        let (start, distance) = match step {
            0 => return None,
            1.. => (start.clamp(0, length), end.clamp(0, length) - start.clamp(0, length)),
            _ => (start.clamp(-1, length - 1), start.clamp(-1, length - 1) - end.clamp(-1, length - 1)),
        };
        let steps = distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        Some((start, usize::try_from(steps).ok()?))
    }
}

pub(super) fn infer(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Option<Fact> {
    let shape = first.shape.as_ref()?;
    let mut out = shape.clone();
    let Some(ranges) = ranges(shapes, node, shape.len()) else {
        let named = node.given(3).is_some() || node.ints("axes").is_some();
        let axes = if named { shapes.setting(node, 3, "axes") } else { None };
        let axes: Option<Vec<usize>> =
            axes.and_then(|axes| axes.iter().map(|&axis| axis_of(axis, shape.len())).collect());
        match axes {
            Some(axes) => axes.iter().for_each(|&axis| out[axis] = Dim::Unknown),
            None => out.fill(Dim::Unknown),
        }
        return Some(Fact { element: first.element, shape: Some(out), value: None });
    };
    let mut value = first.value.clone();
    for range in ranges {
        out[range.axis] = match &shape[range.axis] {
            Dim::Known(length) => {
                let (start, count) = range.within(*length)?;
                value = value.and_then(|values| {
                    let at = |step: usize| {
                        let away = range.step.checked_mul(i64::try_from(step).ok()?)?;
                        usize::try_from(start.checked_add(away)?).ok()
                    };
                    (0..count).map(|step| values.get(at(step)?).cloned()).collect()
                });
                Dim::Known(count)
            }
            dim if range.start == 0 && range.step == 1 && range.end >= i64::from(i32::MAX) => dim.clone(),
            _ => Dim::Unknown,
        };
    }
    Some(Fact { element: first.element, shape: Some(out), value })
}
