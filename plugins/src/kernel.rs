//! A node of the graph: its attributes, checked once when the session is made, and the dispatch on its types.

use std::sync::atomic::AtomicBool;

use pdloss::loss::Config;

use crate::{
    backward, collective,
    cpu::{Element, Label},
    cuda,
    error::{Error, Result},
    forward,
    ort_api::{NodeInfo, Place, Run, TypeCode, type_name},
    schema::{Operator, Signature},
    settings, sharded,
    types::{ElementType, LabelType, Provider},
};

/// One node of a session. It holds nothing that a run changes, so that runs may overlap.
#[derive(Debug)]
pub(crate) struct Kernel {
    signature: &'static Signature,
    element: ElementType,
    label: LabelType,
    config: Config,
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
        let config = settings::read(node, signature.operator)?;
        let place = (provider == Provider::Cuda).then(|| node.place()).transpose()?;
        Ok(Self { signature, element, label, config, place, compared: AtomicBool::new(false) })
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
        if let Some(place) = &self.place {
            return cuda::run(self.signature, &self.config, (self.element, self.label), place, run);
        }
        match (self.element, self.label) {
            (ElementType::F32, LabelType::I64) => self.run_as::<f32, i64>(run),
            (ElementType::F32, LabelType::I32) => self.run_as::<f32, i32>(run),
            (ElementType::F64, LabelType::I64) => self.run_as::<f64, i64>(run),
            (ElementType::F64, LabelType::I32) => self.run_as::<f64, i32>(run),
            (ElementType::F16 | ElementType::BF16, _) => {
                let got = type_name(self.element.code() as TypeCode);
                Err(Error::tensor("embeddings", "float32 or float64 on the CPU", got))
            }
        }
    }

    fn run_as<T: Element, L: Label>(&self, run: &Run<'_>) -> Result<()> {
        match self.signature.operator {
            Operator::PdLoss | Operator::DLoss => forward::run::<T, L>(self.signature, &self.config, run),
            Operator::PdLossGrad | Operator::DLossGrad => backward::run::<T, L>(self.signature, run),
            Operator::PdLossWithGrad => backward::run_with_loss::<T, L>(self.signature, &self.config, run),
            Operator::PdLossOverRanks => sharded::run::<T, L>(self.signature, &self.config, run),
            Operator::AllGather | Operator::AllReduce => unreachable!("exchanges know no such types"),
        }
    }
}
