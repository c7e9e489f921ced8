//! The histograms of a run's scores.

use super::chart::{Axis, Chart, Series, Shape};
use super::{Named, Table, figure, word};
use crate::metrics::verification::Bin;
use crate::plot::scale::{percent, short};
use crate::runs::{CurvePoint, Verified};

pub(super) type Verification<'r> = (&'r Named<'r>, &'r Verified);

/// A run whose scores fill no more of the axis of all is drawn on one of its own: nothing could be seen of it.
const NARROW: f64 = 0.05;

/// A histogram a run; those of one metric on the same axes, so that they can be compared by looking.
pub(super) fn histograms(runs: &[Verification<'_>]) -> Vec<Chart> {
    let metric = |run: &Named<'_>| run.word("metric");
    let of = |(run, details): &Verification<'_>| {
        let alike = runs.iter().filter(|(other, _)| metric(other) == metric(run));
        let bins: Vec<&Bin> = alike.flat_map(|(_, details)| &details.histogram).collect();
        histogram(run, details, &bins)
    };
    runs.iter().map(of).collect()
}

/// The one score that all pairs have: their only bin, which is around it, does not say where it stands.
fn one_score(details: &Verified) -> Option<f64> {
    let filled = details.histogram.iter().filter(|bin| bin.genuine + bin.impostor > 0.0).count();
    let mut scores = details.points.iter().map(|point| point.threshold).filter(|score| score.is_finite());
    scores.next().filter(|_| filled == 1)
}

/// Of one run, beside the `bins` of all that share its axes.
fn histogram(run: &Named<'_>, details: &Verified, bins: &[&Bin]) -> Chart {
    let filled = details.histogram.iter().filter(|bin| bin.genuine + bin.impostor > 0.0);
    let one = one_score(details);
    let filled: Vec<Bin> = filled.map(|bin| one.map_or(*bin, |at| Bin { from: at, to: at, ..*bin })).collect();
    let (low, high) = filled
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), bin| (low.min(bin.from), high.max(bin.to)));
    let x = Axis::over("score", bins.iter().flat_map(|bin| [bin.from, bin.to]));
    let is_narrow = low <= high && high - low < NARROW * (x.to - x.from);
    let x = if is_narrow { Axis::over("score", [low, high].into_iter()) } else { x };
    let shares = bins.iter().flat_map(|bin| [bin.genuine, bin.impostor]);
    let y = Axis::over("share of pairs in a bin", shares.chain([0.0])).worded(percent);
    // Wide enough to be seen.
    let half = if one.is_some() { (x.to - x.from) / 200.0 } else { 0.0 };
    let drawn: &[Bin] = if one.is_some() { &filled } else { &details.histogram };
    let outline = |share: fn(&Bin) -> f64| {
        drawn.iter().flat_map(|bin| [(bin.from - half, share(bin)), (bin.to + half, share(bin))]).collect()
    };
    let rate = |name: &str, rate: fn(&CurvePoint) -> f64| Series {
        name: name.into(),
        points: details.points.iter().filter(|p| p.threshold.is_finite()).map(|p| (p.threshold, rate(p))).collect(),
        unseen: true,
        ..Series::default()
    };
    let area = |name: &str, share: fn(&Bin) -> f64| Series {
        name: name.into(),
        points: outline(share),
        filled: true,
        ..Series::default()
    };
    let series = [
        area("genuine pairs", |bin| bin.genuine),
        area("impostor pairs", |bin| bin.impostor),
        rate("FMR at this threshold", |point| point.fmr),
        rate("FNMR", |point| point.fnmr),
    ];
    let value = |name: &str| run.number(name).map_or("undefined".to_owned(), short);
    let description = format!(
        "Histograms of scores. Genuine pairs: mean {}, deviation {}. Impostor pairs: mean {}, deviation {}.",
        value("mu_genuine"),
        value("sd_genuine"),
        value("mu_impostor"),
        value("sd_impostor")
    );
    let row = |bin: &Bin| {
        vec![
            word(&(x.word)(bin.from)),
            figure((x.word)(bin.to)),
            figure(percent(bin.genuine)),
            figure(percent(bin.impostor)),
        ]
    };
    let columns = ["from", "to", "genuine pairs", "impostor pairs"].map(str::to_owned);
    let table = Table::new("Shares of pairs by score", columns.into_iter(), filled.iter().map(row).collect());
    let caption = format!("Scores of {}: d\u{2032} = {}", run.name, value("d_prime"));
    let mut chart = Chart::new(Shape::Wide, caption, description, (&x, &y), &series, table);
    if let Some(at) = one {
        chart.note = format!("All scores are {}.", (x.word)(at));
    } else if is_narrow {
        chart.note = format!("An axis of its own: all scores lie between {} and {}.", (x.word)(low), (x.word)(high));
    }
    match (run.number("eer_threshold"), equal_error(details)) {
        (Some(at), _) => chart.mark(&x, at, format!("EER at {}", (x.word)(at))),
        (None, Some(at)) => chart.mark(&x, at, format!("EER near {}", (x.word)(at))),
        (None, None) => chart,
    }
}

/// The kept threshold at which both rates are nearest.
fn equal_error(details: &Verified) -> Option<f64> {
    let apart = |point: &&CurvePoint| (point.fmr - point.fnmr).abs();
    let nearest = details.points.iter().filter(|p| p.threshold.is_finite());
    nearest.min_by(|a, b| apart(a).total_cmp(&apart(b))).map(|point| point.threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::verification::{Tally, curve};
    use crate::runs::{Details, Run};
    use crate::table::Record;

    /// The chart of these scores, beside those of another run.
    fn chart(genuine: &[f64], impostor: &[f64], beside: &[f64]) -> Chart {
        let verified = |genuine: &[f64], impostor: &[f64]| {
            let tally = Tally::of_scores(genuine, impostor).unwrap();
            Verified::of(&tally, &curve(&tally), 1.0)
        };
        let (own, other) = (verified(genuine, impostor), verified(beside, beside));
        let mut record = Record::new();
        record.set("eer_threshold", genuine[0]);
        let run = Run { path: "run".into(), records: vec![record], details: Details::None };
        let named = Named { name: "x".into(), dataset: String::new(), data: String::new(), run: &run };
        histograms(&[(&named, &own), (&named, &other)]).swap_remove(0)
    }

    fn texts(chart: &Chart) -> Vec<Vec<&str>> {
        chart.numbers.rows.iter().map(|row| row.iter().map(|cell| cell.text.as_str()).collect()).collect()
    }

    #[test]
    fn scores_that_are_all_one_lie_between_no_others() {
        for beside in [[1.0, 1.0], [-1.0, 1.0]] {
            let equal = chart(&[1.0; 4], &[1.0; 3], &beside);
            assert_eq!(equal.note, "All scores are 1.000.");
            assert_eq!(texts(&equal), [["1.000", "1.000", "100 %", "100 %"]]);
        }
    }

    #[test]
    fn scores_that_are_nearly_one_are_told_apart() {
        let near = |n: f64| 1.0 - n * 1e-7;
        let impostor: Vec<f64> = (0..9).map(|n| near(20.0 + f64::from(n))).collect();
        for beside in [[near(3.0), near(4.0)], [-1.0, 1.0]] {
            let chart = chart(&[near(3.5), near(5.0), near(1.0)], &impostor, &beside);
            let json = serde_json::to_value(&chart).unwrap();
            let mark = json["marks"][0]["label"].as_str().unwrap();
            assert!(mark.starts_with("EER at 0.99999965"), "{mark}");
            let from: std::collections::HashSet<&str> = texts(&chart).iter().map(|row| row[0]).collect();
            assert_eq!(from.len(), chart.numbers.rows.len(), "{from:?}");
        }
        let tiny = chart(&[3e-30, 4e-30], &[1e-30, 2e-30], &[0.0, 1.0]);
        assert!(
            tiny.note.starts_with("An axis of its own: all scores lie between 1.000e-30 and 4.000e-30"),
            "{}",
            tiny.note
        );
    }
}
