//! The first proxies of a graph.

use super::{
    Error, Result,
    build::{Element, floats},
    literal,
    proto::TensorProto,
};
use crate::loss::random_proxies_of;

/// The most bytes that one ONNX file holds, and with it its proxies.
const LARGEST: usize = i32::MAX as usize;

/// Rows `first..end` of random proxies `[classes, dim]` as an initializer of this name, drawn by `seed`.
///
/// # Errors
/// When there are fewer than two, or, before anything is allocated, when no ONNX file holds them.
pub(super) fn random(
    name: &str,
    element: Element,
    ([classes, dim], (first, end)): ([usize; 2], (usize, usize)),
    seed: u64,
) -> Result<TensorProto> {
    let size = if element == Element::F64 { 8 } else { 4 };
    if literal::count(&[end - first, dim, size]).is_none_or(|bytes| bytes > LARGEST) {
        let reason = format!(
            "[{}, {dim}] numbers of {size} bytes, but one ONNX file holds at most 2 GiB: use fewer classes",
            end - first
        );
        return Err(Error::model("proxies", reason));
    }
    let proxies = random_proxies_of::<f64>(classes, dim, seed, first..end)
        .map_err(|error| Error::model("proxies", error.to_string()))?;
    Ok(floats(name, element, &[end - first, dim], &proxies.into_raw_vec_and_offset().0))
}
