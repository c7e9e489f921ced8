//! The training images: read and checked once before training starts, kept as pixels as far as memory is allowed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{Rgb, RgbImage};
use pdloss_embed::console::Progress;
use pdloss_embed::dataset::Dataset;
use pdloss_embed::digest::hex;
use pdloss_embed::preprocess::{Layout, Preprocessor, Recipe, Size, Traits};
use pdloss_embed::ranks::{self, agree, world};
use pdloss_embed::{Error, Result};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::augment::Augment;
use crate::random::{Purpose, stream};
use crate::sampler::Draw;

/// How images are made ready for the model.
#[derive(Clone, Debug)]
pub(crate) struct Preparation {
    /// From file to model input.
    pub(crate) recipe: Recipe,
    /// Size of the model's input.
    pub(crate) size: Size,
    /// Axes of the model's input.
    pub(crate) layout: Layout,
    /// Random changes on the way.
    pub(crate) augment: Augment,
    /// Seed of the changes.
    pub(crate) seed: u64,
}

impl Preparation {
    pub(crate) fn preprocessor(&self) -> Preprocessor {
        Preprocessor::new(&self.recipe, self.layout)
    }

    /// Numbers in one image.
    pub(crate) fn len(&self) -> usize {
        self.size.width as usize * self.size.height as usize * self.recipe.color.channels()
    }

    /// The part of the way that is the same each time.
    fn pixels(&self, name: &str, bytes: &[u8], preprocessor: &mut Preprocessor) -> Result<RgbImage> {
        if self.augment.takes_whole_images() {
            return preprocessor.decode(name, bytes);
        }
        preprocessor.pixels(name, bytes)
    }

    /// SHA-256 of an image as it is augmented: the same for files that hold it otherwise.
    ///
    /// # Errors
    /// [`Error::Image`] where it cannot be decoded.
    pub(crate) fn sha256(&self, name: &str, bytes: &[u8], preprocessor: &mut Preprocessor) -> Result<[u8; 32]> {
        self.pixels(name, bytes, preprocessor).map(|image| of_pixels(&image))
    }
}

/// SHA-256 of its width and its pixels.
pub(crate) fn of_pixels(image: &RgbImage) -> [u8; 32] {
    let width = image.width().to_le_bytes();
    Sha256::new().chain_update(width).chain_update(image.as_raw()).finalize().into()
}

/// What is said of files of equal bytes under different labels: whatever is learnt of one is unlearnt of the other.
fn of_copies(data: &Dataset, digests: &[[u8; 32]]) -> Option<String> {
    let mut first: HashMap<&[u8; 32], usize> = HashMap::new();
    let mut contrary = Vec::new();
    for (at, digest) in digests.iter().enumerate() {
        let before = *first.entry(digest).or_insert(at);
        contrary.extend((data.items[before].class != data.items[at].class).then_some((before, at)));
    }
    let &(before, at) = contrary.first()?;
    let label = |at: usize| format!("{} ('{}')", data.items[at].name, data.classes[data.items[at].class]);
    Some(format!(
        "{} images are copies of others (files of equal bytes) under another label, and are trained with both: {} and {} ...",
        contrary.len(),
        label(before),
        label(at)
    ))
}

/// Digests of a file and of its pixels, what it has that the model does not see, and its pixels where there is room for them.
type Read = ([[u8; 32]; 2], Traits, Option<RgbImage>);

/// A data set's images, ready to be drawn from by several threads.
#[derive(Debug)]
pub(crate) struct Images {
    data: Dataset,
    preparation: Preparation,
    /// Pixels of the images for which there was room.
    kept: Vec<OnceLock<RgbImage>>,
    /// Bytes that are left for more.
    room: AtomicUsize,
    /// SHA-256 of each image's bytes as they were first read.
    digests: Vec<[u8; 32]>,
    /// The same of its pixels.
    of_pixels: Vec<[u8; 32]>,
}

/// What the first reading of all images found.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The images that can be used.
    pub(crate) images: Images,
    /// Why the others cannot, in their order.
    pub(crate) skipped: Vec<String>,
    /// As [`Dataset::sha256`], of all images listed.
    pub(crate) sha256: String,
    /// As [`Dataset::sha256_in_any_order`].
    pub(crate) images_sha256: String,
    /// What is to be said of their files: a sentence each.
    pub(crate) notes: Vec<String>,
}

impl Images {
    /// Reads every image once, on all threads of the process's pool, and keeps pixels up to `room` bytes. Each of several ranks
    /// reads its share, and all know what was found.
    ///
    /// # Errors
    /// The first image by position that cannot be used, unless `skip_bad`; [`Error::Data`] where none can.
    pub(crate) fn read(mut data: Dataset, preparation: Preparation, room: usize, skip_bad: bool) -> Result<Reading> {
        let share = world().share(data.items.len());
        let progress = Progress::new("reading", "images", share.len());
        let room = AtomicUsize::new(room);
        let read: Vec<Result<Read>> = data.items[share.clone()]
            .par_iter()
            .map_init(
                || preparation.preprocessor(),
                |preprocessor, item| {
                    let bytes = data.source.read(&item.name)?;
                    let digest = Sha256::digest(&bytes).into();
                    let pixels = preparation.pixels(&item.name, &bytes, preprocessor);
                    progress.advance(1);
                    pixels.map(|image| {
                        ([digest, of_pixels(&image)], Traits::of(&bytes), fits(&room, &image).then_some(image))
                    })
                },
            )
            .collect();
        progress.finish();
        let mut digests = vec![[[0; 32]; 2]; share.len()];
        let (mut skipped, mut traits, mut first_bad) = (Vec::new(), Vec::new(), Ok(()));
        let kept: Vec<OnceLock<RgbImage>> = data.items.iter().map(|_| OnceLock::new()).collect();
        for (at, outcome) in read.into_iter().enumerate() {
            match outcome {
                Ok((digest, of_file, pixels)) => {
                    digests[at] = digest;
                    traits.extend(of_file.is_some().then_some((share.start + at, of_file)));
                    // It is empty, and nobody else has it yet.
                    let _ = pixels.map(|pixels| kept[share.start + at].set(pixels));
                }
                Err(error) if skip_bad => skipped.push((share.start + at, error.to_string())),
                Err(error) => first_bad = first_bad.and(Err(error.or_skip_bad())),
            }
        }
        agree(first_bad)?;
        let gathered = world().gather(digests.as_flattened().as_flattened());
        let (mut digests, mut of_pixels): (Vec<[u8; 32]>, Vec<[u8; 32]>) = gathered
            .iter()
            .flat_map(|of_rank| of_rank.as_chunks::<32>().0.as_chunks::<2>().0)
            .map(|&[of_bytes, of_pixels]| (of_bytes, of_pixels))
            .unzip();
        let skipped: Vec<(usize, String)> = ranks::all(&skipped)?.concat();
        let (sha256, images_sha256) = (data.sha256(&digests), data.sha256_in_any_order(&digests));
        let traits: Vec<(usize, Traits)> = ranks::all(&traits)?.concat();
        let traits: Vec<_> = traits.iter().map(|&(at, of_file)| (data.items[at].name.as_str(), of_file)).collect();
        let mut notes = Traits::describe(&traits, preparation.recipe.orientation);
        let mut good = vec![true; data.items.len()];
        skipped.iter().for_each(|&(at, _)| good[at] = false);
        let skipped: Vec<String> = skipped.into_iter().map(|(_, reason)| reason).collect();
        let mut at = good.iter();
        data.items.retain(|_| at.next() == Some(&true));
        let mut at = good.iter();
        digests.retain(|_| at.next() == Some(&true));
        let mut at = good.iter();
        of_pixels.retain(|_| at.next() == Some(&true));
        let kept = kept.into_iter().zip(&good).filter_map(|(kept, good)| good.then_some(kept)).collect();
        if data.items.is_empty() {
            let nothing = || Error::data(data.source.path(), "has no images");
            return Err(skipped.into_iter().next().map_or_else(nothing, Error::Measure));
        }
        notes.extend(of_copies(&data, &digests));
        Ok(Reading {
            images: Self { data, preparation, kept, room, digests, of_pixels },
            skipped,
            sha256,
            images_sha256,
            notes,
        })
    }

    /// The images' names and classes.
    pub(crate) fn data(&self) -> &Dataset {
        &self.data
    }

    /// SHA-256 of each image's bytes, in the order of the data.
    pub(crate) fn digests(&self) -> &[[u8; 32]] {
        &self.digests
    }

    /// SHA-256 of each image's pixels ([`Preparation::sha256`]), in the order of the data.
    pub(crate) fn of_pixels(&self) -> &[[u8; 32]] {
        &self.of_pixels
    }

    /// How they are made ready.
    pub(crate) fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// Class of each image.
    #[cfg(test)]
    pub(crate) fn labels(&self) -> Vec<usize> {
        self.data.items.iter().map(|item| item.class).collect()
    }

    /// Appends the values of one draw of an epoch, changed as that draw is, to `values`; returns its class.
    ///
    /// # Errors
    /// What reading a file can say, where the pixels are not kept; [`Error::Image`] where the file is not what it was when
    /// the run first read it.
    pub(crate) fn append(
        &self,
        epoch: u64,
        draw: Draw,
        preprocessor: &mut Preprocessor,
        values: &mut Vec<f32>,
    ) -> Result<usize> {
        let item = &self.data.items[draw.image];
        let preparation = &self.preparation;
        let pixels = match self.kept[draw.image].get() {
            Some(pixels) => Cow::Borrowed(pixels),
            None => {
                let bytes = self.data.source.read(&item.name)?;
                let (now, first) = (Sha256::digest(&bytes), &self.digests[draw.image]);
                if now.as_slice() != first {
                    let (now, first) = (hex(&now), hex(first));
                    let or_apart = if world().is_alone() { "" } else { ", or is another file on another rank" };
                    let problem = format!(
                        "changed while the run goes on{or_apart}: SHA-256 {now}, first read {first}; put it back and --resume, \
                         or begin a new run"
                    );
                    return Err(Error::image(&item.name, problem));
                }
                let pixels = preparation.pixels(&item.name, &bytes, preprocessor)?;
                if fits(&self.room, &pixels) {
                    // Another thread may have been first.
                    Cow::Borrowed(self.kept[draw.image].get_or_init(|| pixels))
                } else {
                    Cow::Owned(pixels)
                }
            }
        };
        let place = [epoch, draw.image as u64, draw.repeat];
        let mut random = stream(preparation.seed, Purpose::Augment, place);
        let color = &preparation.recipe.fill;
        let fill = if let [r, g, b] = **color { Rgb([r, g, b]) } else { Rgb([color[0]; 3]) };
        let image =
            preparation.augment.apply(&mut random, &item.name, &pixels, (preparation.size, fill), preprocessor)?;
        preprocessor.normalise(&image, values);
        Ok(item.class)
    }
}

/// Takes the room that an image's pixels need, where there is as much.
fn fits(room: &AtomicUsize, image: &RgbImage) -> bool {
    let size = image.as_raw().len();
    room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(size)).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pdloss_embed::dataset::{Request, Split};
    use std::path::Path;

    /// The first two classes of the drawn shapes, 32 images.
    pub(crate) fn shapes(augment: Augment, room: usize) -> Images {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/shapes");
        let request = Request { split: Split::All, classes: vec![1, 2], ..Request::of(path) };
        let recipe = Recipe { resize: "exact:16x12".parse().unwrap(), ..Recipe::default() };
        let size = recipe.output_size().unwrap();
        let preparation = Preparation { recipe, size, layout: Layout::Nchw, augment, seed: 1 };
        Images::read(Dataset::load(&request).unwrap(), preparation, room, false).unwrap().images
    }

    #[test]
    fn what_is_kept_does_not_change_what_is_drawn() {
        for augment in [Augment::default(), Augment { random_crop: Some(0.5), flip: true, ..Augment::default() }] {
            let (all, some, none) =
                (shapes(augment.clone(), usize::MAX), shapes(augment.clone(), 15_000), shapes(augment, 0));
            let kept = |images: &Images| images.kept.iter().filter(|kept| kept.get().is_some()).count();
            assert_eq!((kept(&all), kept(&none)), (32, 0));
            assert!((1..32).contains(&kept(&some)));
            let draw = |images: &Images, image, repeat| {
                let mut values = Vec::new();
                let draw = Draw { image, repeat };
                images.append(3, draw, &mut images.preparation().preprocessor(), &mut values).unwrap();
                assert_eq!(values.len(), images.preparation().len());
                values
            };
            for image in 0..32 {
                assert_eq!(draw(&all, image, 0), draw(&none, image, 0));
                assert_eq!(draw(&some, image, 0), draw(&none, image, 0));
            }
        }
    }

    #[test]
    fn an_image_that_changes_while_training_reads_it_again_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |class: u8, number: u8| folder.path().join(format!("class{class}/{number}.png"));
        for (class, number) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            std::fs::create_dir_all(path(class, number).parent().unwrap()).unwrap();
            RgbImage::from_pixel(8, 8, Rgb([40 * class, 30 * number, 9])).save(path(class, number)).unwrap();
        }
        let request = Request::of(folder.path());
        let size = Size { width: 8, height: 8 };
        let recipe = Recipe { resize: pdloss_embed::preprocess::Resize::Exact(size), ..Recipe::default() };
        let preparation = Preparation { recipe, size, layout: Layout::Nchw, augment: Augment::default(), seed: 1 };
        let data = Dataset::load(&request).unwrap();
        let images = Images::read(data, preparation, 0, false).unwrap().images;
        let read = |image| {
            let mut preprocessor = images.preparation().preprocessor();
            images.append(0, Draw { image, repeat: 0 }, &mut preprocessor, &mut Vec::new()).map_err(|e| e.to_string())
        };
        assert!((0..4).all(|image| read(image).is_ok()));
        // Another good image, a copy of a neighbour, and half a file.
        RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(path(0, 1)).unwrap();
        std::fs::copy(path(0, 0), path(1, 0)).unwrap();
        std::fs::write(path(1, 1), "half").unwrap();
        assert_eq!(read(0), Ok(0));
        for (image, name) in [(1, "class0/1.png"), (2, "class1/0.png"), (3, "class1/1.png")] {
            let error = read(image).unwrap_err();
            assert!(error.contains(name) && error.contains("changed while the run goes on"), "{error}");
        }
    }
}
