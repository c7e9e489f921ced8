//! The learning rate of each step: a linear warm-up, then constant, half a cosine, or falling in steps.

use std::f64::consts::PI;

use clap::{Args, ValueEnum};
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Shape {
    /// As it is
    Constant,
    /// Half a cosine, down to --final-rate
    Cosine,
    /// Times --decay at each of --decay-at
    Step,
}

/// Learning rate over the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Learning rate")]
pub(crate) struct Schedule {
    /// Learning rate after the warm-up
    #[arg(long, default_value_t = 1e-3, value_name = "RATE", visible_alias = "lr")]
    pub(crate) learning_rate: f64,
    /// What it does afterwards
    #[arg(long, value_enum, default_value_t = Shape::Cosine)]
    pub(crate) schedule: Shape,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 0, value_name = "STEPS")]
    pub(crate) warmup: u64,
    /// Where the cosine ends, as a share of the learning rate
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) final_rate: f64,
    /// Where the steps are, as shares of the run
    #[arg(long, value_delimiter = ',', default_values_t = [0.5, 0.75], value_name = "SHARE,...")]
    pub(crate) decay_at: Vec<f64>,
    /// What each step multiplies by
    #[arg(long, default_value_t = 0.1, value_name = "FACTOR")]
    pub(crate) decay: f64,
}

impl Schedule {
    /// Refuses what is no schedule for a run of this many steps.
    ///
    /// # Errors
    /// [`Error::Usage`] naming flag and value.
    pub(crate) fn check(&self, steps: u64) -> Result<()> {
        let wrong =
            |flag: &str, value: f64, wanted: &str| Err(Error::Usage(format!("{flag} {value}: wanted {wanted}")));
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("--learning-rate", self.learning_rate, "a number above 0");
        }
        if !(0.0..=1.0).contains(&self.final_rate) {
            return wrong("--final-rate", self.final_rate, "a share from 0 to 1");
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return wrong("--decay", self.decay, "a factor above 0 and up to 1");
        }
        if let Some(&at) = self.decay_at.iter().find(|at| !(0.0..=1.0).contains(*at)) {
            return wrong("--decay-at", at, "shares of the run from 0 to 1");
        }
        if self.warmup > steps {
            return Err(Error::Usage(format!("--warmup {}: the run has {steps} steps", self.warmup)));
        }
        Ok(())
    }

    /// Refuses flags that would change nothing, as typed: what other shapes follow. A run's own record holds every setting, and
    /// defaults say nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag and the shape that it belongs to.
    pub(crate) fn refuse_idle(&self) -> Result<()> {
        let falls = self.schedule == Shape::Step;
        let idle = [
            ("--final-rate", self.schedule != Shape::Cosine && self.final_rate != 0.0, "--schedule cosine"),
            ("--decay-at", !falls && self.decay_at != [0.5, 0.75], "--schedule step"),
            ("--decay", !falls && self.decay != 0.1, "--schedule step"),
        ];
        match idle.iter().find(|(_, is_idle, _)| *is_idle) {
            Some((flag, _, owner)) => Err(Error::Usage(format!("{flag} changes nothing here: it belongs to {owner}"))),
            None => Ok(()),
        }
    }

    /// The rate of step `step`, from 0, in a run of `steps`.
    #[allow(clippy::cast_possible_truncation)] // rounding to f32 is what is meant
    pub(crate) fn rate(&self, step: u64, steps: u64) -> f32 {
        let rate = self.learning_rate;
        if step < self.warmup {
            return (rate * (step + 1) as f64 / self.warmup as f64) as f32;
        }
        let factor = match self.schedule {
            Shape::Constant => 1.0,
            Shape::Cosine => {
                let done = (step - self.warmup) as f64 / (steps - self.warmup).max(1) as f64;
                self.final_rate + (1.0 - self.final_rate) * 0.5 * (1.0 + (PI * done).cos())
            }
            Shape::Step => {
                let passed = self.decay_at.iter().filter(|&&at| step as f64 >= at * steps as f64).count();
                self.decay.powi(i32::try_from(passed).unwrap_or(i32::MAX))
            }
        };
        (rate * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: Shape, warmup: u64) -> Schedule {
        Schedule { learning_rate: 2.0, schedule: shape, warmup, final_rate: 0.1, decay_at: vec![0.5, 0.75], decay: 0.1 }
    }

    fn close(got: f32, want: f64) {
        assert!((f64::from(got) - want).abs() < 1e-6, "{got}, wanted {want}");
    }

    #[test]
    fn warm_up_ends_at_the_rate() {
        let schedule = schedule(Shape::Constant, 4);
        for (step, want) in [(0, 0.5), (1, 1.0), (3, 2.0), (4, 2.0), (99, 2.0)] {
            close(schedule.rate(step, 100), want);
        }
    }

    #[test]
    fn the_cosine_goes_from_the_rate_to_its_end() {
        let schedule = schedule(Shape::Cosine, 10);
        close(schedule.rate(10, 110), 2.0);
        close(schedule.rate(60, 110), 2.0 * 0.55);
        close(schedule.rate(110, 110), 0.2);
    }

    #[test]
    fn steps_come_at_their_shares_of_the_run() {
        let schedule = schedule(Shape::Step, 0);
        for (step, want) in [(49, 2.0), (50, 0.2), (74, 0.2), (75, 0.02)] {
            close(schedule.rate(step, 100), want);
        }
    }

    #[test]
    fn what_is_no_schedule_is_named() {
        let base = schedule(Shape::Cosine, 4);
        let with = |change: fn(&mut Schedule)| {
            let mut schedule = base.clone();
            change(&mut schedule);
            schedule.check(100).unwrap_err().to_string()
        };
        assert!(base.check(100).is_ok());
        assert!(with(|s| s.learning_rate = f64::NAN).contains("--learning-rate NaN"));
        assert!(with(|s| s.final_rate = 2.0).contains("--final-rate 2"));
        assert!(with(|s| s.decay = 0.0).contains("--decay 0"));
        assert!(with(|s| s.decay_at = vec![0.5, 7.0]).contains("--decay-at 7"));
        assert!(with(|s| s.warmup = 101).contains("--warmup 101"));
    }
}
