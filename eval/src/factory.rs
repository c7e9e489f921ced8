//! FAISS factory strings, understood before FAISS sees them: it kills the process on some that are wrong (`HNSW0`,
//! `IVF0,Flat`, `PQ0`). What is supported is a small grammar; every number is checked against dimension and rows.
//!
//! ```text
//! factory   = ["IDMap," | "IDMap2,"] {transform ","} body ["," refine]
//! transform = PCA[W][R]n | OPQm[_n] | RRn | L2norm
//! body      = store | HNSWn["," store] | IVFn[_HNSWm] "," store
//! store     = Flat | SQ4 | SQ6 | SQ8 | SQfp16 | SQbf16 | PQm[xb] | LSH[n][r][t] (alone)
//! refine    = RFlat | Refine(store)
//! ```

use crate::{Error, Result};

/// What can be asked for, for messages.
const SUPPORTED: &str = "Flat, SQ4, SQ6, SQ8, SQfp16, SQbf16, PQm, PQmxb, LSH, HNSWn, HNSWn,STORE, IVFn,STORE and \
                         IVFn_HNSWm,STORE; before them IDMap, IDMap2, PCAn, PCARn, PCAWn, PCAWRn, OPQm, OPQm_n, RRn, \
                         L2norm; after them RFlat or Refine(STORE)";
/// Bits of a product quantiser's codes where none are given.
const USUAL_BITS: u64 = 8;

/// One part of a factory string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    IdMap,
    Pca { dim: u64 },
    Opq { parts: u64, dim: Option<u64> },
    Rotation { dim: u64 },
    L2Norm,
    Flat,
    Scalar,
    Product { parts: u64, bits: u64 },
    Lsh { bits: Option<u64>, rotated: bool },
    Hnsw { links: u64 },
    Ivf { lists: u64, links: Option<u64> },
    RefineFlat,
    Refine(Store),
}

/// What a refinement keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Plain,
    Product { parts: u64, bits: u64 },
}

/// A factory string that follows the grammar.
#[derive(Clone, Debug)]
pub struct Factory {
    text: String,
    parts: Vec<(String, Part)>,
}

impl Factory {
    /// Understands a factory string.
    ///
    /// # Errors
    /// [`Error::Index`] naming the part that is not understood.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: String| Error::Index { index: text.into(), problem };
        let mut parts = Vec::new();
        for word in text.split(',') {
            let part = part(word)
                .ok_or_else(|| wrong(format!("part '{word}' is not understood; supported are {SUPPORTED}")))?;
            parts.push((word.to_owned(), part));
        }
        let order = |problem: &str, word: &str| wrong(format!("part '{word}' {problem}; supported are {SUPPORTED}"));
        let mut stage = 0;
        let mut store_wanted = None;
        for (at, (word, part)) in parts.iter().enumerate() {
            let (own, is_last) = (part.stage(), at + 1 == parts.len());
            let follows_graph = stage == 2 && matches!(parts[at - 1].1, Part::Hnsw { .. });
            let fits = at == 0
                || own > stage
                || own == 1 && stage == 1
                || own == 2 && store_wanted.is_some()
                || own == 2 && follows_graph;
            if !fits {
                return Err(order("stands in a wrong place", word));
            }
            if own == 3 && store_wanted.is_some() {
                return Err(order("stands where the lists' store is wanted", word));
            }
            let after_index = own == 2 && stage == 2;
            if after_index && !matches!(part, Part::Flat | Part::Scalar | Part::Product { .. }) {
                return Err(order("cannot be the store of lists or of a graph", word));
            }
            store_wanted = matches!(part, Part::Ivf { .. }).then_some(word);
            if let (Some(lists), true) = (store_wanted, is_last) {
                return Err(order("wants a store after it, such as Flat", lists));
            }
            stage = own;
        }
        if !parts.iter().any(|(_, part)| part.stage() == 2) {
            return Err(wrong(format!("holds no index; supported are {SUPPORTED}")));
        }
        Ok(Self { text: text.into(), parts })
    }

    /// Whether rows are added with numbers of their own.
    pub fn has_ids(&self) -> bool {
        self.parts.first().is_some_and(|(_, part)| *part == Part::IdMap)
    }

    /// Whether FAISS makes it for Euclidean distance alone.
    pub fn wants_l2(&self) -> bool {
        self.parts.iter().any(|(_, part)| matches!(part, Part::Lsh { .. }))
    }

    /// The string for FAISS. Product quantisers are asked for without the training that puts their centres in such an order that codes
    /// can be compared by Hamming distance (`np`, no polysemous): nothing here compares them so, distances are sums over the same centres
    /// in any order, and it takes most of the time of building.
    pub fn for_faiss(&self) -> String {
        let word = |(word, part): &(String, Part)| match part {
            Part::Product { .. } => format!("{word}np"),
            Part::Refine(Store::Product { .. }) => format!("{}np)", word.trim_end_matches(')')),
            _ => word.clone(),
        };
        self.parts.iter().map(word).collect::<Vec<_>>().join(",")
    }

    /// Checks every number against the rows that are to be stored, on which the index is trained.
    ///
    /// # Errors
    /// [`Error::Index`] naming the part, what it wants and what there is.
    pub fn check(&self, rows: u64, dim: u64) -> Result<()> {
        let mut dim = dim;
        for (word, part) in &self.parts {
            dim = part.check(rows, dim).map_err(|problem| Error::Index {
                index: self.text.clone(),
                problem: format!("part '{word}' {problem}"),
            })?;
        }
        Ok(())
    }
}

impl Part {
    /// Numbering of rows, transforms, the index itself, refinement: in this order.
    fn stage(self) -> u8 {
        match self {
            // before everything, which the first position is, too
            Self::IdMap => 0,
            Self::Pca { .. } | Self::Opq { .. } | Self::Rotation { .. } | Self::L2Norm => 1,
            Self::Flat
            | Self::Scalar
            | Self::Product { .. }
            | Self::Lsh { .. }
            | Self::Hnsw { .. }
            | Self::Ivf { .. } => 2,
            Self::RefineFlat | Self::Refine(_) => 3,
        }
    }

    /// The dimension after this part.
    fn check(self, rows: u64, dim: u64) -> std::result::Result<u64, String> {
        let within = |what: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("has {what} {value}; wanted {low} to {high}"))
            }
        };
        let enough = |what: &str, wanted: u64| {
            if rows >= wanted {
                Ok(())
            } else {
                Err(format!("trains {what} on at least {wanted} rows; there are {rows}"))
            }
        };
        let product = |parts: u64, bits: u64, dim: u64| {
            within("a number of parts of", parts, 1, dim)?;
            if !dim.is_multiple_of(parts) {
                return Err(format!("has {parts} parts, which do not divide the dimension {dim}"));
            }
            within("a number of bits of", bits, 1, 16)?;
            enough(&format!("{} centres", 1_u64 << bits), 1 << bits)
        };
        match self {
            Self::IdMap | Self::L2Norm | Self::Flat | Self::RefineFlat | Self::Refine(Store::Plain) => Ok(dim),
            Self::Pca { dim: to } => {
                within("an output dimension of", to, 1, dim)?;
                enough(&format!("{to} directions"), to).map(|()| to)
            }
            Self::Rotation { dim: to } => within("an output dimension of", to, 1, dim).map(|()| to),
            Self::Opq { parts, dim: to } => {
                let to = to.unwrap_or(dim);
                within("an output dimension of", to, 1, dim)?;
                product(parts, USUAL_BITS, to).map(|()| to)
            }
            Self::Scalar => enough("its ranges", 1).map(|()| dim),
            Self::Product { parts, bits } | Self::Refine(Store::Product { parts, bits }) => {
                product(parts, bits, dim).map(|()| dim)
            }
            Self::Lsh { bits, rotated } => {
                let most = if rotated { 1 << 16 } else { dim };
                within("a number of bits of", bits.unwrap_or(dim), 1, most).map(|()| dim)
            }
            Self::Hnsw { links } => within("a number of links of", links, 2, 1024).map(|()| dim),
            Self::Ivf { lists, links } => {
                if lists == 0 || lists > rows {
                    return Err(format!("has {lists} lists; wanted 1 to the number of rows, {rows}"));
                }
                links.map_or(Ok(()), |links| within("a number of links of", links, 2, 1024)).map(|()| dim)
            }
        }
    }
}

/// Understands one part.
fn part(word: &str) -> Option<Part> {
    // Nineteen digits fit; a sign or a blank is none.
    let number =
        |t: &str| (!t.is_empty() && t.len() < 20 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse().ok())?;
    let plain = |word: &str| matches!(word, "Flat" | "SQ4" | "SQ6" | "SQ8" | "SQfp16" | "SQbf16");
    let product = |word: &str| {
        let rest = word.strip_prefix("PQ")?;
        let (parts, bits) = rest.split_once('x').map_or((rest, None), |(parts, bits)| (parts, Some(bits)));
        Some((number(parts)?, bits.map_or(Some(USUAL_BITS), number)?))
    };
    match word {
        "IDMap" | "IDMap2" => return Some(Part::IdMap),
        "L2norm" => return Some(Part::L2Norm),
        "Flat" => return Some(Part::Flat),
        "RFlat" => return Some(Part::RefineFlat),
        _ if plain(word) => return Some(Part::Scalar),
        _ => {}
    }
    if let Some((parts, bits)) = product(word) {
        return Some(Part::Product { parts, bits });
    }
    if let Some(store) = word.strip_prefix("Refine(").and_then(|rest| rest.strip_suffix(')')) {
        return match product(store) {
            Some((parts, bits)) => Some(Part::Refine(Store::Product { parts, bits })),
            None => plain(store).then_some(Part::Refine(Store::Plain)),
        };
    }
    if let Some(rest) = word.strip_prefix("PCA") {
        let rest = rest.strip_prefix('W').unwrap_or(rest);
        return number(rest.strip_prefix('R').unwrap_or(rest)).map(|dim| Part::Pca { dim });
    }
    if let Some(rest) = word.strip_prefix("OPQ") {
        let (parts, dim) = rest.split_once('_').map_or((rest, None), |(parts, dim)| (parts, Some(dim)));
        return Some(Part::Opq { parts: number(parts)?, dim: dim.map(|d| number(d).ok_or(())).transpose().ok()? });
    }
    if let Some(rest) = word.strip_prefix("RR") {
        return number(rest).map(|dim| Part::Rotation { dim });
    }
    if let Some(rest) = word.strip_prefix("LSH") {
        let rest = rest.strip_suffix('t').unwrap_or(rest);
        let (rest, rotated) = rest.strip_suffix('r').map_or((rest, false), |rest| (rest, true));
        let bits = if rest.is_empty() { None } else { Some(number(rest)?) };
        return Some(Part::Lsh { bits, rotated });
    }
    if let Some(rest) = word.strip_prefix("HNSW") {
        return number(rest).map(|links| Part::Hnsw { links });
    }
    let (lists, links) =
        word.strip_prefix("IVF")?.split_once("_HNSW").map_or((word.get(3..)?, None), |(l, m)| (l, Some(m)));
    Some(Part::Ivf { lists: number(lists)?, links: links.map(|m| number(m).ok_or(())).transpose().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, rows: u64, dim: u64) -> Option<String> {
        Factory::parse(text).and_then(|factory| factory.check(rows, dim)).err().map(|e| e.to_string())
    }

    #[test]
    fn what_is_supported_passes() {
        for text in [
            "Flat",
            "IDMap,Flat",
            "IDMap2,Flat",
            "SQ4",
            "SQ6",
            "SQ8",
            "SQfp16",
            "PQ8",
            "PQ32x4",
            "LSH",
            "LSH16",
            "LSH64rt",
            "HNSW32",
            "HNSW16,Flat",
            "HNSW16,SQ8",
            "HNSW16,PQ8",
            "IVF16,Flat",
            "IVF16,PQ4x6",
            "IVF64_HNSW8,SQ8",
            "PCA16,Flat",
            "PCAW16,IVF4,Flat",
            "PCAWR8,L2norm,Flat",
            "OPQ8,PQ8",
            "OPQ4_16,IVF4,PQ4",
            "RR16,HNSW8",
            "IVF16,PQ8,RFlat",
            "PQ8,Refine(SQ8)",
            "IDMap,PCA8,IVF4,SQ8,RFlat",
        ] {
            assert_eq!(problem(text, 1000, 32), None, "{text}");
        }
    }

    #[test]
    fn product_quantisers_are_trained_without_an_order_that_nothing_uses() {
        for (text, wanted) in [
            ("OPQ4_16,IVF16,PQ8", "OPQ4_16,IVF16,PQ8np"),
            ("PQ32x4", "PQ32x4np"),
            ("HNSW16,PQ8", "HNSW16,PQ8np"),
            ("SQ8,Refine(PQ8)", "SQ8,Refine(PQ8np)"),
            ("IVF16,SQ8,Refine(SQ8)", "IVF16,SQ8,Refine(SQ8)"),
        ] {
            assert_eq!(Factory::parse(text).unwrap().for_faiss(), wanted);
        }
    }

    #[test]
    fn what_is_not_understood_or_out_of_place_is_named_by_part() {
        for (text, says) in [
            ("", "part ''"),
            ("flat", "part 'flat'"),
            ("Flat,", "part ''"),
            ("HNSW", "part 'HNSW'"),
            ("PQ-1", "part 'PQ-1'"),
            ("PQ 8", "part 'PQ 8'"),
            ("PQ8x", "part 'PQ8x'"),
            ("IVF4", "wants a store"),
            ("IVF4,RFlat", "store is wanted"),
            ("Flat,Flat", "wrong place"),
            ("IVF4,HNSW8", "cannot be the store"),
            ("HNSW8,LSH", "cannot be the store"),
            ("Flat,IDMap", "wrong place"),
            ("RFlat", "no index"),
            ("PCA8", "no index"),
            ("Flat,PCA8", "wrong place"),
            ("IDMap,IDMap,Flat", "wrong place"),
            ("IVF4,IVF4,Flat", "cannot be the store"),
            ("Refine(HNSW8)", "not understood"),
            ("HNSW99999999999999999999", "not understood"),
            ("NSG32", "not understood"),
            ("Flat,RFlat,RFlat", "wrong place"),
            ("HNSW8,Flat,SQ8", "wrong place"),
            ("HNSW\u{0}8", "not understood"),
            ("IVF4(PQ8),Flat", "not understood"),
        ] {
            let message = problem(text, 1000, 32).unwrap_or_else(|| panic!("{text} passed"));
            assert!(message.starts_with(&format!("index {text}: ")) && message.contains(says), "{text}: {message}");
        }
    }

    #[test]
    fn numbers_that_kill_faiss_are_refused_by_part() {
        for (text, says) in [
            ("HNSW0", "part 'HNSW0' has a number of links of 0; wanted 2 to 1024"),
            ("HNSW1", "wanted 2 to 1024"),
            ("HNSW4294967295", "wanted 2 to 1024"),
            ("IVF0,Flat", "part 'IVF0' has 0 lists; wanted 1 to the number of rows, 100"),
            ("IVF101,Flat", "has 101 lists"),
            ("IVF4_HNSW0,Flat", "number of links of 0"),
            ("PQ0", "part 'PQ0' has a number of parts of 0; wanted 1 to 32"),
            ("PQ7", "part 'PQ7' has 7 parts, which do not divide the dimension 32"),
            ("PQ33x4", "wanted 1 to 32"),
            ("PQ8x0", "number of bits of 0"),
            ("PQ8x63", "number of bits of 63"),
            ("PQ8", "trains 256 centres on at least 256 rows; there are 100"),
            ("IVF4,PQ8", "part 'PQ8' trains 256 centres"),
            ("HNSW8,PQ5", "do not divide"),
            ("PCA0,Flat", "output dimension of 0"),
            ("PCA33,Flat", "output dimension of 33; wanted 1 to 32"),
            ("PCA24,PQ16x4", "part 'PQ16x4' has 16 parts, which do not divide the dimension 24"),
            ("OPQ0,Flat", "number of parts of 0"),
            ("OPQ8_12,PQ4x4", "do not divide the dimension 12"),
            ("OPQ8,PQ8x4", "part 'OPQ8' trains 256 centres"),
            ("RR0,Flat", "output dimension of 0"),
            ("LSH0", "number of bits of 0"),
            ("LSH33", "number of bits of 33"),
            ("Flat,Refine(PQ7)", "part 'Refine(PQ7)' has 7 parts"),
        ] {
            let message = problem(text, 100, 32).unwrap_or_else(|| panic!("{text} passed"));
            assert!(message.contains(says), "{text}: {message}");
        }
    }
}
