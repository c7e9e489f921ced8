//! The charts of all runs together: Recall@K, ROC, DET, scores, training.

use super::chart::{Axis, Chart, Series};
use super::{Named, Table, figure, word};
use crate::metrics::verification::carries;
use crate::plot::scale::{percent, power, probit, short};
use crate::runs::{Details, Retrieved, Training, Verified};
use crate::table::Value;

/// Recall@K is drawn up to here.
const MOST_K: usize = 128;

fn number(run: &Named<'_>, name: &str) -> Option<f64> {
    run.run.records[0].get(name).and_then(Value::number)
}

/// Charts in the order in which they are shown.
pub(super) fn all(runs: &[Named<'_>]) -> Vec<Chart> {
    let mut retrieved = Vec::new();
    let mut verified = Vec::new();
    let mut trained = Vec::new();
    for run in runs {
        match &run.run.details {
            Details::Retrieval(details) => {
                retrieved.push((run, details));
                verified.extend(details.scores.as_ref().map(|scores| (run, scores)));
            }
            Details::Verification(details) => verified.push((run, details)),
            Details::Training(details) => trained.push((run, details)),
            Details::None => {}
        }
    }
    let mut charts: Vec<Chart> = recall(&retrieved).into_iter().collect();
    charts.extend(verified.iter().map(|(run, details)| scores(run, details)));
    charts.extend(roc(&verified));
    charts.extend(det(&verified));
    charts.extend(training(&trained));
    charts
}

fn recall(runs: &[(&Named<'_>, &Retrieved)]) -> Option<Chart> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
    let depth = |run: &Named<'_>| number(run, "search_depth").unwrap_or(10.0) as usize;
    let at = |details: &Retrieved, k: usize| {
        let hits = details.queries.iter().filter(|q| q.first_hit.is_some_and(|rank| rank as usize <= k)).count();
        hits as f64 / details.queries.len().max(1) as f64
    };
    let deepest = runs.iter().map(|(run, _)| depth(run)).max()?.min(MOST_K);
    let ks = |up_to: usize| (1..=up_to).filter(move |&k| k <= 16 || k % 4 == 0 || k == up_to);
    let series = runs.iter().map(|(run, details)| Series {
        name: run.name.clone(),
        points: ks(depth(run).min(deepest)).map(|k| ((k as f64).log2(), at(details, k))).collect(),
        filled: false,
    });
    let series: Vec<Series> = series.collect();
    let doubles: Vec<usize> = (0..12).map(|n| 1 << n).filter(|&k| k <= deepest).collect();
    let x = Axis {
        label: "K, neighbours looked at (logarithmic)".into(),
        from: 0.0,
        to: (deepest as f64).log2().max(1.0),
        ticks: doubles.iter().map(|&k| ((k as f64).log2(), k.to_string())).collect(),
    };
    let y = Axis::over("queries with a hit", series.iter().flat_map(|s| &s.points).map(|p| p.1).chain([1.0]));
    let table = Table {
        caption: "Recall@K".into(),
        columns: ["run".to_owned()]
            .into_iter()
            .chain(doubles.iter().map(|k| format!("@{k}")))
            .map(Into::into)
            .collect(),
        rows: runs
            .iter()
            .map(|(run, details)| {
                let value = |&k: &usize| if k <= depth(run) { format!("{:.4}", at(details, k)) } else { "-".into() };
                [word(&run.name)].into_iter().chain(doubles.iter().map(value).map(figure)).collect()
            })
            .collect(),
    };
    let words = runs.iter().map(|(run, details)| format!("{}: {:.3} at 1", run.name, at(details, 1)));
    let description = format!("Recall at K from 1 to {deepest}. {}.", words.collect::<Vec<_>>().join("; "));
    let mut chart =
        Chart::new("Recall@K: queries with an image of their class among the K nearest", description, &x, &y, &series);
    chart.numbers = Some(table);
    Some(chart)
}

fn scores(run: &Named<'_>, details: &Verified) -> Chart {
    let outline = |share: fn(&crate::metrics::verification::Bin) -> f64| {
        details.histogram.iter().flat_map(|bin| [(bin.from, share(bin)), (bin.to, share(bin))]).collect()
    };
    let series = [
        Series { name: "genuine pairs".into(), points: outline(|bin| bin.genuine), filled: true },
        Series { name: "impostor pairs".into(), points: outline(|bin| bin.impostor), filled: true },
    ];
    let points = || series.iter().flat_map(|s| &s.points);
    let x = Axis::over("score", points().map(|p| p.0));
    let y = Axis::over("share of pairs in a bin", points().map(|p| p.1).chain([0.0]));
    let value = |name: &str| number(run, name).map_or("undefined".to_owned(), short);
    let d_prime = value("d_prime");
    let description = format!(
        "Histograms of scores. Genuine pairs: mean {}, deviation {}. Impostor pairs: mean {}, deviation {}.",
        value("mu_genuine"),
        value("sd_genuine"),
        value("mu_impostor"),
        value("sd_impostor")
    );
    Chart::new(&format!("Scores of {}: d\u{2032} = {d_prime}", run.name), description, &x, &y, &series)
}

/// The FMR, at least 1e-9, that this many impostor pairs can just tell from none.
fn least_fmr(runs: &[(&Named<'_>, &Verified)]) -> f64 {
    let of = |run: &Named<'_>| 1.0 / number(run, "impostor_pairs").unwrap_or(1e6).max(1.0);
    runs.iter().map(|(run, _)| of(run)).fold(0.1, f64::min).max(1e-9)
}

fn roc(runs: &[(&Named<'_>, &Verified)]) -> Option<Chart> {
    (!runs.is_empty()).then_some(())?;
    let least = least_fmr(runs).log10().floor();
    #[allow(clippy::cast_possible_truncation)] // a whole number of decades
    let decades = (least as i32..=0).map(f64::from).map(|at| (at, power(at))).collect();
    let x = Axis { label: "false match rate (logarithmic)".into(), from: least, to: 0.0, ticks: decades };
    let line = |(run, details): &(&Named<'_>, &Verified)| Series {
        name: run.name.clone(),
        points: details.points.iter().filter(|p| p.fmr > 0.0).map(|p| (p.fmr.log10(), 1.0 - p.fnmr)).collect(),
        filled: false,
    };
    let series: Vec<Series> = runs.iter().map(line).collect();
    let y = Axis::over("true match rate", [0.0, 1.0].into_iter());
    let words = runs.iter().map(|(run, _)| {
        let value = |name: &str| number(run, name).map_or("undefined".to_owned(), short);
        format!("{}: area {}", run.name, value("auc"))
    });
    let description = format!("True against false match rate. {}.", words.collect::<Vec<_>>().join("; "));
    Some(Chart::new("ROC: pairs rightly accepted at each false match rate", description, &x, &y, &series))
}

fn det(runs: &[(&Named<'_>, &Verified)]) -> Option<Chart> {
    (!runs.is_empty()).then_some(())?;
    const TICKS: [f64; 11] = [1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99];
    let eers: Vec<f64> = runs.iter().filter_map(|(run, _)| number(run, "eer")).collect();
    let most = if eers.iter().all(|&eer| eer < 0.3) { 0.5 } else { 0.99 };
    let start = |pairs: &str| {
        let most = runs.iter().filter_map(|(run, _)| number(run, pairs)).fold(1.0, f64::max);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
        let carried = TICKS.iter().copied().filter(|&t| !carries(most as u64, t)).fold(TICKS[0], f64::max);
        carried.min(0.01)
    };
    let axis = |label: &str, least: f64| Axis {
        label: label.into(),
        from: probit(least),
        to: probit(most),
        ticks: TICKS.iter().filter(|&&t| t >= least && t <= most).map(|&t| (probit(t), percent(t))).collect(),
    };
    let x = axis("false match rate (normal deviate)", start("impostor_pairs"));
    let y = axis("false non-match rate", start("genuine_pairs"));
    let between = |share: f64| share > 0.0 && share < 1.0;
    let line = |(run, details): &(&Named<'_>, &Verified)| {
        let inside = details.points.iter().filter(|p| between(p.fmr) && between(p.fnmr));
        Series {
            name: run.name.clone(),
            points: inside.map(|p| (probit(p.fmr), probit(p.fnmr))).collect(),
            filled: false,
        }
    };
    let series: Vec<Series> = runs.iter().map(line).collect();
    let words = runs.iter().zip(&eers).map(|((run, _), eer)| format!("{}: EER {}", run.name, percent(*eer)));
    let description = format!(
        "False non-match against false match rate on normal-deviate axes; on the dashed line both are equal. {}.",
        words.collect::<Vec<_>>().join("; ")
    );
    let caption = "DET: the price of each false match rate";
    Some(Chart::new(caption, description, &x, &y, &series).with_diagonal(&x, &y))
}

fn training(runs: &[(&Named<'_>, &Training)]) -> Vec<Chart> {
    let chart = |caption: &str, label: &str, is: &dyn Fn(&str) -> bool| {
        let line = |(run, details): &(&Named<'_>, &Training)| {
            let metric = details.series.iter().find(|series| is(&series.name))?;
            Some(Series { name: run.name.clone(), points: metric.points.clone(), filled: false })
        };
        let series: Vec<Series> = runs.iter().filter_map(line).collect();
        let last = |s: &Series| s.points.last().map(|&(_, value)| format!("{}: {} at the end", s.name, short(value)));
        let words: Vec<String> = series.iter().filter_map(last).collect();
        let points = || series.iter().flat_map(|s| &s.points);
        let x = Axis::over("step", points().map(|p| p.0).chain([0.0]));
        let y = Axis::over(label, points().map(|p| p.1));
        let description = format!("{label} by step of training. {}.", words.join("; "));
        (!series.is_empty()).then(|| Chart::new(caption, description, &x, &y, &series))
    };
    let charts = [
        chart("Training: loss", "loss", &|name| name == "loss"),
        chart("Training: d\u{2032} of a batch", "d\u{2032}", &|name| name == "d_prime"),
        chart("Training: Recall@1 on the validation data", "Recall@1", &|name| name == "recall@1"),
    ];
    charts.into_iter().flatten().collect()
}
