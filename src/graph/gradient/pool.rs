//! Pools.

use super::{Call, LARGEST, Operators, Rule, broadcast::numbers, convolution::CONV_INPUT_GRAD, tape::Tape};
use crate::graph::{
    Result,
    build::{Dim, Value, attribute, floats, int},
    head::DOMAIN,
    literal,
    shapes::window::Window,
};

/// The operator.
const MAX_POOL_GRAD: &str = "MaxPoolGrad";

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "MaxPool" => max_pool,
        "AveragePool" => average_pool,
        "GlobalAveragePool" => global_average_pool,
        _ => return None,
    })
}

fn ints(values: &[usize]) -> Value {
    Value::Ints(values.iter().map(|&value| int(value)).collect())
}

/// `dx` collects `g` at the places (counted through the whole tensor) where the first of the largest stood
fn max_pool(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    if call.node.int("storage_order", 0) != 0 {
        return Err(call.error("attribute storage_order is 1; only 0 can be differentiated"));
    }
    let (x, grad) = (call.input(0)?, call.grad()?);
    let shape = tape.shape(x)?;
    if tape.operators.are_of_library() && (3..=4).contains(&shape.len()) {
        let window = Window::of(call.node, None, &shape[2..]).map_err(|reason| call.error(reason))?;
        let mut made = tape.many(MAX_POOL_GRAD, DOMAIN, &[grad, x], window.attributes(), 1)?;
        return Ok(vec![made.pop()]);
    }
    let places = tape.output(call.node, 1)?;
    let (places, parts) = (tape.reshape(&places, &[-1])?, tape.reshape(grad, &[-1])?);
    let (zero, one_axis) = (tape.scalar(0.0, x)?, tape.ints(&[1])?);
    let zeros = match tape.shapes.shape(x).and_then(numbers) {
        Some(lengths) => {
            let length = tape.ints(&[lengths.iter().product()])?;
            tape.op("Expand", &[&zero, &length])?
        }
        None => {
            let size = tape.op("Size", &[x])?;
            let length = tape.op("Reshape", &[&size, &one_axis])?;
            tape.op("Expand", &[&zero, &length])?
        }
    };
    let add = vec![attribute("reduction", Value::Text("add".to_owned()))];
    let sums = tape.with("ScatterElements", &[&zeros, &places, &parts], add)?;
    Ok(vec![Some(tape.reshape_like(&sums, x)?)])
}

/// `y = mean(x): dx = g / n`
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52")]
fn global_average_pool(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let x = call.input(0)?;
    let shape = tape.shape(x)?;
    let count = match numbers(&shape[2..]) {
        Some(lengths) => tape.scalar(lengths.iter().product::<i64>() as f64, x)?,
        None => {
            let (whole, left) = (tape.op("Size", &[x])?, tape.op("Size", &[call.output(0)?])?);
            let count = tape.op("Div", &[&whole, &left])?;
            tape.cast_like(&count, x)?
        }
    };
    let share = tape.op("Div", &[call.grad()?, &count])?;
    Ok(vec![Some(tape.expand_like(&share, x)?)])
}

/// `y` = the mean of each window: `dx` collects `g / n` over the windows that an element lies in, which is what
/// `ConvTranspose` with ones does
#[expect(clippy::cast_precision_loss, reason = "windows are small")]
fn average_pool(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let (x, y, grad) = (call.input(0)?, call.output(0)?, call.grad()?);
    let shape = tape.shape(x)?;
    let axes = shape.len() - 2;
    let lengths: Vec<usize> = (2..shape.len()).map(|axis| tape.length(x, axis)).collect::<Result<_>>()?;
    let window = Window::of(call.node, None, &shape[2..]).map_err(|reason| call.error(reason))?;
    let include_pads = call.node.int("count_include_pad", 0) != 0;
    if include_pads && window.ceil {
        return Err(call.error("with both ceil_mode and count_include_pad it cannot be differentiated"));
    }
    let places: Vec<usize> = (2..shape.len()).map(|axis| tape.length(y, axis)).collect::<Result<_>>()?;
    let inside = |axis: usize, place: usize| {
        let covered = |offset: &usize| {
            let at = place * window.strides[axis] + offset * window.dilations[axis];
            include_pads || (window.begin[axis]..window.begin[axis] + lengths[axis]).contains(&at)
        };
        (0..window.kernel[axis]).filter(covered).count()
    };
    let is_large = |lengths: &[usize]| literal::count(lengths).is_none_or(|count| count > LARGEST);
    if is_large(&places) || (0..axes).any(|axis| is_large(&[places[axis], window.kernel[axis]])) {
        let reason = format!(
            "it puts a window of {:?} at {places:?} places; its gradient is written for {LARGEST} at most",
            window.kernel
        );
        return Err(call.error(reason));
    }
    // How many elements each window holds: a product over the axes.
    let mut counts = vec![1.0];
    for (axis, &places) in places.iter().enumerate() {
        let along: Vec<f64> = (0..places).map(|place| inside(axis, place) as f64).collect();
        counts = counts.iter().flat_map(|front| along.iter().map(move |count| front * count)).collect();
    }
    let element = tape.element(x)?;
    let weights: Vec<f64> = counts.iter().map(|count| 1.0 / count).collect();
    let weights = tape.constant(floats("", element, &[&[1, 1], places.as_slice()].concat(), &weights))?;
    let share = tape.op("Mul", &[grad, &weights])?;
    let apart =
        (0..axes).all(|axis| window.reach(axis) == window.strides[axis] && window.kernel[axis] == window.reach(axis));
    let whole = (0..axes).all(|axis| places[axis] * window.strides[axis] == lengths[axis] && window.begin[axis] == 0);
    if apart && whole {
        return Ok(vec![Some(repeat(tape, &share, x, &places, &window)?)]);
    }
    let Dim::Known(channels) = shape[1] else {
        return Err(call.error("the number of channels must be known for its gradient"));
    };
    let kernel = [&[channels, 1], window.kernel.as_slice()].concat();
    if is_large(&kernel) {
        return Err(call.error(format!("its window is {kernel:?}; its gradient is written for {LARGEST} at most")));
    }
    let ones = tape.constant(floats("", element, &kernel, &vec![1.0; kernel.iter().product()]))?;
    let mut end = window.end.clone();
    let mut extra = vec![0; axes];
    for axis in 0..axes {
        let covered = (places[axis] - 1) * window.strides[axis] + window.reach(axis);
        let wanted = lengths[axis] + window.begin[axis];
        // Windows may end before the last elements, and with ceil_mode beyond the padding.
        end[axis] = covered.saturating_sub(wanted);
        extra[axis] = wanted.saturating_sub(covered);
    }
    let attributes = vec![
        attribute("kernel_shape", ints(&window.kernel)),
        attribute("strides", ints(&window.strides)),
        attribute("dilations", ints(&window.dilations)),
        attribute("pads", ints(&[window.begin.as_slice(), &end].concat())),
        attribute("output_padding", ints(&extra)),
        attribute("group", Value::Int(int(channels))),
    ];
    let is_of_cudnn = (0..axes).all(|axis| window.is_of_cudnn(axis, (lengths[axis], places[axis])));
    if tape.operators.are_of_library() && axes <= 2 && (is_of_cudnn || tape.operators != Operators::Cuda) {
        let mut made = tape.many(CONV_INPUT_GRAD, DOMAIN, &[&share, &ones], attributes, 1)?;
        return Ok(vec![made.pop()]);
    }
    Ok(vec![Some(tape.with("ConvTranspose", &[&share, &ones], attributes)?)])
}

/// Each element as often as its window is long: the gradient of windows that lie side by side.
fn repeat(tape: &mut Tape<'_>, share: &str, x: &str, places: &[usize], window: &Window) -> Result<String> {
    let apart: Vec<usize> = (0..places.len()).map(|axis| 3 + 2 * axis).collect();
    let spread = tape.unsqueeze(share, &apart)?;
    let mut lengths = vec![1, 1];
    for (axis, &places) in places.iter().enumerate() {
        lengths.extend([int(places), int(window.kernel[axis])]);
    }
    let lengths = tape.ints(&lengths)?;
    let repeated = tape.op("Expand", &[&spread, &lengths])?;
    tape.reshape_like(&repeated, x)
}
