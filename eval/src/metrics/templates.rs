//! One embedding for several images of a person, each medium counting once (Klare et al. 2015; Maze et al. 2018, "IARPA Janus
//! Benchmark - C", section 4; so pool the evaluations of insightface, too): many frames of one video say hardly more than one of them.
//!
//! `t = (1/M) sum over media m of (1/|m|) sum over images i of m of x_i`, then divided by its length; `M` is the number of media of
//! the template, `x_i` the embedding of an image as the model gives it, so that a long one weighs more.

use ndarray::{Array1, Array2, ArrayView2};

use crate::pairs::Member;
use crate::{Error, Result};

/// The templates, `[templates, dim]`, of unit length. `members` are in order of templates, then media; `row_of` has the row of each
/// image, or none where it could not be used; `name` names a template.
///
/// # Errors
/// [`Error::Embeddings`] naming a template that has no image, or whose images add up to nothing.
#[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
pub fn pool(
    rows: ArrayView2<'_, f32>,
    members: &[Member],
    row_of: &[Option<usize>],
    templates: usize,
    name: &dyn Fn(usize) -> String,
) -> Result<Array2<f32>> {
    let mut pooled = Array2::zeros((templates, rows.ncols()));
    let mut found = vec![false; templates];
    for of_template in members.chunk_by(|a, b| a.template == b.template) {
        let mut sum = Array1::<f64>::zeros(rows.ncols());
        for of_medium in of_template.chunk_by(|a, b| a.medium == b.medium) {
            let images: Vec<usize> = of_medium.iter().filter_map(|member| row_of[member.image as usize]).collect();
            for &row in &images {
                sum.scaled_add(1.0 / images.len() as f64, &rows.row(row).mapv(f64::from));
            }
            found[of_template[0].template as usize] |= !images.is_empty();
        }
        // The mean over media is the sum but for its length.
        let length = sum.dot(&sum).sqrt();
        let template = of_template[0].template as usize;
        if length > 0.0 {
            pooled.row_mut(template).assign(&sum.mapv(|v| (v / length) as f32));
        } else if found[template] {
            let problem = "has images that add up to nothing, which has no cosine with anything";
            return Err(Error::Embeddings(format!("template {} {problem}", name(template))));
        }
    }
    match found.iter().position(|found| !found) {
        Some(empty) => Err(Error::Embeddings(format!("template {} has no image that could be used", name(empty)))),
        None => Ok(pooled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_counts_once_however_many_images_it_has() {
        // Template 0: two frames of one video, (1, 0) and (0, 1), and a still (2, 2); template 1: a still (0, -3).
        let rows = ndarray::array![[1.0_f32, 0.0], [0.0, 1.0], [2.0, 2.0], [0.0, -3.0], [5.0, 0.0]];
        let member = |template, medium, image| Member { template, medium, image };
        let members = [member(0, 4, 0), member(0, 4, 1), member(0, 9, 4), member(1, 9, 3)];
        let all: Vec<Option<usize>> = (0..5).map(Some).collect();
        let pool = |row_of: &[Option<usize>]| pool(rows.view(), &members, row_of, 2, &|t| t.to_string());
        // (1/2, 1/2) + (5, 0) = (5.5, 0.5)
        let length = (5.5_f32 * 5.5 + 0.25).sqrt();
        let pooled = pool(&all).unwrap();
        assert!((&pooled - &ndarray::array![[5.5 / length, 0.5 / length], [0.0, -1.0]]).iter().all(|d| d.abs() < 1e-7));
        // Without the second frame: (1, 0) + (5, 0).
        let without = pool(&[Some(0), None, Some(2), Some(3), Some(4)]).unwrap();
        assert_eq!(without.row(0).to_vec(), [1.0, 0.0]);
        let said = pool(&[Some(0), Some(1), Some(2), None, Some(4)]).unwrap_err().to_string();
        assert!(said.contains("template 1 has no image"), "{said}");
    }
}
