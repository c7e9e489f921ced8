//! Embeddings laid out so that near ones stay near: t-SNE (van der Maaten and Hinton, "Visualizing Data using t-SNE", 2008; trees by
//! van der Maaten 2014), of the crate `bhtsne`.
//!
//! It starts from the first two principal components, brought to a deviation of 1e-4 (Kobak and Berens, "The art of using t-SNE for
//! single-cell transcriptomics", 2019), and not from random numbers, and runs on one thread: the same rows give the same layout.
//! What is far apart in it need not be far apart in truth; how dense a group is says nothing.

use bhtsne::{Neighbor, tSNE};
use pdloss_embed::embeddings::Embeddings;
use rayon::prelude::*;

use super::projection::{even, rows_at};

/// Rows that are laid out; of more these are taken evenly.
pub const MOST: usize = 1500;
/// About how many neighbours of each row count.
const PERPLEXITY: f64 = 30.0;
/// What a sparse gradient takes for a point, seen from afar: van der Maaten's.
const THETA: f64 = 0.5;
const EPOCHS: usize = 1000;
const START: f64 = 1e-4;

/// Places of up to [`MOST`] rows, with their numbers; `start` are the principal components of all rows, which are brought to length one
/// first where `unit`. `None` of too few rows. Every one of several ranks, of which none holds all rows, has the answer.
pub fn layout(embeddings: &Embeddings, unit: bool, start: &[[f64; 2]]) -> Option<Vec<(usize, [f64; 2])>> {
    laid_out(embeddings, unit, start, EPOCHS)
}

fn laid_out(embeddings: &Embeddings, unit: bool, start: &[[f64; 2]], epochs: usize) -> Option<Vec<(usize, [f64; 2])>> {
    let chosen = even(embeddings.rows.len(), MOST);
    let perplexity = PERPLEXITY.min((chosen.len() as f64 - 1.0) / 3.0);
    if perplexity < 2.0 {
        return None;
    }
    let rows = rows_at(embeddings, unit, &chosen);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a handful
    let neighbours = nearest(&rows, (3.0 * perplexity) as usize);
    let start: Vec<[f64; 2]> = chosen.iter().map(|&row| start[row]).collect();
    let fit = || {
        // What is known of the samples is their neighbours.
        let samples = vec![(); rows.len()];
        let mut tsne = tSNE::<f64, (), 2>::new(&samples);
        tsne.perplexity(perplexity).epochs(epochs).initial_embedding(spread(&start));
        tsne.barnes_hut_with_neighbors(THETA, &neighbours).embedding()
    };
    // Sums over threads would be rounded in another order each time.
    let places = rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()?.install(fit);
    let places = places.as_chunks::<2>().0.iter().copied();
    Some(chosen.into_iter().zip(places).collect())
}

/// The `count` nearest of each row, the nearest first; ties by the lower row.
fn nearest(rows: &[Vec<f64>], count: usize) -> Vec<Vec<Neighbor<f64>>> {
    let of = |(at, row): (usize, &Vec<f64>)| {
        let apart = |other: &Vec<f64>| row.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let others = rows.iter().enumerate().filter(|(index, _)| *index != at);
        let mut others: Vec<_> = others.map(|(index, other)| Neighbor { index, distance: apart(other) }).collect();
        others.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        others.truncate(count);
        others
    };
    rows.par_iter().enumerate().map(of).collect()
}

/// Places about their mean, the first axis with a deviation of [`START`], one after the other.
fn spread(places: &[[f64; 2]]) -> Vec<f64> {
    let count = places.len() as f64;
    let mean = |axis: usize| places.iter().map(|place| place[axis]).sum::<f64>() / count;
    let mean = [mean(0), mean(1)];
    let deviation = (places.iter().map(|place| (place[0] - mean[0]).powi(2)).sum::<f64>() / count).sqrt();
    let factor = if deviation > 0.0 { START / deviation } else { 0.0 };
    places.iter().flat_map(|place| [(place[0] - mean[0]) * factor, (place[1] - mean[1]) * factor]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::projection::principal;
    use ndarray::Array2;
    use pdloss_embed::dataset::Role;
    use pdloss_embed::embeddings::Row;

    /// Groups of rows about the corners of a space of eight dimensions, with noise.
    fn groups(rows: usize) -> Embeddings {
        let noise = |n: usize| ((n as f64 * 12.9898).sin() * 43_758.545_3).fract();
        #[allow(clippy::cast_possible_truncation)] // noise
        let value = |(r, c): (usize, usize)| (f64::from(u8::from(r % 6 == c)) + 0.2 * noise(r * 8 + c + 1)) as f32;
        let about = (0..rows).map(|row| Row::new(row.to_string(), 0, Role::Both)).collect();
        Embeddings::new(Array2::from_shape_fn((rows, 8), value), about, vec!["a".into()]).unwrap()
    }

    #[test]
    fn groups_that_no_plane_parts_are_parted_and_the_layout_is_the_same_again() {
        let embeddings = groups(90);
        let start = principal(&embeddings, true).unwrap().points;
        let found = laid_out(&embeddings, true, &start, 400).unwrap();
        assert_eq!(found, laid_out(&embeddings, true, &start, 400).unwrap());
        assert_eq!(found.iter().map(|(row, _)| *row).collect::<Vec<_>>(), (0..90).collect::<Vec<_>>());
        let alike = |places: &[[f64; 2]]| {
            let apart = |a: usize, b: usize| (places[a][0] - places[b][0]).hypot(places[a][1] - places[b][1]);
            let right = |&at: &usize| {
                let others = (0..90).filter(|other| *other != at);
                others.min_by(|&a, &b| apart(at, a).total_cmp(&apart(at, b))).unwrap() % 6 == at % 6
            };
            (0..90).filter(right).count()
        };
        let places: Vec<[f64; 2]> = found.iter().map(|(_, place)| *place).collect();
        assert!(alike(&places) == 90 && alike(&start) < 90, "{} and {}", alike(&places), alike(&start));
    }

    #[test]
    fn of_many_rows_some_are_taken_and_of_few_none() {
        let chosen = even(4000, MOST);
        assert_eq!((chosen.len(), chosen[0], chosen[1499]), (1500, 0, 3997));
        let few = groups(6);
        assert_eq!(layout(&few, false, &principal(&few, false).unwrap().points), None);
    }

    #[test]
    fn the_start_is_small_and_about_the_mean() {
        let start = spread(&[[1.0, 5.0], [3.0, 5.0], [5.0, 8.0]]);
        let wanted = [-2.0, -1.0, 0.0, -1.0, 2.0, 2.0].map(|v| v * 1e-4 / (8.0_f64 / 3.0).sqrt());
        assert!(start.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{start:?}");
        assert_eq!(spread(&[[2.0, 2.0], [2.0, 2.0]]), [0.0; 4]);
    }
}
