//! The error budget: no further from the truth than the plain `f32` version, plus a small constant.

/// The constant: 32 roundings of an `f32`. Gradients are sums of rows with partly cancelling terms, in another order
/// than the plain version's; a few roundings' difference means nothing, a wrong term is thousands of times larger.
pub const F32_SLACK: f64 = 32.0 * (f32::EPSILON as f64);

/// Compares gradient rows `[n, dim]` with the truth, given the plain version's result.
///
/// A gradient scales with one over its row's length, so each row is multiplied by that length first: `rows` are the
/// inputs the gradients belong to. Distances are relative to the largest true element after that, absolute
/// where all are zero though rows of more than one element could turn. NaN in `got` fails, as does a wrong length; rows
/// must agree with the truth within the plain version's worst distance plus `slack`.
///
/// # Errors
/// A sentence with the worst element's index, both values, the distance and the budget.
pub fn compare(
    what: &str,
    dim: usize,
    rows: &[f32],
    got: &[f64],
    truth: &[f64],
    plain: &[f64],
    slack: f64,
) -> Result<f64, String> {
    if got.len() != truth.len() || rows.len() != truth.len() || plain.len() != truth.len() {
        return Err(format!("{what}: {} elements, wanted {}", got.len(), truth.len()));
    }
    let lengths: Vec<f64> = rows
        .chunks(dim)
        .map(|row| row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt())
        .collect();
    let scaled = |values: &[f64], index: usize| values[index] * lengths[index / dim];
    let largest = (0..truth.len()).map(|index| scaled(truth, index).abs()).fold(f64::MIN_POSITIVE, f64::max);
    let largest = if dim > 1 && truth.iter().all(|&value| value == 0.0) { 1.0 } else { largest };
    let worst = |values: &[f64]| {
        let mut worst = (0, 0.0);
        for index in 0..truth.len() {
            let distance = (scaled(values, index) - scaled(truth, index)).abs() / largest;
            // NaN is the worst of all and stays it.
            if distance.is_nan() || distance > worst.1 {
                worst = (index, distance);
                if distance.is_nan() {
                    break;
                }
            }
        }
        worst
    };
    let (index, distance) = worst(got);
    // A plain version that overflowed has no say.
    let allowed = Some(worst(plain).1).filter(|distance| distance.is_finite()).unwrap_or(0.0).min(0.05) + slack;
    if distance <= allowed {
        return Ok(distance);
    }
    Err(format!(
        "{what}[{}, {}] is {:e}, truth {:e}: distance {distance:.2e} of the largest element, allowed {allowed:.2e}",
        index / dim,
        index % dim,
        got[index],
        truth[index]
    ))
}

/// Compares one number; the distance is relative to the truth, or absolute below one.
///
/// # Errors
/// A sentence with both values, the distance and the budget.
pub fn compare_value(what: &str, got: f64, truth: f64, plain: f64, slack: f64) -> Result<f64, String> {
    let scale = truth.abs().max(1.0);
    let distance = (got - truth).abs() / scale;
    let allowed = Some((plain - truth).abs() / scale).filter(|distance| distance.is_finite()).unwrap_or(0.0) + slack;
    if distance <= allowed {
        return Ok(distance);
    }
    Err(format!("{what} is {got:e}, truth {truth:e}: distance {distance:.2e}, allowed {allowed:.2e}"))
}
