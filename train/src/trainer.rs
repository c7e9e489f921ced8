//! The training step with its state: one graph, or the graphs of a step in parts.

use std::path::{Path, PathBuf};

use ort::value::{DynValue, Tensor as OrtTensor};
use pdloss::graph::head::names::{LOSS, MOMENTS};
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::names::{
    EMBEDDINGS, EMBEDDINGS_GRADIENT, FIRST_ROW, GRADIENT_NORM, LABELS, LEARNING_RATE, LOSS_SCALE, MEAN_COSINE,
    ROW_LABELS, ROWS, ROWS_GRADIENT, TILE_SUMS, sum,
};
use pdloss::graph::step::{Description, InParts, Kind};
use pdloss_embed::digest::hex;
use pdloss_embed::embedder::Device;
use pdloss_embed::ranks::world;
use pdloss_embed::{Error, Result};
use sha2::{Digest, Sha256};

use crate::loader::Batch;
use crate::session::{Session, Values};
use crate::shards::Shards;
use crate::tensor::Tensor;

/// What a step says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) loss: f32,
    /// mu_genuine, mu_impostor, var_genuine, var_impostor, d' and counts, where the loss has them.
    pub(crate) moments: Option<[f64; 8]>,
    /// Mean cosine of the batch's pairs.
    pub(crate) mean_cosine: f32,
    /// Norm of all gradients together, before clipping.
    pub(crate) gradient_norm: f32,
    /// What gradients are scaled by after the step, where they are.
    pub(crate) loss_scale: Option<f32>,
}

impl Outcome {
    /// Whether the step changed nothing, as its gradients overflowed at the scale that they had.
    pub(crate) fn is_skipped(&self) -> bool {
        self.loss_scale.is_some() && !self.gradient_norm.is_finite()
    }
}

/// The graphs of a training step.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // a run has one
pub(crate) enum Step {
    /// One for the whole batch.
    Whole(ModelProto),
    /// Those of a step whose batch goes through the backbone in so many parts.
    InParts(Box<InParts>, usize),
}

impl Step {
    /// The model that has the description and the first state.
    pub(crate) fn described(&self) -> &ModelProto {
        match self {
            Self::Whole(step) => step,
            Self::InParts(graphs, _) => &graphs.state,
        }
    }

    /// All models that a step runs.
    pub(crate) fn models(&self) -> Vec<&ModelProto> {
        match self {
            Self::Whole(step) => vec![step],
            Self::InParts(graphs, _) => {
                let tiles = graphs.tiles.iter();
                let tiles = tiles.flat_map(|tiles| [&tiles.sums, &tiles.backward].into_iter().chain(&tiles.remember));
                [&graphs.embed, &graphs.loss, &graphs.update].into_iter().chain(&graphs.backward).chain(tiles).collect()
            }
        }
    }
}

/// The same, opened.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a run has one
enum Graphs {
    Whole(Session),
    InParts(Box<Opened>),
}

/// The graphs of a step in parts, opened.
#[derive(Debug)]
struct Opened {
    embed: Session,
    loss: Session,
    tiles: Option<OpenTiles>,
    backward: Option<Session>,
    update: Session,
    parts: usize,
}

/// The graphs of a loss in tiles, opened.
#[derive(Debug)]
struct OpenTiles {
    sums: Session,
    backward: Session,
    remember: Option<Session>,
    /// How many numbers the sums are.
    length: usize,
}

/// The most similarities that a loss over pairs forms at once, where it is computed in tiles.
pub(crate) const TILE: usize = 1 << 22;

/// The rows of a tile, where each is compared with so many.
pub(crate) fn tile(others: usize) -> usize {
    (TILE / others.max(1)).max(1)
}

/// A training step with its state.
pub(crate) struct Trainer {
    /// For errors.
    model: PathBuf,
    description: Description,
    graphs: Graphs,
    values: Values,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Opens a training step of the backbone `model`, with this state; `reads_embeddings` where [`Trainer::embeddings`] is asked for.
    ///
    /// # Errors
    /// [`Error::Runtime`] where the library or the device cannot be had, [`Error::Model`] where it does not take the graphs.
    pub(crate) fn open(
        model: &Path,
        step: Step,
        state: &[Tensor],
        library: &Path,
        (device, threads): (Device, usize),
        reads_embeddings: bool,
    ) -> Result<Self> {
        let description = Description::of(step.described()).map_err(|e| Error::model(model, e.to_string()))?;
        let open =
            |graph, unread: &[&str]| Session::open(model, graph, (&description, unread), library, (device, threads));
        let unread: &[&str] = if reads_embeddings { &[] } else { &[EMBEDDINGS] };
        let graphs = match step {
            Step::Whole(step) => Graphs::Whole(open(step, unread)?),
            Step::InParts(graphs, parts) => {
                let tiles = graphs.tiles.map(|tiles| {
                    let (sums, backward) = (open(tiles.sums, &[])?, open(tiles.backward, &[])?);
                    let remember = tiles.remember.map(|graph| open(graph, &[])).transpose()?;
                    Ok(OpenTiles { sums, backward, remember, length: tiles.length })
                });
                Graphs::InParts(Box::new(Opened {
                    embed: open(graphs.embed, &[])?,
                    loss: open(graphs.loss, &[])?,
                    tiles: tiles.transpose()?,
                    backward: graphs.backward.map(|graph| open(graph, &[])).transpose()?,
                    update: open(graphs.update, &[])?,
                    parts,
                }))
            }
        };
        let values = state.iter().map(|tensor| Ok((tensor.name.clone(), tensor.to_value()?)));
        let values = values.collect::<ort::Result<_>>();
        let values = values.map_err(|e| Error::model(model, format!("onnxruntime does not take its state: {e}")))?;
        Ok(Self { model: model.into(), description, graphs, values })
    }

    /// Runs one step on images of this shape (three axes): on a batch, or on its first part and the `others`, which gives all parts
    /// but the first one, and then all of them again.
    ///
    /// # Errors
    /// [`Error::Model`] with what onnxruntime says; those of `others`.
    pub(crate) fn step(
        &mut self,
        first: Batch,
        others: &mut dyn FnMut() -> Result<Batch>,
        shape: [usize; 3],
        rate: f32,
    ) -> Result<Outcome> {
        let model = self.model.clone();
        let failed = |e: ort::Error| Error::model(&model, format!("running its training step failed: {e}"));
        let Self { description, graphs, values, .. } = self;
        values.insert(LEARNING_RATE.to_owned(), tensor(vec![], vec![rate]).map_err(failed)?);
        match graphs {
            Graphs::Whole(step) => {
                give(values, &description.data, first, shape).map_err(failed)?;
                step.run(values).map_err(failed)?;
            }
            Graphs::InParts(graphs) => {
                let run = Pass { graphs, description, values, shape, failed: &failed };
                run.step(first, others)?;
            }
        }
        outcome(values).map_err(failed)
    }

    /// SHA-256 of all of the state that is the same on every rank: running statistics follow a rank's own rows, unless they are
    /// synchronised, and the first rank's are the run's, as are averages, which follow from them; of `shards` each rank has a part.
    ///
    /// # Errors
    /// As [`Trainer::state`].
    pub(crate) fn digest(&self, shards: &Shards) -> Result<String> {
        let mut hasher = Sha256::new();
        for tensor in &self.description.state {
            if !matches!(tensor.kind, Kind::Running | Kind::Average) && !shards.hold(&tensor.name) {
                hasher.update(&self.copy(&tensor.name)?.bytes);
            }
        }
        Ok(hex(&hasher.finalize()))
    }

    /// A copy of the state.
    ///
    /// # Errors
    /// [`Error::Model`] where the copy fails.
    pub(crate) fn state(&self) -> Result<Vec<Tensor>> {
        self.description.state.iter().map(|tensor| self.copy(&tensor.name)).collect()
    }

    /// What the step says of itself.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// The embeddings of the last batch, of all ranks, row after row.
    ///
    /// # Errors
    /// [`Error::Model`] where they cannot be copied.
    pub(crate) fn embeddings(&self) -> Result<Vec<f32>> {
        let found = self.floats(EMBEDDINGS)?;
        Ok(match &self.graphs {
            Graphs::Whole(_) => gathered(found, f32::to_ne_bytes, f32::from_ne_bytes),
            // The loss had them all.
            Graphs::InParts(_) => found,
        })
    }

    /// The numbers of a value of floats.
    ///
    /// # Errors
    /// [`Error::Model`] where they cannot be copied.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let failed = |e: ort::Error| Error::model(&self.model, format!("{name} cannot be copied: {e}"));
        numbers(&self.values, name).map_err(failed)
    }

    fn copy(&self, name: &str) -> Result<Tensor> {
        let failed = |e: ort::Error| Error::model(&self.model, format!("its state cannot be copied: {e}"));
        let value = self.values.get(name).ok_or_else(|| failed(ort::Error::new(format!("there is no {name}"))))?;
        Tensor::of_value(name, value).map_err(failed)
    }
}

/// One step in parts.
struct Pass<'a> {
    graphs: &'a mut Opened,
    description: &'a Description,
    values: &'a mut Values,
    /// Axes of an image.
    shape: [usize; 3],
    failed: &'a dyn Fn(ort::Error) -> Error,
}

impl Pass<'_> {
    fn step(mut self, first: Batch, others: &mut dyn FnMut() -> Result<Batch>) -> Result<()> {
        let failed = self.failed;
        let first_row = first.first_row;
        let (labels, embeddings) = self.embed(first, others)?;
        let start = first_row * self.description.dim;
        let own = start..start + embeddings.len();
        // Every rank computes the loss of the whole batch, and goes on with its rows.
        let labels = gathered(labels, i64::to_ne_bytes, i64::from_ne_bytes);
        let embeddings = gathered(embeddings, f32::to_ne_bytes, f32::from_ne_bytes);
        let gradient = self.loss(&labels, embeddings).map_err(failed)?;
        self.backward(&gradient[own], others)?;
        self.graphs.update.run(self.values).map_err(failed)
    }

    /// Labels and embeddings of all parts of this rank.
    fn embed(&mut self, first: Batch, others: &mut dyn FnMut() -> Result<Batch>) -> Result<(Vec<i64>, Vec<f32>)> {
        let (mut labels, mut embeddings) = (Vec::new(), Vec::new());
        let mut first = Some(first);
        for _ in 0..self.graphs.parts {
            let part = first.take().map_or_else(&mut *others, Ok)?;
            labels.extend_from_slice(&part.labels);
            let made = self.give(part).and_then(|()| {
                self.graphs.embed.run(self.values)?;
                numbers(self.values, EMBEDDINGS)
            });
            embeddings.extend(made.map_err(self.failed)?);
        }
        Ok((labels, embeddings))
    }

    /// Runs the loss; the gradient of the embeddings.
    fn loss(&mut self, labels: &[i64], embeddings: Vec<f32>) -> ort::Result<Vec<f32>> {
        let Self { graphs, description, values, .. } = self;
        let (rows, dim) = (labels.len(), description.dim);
        values.insert(LABELS.to_owned(), tensor(vec![rows], labels.to_vec())?);
        values.insert(EMBEDDINGS.to_owned(), tensor(vec![rows, dim], embeddings.clone())?);
        let Some(tiles) = &mut graphs.tiles else {
            graphs.loss.run(values)?;
            return numbers(values, EMBEDDINGS_GRADIENT);
        };
        let give = |values: &mut Values, first: usize, last: usize| -> ort::Result<()> {
            let own = embeddings[first * dim..last * dim].to_vec();
            values.insert(ROWS.to_owned(), tensor(vec![last - first, dim], own)?);
            values.insert(ROW_LABELS.to_owned(), tensor(vec![last - first], labels[first..last].to_vec())?);
            values.insert(FIRST_ROW.to_owned(), place(first)?);
            Ok(())
        };
        let each = tile(rows + description.memory.map_or(0, |memory| memory.rows));
        values.insert(TILE_SUMS.to_owned(), tensor(vec![tiles.length], vec![0.0_f32; tiles.length])?);
        for first in (0..rows).step_by(each) {
            give(values, first, (first + each).min(rows))?;
            tiles.sums.run(values)?;
        }
        graphs.loss.run(values)?;
        values.insert(EMBEDDINGS_GRADIENT.to_owned(), tensor(vec![rows, dim], vec![0.0_f32; rows * dim])?);
        let mut own = Vec::with_capacity(rows * dim);
        for first in (0..rows).step_by(each) {
            give(values, first, (first + each).min(rows))?;
            tiles.backward.run(values)?;
            own.extend(numbers(values, ROWS_GRADIENT)?);
        }
        // The labels are those of the batch still.
        tiles.remember.as_mut().map_or(Ok(()), |remember| remember.run(values))?;
        let of_all = numbers(values, EMBEDDINGS_GRADIENT)?;
        Ok(of_all.into_iter().zip(own).map(|(of_all, own)| of_all + own).collect())
    }

    /// Adds the gradients of all parts up; that of the embeddings is of this rank's rows.
    fn backward(&mut self, gradient: &[f32], others: &mut dyn FnMut() -> Result<Batch>) -> Result<()> {
        let failed = self.failed;
        let Some(backward) = &self.graphs.backward else {
            return (0..self.graphs.parts).try_for_each(|_| others().map(drop));
        };
        for name in backward.inputs() {
            let Some(weight) = self.description.state.iter().find(|state| sum(&state.name) == *name) else { continue };
            let zeros = vec![0.0_f32; weight.shape.iter().product()];
            self.values.insert(name.clone(), tensor(weight.shape.clone(), zeros).map_err(failed)?);
        }
        let (mut row, dim) = (0, self.description.dim);
        for _ in 0..self.graphs.parts {
            let part = others()?;
            let count = part.labels.len();
            let own = gradient[row * dim..(row + count) * dim].to_vec();
            let own = tensor(vec![count, dim], own).map_err(failed)?;
            self.values.insert(EMBEDDINGS_GRADIENT.to_owned(), own);
            self.give(part).map_err(failed)?;
            let Some(backward) = &mut self.graphs.backward else { break };
            backward.run(self.values).map_err(failed)?;
            row += count;
        }
        Ok(())
    }

    /// Puts a part among the values.
    fn give(&mut self, part: Batch) -> ort::Result<()> {
        self.values.insert(FIRST_ROW.to_owned(), place(part.first_row)?);
        give(self.values, &self.description.data, part, self.shape)
    }
}

/// The numbers of all ranks, in their order, by way of their bytes.
fn gathered<T, const N: usize>(own: Vec<T>, to: fn(T) -> [u8; N], of: fn([u8; N]) -> T) -> Vec<T> {
    if world().is_alone() {
        return own;
    }
    let bytes: Vec<u8> = own.into_iter().flat_map(to).collect();
    world().gather(&bytes).iter().flat_map(|of_rank| of_rank.as_chunks().0).map(|&number| of(number)).collect()
}

fn tensor<T: ort::value::PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
    shape: Vec<usize>,
    values: Vec<T>,
) -> ort::Result<DynValue> {
    Ok(OrtTensor::from_array((shape, values))?.into_dyn())
}

fn place(row: usize) -> ort::Result<DynValue> {
    tensor(vec![], vec![row as i64])
}

/// Puts images and labels among the values.
fn give(values: &mut Values, data: &str, batch: Batch, [a, b, c]: [usize; 3]) -> ort::Result<()> {
    let count = batch.labels.len();
    values.insert(data.to_owned(), tensor(vec![count, a, b, c], batch.values)?);
    values.insert(LABELS.to_owned(), tensor(vec![count], batch.labels)?);
    Ok(())
}

/// A copy of a value's numbers.
fn numbers(values: &Values, name: &str) -> ort::Result<Vec<f32>> {
    let value = values.get(name).ok_or_else(|| ort::Error::new(format!("it gave no {name}")))?;
    let copy = Tensor::of_value(name, value)?;
    Ok(copy.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

/// What a step left among the values.
fn outcome(values: &Values) -> ort::Result<Outcome> {
    let number = |name: &str| numbers(values, name).map(|numbers| numbers[0]);
    let moments = match values.get(MOMENTS) {
        Some(moments) => moments.try_extract_tensor::<f64>()?.1.try_into().ok(),
        None => None,
    };
    Ok(Outcome {
        loss: number(LOSS)?,
        moments,
        mean_cosine: number(MEAN_COSINE)?,
        gradient_norm: number(GRADIENT_NORM)?,
        loss_scale: values.contains_key(LOSS_SCALE).then(|| number(LOSS_SCALE)).transpose()?,
    })
}
