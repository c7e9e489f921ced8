//! From image file to model input, as data: one recipe a model, readable from TOML and from flags in the same words.
//!
//! The steps, in order: orientation, colour, resize, crop, pad, then `(pixel * scale - mean) / std` in each channel.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Pixels that an image may have as stored, resized or on its canvas, where `--max-pixels` says nothing: Pillow's limit
/// against decompression bombs, a quarter of a gigabyte of 24-bit pixels twice over.
pub const MAX_PIXELS: u64 = 178_956_970;

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

/// `none`, `shorter:N` or `cover:WIDTHxHEIGHT` (keep the aspect), or `exact:WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Resize {
    /// Keep the size.
    None,
    /// Scale so that the shorter side has this many pixels; the longer side is rounded down.
    Shorter(u32),
    /// Scale so that the image covers this size in both directions and exceeds it in at most one, rounded down.
    Cover(Size),
    /// Scale both sides freely.
    Exact(Size),
}

impl Resize {
    /// Width and height after it, of an image of this width and height; `None` where nothing changes.
    pub fn target(self, width: u32, height: u32) -> Option<(u64, u64)> {
        let (width, height) = (u64::from(width), u64::from(height));
        let (to_width, to_height) = match self {
            Self::None => return None,
            Self::Exact(size) => return Some((u64::from(size.width), u64::from(size.height))),
            Self::Shorter(side) => (u64::from(side), u64::from(side)),
            Self::Cover(size) => (u64::from(size.width), u64::from(size.height)),
        };
        // to_width / width against to_height / height
        Some(if to_width * height >= to_height * width {
            (to_width, to_width * height / width)
        } else {
            (to_height * width / height, to_height)
        })
    }
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
            Some(("cover", size)) => size.parse().map(Self::Cover),
            Some(("exact", size)) => size.parse().map(Self::Exact),
            _ => Err(format!("'{s}' is no resize: wanted none, shorter:N, cover:WIDTHxHEIGHT or exact:WIDTHxHEIGHT")),
        }
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Shorter(side) => write!(f, "shorter:{side}"),
            Self::Cover(size) => write!(f, "cover:{size}"),
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
    /// Nothing but pixels over 255
    None,
    /// Scaled to cover 8/7 of the model's input (256 for 224), centre crop, ImageNet's mean and deviation
    Imagenet,
    /// Aligned faces: exactly 112x112, (pixel - 127.5) / 127.5
    #[cfg_attr(feature = "cli", value(name = "face-112"))]
    #[serde(rename = "face-112")]
    Face112,
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Imagenet => "imagenet",
            Self::Face112 => "face-112",
        })
    }
}

impl Preset {
    /// The recipe of this preset for a model input of this size (`None` where the model does not fix it).
    pub fn recipe(self, input: Option<Size>) -> Recipe {
        match self {
            Self::None => Recipe::default(),
            Self::Imagenet => {
                let crop = input.unwrap_or(Size { width: 224, height: 224 });
                let scaled = |side: u32| u32::try_from((u64::from(side) * 256).div_ceil(224)).unwrap_or(side);
                let cover = Size { width: scaled(crop.width), height: scaled(crop.height) };
                let square = cover.width == cover.height;
                Recipe {
                    resize: if square { Resize::Shorter(cover.width) } else { Resize::Cover(cover) },
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
    /// Pixels that an image may have as stored, resized or on its canvas.
    #[serde(default = "usual_max_pixels", skip_serializing_if = "is_usual_max_pixels")]
    pub max_pixels: u64,
}

fn usual_max_pixels() -> u64 {
    MAX_PIXELS
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_usual_max_pixels(pixels: &u64) -> bool {
    *pixels == MAX_PIXELS
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
            max_pixels: MAX_PIXELS,
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
    #[cfg_attr(feature = "cli", arg(long = "channels", value_enum))]
    pub color: Option<Color>,
    /// EXIF orientation
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub orientation: Option<Orientation>,
    /// none, shorter:N, cover:WxH or exact:WxH
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
    /// Refuse images of more pixels, as stored, resized or on the canvas [default: 178956970]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub max_pixels: Option<u64>,
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

    /// This patch, and `other` where it says nothing.
    fn or(&self, other: &Self) -> Self {
        Self {
            preset: self.preset.or(other.preset),
            color: self.color.or(other.color),
            orientation: self.orientation.or(other.orientation),
            resize: self.resize.or(other.resize),
            interpolation: self.interpolation.or(other.interpolation),
            antialias: self.antialias.or(other.antialias),
            crop: self.crop.or(other.crop),
            pad: self.pad.or(other.pad),
            fill: self.fill.clone().or(other.fill.clone()),
            scale: self.scale.or(other.scale),
            mean: self.mean.clone().or(other.mean.clone()),
            std: self.std.clone().or(other.std.clone()),
            layout: self.layout.or(other.layout),
            max_pixels: self.max_pixels.or(other.max_pixels),
        }
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
            max_pixels: self.max_pixels.unwrap_or(base.max_pixels),
        }
    }

    /// What a preset gives where this patch says nothing. The size at the end is one thing: a patch that fixes it
    /// (`exact`, `none`, a canvas) drops the preset's crop, and a canvas its resize.
    fn over(&self, preset: Preset, input: Option<Size>) -> Result<Recipe> {
        let base = preset.recipe(input.or(self.crop));
        let sized = self.pad.is_some() || matches!(self.resize, Some(Resize::Exact(_) | Resize::None));
        let color = self.color.unwrap_or(base.color);
        let mut recipe = Recipe {
            crop: if sized { None } else { base.crop },
            resize: if self.pad.is_some() { Resize::None } else { base.resize },
            color,
            ..base
        };
        // The preset's are in the order red, green, blue.
        for (what, values, given) in [("mean", &mut recipe.mean, &self.mean), ("std", &mut recipe.std, &self.std)] {
            match color {
                Color::Bgr => values.reverse(),
                Color::Gray if values.len() > 1 && given.is_none() => {
                    return Err(Error::Recipe(format!(
                        "color gray: {what} of the {preset} preset has {} values, one a colour; give --mean and --std",
                        values.len()
                    )));
                }
                Color::Gray | Color::Rgb => {}
            }
        }
        Ok(recipe)
    }

    /// The steps that this patch leaves to the preset that is assumed. Where it gives all that a preset is for, nothing is.
    fn assumed(&self) -> Vec<&'static str> {
        let sized = self.pad.is_some() || self.resize.is_some();
        let needed = [
            ("color", self.color.is_some()),
            ("resize", sized),
            ("scale", self.scale.is_some()),
            ("mean", self.mean.is_some()),
            ("std", self.std.is_some()),
        ];
        if needed.iter().all(|(_, given)| *given) {
            return Vec::new();
        }
        let fixed = self.pad.is_some() || matches!(self.resize, Some(Resize::Exact(_) | Resize::None));
        let others = [
            ("crop", fixed || self.crop.is_some()),
            ("interpolation", self.interpolation.is_some() || self.pad.is_some() && self.resize.is_none()),
        ];
        needed.into_iter().chain(others).filter(|(_, given)| !given).map(|(name, _)| name).collect()
    }

    /// Whether numbers given here mean something else beside the assumed ones.
    fn fits_assumed(&self, recipe: &Recipe) -> Result<()> {
        let scale_alone = self.scale.is_some_and(|n| n.0 != Preset::Imagenet.recipe(None).scale)
            && (self.mean.is_none() || self.std.is_none());
        if scale_alone {
            return Err(Error::Recipe(format!(
                "scale {} goes with mean and std of its own, and those assumed (imagenet preset) are for pixels over 255; \
                 give --mean and --std",
                recipe.scale
            )));
        }
        let brightest = 255.0 * recipe.scale;
        let far = |values: &Option<Vec<Number>>| values.iter().flatten().map(|n| n.0).find(|v| *v > brightest);
        match far(&self.mean).map(|v| ("mean", v)).or(far(&self.std).map(|v| ("std", v))) {
            Some((what, value)) if self.scale.is_none() => Err(Error::Recipe(format!(
                "{what} {value} lies beyond the brightest pixel, which is {brightest} at the assumed scale of 1/255; \
                 give --scale (1 for {what} in levels of 0 to 255)"
            ))),
            _ => Ok(()),
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
    /// No manifest, and flags that leave these steps open: they are those of the `imagenet` preset, for want of better.
    Assumed(Vec<&'static str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(path) => write!(f, "{}", path.display()),
            Self::Flags => f.write_str("flags"),
            Self::Assumed(steps) => write!(f, "ASSUMED: {} of the imagenet preset", steps.join(", ")),
        }
    }
}

impl Origin {
    /// What a person must know about the recipe of this model.
    pub fn note(&self, model: &Path) -> Option<String> {
        let Self::Assumed(steps) = self else { return None };
        let flag = |step: &&str| if *step == "color" { "--channels".to_owned() } else { format!("--{step}") };
        let flags: Vec<_> = steps.iter().map(flag).collect();
        Some(format!(
            "PREPROCESSING IS ASSUMED: nothing says how {} wants its images, so {} of the imagenet preset are used; write \
             {}, or give --preset or {} to be sure",
            model.display(),
            steps.join(", "),
            Patch::beside(model).display(),
            flags.join(", ")
        ))
    }
}

impl Recipe {
    /// The recipe of a model: its manifest (named, or beside it), then the flags, checked. Without a manifest and without
    /// `--preset`, the flags go over the imagenet preset, and what is left of that is [`Origin::Assumed`].
    ///
    /// # Errors
    /// [`Error::Recipe`] where values contradict each other; those of [`Patch::read`].
    pub fn of(model: &Path, manifest: Option<&Path>, flags: &Patch, input: Option<Size>) -> Result<(Self, Origin)> {
        let beside = Patch::beside(model);
        let manifest = manifest.map(Path::to_path_buf).or_else(|| beside.is_file().then_some(beside));
        let (given, mut origin) = match manifest {
            Some(path) => (Patch::read(&path)?, Origin::Manifest(path)),
            None => (Patch::default(), Origin::Flags),
        };
        let mut preset = flags.preset.or(given.preset);
        if preset.is_none() && origin == Origin::Flags {
            let steps = flags.assumed();
            if !steps.is_empty() {
                preset = Some(Preset::Imagenet);
                origin = Origin::Assumed(steps);
            }
        }
        let given = flags.or(&given);
        let base = preset.map_or(Ok(Self::default()), |preset| given.over(preset, input))?;
        let recipe = given.apply(base);
        recipe.check()?;
        if matches!(origin, Origin::Assumed(_)) {
            flags.fits_assumed(&recipe)?;
        }
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
        let exact = if let Resize::Exact(size) = self.resize { Some(size) } else { None };
        for (what, size) in [("resize", exact), ("crop", self.crop), ("pad", self.pad.map(|pad| pad.size))] {
            let pixels = size.map_or(0, |size| u64::from(size.width) * u64::from(size.height));
            if let Some(size) = size.filter(|_| pixels > self.max_pixels) {
                return Err(Error::Recipe(format!(
                    "{what} {size} makes {pixels} pixels, more than max_pixels {}; --max-pixels raises it",
                    self.max_pixels
                )));
            }
        }
        if let Some(pad) = self.pad
            && let Some((left, top)) = pad.at
            && (left >= pad.size.width || top >= pad.size.height)
        {
            return Err(Error::Recipe(format!("pad {pad} puts the image's corner {left},{top} outside of its canvas")));
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

/// Whether an image of this size may be decoded.
pub(super) fn check_pixels(width: u64, height: u64, max_pixels: u64) -> std::result::Result<(), String> {
    let pixels = width.saturating_mul(height);
    if pixels == 0 {
        return Err("has no pixels".into());
    }
    if pixels > max_pixels {
        return Err(format!("its header says {width}x{height}, {pixels} pixels, more than --max-pixels {max_pixels}"));
    }
    Ok(())
}
