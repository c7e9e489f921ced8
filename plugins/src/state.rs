//! The saved state as one float64 tensor, so that a graph can carry it from the loss to its gradient.
//!
//! ```text
//! version, form, floor mode, temperature, floor, eps, batch B, classes C, dim D, Gram path (1) or tiles (0),
//! 1/|x| [B], 1/|p| [C], mean z [D], mean q [D], genuine cosines [B], summaries [6], scatter of z, scatter of q [D, D each, or none]
//! ```
//!
//! The settings are in it because ONNX Runtime's training gives a gradient node none of the forward node's attributes.

use ndarray::{Array1, Array2};
use pdloss::loss::{Algorithm, Config, DSaved, DSavedParts, FloorMode, Form, Real, Saved, SavedParts};

use crate::error::{Error, Result};

const VERSION: f64 = 1.0;
pub(crate) const HEADER: usize = 10;
pub(crate) const SUMMARIES: usize = 6;
const FORMS: [Form; 3] = [Form::Log, Form::Negative, Form::Inverse];
const MODES: [FloorMode; 2] = [FloorMode::Tangent, FloorMode::Clamp];

/// What a forward pass keeps.
pub(crate) enum State<T> {
    /// Of PD-Loss.
    Proxies(Saved<T>),
    /// Of D-Loss: there are 0 classes and no vectors of proxies, and the scatter matrix is always there.
    Pairs(DSaved),
}

/// Lays the state out.
pub(crate) fn pack<T: Real>(state: State<T>) -> Vec<f64> {
    match state {
        State::Proxies(saved) => {
            let (config, path) = (*saved.config(), saved.algorithm());
            let parts = saved.into_parts();
            let lengths =
                [parts.embedding_reciprocals.len(), parts.proxy_reciprocals.len(), parts.embedding_mean.len()];
            let vectors = [
                &parts.embedding_reciprocals,
                &parts.proxy_reciprocals,
                &parts.embedding_mean,
                &parts.proxy_mean,
                &parts.genuine_cosines,
                &parts.summaries,
            ];
            lay_out(
                &config,
                lengths,
                path == Algorithm::Gram,
                &vectors,
                &[&parts.embedding_scatter, &parts.proxy_scatter],
            )
        }
        State::Pairs(saved) => {
            let config = *saved.config();
            let parts = saved.into_parts();
            let lengths = [parts.reciprocals.len(), 0, parts.mean.len()];
            lay_out(&config, lengths, true, &[&parts.reciprocals, &parts.mean, &parts.summaries], &[&parts.scatter])
        }
    }
}

/// Form and floor mode as the state numbers them.
pub(crate) fn codes(config: &Config) -> (u32, u32) {
    fn code<N: PartialEq>(names: &[N], wanted: &N) -> u32 {
        names.iter().zip(0..).find(|(name, _)| *name == wanted).map_or(0, |(_, code)| code)
    }
    (code(&FORMS, &config.form()), code(&MODES, &config.floor_mode()))
}

#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
fn lay_out<T: Real>(
    config: &Config,
    lengths: [usize; 3],
    gram: bool,
    vectors: &[&Array1<f64>],
    matrices: &[&Array2<T>],
) -> Vec<f64> {
    let (form, mode) = codes(config);
    let mut flat = vec![VERSION, f64::from(form), f64::from(mode), config.temperature(), config.floor(), config.eps()];
    flat.extend(lengths.map(|length| length as f64));
    flat.push(f64::from(u8::from(gram)));
    vectors.iter().for_each(|vector| flat.extend(vector.iter()));
    matrices.iter().for_each(|matrix| flat.extend(matrix.iter().map(|value| value.to_f64())));
    flat
}

/// Reads the state of a batch and classes of these lengths back; of D-Loss where there are no classes.
pub(crate) fn unpack<T: Real>(flat: &[f64], batch: usize, classes: Option<usize>, dim: usize) -> Result<State<T>> {
    let mut reader = Reader::new(flat, batch, classes.unwrap_or(0), dim)?;
    let config = reader.config;
    if let Some(classes) = classes {
        let side = if reader.gram { dim } else { 0 };
        reader.expect(2 * batch + classes + 2 * dim + SUMMARIES + 2 * side * side)?;
        let vectors = [batch, classes, dim, dim, batch, SUMMARIES].map(|length| reader.vector(length));
        let [embedding_reciprocals, proxy_reciprocals, embedding_mean, proxy_mean, genuine_cosines, summaries] =
            vectors;
        let parts = SavedParts {
            embedding_reciprocals,
            proxy_reciprocals,
            embedding_mean,
            proxy_mean,
            genuine_cosines,
            summaries,
            embedding_scatter: reader.matrix(side)?,
            proxy_scatter: reader.matrix(side)?,
        };
        return Saved::from_parts(config, parts).map(State::Proxies).map_err(Error::loss);
    }
    reader.expect(batch + dim + SUMMARIES + dim * dim)?;
    let [reciprocals, mean, summaries] = [batch, dim, SUMMARIES].map(|length| reader.vector(length));
    let parts = DSavedParts { reciprocals, mean, summaries, scatter: reader.matrix(dim)? };
    DSaved::from_parts(config, parts).map(State::Pairs).map_err(Error::loss)
}

/// Takes the parts off the front, one after the other.
struct Reader<'a> {
    config: Config,
    gram: bool,
    rest: &'a [f64],
}

fn wrong(wanted: impl Into<String>, got: impl Into<String>) -> Error {
    Error::tensor("saved", wanted, got)
}

impl<'a> Reader<'a> {
    fn new(flat: &'a [f64], batch: usize, classes: usize, dim: usize) -> Result<Self> {
        let Some((header, rest)) = flat.split_at_checked(HEADER) else {
            return Err(wrong("the saved state of the forward operator", format!("{} numbers", flat.len())));
        };
        #[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^53")]
        let lengths = [batch as f64, classes as f64, dim as f64];
        if header[0] != VERSION {
            return Err(wrong(format!("version {VERSION} of the saved state"), format!("{}", header[0])));
        }
        if header[6..9] != lengths {
            let name = |lengths: &[f64]| format!("batch {}, {} classes, dim {}", lengths[0], lengths[1], lengths[2]);
            return Err(wrong(format!("the state of {}", name(&lengths)), name(&header[6..9])));
        }
        let config = config(header).ok_or_else(|| wrong("settings of the loss", format!("{:?}", &header[1..6])))?;
        Ok(Self { config, gram: header[9] == 1.0, rest })
    }

    fn expect(&self, length: usize) -> Result<()> {
        if self.rest.len() == length {
            return Ok(());
        }
        Err(wrong(format!("{} numbers", HEADER + length), format!("{}", HEADER + self.rest.len())))
    }

    fn vector(&mut self, length: usize) -> Array1<f64> {
        let (part, others) = self.rest.split_at(length);
        self.rest = others;
        Array1::from(part.to_vec())
    }

    fn matrix<T: Real>(&mut self, side: usize) -> Result<Array2<T>> {
        let values = self.vector(side * side).mapv(T::from_f64).into_raw_vec_and_offset().0;
        Array2::from_shape_vec((side, side), values).map_err(|error| Error::Loss(error.to_string()))
    }
}

fn config(header: &[f64]) -> Option<Config> {
    #[expect(clippy::cast_precision_loss, reason = "there are three forms and two modes")]
    fn find<N: Copy>(names: &[N], code: f64) -> Option<N> {
        names.iter().enumerate().find(|(index, _)| *index as f64 == code).map(|(_, name)| *name)
    }
    let config = Config::default().with_form(find(&FORMS, header[1])?).with_floor_mode(find(&MODES, header[2])?);
    config.with_temperature(header[3]).ok()?.with_floor(header[4]).ok()?.with_eps(header[5]).ok()
}
