//! Which columns of a table say the role of each image, and what they say: those of lists, and of labels of kept embeddings.

use super::Role;
use super::columns::{IS_GALLERY, IS_QUERY, ROLE, flag_column, holds_only, truth};
use crate::delimited::{Record, Table};
use crate::error::Result;

/// The columns that say which part an image plays.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Roles {
    /// Holds `query`, `gallery` or `both`.
    pub(crate) role: Option<usize>,
    /// Whether it is a query: true or false.
    pub(crate) query: Option<usize>,
    /// Whether it is of the gallery.
    pub(crate) gallery: Option<usize>,
}

impl Roles {
    /// Those of a table without parts, such as one of labels: by their names, else one of no other use that holds nothing else.
    ///
    /// # Errors
    /// [`crate::Error::Data`] where the header has a name twice.
    pub(crate) fn find(table: &Table, used: &[Option<usize>]) -> Result<Self> {
        let holds = |&c: &usize| holds_only(table, c, |word| Role::parse(word).is_some());
        let free = |c: &usize| !used.contains(&Some(*c));
        let surely = table.column(&ROLE[..1])?;
        let by_name = surely.or(table.column(&ROLE[1..])?.filter(holds));
        let role = by_name.or_else(|| (0..table.header().len()).filter(free).find(holds));
        let (query, gallery) =
            (flag_column(table, &IS_QUERY)?.filter(free), flag_column(table, &IS_GALLERY)?.filter(free));
        Ok(Self { role, query, gallery })
    }

    /// The role that a record says; `None` where it says none, as flags may.
    ///
    /// # Errors
    /// [`crate::Error::Data`] naming the line.
    pub(crate) fn of(&self, table: &Table, record: &Record<'_>, is_train: bool) -> Result<Option<Role>> {
        if let Some(word) = self.role.map(|c| &record.fields[c]) {
            if is_train && is_empty(word) {
                return Ok(None);
            }
            let wrong = || table.error(record.line, &format!("role '{word}' is none of query, gallery, both"));
            return Role::parse(word).map(Some).ok_or_else(wrong);
        }
        let word = |column: Option<usize>| column.map(|c| record.fields[c].as_ref());
        by_flags(word(self.query), word(self.gallery), is_train).map_err(|problem| table.error(record.line, &problem))
    }
}

/// Whether a field says nothing, as pandas and others write that.
fn is_empty(word: &str) -> bool {
    ["", "nan", "none"].contains(&word.trim().to_lowercase().as_str())
}

/// What is wrong with an image that flags say no role of, where they say one of others.
pub(crate) fn unsaid(others: &str) -> String {
    format!("says neither of a query nor of the gallery, and other {others} do; wanted all or none")
}

/// The role that flags of true and false say, `None` where they are empty or there is no such column, and of an image to train on that is
/// neither. One column alone says both.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn by_flags(
    query: Option<&str>,
    gallery: Option<&str>,
    is_train: bool,
) -> std::result::Result<Option<Role>, String> {
    let flag = |word: Option<&str>| match word {
        None => Ok(None),
        Some(word) if truth(word).is_some() => Ok(truth(word)),
        Some(word) if is_empty(word) => Ok(None),
        Some(other) => Err(format!("'{other}' is neither True nor False")),
    };
    match (flag(query)?, flag(gallery)?) {
        (Some(true), Some(true)) => Ok(Some(Role::Both)),
        (Some(true), _) => Ok(Some(Role::Query)),
        (_, Some(true)) => Ok(Some(Role::Gallery)),
        (None, None) => Ok(None),
        _ if is_train => Ok(None),
        (Some(false), None) if gallery.is_none() => Ok(Some(Role::Gallery)),
        (None, Some(false)) if query.is_none() => Ok(Some(Role::Query)),
        _ => Err("is neither query nor gallery".into()),
    }
}

/// What is said of one column of flags, which says both, by the names of the columns that there are; `rows` are images or rows.
pub(crate) fn said_by_one(rows: &str, query: Option<String>, gallery: Option<String>) -> Option<String> {
    let (column, others) = match (query, gallery) {
        (Some(query), None) => (query, "the gallery"),
        (None, Some(gallery)) => (gallery, "queries"),
        _ => return None,
    };
    Some(format!("{rows} with False in column {column} are {others}"))
}
