//! Which images make up each batch: a pure function of seed and epoch (and of the nearest classes, where a way to draw asks for
//! them), so that a run goes on where it was by its step alone.

use pdloss_embed::{Error, Result};
use rand::{Rng, RngExt};
use rand_pcg::Pcg64;

use crate::neighbours::Neighbours;
use crate::random::{Purpose, stream};
use crate::sampling::Drawing;

/// One place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Draw {
    /// Index of the image.
    pub(crate) image: usize,
    /// How often the stretch had this image before.
    pub(crate) repeat: u64,
}

/// Draws batches.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    /// Classes that have images: their numbers, in order, and their images.
    classes: Vec<(usize, Vec<usize>)>,
    images: usize,
    batch: usize,
    drawing: Drawing,
    /// Of each image, its weight and those of all before it; of weighted batches.
    weights: Vec<f64>,
    /// The least weight above 0 of the data's own, the largest, and how many images weigh nothing.
    listed: Option<(f64, f64, usize)>,
    seed: u64,
}

impl Sampler {
    /// A sampler of images with these classes.
    ///
    /// # Errors
    /// [`Error::Usage`] where the images do not fill a batch, or the batch is no whole number of classes that there are.
    #[cfg(test)]
    pub(crate) fn new(labels: &[usize], batch: usize, drawing: Drawing, seed: u64) -> Result<Self> {
        Self::with_weights(labels, &[], (batch, drawing), seed)
    }

    /// A sampler of images with these classes, and for [`Drawing::Listed`] these weights, finite and not below 0.
    ///
    /// # Errors
    /// [`Error::Usage`] where the images do not fill a batch, the batch is no whole number of classes that there are, or no image
    /// weighs anything.
    pub(crate) fn with_weights(
        labels: &[usize],
        listed: &[f64],
        (batch, drawing): (usize, Drawing),
        seed: u64,
    ) -> Result<Self> {
        let mut images = vec![Vec::new(); labels.iter().max().map_or(0, |last| last + 1)];
        for (image, &class) in labels.iter().enumerate() {
            images[class].push(image);
        }
        let own: Vec<f64> = match drawing {
            Drawing::Weighted { power } => {
                labels.iter().map(|&class| (images[class].len() as f64).powf(-power)).collect()
            }
            Drawing::Listed => listed.to_vec(),
            _ => Vec::new(),
        };
        let sums = own.iter().scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let weights: Vec<f64> = sums.collect();
        let listed = (drawing == Drawing::Listed).then(|| {
            let above = || own.iter().copied().filter(|weight| *weight > 0.0);
            (above().fold(f64::INFINITY, f64::min), above().fold(0.0, f64::max), own.len() - above().count())
        });
        if let (Some((_, largest, _)), total) = (listed, weights.last().copied().unwrap_or(0.0))
            && !(largest > 0.0 && total.is_finite())
        {
            let problem = if largest > 0.0 { "weigh more together than a number holds" } else { "all weigh 0" };
            return Err(Error::Usage(format!("--weight-column: the images to train on {problem}")));
        }
        let classes: Vec<_> = images.into_iter().enumerate().filter(|(_, images)| !images.is_empty()).collect();
        if batch == 0 || batch > labels.len() {
            return Err(Error::Usage(format!("--batch {batch}: wanted 1 to {}, the images to train on", labels.len())));
        }
        let sampler = Self { classes, images: labels.len(), batch, drawing, weights, listed, seed };
        if let Some(each) = sampler.per_class() {
            if each == 0 || !batch.is_multiple_of(each) {
                return Err(Error::Usage(format!("--per-class {each}: wanted a divisor of --batch {batch}")));
            }
            let (wanted, classes) = (batch / each, sampler.classes.len());
            if wanted > classes {
                return Err(Error::Usage(format!(
                    "--batch {batch} of --per-class {each} is {wanted} classes, but there are {classes}"
                )));
            }
            if sampler.stretch_is_told() && wanted == classes {
                return Err(Error::Usage(format!(
                    "--sampler hard-classes changes nothing here: a batch has all {classes} classes; take --sampler balanced, or a \
                     smaller --batch"
                )));
            }
            if sampler.stretch_is_told() && wanted < 2 {
                return Err(Error::Usage(format!(
                    "--sampler hard-classes: --batch {batch} of --per-class {each} is one class; wanted at least 2"
                )));
            }
        }
        Ok(sampler)
    }

    /// Images in a batch.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Batches in an epoch: as many as its images fill.
    pub(crate) fn batches(&self) -> u64 {
        (self.images / self.batch) as u64
    }

    /// Batches that are drawn together: those of an epoch, or of the steps in which the nearest classes stay the same.
    pub(crate) fn stretch(&self) -> u64 {
        match self.drawing {
            Drawing::HardClasses { every: Some(every), .. } => every,
            _ => self.batches(),
        }
    }

    /// Refuses a run of so many steps that ends before its first hard classes.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the flag.
    pub(crate) fn check(&self, steps: u64) -> Result<()> {
        let stretch = self.stretch();
        let Drawing::HardClasses { every, .. } = self.drawing else { return Ok(()) };
        if stretch < steps {
            return Ok(());
        }
        let what = match every {
            Some(every) => format!("--hard-every {every}"),
            None => format!("--sampler hard-classes: nearest classes are searched after an epoch of {stretch} steps"),
        };
        Err(Error::Usage(format!(
            "{what}: the run has {steps} steps and would have random classes alone; wanted --hard-every below {steps}, more steps, or \
             --sampler balanced"
        )))
    }

    /// Whether a stretch is drawn by which classes are nearest to which.
    pub(crate) fn stretch_is_told(&self) -> bool {
        matches!(self.drawing, Drawing::HardClasses { .. })
    }

    /// Images of a class in a batch, where it is of whole classes.
    fn per_class(&self) -> Option<usize> {
        match self.drawing {
            Drawing::Balanced { per_class } | Drawing::HardClasses { per_class, .. } => Some(per_class),
            Drawing::Random | Drawing::Weighted { .. } | Drawing::Listed => None,
        }
    }

    /// Classes in a batch, and how many of them are to be near to another.
    pub(crate) fn in_batch(&self) -> Option<(usize, usize)> {
        let classes = self.batch / self.per_class()?;
        let hard = match self.drawing {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
            Drawing::HardClasses { share, .. } => ((share * classes as f64).round() as usize).clamp(1, classes - 1),
            _ => 0,
        };
        Some((classes, hard))
    }

    /// How batches are drawn, in words.
    pub(crate) fn in_words(&self) -> String {
        let Some((classes, hard)) = self.in_batch() else {
            return if self.weights.is_empty() { "at random" } else { "by weight, with replacement" }.to_owned();
        };
        let each = self.batch / classes;
        let near = if hard > 0 { format!(", {hard} of them near to another") } else { String::new() };
        format!("{each} of each of {classes} classes{near}")
    }

    /// What is to be said of it beside; `source` are the vectors that stand for classes.
    pub(crate) fn said(&self, source: &str) -> Option<String> {
        match self.drawing {
            Drawing::Weighted { power } => {
                let counts = || self.classes.iter().map(|(_, images)| images.len());
                let (least, most) = (counts().min().unwrap_or(1), counts().max().unwrap_or(1));
                let how = if least == most || power == 0.0 {
                    "all images weigh the same, as they would without".to_owned()
                } else {
                    let ratio = (most as f64 / least as f64).powf(power);
                    format!(
                        "an image of the smallest class ({least}) is drawn {ratio:.3} times as often as one of the largest ({most})"
                    )
                };
                Some(format!(
                    "--sampler weighted: images are drawn with replacement, each with the weight 1 / (images of its class)^{power}: \
                     {how}; an epoch may have an image several times, and others not at all"
                ))
            }
            Drawing::Listed => {
                let (least, largest, nothing) = self.listed?;
                let never =
                    if nothing > 0 { format!("; {nothing} images weigh 0 and are never drawn") } else { String::new() };
                Some(format!(
                    "--sampler weighted: images are drawn with replacement, each with the weight that the list says, from {least} to \
                     {largest}{never}; an epoch may have an image several times, and others not at all"
                ))
            }
            Drawing::HardClasses { .. } => {
                let ((classes, hard), stretch) = (self.in_batch()?, self.stretch());
                Some(format!(
                    "--sampler hard-classes: {hard} of the {classes} classes of a batch are those nearest to one of the other {}, by \
                     the cosines of {source}, which are searched anew every {stretch} steps; the first {stretch} steps have random \
                     classes alone",
                    classes - hard
                ))
            }
            Drawing::Random | Drawing::Balanced { .. } => None,
        }
    }

    /// The draws of a stretch, batch after batch.
    ///
    /// A random epoch has every image once, but for those that fill no last batch. A balanced epoch goes through the
    /// classes, and through the images of each, in random order, again and again until it is as long. With nearest classes only
    /// some of a batch's classes come in that order, and the others are each the nearest to one of these that the batch does not
    /// have yet.
    pub(crate) fn draw(&self, stretch: u64, nearest: Option<&Neighbours>) -> Vec<Draw> {
        let mut random = stream(self.seed, Purpose::Order, [stretch, 0, 0]);
        let length = usize::try_from(self.stretch()).unwrap_or(usize::MAX).saturating_mul(self.batch);
        let images = match self.in_batch() {
            Some((in_batch, hard)) => {
                let nearest = nearest.filter(|nearest| !nearest.is_empty()).map(|nearest| (nearest, hard));
                self.by_class(in_batch, nearest, length, &mut random)
            }
            None if self.weights.is_empty() => {
                let mut images: Vec<usize> = (0..self.images).collect();
                shuffle(&mut images, &mut random);
                images.truncate(length);
                images
            }
            None => (0..length).map(|_| self.weighted(&mut random)).collect(),
        };
        let mut seen = vec![0_u64; self.images];
        let draw = |image: usize| {
            seen[image] += 1;
            Draw { image, repeat: seen[image] - 1 }
        };
        images.into_iter().map(draw).collect()
    }

    /// An image by the weights.
    fn weighted(&self, random: &mut Pcg64) -> usize {
        // 53 bits, written out for the same reason as the shuffle.
        let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let target = share * self.weights.last().copied().unwrap_or_default();
        // A sum is above the target where an image weighs something: the last of these, should rounding leave none.
        let beyond = || self.weights.partition_point(|&sum| sum < self.weights[self.images - 1]);
        Some(self.weights.partition_point(|&sum| sum <= target)).filter(|&at| at < self.images).unwrap_or_else(beyond)
    }

    /// Images of whole classes; with nearest classes and how many of a batch's are to be such.
    fn by_class(
        &self,
        in_batch: usize,
        nearest: Option<(&Neighbours, usize)>,
        length: usize,
        random: &mut Pcg64,
    ) -> Vec<usize> {
        let each = self.batch / in_batch;
        let anchors = in_batch - nearest.map_or(0, |(_, hard)| hard);
        let mut images = Vec::with_capacity(length);
        let mut order: Vec<usize> = Vec::new();
        let mut left: Vec<Vec<usize>> = vec![Vec::new(); self.classes.len()];
        while images.len() < length {
            // What is left of a round is let go, so that a batch never has a class twice.
            if order.len() < anchors {
                order = (0..self.classes.len()).collect();
                shuffle(&mut order, random);
            }
            let mut classes = order.split_off(order.len() - anchors);
            while let (Some((nearest, _)), true) = (nearest, classes.len() < in_batch) {
                classes.push(self.near_one(&classes, anchors, nearest, random));
            }
            for class in classes {
                let (all, left) = (&self.classes[class].1, &mut left[class]);
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

    /// The class nearest to one of the first of a batch's, which take turns, that it does not have yet; any other, where nothing is
    /// known of that one.
    fn near_one(&self, batch: &[usize], anchors: usize, nearest: &Neighbours, random: &mut Pcg64) -> usize {
        let (anchor, _) = self.classes[batch[(batch.len() - anchors) % anchors]];
        let place = |number: usize| self.classes.binary_search_by_key(&number, |(number, _)| *number).ok();
        let is_new = |class: &usize| !batch.contains(class);
        if let Some(found) = nearest.of(anchor).filter_map(place).find(is_new) {
            return found;
        }
        let others: Vec<usize> = (0..self.classes.len()).filter(is_new).collect();
        others[random.random_range(0..others.len())]
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
    use std::collections::{HashMap, HashSet};

    use ndarray::Array2;

    /// Classes of 1, 2, 3, ... images.
    fn labels(classes: usize) -> Vec<usize> {
        (0..classes).flat_map(|class| vec![class; class + 1]).collect()
    }

    #[test]
    fn listed_weights_are_drawn_by_and_0_never_is() {
        let labels = [0, 0, 1, 1, 1, 2];
        let weights = [0.0, 1.0, 2.0, 0.0, 5.0, 0.0];
        let make = |weights: &[f64]| Sampler::with_weights(&labels, weights, (6, Drawing::Listed), 3);
        let sampler = make(&weights).unwrap();
        let mut counts = [0.0; 6];
        for epoch in 0..2000 {
            sampler.draw(epoch, None).iter().for_each(|draw| counts[draw.image] += 1.0 / 12_000.0);
        }
        for (count, weight) in counts.into_iter().zip(weights) {
            let wanted: f64 = weight / 8.0;
            // Four deviations.
            assert!((count - wanted).abs() <= 4.0 * (wanted * (1.0 - wanted) / 12_000.0).sqrt(), "{counts:?}");
        }
        let said = sampler.said("").unwrap();
        assert!(said.contains("from 1 to 5; 3 images weigh 0 and are never drawn"), "{said}");
        assert!(
            make(&[0.0; 6]).unwrap_err().to_string().contains("--weight-column: the images to train on all weigh 0")
        );
        assert!(make(&[f64::MAX; 6]).unwrap_err().to_string().contains("more together than a number holds"));
    }

    #[test]
    fn a_random_epoch_has_each_image_at_most_once_and_differs_from_the_next() {
        let sampler = Sampler::new(&labels(7), 5, Drawing::Random, 3).unwrap();
        let epoch = sampler.draw(0, None);
        assert_eq!((sampler.batches(), epoch.len()), (5, 25));
        assert_eq!(epoch.iter().map(|d| d.image).collect::<HashSet<_>>().len(), 25);
        assert!(epoch.iter().all(|d| d.repeat == 0));
        assert_ne!(epoch, sampler.draw(1, None));
        assert_eq!(epoch, sampler.draw(0, None));
        assert_ne!(epoch, Sampler::new(&labels(7), 5, Drawing::Random, 4).unwrap().draw(0, None));
        let over_many: HashSet<usize> = (0..9).flat_map(|e| sampler.draw(e, None)).map(|d| d.image).collect();
        assert_eq!(over_many.len(), 28, "no image is left out for ever");
    }

    #[test]
    fn a_balanced_batch_has_classes_once_with_as_many_images_each() {
        let labels = labels(7);
        let sampler = Sampler::new(&labels, 12, Drawing::Balanced { per_class: 4 }, 0).unwrap();
        for epoch in 0..20 {
            let draws = sampler.draw(epoch, None);
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
        let refused = |batch, drawing| Sampler::new(&labels, batch, drawing, 0).unwrap_err().to_string();
        let balanced = |per_class| Drawing::Balanced { per_class };
        assert!(refused(11, Drawing::Random).contains("--batch 11"));
        assert!(refused(0, Drawing::Weighted { power: 1.0 }).contains("--batch 0"));
        assert!(refused(8, balanced(3)).contains("--per-class 3"));
        assert!(refused(8, balanced(0)).contains("--per-class 0"));
        assert!(refused(10, balanced(2)).contains("5 classes, but there are 4"));
        assert!(refused(4, hard(4, 0.5, 3)).contains("is one class; wanted at least 2"));
        assert!(refused(8, hard(2, 0.5, 3)).contains("changes nothing here: a batch has all 4 classes"));
    }

    fn hard(per_class: usize, share: f64, every: u64) -> Drawing {
        Drawing::HardClasses { per_class, share, every: Some(every) }
    }

    /// How often each class is drawn follows its weight, to six deviations of a count of independent draws.
    #[test]
    fn weights_are_how_often_a_class_is_drawn() {
        let labels = labels(7);
        for power in [0.0, 0.5, 1.0, 2.0] {
            let sampler = Sampler::new(&labels, 28, Drawing::Weighted { power }, 1).unwrap();
            let epochs = 400;
            let mut counts = [0_u32; 28];
            for draw in (0..epochs).flat_map(|epoch| sampler.draw(epoch, None)) {
                counts[draw.image] += 1;
            }
            let weight = |class: usize| (class as f64 + 1.0).powf(-power);
            let total: f64 = labels.iter().map(|&class| weight(class)).sum();
            let draws = f64::from(counts.iter().sum::<u32>());
            assert_eq!(draws, 28.0 * epochs as f64);
            for (image, &class) in labels.iter().enumerate() {
                let share = weight(class) / total;
                let (wanted, deviation) = (draws * share, (draws * share * (1.0 - share)).sqrt());
                let got = f64::from(counts[image]);
                assert!((got - wanted).abs() < 6.0 * deviation, "power {power}, image {image}: {got}, wanted {wanted}");
            }
        }
        let sampler = Sampler::new(&labels, 5, Drawing::Weighted { power: 1.0 }, 1).unwrap();
        let epoch = sampler.draw(0, None);
        assert_eq!(epoch.len(), 25);
        assert_eq!(epoch, sampler.draw(0, None));
        assert_ne!(epoch, sampler.draw(1, None));
        assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), 25, "a repeat has its own number");
        assert!(epoch.iter().any(|draw| draw.repeat > 0), "with replacement");
    }

    /// What stands for the definition: the classes that come first are followed by the nearest to each in turn that is not there.
    #[test]
    fn hard_classes_are_the_nearest_that_a_batch_does_not_have() {
        let labels = labels(9);
        // The nearest to each are those of the next numbers; class 5 knows none.
        let rows = Array2::from_shape_fn((9, 5), |(c, k)| if c == 5 { -1 } else { ((c + k + 1) % 9) as i64 });
        let nearest = Neighbours::of_rows(rows);
        for (share, few) in [(0.5, 3), (0.2, 1), (0.9, 5), (0.01, 1)] {
            let sampler = Sampler::new(&labels, 12, hard(2, share, 40), 0).unwrap();
            assert_eq!((sampler.in_batch(), sampler.stretch(), sampler.batches()), (Some((6, few)), 40, 3));
            let draws = sampler.draw(7, Some(&nearest));
            assert_eq!(draws, sampler.draw(7, Some(&nearest)));
            assert_eq!(draws.len(), 40 * 12);
            assert_eq!(draws.iter().collect::<HashSet<_>>().len(), draws.len(), "a repeat has its own number");
            let mut as_anchor: HashMap<usize, u32> = HashMap::new();
            for batch in draws.chunks(12) {
                let classes: Vec<usize> = batch.chunks(2).map(|two| labels[two[0].image]).collect();
                assert!(batch.chunks(2).all(|two| labels[two[0].image] == labels[two[1].image]));
                assert_eq!(classes.iter().collect::<HashSet<_>>().len(), 6, "no class twice: {classes:?}");
                let anchors = 6 - few;
                classes[..anchors].iter().for_each(|&class| *as_anchor.entry(class).or_default() += 1);
                for at in anchors..6 {
                    let anchor = classes[(at - anchors) % anchors];
                    if anchor == 5 {
                        continue;
                    }
                    let wanted = (1..9).map(|k| (anchor + k) % 9).find(|class| !classes[..at].contains(class));
                    assert_eq!(Some(classes[at]), wanted, "{classes:?}");
                }
            }
            assert_eq!(as_anchor.len(), 9, "every class has its turn");
        }
        // Where nothing is known, batches are balanced ones.
        let sampler = Sampler::new(&labels, 12, hard(2, 0.5, 3), 4).unwrap();
        let balanced = Sampler::new(&labels, 12, Drawing::Balanced { per_class: 2 }, 4).unwrap();
        assert_eq!(sampler.draw(0, Some(&Neighbours::none(9, 5))), balanced.draw(0, None));
    }

    /// Numbers of classes are those of the data set, also where some have no images.
    #[test]
    fn a_class_without_images_is_nobody_s_neighbour() {
        let labels = [0, 0, 2, 2, 5, 5];
        let rows = Array2::from_shape_fn((6, 2), |(c, k)| [[1, 5], [0, 2], [1, 0], [0, 1], [0, 1], [4, 2]][c][k]);
        let sampler = Sampler::new(&labels, 4, hard(2, 0.5, 30), 0).unwrap();
        for batch in sampler.draw(1, Some(&Neighbours::of_rows(rows))).chunks(4) {
            let (anchor, near) = (labels[batch[0].image], labels[batch[2].image]);
            assert_eq!(near, [(0, 5), (2, 0), (5, 2)].iter().find(|(class, _)| *class == anchor).unwrap().1);
        }
    }
}
