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
        let label = |at: f64| match at {
            _ if is_plain(at, step * 4.0) => format!("{at:.digits$}"),
            0.0 => "0".to_owned(),
            _ => with_power(at, step * 4.0),
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

/// Whether digits after the point, and no power of ten, tell a value from another one this far off.
fn is_plain(value: f64, step: f64) -> bool {
    let most = if value == 0.0 { 9 } else { 15 };
    decimals(step) <= most && (value == 0.0 || (1e-4..1e7).contains(&value.abs()))
}

/// With a power of ten, and digits that tell it from a value this far off.
fn with_power(value: f64, step: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a handful of digits
    let digits = (value.abs().log10().floor() - step.log10().floor()).clamp(2.0, 16.0) as usize;
    format!("{value:.digits$e}")
}

/// In digits that tell it from a value this far off: three after the point at least, and more where these would say 0 or 1.
pub(crate) fn told(value: f64, step: f64) -> String {
    // What is left of 0 by rounding.
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    if !is_plain(value, step) {
        return if value == 0.0 { "0".to_owned() } else { with_power(value, step) };
    }
    let least = if value.abs() < 1000.0 { 3 } else { 0 };
    digits(value, decimals(step).max(least))
}

/// How many deviations of a standard normal lie below this share.
pub(crate) fn probit(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

/// The share of a standard normal that lies below.
pub(crate) fn share_below(deviations: f64) -> f64 {
    Normal::standard().cdf(deviations)
}

/// `0.0583` as `5.83 %`, and `0.9996` as `99.96 %`: three digits, and two of what is missing from 100 %. The page's script does the same.
pub(crate) fn percent(share: f64) -> String {
    let hundredths = 100.0 * share;
    if hundredths > 0.0 && hundredths < 1e-8 {
        return format!("{hundredths:.1e} %");
    }
    #[allow(clippy::cast_possible_truncation)] // a handful of digits
    let figures = |of: f64, count: i32| if of > 0.0 { count - 1 - of.log10().floor() as i32 } else { 0 };
    let digits = figures(hundredths, 3).max(figures(100.0 - hundredths, 2));
    let digits = if hundredths > 0.0 { usize::try_from(digits.clamp(0, 10)).unwrap_or(0) } else { 0 };
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
        digits(value, 3)
    }
}

/// So many digits after the point; more where these would say 0, 1 or -1 of what is another number.
pub(crate) fn digits(value: f64, least: usize) -> String {
    let text = format!("{value:.least$}");
    let off = match text.trim_start_matches('-').parse::<f64>() {
        Ok(0.0) => value.abs(),
        Ok(1.0) => (value.abs() - 1.0).abs(),
        _ => return text,
    };
    if off == 0.0 {
        return text.strip_prefix('-').filter(|_| value == 0.0).map_or(text.clone(), str::to_owned);
    }
    if value.abs() < 1e-6 {
        return format!("{value:.2e}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a handful of digits
    let more = (1.0 - off.log10().floor()).clamp(0.0, 17.0) as usize;
    format!("{value:.*}", more.max(least))
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
        // Neither all nor none, by however few.
        assert_eq!(
            [0.9996, 0.99996, 0.999_999_9, 0.9, 0.847, 1e-9, 2e-13].map(percent),
            ["99.96 %", "99.996 %", "99.99999 %", "90 %", "84.7 %", "0.0000001 %", "2.0e-11 %"]
        );
        assert_eq!([0.0, -1.0, -3.0, -6.0].map(power), ["1", "0.1", "0.001", "1e-6"]);
        assert_eq!([7, 1_250_000].map(grouped), ["7", "1,250,000"]);
    }

    #[test]
    fn what_is_nearly_0_or_1_is_not_written_as_it() {
        let values = [0.4217, 1.0, 0.9994, 0.99996, -0.99996, 70.0, 0.0, -0.0, 0.000_04, -3e-30, 1.000_000_3];
        let wanted = [
            "0.422",
            "1.000",
            "0.999",
            "0.999960",
            "-0.999960",
            "70.000",
            "0.000",
            "0.000",
            "0.000040",
            "-3.00e-30",
            "1.00000030",
        ];
        assert_eq!(values.map(|value| digits(value, 3)), wanted);
        assert_eq!([0.999_999_66, 1.0, 1e-4, 1234.0].map(short), ["0.99999966", "1.000", "1.00e-4", "1.23e3"]);
    }

    #[test]
    fn values_of_one_axis_are_told_apart() {
        let step = 1e-9;
        assert_eq!([0.999_999_25, 0.999_999_251].map(|v| told(v, step)), ["0.999999250", "0.999999251"]);
        assert_eq!([1e-30, 1.5e-30, 0.0].map(|v| told(v, 1e-33)), ["1.000e-30", "1.500e-30", "0"]);
        assert_eq!([6_000_000.0, 6_000_000.5].map(|v| told(v, 0.1)), ["6000000.0", "6000000.5"]);
        assert_eq!([0.5, 5.5e-17, -1e-12].map(|v| told(v, 1e-3)), ["0.500", "0.000", "0.000"]);
        assert_eq!([1e9, 1e9 + 1.0].map(|v| told(v, 0.5)), ["1.0000000000e9", "1.0000000010e9"]);
        for (low, high) in [(1.0 - 1e-12, 1.0), (1e9, 1e9 + 100.0), (-6e-30, 6e-30), (5e6, 5e6 + 1e-3)] {
            let labels = Scale::over(low, high, 5).ticks.into_iter().map(|t| t.1).collect::<Vec<_>>();
            let distinct: std::collections::HashSet<&String> = labels.iter().collect();
            assert_eq!(distinct.len(), labels.len(), "{labels:?}");
        }
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
