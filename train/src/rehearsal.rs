//! Steps of which nothing is kept; the first ones of a run, for what it needs of memory and time.

use std::io::Write;
use std::time::Instant;

use pdloss_embed::console::{inform, note};
use pdloss_embed::ranks::{agree, world};
use pdloss_embed::{Error, Result, process};

use crate::images::Images;
use crate::loader::{Loader, pieces};
use crate::mining::Mining;
use crate::sampler::Sampler;
use crate::settings::Settings;
use crate::summary;
use crate::trainer::{Outcome, Trainer};

/// Steps that are made: the first one also allocates.
const STEPS: u64 = 4;

/// What steps are made with.
pub(crate) struct Stage<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) images: &'a Images,
    pub(crate) sampler: &'a Sampler,
    /// Axes of one image.
    pub(crate) image: [usize; 3],
}

impl Stage<'_> {
    /// Makes the first `count` steps at these rates, without batches that have no pairs where the loss wants some, which are said, as
    /// long as `goes_on` says so of a step, of what came of it, and of the seconds that it took.
    ///
    /// # Errors
    /// Whatever stops a step; those of `goes_on`.
    pub(crate) fn steps(
        &self,
        trainer: &mut Trainer,
        (count, rate): (u64, &dyn Fn(u64) -> f32),
        mut goes_on: impl FnMut(u64, Outcome, f64) -> Result<bool>,
    ) -> Result<()> {
        let pieces = pieces(world().share(self.sampler.batch()), self.settings.accumulate);
        let (threads, needs_pairs) = (self.settings.threads, self.settings.loss.needs_pairs_of_batch());
        let classes = self.images.data().classes.len();
        let mut mining = Mining::new(self.sampler, trainer.description(), classes);
        let mut passed_over = 0;
        std::thread::scope(|scope| -> Result<()> {
            let mut loader = Loader::start(scope, self.images, self.sampler, (0, count), pieces, threads);
            for step in 0..count {
                let began = Instant::now();
                if let Some(mining) = &mut mining {
                    agree(mining.before(step, trainer, &loader))?;
                }
                let batch = agree(loader.next())?;
                if needs_pairs && !batch.has_pairs {
                    agree(loader.pass_over())?;
                    passed_over += 1;
                    continue;
                }
                let classes = batch.classes.clone();
                let outcome = agree(trainer.step(batch, &mut || agree(loader.next()), self.image, rate(step)))?;
                mining.as_mut().map_or(Ok(()), |mining| mining.after(trainer, &classes))?;
                if !goes_on(step, outcome, began.elapsed().as_secs_f64())? {
                    break;
                }
            }
            Ok(())
        })?;
        if passed_over > 0 && world().is_first() {
            note(&format!(
                "{passed_over} of the first {count} batches have no two images of one class, and are passed over"
            ));
        }
        Ok(())
    }
}

/// What is rehearsed.
pub(crate) struct Rehearsal<'a> {
    pub(crate) stage: Stage<'a>,
    /// Steps of the whole run.
    pub(crate) steps: u64,
}

impl Rehearsal<'_> {
    /// Makes the run's first steps, and writes what they took to `stdout`.
    ///
    /// # Errors
    /// Whatever stops a step; [`Error::Measure`] for a loss that is no number.
    pub(crate) fn run(&self, trainer: &mut Trainer, stdout: &mut dyn Write) -> Result<()> {
        let schedule = &self.stage.settings.schedule;
        let mut seconds = Vec::new();
        self.stage.steps(
            trainer,
            (self.steps.min(STEPS), &|step| schedule.rate(step, self.steps)),
            |step, outcome, took| {
                let (loss, norm) = (outcome.loss, outcome.gradient_norm);
                if !(loss.is_finite() && (norm.is_finite() || outcome.is_skipped())) {
                    let step = step + 1;
                    return Err(Error::Measure(format!("step {step}: the loss is {loss}, its gradient's norm {norm}")));
                }
                seconds.push(took);
                Ok(true)
            },
        )?;
        if !world().is_first() {
            return Ok(());
        }
        let state: usize = trainer.state()?.iter().map(|tensor| tensor.bytes.len()).sum();
        let text = self.table(state, &seconds);
        let Stage { sampler, images, .. } = self.stage;
        if let Some(mining) = Mining::new(sampler, trainer.description(), images.data().classes.len()) {
            let (searches, seconds) = (mining.searches(self.steps), mining.seconds(trainer.description().dim)?);
            inform(&format!("{searches} searches for the nearest classes come on top, of {seconds:.3} seconds each"));
        }
        writeln!(stdout, "{text}").map_err(|e| Error::write("standard output", e))
    }

    fn table(&self, state: usize, seconds: &[f64]) -> String {
        let mut later = seconds.iter().skip(1).copied().collect::<Vec<_>>();
        if later.is_empty() {
            later.extend(seconds.first());
        }
        later.sort_by(f64::total_cmp);
        let each = later.get(later.len() / 2).copied();
        let mebibytes = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let word = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        summary::row(vec![
            ("steps", self.steps.to_string()),
            ("steps made", seconds.len().to_string()),
            ("state, MiB", mebibytes(state as u64)),
            ("memory at most, MiB", word(process::peak_memory().map(mebibytes))),
            ("seconds a step", word(each.map(|each| format!("{each:.3}")))),
            ("hours of steps", word(each.map(|each| format!("{:.2}", each * self.steps as f64 / 3600.0)))),
        ])
    }
}
