//! The learning rate of each step: a linear warm-up, then constant, half a cosine, or falling in steps; or one cycle.

use std::f64::consts::PI;

use clap::{Args, ValueEnum};
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// Where one cycle begins, and when it is highest: PyTorch's `1 / div_factor` and `pct_start`.
const FIRST_RATE: f64 = 0.04;
const PEAK_AT: f64 = 0.3;

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// As it is
    Constant,
    /// Half a cosine, down to --final-rate
    Cosine,
    /// Times --decay at each of --decay-at
    Step,
    /// Half a cosine up from --first-rate to the learning rate at --peak-at, then half a cosine down to --final-rate
    OneCycle,
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
    /// Where cosine and one-cycle end, as a share of the learning rate
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) final_rate: f64,
    /// one-cycle: where it begins, as a share of the learning rate [default: 0.04]
    #[arg(long, value_name = "SHARE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_rate: Option<f64>,
    /// one-cycle: when it is highest, as a share of the run [default: 0.3]
    #[arg(long, value_name = "SHARE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_at: Option<f64>,
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
        if let Some(first) = self.first_rate.filter(|first| !(0.0..=1.0).contains(first)) {
            return wrong("--first-rate", first, "a share from 0 to 1");
        }
        if let Some(peak) = self.peak_at.filter(|peak| !(0.0..=1.0).contains(peak)) {
            return wrong("--peak-at", peak, "a share of the run from 0 to 1");
        }
        if !(self.decay > 0.0 && self.decay <= 1.0) {
            return wrong("--decay", self.decay, "a factor above 0 and up to 1");
        }
        if let Some(&at) = self.decay_at.iter().find(|at| !(**at > 0.0 && **at < 1.0)) {
            return wrong("--decay-at", at, "shares of the run between 0 and 1");
        }
        if self.warmup > steps {
            return Err(Error::Usage(format!("--warmup {}: the run has {steps} steps", self.warmup)));
        }
        if self.warmup > 0 && self.warmup == steps && matches!(self.schedule, Shape::Cosine | Shape::Step) {
            return Err(Error::Usage(format!(
                "--warmup {}: the run has {steps} steps, none of which is left for --schedule to lower the rate in; wanted fewer, or \
                 --schedule constant",
                self.warmup
            )));
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
        let has_cosine = matches!(self.schedule, Shape::Cosine | Shape::OneCycle);
        let is_cycle = self.schedule == Shape::OneCycle;
        let idle = [
            ("--final-rate", !has_cosine && self.final_rate != 0.0, "--schedule cosine and one-cycle"),
            ("--first-rate", !is_cycle && self.first_rate.is_some(), "--schedule one-cycle"),
            ("--peak-at", !is_cycle && self.peak_at.is_some(), "--schedule one-cycle"),
            ("--warmup", is_cycle && self.warmup != 0, "the other schedules: one-cycle has its own rise, --peak-at"),
            ("--decay-at", !falls && self.decay_at != [0.5, 0.75], "--schedule step"),
            ("--decay", !falls && self.decay != 0.1, "--schedule step"),
        ];
        match idle.iter().find(|(_, is_idle, _)| *is_idle) {
            Some((flag, _, owner)) => Err(Error::Usage(format!("{flag} changes nothing here: it belongs to {owner}"))),
            None => Ok(()),
        }
    }

    /// The same with every default of its shape written out.
    pub(crate) fn resolved(&self) -> Self {
        let is_cycle = self.schedule == Shape::OneCycle;
        let usual = |given: Option<f64>, usual: f64| if is_cycle { given.or(Some(usual)) } else { given };
        Self { first_rate: usual(self.first_rate, FIRST_RATE), peak_at: usual(self.peak_at, PEAK_AT), ..self.clone() }
    }

    /// From the first rate to the peak and down again, as PyTorch's `OneCycleLR` with `anneal_strategy="cos"`: its last step, and
    /// not the one behind it, has the final rate.
    fn cycle(&self, step: u64, steps: u64) -> f64 {
        let last = (steps - 1).max(1) as f64;
        let peak = (self.peak_at.unwrap_or(PEAK_AT) * steps as f64 - 1.0).clamp(0.0, last);
        let between = |from: f64, to: f64, done: f64| to + (from - to) * 0.5 * (1.0 + (PI * done).cos());
        let step = step as f64;
        if step < peak {
            between(self.first_rate.unwrap_or(FIRST_RATE), 1.0, step / peak)
        } else {
            between(1.0, self.final_rate, (step - peak) / (last - peak).max(f64::MIN_POSITIVE))
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
            Shape::OneCycle => self.cycle(step, steps),
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
        Schedule {
            learning_rate: 2.0,
            schedule: shape,
            warmup,
            final_rate: 0.1,
            first_rate: None,
            peak_at: None,
            decay_at: vec![0.5, 0.75],
            decay: 0.1,
        }
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

    /// `torch.optim.lr_scheduler.OneCycleLR(optimizer, 2.0, total_steps=20, final_div_factor=0.4)`: the initial rate is 0.08.
    #[test]
    fn one_cycle_is_pytorch_s() {
        let schedule = schedule(Shape::OneCycle, 0);
        let wanted: [f64; 20] = [
            0.080000000,
            0.263343685,
            0.743343685,
            1.336656315,
            1.816656315,
            2.000000000,
            1.977435121,
            1.910871981,
            1.803648334,
            1.661140822,
            1.490495365,
            1.300268841,
            1.100000000,
            0.899731159,
            0.709504635,
            0.538859178,
            0.396351666,
            0.289128019,
            0.222564879,
            0.200000000,
        ];
        for (step, want) in (0..20).zip(wanted) {
            close(schedule.rate(step, 20), want);
        }
        for (steps, step) in [(1, 0), (2, 0), (2, 1)] {
            assert!(schedule.rate(step, steps).is_finite());
        }
        assert!(schedule.refuse_idle().is_ok());
        let idle = Schedule { warmup: 3, ..schedule.clone() }.refuse_idle().unwrap_err().to_string();
        assert!(idle.contains("--warmup changes nothing here"), "{idle}");
        let other = Schedule { schedule: Shape::Cosine, peak_at: Some(0.2), ..schedule };
        assert!(other.refuse_idle().unwrap_err().to_string().contains("--peak-at changes nothing here"));
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
        assert!(with(|s| s.decay_at = vec![0.5, 1.0]).contains("--decay-at 1: wanted shares of the run between"));
        assert!(with(|s| s.warmup = 100).contains("--warmup 100: the run has 100 steps, none of which"));
        assert!(with(|s| s.decay_at = vec![0.5, 7.0]).contains("--decay-at 7"));
        assert!(with(|s| s.warmup = 101).contains("--warmup 101"));
    }
}
