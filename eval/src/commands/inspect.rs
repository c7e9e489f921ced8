//! The command `inspect`: what a model takes and gives, how its images would be prepared, and one image through it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use super::describe_model;
use crate::table::Record;
use crate::{Error, Result};
use clap::Args;
use pdloss_embed::arguments::ModelArgs;
use pdloss_embed::embedder::read_regular;
use pdloss_embed::preprocess::{Preprocessor, Preset};

const EXAMPLES: &str = "Examples:
  pdloss-eval inspect --model model.onnx
  pdloss-eval inspect --model model.onnx --image photo.jpg --output /pool/out --preset imagenet";

/// Arguments of `inspect`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// The ONNX embedder
    #[arg(long, value_name = "FILE.onnx")]
    pub model: PathBuf,
    /// Image to put through it [default: a plain grey one]
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Model
    #[command(flatten)]
    pub run: ModelArgs,
}

/// Reads the model, runs one image through it, and writes what was seen to `stdout`.
///
/// # Errors
/// Those of reading and running the model, and of the image.
pub fn run(args: &InspectArgs, stdout: &mut dyn Write) -> Result<Record> {
    let prepared = args.run.prepare(&args.model)?;
    let model = prepared.model();
    let layout = prepared.layout();
    let (name, bytes) = match &args.image {
        Some(path) => (path.display().to_string(), read_regular(path)?),
        None => ("plain grey, 512x512".to_owned(), plain_image()?),
    };
    let mut values = Vec::new();
    let size = Preprocessor::new(&prepared.recipe, layout).append(&name, &bytes, &mut values)?;
    let (low, high) =
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    let mut embedder = prepared.open()?;

    let mut record = Record::new();
    describe_model(&prepared, &embedder, &mut record);
    if let Some(library) = embedder.library() {
        record.set("library", format!("{} ({})", library.path.display(), library.by));
    }
    record.set("opset", model.opset.to_string()).set("bytes", model.bytes.to_string());
    record.set("input", model.input.describe());
    for output in &model.outputs {
        record.set("declared output", output.describe());
    }
    for preset in [Preset::Imagenet, Preset::Face112] {
        let recipe = preset.recipe(model.image_size());
        if model.accepts(&recipe).is_ok() {
            record.set(format!("--preset {preset}"), recipe.to_line());
        }
    }
    record.set("image", name).set("prepared", format!("{size}, {layout:?}, values {low:.3} to {high:.3}"));
    let shape = layout.axes(prepared.recipe.color.channels(), size);
    let mut workers = embedder.workers();
    let worker = workers.first_mut().ok_or_else(|| Error::model(&args.model, "has no session"))?;
    worker.embed(values.clone(), 1, shape)?; // the first run allocates
    let started = Instant::now();
    let row = worker.embed(values, 1, shape)?;
    record.set("milliseconds", started.elapsed().as_secs_f64() * 1e3);
    let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let first: Vec<_> = row.iter().take(4).map(|v| format!("{v:.4}")).collect();
    record.set("embedding", format!("{} values, length {norm:.4}: {}, ...", row.ncols(), first.join(", ")));
    writeln!(stdout, "{}", record.what_was_run()).map_err(|e| Error::write("standard output", e))?;
    Ok(record)
}

/// A grey image as a PNG file, for want of a photograph.
fn plain_image() -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(512, 512, image::Luma([128]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|e| Error::image("plain grey", e.to_string()))?;
    Ok(bytes.into_inner())
}
