//! Patterns of the names of weights.

use glob::Pattern;

use crate::graph::{Error, Result};

/// Patterns of names.
pub(super) struct Frozen(Vec<Pattern>);

impl Frozen {
    /// # Errors
    /// When a pattern is none, or matches none of the names. `what` names the setting.
    pub(super) fn new(what: &str, patterns: &[String], names: &[&str]) -> Result<Self> {
        let parse = |text: &String| {
            let subject = format!("{what} pattern '{text}'");
            let pattern = Pattern::new(text).map_err(|error| Error::model(subject.as_str(), error.to_string()))?;
            if names.iter().any(|name| pattern.matches(name)) {
                return Ok(pattern);
            }
            let such = names.first().map_or_else(String::new, |name| format!(", such as '{name}'"));
            Err(Error::model(subject, format!("it matches none of the {} weights{such}", names.len())))
        };
        patterns.iter().map(parse).collect::<Result<_>>().map(Self)
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.which(name).is_some()
    }

    /// The first pattern that matches.
    pub(super) fn which(&self, name: &str) -> Option<&str> {
        self.position(name).map(|at| self.0[at].as_str())
    }

    /// The number of the first pattern that matches.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|pattern| pattern.matches(name))
    }
}
