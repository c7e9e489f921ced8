//! Progress on standard error: a bar on a terminal, elsewhere a plain line every few seconds.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::{Speech, note};

/// Time between two plain lines.
const EVERY: Duration = Duration::from_secs(5);

/// One stage of work of known length.
#[derive(Debug)]
pub struct Progress {
    /// Draws nothing where standard error is no terminal, and where no progress is wanted.
    bar: ProgressBar,
    /// `None` on a terminal, and where no progress is wanted.
    plain: Option<Plain>,
}

/// What plain lines are made of.
#[derive(Debug)]
struct Plain {
    stage: String,
    unit: String,
    length: usize,
    done: AtomicUsize,
    pace: Pace,
}

impl Progress {
    /// Starts a bar, or lines: `embedding 120/2485 images, 80/s, 29 s left`.
    pub fn new(stage: &str, unit: &str, length: usize) -> Self {
        let template = format!("{stage} [{{bar:30}}] {{human_pos}}/{{human_len}} {unit}, {{rate}}/s, {{eta}} left");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn is no reason to stop.
            let _ = write!(out, "{:.0}", state.per_sec());
        });
        let is_wanted = Speech::now().progress;
        let bar = if is_wanted { ProgressBar::new(length as u64) } else { ProgressBar::hidden() };
        let bar = bar.with_style(style.progress_chars("=> "));
        let plain = (is_wanted && !std::io::stderr().is_terminal()).then(|| Plain {
            stage: stage.to_owned(),
            unit: unit.to_owned(),
            length,
            done: AtomicUsize::new(0),
            pace: Pace::new(EVERY),
        });
        Self { bar, plain }
    }

    /// `count` more are done.
    pub fn advance(&self, count: usize) {
        self.bar.inc(count as u64);
        if let Some(line) = self.plain.as_ref().and_then(|plain| plain.advance(count)) {
            note(&line);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Plain {
    /// Counts; the line, where one is due.
    fn advance(&self, count: usize) -> Option<String> {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        // What is done is said by the next stage or by the result.
        if done >= self.length || !self.pace.is_due() {
            return None;
        }
        let (rate, left) = self.pace.rate_and_left(done, self.length);
        Some(format!("{} {done}/{} {}, {rate:.0}/s, {left} left", self.stage, self.length, self.unit))
    }
}

/// Tells when a few seconds have passed since it last did.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    began: Instant,
    last: Mutex<Instant>,
}

impl Default for Pace {
    /// As the lines of [`Progress`].
    fn default() -> Self {
        Self::new(EVERY)
    }
}

impl Pace {
    /// Begins now.
    pub fn new(every: Duration) -> Self {
        let now = Instant::now();
        Self { every, began: now, last: Mutex::new(now) }
    }

    /// Whether it is time again; asked by several threads, one of them hears so.
    pub fn is_due(&self) -> bool {
        // A thread that holds the lock is answered already.
        let Ok(mut last) = self.last.try_lock() else { return false };
        let is_due = last.elapsed() >= self.every;
        if is_due {
            *last = Instant::now();
        }
        is_due
    }

    /// Pieces a second since the beginning, and the time that the others of `length` take at that rate, in words.
    pub fn rate_and_left(&self, done: usize, length: usize) -> (f64, String) {
        let seconds = self.began.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = done as f64 / seconds;
        (rate, duration(length.saturating_sub(done) as f64 / rate))
    }
}

/// Seconds in words: `29 s`, `3 min`, `2.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "?".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(every: Duration) -> Plain {
        let (stage, unit) = ("embedding".to_owned(), "images".to_owned());
        Plain { stage, unit, length: 100, done: AtomicUsize::new(0), pace: Pace::new(every) }
    }

    #[test]
    fn a_line_comes_when_it_is_due_and_not_before_nor_at_the_end() {
        let often = plain(Duration::ZERO);
        let line = often.advance(20).unwrap();
        assert!(line.starts_with("embedding 20/100 images, ") && line.ends_with(" left"), "{line}");
        assert!(often.advance(30).unwrap().starts_with("embedding 50/100 images, "));
        assert_eq!(often.advance(50), None);
        assert_eq!(plain(Duration::from_secs(3600)).advance(20), None);
    }

    #[test]
    fn the_pace_starts_anew_each_time() {
        let pace = Pace::new(Duration::from_millis(40));
        assert!(!pace.is_due());
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.is_due());
        assert!(!pace.is_due());
    }

    #[test]
    fn times_are_said_in_their_unit() {
        for (seconds, words) in [(29.4, "29 s"), (180.0, "3 min"), (9000.0, "2.5 h"), (f64::INFINITY, "?")] {
            assert_eq!(duration(seconds), words);
        }
    }
}
