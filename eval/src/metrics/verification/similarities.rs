//! Cosines of embeddings: of the pairs of a list, and of all pairs of a labelled set.
//!
//! All pairs of up to [`KEPT_PAIRS`] are computed in f64 and kept one by one, of several ranks by the first, to which these few
//! rows are brought. More are counted as they come ([`count_all`]).

use rayon::prelude::*;

use super::streamed::{count_all, count_alone, have_directions};
use super::tally::FLOAT64;
use super::{SubjectPair, Tally};
use crate::{Error, Result};
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::ranks::agree;
use pdloss_embed::retrieval::{Metric, Similarity};

/// Up to this many pairs of a set are kept: 4,096 images, about 200 MB.
pub const KEPT_PAIRS: u64 = 4096 * 4095 / 2;
/// Pairs that are compared without being asked for by number: those of 200 000 rows, some minutes on a few cores. Ten times as many rows
/// make a hundred times as many pairs.
pub const MOST_PAIRS: u64 = 200_000 * 199_999 / 2;

/// The cosines of rows with each other, in f64.
///
/// # Errors
/// [`Error::Embeddings`] naming a row without direction.
pub fn cosines(embeddings: &Embeddings) -> Result<Similarity<'_>> {
    have_directions(embeddings)?;
    let rows = embeddings.matrix.view();
    Ok(Similarity::new(Metric::Cosine, rows, rows))
}

/// Cosines of pairs of rows.
///
/// # Errors
/// Those of [`cosines`].
pub fn of_pairs(embeddings: &Embeddings, pairs: &[(usize, usize)]) -> Result<Vec<f64>> {
    let cosines = cosines(embeddings)?;
    Ok(pairs.par_iter().map(|&(a, b)| cosines.of(a, b)).collect())
}

/// Whether two rows are copies of one image, which make no pair.
pub fn are_copies(a: &Row, b: &Row) -> bool {
    a.image.is_some() && a.image == b.image
}

/// How many unordered pairs a set of rows has, copies among them.
pub fn pair_count(rows: usize) -> u64 {
    let rows = rows as u64;
    rows * rows.saturating_sub(1) / 2
}

/// Cosines of all unordered pairs but those of copies, in f64, each with the classes of its rows.
///
/// # Errors
/// Those of [`cosines`]; [`Error::Measure`] beyond [`KEPT_PAIRS`].
pub fn keep_all(embeddings: &Embeddings) -> Result<Vec<SubjectPair>> {
    let count = embeddings.rows.len();
    if pair_count(count) > KEPT_PAIRS {
        return Err(Error::Measure(format!(
            "{} pairs are too many to keep one by one; at most {KEPT_PAIRS} are",
            pair_count(count)
        )));
    }
    let cosines = cosines(embeddings)?;
    let classes: Vec<u32> = embeddings
        .rows
        .iter()
        .map(|r| u32::try_from(r.class).expect("fewer than 2^32 of them fit in memory"))
        .collect();
    let of_row = |a: usize| {
        let (cosines, classes, rows) = (&cosines, &classes, &embeddings.rows);
        (a + 1..count).filter(move |&b| !are_copies(&rows[a], &rows[b])).map(move |b| SubjectPair {
            score: cosines.of(a, b),
            a: classes[a],
            b: classes[b],
            same: classes[a] == classes[b],
        })
    };
    Ok((0..count).into_par_iter().flat_map_iter(of_row).collect())
}

/// The rows of all unordered pairs but those of copies, in the order of [`keep_all`].
pub fn all_rows(embeddings: &Embeddings) -> impl Iterator<Item = (usize, usize)> {
    let count = embeddings.rows.len();
    let row = |at: usize| &embeddings.rows[at];
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b))).filter(move |&(a, b)| !are_copies(row(a), row(b)))
}

/// How often each score is among all unordered pairs: of kept ones where they are few enough, else streamed. Of several ranks, which
/// have a part of the rows each, the first one has the answer.
///
/// # Errors
/// Those of [`cosines`]; [`Error::Measure`] where there is no genuine or no impostor pair. On every one of several ranks.
pub fn tally_all(embeddings: &Embeddings) -> Result<Option<Tally>> {
    if pair_count(embeddings.rows.len()) > KEPT_PAIRS {
        return count_all(embeddings);
    }
    let whole = agree(embeddings.whole())?;
    agree(whole.map(|whole| tally(&keep_all(&whole)?)).transpose())
}

/// [`tally_all`] of embeddings that this process has whole, whatever others do.
///
/// # Errors
/// As [`tally_all`].
pub fn tally_alone(embeddings: &Embeddings) -> Result<Tally> {
    if pair_count(embeddings.rows.len()) > KEPT_PAIRS { count_alone(embeddings) } else { tally(&keep_all(embeddings)?) }
}

/// How often each score is among these pairs.
///
/// # Errors
/// [`Error::Measure`] where there is no genuine or no impostor pair.
pub fn tally(pairs: &[SubjectPair]) -> Result<Tally> {
    let scores = |same: bool| pairs.iter().filter(|p| p.same == same).map(|p| p.score).collect::<Vec<_>>();
    Ok(Tally::of_scores(&scores(true), &scores(false))?.with_rounding(FLOAT64))
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::metrics::verification::streamed::TILE;
    use crate::metrics::verification::{GRID, Rates, Step};
    use pdloss_embed::dataset::Role;

    /// `count` rows about `classes` centres, in no order.
    fn set(count: usize, dim: usize, classes: usize) -> Embeddings {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        let class = |row: usize| row * 7 % classes;
        let matrix = Array2::from_shape_fn((count, dim), |(r, c)| {
            noise(class(r) * dim + c + 1) + 0.5 * noise(1_000_000 + r * dim + c)
        });
        let rows = (0..count).map(|r| Row::new(format!("row {r}"), class(r), Role::Both)).collect();
        Embeddings::new(matrix, rows, (0..classes).map(|c| c.to_string()).collect()).unwrap()
    }

    #[test]
    fn streamed_counts_are_those_of_all_pairs() {
        // sizes around the tile's, and one that is no multiple of anything
        for (count, classes) in [(TILE - 1, 3), (TILE, 40), (TILE + 1, 5), (2 * TILE + 77, 30), (2, 1)] {
            let set = set(count, 19, classes);
            let kept = keep_all(&set).unwrap();
            assert_eq!(kept.len() as u64, pair_count(count));
            if classes == 1 {
                assert!(count_all(&set).unwrap_err().to_string().contains("0 impostor"));
                continue;
            }
            let (kept, streamed) = (tally(&kept).unwrap(), count_all(&set).unwrap().unwrap());
            assert_eq!((kept.genuine(), kept.impostor()), (streamed.genuine(), streamed.impostor()));
            let (kept, streamed) = (Rates::of(&kept).figures(), Rates::of(&streamed).figures());
            for ((name, a), (_, b)) in kept.iter().zip(&streamed) {
                let distance = a.zip(*b).map_or(0.0, |(a, b)| (a - b).abs());
                // a score that f32 rounds across another moves a rate by one pair
                assert!(a.is_some() == b.is_some() && distance < 2e-4, "{count} rows: {name} {a:?} {b:?}");
            }
        }
    }

    #[test]
    fn pairs_of_copies_are_none_kept_or_streamed() {
        let mut set = set(2 * TILE + 77, 19, 5);
        // Copies beside each other, tiles apart, of one class and of several.
        let images = [(0, 1), (5, 1), (400, 1), (10, 2), (TILE, 2), (TILE + 1, 3), (TILE + 6, 3), (500, 3)];
        images.iter().for_each(|&(row, image)| set.rows[row].image = Some(image));
        let (kept, streamed) = (keep_all(&set).unwrap(), count_all(&set).unwrap().unwrap());
        assert_eq!(kept.len() as u64, pair_count(set.rows.len()) - 3 - 1 - 3);
        let kept = tally(&kept).unwrap();
        assert_eq!((kept.genuine(), kept.impostor()), (streamed.genuine(), streamed.impostor()));
        let all: usize = set
            .rows
            .iter()
            .enumerate()
            .map(|(a, row)| set.rows[..a].iter().filter(|b| are_copies(row, b)).count())
            .sum();
        assert_eq!(all, 7);
    }

    #[test]
    fn cosines_of_nearly_parallel_rows_have_all_their_digits() {
        let mut set = set(90, 40, 3);
        set.matrix.mapv_inplace(|v| 1e4 + 1e-2 * v);
        let unit = set.matrix.mapv(f64::from);
        let unit = &unit / &unit.map_axis(ndarray::Axis(1), |row| row.dot(&row).sqrt()).insert_axis(ndarray::Axis(1));
        for ((a, b), pair) in all_rows(&set).zip(keep_all(&set).unwrap()) {
            let chord = &unit.row(a) - &unit.row(b);
            let wanted = 1.0 - chord.dot(&chord) / 2.0;
            assert!((pair.score - wanted).abs() <= f64::EPSILON / 2.0, "{a} and {b}: {} {wanted}", pair.score);
        }
        let doubts = Rates::of(&tally(&keep_all(&set).unwrap()).unwrap()).doubts();
        assert!(doubts.iter().all(|doubt| !doubt.contains("rounding")), "{doubts:?}");
    }

    /// Rows of small whole numbers: their cosines have few values, which are counted in whole numbers.
    #[test]
    fn equal_cosines_are_one_score_whatever_the_lengths_of_rows() {
        let mut set = set(700, 6, 50);
        set.matrix.mapv_inplace(|value| (3.0 * value).round());
        set.matrix.column_mut(0).mapv_inplace(|value| if value == 0.0 { 1.0 } else { value });
        let whole = set.matrix.mapv(|value| value as i64);
        let fraction = |a: usize, b: usize| {
            let (a, b) = (whole.row(a), whole.row(b));
            let (product, squares) = (a.dot(&b), a.dot(&a) * b.dot(&b));
            let (square, sign) = (product * product, product.signum());
            let (mut divisor, mut rest) = (squares, square);
            while rest != 0 {
                (divisor, rest) = (rest, divisor % rest);
            }
            (sign * square / divisor, squares / divisor)
        };
        let mut wanted = std::collections::BTreeMap::new();
        for ((a, b), pair) in all_rows(&set).zip(keep_all(&set).unwrap()) {
            let scores = wanted.entry(fraction(a, b)).or_insert_with(|| (pair.score, 0));
            assert_eq!(pair.score.to_bits(), scores.0.to_bits(), "{a} and {b}");
            scores.1 += 1;
        }
        let counts = |tally: &Tally| {
            let mut steps: Vec<(f64, u64)> = Vec::new();
            tally.sweep(|step| steps.push((step.score, step.genuine + step.impostor)));
            steps
        };
        let mut wanted: Vec<(f64, u64)> = wanted.into_values().collect();
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let streamed = counts(&count_all(&set).unwrap().unwrap());
        assert_eq!(counts(&tally(&keep_all(&set).unwrap()).unwrap()), wanted);
        assert_eq!(streamed.len(), wanted.len());
        for ((score, count), (wanted, of)) in streamed.into_iter().zip(wanted) {
            // As a threshold it accepts these.
            assert!(
                count == of && score <= wanted + 1e-13 && wanted - score < GRID,
                "{score} {count}, wanted {wanted} {of}"
            );
        }
    }

    #[test]
    fn equal_rows_are_tied_at_one() {
        let mut set = set(300, 33, 2);
        let first = set.matrix.row(0).to_owned();
        set.matrix.rows_mut().into_iter().for_each(|mut row| row.assign(&first));
        let mut steps: Vec<Step> = Vec::new();
        count_all(&set).unwrap().unwrap().sweep(|step| steps.push(*step));
        assert!(steps.len() <= 4 && steps.iter().all(|s| (s.score - 1.0).abs() <= 4.0 * GRID), "{steps:?}");
    }

    #[test]
    fn a_row_without_direction_is_named() {
        let mut set = set(4, 3, 2);
        set.matrix.row_mut(2).fill(0.0);
        for message in [keep_all(&set).unwrap_err().to_string(), count_all(&set).unwrap_err().to_string()] {
            assert!(message.contains("row 2"), "{message}");
        }
    }
}
