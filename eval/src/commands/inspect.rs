//! The command `inspect`: what a model takes and gives, how its images would be prepared, and one image through it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::arguments::Notes;
use super::describe_model;
use super::suggest::{Trial, Tried, best};
use crate::process;
use crate::table::Record;
use crate::{Error, Result};
use clap::Args;
use pdloss_embed::arguments::ModelArgs;
use pdloss_embed::console::{printable_line, wrote};
use pdloss_embed::dataset::{Dataset, Request, Split};
use pdloss_embed::embedder::{Model, Prepared, read_regular};
use pdloss_embed::files::{can_write, write_atomically};
use pdloss_embed::preprocess::{Color, Patch, Preprocessor, Preset, Recipe, Resize};
use pdloss_embed::program::Usual;

const EXAMPLES: &str = "Examples:
  pdloss-eval inspect --model model.onnx
  pdloss-eval inspect --model model.onnx --image photo.jpg --output /pool/out \\
      --preset imagenet
  pdloss-eval inspect --model model.onnx --preset imagenet \\
      --resize shorter:224 --crop 200x200 --save-manifest model.toml
  pdloss-eval inspect --model model.onnx --suggest
  pdloss-eval inspect --model model.onnx --suggest --data photos/ \\
      --save-manifest model.toml

Exit codes: 0 done, 1 the run failed, 2 the command line was wrong.";

pub(super) const USUAL: Usual = Usual {
    command: "inspect",
    calls: &["inspect --model FILE.onnx"],
    flags: &["model", "image", "output", "preset", "suggest", "data", "save-manifest", "json"],
};

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
    /// Say how the model may want its images; with --data, try these ways on labelled images by d'
    #[arg(long)]
    pub suggest: bool,
    /// Labelled images for --suggest, as `recall` takes them
    #[arg(long, value_name = "PATH", requires = "suggest")]
    pub data: Option<PathBuf>,
    /// Which column of a list holds the labels
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub label: Option<String>,
    /// Which part of the data
    #[arg(long, value_enum, requires = "data", default_value_t = Split::All)]
    pub split: Split,
    /// Images to try on
    #[arg(long, value_name = "N", requires = "data", default_value_t = 200)]
    pub sample: usize,
    /// Write the preprocessing, the best with --suggest, as a manifest; beside the model as .toml it is found
    #[arg(long, value_name = "FILE.toml")]
    pub save_manifest: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Model
    #[command(flatten)]
    pub run: ModelArgs,
}

/// Reads the model, runs one image through it, and writes what was seen to `stdout`.
///
/// # Errors
/// Those of reading and running the model, and of the image.
pub fn run(args: &InspectArgs, stdout: &mut dyn Write) -> Result<Record> {
    let (start, assumed) = start(args)?;
    let prepared = match start.prepare(&args.model) {
        // What a model takes and gives is known before how its images are made.
        Err(refused @ Error::Recipe(_)) if args.data.is_none() => {
            let model = Model::read(&args.model, args.run.output.as_deref())?;
            let mut record = Record::new();
            record.set("model", args.model.display().to_string()).set("model_sha256", model.sha256.as_str());
            declared(&model, &mut record);
            print(args, &record, stdout)?;
            return Err(refused);
        }
        prepared => prepared?,
    };
    if let Some(path) = &args.save_manifest {
        can_write("--save-manifest", path)?;
    }
    match &args.data {
        Some(data) => try_out(args, &prepared, data, stdout),
        None => look(args, &prepared, assumed, stdout),
    }
}

/// The model's arguments, and what of them nobody said. A way for grey images is not assumed anywhere; the search for one begins at the
/// plainest.
fn start(args: &InspectArgs) -> Result<(ModelArgs, Option<&'static str>)> {
    let mut run = args.run.clone();
    let mut assumed = None;
    let is_open = run.preprocess.is_none() && run.patch == Patch::default() && !Patch::beside(&args.model).is_file();
    if args.suggest && is_open {
        let model = Model::read(&args.model, run.output.as_deref())?;
        if let (Some(1), Some(size)) = (model.channels(), model.image_size()) {
            let resize = Some(Resize::Exact(size));
            run.patch = Patch { preset: Some(Preset::None), color: Some(Color::Gray), resize, ..Patch::default() };
            assumed = Some("ASSUMED: grey, squeezed to the model's size, values 0 to 1");
        }
    }
    Ok((run, assumed))
}

/// The model as it is: one image through it.
fn look(
    args: &InspectArgs,
    prepared: &Prepared,
    assumed: Option<&'static str>,
    stdout: &mut dyn Write,
) -> Result<Record> {
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
    describe_model(prepared, &embedder, &mut record);
    if let Some(assumed) = assumed {
        record.set("preprocessing_from", assumed);
    }
    if let Some(library) = embedder.library() {
        record.set("library", format!("{} ({})", library.path.display(), library.by));
    }
    declared(model, &mut record);
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
    if args.suggest {
        for (at, hint) in hints(model).into_iter().enumerate() {
            record.set(numbered("hint", at), hint);
        }
    }
    if let Some(path) = &args.save_manifest {
        let origin = assumed
            .map_or("Preprocessing as the flags gave it.".to_owned(), |assumed| format!("Preprocessing {assumed}."));
        save(path, &prepared.recipe, &origin)?;
    }
    print(args, &record, stdout)?;
    Ok(record)
}

/// What the model's file says of it.
fn declared(model: &Model, record: &mut Record) {
    record.set("opset", model.opset.to_string()).set("bytes", model.bytes.to_string());
    record.set("input", model.input.describe());
    for (at, output) in model.outputs.iter().enumerate() {
        record.set(numbered("declared output", at), output.describe());
    }
}

fn numbered(name: &str, at: usize) -> String {
    if at == 0 { name.to_owned() } else { format!("{name} {}", at + 1) }
}

fn print(args: &InspectArgs, record: &Record, stdout: &mut dyn Write) -> Result<()> {
    let printed = if args.json {
        Record::write_json(std::slice::from_ref(record), stdout)
    } else {
        writeln!(stdout, "{}", record.what_was_run())
    };
    printed.map_err(|e| Error::write("standard output", e))
}

/// Tries ways of preprocessing on labelled images, and says which is best.
fn try_out(args: &InspectArgs, prepared: &Prepared, data: &Path, stdout: &mut dyn Write) -> Result<Record> {
    let request = Request { split: args.split, label: args.label.clone(), ..Request::of(data) };
    let dataset = Dataset::load(&request)?;
    let mut notes = Notes::default();
    notes.extend(prepared.of_model());
    notes.extend(&dataset.notes);
    let part = dataset.part.clone();
    let threads = args.run.threads()?;
    process::set_threads(threads);
    let Some(mut trial) = Trial::new(prepared, dataset, args.sample, threads) else {
        let problem = "has no two classes of two images each, so nothing can be tried on it".to_owned();
        return Err(Error::Data { path: data.to_path_buf(), problem });
    };
    let tried = trial.run()?;
    let images = trial.images();
    match trial.unusable() {
        0 => {}
        1 => notes.add("1 image of the sample cannot be used, and is left out"),
        count => notes.add(format!("{count} images of the sample cannot be used, and are left out")),
    }
    let why = "an image cannot be prepared so, or all embeddings are alike";
    match tried.iter().filter(|tried| tried.d_prime.is_none()).count() {
        0 => {}
        1 => notes.add(format!("1 way has no d': {why}")),
        count => notes.add(format!("{count} ways have no d': {why}")),
    }
    let best = best(&tried);
    let figure = |tried: &Tried| tried.d_prime.map_or("none".to_owned(), |d_prime| format!("{d_prime:.3}"));
    let rows: Vec<Record> = tried
        .iter()
        .map(|tried| {
            let mut row = Record::new();
            row.set("preprocessing", tried.words())
                .set("d_prime", tried.d_prime.map(|d_prime| (d_prime * 1e3).round() / 1e3));
            row
        })
        .collect();
    let chosen = format!(
        "by labels: d' {} with this, {} before, on a sample of {images} images of {} ({part})",
        figure(best),
        figure(&tried[0]),
        data.display()
    );
    let mut record = Record::new();
    record.set("tool", concat!("pdloss-eval ", env!("CARGO_PKG_VERSION"))).set("measure", "preprocessing");
    record.set("model", args.model.display().to_string()).set("data", data.display().to_string());
    record.set("images", images).set("preprocessing", best.candidate.recipe.to_line());
    record.set("preprocessing_from", chosen.as_str()).set("d_prime", best.d_prime);
    notes.record(&mut record);
    if let Some(path) = &args.save_manifest {
        save(path, &best.candidate.recipe, &format!("Chosen {chosen}."))?;
    }
    if args.json {
        Record::write_json(std::slice::from_ref(&record), stdout)
    } else {
        writeln!(
            stdout,
            "{}\n\nBest: {}\nChosen {chosen}. What is measured on these images afterwards looks a little better than it is.",
            Record::text(&rows),
            best.candidate.recipe.to_line()
        )
    }
    .map_err(|e| Error::write("standard output", e))?;
    Ok(record)
}

/// Writes a recipe as a manifest.
fn save(path: &Path, recipe: &Recipe, origin: &str) -> Result<()> {
    let text = toml::to_string(recipe).map_err(|e| Error::write(path, std::io::Error::other(e)))?;
    let origin = printable_line(origin);
    write_atomically(path, |file| write!(file, "# {origin}\n{text}"))?;
    wrote(path);
    Ok(())
}

/// What name, size and values of the input say of the preprocessing: a flag, and why.
fn hints(model: &Model) -> Vec<String> {
    let name = model.path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_called =
        |words: &[&str]| words.iter().find(|word| name.contains(**word)).map(|word| format!("its name has '{word}'"));
    let side = model.image_size().filter(|size| size.width == size.height).map(|size| size.width);
    let is_sized =
        |sides: &[u32]| side.filter(|side| sides.contains(side)).map(|side| format!("its input is {side}x{side}"));
    let faces = is_called(&["face", "arc", "glint", "buffalo", "w600k", "webface", "ms1m"]).or(is_sized(&[112]));
    let photographs =
        is_called(&["mobilenet", "resnet", "efficientnet", "convnext", "vit", "dino", "swin", "regnet", "imagenet"])
            .filter(|_| faces.is_none() || side.is_some_and(|side| side > 112))
            .or(is_sized(&[224, 256, 288, 384]));
    let mut hints: Vec<String> = Vec::new();
    if model.takes_levels() {
        let input = "pixels as they are, from 0 to 255";
        return vec![format!(
            "--preset none --scale 1, with --resize and --crop as it was trained: its input is uint8, {input}"
        )];
    }
    let siglip = is_called(&["siglip"]);
    let clip = is_called(&["clip"]).filter(|_| siglip.is_none());
    // timm's and transformers' own, unlike torchvision's, DeiT's and DINO's.
    let vit = is_called(&["vit"]).filter(|_| is_called(&["dino", "deit", "clip", "siglip"]).is_none());
    let at = side.unwrap_or(224);
    let of_clip = "--mean 0.48145466,0.4578275,0.40821073 --std 0.26862954,0.26130258,0.27577711";
    let squeezed = format!("--preset imagenet --mean 0.5 --std 0.5 --resize exact:{at}x{at} --interpolation bicubic");
    hints.extend(siglip.map(|why| format!("{squeezed}: {why}, as SigLIP is trained")));
    hints.extend(clip.map(|why| {
        format!("--preset imagenet --resize shorter:{at} --crop {at} --interpolation bicubic {of_clip}: {why}, as CLIP is trained")
    }));
    hints.extend(vit.map(|why| {
        format!("--preset imagenet --mean 0.5 --std 0.5: {why}, as ViTs of timm (augreg, in21k) and of transformers are trained")
    }));
    hints.extend(faces.map(|why| {
        format!("--preset face-112: {why}, aligned faces; crops with more around the face want --pad, or --resize and --crop")
    }));
    hints.extend(
        photographs
            .filter(|_| is_called(&["siglip", "clip"]).is_none())
            .map(|why| format!("--preset imagenet: {why}, photographs, as torchvision and most of timm train on")),
    );
    if hints.is_empty() {
        hints.push(
            "none: neither name nor input size is of a known family; try it out with --suggest --data".to_owned(),
        );
    }
    hints
}

/// A grey image as a PNG file, for want of a photograph.
fn plain_image() -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(512, 512, image::Luma([128]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|e| Error::image("plain grey", e.to_string()))?;
    Ok(bytes.into_inner())
}
