//! `PDLoss` and `DLoss`: check shapes, compute, write the outputs.

use ndarray::ArrayView2;
use pdloss::loss::{Config, Moments};

use crate::{
    cpu::{self, Element, Inputs, Label},
    error::{Error, Result},
    ort_api::{Run, Tensor},
    schema::{MOMENTS, Signature},
    state,
};

pub(crate) fn run<T: Element, L: Label>(signature: &Signature, config: &Config, run: &Run<'_>) -> Result<()> {
    let inputs = inputs::<T, L>(signature, run)?;
    let (loss, moments, state) = cpu::forward(config, &inputs, run)?;
    write_loss::<T>(loss, &moments, run)?;
    let Some(index) = signature.output("saved") else { return Ok(()) };
    if run.wants(index)? {
        let saved = state::pack(state);
        if let Some(output) = run.output::<f64>(index, &[saved.len()])? {
            output.write_copy_of_slice(&saved);
        }
    }
    Ok(())
}

/// The inputs that forward and gradient share, on whichever device, with shapes that agree.
pub(crate) struct Given<'a> {
    pub(crate) embeddings: Tensor<'a>,
    /// Of the operators that have them.
    pub(crate) proxies: Option<Tensor<'a>>,
    pub(crate) labels: Tensor<'a>,
    pub(crate) batch: usize,
    /// None without proxies.
    pub(crate) classes: Option<usize>,
    pub(crate) dim: usize,
}

impl<'a> Given<'a> {
    pub(crate) fn of(signature: &Signature, run: &Run<'a>) -> Result<Self> {
        let tensor = |name| run.required(signature.input(name), name);
        let embeddings = tensor("embeddings")?;
        let &[batch, dim] = embeddings.shape() else { return Err(wrong(&embeddings, "[batch, dim]")) };
        let labels = tensor("labels")?;
        if labels.shape() != [batch] {
            return Err(wrong(&labels, format!("[{batch}], one for each row of embeddings")));
        }
        let mut proxies = None;
        if signature.has_input("proxies") {
            let given = tensor("proxies")?;
            match given.shape() {
                &[classes, width] if width == dim => proxies = Some((classes, given)),
                [_, _] => return Err(wrong(&given, format!("[classes, {dim}], as wide as embeddings"))),
                _ => return Err(wrong(&given, "[classes, dim]")),
            }
        }
        let (classes, proxies) = proxies.unzip();
        Ok(Self { embeddings, proxies, labels, batch, classes, dim })
    }
}

fn wrong(tensor: &Tensor<'_>, wanted: impl Into<String>) -> Error {
    Error::tensor(tensor.name(), wanted, format!("{:?}", tensor.shape()))
}

/// The same as views of the CPU's memory.
pub(crate) fn inputs<'a, T: Element, L: Label>(signature: &Signature, run: &Run<'a>) -> Result<Inputs<'a, T, L>> {
    let given = Given::of(signature, run)?;
    let proxies = given.proxies.as_ref().map(matrix::<T>).transpose()?;
    Ok(Inputs { embeddings: matrix::<T>(&given.embeddings)?, proxies, labels: given.labels.as_slice()? })
}

fn matrix<'a, T: Element>(tensor: &Tensor<'a>) -> Result<ArrayView2<'a, T>> {
    let &[rows, columns] = tensor.shape() else { return Err(wrong(tensor, "two axes")) };
    ArrayView2::from_shape((rows, columns), tensor.as_slice()?).map_err(|_| wrong(tensor, "two axes"))
}

/// Writes the first two outputs of the operators that compute the loss.
pub(crate) fn write_loss<T: Element>(loss: f64, moments: &Moments, run: &Run<'_>) -> Result<()> {
    if let Some([output]) = run.output::<T>(0, &[])? {
        output.write(T::from_f64(loss));
    }
    if let Some(output) = run.output::<f64>(1, &[MOMENTS])? {
        let bad_labels = 0.0; // on the CPU a bad label is an error, so there is none
        for (output, value) in output.iter_mut().zip(moments.to_array().into_iter().chain([bad_labels])) {
            output.write(value);
        }
    }
    Ok(())
}
