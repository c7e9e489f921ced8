//! Which images make up each batch: a pure function of seed and epoch, so that a run goes on where it was by its step alone.

use pdloss_embed::{Error, Result};
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::random::{Purpose, stream};

/// One place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Draw {
    /// Index of the image.
    pub(crate) image: usize,
    /// How often the epoch had this image before.
    pub(crate) repeat: u64,
}

/// Draws batches: of all images at random, or of some classes with as many images each.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    /// Images of each class that has any.
    classes: Vec<Vec<usize>>,
    images: usize,
    batch: usize,
    /// Images a class in a balanced batch; `None` for random batches.
    per_class: Option<usize>,
    seed: u64,
}

impl Sampler {
    /// A sampler of images with these classes.
    ///
    /// # Errors
    /// [`Error::Usage`] where the images do not fill a batch, or the batch is no whole number of classes that there are.
    pub(crate) fn new(labels: &[usize], batch: usize, per_class: Option<usize>, seed: u64) -> Result<Self> {
        let mut classes = vec![Vec::new(); labels.iter().max().map_or(0, |last| last + 1)];
        for (image, &class) in labels.iter().enumerate() {
            classes[class].push(image);
        }
        classes.retain(|images| !images.is_empty());
        if batch == 0 || batch > labels.len() {
            return Err(Error::Usage(format!("--batch {batch}: wanted 1 to {}, the images to train on", labels.len())));
        }
        if let Some(each) = per_class {
            if each == 0 || !batch.is_multiple_of(each) {
                return Err(Error::Usage(format!("--per-class {each}: wanted a divisor of --batch {batch}")));
            }
            let wanted = batch / each;
            if wanted > classes.len() {
                return Err(Error::Usage(format!(
                    "--batch {batch} of --per-class {each} is {wanted} classes, but there are {}",
                    classes.len()
                )));
            }
        }
        Ok(Self { classes, images: labels.len(), batch, per_class, seed })
    }

    /// Images in a batch.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Batches in an epoch: as many as its images fill.
    pub(crate) fn batches(&self) -> u64 {
        (self.images / self.batch) as u64
    }

    /// The draws of an epoch, batch after batch.
    ///
    /// A random epoch has every image once, but for those that fill no last batch. A balanced epoch goes through the
    /// classes, and through the images of each, in random order, again and again until it is as long.
    pub(crate) fn epoch(&self, epoch: u64) -> Vec<Draw> {
        let mut random = stream(self.seed, Purpose::Order, [epoch, 0, 0]);
        let length = self.images / self.batch * self.batch;
        let images = match self.per_class {
            None => {
                let mut images: Vec<usize> = (0..self.images).collect();
                shuffle(&mut images, &mut random);
                images.truncate(length);
                images
            }
            Some(each) => self.balanced(each, length, &mut random),
        };
        let mut seen = vec![0_u64; self.images];
        let draw = |image: usize| {
            seen[image] += 1;
            Draw { image, repeat: seen[image] - 1 }
        };
        images.into_iter().map(draw).collect()
    }

    fn balanced(&self, each: usize, length: usize, random: &mut Pcg64) -> Vec<usize> {
        let in_batch = self.batch / each;
        let mut images = Vec::with_capacity(length);
        let mut order: Vec<usize> = Vec::new();
        let mut left: Vec<Vec<usize>> = vec![Vec::new(); self.classes.len()];
        while images.len() < length {
            // What is left of a round is let go, so that a batch never has a class twice.
            if order.len() < in_batch {
                order = (0..self.classes.len()).collect();
                shuffle(&mut order, random);
            }
            for class in order.split_off(order.len() - in_batch) {
                let (all, left) = (&self.classes[class], &mut left[class]);
                if left.len() < each && all.len() >= each {
                    left.clear();
                }
                while left.len() < each {
                    let mut again = all.clone();
                    shuffle(&mut again, random);
                    left.extend(again);
                }
                images.extend(left.split_off(left.len() - each));
            }
        }
        images
    }
}

/// Fisher and Yates's shuffle, written out because that of a library may change with its version, and a run with it.
fn shuffle(items: &mut [usize], random: &mut Pcg64) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.random_range(0..=last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Classes of 1, 2, 3, ... images.
    fn labels(classes: usize) -> Vec<usize> {
        (0..classes).flat_map(|class| vec![class; class + 1]).collect()
    }

    #[test]
    fn a_random_epoch_has_each_image_at_most_once_and_differs_from_the_next() {
        let sampler = Sampler::new(&labels(7), 5, None, 3).unwrap();
        let epoch = sampler.epoch(0);
        assert_eq!((sampler.batches(), epoch.len()), (5, 25));
        assert_eq!(epoch.iter().map(|d| d.image).collect::<HashSet<_>>().len(), 25);
        assert!(epoch.iter().all(|d| d.repeat == 0));
        assert_ne!(epoch, sampler.epoch(1));
        assert_eq!(epoch, sampler.epoch(0));
        assert_ne!(epoch, Sampler::new(&labels(7), 5, None, 4).unwrap().epoch(0));
        let over_many: HashSet<usize> = (0..9).flat_map(|e| sampler.epoch(e)).map(|d| d.image).collect();
        assert_eq!(over_many.len(), 28, "no image is left out for ever");
    }

    #[test]
    fn a_balanced_batch_has_classes_once_with_as_many_images_each() {
        let labels = labels(7);
        let sampler = Sampler::new(&labels, 12, Some(4), 0).unwrap();
        for epoch in 0..20 {
            let draws = sampler.epoch(epoch);
            assert_eq!(draws.len(), 24);
            assert_eq!(draws.iter().collect::<HashSet<_>>().len(), 24, "a repeat has its own number");
            for batch in draws.chunks(12) {
                let mut classes = HashSet::new();
                for group in batch.chunks(4) {
                    let class = labels[group[0].image];
                    assert!(group.iter().all(|d| labels[d.image] == class));
                    assert!(classes.insert(class), "class {class} twice in a batch");
                    let distinct: HashSet<usize> = group.iter().map(|d| d.image).collect();
                    assert_eq!(distinct.len(), 4.min(class + 1), "no image twice while others are left");
                }
            }
        }
    }

    #[test]
    fn batches_that_cannot_be_are_refused() {
        let labels = labels(4);
        let refused = |batch, each| Sampler::new(&labels, batch, each, 0).unwrap_err().to_string();
        assert!(refused(11, None).contains("--batch 11"));
        assert!(refused(0, None).contains("--batch 0"));
        assert!(refused(8, Some(3)).contains("--per-class 3"));
        assert!(refused(8, Some(0)).contains("--per-class 0"));
        assert!(refused(10, Some(2)).contains("5 classes, but there are 4"));
    }
}
