//! The plane in which embeddings are spread most: their first two principal components (Pearson, "On lines and planes of closest
//! fit to systems of points in space", 1901). Directions are the eigenvectors of the covariance with the greatest eigenvalues.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use ndarray::ArrayView1;
use pdloss_embed::embeddings::Embeddings;

/// Rows that directions are found on; more are taken evenly, and still all are projected.
const FITTED: usize = 10_000;
/// Rows whose products are summed up at a time.
const BLOCK: usize = 512;

/// Points in a plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// Each row's place, about the mean.
    pub points: Vec<[f64; 2]>,
    /// The part of all variance that lies in this plane, from 0 to 1.
    pub share: f64,
}

/// Projects embeddings, brought to length one first where `unit`. `None` where all rows are alike. The sign of each direction is that
/// in which its greatest part is positive. Every one of several ranks, of which none holds all rows, has the answer.
pub fn principal(embeddings: &Embeddings, unit: bool) -> Option<Plane> {
    let (rows, dim) = (embeddings.rows.len(), embeddings.dim());
    let places = even(rows, FITTED);
    let fitted = places.len();
    if fitted < 2 {
        return None;
    }
    let chosen = rows_at(embeddings, unit, &places);
    let mut mean = vec![0.0; dim];
    chosen.iter().for_each(|row| row.iter().zip(&mut mean).for_each(|(v, mean)| *mean += v / fitted as f64));
    let mut covariance = Mat::<f64>::zeros(dim, dim);
    for block in chosen.chunks(BLOCK) {
        let centred = Mat::from_fn(block.len(), dim, |r, c| block[r][c] - mean[c]);
        let (transposed, share) = (centred.transpose(), 1.0 / fitted as f64);
        matmul(covariance.as_mut(), Accum::Add, transposed, centred.as_ref(), share, Par::rayon(0));
    }
    let total: f64 = (0..dim).map(|at| covariance[(at, at)]).sum();
    if total.is_nan() || total <= 0.0 {
        return None;
    }
    let directions = leading(&covariance, 2)?;
    let share = directions.iter().map(|(value, _)| value).sum::<f64>() / total;
    let mut points = Vec::with_capacity(rows);
    embeddings.each_block(&mut |_, block| {
        points.extend(block.rows().into_iter().map(|row| {
            let centred: Vec<f64> = scaled(row, unit).iter().zip(&mean).map(|(v, mean)| v - mean).collect();
            let along = |at: usize| {
                let direction = directions.get(at).map_or(&[][..], |(_, direction)| direction);
                centred.iter().zip(direction).map(|(v, d)| v * d).sum::<f64>()
            };
            [along(0), along(1)]
        }));
    });
    Some(Plane { points, share: share.min(1.0) })
}

/// `most` of so many rows, evenly; all, where they are no more.
pub fn even(rows: usize, most: usize) -> Vec<usize> {
    let count = rows.min(most);
    (0..count).map(|at| at * rows / count).collect()
}

/// These rows, in ascending order, brought to length one where `unit`.
pub(super) fn rows_at(embeddings: &Embeddings, unit: bool, places: &[usize]) -> Vec<Vec<f64>> {
    let mut rows = Vec::with_capacity(places.len());
    embeddings.each_block(&mut |first, block| {
        let within = |row: &usize| row.checked_sub(first).filter(|row| *row < block.nrows());
        while let Some(row) = places.get(rows.len()).and_then(within) {
            rows.push(scaled(block.row(row), unit));
        }
    });
    rows
}

fn scaled(row: ArrayView1<'_, f32>, unit: bool) -> Vec<f64> {
    let values: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
    let length = if unit { values.iter().map(|v| v * v).sum::<f64>().sqrt() } else { 1.0 };
    values.into_iter().map(|v| if length > 0.0 { v / length } else { v }).collect()
}

/// The greatest eigenvalues of a covariance, with their directions; `None` where they are not found.
fn leading(covariance: &Mat<f64>, count: usize) -> Option<Vec<(f64, Vec<f64>)>> {
    let found = covariance.self_adjoint_eigen(Side::Lower).ok()?;
    // In nondecreasing order.
    let direction = |at: usize| {
        let column: Vec<f64> = found.U().col(at).iter().copied().collect();
        let greatest = column.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
        (found.S()[at], column.into_iter().map(|v| v * greatest.signum()).collect())
    };
    Some((0..covariance.nrows()).rev().take(count).map(direction).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};
    use pdloss_embed::dataset::Role;
    use pdloss_embed::embeddings::Row;

    fn principal(matrix: &Array2<f32>, unit: bool) -> Option<Plane> {
        let rows = (0..matrix.nrows()).map(|row| Row::new(row.to_string(), 0, Role::Both)).collect();
        super::principal(&Embeddings::new(matrix.clone(), rows, vec!["a".into()]).unwrap(), unit)
    }

    #[test]
    fn points_of_a_plane_keep_their_distances() {
        // Three directions that are not at right angles to the axes; nothing lies along the third.
        let (u, v) = ([0.6, 0.8, 0.0, 0.0, 0.0], [0.0, 0.0, 0.48, 0.6, 0.64]);
        let places: Vec<[f32; 2]> = (0..40_u16).map(|n| [f32::from(n) - 20.0, f32::from(n * 7 % 11)]).collect();
        let matrix = Array2::from_shape_fn((40, 5), |(r, c)| 3.0 + places[r][0] * u[c] + places[r][1] * v[c]);
        let plane = principal(&matrix, false).unwrap();
        assert!((plane.share - 1.0).abs() < 1e-9, "{}", plane.share);
        for (a, b) in [(0, 1), (3, 30), (39, 2)] {
            let apart = |of: &dyn Fn(usize) -> [f64; 2]| {
                let (a, b) = (of(a), of(b));
                ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt()
            };
            let wanted = apart(&|at| places[at].map(f64::from));
            assert!((apart(&|at| plane.points[at]) - wanted).abs() < 1e-4, "{a} and {b}");
        }
        let spread = |axis: usize| plane.points.iter().map(|p| p[axis] * p[axis]).sum::<f64>();
        assert!(spread(0) > spread(1));
        assert!(plane.points.iter().map(|p| p[0]).sum::<f64>().abs() < 1e-6);
    }

    #[test]
    fn lengths_are_left_out_where_rows_are_directions_and_equal_rows_have_no_plane() {
        let rows = array![[1.0_f32, 0.0], [10.0, 0.0], [0.0, 2.0], [0.0, 3.0]];
        let plane = principal(&rows, true).unwrap();
        assert!((plane.points[0][0] - plane.points[1][0]).abs() < 1e-12);
        assert!((plane.points[0][0] - plane.points[2][0]).abs() > 1.0);
        assert_eq!(principal(&Array2::ones((5, 3)), false), None);
        assert_eq!(principal(&Array2::ones((1, 3)), false), None);
        let line = principal(&array![[1.0_f32], [3.0]], false).unwrap();
        assert_eq!(line, Plane { points: vec![[-1.0, 0.0], [1.0, 0.0]], share: 1.0 });
    }
}
