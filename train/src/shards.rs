//! State of which each rank has a part: the proxies of its classes, and the optimiser's tensors of these.

use pdloss::graph::head::names::PROXIES;
use pdloss::graph::step::Description;
use pdloss_embed::ranks::world;

use crate::tensor::Tensor;

/// The tensors that lie on several ranks, row after row in the ranks' order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shards(Vec<String>);

impl Shards {
    /// Those of a step, where its classes are spread over the ranks.
    pub(crate) fn of(step: &Description, is_spread: bool) -> Self {
        let of_proxies =
            step.state.iter().filter(|tensor| tensor.name == PROXIES || tensor.of.as_deref() == Some(PROXIES));
        let names = of_proxies.map(|tensor| tensor.name.clone());
        Self(if is_spread && !world().is_alone() { names.collect() } else { Vec::new() })
    }

    /// Whether this tensor is one of them.
    pub(crate) fn hold(&self, name: &str) -> bool {
        self.0.iter().any(|held| held == name)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The state with these tensors whole on the first rank; on the others they have no rows.
    pub(crate) fn whole(&self, mut state: Vec<Tensor>) -> Vec<Tensor> {
        for tensor in state.iter_mut().filter(|tensor| self.hold(&tensor.name)) {
            let parts = world().gather(&tensor.bytes);
            let row = tensor.bytes.len() / tensor.shape[0].max(1);
            tensor.bytes = if world().is_first() { parts.concat() } else { Vec::new() };
            tensor.shape[0] = tensor.bytes.len() / row.max(1);
        }
        state
    }

    /// The first rank's whole state, of which every rank gets its part of these tensors, and all of the others.
    pub(crate) fn spread(&self, mut state: Vec<Tensor>) -> Vec<Tensor> {
        let world = world();
        for tensor in &mut state {
            tensor.bytes = world.broadcast(std::mem::take(&mut tensor.bytes));
            if self.hold(&tensor.name) {
                let row = tensor.shape[1..].iter().product::<usize>() * tensor.size_of_number();
                let share = world.share(tensor.bytes.len() / row.max(1));
                tensor.shape[0] = share.len();
                tensor.bytes = tensor.bytes[share.start * row..share.end * row].to_vec();
            }
        }
        state
    }
}
