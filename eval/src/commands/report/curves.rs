//! The charts of all runs together: Recall@K, scores, ROC, DET. Runs on other data stand in charts of their own.

use super::chart::{Axis, Chart, Series, Shape};
use super::{Named, Table, figure, grouped, word};
use crate::metrics::significance::{Resampling, Units, paired};
use crate::metrics::verification::{Bin, carries};
use crate::plot::scale::{percent, power, probit, share_below, short};
use crate::runs::{CurvePoint, Details, Retrieved, Verified};

/// Recall@K is drawn up to here.
const MOST_K: usize = 128;
/// Draws of the bands around Recall@K.
const DRAWS: Resampling = Resampling { draws: 1000, seed: 0, level: 0.95 };
/// Queries beyond which no band is drawn: it would take seconds.
const BAND_UP_TO: usize = 200_000;

type Retrieval<'r> = (&'r Named<'r>, &'r Retrieved);
type Verification<'r> = (&'r Named<'r>, &'r Verified);

/// Charts in the order in which they are shown.
pub(super) fn all(runs: &[Named<'_>]) -> Vec<Chart> {
    let mut retrieved: Vec<Retrieval<'_>> = Vec::new();
    let mut verified: Vec<Verification<'_>> = Vec::new();
    for run in runs {
        match &run.run.details {
            Details::Retrieval(details) => {
                retrieved.push((run, details));
                verified.extend(details.scores.as_ref().map(|scores| (run, scores)));
            }
            Details::Verification(details) => verified.push((run, details)),
            Details::Training(_) | Details::None => {}
        }
    }
    let mut charts: Vec<Chart> = by_data(&retrieved).iter().map(|(data, runs)| recall(data, runs)).collect();
    charts.extend(scores(&verified));
    for (data, runs) in by_data(&verified) {
        charts.extend([roc(&data, &runs), det(&data, &runs)]);
    }
    charts
}

/// Runs on one data each, with what the captions call it: nothing, where there is one alone.
fn by_data<'r, D>(runs: &[(&'r Named<'r>, &'r D)]) -> Vec<(String, Vec<(&'r Named<'r>, &'r D)>)> {
    let groups = grouped(runs.iter().copied(), |(run, _)| run.data.clone());
    let several = groups.len() > 1;
    let called = |runs: &[(&Named<'_>, &D)]| {
        if !several {
            return String::new();
        }
        let names: Vec<&str> = runs.iter().map(|(run, _)| run.name.as_str()).collect();
        let on = &runs[0].0.dataset;
        if on.is_empty() { format!(": {}", names.join(", ")) } else { format!(" on {on}: {}", names.join(", ")) }
    };
    groups.into_iter().map(|runs| (called(&runs), runs)).collect()
}

/// The share of queries that have an image of their class among the K nearest.
fn recall_at(details: &Retrieved, k: usize) -> f64 {
    let hits = details.queries.iter().filter(|q| q.first_hit.is_some_and(|rank| rank as usize <= k)).count();
    hits as f64 / details.queries.len().max(1) as f64
}

/// 95 % intervals of Recall@K, classes drawn with all their queries; none of one class, or of very many queries.
fn bands(details: &Retrieved, ks: &[usize]) -> Vec<(f64, f64, f64)> {
    let mut classes: Vec<&str> = details.queries.iter().map(|q| q.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() < 2 || details.queries.len() > BAND_UP_TO {
        return Vec::new();
    }
    let mut units = Units::new(1 + ks.len());
    let mut of_class = vec![vec![0.0; 1 + ks.len()]; classes.len()];
    for query in &details.queries {
        let class = classes.binary_search(&query.class.as_str()).expect("every class is there");
        of_class[class][0] += 1.0;
        for (sum, &k) in of_class[class][1..].iter_mut().zip(ks) {
            *sum += f64::from(query.first_hit.is_some_and(|rank| rank as usize <= k));
        }
    }
    // Two models that did the same: there is nothing to exchange, and the intervals alone are asked for.
    of_class.iter().for_each(|sums| units.push(sums, sums));
    let shares = |sums: &[f64]| sums[1..].iter().map(|hits| hits / sums[0]).collect();
    let drawn = paired(&units, &shares, &DRAWS);
    ks.iter().zip(drawn).map(|(&k, of)| ((k as f64).log2(), of.low, of.high)).collect()
}

fn recall(data: &str, runs: &[Retrieval<'_>]) -> Chart {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
    let depth = |run: &Named<'_>| run.number("search_depth").unwrap_or(10.0) as usize;
    let deepest = runs.iter().map(|(run, _)| depth(run)).max().unwrap_or(1).min(MOST_K);
    let ks = |up_to: usize| (1..=up_to).filter(move |&k| k <= 16 || k % 4 == 0 || k == up_to);
    let series = runs.iter().map(|(run, details)| {
        let ks: Vec<usize> = ks(depth(run).min(deepest)).collect();
        Series {
            name: run.name.clone(),
            points: ks.iter().map(|&k| ((k as f64).log2(), recall_at(details, k))).collect(),
            spread: bands(details, &ks),
            ..Series::default()
        }
    });
    let series: Vec<Series> = series.collect();
    let doubles: Vec<usize> = (0..12).map(|n| 1 << n).filter(|&k| k <= deepest).collect();
    let x = Axis {
        label: "K, neighbours looked at (logarithmic)".into(),
        from: 0.0,
        to: (deepest as f64).log2().max(1.0),
        ticks: doubles.iter().map(|&k| ((k as f64).log2(), k.to_string())).collect(),
        word: |at| format!("K = {:.0}", at.exp2()),
    };
    let values = series.iter().flat_map(|s| &s.points).map(|p| p.1);
    let lows = series.iter().flat_map(|s| &s.spread).map(|s| s.1);
    let y = Axis::over("queries with a hit", values.chain(lows).chain([1.0])).worded(percent);
    let table = Table::new(
        "Recall@K",
        ["run".to_owned()].into_iter().chain(doubles.iter().map(|k| format!("@{k}"))),
        runs.iter()
            .map(|(run, details)| {
                let value =
                    |&k: &usize| if k <= depth(run) { format!("{:.4}", recall_at(details, k)) } else { "-".into() };
                [word(&run.name)].into_iter().chain(doubles.iter().map(value).map(figure)).collect()
            })
            .collect(),
    );
    let words = runs.iter().map(|(run, details)| format!("{}: {:.3} at 1", run.name, recall_at(details, 1)));
    let banded = series.iter().any(|s| !s.spread.is_empty());
    let description = format!("Recall at K from 1 to {deepest}. {}.", words.collect::<Vec<_>>().join("; "));
    let caption = format!("Recall@K: queries with an image of their class among the K nearest{data}");
    let mut chart = Chart::new(Shape::Wide, caption, description, (&x, &y), &series, table);
    if banded {
        chart.note = "Bands: 95 % intervals, classes drawn with all their queries.".into();
    }
    chart
}

/// A run whose scores fill no more of the axis of all is drawn on one of its own: nothing could be seen of it.
const NARROW: f64 = 0.05;

/// A histogram a run; those of one metric on the same axes, so that they can be compared by looking.
fn scores(runs: &[Verification<'_>]) -> Vec<Chart> {
    let metric = |run: &Named<'_>| run.word("metric");
    let chart = |(run, details): &Verification<'_>| {
        let alike = runs.iter().filter(|(other, _)| metric(other) == metric(run));
        let bins: Vec<&Bin> = alike.flat_map(|(_, details)| &details.histogram).collect();
        let x = Axis::over("score", bins.iter().flat_map(|bin| [bin.from, bin.to]));
        let own = details.histogram.iter().filter(|bin| bin.genuine + bin.impostor > 0.0);
        let (low, high) =
            own.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), bin| (low.min(bin.from), high.max(bin.to)));
        let is_narrow = low <= high && high - low < NARROW * (x.to - x.from);
        let x =
            if is_narrow { Axis::over("score", [low, high].into_iter()).worded(|at| format!("{at:.6}")) } else { x };
        let shares = bins.iter().flat_map(|bin| [bin.genuine, bin.impostor]);
        let y = Axis::over("share of pairs in a bin", shares.chain([0.0])).worded(percent);
        let outline = |share: fn(&Bin) -> f64| {
            details.histogram.iter().flat_map(|bin| [(bin.from, share(bin)), (bin.to, share(bin))]).collect()
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
        let row = |bin: &&Bin| {
            vec![
                word(&(x.word)(bin.from)),
                figure((x.word)(bin.to)),
                figure(percent(bin.genuine)),
                figure(percent(bin.impostor)),
            ]
        };
        let filled = details.histogram.iter().filter(|bin| bin.genuine + bin.impostor > 0.0);
        let columns = ["from", "to", "genuine pairs", "impostor pairs"].map(str::to_owned);
        let table = Table::new(
            "Shares of pairs by score",
            columns.into_iter(),
            filled.collect::<Vec<_>>().iter().map(row).collect(),
        );
        let caption = format!("Scores of {}: d\u{2032} = {}", run.name, value("d_prime"));
        let mut chart = Chart::new(Shape::Wide, caption, description, (&x, &y), &series, table);
        if is_narrow {
            chart.note =
                format!("An axis of its own: all scores lie between {} and {}.", (x.word)(low), (x.word)(high));
        }
        match (run.number("eer_threshold"), equal_error(details)) {
            (Some(at), _) => chart.mark(&x, at, format!("EER at {}", (x.word)(at))),
            (None, Some(at)) => chart.mark(&x, at, format!("EER near {}", (x.word)(at))),
            (None, None) => chart,
        }
    };
    runs.iter().map(chart).collect()
}

/// The kept threshold at which both rates are nearest.
fn equal_error(details: &Verified) -> Option<f64> {
    let apart = |point: &&CurvePoint| (point.fmr - point.fnmr).abs();
    let nearest = details.points.iter().filter(|p| p.threshold.is_finite());
    nearest.min_by(|a, b| apart(a).total_cmp(&apart(b))).map(|point| point.threshold)
}

/// The FMR, at least 1e-9, that this many impostor pairs can just tell from none.
fn least_fmr(runs: &[Verification<'_>]) -> f64 {
    let of = |run: &Named<'_>| 1.0 / run.number("impostor_pairs").unwrap_or(1e6).max(1.0);
    runs.iter().map(|(run, _)| of(run)).fold(0.1, f64::min).max(1e-9)
}

/// What the figure at an FMR is called in a result.
fn at_fmr(fmr: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a handful of digits
    let digits = (-fmr.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
    format!("fnmr@fmr={fmr:.digits$}")
}

/// FNMR where the FMR is at most this: what the result says, else what the kept points show.
fn fnmr_at(run: &Named<'_>, details: &Verified, fmr: f64) -> Option<f64> {
    let below = || details.points.iter().filter(|p| p.fmr <= fmr).map(|p| p.fnmr).reduce(f64::min);
    run.number(&at_fmr(fmr)).or_else(below)
}

fn roc(data: &str, runs: &[Verification<'_>]) -> Chart {
    let least = least_fmr(runs).log10().floor();
    #[allow(clippy::cast_possible_truncation)] // a whole number of decades
    let decades: Vec<(f64, String)> = (least as i32..=0).map(f64::from).map(|at| (at, power(at))).collect();
    let x = Axis {
        label: "false match rate (logarithmic)".into(),
        from: least,
        to: 0.0,
        ticks: decades.clone(),
        word: |at| format!("FMR {}", percent(10_f64.powf(at))),
    };
    let line = |(run, details): &Verification<'_>| {
        // The figures that the result gives at an FMR, with their intervals.
        let given = (1..=9).filter_map(|decade| {
            let name = at_fmr(10_f64.powi(-decade));
            run.number(&name).map(|fnmr| (-f64::from(decade), 1.0 - fnmr, name))
        });
        let given: Vec<(f64, f64, String)> = given.collect();
        let interval = |(at, _, name): &(f64, f64, String)| {
            let (from, to) = (run.number(&format!("{name}_from"))?, run.number(&format!("{name}_to"))?);
            Some((*at, 1.0 - to, 1.0 - from))
        };
        Series {
            name: run.name.clone(),
            points: details.points.iter().filter(|p| p.fmr > 0.0).map(|p| (p.fmr.log10(), 1.0 - p.fnmr)).collect(),
            spread: given.iter().filter_map(interval).collect(),
            dots: given.iter().map(|&(at, rate, _)| (at, rate)).collect(),
            ..Series::default()
        }
    };
    let series: Vec<Series> = runs.iter().map(line).collect();
    let y = Axis::over("true match rate", [0.0, 1.0].into_iter()).worded(percent);
    let words = runs.iter().map(|(run, _)| {
        let value = |name: &str| run.number(name).map_or("undefined".to_owned(), short);
        format!("{}: area {}", run.name, value("auc"))
    });
    let description = format!("True against false match rate. {}.", words.collect::<Vec<_>>().join("; "));
    let decades = &decades[..decades.len() - 1];
    let row = |(run, details): &Verification<'_>| {
        let rate = |(at, _): &(f64, String)| {
            fnmr_at(run, details, 10_f64.powf(*at)).map_or("-".to_owned(), |fnmr| percent(1.0 - fnmr))
        };
        [word(&run.name)].into_iter().chain(decades.iter().map(rate).map(figure)).collect()
    };
    let columns = ["run".to_owned()].into_iter().chain(decades.iter().map(|(_, label)| format!("FMR {label}")));
    let table = Table::new("True match rate", columns, runs.iter().map(row).collect());
    let caption = format!("ROC: pairs rightly accepted at each false match rate{data}");
    let mut chart = Chart::new(Shape::Wide, caption, description, (&x, &y), &series, table);
    if series.iter().any(|s| !s.spread.is_empty()) {
        chart.note = "Upright lines: the intervals of the result (--bootstrap).".into();
    }
    chart
}

/// `0.000001` as `1e-4 %`: an axis has no room for more.
fn in_little_room(share: f64) -> String {
    if share < 1e-4 { format!("{:.0e} %", 100.0 * share) } else { percent(share) }
}

fn det(data: &str, runs: &[Verification<'_>]) -> Chart {
    const TICKS: [f64; 11] = [1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99];
    let eers: Vec<f64> = runs.iter().filter_map(|(run, _)| run.number("eer")).collect();
    let most = if eers.iter().all(|&eer| eer < 0.3) { 0.5 } else { 0.99 };
    let start = |pairs: &str| {
        let most = runs.iter().filter_map(|(run, _)| run.number(pairs)).fold(1.0, f64::max);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
        let carried = TICKS.iter().copied().filter(|&t| !carries(most as u64, t)).fold(TICKS[0], f64::max);
        carried.min(0.01)
    };
    // One scale for both, or the angle of a curve says nothing.
    let least = start("impostor_pairs").min(start("genuine_pairs"));
    let axis = |label: &str, word: fn(f64) -> String| Axis {
        label: label.into(),
        from: probit(least),
        to: probit(most),
        ticks: TICKS.iter().filter(|&&t| t >= least && t <= most).map(|&t| (probit(t), in_little_room(t))).collect(),
        word,
    };
    let x = axis("false match rate (normal deviate)", |at| format!("FMR {}", percent(share_below(at))));
    let y = axis("false non-match rate", |at| percent(share_below(at)));
    let between = |share: f64| share > 0.0 && share < 1.0;
    let line = |(run, details): &Verification<'_>| {
        let inside = details.points.iter().filter(|p| between(p.fmr) && between(p.fnmr));
        Series {
            name: run.name.clone(),
            points: inside.map(|p| (probit(p.fmr), probit(p.fnmr))).collect(),
            ..Series::default()
        }
    };
    let series: Vec<Series> = runs.iter().map(line).collect();
    let words = runs.iter().zip(&eers).map(|((run, _), eer)| format!("{}: EER {}", run.name, percent(*eer)));
    let description = format!(
        "False non-match against false match rate on normal-deviate axes; on the dashed line both are equal. {}.",
        words.collect::<Vec<_>>().join("; ")
    );
    let shown: Vec<f64> = TICKS.into_iter().filter(|&t| t >= least && t <= 0.2).collect();
    let row = |(run, details): &Verification<'_>| {
        let rate = |&fmr: &f64| fnmr_at(run, details, fmr).map_or("-".to_owned(), percent);
        let eer = run.number("eer").map_or("-".to_owned(), percent);
        [word(&run.name), figure(eer)].into_iter().chain(shown.iter().map(rate).map(figure)).collect()
    };
    let columns =
        ["run".to_owned(), "EER".to_owned()].into_iter().chain(shown.iter().map(|&t| format!("FMR {}", percent(t))));
    let table = Table::new("False non-match rate", columns, runs.iter().map(row).collect());
    let caption = format!("DET: the price of each false match rate{data}");
    Chart::new(Shape::Square, caption, description, (&x, &y), &series, table)
}
