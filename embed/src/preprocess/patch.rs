//! The parts of a recipe that somebody gives, in a manifest or by flags, and what is assumed of the others.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IntoDeserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::preset::Preset;
use super::recipe::Recipe;
use super::values::{Color, Interpolation, Layout, Number, Orientation, Pad, Resize, Size};
use crate::delimited::read_text;
use crate::error::{Error, Result};

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
    #[serde(deserialize_with = "one_or_several")]
    pub fill: Option<Vec<u8>>,
    /// Multiply pixel values (0-255) by this; 1/255 is written so
    #[cfg_attr(feature = "cli", arg(long))]
    pub scale: Option<Number>,
    /// Subtract: one value or one a channel
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ',', allow_hyphen_values = true))]
    #[serde(deserialize_with = "one_or_several")]
    pub mean: Option<Vec<Number>>,
    /// Divide by: one value or one a channel
    #[cfg_attr(feature = "cli", arg(long, value_delimiter = ',', value_parser = divisor))]
    #[serde(deserialize_with = "one_or_several")]
    pub std: Option<Vec<Number>>,
    /// Axes of the model's input
    #[cfg_attr(feature = "cli", arg(long, value_enum))]
    pub layout: Option<Layout>,
    /// Refuse images of more pixels, as stored, resized or on the canvas [default: 178956970]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub max_pixels: Option<u64>,
}

/// One value, or a list of one a channel, as the flags take them.
fn one_or_several<'de, D, T>(from: D) -> std::result::Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Values<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one value, or a list of one a channel")
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Vec<T>, E> {
            Ok(vec![T::deserialize(value.into_deserializer())?])
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<Vec<T>, E> {
            Ok(vec![T::deserialize(value.into_deserializer())?])
        }

        fn visit_str<E: de::Error>(self, value: &str) -> std::result::Result<Vec<T>, E> {
            Ok(vec![T::deserialize(value.into_deserializer())?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> std::result::Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(values))
        }
    }
    from.deserialize_any(Values(PhantomData)).map(Some)
}

#[cfg(feature = "cli")]
fn divisor(text: &str) -> std::result::Result<Number, String> {
    let number: Number = text.parse()?;
    if number.0 == 0.0 { Err("nothing can be divided by 0".into()) } else { Ok(number) }
}

impl Patch {
    /// Reads a TOML manifest.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Recipe`] naming the file and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        toml::from_str(&text).map_err(|e| Error::Recipe(format!("{}: {}", path.display(), e.to_string().trim())))
    }

    /// This patch, and `other` where it says nothing.
    pub(super) fn or(&self, other: &Self) -> Self {
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

    /// Values that stay pixels from 0 to 255.
    pub(super) fn levels() -> Self {
        let (zero, one) = (Number(0.0), Number(1.0));
        Self { scale: Some(one), mean: Some(vec![zero]), std: Some(vec![one]), ..Self::default() }
    }

    /// The manifest that belongs to a model: `model.onnx` has `model.toml`.
    pub fn beside(model: &Path) -> PathBuf {
        model.with_extension("toml")
    }

    pub(super) fn apply(&self, base: Recipe) -> Recipe {
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
    pub(super) fn over(&self, preset: Preset, input: Option<Size>) -> Result<Recipe> {
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
    pub(super) fn assumed(&self) -> Vec<&'static str> {
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
    pub(super) fn fits_assumed(&self, recipe: &Recipe) -> Result<()> {
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
