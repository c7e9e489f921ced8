//! From image file to model input, as data: one recipe a model, readable from TOML and from flags in the same words.
//!
//! The steps, in order: orientation, colour, resize, crop, pad, then `(pixel * scale - mean) / std` in each channel.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Channel order of the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Red, green, blue
    Rgb,
    /// Blue, green, red (OpenCV's order)
    Bgr,
    /// One channel: 0.299 R + 0.587 G + 0.114 B
    Gray,
}

impl Color {
    /// 3, or 1 for gray.
    pub fn channels(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// What to do with a photograph's EXIF orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// Turn the image as its EXIF tag says (as viewers and OpenCV do)
    Exif,
    /// Take the pixels as stored (as Pillow and torchvision do)
    Stored,
}

/// Resampling filter, by Pillow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel
    Nearest,
    /// Mean of the pixels covered
    Box,
    /// Linear
    Bilinear,
    /// Hamming window
    Hamming,
    /// Cubic, a = -0.5
    Bicubic,
    /// Lanczos window of three lobes
    Lanczos,
}

/// Order of the axes of the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channels, height, width
    Nchw,
    /// Batch, height, width, channels
    Nhwc,
}

impl Layout {
    /// The three axes of an image in this order.
    pub fn axes(self, channels: usize, size: Size) -> [usize; 3] {
        let (height, width) = (size.height as usize, size.width as usize);
        match self {
            Self::Nchw => [channels, height, width],
            Self::Nhwc => [height, width, channels],
        }
    }
}

/// Width and height in pixels, written `224` (square) or `WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "String")]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// `none`, `shorter:N` (keep the aspect) or `exact:WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Resize {
    /// Keep the size.
    None,
    /// Scale so that the shorter side has this many pixels; the longer side is rounded down.
    Shorter(u32),
    /// Scale both sides freely.
    Exact(Size),
}

/// A canvas that the image is pasted on: `WIDTHxHEIGHT` (in the middle) or `WIDTHxHEIGHT+LEFT+TOP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pad {
    /// The canvas.
    pub size: Size,
    /// Where the image's left upper corner goes; `None` centres it.
    pub at: Option<(u32, u32)>,
}

/// A number written as such or as a fraction (`1/255`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "f64")]
pub struct Number(pub f64);

/// A word or a number in TOML, before it is understood.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(i64),
    Real(f64),
    Word(String),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => write!(f, "{n}"),
            Self::Real(x) => write!(f, "{x:?}"),
            Self::Word(s) => f.write_str(s),
        }
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let side = |t: &str| match t.trim().parse::<u32>() {
            Ok(n) if (1..=16_384).contains(&n) => Ok(n),
            _ => Err(format!("'{s}' is no size: wanted N or WIDTHxHEIGHT, each from 1 to 16384")),
        };
        let (width, height) = s.split_once(['x', 'X']).unwrap_or((s, s));
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Resize {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        match s.split_once(':') {
            None if s == "none" => Ok(Self::None),
            Some(("shorter", side)) => side.parse::<Size>().map(|size| Self::Shorter(size.width)),
            Some(("exact", size)) => size.parse().map(Self::Exact),
            _ => Err(format!("'{s}' is no resize: wanted none, shorter:N or exact:WIDTHxHEIGHT")),
        }
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Shorter(side) => write!(f, "shorter:{side}"),
            Self::Exact(size) => write!(f, "exact:{size}"),
        }
    }
}

impl FromStr for Pad {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("'{s}' is no pad: wanted WIDTHxHEIGHT or WIDTHxHEIGHT+LEFT+TOP");
        let mut parts = s.split('+');
        let size = parts.next().unwrap_or_default().parse()?;
        let mut corner = || parts.next().map(|t| t.parse::<u32>().map_err(|_| wrong())).transpose();
        match (corner()?, corner()?, corner()?) {
            (None, None, None) => Ok(Self { size, at: None }),
            (Some(left), Some(top), None) => Ok(Self { size, at: Some((left, top)) }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Pad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => write!(f, "{}", self.size),
            Some((left, top)) => write!(f, "{}+{left}+{top}", self.size),
        }
    }
}

impl FromStr for Number {
    type Err = String;
    fn from_str(s: &str) -> std::result::Result<Self, String> {
        let part = |t: &str| t.trim().parse::<f64>().ok().filter(|x| x.is_finite());
        let value = match s.split_once('/') {
            Some((over, under)) => part(over).zip(part(under)).map(|(over, under)| over / under),
            None => part(s),
        };
        value
            .filter(|x| x.is_finite())
            .map(Self)
            .ok_or_else(|| format!("'{s}' is no number: wanted one such as 0.5 or 1/255"))
    }
}

impl From<Number> for f64 {
    fn from(number: Number) -> Self {
        number.0
    }
}

macro_rules! text_form {
    ($($name:ty),*) => {$(
        impl From<$name> for String {
            fn from(value: $name) -> Self { value.to_string() }
        }
    )*};
}
text_form!(Size, Resize, Pad);

impl TryFrom<Text> for Size {
    type Error = String;
    fn try_from(text: Text) -> std::result::Result<Self, String> {
        text.to_string().parse()
    }
}
impl TryFrom<Text> for Number {
    type Error = String;
    fn try_from(text: Text) -> std::result::Result<Self, String> {
        text.to_string().parse()
    }
}
impl TryFrom<String> for Resize {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}
impl TryFrom<String> for Pad {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

/// A named starting point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Shorter side to 8/7 of the model's input (256 for 224), centre crop, ImageNet's mean and deviation
    Imagenet,
    /// Aligned faces: exactly 112x112, (pixel - 127.5) / 127.5
    #[cfg_attr(feature = "cli", value(name = "face-112"))]
    #[serde(rename = "face-112")]
    Face112,
}

impl Preset {
    /// The recipe of this preset for a model input of this size (`None` where the model does not fix it).
    pub fn recipe(self, input: Option<Size>) -> Recipe {
        match self {
            Self::Imagenet => {
                let crop = input.unwrap_or(Size { width: 224, height: 224 });
                let shorter = (u64::from(crop.width.min(crop.height)) * 256).div_ceil(224);
                Recipe {
                    resize: Resize::Shorter(u32::try_from(shorter).unwrap_or(crop.width)),
                    crop: Some(crop),
                    mean: vec![0.485, 0.456, 0.406],
                    std: vec![0.229, 0.224, 0.225],
                    ..Recipe::default()
                }
            }
            Self::Face112 => Recipe {
                resize: Resize::Exact(Size { width: 112, height: 112 }),
                scale: 1.0,
                mean: vec![127.5],
                std: vec![127.5],
                ..Recipe::default()
            },
        }
    }
}

/// The whole way from file to model input. The default changes nothing but the range: pixels over 255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Channel order.
    pub color: Color,
    /// EXIF orientation.
    pub orientation: Orientation,
    /// First change of size.
    pub resize: Resize,
    /// Filter of the resize.
    pub interpolation: Interpolation,
    /// Widen the filter when shrinking, as Pillow does.
    pub antialias: bool,
    /// Centre crop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop: Option<Size>,
    /// Canvas to paste on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad: Option<Pad>,
    /// Colour of the canvas, 0 to 255, in the order red, green, blue (or one value for all).
    pub fill: Vec<u8>,
    /// Multiplies each pixel value (0 to 255).
    pub scale: f64,
    /// Subtracted after scaling; one value, or one a channel in the order of `color`.
    pub mean: Vec<f64>,
    /// Divides at last; one value, or one a channel in the order of `color`.
    pub std: Vec<f64>,
    /// Axes; `None` where the model's input shape decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            color: Color::Rgb,
            orientation: Orientation::Exif,
            resize: Resize::None,
            interpolation: Interpolation::Bilinear,
            antialias: true,
            crop: None,
            pad: None,
            fill: vec![0],
            scale: 1.0 / 255.0,
            mean: vec![0.0],
            std: vec![1.0],
            layout: None,
        }
    }
}

/// The parts of a recipe that a manifest or the command line gives; what it leaves out stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "cli", command(next_help_heading = "Preprocessing (over the manifest beside the model)"))]
pub struct Patch {
    /// Start from a named recipe
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub preset: Option<Preset>,
    /// Channel order
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub color: Option<Color>,
    /// EXIF orientation
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub orientation: Option<Orientation>,
    /// none, shorter:N or exact:WxH
    #[cfg_attr(feature = "cli", arg(long))]
    pub resize: Option<Resize>,
    /// Resampling filter
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub interpolation: Option<Interpolation>,
    /// Widen the filter when shrinking, as Pillow does
    #[cfg_attr(feature = "cli", arg(long, value_name = "BOOL"))]
    pub antialias: Option<bool>,
    /// Centre crop: N or WxH
    #[cfg_attr(feature = "cli", arg(long))]
    pub crop: Option<Size>,
    /// Paste on a canvas: WxH or WxH+LEFT+TOP
    #[cfg_attr(feature = "cli", arg(long))]
    pub pad: Option<Pad>,
    /// Canvas colour: one value or R,G,B
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ','))]
    pub fill: Option<Vec<u8>>,
    /// Multiply pixel values (0-255) by this; 1/255 is written so
    #[cfg_attr(feature = "cli", arg(long))]
    pub scale: Option<Number>,
    /// Subtract: one value or one a channel
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ',', allow_hyphen_values = true))]
    pub mean: Option<Vec<Number>>,
    /// Divide by: one value or one a channel
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ','))]
    pub std: Option<Vec<Number>>,
    /// Axes of the model's input
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub layout: Option<Layout>,
}

impl Patch {
    /// Reads a TOML manifest.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Recipe`] naming the file and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::read(path, e))?;
        toml::from_str(&text).map_err(|e| Error::Recipe(format!("{}: {}", path.display(), e.to_string().trim())))
    }

    /// The manifest that belongs to a model: `model.onnx` has `model.toml`.
    pub fn beside(model: &Path) -> PathBuf {
        model.with_extension("toml")
    }

    fn apply(&self, base: Recipe) -> Recipe {
        let numbers = |given: &Option<Vec<Number>>, old: Vec<f64>| {
            given.as_ref().map_or(old, |v| v.iter().map(|n| n.0).collect())
        };
        Recipe {
            color: self.color.unwrap_or(base.color),
            orientation: self.orientation.unwrap_or(base.orientation),
            resize: self.resize.unwrap_or(base.resize),
            interpolation: self.interpolation.unwrap_or(base.interpolation),
            antialias: self.antialias.unwrap_or(base.antialias),
            crop: self.crop.or(base.crop),
            pad: self.pad.or(base.pad),
            fill: self.fill.clone().unwrap_or(base.fill),
            scale: self.scale.map_or(base.scale, |n| n.0),
            mean: numbers(&self.mean, base.mean),
            std: numbers(&self.std, base.std),
            layout: self.layout.or(base.layout),
        }
    }
}

/// Where a recipe came from; printed and recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A manifest, by its path.
    Manifest(PathBuf),
    /// Flags alone.
    Flags,
    /// Nothing was given: the `imagenet` preset was taken for want of better.
    Assumed,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(path) => write!(f, "{}", path.display()),
            Self::Flags => f.write_str("flags"),
            Self::Assumed => f.write_str("ASSUMED (imagenet preset; nothing was given)"),
        }
    }
}

impl Recipe {
    /// The recipe of a model: its manifest (named, or beside it), then the flags, checked.
    ///
    /// # Errors
    /// [`Error::Recipe`] where values contradict each other; those of [`Patch::read`].
    pub fn of(model: &Path, manifest: Option<&Path>, flags: &Patch, input: Option<Size>) -> Result<(Self, Origin)> {
        let beside = Patch::beside(model);
        let manifest = manifest.map(Path::to_path_buf).or_else(|| beside.is_file().then_some(beside));
        let nothing = Patch::default();
        let (given, origin) = match manifest {
            Some(path) => (Patch::read(&path)?, Origin::Manifest(path)),
            None if *flags == nothing => (Patch { preset: Some(Preset::Imagenet), ..nothing }, Origin::Assumed),
            None => (nothing, Origin::Flags),
        };
        let base = flags.preset.or(given.preset).map_or_else(Self::default, |preset| preset.recipe(input));
        let recipe = flags.apply(given.apply(base));
        recipe.check()?;
        Ok((recipe, origin))
    }

    /// Refuses values that contradict each other.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let channels = self.color.channels();
        let wrong =
            |what: &str, count: usize| Err(Error::Recipe(format!("{what} has {count} values; wanted 1 or {channels}")));
        let counts = [("mean", self.mean.len()), ("std", self.std.len())];
        if let Some(&(what, count)) = counts.iter().find(|(_, count)| ![1, channels].contains(count)) {
            return wrong(what, count);
        }
        if ![1, 3].contains(&self.fill.len()) {
            return Err(Error::Recipe(format!("fill has {} values; wanted 1 or 3", self.fill.len())));
        }
        if let Some(zero) = self.std.iter().find(|s| **s == 0.0) {
            return Err(Error::Recipe(format!("std holds {zero}, which nothing can be divided by")));
        }
        Ok(())
    }

    /// The size that every image has at the end, where the recipe fixes it.
    pub fn output_size(&self) -> Option<Size> {
        let resized = match self.resize {
            Resize::Exact(size) => Some(size),
            _ => None,
        };
        self.pad.map(|p| p.size).or(self.crop).or(resized)
    }

    /// The recipe as one line of TOML-like words, for tables and files.
    pub fn to_line(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(key, value)| format!("{key}={}", value.to_string().replace('"', ""))).collect::<Vec<_>>().join(" ")
    }
}
