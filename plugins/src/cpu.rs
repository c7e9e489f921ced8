//! The CPU backend: the crate `pdloss` on ONNX Runtime's threads.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use ndarray::{ArrayView2, NdFloat};
use pdloss::loss::{self, Batch, Config, Executor, GradientsMut, Moments, Real, Samples};
use pdloss_ranks::Number;

use crate::{
    error::{Error, Result},
    ort_api::{Plain, Run, Threads},
    state::State,
};

/// A type of embeddings that both sides know.
pub(crate) trait Element: Plain + Real + Number {}
impl Element for f32 {}
impl Element for f64 {}

/// A type of labels that both sides know.
pub(crate) trait Label: Plain + loss::Label {}
impl Label for i32 {}
impl Label for i64 {}

/// A number that is computed with, one by one.
pub(crate) trait Float: Plain + NdFloat {
    /// The nearest.
    fn of(value: f64) -> Self {
        Self::from(value).unwrap_or_else(Self::nan)
    }

    /// The same in float64.
    fn wide(self) -> f64 {
        self.to_f64().unwrap_or(f64::NAN)
    }
}
impl Float for f32 {}
impl Float for f64 {}

/// What every operator reads: views of the host's memory, with shapes that agree.
pub(crate) struct Inputs<'a, T, L> {
    pub(crate) embeddings: ArrayView2<'a, T>,
    /// Of the operators that have them.
    pub(crate) proxies: Option<ArrayView2<'a, T>>,
    pub(crate) labels: &'a [L],
}

impl<T: Element, L: Label> Inputs<'_, T, L> {
    fn batch(&self) -> Result<Batch<'_, T, L>> {
        let proxies = self.proxies.ok_or_else(|| Error::tensor("proxies", "a tensor", "none"))?;
        Ok(Batch { embeddings: self.embeddings, proxies, labels: self.labels })
    }

    fn samples(&self) -> Samples<'_, T, L> {
        Samples { embeddings: self.embeddings, labels: self.labels }
    }
}

/// The host's intra-op threads, for the loops of the loss.
struct HostThreads<'a>(Threads<'a>);

impl Executor for HostThreads<'_> {
    /// The host does not tell how many threads the session has. This only decides whether work is cut up; cut up, it runs on
    /// however many there are.
    fn threads(&self) -> usize {
        static CORES: OnceLock<usize> = OnceLock::new();
        *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // The trait has no way to fail. ONNX Runtime's loop only fails before its first step; the panic becomes a status.
        if let Err(error) = self.0.parallel_for(tasks, task) {
            panic!("{error}");
        }
    }
}

/// The host's threads.
pub(crate) fn threads<'a>(run: &'a Run<'_>) -> impl Executor + 'a {
    HostThreads(run.threads())
}

/// Moves each part, with its number, into a task of its own: parts are what tasks write.
pub(crate) fn each<P: Send>(threads: &dyn Executor, parts: impl Iterator<Item = P>, task: impl Fn(usize, P) + Sync) {
    let parts: Vec<_> = parts.map(|part| Mutex::new(Some(part))).collect();
    threads.run(parts.len(), &|index| {
        let part = parts[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        task(index, part.expect("an executor calls each task once"));
    });
}

/// Loss, moments and the state for the gradient.
pub(crate) fn forward<T: Element, L: Label>(
    config: &Config,
    inputs: &Inputs<'_, T, L>,
    run: &Run<'_>,
) -> Result<(f64, Moments, State<T>)> {
    let threads = HostThreads(run.threads());
    if inputs.proxies.is_some() {
        let forward = loss::forward(config, &inputs.batch()?, &threads).map_err(Error::loss)?;
        return Ok((forward.loss, forward.moments, State::Proxies(forward.saved)));
    }
    let forward = loss::d_loss(config, &inputs.samples(), &threads).map_err(Error::loss)?;
    Ok((forward.loss, forward.moments, State::Pairs(forward.saved)))
}

/// Gradients of `upstream * loss`, of the embeddings and of the proxies where there are any.
pub(crate) fn backward<T: Element, L: Label>(
    state: &State<T>,
    upstream: f64,
    inputs: &Inputs<'_, T, L>,
    out: GradientsMut<'_, T>,
    run: &Run<'_>,
) -> Result<()> {
    let threads = HostThreads(run.threads());
    let written = match state {
        State::Proxies(saved) => loss::backward_into(saved, upstream, &inputs.batch()?, out, &threads),
        State::Pairs(saved) => loss::d_loss_backward_into(saved, upstream, &inputs.samples(), out.embeddings, &threads),
    };
    written.map_err(Error::loss)
}

/// Loss, moments and gradients of `upstream * loss` in one pass.
pub(crate) fn forward_backward<T: Element, L: Label>(
    config: &Config,
    upstream: f64,
    inputs: &Inputs<'_, T, L>,
    out: GradientsMut<'_, T>,
    run: &Run<'_>,
) -> Result<(f64, Moments)> {
    let threads = HostThreads(run.threads());
    loss::forward_backward_into(config, upstream, &inputs.batch()?, out, &threads).map_err(Error::loss)
}
