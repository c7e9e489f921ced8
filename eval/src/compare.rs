//! The command `compare`: two kept runs on the same data, figure by figure, with intervals and tests.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use crate::cli::{By, CompareArgs};
use crate::error::{Error, Result};
use crate::metrics::significance::{Difference, Resampling, Statistics, Units, holm, over_subjects, paired};
use crate::recall::note;
use crate::report::{Kind, Record, Value};
use crate::runs::{Details, Pair, Pairs, Query, Retrieved, Run};

/// Figures compared, and over what.
#[derive(Debug)]
struct Comparison {
    figures: Vec<Figure>,
    units: usize,
    /// What the units are, in the plural.
    of: &'static str,
    /// How p was found.
    test: &'static str,
}

#[derive(Debug)]
struct Figure {
    name: String,
    a: f64,
    b: f64,
    difference: Difference,
}

/// Fewer units than this make rough intervals.
const FEW: usize = 20;

/// Reads both runs, compares them, writes tables and a verdict to `stdout`, and returns the rows.
///
/// # Errors
/// [`Error::Usage`] for runs that cannot be compared (of another kind, on other data, by units that they do not have);
/// those of reading and writing files.
pub fn run(args: &CompareArgs, stdout: &mut dyn Write) -> Result<Vec<Record>> {
    let usage = |text: &str| Err(Error::Usage(text.into()));
    if !(args.confidence > 0.0 && args.confidence < 1.0) {
        return usage("--confidence: wanted a number between 0 and 1, such as 0.95");
    }
    if args.draws < 100 {
        return usage("--draws: wanted at least 100; 10000 is usual");
    }
    let out = args.out.as_ref().map(|path| Kind::of("--out", path).map(|kind| (path, kind))).transpose()?;
    let how = Resampling { draws: args.draws, seed: args.seed, level: args.confidence };
    let (a, b) = (Run::read(&args.a)?, Run::read(&args.b)?);
    let differ = Apart { a: &args.a, b: &args.b };
    let compared = match (&a.details, &b.details) {
        (Details::Retrieval(of_a), Details::Retrieval(of_b)) => {
            same_data(&a, &b, &differ)?;
            differ.queries(of_a, of_b)?;
            retrieval(of_a, of_b, &recall_ks(&a, &b), args.by, &how)?
        }
        (Details::Verification(of_a), Details::Verification(of_b)) => {
            same_data(&a, &b, &differ)?;
            let pairs = |pairs: &'_ Option<Pairs>, path: &Path| match pairs {
                Some(pairs) => Ok(pairs.clone()),
                None => Err(Error::Usage(format!(
                    "{}: this run kept counts only (too many pairs, or scores without names); pairs are compared one by one",
                    path.display()
                ))),
            };
            let (of_a, of_b) = (pairs(&of_a.pairs, &args.a)?, pairs(&of_b.pairs, &args.b)?);
            differ.pairs(&of_a, &of_b)?;
            if args.by == Some(By::Pair) && a.records[0].get("pairs_sha256").is_none() {
                return usage(
                    "--by pair: all pairs of a set share their images and are anything but independent; use --by subject",
                );
            }
            verification(&of_a, &of_b, args.by, &how)?
        }
        _ => {
            return Err(Error::Usage(format!(
                "{} and {}: wanted two folders that `recall --save-run` wrote, or two of `verify --save-run`",
                args.a.display(),
                args.b.display()
            )));
        }
    };
    let rows = compared.rows();
    let mut about = Record::new();
    about.set("A", args.a.display().to_string()).set("B", args.b.display().to_string());
    for (model, run) in [("model of A", &a), ("model of B", &b)] {
        about.set(model, run.records[0].get("model").cloned().unwrap_or(Value::Missing));
    }
    about.set("data", a.records[0].get("data").cloned().unwrap_or(Value::Missing));
    about.set("drawn", format!("{} {}", compared.units, compared.of)).set("test", compared.test);
    about.set("interval", format!("percentile bootstrap, {}", args.confidence));
    about.set("draws", args.draws).set("seed", args.seed.to_string());
    if let Some((path, kind)) = out {
        let with_about = |row: &Record| {
            let mut row = row.clone();
            about.iter().for_each(|(name, value)| {
                row.set(name.as_str(), value.clone());
            });
            row
        };
        kind.write(path, &Record::table(&rows.iter().map(with_about).collect::<Vec<_>>()))?;
    }
    if compared.units < FEW {
        note(&format!("only {} {}: the intervals are rough", compared.units, compared.of));
    }
    let verdict = compared.verdict(1.0 - args.confidence);
    writeln!(stdout, "{}\n\n{verdict}\n\n{}", Record::table(&rows), about.upright())
        .map_err(|e| Error::write("standard output", e))?;
    Ok(rows)
}

impl Comparison {
    fn holm(&self) -> Vec<f64> {
        holm(&self.figures.iter().map(|f| f.difference.p).collect::<Vec<_>>())
    }

    fn rows(&self) -> Vec<Record> {
        let row = |(figure, p_holm): (&Figure, f64)| {
            let Difference { value, low, high, p } = figure.difference;
            let known = |v: f64| (!v.is_nan()).then_some(v);
            let mut row = Record::new();
            row.set("figure", figure.name.as_str()).set("A", figure.a).set("B", figure.b).set("B - A", value);
            row.set("from", known(low)).set("to", known(high)).set("p", p).set("p_holm", p_holm);
            row
        };
        self.figures.iter().zip(self.holm()).map(row).collect()
    }

    /// One line of plain words; a difference counts where its p, corrected, is below `alpha`.
    fn verdict(&self, alpha: f64) -> String {
        let words = |(figure, _): &(&Figure, f64)| {
            let Difference { value, low, high, p } = figure.difference;
            format!("{} {value:+.4} [{low:.4}, {high:.4}], p = {}", figure.name, in_short(p))
        };
        let all: Vec<(&Figure, f64)> = self.figures.iter().zip(self.holm()).collect();
        let counts = |&(figure, p): &(&Figure, f64)| p < alpha && figure.difference.value != 0.0;
        let found: Vec<_> = all.iter().copied().filter(counts).collect();
        let list = |of: &[(&Figure, f64)]| of.iter().map(words).collect::<Vec<_>>().join("; ");
        let (up, down): (Vec<_>, Vec<_>) = found.iter().partition(|(figure, _)| figure.difference.value > 0.0);
        match (up.is_empty(), down.is_empty()) {
            (true, true) => {
                format!("No difference that these {} {} could show: {}.", self.units, self.of, list(&all))
            }
            (false, true) => format!("B is better than A: {}.", list(&found)),
            (true, false) => format!("A is better than B: {}.", list(&found)),
            (false, false) => {
                format!("A and B differ, and neither is better throughout: {}; {}.", list(&up), list(&down))
            }
        }
    }
}

/// A chance to two digits that say something.
fn in_short(p: f64) -> String {
    if p >= 0.0995 {
        return format!("{p:.2}");
    }
    #[allow(clippy::cast_possible_truncation)] // a handful of digits
    let digits = (1 - p.max(1e-12).log10().floor() as i32).clamp(2, 12) as usize;
    format!("{p:.digits$}").trim_end_matches('0').to_owned()
}

/// The K that both runs report.
fn recall_ks(a: &Run, b: &Run) -> Vec<usize> {
    let ks = |run: &Run| -> Vec<usize> {
        run.records[0].iter().filter_map(|(name, _)| name.strip_prefix("recall@")?.parse().ok()).collect()
    };
    let of_b = ks(b);
    ks(a).into_iter().filter(|k| of_b.contains(k)).collect()
}

/// Refuses runs whose images, or whose lists of pairs, are not the same bytes. Kept embeddings do not know their images:
/// there, names and classes alone must agree.
fn same_data(a: &Run, b: &Run, differ: &Apart<'_>) -> Result<()> {
    let both = |name: &str| {
        let word = |run: &Run| run.records[0].get(name).map(Value::word).filter(|word| !word.is_empty());
        word(a).zip(word(b))
    };
    let digests = if both("model_sha256").is_some() { &["data_sha256", "pairs_sha256"][..] } else { &["pairs_sha256"] };
    for name in digests {
        if let Some((of_a, of_b)) = both(name).filter(|(a, b)| a != b) {
            return Err(differ.by(&format!("{name} is {of_a} in A and {of_b} in B")));
        }
    }
    if both("model_sha256").is_none() {
        note("kept embeddings do not say which images they are of: only names and classes are known to agree");
    }
    Ok(())
}

/// Two runs that may be on other data.
struct Apart<'a> {
    a: &'a Path,
    b: &'a Path,
}

impl Apart<'_> {
    fn by(&self, what: &str) -> Error {
        let (a, b) = (self.a.display(), self.b.display());
        Error::Usage(format!("{a} and {b} were not measured on the same data: {what}"))
    }

    fn queries(&self, a: &Retrieved, b: &Retrieved) -> Result<()> {
        let (a, b) = (&a.queries, &b.queries);
        if a.len() != b.len() {
            return Err(self.by(&format!("A has {} queries, B {}", a.len(), b.len())));
        }
        let same = |a: &Query, b: &Query| (&a.name, &a.class, a.relevant) == (&b.name, &b.class, b.relevant);
        match a.iter().zip(b).position(|(a, b)| !same(a, b)) {
            None => Ok(()),
            Some(at) => {
                let words = |q: &Query| format!("{} of class {} with {} others", q.name, q.class, q.relevant);
                Err(self.by(&format!("query {} is {} in A, {} in B", at + 1, words(&a[at]), words(&b[at]))))
            }
        }
    }

    fn pairs(&self, a: &Pairs, b: &Pairs) -> Result<()> {
        if a.pairs.len() != b.pairs.len() {
            return Err(self.by(&format!("A has {} pairs, B {}", a.pairs.len(), b.pairs.len())));
        }
        let about = |of: &Pairs, p: &Pair| {
            let (a, b) = (&of.images[p.a as usize].name, &of.images[p.b as usize].name);
            (a.clone(), b.clone(), p.same, p.fold)
        };
        match a.pairs.iter().zip(&b.pairs).position(|(p, q)| about(a, p) != about(b, q)) {
            None => Ok(()),
            Some(at) => {
                let words = |of: &Pairs| {
                    let (first, second, same, _) = about(of, &of.pairs[at]);
                    format!("{first} and {second} ({})", if same { "genuine" } else { "impostor" })
                };
                Err(self.by(&format!("pair {} is {} in A, {} in B", at + 1, words(a), words(b))))
            }
        }
    }
}

fn retrieval(a: &Retrieved, b: &Retrieved, ks: &[usize], by: Option<By>, how: &Resampling) -> Result<Comparison> {
    let by_class = match by {
        None | Some(By::Query) => false,
        Some(By::Class) => true,
        Some(By::Pair | By::Subject) => {
            return Err(Error::Usage("--by: these are recall runs, which have queries and classes".into()));
        }
    };
    let names = ks.iter().map(|k| format!("recall@{k}")).chain(["r_precision".into(), "map@r".into()]);
    let names: Vec<String> = names.collect();
    let figures = |q: &Query| -> Vec<f64> {
        let hit = |&k: &usize| f64::from(u8::from(q.first_hit.is_some_and(|rank| rank as usize <= k)));
        ks.iter().map(hit).chain([q.r_precision, q.ap_at_r]).collect()
    };
    let means = |of: &Retrieved| -> Vec<f64> {
        let mut sums = vec![0.0; names.len()];
        let each = of.queries.iter().map(figures);
        each.for_each(|values| sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value));
        sums.into_iter().map(|sum| sum / of.queries.len() as f64).collect()
    };
    let mut units = Units::new(1 + names.len());
    let mut classes: HashMap<&str, usize> = HashMap::new();
    for (a, b) in a.queries.iter().zip(&b.queries) {
        let differences = figures(b).into_iter().zip(figures(a)).map(|(b, a)| b - a);
        let parts: Vec<f64> = [1.0].into_iter().chain(differences).collect();
        let exchanged: Vec<f64> = parts.iter().enumerate().map(|(at, &v)| if at == 0 { v } else { -v }).collect();
        match classes.get(a.class.as_str()).filter(|_| by_class) {
            Some(&unit) => units.add(unit, &parts, &exchanged),
            None => {
                classes.insert(&a.class, units.len());
                units.push(&parts, &exchanged);
            }
        }
    }
    let statistics = |sums: &[f64]| sums[1..].iter().map(|sum| sum / sums[0]).collect();
    let differences = paired(&units, &statistics, how);
    let figure = |(((name, a), b), difference)| Figure { name, a, b, difference };
    Ok(Comparison {
        figures: names.clone().into_iter().zip(means(a)).zip(means(b)).zip(differences).map(figure).collect(),
        units: units.len(),
        of: if by_class { "classes" } else { "queries" },
        test: if by_class {
            "paired randomisation, models exchanged class by class"
        } else {
            "paired randomisation, models exchanged query by query"
        },
    })
}

/// Sums of one kind of pair: how many, and of each model's scores and their squares.
const COUNT: usize = 0;
const SUM_A: usize = 1;
const SUM_B: usize = 3;
const MOMENTS: usize = 5;
/// Before them: the weight in the accuracy, and the difference in right decisions.
const GENUINE: usize = 2;
const IMPOSTOR: usize = GENUINE + MOMENTS;

fn verification(a: &Pairs, b: &Pairs, by: Option<By>, how: &Resampling) -> Result<Comparison> {
    let by_pair = match by {
        None | Some(By::Subject) => false,
        Some(By::Pair) => true,
        Some(By::Query | By::Class) => {
            return Err(Error::Usage("--by: these are verification runs, which have pairs and subjects".into()));
        }
    };
    let decided = a.pairs.iter().chain(&b.pairs).all(|p| p.right.is_some());
    let (scores_a, scores_b) = (on_one_scale(a)?, on_one_scale(b)?);
    let weights = fold_weights(a);
    let unit = |at: usize, (score_a, score_b): (f64, f64)| {
        let (pair, other) = (&a.pairs[at], &b.pairs[at]);
        let mut parts = [0.0; GENUINE + 2 * MOMENTS];
        let right = |p: &Pair| f64::from(u8::from(p.right == Some(true)));
        parts[0] = weights[at];
        parts[1] = weights[at] * (right(other) - right(pair));
        let moments = if pair.same { GENUINE } else { IMPOSTOR };
        parts[moments + COUNT] = 1.0;
        for (model, score) in [(SUM_A, score_a), (SUM_B, score_b)] {
            parts[moments + model] = score;
            parts[moments + model + 1] = score * score;
        }
        parts
    };
    let exchanged = |parts: &[f64]| {
        let mut exchanged = parts.to_vec();
        exchanged[1] = -parts[1];
        for kind in [GENUINE, IMPOSTOR] {
            for at in 0..2 {
                exchanged.swap(kind + SUM_A + at, kind + SUM_B + at);
            }
        }
        exchanged
    };
    let statistics = |sums: &[f64]| -> Vec<f64> {
        let d_prime = decidability(sums, SUM_B) - decidability(sums, SUM_A);
        if decided { vec![sums[1] / sums[0], d_prime] } else { vec![d_prime] }
    };
    let scores = scores_a.iter().copied().zip(scores_b.iter().copied());
    let mut units = Units::new(GENUINE + 2 * MOMENTS);
    let (differences, drawn) = if by_pair {
        for (at, scores) in scores.enumerate() {
            let parts = unit(at, scores);
            units.push(&parts, &exchanged(&parts));
        }
        (paired(&units, &statistics, how), units.len())
    } else {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut number = |image: u32| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(a.images[image as usize].subject.as_str()).or_insert(next)
        };
        let mut cells: HashMap<(u32, u32), usize> = HashMap::new();
        let mut of = Vec::new();
        for (at, scores) in scores.enumerate() {
            let (first, second) = (number(a.pairs[at].a), number(a.pairs[at].b));
            let cell = (first.min(second), first.max(second));
            let parts = unit(at, scores);
            match cells.get(&cell) {
                Some(&unit) => units.add(unit, &parts, &exchanged(&parts)),
                None => {
                    cells.insert(cell, units.len());
                    of.push(cell);
                    units.push(&parts, &exchanged(&parts));
                }
            }
        }
        let statistics: &Statistics<'_> = &statistics;
        (over_subjects(&units, &of, numbers.len(), statistics, how), numbers.len())
    };
    let figures = |scores: &[f64], pairs: &Pairs| -> Vec<f64> {
        let right = pairs.pairs.iter().zip(&weights).filter(|(p, _)| p.right == Some(true)).map(|(_, w)| w);
        let accuracy = right.sum::<f64>() / weights.iter().sum::<f64>();
        let mut sums = [0.0; GENUINE + 2 * MOMENTS];
        for (at, &score) in scores.iter().enumerate() {
            sums.iter_mut().zip(unit(at, (score, score))).for_each(|(sum, part)| *sum += part);
        }
        let d_prime = decidability(&sums, SUM_A);
        if decided { vec![accuracy, d_prime] } else { vec![d_prime] }
    };
    let names = if decided { &["accuracy", "d_prime"][..] } else { &["d_prime"] };
    let values = figures(&scores_a, a).into_iter().zip(figures(&scores_b, b));
    let figure = |((name, (a, b)), difference): ((&&str, (f64, f64)), Difference)| Figure {
        name: (*name).into(),
        a,
        b,
        difference,
    };
    Ok(Comparison {
        figures: names.iter().zip(values).zip(differences).map(figure).collect(),
        units: drawn,
        of: if by_pair { "pairs" } else { "subjects" },
        test: if by_pair {
            "paired randomisation, models exchanged pair by pair"
        } else {
            "share of the bootstrap's draws beyond 0, twice; thresholds are those of the runs"
        },
    })
}

/// Scores of two models have scales of their own, and d' does not see them. Before they are exchanged, each model's are
/// moved and stretched so that both have the same middle and the same mean variance.
fn on_one_scale(of: &Pairs) -> Result<Vec<f64>> {
    let moments = |same: bool| {
        let scores = || of.pairs.iter().filter(move |p| p.same == same).map(|p| p.score);
        let count = scores().count() as f64;
        let mean = scores().sum::<f64>() / count;
        (mean, scores().map(|s| (s - mean).powi(2)).sum::<f64>() / count)
    };
    let ((genuine, var_genuine), (impostor, var_impostor)) = (moments(true), moments(false));
    let (middle, spread) = ((genuine + impostor) / 2.0, ((var_genuine + var_impostor) / 2.0).sqrt());
    if spread > 0.0 {
        return Ok(of.pairs.iter().map(|p| (p.score - middle) / spread).collect());
    }
    Err(Error::Measure("d' has no value: neither genuine nor impostor scores have any spread".into()))
}

/// What each pair counts in the accuracy, which is a mean over folds.
fn fold_weights(of: &Pairs) -> Vec<f64> {
    let mut sizes: HashMap<Option<u32>, f64> = HashMap::new();
    of.pairs.iter().for_each(|p| *sizes.entry(p.fold).or_default() += 1.0);
    of.pairs.iter().map(|p| 1.0 / sizes[&p.fold]).collect()
}

/// d' of one model from sums of both kinds of pairs.
fn decidability(sums: &[f64], model: usize) -> f64 {
    let moments = |kind: usize| {
        let (count, sum, squares) = (sums[kind + COUNT], sums[kind + model], sums[kind + model + 1]);
        let mean = sum / count;
        (mean, squares / count - mean * mean)
    };
    let ((genuine, var_genuine), (impostor, var_impostor)) = (moments(GENUINE), moments(IMPOSTOR));
    (genuine - impostor).abs() / ((var_genuine + var_impostor) / 2.0).sqrt()
}
