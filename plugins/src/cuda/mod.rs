//! The operators on the CUDA provider: the same mathematics as `pdloss::loss`, as launches on ONNX Runtime's stream.
//!
//! ```text
//! provider (stream, handle) -> driver (kernels) ------+-> queue -> sides, links, tensor -> forward / backward (what is launched when)
//!                              cublas (products) -----+   layout: where the saved state's parts are
//!                              images (compiled kernels), params (what kernels take)
//! ```
//!
//! A run enqueues and returns: it waits for nothing, reads nothing back and allocates only scratch memory of ONNX Runtime's own.
//! Everything the gradient must know, settings included, lies in the saved state on the device. Which path is taken, and so
//! every length, follows from the shapes, so a CUDA graph can capture it.

mod backward;
mod cublas;
mod cudnn;
mod driver;
mod forward;
mod images;
mod layout;
mod links;
mod loaded;
mod params;
mod provider;
mod queue;
mod sides;
pub(crate) mod step;
mod tensor;

use pdloss::loss::Config;

use self::{
    backward::Gradients,
    forward::{Left, Outputs},
    layout::{Layout, Shape},
    params::{Address, Labels},
    queue::{Queue, int},
};
pub(crate) use crate::types::ElementType;
use crate::{
    error::{Error, Result},
    forward::Given,
    ort_api::{Place, Plain, Run, TypeCode},
    schema::{MOMENTS, Operator, Signature},
    types::LabelType,
};

const DOUBLE: TypeCode = <f64 as Plain>::TYPE as TypeCode;
const F64: usize = size_of::<f64>();

impl ElementType {
    /// What the names of its kernels end in.
    fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F64 => "f64",
        }
    }

    /// Bytes of a number.
    fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// As kernels number it.
    fn code_in_kernels(self) -> u32 {
        self as u32
    }
}

/// What a sequence of launches is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    shape: Shape,
    labels: Labels,
}

/// Runs one node.
pub(crate) fn run(
    signature: &Signature,
    config: &Config,
    (element, label): (ElementType, LabelType),
    place: &Place,
    run: &Run<'_>,
) -> Result<()> {
    let given = Given::of(signature, run)?;
    let shape = Shape { batch: given.batch, classes: given.classes, dim: given.dim };
    check(&shape)?;
    let code = element.code() as TypeCode;
    let label_bytes = if label == LabelType::I32 { 4 } else { 8 };
    let labels = Labels {
        values: Address(given.labels.address(label.code() as TypeCode)?),
        bytes: label_bytes,
        count: int(shape.batch)?,
    };
    let problem = Problem { shape, labels };
    let embeddings = Address(given.embeddings.address(code)?);
    let proxies = given.proxies.as_ref().map(|proxies| proxies.address(code).map(Address)).transpose()?;
    let counts = (int(shape.batch)?, int(shape.classes.unwrap_or(shape.batch))?, int(shape.dim)?);
    let layout = |start| Layout::new(start, &shape, (embeddings, proxies), counts);

    let memory = run.memory(place)?;
    let (stream, blas) = provider::open(run)?;
    let queue = Queue::new(stream, Some(blas), memory, element);
    let output = |name: &str, lengths: &[usize], code| -> Result<Option<Address>> {
        let Some(index) = signature.output(name) else { return Ok(None) };
        run.output_tensor(index, lengths)?.map(|tensor| tensor.address(code).map(Address)).transpose()
    };
    let or_scratch = |output: Option<Address>, length| output.map_or_else(|| queue.scratch(length, F64), Ok);
    let gradients = || -> Result<Gradients> {
        let rows = |count: usize| [count, shape.dim];
        Ok(Gradients {
            embeddings: output("embeddings_grad", &rows(shape.batch), code)?,
            proxies: shape.classes.map_or(Ok(None), |classes| output("proxies_grad", &rows(classes), code))?,
        })
    };

    let upstream_of = |required: bool| -> Result<Address> {
        let Some(upstream) = run.input(signature.input("loss_grad"), "loss_grad")? else {
            let missing = || Err(Error::tensor("loss_grad", "one number", "none"));
            return if required { missing() } else { Ok(Address::NULL) };
        };
        if upstream.shape().iter().product::<usize>() != 1 {
            return Err(Error::tensor("loss_grad", "one number", format!("{:?}", upstream.shape())));
        }
        upstream.address(code).map(Address)
    };

    match signature.operator {
        Operator::PdLoss | Operator::DLoss | Operator::PdLossWithGrad => {
            let gram = shape.prefers_gram();
            let loss = or_scratch(output("loss", &[], code)?, 1)?;
            let moments = or_scratch(output("moments", &[MOMENTS], DOUBLE)?, MOMENTS)?;
            let state = or_scratch(output("saved", &[shape.state(gram)], DOUBLE)?, shape.state(gram))?;
            let both = signature.operator == Operator::PdLossWithGrad;
            let left = forward::run(&queue, config, &problem, &layout(state), (gram, both), Outputs { loss, moments })?;
            if both {
                let given = backward::Given { moments, upstream: upstream_of(false)?, left };
                backward::run(&queue, &problem, &layout(state), gram, given, gradients()?)?;
            }
            Ok(())
        }
        Operator::PdLossGrad | Operator::DLossGrad => {
            let input = |name| run.required(signature.input(name), name);
            let (moments, saved) = (input("moments")?, input("saved")?);
            let wrong = |tensor: &str, wanted: String, got: &[usize]| Error::tensor(tensor, wanted, format!("{got:?}"));
            if moments.shape() != [MOMENTS] {
                return Err(wrong("moments", format!("[{MOMENTS}]"), moments.shape()));
            }
            let &[length] = saved.shape() else { return Err(wrong("saved", "one axis".to_owned(), saved.shape())) };
            let gram = shape.gram_of(length).ok_or_else(|| {
                wrong("saved", format!("[{}] or [{}]", shape.state(false), shape.state(true)), saved.shape())
            })?;
            let layout = layout(Address(saved.address(DOUBLE)?));
            let moments = Address(moments.address(DOUBLE)?);
            let given = backward::Given { moments, upstream: upstream_of(true)?, left: Left::default() };
            backward::run(&queue, &problem, &layout, gram, given, gradients()?)
        }
        _ => unreachable!("they are no losses"),
    }
}

fn check(shape: &Shape) -> Result<()> {
    let least = if shape.classes.is_some() { 1 } else { 2 };
    if shape.batch < least || shape.dim == 0 {
        let wanted = format!("[B, D] with B >= {least} and D >= 1");
        return Err(Error::tensor("embeddings", wanted, format!("{:?}", [shape.batch, shape.dim])));
    }
    match shape.classes {
        Some(classes @ ..2) => {
            let wanted = format!("[C, {}] with C >= 2", shape.dim);
            Err(Error::tensor("proxies", wanted, format!("{:?}", [classes, shape.dim])))
        }
        _ => Ok(()),
    }
}
