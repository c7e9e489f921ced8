//! Recall@K of metric learning: `R@K = (1/Q) sum_q [ one of the K nearest others of q has q's class ]`
//! (Jegou et al. 2011; also called CMC@K or hit rate). Not the share of relevant items retrieved.

/// Rank, from 1, of the first relevant neighbour; `relevant[i]` is whether neighbour `i` has the query's class.
/// Recall@K counts the queries for which this is at most K.
pub fn first_hit(relevant: &[bool]) -> Option<usize> {
    relevant.iter().position(|&r| r).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::first_hit;

    #[test]
    fn is_the_rank_of_the_first_relevant_neighbour() {
        assert_eq!(first_hit(&[true, false]), Some(1));
        assert_eq!(first_hit(&[false, false, true, true]), Some(3));
        assert_eq!(first_hit(&[false, false]), None);
        assert_eq!(first_hit(&[]), None);
    }
}
