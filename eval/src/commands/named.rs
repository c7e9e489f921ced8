//! Images that a list names, among those of a data set or of kept embeddings.

use std::collections::HashMap;

use pdloss_embed::dataset::Finder;

/// Names to be looked for, as they are or as paths.
pub(super) struct Named<'a> {
    as_they_are: HashMap<&'a str, usize>,
    finder: Finder<'a>,
}

impl<'a> Named<'a> {
    /// Over these names of images.
    pub(super) fn new(names: &'a [String]) -> Self {
        Self::over(names, Finder::new(names))
    }

    /// Over files, some of which may be no images.
    pub(super) fn of_files(names: &'a [String]) -> Self {
        Self::over(names, Finder::of_files(names))
    }

    fn over(names: &'a [String], finder: Finder<'a>) -> Self {
        let as_they_are = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        Self { as_they_are, finder }
    }

    /// Where it is: the same name, for kept embeddings may have any, else as [`Finder::find`].
    ///
    /// # Errors
    /// Those of [`Finder::find`].
    pub(super) fn find(&self, wanted: &str) -> Result<Option<usize>, String> {
        self.as_they_are.get(wanted).map_or_else(|| self.finder.find(wanted), |&at| Ok(Some(at)))
    }
}
