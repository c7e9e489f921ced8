//! How well clusters that know nothing of classes agree with them. `n_ij` images are in class `i` and cluster `j`, `a_i` in class
//! `i`, `b_j` in cluster `j`, `n` in all.
//!
//! Normalised mutual information, by the arithmetic mean of both entropies (Manning et al. 2008):
//! `NMI = 2 I / (H_classes + H_clusters)`, `I = sum n_ij/n ln(n n_ij / (a_i b_j))`, `H = -sum a_i/n ln(a_i/n)`.
//!
//! Adjusted Rand index (Hubert and Arabie 1985): the pairs that both put together, less what chance would give,
//! `ARI = (S - E) / ((A + B)/2 - E)`, `S = sum C(n_ij, 2)`, `A = sum C(a_i, 2)`, `B = sum C(b_j, 2)`, `E = A B / C(n, 2)`.

use std::collections::HashMap;

/// Agreement of clusters with classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Normalised mutual information, from 0 to 1.
    pub nmi: f64,
    /// Adjusted Rand index: 0 by chance, 1 for the same division.
    pub ari: f64,
}

/// The agreement of two divisions of the same images, one number an image in each; both are 1 where each has one part alone.
pub fn agreement(classes: &[usize], clusters: &[usize]) -> Agreement {
    let mut both: HashMap<(usize, usize), u64> = HashMap::new();
    let (mut of_class, mut of_cluster): (HashMap<usize, u64>, HashMap<usize, u64>) = Default::default();
    for (&class, &cluster) in classes.iter().zip(clusters) {
        *both.entry((class, cluster)).or_default() += 1;
        *of_class.entry(class).or_default() += 1;
        *of_cluster.entry(cluster).or_default() += 1;
    }
    // In one order, so that sums are the same in every run.
    let mut both: Vec<_> = both.into_iter().collect();
    both.sort_unstable();
    let sorted = |counts: &HashMap<usize, u64>| {
        let mut counts: Vec<u64> = counts.values().copied().collect();
        counts.sort_unstable();
        counts
    };
    let n = classes.len() as f64;
    let entropy =
        |counts: &[u64]| -> f64 { counts.iter().map(|&c| c as f64 / n).map(|share| -share * share.ln()).sum() };
    let pairs = |c: u64| (c * c.saturating_sub(1) / 2) as f64;
    let shared = |&((class, cluster), count): &((usize, usize), u64)| {
        let expected = of_class[&class] as f64 * of_cluster[&cluster] as f64;
        count as f64 / n * (n * count as f64 / expected).ln()
    };
    let information: f64 = both.iter().map(shared).sum();
    let together: f64 = both.iter().map(|(_, count)| pairs(*count)).sum();
    let (of_class, of_cluster) = (sorted(&of_class), sorted(&of_cluster));
    let entropies = entropy(&of_class) + entropy(&of_cluster);
    let (a, b): (f64, f64) = (of_class.iter().map(|&c| pairs(c)).sum(), of_cluster.iter().map(|&c| pairs(c)).sum());
    let expected = a * b / pairs(classes.len() as u64);
    let most = f64::midpoint(a, b);
    Agreement {
        nmi: if entropies > 0.0 { (2.0 * information / entropies).clamp(0.0, 1.0) } else { 1.0 },
        ari: if most > expected { (together - expected) / (most - expected) } else { 1.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scikit_learn() {
        // normalized_mutual_info_score and adjusted_rand_score of 1.9.1
        let classes = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2];
        let clusters = [5, 5, 1, 1, 1, 2, 1, 2, 2, 5];
        let found = agreement(&classes, &clusters);
        assert!(
            (found.nmi - 0.44270128334605).abs() < 1e-12 && (found.ari - 0.20454545454545456).abs() < 1e-12,
            "{found:?}"
        );
    }

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // one of four apart: I = H(3/4) - ... ; pairs together 1, A = 2, B = 3, E = 6/6
        let found = agreement(&[0, 0, 1, 1], &[0, 0, 0, 1]);
        let (third, half) = ((4.0_f64 / 3.0).ln(), 2.0_f64.ln());
        let information = 0.5 * third + 0.25 * (2.0_f64 / 3.0).ln() + 0.25 * half;
        let entropies = half + 0.75 * third + 0.25 * 4.0_f64.ln();
        assert!((found.nmi - 2.0 * information / entropies).abs() < 1e-15, "{found:?}");
        assert_eq!(found.ari, 0.0);
    }

    #[test]
    fn names_of_parts_do_not_matter() {
        assert_eq!(agreement(&[0, 0, 1, 2], &[7, 7, 3, 0]), Agreement { nmi: 1.0, ari: 1.0 });
        assert_eq!(agreement(&[0, 0], &[1, 1]), Agreement { nmi: 1.0, ari: 1.0 });
        let nothing = agreement(&[0, 0, 1, 1], &[0, 1, 0, 1]);
        assert!(nothing.nmi.abs() < 1e-15 && nothing.ari < 0.0, "{nothing:?}");
    }
}
