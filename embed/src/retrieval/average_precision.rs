//! Average precision, non-interpolated (TREC's; the standard definition of mAP, which re-identification uses, too):
//! `AP(q) = (1/R) sum over ranks i of P(i) [the i-th is relevant]`, where `P(i)` is the share of relevant ones among the first
//! `i` and `R` counts all relevant images of the gallery; mAP is its mean over queries.
//!
//! Cut at K the sum ends at rank K, and `min(R, K)` stands for R, so that a perfect list has 1:
//! `AP@K(q) = (1/min(R, K)) sum_{i=1..K} P(i) [the i-th is relevant]`. Others divide by R, or by the relevant ones that were
//! found. With `K = R` it is AP@R.

/// AP of one query, cut at `k`; `relevant` holds at least its `k` nearest neighbours, and `r > 0` are relevant in all. With a `k`
/// that no list reaches it is AP itself.
pub fn average_precision(relevant: &[bool], r: usize, k: usize) -> f64 {
    let mut hits = 0_usize;
    let mut sum = 0.0;
    for (at, _) in relevant.iter().take(k).enumerate().filter(|(_, hit)| **hit) {
        hits += 1;
        sum += hits as f64 / (at + 1) as f64;
    }
    sum / r.min(k) as f64
}

#[cfg(test)]
mod tests {
    use super::super::average_precision_at_r;
    use super::average_precision;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // R = 3; hits at 1, 3, 6
        let list = [true, false, true, false, false, true];
        let whole = (1.0 + 2.0 / 3.0 + 3.0 / 6.0) / 3.0;
        assert!((average_precision(&list, 3, usize::MAX) - whole).abs() < 1e-15);
        assert!((average_precision(&list, 3, 6) - whole).abs() < 1e-15);
        assert_eq!(average_precision(&list, 3, 2), 0.5);
        assert!((average_precision(&list, 3, 4) - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-15);
        assert_eq!(average_precision(&list, 3, 3), average_precision_at_r(&list, 3));
    }
}
