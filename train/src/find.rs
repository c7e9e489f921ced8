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
/// Steps at the beginning and the end whose slope says little.
const MARGIN: usize = 8;

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

/// Adds a loss; whether the search goes on: it ends where the smoothed loss has risen above its least by as much again as it had fallen, and
/// by no less than half of where it began.
fn follow(points: &mut Vec<Point>, rate: f64, loss: f64) -> bool {
    let count = points.len() as f64;
    // The mean of all losses so far, later ones counting more, without a bias to where it began.
    let weight = (1.0 - KEPT) / (1.0 - KEPT.powf(count + 1.0));
    let smoothed = points.last().map_or(loss, |last| last.smoothed + weight * (loss - last.smoothed));
    points.push(Point { rate, loss, smoothed });
    let least = points.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
    let fallen = points[0].smoothed - least;
    loss.is_finite()
        && (points.len() <= MARGIN || smoothed - least <= (2.0 * fallen).max(0.5 * points[0].smoothed.abs()))
}

/// Where the smoothed loss falls fastest by the logarithm of the rate, before its least.
fn steepest(points: &[Point]) -> Option<f64> {
    let finite = points.iter().take_while(|point| point.smoothed.is_finite()).count();
    let points = &points[..finite];
    let least = (0..finite).min_by(|&a, &b| points[a].smoothed.total_cmp(&points[b].smoothed))?;
    let slope = |at: usize| points[at + 1].smoothed - points[at - 1].smoothed;
    let places = MARGIN.max(1)..least.min(finite.saturating_sub(1));
    let place = places.min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
    (slope(place) < 0.0).then(|| points[place].rate)
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
            None => {
                note("--find-lr: the loss does not fall at any rate, so that no rate is suggested; see the picture")
            }
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
