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
    let index = signature.output("saved");
    if run.wants(index)? {
        let saved = state::pack(state);
        if let Some(output) = run.output::<f64>(index, &[saved.len()])? {
            output.copy_from_slice(&saved);
        }
    }
    Ok(())
}

/// The inputs that forward and gradient share, with shapes that agree.
pub(crate) fn inputs<'a, T: Element, L: Label>(signature: &Signature, run: &Run<'a>) -> Result<Inputs<'a, T, L>> {
    let tensor = |name| run.required(signature.input(name), name);
    let embeddings = matrix::<T>(&tensor("embeddings")?, "[batch, dim]")?;
    let (batch, dim) = embeddings.dim();
    let labels = tensor("labels")?;
    if labels.shape() != [batch] {
        let wanted = format!("[{batch}], one for each row of embeddings");
        return Err(Error::tensor("labels", wanted, format!("{:?}", labels.shape())));
    }
    let mut proxies = None;
    if signature.has_input("proxies") {
        let given = matrix::<T>(&tensor("proxies")?, "[classes, dim]")?;
        if given.ncols() != dim {
            let wanted = format!("[classes, {dim}], as wide as embeddings");
            return Err(Error::tensor("proxies", wanted, format!("{:?}", given.shape())));
        }
        proxies = Some(given);
    }
    Ok(Inputs { embeddings, proxies, labels: labels.as_slice()? })
}

fn matrix<'a, T: Element>(tensor: &Tensor<'a>, wanted: &str) -> Result<ArrayView2<'a, T>> {
    let wrong = || Error::tensor(tensor.name(), wanted, format!("{:?}", tensor.shape()));
    let &[rows, columns] = tensor.shape() else { return Err(wrong()) };
    ArrayView2::from_shape((rows, columns), tensor.as_slice()?).map_err(|_| wrong())
}

/// Writes the first two outputs of the operators that compute the loss.
pub(crate) fn write_loss<T: Element>(loss: f64, moments: &Moments, run: &Run<'_>) -> Result<()> {
    if let Some([output]) = run.output::<T>(0, &[])? {
        *output = T::from_f64(loss);
    }
    if let Some(output) = run.output::<f64>(1, &[MOMENTS])? {
        let (known, bad_labels) = output.split_at_mut(MOMENTS - 1);
        known.copy_from_slice(&moments.to_array());
        bad_labels.fill(0.0); // on the CPU a bad label is an error, so there is none
    }
    Ok(())
}
