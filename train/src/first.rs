//! The state that a run begins with.

use std::path::Path;

use ndarray::Array2;
use pdloss::graph::head::names::PROXIES;
use pdloss::graph::proto::{GraphProto, ModelProto};
use pdloss::graph::step::{Description, export_embedder};
use pdloss::loss::ClassMeans;
use pdloss_embed::embedder::{Embedder, Model};
use pdloss_embed::pipeline::embed_over_ranks;
use pdloss_embed::preprocess::Steps;
use pdloss_embed::ranks::agree;
use pdloss_embed::{Error, Result};
use tempfile::TempDir;

use crate::backbone::of_graph;
use crate::cli::Part;
use crate::images::Images;
use crate::probe::written;
use crate::settings::Settings;
use crate::shards::Shards;
use crate::tensor::Tensor;

/// The state that a step graph brings with it, in the order of its description.
///
/// # Errors
/// [`Error::Model`] where a first value is missing.
pub(crate) fn first_state(step: &ModelProto, model: &Path) -> Result<Vec<Tensor>> {
    let wrong = |problem: String| Error::model(model, problem);
    let description = Description::of(step).map_err(|e| of_graph(model, e))?;
    let initializers = step.graph.as_ref().map_or(&[][..], |GraphProto { initializer, .. }| initializer);
    let tensors = description.state.iter().map(|tensor| {
        let found = initializers.iter().find(|i| i.name() == tensor.name);
        let found =
            found.ok_or_else(|| wrong(format!("its training step brings no first value of {}", tensor.name)))?;
        Tensor::of_proto(found).map_err(wrong)
    });
    tensors.collect()
}

/// The embedder that the run begins with: the model, or what of another run's weights was put into the state, in a folder that lives
/// as long as the answer.
///
/// # Errors
/// Those of writing it and of reading it back.
pub(crate) fn as_it_begins(
    settings: &Settings,
    model: &Model,
    backbone: &ModelProto,
    state: &[Tensor],
) -> Result<(Model, Option<TempDir>)> {
    if !settings.init.as_ref().is_some_and(|init| init.init.contains(&Part::Embedder)) {
        return Ok((model.clone(), None));
    }
    let (model, folder) = written(&embedder_of(settings, backbone, state)?, (&settings.model, &settings.output))?;
    Ok((model, Some(folder)))
}

/// The embedder of a first state.
///
/// # Errors
/// [`Error::Model`] where it lacks a tensor.
pub(crate) fn embedder_of(settings: &Settings, backbone: &ModelProto, state: &[Tensor]) -> Result<ModelProto> {
    let find = |name: &str| state.iter().find(|tensor| tensor.name == name).map(Tensor::to_proto);
    export_embedder(backbone, find).map_err(|e| of_graph(&settings.model, e))
}

/// The mean direction of the embeddings of each class that this rank has.
///
/// # Errors
/// Those of embedding, on every rank.
pub(crate) fn class_means(
    description: &Description,
    model: Model,
    images: &Images,
    settings: &Settings,
    library: &Path,
    shards: &Shards,
) -> Result<Array2<f32>> {
    let preparation = images.preparation();
    let axes = preparation.layout.axes(preparation.recipe.color.channels(), preparation.size);
    let mut embedder = agree(Embedder::open(model, Some(axes), &settings.embedding(library)))?;
    let (recipe, steps) = (&preparation.recipe, Steps::default());
    let embedded = embed_over_ranks(images.data(), recipe, &steps, &mut embedder, settings.threads, false)?;
    let labels: Vec<i64> = embedded.embeddings.rows.iter().map(|row| row.class as i64).collect();
    let classes = description.classes.unwrap_or(0);
    let mut means = ClassMeans::new(classes, description.dim, description.seed, shards.own(classes));
    embedded.embeddings.each_block(&mut |first, rows| {
        let added = means.as_mut().map_or(Ok(()), |means| means.add(rows, &labels[first..first + rows.nrows()]));
        if let Err(error) = added {
            means = Err(error);
        }
    });
    let means = means.map_err(|error| Error::model(&settings.model, format!("{PROXIES}: {error}")));
    agree(means.map(|means| means.proxies()))
}
