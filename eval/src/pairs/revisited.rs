//! Ground truth of Revisited Oxford and Paris (Radenović et al. 2018), `gnd_roxford5k.pkl` and `gnd_rparis6k.pkl`: a pickle of a
//! dictionary with `imlist`, the names of the gallery, `qimlist`, those of the queries, and `gnd`, a dictionary a query: `easy`, `hard`
//! and `junk` are positions in `imlist`, `bbx` the part of the query's image that is searched with (left, top, right, bottom).

use std::collections::BTreeMap;
use std::path::Path;

use pdloss_embed::guard::guarded;
use serde_pickle::{HashableValue, Value};
use sha2::{Digest, Sha256};

use super::pickle;
use crate::{Error, Result};

/// Four or five lists and dictionaries a query.
const WANTED: pickle::Wanted = pickle::Wanted {
    containers: 1 << 14,
    parts: "a dictionary of imlist, qimlist and gnd",
    cure: "plain lists, texts and numbers, such as [{k: [float(x) if k == 'bbx' else int(x) for x in v] for k, v in g.items()} for g in gnd]",
};

/// What each query should find.
#[derive(Clone, Debug, PartialEq)]
pub struct GroundTruth {
    /// Names of the gallery's images.
    pub gallery: Vec<String>,
    /// The queries.
    pub queries: Vec<Judged>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// A query and what the gallery's images are to it, by position in [`GroundTruth::gallery`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// The image's name.
    pub name: String,
    /// The part of the image that is searched with: left, top, right, bottom, in pixels.
    pub part: Option<[f64; 4]>,
    /// Images that show it plainly.
    pub easy: Vec<usize>,
    /// Images that show it, but hard to see.
    pub hard: Vec<usize>,
    /// Images of which it cannot be said.
    pub junk: Vec<usize>,
}

impl GroundTruth {
    /// Reads the pickle.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Data`] naming the file and the entry.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::data(path, problem);
        let bytes = pdloss_embed::files::read(path)?;
        let not_pickle = |problem| wrong(format!("is not a pickle of ground truth: {problem}"));
        let value = guarded(path, || pickle::read(&bytes, WANTED).map_err(not_pickle))?;
        let Value::Dict(mut entries) = value else {
            return Err(wrong("wanted a pickle of a dictionary with imlist, qimlist and gnd".into()));
        };
        let mut entry = |name: &str| take(&mut entries, name).ok_or_else(|| wrong(format!("has no '{name}'")));
        let names = |name: &str, value: Value| -> Result<Vec<String>> {
            list(value)
                .and_then(|values| values.into_iter().map(text).collect::<Option<_>>())
                .ok_or_else(|| wrong(format!("'{name}' is no list of names")))
        };
        let gallery = names("imlist", entry("imlist")?)?;
        let queries = names("qimlist", entry("qimlist")?)?;
        let judged = list(entry("gnd")?).ok_or_else(|| wrong("'gnd' is no list".into()))?;
        if judged.len() != queries.len() || queries.is_empty() {
            return Err(wrong(format!("'qimlist' has {} queries, 'gnd' {} entries", queries.len(), judged.len())));
        }
        let judge = |(at, (name, value)): (usize, (String, Value))| {
            let wrong = |problem: String| wrong(format!("query {at} of 'gnd', {name}: {problem}"));
            let Value::Dict(mut of) = value else { return Err(wrong("wanted a dictionary".into())) };
            let part = match take(&mut of, "bbx") {
                None => None,
                Some(value) => {
                    let numbers =
                        list(value).and_then(|values| values.into_iter().map(real).collect::<Option<Vec<_>>>());
                    let part = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
                    Some(part.ok_or_else(|| wrong("'bbx' is no four numbers".into()))?)
                }
            };
            let mut places = |kind: &str| {
                let value = take(&mut of, kind).ok_or_else(|| wrong(format!("has no '{kind}'")))?;
                let place = |value: Value| match value {
                    Value::I64(place) => usize::try_from(place).ok().filter(|&place| place < gallery.len()),
                    _ => None,
                };
                let places = list(value).and_then(|values| values.into_iter().map(place).collect::<Option<Vec<_>>>());
                places.ok_or_else(|| {
                    wrong(format!("'{kind}' is no list of positions in 'imlist', from 0 to {}", gallery.len() - 1))
                })
            };
            let (easy, hard, junk) = (places("easy")?, places("hard")?, places("junk")?);
            let mut all = [easy.as_slice(), &hard, &junk].concat();
            all.sort_unstable();
            if let Some(twice) = all.windows(2).find(|two| two[0] == two[1]) {
                return Err(wrong(format!("judges image {} twice", gallery[twice[0]])));
            }
            Ok(Judged { name, part, easy, hard, junk })
        };
        if gallery.is_empty() {
            return Err(wrong("'imlist' is empty".into()));
        }
        let queries = queries.into_iter().zip(judged).enumerate().map(judge).collect::<Result<_>>()?;
        let sha256 = pdloss_embed::digest::hex(&Sha256::digest(&bytes));
        Ok(Self { gallery, queries, sha256 })
    }
}

/// An entry of a dictionary; Python 2 writes its texts as bytes.
fn take(of: &mut BTreeMap<HashableValue, Value>, name: &str) -> Option<Value> {
    let as_text = of.remove(&HashableValue::String(name.into()));
    as_text.or_else(|| of.remove(&HashableValue::Bytes(name.as_bytes().into())))
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::List(values) | Value::Tuple(values) => Some(values),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn real(value: Value) -> Option<f64> {
    match value {
        Value::F64(number) => Some(number).filter(|number| number.is_finite()),
        #[allow(clippy::cast_precision_loss)] // pixels
        Value::I64(number) => Some(number as f64),
        _ => None,
    }
}
