//! The charts of training: each metric by step, and the loss smoothed beside itself.

use super::chart::{Axis, Chart, Series, Shape};
use super::{Named, Table, figure, word};
use crate::plot::scale::short;
use crate::runs::{Details, Training};

/// Rows of a chart's numbers, at most.
const ROWS: usize = 24;

/// What is drawn: metric, caption, its axis, whether it is smoothed, whether it is shown on demand.
const CHARTS: [(&str, &str, &str, bool, bool); 9] = [
    ("loss", "Training: loss", "loss", true, false),
    ("d_prime", "Training: d\u{2032} of a batch", "d\u{2032}", true, false),
    ("recall@1", "Training: Recall@1 on the validation data", "Recall@1", false, false),
    ("map@r", "Training: MAP@R on the validation data", "MAP@R", false, true),
    ("mean_cosine", "Training: mean cosine of a batch's embeddings", "mean cosine", true, true),
    ("gradient_norm", "Training: norm of the gradient", "norm", true, true),
    ("learning_rate", "Training: learning rate", "learning rate", false, true),
    ("images_per_second", "Training: speed", "images a second", true, true),
    ("skipped", "Training: batches passed over", "batches", false, true),
];

/// A chart for each metric that any of the runs took.
pub(super) fn all(runs: &[Named<'_>]) -> Vec<Chart> {
    let trained = runs.iter().filter_map(|run| match &run.run.details {
        Details::Training(details) => Some((run, details)),
        _ => None,
    });
    let trained: Vec<(&Named<'_>, &Training)> = trained.collect();
    CHARTS.iter().filter_map(|&what| chart(&trained, what)).collect()
}

fn chart(
    runs: &[(&Named<'_>, &Training)],
    (metric, caption, label, smooth, more): (&str, &str, &str, bool, bool),
) -> Option<Chart> {
    let taken = runs.iter().enumerate().filter_map(|(at, (run, details))| {
        details.series.iter().find(|series| series.name == metric).map(|series| (at, run, &series.points))
    });
    let taken: Vec<_> = taken.collect();
    (!taken.is_empty()).then_some(())?;
    let mut series = Vec::new();
    for &(at, run, points) in &taken {
        let style = Some(at);
        if smooth && points.len() > ROWS {
            series.push(Series {
                name: run.name.clone(),
                points: points.clone(),
                faint: true,
                style,
                ..Series::default()
            });
            series.push(Series {
                name: format!("{}, smoothed", run.name),
                points: smoothed(points),
                style,
                ..Series::default()
            });
        } else {
            series.push(Series { name: run.name.clone(), points: points.clone(), style, ..Series::default() });
        }
    }
    let points = || taken.iter().flat_map(|(_, _, points)| points.iter());
    let x = Axis::over("step", points().map(|p| p.0).chain([0.0])).worded(|at| format!("step {at:.0}"));
    let y = Axis::over(label, points().map(|p| p.1));
    let last = taken.iter().filter_map(|(_, run, points)| {
        points.last().map(|&(_, value)| format!("{}: {} at the end", run.name, short(value)))
    });
    let description = format!("{label} by step of training. {}.", last.collect::<Vec<_>>().join("; "));
    let mut steps: Vec<f64> = points().map(|p| p.0).collect();
    steps.sort_by(f64::total_cmp);
    steps.dedup();
    let every = steps.len().div_ceil(ROWS).max(1);
    let shown =
        steps.iter().enumerate().filter(|(at, _)| at % every == 0 || at + 1 == steps.len()).map(|(_, step)| step);
    let row = |step: &f64| {
        let value = |(_, _, points): &(usize, &&Named<'_>, &Vec<(f64, f64)>)| {
            let here = points.iter().find(|p| p.0 == *step);
            figure(here.map_or("-".to_owned(), |p| short(p.1)))
        };
        [word(&format!("{step:.0}"))].into_iter().chain(taken.iter().map(value)).collect()
    };
    let columns = ["step".to_owned()].into_iter().chain(taken.iter().map(|(_, run, _)| run.name.clone()));
    let table = Table::new(caption, columns, shown.map(row).collect());
    let mut chart = Chart::new(Shape::Wide, caption.into(), description, (&x, &y), &series, table);
    chart.more = more;
    if series.len() > taken.len() {
        chart.note = "Faint lines: single batches; the others: their running mean.".into();
    }
    Some(chart)
}

/// A running mean that forgets over a twentieth of the run, without the first value's weight (Adam's correction of the bias).
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = 1.0 - 1.0 / (points.len() as f64 / 20.0).max(2.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let mean = |&(step, value): &(f64, f64)| {
        if value.is_finite() {
            (sum, weight) = (keep * sum + (1.0 - keep) * value, keep * weight + (1.0 - keep));
        }
        (step, if weight > 0.0 { sum / weight } else { f64::NAN })
    };
    points.iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_passes_over_what_is_no_number() {
        let points: Vec<(f64, f64)> = (0..50).map(|n| (f64::from(n), if n == 7 { f64::NAN } else { 3.0 })).collect();
        assert!(smoothed(&points).iter().all(|&(_, value)| (value - 3.0).abs() < 1e-12));
        let step: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n), f64::from(u8::from(n >= 50)))).collect();
        let smooth = smoothed(&step);
        assert!(smooth[49].1 == 0.0 && (0.1..0.5).contains(&smooth[51].1) && smooth[99].1 > 0.999, "{smooth:?}");
    }
}
