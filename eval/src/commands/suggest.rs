//! Which preprocessing a model wants: candidates for each step, tried on a sample of labelled images by d' of all its pairs.

use std::collections::{HashMap, HashSet};

use pdloss_embed::console::{Progress, Speech, inform};
use pdloss_embed::dataset::{Dataset, Item, Role};
use pdloss_embed::embedder::{Embedder, Prepared};
use pdloss_embed::embeddings::Embeddings;
use pdloss_embed::pipeline::{Embedded, embed};
use pdloss_embed::preprocess::{Color, Origin, Pad, Recipe, Resize, Size};

use crate::Result;
use crate::metrics::verification::{Rates, tally_alone};

/// Images of each class in a sample, where there are as many.
const OF_A_CLASS: usize = 5;
/// Ways that are tried at most, the first included.
const MOST_CANDIDATES: usize = 15;

/// A recipe, and what it changes.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// What is changed, in words.
    pub(super) change: String,
    /// The whole recipe.
    pub(super) recipe: Recipe,
}

/// What a candidate came to.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    /// The recipe.
    pub(super) candidate: Candidate,
    /// All that it changes, one upon another, its own change last; nothing where it is what is tried first.
    changes: Vec<String>,
    /// d' of all pairs of the sample; `None` where the embeddings have none (all alike, NaN).
    pub(super) d_prime: Option<f64>,
}

impl Tried {
    /// All that it changes, in words.
    pub(super) fn words(&self) -> String {
        if self.changes.is_empty() { self.candidate.change.clone() } else { self.changes.join("; ") }
    }

    /// By more than what a sample leaves open.
    fn is_better_than(&self, other: &Self) -> bool {
        const MARGIN: f64 = 0.02;
        self.d_prime.unwrap_or(f64::NEG_INFINITY)
            > other.d_prime.map_or(f64::NEG_INFINITY, |other| other + MARGIN * other.abs())
    }
}

/// Ranges of pixel values that models are trained on.
fn ranges(from: &Recipe) -> Vec<Candidate> {
    let over_255 = 1.0 / 255.0;
    let imagenet = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
    let grey = from.color == Color::Gray;
    let all = [
        ("values 0 to 1", over_255, vec![0.0], vec![1.0]),
        ("values -1 to 1", over_255, vec![0.5], vec![0.5]),
        ("ImageNet's mean and deviation", over_255, imagenet.0, imagenet.1),
        ("values 0 to 255", 1.0, vec![0.0], vec![1.0]),
    ];
    let candidate = |(change, scale, mut mean, mut std): (&str, f64, Vec<f64>, Vec<f64>)| {
        if from.color == Color::Bgr {
            mean.reverse();
            std.reverse();
        }
        Candidate { change: change.to_owned(), recipe: Recipe { scale, mean, std, ..from.clone() } }
    };
    all.into_iter().filter(|(_, _, mean, _)| !grey || mean.len() == 1).map(candidate).collect()
}

/// Ways to bring an image to the model's size.
fn sizes(from: &Recipe, size: Size) -> Vec<Candidate> {
    let Size { width, height } = size;
    let over = |share: u32, side: u32| u32::try_from(u64::from(side) * u64::from(share) / 100).unwrap_or(side);
    let cover = |share: u32| Resize::Cover(Size { width: over(share, width), height: over(share, height) });
    let larger = Resize::Exact(Size { width: over(125, width), height: over(125, height) });
    let all = [
        (format!("squeezed to {size}"), Resize::Exact(size), None, None),
        (format!("scaled to cover {size}, centre crop"), cover(100), Some(size), None),
        (format!("scaled to cover 8/7 of {size}, centre crop"), cover(115), Some(size), None),
        (format!("squeezed to 5/4 of {size}, centre crop"), larger, Some(size), None),
        (format!("not resized, in the middle of a canvas of {size}"), Resize::None, None, Some(Pad { size, at: None })),
    ];
    let candidate =
        |(change, resize, crop, pad)| Candidate { change, recipe: Recipe { resize, crop, pad, ..from.clone() } };
    all.into_iter().map(candidate).collect()
}

/// Orders of the channels.
fn orders(from: &Recipe) -> Vec<Candidate> {
    let turned = match from.color {
        Color::Rgb => ("blue, green, red", Color::Bgr),
        Color::Bgr => ("red, green, blue", Color::Rgb),
        Color::Gray => return Vec::new(),
    };
    let (mut mean, mut std) = (from.mean.clone(), from.std.clone());
    mean.reverse();
    std.reverse();
    vec![Candidate { change: turned.0.to_owned(), recipe: Recipe { color: turned.1, mean, std, ..from.clone() } }]
}

/// Candidates for one step, on top of a recipe.
type Ways<'a> = &'a dyn Fn(&Recipe) -> Vec<Candidate>;

/// A model, and the sample that candidates are tried on.
pub(super) struct Trial<'a> {
    model: &'a Prepared,
    sample: Dataset,
    threads: usize,
    /// Open for images of this shape: most candidates have the same.
    open: Option<(Option<[usize; 3]>, Embedder)>,
    /// Images that cannot be used as the model is prepared, and are no part of the sample.
    unusable: usize,
}

impl<'a> Trial<'a> {
    /// A trial on a sample of about so many images: classes from all over the data set, the same each time. `None` where no
    /// two classes have two images.
    pub(super) fn new(model: &'a Prepared, mut data: Dataset, wanted: usize, threads: usize) -> Option<Self> {
        data.items = sample(&data.items, wanted)?;
        Some(Self { model, sample: data, threads, open: None, unusable: 0 })
    }

    /// Images left out because they cannot be used.
    pub(super) fn unusable(&self) -> usize {
        self.unusable
    }

    /// Images in the sample.
    pub(super) fn images(&self) -> usize {
        self.sample.items.len()
    }

    /// The model's recipe as it is, then one step after another: ranges of values, sizes, ranges again, orders of channels,
    /// each on top of the best before it. In the order in which they were tried.
    ///
    /// # Errors
    /// Those of embedding as the model is prepared.
    pub(super) fn run(&mut self) -> Result<Vec<Tried>> {
        let recipe = &self.model.recipe;
        let size = self.model.model().image_size().or(recipe.output_size());
        let now = Candidate { change: "unchanged".to_owned(), recipe: recipe.clone() };
        let first = self.embedded(recipe)?;
        let bad: HashSet<&str> = first.skipped.iter().map(|(name, _)| name.as_str()).collect();
        self.sample.items.retain(|item| !bad.contains(item.name.as_str()));
        self.unusable = bad.len();
        let mut tried = vec![Tried { d_prime: d_prime(&first.embeddings)?, candidate: now, changes: Vec::new() }];
        let sizes = |from: &Recipe| size.map(|size| sizes(from, size)).unwrap_or_default();
        // What range is best may be seen only at the right size.
        let steps: [Ways<'_>; 4] = [&ranges, &sizes, &ranges, &orders];
        let progress = Progress::new("trying preprocessing", "candidates", MOST_CANDIDATES - 1);
        for candidates in steps {
            let best = best(&tried).clone();
            for candidate in candidates(&best.candidate.recipe) {
                progress.advance(1);
                let is_new = tried.iter().all(|tried| tried.candidate.recipe != candidate.recipe);
                if is_new && candidate.recipe.check().is_ok() && self.model.model().accepts(&candidate.recipe).is_ok() {
                    // Where an image does not fit a canvas, figures would be of the others alone.
                    let whole = self.embedded(&candidate.recipe).ok().filter(|embedded| embedded.skipped.is_empty());
                    let d_prime = whole.and_then(|embedded| d_prime(&embedded.embeddings).ok().flatten());
                    let changes = [&best.changes[..], std::slice::from_ref(&candidate.change)].concat();
                    tried.push(Tried { d_prime, candidate, changes });
                }
            }
        }
        Ok(tried)
    }

    /// The sample, prepared so.
    fn embedded(&mut self, recipe: &Recipe) -> Result<Embedded> {
        let model = self.model.model();
        let layout = recipe.layout.unwrap_or(model.layout());
        let image = recipe.output_size().map(|size| layout.axes(recipe.color.channels(), size));
        let embedder = match self.open.take().filter(|(shape, _)| *shape == image) {
            Some((_, embedder)) => embedder,
            None => Embedder::open(model.clone(), image, &self.model.options)?,
        };
        let (_, embedder) = self.open.insert((image, embedder));
        let _quiet = NoProgress::begin();
        embed(&self.sample, recipe, embedder, self.threads, true)
    }
}

/// d' of all pairs.
fn d_prime(embeddings: &Embeddings) -> Result<Option<f64>> {
    let rates = Rates::of(&tally_alone(embeddings)?);
    Ok(rates.decidability.d_prime.filter(|d_prime| d_prime.is_finite()))
}

/// The best of what was tried, the earlier where two are about equal.
pub(super) fn best(tried: &[Tried]) -> &Tried {
    tried.iter().skip(1).fold(&tried[0], |best, next| if next.is_better_than(best) { next } else { best })
}

/// A sentence for a person whose figures look like a fault of preprocessing: where another candidate is far better.
pub(super) fn doubt(tried: &[Tried], images: usize) -> Option<String> {
    /// Less is what a sample leaves open.
    const FAR: f64 = 1.25;
    let (now, best) = (&tried[0], best(tried));
    let is_far = match (now.d_prime, best.d_prime) {
        (Some(now), Some(best)) => best > 0.5 && best > FAR * now,
        (None, Some(best)) => best > 0.5,
        _ => false,
    };
    let word = |d_prime: Option<f64>| d_prime.map_or("none".to_owned(), |d_prime| format!("{d_prime:.2}"));
    is_far.then(|| {
        format!(
            "PREPROCESSING MAY BE WRONG: on a sample of {images} images d' is {} as they are prepared, and {} with another way \
             ({}); `inspect --suggest --data` tries them and writes the best as a manifest",
            word(now.d_prime),
            word(best.d_prime),
            best.words()
        )
    })
}

/// [`doubt`] on a small sample, where nobody wrote down how the model wants its images: no manifest is there. Where it would take
/// visibly long beside the run, of which it is then no small part, it is left out.
///
/// # Errors
/// Those of embedding as the model is prepared.
pub(super) fn doubt_of(model: &Prepared, data: Dataset, threads: usize) -> Result<Option<String>> {
    /// Fewer images say nothing.
    const FEWEST: usize = 100;
    /// Of the images of the run, so many are embedded again, each way together: a quarter.
    const SHARE: usize = 4;
    /// Bytes of a model that takes some milliseconds for an image: nobody waits for a smaller one.
    const SMALL: u64 = 16 << 20;
    let count = data.items.len();
    if matches!(model.origin, Origin::Manifest(..)) || count < FEWEST {
        return Ok(None);
    }
    // Of a small run twenty images for each way.
    let wanted = (count / (SHARE * MOST_CANDIDATES)).clamp(20, 60);
    let images = wanted * MOST_CANDIDATES;
    if images > count / SHARE && model.model().bytes > SMALL {
        inform(&format!(
            "other ways of preparing images are not tried: they would be up to {images} images beside {count}; \
             `inspect --suggest --data` tries them"
        ));
        return Ok(None);
    }
    let Some(mut trial) = Trial::new(model, data, wanted, threads) else { return Ok(None) };
    let tried = trial.run()?;
    Ok(doubt(&tried, trial.images()))
}

/// Images of as many classes as make the number that is wanted, from all over the data set.
fn sample(items: &[Item], wanted: usize) -> Option<Vec<Item>> {
    let mut of_class: HashMap<usize, Vec<&Item>> = HashMap::new();
    for item in items {
        of_class.entry(item.class).or_default().push(item);
    }
    let mut classes: Vec<(usize, Vec<&Item>)> = of_class.into_iter().filter(|(_, items)| items.len() > 1).collect();
    classes.sort_unstable_by_key(|(class, _)| *class);
    let count = classes.len().min((wanted / OF_A_CLASS).max(2));
    let chosen = (0..count).map(|at| &classes[at * classes.len() / count].1);
    let images = chosen.flat_map(|items| {
        // More of each where classes are few.
        let each = items.len().min(OF_A_CLASS.max(wanted / count));
        (0..each).map(move |at| items[at * items.len() / each])
    });
    let images: Vec<Item> = images.map(|item| Item { role: Role::Both, camera: None, ..item.clone() }).collect();
    (count > 1).then_some(images)
}

/// No progress of single stages while this lives: the trial has its own.
struct NoProgress(Speech);

impl NoProgress {
    fn begin() -> Self {
        let before = Speech::now();
        Speech { progress: false, ..before }.set();
        Self(before)
    }
}

impl Drop for NoProgress {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(class: usize, number: usize) -> Item {
        Item { name: format!("{class}/{number}"), class, role: Role::Query, camera: Some(1) }
    }

    #[test]
    fn a_sample_has_classes_from_all_over_with_a_few_images_each() {
        let items: Vec<Item> = (0..100).flat_map(|class| (0..10).map(move |number| item(class, number))).collect();
        let sample = super::sample(&items, 60).unwrap();
        let mut classes: Vec<usize> = sample.iter().map(|item| item.class).collect();
        classes.dedup();
        assert_eq!((sample.len(), classes.len()), (60, 12));
        assert!(classes.contains(&0) && classes.iter().any(|class| *class > 85), "{classes:?}");
        assert!(sample.iter().all(|item| item.role == Role::Both), "every pair counts");
        for (of, wanted, count) in [(20, 12, 12), (20, 400, 20), (100, 60, 60), (1000, 200, 200)] {
            let sample = super::sample(&items[..of], wanted).unwrap();
            assert_eq!(sample.len(), count, "{wanted} of {of}");
        }
        assert!(super::sample(&items[..10], 60).is_none(), "one class has no impostor pairs");
        let lone: Vec<Item> = (0..9).map(|class| item(class, 0)).collect();
        assert!(super::sample(&lone, 60).is_none(), "classes of one image have no genuine pairs");
    }

    #[test]
    fn candidates_keep_what_they_do_not_change() {
        let from =
            Recipe { color: Color::Bgr, mean: vec![1.0, 2.0, 3.0], std: vec![4.0, 5.0, 6.0], ..Recipe::default() };
        let turned = &orders(&from)[0].recipe;
        assert_eq!(
            (turned.color, &turned.mean[..], &turned.std[..]),
            (Color::Rgb, &[3.0, 2.0, 1.0][..], &[6.0, 5.0, 4.0][..])
        );
        let ranges = ranges(&from);
        let imagenet = ranges.iter().find(|range| range.change.contains("ImageNet")).unwrap();
        assert_eq!(imagenet.recipe.mean, [0.406, 0.456, 0.485], "in the order of the channels");
        let grey = Recipe { color: Color::Gray, ..Recipe::default() };
        assert!(super::ranges(&grey).iter().all(|range| range.recipe.check().is_ok()));
        let size = Size { width: 112, height: 96 };
        for candidate in sizes(&from, size) {
            assert_eq!(candidate.recipe.output_size(), Some(size), "{}", candidate.change);
            assert_eq!(candidate.recipe.mean, from.mean);
        }
    }

    #[test]
    fn a_doubt_is_said_where_another_way_is_far_better() {
        let tried = |d_primes: &[Option<f64>]| {
            let candidate = || Candidate { change: "x".to_owned(), recipe: Recipe::default() };
            d_primes
                .iter()
                .map(|&d_prime| Tried { candidate: candidate(), d_prime, changes: Vec::new() })
                .collect::<Vec<_>>()
        };
        assert!(doubt(&tried(&[Some(1.0), Some(1.2)]), 60).is_none());
        assert!(doubt(&tried(&[Some(1.0), Some(2.0)]), 60).unwrap().contains("1.00"));
        let mut third = tried(&[Some(0.5), Some(1.0), Some(2.0)]);
        third[2].changes = vec!["x".to_owned(), "y".to_owned()];
        assert!(doubt(&third, 60).unwrap().contains("another way (x; y)"), "all that is changed is named");
        assert!(doubt(&tried(&[None, Some(2.0)]), 60).unwrap().contains("none"));
        assert!(doubt(&tried(&[Some(0.1), Some(0.3)]), 60).is_none(), "neither tells classes apart");
        assert!(doubt(&tried(&[Some(-1.0), None]), 60).is_none());
    }
}
