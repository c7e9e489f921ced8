//! Recipes that have a name.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use super::values::{Resize, Size};

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
