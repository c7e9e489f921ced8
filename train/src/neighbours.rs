//! Which classes are nearest to each, by the cosines of the vectors that stand for them.

use ndarray::{Array2, ArrayView2, Axis};
use pdloss_embed::Result;
use pdloss_embed::retrieval::{Metric, exact};

/// What stands where there is no further class.
const NONE: i64 = -1;

/// For each class others, the nearest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Neighbours(Array2<i64>);

impl Neighbours {
    /// None of any class, with room for `width`.
    pub(crate) fn none(classes: usize, width: usize) -> Self {
        Self(Array2::from_elem((classes, width), NONE))
    }

    /// Out of rows of numbers of classes.
    pub(crate) fn of_rows(rows: Array2<i64>) -> Self {
        Self(rows)
    }

    /// Among all classes whose vector has a direction, `[classes, dim]`; as many as there is room for.
    ///
    /// # Errors
    /// Those of the search.
    pub(crate) fn among(vectors: ArrayView2<'_, f32>, width: usize) -> Result<Self> {
        let has_direction = |row: ndarray::ArrayView1<'_, f32>| {
            let square: f64 = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
            square.is_finite() && square > 1e-24
        };
        let known: Vec<usize> = (0..vectors.nrows()).filter(|&class| has_direction(vectors.row(class))).collect();
        let mut found = Self::none(vectors.nrows(), width);
        if known.len() < 2 || width == 0 {
            return Ok(found);
        }
        let rows = vectors.select(Axis(0), &known);
        let mut index = exact(Metric::Cosine, rows.view(), &|row| format!("class {}", known[row]))?;
        let count = width.min(known.len() - 1);
        for (row, nearest) in index.search(rows.view(), count, Some(0))?.into_iter().enumerate() {
            for (place, other) in nearest.into_iter().enumerate() {
                found.0[[known[row], place]] = known[other] as i64;
            }
        }
        Ok(found)
    }

    /// The classes nearest to this one, from the nearest on.
    pub(crate) fn of(&self, class: usize) -> impl Iterator<Item = usize> {
        let row = (class < self.0.nrows()).then(|| self.0.row(class));
        row.into_iter().flatten().filter_map(|&other| usize::try_from(other).ok())
    }

    /// Whether no class has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&other| other == NONE)
    }

    /// Rows of numbers of classes; -1 where there is none.
    pub(crate) fn rows(&self) -> &Array2<i64> {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // noise
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_those_of_plain_loops() {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract() as f32;
        // The third has no direction, and the last lies where the first does, twice as far.
        let mut vectors = Array2::from_shape_fn((9, 4), |(r, c)| noise(r * 4 + c + 1));
        vectors.row_mut(3).fill(0.0);
        let twice = vectors.row(0).mapv(|value| 2.0 * value);
        vectors.row_mut(8).assign(&twice);
        let found = Neighbours::among(vectors.view(), 5).unwrap();
        let cosine = |a: usize, b: usize| {
            let dot = |a: usize, b: usize| -> f64 {
                (0..4).map(|c| f64::from(vectors[[a, c]]) * f64::from(vectors[[b, c]])).sum()
            };
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        for class in 0..9 {
            let mut wanted: Vec<usize> = (0..9).filter(|&other| other != class && other != 3).collect();
            wanted.sort_by(|&a, &b| cosine(class, b).total_cmp(&cosine(class, a)).then(a.cmp(&b)));
            wanted.truncate(if class == 3 { 0 } else { 5 });
            assert_eq!(found.of(class).collect::<Vec<_>>(), wanted, "class {class}");
        }
        assert_eq!(found.of(0).next(), Some(8));
        let few = Neighbours::among(vectors.select(Axis(0), &[0, 3, 1]).view(), 4).unwrap();
        assert_eq!(few.rows().row(0).to_vec(), [2, -1, -1, -1]);
        assert!(!few.is_empty() && Neighbours::none(3, 2).is_empty());
        assert_eq!(few.of(17).count(), 0);
    }
}
