//! Batches made by threads while the step runs: in order, and only a few ahead.

use std::ops::Range;
use std::sync::Arc;
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use pdloss_embed::{Error, Result};

use crate::images::Images;
use crate::neighbours::Neighbours;
use crate::parts::has_pairs;
use crate::sampler::Sampler;

/// The input of one step, or of one part of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Batch {
    /// Values of this rank's images, one after the other.
    pub(crate) values: Vec<f32>,
    /// Class of each.
    pub(crate) labels: Vec<i64>,
    /// Whether the whole batch, of all parts and ranks, has a genuine and an impostor pair.
    pub(crate) has_pairs: bool,
    /// Class of each image of the whole batch.
    pub(crate) classes: Vec<i64>,
    /// The place of the first image in the whole batch.
    pub(crate) first_row: usize,
}

/// Which classes are nearest to which, for the batches of a stretch.
type Told = (u64, Arc<Neighbours>);

/// The batches of steps `first`, `first + 1`, ... as they are asked for, each in its pieces.
///
/// Thread `t` of `n` makes every `n`-th piece into a queue of its own that holds one, so pieces come in order whichever
/// thread is fastest, and at most two a thread exist.
#[derive(Debug)]
pub(crate) struct Loader {
    queues: Vec<Receiver<Result<Batch>>>,
    next: usize,
    /// Of a step.
    pieces: usize,
    /// To each thread, where batches follow from the nearest classes.
    told: Vec<Sender<Told>>,
}

/// The rows of each piece of a batch of `rows`, in the order in which a step takes them: all at once, or in so many `parts`, which
/// are taken twice.
pub(crate) fn pieces(rows: Range<usize>, parts: usize) -> Vec<Range<usize>> {
    if parts < 2 {
        return vec![rows];
    }
    let (start, count) = (rows.start, rows.len());
    let part = |part: usize| start + count * part / parts..start + count * (part + 1) / parts;
    (0..2 * parts).map(|piece| part(piece % parts)).collect()
}

impl Loader {
    /// Starts the threads, which make these pieces of every batch. They end when the loader is dropped, or after the batch of step
    /// `last - 1`.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        images: &'scope Images,
        sampler: &'scope Sampler,
        (first, last): (u64, u64),
        pieces: Vec<Range<usize>>,
        threads: usize,
    ) -> Self {
        let (threads, count) = (threads.max(1), pieces.len());
        let mut told = Vec::new();
        let queues = (0..threads).map(|thread| {
            let (give, take) = bounded(1);
            let pieces = pieces.clone();
            let all = (first..last).flat_map(move |step| pieces.clone().into_iter().map(move |rows| (step, rows)));
            let heard = sampler.stretch_is_told().then(|| {
                let (tell, heard) = unbounded();
                told.push(tell);
                heard
            });
            scope.spawn(move || make(images, sampler, all.skip(thread).step_by(threads), heard.as_ref(), &give));
            take
        });
        Self { queues: queues.collect(), next: 0, pieces: count, told }
    }

    /// Says which classes are nearest to which, for the batches of a stretch, which are made then. Nothing where batches do not
    /// follow from that.
    pub(crate) fn tell(&self, stretch: u64, nearest: &Arc<Neighbours>) {
        // A thread that has ended wants to know nothing more.
        self.told.iter().for_each(|told| drop(told.send((stretch, Arc::clone(nearest)))));
    }

    /// Leaves out the other pieces of a step whose first one was taken.
    ///
    /// # Errors
    /// As [`Loader::next`].
    pub(crate) fn pass_over(&mut self) -> Result<()> {
        (1..self.pieces).try_for_each(|_| self.next().map(drop))
    }

    /// The next piece, waiting for it where it is not ready.
    ///
    /// # Errors
    /// What [`Images::append`] says; [`Error::Measure`] past the last one.
    pub(crate) fn next(&mut self) -> Result<Batch> {
        let queue = &self.queues[self.next % self.queues.len()];
        self.next += 1;
        queue.recv().map_err(|_| Error::Measure("a thread that makes batches has ended".into()))?
    }
}

fn make(
    images: &Images,
    sampler: &Sampler,
    pieces: impl Iterator<Item = (u64, Range<usize>)>,
    heard: Option<&Receiver<Told>>,
    give: &Sender<Result<Batch>>,
) {
    let mut preprocessor = images.preparation().preprocessor();
    let mut stretch = None;
    for (step, rows) in pieces {
        let (number, at) = (step / sampler.stretch(), step % sampler.stretch());
        if stretch.as_ref().is_none_or(|&(known, _)| known != number) {
            let nearest = heard.map(|heard| heard.iter().find(|(of, _)| *of == number));
            if matches!(nearest, Some(None)) {
                return; // The loader is gone.
            }
            let nearest = nearest.flatten().map(|(_, nearest)| nearest);
            stretch = Some((number, sampler.draw(number, nearest.as_deref())));
        }
        let Some((_, draws)) = &stretch else { return };
        let size = sampler.batch();
        let first = usize::try_from(at).expect("a batch that is in memory") * size;
        let draws = &draws[first..first + size];
        let classes: Vec<i64> = draws.iter().map(|draw| images.data().items[draw.image].class as i64).collect();
        let mut batch = Batch {
            values: Vec::with_capacity(rows.len() * images.preparation().len()),
            labels: Vec::with_capacity(rows.len()),
            has_pairs: has_pairs(&classes),
            classes,
            first_row: rows.start,
        };
        let mut outcome = Ok(());
        for &draw in &draws[rows] {
            match images.append(number, draw, &mut preprocessor, &mut batch.values) {
                Ok(class) => batch.labels.push(class as i64),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let failed = outcome.is_err();
        if give.send(outcome.map(|()| batch)).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augment;
    use crate::images::tests::shapes;
    use crate::sampling::Drawing;

    fn batches(images: &Images, sampler: &Sampler, (first, last): (u64, u64), threads: usize) -> Vec<Batch> {
        std::thread::scope(|scope| {
            let mut loader =
                Loader::start(scope, images, sampler, (first, last), pieces(0..sampler.batch(), 1), threads);
            (first..last).map(|_| loader.next().unwrap()).collect()
        })
    }

    #[test]
    fn threads_change_nothing_and_a_run_goes_on_where_it_was() {
        let augment = Augment { random_crop: Some(0.4), flip: true, rotate: 10.0, ..Augment::default() };
        let images = shapes(augment, 100_000);
        let sampler = Sampler::new(&images.labels(), 8, Drawing::Balanced { per_class: 4 }, 2).unwrap();
        assert_eq!(sampler.batches(), 4);
        let alone = batches(&images, &sampler, (0, 10), 1);
        assert_eq!(alone, batches(&images, &sampler, (0, 10), 3));
        assert_eq!(alone[6..], batches(&images, &sampler, (6, 10), 2)[..]);
        assert_ne!(alone[0], alone[4], "the next epoch differs");
        for batch in &alone {
            assert_eq!(batch.labels.iter().filter(|&&class| class == 0).count(), 4);
        }
    }

    #[test]
    fn the_rows_of_ranks_are_those_of_one() {
        let images = shapes(Augment { flip: true, rotate: 10.0, ..Augment::default() }, 100_000);
        let sampler = Sampler::new(&images.labels(), 8, Drawing::Balanced { per_class: 4 }, 2).unwrap();
        let of = |rows: Range<usize>| {
            std::thread::scope(|scope| Loader::start(scope, &images, &sampler, (5, 6), vec![rows], 1).next().unwrap())
        };
        let (whole, parts) = (of(0..8), [0..3, 3..3, 3..8].map(of));
        assert_eq!(parts.iter().flat_map(|part| part.values.clone()).collect::<Vec<_>>(), whole.values);
        assert_eq!(parts.iter().flat_map(|part| part.labels.clone()).collect::<Vec<_>>(), whole.labels);
        assert!(whole.has_pairs && parts.iter().all(|part| part.has_pairs));
    }

    #[test]
    fn the_parts_of_a_batch_come_twice_and_are_the_batch() {
        let images = shapes(Augment { flip: true, rotate: 10.0, ..Augment::default() }, 100_000);
        let sampler = Sampler::new(&images.labels(), 8, Drawing::Balanced { per_class: 4 }, 2).unwrap();
        assert_eq!(pieces(0..8, 4), [0..2, 2..4, 4..6, 6..8, 0..2, 2..4, 4..6, 6..8]);
        let whole = batches(&images, &sampler, (3, 6), 1);
        for threads in [1, 3] {
            std::thread::scope(|scope| {
                let mut loader = Loader::start(scope, &images, &sampler, (3, 6), pieces(0..8, 4), threads);
                for (step, batch) in whole.iter().enumerate() {
                    let first = loader.next().unwrap();
                    if step == 1 {
                        loader.pass_over().unwrap();
                        continue;
                    }
                    let others: Vec<Batch> = (1..8).map(|_| loader.next().unwrap()).collect();
                    let all: Vec<&Batch> = std::iter::once(&first).chain(&others).collect();
                    for pass in all.chunks(4) {
                        let values: Vec<f32> = pass.iter().flat_map(|part| part.values.clone()).collect();
                        assert!(values == batch.values && pass.iter().all(|part| part.has_pairs));
                    }
                }
                assert!(loader.next().is_err());
            });
        }
    }

    #[test]
    fn a_loader_dropped_early_ends_its_threads() {
        let images = shapes(Augment::default(), 0);
        let sampler = Sampler::new(&images.labels(), 4, Drawing::Random, 2).unwrap();
        std::thread::scope(|scope| {
            let mut loader = Loader::start(scope, &images, &sampler, (0, u64::MAX), pieces(0..4, 1), 2);
            loader.next().unwrap();
        });
    }

    /// Batches of hard classes wait for the stretch to be told, whatever the number of threads; what a run that begins later was
    /// told is enough for it.
    #[test]
    fn batches_follow_from_what_is_told_of_their_stretch() {
        let images = shapes(Augment { flip: true, rotate: 10.0, ..Augment::default() }, 100_000);
        let drawing = Drawing::HardClasses { per_class: 2, share: 0.5, every: Some(3) };
        // To the sampler these are eight classes.
        let labels: Vec<usize> = (0..images.labels().len()).map(|image| image % 8).collect();
        let sampler = Sampler::new(&labels, 4, drawing, 2).unwrap();
        let nearest = |by: usize| {
            let row = |(class, place): (usize, usize)| ((class + by + place) % 8) as i64;
            Arc::new(Neighbours::of_rows(ndarray::Array2::from_shape_fn((8, 1), row)))
        };
        let told = [Arc::new(Neighbours::none(8, 1)), nearest(1), nearest(2), nearest(1)];
        let told = |step: u64| &told[usize::try_from(step / 3).unwrap()];
        let made = |(first, last): (u64, u64), threads: usize| -> Vec<Batch> {
            std::thread::scope(|scope| {
                let mut loader = Loader::start(scope, &images, &sampler, (first, last), pieces(0..4, 1), threads);
                let mut next = |step: u64| {
                    if step == first || step.is_multiple_of(3) {
                        loader.tell(step / 3, told(step));
                    }
                    loader.next().unwrap()
                };
                (first..last).map(&mut next).collect()
            })
        };
        let alone = made((0, 12), 1);
        let mut preprocessor = images.preparation().preprocessor();
        for (step, batch) in (0..).zip(&alone) {
            let draws = sampler.draw(step / 3, Some(told(step).as_ref()));
            let at = usize::try_from(step % 3).unwrap() * 4;
            let mut values = Vec::new();
            for &draw in &draws[at..at + 4] {
                images.append(step / 3, draw, &mut preprocessor, &mut values).unwrap();
            }
            assert!(batch.values == values, "step {step}");
        }
        assert_ne!(sampler.draw(1, Some(told(3).as_ref())), sampler.draw(1, Some(told(6).as_ref())));
        assert_eq!(alone, made((0, 12), 5));
        assert_eq!(alone[4..], made((4, 12), 2)[..]);
        // Nobody waits for ever where the loader goes.
        std::thread::scope(|scope| drop(Loader::start(scope, &images, &sampler, (0, 9), pieces(0..4, 1), 3)));
    }
}
