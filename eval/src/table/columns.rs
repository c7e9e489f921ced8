//! The list behind [`schema`](super::schema): every column of a result. [`beside`](super::beside) has those of the files beside it.

use super::column::Better::{Higher, Lower};
use super::column::Over::{Both, Genuine, Impostor, Nothing, Pairs, Queries};
use super::column::Tells::{All, Of, OfPairs, OfQueries};
use super::column::Type::{Flag, Real, Setting, Text, Whole};
use super::column::Writer::{Compare, Recall, Scores, Tabulate, Train, Verify};
use super::column::{Column, Type, Writer};

/// Recall by cosine has the figures of all pairs, too.
pub(super) const MEASURED: &[Writer] = &[Recall, Verify, Scores];
pub(super) const PAIRS: &[Writer] = &[Verify, Scores];
pub(super) const EMBEDDED: &[Writer] = &[Recall, Verify];
pub(super) const TRAINED: &[Writer] = &[Train];
const COMPARED: &[Writer] = &[Compare];

/// The K of every data set's own list.
const USUAL_K: &[&str] = &["1", "2", "4", "8", "10", "20", "30", "40", "100", "1000"];
const TARGETS: &[&str] = &["0.1", "0.01", "0.001", "0.0001", "0.00001", "0.000001"];
/// Powers of two that most classes lie between.
const SIZES: &[&str] = &["1", "2", "4", "8", "16", "32", "64", "128", "256", "512"];
const PARTS: &[&str] = &["0.1", "0.01", "0.001"];
const PRIORS: &[&str] = &["0.05", "0.01", "0.001"];
/// Figures of a group.
const WORST: &[&str] = &["worst_fmr", "worst_fnmr"];
/// Figures that weigh errors by what they cost.
const COSTS: &[&str] = &["min_dcf@prior={T}", "act_dcf@prior={T}", "act_dcf_logistic@prior={T}"];
/// Figures of the machine as much as of the model.
const SPEEDS: &[&str] = &["latency", "latency_p95", "throughput", "peak_memory"];
const FOLDS: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

pub(super) const fn new(
    name: &'static str,
    kind: Type,
    unit: &'static str,
    writers: &'static [Writer],
    meaning: &'static str,
) -> Column {
    Column::new(name, kind, unit, writers, meaning)
}

/// Columns of results: one row a run.
pub const RESULTS: &[Column] = &[
    // which result
    new("result", Text, "", &[Tabulate], "file or folder of the result; with its row, where it holds several"),
    new("tool", Text, "", &[Recall, Verify, Scores, Compare], "program and version"),
    new("program", Text, "", TRAINED, "program and version"),
    new("measure", Text, "", &[Recall, Verify, Scores, Compare, Train], "recall, verification, comparison or training"),
    new(
        "notes",
        Text,
        "",
        &[Recall, Verify, Scores, Compare, Train],
        "what was assumed, passed over or is doubtful; sentences joined by '; '",
    ),
    // model
    new("model", Text, "", &[Recall, Verify, Train], "path of the ONNX model"),
    new("model_sha256", Text, "", &[Recall, Verify, Train], "digest of the model and its external data"),
    new("output", Text, "", &[Recall, Verify, Train], "tensor that is the embedding").tried(),
    new("preprocessing", Text, "", EMBEDDED, "steps from file to model input").tried(),
    new("preprocessing_from", Text, "", EMBEDDED, "where these steps were read"),
    new("runtime", Text, "", EMBEDDED, "what ran the model").tried(),
    new("runtime_version", Text, "", EMBEDDED, "its version"),
    new("onnxruntime", Text, "", TRAINED, "version of onnxruntime"),
    new("device", Text, "", &[Recall, Verify, Train], "cpu, cuda:N").tells(Of(SPEEDS)),
    new("batch", Whole, "images", &[Recall, Verify, Train], "images a batch").tells(Of(&[
        "last loss",
        "last d_prime",
        "throughput",
    ])),
    new("threads", Whole, "", &[Recall, Verify, Train], "threads of everything together").tells(Of(SPEEDS)),
    // data
    new(
        "dataset",
        Text,
        "",
        &[Tabulate],
        "last part of the path of the list or of the data, unless the result says otherwise",
    ),
    new("data", Text, "", &[Recall, Verify, Train, Compare], "path of images or embeddings"),
    new(
        "list",
        Text,
        "",
        &[Recall, Verify, Train],
        "list of images and labels, where the data is one; the folder of its images stands in data",
    )
    .tried(),
    new(
        "label",
        Text,
        "",
        &[Recall, Verify, Train],
        "column of the list that labels were read from, as --label takes it",
    )
    .tried(),
    new("data_sha256", Text, "", &[Recall, Verify, Train], "digest of the images that were used, or of the embeddings")
        .tells(All),
    new(
        "images_sha256",
        Text,
        "",
        &[Recall, Verify, Train],
        "digest of the images that were used in any order: where it is the same, the data are",
    )
    .tells(All),
    new(
        "rows_sha256",
        Text,
        "",
        &[Recall, Verify],
        "digest of the names, classes and roles of kept embeddings in any order: where it is the same, the data are taken for it",
    )
    .tells(All),
    new("format", Text, "", EMBEDDED, "layout that the data was read as"),
    new("part", Text, "", &[Recall, Verify, Train], "part of the data that was used").tells(All),
    new("skipped", Whole, "images", EMBEDDED, "images that could not be used (--skip-bad)"),
    new("skipped_images", Text, "", EMBEDDED, "their names, joined by '; '"),
    new("images", Whole, "images", &[Recall, Verify, Train], "images that were used"),
    new("classes", Whole, "", &[Recall, Train], "classes among them"),
    new("class_names", Text, "", EMBEDDED, "their names, or the first of them, how many there are, and a digest"),
    new("copies", Whole, "images", EMBEDDED, "images that are copies of others, to the byte"),
    new(
        "copies_counted",
        Flag,
        "",
        EMBEDDED,
        "whether they are each other's neighbours, or make pairs (--keep-copies)",
    )
    .tells(All),
    new("dim", Whole, "", EMBEDDED, "length of an embedding").tried(),
    new("storage", Text, "", &[Recall], "how it is kept: float32, int8, binary, or pq and its bytes (--storage)")
        .tried(),
    new("embedding_bytes", Whole, "bytes", &[Recall], "what it takes when kept so"),
    new("corruption", Text, "", &[Recall], "what was done to the images (--corruptions), or: none").tells(All),
    new("severity", Whole, "", &[Recall], "how much, 1 to 5").tells(All),
    new("corruption_seed", Whole, "", &[Recall], "seed of what was drawn").tells(All),
    // how recall was measured
    new("metric", Text, "", MEASURED, "similarity of two embeddings; score or distance of given scores").tried(),
    new("index", Text, "", &[Recall], "FAISS factory string").tried(),
    new("faiss_level", Text, "", &[Recall], "processors that the FAISS in use was compiled for"),
    new("search", Text, "", &[Recall], "exact, or how approximate"),
    new(
        "tied_queries",
        Real,
        "share",
        &[Recall],
        "of a sample of up to 500 queries, those with rows of their class and others equally near, so that the order of rows may decide",
    ),
    new(
        "index_recall",
        Real,
        "share",
        &[Recall],
        "of the true nearest, those that an approximate index finds, on a sample",
    ),
    new("ties", Text, "", &[Recall], "how ties are broken"),
    new("search_depth", Whole, "", &[Recall], "neighbours that were looked at"),
    new("queries", Whole, "images", &[Recall], "queries that were measured").tells(OfQueries),
    new("gallery", Whole, "images", &[Recall], "images that could be found").tells(OfQueries),
    new("lone_queries", Whole, "images", &[Recall], "queries without another image of their class, left out"),
    // which pairs
    new("align", Text, "", &[Verify], "landmarks and template that faces were aligned by").tried(),
    new("flip", Text, "", &[Verify], "what was done with mirror images").tried(),
    new("genuine_file", Text, "", &[Scores], "file of genuine scores"),
    new("impostor_file", Text, "", &[Scores], "file of impostor scores"),
    new("pairs", Text, "", &[Verify], "list of pairs, or: all against all"),
    new("pairs_sha256", Text, "", &[Verify], "digest of the list").tells(All),
    new("pairs_format", Text, "", &[Verify], "layout that the list was read as"),
    new("pairs_listed", Whole, "pairs", &[Verify], "pairs of the list"),
    new("pairs_without_image", Whole, "pairs", &[Verify], "left out for want of an image (--skip-missing)"),
    new("pairs_with_bad_image", Whole, "pairs", &[Verify], "left out for an image that could not be used (--skip-bad)"),
    new("pairs_with_itself", Whole, "pairs", &[Verify], "pairs of an image with itself, left out"),
    new("pairs_of_copies", Whole, "pairs", &[Verify], "pairs of an image with a copy of it"),
    new("templates", Text, "", EMBEDDED, "list of the images and media of templates (--templates)"),
    new("templates_sha256", Text, "", EMBEDDED, "digest of the list").tells(All),
    new("template_count", Whole, "", EMBEDDED, "its templates"),
    new("media", Whole, "", EMBEDDED, "media of its templates"),
    new("gallery_list", Text, "", &[Recall], "list of the templates of the gallery (--gallery)"),
    new("gallery_list_sha256", Text, "", &[Recall], "digest of the list").tells(All),
    new("probe_list", Text, "", &[Recall], "list of the templates that search it (--probes)"),
    new("probe_list_sha256", Text, "", &[Recall], "digest of the list").tells(All),
    new("ground_truth", Text, "", &[Recall], "file of what each query should find (--ground-truth)"),
    new("ground_truth_sha256", Text, "", &[Recall], "its digest").tells(All),
    new("setup", Text, "", &[Recall], "which images are to be found: easy, medium or hard").tells(All),
    new("subjects", Whole, "", &[Verify], "people, or classes"),
    new("subjects_by", Text, "", &[Verify], "how they were told apart"),
    new("scores", Text, "", &[Verify], "precision of the scores"),
    new("threshold_pairs", Text, "", &[Verify], "list that the threshold was chosen on"),
    new("threshold_pairs_sha256", Text, "", &[Verify], "digest of that list").tells(Of(&["accuracy"])),
    new("bootstrap", Text, "", EMBEDDED, "draws and kind of the intervals"),
    new("bootstrap_seed", Whole, "", EMBEDDED, "seed of the draws"),
    new("genuine_pairs", Whole, "pairs", MEASURED, "pairs of one class or person").tells(OfPairs),
    new("impostor_pairs", Whole, "pairs", MEASURED, "pairs of two").tells(OfPairs),
    new("failed_genuine", Whole, "pairs", &[Scores], "genuine pairs without a score (--count-failures)").tells(OfPairs),
    new("failed_impostor", Whole, "pairs", &[Scores], "impostor pairs without a score (--count-failures)")
        .tells(OfPairs),
    new("failure_rate", Real, "share", &[Scores], "pairs without a score among all: failure to enrol or to acquire")
        .over(Pairs),
    // times
    new("seconds_load", Real, "s", EMBEDDED, "opening the model"),
    new("seconds_embed", Real, "s", EMBEDDED, "decoding and embedding"),
    new("images_per_second", Real, "images/s", EMBEDDED, "decoded and embedded"),
    new("seconds_search", Real, "s", &[Recall], "searching"),
    new("seconds_compare", Real, "s", EMBEDDED, "scoring pairs"),
    new("seconds_total", Real, "s", MEASURED, "everything but writing"),
    // what the model costs (--efficiency)
    new("machine", Text, "", EMBEDDED, "processors of the machine that was timed").tells(Of(SPEEDS)),
    new("parameters", Whole, "", EMBEDDED, "values of the model's weights").measure(Lower, Nothing),
    new(
        "operations",
        Whole,
        "",
        EMBEDDED,
        "of one image's convolutions and matrix products: two for each pair of numbers multiplied",
    )
    .measure(Lower, Nothing),
    new("model_bytes", Whole, "bytes", EMBEDDED, "size of the model's files").measure(Lower, Nothing),
    new("latency", Real, "ms", EMBEDDED, "median of one image after the other, alone, in one session on all threads")
        .measure(Lower, Nothing),
    new("latency_p95", Real, "ms", EMBEDDED, "95 of 100 such runs take no longer").measure(Lower, Nothing),
    new("latency_runs", Whole, "", EMBEDDED, "runs that both were taken over"),
    new("throughput", Real, "images/s", EMBEDDED, "through all sessions in full batches, without decoding")
        .measure(Higher, Nothing),
    new("peak_memory", Whole, "bytes", EMBEDDED, "most that the process held while it embedded")
        .measure(Lower, Nothing),
    // measures of retrieval
    new(
        "recall@{K}",
        Real,
        "share",
        &[Recall],
        "of the queries, those with an image of their class among the K nearest",
    )
    .measure(Higher, Queries)
    .with_query_interval()
    .usually(USUAL_K),
    new(
        "r_precision",
        Real,
        "share",
        &[Recall],
        "mean share of right images among the R nearest, R being those there are",
    )
    .measure(Higher, Queries)
    .with_query_interval(),
    new("map@r", Real, "share", &[Recall], "mean average precision at R")
        .measure(Higher, Queries)
        .with_query_interval(),
    new(
        "map_revisited",
        Real,
        "share",
        &[Recall],
        "mean average precision, by trapezoids, junk passed over (--ground-truth)",
    )
    .measure(Higher, Queries)
    .with_query_interval(),
    new("mp@{K}", Real, "share", &[Recall], "mean precision at K, or at the last image to be found (--ground-truth)")
        .usually(&["1", "5", "10"])
        .measure(Higher, Queries)
        .with_query_interval(),
    // beside these: --all-figures
    new("map", Real, "share", &[Recall], "mean average precision over the whole gallery (--all-figures)")
        .measure(Higher, Queries)
        .with_query_interval()
        .beside(),
    new("mrr", Real, "share", &[Recall], "mean of 1 / rank of the first right image (--all-figures)")
        .measure(Higher, Queries)
        .with_query_interval()
        .beside(),
    new("map@{K}", Real, "share", &[Recall], "mean average precision of the K nearest, over the lesser of K and R")
        .measure(Higher, Queries)
        .with_query_interval()
        .beside()
        .usually(USUAL_K),
    new("precision@{K}", Real, "share", &[Recall], "mean share of right images among the K nearest")
        .measure(Higher, Queries)
        .with_query_interval()
        .beside()
        .usually(USUAL_K),
    new("ndcg@{K}", Real, "share", &[Recall], "normalised discounted cumulative gain of the K nearest")
        .measure(Higher, Queries)
        .with_query_interval()
        .beside()
        .usually(USUAL_K),
    new("recall@1_relevant_from_{K}", Real, "share", &[Recall], "recall@1 of queries with K to below 2 K right images")
        .measure(Higher, Queries)
        .beside()
        .usually(SIZES),
    new("queries_relevant_from_{K}", Whole, "images", &[Recall], "how many queries these are").usually(SIZES),
    new(
        "nmi",
        Real,
        "share",
        &[Recall],
        "normalised mutual information of k-means clusters and classes (--all-figures)",
    )
    .measure(Higher, Queries)
    .beside(),
    new("ari", Real, "share", &[Recall], "adjusted Rand index of k-means clusters and classes (--all-figures)")
        .measure(Higher, Queries)
        .beside(),
    new(
        "unmated_queries",
        Whole,
        "images",
        &[Recall],
        "queries without an image of their class in the gallery (--open-set)",
    )
    .tells(Of(&["dir@far={T}"])),
    new(
        "dir@far={T}",
        Real,
        "share",
        &[Recall],
        "mated queries identified where at most T of the unmated raise an alarm",
    )
    .measure(Higher, Queries)
    .with_query_interval()
    .usually(TARGETS),
    new("dir_threshold@far={T}", Real, "score", &[Recall], "the smallest threshold that holds it").usually(TARGETS),
    new("kmeans", Text, "", &[Recall], "how k-means was run (--all-figures)").tells(Of(&["nmi", "ari"])),
    // measures of verification
    new("folds", Text, "", &[Verify], "how pairs were divided for the accuracy").tells(Of(&["accuracy"])),
    new("accuracy", Real, "share", &[Verify], "pairs decided rightly, mean over folds")
        .measure(Higher, Pairs)
        .with_interval(),
    new("accuracy_standard_error", Real, "share", &[Verify], "standard error of that mean"),
    new("accuracy_std_population", Real, "share", &[Verify], "population standard deviation over the folds"),
    new("eer", Real, "share", MEASURED, "equal error rate: mean of FMR and FNMR where they are closest")
        .measure(Lower, Both)
        .with_interval(),
    new("auc", Real, "share", MEASURED, "area under the ROC curve; below 0.5 genuine pairs score lower than impostors")
        .measure(Higher, Both)
        .with_interval(),
    new(
        "d_prime",
        Real,
        "deviations",
        MEASURED,
        "(genuine - impostor mean) / root of the mean variance; negative where genuine pairs score lower",
    )
    .measure(Higher, Both)
    .with_interval(),
    new("fnmr@fmr={T}", Real, "share", PAIRS, "FNMR at the smallest threshold whose FMR is at most T")
        .measure(Lower, Genuine)
        .with_interval()
        .usually(TARGETS),
    new("tar@far={T}", Real, "share", PAIRS, "1 - FNMR there")
        .measure(Higher, Genuine)
        .with_interval()
        .usually(TARGETS),
    new("zero_fmr", Real, "share", PAIRS, "lowest FNMR without a false match").measure(Lower, Genuine).with_interval(),
    new("zero_fnmr", Real, "share", PAIRS, "lowest FMR without a false non-match")
        .measure(Lower, Impostor)
        .with_interval(),
    new("mu_genuine", Real, "score", MEASURED, "mean genuine score").over(Genuine).with_interval(),
    new("mu_impostor", Real, "score", MEASURED, "mean impostor score").over(Impostor).with_interval(),
    new("sd_genuine", Real, "score", MEASURED, "population standard deviation of genuine scores")
        .over(Genuine)
        .with_interval(),
    new("sd_impostor", Real, "score", MEASURED, "population standard deviation of impostor scores")
        .over(Impostor)
        .with_interval(),
    new("{FIGURE}_from", Real, "as FIGURE", MEASURED, "lower end of the confidence interval (--bootstrap)"),
    new("{FIGURE}_to", Real, "as FIGURE", MEASURED, "upper end of the confidence interval (--bootstrap)"),
    new("eer_threshold", Real, "score", PAIRS, "threshold where FMR and FNMR are closest"),
    new("eer_bracket_low", Real, "share", PAIRS, "the lower of FMR and FNMR there").over(Both),
    new("eer_bracket_high", Real, "share", PAIRS, "the higher").over(Both),
    new("threshold@fmr={T}", Real, "score", PAIRS, "the smallest threshold whose FMR is at most T").usually(TARGETS),
    new("reached_fmr@fmr={T}", Real, "share", PAIRS, "the FMR there").over(Impostor).usually(TARGETS),
    new("accuracy_fold_{K}", Real, "share", &[Verify], "pairs of the K-th fold decided rightly")
        .over(Pairs)
        .usually(FOLDS),
    new("threshold_fold_{K}", Real, "score", &[Verify], "threshold that was chosen for it on the others")
        .usually(FOLDS),
    // groups: --groups
    new("group_by", Text, "", &[Verify], "columns that make groups of images").tells(Of(WORST)),
    new("groups", Whole, "", &[Verify], "groups of pairs").tells(Of(WORST)),
    new("pairs_without_group", Whole, "pairs", &[Verify], "pairs of an image that has no group").tells(Of(WORST)),
    new("group_threshold", Real, "score", &[Verify], "threshold at which groups are compared"),
    new("group_threshold_from", Text, "", &[Verify], "where it comes from").tells(Of(WORST)),
    new("worst_fmr_group", Text, "", &[Verify], "group with the greatest FMR, of those with 30 impostor pairs"),
    new("worst_fmr", Real, "share", &[Verify], "its FMR").measure(Lower, Nothing).beside(),
    new("worst_fnmr_group", Text, "", &[Verify], "group with the greatest FNMR, of those with 30 genuine pairs"),
    new("worst_fnmr", Real, "share", &[Verify], "its FNMR").measure(Lower, Nothing).beside(),
    // beside these: --all-figures
    new("best_accuracy", Real, "share", PAIRS, "pairs decided rightly, at the threshold that is best on these pairs")
        .measure(Higher, Pairs)
        .with_interval()
        .beside(),
    new("best_accuracy_threshold", Real, "score", PAIRS, "that threshold"),
    new("best_balanced_accuracy", Real, "share", PAIRS, "1 - (FMR + FNMR) / 2, at the threshold that is best for it")
        .measure(Higher, Both)
        .with_interval()
        .beside(),
    new("best_balanced_accuracy_threshold", Real, "score", PAIRS, "that threshold"),
    new("best_f1", Real, "share", PAIRS, "F1 of accepted pairs, at the threshold that is best for it")
        .measure(Higher, Both)
        .with_interval()
        .beside(),
    new("best_f1_threshold", Real, "score", PAIRS, "that threshold"),
    new("eer_rocch", Real, "share", PAIRS, "equal error rate of the ROC's convex hull")
        .measure(Lower, Both)
        .with_interval()
        .beside(),
    new("pauc@fmr={T}", Real, "share", PAIRS, "area under the ROC up to FMR T, scaled as McClish's: 0.5 says nothing")
        .measure(Higher, Both)
        .with_interval()
        .beside()
        .usually(PARTS),
    new(
        "min_dcf@prior={T}",
        Real,
        "share",
        PAIRS,
        "least detection cost, as a share of the better of accepting or rejecting all",
    )
    .measure(Lower, Both)
    .with_interval()
    .beside()
    .usually(PRIORS),
    new("act_dcf@prior={T}", Real, "share", PAIRS, "detection cost of scores taken for natural log-likelihood ratios")
        .measure(Lower, Both)
        .with_interval()
        .beside()
        .usually(PRIORS),
    new("cllr", Real, "bits", PAIRS, "cost of scores taken for natural log-likelihood ratios; 1 says nothing")
        .measure(Lower, Both)
        .with_interval()
        .beside(),
    new("min_cllr", Real, "bits", PAIRS, "the least that a rising map of the scores can have (PAV)")
        .measure(Lower, Both)
        .with_interval()
        .beside(),
    new("hter", Real, "share", PAIRS, "(FMR + FNMR) / 2 at the threshold of the EER of the development list")
        .measure(Lower, Both)
        .with_interval()
        .beside(),
    new("hter_threshold", Real, "score", PAIRS, "that threshold"),
    new("cllr_logistic", Real, "bits", PAIRS, "Cllr after logistic calibration").measure(Lower, Both).beside(),
    new("act_dcf_logistic@prior={T}", Real, "share", PAIRS, "detection cost after logistic calibration")
        .measure(Lower, Both)
        .beside()
        .usually(PRIORS),
    new("hter_fmr", Real, "share", PAIRS, "the FMR there").over(Impostor),
    new("hter_fnmr", Real, "share", PAIRS, "the FNMR there").over(Genuine),
    new("dcf_cost_miss", Real, "", PAIRS, "what a false non-match costs (--cost-miss)").tells(Of(COSTS)),
    new("dcf_cost_false_match", Real, "", PAIRS, "what a false match costs (--cost-false-match)").tells(Of(COSTS)),
    new("logistic_slope", Real, "", PAIRS, "log-likelihood ratio gained for each unit of score"),
    new("logistic_offset", Real, "", PAIRS, "log-likelihood ratio of a score of 0"),
    new("calibrated_on", Text, "", PAIRS, "pairs that the calibration was fitted on")
        .tells(Of(&["cllr_logistic", "act_dcf_logistic@prior={T}"])),
    new("development", Text, "", PAIRS, "pairs that the threshold of hter and the calibration come from")
        .tells(Of(&["hter"])),
    // compare: a row a figure
    new("figure", Text, "", COMPARED, "the figure that the row is about"),
    new("A", Real, "as the figure", COMPARED, "its value in the first run"),
    new("B", Real, "as the figure", COMPARED, "its value in the second"),
    new("B - A", Real, "as the figure", COMPARED, "their difference"),
    new("from", Real, "as the figure", COMPARED, "lower end of the interval of the difference"),
    new("to", Real, "as the figure", COMPARED, "upper end"),
    new("p", Real, "share", COMPARED, "chance of a difference as large where there is none"),
    new("p_holm", Real, "share", COMPARED, "the same after Holm's correction for several figures"),
    new("run of A", Text, "", COMPARED, "folder of the first run"),
    new("run of B", Text, "", COMPARED, "folder of the second"),
    new("model of A", Text, "", COMPARED, "its model"),
    new("model of B", Text, "", COMPARED, "its model"),
    new("drawn", Text, "", COMPARED, "units that were drawn, and how many"),
    new("test", Text, "", COMPARED, "how p was found"),
    new("interval", Text, "", COMPARED, "kind and confidence of the intervals"),
    new("draws", Whole, "", COMPARED, "draws of the test and of the intervals"),
    new("seed", Whole, "", &[Compare, Train], "seed of everything random").tried(),
    // training: settings by their names in run.toml
    new("settings.{SETTING}", Setting, "", TRAINED, "a setting whose name another column has"),
    new("per_class", Whole, "images", TRAINED, "images a class in a batch")
        .tells(Of(&["last loss", "last d_prime"]))
        .tried(),
    new("accumulate", Whole, "parts", TRAINED, "parts that a batch is computed in, where they are several").tried(),
    new("checkpoint_every", Whole, "steps", TRAINED, "steps between checkpoints"),
    new("cache", Whole, "MiB", TRAINED, "pixels kept in memory"),
    new("inline", Flag, "", TRAINED, "whether the loss is spelled in standard operators"),
    new("first_proxies", Text, "", TRAINED, "where the proxies start").tried(),
    new("init.{SETTING}", Setting, "", TRAINED, "what another run gave the first state").tried(),
    new("class_order_sha256", Text, "", TRAINED, "digest of the classes' names in the order of their proxies"),
    new("leave_out", Flag, "", TRAINED, "whether images of classes that are validated on were left out of training").tried(),
    new("parameters.{COUNT}", Whole, "", TRAINED, "tensors and values of the backbone, and how many of them are trained").tried(),
    new("length.steps", Whole, "steps", TRAINED, "length that was asked for").tried(),
    new("length.epochs", Real, "epochs", TRAINED, "length that was asked for").tried(),
    new("data.{SETTING}", Setting, "", TRAINED, "what was trained on"),
    new("validation_sha256", Text, "", TRAINED, "digest of the images that were validated on").tells(All),
    new("validation_label", Text, "", TRAINED, "column of the list that was validated on that holds the labels")
        .tells(All),
    new("validation.data.{SETTING}", Setting, "", TRAINED, "what was validated on").tells(All),
    new("validation.{SETTING}", Setting, "", TRAINED, "what was validated on, and when"),
    new("sampling.{SETTING}", Setting, "", TRAINED, "how batches are drawn, where that was chosen")
        .tells(Of(&["last loss", "last d_prime"]))
        .tried(),
    new("precision.{SETTING}", Setting, "", TRAINED, "in what products are computed, where that is not float32")
        .tried(),
    new("preprocessing.{SETTING}", Setting, "", TRAINED, "a step from file to model input").tried(),
    new("augmentation.{SETTING}", Setting, "", TRAINED, "a random change").tried(),
    new("loss.{SETTING}", Setting, "", TRAINED, "the loss").tells(Of(&["last loss"])).tried(),
    new("optimizer.{SETTING}", Setting, "", TRAINED, "the optimiser").tried(),
    new("schedule.{SETTING}", Setting, "", TRAINED, "the learning rate").tried(),
    new("steps", Whole, "steps", TRAINED, "steps that were made"),
    new("last {METRIC}", Real, "as METRIC", TRAINED, "the last value of a metric of metrics.csv or validation.csv")
        .usually(&[
            "loss",
            "d_prime",
            "mu_genuine",
            "mu_impostor",
            "var_genuine",
            "var_impostor",
            "mean_cosine",
            "gradient_norm",
            "learning_rate",
            "images_per_second",
            "recall@1",
            "map@r",
        ]),
    new("best {METRIC}", Real, "as METRIC", TRAINED, "the greatest value of a recall").usually(&["recall@1"]),
];
