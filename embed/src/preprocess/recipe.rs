//! From image file to model input, as data: one recipe a model, readable from TOML and from flags in the same words.
//!
//! The steps, in order: orientation, colour, resize, crop, pad, then `(pixel * scale - mean) / std` in each channel.

use serde::{Deserialize, Serialize};

use super::values::{Color, Interpolation, Layout, Orientation, Pad, Resize, Size};
use crate::error::{Error, Result};

/// Pixels that an image may have as stored, resized or on its canvas, where `--max-pixels` says nothing: Pillow's limit
/// against decompression bombs, a quarter of a gigabyte of 24-bit pixels twice over.
pub const MAX_PIXELS: u64 = 178_956_970;

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

impl Recipe {
    /// Refuses values that contradict each other.
    ///
    /// # Errors
    /// [`Error::Recipe`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let channels = self.color.channels();
        let counts =
            [("mean", self.mean.len(), channels), ("std", self.std.len(), channels), ("fill", self.fill.len(), 3)];
        if let Some((what, count, many)) = counts.into_iter().find(|(_, count, many)| ![1, *many].contains(count)) {
            let wanted =
                if many == 1 { "1, for a grey image has one channel".to_owned() } else { format!("1 or {many}") };
            let has = if count == 0 { "no value".to_owned() } else { format!("{count} values") };
            return Err(Error::Recipe(format!("{what} has {has}; wanted {wanted}")));
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

    /// What is to be said of numbers that fit each other so badly that images come out nearly alike, or far beyond what any model
    /// is trained on: a mean and a deviation of pixels of 0 to 255 beside a scale of 1/255, or the other way round.
    pub fn doubt(&self) -> Option<String> {
        /// Levels of 0 to 255 less a mean lie within; nothing normalised is so narrow.
        const WIDEST: f64 = 300.0;
        const NARROWEST: f64 = 0.1;
        let brightest = 255.0 * self.scale;
        let of = |values: &[f64], channel: usize| values[if values.len() == 1 { 0 } else { channel }];
        let ends = (0..self.color.channels()).map(|channel| {
            let (mean, std) = (of(&self.mean, channel), of(&self.std, channel));
            ((0.0 - mean) / std, (brightest - mean) / std)
        });
        let (low, high) = ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (dark, bright)| {
            (low.min(dark).min(bright), high.max(dark).max(bright))
        });
        let beyond = self.mean.iter().any(|mean| mean.abs() > brightest.abs());
        let (mean, std) = (word(&self.mean), word(&self.std));
        let values =
            format!("prepared values run from {low:.4} to {high:.4} (scale {}, mean {mean}, std {std})", self.scale);
        if beyond || high - low < NARROWEST {
            return Some(format!(
                "{values}, whatever the image: are mean and std of pixels of 0 to 255? They want --scale 1"
            ));
        }
        (high - low > WIDEST).then(|| format!("{values}: are mean and std of pixels over 255? They want --scale 1/255"))
    }

    /// Whether values stay pixels from 0 to 255.
    pub fn leaves_levels(&self) -> bool {
        self.scale == 1.0 && self.mean.iter().all(|mean| *mean == 0.0) && self.std.iter().all(|std| *std == 1.0)
    }

    /// The size that every image has at the end, where the recipe fixes it.
    pub fn output_size(&self) -> Option<Size> {
        let resized = match self.resize {
            Resize::Exact(size) => Some(size),
            _ => None,
        };
        self.pad.map(|p| p.size).or(self.crop).or(resized)
    }

    /// The steps in which another recipe differs, by their names in a manifest.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let steps = [
            ("color", self.color == other.color),
            ("orientation", self.orientation == other.orientation),
            ("resize", self.resize == other.resize),
            ("interpolation", self.interpolation == other.interpolation),
            ("antialias", self.antialias == other.antialias),
            ("crop", self.crop == other.crop),
            ("pad", self.pad == other.pad),
            ("scale", self.scale == other.scale),
            ("mean", self.mean == other.mean),
            ("std", self.std == other.std),
            ("layout", self.layout == other.layout),
        ];
        steps.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// The recipe as one line of TOML-like words, for tables and files.
    pub fn to_line(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(key, value)| format!("{key}={}", value.to_string().replace('"', ""))).collect::<Vec<_>>().join(" ")
    }
}

fn word(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Preset;

    #[test]
    fn numbers_of_another_range_are_said() {
        let recipe = |scale: f64, mean: &[f64], std: &[f64]| Recipe {
            scale,
            mean: mean.to_vec(),
            std: std.to_vec(),
            ..Recipe::default()
        };
        let said = |recipe: &Recipe| recipe.doubt().unwrap_or_default();
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let levels = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
        for bad in [
            recipe(1.0 / 255.0, &levels.0, &levels.1),
            recipe(1.0 / 255.0, &[127.5], &[127.5]),
            recipe(1.0 / 255.0, &[127.5], &[1.0]),
            recipe(1.0 / 255.0, &[0.0], &[255.0]),
        ] {
            assert!(said(&bad).contains("They want --scale 1"), "{bad:?}: {}", said(&bad));
        }
        for bad in [recipe(1.0, &mean, &std), recipe(1.0, &[0.5], &[0.5])] {
            assert!(said(&bad).contains("They want --scale 1/255"), "{bad:?}: {}", said(&bad));
        }
        for good in [
            Recipe::default(),
            Preset::Imagenet.recipe(None),
            Preset::Face112.recipe(None),
            recipe(1.0, &levels.0, &levels.1),
            recipe(1.0, &[104.0, 117.0, 123.0], &[1.0]),
            recipe(1.0, &[0.0], &[1.0]),
            recipe(1.0, &[0.0], &[255.0]),
            recipe(1.0 / 127.5, &[1.0], &[1.0]),
            recipe(1.0, &[127.5], &[128.0]),
            recipe(2.0 / 255.0, &[1.0], &[1.0]),
        ] {
            assert_eq!(said(&good), "", "{good:?}");
        }
    }
}
