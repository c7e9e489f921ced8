//! Convolutions. `y = conv(x, W) + b: db = sum g`; `dW` correlates `x` with `g`; `dx` is `g` convolved with `W` turned round.
//!
//! Each has several spellings, and which is fastest in onnxruntime depends on the shape. Its `Conv` multiplies one image
//! at a time, which is slow where an image has few places: there the windows of the whole batch become the rows of one
//! matrix (`columns`), for the convolution itself too, and its gradient uses the same rows again.

mod rows;
mod weights;
mod window;

use super::{Call, Operators, Rule, broadcast::numbers, tape::Tape};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, int},
    head::DOMAIN,
    proto::AttributeProto,
    shapes::window::Window,
};
use rows::{as_product, input_grad_as_product};
use weights::weight_grad;

type Grads = Result<Vec<Option<String>>>;

/// Up to this many places an image, a convolution is one matrix product over the batch.
const FEW_PLACES: usize = 64;
/// The same where the gradients are operators, and no use of the rows that the product is of.
const FEWEST_PLACES: usize = 16;
/// The operator for convolutions by Winograd's algorithm.
const WINOGRAD_CONV: &str = "WinogradConv";
/// Channels on either side, and places of an image, from which on it is the faster.
const WINOGRAD_CHANNELS: usize = 32;
const WINOGRAD_PLACES: usize = 100;
/// The operator for the gradient of the input.
pub(super) const CONV_INPUT_GRAD: &str = "ConvInputGrad";

/// Up to this many, only the gradient of its weights is.
const SOME_PLACES: usize = 200;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        _ => return None,
    })
}

fn ints(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| int(value)).collect()
}

/// The shapes of `y = conv(x, W)`, `W` of `[out, in / groups, kernel...]`. Lengths are those behind batch and channels.
struct Conv {
    window: Window,
    groups: usize,
    channels_in: usize,
    channels_out: usize,
    /// Of the input, where they are known.
    lengths: Option<Vec<usize>>,
    /// Of the output, where they are known.
    places: Option<Vec<usize>>,
    /// Whether cuDNN has it.
    is_of_cudnn: bool,
}

impl Conv {
    /// `x` and `y` as the convolution sees them (a transposed one exchanges them).
    fn of(tape: &Tape<'_>, call: &Call<'_>, x: &str, y: &str, weights: &str) -> Result<Self> {
        let shape = tape.shape(x)?;
        let sizes = tape.shape(weights)?;
        let Some(sizes) = numbers(&sizes) else {
            return Err(call.error("the shape of its weights must be known for its gradient"));
        };
        let sizes: Vec<usize> = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        let group = call.node.int("group", 1);
        let groups = usize::try_from(group).unwrap_or(0);
        if shape.len() < 3 || sizes.len() != shape.len() || groups == 0 || !sizes[0].is_multiple_of(groups) {
            let reason = format!("weights of {sizes:?} in {group} groups do not fit {} axes", shape.len());
            return Err(call.error(reason));
        }
        let window =
            Window::of(call.node, Some(sizes[2..].to_vec()), &shape[2..]).map_err(|reason| call.error(reason))?;
        let known = |shape: &[Dim]| {
            let lengths = numbers(shape)?;
            lengths.into_iter().map(|length| usize::try_from(length).ok()).collect::<Option<Vec<usize>>>()
        };
        let (lengths, places) = (known(&shape[2..]), known(&tape.shape(y)?[2..]));
        let is_of_cudnn = match (&lengths, &places) {
            (Some(lengths), Some(places)) => {
                (0..window.kernel.len()).all(|axis| window.is_of_cudnn(axis, (lengths[axis], places[axis])))
            }
            // A convolution leaves less than a stride behind its windows; one that is transposed may leave more.
            _ => window.begin == window.end && call.node.ints("output_padding").is_none(),
        };
        Ok(Self {
            window,
            groups,
            channels_in: sizes[1].saturating_mul(groups),
            channels_out: sizes[0],
            lengths,
            places,
            is_of_cudnn,
        })
    }

    fn axes(&self) -> usize {
        self.window.kernel.len()
    }

    fn is_pointwise(&self) -> bool {
        let window = &self.window;
        let plain = |values: &[usize], value: usize| values.iter().all(|&each| each == value);
        plain(&window.kernel, 1) && plain(&window.strides, 1) && plain(&window.begin, 0) && plain(&window.end, 0)
    }

    /// Places of an image, where known.
    fn count(&self) -> Option<usize> {
        self.places.as_ref().map(|places| places.iter().product())
    }

    /// Whether it is one matrix product over the batch.
    fn is_small(&self, tape: &Tape<'_>) -> bool {
        if tape.operators == Operators::Cuda && self.has_operators(tape) {
            return false;
        }
        let most = if self.has_operators(tape) { FEWEST_PLACES } else { FEW_PLACES };
        self.groups == 1 && self.lengths.is_some() && self.has_at_most(most)
    }

    /// Whether there is more than one place in the kernel, and so many in an image or fewer.
    fn has_at_most(&self, places: usize) -> bool {
        self.count().is_some_and(|count| count <= places) && self.window.kernel.iter().product::<usize>() > 1
    }

    /// Whether the gradients of its weights and its input may be operators.
    fn has_operators(&self, tape: &Tape<'_>) -> bool {
        let has = match tape.operators {
            Operators::Standard => false,
            Operators::Cpu => true,
            Operators::Cuda => self.is_of_cudnn,
        };
        has && self.axes() <= 2
    }

    /// Whether there is one kernel a channel, as large as the image.
    fn is_whole(&self) -> bool {
        let fits = |lengths: &Vec<usize>| *lengths == self.window.kernel && self.count() == Some(1);
        self.groups == self.channels_in
            && self.groups == self.channels_out
            && self.window.begin.iter().all(|&amount| amount == 0)
            && self.lengths.as_ref().is_some_and(fits)
    }

    /// Whether this library computes it, and its gradients, with fewer products than there are.
    fn is_winograd(&self, tape: &Tape<'_>) -> bool {
        let window = &self.window;
        tape.operators == Operators::Cpu
            && self.groups == 1
            && self.channels_in.min(self.channels_out) >= WINOGRAD_CHANNELS
            && window.kernel == [3, 3]
            && [&window.strides, &window.dilations].into_iter().flatten().all(|&by| by == 1)
            && window.begin.iter().chain(&window.end).all(|&amount| amount <= 2)
            && self.count().is_some_and(|count| count >= WINOGRAD_PLACES)
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        let mut attributes = self.window.attributes();
        attributes.push(attribute("group", Value::Int(int(self.groups))));
        attributes
    }
}

/// `Conv(x, W, b)`
fn conv(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, weights, y, grad) = (call.input(0)?, call.input(1)?, call.output(0)?, call.grad()?);
    let conv = Conv::of(tape, call, x, y, weights)?;
    let rows = if conv.is_small(tape) { Some(as_product(tape, call, &conv)?) } else { None };
    if conv.is_winograd(tape) && !tape.is_respelt(call.node) {
        let inputs: Vec<&str> = [Some(x), Some(weights), call.node.given(2)].into_iter().flatten().collect();
        let made = (WINOGRAD_CONV, DOMAIN);
        tape.respell(call.node, |tape| tape.make_all(&[Some(y)], made, &inputs, conv.attributes()))?;
    }
    let mut grads = vec![None, None, None];
    if call.wants(0) {
        grads[0] = Some(input_grad(tape, &conv, grad, weights, x)?);
    }
    if call.wants(1) {
        grads[1] = Some(weight_grad(tape, call, &conv, (x, grad), weights, rows)?);
    }
    if call.wants(2) {
        grads[2] = Some(bias_grad(tape, grad)?);
    }
    Ok(grads)
}

fn bias_grad(tape: &mut Tape<'_>, grad: &str) -> Result<String> {
    let axes: Vec<usize> = (0..tape.rank(grad)?).filter(|&axis| axis != 1).collect();
    tape.sum(grad, &axes, false)
}

/// `ConvTranspose(x, W, b)` is the convolution from `y` to `x` backwards: `dx = conv(g, W)`
fn conv_transpose(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if call.node.ints("output_shape").is_some() || call.node.text("auto_pad", "NOTSET") != "NOTSET" {
        return Err(call.error("it must give pads instead of output_shape or auto_pad to be differentiated"));
    }
    let (x, weights, y, grad) = (call.input(0)?, call.input(1)?, call.output(0)?, call.grad()?);
    let conv = Conv::of(tape, call, y, x, weights)?;
    let mut grads = vec![None, None, None];
    if call.wants(0) {
        let part = tape.with("Conv", &[grad, weights], conv.attributes())?;
        grads[0] = Some(part);
    }
    if call.wants(1) {
        grads[1] = Some(weight_grad(tape, call, &conv, (grad, x), weights, None)?);
    }
    if call.wants(2) {
        grads[2] = Some(bias_grad(tape, grad)?);
    }
    Ok(grads)
}

/// `dx`
fn input_grad(tape: &mut Tape<'_>, conv: &Conv, grad: &str, weights: &str, x: &str) -> Result<String> {
    let window = &conv.window;
    let axes = conv.axes();
    let turned: Option<Vec<usize>> =
        (0..axes).map(|axis| (window.reach(axis) - 1).checked_sub(window.begin[axis])).collect();
    let turned_end: Option<Vec<usize>> =
        (0..axes).map(|axis| (window.reach(axis) - 1).checked_sub(window.end[axis])).collect();
    if conv.is_whole() {
        let image = tape.reshape(weights, &[&[1, int(conv.channels_in)], ints(&window.kernel).as_slice()].concat())?;
        return tape.op("Mul", &[grad, &image]);
    }
    // Elsewhere onnxruntime's own convolution is as fast on the processor, even with the weights turned round.
    let is_faster = tape.operators == Operators::Cuda
        || conv.channels_in == conv.groups
        || conv.has_at_most(SOME_PLACES)
        || conv.is_winograd(tape);
    if conv.has_operators(tape) && is_faster {
        let mut attributes = conv.attributes();
        attributes.push(attribute("output_padding", Value::Ints(extra(tape, conv, x)?)));
        let mut made = tape.many(CONV_INPUT_GRAD, DOMAIN, &[grad, weights], attributes, 1)?;
        return Ok(made.swap_remove(0));
    }
    if let (true, Some(lengths), Some(places)) = (conv.is_small(tape), &conv.lengths, &conv.places) {
        return input_grad_as_product(tape, conv, grad, weights, (lengths, places));
    }
    match (turned, turned_end) {
        (Some(begin), Some(end)) if window.strides.iter().all(|&stride| stride == 1) => {
            let weights = turned_round(tape, conv, weights)?;
            let window = Window { begin, end, ..window.clone() };
            let back = Conv { window, lengths: None, places: None, ..*conv };
            tape.with("Conv", &[grad, &weights], back.attributes())
        }
        _ => {
            let mut attributes = conv.attributes();
            attributes.push(attribute("output_padding", Value::Ints(extra(tape, conv, x)?)));
            tape.with("ConvTranspose", &[grad, weights], attributes)
        }
    }
}

/// How many elements of each axis of `x` lie behind all that a window meets.
fn extra(tape: &Tape<'_>, conv: &Conv, x: &str) -> Result<Vec<i64>> {
    let (window, axes) = (&conv.window, conv.axes());
    if let (Some(lengths), Some(places)) = (&conv.lengths, &conv.places) {
        let beyond = |axis: usize| {
            let covered = (places[axis] - 1) * window.strides[axis] + window.reach(axis);
            int(lengths[axis] + window.begin[axis] + window.end[axis]) - int(covered)
        };
        return Ok((0..axes).map(beyond).collect());
    }
    if window.strides.iter().any(|&stride| stride > 1) {
        tape.length(x, 2)?;
        tape.length(x, axes + 1)?;
    }
    Ok(vec![0; axes])
}

/// `W` of the convolution back: channels exchanged inside each group, every kernel turned round.
fn turned_round(tape: &mut Tape<'_>, conv: &Conv, weights: &str) -> Result<String> {
    let axes = conv.axes();
    let (each_in, each_out) = (conv.channels_in / conv.groups, conv.channels_out / conv.groups);
    let mut turned = weights.to_owned();
    if conv.groups == 1 {
        let perm: Vec<usize> = [1, 0].into_iter().chain(2..axes + 2).collect();
        turned = tape.transpose(&turned, &perm)?;
    } else if (each_in, each_out) != (1, 1) {
        let kernel = ints(&conv.window.kernel);
        let apart = [&[int(conv.groups), int(each_out), int(each_in)], kernel.as_slice()].concat();
        turned = tape.reshape(&turned, &apart)?;
        let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..axes + 3).collect();
        turned = tape.transpose(&turned, &perm)?;
        turned = tape.reshape(&turned, &[&[int(conv.channels_in), int(each_out)], kernel.as_slice()].concat())?;
    }
    let long: Vec<i64> = (0..axes).filter(|&axis| conv.window.kernel[axis] > 1).map(|axis| int(axis) + 2).collect();
    if long.is_empty() {
        return Ok(turned);
    }
    let (last, before) = (tape.ints(&vec![-1; long.len()])?, tape.ints(&vec![i64::MIN + 1; long.len()])?);
    let along = tape.ints(&long)?;
    tape.op("Slice", &[&turned, &last, &before, &along, &last])
}
