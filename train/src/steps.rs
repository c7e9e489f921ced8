//! The steps of a run: when it validates, saves and stops.

use std::time::Instant;

use pdloss_embed::Result;
use pdloss_embed::console::note;
use pdloss_embed::ranks::{agree, same, world};

use crate::checkpoint::{Checkpoint, Counters};
use crate::images::Images;
use crate::loader::{Loader, pieces};
use crate::mining::Mining;
use crate::record::Record;
use crate::sampler::Sampler;
use crate::settings::Settings;
use crate::shards::Shards;
use crate::trainer::Trainer;
use crate::validation::Validation;

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) settings: Settings,
    pub(crate) trainer: Trainer,
    pub(crate) shards: Shards,
    /// Axes of one image.
    pub(crate) image: [usize; 3],
    /// Steps of the whole run.
    pub(crate) steps: u64,
    /// Steps between validations.
    pub(crate) validate_every: u64,
    pub(crate) counters: Counters,
    /// Bytes that this rank gave to exchanges in the steps made.
    pub(crate) given: u64,
    /// Where batches have hard classes.
    pub(crate) mining: Option<Mining>,
    /// Of the rank that writes.
    pub(crate) record: Option<Record>,
    /// What all ranks validate on.
    pub(crate) validation: Option<Validation>,
}

impl Run {
    /// Makes the steps that are left.
    pub(crate) fn train(&mut self, images: &Images, sampler: &Sampler) -> Result<()> {
        let (first, steps, threads) = (self.counters.step, self.steps, self.settings.threads);
        let pieces = pieces(world().share(sampler.batch()), self.settings.accumulate);
        std::thread::scope(|scope| {
            let mut loader = Loader::start(scope, images, sampler, (first, steps), pieces, threads);
            while self.counters.step < steps && !self.is_stale() {
                let began = Instant::now();
                let rate = self.settings.schedule.rate(self.counters.step, steps);
                if let Some(mining) = &mut self.mining {
                    agree(mining.before(self.counters.step, &self.trainer, &loader))?;
                }
                let batch = agree(loader.next())?;
                let made = if self.settings.loss.needs_pairs_of_batch() && !batch.has_pairs {
                    self.counters.step += 1;
                    self.counters.passed_over += 1;
                    agree(loader.pass_over())?;
                    self.write(|record, counters| record.passed_over(counters, rate))
                } else {
                    let given = world().given();
                    let classes = batch.classes.clone();
                    let outcome = self.trainer.step(batch, &mut || agree(loader.next()), self.image, rate)?;
                    self.mining.as_mut().map_or(Ok(()), |mining| mining.after(&self.trainer, &classes))?;
                    self.given += world().given() - given;
                    self.counters.step += 1;
                    let images_per_second = sampler.batch() as f64 / began.elapsed().as_secs_f64();
                    self.write(|record, counters| record.step(counters.step, &outcome, rate, images_per_second))
                };
                agree(made)?;
                if let Some(record) = &mut self.record {
                    record.keep();
                }
                let step = self.counters.step;
                if step.is_multiple_of(self.validate_every) || step == steps {
                    self.validate()?;
                }
                if step.is_multiple_of(self.settings.checkpoint_every) && step < steps {
                    self.save(false)?;
                }
            }
            Ok(())
        })
    }

    /// What the rank that writes does for all of them.
    fn write(&mut self, work: impl FnOnce(&mut Record, &Counters) -> Result<()>) -> Result<()> {
        self.record.as_mut().map_or(Ok(()), |record| work(record, &self.counters))
    }

    /// What is to be said of a run that ends before its steps are made.
    pub(crate) fn of_patience(&self) -> Option<String> {
        let (step, steps) = (self.counters.step, self.steps);
        let patience = self.settings.validation.as_ref().and_then(|v| v.patience)?;
        if !self.is_stale() || step >= steps {
            return None;
        }
        let mut said = format!(
            "stopped at step {step} of {steps}: {patience} validations one after the other were no better than the best (--patience)"
        );
        if let Some(at) = self.settings.optimizer.held_beyond(step) {
            said.push_str(&format!(
                "; --unfreeze-at {at} was not reached, so that what --freeze names was never trained"
            ));
        }
        let later = [
            ("--memory-start", self.settings.loss.memory_start),
            ("--hard-every", self.settings.sampling.as_ref().and_then(|sampling| sampling.hard_every)),
        ];
        for (flag, at) in later.into_iter().filter_map(|(flag, at)| Some((flag, at.filter(|at| *at >= step)?))) {
            said.push_str(&format!("; {flag} {at} was not reached"));
        }
        let first = self.settings.optimizer.first_in_average(step);
        if first >= 1.0 {
            said.push_str(&format!("; {first:.0} % of the average (--ema) is still the first weights"));
        }
        Some(said)
    }

    /// Whether validations have not become better for as long as the run's patience.
    fn is_stale(&self) -> bool {
        let patience = self.settings.validation.as_ref().and_then(|v| v.patience);
        patience.is_some_and(|patience| self.counters.stale >= patience)
    }

    /// Measures the embedder as it is, where there is something to measure it on, and keeps it where it is to be kept.
    pub(crate) fn validate(&mut self) -> Result<()> {
        let Some(validation) = &self.validation else { return Ok(()) };
        let step = self.counters.step;
        let candidate = self.record.as_ref().map(|record| record.candidate(&self.trainer.state()?, step, false));
        let candidate = agree(candidate.transpose())?;
        let measure = || validation.measure(candidate.as_deref());
        let was_measured = validation.skipped().is_some();
        let found = self.record.as_ref().map_or_else(measure, |record| record.monitor.aside(measure))?;
        if let (false, Some(record), Some(skipped @ [_, ..])) = (was_measured, &self.record, validation.skipped()) {
            let (count, of) = (skipped.len(), validation.data().items.len());
            let said =
                format!("{count} of the {of} images to validate on cannot be used and are left out (--skip-bad)");
            record.monitor.aside(|| {
                skipped.iter().for_each(|reason| note(&format!("skipped: {reason}")));
                note(&said);
            });
            record.folder.record(&said)?;
        }
        // The first rank's word goes: the others' best may have gone through text, which may lose its last bit.
        let is_better = self.counters.best.is_none_or(|(best, _)| found.recall_at_1 > best);
        let is_better = world().any(world().is_first() && is_better);
        if is_better {
            (self.counters.best, self.counters.stale) = (Some((found.recall_at_1, step)), 0);
        } else {
            self.counters.stale += 1;
        }
        let kept = self.record.as_mut().map(|record| {
            record.validated(&found, step)?;
            record.settle(is_better)
        });
        if let Some(sha256) = agree(kept.transpose())?.flatten() {
            self.counters.best_sha256 = Some(sha256);
        }
        Ok(())
    }

    /// Writes a checkpoint; `is_last` for the one that ends the run. Ranks whose states have drifted apart go no further.
    pub(crate) fn save(&mut self, is_last: bool) -> Result<()> {
        if !world().is_alone() {
            same("the state", &self.trainer.digest(&self.shards)?)?;
        }
        let needed = self.record.is_some() || !self.shards.is_empty();
        let mut state = agree(if needed { self.trainer.state() } else { Ok(Vec::new()) })?;
        state.extend(self.mining.iter().filter(|_| needed).flat_map(Mining::state));
        agree(self.write(|record, counters| record.save(&state, counters, is_last)))?;
        let (path, settings) = self
            .record
            .as_ref()
            .map(|record| (record.folder.checkpoint(), record.behind_state.clone()))
            .unwrap_or_default();
        Checkpoint { counters: self.counters.clone(), settings, state }.write(&path, &self.shards)?;
        if let Some(record) = &mut self.record {
            record.saved = Some(self.counters.step);
        }
        Ok(())
    }
}
