//! The operators as data: names, inputs, outputs, attributes, and the rule that types and shapes follow.
//!
//! Tensors and attributes keep one order for every provider. Integers come last among the inputs, because ONNX Runtime's
//! training matches a gradient node's outputs to the forward node's inputs by position.

use std::ffi::CStr;

use crate::{
    error::{Error, Result},
    ort_api::{BFLOAT16, FLOAT16, Inference, Length, Plain, TypeCode, type_name},
    types::LabelType,
};

/// The operators' domain.
pub const DOMAIN: &CStr = c"com.pdloss";

/// The version of the operators in [`DOMAIN`] that this library implements.
pub const VERSION: i32 = 1;

/// One operator of this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `PDLoss(embeddings, proxies, labels) -> (loss, moments, saved)`
    PdLoss,
    /// `PDLossGrad(loss_grad, embeddings, proxies, labels, moments, saved) -> (embeddings_grad, proxies_grad)`
    PdLossGrad,
    /// `PDLossWithGrad(embeddings, proxies, labels, loss_grad) -> (loss, moments, embeddings_grad, proxies_grad)`, `loss_grad` being
    /// optional: what both gradients are multiplied with before they are rounded
    PdLossWithGrad,
    /// `DLoss(embeddings, labels) -> (loss, moments, saved)`
    DLoss,
    /// `DLossGrad(loss_grad, embeddings, labels, moments, saved) -> embeddings_grad`
    DLossGrad,
    /// `AllGather(token, rows) -> (token, rows of all ranks, place of the own first row)`
    AllGather,
    /// `AllReduce(token, values...) -> (token, sums over all ranks...)`
    AllReduce,
    /// `PDLossOverRanks(token, embeddings, proxies, labels) -> (token, loss, moments, embeddings_grad, proxies_grad)`, the proxies
    /// being those of this rank's classes
    PdLossOverRanks,
    /// `GradientNorm(tensors...) -> norm`: of all gradients together
    GradientNorm,
    /// `Update(learning_rate, step, gradient_norm, settings, tensors...) -> (tensors...)`: the optimiser's step of all weights
    Update,
    /// `ActivationGrad(grad, kept, second) -> input_grad`, `second` being optional
    ActivationGrad,
    /// `BatchNormTraining(x, scale, bias, running_mean, running_variance) -> (y, mean, variance, next_mean, next_variance)`
    BatchNormTraining,
    /// `BatchNormGrad(grad, x, scale, mean, variance) -> (x_grad, scale_grad, bias_grad)`
    BatchNormGrad,
    /// `LayerNormGrad(grad, x, scale, mean, inverse_deviation) -> (x_grad, scale_grad, bias_grad)`
    LayerNormGrad,
    /// `ConvWeightGrad(grad, x) -> weight_grad`
    ConvWeightGrad,
    /// `ConvInputGrad(grad, weights) -> x_grad`
    ConvInputGrad,
    /// `MaxPoolGrad(grad, x) -> x_grad`
    MaxPoolGrad,
    /// `WinogradConv(x, weights, bias) -> y`, `bias` being optional: on the processor alone
    WinogradConv,
}

impl Operator {
    /// Whether ranks exchange something, which is made through the processor's memory.
    pub(crate) fn is_collective(self) -> bool {
        matches!(self, Self::AllGather | Self::AllReduce | Self::PdLossOverRanks)
    }

    /// Whether the host need not know of which type its numbers are: they are looked at when the node runs.
    pub(crate) fn is_untyped(self) -> bool {
        matches!(self, Self::AllGather | Self::AllReduce)
    }
}

/// What a tensor of an operator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers of the operator's own type: float32, on the CPU also float64, on CUDA also float16 and bfloat16.
    Element,
    /// Class numbers, int64 or int32.
    Label,
    /// float64 whatever the operator's type: moments and sums.
    Double,
    /// float32 whatever the operator's type: a learning rate.
    Single,
    /// int64: a number of steps, and what puts the exchanges between ranks in order.
    Token,
    /// Whatever the node is given.
    Any,
}

/// The length of a tensor along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Samples in the batch.
    Batch,
    /// Classes, one proxy each.
    Classes,
    /// Length of an embedding.
    Dim,
    /// This many.
    Fixed(i64),
    /// Known when the node runs.
    Free,
    /// As many axes as the tensor has: all are known when the node runs.
    Rest,
}

/// One input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in messages and in the documentation; ONNX matches by position.
    pub name: &'static str,
    /// Its element type.
    pub kind: Kind,
    /// Its shape.
    pub shape: &'static [Axis],
    /// Whether a node may leave it out.
    pub optional: bool,
    /// Whether there may be more of it, all of one type: the last one.
    pub variadic: bool,
    /// Whether it lies in the processor's memory wherever the node runs: a launch says it to the device.
    pub on_host: bool,
}

/// An operator's name, inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which operator it is.
    pub operator: Operator,
    /// Its name in a graph.
    pub name: &'static CStr,
    /// In order.
    pub inputs: &'static [Port],
    /// In order.
    pub outputs: &'static [Port],
}

const fn port(name: &'static str, kind: Kind, shape: &'static [Axis]) -> Port {
    Port { name, kind, shape, optional: false, variadic: false, on_host: false }
}

const fn optional(name: &'static str, kind: Kind, shape: &'static [Axis]) -> Port {
    Port { name, kind, shape, optional: true, variadic: false, on_host: false }
}

const fn required(port: Port) -> Port {
    Port { optional: false, ..port }
}

/// How many numbers the moments output has: mu_genuine, mu_impostor, var_genuine, var_impostor, d', n_genuine,
/// n_impostor, bad labels.
pub const MOMENTS: usize = 8;

const LOSS: Port = port("loss", Kind::Element, &[]);
const LOSS_GRAD: Port = port("loss_grad", Kind::Element, &[]);
const LOSS_GRAD_IN: Port = optional("loss_grad", Kind::Element, &[]);
const EMBEDDINGS: Port = port("embeddings", Kind::Element, &[Axis::Batch, Axis::Dim]);
const PROXIES: Port = port("proxies", Kind::Element, &[Axis::Classes, Axis::Dim]);
const LABELS: Port = port("labels", Kind::Label, &[Axis::Batch]);
const MOMENTS_IN: Port = port("moments", Kind::Double, &[Axis::Fixed(8)]);
const MOMENTS_OUT: Port = optional("moments", Kind::Double, &[Axis::Fixed(8)]);
const SAVED_IN: Port = port("saved", Kind::Double, &[Axis::Free]);
const SAVED_OUT: Port = optional("saved", Kind::Double, &[Axis::Free]);
const EMBEDDINGS_GRAD: Port = optional("embeddings_grad", Kind::Element, &[Axis::Batch, Axis::Dim]);
const PROXIES_GRAD: Port = optional("proxies_grad", Kind::Element, &[Axis::Classes, Axis::Dim]);

const TOKEN: Port = port("token", Kind::Token, &[]);
const FIRST: Port = optional("first", Kind::Token, &[]);
const ROWS: Port = port("rows", Kind::Any, &[Axis::Rest]);
const VALUES: Port = Port { variadic: true, ..port("values", Kind::Any, &[Axis::Rest]) };

const LEARNING_RATE: Port = port("learning_rate", Kind::Single, &[]);
const STEP: Port = port("step", Kind::Token, &[]);
const GRADIENT_NORM: Port = port("gradient_norm", Kind::Element, &[]);
const SETTINGS: Port = Port { on_host: true, ..port("settings", Kind::Double, &[Axis::Free, Axis::Fixed(3)]) };
const NORM: Port = port("norm", Kind::Element, &[]);
const GRAD: Port = port("grad", Kind::Element, &[Axis::Rest]);
const KEPT: Port = port("kept", Kind::Element, &[Axis::Rest]);
const SECOND: Port = optional("second", Kind::Element, &[Axis::Rest]);
const INPUT_GRAD: Port = port("input_grad", Kind::Element, &[Axis::Rest]);
const X: Port = port("x", Kind::Element, &[Axis::Rest]);
const Y: Port = port("y", Kind::Element, &[Axis::Rest]);
const SCALE: Port = port("scale", Kind::Element, &[Axis::Rest]);
const BIAS: Port = port("bias", Kind::Element, &[Axis::Free]);
const BIAS_IN: Port = optional("bias", Kind::Element, &[Axis::Free]);
const MEAN: Port = port("mean", Kind::Element, &[Axis::Rest]);
const VARIANCE: Port = port("variance", Kind::Element, &[Axis::Free]);
const INVERSE_DEVIATION: Port = port("inverse_deviation", Kind::Element, &[Axis::Rest]);
const RUNNING_MEAN: Port = port("running_mean", Kind::Element, &[Axis::Free]);
const RUNNING_VARIANCE: Port = port("running_variance", Kind::Element, &[Axis::Free]);
const NEXT_MEAN: Port = optional("next_mean", Kind::Element, &[Axis::Free]);
const NEXT_VARIANCE: Port = optional("next_variance", Kind::Element, &[Axis::Free]);
const X_GRAD: Port = port("x_grad", Kind::Element, &[Axis::Rest]);
const SCALE_GRAD: Port = optional("scale_grad", Kind::Element, &[Axis::Rest]);
const BIAS_GRAD: Port = optional("bias_grad", Kind::Element, &[Axis::Rest]);
const WEIGHTS: Port = port("weights", Kind::Element, &[Axis::Rest]);
const WEIGHT_GRAD: Port = port("weight_grad", Kind::Element, &[Axis::Rest]);
const TENSORS: Port = Port { variadic: true, ..port("tensors", Kind::Element, &[Axis::Rest]) };

/// Every operator of this library.
pub const OPERATORS: &[Signature] = &[
    Signature {
        operator: Operator::PdLoss,
        name: c"PDLoss",
        inputs: &[EMBEDDINGS, PROXIES, LABELS],
        outputs: &[LOSS, MOMENTS_OUT, SAVED_OUT],
    },
    Signature {
        operator: Operator::PdLossGrad,
        name: c"PDLossGrad",
        inputs: &[LOSS_GRAD, EMBEDDINGS, PROXIES, LABELS, MOMENTS_IN, SAVED_IN],
        outputs: &[EMBEDDINGS_GRAD, PROXIES_GRAD],
    },
    Signature {
        operator: Operator::PdLossWithGrad,
        name: c"PDLossWithGrad",
        inputs: &[EMBEDDINGS, PROXIES, LABELS, LOSS_GRAD_IN],
        outputs: &[LOSS, required(MOMENTS_OUT), required(EMBEDDINGS_GRAD), required(PROXIES_GRAD)],
    },
    Signature {
        operator: Operator::DLoss,
        name: c"DLoss",
        inputs: &[EMBEDDINGS, LABELS],
        outputs: &[LOSS, MOMENTS_OUT, SAVED_OUT],
    },
    Signature {
        operator: Operator::DLossGrad,
        name: c"DLossGrad",
        inputs: &[LOSS_GRAD, EMBEDDINGS, LABELS, MOMENTS_IN, SAVED_IN],
        outputs: &[EMBEDDINGS_GRAD],
    },
    Signature {
        operator: Operator::AllGather,
        name: c"AllGather",
        inputs: &[TOKEN, ROWS],
        outputs: &[TOKEN, ROWS, FIRST],
    },
    Signature {
        operator: Operator::AllReduce,
        name: c"AllReduce",
        inputs: &[TOKEN, VALUES],
        outputs: &[TOKEN, VALUES],
    },
    Signature {
        operator: Operator::PdLossOverRanks,
        name: c"PDLossOverRanks",
        inputs: &[TOKEN, EMBEDDINGS, PROXIES, LABELS],
        outputs: &[TOKEN, LOSS, required(MOMENTS_OUT), required(EMBEDDINGS_GRAD), required(PROXIES_GRAD)],
    },
    Signature { operator: Operator::GradientNorm, name: c"GradientNorm", inputs: &[TENSORS], outputs: &[NORM] },
    Signature {
        operator: Operator::Update,
        name: c"Update",
        inputs: &[LEARNING_RATE, STEP, GRADIENT_NORM, SETTINGS, TENSORS],
        outputs: &[TENSORS],
    },
    Signature {
        operator: Operator::ActivationGrad,
        name: c"ActivationGrad",
        inputs: &[GRAD, KEPT, SECOND],
        outputs: &[INPUT_GRAD],
    },
    Signature {
        operator: Operator::BatchNormTraining,
        name: c"BatchNormTraining",
        inputs: &[X, SCALE, BIAS, RUNNING_MEAN, RUNNING_VARIANCE],
        outputs: &[Y, MEAN, VARIANCE, NEXT_MEAN, NEXT_VARIANCE],
    },
    Signature {
        operator: Operator::BatchNormGrad,
        name: c"BatchNormGrad",
        inputs: &[GRAD, X, SCALE, MEAN, VARIANCE],
        outputs: &[X_GRAD, SCALE_GRAD, BIAS_GRAD],
    },
    Signature {
        operator: Operator::LayerNormGrad,
        name: c"LayerNormGrad",
        inputs: &[GRAD, X, SCALE, MEAN, INVERSE_DEVIATION],
        outputs: &[X_GRAD, SCALE_GRAD, BIAS_GRAD],
    },
    Signature {
        operator: Operator::ConvWeightGrad,
        name: c"ConvWeightGrad",
        inputs: &[GRAD, X],
        outputs: &[WEIGHT_GRAD],
    },
    Signature {
        operator: Operator::ConvInputGrad,
        name: c"ConvInputGrad",
        inputs: &[GRAD, WEIGHTS],
        outputs: &[X_GRAD],
    },
    Signature { operator: Operator::MaxPoolGrad, name: c"MaxPoolGrad", inputs: &[GRAD, X], outputs: &[X_GRAD] },
    Signature {
        operator: Operator::WinogradConv,
        name: c"WinogradConv",
        inputs: &[X, WEIGHTS, BIAS_IN],
        outputs: &[Y],
    },
];

impl Signature {
    /// The types of labels that it has a table for: one, where it has no labels.
    pub(crate) fn labels(&self) -> &'static [LabelType] {
        let has_labels = self.inputs.iter().any(|port| port.kind == Kind::Label);
        if has_labels { &[LabelType::I64, LabelType::I32] } else { &[LabelType::I64] }
    }

    /// The operator's name as text.
    pub fn label(&self) -> &'static str {
        self.name.to_str().expect("operators have ASCII names")
    }

    pub(crate) fn has_input(&self, name: &str) -> bool {
        self.inputs.iter().any(|port| port.name == name)
    }

    /// Where the output called `name` stands, if the operator has it.
    pub(crate) fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|port| port.name == name)
    }

    /// Where an input stands.
    ///
    /// # Panics
    /// If the operator has none of this name: then its code and its table disagree.
    pub(crate) fn input(&self, name: &str) -> usize {
        let index = self.inputs.iter().position(|port| port.name == name);
        index.unwrap_or_else(|| panic!("{} has no input {name}", self.label()))
    }
}

/// The lengths that a node's inputs agree on.
#[derive(Default)]
struct Axes {
    batch: Option<(Length, &'static str)>,
    classes: Option<(Length, &'static str)>,
    dim: Option<(Length, &'static str)>,
}

impl Axes {
    fn slot(&mut self, axis: Axis) -> Option<&mut Option<(Length, &'static str)>> {
        match axis {
            Axis::Batch => Some(&mut self.batch),
            Axis::Classes => Some(&mut self.classes),
            Axis::Dim => Some(&mut self.dim),
            Axis::Fixed(_) | Axis::Free | Axis::Rest => None,
        }
    }

    /// Notes a length; two known ones that differ are an error that names both tensors.
    fn unify(&mut self, port: &Port, axis: Axis, length: &Length) -> Result<()> {
        if let (Axis::Fixed(wanted), Length::Known(got)) = (axis, length)
            && wanted != *got
        {
            return Err(Error::tensor(port.name, format!("{wanted} elements"), format!("{got}")));
        }
        let Some(slot) = self.slot(axis) else { return Ok(()) };
        match (&*slot, length) {
            (Some((Length::Known(one), first)), Length::Known(other)) if one != other => {
                let axis = format!("{axis:?}").to_lowercase();
                Err(Error::tensor(port.name, format!("{axis} {one} as {first} has"), format!("{axis} {other}")))
            }
            (Some((Length::Known(_), _)), _) => Ok(()),
            (Some((Length::Named(_), _)), Length::Unknown | Length::Named(_)) => Ok(()),
            _ => {
                *slot = Some((length.clone(), port.name));
                Ok(())
            }
        }
    }

    fn length(&mut self, axis: Axis) -> Length {
        if let Axis::Fixed(length) = axis {
            return Length::Known(length);
        }
        let known = self.slot(axis).and_then(|slot| slot.as_ref());
        known.map_or(Length::Unknown, |(length, _)| length.clone())
    }
}

/// The first output is as this input.
fn copy(graph: &Inference, input: usize) -> Result<()> {
    match graph.input(input)? {
        // A tensor of unknown rank looks like a scalar here. A length that is not known would be declared as -1, which onnxruntime
        // (1.32) takes for a number when it computes shapes ahead; the type follows from the inputs'.
        Some((element, lengths))
            if element != 0 && !lengths.is_empty() && lengths.iter().all(|length| *length != Length::Unknown) =>
        {
            graph.set_output(0, element, &lengths)
        }
        _ => Ok(()),
    }
}

/// Types and shapes of the outputs from those of the inputs; what contradicts itself is refused while the graph is built.
pub(crate) fn infer(signature: &Signature, graph: &Inference) -> Result<()> {
    match signature.operator {
        Operator::AllGather | Operator::AllReduce => {
            return graph.set_output(0, <i64 as Plain>::TYPE as TypeCode, &[]);
        }
        Operator::ActivationGrad => return copy(graph, signature.input("grad")),
        Operator::BatchNormTraining | Operator::BatchNormGrad | Operator::LayerNormGrad | Operator::MaxPoolGrad => {
            return copy(graph, signature.input("x"));
        }
        Operator::Update => return copy(graph, signature.input("tensors")),
        // They follow from attributes, or are one number; the types do from the inputs'.
        Operator::GradientNorm | Operator::ConvWeightGrad | Operator::ConvInputGrad | Operator::WinogradConv => {
            return Ok(());
        }
        _ => {}
    }
    let mut axes = Axes::default();
    let mut element: TypeCode = <f32 as Plain>::TYPE as TypeCode;
    for (index, port) in signature.inputs.iter().enumerate() {
        let Some((found, lengths)) = graph.input(index)? else { continue };
        if port.kind == Kind::Element && found != 0 {
            element = found;
        }
        // A tensor of unknown rank looks like a scalar here: only `run` can check it.
        if lengths.is_empty() {
            continue;
        }
        if lengths.len() != port.shape.len() {
            let wanted = format!("rank {}", port.shape.len());
            return Err(Error::tensor(port.name, wanted, format!("rank {}", lengths.len())));
        }
        for (&axis, length) in port.shape.iter().zip(&lengths) {
            axes.unify(port, axis, length)?;
        }
    }
    let known = [<f32 as Plain>::TYPE as TypeCode, <f64 as Plain>::TYPE as TypeCode, FLOAT16, BFLOAT16];
    if !known.contains(&element) {
        return Err(Error::tensor("embeddings", "float32, float64, float16 or bfloat16", type_name(element)));
    }
    for (index, port) in signature.outputs.iter().enumerate() {
        // The host does not tell how many outputs the node has, and up to 1.24 at least, naming one too many ends the
        // process. Every node has the first; the others' types follow from the tables.
        if index > 0 && port.optional {
            break;
        }
        let lengths: Vec<Length> = port.shape.iter().map(|&axis| axes.length(axis)).collect();
        let code = match port.kind {
            Kind::Element => element,
            Kind::Token => <i64 as Plain>::TYPE as TypeCode,
            _ => <f64 as Plain>::TYPE as TypeCode,
        };
        graph.set_output(index, code, &lengths)?;
    }
    Ok(())
}
