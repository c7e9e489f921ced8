//! Numbers of twice the digits of an f64, as the sum of two of these (Dekker, "A floating-point technique for extending the
//! available precision", 1971; sums of products by Ogita, Rump and Oishi, "Accurate sum and dot product", 2005).
//!
//! The cosine of rows that are nearly parallel is one less the square of a small angle: what tells two such rows apart may lie
//! below the last digit of an f64.

use std::cmp::Ordering;

/// The sum of two numbers, of which the second is what the first rounds away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wide(f64, f64);

impl Wide {
    /// This number as it is.
    pub(super) fn of(value: f64) -> Self {
        Self(value, 0.0)
    }

    /// `a . b`: the products are exact, and their sum has twice the digits.
    pub(super) fn dot(a: &[f32], b: &[f32]) -> Self {
        const LANES: usize = 8;
        let (mut sums, mut rest) = ([0.0_f64; LANES], [0.0_f64; LANES]);
        let mut add = |lane: usize, x: f32, y: f32| {
            let (sum, lost) = two_sum(sums[lane], f64::from(x) * f64::from(y));
            sums[lane] = sum;
            rest[lane] += lost;
        };
        let (blocks_a, blocks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (last_a, last_b) = (blocks_a.remainder(), blocks_b.remainder());
        for (x, y) in blocks_a.zip(blocks_b) {
            for lane in 0..LANES {
                add(lane, x[lane], y[lane]);
            }
        }
        last_a.iter().zip(last_b).enumerate().for_each(|(lane, (&x, &y))| add(lane, x, y));
        let mut all = Self::of(0.0);
        for (sum, rest) in sums.into_iter().zip(rest) {
            let (sum, lost) = two_sum(all.0, sum);
            all = Self(sum, all.1 + (lost + rest));
        }
        all.whole()
    }

    /// As one f64.
    pub(super) fn rounded(self) -> f64 {
        self.0
    }

    /// This number times its own size: its square, with its sign.
    pub(super) fn signed_square(self) -> Self {
        let square = self.0 * self.0;
        let lost = self.0.mul_add(self.0, -square) + 2.0 * self.0 * self.1;
        let square = Self(square, lost).whole();
        if self.0 < 0.0 { Self(-square.0, -square.1) } else { square }
    }

    /// The quotient, to 84 bits: quotients that are equal come out equal, whatever the last bits of the division are. These are off in about the
    /// 104th, so that one of a million lies so near a border that it could be rounded either way.
    pub(super) fn over(self, other: Self) -> Self {
        let first = self.0 / other.0;
        let left = (-first).mul_add(other.0, self.0) + (self.1 - first * other.1);
        let Self(first, second) = Self(first, left / other.0).whole();
        let unit = first.abs() * 2.0_f64.powi(-84);
        Self(first, if unit > 0.0 { (second / unit).round() * unit } else { second })
    }

    /// The order of numbers.
    pub(super) fn total_cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then(self.1.total_cmp(&other.1))
    }

    /// The first number as near to the sum as an f64 can be.
    fn whole(self) -> Self {
        let (sum, lost) = two_sum(self.0, self.1);
        // What is beyond all numbers loses nothing more.
        Self(sum, if sum.is_finite() { lost } else { 0.0 })
    }
}

/// A sum, and what it rounds away (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_f64_rounds_away_is_kept() {
        // 2^50 + 2^-20 - 2^50, over several lanes and their rest.
        let (large, small) = (2.0_f32.powi(25), 2.0_f32.powi(-10));
        let a = [large, 0.0, small, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, large];
        let b = [large, 0.0, small, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -large];
        assert_eq!(Wide::dot(&a, &b), Wide::of(2.0_f64.powi(-20)));
        let sum = Wide::dot(&a[..9], &b[..9]);
        assert_eq!(sum, Wide(2.0_f64.powi(50), 2.0_f64.powi(-20)));
        // (2^50 + 2^-20)^2 / 2^50 = 2^50 + 2^-19 + 2^-90
        assert_eq!(sum.signed_square().over(Wide::of(2.0_f64.powi(50))), Wide(2.0_f64.powi(50), 2.0_f64.powi(-19)));
    }

    #[test]
    fn cosines_that_are_equal_are_equal_here() {
        let (query, row) = ([3.0_f32, -1.0, 7.0, 2.0], [5.0_f32, 2.0, -1.0, 11.0]);
        let rank = |row: &[f32]| Wide::dot(&query, row).signed_square().over(Wide::dot(row, row));
        for times in [3.0, 5.0, 7.0, 0.3125, 1025.0, 4_097.0] {
            assert_eq!(rank(&row.map(|v| times * v)), rank(&row), "{times}");
        }
        // Rows near a border of rounding to 92 bits, of a hundred thousand: some of their multiples lie beyond it.
        for seed in [17_953_u64, 43_919, 77_214, 95_703] {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) % 2_001) as f32 - 1000.0
            };
            let (row, query): (Vec<f32>, Vec<f32>) = (0..64).map(|_| (next(), next())).unzip();
            let rank = |times: f32| {
                let row: Vec<f32> = row.iter().map(|v| times * v).collect();
                Wide::dot(&query, &row).signed_square().over(Wide::dot(&row, &row))
            };
            let once = rank(1.0);
            assert!((6_001_u16..6_100).all(|times| rank(times.into()) == once), "{seed}");
        }
        let opposite = rank(&row.map(|v| -3.0 * v));
        assert_eq!((opposite.0, opposite.total_cmp(&rank(&row))), (-rank(&row).0, Ordering::Less));
    }
}
