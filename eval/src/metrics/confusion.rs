//! Which classes are taken for which: for each query its class, and that of its nearest image.
//!
//! Rows and columns of a matrix are easiest to read where classes that are confused stand together. They are ordered by
//! agglomerative clustering with average linkage (Sokal and Michener 1958) of the similarity `(s_ab + s_ba) / 2`, where `s_ab` is the
//! share of the queries of `a` whose nearest image is of `b`; of the four ways to put two clusters beside each other that one is
//! taken whose neighbouring ends are most alike.

use std::collections::BTreeMap;

/// How often each class is taken for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Queries of each class.
    queries: Vec<u64>,
    /// Times by class of the query and class of its nearest image.
    times: BTreeMap<(usize, usize), u64>,
}

/// Two classes, and how often each is taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confused {
    /// The class that is taken for the other more often; the first one, where both are as often.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// Queries of `a` whose nearest image is of `b`.
    pub there: u64,
    /// Queries of `b` whose nearest image is of `a`.
    pub back: u64,
}

impl Confused {
    /// Both ways together.
    pub fn mistakes(&self) -> u64 {
        self.there + self.back
    }
}

impl Confusion {
    /// Of so many classes; the class of each query, and that of its nearest image.
    pub fn of(classes: usize, nearest: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut found = Self { queries: vec![0; classes], times: BTreeMap::new() };
        for (query, nearest) in nearest {
            found.queries[query] += 1;
            *found.times.entry((query, nearest)).or_default() += 1;
        }
        found
    }

    /// Queries of a class.
    pub fn queries(&self, class: usize) -> u64 {
        self.queries[class]
    }

    /// Queries of `a` whose nearest image is of `b`.
    pub fn times(&self, a: usize, b: usize) -> u64 {
        self.times.get(&(a, b)).copied().unwrap_or(0)
    }

    /// The share of the queries of `a` whose nearest image is of `b`.
    pub fn share(&self, a: usize, b: usize) -> f64 {
        self.times(a, b) as f64 / self.queries[a].max(1) as f64
    }

    /// Queries whose nearest image is of another class.
    pub fn mistakes(&self) -> u64 {
        self.times.iter().filter(|((a, b), _)| a != b).map(|(_, times)| times).sum()
    }

    /// Those of them whose two classes are both among these.
    pub fn mistakes_among(&self, classes: &[usize]) -> u64 {
        let of = |&a: &usize| classes.iter().filter(move |&&b| b != a).map(move |&b| self.times(a, b)).sum::<u64>();
        classes.iter().map(of).sum()
    }

    /// Pairs of classes that are confused, the most often confused first, then by their numbers.
    pub fn pairs(&self) -> Vec<Confused> {
        let mut pairs: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
        for (&(query, nearest), &times) in self.times.iter().filter(|((a, b), _)| a != b) {
            let both = pairs.entry((query.min(nearest), query.max(nearest))).or_default();
            if query < nearest { both.0 += times } else { both.1 += times }
        }
        let pair = |((low, high), (up, down)): ((usize, usize), (u64, u64))| {
            let (a, b, there, back) = if down > up { (high, low, down, up) } else { (low, high, up, down) };
            Confused { a, b, there, back }
        };
        let mut pairs: Vec<Confused> = pairs.into_iter().map(pair).collect();
        // Stable: pairs of equal counts stay in the order of their numbers.
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.mistakes()));
        pairs
    }

    /// All classes, where they are no more than `most`; else that many at most of the pairs that are most often confused.
    pub fn most_confused(&self, most: usize) -> Vec<usize> {
        if self.queries.len() <= most {
            return (0..self.queries.len()).collect();
        }
        let mut taken = Vec::new();
        for pair in self.pairs() {
            let new: Vec<usize> = [pair.a, pair.b].into_iter().filter(|class| !taken.contains(class)).collect();
            if taken.len() + new.len() <= most {
                taken.extend(new);
            }
        }
        taken.sort_unstable();
        taken
    }

    /// These classes in an order in which those that are confused stand together.
    pub fn clustered(&self, classes: &[usize]) -> Vec<usize> {
        let alike = |a: usize, b: usize| f64::midpoint(self.share(a, b), self.share(b, a));
        let linkage = |one: &[usize], other: &[usize]| {
            let all = one.iter().flat_map(|&a| other.iter().map(move |&b| alike(a, b)));
            all.sum::<f64>() / (one.len() * other.len()) as f64
        };
        let mut clusters: Vec<Vec<usize>> = classes.iter().map(|&class| vec![class]).collect();
        while clusters.len() > 1 {
            let (mut nearest, mut best) = ((0, 1), f64::NEG_INFINITY);
            for one in 0..clusters.len() {
                for other in one + 1..clusters.len() {
                    let value = linkage(&clusters[one], &clusters[other]);
                    if value > best {
                        (nearest, best) = ((one, other), value);
                    }
                }
            }
            let other = clusters.remove(nearest.1);
            let one = std::mem::take(&mut clusters[nearest.0]);
            clusters[nearest.0] = joined(one, other, &alike);
        }
        clusters.pop().unwrap_or_default()
    }
}

/// Two clusters one after the other, each turned so that the ends that meet are most alike.
fn joined(one: Vec<usize>, other: Vec<usize>, alike: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    let turned = |cluster: &[usize]| cluster.iter().rev().copied().collect::<Vec<usize>>();
    let (one_turned, other_turned) = (turned(&one), turned(&other));
    let ways = [(&one, &other), (&one_turned, &other), (&one, &other_turned), (&one_turned, &other_turned)];
    let meet = |(first, second): (&Vec<usize>, &Vec<usize>)| match (first.last(), second.first()) {
        (Some(&a), Some(&b)) => alike(a, b),
        _ => 0.0,
    };
    let mut best = ways[0];
    for &way in &ways[1..] {
        if meet(way) > meet(best) {
            best = way;
        }
    }
    [best.0.as_slice(), best.1].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four queries a class: 0 and 2 are confused both ways, 1 and 3 one way, 4 never.
    fn confusion() -> Confusion {
        let nearest = [
            [(0, 0), (0, 2), (0, 2), (0, 2)],
            [(1, 1), (1, 1), (1, 1), (1, 1)],
            [(2, 0), (2, 0), (2, 2), (2, 2)],
            [(3, 1), (3, 1), (3, 3), (3, 0)],
            [(4, 4); 4],
        ];
        Confusion::of(5, nearest.into_iter().flatten())
    }

    #[test]
    fn counts_are_those_of_a_case_worked_by_hand() {
        let of = confusion();
        assert_eq!((of.queries(0), of.times(0, 2), of.times(2, 0), of.times(0, 1)), (4, 3, 2, 0));
        assert!((of.share(3, 1) - 0.5).abs() < 1e-15);
        assert_eq!((of.mistakes(), of.mistakes_among(&[0, 2]), of.mistakes_among(&[0, 1, 3])), (8, 5, 3));
        let pair = |a, b, there, back| Confused { a, b, there, back };
        // Of 3 and 0 and of 3 and 1 the one with more mistakes first; 3 is the one that is taken for another.
        assert_eq!(of.pairs(), [pair(0, 2, 3, 2), pair(3, 1, 2, 0), pair(3, 0, 1, 0)]);
        assert_eq!(of.pairs()[0].mistakes(), 5);
    }

    #[test]
    fn of_many_classes_those_of_the_most_confused_pairs_are_taken() {
        let of = confusion();
        assert_eq!(of.most_confused(5), [0, 1, 2, 3, 4]);
        assert_eq!(of.most_confused(4), [0, 1, 2, 3]);
        // The second pair would make four; the third adds one.
        assert_eq!(of.most_confused(3), [0, 2, 3]);
        assert_eq!(of.most_confused(1), [0_usize; 0]);
        // A class that is confused with none is left out, though there is room.
        let of = Confusion::of(4, [(0, 1), (2, 2), (3, 3)].into_iter());
        assert_eq!(of.most_confused(3), [0, 1]);
    }

    #[test]
    fn confused_classes_stand_together() {
        // 0 and 2 are nearest (0.625), then 1 and 3 (0.25); the two meet where 3 is beside 0 (0.125); 4 is like none.
        assert_eq!(confusion().clustered(&[0, 1, 2, 3, 4]), [2, 0, 3, 1, 4]);
        assert_eq!(confusion().clustered(&[4]), [4]);
        assert_eq!(confusion().clustered(&[]), [0_usize; 0]);
        // A chain, each confused with the next alone, given in another order.
        let chain = Confusion::of(5, [(0, 3), (3, 1), (1, 4), (4, 2), (2, 2)].into_iter());
        let order = chain.clustered(&[0, 1, 2, 3, 4]);
        let place = |class: usize| order.iter().position(|&at| at == class).unwrap();
        let apart: Vec<usize> = [(0, 3), (3, 1), (1, 4), (4, 2)].map(|(a, b)| place(a).abs_diff(place(b))).into();
        assert_eq!(apart, [1, 1, 1, 1], "{order:?}");
    }
}
