//! Pool adjacent violators (Ayer et al. 1955; Brümmer and du Preez 2006): scores cut into blocks in which the share of
//! genuine pairs rises from block to block, as near to the pairs as a rising share can be. Two figures follow from it: the
//! convex hull of the ROC, whose corners are the ends of the blocks, and the best log-likelihood ratios that any rising map
//! could have made of the scores,
//! `llr(block) = ln((genuine in it / all genuine) / (impostor in it / all impostor))`.
//!
//! Shares are compared as whole numbers, so that no block depends on rounding.

use super::Tally;

/// Neighbouring scores with one share of genuine pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its lowest score.
    pub from: f64,
    /// Its highest.
    pub to: f64,
    /// Genuine pairs in it.
    pub genuine: u64,
    /// Impostor pairs in it.
    pub impostor: u64,
}

impl Block {
    /// Whether the share of genuine pairs is lower here than there.
    fn is_below(&self, other: &Self) -> bool {
        u128::from(self.genuine) * u128::from(other.impostor) < u128::from(other.genuine) * u128::from(self.impostor)
    }

    /// The natural log-likelihood ratio of its scores, from minus infinity (no genuine pair) to infinity (no impostor).
    pub fn llr(&self, tally: &Tally) -> f64 {
        let (genuine, impostor) = tally.acquired();
        (self.genuine as f64 / genuine as f64).ln() - (self.impostor as f64 / impostor as f64).ln()
    }
}

/// The blocks of a tally, ascending. Pairs without a score are in none.
pub fn pav(tally: &Tally) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    tally.sweep(|step| {
        let mut last = Block { from: step.score, to: step.score, genuine: step.genuine, impostor: step.impostor };
        while let Some(before) = blocks.pop_if(|before| !before.is_below(&last)) {
            last = Block {
                from: before.from,
                to: last.to,
                genuine: before.genuine + last.genuine,
                impostor: before.impostor + last.impostor,
            };
        }
        blocks.push(last);
    });
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_case_worked_by_hand() {
        // scores 1 2 3 4 5; genuine 2, 4, 5, 5; impostor 1, 3, 3, 4: shares 0, 1, 0, 1/2, 1; 2 and 3 pool to 1/3
        let tally = Tally::of_scores(&[2.0, 4.0, 5.0, 5.0], &[1.0, 3.0, 3.0, 4.0]).unwrap();
        let block = |from, to, genuine, impostor| Block { from, to, genuine, impostor };
        let wanted = [block(1.0, 1.0, 0, 1), block(2.0, 3.0, 1, 2), block(4.0, 4.0, 1, 1), block(5.0, 5.0, 2, 0)];
        assert_eq!(pav(&tally), wanted);
        let llr: Vec<f64> = wanted.iter().map(|block| block.llr(&tally)).collect();
        assert_eq!((llr[0], llr[3]), (f64::NEG_INFINITY, f64::INFINITY));
        assert!((llr[1] - 0.5_f64.ln()).abs() < 1e-15 && llr[2] == 0.0, "{llr:?}");
    }

    #[test]
    fn equal_shares_are_one_block() {
        let tally = Tally::of_scores(&[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert_eq!(pav(&tally), [Block { from: 1.0, to: 2.0, genuine: 2, impostor: 2 }]);
    }

    #[test]
    fn the_shares_rise() {
        let noise = |n: u32| f64::from(n * 7919 % 1013);
        let genuine: Vec<f64> = (0..300).map(|n| noise(n) + 200.0).collect();
        let impostor: Vec<f64> = (300..900).map(noise).collect();
        let tally = Tally::of_scores(&genuine, &impostor).unwrap();
        let blocks = pav(&tally);
        assert!(blocks.len() > 5 && blocks.windows(2).all(|two| two[0].is_below(&two[1]) && two[0].to < two[1].from));
        assert_eq!(blocks.iter().map(|block| block.genuine).sum::<u64>(), 300);
        assert_eq!(blocks.iter().map(|block| block.impostor).sum::<u64>(), 600);
    }
}
