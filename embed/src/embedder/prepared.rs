//! A model with its recipe and how it is to be run, checked before anything is opened.

use std::path::Path;

use super::{Embedder, Model, Options};
use crate::console::note;
use crate::error::{Error, Result};
use crate::preprocess::{Layout, Origin, Patch, Recipe};

/// A model read, with its recipe and options: ready to be opened.
#[derive(Debug)]
pub struct Prepared {
    model: Model,
    /// The way from file to model input.
    pub recipe: Recipe,
    /// Where that came from.
    pub origin: Origin,
    /// How it is run.
    pub options: Options,
}

impl Prepared {
    /// Reads the model (with the tensor that is the embedding, where it is named) and its recipe, and checks that they fit.
    ///
    /// # Errors
    /// Those of [`Model::read`], [`Recipe::of`] and [`Model::accepts`]; [`Error::Usage`] for counts of zero.
    pub fn read(
        model: &Path,
        output: Option<&str>,
        manifest: Option<&Path>,
        patch: &Patch,
        options: Options,
    ) -> Result<Self> {
        if options.batch == Some(0) {
            return Err(Error::Usage("--batch 0: wanted at least 1".into()));
        }
        let model = Model::read(model, output)?;
        let (recipe, origin) = Recipe::of(&model.path, manifest, patch, model.image_size())?;
        model.accepts(&recipe)?;
        Ok(Self { model, recipe, origin, options })
    }

    /// The model as read.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Order of the axes of an image: the recipe's, else the model's.
    pub fn layout(&self) -> Layout {
        self.recipe.layout.unwrap_or(self.model.layout())
    }

    /// Opens the model on its runtime, and says which on standard error.
    ///
    /// # Errors
    /// Those of [`Embedder::open`].
    pub fn open(&self) -> Result<Embedder> {
        let channels = self.recipe.color.channels();
        let image = self.recipe.output_size().map(|size| self.layout().axes(channels, size));
        let embedder = Embedder::open(self.model.clone(), image, &self.options)?;
        let (runtime, version) = embedder.runtime();
        note(&format!("{} runs on {runtime} {version}, {}", self.model.path.display(), self.options.device));
        if self.origin == Origin::Assumed {
            note(&format!(
                "PREPROCESSING IS ASSUMED: nothing says how {} wants its images, so the imagenet preset is used; \
                 write {} or give --preset, --resize, --mean, ... to be sure",
                self.model.path.display(),
                Patch::beside(&self.model.path).display()
            ));
        }
        Ok(embedder)
    }
}
