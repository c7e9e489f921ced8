//! The FAISS-backed search against the plain one, above all where similarities tie or nearly do.

use ndarray::{Array2, s};
use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::{Embeddings, Row};
use pdloss_embed::retrieval::{Index, Metric, Similarity, rank_all};
use pdloss_embed::retrieval::{Search, average_precision_at_r, measure};
use pdloss_eval::index::{FLAT, FaissIndex, by};
use proptest::prelude::*;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::Ip, Metric::L2];

/// Seeded numbers between -1 and 1, without a library: a linear congruential generator.
fn noise(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    Array2::from_shape_simple_fn((rows, dim), || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    })
}

/// Half the square of the chord between two directions, which is one less their cosine, by plain loops in f64: what tells nearly
/// parallel rows apart is not lost in it.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let unit = |row: &[f32]| -> Vec<f64> {
        let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        row.iter().map(|&v| f64::from(v) / length).collect()
    };
    unit(a).iter().zip(unit(b)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / 2.0
}

/// The others of a row, the nearest first.
fn in_order(matrix: &Array2<f32>, metric: Metric, query: usize) -> Vec<usize> {
    if metric != Metric::Cosine {
        return rank_all(&Similarity::new(metric, matrix.view(), matrix.view()), query, Some(query));
    }
    let row = |at: usize| matrix.row(at).to_vec();
    let mut others: Vec<(f64, usize)> =
        (0..matrix.nrows()).filter(|&at| at != query).map(|at| (apart(&row(query), &row(at)), at)).collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    others.into_iter().map(|(_, at)| at).collect()
}

fn found(matrix: &Array2<f32>, metric: Metric, k: usize) -> Vec<Vec<usize>> {
    let mut index = FaissIndex::build(FLAT, metric, matrix.view(), &|row| format!("row {row}")).unwrap();
    index.search(matrix.view(), k, Some(0)).unwrap()
}

fn assert_is_exact(matrix: &Array2<f32>, metric: Metric, k: usize, what: &str) {
    for (query, list) in found(matrix, metric, k).iter().enumerate() {
        assert_eq!(list, &in_order(matrix, metric, query)[..k], "{what}, {metric}, query {query}");
    }
}

#[test]
fn flat_search_is_exact_on_noise() {
    let matrix = noise(500, 37, 1);
    METRICS.iter().for_each(|&metric| assert_is_exact(&matrix, metric, 20, "noise"));
}

#[test]
fn ties_go_to_the_lower_row_whatever_faiss_says() {
    // Every row four times, so that each query has exact ties, and K cuts through a group of them.
    let distinct = noise(60, 16, 2);
    let copies = Array2::from_shape_fn((240, 16), |(row, column)| distinct[[row % 60, column]]);
    METRICS.iter().for_each(|&metric| assert_is_exact(&copies, metric, 10, "copies"));
}

#[test]
fn near_ties_below_f32_rounding_are_ordered_truly() {
    // A tight bundle: all cosines within 1e-6 of one.
    let matrix = noise(200, 64, 3).mapv(|v| 1.0 + 1e-4 * v);
    METRICS.iter().for_each(|&metric| assert_is_exact(&matrix, metric, 8, "bundle"));
}

/// The others of a row, the nearest first, of rows of whole numbers that are nearly parallel: by the square of the sine,
/// `(|a|^2 |b|^2 - (a.b)^2) / |a|^2 |b|^2`, of which the numerator is `sum over i < j of (a_i b_j - a_j b_i)^2` (Lagrange).
fn in_order_of_whole_numbers(rows: &[Vec<i64>], query: usize) -> Vec<usize> {
    let fraction = |other: usize| {
        let (a, b) = (&rows[query], &rows[other]);
        let minor = |i: usize, j: usize| i128::from(a[i] * b[j] - a[j] * b[i]);
        let minors = (0..a.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let square = minors.map(|(i, j)| minor(i, j) * minor(i, j)).sum::<i128>();
        (square, i128::from(b.iter().map(|v| v * v).sum::<i64>()))
    };
    let mut others: Vec<_> = (0..rows.len()).filter(|&at| at != query).map(|at| (fraction(at), at)).collect();
    others.sort_by(|((a, a_over), a_at), ((b, b_over), b_at)| (a * b_over).cmp(&(b * a_over)).then(a_at.cmp(b_at)));
    others.into_iter().map(|(_, at)| at).collect()
}

#[test]
fn rows_that_are_nearly_parallel_are_ranked_as_they_are_given() {
    // All cosines within 1e-11 of one: brought to length one in f32, rows would be rounded by as much as they differ.
    for (dim, seed) in [(24, 8), (12, 9)] {
        let matrix = noise(200, dim, seed).mapv(|v| 1e4 + 1e-2 * v);
        METRICS[1..].iter().for_each(|&metric| assert_is_exact(&matrix, metric, 4, "parallel"));
        // Floats of this size are multiples of 2^-10.
        let whole: Vec<Vec<i64>> =
            matrix.rows().into_iter().map(|row| row.iter().map(|&v| (v * 1024.0) as i64).collect()).collect();
        let truth: Vec<Vec<usize>> = (0..200).map(|query| in_order_of_whole_numbers(&whole, query)).collect();
        for (query, list) in found(&matrix, Metric::Cosine, 20).iter().enumerate() {
            assert_eq!(list, &truth[query][..20], "{dim} dimensions, query {query}");
        }
        let labels: Vec<usize> = (0..200).map(|at| at % 9).collect();
        let hit = |query: usize| truth[query][..4].iter().any(|&other| labels[other] == labels[query]);
        let recall = (0..200).filter(|&query| hit(query)).count() as f64 / 200.0;
        let measured = measure(&labelled(matrix, &labels), &Search::cosine(&[1, 4]), &by(FLAT)).unwrap();
        assert!((measured.recall[1].1 - recall).abs() < 1e-12, "{} {recall}", measured.recall[1].1);
    }
}

#[test]
fn all_rows_alike_is_the_order_of_rows() {
    assert_is_exact(&Array2::from_elem((50, 8), 0.25), Metric::Cosine, 5, "collapsed");
}

#[test]
fn lengths_beyond_what_products_of_float32_hold_change_no_order() {
    // Products underflow to nothing, or overflow to infinity.
    for scale in [1e-30_f32, 1e-21, 1e19, 1e30] {
        for rows in [40, 300] {
            let matrix = noise(rows, 16, 4).mapv(|v| scale * v);
            METRICS.iter().for_each(|&metric| assert_is_exact(&matrix, metric, 10, &format!("{rows} rows of {scale}")));
        }
    }
}

#[test]
fn an_index_of_euclidean_distance_alone_is_refused_by_what_would_do() {
    let matrix = noise(50, 16, 5);
    let build = |metric| FaissIndex::build("LSH", metric, matrix.view(), &|row| row.to_string());
    build(Metric::L2).unwrap();
    for metric in [Metric::Cosine, Metric::Ip] {
        let said = build(metric).unwrap_err().to_string();
        assert!(said.contains("index LSH") && said.contains("--metric l2"), "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn flat_search_is_exact_on_small_integers(
        values in proptest::collection::vec(-2_i8..=2, 30 * 4), k in 1_usize..29, metric in 0_usize..3, times in 1_u8..4,
    ) {
        // Small integers tie all the time; a one in front keeps every row off zero. Multiples of a row are in its direction.
        let value = |r: usize, c: usize| if c == 0 { 1 } else { i64::from(values[r * 4 + c - 1]) };
        let value = |r: usize, c: usize| if r % 5 == 4 { value(r - 1, c) * i64::from(times) } else { value(r, c) };
        let matrix = Array2::from_shape_fn((30, 5), |(r, c)| value(r, c) as f32);
        let dot = |a: usize, b: usize| (0..5).map(|c| value(a, c) * value(b, c)).sum::<i64>();
        for (query, list) in found(&matrix, METRICS[metric], k).into_iter().enumerate() {
            let mut others: Vec<usize> = (0..30).filter(|&other| other != query).collect();
            // In whole numbers: the square of a cosine with its sign, times the square of the query's length, is a fraction.
            let fraction = |other: usize| match METRICS[metric] {
                Metric::Cosine => (dot(query, other) * dot(query, other).abs(), dot(other, other)),
                Metric::Ip => (dot(query, other), 1),
                Metric::L2 => (2 * dot(query, other) - dot(other, other), 1),
            };
            others.sort_by(|&a, &b| {
                let (a_over, b_over) = (fraction(a), fraction(b));
                (b_over.0 * a_over.1).cmp(&(a_over.0 * b_over.1)).then(a.cmp(&b))
            });
            prop_assert_eq!(list, &others[..k], "{}, query {}", METRICS[metric], query);
        }
    }
}

/// Measures by their definitions, with nothing but sorting.
fn by_definition(matrix: &Array2<f32>, labels: &[usize], k: usize) -> (f64, f64) {
    let (mut recall, mut map, mut queries) = (0.0, 0.0, 0.0);
    for query in 0..labels.len() {
        let r = labels.iter().filter(|&&l| l == labels[query]).count() - 1;
        if r == 0 {
            continue;
        }
        let others = in_order(matrix, Metric::Cosine, query);
        let relevant: Vec<bool> = others.iter().map(|&o| labels[o] == labels[query]).collect();
        recall += f64::from(u8::from(relevant[..k].contains(&true)));
        map += average_precision_at_r(&relevant, r);
        queries += 1.0;
    }
    (recall / queries, map / queries)
}

fn labelled(matrix: Array2<f32>, labels: &[usize]) -> Embeddings {
    let rows = labels.iter().enumerate().map(|(at, &class)| Row::new(at.to_string(), class, Role::Both));
    let classes = (0..=labels.iter().copied().max().unwrap_or(0)).map(|c| c.to_string()).collect();
    Embeddings::new(matrix, rows.collect(), classes).unwrap()
}

#[test]
fn measures_are_what_their_definitions_say() {
    let labels: Vec<usize> = (0..150).map(|at| if at == 149 { 12 } else { at % 12 }).collect(); // class 12 is alone
    let matrix = noise(150, 6, 4);
    let (recall, map) = by_definition(&matrix, &labels, 4);
    let measured = measure(&labelled(matrix, &labels), &Search::cosine(&[1, 4]), &by(FLAT)).unwrap();
    assert_eq!(measured.recall[1], (4, recall));
    assert!((measured.map_at_r - map).abs() < 1e-12);
    assert_eq!((measured.queries, measured.lone_queries, measured.gallery), (149, 1, 150));
}

#[test]
fn queries_search_the_gallery_only() {
    // Two queries, three gallery rows; the other query would be the nearest if it were searched.
    let matrix = ndarray::array![[1.0_f32, 0.0], [1.0, 0.01], [0.9, 0.5], [0.0, 1.0], [0.1, 1.0]];
    let roles = [Role::Query, Role::Query, Role::Gallery, Role::Gallery, Role::Gallery];
    let classes = [0, 1, 0, 1, 1];
    let rows = roles.iter().zip(classes).map(|(&role, class)| Row::new("", class, role)).collect();
    let embeddings = Embeddings::new(matrix, rows, vec!["a".into(), "b".into()]).unwrap();
    let measured = measure(&embeddings, &Search::cosine(&[1, 2]), &by(FLAT)).unwrap();
    assert_eq!(measured.recall, [(1, 0.5), (2, 1.0)]);
    assert_eq!((measured.queries, measured.gallery), (2, 3));
    // R of the first query is 1 (hit: AP 1), of the second 2 (third nearest only is wrong: hit at 2: (1/2) / 2).
    assert!((measured.map_at_r - (1.0 + 0.25) / 2.0).abs() < 1e-12, "{}", measured.map_at_r);
}

#[test]
fn an_approximate_index_says_how_approximate_it_is() {
    let labels: Vec<usize> = (0..600).map(|at| at % 30).collect();
    let embeddings = labelled(noise(600, 32, 5), &labels);
    let on = |factory: &str| measure(&embeddings, &Search::cosine(&[1, 8]), &by(factory));
    let ivf = on("IVF16,Flat").unwrap();
    let found = ivf.index_recall.unwrap();
    assert!(found > 0.05 && found < 0.9, "one of 16 cells cannot hold all neighbours: {found}");
    assert_eq!(ivf.index_sample, Some((8, 500)));
    let hnsw = on("HNSW32").unwrap();
    assert!(hnsw.index_recall.unwrap() > 0.9);
    let ids = on("IDMap,Flat").unwrap();
    assert_eq!(ids.index_recall, Some(1.0));
    assert!(on(FLAT).unwrap().index_recall.is_none());
    let message = on("Nonsense").unwrap_err().to_string();
    assert!(message.contains("Nonsense"), "{message}");
}

#[test]
fn what_cannot_be_measured_is_an_error_with_numbers() {
    let matrix = noise(6, 3, 6);
    let error = |labels: &[usize], ks: &[usize]| {
        let part = matrix.slice(s![..labels.len(), ..]).to_owned();
        measure(&labelled(part, labels), &Search::cosine(ks), &by(FLAT)).unwrap_err().to_string()
    };
    assert!(error(&[0, 0, 0, 0], &[1]).contains("1 class"));
    assert!(error(&[0, 1, 2, 3], &[1]).contains("none of the 4 queries"));
    let message = error(&[0, 0, 1, 1], &[1, 4]);
    assert!(message.contains("--k 4") && message.contains("3 other"), "{message}");
}

#[test]
fn a_row_without_direction_has_no_cosine() {
    let mut matrix = noise(4, 3, 7);
    matrix.row_mut(2).fill(0.0);
    let embeddings = labelled(matrix, &[0, 0, 1, 1]);
    assert!(
        measure(&embeddings, &Search::cosine(&[1]), &by(FLAT))
            .unwrap_err()
            .to_string()
            .starts_with("embeddings: 2 is all zeros")
    );
    let l2 = Search { metric: Metric::L2, ..Search::cosine(&[1]) };
    assert!(measure(&embeddings, &l2, &by(FLAT)).is_ok());
}
