//! Operators that move elements without computing with them.

use super::{Fact, Inferred, Scalar, Shapes, axis_of, dims, one, slice};
use crate::graph::{
    build::{Dim, Element},
    literal,
    proto::NodeProto,
};

pub(super) fn infer(shapes: &Shapes, node: &NodeProto) -> Inferred {
    let first = shapes.of_input(node, 0);
    let element = first.element;
    let known = match node.op_type() {
        "Reshape" => reshape(shapes, node, &first)?,
        "Flatten" => flatten(node, &first),
        "Transpose" => first.shape.as_ref().and_then(|shape| {
            let perm = permutation(node, shape.len())?;
            Some(Fact { element, shape: Some(perm.iter().map(|&axis| shape[axis].clone()).collect()), value: None })
        }),
        "Squeeze" => squeeze(shapes, node, &first),
        "Unsqueeze" => unsqueeze(shapes, node, &first),
        "Concat" => concat(shapes, node)?,
        "Split" => return split(shapes, node, &first),
        "Slice" => slice::infer(shapes, node, &first),
        "Gather" => gather(shapes, node, &first),
        "GatherElements" => Some(Fact { element, shape: shapes.of_input(node, 1).shape, value: None }),
        "GatherND" => gather_nd(shapes, node, &first),
        "Pad" => pad(shapes, node, &first),
        "Expand" => expand(shapes, node, &first)?,
        "Tile" => tile(shapes, node, &first)?,
        "Shape" => shape_of(node, &first),
        "Size" => {
            let count = first.shape.as_deref().map(|shape| dims::quotient(shape, &[])).map(|dim| scalar(&dim));
            Some(Fact { element: Some(Element::I64), shape: Some(Vec::new()), value: count.map(|count| vec![count]) })
        }
        "ConstantOfShape" => constant_of_shape(shapes, node),
        "Range" => range(shapes, node),
        "NonZero" => first.shape.map(|shape| Fact {
            element: Some(Element::I64),
            shape: Some(vec![Dim::Known(shape.len()), Dim::Unknown]),
            value: None,
        }),
        _ => return Ok(None),
    };
    match known {
        Some(fact) => Ok(Some(vec![fact])),
        None => one(element, None),
    }
}

fn scalar(dim: &Dim) -> Scalar {
    match dim {
        Dim::Known(length) => i64::try_from(*length).map_or(Scalar::Unknown, Scalar::Int),
        Dim::Named(name) => Scalar::Length(name.clone()),
        Dim::Unknown => Scalar::Unknown,
    }
}

fn dim(scalar: &Scalar) -> Dim {
    match scalar {
        Scalar::Int(value) => usize::try_from(*value).map_or(Dim::Unknown, Dim::Known),
        Scalar::Length(name) => Dim::Named(name.clone()),
        Scalar::Unknown => Dim::Unknown,
    }
}

/// The length of the vector that an input is.
fn count(shapes: &Shapes, node: &NodeProto, index: usize) -> Option<usize> {
    match shapes.of_input(node, index).shape?.as_slice() {
        [Dim::Known(length)] => Some(*length),
        _ => None,
    }
}

/// A `Transpose`'s order of axes.
pub(crate) fn permutation(node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
    match node.ints("perm") {
        None => Some((0..rank).rev().collect()),
        Some(perm) => perm.iter().map(|&axis| usize::try_from(axis).ok().filter(|&axis| axis < rank)).collect(),
    }
}

fn reshape(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Result<Option<Fact>, String> {
    let Some(target) = shapes.of_input(node, 1).value else {
        let unknown = |length| vec![Dim::Unknown; length];
        return Ok(count(shapes, node, 1).map(|rank| Fact {
            shape: Some(unknown(rank)),
            value: None,
            ..first.clone()
        }));
    };
    let zero_is_zero = node.int("allowzero", 0) != 0;
    let mut out: Vec<Dim> = target
        .iter()
        .enumerate()
        .map(|(index, entry)| match (entry, &first.shape) {
            (Scalar::Int(0), Some(shape)) if !zero_is_zero => shape.get(index).cloned().unwrap_or(Dim::Unknown),
            (Scalar::Int(0), None) if !zero_is_zero => Dim::Unknown,
            (entry, _) => dim(entry),
        })
        .collect();
    let free = target.iter().position(|entry| *entry == Scalar::Int(-1));
    if let (Some(index), Some(shape)) = (free, &first.shape) {
        let others: Vec<Dim> =
            out.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, dim)| dim.clone()).collect();
        out[index] = dims::quotient(shape, &others);
    }
    if let Some(shape) = &first.shape {
        let (before, after) = (dims::product(shape), dims::product(&out));
        if before.1.is_empty() && after.1.is_empty() && before.0 != after.0 {
            let (before, after) = (dims::show(shape), dims::show(&out));
            return Err(format!("shape {before} does not fit into {after}"));
        }
    }
    let value = first.value.clone().filter(|_| out.len() <= 1);
    Ok(Some(Fact { element: first.element, shape: Some(out), value }))
}

fn flatten(node: &NodeProto, first: &Fact) -> Option<Fact> {
    let shape = first.shape.as_ref()?;
    let axis = node.int("axis", 1);
    let rank = i64::try_from(shape.len()).ok()?;
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok().filter(|&axis| axis <= shape.len())?;
    let (front, back) = shape.split_at(axis);
    let shape = Some(vec![dims::quotient(front, &[]), dims::quotient(back, &[])]);
    Some(Fact { element: first.element, shape, value: None })
}

fn squeeze(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Option<Fact> {
    let shape = first.shape.as_ref()?;
    let axes: Vec<usize> = if node.given(1).is_some() || node.ints("axes").is_some() {
        let axes = shapes.setting(node, 1, "axes")?;
        axes.iter().map(|&axis| axis_of(axis, shape.len())).collect::<Option<_>>()?
    } else {
        shape.iter().enumerate().filter(|(_, dim)| **dim == Dim::Known(1)).map(|(index, _)| index).collect()
    };
    let kept = shape.iter().enumerate().filter(|(index, _)| !axes.contains(index)).map(|(_, dim)| dim.clone());
    Some(Fact { element: first.element, shape: Some(kept.collect()), value: first.value.clone() })
}

fn unsqueeze(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Option<Fact> {
    let shape = first.shape.as_ref()?;
    let axes = shapes.setting(node, 1, "axes")?;
    let rank = shape.len() + axes.len();
    let axes: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<_>>()?;
    let mut kept = shape.iter().cloned();
    let out: Option<Vec<Dim>> =
        (0..rank).map(|index| if axes.contains(&index) { Some(Dim::Known(1)) } else { kept.next() }).collect();
    let value = first.value.clone().filter(|_| rank <= 1);
    Some(Fact { element: first.element, shape: Some(out?), value })
}

fn concat(shapes: &Shapes, node: &NodeProto) -> Result<Option<Fact>, String> {
    let parts: Vec<Fact> = (0..node.input.len()).map(|index| shapes.of_input(node, index)).collect();
    let Some(lengths) = parts.iter().map(|part| part.shape.as_ref()).collect::<Option<Vec<&Vec<Dim>>>>() else {
        return Ok(None);
    };
    let Some(mut out) = lengths.first().map(|shape| (*shape).clone()) else { return Ok(None) };
    let Some(axis) = axis_of(node.int("axis", 0), out.len()) else { return Ok(None) };
    let Some(along) = lengths.iter().map(|shape| shape.get(axis)).collect::<Option<Vec<&Dim>>>() else {
        return Ok(None);
    };
    let known = |dim: &&Dim| if let Dim::Known(length) = dim { Some(*length) } else { None };
    let sum = match along.iter().map(known).collect::<Option<Vec<usize>>>() {
        Some(lengths) => Some(lengths.into_iter().try_fold(0, dims::plus)?),
        None => None,
    };
    out[axis] = match (along.as_slice(), sum) {
        ([only], _) => (*only).clone(),
        (_, Some(sum)) => Dim::Known(sum),
        _ => Dim::Unknown,
    };
    // Where one part knows a length of the other axes and another does not, the known one holds for both.
    for shape in &lengths {
        for (index, dim) in shape.iter().enumerate().filter(|(index, _)| *index != axis) {
            if let (Dim::Known(_), Some(Dim::Named(_))) = (dim, out.get(index)) {
                out[index] = dim.clone();
            }
        }
    }
    let values: Option<Vec<Vec<Scalar>>> = parts.iter().map(|part| part.value.clone()).collect();
    let value = values.map(|values| values.concat()).filter(|values| values.len() <= super::FOLLOWED);
    let element = parts.first().and_then(|part| part.element);
    Ok(Some(Fact { element, shape: Some(out), value }))
}

fn split(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Inferred {
    let unknown = Fact { element: first.element, ..Fact::default() };
    let facts = (|| {
        let shape = first.shape.as_ref()?;
        let axis = axis_of(node.int("axis", 0), shape.len())?;
        let lengths = split_lengths(shapes, node, &shape[axis])?;
        let part = |length: usize| {
            let mut shape = shape.clone();
            shape[axis] = Dim::Known(length);
            Fact { element: first.element, shape: Some(shape), value: None }
        };
        let mut facts: Vec<Fact> = lengths.into_iter().map(part).collect();
        if let (Some(values), 1) = (&first.value, shape.len()) {
            let mut rest = values.as_slice();
            for fact in &mut facts {
                let Some([Dim::Known(length)]) = fact.shape.as_deref() else { return None };
                let (front, back) = rest.split_at_checked(*length)?;
                fact.value = Some(front.to_vec());
                rest = back;
            }
        }
        Some(facts)
    })();
    Ok(Some(facts.unwrap_or_else(|| vec![unknown; node.output.len()])))
}

/// The lengths that a `Split` cuts an axis into.
pub(crate) fn split_lengths(shapes: &Shapes, node: &NodeProto, along: &Dim) -> Option<Vec<usize>> {
    if node.given(1).is_some() || node.ints("split").is_some() {
        let lengths = shapes.setting(node, 1, "split")?;
        return lengths.iter().map(|&length| usize::try_from(length).ok()).collect();
    }
    let Dim::Known(whole) = along else { return None };
    // `num_outputs`, where it is given, is the number of outputs.
    let count = node.output.len();
    let each = whole.div_ceil(count.max(1));
    Some((0..count).map(|index| each.min(whole.saturating_sub(index.saturating_mul(each)))).collect())
}

fn gather(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Option<Fact> {
    let (shape, indices) = (first.shape.as_ref()?, shapes.of_input(node, 1));
    let axis = axis_of(node.int("axis", 0), shape.len())?;
    let mut out = shape[..axis].to_vec();
    out.extend(indices.shape.clone()?);
    out.extend_from_slice(shape.get(axis + 1..)?);
    let value = first.value.as_ref().filter(|_| out.len() <= 1).and_then(|values| {
        let pick = |index: &Scalar| match index {
            Scalar::Int(index) => values.get(axis_of(*index, values.len())?).cloned(),
            _ => None,
        };
        indices.value?.iter().map(pick).collect()
    });
    Some(Fact { element: first.element, shape: Some(out), value })
}

fn gather_nd(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Option<Fact> {
    let (shape, indices) = (first.shape.as_ref()?, shapes.of_input(node, 1).shape?);
    let batch = usize::try_from(node.int("batch_dims", 0)).ok()?;
    let (Dim::Known(depth), front) = indices.split_last()? else { return None };
    let mut out = front.to_vec();
    out.extend_from_slice(shape.get(batch + depth..)?);
    Some(Fact { element: first.element, shape: Some(out), value: None })
}

/// Elements added in front of and behind every axis by a `Pad` whose amounts are constants.
pub(crate) fn pads(shapes: &Shapes, node: &NodeProto, rank: usize) -> Option<Vec<(i64, i64)>> {
    let pads = shapes.setting(node, 1, "pads")?;
    let axes: Vec<usize> = match node.given(3) {
        Some(name) => shapes.integers(name)?.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<_>>()?,
        None => (0..rank).collect(),
    };
    let mut all = vec![(0, 0); rank];
    for (index, &axis) in axes.iter().enumerate() {
        all[axis] = (*pads.get(index)?, *pads.get(index + axes.len())?);
    }
    Some(all)
}

fn pad(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Option<Fact> {
    let shape = first.shape.as_ref()?;
    let amounts = pads(shapes, node, shape.len());
    let longer = |(index, dim): (usize, &Dim)| match (dim, &amounts) {
        (_, None) => Dim::Unknown,
        (dim, Some(amounts)) if amounts[index] == (0, 0) => dim.clone(),
        (Dim::Known(length), Some(amounts)) => {
            let more = amounts[index].0.saturating_add(amounts[index].1);
            i64::try_from(*length)
                .ok()
                .and_then(|length| usize::try_from(length.checked_add(more)?).ok())
                .map_or(Dim::Unknown, Dim::Known)
        }
        _ => Dim::Unknown,
    };
    let shape = Some(shape.iter().enumerate().map(longer).collect());
    Some(Fact { element: first.element, shape, value: None })
}

fn expand(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Result<Option<Fact>, String> {
    let Some(shape) = &first.shape else { return Ok(None) };
    let target = match shapes.of_input(node, 1).value {
        Some(values) => values.iter().map(dim).collect(),
        None => match count(shapes, node, 1) {
            Some(rank) => vec![Dim::Unknown; rank],
            None => return Ok(None),
        },
    };
    Ok(Some(Fact { element: first.element, shape: Some(dims::broadcast(shape, &target)?), value: None }))
}

fn tile(shapes: &Shapes, node: &NodeProto, first: &Fact) -> Result<Option<Fact>, String> {
    let Some(shape) = &first.shape else { return Ok(None) };
    let repeats = node.given(1).and_then(|name| shapes.integers(name));
    let times = |(index, dim): (usize, &Dim)| match (dim, repeats.as_ref().and_then(|repeats| repeats.get(index))) {
        (dim, Some(1)) => Ok(dim.clone()),
        (Dim::Known(length), Some(&times)) => match usize::try_from(times) {
            Ok(times) => dims::times(*length, times).map(Dim::Known),
            Err(_) => Err(format!("it repeats axis {index} {times} times")),
        },
        _ => Ok(Dim::Unknown),
    };
    let shape = Some(shape.iter().enumerate().map(times).collect::<Result<_, String>>()?);
    Ok(Some(Fact { element: first.element, shape, value: None }))
}

fn shape_of(node: &NodeProto, first: &Fact) -> Option<Fact> {
    let shape = first.shape.as_ref()?;
    let rank = i64::try_from(shape.len()).ok()?;
    let clamp =
        |index: i64| usize::try_from((if index < 0 { index + rank } else { index }).clamp(0, rank)).unwrap_or(0);
    let (start, end) = (clamp(node.int("start", 0)), clamp(node.int("end", rank)));
    let values: Vec<Scalar> = shape.get(start..end.max(start))?.iter().map(scalar).collect();
    Some(Fact { element: Some(Element::I64), shape: Some(vec![Dim::Known(values.len())]), value: Some(values) })
}

fn constant_of_shape(shapes: &Shapes, node: &NodeProto) -> Option<Fact> {
    let fill = node.tensor("value");
    let element = fill.map_or(Some(Element::F32), |tensor| Element::from_code(tensor.data_type()));
    let target = shapes.of_input(node, 0).value;
    let shape = match &target {
        Some(values) => Some(values.iter().map(dim).collect::<Vec<Dim>>()),
        None => count(shapes, node, 0).map(|rank| vec![Dim::Unknown; rank]),
    };
    let number = fill.and_then(literal::integers).and_then(|values| values.first().copied());
    let value = match (shape.as_deref(), number) {
        (Some([Dim::Known(length)]), Some(number)) if *length <= super::FOLLOWED => {
            Some(vec![Scalar::Int(number); *length])
        }
        (Some([]), Some(number)) => Some(vec![Scalar::Int(number)]),
        _ => None,
    };
    Some(Fact { element, shape, value })
}

fn range(shapes: &Shapes, node: &NodeProto) -> Option<Fact> {
    let bounds: Option<Vec<i64>> = (0..3)
        .map(|index| match shapes.integers(node.given(index)?)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        })
        .collect();
    let element = shapes.of_input(node, 0).element;
    let Some(bounds) = bounds else {
        let zero_to = |index: usize| shapes.of_input(node, index).value;
        let length = match (zero_to(0).as_deref(), zero_to(1).as_deref(), zero_to(2).as_deref()) {
            (Some([Scalar::Int(0)]), Some([limit]), Some([Scalar::Int(1)])) => dim(limit),
            _ => Dim::Unknown,
        };
        return Some(Fact { element, shape: Some(vec![length]), value: None });
    };
    let [start, end, step] = bounds[..] else { return None };
    if step == 0 {
        return None;
    }
    let distance = if step > 0 { end.saturating_sub(start) } else { start.saturating_sub(end) };
    let length = usize::try_from(distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs())).ok()?;
    let at = |index: usize| i64::try_from(index).ok().and_then(|index| start.checked_add(step.checked_mul(index)?));
    let values = || (0..length).map(|index| at(index).map_or(Scalar::Unknown, Scalar::Int)).collect();
    let value = (length <= super::FOLLOWED).then(values);
    Some(Fact { element, shape: Some(vec![Dim::Known(length)]), value })
}
