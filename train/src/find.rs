//! A search for a learning rate: steps at rates that grow from tiny to far too large, and the loss after each (Smith 2017, "Cyclical
//! Learning Rates for Training Neural Networks", section 3.3). Nothing is kept of the weights.

use std::io::Write;
use std::path::Path;

use pdloss_embed::console::{inform, note};
use pdloss_embed::files::write_atomically;
use pdloss_embed::ranks::{of_first, world};
use pdloss_embed::{Error, Result};

use crate::picture::{self, Point, rounded};
use crate::rehearsal::Stage;
use crate::summary;
use crate::trainer::Trainer;

/// The first rate and the last one.
const RATES: (f64, f64) = (1e-7, 10.0);
/// Steps between them.
const STEPS: u64 = 120;
/// How much of the smoothed loss is kept from step to step.
const KEPT: f64 = 0.9;
/// Steps at the beginning, at rates up to 1e-5, that move next to nothing: what their losses differ by is the batches' doing.
const STILL: usize = 30;
/// Steps before and after a place over which its slope is taken.
const BESIDE: usize = 3;

/// What is searched with.
pub(crate) struct Search<'a> {
    pub(crate) stage: Stage<'a>,
    /// Where table and picture go; is not there yet.
    pub(crate) out: &'a Path,
}

/// The rate of a step of the search.
fn rate(step: u64) -> f64 {
    let (first, last) = RATES;
    first * (last / first).powf(step as f64 / (STEPS - 1) as f64)
}

/// How many steps are made, and at which rates.
pub(crate) fn pace() -> (String, String) {
    (format!("up to {STEPS} steps"), format!("learning rates from {:e} to {}", RATES.0, RATES.1))
}

/// The loss before any rate moved something.
struct Level {
    mean: f64,
    /// Standard deviation from batch to batch, which that of the smoothed loss is a quarter of.
    spread: f64,
}

impl Level {
    /// Nothing where too few steps were made.
    fn of(points: &[Point]) -> Option<Self> {
        let losses: Vec<f64> = points.get(..STILL)?.iter().map(|point| point.loss).collect();
        let mean = losses.iter().sum::<f64>() / STILL as f64;
        let square = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (STILL - 1) as f64;
        // Batches that are all one have no spread, and rounding is no fall.
        Some(Self { mean, spread: square.sqrt().max(1e-4 * mean.abs().max(1e-3)) })
    }
}

/// Adds a loss; whether the search goes on: it ends where the smoothed loss has risen above its least by as much again as it had fallen, by
/// no less than half of where it began, and by more than batches make of it.
fn follow(points: &mut Vec<Point>, rate: f64, loss: f64) -> bool {
    let count = points.len() as f64;
    // The mean of all losses so far, later ones counting more, without a bias to where it began.
    let weight = (1.0 - KEPT) / (1.0 - KEPT.powf(count + 1.0));
    let smoothed = points.last().map_or(loss, |last| last.smoothed + weight * (loss - last.smoothed));
    points.push(Point { rate, loss, smoothed });
    // The first means are of few losses.
    let least = points.iter().skip(STILL - 1).map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
    loss.is_finite()
        && Level::of(points).is_none_or(|Level { mean, spread }| {
            smoothed - least <= (2.0 * (mean - least)).max(0.5 * mean.abs()) || smoothed <= mean + 2.0 * spread
        })
}

/// Where the smoothed loss falls fastest by the logarithm of the rate, on its way from where batches alone keep it down to where that is no
/// doubt; nothing where it never leaves there.
fn steepest(points: &[Point]) -> Option<f64> {
    let finite = points.iter().take_while(|point| point.smoothed.is_finite()).count();
    let points = &points[..finite];
    let least = (STILL..finite).min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed))?;
    let Level { mean, spread } = Level::of(points)?;
    // By half of the way, and by five deviations of the smoothed loss, each nearly a quarter of a batch's.
    let far = (0.5 * (mean - points[least].smoothed)).max(1.25 * spread);
    let end = (STILL..=least).find(|&at| points[at].smoothed < mean - far)?;
    let start = (STILL..end).rev().find(|&at| points[at].smoothed >= mean - 0.25 * spread).unwrap_or(STILL);
    let slope = |at: usize| points[(at + BESIDE).min(finite - 1)].smoothed - points[at - BESIDE].smoothed;
    (start..=end).min_by(|&a, &b| slope(a).total_cmp(&slope(b))).map(|place| points[place].rate)
}

/// Why no rate is suggested, and what to do.
fn in_vain(points: &[Point]) -> String {
    let what = match Level::of(points) {
        None => format!("the loss was no number after {} steps, too few to tell", points.len()),
        Some(Level { mean, spread }) => format!(
            "at no rate does the loss fall by more than its batches differ: at the least rates it is {mean:.3} with a deviation of {spread:.3}"
        ),
    };
    format!("--find-lr: {what}; no rate is suggested. A larger --batch differs less; the picture has what there is")
}

impl Search<'_> {
    /// Makes the steps, writes `find-lr.csv` and `find-lr.svg`, and says what follows on `stdout`.
    ///
    /// # Errors
    /// Whatever stops a step; [`Error::Measure`] where the first loss is no number; [`Error::File`].
    pub(crate) fn run(&self, trainer: &mut Trainer, stdout: &mut dyn Write) -> Result<()> {
        let mut points = Vec::new();
        #[expect(clippy::cast_possible_truncation, reason = "a rate is a float32")]
        let asked = |step| rate(step) as f32;
        self.stage.steps(trainer, (STEPS, &asked), |step, outcome, _| {
            Ok(follow(&mut points, rate(step), f64::from(outcome.loss)))
        })?;
        let Some(first) = points.first().filter(|first| first.loss.is_finite()) else {
            return Err(Error::Measure("--find-lr: the first loss is no number".into()));
        };
        let found = steepest(&points);
        let (begun, ended) = (first.loss, points.last().map_or(first.rate, |last| last.rate));
        of_first(|| self.write(&points, found))?;
        if !world().is_first() {
            return Ok(());
        }
        match found {
            Some(_) => inform("the rate of the steepest fall is a rate to begin with, and a third of it a careful one"),
            None => note(&in_vain(&points)),
        }
        let word = |value: Option<f64>| value.map_or("-".to_owned(), rounded);
        let figures = vec![
            ("steps made", points.len().to_string()),
            ("first loss", format!("{begun:.6}")),
            ("steepest fall at", word(found)),
            ("ended at", word(Some(ended))),
        ];
        let text = summary::row(figures);
        writeln!(stdout, "{text}\n\npicture: {}", self.out.join("find-lr.svg").display())
            .map_err(|e| Error::write("standard output", e))
    }

    /// Writes the folder with table and picture.
    fn write(&self, points: &[Point], found: Option<f64>) -> Result<()> {
        std::fs::create_dir_all(self.out).map_err(|e| Error::write(self.out, e))?;
        let rows = points.iter().map(|p| format!("{},{},{}\n", p.rate, p.loss, p.smoothed));
        let table = format!("learning_rate,loss,smoothed\n{}", rows.collect::<String>());
        let settings = self.stage.settings;
        let title = format!("loss {}, batch {}, seed {}", settings.loss.word(), settings.batch, settings.seed);
        for (name, text) in [("find-lr.csv", table), ("find-lr.svg", picture::svg(points, RATES, found, &title)?)] {
            write_atomically(&self.out.join(name), |file| file.write_all(text.as_bytes()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss that falls around 1e-3 and runs away above 0.1.
    fn searched() -> Vec<Point> {
        let mut points = Vec::new();
        for step in 0..STEPS {
            let log = rate(step).log10();
            let loss = 2.0 - 1.0 / (1.0 + (-4.0 * (log + 3.0)).exp()) + (rate(step) * 10.0).powi(2);
            if !follow(&mut points, rate(step), loss) {
                break;
            }
        }
        points
    }

    #[test]
    fn the_steepest_fall_is_found_and_the_search_ends_where_the_loss_runs_away() {
        let points = searched();
        let found = steepest(&points).unwrap();
        // The smoothed loss comes some steps late.
        assert!((5e-4..1e-2).contains(&found), "{found}");
        assert!(points.len() < usize::try_from(STEPS).unwrap() && points.last().unwrap().rate > 0.05);
        assert!((rate(0) - 1e-7).abs() < 1e-12 && (rate(STEPS - 1) - 10.0).abs() < 1e-9);
        let mut points = Vec::new();
        assert!(!follow(&mut points, 1e-7, f64::NAN));
        let flat: Vec<Point> = (0..40).map(|step| Point { rate: rate(step), loss: 1.0, smoothed: 1.0 }).collect();
        assert_eq!(steepest(&flat), None);
    }

    /// Batches whose losses differ, by a quarter of the fall: no seed makes a fall or a flight of it.
    #[test]
    fn batches_that_differ_are_no_fall() {
        let noise = |seed: u64, step: u64| ((seed * 997 + step) as f64 * 12.9898).sin() * 43_758.545_3;
        let search = |seed: u64, fall: f64| {
            let mut points = Vec::new();
            for step in 0..STEPS {
                let log = rate(step).log10();
                let loss = 0.3 - fall / (1.0 + (-4.0 * (log + 3.0)).exp()) + (rate(step) * 10.0).powi(2);
                if !follow(&mut points, rate(step), loss + 0.8 * (noise(seed, step).rem_euclid(1.0) - 0.5)) {
                    break;
                }
            }
            points
        };
        for seed in 0..50 {
            let points = search(seed, 1.0);
            let found = steepest(&points).unwrap_or_else(|| panic!("seed {seed}"));
            assert!((1e-4..3e-2).contains(&found), "seed {seed}: {found}");
            let flat = search(seed, 0.0);
            assert_eq!(steepest(&flat), None, "seed {seed}");
            assert!(flat.len() > 80, "seed {seed}: ended after {} steps", flat.len());
        }
        assert!(in_vain(&search(1, 0.0)).contains("A larger --batch"));
    }

    #[test]
    fn the_picture_has_every_point_and_the_rate() {
        let mut points = searched();
        points[20].loss = 1e9;
        points.push(Point { rate: 9.0, loss: f64::NAN, smoothed: f64::NAN });
        let svg = picture::svg(&points, RATES, Some(1e-3), "loss pd").unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("steepest fall: 0.001"));
        assert_eq!(svg.matches("<circle").count(), points.len() - 1);
        assert!(
            ["1e-7", "1e-5", "1e1"].iter().all(|tick| svg.contains(&format!(">\n{tick}\n<")))
                && svg.contains("loss pd")
                && !svg.contains("NaN")
                && !svg.contains("inf")
        );
        let flat = [Point { rate: 1e-7, loss: 1.0, smoothed: 1.0 }; 3];
        assert!(picture::svg(&flat, RATES, None, "").unwrap().contains("1.000"));
    }
}
