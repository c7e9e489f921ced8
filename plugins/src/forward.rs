//! `PDLoss` and `DLoss`: check shapes, compute, write the outputs.

use crate::{
    cpu::{self, Element, Label, Settings},
    error::{Error, Result},
    ort_api::{Plain, Run, Tensor},
    schema::{MOMENTS, Signature},
};

pub(crate) fn pd_loss<T: Element, L: Label>(signature: &Signature, settings: &Settings, run: &Run<'_>) -> Result<()> {
    let inputs = Inputs::<T, L>::read(signature, run, true)?;
    let state = cpu::forward(settings, &inputs, run)?;
    write(&state, run)
}

pub(crate) fn d_loss<T: Element, L: Label>(signature: &Signature, settings: &Settings, run: &Run<'_>) -> Result<()> {
    let inputs = Inputs::<T, L>::read(signature, run, false)?;
    let state = cpu::forward(settings, &inputs, run)?;
    write(&state, run)
}

/// The inputs that forward and gradient share, with shapes that agree.
pub(crate) struct Inputs<'a, T, L> {
    pub(crate) embeddings: &'a [T],
    /// Empty for the operators without proxies.
    pub(crate) proxies: Option<&'a [T]>,
    pub(crate) labels: &'a [L],
    pub(crate) batch: usize,
    pub(crate) classes: usize,
    pub(crate) dim: usize,
}

impl<'a, T: Element, L: Label> Inputs<'a, T, L> {
    pub(crate) fn read(signature: &Signature, run: &Run<'a>, with_proxies: bool) -> Result<Self> {
        let embeddings = run.required(signature.input("embeddings"), "embeddings")?;
        let labels = run.required(signature.input("labels"), "labels")?;
        let [batch, dim] = matrix(&embeddings, "[batch, dim]")?;
        let given = labels.shape();
        if given != [batch] {
            return Err(Error::tensor(
                "labels",
                format!("[{batch}], one for each row of embeddings"),
                format!("{given:?}"),
            ));
        }
        let mut classes = 0;
        let mut proxies = None;
        if with_proxies {
            let tensor = run.required(signature.input("proxies"), "proxies")?;
            let [rows, columns] = matrix(&tensor, "[classes, dim]")?;
            if columns != dim {
                let wanted = format!("[classes, {dim}], as wide as embeddings");
                return Err(Error::tensor("proxies", wanted, format!("{:?}", tensor.shape())));
            }
            classes = rows;
            proxies = Some(tensor.as_slice()?);
        }
        Ok(Self { embeddings: embeddings.as_slice()?, proxies, labels: labels.as_slice()?, batch, classes, dim })
    }
}

fn matrix(tensor: &Tensor<'_>, wanted: &str) -> Result<[usize; 2]> {
    <[usize; 2]>::try_from(tensor.shape())
        .map_err(|_| Error::tensor(tensor.name(), wanted, format!("{:?}", tensor.shape())))
}

fn write<T: Element>(state: &cpu::State<T>, run: &Run<'_>) -> Result<()> {
    if let Some(loss) = run.output::<T>(0, &[])? {
        loss[0] = state.loss;
    }
    if let Some(moments) = run.output::<f64>(1, &[MOMENTS])? {
        moments.copy_from_slice(&state.moments);
    }
    copy(&state.saved, 2, run)
}

fn copy<P: Plain>(values: &[P], index: usize, run: &Run<'_>) -> Result<()> {
    if let Some(output) = run.output::<P>(index, &[values.len()])? {
        output.copy_from_slice(values);
    }
    Ok(())
}
