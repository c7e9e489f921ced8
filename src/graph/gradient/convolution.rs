//! Convolutions. `y = conv(x, W) + b: db = sum g`; `dW` correlates `x` with `g`; `dx` is `g` convolved with `W` turned round.
//!
//! Each has several spellings, and which is fastest in onnxruntime depends on the shape. Its `Conv` multiplies one image
//! at a time, which is slow where an image has few places: there the windows of the whole batch become the rows of one
//! matrix (`columns`), for the convolution itself too, and its gradient uses the same rows again.

use super::{
    Call, Rule,
    tape::{Tape, numbers},
};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, floats},
    proto::AttributeProto,
    shapes::window::Window,
};

type Grads = Result<Vec<Option<String>>>;

/// Up to this many places an image, a convolution is one matrix product over the batch.
const FEW_PLACES: usize = 64;
/// Up to this many, only the gradient of its weights is.
const SOME_PLACES: usize = 200;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        _ => return None,
    })
}

fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
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
    /// Images, where known.
    batch: Option<usize>,
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
        let groups = usize::try_from(call.node.int("group", 1)).unwrap_or(1);
        let window =
            Window::of(call.node, Some(sizes[2..].to_vec()), &shape[2..]).map_err(|reason| call.error(reason))?;
        let known = |shape: &[Dim]| {
            let lengths = numbers(shape)?;
            lengths.into_iter().map(|length| usize::try_from(length).ok()).collect::<Option<Vec<usize>>>()
        };
        let places = known(&tape.shape(y)?[2..]);
        let batch = known(&shape[..1]).map(|batch| batch[0]);
        Ok(Self {
            window,
            groups,
            channels_in: sizes[1] * groups,
            channels_out: sizes[0],
            lengths: known(&shape[2..]),
            places,
            batch,
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

    fn is_small(&self) -> bool {
        self.groups == 1
            && self.lengths.is_some()
            && self.count().is_some_and(|count| count <= FEW_PLACES)
            && self.window.kernel.iter().product::<usize>() > 1
    }

    /// Whether there is one kernel a channel, as large as the image.
    fn is_whole(&self) -> bool {
        let fits = |lengths: &Vec<usize>| *lengths == self.window.kernel && self.count() == Some(1);
        self.groups == self.channels_in
            && self.groups == self.channels_out
            && self.window.begin.iter().all(|&amount| amount == 0)
            && self.lengths.as_ref().is_some_and(fits)
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        let window = &self.window;
        vec![
            attribute("kernel_shape", Value::Ints(ints(&window.kernel))),
            attribute("strides", Value::Ints(ints(&window.strides))),
            attribute("dilations", Value::Ints(ints(&window.dilations))),
            attribute("pads", Value::Ints(ints(&[window.begin.as_slice(), &window.end].concat()))),
            attribute("group", Value::Int(int(self.groups))),
        ]
    }
}

/// `Conv(x, W, b)`
fn conv(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, weights, y, grad) = (call.input(0)?, call.input(1)?, call.output(0)?, call.grad()?);
    let conv = Conv::of(tape, call, x, y, weights)?;
    let rows = if conv.is_small() { Some(as_product(tape, call, &conv)?) } else { None };
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
    if let (true, Some(lengths), Some(places)) = (conv.is_small(), &conv.lengths, &conv.places) {
        return input_grad_as_product(tape, conv, grad, weights, (lengths, places));
    }
    if conv.is_whole() {
        let image = tape.reshape(weights, &[&[1, int(conv.channels_in)], ints(&window.kernel).as_slice()].concat())?;
        return tape.op("Mul", &[grad, &image]);
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
            let extra: Vec<i64> = match (&conv.lengths, &conv.places) {
                (Some(lengths), Some(places)) => (0..axes)
                    .map(|axis| {
                        let covered = (places[axis] - 1) * window.strides[axis] + window.reach(axis);
                        int(lengths[axis] + window.begin[axis] + window.end[axis]) - int(covered)
                    })
                    .collect(),
                _ if window.strides.iter().all(|&stride| stride == 1) => vec![0; axes],
                _ => {
                    tape.length(x, 2)?;
                    tape.length(x, axes + 1)?;
                    vec![0; axes]
                }
            };
            attributes.push(attribute("output_padding", Value::Ints(extra)));
            tape.with("ConvTranspose", &[grad, weights], attributes)
        }
    }
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

/// `dW`, from the convolution's input and the gradient of its output.
fn weight_grad(
    tape: &mut Tape<'_>,
    call: &Call<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    rows: Option<String>,
) -> Result<String> {
    if conv.is_pointwise() && conv.groups == 1 && conv.count().is_none_or(|count| count > SOME_PLACES) {
        return weight_grad_by_image(tape, conv, &[x.to_owned()], grad, weights);
    }
    let (Some(lengths), Some(places)) = (&conv.lengths, &conv.places) else {
        return Err(call.error("all lengths but the batch must be known for the gradient of its weights"));
    };
    if conv.groups > 1 {
        if (conv.channels_in, conv.channels_out) != (conv.groups, conv.groups) {
            let parts = slices(tape, conv, x, places)?;
            return weight_grad_by_image(tape, conv, &parts, grad, weights);
        }
        if conv.is_whole() {
            let product = tape.op("Mul", &[x, grad])?;
            let sum = tape.sum(&product, &[0], false)?;
            return tape.reshape_like(&sum, weights);
        }
        let strided = conv.window.strides.iter().any(|&stride| stride > 1);
        return match (conv.batch, conv.axes()) {
            (Some(batch), _) if strided => {
                weight_grad_by_channel(tape, conv, (x, grad), weights, (batch, lengths, places))
            }
            (_, 2) => weight_grad_by_diagonals(tape, conv, (x, grad), weights, places),
            _ => weight_grad_by_offset(tape, conv, (x, grad), weights, places),
        };
    }
    let (count, kernel) = (places.iter().product::<usize>(), conv.window.kernel.iter().product::<usize>());
    if rows.is_none() && conv.channels_in <= 4 && kernel > 9 {
        return weight_grad_as_conv(tape, conv, x, grad, weights);
    }
    if rows.is_none() && conv.channels_in > 4 && count > SOME_PLACES {
        let parts = slices(tape, conv, x, places)?;
        return weight_grad_by_image(tape, conv, &parts, grad, weights);
    }
    let rows = match rows {
        Some(rows) => rows,
        None => columns(tape, x, conv, places)?,
    };
    let flat = channels_last(tape, grad)?;
    let flat = tape.reshape(&flat, &[-1, int(conv.channels_out)])?;
    let product = super::linear::product(tape, (&flat, true), (&rows, false), 1.0)?;
    let axes = conv.axes();
    let apart = [&[int(conv.channels_out)], ints(&conv.window.kernel).as_slice(), &[int(conv.channels_in)]].concat();
    let apart = tape.reshape(&product, &apart)?;
    let perm: Vec<usize> = [0, axes + 1].into_iter().chain(1..=axes).collect();
    tape.transpose(&apart, &perm)
}

/// For each place inside the kernel, the elements of `x` that it meets: `[N, C, places...]`.
fn slices(tape: &mut Tape<'_>, conv: &Conv, x: &str, places: &[usize]) -> Result<Vec<String>> {
    let window = &conv.window;
    let padded = pad(tape, x, 2, &ints(&window.begin), &ints(&window.end))?;
    let axes: Vec<usize> = (2..conv.axes() + 2).collect();
    offsets(&window.kernel).iter().map(|offset| slice(tape, &padded, offset, window, places, &axes)).collect()
}

/// Every place inside a kernel, the last axis fastest.
fn offsets(kernel: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &length in kernel {
        let longer = |front: &Vec<usize>| (0..length).map(|at| [front.as_slice(), &[at]].concat()).collect::<Vec<_>>();
        all = all.iter().flat_map(longer).collect();
    }
    all
}

fn slice(
    tape: &mut Tape<'_>,
    padded: &str,
    offset: &[usize],
    window: &Window,
    places: &[usize],
    axes: &[usize],
) -> Result<String> {
    let start = |axis: usize| int(offset[axis] * window.dilations[axis]);
    let starts: Vec<i64> = (0..axes.len()).map(start).collect();
    let span = |axis: usize| int((places[axis] - 1) * window.strides[axis] + 1);
    let ends: Vec<i64> = (0..axes.len()).map(|axis| starts[axis] + span(axis)).collect();
    if (0..axes.len()).all(|axis| tape.length(padded, axes[axis]).is_ok_and(|length| span(axis) == int(length)))
        && window.strides.iter().all(|&stride| stride == 1)
    {
        return Ok(padded.to_owned());
    }
    let (starts, ends) = (tape.ints(&starts)?, tape.ints(&ends)?);
    let (axes, steps) = (tape.ints(&ints(axes))?, tape.ints(&ints(&window.strides))?);
    tape.op("Slice", &[padded, &starts, &ends, &axes, &steps])
}

/// Zeros around the axes from `first` on.
fn pad(tape: &mut Tape<'_>, x: &str, first: usize, begin: &[i64], end: &[i64]) -> Result<String> {
    if begin.iter().chain(end).all(|&amount| amount == 0) {
        return Ok(x.to_owned());
    }
    let rank = tape.rank(x)?;
    let around = |amounts: &[i64]| {
        let mut all = vec![0; rank];
        all[first..first + amounts.len()].copy_from_slice(amounts);
        all
    };
    let amounts = tape.ints(&[around(begin), around(end)].concat())?;
    let zero = tape.scalar(0.0, x)?;
    tape.op("Pad", &[x, &amounts, &zero])
}

/// One product for each image and place inside the kernel, summed over the images.
fn weight_grad_by_image(
    tape: &mut Tape<'_>,
    conv: &Conv,
    parts: &[String],
    grad: &str,
    weights: &str,
) -> Result<String> {
    let (each_in, each_out) = (conv.channels_in / conv.groups, conv.channels_out / conv.groups);
    let count = conv.count().map_or(-1, int);
    let stack = |each: usize| {
        if conv.groups == 1 { vec![0, int(each), count] } else { vec![0, int(conv.groups), int(each), count] }
    };
    let rank = stack(1).len();
    let grad = tape.reshape(grad, &stack(each_out))?;
    let mut sums = Vec::new();
    for part in parts {
        let part = tape.reshape(part, &stack(each_in))?;
        let perm: Vec<usize> = (0..rank - 2).chain([rank - 1, rank - 2]).collect();
        let turned = tape.transpose(&part, &perm)?;
        let product = tape.op("MatMul", &[&grad, &turned])?;
        let sum = tape.sum(&product, &[0], false)?;
        sums.push(if parts.len() == 1 { sum } else { tape.unsqueeze(&sum, &[rank - 1])? });
    }
    join(tape, &sums, rank - 1, weights)
}

/// The parts of a gradient of weights, side by side, in the weights' shape.
fn join(tape: &mut Tape<'_>, parts: &[String], axis: usize, weights: &str) -> Result<String> {
    let whole = side_by_side(tape, parts, axis)?;
    tape.reshape_like(&whole, weights)
}

/// One kernel a channel: for each place inside the kernel, the sum of products.
fn weight_grad_by_offset(
    tape: &mut Tape<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    places: &[usize],
) -> Result<String> {
    let others: Vec<usize> = (0..conv.axes() + 2).filter(|&axis| axis != 1).collect();
    let mut sums = Vec::new();
    for part in slices(tape, conv, x, places)? {
        let product = tape.op("Mul", &[grad, &part])?;
        let sum = tape.sum(&product, &others, false)?;
        sums.push(tape.unsqueeze(&sum, &[1])?);
    }
    join(tape, &sums, 1, weights)
}

/// One kernel a channel, strided, batch known: each image and channel is a channel of one large image, whose kernel is `g`,
/// spread by the strides.
fn weight_grad_by_channel(
    tape: &mut Tape<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    (batch, lengths, places): (usize, &[usize], &[usize]),
) -> Result<String> {
    let channels = batch * conv.channels_in;
    let image = tape.reshape(x, &[&[1, int(channels)], ints(lengths).as_slice()].concat())?;
    let kernel = tape.reshape(grad, &[&[int(channels), 1], ints(places).as_slice()].concat())?;
    let window = &conv.window;
    let attributes = vec![
        attribute("kernel_shape", Value::Ints(ints(places))),
        attribute("strides", Value::Ints(ints(&window.dilations))),
        attribute("dilations", Value::Ints(ints(&window.strides))),
        attribute("pads", Value::Ints(ints(&[window.begin.as_slice(), &window.end].concat()))),
        attribute("group", Value::Int(int(channels))),
    ];
    let sums = tape.with("Conv", &[&image, &kernel], attributes)?;
    let sums = cut(tape, conv, &sums)?;
    let apart = [&[int(batch), int(conv.channels_in), 1], ints(&window.kernel).as_slice()].concat();
    let apart = tape.reshape(&sums, &apart)?;
    let sum = tape.sum(&apart, &[0], false)?;
    tape.reshape_like(&sum, weights)
}

/// One kernel a channel, over images: for each row of the kernel, one matrix product a channel of columns of `x` with
/// columns of `g`, summed over batch, rows and blocks of columns. The pairs of columns that belong to a place in the kernel
/// lie on a diagonal of it. That is several times the multiplications needed, in an operator that is many times as fast.
fn weight_grad_by_diagonals(
    tape: &mut Tape<'_>,
    conv: &Conv,
    (x, grad): (&str, &str),
    weights: &str,
    places: &[usize],
) -> Result<String> {
    let window = &conv.window;
    // Narrow blocks waste fewer products, wide ones suit the matrix product: 14 measured best among the divisors of 56.
    let block = (1..=places[1].min(16)).rev().find(|block| places[1].is_multiple_of(*block)).unwrap_or(1);
    let block = if block < 4 { places[1] } else { block };
    let width = (block - 1) * window.strides[1] + window.reach(1);
    let padded = pad(tape, x, 2, &ints(&window.begin), &ints(&window.end))?;
    let turned = tape.transpose(&padded, &[1, 0, 2, 3])?;
    let step = block * window.strides[1];
    let blocks: Vec<String> = (0..places[1] / block)
        .map(|index| {
            let (from, axis) = (int(index * step), tape.ints(&[3])?);
            let (starts, ends) = (tape.ints(&[from])?, tape.ints(&[from + int(width)])?);
            tape.op("Slice", &[&turned, &starts, &ends, &axis])
        })
        .collect::<Result<_>>()?;
    let columns = side_by_side(tape, &blocks, 3)?;
    let grad = tape.transpose(grad, &[1, 0, 2, 3])?;
    let channels = int(conv.channels_in);
    let grad = tape.reshape(&grad, &[channels, -1, int(block)])?;
    let mut products = Vec::new();
    let rows = Window {
        strides: vec![window.strides[0]],
        dilations: vec![window.dilations[0]],
        kernel: vec![window.kernel[0]],
        ..window.clone()
    };
    for row in 0..window.kernel[0] {
        let part = slice(tape, &columns, &[row], &rows, &places[..1], &[2])?;
        let part = tape.reshape(&part, &[channels, -1, int(width)])?;
        let part = tape.transpose(&part, &[0, 2, 1])?;
        let product = tape.op("MatMul", &[&part, &grad])?;
        products.push(tape.unsqueeze(&product, &[1])?);
    }
    let all = side_by_side(tape, &products, 1)?;
    let all = tape.reshape(&all, &[channels * int(window.kernel[0]), int(width * block)])?;
    let mut diagonals = vec![0.0; width * block * window.kernel[1]];
    for place in 0..block {
        for column in 0..window.kernel[1] {
            let of_x = place * window.strides[1] + column * window.dilations[1];
            diagonals[(of_x * block + place) * window.kernel[1] + column] = 1.0;
        }
    }
    let element = tape.element(x)?;
    let diagonals = tape.constant(floats("", element, &[width * block, window.kernel[1]], &diagonals))?;
    let sums = tape.op("MatMul", &[&all, &diagonals])?;
    tape.reshape_like(&sums, weights)
}

/// `Concat`, or the only part.
fn side_by_side(tape: &mut Tape<'_>, parts: &[String], axis: usize) -> Result<String> {
    if let [only] = parts {
        return Ok(only.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    tape.with("Concat", &parts, vec![attribute("axis", Value::Int(int(axis)))])
}

/// Batch and channels exchanged, the gradient is a convolution of `x` with `g`, spread by the strides.
fn weight_grad_as_conv(tape: &mut Tape<'_>, conv: &Conv, x: &str, grad: &str, weights: &str) -> Result<String> {
    let perm: Vec<usize> = [1, 0].into_iter().chain(2..conv.axes() + 2).collect();
    let (image, kernel) = (tape.transpose(x, &perm)?, tape.transpose(grad, &perm)?);
    let window = &conv.window;
    let attributes = vec![
        attribute("strides", Value::Ints(ints(&window.dilations))),
        attribute("dilations", Value::Ints(ints(&window.strides))),
        attribute("pads", Value::Ints(ints(&[window.begin.as_slice(), &window.end].concat()))),
    ];
    let sums = tape.with("Conv", &[&image, &kernel], attributes)?;
    let sums = cut(tape, conv, &sums)?;
    let sums = tape.transpose(&sums, &perm)?;
    tape.reshape_like(&sums, weights)
}

/// As much as the kernel is long: strides may leave a rest of the input that no window reached.
fn cut(tape: &mut Tape<'_>, conv: &Conv, sums: &str) -> Result<String> {
    let axes: Vec<i64> = (0..conv.axes()).map(|axis| int(axis) + 2).collect();
    let kernel = ints(&conv.window.kernel);
    let (starts, ends, axes) = (tape.ints(&vec![0; axes.len()])?, tape.ints(&kernel)?, tape.ints(&axes)?);
    tape.op("Slice", &[sums, &starts, &ends, &axes])
}

/// `[N, C, ...]` as `[N, ..., C]`.
fn channels_last(tape: &mut Tape<'_>, value: &str) -> Result<String> {
    let rank = tape.rank(value)?;
    let perm: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    tape.once(format!("channels last {value}"), |tape| tape.transpose(value, &perm))
}

/// The windows of the whole batch as rows: `[N places, kernel C]`.
fn columns(tape: &mut Tape<'_>, x: &str, conv: &Conv, places: &[usize]) -> Result<String> {
    let last = channels_last(tape, x)?;
    let window = &conv.window;
    rows_of(tape, &last, window, (&ints(&window.begin), &ints(&window.end)), places, conv.channels_in, false)
}

/// The same of `[N, ..., C]`; `back` takes the places inside the kernel in reverse order.
fn rows_of(
    tape: &mut Tape<'_>,
    x: &str,
    window: &Window,
    (begin, end): (&[i64], &[i64]),
    places: &[usize],
    channels: usize,
    back: bool,
) -> Result<String> {
    let padded = pad(tape, x, 1, begin, end)?;
    let axes: Vec<usize> = (1..=places.len()).collect();
    let mut offsets = offsets(&window.kernel);
    if back {
        offsets.reverse();
    }
    let parts: Vec<String> =
        offsets.iter().map(|offset| slice(tape, &padded, offset, window, places, &axes)).collect::<Result<_>>()?;
    let whole = side_by_side(tape, &parts, places.len() + 1)?;
    tape.reshape(&whole, &[-1, int(channels * offsets.len())])
}

/// Spells the convolution as one product over the batch; its rows.
fn as_product(tape: &mut Tape<'_>, call: &Call<'_>, conv: &Conv) -> Result<String> {
    let (x, weights, y) = (call.input(0)?, call.input(1)?, call.output(0)?);
    let Some(places) = &conv.places else { return Err(call.error("its lengths are not known")) };
    let axes = conv.axes();
    tape.respell(call.node, |tape| {
        let rows = columns(tape, x, conv, places)?;
        let perm: Vec<usize> = [0].into_iter().chain(2..axes + 2).chain([1]).collect();
        let matrix = tape.transpose(weights, &perm)?;
        let matrix = tape.reshape(&matrix, &[int(conv.channels_out), -1])?;
        let mut inputs = vec![rows.as_str(), &matrix];
        inputs.extend(call.node.given(2));
        let product = tape.with("Gemm", &inputs, vec![attribute("transB", Value::Int(1))])?;
        let apart = [&[-1], ints(places).as_slice(), &[int(conv.channels_out)]].concat();
        let last = tape.reshape(&product, &apart)?;
        let front: Vec<i64> = [0, int(axes) + 1].into_iter().chain(1..=int(axes)).collect();
        tape.make(y, "Transpose", &[&last], vec![attribute("perm", Value::Ints(front))])?;
        Ok(rows)
    })
}

/// `dx` as one product over the batch: the rows of `g`, spread by the strides, with the weights turned round.
fn input_grad_as_product(
    tape: &mut Tape<'_>,
    conv: &Conv,
    grad: &str,
    weights: &str,
    (lengths, places): (&[usize], &[usize]),
) -> Result<String> {
    let window = &conv.window;
    let axes = conv.axes();
    let mut spread = channels_last(tape, grad)?;
    if window.strides.iter().any(|&stride| stride > 1) {
        let apart: Vec<usize> = (0..axes).map(|axis| 2 + 2 * axis).collect();
        spread = tape.unsqueeze(&spread, &apart)?;
        let zeros: Vec<i64> = window.strides.iter().flat_map(|&stride| [int(stride) - 1, 0]).collect();
        spread = pad(tape, &spread, 2, &vec![0; zeros.len()], &zeros)?;
        let long: Vec<i64> = (0..axes).map(|axis| int(places[axis] * window.strides[axis])).collect();
        spread = tape.reshape(&spread, &[&[-1], long.as_slice(), &[int(conv.channels_out)]].concat())?;
    }
    let begin: Vec<i64> = (0..axes).map(|axis| int(window.reach(axis) - 1) - int(window.begin[axis])).collect();
    let end: Vec<i64> = (0..axes)
        .map(|axis| {
            int(lengths[axis] + window.reach(axis) - 1) - int(places[axis] * window.strides[axis]) - begin[axis]
        })
        .collect();
    let dense = Window { strides: vec![1; axes], ..window.clone() };
    let rows = rows_of(tape, &spread, &dense, (&begin, &end), lengths, conv.channels_out, true)?;
    let perm: Vec<usize> = (2..axes + 2).chain([0, 1]).collect();
    let matrix = tape.transpose(weights, &perm)?;
    let matrix = tape.reshape(&matrix, &[-1, int(conv.channels_in)])?;
    let product = super::linear::product(tape, (&rows, false), (&matrix, false), 1.0)?;
    let last = tape.reshape(&product, &[&[-1], ints(lengths).as_slice(), &[int(conv.channels_in)]].concat())?;
    let front: Vec<usize> = [0, axes + 1].into_iter().chain(1..=axes).collect();
    tape.transpose(&last, &front)
}
