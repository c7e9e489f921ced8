//! In what a step computes, as asked for on the command line.

use clap::{Args, ValueEnum};
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::{Description, Half, LossScale, Precision, Rounded};
use pdloss_embed::embedder::Device;
use pdloss_embed::{Error, Result};
use serde::{Deserialize, Serialize};

/// A type of numbers, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrecisionName {
    /// float32
    F32,
    /// bfloat16: the range of float32, 8 binary digits
    Bf16,
    /// float16: 11 binary digits, numbers up to 65504, and a loss scale
    F16,
}

impl PrecisionName {
    /// As it is typed.
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// In what a step computes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Args)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "Precision")]
pub(crate) struct PrecisionArgs {
    /// In what the backbone's matrix products and convolutions are computed; weights, statistics, loss and optimiser are float32
    /// in any case. On cpu 16 bits are emulated [default: f32]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<PrecisionName>,
    /// f16: what gradients are multiplied by on their way through the backbone, at first: a power of two; halved where they overflow,
    /// and the step is skipped [default: 65536]
    #[arg(long, value_name = "SCALE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss_scale: Option<f64>,
    /// f16: double it after so many steps without an overflow [default: 2000]
    #[arg(long, value_name = "STEPS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss_scale_steps: Option<u64>,
}

impl PrecisionArgs {
    /// What is asked for of a step on this device; `None` for float32.
    ///
    /// # Errors
    /// [`Error::Usage`] for a flag of another precision, or a value out of range.
    pub(crate) fn of(&self, device: Device) -> Result<Option<Precision>> {
        let name = self.precision.unwrap_or(PrecisionName::F32);
        let scales =
            [("--loss-scale", self.loss_scale.is_some()), ("--loss-scale-steps", self.loss_scale_steps.is_some())];
        if let (Some((flag, _)), true) = (scales.iter().find(|(_, is_given)| *is_given), name != PrecisionName::F16) {
            return Err(Error::Usage(format!("{flag}: belongs to --precision f16, not to {}", name.word())));
        }
        let half = match name {
            PrecisionName::F32 => return Ok(None),
            PrecisionName::Bf16 => Half::Bf16,
            PrecisionName::F16 => Half::F16,
        };
        let mut precision = Precision::new(half, device == Device::Cpu);
        if let Some(scale) = &mut precision.scale {
            *scale = LossScale {
                first: self.loss_scale.unwrap_or(scale.first),
                every: self.loss_scale_steps.unwrap_or(scale.every),
            };
            if !(scale.first.is_finite() && scale.first >= 1.0 && scale.first.log2().fract() == 0.0) {
                return Err(Error::Usage(format!("--loss-scale {}: wanted a power of two from 1 on", scale.first)));
            }
            if scale.every == 0 {
                return Err(Error::Usage("--loss-scale-steps 0: wanted at least 1".into()));
            }
        }
        Ok(Some(precision))
    }

    /// The same with defaults written out, so that a run's settings do not change with this program's; `None` for float32.
    pub(crate) fn resolved(&self) -> Option<Self> {
        let precision = self.precision.filter(|name| *name != PrecisionName::F32)?;
        let usual = (precision == PrecisionName::F16).then(LossScale::default);
        Some(Self {
            precision: Some(precision),
            loss_scale: self.loss_scale.or(usual.map(|usual| usual.first)),
            loss_scale_steps: self.loss_scale_steps.or(usual.map(|usual| usual.every)),
        })
    }
}

/// What is to be said of a step's products, where they are in 16 bits.
///
/// # Errors
/// Where the step says nothing of itself.
pub(crate) fn said(step: &ModelProto) -> pdloss::graph::Result<Option<String>> {
    let Description { precision: Some(Precision { half, emulated, scale }), rounded, .. } = Description::of(step)?
    else {
        return Ok(None);
    };
    let Rounded { products, left } = rounded.unwrap_or_default();
    let how = if emulated {
        format!("emulated: float32 nodes, which take and give numbers rounded to {half}, as slow as float32 and slower")
    } else {
        format!("nodes of {half}, which were not tried on a GPU")
    };
    let scale = scale.map_or_else(String::new, |LossScale { first, every }| {
        format!(
            "; gradients are scaled by {first} at first, and by twice as much after {every} steps without an overflow"
        )
    });
    let left: String = left.iter().map(|(why, count)| format!("; {count} stay float32, {why}")).collect();
    Ok(Some(format!("{products} products of the backbone are in {half} ({how}){left}{scale}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(precision: PrecisionName) -> PrecisionArgs {
        PrecisionArgs { precision: Some(precision), ..PrecisionArgs::default() }
    }

    #[test]
    fn sixteen_bits_are_emulated_on_the_processor_alone() {
        assert_eq!(PrecisionArgs::default().of(Device::Cpu).unwrap(), None);
        assert_eq!(args(PrecisionName::F32).resolved(), None);
        let bf16 = args(PrecisionName::Bf16).of(Device::Cuda(0)).unwrap().unwrap();
        assert_eq!((bf16.half, bf16.emulated, bf16.scale), (Half::Bf16, false, None));
        let f16 = args(PrecisionName::F16).of(Device::Cpu).unwrap().unwrap();
        assert_eq!((f16.half, f16.emulated, f16.scale), (Half::F16, true, Some(LossScale::default())));
        assert_eq!(args(PrecisionName::F16).resolved().unwrap().of(Device::Cpu).unwrap(), Some(f16));
    }

    #[test]
    fn scales_that_cannot_be_are_refused() {
        let refused = |args: PrecisionArgs| args.of(Device::Cpu).unwrap_err().to_string();
        for name in [PrecisionName::F32, PrecisionName::Bf16] {
            let says = format!("--loss-scale: belongs to --precision f16, not to {}", name.word());
            assert!(refused(PrecisionArgs { loss_scale: Some(2.0), ..args(name) }).contains(&says));
            let steps = PrecisionArgs { loss_scale_steps: Some(2), ..args(name) };
            assert!(refused(steps).contains("--loss-scale-steps: belongs to --precision f16"));
        }
        for scale in [0.0, 0.5, -2.0, 3.0, f64::NAN, f64::INFINITY] {
            let scale = PrecisionArgs { loss_scale: Some(scale), ..args(PrecisionName::F16) };
            assert!(refused(scale).contains("wanted a power of two"));
        }
        let never = PrecisionArgs { loss_scale_steps: Some(0), ..args(PrecisionName::F16) };
        assert!(refused(never).contains("--loss-scale-steps 0: wanted at least 1"));
    }
}
