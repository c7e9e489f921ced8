//! Numbers on axes and in captions.

use statrs::distribution::{ContinuousCDF, Normal};

/// How many deviations of a standard normal lie below this share.
pub(crate) fn probit(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
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
    fn normal_deviates_are_those_of_the_tables() {
        assert!((probit(0.975) - 1.959_963_984_540_054).abs() < 1e-9);
        assert!((probit(0.001) + 3.090_232_306_167_813).abs() < 1e-9);
    }
}
