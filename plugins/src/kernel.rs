//! A node of the graph: its attributes, checked once when the session is made, and the dispatch on its types.

use std::sync::atomic::AtomicBool;

use pdloss::loss::Config;

use crate::{
    activation::{self, Activation},
    backward, collective,
    convolution::{self, Convolution},
    cpu::{Element, Label},
    cuda,
    error::{Error, Result},
    forward,
    normalization::{self, Normalization},
    ort_api::{NodeInfo, Place, Run, TypeCode, type_name},
    schema::{Operator, Signature},
    settings, sharded,
    types::{ElementType, LabelType, Provider},
    update,
};

/// What a node's attributes say.
#[derive(Debug)]
enum Settings {
    Loss(Config),
    Norm,
    Update(update::Rule),
    Activation(Activation),
    Normalization(Normalization),
    Convolution(Convolution),
}

impl Settings {
    /// Those of the operators of a step, beside the losses.
    fn of_step(&self) -> Option<cuda::step::Settings<'_>> {
        Some(match self {
            Self::Loss(_) => return None,
            Self::Norm => cuda::step::Settings::Norm,
            Self::Update(rule) => cuda::step::Settings::Update(rule),
            Self::Activation(of) => cuda::step::Settings::Activation(*of),
            Self::Normalization(of) => cuda::step::Settings::Normalization(of),
            Self::Convolution(of) => cuda::step::Settings::Convolution(of),
        })
    }
}

/// One node of a session. It holds nothing that a run changes, so that runs may overlap.
#[derive(Debug)]
pub(crate) struct Kernel {
    signature: &'static Signature,
    element: ElementType,
    label: LabelType,
    settings: Settings,
    /// On a device.
    place: Option<Place>,
    /// Whether the ranks have compared what they exchange here.
    compared: AtomicBool,
}

impl Kernel {
    pub(crate) fn new(
        provider: Provider,
        signature: &'static Signature,
        element: ElementType,
        label: LabelType,
        node: &NodeInfo<'_>,
    ) -> Result<Self> {
        if signature.operator.is_collective() {
            collective::join()?;
        }
        let settings = match signature.operator {
            Operator::GradientNorm => Settings::Norm,
            Operator::Update => Settings::Update(update::Rule::read(node)?),
            Operator::ActivationGrad => Settings::Activation(Activation::read(node)?),
            Operator::BatchNormTraining | Operator::BatchNormGrad | Operator::LayerNormGrad => {
                Settings::Normalization(Normalization::read(node)?)
            }
            Operator::ConvWeightGrad | Operator::ConvInputGrad | Operator::MaxPoolGrad | Operator::WinogradConv => {
                let of = Convolution::read(node)?;
                if signature.operator == Operator::WinogradConv {
                    of.check_for_winograd()?;
                }
                Settings::Convolution(of)
            }
            operator => Settings::Loss(settings::read(node, operator)?),
        };
        if let (Provider::Cuda, Some(settings)) = (provider, settings.of_step()) {
            cuda::step::check(signature.operator, settings)?;
        }
        let place = (provider == Provider::Cuda).then(|| node.place()).transpose()?;
        Ok(Self { signature, element, label, settings, place, compared: AtomicBool::new(false) })
    }

    pub(crate) fn label(&self) -> &'static str {
        self.signature.label()
    }

    pub(crate) fn run(&self, run: &Run<'_>) -> Result<()> {
        match self.signature.operator {
            Operator::AllGather => return collective::all_gather(run),
            Operator::AllReduce => return collective::all_reduce(run, &self.compared),
            _ => {}
        }
        if let (Some(place), Some(settings)) = (&self.place, self.settings.of_step()) {
            return cuda::step::run(self.signature, settings, self.element, place, run);
        }
        let config = match &self.settings {
            Settings::Loss(config) => config,
            Settings::Activation(of) => return activation::run(self.signature, *of, self.element, run),
            Settings::Norm if self.element == ElementType::F32 => return update::norm::run::<f32>(run),
            Settings::Norm => return update::norm::run::<f64>(run),
            Settings::Update(rule) if self.element == ElementType::F32 => {
                return update::run::<f32>(self.signature, rule, run);
            }
            Settings::Update(rule) => return update::run::<f64>(self.signature, rule, run),
            Settings::Normalization(of) if self.element == ElementType::F32 => {
                return normalization::run::<f32>(self.signature, of, run);
            }
            Settings::Normalization(of) => return normalization::run::<f64>(self.signature, of, run),
            Settings::Convolution(of) if self.element == ElementType::F32 => {
                return convolution::run::<f32>(self.signature, of, run);
            }
            Settings::Convolution(of) => return convolution::run::<f64>(self.signature, of, run),
        };
        if let Some(place) = &self.place {
            return cuda::run(self.signature, config, (self.element, self.label), place, run);
        }
        match (self.element, self.label) {
            (ElementType::F32, LabelType::I64) => self.run_as::<f32, i64>(config, run),
            (ElementType::F32, LabelType::I32) => self.run_as::<f32, i32>(config, run),
            (ElementType::F64, LabelType::I64) => self.run_as::<f64, i64>(config, run),
            (ElementType::F64, LabelType::I32) => self.run_as::<f64, i32>(config, run),
            (ElementType::F16 | ElementType::BF16, _) => {
                let got = type_name(self.element.code() as TypeCode);
                Err(Error::tensor("embeddings", "float32 or float64 on the CPU", got))
            }
        }
    }

    fn run_as<T: Element, L: Label>(&self, config: &Config, run: &Run<'_>) -> Result<()> {
        match self.signature.operator {
            Operator::PdLoss | Operator::DLoss => forward::run::<T, L>(self.signature, config, run),
            Operator::PdLossGrad | Operator::DLossGrad => backward::run::<T, L>(self.signature, run),
            Operator::PdLossWithGrad => backward::run_with_loss::<T, L>(self.signature, config, run),
            Operator::PdLossOverRanks => sharded::run::<T, L>(self.signature, config, run),
            _ => unreachable!("they have been run"),
        }
    }
}
