//! An ONNX model as data: its input, its outputs, and which tensor is the embedding.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb::{ModelProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto};

use super::class_scores;
use super::external;
use super::names;
use super::own_scaling::{self, OwnScaling};
use super::training_mode::{self, Unsteady};
use crate::digest::{Hashed, hex};
use crate::error::{Error, Result};
use crate::files::ending;
use crate::preprocess::{Layout, Recipe, Size};

/// One input or output as the file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Element type by ONNX's name (`FLOAT`, `FLOAT16`, ...), where declared.
    pub element: Option<DataType>,
    /// Dimensions; `None` where symbolic or unknown. The whole is `None` where no shape is declared.
    pub shape: Option<Vec<Option<usize>>>,
    /// Whether it is a tensor: a map, a sequence and what else ONNX has is not.
    pub is_tensor: bool,
}

impl Tensor {
    fn of(info: &ValueInfoProto) -> Self {
        let tensor = info.r#type.as_ref().and_then(|t| t.value.as_ref()).and_then(|value| match value {
            type_proto::Value::TensorType(tensor) => Some(tensor),
            #[allow(unreachable_patterns)] // other kinds of value exist in newer protocol definitions
            _ => None,
        });
        let shape = tensor.and_then(|t| t.shape.as_ref()).map(|shape| {
            let size = |d: &Option<dimension::Value>| match d {
                Some(dimension::Value::DimValue(n)) => usize::try_from(*n).ok().filter(|&n| n > 0),
                _ => None,
            };
            shape.dim.iter().map(|d| size(&d.value)).collect()
        });
        let element = tensor.and_then(|t| DataType::try_from(t.elem_type).ok()).filter(|&e| e != DataType::Undefined);
        let is_tensor = info.r#type.as_ref().is_none_or(|t| t.value.is_some());
        Self { name: info.name.clone(), element, shape, is_tensor }
    }

    /// For people: `data FLOAT [?, 3, 224, 224]`.
    pub fn describe(&self) -> String {
        if !self.is_tensor {
            return format!("{} (no tensor: a map, a sequence or an optional)", self.name);
        }
        let element = self.element.map_or("?", |e| e.as_str_name());
        let shape = match &self.shape {
            None => "[shape not declared]".to_owned(),
            Some(dims) => {
                let dims: Vec<_> = dims.iter().map(|d| d.map_or("?".to_owned(), |n| n.to_string())).collect();
                format!("[{}]", dims.join(", "))
            }
        };
        format!("{} {element} {shape}", self.name)
    }

    fn is_float(&self) -> bool {
        // A tensor of undeclared type gets the benefit of the doubt; what it produces is checked.
        self.is_tensor && matches!(self.element, None | Some(DataType::Float | DataType::Float16 | DataType::Double))
    }

    fn is_image(&self) -> bool {
        self.is_float() || self.is_tensor && self.element == Some(DataType::Uint8)
    }
}

/// A model file, read, with one of its tensors chosen as the embedding.
#[derive(Clone, Debug)]
pub struct Model {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, and of its external data after it, in hexadecimal.
    pub sha256: String,
    /// Bytes of the file and its external data.
    pub bytes: u64,
    /// Version of the default operator set.
    pub opset: i64,
    /// The one image input.
    pub input: Tensor,
    /// The outputs that the file declares.
    pub outputs: Vec<Tensor>,
    /// Name of the tensor that is the embedding.
    pub output: String,
    /// Its length, where the file declares it.
    pub dim: Option<usize>,
    /// The model with that tensor as only output, where the file's own outputs would not do.
    pub edited: Option<ModelProto>,
    /// The nodes that make the embedding depend on the batch or on chance.
    pub unsteady: Vec<Unsteady>,
    /// Whether it computes in float16 somewhere.
    pub has_halves: bool,
    /// Whether it computes in integers of 8 bits somewhere.
    pub is_quantized: bool,
    /// What it does to its input first, where that is a step of preprocessing.
    pub own_scaling: Option<OwnScaling>,
    /// Why its output may be a classifier's answer: a sentence.
    pub class_scores: Option<String>,
}

impl Model {
    /// Reads a model and chooses its embedding: `output` by name, also an inner tensor, else its only float output.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Model`] where the file is missing, not ONNX, or has no fitting input or output;
    /// [`Error::Usage`] where several outputs would do and none was named.
    pub fn read(path: &Path, output: Option<&str>) -> Result<Self> {
        let content = external::read_regular(path)?;
        let mut proto = decode(path, &content)?;
        let graph = proto.graph.as_ref().filter(|g| !g.node.is_empty());
        let graph =
            graph.ok_or_else(|| Error::model(path, "is not an ONNX model: it has no graph, or one without nodes"))?;
        names::check(path, graph)?;
        let opset =
            proto.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx").map_or(0, |o| o.version);

        let initializers: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs: Vec<_> =
            graph.input.iter().filter(|i| !initializers.contains(i.name.as_str())).map(Tensor::of).collect();
        let described = |tensors: &[Tensor]| tensors.iter().map(Tensor::describe).collect::<Vec<_>>().join("; ");
        let [input] = inputs.as_slice() else {
            return Err(Error::model(
                path,
                format!("has {} inputs; an embedder has one, the image. Found: {}", inputs.len(), described(&inputs)),
            ));
        };
        if !input.is_image() {
            return Err(Error::model(
                path,
                format!(
                    "input {}: wanted FLOAT, FLOAT16 or DOUBLE, or UINT8, which gets pixels from 0 to 255; export the model with \
                     such an input",
                    input.describe()
                ),
            ));
        }
        if input.shape.as_ref().is_some_and(|s| s.len() != 4) {
            return Err(Error::model(
                path,
                format!("input {}: wanted an image batch of 4 dimensions", input.describe()),
            ));
        }
        let input = input.clone();
        let outputs: Vec<_> = graph.output.iter().map(Tensor::of).collect();
        let (sha256, bytes) = digest(path, &content, &proto)?;

        let name = match output {
            Some(name) => name.to_owned(),
            None => {
                let floats: Vec<_> = outputs.iter().filter(|o| o.is_float()).collect();
                match floats.as_slice() {
                    [one] => one.name.clone(),
                    [] => {
                        return Err(Error::model(path, format!("has no float output; found: {}", described(&outputs))));
                    }
                    _ => {
                        return Err(Error::Usage(format!(
                            "model {}: has several outputs; choose the embedding by --output NAME. Found: {}",
                            path.display(),
                            described(&outputs)
                        )));
                    }
                }
            }
        };
        let is_declared = outputs.iter().any(|o| o.name == name);
        if !is_declared && !graph.node.iter().any(|n| n.output.contains(&name)) {
            let is_file = ["csv", "json", "parquet", "md", "npy", "onnx"].contains(&ending(Path::new(&name)).as_str());
            let hint = if is_file { ". --output names a tensor; a file to write is named by --out" } else { "" };
            let outputs = described(&outputs);
            return Err(Error::model(path, format!("has no tensor '{name}'; its outputs are: {outputs}{hint}")));
        }
        let unsteady = training_mode::find(&proto, &name);
        let (has_halves, is_quantized) = kinds(graph, &input);
        let own_scaling = own_scaling::find(graph, &input.name);
        let dim = outputs.iter().find(|o| o.name == name).and_then(|o| o.shape.as_ref()).and_then(|shape| {
            let mut wide = shape.iter().skip(1).flatten().copied().filter(|&dim| dim != 1);
            wide.next().filter(|_| wide.next().is_none())
        });
        let class_scores = class_scores::doubt(graph, &name, dim);
        // An inner tensor is made the only output; so is one of several, that the others need not be computed.
        let edited = (!is_declared || outputs.len() > 1).then(|| {
            choose(&mut proto, &name);
            proto
        });
        Ok(Self {
            path: path.into(),
            sha256,
            bytes,
            opset,
            input,
            outputs,
            output: name,
            dim,
            edited,
            unsteady,
            has_halves,
            is_quantized,
            own_scaling,
            class_scores,
        })
    }

    /// The model as it is run: with the chosen output only, where the file's own would not do.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Model`] where the file cannot be read any more.
    pub(super) fn proto(&self) -> Result<Cow<'_, ModelProto>> {
        match &self.edited {
            Some(edited) => Ok(Cow::Borrowed(edited)),
            None => decode(&self.path, &external::read_regular(&self.path)?).map(Cow::Owned),
        }
    }

    /// The same model with its unsteady nodes in inference mode: running mean and variance, nothing dropped.
    ///
    /// # Errors
    /// [`Error::Model`] naming nodes that have no such mode; as [`Model::read`] where the file cannot be read any more.
    pub fn in_inference_mode(mut self) -> Result<Self> {
        if let Some(random) = self.unsteady.iter().find(|node| !node.has_inference_mode) {
            let problem = format!(
                "node {random} draws at random and has no inference mode; export the model in inference mode (model.eval())"
            );
            return Err(Error::model(&self.path, problem));
        }
        let mut proto = self.proto()?.into_owned();
        training_mode::into_inference(&mut proto);
        choose(&mut proto, &self.output);
        self.unsteady.clear();
        self.edited = Some(proto);
        Ok(self)
    }

    fn input_dim(&self, at: usize) -> Option<usize> {
        self.input.shape.as_ref().and_then(|s| s[at])
    }

    /// The batch size that the input's shape fixes.
    pub fn fixed_batch(&self) -> Option<usize> {
        self.input_dim(0)
    }

    /// Order of the input's axes: as declared by where its 3 (or 1) channels are, else channels first.
    pub fn layout(&self) -> Layout {
        let is_channels = |d: Option<usize>| matches!(d, Some(1 | 3));
        if !is_channels(self.input_dim(1)) && is_channels(self.input_dim(3)) { Layout::Nhwc } else { Layout::Nchw }
    }

    /// Width and height of the input, where its shape fixes both.
    pub fn image_size(&self) -> Option<Size> {
        let (width, height) = self.sides();
        Some(Size { width: width?, height: height? })
    }

    /// Width and height of the input, each where its shape fixes it.
    fn sides(&self) -> (Option<u32>, Option<u32>) {
        let (height, width) = if self.layout() == Layout::Nchw { (2, 3) } else { (1, 2) };
        let side = |at: usize| self.input_dim(at).and_then(|side| u32::try_from(side).ok());
        (side(width), side(height))
    }

    /// The size of its images, where its input fixes it, and whether it takes pixels as they are: what [`Recipe::of`] asks.
    pub fn takes(&self) -> (Option<Size>, bool) {
        (self.image_size(), self.takes_levels())
    }

    /// Channels of an image, where the input fixes them.
    pub fn channels(&self) -> Option<usize> {
        self.input_dim(if self.layout() == Layout::Nchw { 1 } else { 3 })
    }

    /// Whether a recipe's images fit the input.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming both shapes.
    pub fn accepts(&self, recipe: &Recipe) -> Result<()> {
        let layout = recipe.layout.unwrap_or(self.layout());
        let channels = self.input_dim(if layout == Layout::Nchw { 1 } else { 3 });
        let have = recipe.color.channels();
        if channels.is_some_and(|c| c != have) {
            let other = self.input_dim(if layout == Layout::Nchw { 3 } else { 1 });
            let cure = match channels {
                _ if recipe.layout.is_some_and(|given| given != self.layout()) && other == Some(have) => {
                    "; leave --layout (or layout in the manifest) out, which the model says itself"
                }
                Some(1) => "; give --channels gray",
                Some(3) => "; give --channels rgb or bgr",
                _ => "; export a model that takes images of 3 channels, or of 1",
            };
            return Err(Error::Recipe(format!(
                "makes {have} channels in layout {layout:?}, when the model's input is {}{cure}",
                self.input.describe()
            )));
        }
        if self.takes_levels() && !recipe.leaves_levels() {
            return Err(Error::Recipe(format!(
                "changes the pixels' values (scale {}, mean {:?}, std {:?}), when the model's input {} takes them as they are, from 0 \
                 to 255; wanted --scale 1 --mean 0 --std 1",
                recipe.scale,
                recipe.mean,
                recipe.std,
                self.input.describe()
            )));
        }
        let (width, height) = self.sides();
        let differs = |side: Option<u32>, made: u32| side.is_some_and(|side| side != made);
        match (self.image_size(), recipe.output_size()) {
            (_, Some(made)) if differs(width, made.width) || differs(height, made.height) => {
                Err(Error::Recipe(format!(
                    "makes images of {made}, when the model's input is {}; change --resize, --crop or --pad",
                    self.input.describe()
                )))
            }
            (None, None) if width.or(height).is_some() => Err(Error::Recipe(format!(
                "does not say the image's size at the end, when the model's input is {}: add --crop, --pad or --resize exact:WIDTHxHEIGHT",
                self.input.describe()
            ))),
            (Some(want), None) => Err(Error::Recipe(format!(
                "does not say the image's size at the end; the model wants {want}: add --crop, --pad or --resize exact:{want}"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the input is float32 or float16, or does not say what it is.
    pub fn takes_floats(&self) -> bool {
        matches!(self.input.element, None | Some(DataType::Float | DataType::Float16))
    }

    /// Whether the input takes pixels as they are, whole numbers from 0 to 255.
    pub fn takes_levels(&self) -> bool {
        self.input.element == Some(DataType::Uint8)
    }

    /// The folder of the file, where external data lies.
    pub fn folder(&self) -> PathBuf {
        self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
    }
}

fn decode(path: &Path, content: &[u8]) -> Result<ModelProto> {
    ModelProto::decode(content).map_err(|e| Error::model(path, format!("is not an ONNX model: {e}")))
}

/// Whether a graph computes in float16, and in integers of 8 bits.
fn kinds(graph: &tract_onnx::pb::GraphProto, input: &Tensor) -> (bool, bool) {
    let half = DataType::Float16 as i32;
    let is_half = input.element == Some(DataType::Float16) || graph.initializer.iter().any(|t| t.data_type == half);
    let quantized = |op: &str| op.contains("QuantizeLinear") || op.starts_with("QLinear") || op.ends_with("Integer");
    (is_half, graph.node.iter().any(|node| quantized(&node.op_type)))
}

/// Makes a tensor the only output.
fn choose(proto: &mut ModelProto, name: &str) {
    if let Some(graph) = proto.graph.as_mut() {
        let declared = graph.output.iter().find(|o| o.name == name).cloned();
        let inner = ValueInfoProto { name: name.to_owned(), ..Default::default() };
        graph.output = vec![declared.unwrap_or(inner)];
    }
}

/// Digest and size of the file and of the external data that its tensors name, wherever in the model these are.
fn digest(path: &Path, content: &[u8], proto: &ModelProto) -> Result<(String, u64)> {
    let mut hasher = Sha256::new();
    hasher.update(content);
    let mut bytes = content.len() as u64;
    for file in external::files(path, proto)?.values() {
        let mut reader = external::open_regular(file)?;
        let mut writer = Hashed(&mut hasher);
        bytes += std::io::copy(&mut reader, &mut writer).map_err(|e| Error::read(file, e))?;
    }
    Ok((hex(&hasher.finalize()), bytes))
}
