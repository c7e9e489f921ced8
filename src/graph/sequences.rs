//! Sequences of tensors that a graph takes apart at once: PyTorch's exporter writes `chunk` and `split` so.

use std::collections::{BTreeMap, HashMap};

use super::{
    Result,
    build::{Dim, Value, attribute, int, integers, node},
    proto::{ModelProto, NodeProto},
    shapes::{Shapes, axis_of},
};

/// What a `SplitToSequence` is cut into.
struct Parts {
    axis: i64,
    lengths: Vec<i64>,
}

/// Makes a `Split` of every `SplitToSequence` whose parts have constant lengths and are only read by `SequenceAt` at constant
/// positions, and `Identity` of the latter.
///
/// # Errors
/// When a node's inputs contradict each other.
pub(crate) fn split(model: &mut ModelProto) -> Result<()> {
    let is = |node: &NodeProto, operator: &str| node.is_standard() && node.op_type() == operator;
    if !model.graph.iter().flat_map(|graph| &graph.node).any(|node| is(node, "SplitToSequence")) {
        return Ok(());
    }
    let shapes = Shapes::of(model)?;
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    let mut known: HashMap<String, Parts> = HashMap::new();
    for node in graph.node.iter().filter(|node| is(node, "SplitToSequence")) {
        if let (Some(parts), Some(name)) = (parts(&shapes, node), node.made(0)) {
            known.insert(name.to_owned(), parts);
        }
    }
    let position = |node: &NodeProto| match shapes.integers(node.given(1)?)?.as_slice() {
        [position] => Some(*position),
        _ => None,
    };
    for node in &graph.node {
        for name in &node.input {
            let taken = known.get(name).map(|parts| parts.lengths.len());
            let fits = taken.is_none_or(|count| {
                is(node, "SequenceAt") && position(node).is_some_and(|at| axis_of(at, count).is_some())
            });
            if !fits {
                known.remove(name);
            }
        }
    }
    let part = |sequence: &str, at: usize| format!("{sequence}.part_{at}");
    let mut lengths: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for place in &mut graph.node {
        let of = |name: Option<&str>| name.and_then(|name| known.get_key_value(name));
        if let (true, Some((sequence, parts))) = (is(place, "SplitToSequence"), of(place.made(0))) {
            let sizes = format!("{sequence}.lengths");
            let outputs: Vec<String> = (0..parts.lengths.len()).map(|at| part(sequence, at)).collect();
            let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
            let x = place.given(0).unwrap_or_default();
            let along = vec![attribute("axis", Value::Int(parts.axis))];
            let mut split = node("Split", &[x, &sizes], &outputs, along);
            split.name.clone_from(&place.name);
            split.metadata_props.clone_from(&place.metadata_props);
            lengths.insert(sizes, parts.lengths.clone());
            *place = split;
        } else if let (true, Some((sequence, parts))) = (is(place, "SequenceAt"), of(place.given(0))) {
            let at = position(place).and_then(|at| axis_of(at, parts.lengths.len())).unwrap_or_default();
            let one = node("Identity", &[&part(sequence, at)], &[place.made(0).unwrap_or_default()], Vec::new());
            *place = one;
        }
    }
    graph.initializer.extend(lengths.iter().map(|(name, lengths)| integers(name, &[lengths.len()], lengths)));
    Ok(())
}

/// The lengths of the parts: as given, or all of one length but for the last.
fn parts(shapes: &Shapes, node: &NodeProto) -> Option<Parts> {
    /// More parts than any net takes apart one by one.
    const MOST: usize = 4096;
    let shape = shapes.shape(node.given(0)?)?;
    let axis = node.int("axis", 0);
    let sizes = shapes.integers(node.given(1)?)?;
    if shapes.shape(node.given(1)?)?.len() == 1 {
        return (sizes.len() <= MOST).then_some(Parts { axis, lengths: sizes });
    }
    let (Dim::Known(whole), [each]) = (shape.get(axis_of(axis, shape.len())?)?, sizes.as_slice()) else { return None };
    let (whole, each) = (*whole, usize::try_from(*each).ok().filter(|&each| each > 0)?);
    let count = whole.div_ceil(each);
    (count <= MOST).then(|| Parts { axis, lengths: (0..count).map(|at| int(each.min(whole - at * each))).collect() })
}
