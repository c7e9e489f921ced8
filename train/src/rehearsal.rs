//! A few steps of a run of which nothing is kept: what it needs of memory and time.

use std::io::Write;
use std::time::Instant;

use pdloss_embed::console::{self, Align};
use pdloss_embed::ranks::{agree, world};
use pdloss_embed::{Error, Result, process};

use crate::images::Images;
use crate::loader::{Loader, pieces};
use crate::sampler::Sampler;
use crate::settings::Settings;
use crate::trainer::Trainer;

/// Steps that are made: the first one also allocates.
const STEPS: u64 = 4;

/// What is rehearsed.
pub(crate) struct Rehearsal<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) images: &'a Images,
    pub(crate) sampler: &'a Sampler,
    /// Axes of one image.
    pub(crate) image: [usize; 3],
    /// Steps of the whole run.
    pub(crate) steps: u64,
}

impl Rehearsal<'_> {
    /// Makes the run's first steps, and writes what they took to `stdout`.
    ///
    /// # Errors
    /// Whatever stops a step; [`Error::Measure`] for a loss that is no number.
    pub(crate) fn run(&self, trainer: &mut Trainer, stdout: &mut dyn Write) -> Result<()> {
        let made = self.steps.min(STEPS);
        let pieces = pieces(world().share(self.sampler.batch()), self.settings.accumulate);
        let mut seconds = Vec::new();
        std::thread::scope(|scope| {
            let threads = self.settings.threads;
            let mut loader = Loader::start(scope, self.images, self.sampler, (0, made), pieces, threads);
            for step in 0..made {
                let began = Instant::now();
                let batch = agree(loader.next())?;
                if self.settings.loss.needs_pairs() && !batch.has_pairs {
                    agree(loader.pass_over())?;
                    continue;
                }
                let rate = self.settings.schedule.rate(step, self.steps);
                let outcome = agree(trainer.step(batch, &mut || loader.next(), self.image, rate))?;
                if !(outcome.loss.is_finite() && outcome.gradient_norm.is_finite()) {
                    let (loss, norm) = (outcome.loss, outcome.gradient_norm);
                    return Err(Error::Measure(format!(
                        "step {}: the loss is {loss}, its gradient's norm {norm}",
                        step + 1
                    )));
                }
                seconds.push(began.elapsed().as_secs_f64());
            }
            Ok(())
        })?;
        if !world().is_first() {
            return Ok(());
        }
        let state: usize = trainer.state()?.iter().map(|tensor| tensor.bytes.len()).sum();
        let text = self.table(state, &seconds).text(console::width());
        writeln!(stdout, "{text}").map_err(|e| Error::write("standard output", e))
    }

    fn table(&self, state: usize, seconds: &[f64]) -> console::Table {
        let mut later = seconds.iter().skip(1).copied().collect::<Vec<_>>();
        if later.is_empty() {
            later.extend(seconds.first());
        }
        later.sort_by(f64::total_cmp);
        let each = later.get(later.len() / 2).copied();
        let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let word = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let figures = [
            ("steps", self.steps.to_string()),
            ("steps made", seconds.len().to_string()),
            ("state, MiB", mebibytes(state as u64)),
            ("memory at most, MiB", word(process::peak_memory().map(mebibytes))),
            ("seconds a step", word(each.map(|each| format!("{each:.3}")))),
            ("hours of steps", word(each.map(|each| format!("{:.2}", each * self.steps as f64 / 3600.0)))),
        ];
        let (names, cells): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
        let columns = names.into_iter().map(|name| (name.to_owned(), Align::Right)).collect();
        console::Table { columns, rows: vec![cells] }
    }
}
