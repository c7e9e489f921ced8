//! Recall@1 of the embedder as it is, on images that training does not see.

use std::path::Path;

use pdloss_eval::Result;
use pdloss_eval::dataset::{Dataset, Request};
use pdloss_eval::embedder::{Choice, Embedder, Model, Options};
use pdloss_eval::metrics::{Search, measure};
use pdloss_eval::pipeline::embed;
use pdloss_eval::preprocess::{Layout, Recipe};

/// Images to validate on, and how.
#[derive(Debug)]
pub(crate) struct Validation {
    data: Dataset,
    recipe: Recipe,
    layout: Layout,
    /// The tensor that is the embedding.
    output: String,
    options: Options,
    skip_bad: bool,
}

/// What a validation finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Recall {
    pub(crate) recall_at_1: f64,
    pub(crate) map_at_r: f64,
    pub(crate) queries: usize,
}

impl Validation {
    /// Reads the lists of the images.
    ///
    /// # Errors
    /// Those of [`Dataset::load`].
    pub(crate) fn new(
        request: &Request,
        (recipe, layout): (&Recipe, Layout),
        output: &str,
        options: Options,
        skip_bad: bool,
    ) -> Result<Self> {
        let data = Dataset::load(request)?;
        let options = Options { runtime: Choice::Onnxruntime, ..options };
        Ok(Self { data, recipe: recipe.clone(), layout, output: output.to_owned(), options, skip_bad })
    }

    /// Embeds all images by the model in this file, and measures.
    ///
    /// # Errors
    /// Those of the tool's `recall`.
    pub(crate) fn measure(&self, model: &Path) -> Result<Recall> {
        let model = Model::read(model, Some(&self.output))?;
        let image = self.recipe.output_size().map(|size| shape(size.width, size.height, &self.recipe, self.layout));
        let mut embedder = Embedder::open(model, image, &self.options)?;
        let embedded = embed(&self.data, &self.recipe, &mut embedder, self.options.threads, self.skip_bad)?;
        let found = measure(&embedded.embeddings, &Search::exact(&[1]))?;
        Ok(Recall { recall_at_1: found.recall[0].1, map_at_r: found.map_at_r, queries: found.queries })
    }
}

/// An image's three axes in the order of the model's input.
pub(crate) fn shape(width: u32, height: u32, recipe: &Recipe, layout: Layout) -> [usize; 3] {
    let (width, height, channels) = (width as usize, height as usize, recipe.color.channels());
    match layout {
        Layout::Nchw => [channels, height, width],
        Layout::Nhwc => [height, width, channels],
    }
}
