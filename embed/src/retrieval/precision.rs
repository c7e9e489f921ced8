//! Precision@K: `P@K(q) = (relevant among the K nearest) / K`, then the mean over queries. A query with fewer than K relevant
//! images in the gallery cannot reach 1; some divide by `min(R, K)` instead.

/// Precision of one query; `relevant` holds at least its `k` nearest neighbours.
pub fn precision(relevant: &[bool], k: usize) -> f64 {
    relevant.iter().take(k).filter(|&&hit| hit).count() as f64 / k as f64
}

#[cfg(test)]
mod tests {
    use super::precision;

    #[test]
    fn is_a_share_of_k() {
        let list = [true, false, true, false];
        assert_eq!([1, 2, 4].map(|k| precision(&list, k)), [1.0, 0.5, 0.5]);
    }
}
