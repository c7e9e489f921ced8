//! `PDLossGrad` and `DLossGrad`: check shapes, compute from what the forward saved, write the gradients.

use crate::{
    cpu::{self, Element, Label, Settings},
    error::{Error, Result},
    forward::Inputs,
    ort_api::Run,
    schema::Signature,
};

pub(crate) fn pd_loss<T: Element, L: Label>(signature: &Signature, settings: &Settings, run: &Run<'_>) -> Result<()> {
    gradient::<T, L>(signature, settings, run, true)
}

pub(crate) fn d_loss<T: Element, L: Label>(signature: &Signature, settings: &Settings, run: &Run<'_>) -> Result<()> {
    gradient::<T, L>(signature, settings, run, false)
}

fn gradient<T: Element, L: Label>(
    signature: &Signature,
    settings: &Settings,
    run: &Run<'_>,
    with_proxies: bool,
) -> Result<()> {
    let inputs = Inputs::<T, L>::read(signature, run, with_proxies)?;
    let upstream = run.required(signature.input("loss_grad"), "loss_grad")?;
    let &[upstream] = upstream.as_slice::<T>()? else {
        return Err(Error::tensor("loss_grad", "one number", format!("{:?}", upstream.shape())));
    };
    let saved = run.required(signature.input("saved"), "saved")?.as_slice::<f64>()?;
    let embeddings = run.output::<T>(0, &[inputs.batch, inputs.dim])?.unwrap_or_default();
    let proxies = if with_proxies { run.output::<T>(1, &[inputs.classes, inputs.dim])? } else { None };
    cpu::backward(settings, &inputs, saved, upstream, embeddings, proxies.unwrap_or_default(), run)
}
