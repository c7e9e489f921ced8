//! The charts of all runs together: Recall@K, scores, ROC, DET. Runs on other data stand in charts of their own.

use super::chart::{Axis, Chart, Series, Shape};
use super::histograms::{Verification, histograms};
use super::{Named, Table, figure, grouped, word};
use crate::metrics::significance::{Resampling, Units, paired};
use crate::metrics::verification::carries;
use crate::plot::scale::{digits, percent, power, probit, share_below, short};
use crate::runs::{Details, Retrieved, Verified};

/// Recall@K is drawn up to here.
const MOST_K: usize = 128;
/// Draws of the bands around Recall@K.
const DRAWS: Resampling = Resampling { draws: 1000, seed: 0, level: 0.95 };
/// Queries beyond which no band is drawn: it would take seconds.
const BAND_UP_TO: usize = 200_000;

type Retrieval<'r> = (&'r Named<'r>, &'r Retrieved);

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
    charts.extend(histograms(&verified));
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
        word: Box::new(|at| format!("K = {:.0}", at.exp2())),
    };
    let values = series.iter().flat_map(|s| &s.points).map(|p| p.1);
    let lows = series.iter().flat_map(|s| &s.spread).map(|s| s.1);
    let y = Axis::over("queries with a hit", values.chain(lows).chain([1.0])).worded(percent);
    let table = Table::new(
        "Recall@K",
        ["run".to_owned()].into_iter().chain(doubles.iter().map(|k| format!("@{k}"))),
        runs.iter()
            .map(|(run, details)| {
                let value = |&k: &usize| if k <= depth(run) { digits(recall_at(details, k), 4) } else { "-".into() };
                [word(&run.name)].into_iter().chain(doubles.iter().map(value).map(figure)).collect()
            })
            .collect(),
    );
    let words = runs.iter().map(|(run, details)| format!("{}: {} at 1", run.name, short(recall_at(details, 1))));
    let banded = series.iter().any(|s| !s.spread.is_empty());
    let description = format!("Recall at K from 1 to {deepest}. {}.", words.collect::<Vec<_>>().join("; "));
    let caption = format!("Recall@K: queries with an image of their class among the K nearest{data}");
    let mut chart = Chart::new(Shape::Wide, caption, description, (&x, &y), &series, table);
    if banded {
        chart.note = "Bands: 95 % intervals, classes drawn with all their queries.".into();
    }
    chart
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

/// FNMR where the FMR is at most this: what the result says, else what the kept points show; nothing where the impostor pairs do not
/// carry it, for what is found there is chance.
fn fnmr_at(run: &Named<'_>, details: &Verified, fmr: f64) -> Option<f64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count
    let is_carried = run.number("impostor_pairs").is_some_and(|pairs| carries(pairs as u64, fmr));
    let below = || details.points.iter().filter(|p| p.fmr <= fmr).map(|p| p.fnmr).reduce(f64::min);
    run.number(&at_fmr(fmr)).or_else(|| below().filter(|_| is_carried))
}

/// Rates at false match rates, a row a run: `first` before them, and each of `at`, by its name, where any of the runs carries it.
fn rates(
    (caption, first): (&str, &str),
    runs: &[Verification<'_>],
    at: &[(f64, String)],
    worded: impl Fn(f64) -> String,
    before: impl Fn(&Named<'_>) -> String,
) -> Table {
    let found = |fmr: f64| runs.iter().map(|(run, of)| fnmr_at(run, of, fmr)).collect::<Vec<_>>();
    let columns: Vec<(&String, Vec<Option<f64>>)> = at.iter().map(|(fmr, name)| (name, found(*fmr))).collect();
    let is_whole = columns.iter().all(|(_, column)| column.iter().all(Option::is_some));
    let columns: Vec<_> = columns.into_iter().filter(|(_, column)| column.iter().any(Option::is_some)).collect();
    let row = |(at, (run, _)): (usize, &Verification<'_>)| {
        let rates = columns.iter().map(|(_, column)| figure(column[at].map_or("-".to_owned(), &worded)));
        [word(&run.name), figure(before(run))].into_iter().chain(rates).collect()
    };
    let names = ["run", first].map(str::to_owned).into_iter();
    let names = names.chain(columns.iter().map(|(name, _)| format!("FMR {name}")));
    let caption = if is_whole {
        caption.to_owned()
    } else {
        format!("{caption}, at each FMR that the impostor pairs carry (3 / FMR of them at least)")
    };
    Table::new(&caption, names, runs.iter().enumerate().map(row).collect())
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
        word: Box::new(|at| format!("FMR {}", percent(10_f64.powf(at)))),
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
    let at: Vec<(f64, String)> =
        decades[..decades.len() - 1].iter().map(|(at, name)| (10_f64.powf(*at), name.clone())).collect();
    let area = |run: &Named<'_>| run.number("auc").map_or("-".to_owned(), |area| digits(area, 4));
    let table = rates(("True match rate", "area"), runs, &at, |fnmr| percent(1.0 - fnmr), area);
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
    let axis = |label: &str, word: Box<dyn Fn(f64) -> String>| Axis {
        label: label.into(),
        from: probit(least),
        to: probit(most),
        ticks: TICKS.iter().filter(|&&t| t >= least && t <= most).map(|&t| (probit(t), in_little_room(t))).collect(),
        word,
    };
    let x = axis("false match rate (normal deviate)", Box::new(|at| format!("FMR {}", percent(share_below(at)))));
    let y = axis("false non-match rate", Box::new(|at| percent(share_below(at))));
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
    let shown = TICKS.into_iter().filter(|&t| t >= least && t <= 0.2).map(|t| (t, percent(t)));
    let eer = |run: &Named<'_>| run.number("eer").map_or("-".to_owned(), percent);
    let table = rates(("False non-match rate", "EER"), runs, &shown.collect::<Vec<_>>(), percent, eer);
    let caption = format!("DET: the price of each false match rate{data}");
    Chart::new(Shape::Square, caption, description, (&x, &y), &series, table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{CurvePoint, Run};
    use crate::table::{Record, Value};

    fn texts(chart: &Chart) -> (Vec<&str>, Vec<&str>) {
        let table = &chart.numbers;
        (
            table.columns.iter().map(String::as_str).collect(),
            table.rows[0].iter().map(|cell| cell.text.as_str()).collect(),
        )
    }

    #[test]
    fn rates_that_the_pairs_do_not_carry_have_no_value() {
        let point = |threshold, fmr, fnmr| CurvePoint { threshold, fmr, fnmr };
        let points = vec![point(0.1, 1.0, 0.0), point(0.5, 0.02, 0.25), point(f64::INFINITY, 0.0, 1.0)];
        let details = Verified { points, ..Verified::default() };
        let tables = |impostors: usize, given: Value| {
            let mut record = Record::new();
            record.set("impostor_pairs", impostors).set("genuine_pairs", 4_usize).set("eer", 0.125).set("auc", 0.8);
            record.set("fnmr@fmr=0.1", given);
            let run = Run { path: "run".into(), records: vec![record], details: Details::None };
            let named = Named { name: "x".into(), dataset: String::new(), data: String::new(), run: &run };
            let runs = [(&named, &details)];
            let (roc, det) = (roc("", &runs), det("", &runs));
            [&roc, &det].map(|chart| {
                let (columns, row) = texts(chart);
                (chart.numbers.caption.clone(), columns.join(" | "), row.join(" | "))
            })
        };
        // Five impostors carry nothing, and the result says so: 0.1 wants thirty.
        let [roc, det] = tables(5, Value::Missing);
        assert_eq!((roc.1.as_str(), roc.2.as_str()), ("run | area", "x | 0.8000"));
        assert_eq!((det.1.as_str(), det.2.as_str()), ("run | EER", "x | 12.5 %"));
        assert!(roc.0.contains("that the impostor pairs carry (3 / FMR of them at least)"), "{}", roc.0);
        // A hundred carry 5 % and 20 %, of which the result says nothing.
        let [roc, det] = tables(100, 0.25.into());
        assert_eq!((roc.1.as_str(), roc.2.as_str()), ("run | area | FMR 0.1", "x | 0.8000 | 75 %"));
        assert_eq!((det.1.as_str(), det.2.as_str()), ("run | EER | FMR 5 % | FMR 20 %", "x | 12.5 % | 25 % | 25 %"));
    }
}
