//! Recall@1 of the embedder as it is, on images that training does not see.

use std::path::Path;
use std::sync::OnceLock;

use pdloss::graph::file;
use pdloss::graph::proto::ModelProto;
use pdloss_embed::dataset::{Dataset, Request};
use pdloss_embed::embedder::{Choice, Embedder, Model, Options};
use pdloss_embed::pipeline::embed;
use pdloss_embed::preprocess::{Layout, Recipe};
use pdloss_embed::retrieval::{Search, exact, measure};
use pdloss_embed::{Error, Result};

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
    /// Digest of the images when they were first embedded.
    first: OnceLock<String>,
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
        let data = Dataset::load(request).map_err(|error| match error {
            Error::Usage(text) => Error::Usage(["--split:", "--classes:"].iter().fold(text, |text, flag| {
                let own = format!("--validation-{}", &flag[2..]);
                if text.starts_with(flag) { text.replacen(flag, &own, 1) } else { text }
            })),
            other => other,
        })?;
        let options = Options { runtime: Choice::Onnxruntime, ..options };
        Ok(Self {
            data,
            recipe: recipe.clone(),
            layout,
            output: output.to_owned(),
            options,
            skip_bad,
            first: OnceLock::new(),
        })
    }

    /// The images.
    pub(crate) fn data(&self) -> &Dataset {
        &self.data
    }

    /// What is to be said where what this embedder gives depends on the batch or on chance.
    ///
    /// # Errors
    /// Those of writing it into a temporary file, and of running it.
    pub(crate) fn unsteadiness(&self, embedder: &ModelProto) -> Result<Option<String>> {
        let Some(image) = self.image() else { return Ok(None) };
        let folder = tempfile::tempdir().map_err(|e| Error::write(std::env::temp_dir(), e))?;
        let path = folder.path().join("embedder.onnx");
        file::write(embedder, &path).map_err(|e| Error::model(&path, e.to_string()))?;
        let cure =
            "Recall@1 is that of the batches in which the images come; export the model so that images do not meet";
        let mut embedder = Embedder::open(Model::read(&path, Some(&self.output))?, Some(image), &self.options)?;
        Ok(embedder.unsteadiness(image, cure)?.map(|said| format!("validation: {said}")))
    }

    /// The axes of an image, where the recipe fixes them.
    fn image(&self) -> Option<[usize; 3]> {
        self.recipe.output_size().map(|size| self.layout.axes(self.recipe.color.channels(), size))
    }

    /// Embeds all images by the model in this file, and measures.
    ///
    /// # Errors
    /// Those of the tool's `recall`; [`Error::Data`] where the images are not what they were before.
    pub(crate) fn measure(&self, model: &Path) -> Result<Recall> {
        let model = Model::read(model, Some(&self.output))?;
        let mut embedder = Embedder::open(model, self.image(), &self.options)?;
        let embedded = embed(&self.data, &self.recipe, &mut embedder, self.options.threads, self.skip_bad)?;
        let (first, now) = (self.first.get_or_init(|| embedded.data_sha256.clone()), &embedded.data_sha256);
        if first != now {
            let problem = format!(
                "the images to validate on changed while the run goes on: SHA-256 {now}, at first {first}; put them back and \
                 --resume, or begin a new run"
            );
            return Err(Error::data(self.data.source.path(), problem));
        }
        let found = measure(&embedded.embeddings, &Search::cosine(&[1]), &exact)?;
        Ok(Recall { recall_at_1: found.recall[0].1, map_at_r: found.map_at_r, queries: found.queries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdloss_embed::dataset::Split;
    use pdloss_embed::embedder::Device;
    use pdloss_embed::preprocess::Patch;

    #[test]
    #[cfg_attr(not(onnxruntime), ignore = "no onnxruntime")]
    fn images_that_change_between_two_validations_are_noticed() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let folder = tempfile::tempdir().unwrap();
        let shapes =
            Dataset::load(&Request { split: Split::All, classes: vec![1, 2], ..Request::of(fixtures.join("shapes")) });
        for item in shapes.as_ref().unwrap().items.iter() {
            let to = folder.path().join(&item.name);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(fixtures.join("shapes").join(&item.name), to).unwrap();
        }
        let model = fixtures.join("embedder.onnx");
        let (recipe, _) = Recipe::of(&model, None, &Patch::default(), None).unwrap();
        let options =
            Options { runtime: Choice::Onnxruntime, library: None, device: Device::Cpu, threads: 1, batch: None };
        let request = Request::of(folder.path());
        let validation = Validation::new(&request, (&recipe, Layout::Nchw), "embedding", options, false).unwrap();
        let first = validation.measure(&model).unwrap();
        assert_eq!(validation.measure(&model).unwrap(), first);
        let [one, two] = [0, 1].map(|at| folder.path().join(&validation.data().items[at].name));
        std::fs::copy(one, two).unwrap();
        let error = validation.measure(&model).unwrap_err().to_string();
        assert!(error.contains("changed while the run goes on"), "{error}");
    }
}
