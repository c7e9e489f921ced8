//! R-precision (Musgrave et al. 2020): `RP(q) = (relevant among the R nearest) / R`, R the number of other images of
//! the query's class.

/// R-precision of one query; `relevant` holds at least its `r` nearest neighbours, `r > 0`.
pub fn r_precision(relevant: &[bool], r: usize) -> f64 {
    relevant.iter().take(r).filter(|&&hit| hit).count() as f64 / r as f64
}

#[cfg(test)]
mod tests {
    use super::r_precision;

    #[test]
    fn counts_relevant_among_the_first_r() {
        assert_eq!(r_precision(&[true, false, true, true], 3), 2.0 / 3.0);
        assert_eq!(r_precision(&[false, true], 1), 0.0);
    }
}
