//! Copies of an image and images by one camera are no neighbours.

use ndarray::Array2;
use pdloss_embed::dataset::Role;
use pdloss_embed::embeddings::{Copies, Embeddings, Row};
use pdloss_embed::retrieval::{Retrieval, Search, check, exact, measure};

/// Unit vectors at these angles in degrees.
fn at(angles: &[f32], rows: Vec<Row>) -> Embeddings {
    let matrix = Array2::from_shape_fn((angles.len(), 2), |(row, axis)| {
        let angle = angles[row].to_radians();
        if axis == 0 { angle.cos() } else { angle.sin() }
    });
    Embeddings::new(matrix, rows, vec!["a".into(), "b".into()]).unwrap()
}

fn found(embeddings: &Embeddings) -> Retrieval {
    measure(embeddings, &Search::cosine(&[1]), &exact).unwrap()
}

#[test]
fn an_image_does_not_find_its_own_copy() {
    // a, its copy, another a far away; two b between.
    let (angles, classes) = ([0.0, 0.0, 80.0, 10.0, 20.0], [0, 0, 0, 1, 1]);
    let rows = |copies: bool| -> Vec<Row> {
        let image = |n: usize| (copies && n < 2).then_some(0);
        (0..5).map(|n| Row { image: image(n), ..Row::new(n.to_string(), classes[n], Role::Both) }).collect()
    };
    let (plain, copied) = (at(&angles, rows(false)), at(&angles, rows(true)));
    assert_eq!((plain.copies().rows, copied.copies()), (0, Copies { rows: 1, other_class: 0 }));
    let right = |r: &Retrieval| r.each.iter().map(|q| q.first_hit == Some(1)).collect::<Vec<_>>();
    assert_eq!(right(&found(&plain)), [true, true, false, true, true]);
    assert_eq!(right(&found(&copied)), [false, false, false, true, true]);
    assert_eq!(found(&copied).each[0].relevant, 1);
    // Nothing but a copy: nobody to find.
    let lonely = at(
        &[0.0, 0.0, 10.0, 20.0],
        rows(true).into_iter().enumerate().filter(|(n, _)| *n != 2).map(|(_, r)| r).collect(),
    );
    let found = found(&lonely);
    assert_eq!((found.queries, found.lone_queries), (2, 2));
}

#[test]
fn average_precision_over_the_whole_gallery_knows_the_cameras() {
    let row = |class, camera, role| Row { camera: Some(camera), ..Row::new("", class, role) };
    let gallery = |class, camera| row(class, camera, Role::Gallery);
    // From the nearest on: the same person by the same camera (passed over), another, the same, another, the same.
    let mut rows = vec![row(0, 1, Role::Query)];
    rows.extend([gallery(0, 1), gallery(1, 1), gallery(0, 2), gallery(1, 2), gallery(0, 3)]);
    let embeddings = at(&[0.0, 5.0, 10.0, 20.0, 30.0, 40.0], rows);
    let search = Search { whole: true, ..Search::cosine(&[1, 2]) };
    let found = measure(&embeddings, &search, &exact).unwrap();
    // Right at ranks 2 and 4 of 4: (1/2 + 2/4) / 2; the standard definition, as sklearn's average_precision_score.
    assert_eq!(found.whole, Some((0.5, 0.5)));
    assert_eq!((found.each[0].relevant, found.depth), (2, 5));
    let at_2 = found.at[1];
    assert_eq!((at_2.k, at_2.precision, at_2.average_precision), (2, 0.5, 0.25));
    let perfect = 1.0 + 1.0 / 3.0_f64.log2();
    assert!((at_2.ndcg - (1.0 / 3.0_f64.log2()) / perfect).abs() < 1e-15);
    // Without the whole gallery there is no mAP, and the rest is the same.
    let part = measure(&embeddings, &Search::cosine(&[1, 2]), &exact).unwrap();
    assert_eq!((part.whole, part.at, part.recall), (None, found.at, found.recall));
}

#[test]
fn queries_that_nobody_matches_say_how_near_the_nearest_is() {
    let row = |class, role| Row::new("", class, role);
    let rows = vec![
        row(2, Role::Query),
        row(0, Role::Query),
        row(0, Role::Gallery),
        row(1, Role::Gallery),
        row(3, Role::Query),
    ];
    let mut embeddings = at(&[0.0, 80.0, 60.0, 90.0, 95.0], rows);
    embeddings.classes = ["a", "b", "c", "d"].map(str::to_owned).into();
    let search = Search { keep: 1, ..Search::cosine(&[1]) };
    let found = measure(&embeddings, &search, &exact).unwrap();
    assert_eq!((found.queries, found.lone_queries), (1, 2));
    let wanted = [60.0_f64, 5.0].map(|angle| angle.to_radians().cos());
    let close = |(found, wanted): (&(usize, f64), f64)| (found.1 - wanted).abs() < 1e-6;
    assert!(found.lone_nearest.iter().zip(wanted).all(close), "{found:?}");
    assert_eq!(found.lone_nearest.iter().map(|lone| lone.0).collect::<Vec<_>>(), [0, 4]);
    assert!(measure(&embeddings, &Search::cosine(&[1]), &exact).unwrap().lone_nearest.is_empty());
}

#[test]
fn a_copy_under_another_label_is_no_wrong_neighbour() {
    let row = |class, image| Row { image, ..Row::new("", class, Role::Both) };
    let rows = vec![row(0, Some(3)), row(1, Some(3)), row(0, None), row(1, None)];
    let embeddings = at(&[0.0, 0.0, 10.0, 60.0], rows);
    assert_eq!(embeddings.copies(), Copies { rows: 1, other_class: 1 });
    assert_eq!(found(&embeddings).each[0].first_hit, Some(1));
}

#[test]
fn the_querys_person_by_its_camera_does_not_count() {
    let row = |class, camera, role| Row { camera: Some(camera), ..Row::new("", class, role) };
    let rows = vec![
        row(0, 1, Role::Query),
        row(0, 1, Role::Gallery),
        row(1, 1, Role::Gallery),
        row(0, 2, Role::Gallery),
        row(1, 1, Role::Query),
    ];
    let embeddings = at(&[0.0, 1.0, 5.0, 9.0, 5.0], rows);
    let found = measure(&embeddings, &Search::cosine(&[2]), &exact).unwrap();
    assert_eq!((found.queries, found.lone_queries), (1, 1), "the second query's person was seen by its camera alone");
    let query = &found.each[0];
    assert_eq!((query.relevant, query.first_hit), (1, Some(2)), "the other person by the same camera counts");
}

#[test]
fn a_query_that_finds_nobody_is_like_none() {
    let row = |class, camera, role| Row { camera: Some(camera), ..Row::new("", class, role) };
    // All that the second query could find is its own person by its own camera.
    let rows = vec![row(0, 1, Role::Query), row(1, 1, Role::Query), row(1, 1, Role::Gallery), row(1, 1, Role::Gallery)];
    let mut rows = rows;
    rows.push(row(0, 2, Role::Gallery));
    let embeddings = at(&[0.0, 1.0, 5.0, 9.0, 2.0], rows);
    struct Half;
    impl pdloss_embed::retrieval::Index for Half {
        fn search(
            &mut self,
            queries: ndarray::ArrayView2<'_, f32>,
            _: usize,
            _: Option<usize>,
        ) -> pdloss_embed::Result<Vec<Vec<usize>>> {
            // An approximate index may find what does not count, and nothing else.
            Ok((0..queries.nrows()).map(|query| if query == 0 { vec![2] } else { vec![0, 1] }).collect())
        }
        fn is_exact(&self) -> bool {
            true
        }
    }
    let search = Search { keep: 1, ..Search::cosine(&[1]) };
    let found = measure(&embeddings, &search, &|_, _, _| Ok(Box::new(Half))).unwrap();
    assert_eq!((found.queries, &found.lone_nearest[..]), (1, &[(1, f64::NEG_INFINITY)][..]));
}

#[test]
fn what_rows_show_is_refused_before_anything_is_searched() {
    let rows = |classes: &[usize]| classes.iter().map(|&c| Row::new("", c, Role::Both)).collect::<Vec<_>>();
    let wrong = |classes: &[usize], k: usize| check(&rows(classes), &[k]).unwrap_err().to_string();
    check(&rows(&[0, 0, 1]), &[2]).unwrap();
    assert!(wrong(&[0, 0, 1], 3).contains("--k 3: each query has only 2 other images"));
    assert!(wrong(&[0, 0], 1).contains("holds 1 class"));
    assert!(wrong(&[0, 1], 1).contains("none of the 2 queries has another image"));
    assert!(check(&[], &[1]).is_err());
}
