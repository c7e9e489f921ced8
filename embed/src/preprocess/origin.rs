//! The recipe of a model, and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};

use super::patch::Patch;
use super::preset::Preset;
use super::recipe::Recipe;
use super::values::Size;
use crate::error::Result;

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
    /// [`Error::Recipe`](crate::Error::Recipe) where values contradict each other; those of [`Patch::read`].
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
}
