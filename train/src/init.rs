//! A run's first state out of another run's last one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use pdloss::graph::file;
use pdloss::graph::head::names::PROXIES;
use pdloss::graph::proto::ModelProto;
use pdloss::graph::step::names::average;
use pdloss::graph::step::{Description, Kind, State, with_own_statistics};
use pdloss_embed::digest;
use pdloss_embed::{Error, Result};
use safetensors::tensor::SafeTensors;

use crate::backbone::of_graph;
use crate::checkpoint;
use crate::cli::Part;
use crate::folder::{Folder, Manifest};
use crate::settings::{Init, Settings, differences};
use crate::shards::Shards;
use crate::tensor::Tensor;

/// What was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    /// SHA-256 of the other run's checkpoint.
    pub(crate) sha256: String,
    /// That in words, and what the two runs differ in.
    pub(crate) said: Vec<String>,
}

/// This run, as far as the other one is compared with it.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) model_sha256: &'a str,
}

impl Own<'_> {
    /// What the runs differ in, so that weights may mean something else here.
    ///
    /// # Errors
    /// [`Error::Usage`] for the memory of another optimiser.
    fn compare(self, init: &Init, other: &Manifest) -> Result<Vec<String>> {
        let from = init.init_from.display();
        let (here, there) = (self.settings, &other.settings);
        if init.init.contains(&Part::Optimizer) && here.optimizer.optimizer != there.optimizer.optimizer {
            let name = |of: &Settings| {
                of.optimizer.optimizer.map_or("none".to_owned(), |name| format!("{name:?}").to_lowercase())
            };
            let (here, there) = (name(here), name(there));
            return Err(Error::Usage(format!(
                "--init optimizer: {from} was trained by {there}, whose memory is of no use to {here}; wanted --optimizer {there}"
            )));
        }
        if let (true, Some(step @ 1..)) = (init.init.contains(&Part::Optimizer), there.optimizer.unfreeze_at) {
            return Err(Error::Usage(format!(
                "--init optimizer: {from} held weights until step {step} (--unfreeze-at), of which the optimiser's memory is younger than the \
                 steps that it would be corrected by; leave the optimizer out of --init, or --resume {from}"
            )));
        }
        let mut said = Vec::new();
        if init.init.contains(&Part::Embedder) {
            if other.made_with.model_sha256 != self.model_sha256 {
                said.push(format!(
                    "--init-from {from}: its model was another (SHA-256 {}, here {}); weights are taken by their names and shapes alone",
                    other.made_with.model_sha256, self.model_sha256
                ));
            }
            let json = |settings: &Settings| serde_json::to_value(&settings.preprocessing).unwrap_or_default();
            let differences = differences(&json(there), &json(here));
            if !differences.is_empty() {
                let words: Vec<String> =
                    differences.into_iter().map(|(name, values)| format!("{name} was {values}")).collect();
                said.push(format!("--init-from {from}: its images were made ready otherwise: {}", words.join("; ")));
            }
        }
        Ok(said)
    }
}

/// The other run, before anything is read that takes long.
///
/// # Errors
/// [`Error::Usage`] where no run was begun there, [`Error::Data`] where what it wrote down is damaged.
pub(crate) fn open(init: &Init) -> Result<(Folder, Manifest)> {
    Folder::open(&init.init_from).map_err(|error| match error {
        Error::Usage(problem) => Error::Usage(problem.replace("--resume", "--init-from")),
        other => other,
    })
}

/// Puts the other run's tensors into the first state of this one, whose classes have an order of this digest. `state` is in the
/// order of `step`.
///
/// # Errors
/// [`Error::File`] and [`Error::Data`] naming the file and what of it is missing, or of another type, shape or order.
pub(crate) fn put(
    init: &Init,
    own: Own<'_>,
    state: &mut [Tensor],
    (step, backbone): (&Description, &ModelProto),
    class_order: &str,
    shards: &Shards,
) -> Result<Taken> {
    let (folder, manifest) = open(init)?;
    let checkpoint = folder.checkpoint();
    let bytes = std::fs::read(&checkpoint).map_err(|e| Error::read(&checkpoint, e))?;
    let sha256 = digest::sha256(&bytes);
    let other = Other { file: checkpoint::whole(&checkpoint, &bytes)?, path: &checkpoint };
    if init.init.contains(&Part::Proxies) && manifest.made_with.class_order_sha256.as_deref() != Some(class_order) {
        let problem =
            "its classes are not those of this run, or in another order: the proxies would be of other classes";
        return Err(Error::data(folder.manifest(), problem));
    }
    let mut counts = [0; 3];
    let frozen = init.init.contains(&Part::Embedder).then(|| Frozen::read(&folder.embedder())).transpose()?;
    let mut said = own.compare(init, &manifest)?;
    if let Some(frozen) = &frozen {
        // Statistics that an exporter merged with weights are the embedder's own, and so they are compared.
        let backbone = &with_own_statistics(backbone).map_err(|e| of_graph(&frozen.path, e))?;
        frozen.refuse_others(step, backbone)?;
        let lost = frozen.unknown(step, backbone);
        if let Some(first) = lost.first() {
            let (count, from) = (lost.len(), frozen.path.display());
            let problem = format!("{count} tensors of {from} have no place in this run's net, such as '{first}'");
            if manifest.made_with.model_sha256 == own.model_sha256 {
                return Err(Error::Usage(format!(
                    "--init-from: {problem}, and it would not be the net that was trained; train as that run did (--untie, --also-train), or \
                     begin with --model {from}"
                )));
            }
            said.push(format!("--init-from: {problem}: they are left out"));
        }
    }
    // Proxies that are not taken begin anew, and so does what the optimiser remembers of them: they stand for other classes.
    let is_anew = |told: &State| {
        told.kind == Kind::Optimizer && told.of.as_deref() == Some(PROXIES) && !init.init.contains(&Part::Proxies)
    };
    if init.init.contains(&Part::Optimizer) && step.state.iter().any(is_anew) {
        said.push(
            "--init optimizer: what it remembers of proxies is left out, which begin anew without --init proxies; the optimiser goes on \
             counting its steps, so that their first updates are larger than those of a first step"
                .to_owned(),
        );
    }
    for (tensor, told) in state.iter_mut().zip(&step.state).filter(|(_, told)| !is_anew(told)) {
        let part = match told.kind {
            Kind::Weight | Kind::Running | Kind::Average => Part::Embedder,
            Kind::Proxies => Part::Proxies,
            Kind::Optimizer | Kind::Step => Part::Optimizer,
            // Its steps are counted by it, where that run had one.
            Kind::Scale if other.has(&told.name) => Part::Optimizer,
            // It follows the batches anew.
            _ => continue,
        };
        if !init.init.contains(&part) {
            continue;
        }
        tensor.bytes = match (&frozen, part) {
            (Some(frozen), Part::Embedder) => {
                let name = told.of.as_deref().unwrap_or(&told.name);
                let averaged = average(name);
                let kept = if other.has(&averaged) { averaged } else { name.to_owned() };
                if other.has(&kept) { other.bytes(&kept, tensor, shards)? } else { frozen.bytes(name, tensor)? }
            }
            _ => other.bytes(&told.name, tensor, shards)?,
        };
        counts[part as usize] += 1;
    }
    let mut words = Vec::new();
    for (part, count) in [Part::Embedder, Part::Proxies, Part::Optimizer].into_iter().zip(counts) {
        if init.init.contains(&part) {
            let word = part.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            if count == 0 {
                return Err(Error::Usage(format!("--init {word}: this run has none")));
            }
            words.push(format!("{word} ({count} tensors)"));
        }
    }
    let (from, words) = (init.init_from.display(), words.join(", "));
    said.push(format!("starts from {from} (--init-from): {words}; checkpoint with SHA-256 {sha256}"));
    Ok(Taken { said, sha256 })
}

/// The tensors of the other run's checkpoint.
struct Other<'a> {
    file: SafeTensors<'a>,
    path: &'a Path,
}

impl Other<'_> {
    fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_ok()
    }

    /// The bytes of a tensor like this one, of which this rank may have a part.
    fn bytes(&self, name: &str, like: &Tensor, shards: &Shards) -> Result<Vec<u8>> {
        let wanted = shards.whole_shape(like);
        let found = self.file.tensor(name).map_err(|_| {
            Error::data(
                self.path,
                format!("has no tensor '{name}', which this run's step has: another model, loss or optimiser"),
            )
        })?;
        if (found.dtype(), found.shape()) == (like.dtype(), wanted.as_slice()) {
            return Ok(found.data()[shards.own_bytes(like)].to_vec());
        }
        let (dtype, shape) = (found.dtype(), found.shape());
        let problem = format!("tensor '{name}' is {dtype:?} {shape:?}; wanted {:?} {wanted:?}", like.dtype());
        Err(Error::data(self.path, problem))
    }
}

/// The other run's embedder, which has what that run did not train.
struct Frozen {
    path: PathBuf,
    tensors: Vec<Tensor>,
}

impl Frozen {
    fn read(path: &Path) -> Result<Self> {
        let model = file::read(path).and_then(|model| with_own_statistics(&model)).map_err(|e| of_graph(path, e))?;
        let initializers = model.graph.map(|graph| graph.initializer).unwrap_or_default();
        // Those of types that no state has are nobody's here.
        let tensors = initializers.iter().filter_map(|tensor| Tensor::of_proto(tensor).ok()).collect();
        Ok(Self { path: path.to_path_buf(), tensors })
    }

    /// Refuses a backbone of which something that is not trained here is otherwise there: it would stay as it is.
    fn refuse_others(&self, step: &Description, backbone: &ModelProto) -> Result<()> {
        let is_trained = |name: &str| step.state.iter().any(|tensor| tensor.name == name);
        let initializers = backbone.graph.iter().flat_map(|graph| &graph.initializer);
        for own in initializers.filter(|own| !is_trained(own.name())).filter_map(|own| Tensor::of_proto(own).ok()) {
            if self.tensors.iter().any(|other| other.name == own.name && *other != own) {
                let (name, path) = (&own.name, self.path.display());
                return Err(Error::Usage(format!(
                    "--init-from: '{name}' is not trained here, and not as it is in {path}: it would stay the model's; \
                     --model {path} starts from all of that embedder"
                )));
            }
        }
        Ok(())
    }

    /// Its tensors of floats that the backbone does not have.
    fn unknown(&self, step: &Description, backbone: &ModelProto) -> Vec<&str> {
        let initializers = backbone.graph.iter().flat_map(|graph| &graph.initializer).map(|own| own.name());
        let own: HashSet<&str> = step.state.iter().map(|tensor| tensor.name.as_str()).chain(initializers).collect();
        let floats = self.tensors.iter().filter(|tensor| tensor.element.is_float());
        floats.map(|tensor| tensor.name.as_str()).filter(|name| !own.contains(name)).collect()
    }

    fn bytes(&self, name: &str, like: &Tensor) -> Result<Vec<u8>> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        match found.filter(|found| (found.dtype(), &found.shape) == (like.dtype(), &like.shape)) {
            Some(found) => Ok(found.bytes.clone()),
            None => {
                let problem =
                    format!("has no tensor '{name}' of {:?} {:?}, nor has its checkpoint", like.dtype(), like.shape);
                Err(Error::data(&self.path, problem))
            }
        }
    }
}
