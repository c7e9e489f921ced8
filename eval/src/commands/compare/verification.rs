//! Two verification runs, pair by pair or over subjects.

use std::collections::HashMap;

use super::{By, Comparison, Figure};
use crate::metrics::significance::{Difference, Resampling, Statistics, Units, over_subjects, paired};
use crate::runs::{Pair, Pairs};
use crate::{Error, Result};

/// Sums of one kind of pair: how many, and of each model's scores and their squares.
const COUNT: usize = 0;
const SUM_A: usize = 1;
const SUM_B: usize = 3;
const MOMENTS: usize = 5;
/// Subjects from which on draws of them say something: two models of the same noise differ at p < 0.05 in 20 of 20 trials of two, in 5 of
/// three, in 2 of four, in 1 of five.
const FEWEST_SUBJECTS: usize = 5;
/// Before them: the weight in the accuracy, and the difference in right decisions.
const GENUINE: usize = 2;
const IMPOSTOR: usize = GENUINE + MOMENTS;

/// Accuracy, where pairs were decided, and d'.
pub(super) fn verification(a: &Pairs, b: &Pairs, by: Option<By>, how: &Resampling) -> Result<Comparison> {
    let by_pair = match by {
        None | Some(By::Subject) => false,
        Some(By::Pair) => true,
        Some(By::Query | By::Class) => {
            return Err(Error::Usage("--by: these are verification runs, which have pairs and subjects".into()));
        }
    };
    let decided = a.pairs.iter().chain(&b.pairs).all(|p| p.right.is_some());
    let (scores_a, scores_b) = (on_one_scale(a)?, on_one_scale(b)?);
    let weights = fold_weights(a);
    let unit = |at: usize, (score_a, score_b): (f64, f64)| {
        let (pair, other) = (&a.pairs[at], &b.pairs[at]);
        let mut parts = [0.0; GENUINE + 2 * MOMENTS];
        let right = |p: &Pair| f64::from(u8::from(p.right == Some(true)));
        parts[0] = weights[at];
        parts[1] = weights[at] * (right(other) - right(pair));
        let moments = if pair.same { GENUINE } else { IMPOSTOR };
        parts[moments + COUNT] = 1.0;
        for (model, score) in [(SUM_A, score_a), (SUM_B, score_b)] {
            parts[moments + model] = score;
            parts[moments + model + 1] = score * score;
        }
        parts
    };
    let exchanged = |parts: &[f64]| {
        let mut exchanged = parts.to_vec();
        exchanged[1] = -parts[1];
        for kind in [GENUINE, IMPOSTOR] {
            for at in 0..2 {
                exchanged.swap(kind + SUM_A + at, kind + SUM_B + at);
            }
        }
        exchanged
    };
    let statistics = |sums: &[f64]| -> Vec<f64> {
        let d_prime = decidability(sums, SUM_B) - decidability(sums, SUM_A);
        if decided { vec![sums[1] / sums[0], d_prime] } else { vec![d_prime] }
    };
    let scores = scores_a.iter().copied().zip(scores_b.iter().copied());
    let mut units = Units::new(GENUINE + 2 * MOMENTS);
    let (differences, drawn) = if by_pair {
        for (at, scores) in scores.enumerate() {
            let parts = unit(at, scores);
            units.push(&parts, &exchanged(&parts));
        }
        (paired(&units, &statistics, how), units.len())
    } else {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut number = |image: u32| {
            let next = u32::try_from(numbers.len()).expect("fewer than 2^32 of them fit in memory");
            *numbers.entry(a.images[image as usize].subject.as_str()).or_insert(next)
        };
        let mut cells: HashMap<(u32, u32), usize> = HashMap::new();
        let mut of = Vec::new();
        for (at, scores) in scores.enumerate() {
            let (first, second) = (number(a.pairs[at].a), number(a.pairs[at].b));
            let cell = (first.min(second), first.max(second));
            let parts = unit(at, scores);
            match cells.get(&cell) {
                Some(&unit) => units.add(unit, &parts, &exchanged(&parts)),
                None => {
                    cells.insert(cell, units.len());
                    of.push(cell);
                    units.push(&parts, &exchanged(&parts));
                }
            }
        }
        // Of two nearly every draw that has both kinds of pairs is the sample itself.
        if numbers.len() < FEWEST_SUBJECTS {
            let got = numbers.len();
            return Err(Error::Measure(format!(
                "{got} subjects are too few to draw from: wanted {FEWEST_SUBJECTS} or more (of {got} models that are alike seem to differ)"
            )));
        }
        let statistics: &Statistics<'_> = &statistics;
        (over_subjects(&units, &of, numbers.len(), statistics, how), numbers.len())
    };
    let figures = |scores: &[f64], pairs: &Pairs| -> Vec<f64> {
        let right = pairs.pairs.iter().zip(&weights).filter(|(p, _)| p.right == Some(true)).map(|(_, w)| w);
        let accuracy = right.sum::<f64>() / weights.iter().sum::<f64>();
        let mut sums = [0.0; GENUINE + 2 * MOMENTS];
        for (at, &score) in scores.iter().enumerate() {
            sums.iter_mut().zip(unit(at, (score, score))).for_each(|(sum, part)| *sum += part);
        }
        let d_prime = decidability(&sums, SUM_A);
        if decided { vec![accuracy, d_prime] } else { vec![d_prime] }
    };
    let names = if decided { &["accuracy", "d_prime"][..] } else { &["d_prime"] };
    let values = figures(&scores_a, a).into_iter().zip(figures(&scores_b, b));
    let figure = |((name, (a, b)), difference): ((&&str, (f64, f64)), Difference)| Figure {
        name: (*name).into(),
        a,
        b,
        difference,
    };
    Ok(Comparison {
        figures: names.iter().zip(values).zip(differences).map(figure).collect(),
        units: drawn,
        of: if by_pair { "pairs" } else { "subjects" },
        test: if by_pair {
            "paired randomisation, models exchanged pair by pair"
        } else {
            "share of the bootstrap's draws beyond 0, twice; thresholds are those of the runs"
        },
        notes: Vec::new(),
    })
}

/// Scores of two models have scales of their own, and d' does not see them. Before they are exchanged, each model's are
/// moved and stretched so that both have the same middle and the same mean variance.
fn on_one_scale(of: &Pairs) -> Result<Vec<f64>> {
    let moments = |same: bool| {
        let scores = || of.pairs.iter().filter(move |p| p.same == same).map(|p| p.score);
        let count = scores().count() as f64;
        let mean = scores().sum::<f64>() / count;
        (mean, scores().map(|s| (s - mean).powi(2)).sum::<f64>() / count)
    };
    let ((genuine, var_genuine), (impostor, var_impostor)) = (moments(true), moments(false));
    let (middle, spread) = ((genuine + impostor) / 2.0, ((var_genuine + var_impostor) / 2.0).sqrt());
    if spread > 0.0 && spread.is_finite() && middle.is_finite() {
        return Ok(of.pairs.iter().map(|p| (p.score - middle) / spread).collect());
    }
    Err(Error::Measure(
        "d' has no value: neither genuine nor impostor scores have any spread, or it is beyond what numbers hold"
            .into(),
    ))
}

/// What each pair counts in the accuracy, which is a mean over folds.
fn fold_weights(of: &Pairs) -> Vec<f64> {
    let mut sizes: HashMap<Option<u32>, f64> = HashMap::new();
    of.pairs.iter().for_each(|p| *sizes.entry(p.fold).or_default() += 1.0);
    of.pairs.iter().map(|p| 1.0 / sizes[&p.fold]).collect()
}

/// d' of one model, signed, from sums of both kinds of pairs.
fn decidability(sums: &[f64], model: usize) -> f64 {
    let moments = |kind: usize| {
        let (count, sum, squares) = (sums[kind + COUNT], sums[kind + model], sums[kind + model + 1]);
        let mean = sum / count;
        (mean, squares / count - mean * mean)
    };
    let ((genuine, var_genuine), (impostor, var_impostor)) = (moments(GENUINE), moments(IMPOSTOR));
    (genuine - impostor) / ((var_genuine + var_impostor) / 2.0).sqrt()
}
