//! The values that a recipe is made of, and the words that they are written in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// Take the pixels as stored, but of TIFF (as Pillow and torchvision do)
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
