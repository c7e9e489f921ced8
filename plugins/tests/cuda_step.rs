//! The operators of a training step on an emulated CUDA driver: the tests of `it` once more, with sessions whose operators are those of
//! the CUDA provider. No GPU is involved. A program of its own: the emulated driver stands in the process under the real one's name.
#![cfg(target_os = "linux")]

#[path = "common/beside_cpu.rs"]
mod beside_cpu;
/// Step graphs are driven as the crate `pdloss` drives them.
#[path = "../../tests/it/step/driver.rs"]
mod driver;
#[path = "common/emulation.rs"]
mod emulation;
#[path = "common/mod.rs"]
mod here;
#[path = "../../tests/it/runtime.rs"]
mod runtime;
#[path = "it/both.rs"]
mod sides;

use common::session::environment;

/// What tests have in common, but with sessions on the emulated driver.
mod common {
    use pdloss::graph::{build::Element, step::Operators};

    pub(crate) use crate::here::*;

    /// The CUDA provider has no float64.
    pub(crate) const FLOATS: [Element; 1] = [Element::F32];

    /// Convolutions are cuDNN's.
    pub(crate) const OPERATORS: Operators = Operators::Cuda;

    pub(crate) mod session {
        use anyhow::Result;
        use ort::session::builder::SessionBuilder;

        pub(crate) use crate::here::session::*;

        /// A builder whose sessions run the operators of the CUDA provider.
        pub(crate) fn builder() -> Result<SessionBuilder> {
            drop(crate::emulation::Emulation::get());
            crate::emulation::emulated_builder()
        }
    }
}

/// Both spellings side by side, the library's on the emulated driver, in float32.
mod both {
    use pdloss::graph::{build::Element, proto::ModelProto, step::StepOptions};

    pub(crate) use crate::sides::*;

    pub(crate) fn hold_to_standard(
        what: &str,
        backbone: &ModelProto,
        (element, shape): (Element, &[usize]),
        options: &StepOptions,
        tolerance: f64,
    ) -> [ModelProto; 2] {
        if element == Element::F64 {
            return graphs(backbone, options);
        }
        // Sums have another order than on the processor.
        let tolerance = if tolerance == 0.0 { 0.0 } else { tolerance.max(2e-6) };
        crate::sides::hold_to_standard(what, backbone, (element, shape), options, tolerance)
    }
}

#[path = "it/activation.rs"]
mod activation;
#[path = "it/convolution.rs"]
mod convolution;
#[path = "it/normalization.rs"]
mod normalization;
#[path = "it/pools.rs"]
mod pools;
/// What tests of steps are driven by.
mod step {
    pub(crate) use crate::{driver, here::numbers};
}
#[path = "it/update.rs"]
mod update;
