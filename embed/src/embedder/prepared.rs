//! A model with its recipe and how it is to be run, checked before anything is opened.

use std::path::Path;

use super::{Embedder, Model, Options, Unsteady};
use crate::console::{inform, note};
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
    /// What is to be said of the model, however images are prepared for it.
    of_model: Vec<String>,
    /// What is to be said of the preparation.
    of_recipe: Vec<String>,
}

impl Prepared {
    /// Reads the model (with the tensor that is the embedding, where it is named) and its recipe, and checks that they fit.
    ///
    /// # Errors
    /// Those of [`Model::read`], [`Recipe::of`] and [`Model::accepts`]; [`Error::Usage`] for counts of zero; [`Error::Model`]
    /// for nodes in training mode, unless they are to be put into inference mode.
    pub fn read(
        model: &Path,
        output: Option<&str>,
        manifest: Option<&Path>,
        (patch, inference_mode): (&Patch, bool),
        options: Options,
    ) -> Result<Self> {
        if options.batch == Some(0) {
            return Err(Error::Usage("--batch 0: wanted at least 1".into()));
        }
        let mut model = Model::read(model, output)?;
        let mut of_model = Vec::new();
        if !model.unsteady.is_empty() {
            let nodes = list(&model.unsteady);
            if !inference_mode {
                let problem = format!(
                    "its embeddings depend on the batch or on chance: {nodes}, exported in training mode or random; export \
                     it in inference mode (model.eval()), or give --inference-mode, which takes running mean and variance \
                     and drops nothing"
                );
                return Err(Error::model(&model.path, problem));
            }
            model = model.in_inference_mode()?;
            of_model.push(format!("INFERENCE MODE: {nodes} run in inference mode, by --inference-mode"));
        } else if inference_mode {
            of_model.push("--inference-mode: no node was in training mode".into());
        }
        let (recipe, origin) = Recipe::of(&model.path, manifest, patch, model.takes())?;
        model.accepts(&recipe)?;
        of_model.extend(model.class_scores.clone());
        let own_scaling = model.own_scaling.as_ref().and_then(|own| own.doubt(&recipe));
        let of_recipe = [origin.note(&model.path), own_scaling, recipe.doubt()].into_iter().flatten().collect();
        Ok(Self { model, recipe, origin, options, of_model, of_recipe })
    }

    /// What is to be said of the model, however images are prepared for it; [`Prepared::open`] says it.
    pub fn of_model(&self) -> &[String] {
        &self.of_model
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
    /// Those of [`Embedder::open`] and [`Embedder::unsteadiness`].
    pub fn open(&self) -> Result<Embedder> {
        let channels = self.recipe.color.channels();
        let image = self.recipe.output_size().map(|size| self.layout().axes(channels, size));
        let mut embedder = Embedder::open(self.model.clone(), image, &self.options)?;
        let (runtime, version) = embedder.runtime();
        inform(&format!("{} runs on {runtime} {version}, {}", self.model.path.display(), self.options.device));
        embedder.notes.splice(..0, self.of_recipe.iter().chain(&self.of_model).cloned());
        // Images of their own sizes go one by one.
        if let Some(shape) = image {
            let cure = "give --batch 1, or export the model so that images do not meet";
            let unsteady = embedder.unsteadiness(shape, cure)?;
            embedder.notes.extend(unsteady);
        }
        for said in &embedder.notes {
            note(said);
        }
        Ok(embedder)
    }
}

/// The first few, and how many there are.
fn list(nodes: &[Unsteady]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<_> = nodes.iter().take(SHOWN).map(ToString::to_string).collect();
    let rest = nodes.len().saturating_sub(SHOWN);
    if rest == 0 { first.join(", ") } else { format!("{} and {rest} more", first.join(", ")) }
}
