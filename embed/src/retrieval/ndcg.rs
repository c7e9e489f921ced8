//! Normalised discounted cumulative gain with gains of 0 and 1 (Järvelin and Kekäläinen 2002):
//! `nDCG@K(q) = sum_{i=1..K} [the i-th is relevant] / log2(i + 1)`, divided by the same of a perfect list,
//! `sum_{i=1..min(R, K)} 1 / log2(i + 1)`; then the mean over queries.

fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

/// nDCG of one query; `relevant` holds at least its `k` nearest neighbours, and `r > 0` are relevant in all.
pub fn ndcg(relevant: &[bool], r: usize, k: usize) -> f64 {
    let gained = relevant.iter().take(k).enumerate().filter(|(_, hit)| **hit).map(|(at, _)| discount(at + 1));
    gained.sum::<f64>() / (1..=r.min(k)).map(discount).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::ndcg;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // hits at 1 and 3 of R = 2: (1 + 1/2) / (1 + 1/log2(3))
        let list = [true, false, true];
        assert!((ndcg(&list, 2, 3) - 1.5 / (1.0 + 1.0 / 3.0_f64.log2())).abs() < 1e-15);
        assert_eq!(ndcg(&list, 2, 1), 1.0);
        assert_eq!(ndcg(&[true, true, false], 2, 3), 1.0);
        assert_eq!(ndcg(&[false, false], 2, 2), 0.0);
    }
}
