//! `PDLossGrad` and `DLossGrad`: check shapes, compute from what the forward saved, write the gradients. And
//! `PDLossWithGrad`, which computes both in one pass.

use ndarray::ArrayViewMut2;
use pdloss::loss::{Config, GradientsMut};

use crate::{
    cpu::{self, Element, Inputs, Label},
    error::{Error, Result},
    forward::{inputs, write_loss},
    ort_api::Run,
    schema::Signature,
    state,
};

pub(crate) fn run<T: Element, L: Label>(signature: &Signature, run: &Run<'_>) -> Result<()> {
    let inputs = inputs::<T, L>(signature, run)?;
    let upstream = upstream::<T>(signature, run)?.ok_or_else(|| Error::tensor("loss_grad", "one number", "none"))?;
    let saved = run.required(signature.input("saved"), "saved")?.as_slice::<f64>()?;
    let (batch, dim) = inputs.embeddings.dim();
    let classes = inputs.proxies.map(|proxies| proxies.nrows());
    let state = state::unpack::<T>(saved, batch, classes, dim)?;
    let mut gradients = Gradients::new(signature, &inputs, run)?;
    cpu::backward(&state, upstream, &inputs, gradients.views()?, run)
}

pub(crate) fn run_with_loss<T: Element, L: Label>(signature: &Signature, config: &Config, run: &Run<'_>) -> Result<()> {
    let inputs = inputs::<T, L>(signature, run)?;
    let mut gradients = Gradients::new(signature, &inputs, run)?;
    let upstream = upstream::<T>(signature, run)?.unwrap_or(1.0);
    let (loss, moments) = cpu::forward_backward(config, upstream, &inputs, gradients.views()?, run)?;
    write_loss::<T>(loss, &moments, run)
}

/// What the gradients are multiplied with, where the node is given it.
fn upstream<T: Element>(signature: &Signature, run: &Run<'_>) -> Result<Option<f64>> {
    let Some(upstream) = run.input(signature.input("loss_grad"), "loss_grad")? else { return Ok(None) };
    match upstream.as_slice::<T>()? {
        &[value] => Ok(Some(value.to_f64())),
        _ => Err(Error::tensor("loss_grad", "one number", format!("{:?}", upstream.shape()))),
    }
}

/// Where the gradients go: the host's memory, or ours for one that nobody asked for.
struct Gradients<'a, T> {
    embeddings: Target<'a, T>,
    proxies: Target<'a, T>,
}

struct Target<'a, T> {
    shape: (usize, usize),
    host: Option<&'a mut [T]>,
    own: Vec<T>,
}

impl<'a, T: Element> Gradients<'a, T> {
    fn new<L: Label>(signature: &Signature, inputs: &Inputs<'_, T, L>, run: &Run<'a>) -> Result<Self> {
        let target = |name: &str, shape: (usize, usize)| -> Result<Target<'a, T>> {
            let index = signature.output(name);
            let host = index.map(|index| run.output_of_zeros::<T>(index, &[shape.0, shape.1])).transpose()?.flatten();
            let own = if host.is_some() { Vec::new() } else { vec![T::default(); shape.0 * shape.1] };
            Ok(Target { shape, host, own })
        };
        let proxies = inputs.proxies.map_or((0, 0), |proxies| proxies.dim());
        Ok(Self {
            embeddings: target("embeddings_grad", inputs.embeddings.dim())?,
            proxies: target("proxies_grad", proxies)?,
        })
    }

    fn views(&mut self) -> Result<GradientsMut<'_, T>> {
        Ok(GradientsMut { embeddings: self.embeddings.view()?, proxies: self.proxies.view()? })
    }
}

impl<T: Element> Target<'_, T> {
    fn view(&mut self) -> Result<ArrayViewMut2<'_, T>> {
        let memory = self.host.as_deref_mut().unwrap_or(&mut self.own);
        ArrayViewMut2::from_shape(self.shape, memory).map_err(|error| Error::Loss(error.to_string()))
    }
}
