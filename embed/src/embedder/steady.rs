//! Whether an image's embedding is a function of that image alone: noise images are embedded in a batch, in the same batch
//! again, and one of them alone.

use ndarray::{Array1, ArrayView1, ArrayView2};

use super::Embedder;
use crate::error::{Error, Result};

/// How far apart two embeddings of one image may be, by the length of their difference over their own: what rounding in
/// another order moves. A sum of n products moves by about sqrt(n) u, where u is the unit of rounding; with n up to 10^4 and
/// a hundred layers, whose shares add up as squares do, by 10^3 u: 6e-5 in float32 (u = 2^-24). One digit is left over.
const ROUNDING: f64 = 1e-3;
/// The same in float16 (u = 2^-11), whose runtimes add in float32: sqrt(100) u, and a digit.
const ROUNDING_OF_HALVES: f64 = 5e-2;

impl Embedder {
    /// What is to be said where embeddings depend on the batch or on chance. Images have this shape, in the layout of the
    /// model's input; `cure` says what can be done about a batch.
    ///
    /// # Errors
    /// [`Error::Model`] where the model does not run; with `--batch 1` as the cure where it runs on one image.
    pub fn unsteadiness(&mut self, shape: [usize; 3], cure: &str) -> Result<Option<String>> {
        let count = self.batch();
        let bound = if self.model.has_halves { ROUNDING_OF_HALVES } else { ROUNDING };
        let length: usize = shape.iter().product();
        let mut images = noise(self.model.takes_levels(), count * length);
        // Each of another range, by which a scale over the whole batch is seen.
        for (at, image) in images.chunks_exact_mut(length.max(1)).enumerate() {
            #[allow(clippy::cast_precision_loss)] // a batch is short
            let share = 1.0 - 0.75 * at as f32 / count as f32;
            image.iter_mut().for_each(|value| *value *= share);
        }
        let can_be_cured = count > 1 && !self.full_batches;
        let mut workers = self.workers();
        let Some(worker) = workers.first_mut() else { return Ok(None) };
        let whole = match worker.embed(images.clone(), count, shape) {
            Ok(rows) => rows,
            Err(Error::Model { path, problem }) if can_be_cured => {
                let runs_alone = worker.embed(images[..length].to_vec(), 1, shape).is_ok();
                let cure = if runs_alone { "; it takes one image at a time: give --batch 1" } else { "" };
                return Err(Error::Model { path, problem: format!("{problem}{cure}") });
            }
            Err(error) => return Err(error),
        };
        let again = worker.embed(images.clone(), count, shape)?;
        let by_chance = farthest(whole.view(), again.view());
        if by_chance > bound {
            return Ok(Some(format!(
                "EMBEDDINGS DEPEND ON CHANCE: the same batch twice gives embeddings {}; no result of this model can be had again",
                in_words(by_chance, bound)
            )));
        }
        if count == 1 {
            return Ok(None);
        }
        // The first and the last one: what meets its neighbour on either side.
        let alone = worker.embed(images[(count - 1) * length..].to_vec(), 1, shape)?;
        let first = worker.embed(images[..length].to_vec(), 1, shape)?;
        if alone.ncols() != whole.ncols() {
            let path = self.model.path.clone();
            let problem = format!(
                "output {} has {} numbers for an image among {count} and {} for one alone: they are not an embedding an image; \
                 wanted [batch, dim]",
                self.model.output,
                whole.ncols(),
                alone.ncols()
            );
            return Err(Error::Model { path, problem });
        }
        let by_batch = apart(whole.row(count - 1), alone.row(0)).max(apart(whole.row(0), first.row(0)));
        Ok((by_batch > bound).then(|| {
            format!(
                "EMBEDDINGS DEPEND ON THE BATCH: an image alone and among {count} gives embeddings {}; {cure}",
                in_words(by_batch, bound)
            )
        }))
    }
}

/// How far apart embeddings are, beside what rounding does.
fn in_words(apart: f64, bound: f64) -> String {
    if apart.is_finite() {
        format!("apart by {apart:.2e} of their length (rounding: {bound:.0e})")
    } else {
        "of finite numbers in one case, and of NaN or infinite ones in the other".to_owned()
    }
}

/// Values as prepared images have them, from -2 to 2, or from 0 to 255 where the model wants pixels; the same at each call.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // 24 bits fit
pub(super) fn noise(takes_levels: bool, count: usize) -> Vec<f32> {
    let (lowest, width) = if takes_levels { (0.0, 255.0) } else { (-2.0, 4.0) };
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = |_| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 * width + lowest
    };
    (0..count).map(next).collect()
}

fn farthest(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    a.rows().into_iter().zip(b.rows()).map(|(a, b)| apart(a, b)).fold(0.0, f64::max)
}

/// Length of the difference over the length of the longer; 0 where both are 0, or no finite numbers in the same places, and infinite where
/// one has a finite number where the other has none.
fn apart(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let is_other = |(a, b): (&f32, &f32)| a.is_finite() != b.is_finite() || (a.is_infinite() && a != b);
    if a.iter().zip(b).any(is_other) {
        return f64::INFINITY;
    }
    let finite = |row: ArrayView1<'_, f32>| row.iter().map(|&v| if v.is_finite() { v } else { 0.0 }).collect();
    let (a, b): (Array1<f32>, Array1<f32>) = (finite(a), finite(b));
    let (a, b) = (a.view(), b.view());
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let of = |row: ArrayView1<'_, f32>| length(&mut row.iter().map(|&v| f64::from(v)));
    let difference = length(&mut a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let longer = of(a).max(of(b));
    if difference > 0.0 { difference / longer } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_each_time_and_fills_its_range() {
        let values = noise(false, 10_000);
        assert_eq!(values, noise(false, 10_000));
        let levels = noise(true, 10_000);
        assert!(levels.iter().all(|v| (0.0..255.0).contains(v)) && levels.iter().any(|v| *v > 200.0));
        assert!(values.iter().all(|v| (-2.0..2.0).contains(v)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.05, "{mean}");
        assert_ne!(values[..100], values[100..200]);
    }

    #[test]
    fn apart_is_relative_to_the_length() {
        let row = |values: [f32; 2]| ndarray::arr1(&values);
        assert_eq!(apart(row([3.0, 4.0]).view(), row([3.0, 4.5]).view()), 0.5 / 29.25_f64.sqrt());
        assert_eq!(apart(row([0.0, 0.0]).view(), row([0.0, 0.0]).view()), 0.0);
        assert_eq!(apart(row([f32::NAN, 0.0]).view(), row([f32::NAN, 0.0]).view()), 0.0);
        assert_eq!(apart(row([f32::NAN, 3.0]).view(), row([f32::NAN, 4.0]).view()), 0.25);
        assert_eq!(apart(row([f32::INFINITY, 3.0]).view(), row([f32::INFINITY, 3.0]).view()), 0.0);
        for other in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (a, b) in [(1.0, other), (other, 1.0), (f32::INFINITY, other)] {
                let wanted = if a == b { 0.0 } else { f64::INFINITY };
                assert_eq!(apart(row([a, 0.0]).view(), row([b, 0.0]).view()), wanted, "{a} {b}");
            }
        }
    }
}
