//! Tensors that look computed and not learned: a net's buffers, in exports that do not say which tensors are parameters.
//!
//! Numbers that were learned, or drawn at random, have none of these patterns: grids and positions at equal steps, frequencies
//! in equal proportions, pairs of sines and cosines, masks of zeros and ones, one kernel for all channels. Constant tensors have
//! none either, as weights begin so.

use std::collections::HashMap;

use crate::graph::literal;
use crate::graph::proto::TensorProto;

/// How far numbers of float32 may be from the pattern, relative to the largest.
const CLOSE: f64 = 1e-5;
/// Fewer numbers than these may follow any pattern by chance.
const LEAST: usize = 4;
/// More numbers than these are not looked at.
const MOST: usize = 1 << 18;

/// What tensors look like.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    looks: HashMap<&'a str, &'static str>,
}

impl<'a> Tables<'a> {
    /// Looks at all tensors that have a name and numbers.
    pub(super) fn among(tensors: impl Iterator<Item = (&'a str, &'a TensorProto)>) -> Self {
        let mut looks = HashMap::new();
        let mut bounded: HashMap<Vec<usize>, Vec<(&str, Vec<f64>)>> = HashMap::new();
        for (name, proto) in tensors {
            let Some(lengths) = literal::lengths(proto) else { continue };
            if !literal::count(&lengths).is_some_and(|count| (LEAST..=MOST).contains(&count)) {
                continue;
            }
            let Some(numbers) = literal::any_floats(proto) else { continue };
            if let Some(look) = alone(&lengths, &numbers) {
                looks.insert(name, look);
            } else if may_be_an_angle(&numbers) {
                bounded.entry(lengths).or_default().push((name, numbers));
            }
        }
        for group in bounded.values() {
            for (index, (name, numbers)) in group.iter().enumerate() {
                for (other, others) in &group[index + 1..] {
                    if numbers.iter().zip(others).all(|(a, b)| is_on_the_circle(*a, *b)) {
                        looks.extend([(*name, CIRCLE), (*other, CIRCLE)]);
                    }
                }
            }
        }
        Self { looks }
    }

    /// What a tensor looks like, where it looks computed.
    pub(super) fn look(&self, name: &str) -> Option<&'static str> {
        self.looks.get(name).copied()
    }
}

const CIRCLE: &str = "sines and cosines";

/// What a tensor looks like by itself.
fn alone(lengths: &[usize], numbers: &[f64]) -> Option<&'static str> {
    if numbers.iter().any(|number| !number.is_finite()) {
        return None;
    }
    // Coordinates stand side by side along the last axis.
    let columns = lengths.last().copied().filter(|last| (2..=4).contains(last) && lengths.len() > 1).unwrap_or(1);
    let column = |at: usize| numbers.iter().skip(at).step_by(columns).copied();
    let distinct = distinct(numbers.iter().copied());
    if distinct == [0.0, 1.0] {
        return Some("zeros and ones");
    }
    if (0..columns).all(|at| is_even(column(at))) || is_even(numbers.iter().copied()) {
        return Some("numbers at equal steps");
    }
    if is_geometric(&distinct) {
        return Some("numbers in equal proportions");
    }
    let width = lengths.last().copied().filter(|last| last.is_multiple_of(2)).unwrap_or(0);
    if width > 0 && may_be_an_angle(numbers) {
        let halves =
            numbers.chunks(width).all(|row| (0..width / 2).all(|at| is_on_the_circle(row[at], row[at + width / 2])));
        let pairs = numbers.chunks(2).all(|pair| is_on_the_circle(pair[0], pair[1]));
        if halves || pairs {
            return Some(CIRCLE);
        }
    }
    is_one_kernel(lengths, numbers).then_some("one kernel for all channels")
}

/// The numbers in order, each once; those that differ by rounding are one.
fn distinct(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let width = sorted.last().zip(sorted.first()).map_or(0.0, |(last, first)| last - first);
    sorted.dedup_by(|next, kept| *next - *kept <= CLOSE * width / 8.0);
    sorted
}

/// Whether there are at least three numbers, at equal steps, and each as often as the others.
fn is_even(numbers: impl Iterator<Item = f64> + Clone) -> bool {
    let values = distinct(numbers.clone());
    let (Some(first), Some(last), true) = (values.first(), values.last(), values.len() >= 3) else { return false };
    let step = (last - first) / (values.len() - 1) as f64;
    if values.windows(2).any(|pair| (pair[1] - pair[0] - step).abs() > CLOSE * (last - first)) {
        return false;
    }
    let mut counts = vec![0_usize; values.len()];
    for number in numbers {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the values")]
        let at = ((number - first) / step).round() as usize;
        if let Some(count) = counts.get_mut(at) {
            *count += 1;
        }
    }
    counts.iter().all(|count| *count == counts[0])
}

/// Whether each of at least four positive numbers is the same multiple of the one before.
fn is_geometric(values: &[f64]) -> bool {
    let ratio = |pair: &[f64]| pair[1] / pair[0];
    values.len() >= LEAST
        && values[0] > 0.0
        && values.windows(2).all(|pair| (ratio(pair) / ratio(&values[..2]) - 1.0).abs() <= 10.0 * CLOSE)
}

/// Whether all numbers lie between -1 and 1, and not at these and 0 alone, as first weights and biases do.
fn may_be_an_angle(numbers: &[f64]) -> bool {
    let between = numbers.iter().filter(|number| !matches!(number.abs(), 0.0 | 1.0)).count();
    numbers.iter().all(|number| number.abs() <= 1.0 + CLOSE) && 2 * between >= numbers.len()
}

fn is_on_the_circle(a: f64, b: f64) -> bool {
    (a * a + b * b - 1.0).abs() <= CLOSE
}

/// Whether the weights of a convolution by channels are the same for all of them, and not all one number.
fn is_one_kernel(lengths: &[usize], numbers: &[f64]) -> bool {
    let [channels, 1, _, _, ..] = lengths else { return false };
    let kernel = &numbers[..numbers.len() / channels];
    *channels > 1
        && kernel.iter().any(|number| *number != kernel[0])
        && numbers.chunks(kernel.len()).all(|other| other == kernel)
}

#[cfg(test)]
mod tests {
    use super::{Tables, TensorProto};
    use crate::graph::build::{Element, floats};

    fn looks(tensors: &[(&str, &[usize], &[f64])]) -> Vec<Option<&'static str>> {
        let tensors: Vec<TensorProto> =
            tensors.iter().map(|(name, lengths, numbers)| floats(name, Element::F32, lengths, numbers)).collect();
        let tables = Tables::among(tensors.iter().map(|tensor| (tensor.name(), tensor)));
        tensors.iter().map(|tensor| tables.look(tensor.name())).collect()
    }

    #[test]
    fn what_is_computed_looks_so() {
        let angles: Vec<f64> = (0..12).map(|at| f64::from(at) * 0.37).collect();
        let (cos, sin): (Vec<f64>, Vec<f64>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
        let both: Vec<f64> = [&sin[..6], &cos[..6]].concat();
        let grid: Vec<f64> =
            (0..4).flat_map(|row| (0..3).flat_map(move |column| [f64::from(row), f64::from(column) * 0.5])).collect();
        let line: Vec<f64> = (0..5).map(|at| 0.1 * f64::from(at) - 0.2).collect();
        let frequencies: Vec<f64> = (0..6).map(|at| 10_000_f64.powf(-f64::from(at) / 6.0)).collect();
        let blur = [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0].map(|weight| weight / 16.0);
        let blur = [blur, blur].concat();
        let found = looks(&[
            ("cos", &[6, 2], &cos),
            ("sin", &[6, 2], &sin),
            ("both", &[1, 12], &both),
            ("grid", &[12, 2], &grid),
            ("line", &[5], &line),
            ("frequencies", &[6], &frequencies),
            ("mask", &[2, 2], &[1.0, 0.0, 1.0, 1.0]),
            ("blur", &[2, 1, 3, 3], &blur),
        ]);
        let (circle, steps) = (Some("sines and cosines"), Some("numbers at equal steps"));
        let (proportions, ones) = (Some("numbers in equal proportions"), Some("zeros and ones"));
        let kernel = Some("one kernel for all channels");
        assert_eq!(found, [circle, circle, circle, steps, steps, proportions, ones, kernel]);
    }

    #[test]
    fn weights_do_not() {
        let drawn: Vec<f64> = (0..18).map(|at| f64::from(at * 7919 % 104_729).sin()).collect();
        let twice = [&drawn[..9], &drawn[..9]].concat();
        let found = looks(&[
            ("weight", &[18], &drawn),
            ("norm.weight", &[6], &[1.0; 6]),
            ("norm.bias", &[6], &[0.0; 6]),
            ("scale", &[4], &[1e-5; 4]),
            // A token for each of two images.
            ("token", &[2, 1, 9], &twice),
            ("quantised", &[6], &[0.1, 0.2, 0.2, 0.3, 0.2, 0.1]),
            ("short", &[2], &[1.0, 0.0]),
        ]);
        assert_eq!(found, [None; 7]);
    }
}
