//! Mean reciprocal rank: the mean over queries of `1 / rank of the first relevant image`.

/// One over the rank, from 1, of the first relevant image; 0 where none is found.
pub fn reciprocal_rank(first_hit: Option<usize>) -> f64 {
    first_hit.map_or(0.0, |rank| 1.0 / rank as f64)
}

#[cfg(test)]
mod tests {
    use super::reciprocal_rank;

    #[test]
    fn is_one_over_the_rank() {
        assert_eq!([Some(1), Some(4), None].map(reciprocal_rank), [1.0, 0.25, 0.0]);
    }
}
