//! Which columns of a file hold what, by their names and types.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;

use crate::dataset::columns::{IS_GALLERY, IS_QUERY, LABEL, PATH, ROLE, truth};
use crate::dataset::{Role, said_by_one, several};
use crate::delimited::{is_index, plain};
use crate::embeddings::labels::{CAMERA, NAME};
use crate::error::{Error, Result};

/// What a column of embeddings is called, where there are several columns of lists.
const EMBEDDING: [&str; 6] = ["embedding", "embeddings", "vector", "vectors", "feature", "features"];
const WANTED: &str = "wanted one column of lists of float32, float64 or float16, or a column a dimension, called alike and numbered \
                      from 0 or 1 (e0, e1, ...)";

/// A column that holds values of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its place among the file's columns.
    pub(super) at: usize,
    pub(super) name: String,
}

/// Where the numbers are.
#[derive(Debug)]
pub(super) enum Numbers {
    /// All of a row in one list.
    Lists(Leaf),
    /// One of a row in each column.
    Columns(Vec<Leaf>),
}

/// Which columns hold what.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) numbers: Numbers,
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) label: Option<Leaf>,
    pub(super) name: Option<Leaf>,
    /// Roles in words; else flags of queries and of the gallery say them.
    pub(super) role: Option<Leaf>,
    pub(super) query: Option<Leaf>,
    pub(super) gallery: Option<Leaf>,
    pub(super) camera: Option<Leaf>,
    /// What was chosen among several columns: a sentence each.
    pub(super) notes: Vec<String>,
}

/// What a column holds, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Numbers,
    Lists,
    Words,
    Flags,
    Other,
}

/// Says of a column whether every word in it is such a one.
pub(super) type HoldsOnly<'f> = &'f dyn Fn(&Leaf, fn(&str) -> bool) -> bool;

impl Layout {
    /// # Errors
    /// [`Error::Data`] naming the columns that are not what is wanted, and rows that so small a file cannot hold.
    pub(super) fn of(path: &Path, about: &ParquetMetaData, most: u64, holds_only: HoldsOnly<'_>) -> Result<Self> {
        let wrong = |problem: String| Error::data(path, problem);
        let columns = Columns::of(about);
        let label = columns.words(path, &LABEL)?;
        // Beside labels of another file nothing is read but numbers.
        let is_alone = label.is_some();
        let words = |names: &[&str]| if is_alone { columns.words(path, names) } else { Ok(None) };
        let (name, role, camera) = (words(&NAME)?, words(&ROLE[..1])?, words(&[CAMERA])?);
        let name = name.or_else(|| columns.called(&PATH, |column| is_alone && column.is_text));
        let numbers = columns.numbers(path)?;
        let rows = usize::try_from(about.file_metadata().num_rows()).unwrap_or(0);
        let in_groups = about.row_groups().iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(0));
        if in_groups.fold(0, usize::saturating_add) != rows {
            return Err(wrong(format!("is damaged: its footer claims {rows} rows, its row groups hold others")));
        }
        if rows == 0 {
            return Err(wrong("holds no rows".into()));
        }
        let dim = match &numbers {
            Numbers::Columns(columns) => columns.len(),
            Numbers::Lists(leaf) => {
                let counts = about.row_groups().iter().map(|group| group.column(leaf.at).num_values());
                let values = counts.map(|count| u64::try_from(count).unwrap_or(0)).fold(0, u64::saturating_add);
                let dim = values / rows as u64;
                if dim * rows as u64 != values {
                    return Err(wrong(format!(
                        "column '{}': {values} numbers in {rows} rows; wanted lists of one length",
                        leaf.name
                    )));
                }
                usize::try_from(dim).unwrap_or(0)
            }
        };
        if (rows as u64).saturating_mul(dim as u64) > most {
            return Err(wrong(format!(
                "is damaged: it claims {rows} rows of {dim} numbers, which its bytes cannot hold"
            )));
        }
        let others = [&label, &name, &camera];
        let ([role, query, gallery], said) =
            if is_alone { columns.roles(role, others, holds_only) } else { Default::default() };
        let mut notes: Vec<String> = said.map(|said| format!("{}: {said}", path.display())).into_iter().collect();
        let about_rows =
            [&label, &name, &role, &query, &gallery, &camera].map(|leaf| leaf.as_ref().map(|leaf| leaf.at));
        let used = |at: usize| {
            about_rows.contains(&Some(at))
                || match &numbers {
                    Numbers::Lists(leaf) => leaf.at == at,
                    Numbers::Columns(columns) => columns.iter().any(|leaf| leaf.at == at),
                }
        };
        let left = columns.0.iter().filter(|column| !used(column.leaf.at));
        let left: Vec<_> = left.map(|column| &column.leaf.name).filter(|name| !is_index(name)).collect();
        if let Some(label) = label.as_ref().filter(|_| left.iter().any(|name| LABEL.contains(&plain(name).as_str()))) {
            notes.push(format!("{}: labels are read from column '{}'", path.display(), label.name));
        }
        if !left.is_empty() {
            let left = several(left.into_iter().map(|name| format!("'{name}'")));
            notes.push(format!("{}: nothing is read from column {left}", path.display()));
        }
        if let Some(camera) = &camera {
            notes.push(format!(
                "{}: images of one class and one camera (column '{}') are not counted as each other's neighbours by Recall@K and the like, \
                 as on Market-1501; another name for the column has them counted",
                path.display(),
                camera.name
            ));
        }
        Ok(Self { numbers, rows, dim, label, name, role, query, gallery, camera, notes })
    }
}

/// Refuses columns inside columns that no table of embeddings has.
pub(super) fn check_depth(path: &Path, about: &ParquetMetaData) -> Result<()> {
    const DEEPEST: usize = 32;
    let mut open = vec![(about.file_metadata().schema_descr().root_schema(), 0)];
    while let Some((group, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(Error::data(path, format!("is damaged: columns lie more than {DEEPEST} deep inside others")));
        }
        if group.is_group() {
            open.extend(group.get_fields().iter().map(|field| (field.as_ref(), depth + 1)));
        }
    }
    Ok(())
}

struct Column {
    leaf: Leaf,
    holds: Holds,
    /// Words that are said to be UTF-8, not bytes of any kind, and whole numbers.
    is_text: bool,
    /// Its type, in the words of parquet.
    kind: String,
}

/// The columns at the top of a file, and those inside of them.
struct Columns(Vec<Column>);

impl Columns {
    fn of(about: &ParquetMetaData) -> Self {
        let schema = about.file_metadata().schema_descr();
        let mut of_root: HashMap<usize, usize> = HashMap::new();
        (0..schema.num_columns()).for_each(|at| *of_root.entry(schema.get_column_root_idx(at)).or_default() += 1);
        let columns = schema.columns().iter().enumerate().map(|(at, column)| {
            let parts = column.path().parts();
            let alone = of_root[&schema.get_column_root_idx(at)] == 1;
            let (is_flat, is_list) =
                (parts.len() == 1 && column.max_rep_level() == 0, column.max_rep_level() == 1 && alone);
            let holds = match (is_float(column), is_flat, is_list) {
                (true, true, _) => Holds::Numbers,
                (true, _, true) => Holds::Lists,
                (false, true, _) if is_word(column) => Holds::Words,
                (false, true, _) if column.physical_type() == Type::BOOLEAN => Holds::Flags,
                _ => Holds::Other,
            };
            let nested = if is_flat { "" } else { "list or group of " };
            let name =
                if is_flat || is_list { parts.first().cloned().unwrap_or_default() } else { column.path().string() };
            let is_bytes = column.physical_type() == Type::BYTE_ARRAY && column.converted_type() == ConvertedType::NONE;
            let is_text = holds == Holds::Words && !is_bytes;
            Column { leaf: Leaf { at, name }, holds, is_text, kind: format!("{nested}{:?}", column.physical_type()) }
        });
        Self(columns.collect())
    }

    /// The column that has one of these names, the first of them before the others.
    fn words(&self, path: &Path, names: &[&str]) -> Result<Option<Leaf>> {
        for name in names {
            let called: Vec<&Column> = self.0.iter().filter(|column| plain(&column.leaf.name) == *name).collect();
            match called.as_slice() {
                [] => {}
                [column] if column.holds == Holds::Words => return Ok(Some(column.leaf.clone())),
                [column] => {
                    let problem = "wanted words or whole numbers";
                    let problem = format!("column '{}' is of type {}; {problem}", column.leaf.name, column.kind);
                    return Err(Error::data(path, problem));
                }
                _ => return Err(Error::data(path, format!("{} columns are called '{name}'", called.len()))),
            }
        }
        Ok(None)
    }

    /// The first column that has one of these names, the first of them before the others, and is such a one.
    fn called(&self, names: &[&str], is_such: impl Fn(&Column) -> bool) -> Option<Leaf> {
        let of = |name: &&str| self.0.iter().find(|column| plain(&column.leaf.name) == **name && is_such(column));
        names.iter().find_map(of).map(|column| column.leaf.clone())
    }

    /// Which columns say the roles of rows: one of words, which may be known by its name, else flags of queries and of the gallery; what
    /// is said of them.
    fn roles(
        &self,
        named: Option<Leaf>,
        used: [&Option<Leaf>; 3],
        holds_only: HoldsOnly<'_>,
    ) -> ([Option<Leaf>; 3], Option<String>) {
        let is_free = |column: &Column| !used.iter().any(|leaf| leaf.as_ref().is_some_and(|l| l.at == column.leaf.at));
        let holds_roles = |column: &Column| {
            column.is_text && is_free(column) && holds_only(&column.leaf, |word| Role::parse(word).is_some())
        };
        let by_values = || self.0.iter().find(|column| holds_roles(column)).map(|column| column.leaf.clone());
        let by_name = named.or_else(|| self.called(&ROLE[1..], holds_roles));
        if let Some(role) = by_name.or_else(by_values) {
            let is_assumed = plain(&role.name) != ROLE[0];
            let said = is_assumed.then(|| format!("column '{}' is taken for the role of each row", role.name));
            return ([Some(role), None, None], said);
        }
        let holds_flags = |column: &Column| holds_only(&column.leaf, |word| truth(word).is_some());
        let flag = |names: &[&str]| {
            let is_flag = |column: &Column| column.holds == Holds::Flags || column.is_text;
            let surely = self.called(&names[..1], |column| is_free(column) && is_flag(column));
            let may_be = |column: &Column| is_free(column) && is_flag(column) && holds_flags(column);
            surely.or_else(|| self.called(&names[1..], may_be))
        };
        let (query, gallery) = (flag(&IS_QUERY), flag(&IS_GALLERY));
        let [one, other] = [&query, &gallery].map(|leaf| leaf.as_ref().map(|leaf| format!("'{}'", leaf.name)));
        ([None, query, gallery], said_by_one("rows", one, other))
    }

    fn that(&self, holds: Holds) -> impl Iterator<Item = &Column> {
        self.0.iter().filter(move |column| column.holds == holds)
    }

    /// Columns of numbers that are called alike and numbered, by what they are called.
    fn series(&self) -> BTreeMap<&str, Vec<(usize, &Leaf)>> {
        let mut series: BTreeMap<&str, Vec<(usize, &Leaf)>> = BTreeMap::new();
        for leaf in self.that(Holds::Numbers).map(|column| &column.leaf) {
            let head = leaf.name.trim_end_matches(|c: char| c.is_ascii_digit());
            if let Ok(number) = leaf.name[head.len()..].parse() {
                series.entry(head).or_default().push((number, leaf));
            }
        }
        series.retain(|_, columns| columns.len() > 1);
        series
    }

    /// Where the embeddings are.
    fn numbers(&self, path: &Path) -> Result<Numbers> {
        let wrong = |problem: String| Err(Error::data(path, problem));
        let lists: Vec<&Leaf> = self.that(Holds::Lists).map(|column| &column.leaf).collect();
        // By the first of the names that there is.
        let called = |name: &&str| lists.iter().find(|leaf| plain(&leaf.name) == *name);
        if let Some(leaf) = EMBEDDING.iter().find_map(called) {
            return Ok(Numbers::Lists((*leaf).clone()));
        }
        if let [one] = lists.as_slice() {
            let numbered = self.series().into_keys().next();
            return match numbered {
                None => Ok(Numbers::Lists((*one).clone())),
                Some(head) => wrong(format!(
                    "column '{}' is lists of numbers, and columns '{head}0', '{head}1', ... are numbered; wanted one of both, or lists \
                     that are called 'embedding'",
                    one.name
                )),
            };
        }
        if !lists.is_empty() {
            let names = several(lists.iter().map(|leaf| format!("'{}'", leaf.name)));
            return wrong(format!(
                "columns {names} are lists of numbers; wanted one of them, or one that is called 'embedding'"
            ));
        }
        let mut series = self.series();
        let mut gap = None;
        for columns in series.values_mut() {
            columns.sort_unstable_by_key(|(number, _)| *number);
            let first = columns[0].0.min(1);
            let missing = columns.iter().zip(first..).find(|((number, _), wanted)| number != wanted);
            gap = gap.or(missing.map(|((number, leaf), wanted)| {
                let head = leaf.name.trim_end_matches(|c: char| c.is_ascii_digit());
                let problem = if *number < wanted { "is there twice" } else { "is not there" };
                let wanted = if *number < wanted { *number } else { wanted };
                format!("column '{head}{wanted}' {problem}, '{}' is", leaf.name)
            }));
        }
        match (series.len(), gap) {
            (1.., Some(gap)) => wrong(format!("{gap}; {WANTED}")),
            (1, None) => {
                let columns = series.into_values().flatten().map(|(_, leaf)| leaf.clone());
                Ok(Numbers::Columns(columns.collect()))
            }
            (0, _) => {
                let found = several(self.0.iter().map(|column| format!("'{}' ({})", column.leaf.name, column.kind)));
                let found = if found.is_empty() { "none".to_owned() } else { found };
                wrong(format!("no column holds embeddings; {WANTED}; it has {found}"))
            }
            _ => {
                let heads = several(series.into_keys().map(|head| format!("'{head}0'")));
                wrong(format!("several series of columns of numbers are numbered ({heads}, ...); wanted one"))
            }
        }
    }
}

fn is_float(column: &ColumnDescriptor) -> bool {
    match column.physical_type() {
        Type::FLOAT | Type::DOUBLE => true,
        Type::FIXED_LEN_BYTE_ARRAY => matches!(column.logical_type_ref(), Some(LogicalType::Float16)),
        _ => false,
    }
}

/// Words and whole numbers.
fn is_word(column: &ColumnDescriptor) -> bool {
    use ConvertedType::{ENUM, INT_8, INT_16, INT_32, INT_64, NONE, UINT_8, UINT_16, UINT_32, UINT_64, UTF8};
    let kind = column.converted_type();
    match column.physical_type() {
        Type::BYTE_ARRAY => [NONE, UTF8, ENUM].contains(&kind),
        Type::INT32 | Type::INT64 => {
            [NONE, INT_8, INT_16, INT_32, INT_64, UINT_8, UINT_16, UINT_32, UINT_64].contains(&kind)
        }
        _ => false,
    }
}

/// Whether whole numbers are without a sign.
pub(super) fn is_unsigned(column: &ColumnDescriptor) -> bool {
    use ConvertedType::{UINT_8, UINT_16, UINT_32, UINT_64};
    [UINT_8, UINT_16, UINT_32, UINT_64].contains(&column.converted_type())
}
