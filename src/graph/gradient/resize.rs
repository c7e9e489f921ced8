//! `Resize`: along each axis it multiplies every line by the same matrix.

use super::{Call, LARGEST, Rule, tape::Tape};
use crate::graph::{
    Result,
    build::{Value, attribute, floats, int},
    shapes::resample,
};

type Grads = Result<Vec<Option<String>>>;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    (operator == "Resize").then_some(resize as Rule)
}

/// `y = x A` along each axis: `dx = g A'`, where `A` is what the operator itself makes of the unit matrix. So it has every
/// mode's and every version's own weights.
fn resize(tape: &mut Tape<'_>, call: &Call<'_>) -> Grads {
    let policy = call.node.text("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        let reason =
            format!("with keep_aspect_ratio_policy '{policy}' it cannot be differentiated; write the sizes out");
        return Err(call.error(reason));
    }
    let (x, y) = (call.input(0)?, call.output(0)?);
    let (before, after) = (tape.shape(x)?, tape.shape(y)?);
    let Some(axes) = resample::axes(call.node, before.len()) else {
        return Err(call.error(format!("its axes are none of {} axes", before.len())));
    };
    let is_crop = call.node.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize";
    let mut part = call.grad()?.to_owned();
    for (index, &axis) in axes.iter().enumerate() {
        let setting = Setting::of(tape, call, index, axes.len())?;
        let is_kept = !is_crop && before[axis] == after[axis] && setting.scale.is_none_or(|scale| scale == 1.0);
        if is_kept {
            continue;
        }
        let lengths = (tape.length(x, axis)?, tape.length(y, axis)?);
        let matrix = of_unit(tape, call, lengths, &setting)?;
        part = along(tape, &part, axis, &matrix)?;
    }
    Ok(vec![Some(part)])
}

/// What a node says of one axis.
struct Setting {
    /// How much longer the axis becomes; `None` where the node says how long.
    scale: Option<f64>,
    /// Where the region starts and ends that is read.
    region: Option<(f64, f64)>,
}

impl Setting {
    fn of(tape: &Tape<'_>, call: &Call<'_>, index: usize, count: usize) -> Result<Self> {
        let numbers = |input: usize, wanted: usize, what: &str| match call.node.given(input) {
            None => Ok(None),
            Some(name) => match tape.shapes.numbers(name) {
                // An empty constant is none at all.
                Some([]) => Ok(None),
                Some(numbers) if numbers.len() == wanted => Ok(Some(numbers)),
                _ => Err(call.error(format!("its {what} must be {wanted} constants for its gradient"))),
            },
        };
        let scale =
            if call.node.given(3).is_some() { None } else { numbers(2, count, "scales")?.map(|all| all[index]) };
        let mode = call.node.text("coordinate_transformation_mode", "half_pixel");
        let region = if mode == "tf_crop_and_resize" { numbers(1, 2 * count, "region")? } else { None };
        Ok(Self { scale, region: region.map(|all| (all[index], all[index + count])) })
    }
}

/// What the operator makes of the unit matrix along one axis, `[length of x, length of y]`.
fn of_unit(tape: &mut Tape<'_>, call: &Call<'_>, (from, to): (usize, usize), setting: &Setting) -> Result<String> {
    if from.max(to).checked_mul(from).is_none_or(|count| count > LARGEST) {
        let reason = format!("it makes {to} elements of {from}; its gradient is written for {LARGEST} weights at most");
        return Err(call.error(reason));
    }
    let element = tape.element(call.input(0)?)?;
    let unit: Vec<f64> = (0..from * from).map(|at| if at % (from + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let unit = tape.constant(floats("", element, &[1, 1, from, from], &unit))?;
    // What is read from outside the region is a constant, and has no slope.
    let attributes =
        call.node.attribute.iter().filter(|attribute| {
            !matches!(attribute.name(), "axes" | "extrapolation_value" | "keep_aspect_ratio_policy")
        });
    let attributes = attributes.cloned().collect();
    let region = match setting.region {
        Some((start, end)) => {
            let region = [0.0, 0.0, 0.0, start, 1.0, 1.0, 1.0, end];
            tape.constant(floats("", element, &[8], &region))?
        }
        None => String::new(),
    };
    let image = match setting.scale {
        Some(scale) => {
            let scales = tape.constant(floats("", crate::graph::build::Element::F32, &[4], &[1.0, 1.0, 1.0, scale]))?;
            tape.with("Resize", &[&unit, &region, &scales], attributes)?
        }
        None => {
            let sizes = tape.ints(&[1, 1, int(from), int(to)])?;
            tape.with("Resize", &[&unit, &region, "", &sizes], attributes)?
        }
    };
    tape.reshape(&image, &[int(from), int(to)])
}

/// `value A'` along an axis.
fn along(tape: &mut Tape<'_>, value: &str, axis: usize, matrix: &str) -> Result<String> {
    let rank = tape.rank(value)?;
    if axis + 2 == rank {
        return tape.op("MatMul", &[matrix, value]);
    }
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(axis, rank - 1);
    let last = tape.transpose(value, &order)?;
    let turned = tape.with("Transpose", &[matrix], vec![attribute("perm", Value::Ints(vec![1, 0]))])?;
    let product = tape.op("MatMul", &[&last, &turned])?;
    tape.transpose(&product, &order)
}
