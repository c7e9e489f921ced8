//! The columns of results as data: name, type, unit, which way is better, what carries it, who writes it, what it means.
//! Whatever writes, reads, typesets, ranks or documents a column asks here.
//!
//! `docs/columns.md` is made of these lists; see [`reference`](super::reference).

pub use super::beside::FILES;
pub use super::column::{Better, Column, Over, Tells, Type, Writer};
pub use super::columns::RESULTS;

/// Measures of `--efficiency`.
const COSTS: [&str; 7] =
    ["parameters", "operations", "model_bytes", "latency", "latency_p95", "throughput", "peak_memory"];

/// What stands in the place of a column's placeholder in this name; an empty word where it has none.
fn part<'n>(column: &Column, name: &'n str) -> Option<&'n str> {
    let Some((before, rest)) = column.name.split_once('{') else { return (column.name == name).then_some("") };
    let (place, after) = rest.split_once('}')?;
    let part = name.strip_prefix(before)?.strip_suffix(after)?;
    let fits = match place {
        "K" => !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()),
        "T" => part.parse::<f64>().is_ok(),
        "FIGURE" => find(part).is_some_and(|figure| !figure.column.interval.is_empty()),
        _ => !part.is_empty(),
    };
    fits.then_some(part)
}

/// Whether tables leave a column out where no columns are asked for.
pub(crate) fn is_beside(name: &str) -> bool {
    find(name).is_some_and(|found| found.column.beside)
}

/// Whether a column is of `--efficiency`: what a model costs, not what it does.
pub(crate) fn is_cost(name: &str) -> bool {
    COSTS.contains(&name)
}

/// Whether a column is an end of a figure's confidence interval.
pub(crate) fn is_interval_end(name: &str) -> bool {
    find(name).is_some_and(|found| found.column.name.starts_with("{FIGURE}"))
}

/// Every name that a column has in a parquet file of results of this `measure`.
fn names(column: &Column, measure: &str) -> Vec<String> {
    let parts = column.name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (place, after))) = parts else { return vec![column.name.to_owned()] };
    let has_interval = |column: &&Column| column.interval.iter().any(|writer| writer.measure() == Some(measure));
    let figures = || RESULTS.iter().filter(has_interval).flat_map(|column| names(column, measure));
    let parts: Vec<String> =
        if place == "FIGURE" { figures().collect() } else { column.usual.iter().map(|&part| part.into()).collect() };
    parts.iter().map(|part| format!("{before}{part}{after}")).collect()
}

/// A column that a name was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its entry.
    pub column: &'static Column,
    /// Which way is better, of `last NAME` and `best NAME` that of `NAME`.
    pub better: Option<Better>,
    /// What carries its digits.
    pub over: Over,
}

/// The entry of a column of results, also of those in the files beside it.
pub fn find(name: &str) -> Option<Found> {
    let files = FILES.iter().flat_map(|(_, columns)| columns.iter());
    RESULTS.iter().chain(files).find_map(|column| {
        let part = part(column, name)?;
        let (better, over) = if column.name.contains("{METRIC}") {
            find(part).map_or((None, Over::Nothing), |metric| (metric.better, metric.over))
        } else {
            (column.better, column.over)
        };
        Some(Found { column, better, over })
    })
}

/// The type that a column must have; `None` where the schema does not say.
pub(crate) fn type_of(name: &str) -> Option<Type> {
    find(name).map(|found| found.column.kind).filter(|kind| *kind != Type::Setting)
}

/// The least and the greatest value of a column that holds shares; `None` for other columns.
pub(crate) fn range(name: &str) -> Option<(f64, f64)> {
    let (column, part) = RESULTS.iter().find_map(|column| Some((column, part(column, name)?)))?;
    match column.unit {
        // Costs of scores that are not calibrated have no bound, and agreement may be less than chance would make it.
        "share" if name.starts_with("act_dcf") => None,
        "share" if name == "ari" => Some((-1.0, 1.0)),
        "share" => Some((0.0, 1.0)),
        unit if unit.starts_with("as ") && !part.is_empty() => range(part),
        _ => None,
    }
}

/// Which way a column is better.
pub(crate) fn better(name: &str) -> Option<Better> {
    find(name).and_then(|found| found.better)
}

/// Whether a column says how the figures of another one were measured.
pub(crate) fn tells(column: &Column, figure: &str) -> bool {
    let found = find(figure);
    match (column.tells, found.map_or(Over::Nothing, |found| found.over)) {
        (Tells::All, _) | (Tells::OfQueries, Over::Queries) => true,
        (Tells::OfPairs, Over::Genuine | Over::Impostor | Over::Both | Over::Pairs) => true,
        (Tells::Of(figures), _) => {
            figures.iter().any(|name| *name == figure || found.is_some_and(|found| found.column.name == *name))
        }
        _ => false,
    }
}

/// The names, in order, that every parquet file of this `measure` has.
pub(super) fn usual_names(measure: &str) -> Vec<String> {
    let writes = |column: &&Column| column.writers.iter().any(|writer| writer.measure() == Some(measure));
    RESULTS.iter().filter(writes).flat_map(|column| names(column, measure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn measures_know_their_direction() {
        let better = |name: &str| find(name).and_then(|found| found.better);
        assert_eq!(["recall@10", "best recall@1", "map@r", "tar@far=0.01"].map(better), [Some(Better::Higher); 4]);
        assert_eq!(["eer", "fnmr@fmr=0.001", "last loss"].map(better), [Some(Better::Lower); 3]);
        assert_eq!(["images", "eer_from", "eer_threshold", "index_recall", "colour"].map(better), [None; 5]);
    }

    #[test]
    fn patterns_take_what_they_stand_for() {
        let kind = |name: &str| find(name).map(|found| (found.column.name, found.column.kind));
        assert_eq!(kind("recall@100"), Some(("recall@{K}", Type::Real)));
        assert_eq!(kind("recall@x"), None);
        assert_eq!(kind("fnmr@fmr=0.000001"), Some(("fnmr@fmr={T}", Type::Real)));
        assert_eq!(kind("fnmr@fmr=0.1_from"), Some(("{FIGURE}_from", Type::Real)));
        assert_eq!(kind("images_from"), None);
        assert_eq!(kind("mp@5_from"), Some(("{FIGURE}_from", Type::Real)));
        assert_eq!(
            ["recall@1_to", "eer_from", "recall@1", "preprocessing_from"].map(is_interval_end),
            [true, true, false, false]
        );
        assert_eq!(kind("accuracy_fold_10"), Some(("accuracy_fold_{K}", Type::Real)));
        assert_eq!(kind("loss.temperature"), Some(("loss.{SETTING}", Type::Setting)));
    }

    /// Columns that say nothing of how a figure was measured: a new column stands here, or says of which figures it tells.
    const NO_MATTER: &[&str] = &[
        "result",
        "tool",
        "program",
        "measure",
        "notes",
        "model",
        "model_sha256",
        "output",
        "preprocessing",
        "preprocessing_from",
        "runtime",
        "runtime_version",
        "onnxruntime",
        "dataset",
        "data",
        "list",
        "label",
        "format",
        "skipped",
        "skipped_images",
        "images",
        "classes",
        "class_names",
        "copies",
        "dim",
        "storage",
        "embedding_bytes",
        "metric",
        "index",
        "faiss_level",
        "search",
        "index_recall",
        "tied_queries",
        "ties",
        "search_depth",
        "lone_queries",
        "align",
        "flip",
        "genuine_file",
        "impostor_file",
        "pairs",
        "pairs_format",
        "pairs_listed",
        "pairs_without_image",
        "pairs_with_bad_image",
        "pairs_with_itself",
        "pairs_of_copies",
        "templates",
        "template_count",
        "media",
        "gallery_list",
        "probe_list",
        "ground_truth",
        "subjects",
        "subjects_by",
        "scores",
        "threshold_pairs",
        "bootstrap",
        "bootstrap_seed",
        "failure_rate",
        "seconds_load",
        "seconds_embed",
        "images_per_second",
        "seconds_search",
        "seconds_compare",
        "seconds_total",
        "latency_runs",
        "queries_relevant_from_{K}",
        "accuracy_standard_error",
        "accuracy_std_population",
        "eer_bracket_low",
        "eer_bracket_high",
        "reached_fmr@fmr={T}",
        "accuracy_fold_{K}",
        "worst_fmr_group",
        "worst_fnmr_group",
        "hter_fmr",
        "hter_fnmr",
        "logistic_slope",
        "logistic_offset",
        "figure",
        "A",
        "B",
        "B - A",
        "from",
        "to",
        "p",
        "p_holm",
        "run of A",
        "run of B",
        "model of A",
        "model of B",
        "drawn",
        "test",
        "interval",
        "draws",
        "seed",
        "settings.{SETTING}",
        "checkpoint_every",
        "accumulate",
        "cache",
        "inline",
        "first_proxies",
        "init.{SETTING}",
        "class_order_sha256",
        "leave_out",
        "parameters.{COUNT}",
        "length.steps",
        "length.epochs",
        "data.{SETTING}",
        "validation.{SETTING}",
        "preprocessing.{SETTING}",
        "augmentation.{SETTING}",
        "optimizer.{SETTING}",
        "schedule.{SETTING}",
        "steps",
        "last {METRIC}",
        "best {METRIC}",
        "precision.{SETTING}",
    ];

    #[test]
    fn every_column_says_whether_it_tells_how_figures_were_measured() {
        let is_figure =
            |column: &Column| column.better.is_some() || column.unit == "score" || column.unit == "as FIGURE";
        for column in RESULTS.iter().filter(|column| !is_figure(column)) {
            let is_listed = NO_MATTER.contains(&column.name);
            let tells = column.tells != Tells::Nothing;
            assert!(tells != is_listed, "{}: .tells(...), or a line in NO_MATTER", column.name);
            let is_digest =
                column.name.ends_with("_sha256") && !["model_sha256", "class_order_sha256"].contains(&column.name);
            assert!(tells || !is_digest, "{} is a digest of what was measured", column.name);
        }
        // Figures that are named are there.
        for column in RESULTS {
            let Tells::Of(figures) = column.tells else { continue };
            for figure in figures {
                let is_known = RESULTS.iter().any(|column| column.name == *figure) || find(figure).is_some();
                assert!(is_known, "{}: {figure}", column.name);
            }
        }
    }

    #[test]
    fn shares_have_a_range() {
        let shares = ["recall@5", "eer", "last recall@1", "best recall@1", "eer_from", "tar@far=0.1", "p_holm"];
        assert_eq!(shares.map(range), [Some((0.0, 1.0)); 7]);
        let others =
            ["images", "d_prime", "d_prime_to", "last loss", "act_dcf@prior=0.01", "A", "B - A", "colour", "share"];
        assert_eq!(others.map(range), [None; 9]);
    }

    #[test]
    fn no_name_has_two_entries() {
        let mut seen = HashSet::new();
        for column in RESULTS {
            assert!(seen.insert(column.name), "{}", column.name);
            assert!(!column.meaning.is_empty() && column.meaning.is_ascii() && !column.meaning.contains('|'));
        }
        // the files' columns have no other type than those of results that are called so
        for column in FILES.iter().flat_map(|(_, columns)| columns.iter()).filter(|column| !column.name.contains('{')) {
            assert_eq!(find(column.name).map(|found| found.column.kind), Some(column.kind), "{}", column.name);
        }
    }

    #[test]
    fn names_of_one_measure_are_distinct() {
        for measure in ["recall", "verification", "comparison", "training"] {
            let names = usual_names(measure);
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{measure}");
            assert!(names.len() > 5, "{measure}");
        }
        assert!(usual_names("recall").contains(&"recall@1".to_owned()));
        let has = |measure: &str, name: &str| usual_names(measure).contains(&name.to_owned());
        assert!(has("verification", "fnmr@fmr=0.001_to") && !has("verification", "recall@1_to"));
        // Recall has an EER, and no interval of it.
        assert!(has("recall", "recall@1_to") && has("recall", "eer") && !has("recall", "eer_to"));
    }
}
