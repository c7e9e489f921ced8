//! The same queries or pairs in another order: a list whose lines were shuffled, or a folder that is read otherwise.

use std::collections::HashMap;
use std::hash::Hash;

use crate::runs::{Details, Pairs, Run};

/// The second run with its queries or pairs in the order of the first, where they are the same ones by name in another order; what
/// they hold is not compared here.
pub(crate) fn in_order_of(a: &Run, b: &Run) -> Option<Run> {
    let details = match (&a.details, &b.details) {
        (Details::Retrieval(of_a), Details::Retrieval(of_b)) => {
            let names =
                |run: &'_ crate::runs::Retrieved| run.queries.iter().map(|q| q.name.clone()).collect::<Vec<_>>();
            let order = order(&names(of_a), &names(of_b))?;
            let mut details = of_b.clone();
            details.queries = order.into_iter().map(|at| of_b.queries[at].clone()).collect();
            Details::Retrieval(details)
        }
        (Details::Verification(of_a), Details::Verification(of_b)) => {
            let pairs = in_order_of_pairs(of_a.pairs.as_ref()?, of_b.pairs.as_ref()?)?;
            let mut details = of_b.clone();
            details.pairs = Some(pairs);
            Details::Verification(details)
        }
        _ => return None,
    };
    Some(Run { path: b.path.clone(), records: b.records.clone(), details })
}

/// The pairs of `b` in the order of those of `a`, the images of each in that order too.
fn in_order_of_pairs(a: &Pairs, b: &Pairs) -> Option<Pairs> {
    // Numbers are shorter than names, and pairs are many.
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    for (number, image) in (0..).zip(&a.images) {
        if numbers.insert(&image.name, number).is_some() {
            return None;
        }
    }
    let number = |image: u32| numbers.get(b.images[image as usize].name.as_str()).copied();
    let of_b: Vec<(u32, u32)> = b.pairs.iter().map(|p| Some((number(p.a)?, number(p.b)?))).collect::<Option<_>>()?;
    let of_a: Vec<(u32, u32)> = a.pairs.iter().map(|p| (p.a, p.b)).collect();
    if of_a == of_b {
        return None;
    }
    let either_way = |pairs: &[(u32, u32)]| pairs.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect::<Vec<_>>();
    let (unturned_a, unturned_b) = (either_way(&of_a), either_way(&of_b));
    let order = if unturned_a == unturned_b { (0..of_a.len()).collect() } else { order(&unturned_a, &unturned_b)? };
    let pair = |(at, &(first, _)): (usize, &(u32, u32))| {
        let mut pair = b.pairs[at];
        if of_b[at].0 != first {
            std::mem::swap(&mut pair.a, &mut pair.b);
        }
        pair
    };
    Some(Pairs {
        images: b.images.clone(),
        pairs: order.into_iter().zip(&of_a).map(pair).collect(),
        files: b.files.clone(),
    })
}

/// Where in `b` each of `a` is, where they are the same, each once, and not in the same order.
fn order<T: Eq + Hash>(a: &[T], b: &[T]) -> Option<Vec<usize>> {
    if a.len() != b.len() || a == b {
        return None;
    }
    let places: HashMap<&T, usize> = b.iter().zip(0..).collect();
    let order: Vec<usize> = a.iter().map(|one| places.get(one).copied()).collect::<Option<_>>()?;
    let mut seen = vec![false; b.len()];
    order.iter().for_each(|&at| seen[at] = true);
    (places.len() == b.len() && seen.into_iter().all(|seen| seen)).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Pair, Person};

    #[test]
    fn what_is_the_same_in_another_order_is_found() {
        assert_eq!(order(&["a", "b", "c"], &["c", "a", "b"]), Some(vec![1, 2, 0]));
        for other in [&["a", "b", "c"][..], &["a", "b"], &["a", "b", "d"], &["a", "b", "b"], &["b", "a", "a"]] {
            assert_eq!(order(&["a", "b", "c"], other), None, "{other:?}");
        }
        assert_eq!(order(&["a", "a", "b"], &["b", "a", "a"]), None, "which is which is not known");
    }

    #[test]
    fn pairs_are_the_same_either_way_round() {
        let pairs = |names: &[&str], pairs: &[(u32, u32, f64)]| Pairs {
            images: names.iter().map(|name| Person { name: (*name).into(), subject: "s".into() }).collect(),
            pairs: pairs
                .iter()
                .map(|&(a, b, score)| Pair { a, b, same: true, score, fold: None, right: None })
                .collect(),
            files: None,
        };
        let a = pairs(&["x", "y", "z"], &[(0, 1, 0.1), (0, 2, 0.2), (1, 2, 0.3)]);
        let b = pairs(&["z", "y", "x"], &[(0, 1, 0.6), (0, 2, 0.5), (1, 2, 0.4)]);
        let found = in_order_of_pairs(&a, &b).unwrap();
        let named: Vec<_> = found
            .pairs
            .iter()
            .map(|p| (found.images[p.a as usize].name.as_str(), found.images[p.b as usize].name.as_str(), p.score))
            .collect();
        assert_eq!(named, [("x", "y", 0.4), ("x", "z", 0.5), ("y", "z", 0.6)]);
        assert_eq!(in_order_of_pairs(&a, &a), None);
        let turned = pairs(&["x", "y", "z"], &[(1, 0, 0.1), (0, 2, 0.2), (1, 2, 0.3)]);
        assert_eq!(in_order_of_pairs(&a, &turned), Some(a.clone()));
        let other = pairs(&["x", "y", "v"], &[(0, 1, 0.1), (0, 2, 0.2), (1, 2, 0.3)]);
        assert_eq!(in_order_of_pairs(&a, &other), None);
    }
}
