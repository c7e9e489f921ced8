//! What a run leaves behind: tables, checkpoints, embedder, and what is said on the way. Of several ranks the first one has it.

use std::path::{Path, PathBuf};

use pdloss::graph::file;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::names::average;
use pdloss::graph::step::{Moved, export_embedder, moved};
use pdloss_embed::console::note;
use pdloss_embed::digest;
use pdloss_embed::{Error, Result};
use serde_json::Value;

use crate::backbone::of_graph;
use crate::checkpoint::Counters;
use crate::cli::Keep;
use crate::folder::{Begun, Folder};
use crate::metrics::Table;
use crate::monitor::Monitor;
use crate::probe::Probe;
use crate::settings::Settings;
use crate::tensor::Tensor;
use crate::trainer::Outcome;
use crate::validation::Recall;

/// The record of a run under way.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) settings: Settings,
    pub(crate) folder: Folder,
    pub(crate) backbone: ModelProto,
    /// Names of its tensors that are trained, and of what the optimiser remembers of each.
    pub(crate) weights: Vec<(String, Vec<String>)>,
    /// Steps an epoch.
    pub(crate) batches: u64,
    pub(crate) metrics: Table,
    pub(crate) validations: Table,
    pub(crate) monitor: Monitor,
    pub(crate) probe: Probe,
    /// As [`Settings::behind_state`].
    pub(crate) behind_state: Value,
    /// The folder, until the first step is made.
    pub(crate) guard: Option<Begun>,
    /// The step of the last checkpoint.
    pub(crate) saved: Option<u64>,
    /// How many steps were skipped since the run began or went on; the first was said.
    pub(crate) skipped: u64,
}

impl Record {
    /// Keeps the folder: a step was made.
    pub(crate) fn keep(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.keep();
        }
    }

    /// Writes down a batch without pairs, in which the loss has nothing to compare.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn passed_over(&mut self, counters: &Counters, rate: f32) -> Result<()> {
        if counters.passed_over == 1 {
            self.monitor.aside(|| {
                note(&format!(
                    "step {}: the batch has no two images of one class, or no two classes, so the loss has nothing to compare: \
                     it is passed over, as further ones will be; --per-class makes batches that have them",
                    counters.step
                ));
            });
        }
        self.metrics.add(&[
            ("step", counters.step.to_string()),
            ("epoch", ((counters.step - 1) / self.batches).to_string()),
            ("learning_rate", rate.to_string()),
        ])?;
        self.monitor.passed_over();
        Ok(())
    }

    /// Writes down a step; refuses to go on from a loss that is no number.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Measure`] for such a loss.
    pub(crate) fn step(&mut self, step: u64, outcome: &Outcome, rate: f32, images_per_second: f64) -> Result<()> {
        let mut row = vec![
            ("step", step.to_string()),
            ("epoch", ((step - 1) / self.batches).to_string()),
            ("loss", outcome.loss.to_string()),
            ("mean_cosine", outcome.mean_cosine.to_string()),
            ("learning_rate", rate.to_string()),
            ("images_per_second", format!("{images_per_second:.1}")),
        ];
        if !outcome.is_skipped() {
            row.push(("gradient_norm", outcome.gradient_norm.to_string()));
        }
        let names = ["mu_genuine", "mu_impostor", "var_genuine", "var_impostor", "d_prime"];
        row.extend(outcome.moments.iter().flat_map(|moments| names.into_iter().zip(moments.map(|m| m.to_string()))));
        self.metrics.add(&row)?;
        self.monitor.step(outcome, images_per_second);
        let scale = outcome.loss_scale.unwrap_or(0.0);
        if outcome.loss.is_finite() && (outcome.gradient_norm.is_finite() || outcome.is_skipped() && scale >= 1.0) {
            self.skipped += u64::from(outcome.is_skipped());
            if outcome.is_skipped() && self.skipped == 1 {
                self.monitor.aside(|| {
                    note(&format!(
                        "step {step}: the gradient overflows float16 at loss scale {}, which is halved: the step is skipped, \
                         as further ones will be",
                        2.0 * f64::from(scale)
                    ));
                });
            }
            return Ok(());
        }
        // What was measured up to here is worth keeping, also of the first step.
        self.keep();
        self.metrics.flush()?;
        let in_float16 = if outcome.loss_scale.is_some() {
            ", or --precision bf16, which holds larger numbers than float16's 65504"
        } else {
            ""
        };
        Err(Error::Measure(format!(
            "step {step}: the loss is {}, its gradient's norm {}, at learning rate {rate}; try a lower --learning-rate, \
             --warmup or --clip{in_float16}",
            outcome.loss, outcome.gradient_norm
        )))
    }

    /// Writes down what the embedder of this step was measured to be; [`Record::settle`] comes next.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn validated(&mut self, found: &Recall, step: u64) -> Result<()> {
        self.validations.add(&[
            ("step", step.to_string()),
            ("epoch", (step / self.batches).to_string()),
            ("recall@1", found.recall_at_1.to_string()),
            ("map@r", found.map_at_r.to_string()),
            ("queries", found.queries.to_string()),
        ])?;
        self.validations.flush()?;
        self.monitor.recall(step, found);
        Ok(())
    }

    /// Keeps the embedder that was measured, where it is better and the best is to be kept; its SHA-256 then.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn settle(&self, is_better: bool) -> Result<Option<String>> {
        let candidate = self.folder.candidate();
        if self.wants_best() && is_better {
            let sha256 = digest::of_file(&candidate).map_err(|e| Error::read(&candidate, e))?;
            let kept = self.folder.embedder();
            std::fs::rename(&candidate, &kept).map_err(|e| Error::write(&kept, e))?;
            return Ok(Some(sha256));
        }
        std::fs::remove_file(&candidate).map_err(|e| Error::write(&candidate, e))?;
        Ok(None)
    }

    fn wants_best(&self) -> bool {
        self.settings.validation.as_ref().is_some_and(|v| v.keep == Keep::Best)
    }

    /// Refuses another embedder than the one that was kept as the best, where it is known to be the last that was kept.
    ///
    /// # Errors
    /// [`Error::Data`] where it is another; [`Error::File`] where it is not there.
    pub(crate) fn has_best(&self, counters: &Counters, is_last: bool) -> Result<()> {
        let (Some(wanted), Some((recall, step))) = (&counters.best_sha256, counters.best) else { return Ok(()) };
        let path = self.folder.embedder();
        let found = digest::of_file(&path).map_err(|e| Error::read(&path, e))?;
        // A process that was killed may have kept a better one since its checkpoint, and so will this one.
        if is_last && found != *wanted {
            let problem = format!(
                "is not the embedder of step {step}, which validated best (recall@1 {recall:.4}): SHA-256 {found}, wanted {wanted}; \
                 it was changed since, and the checkpoint has the last weights only: put it back and --resume, or begin a new run"
            );
            return Err(Error::data(path, problem));
        }
        Ok(())
    }

    /// Writes everything that belongs to a checkpoint, which is written then; `is_last` for the one that ends the run.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Measure`] for an embedder that embeds nothing.
    pub(crate) fn save(&mut self, state: &[Tensor], counters: &Counters, is_last: bool) -> Result<()> {
        self.metrics.flush()?;
        self.validations.flush()?;
        if is_last {
            self.has_moved(state, counters)?;
        }
        if !self.wants_best() {
            let (candidate, kept) = (self.candidate(state, counters.step, is_last)?, self.folder.embedder());
            std::fs::rename(&candidate, &kept).map_err(|e| Error::write(&kept, e))
        } else if is_last {
            self.has_best(counters, true)?;
            self.look_at(&self.folder.embedder(), counters.step, true)
        } else {
            Ok(())
        }
    }

    /// Writes the embedder of a state beside the run's, once it is seen to embed.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Measure`] for one that embeds nothing.
    pub(crate) fn candidate(&self, state: &[Tensor], step: u64, is_last: bool) -> Result<PathBuf> {
        let path = self.folder.candidate();
        let find = |name: &str| of_embedder(state, name).map(Tensor::to_proto);
        let embedder = export_embedder(&self.backbone, find).map_err(|e| of_graph(&self.settings.model, e))?;
        file::write(&embedder, &path).map_err(|e| of_graph(&path, e))?;
        self.look_at(&path, step, is_last).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        Ok(path)
    }

    /// Refuses to end with the backbone that the run began with; says and records what of it has not moved.
    fn has_moved(&self, state: &[Tensor], counters: &Counters) -> Result<()> {
        let step = counters.step;
        let wrong = |e| of_graph(&self.settings.model, e);
        let names: Vec<String> = self.weights.iter().map(|(name, _)| name.clone()).collect();
        let moved_without = |left: &[&str]| -> Result<Moved> {
            let find = |name: &str| of_embedder(state, name).filter(|_| !left.contains(&name)).map(Tensor::to_proto);
            let embedder = export_embedder(&self.backbone, find).map_err(wrong)?;
            moved(&self.backbone, &embedder, &names).map_err(wrong)
        };
        let found = moved_without(&[])?;
        if let (0, Some(said)) = (found.values, of_moved(&found, names.len())) {
            let rate = self.settings.schedule.learning_rate;
            if counters.passed_over == step {
                return Err(Error::Measure(format!(
                    "step {step}: every batch was passed over, as none has two images of one class: nothing was trained; wanted --per-class, \
                     or classes of more images"
                )));
            }
            if let Some(at) = self.settings.optimizer.held_beyond(step) {
                return Err(Error::Measure(format!(
                    "step {step}: {said}, and the embedder would be the backbone that it was: all of it was held until step {at} \
                     (--unfreeze-at), which the run did not reach"
                )));
            }
            if self.skipped > 0 && self.skipped + counters.passed_over >= step {
                return Err(Error::Measure(format!(
                    "step {step}: every step was skipped, as gradients overflowed float16: nothing was trained; wanted a lower --loss-scale, more \
                     steps, which halve it, or --precision bf16"
                )));
            }
            return Err(Error::Measure(format!(
                "step {step}: {said}, and the embedder would be the backbone that it was; wanted weights that move: \
                 --learning-rate {rate} is too small beside them, or what comes before it (--clip, --warmup, --group, --ema)"
            )));
        }
        // What decay alone moves is not trained.
        let decayed: Vec<&str> = self.without_gradient(state).collect();
        let found = if decayed.is_empty() { found } else { moved_without(&decayed)? };
        let Some(mut said) = of_moved(&found, names.len()) else { return Ok(()) };
        let held = self.settings.optimizer.held_beyond(step);
        if let (false, Some(at)) = (decayed.is_empty(), held) {
            let count = decayed.len();
            said.push_str(&format!("; {count} of them were held until the end: --unfreeze-at {at} was not reached"));
        } else if !decayed.is_empty() {
            said.push_str(&format!(
                "; no gradient has reached {} of them (weight decay alone moves no weight to where it is better): wanted weights that the \
                 embeddings, and a loss that is not at its least, depend on smoothly",
                decayed.len()
            ));
        }
        self.monitor.aside(|| note(&said));
        self.folder.record(&said)
    }

    /// Trained tensors of which the optimiser remembers nothing but zeros.
    fn without_gradient<'s>(&'s self, state: &'s [Tensor]) -> impl Iterator<Item = &'s str> {
        let is_zero = |memory: &String| {
            let memory = state.iter().find(|tensor| tensor.name == *memory);
            memory.is_some_and(|memory| memory.bytes.iter().all(|&byte| byte == 0))
        };
        let untouched =
            self.weights.iter().filter(move |(_, memories)| !memories.is_empty() && memories.iter().all(is_zero));
        untouched.map(|(name, _)| name.as_str())
    }

    /// Refuses an embedder that embeds nothing; `is_last` for the one that ends the run, which nothing makes better any more.
    fn look_at(&self, embedder: &Path, step: u64, is_last: bool) -> Result<()> {
        let Some(fault) = self.probe.look(embedder, !is_last)? else { return Ok(()) };
        let kept = match (self.saved, self.folder.embedder().exists()) {
            (Some(step), true) => format!("embedder.onnx and the checkpoint are those of step {step} and before"),
            _ => "no embedder.onnx was written".to_owned(),
        };
        Err(Error::Measure(format!(
            "step {step}: the embedder {fault}; {kept}. Try a lower --learning-rate, --warmup or --clip"
        )))
    }
}

/// What is to be said of trained tensors that stayed as they were, or hardly moved.
fn of_moved(found: &Moved, tensors: usize) -> Option<String> {
    const SHOWN: usize = 6;
    let Moved { values, of, still } = found;
    if still.is_empty() && values.saturating_mul(100) >= *of {
        return None;
    }
    let names = match still.as_slice() {
        [] => String::new(),
        still => {
            let shown: Vec<String> = still.iter().take(SHOWN).map(|name| format!("'{name}'")).collect();
            let more = if still.len() > SHOWN { format!(" and {} more", still.len() - SHOWN) } else { String::new() };
            format!("; as they were: {}{more}", shown.join(", "))
        }
    };
    Some(format!("{values} of the {of} values of {tensors} trained tensors have moved{names}"))
}

/// The tensor of a state that the embedder takes for one of the backbone's: the average, where there is one.
fn of_embedder<'a>(state: &'a [Tensor], name: &str) -> Option<&'a Tensor> {
    let average = average(name);
    let called = |name: &str| state.iter().find(|tensor| tensor.name == name);
    called(&average).or_else(|| called(name))
}
