//! What is said of a step's nodes that a device has no kernels for.

use std::collections::BTreeMap;

use pdloss::graph;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::providers::{Kernels, ONNXRUNTIME, OWN, WithoutKernel, without_cuda_kernel};
use pdloss_embed::embedder::Device;

/// How many nodes of the models run on the processor although the device is another, and which; nothing where none does.
///
/// # Errors
/// When a node's inputs contradict each other.
pub(crate) fn said(models: &[&ModelProto], device: Device) -> graph::Result<Option<String>> {
    if device == Device::Cpu {
        return Ok(None);
    }
    let mut found = Kernels::default();
    for model in models {
        let Kernels { nodes, without } = without_cuda_kernel(model, OWN)?;
        found.nodes += nodes;
        found.without.extend(without);
    }
    Ok(sentence(&found))
}

fn sentence(Kernels { nodes, without }: &Kernels) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for WithoutKernel { operator, opset, element, .. } in without {
        let of = element.map_or_else(String::new, |element| format!(" of {element}"));
        let version = if operator.contains('.') { "version" } else { "opset" };
        *counts.entry(format!("{operator}{of} at {version} {opset}")).or_default() += 1;
    }
    let names: Vec<String> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} of the step's {nodes} nodes have no CUDA kernel by the table of onnxruntime-gpu {ONNXRUNTIME}, which runs them on the CPU \
             and copies what they take and give: {}",
            without.len(),
            names.join(", ")
        )
    })
}
