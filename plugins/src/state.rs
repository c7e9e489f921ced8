//! The saved state as one float64 tensor, so that a graph can carry it from the loss to its gradient.
//!
//! ```text
//! version, form, floor mode, temperature, floor, eps, batch B, classes C, dim D, Gram path (1) or tiles (0),
//! 1/|x| [B], 1/|p| [C], mean z [D], mean q [D], genuine cosines [B], summaries [6], scatter of z, scatter of q [D, D each, or none]
//! ```
//!
//! The settings are in it because ONNX Runtime's training gives a gradient node none of the forward node's attributes.

use ndarray::{Array1, Array2};
use pdloss::loss::{Config, FloorMode, Form, Path, Real, Saved, SavedParts};

use crate::error::{Error, Result};

const VERSION: f64 = 1.0;
const HEADER: usize = 10;
const SUMMARIES: usize = 6;
const FORMS: [Form; 3] = [Form::Log, Form::Negative, Form::Inverse];
const MODES: [FloorMode; 2] = [FloorMode::Tangent, FloorMode::Clamp];

/// Lays the state out.
#[expect(clippy::cast_precision_loss, reason = "lengths and codes are far below 2^53")]
pub(crate) fn pack<T: Real>(saved: Saved<T>) -> Vec<f64> {
    let (config, path) = (*saved.config(), saved.path());
    let parts = saved.into_parts();
    let code = |index: Option<usize>| index.unwrap_or_default() as f64;
    let mut flat = vec![
        VERSION,
        code(FORMS.iter().position(|form| *form == config.form())),
        code(MODES.iter().position(|mode| *mode == config.floor_mode())),
        config.temperature(),
        config.floor(),
        config.eps(),
        parts.embedding_reciprocals.len() as f64,
        parts.proxy_reciprocals.len() as f64,
        parts.embedding_mean.len() as f64,
        f64::from(u8::from(path == Path::Gram)),
    ];
    for part in [
        &parts.embedding_reciprocals,
        &parts.proxy_reciprocals,
        &parts.embedding_mean,
        &parts.proxy_mean,
        &parts.genuine_cosines,
        &parts.summaries,
    ] {
        flat.extend(part);
    }
    for matrix in [&parts.embedding_scatter, &parts.proxy_scatter] {
        flat.extend(matrix.iter().map(|value| value.to_f64()));
    }
    flat
}

/// Reads the state of inputs of these lengths back.
pub(crate) fn unpack<T: Real>(flat: &[f64], batch: usize, classes: usize, dim: usize) -> Result<Saved<T>> {
    let wrong = |wanted: String, got: String| Error::tensor("saved", wanted, got);
    let Some((header, values)) = flat.split_at_checked(HEADER) else {
        return Err(wrong("the saved state of the forward operator".to_owned(), format!("{} numbers", flat.len())));
    };
    #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
    let lengths = [batch as f64, classes as f64, dim as f64];
    if header[0] != VERSION {
        return Err(wrong(format!("version {VERSION} of the saved state"), format!("{}", header[0])));
    }
    if header[6..9] != lengths {
        let names = |lengths: &[f64]| format!("batch {}, {} classes, dim {}", lengths[0], lengths[1], lengths[2]);
        return Err(wrong(format!("the state of {}", names(&lengths)), names(&header[6..9])));
    }
    let gram = header[9] == 1.0;
    let side = if gram { dim } else { 0 };
    let wanted = 2 * batch + classes + 2 * dim + SUMMARIES + 2 * side * side;
    if values.len() != wanted {
        return Err(wrong(format!("{} numbers", HEADER + wanted), format!("{}", flat.len())));
    }
    let config = config(header).ok_or_else(|| wrong("settings of the loss".to_owned(), format!("{:?}", &header[1..6])))?;

    let mut rest = values;
    let mut take = |length: usize| {
        let (part, others) = rest.split_at(length);
        rest = others;
        Array1::from(part.to_vec())
    };
    let vectors = [batch, classes, dim, dim, batch, SUMMARIES].map(&mut take);
    let [embedding_reciprocals, proxy_reciprocals, embedding_mean, proxy_mean, genuine_cosines, summaries] = vectors;
    let mut matrix = || {
        let values = take(side * side).mapv(T::from_f64);
        Array2::from_shape_vec((side, side), values.into_raw_vec_and_offset().0)
            .map_err(|error| Error::Loss(error.to_string()))
    };
    let parts = SavedParts {
        embedding_scatter: matrix()?,
        proxy_scatter: matrix()?,
        embedding_reciprocals,
        proxy_reciprocals,
        embedding_mean,
        proxy_mean,
        genuine_cosines,
        summaries,
    };
    Saved::from_parts(config, parts).map_err(Error::loss)
}

fn config(header: &[f64]) -> Option<Config> {
    #[expect(clippy::cast_precision_loss, reason = "there are three forms and two modes")]
    fn find<N: Copy>(names: &[N], code: f64) -> Option<N> {
        names.iter().enumerate().find(|(index, _)| *index as f64 == code).map(|(_, name)| *name)
    }
    let config = Config::default().with_form(find(&FORMS, header[1])?).with_floor_mode(find(&MODES, header[2])?);
    config.with_temperature(header[3]).ok()?.with_floor(header[4]).ok()?.with_eps(header[5]).ok()
}
