//! MAP@R (Musgrave et al. 2020, "A Metric Learning Reality Check", section 3.2):
//! `AP@R(q) = (1/R) sum_{i=1..R} P(i)`, where `P(i)` is the precision among the first `i` neighbours if the i-th is
//! relevant and 0 otherwise; MAP@R is its mean over queries.

/// AP@R of one query; `relevant` holds at least its `r` nearest neighbours, `r > 0`.
pub fn average_precision_at_r(relevant: &[bool], r: usize) -> f64 {
    let mut hits = 0_usize;
    let mut sum = 0.0;
    for (at, _) in relevant.iter().take(r).enumerate().filter(|(_, hit)| **hit) {
        hits += 1;
        sum += hits as f64 / (at + 1) as f64;
    }
    sum / r as f64
}

#[cfg(test)]
mod tests {
    use super::average_precision_at_r;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // R = 4; hits at 1, 3, 4: (1/1 + 2/3 + 3/4) / 4
        let by_hand = (1.0 + 2.0 / 3.0 + 0.75) / 4.0;
        assert!((average_precision_at_r(&[true, false, true, true, true], 4) - by_hand).abs() < 1e-15);
        assert_eq!(average_precision_at_r(&[false, false, true], 2), 0.0);
        assert_eq!(average_precision_at_r(&[true, true], 2), 1.0);
    }
}
