//! Recall@1 of the embedder as it is, on images that training does not see.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pdloss_embed::dataset::{Dataset, Request};
use pdloss_embed::embedder::{Embedder, Model, Options};
use pdloss_embed::pipeline::embed_over_ranks;
use pdloss_embed::preprocess::{Layout, Recipe, Steps};
use pdloss_embed::ranks::{agree, world};
use pdloss_embed::retrieval::{Search, exact, measure_over_ranks};
use pdloss_embed::{Error, Result};
use tempfile::TempDir;

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
    /// Digest of the images when they were first embedded, and those that could not be, each with its reason.
    first: OnceLock<(String, Vec<String>)>,
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

    /// The images that could not be embedded, each with its reason; `None` before the first of all is.
    pub(crate) fn skipped(&self) -> Option<&[String]> {
        self.first.get().map(|(_, skipped)| &skipped[..])
    }

    /// The axes of an image, where the recipe fixes them.
    fn image(&self) -> Option<[usize; 3]> {
        self.recipe.output_size().map(|size| self.layout.axes(self.recipe.color.channels(), size))
    }

    /// Embeds all images by the model in the first rank's file, and measures. Of several ranks each embeds its share, and all have the
    /// answer.
    ///
    /// # Errors
    /// Those of the tool's `recall`; [`Error::Data`] where the images are not what they were before. On every one of several ranks.
    pub(crate) fn measure(&self, model: Option<&Path>) -> Result<Recall> {
        let (model, _lent) = lend(model)?;
        let open = Model::read(&model, Some(&self.output))
            .and_then(|model| Embedder::open(model, self.image(), &self.options));
        let (mut embedder, steps) = (agree(open)?, Steps::default());
        let threads = self.options.threads;
        let embedded = embed_over_ranks(&self.data, &self.recipe, &steps, &mut embedder, threads, self.skip_bad)?;
        let now = &embedded.data_sha256;
        let said = |(name, reason): &(String, String)| {
            if reason.contains(name) { reason.clone() } else { format!("{name}: {reason}") }
        };
        let (first, _) = self.first.get_or_init(|| (now.clone(), embedded.skipped.iter().map(said).collect()));
        if first != now {
            let problem = format!(
                "the images to validate on changed while the run goes on: SHA-256 {now}, at first {first}; put them back and \
                 --resume, or begin a new run"
            );
            return Err(Error::data(self.data.source.path(), problem));
        }
        let found = measure_over_ranks(&embedded.embeddings, &Search::cosine(&[1]), &exact)?;
        Ok(Recall { recall_at_1: found.recall[0].1, map_at_r: found.map_at_r, queries: found.queries })
    }
}

/// A file of the first rank's, on every rank: the others get a copy, for as long as they keep its folder.
fn lend(own: Option<&Path>) -> Result<(PathBuf, Option<TempDir>)> {
    let bytes = match own {
        Some(path) if world().is_alone() => return Ok((path.to_path_buf(), None)),
        Some(path) => std::fs::read(path).map_err(|e| Error::read(path, e)),
        None => Ok(Vec::new()),
    };
    let bytes = world().broadcast(agree(bytes)?);
    let copy = || {
        let folder = tempfile::tempdir().map_err(|e| Error::write(std::env::temp_dir(), e))?;
        let path = folder.path().join("embedder.onnx");
        std::fs::write(&path, bytes).map_err(|e| Error::write(&path, e))?;
        Ok((path, Some(folder)))
    };
    agree(own.map_or_else(copy, |path| Ok((path.to_path_buf(), None))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pdloss_embed::dataset::Split;
    use pdloss_embed::embedder::{Choice, Device};
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
        let (recipe, _) = Recipe::of(&model, None, &Patch::default(), (None, false)).unwrap();
        let options =
            Options { runtime: Choice::Onnxruntime, library: None, device: Device::Cpu, threads: 1, batch: None };
        let request = Request::of(folder.path());
        let validation = Validation::new(&request, (&recipe, Layout::Nchw), "embedding", options, false).unwrap();
        let first = validation.measure(Some(&model)).unwrap();
        assert_eq!(validation.measure(Some(&model)).unwrap(), first);
        let [one, two] = [0, 1].map(|at| folder.path().join(&validation.data().items[at].name));
        std::fs::copy(one, two).unwrap();
        let error = validation.measure(Some(&model)).unwrap_err().to_string();
        assert!(error.contains("changed while the run goes on"), "{error}");
    }
}
