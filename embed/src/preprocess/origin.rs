//! The recipe of a model, and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};

use super::patch::Patch;
use super::preset::Preset;
use super::recipe::Recipe;
use super::values::Size;
use crate::error::{Error, Result};

/// Where a recipe came from; printed and recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A manifest, by its path, and which of mean and std neither it, nor a preset, nor a flag gives.
    Manifest(PathBuf, Vec<&'static str>),
    /// A manifest, beneath which a preset lies that a flag names: what the manifest says otherwise.
    Over(PathBuf, Preset, Vec<&'static str>),
    /// Flags alone.
    Flags,
    /// No manifest, and flags that leave these steps open: they are those of the `imagenet` preset, for want of better.
    Assumed(Vec<&'static str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(path, _) | Self::Over(path, ..) => write!(f, "{}", path.display()),
            Self::Flags => f.write_str("flags"),
            Self::Assumed(steps) => write!(f, "ASSUMED: {} of the imagenet preset", steps.join(", ")),
        }
    }
}

impl Origin {
    /// What a person must know about the recipe of this model.
    pub fn note(&self, model: &Path) -> Option<String> {
        let steps = match self {
            Self::Assumed(steps) => steps,
            Self::Over(manifest, preset, steps) => {
                let (manifest, steps) = (manifest.display(), steps.join(", "));
                return Some(format!("{manifest} goes before --preset {preset}: {steps} are the manifest's"));
            }
            Self::Manifest(manifest, open) if !open.is_empty() => {
                return Some(format!(
                    "{} says nothing of {}, and names no preset: mean is 0 and std 1 where they are not given, which few models are \
                     trained with; write them there (or preset = \"none\"), or give --mean and --std, to be sure",
                    manifest.display(),
                    open.join(" and ")
                ));
            }
            Self::Manifest(..) | Self::Flags => return None,
        };
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
    /// `--preset`, the flags go over the imagenet preset, and what is left of that is [`Origin::Assumed`]. A model that takes
    /// pixels as they are gets them so where nobody says otherwise.
    ///
    /// # Errors
    /// [`Error::Usage`] for a preset of which the manifest leaves nothing, [`Error::Recipe`] where values contradict each other; those of [`Patch::read`].
    pub fn of(
        model: &Path,
        manifest: Option<&Path>,
        flags: &Patch,
        (input, takes_levels): (Option<Size>, bool),
    ) -> Result<(Self, Origin)> {
        let beside = Patch::beside(model);
        let manifest = manifest.map(Path::to_path_buf).or_else(|| beside.is_file().then_some(beside));
        let (given, mut origin) = match manifest {
            Some(path) => (Patch::read(&path)?, Origin::Manifest(path, Vec::new())),
            None => (Patch::default(), Origin::Flags),
        };
        let mut preset = flags.preset.or(given.preset);
        let unscaled = takes_levels && preset.is_none_or(|preset| preset == Preset::None);
        let below = if unscaled { given.or(&Patch::levels()) } else { given.clone() };
        if preset.is_none() && origin == Origin::Flags {
            let steps = flags.or(&below).assumed();
            if !steps.is_empty() {
                preset = Some(Preset::Imagenet);
                origin = Origin::Assumed(steps);
            }
        }
        let patch = flags.or(&below);
        if let (Origin::Manifest(_, open), None) = (&mut origin, preset) {
            let numbers = [("mean", patch.mean.is_none()), ("std", patch.std.is_none())];
            open.extend(numbers.into_iter().filter(|(_, is_open)| *is_open).map(|(name, _)| name));
        }
        let of = |patch: &Patch, preset: Option<Preset>| -> Result<Self> {
            Ok(patch.apply(preset.map_or(Ok(Self::default()), |preset| patch.over(preset, input))?))
        };
        let recipe = of(&patch, preset)?;
        recipe.check()?;
        if let (Origin::Manifest(path, _), Some(named)) = (&origin, flags.preset) {
            let steps = recipe.differences(&of(flags, Some(named)).unwrap_or_default());
            // `none` assumes nothing, which a manifest does not, either.
            if named != Preset::None && !steps.is_empty() && recipe == of(&patch, given.preset)? {
                return Err(Error::Usage(format!(
                    "--preset {named} changes nothing here: {} gives every step that it has; change that file, or give its steps by \
                     flags of their own",
                    path.display()
                )));
            }
            if !steps.is_empty() {
                origin = Origin::Over(path.clone(), named, steps);
            }
        }
        if matches!(origin, Origin::Assumed(_)) {
            flags.fits_assumed(&recipe)?;
        }
        Ok((recipe, origin))
    }
}
