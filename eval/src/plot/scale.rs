//! Numbers on axes and in captions.

use statrs::distribution::{ContinuousCDF, Normal};

/// An axis that is marked at round numbers, however large, small or near each other its values are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Where it is marked, and with what.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Scale {
    /// An axis from `low` to `high`, or round numbers just beyond them, with about so many marks and never more than twice as
    /// many. Values without any distance get an axis around them.
    pub(crate) fn over(low: f64, high: f64, about: u32) -> Self {
        // Quarters, so that the distance of any two numbers is one.
        let (least_value, greatest_value) = (low.max(f64::MIN), high.min(f64::MAX));
        let (mut low, mut high) = (least_value / 4.0, greatest_value / 4.0);
        let least = low.abs().max(high.abs()) * f64::EPSILON * 64.0;
        let room = high - low;
        if room.is_nan() || room <= least.max(f64::MIN_POSITIVE * 64.0) {
            let room = 0.125_f64.max(low.abs() / 2.0);
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / f64::from(about));
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let at = |n: u32| ((first + f64::from(n)) * step * 4.0).clamp(f64::MIN, f64::MAX);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most twice `about`
        let count = (last - first).clamp(1.0, f64::from(2 * about)) as u32;
        let digits = decimals(step * 4.0);
        let label = |at: f64| {
            let is_plain = digits <= 9 && (at == 0.0 || (1e-4..1e7).contains(&at.abs()));
            if is_plain { format!("{at:.digits$}") } else { format!("{at:.2e}") }
        };
        Self {
            from: at(0).min(least_value),
            to: at(count).max(greatest_value),
            ticks: (0..=count).map(at).map(|at| (at, label(at))).collect(),
        }
    }

    /// Where a value stands between `from` (0) and `to` (1).
    pub(crate) fn share(from: f64, to: f64, value: f64) -> f64 {
        (value / 4.0 - from / 4.0) / (to / 4.0 - from / 4.0)
    }
}

/// The round number (1, 2 or 5 times a power of ten) nearest above a quarter of it, in quarters.
fn round_step(step: f64) -> f64 {
    let whole = step * 4.0;
    let power = 10_f64.powf(whole.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| whole <= factor * power * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * power / 4.0
}

fn decimals(step: f64) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a handful of digits
    let digits = (-step.log10().floor()).clamp(0.0, 17.0) as usize;
    digits
}

/// How many deviations of a standard normal lie below this share.
pub(crate) fn probit(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

/// The share of a standard normal that lies below.
pub(crate) fn share_below(deviations: f64) -> f64 {
    Normal::standard().cdf(deviations)
}

/// `0.0583` as `5.83 %`.
pub(crate) fn percent(share: f64) -> String {
    let hundredths = 100.0 * share;
    #[allow(clippy::cast_possible_truncation)] // a handful of digits
    let digits = if hundredths <= 0.0 { 0 } else { (2 - hundredths.log10().floor() as i32).clamp(0, 6) as usize };
    let text = format!("{hundredths:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// `10^x` as people write it on an axis.
pub(crate) fn power(exponent: f64) -> String {
    #[allow(clippy::cast_possible_truncation)] // a handful of decades
    let rounded = exponent.round() as i32;
    match rounded {
        0 => "1".into(),
        -3..=-1 => format!("{}", 10_f64.powi(rounded)),
        _ => format!("1e{rounded}"),
    }
}

/// Three digits after the point, where these say something.
pub(crate) fn short(value: f64) -> String {
    if value.abs() >= 1000.0 || (value != 0.0 && value.abs() < 1e-3) {
        format!("{value:.2e}")
    } else {
        format!("{value:.3}")
    }
}

/// `1250000` as `1,250,000`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short() {
        assert_eq!(
            [0.0, 1e-6, 0.001, 0.0583, 0.2, 1.0].map(percent),
            ["0 %", "0.0001 %", "0.1 %", "5.83 %", "20 %", "100 %"]
        );
        assert_eq!([0.0, -1.0, -3.0, -6.0].map(power), ["1", "0.1", "0.001", "1e-6"]);
        assert_eq!([7, 1_250_000].map(grouped), ["7", "1,250,000"]);
    }

    #[test]
    fn axes_are_marked_at_round_numbers_whatever_their_values() {
        let labels = |low: f64, high: f64| Scale::over(low, high, 5).ticks.into_iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(0.13, 0.87), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let scale = Scale::over(-3.0, 2400.0, 5);
        assert_eq!((scale.from, scale.to), (-500.0, 2500.0));
        let ends = [
            f64::MIN,
            -1e308,
            -1e16,
            -1.0,
            -5e-324,
            0.0,
            5e-324,
            1e-300,
            1.0,
            1.0 + f64::EPSILON,
            1e16,
            1e16 + 2.0,
            f64::MAX,
        ];
        for (low, high) in ends.iter().flat_map(|&a| ends.iter().map(move |&b| (a.min(b), a.max(b)))) {
            let Scale { from, to, ticks } = Scale::over(low, high, 5);
            assert!(from.is_finite() && to.is_finite() && from < to, "{low} {high}: {from} {to}");
            assert!(from <= low && high <= to && ticks.len() <= 11, "{low} {high}: {from} {to} {ticks:?}");
            assert!((0.0..=1.0).contains(&Scale::share(from, to, low)), "{low} {high}");
        }
    }

    #[test]
    fn normal_deviates_are_those_of_the_tables() {
        assert!((probit(0.975) - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((probit(0.001) + 3.090_232_306_167_813).abs() < 1e-9);
        assert!((share_below(probit(0.05)) - 0.05).abs() < 1e-9);
    }
}
