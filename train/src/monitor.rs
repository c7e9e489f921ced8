//! What a person sees while a run goes on: a line on the terminal, and warnings wherever standard error goes.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};

use crate::session::Outcome;

/// A line on standard error.
pub(crate) fn note(line: &str) {
    // Nobody reading standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Steps over which the mean cosine is averaged before it is judged.
const WINDOW: u32 = 25;
/// Mean cosine of a batch's pairs from which its embeddings count as collapsed to a point.
const COLLAPSED: f64 = 0.98;

/// Watches a run.
#[derive(Debug)]
pub(crate) struct Monitor {
    /// Nothing where standard error is no terminal.
    bar: ProgressBar,
    recall: Option<f64>,
    collapse: Collapse,
}

impl Monitor {
    /// A line for steps `first` to `steps`.
    pub(crate) fn new(first: u64, steps: u64) -> Self {
        let style = ProgressStyle::with_template("training [{bar:20}] {human_pos}/{human_len}, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(steps).with_style(style.progress_chars("=> ")).with_position(first);
        bar.reset_eta();
        Self { bar, recall: None, collapse: Collapse::default() }
    }

    /// A step was made.
    pub(crate) fn step(&mut self, outcome: &Outcome, images_per_second: f64) {
        let d_prime = outcome.moments.map_or_else(String::new, |moments| format!("  d' {:.3}", moments[4]));
        let recall = self.recall.map_or_else(String::new, |recall| format!("  recall@1 {recall:.4}"));
        let (loss, cosine) = (outcome.loss, outcome.mean_cosine);
        self.bar.set_message(format!(
            "loss {loss:.4}{d_prime}  cosine {cosine:.3}  {images_per_second:.0} images/s{recall}"
        ));
        self.bar.inc(1);
        if self.collapse.step(f64::from(outcome.mean_cosine)) {
            self.say(&format!(
                "step {}: THE EMBEDDINGS ARE COLLAPSING: the mean cosine of a batch's pairs is above {COLLAPSED} and does not \
                 fall; try a lower --learning-rate, --warmup, or another loss",
                self.bar.position()
            ));
        }
    }

    /// A validation was made.
    pub(crate) fn recall(&mut self, recall: f64) {
        self.recall = Some(recall);
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

/// Tells when embeddings fall together: the mean cosine of a window is near 1 and not below that of the window before. An
/// untrained net may start there, and is let go as long as it gets away.
#[derive(Debug, Default)]
struct Collapse {
    sum: f64,
    steps: u32,
    before: Option<f64>,
    is_said: bool,
}

impl Collapse {
    /// Takes the mean cosine of a step; whether it is to be said now.
    fn step(&mut self, mean_cosine: f64) -> bool {
        self.sum += mean_cosine;
        self.steps += 1;
        if self.steps < WINDOW {
            return false;
        }
        let mean = self.sum / f64::from(self.steps);
        let is_stuck = mean > COLLAPSED && self.before.is_some_and(|before| mean >= before);
        let says = is_stuck && !self.is_said;
        self.is_said = mean > COLLAPSED && (self.is_said || says);
        (self.sum, self.steps, self.before) = (0.0, 0, Some(mean));
        says
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows after which a collapse is said.
    fn said(windows: &[f64]) -> Vec<usize> {
        let mut collapse = Collapse::default();
        let window = |(at, &mean): (usize, &f64)| (0..WINDOW).any(|_| collapse.step(mean)).then_some(at);
        windows.iter().enumerate().filter_map(window).collect()
    }

    #[test]
    fn a_collapse_is_said_once_each_time() {
        assert_eq!(said(&[0.3, 0.9, 0.985, 0.99, 0.999, 1.0]), [2]);
        assert_eq!(said(&[0.3, 0.99, 0.5, 0.99, 0.99]), [1, 3]);
    }

    #[test]
    fn a_net_that_starts_there_and_gets_away_is_let_go() {
        assert_eq!(said(&[0.999, 0.995, 0.985, 0.9, 0.5]), [0_usize; 0]);
        assert_eq!(said(&[0.999, 0.9992]), [1]);
    }
}
