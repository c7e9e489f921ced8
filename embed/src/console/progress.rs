//! A bar on standard error with rate and time left; nothing where standard error is no terminal.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// One stage of work of known length.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Starts a bar: `embedding [====>   ] 120/2485 images, 80/s, 29 s left`.
    pub fn new(stage: &str, unit: &str, length: usize) -> Self {
        let template = format!("{stage} [{{bar:30}}] {{human_pos}}/{{human_len}} {unit}, {{rate}}/s, {{eta}} left");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn is no reason to stop.
            let _ = write!(out, "{:.0}", state.per_sec());
        });
        let bar = ProgressBar::new(length as u64).with_style(style.progress_chars("=> "));
        Self(bar)
    }

    /// `count` more are done.
    pub fn advance(&self, count: usize) {
        self.0.inc(count as u64);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
