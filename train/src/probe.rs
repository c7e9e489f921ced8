//! A few training images, to see by whether an embedder still embeds.

use std::path::Path;

use pdloss::graph::file;
use pdloss::graph::proto::ModelProto;
use pdloss_embed::embedder::{Embedder, Model, Options};
use pdloss_embed::{Error, Result};
use tempfile::TempDir;

use crate::backbone::of_graph;
use crate::images::Images;

/// Images to look at.
const LOOKED_AT: usize = 16;

/// Images as the model takes them, without random changes.
#[derive(Debug)]
pub(crate) struct Probe {
    images: Vec<Vec<f32>>,
    /// Axes of one image.
    shape: [usize; 3],
    /// The tensor that is the embedding.
    output: String,
    options: Options,
}

impl Probe {
    /// Reads some images, as far from each other in the data set as it goes.
    ///
    /// # Errors
    /// What reading an image can say.
    pub(crate) fn new(images: &Images, output: &str, options: Options) -> Result<Self> {
        let (data, preparation) = (images.data(), images.preparation());
        let shape = preparation.layout.axes(preparation.recipe.color.channels(), preparation.size);
        let preprocessor = preparation.preprocessor();
        let count = data.items.len().min(LOOKED_AT);
        let mut looked_at = Vec::with_capacity(count);
        for at in 0..count {
            let name = &data.items[at * data.items.len() / count].name;
            let mut values = Vec::new();
            preprocessor.append(name, &data.source.read(name)?, &mut values)?;
            looked_at.push(values);
        }
        let options = Options { threads: 1, ..options };
        Ok(Self { images: looked_at, shape, output: output.to_owned(), options })
    }

    /// What is wrong with the embeddings that the model in this file gives: numbers that are none; and, unless `is_on_its_way`,
    /// nothing but zeros, or the same for every image.
    ///
    /// # Errors
    /// Those of opening and running the model.
    pub(crate) fn look(&self, model: &Path, is_on_its_way: bool) -> Result<Option<String>> {
        let model = Model::read(model, Some(&self.output))?;
        let mut embedder = Embedder::open(model, Some(self.shape), &self.options)?;
        let batch = embedder.batch().max(1);
        let mut rows: Vec<Vec<f32>> = Vec::new();
        let mut workers = embedder.workers();
        let worker = workers.first_mut().ok_or_else(|| Error::Measure("the embedder has no session".into()))?;
        for images in self.images.chunks(batch) {
            let embedded = worker.embed(images.concat(), images.len(), self.shape)?;
            rows.extend(embedded.rows().into_iter().map(|row| row.to_vec()));
        }
        Ok(fault(&rows, &self.images, is_on_its_way))
    }
}

/// What is to be said of an embedder whose embeddings depend on the batch or on chance, before anything is trained or measured.
///
/// # Errors
/// Those of opening and running it, about the model `of` that it was made from.
pub(crate) fn unsteadiness(
    embedder: &ModelProto,
    (of, output): (&Path, &str),
    image: [usize; 3],
    options: &Options,
) -> Result<Option<String>> {
    let (model, _folder) = written(embedder, (of, output))?;
    let cure = "its figures are those of the batches in which images come; export the model so that images do not meet";
    let opened = Embedder::open(model, Some(image), options);
    opened.and_then(|mut embedder| embedder.unsteadiness(image, cure)).map_err(|error| about(of, error))
}

/// The same of the model that a person knows, where it is about a file of our own that is gone when it is read.
fn about(of: &Path, error: Error) -> Error {
    match error {
        Error::Model { problem, .. } => Error::model(of, problem),
        other => other,
    }
}

/// An embedder as a model in a file, in a folder that lives as long as the answer.
///
/// # Errors
/// Those of writing it and of reading it back, about the model `of` that it was made from.
pub(crate) fn written(embedder: &ModelProto, (of, output): (&Path, &str)) -> Result<(Model, TempDir)> {
    let folder = tempfile::tempdir().map_err(|e| Error::write(std::env::temp_dir(), e))?;
    let path = folder.path().join("embedder.onnx");
    file::write(embedder, &path).map_err(|e| of_graph(&path, e))?;
    Ok((Model::read(&path, Some(output)).map_err(|error| about(of, error))?, folder))
}

/// What is wrong with embeddings of images, in words.
fn fault(rows: &[Vec<f32>], images: &[Vec<f32>], is_on_its_way: bool) -> Option<String> {
    let count = rows.len();
    let is_finite = |row: &&Vec<f32>| row.iter().all(|value| value.is_finite());
    let wrong = count - rows.iter().filter(is_finite).count();
    if wrong > 0 {
        return Some(format!("gives NaN or infinity for {wrong} of {count} images"));
    }
    if is_on_its_way {
        return None;
    }
    if rows.iter().flatten().all(|&value| value == 0.0) {
        return Some(format!("gives nothing but zeros for each of {count} images"));
    }
    // Images that are equal may have equal embeddings.
    let differ = images.iter().any(|image| image != &images[0]);
    if differ && rows.iter().all(|row| row == &rows[0]) {
        return Some(format!("gives the same embedding for each of {count} images"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_of_no_use_are_told_from_others() {
        let images = vec![vec![1.0], vec![2.0], vec![3.0]];
        let said = |rows: [[f32; 2]; 3], is_on_its_way| fault(&rows.map(Vec::from), &images, is_on_its_way);
        let good = [[1.0, 2.0], [1.0, 2.0], [1.0, 2.5]];
        assert_eq!(said(good, false), None);
        for bad in [f32::NAN, f32::INFINITY] {
            let words = said([[1.0, 2.0], [bad, 2.0], [1.0, 2.5]], true).unwrap();
            assert!(words.contains("1 of 3"), "{words}");
        }
        assert!(said([[0.0; 2]; 3], false).unwrap().contains("zeros"));
        assert!(said([[1.0, 2.0]; 3], false).unwrap().contains("the same embedding"));
        assert_eq!(said([[0.0; 2]; 3], true), None, "a net may come back from there");
        let equal = vec![vec![1.0]; 3];
        assert_eq!(fault(&[[1.0, 2.0]; 3].map(Vec::from), &equal, false), None, "the images are the same");
    }
}
