//! What a person sees while a run goes on: a line on the terminal, or one every few seconds where there is none; validations
//! and warnings wherever standard error goes.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use pdloss_embed::console::{Pace, Speech, inform, note};

use crate::trainer::Outcome;
use crate::validation::Recall;

/// Steps over which the mean cosine is averaged before it is judged.
const WINDOW: u32 = 25;
/// Mean cosine of a batch's pairs from which its embeddings count as collapsed to a point.
const COLLAPSED: f64 = 0.98;

/// Watches a run.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// Draws nothing where standard error is no terminal.
    bar: ProgressBar,
    first: u64,
    /// `None` on a terminal.
    pace: Option<Pace>,
    recall: Option<f64>,
    /// `None` for batches of one image, which have no pairs.
    collapse: Option<Collapse>,
}

impl Monitor {
    /// A line for steps `first` to `steps` on so many images each.
    pub(crate) fn new(first: u64, steps: u64, batch: usize) -> Self {
        let style = ProgressStyle::with_template("training [{bar:20}] {human_pos}/{human_len}, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let is_wanted = Speech::now().progress;
        let bar = if is_wanted { ProgressBar::new(steps) } else { ProgressBar::hidden() };
        // A hidden bar has no length of its own.
        bar.set_length(steps);
        let bar = bar.with_style(style.progress_chars("=> ")).with_position(first);
        bar.reset_eta();
        let pace = (is_wanted && !std::io::stderr().is_terminal()).then(Pace::default);
        Self { bar, first, pace, recall: None, collapse: (batch > 1).then(Collapse::default) }
    }

    /// A step was made.
    pub(crate) fn step(&mut self, outcome: &Outcome, images_per_second: f64) {
        let d_prime = outcome.moments.map_or_else(String::new, |moments| format!("  d' {:.3}", moments[4]));
        let recall = self.recall.map_or_else(String::new, |recall| format!("  recall@1 {recall:.4}"));
        let (loss, cosine) = (outcome.loss, outcome.mean_cosine);
        let figures = format!("loss {loss:.4}{d_prime}  cosine {cosine:.3}  {images_per_second:.0} images/s{recall}");
        self.passed(&figures);
        let collapse = self.collapse.as_mut();
        if let Some(words) = collapse.and_then(|collapse| collapse.step(f64::from(outcome.mean_cosine))) {
            self.say(&format!("step {}: {words}", self.bar.position()));
        }
    }

    /// A step was passed over.
    pub(crate) fn passed_over(&mut self) {
        self.passed("a batch without pairs was passed over");
    }

    fn passed(&self, figures: &str) {
        self.bar.set_message(figures.to_owned());
        self.bar.inc(1);
        let (step, steps) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if let Some(pace) = self.pace.as_ref().filter(|pace| step < steps && pace.is_due()) {
            let count = |steps: u64| usize::try_from(steps).unwrap_or(usize::MAX);
            let (_, left) = pace.rate_and_left(count(step - self.first), count(steps - self.first));
            note(&format!("training {step}/{steps} steps, {left} left  {figures}"));
        }
    }

    /// A validation was made after this step.
    pub(crate) fn recall(&mut self, step: u64, found: &Recall) {
        let Recall { recall_at_1, map_at_r, queries } = found;
        self.recall = Some(*recall_at_1);
        let line = format!("step {step}: recall@1 {recall_at_1:.4}, map@r {map_at_r:.4} on {queries} queries");
        self.bar.suspend(|| inform(&line));
    }

    /// Does something that writes to the terminal itself.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// A line on standard error, above the progress.
    fn say(&self, line: &str) {
        self.bar.suspend(|| note(line));
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Tells when embeddings fall together, to a point or to zero, and when they are apart again. An untrained net may start at a
/// point, and is let go as long as it gets away.
#[derive(Debug, Default)]
struct Collapse {
    sum: f64,
    zeros: u32,
    steps: u32,
    before: Option<f64>,
    said: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Point,
    Zero,
}

impl Collapse {
    /// Takes the mean cosine of a step; what is to be said now.
    fn step(&mut self, mean_cosine: f64) -> Option<String> {
        self.sum += mean_cosine;
        // Rows of zeros have the cosine 0 with everything; of others the mean is never 0 to the last bit for long.
        self.zeros += u32::from(mean_cosine == 0.0);
        self.steps += 1;
        if self.steps < WINDOW {
            return None;
        }
        let mean = self.sum / f64::from(self.steps);
        let is_zero = self.zeros == self.steps;
        let is_stuck = mean > COLLAPSED && (self.said.is_some() || self.before.is_some_and(|before| mean >= before));
        let now = if is_zero {
            Some(Kind::Zero)
        } else if is_stuck {
            Some(Kind::Point)
        } else {
            None
        };
        (self.sum, self.zeros, self.steps, self.before) = (0.0, 0, 0, Some(mean));
        let before = std::mem::replace(&mut self.said, now);
        match (before, now) {
            (before, now) if before == now => None,
            (_, Some(Kind::Zero)) => Some(
                "ALL EMBEDDINGS ARE ZERO: nothing comes through the net, and no gradient comes back; try a lower \
                 --learning-rate or --warmup"
                    .to_owned(),
            ),
            (_, Some(Kind::Point)) => Some(format!(
                "THE EMBEDDINGS ARE COLLAPSING: the mean cosine of a batch's pairs is above {COLLAPSED} and does not fall; \
                 try a lower --learning-rate, --warmup, or another loss"
            )),
            (_, None) => Some(format!(
                "the embeddings are no longer collapsed: the mean cosine of a batch's pairs is {mean:.3}; the warning above \
                 is taken back"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows after which something is said, and its first word.
    fn said(windows: &[f64]) -> Vec<(usize, String)> {
        let mut collapse = Collapse::default();
        let mut said = Vec::new();
        for (at, &mean) in windows.iter().enumerate() {
            for words in (0..WINDOW).filter_map(|_| collapse.step(mean)) {
                said.push((at, words.split(' ').next().unwrap().to_owned()));
            }
        }
        said
    }

    fn words(pairs: &[(usize, &str)]) -> Vec<(usize, String)> {
        pairs.iter().map(|&(at, word)| (at, word.to_owned())).collect()
    }

    #[test]
    fn a_collapse_is_said_once_each_time_and_taken_back() {
        assert_eq!(said(&[0.3, 0.9, 0.985, 0.99, 0.999, 1.0]), words(&[(2, "THE")]));
        assert_eq!(said(&[0.3, 0.99, 0.5, 0.99, 0.99]), words(&[(1, "THE"), (2, "the"), (3, "THE")]));
        assert_eq!(said(&[0.3, 0.99, 0.985, 0.5, 0.4]), words(&[(1, "THE"), (3, "the")]));
    }

    #[test]
    fn a_net_that_starts_there_and_gets_away_is_let_go() {
        assert_eq!(said(&[0.999, 0.995, 0.985, 0.9, 0.5]), words(&[]));
        assert_eq!(said(&[0.999, 0.9992]), words(&[(1, "THE")]));
    }

    #[test]
    fn a_net_of_zeros_is_said_and_taken_back() {
        assert_eq!(said(&[0.4, 0.0, 0.0, 0.2]), words(&[(1, "ALL"), (3, "the")]));
        assert_eq!(said(&[1e-9, -1e-9]), words(&[]), "embeddings that point everywhere are no zeros");
        let mut collapse = Collapse::default();
        let once = (0..WINDOW).filter_map(|step| collapse.step(if step == 3 { 0.1 } else { 0.0 })).count();
        assert_eq!(once, 0, "one batch that is not zero");
    }
}
