//! Normalization by a mean and a variance. With `c = x - mean`, `r = 1 / sqrt(variance + epsilon)` and `n = c r`, where the
//! mean and the variance are those of the `M` elements normalized together:
//!
//! `y = scale n + bias: dbias = sum g, dscale = sum g n, dx = r (h - mean h - n mean(h n))` with `h = scale g`

use super::{Call, Rule, tape::Tape};
use crate::graph::{
    Result,
    build::{Element, Value, attribute, decimal},
    head::DOMAIN,
    proto::{AttributeProto, ModelProto, NodeProto},
    shapes::axis_of,
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "BatchNormalization" => batch_normalization,
        "InstanceNormalization" => instance_normalization,
        "LayerNormalization" => layer_normalization,
        _ => return None,
    })
}

fn epsilon(node: &NodeProto) -> f64 {
    node.float("epsilon", 1e-5)
}

/// `1 / sqrt(variance + epsilon)`
fn inverse_deviation(tape: &mut Tape<'_>, variance: &str, epsilon: f64) -> Result<String> {
    let epsilon = tape.scalar(epsilon, variance)?;
    let widened = tape.op("Add", &[variance, &epsilon])?;
    let deviation = tape.op("Sqrt", &[&widened])?;
    tape.op("Reciprocal", &[&deviation])
}

/// `c`, and the variance over `axes` (kept with length 1).
fn centre(tape: &mut Tape<'_>, x: &str, axes: &[usize]) -> Result<[String; 3]> {
    let mean = tape.reduce("ReduceMean", x, axes, true)?;
    let centred = tape.op("Sub", &[x, &mean])?;
    let squares = tape.op("Mul", &[&centred, &centred])?;
    let variance = tape.reduce("ReduceMean", &squares, axes, true)?;
    Ok([centred, variance, mean])
}

/// `r (h - mean h - n mean(h n))` over `axes`
fn pull_back(tape: &mut Tape<'_>, h: &str, n: &str, r: &str, axes: &[usize]) -> Result<String> {
    let mean = tape.reduce("ReduceMean", h, axes, true)?;
    let product = tape.op("Mul", &[h, n])?;
    let along = tape.reduce("ReduceMean", &product, axes, true)?;
    let part = tape.op("Mul", &[n, &along])?;
    let rest = tape.op("Sub", &[h, &mean])?;
    let rest = tape.op("Sub", &[&rest, &part])?;
    tape.op("Mul", &[&rest, r])
}

/// Over all axes from `axis` on.
fn layer_normalization(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, scale, grad) = (call.input(0)?, call.input(1)?, call.grad()?);
    let rank = tape.rank(x)?;
    let Some(axis) = axis_of(call.node.int("axis", -1), rank) else {
        return Err(call.error(format!("its axis is none of {rank} axes")));
    };
    let axes: Vec<usize> = (axis..rank).collect();
    let (c, r) = if tape.element(x)? == Element::F32 {
        let (mean, r) = (tape.output(call.node, 1)?, tape.output(call.node, 2)?);
        // The operator has a scale of all that is normalized together, and a bias like it.
        let shape = tape.shape(x)?;
        let is_whole = |name: &str| tape.shapes.shape(name) == Some(&shape[axis..]);
        if tape.operators.are_of_library() && is_whole(scale) && call.node.given(2).is_none_or(is_whole) {
            let inputs = [grad, x, scale, &mean, &r];
            let made = tape.many("LayerNormGrad", DOMAIN, &inputs, Vec::new(), 3)?;
            return Ok(made.into_iter().map(Some).collect());
        }
        (tape.op("Sub", &[x, &mean])?, r)
    } else {
        // The operator's own mean has 32 bits.
        let [c, variance, _] = centre(tape, x, &axes)?;
        (c, inverse_deviation(tape, &variance, epsilon(call.node))?)
    };
    let n = tape.op("Mul", &[&c, &r])?;
    let mut grads = vec![None, None, None];
    if call.wants(0) {
        let h = tape.op("Mul", &[grad, scale])?;
        grads[0] = Some(pull_back(tape, &h, &n, &r, &axes)?);
    }
    if call.wants(1) {
        let product = tape.op("Mul", &[grad, &n])?;
        grads[1] = Some(tape.unbroadcast(&product, scale)?);
    }
    if call.wants(2) {
        grads[2] = Some(tape.unbroadcast(grad, call.input(2)?)?);
    }
    Ok(grads)
}

/// One number a channel as `[C, 1, ...]`, to stand beside `[N, C, ...]`.
fn as_channels(tape: &mut Tape<'_>, vector: &str, rank: usize) -> Result<String> {
    let axes: Vec<usize> = (1..rank.saturating_sub(1)).collect();
    tape.unsqueeze(vector, &axes)
}

fn all_but_channels(rank: usize) -> Vec<usize> {
    (0..rank).filter(|&axis| axis != 1).collect()
}

/// Over the axes behind the channels.
fn instance_normalization(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, grad) = (call.input(0)?, call.grad()?);
    let rank = tape.rank(x)?;
    let axes: Vec<usize> = (2..rank).collect();
    let [c, variance, _] = centre(tape, x, &axes)?;
    let r = inverse_deviation(tape, &variance, epsilon(call.node))?;
    let n = tape.op("Mul", &[&c, &r])?;
    let mut grads = vec![None, None, None];
    if call.wants(0) {
        let scale = as_channels(tape, call.input(1)?, rank)?;
        let h = tape.op("Mul", &[grad, &scale])?;
        grads[0] = Some(pull_back(tape, &h, &n, &r, &axes)?);
    }
    if call.wants(1) {
        let product = tape.op("Mul", &[grad, &n])?;
        grads[1] = Some(tape.sum(&product, &all_but_channels(rank), false)?);
    }
    if call.wants(2) {
        grads[2] = Some(tape.sum(grad, &all_but_channels(rank), false)?);
    }
    Ok(grads)
}

/// Over the batch in training mode; otherwise with statistics that are inputs like any other.
fn batch_normalization(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if is_training(call.node) { by_batch(tape, call) } else { by_given_statistics(tape, call) }
}

/// `y = scale c r + bias: dmean = -scale r sum g, dvariance = -scale r^3 sum(g c) / 2, dx = scale r g`
fn by_given_statistics(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, scale, grad) = (call.input(0)?, call.input(1)?, call.grad()?);
    let rank = tape.rank(x)?;
    let others = all_but_channels(rank);
    let r = inverse_deviation(tape, call.input(4)?, epsilon(call.node))?;
    let steepness = tape.op("Mul", &[scale, &r])?;
    let mut grads = vec![None; 5];
    if call.wants(0) {
        let factor = as_channels(tape, &steepness, rank)?;
        grads[0] = Some(tape.op("Mul", &[grad, &factor])?);
    }
    if call.wants(1) || call.wants(4) {
        let mean = as_channels(tape, call.input(3)?, rank)?;
        let centred = tape.op("Sub", &[x, &mean])?;
        let product = tape.op("Mul", &[grad, &centred])?;
        let along = tape.sum(&product, &others, false)?;
        let of_scale = tape.op("Mul", &[&along, &r])?;
        let square = tape.op("Mul", &[&r, &r])?;
        let factor = tape.op("Mul", &[&steepness, &square])?;
        let minus_half = tape.scalar(-0.5, x)?;
        let factor = tape.op("Mul", &[&factor, &minus_half])?;
        grads[1] = Some(of_scale);
        grads[4] = Some(tape.op("Mul", &[&along, &factor])?);
    }
    if call.wants(2) || call.wants(3) {
        let sum = tape.sum(grad, &others, false)?;
        let moved = tape.op("Mul", &[&sum, &steepness])?;
        grads[3] = Some(tape.op("Neg", &[&moved])?);
        grads[2] = Some(sum);
    }
    Ok(grads)
}

/// Whether a node normalizes by the statistics of its own batch.
pub(super) fn is_training(node: &NodeProto) -> bool {
    node.is_standard() && node.op_type() == "BatchNormalization" && node.int("training_mode", 0) != 0
}

/// What the written-out normalization leaves for its gradient: `c` and the variance of each channel.
struct Batch {
    centred: String,
    variance: String,
    /// Values a channel on all ranks, where the statistics are of all.
    count: Option<String>,
}

/// `BatchNormalization` as an affine map of each channel: onnxruntime does it in one pass, where `Mul` and `Add` take two.
fn affine(scale: &str, bias: &str, mean: &str, variance: &str, epsilon: f64) -> ([String; 4], Vec<AttributeProto>) {
    #[expect(clippy::cast_possible_truncation, reason = "the attribute that it comes from has 32 bits")]
    let attributes = vec![attribute("epsilon", Value::Float(epsilon as f32))];
    ([scale, bias, mean, variance].map(str::to_owned), attributes)
}

/// Writes a training-mode node out, once: statistics of the batch, the normalization by them, the running statistics.
pub(super) fn write_out(tape: &mut Tape<'_>, node: &NodeProto) -> Result<()> {
    if tape.is_respelt(node) {
        return Ok(());
    }
    if has_operator(tape, node) {
        return spell_as_operator(tape, node).map(drop);
    }
    spell(tape, node).map(drop)
}

/// Its five inputs and its first output.
fn parts(node: &NodeProto) -> Result<([&str; 5], &str)> {
    let missing = || crate::graph::Error::model(node.label(), "wanted five inputs and an output");
    let inputs: Option<Vec<&str>> = (0..5).map(|index| node.given(index)).collect();
    let inputs = inputs.and_then(|inputs| inputs.try_into().ok()).ok_or_else(missing)?;
    Ok((inputs, node.made(0).ok_or_else(missing)?))
}

/// Whether the node is one operator of this project's domain: where the batch is that of this rank.
fn has_operator(tape: &Tape<'_>, node: &NodeProto) -> bool {
    tape.operators.are_of_library() && node.int(OVER_RANKS, 0) == 0
}

/// As one operator; mean and variance of each channel.
fn spell_as_operator(tape: &mut Tape<'_>, node: &NodeProto) -> Result<[String; 2]> {
    let (inputs, y) = parts(node)?;
    let attributes = vec![
        decimal("epsilon", epsilon(node)),
        decimal("momentum", node.float("momentum", 0.9)),
        attribute("sample", Value::Int(node.int(SAMPLE_VARIANCE, 0))),
    ];
    let outputs = [Some(y), None, None, node.made(1), node.made(2)];
    let made =
        tape.respell(node, |tape| tape.make_all(&outputs, ("BatchNormTraining", DOMAIN), &inputs, attributes))?;
    Ok([made[1].clone(), made[2].clone()])
}

fn spell(tape: &mut Tape<'_>, node: &NodeProto) -> Result<Batch> {
    let ([x, scale, bias, running_mean, running_variance], y) = parts(node)?;
    let axes = all_but_channels(tape.rank(x)?);
    tape.respell(node, |tape| {
        let flat = |tape: &mut Tape<'_>, value: &str| tape.reshape(value, &[-1]);
        let (centred, variance, mean, count) = if node.int(OVER_RANKS, 0) == 0 {
            let [centred, variance, mean] = centre(tape, x, &axes)?;
            (centred, flat(tape, &variance)?, flat(tape, &mean)?, None)
        } else {
            centre_over_ranks(tape, x)?
        };
        let zero = tape.scalar(0.0, x)?;
        let zeros = tape.op("Mul", &[&variance, &zero])?;
        let (inputs, attributes) = affine(scale, bias, &zeros, &variance, epsilon(node));
        let [scale, bias, zeros, statistic] = inputs.each_ref().map(String::as_str);
        tape.make(y, "BatchNormalization", &[&centred, scale, bias, zeros, statistic], attributes)?;
        let momentum = node.float("momentum", 0.9);
        let followed = if node.int(SAMPLE_VARIANCE, 0) == 0 {
            variance.clone()
        } else {
            of_sample(tape, x, &variance, count.as_deref())?
        };
        for (index, old, new) in [(1, running_mean, &mean), (2, running_variance, &followed)] {
            if let Some(output) = node.made(index) {
                let (keep, take) = (tape.scalar(momentum, x)?, tape.scalar(1.0 - momentum, x)?);
                let kept = tape.op("Mul", &[old, &keep])?;
                let taken = tape.op("Mul", &[new, &take])?;
                tape.make(output, "Add", &[&kept, &taken], Vec::new())?;
            }
        }
        Ok(Batch { centred, variance, count })
    })
}

/// `c`, variance and mean of each channel, and how many values they are of, over the batch of all ranks.
fn centre_over_ranks(tape: &mut Tape<'_>, x: &str) -> Result<(String, String, String, Option<String>)> {
    let rank = tape.rank(x)?;
    let axes = all_but_channels(rank);
    let sum = tape.sum(x, &axes, false)?;
    let own = count_a_channel(tape, x, &sum)?;
    let own = tape.reshape(&own, &[1])?;
    // One exchange for both.
    let both = tape.with("Concat", &[&sum, &own], vec![attribute("axis", Value::Int(0))])?;
    let both = tape.all_reduce(&[&both])?.swap_remove(0);
    let (zero, last, beyond) = (tape.ints(&[0])?, tape.ints(&[-1])?, tape.ints(&[i64::MAX])?);
    let sum = tape.op("Slice", &[&both, &zero, &last])?;
    let count = tape.op("Slice", &[&both, &last, &beyond])?;
    let mean = tape.op("Div", &[&sum, &count])?;
    let beside = as_channels(tape, &mean, rank)?;
    let centred = tape.op("Sub", &[x, &beside])?;
    let squares = tape.op("Mul", &[&centred, &centred])?;
    let squares = tape.sum(&squares, &axes, false)?;
    let squares = tape.all_reduce(&[&squares])?.swap_remove(0);
    let variance = tape.op("Div", &[&squares, &count])?;
    Ok((centred, variance, mean, Some(count)))
}

/// An attribute of this program's own, on nodes that [`write_out`] spells in others: the running variance follows that of the
/// sample.
pub(super) const SAMPLE_VARIANCE: &str = "pdloss_sample_variance";

/// Lets the running variances of a graph in training mode follow the variance of the sample, as PyTorch's do, instead of that of
/// the population, as ONNX has it.
pub(crate) fn follow_sample_variance(model: &mut ModelProto) {
    for node in model.graph.iter_mut().flat_map(|graph| &mut graph.node).filter(|node| is_training(node)) {
        node.attribute.push(attribute(SAMPLE_VARIANCE, Value::Int(1)));
    }
}

/// An attribute of this program's own, too: the batch is that of all ranks.
pub(super) const OVER_RANKS: &str = "pdloss_over_ranks";

/// Lets the nodes of a graph in training mode normalise by the batch of all ranks.
pub(crate) fn normalise_over_ranks(model: &mut ModelProto) {
    for node in model.graph.iter_mut().flat_map(|graph| &mut graph.node).filter(|node| is_training(node)) {
        node.attribute.push(attribute(OVER_RANKS, Value::Int(1)));
    }
}

/// How many values of `x` there are for each of `channels`.
fn count_a_channel(tape: &mut Tape<'_>, x: &str, channels: &str) -> Result<String> {
    let elements = tape.op("Size", &[x])?;
    let channels = tape.op("Size", &[channels])?;
    let count = tape.op("Div", &[&elements, &channels])?;
    tape.cast_like(&count, x)
}

/// `variance n / max(n - 1, 1)` for `n` values a channel: of this rank, where it is not told.
fn of_sample(tape: &mut Tape<'_>, x: &str, variance: &str, count: Option<&str>) -> Result<String> {
    let count = match count {
        Some(count) => count.to_owned(),
        None => count_a_channel(tape, x, variance)?,
    };
    let one = tape.scalar(1.0, x)?;
    let others = tape.op("Sub", &[&count, &one])?;
    let others = tape.op("Max", &[&others, &one])?;
    let ratio = tape.op("Div", &[&count, &others])?;
    tape.op("Mul", &[variance, &ratio])
}

/// `dx = scale r (g - mean g - c r^2 mean(g c))`, as two affine maps of each channel
fn by_batch(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if call.grads.iter().skip(1).any(Option::is_some) {
        return Err(call.error("running statistics have no gradient"));
    }
    if has_operator(tape, call.node) {
        let [mean, variance] = spell_as_operator(tape, call.node)?;
        let inputs = [call.grad()?, call.input(0)?, call.input(1)?, &mean, &variance];
        let attributes = vec![decimal("epsilon", epsilon(call.node))];
        let mut grads: Vec<_> =
            tape.many("BatchNormGrad", DOMAIN, &inputs, attributes, 3)?.into_iter().map(Some).collect();
        grads.resize(5, None);
        return Ok(grads);
    }
    let Batch { centred, variance, count } = spell(tape, call.node)?;
    let (x, scale, grad) = (call.input(0)?, call.input(1)?, call.grad()?);
    let rank = tape.rank(x)?;
    let others = all_but_channels(rank);
    let r = inverse_deviation(tape, &variance, epsilon(call.node))?;
    let sum = tape.sum(grad, &others, false)?;
    let product = tape.op("Mul", &[grad, &centred])?;
    let along = tape.sum(&product, &others, false)?;
    let of_scale = tape.op("Mul", &[&along, &r])?;
    let mut grads = vec![None, Some(of_scale.clone()), Some(sum.clone()), None, None];
    if call.wants(0) {
        // Where the mean is that of all ranks, so is what comes back through it.
        let (sum, of_scale, count) = match count {
            Some(count) => {
                let both = tape.with("Concat", &[&sum, &of_scale], vec![attribute("axis", Value::Int(0))])?;
                let both = tape.all_reduce(&[&both])?.swap_remove(0);
                let (zero, beyond) = (tape.ints(&[0])?, tape.ints(&[i64::MAX])?);
                let channels = tape.op("Shape", &[&variance])?;
                let sum = tape.op("Slice", &[&both, &zero, &channels])?;
                let of_scale = tape.op("Slice", &[&both, &channels, &beyond])?;
                (sum, of_scale, count)
            }
            // Not of `x`, which is as large and would be kept for nothing else.
            None => {
                let count = count_a_channel(tape, &centred, &variance)?;
                (sum, of_scale, count)
            }
        };
        let steepness = tape.op("Mul", &[scale, &r])?;
        let mean = tape.op("Div", &[&sum, &count])?;
        let of_count = tape.op("Div", &[&of_scale, &count])?;
        let curve = tape.op("Mul", &[&of_count, &r])?;
        let (zero, one) = (tape.scalar(0.0, x)?, tape.scalar(1.0, x)?);
        let zeros = tape.op("Mul", &[&variance, &zero])?;
        let ones = tape.op("Add", &[&zeros, &one])?;
        // scale r (g - mean g), and scale r (c r mean(g c r)) to take off
        let map = |tape: &mut Tape<'_>, value: &str, factor: &str, from: &str| {
            let (inputs, attributes) = affine(factor, &zeros, from, &ones, 0.0);
            let [factor, zeros, from, ones] = inputs.each_ref().map(String::as_str);
            tape.with("BatchNormalization", &[value, factor, zeros, from, ones], attributes)
        };
        let bend = tape.op("Mul", &[&steepness, &curve])?;
        let straight = map(tape, grad, &steepness, &mean)?;
        let bent = map(tape, &centred, &bend, &zeros)?;
        grads[0] = Some(tape.op("Sub", &[&straight, &bent])?);
    }
    Ok(grads)
}
