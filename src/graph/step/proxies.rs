//! The proxies' first values.

use ndarray::{Array2, ArrayView2};

use super::Description;
use crate::{
    graph::{
        Error, Result,
        build::{Element, floats},
        head::names,
        proto::ModelProto,
    },
    loss::class_mean_proxies,
};

/// Puts the mean direction of each class in place of the random first proxies of a step graph. `embeddings` `[samples, dim]`
/// are the backbone's, of any samples of the classes; a class without samples gets a random proxy.
///
/// # Errors
/// When the model is no step graph with proxies, or shapes or labels do not fit it.
pub fn set_class_mean_proxies(model: &mut ModelProto, embeddings: ArrayView2<'_, f32>, labels: &[i64]) -> Result<()> {
    let description = Description::of(model)?;
    let without = || Error::model(names::PROXIES, format!("the loss {} has none", description.loss.name));
    let classes = description.classes.ok_or_else(without)?;
    if description.loss.settings.get("centers").and_then(serde_json::Value::as_u64).is_some_and(|centers| centers > 1) {
        let reason = format!("the loss {} has several for a class, which would all be equal", description.loss.name);
        return Err(Error::model(names::PROXIES, reason));
    }
    if embeddings.ncols() != description.dim {
        let reason = format!("wanted {} numbers a row, got {}", description.dim, embeddings.ncols());
        return Err(Error::model("embeddings", reason));
    }
    let proxies: Array2<f32> = class_mean_proxies(embeddings, labels, classes, description.seed)
        .map_err(|error| Error::model(names::PROXIES, error.to_string()))?;
    let graph = model.graph.as_mut().ok_or_else(|| Error::model("model", "it has no graph"))?;
    let initializer =
        graph.initializer.iter_mut().find(|tensor| tensor.name() == names::PROXIES).ok_or_else(without)?;
    let element = Element::from_code(initializer.data_type()).unwrap_or(Element::F32);
    let values: Vec<f64> = proxies.iter().map(|&value| f64::from(value)).collect();
    *initializer = floats(names::PROXIES, element, &[classes, description.dim], &values);
    Ok(())
}
