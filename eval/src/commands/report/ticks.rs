//! Labels of axes: within the picture, and beside each other.

use serde::Serialize;

/// How wide a picture is.
const WIDTH: f64 = 480.0;
/// Where the name of an upright axis ends, and what stays free beside a label.
const NAME: f64 = 18.0;
const GAP: f64 = 6.0;

/// A place on an axis that has a label.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    at: String,
    /// Where its label stands: within the picture, that of the last tick, too.
    text: String,
    label: String,
}

pub(super) fn tick(at: f64, text: f64, label: &str) -> Tick {
    Tick { at: format!("{at:.1}"), text: format!("{text:.1}"), label: label.into() }
}

/// The ticks of a horizontal axis. One whose label would run into that before is left out.
pub(super) fn side_by_side<'l>(ticks: impl Iterator<Item = (f64, &'l String)>) -> Vec<Tick> {
    let mut shown: Vec<Tick> = Vec::new();
    let mut end = f64::NEG_INFINITY;
    for (at, label) in ticks {
        let half = width(label) / 2.0;
        let text = at.min(WIDTH - 1.0 - half).max(half + 1.0);
        if text - half > end + GAP {
            shown.push(tick(at, text, label));
            end = text + half;
        }
    }
    shown
}

/// Where a plot begins that has these labels, and the axis' name, on its left.
pub(super) fn room<'l>(labels: impl Iterator<Item = &'l str>) -> f64 {
    (NAME + labels.map(width).fold(0.0, f64::max) + GAP).ceil()
}

/// How wide a label is at most: as on small screens, where letters are larger, in the widest of the style sheet's fonts.
fn width(label: &str) -> f64 {
    label.chars().map(|letter| if ".,- ".contains(letter) { 5.5 } else { 9.7 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::scale::Scale;

    #[test]
    fn labels_stand_within_the_picture_and_beside_each_other() {
        let ends = [
            (0.999_994, 1.0),
            (0.0, 6e6),
            (0.0, 6e-30),
            (0.999_999, 1.0),
            (1.0 - 1e-12, 1.0),
            (0.0, 1.0),
            (-1e-9, 0.0),
        ];
        for (low, high) in ends {
            let scale = Scale::over(low, high, 5);
            let left = room(scale.ticks.iter().map(|(_, label)| label.as_str())).max(62.0);
            assert!(scale.ticks.iter().all(|(_, label)| left - GAP - width(label) >= NAME), "{left}");
            let at = |value| left + Scale::share(scale.from, scale.to, value) * (458.0 - left);
            let shown = side_by_side(scale.ticks.iter().map(|(value, label)| (at(*value), label)));
            let places = shown.iter().map(|tick| (tick.text.parse::<f64>().unwrap(), width(&tick.label) / 2.0));
            let places: Vec<(f64, f64)> = places.map(|(at, half)| (at - half, at + half)).collect();
            assert!(places.len() >= 2, "{shown:?}");
            assert!(places.iter().all(|&(from, to)| from >= 0.0 && to <= WIDTH), "{places:?}");
            assert!(places.windows(2).all(|two| two[1].0 > two[0].1), "{places:?}");
        }
    }
}
