//! Data set to embeddings: decoding and resampling on all threads, the model's sessions beside them, a bounded queue
//! between, so that memory stays small and every core is busy.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use ndarray::Array2;
use sha2::{Digest, Sha256};

use crate::console::Progress;
use crate::dataset::{Dataset, Item};
use crate::embedder::{Embedder, Worker};
use crate::embeddings::{Embeddings, Row};
use crate::error::{Error, Result};
use crate::preprocess::{Layout, Orientation, Preprocessor, Recipe, Size, Steps, Traits};
use crate::ranks::{self, agree, world};

/// A batch of images on its way to the model.
struct Batch {
    /// Positions in the data set.
    items: Vec<usize>,
    /// Their values, one image after the other.
    values: Vec<f32>,
    /// `[channels, height, width]`, or `[height, width, channels]`.
    shape: [usize; 3],
}

/// What the threads tell the collector.
enum Event {
    /// The SHA-256 of an image file's bytes, and what the file has that the model does not see.
    Digest(usize, [u8; 32], Traits),
    /// An image that cannot be used.
    Bad(usize, Error),
    /// Embeddings of a batch.
    Rows(Vec<usize>, Array2<f32>),
    /// The run cannot go on.
    Failed(Error),
}

/// Embedded images, and which were left out.
#[derive(Debug)]
pub struct Embedded {
    /// The embeddings of the good images.
    pub embeddings: Embeddings,
    /// Names of images left out, each with its reason.
    pub skipped: Vec<(String, String)>,
    /// As [`Dataset::sha256`].
    pub data_sha256: String,
    /// As [`Dataset::sha256_in_any_order`].
    pub images_sha256: String,
}

/// Embeds every image of a data set.
///
/// # Errors
/// The first bad image by position in the data set, unless `skip_bad`; what [`Embedder`] reports; and
/// [`Error::Embeddings`] for NaN, infinity, or a dimension that changes between images.
pub fn embed(
    data: &Dataset,
    recipe: &Recipe,
    embedder: &mut Embedder,
    threads: usize,
    skip_bad: bool,
) -> Result<Embedded> {
    embed_with(data, recipe, &Steps::default(), embedder, threads, skip_bad)
}

/// [`embed`], with steps beside the recipe.
///
/// # Errors
/// As [`embed`].
pub fn embed_with(
    data: &Dataset,
    recipe: &Recipe,
    steps: &Steps,
    embedder: &mut Embedder,
    threads: usize,
    skip_bad: bool,
) -> Result<Embedded> {
    let found = run(data, (recipe, steps), embedder, threads, skip_bad, |batches| 0..batches)?;
    finish(data, found, recipe.orientation, skip_bad)
}

/// [`embed_with`] by all ranks of the world, each of which embeds whole batches of those that one process would, and keeps the rows
/// of these alone: [`Embeddings::first`] says which.
///
/// # Errors
/// As [`embed`], on every rank.
pub fn embed_over_ranks(
    data: &Dataset,
    recipe: &Recipe,
    steps: &Steps,
    embedder: &mut Embedder,
    threads: usize,
    skip_bad: bool,
) -> Result<Embedded> {
    let found = agree(run(data, (recipe, steps), embedder, threads, skip_bad, |batches| world().share(batches)))?;
    agree(finish(data, found.over_ranks()?, recipe.orientation, skip_bad))
}

/// What embedding a range of images found.
struct Found {
    /// The images embedded here.
    range: Range<usize>,
    /// Their rows; `None` where none could be used.
    matrix: Option<Array2<f32>>,
    /// Of all images, as far as they are known.
    digests: Vec<[u8; 32]>,
    /// Likewise.
    good: Vec<bool>,
    /// Images that cannot be used, by position, with the reason.
    bad: Vec<(usize, String)>,
    /// What images have that the model does not see.
    traits: Vec<(usize, Traits)>,
}

impl Found {
    /// With what the other ranks found.
    fn over_ranks(mut self) -> Result<Self> {
        let world = world();
        if world.is_alone() {
            return Ok(self);
        }
        let own = |all: &[[u8; 32]]| all[self.range.clone()].as_flattened().to_vec();
        let digests = world.gather(&own(&self.digests)).concat();
        let good: Vec<u8> = self.good[self.range.clone()].iter().map(|&good| u8::from(good)).collect();
        let dims = world.gather_numbers(self.matrix.as_ref().map_or(0, Array2::ncols) as u64);
        self.digests = digests.as_chunks::<32>().0.to_vec();
        self.good = world.gather(&good).concat().into_iter().map(|good| good == 1).collect();
        self.bad = ranks::all(&self.bad)?.concat();
        self.traits = ranks::all(&self.traits)?.concat();
        let mut known = dims.iter().copied().filter(|&dim| dim > 0);
        let Some(dim) = known.next() else { return Ok(self) };
        if let Some(other) = known.find(|&other| other != dim) {
            return Err(Error::Embeddings(format!("those of a rank have {dim} values, those of another {other}")));
        }
        let dim = usize::try_from(dim).expect("a length in memory");
        self.matrix.get_or_insert_with(|| Array2::zeros((self.range.len(), dim)));
        Ok(self)
    }
}

/// Embeds the images of some of the batches.
fn run(
    data: &Dataset,
    (recipe, steps): (&Recipe, &Steps),
    embedder: &mut Embedder,
    threads: usize,
    skip_bad: bool,
    share: impl Fn(usize) -> Range<usize>,
) -> Result<Found> {
    let layout = recipe.layout.unwrap_or(embedder.model().layout());
    let batch = if recipe.output_size().is_some() { embedder.batch() } else { 1 };
    let batches = share(data.items.len().div_ceil(batch));
    let range = batches.start * batch..(batches.end * batch).min(data.items.len());
    let decoders = threads.min(batches.len()).max(1);
    let workers = embedder.workers();
    // One batch waiting for each session is enough to keep it busy.
    let (to_model, from_decoders) = bounded::<Batch>(workers.len());
    let (tell, events) = bounded::<Event>(64 + 2 * threads);
    let next = AtomicUsize::new(range.start);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..decoders {
            let (to_model, tell) = (to_model.clone(), tell.clone());
            let (next, stop) = (&next, &stop);
            let (preprocessor, end) = (Preprocessor::new(recipe, layout).with(steps), range.end);
            scope.spawn(move || {
                let decoder = Decoder {
                    data,
                    end,
                    batch,
                    skip_bad,
                    layout,
                    channels: recipe.color.channels(),
                    next,
                    stop,
                    to_model,
                    tell,
                };
                decoder.run(preprocessor);
            });
        }
        for worker in workers {
            let (batches, tell) = (from_decoders.clone(), tell.clone());
            scope.spawn(move || run_model(worker, &batches, &tell));
        }
        // The originals would keep the queues open for ever.
        drop((to_model, from_decoders, tell));
        let collected = collect(data, range, &events, &stop, skip_bad);
        stop.store(true, Ordering::Relaxed);
        // Drain, so that blocked senders return.
        for _ in events {}
        collected
    })
}

/// One decoding thread.
struct Decoder<'a> {
    data: &'a Dataset,
    /// Behind the last image.
    end: usize,
    batch: usize,
    skip_bad: bool,
    layout: Layout,
    channels: usize,
    next: &'a AtomicUsize,
    stop: &'a AtomicBool,
    to_model: Sender<Batch>,
    tell: Sender<Event>,
}

impl Decoder<'_> {
    fn run(self, mut preprocessor: Preprocessor) {
        let count = self.end;
        while !self.stop.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(self.batch, Ordering::Relaxed);
            if first >= count {
                return;
            }
            let mut ready = Batch { items: Vec::with_capacity(self.batch), values: Vec::new(), shape: [0; 3] };
            for at in first..(first + self.batch).min(count) {
                match self.decode(at, &mut preprocessor, &mut ready.values) {
                    Ok(size) => {
                        ready.items.push(at);
                        ready.shape = self.layout.axes(self.channels, size);
                    }
                    Err(error) => {
                        // Parts are taken in order and finished once begun, so the first bad image by position is found
                        // whichever thread stops the others.
                        if !self.skip_bad {
                            self.stop.store(true, Ordering::Relaxed);
                        }
                        let told = self.tell.send(Event::Bad(at, error));
                        if told.is_err() || !self.skip_bad {
                            return;
                        }
                    }
                }
            }
            if !ready.items.is_empty() && self.to_model.send(ready).is_err() {
                return;
            }
        }
    }

    fn decode(&self, at: usize, preprocessor: &mut Preprocessor, values: &mut Vec<f32>) -> Result<Size> {
        let name = &self.data.items[at].name;
        let bytes = self.data.source.read(name)?;
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        // Nobody listening means that the run is over.
        let _ = self.tell.send(Event::Digest(at, digest, Traits::of(&bytes)));
        preprocessor.append(name, &bytes, values)
    }
}

fn run_model(mut worker: Worker<'_>, batches: &Receiver<Batch>, tell: &Sender<Event>) {
    for Batch { items, values, shape } in batches {
        let event = match worker.embed(values, items.len(), shape) {
            Ok(rows) => Event::Rows(items, rows),
            Err(error) => Event::Failed(error),
        };
        let failed = matches!(event, Event::Failed(_));
        if tell.send(event).is_err() || failed {
            return;
        }
    }
}

/// Puts rows in their places, as they come.
fn collect(
    data: &Dataset,
    range: Range<usize>,
    events: &Receiver<Event>,
    stop: &AtomicBool,
    skip_bad: bool,
) -> Result<Found> {
    let count = data.items.len();
    let progress = Progress::new("embedding", "images", range.len());
    let mut digests = vec![[0_u8; 32]; count];
    let mut matrix: Option<Array2<f32>> = None;
    let mut good = vec![false; count];
    let (mut bad, mut traits) = (Vec::<(usize, Error)>::new(), Vec::new());
    for event in events {
        match event {
            Event::Digest(at, digest, of_file) => {
                digests[at] = digest;
                traits.extend(of_file.is_some().then_some((at, of_file)));
            }
            Event::Bad(at, error) => {
                bad.push((at, error));
                progress.advance(1);
            }
            Event::Failed(error) => {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
            Event::Rows(items, rows) => {
                let dim = rows.ncols();
                let all = matrix.get_or_insert_with(|| Array2::zeros((range.len(), dim)));
                if all.ncols() != dim {
                    return Err(Error::Embeddings(format!(
                        "{} has {dim} values, others have {}",
                        data.items[items[0]].name,
                        all.ncols()
                    )));
                }
                for (&at, row) in items.iter().zip(rows.rows()) {
                    all.row_mut(at - range.start).assign(&row);
                    good[at] = true;
                }
                progress.advance(items.len());
            }
        }
    }
    progress.finish();
    bad.sort_by_key(|(at, _)| *at);
    if !bad.is_empty() && !skip_bad {
        return Err(bad.swap_remove(0).1.or_skip_bad());
    }
    let bad = bad.into_iter().map(|(at, error)| (at, error.to_string())).collect();
    Ok(Found { range, matrix, digests, good, bad, traits })
}

fn finish(data: &Dataset, found: Found, orientation: Orientation, skip_bad: bool) -> Result<Embedded> {
    let Found { range, matrix, digests, good, bad, mut traits } = found;
    if let (None, Some((_, reason)), true) = (&matrix, bad.first(), skip_bad) {
        return Err(Error::Measure(reason.clone()));
    }
    let kept: Vec<usize> = (0..good.len()).filter(|&at| good[at]).collect();
    let first = kept.partition_point(|&at| at < range.start);
    let own: Vec<usize> = kept.iter().filter(|at| range.contains(at)).map(|at| at - range.start).collect();
    let matrix = matrix.unwrap_or_default();
    let matrix = if own.len() == matrix.nrows() { matrix } else { matrix.select(ndarray::Axis(0), &own) };
    let images = copies(&kept, &digests);
    let row = |(&at, &image): (&usize, &Option<u32>)| {
        let Item { name, class, role, camera } = &data.items[at];
        Row { name: name.clone(), class: *class, role: *role, image, camera: *camera }
    };
    let rows = kept.iter().zip(&images).map(row).collect();
    let skipped = bad.into_iter().map(|(at, reason)| (data.items[at].name.clone(), reason)).collect();
    let mut embeddings = Embeddings::part(matrix, first, rows, data.classes.clone())?;
    embeddings.files = kept.iter().map(|&at| digests[at]).collect();
    traits.retain(|&(at, _)| good[at]);
    traits.sort_unstable_by_key(|&(at, _)| at);
    let traits: Vec<_> = traits.into_iter().map(|(at, of_file)| (data.items[at].name.as_str(), of_file)).collect();
    embeddings.notes.extend(Traits::describe(&traits, orientation));
    let (data_sha256, images_sha256) = (data.sha256(&digests), data.sha256_in_any_order(&digests));
    Ok(Embedded { embeddings, skipped, data_sha256, images_sha256 })
}

/// A number for each kept image that it shares with others of equal bytes; `None` where it is alone.
fn copies(kept: &[usize], digests: &[[u8; 32]]) -> Vec<Option<u32>> {
    let mut counts: HashMap<&[u8; 32], (u32, u32)> = HashMap::new();
    for &at in kept {
        let next = u32::try_from(counts.len()).expect("fewer than 2^32 of them fit in memory");
        counts.entry(&digests[at]).or_insert((next, 0)).1 += 1;
    }
    kept.iter().map(|&at| counts.get(&digests[at]).filter(|(_, count)| *count > 1).map(|(number, _)| *number)).collect()
}
