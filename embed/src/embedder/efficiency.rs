//! What a model costs: its parameters and operations by its graph, and its time by the clock.

use std::time::{Duration, Instant};

use super::bounds::{self, Work};
use super::steady::noise;
use super::{Embedder, Prepared, Worker};
use crate::error::{Error, Result};

/// Runs before the clock starts: the first ones allocate, and fill caches.
const WARM_UP: usize = 3;
/// As many runs give a 95th percentile that is not the slowest of all.
const RUNS: usize = 40;
/// Each of both measurements goes on for as long at least.
const LEAST: Duration = Duration::from_secs(1);
/// A slow model is let off with fewer runs after as long.
const MOST: Duration = Duration::from_secs(30);

/// What a model costs on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Efficiency {
    /// By the graph, for one image.
    pub work: Work,
    /// Bytes of the model's files.
    pub bytes: u64,
    /// Median and 95th percentile of the seconds that one run takes, images alone one after the other, in one session on
    /// all threads.
    pub latency: (f64, f64),
    /// Runs that these were taken over.
    pub runs: usize,
    /// Images of each such run: one, but where the model fixes its batch.
    pub images: usize,
    /// Images a second through all sessions side by side, in full batches, without decoding.
    pub throughput: f64,
}

impl Prepared {
    /// Measures the model on images of noise, of the size that the recipe makes; takes a few seconds, more where an image does.
    ///
    /// # Errors
    /// [`Error::Usage`] where the recipe leaves images their own sizes; those of opening and running the model.
    pub fn efficiency(&self) -> Result<Efficiency> {
        let Some(size) = self.recipe.output_size() else {
            let problem = "--efficiency: images keep their own sizes; wanted one size, by --resize, --crop or --preset";
            return Err(Error::Usage(problem.into()));
        };
        let shape = self.layout().axes(self.recipe.color.channels(), size);
        let model = self.model();
        let one = [1, shape[0], shape[1], shape[2]];
        let work = bounds::work(&model.path, &*model.proto()?, (model.input.name.as_str(), &one))?;
        let batch = Some(model.fixed_batch().unwrap_or(1));
        let mut alone =
            Embedder::open_one(model.clone(), Some(shape), &super::Options { batch, ..self.options.clone() })?;
        let images = alone.batch();
        let mut seconds = latencies(&mut alone.workers(), images, shape)?;
        drop(alone);
        seconds.sort_unstable_by(f64::total_cmp);
        let within = |percent: usize| seconds[(seconds.len() * percent).div_ceil(100) - 1];
        let latency = (within(50), within(95));
        let mut embedder = Embedder::open(model.clone(), Some(shape), &self.options)?;
        let throughput = throughput(&mut embedder, shape)?;
        Ok(Efficiency { work, bytes: model.bytes, latency, runs: seconds.len(), images, throughput })
    }
}

/// Seconds of each run.
fn latencies(workers: &mut [Worker<'_>], images: usize, shape: [usize; 3]) -> Result<Vec<f64>> {
    let worker = &mut workers[0];
    let values = noise(worker.model.takes_levels(), images * shape.iter().product::<usize>());
    for _ in 0..WARM_UP {
        worker.embed(values.clone(), images, shape)?;
    }
    let mut seconds = Vec::with_capacity(RUNS);
    let started = Instant::now();
    while (seconds.len() < RUNS || started.elapsed() < LEAST) && (seconds.is_empty() || started.elapsed() < MOST) {
        let values = values.clone();
        let run = Instant::now();
        worker.embed(values, images, shape)?;
        seconds.push(run.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

/// Images a second through all sessions.
fn throughput(embedder: &mut Embedder, shape: [usize; 3]) -> Result<f64> {
    let batch = embedder.batch();
    let values = noise(embedder.model().takes_levels(), batch * shape.iter().product::<usize>());
    let mut workers = embedder.workers();
    workers.iter_mut().try_for_each(|worker| worker.embed(values.clone(), batch, shape).map(drop))?;
    let started = Instant::now();
    let run = |worker: &mut Worker<'_>| -> Result<usize> {
        let mut images = 0;
        while images == 0 || started.elapsed() < LEAST {
            worker.embed(values.clone(), batch, shape)?;
            images += batch;
        }
        Ok(images)
    };
    let images: Result<usize> = std::thread::scope(|scope| {
        let runs: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(|| run(worker))).collect();
        runs.into_iter().map(|run| run.join().expect("running a model does not panic")).sum()
    });
    Ok(images? as f64 / started.elapsed().as_secs_f64())
}
