//! The columns of the files that `--save-run`, `--points` and `--group-table` write beside a result.

use super::column::Better::{Higher, Lower};
use super::column::Column;
use super::column::Over::{Genuine, Impostor, Nothing, Queries};
use super::column::Type::{Flag, Real, Text, Whole};
use super::column::Writer::{Recall, Verify};
use super::columns::{EMBEDDED, MEASURED, PAIRS, TRAINED, new};

/// Columns of the files beside a result, by file.
pub const FILES: &[(&str, &[Column])] = &[
    (
        "metrics.csv",
        &[
            new("step", Whole, "steps", TRAINED, "the step, from 1"),
            new("epoch", Real, "epochs", TRAINED, "epoch that the step is of, from 0"),
            new("loss", Real, "", TRAINED, "loss of the batch").measure(Lower, Nothing),
            new("d_prime", Real, "deviations", TRAINED, "d' of the batch, signed").measure(Higher, Nothing),
            new("mu_genuine", Real, "score", TRAINED, "mean genuine score of the batch"),
            new("mu_impostor", Real, "score", TRAINED, "mean impostor score of the batch"),
            new("var_genuine", Real, "score^2", TRAINED, "variance of its genuine scores"),
            new("var_impostor", Real, "score^2", TRAINED, "variance of its impostor scores"),
            new("mean_cosine", Real, "", TRAINED, "mean cosine of its embeddings, each with each"),
            new("gradient_norm", Real, "", TRAINED, "length of the whole gradient"),
            new("learning_rate", Real, "", TRAINED, "learning rate of the step"),
            new("images_per_second", Real, "images/s", TRAINED, "images trained on"),
        ],
    ),
    (
        "validation.csv",
        &[
            new("step", Whole, "steps", TRAINED, "the step, from 0"),
            new("epoch", Real, "epochs", TRAINED, "whole epochs made before"),
            new("recall@{K}", Real, "share", TRAINED, "on the validation data").measure(Higher, Queries),
            new("map@r", Real, "share", TRAINED, "on the validation data").measure(Higher, Queries),
            new("queries", Whole, "images", TRAINED, "images that were measured"),
        ],
    ),
    (
        "points.parquet, --points",
        &[
            new("threshold", Real, "score", MEASURED, "scores from here on are accepted"),
            new("fmr", Real, "share", MEASURED, "false match rate").over(Impostor),
            new("fnmr", Real, "share", MEASURED, "false non-match rate").over(Genuine),
            new("tar", Real, "share", MEASURED, "1 - fnmr").over(Genuine),
            new("llr_pav", Real, "", PAIRS, "--points alone: log-likelihood ratio there of the best rising map (PAV)"),
            new(
                "llr_logistic",
                Real,
                "",
                PAIRS,
                "--points alone: log-likelihood ratio there after logistic calibration",
            ),
        ],
    ),
    (
        "groups.parquet, --group-table",
        &[
            new(
                "group",
                Text,
                "",
                &[Verify],
                "values of both images, where they differ with ' - ' between; in quotes where one has such a mark in it",
            ),
            new("genuine_pairs", Whole, "pairs", &[Verify], "its genuine pairs"),
            new("impostor_pairs", Whole, "pairs", &[Verify], "its impostor pairs"),
            new("fmr", Real, "share", &[Verify], "its false match rate").over(Impostor),
            new("fmr_from", Real, "share", &[Verify], "lower end of its confidence interval (--bootstrap)"),
            new("fmr_to", Real, "share", &[Verify], "upper end"),
            new("fnmr", Real, "share", &[Verify], "its false non-match rate").over(Genuine),
            new("fnmr_from", Real, "share", &[Verify], "lower end of its confidence interval (--bootstrap)"),
            new("fnmr_to", Real, "share", &[Verify], "upper end"),
        ],
    ),
    (
        "histogram.parquet",
        &[
            new("from", Real, "score", MEASURED, "lower end of the bin"),
            new("to", Real, "score", MEASURED, "upper end"),
            new("genuine", Real, "share", MEASURED, "share of the genuine pairs in it"),
            new("impostor", Real, "share", MEASURED, "share of the impostor pairs in it"),
        ],
    ),
    (
        "queries.parquet",
        &[
            new("name", Text, "", &[Recall], "name of the image"),
            new("class", Text, "", &[Recall], "its class"),
            new("relevant", Whole, "images", &[Recall], "images of its class that could be found (R)"),
            new("first_hit", Whole, "", &[Recall], "rank, from 1, of the first of them; missing beyond search_depth"),
            new("r_precision", Real, "share", &[Recall], "share of right images among the R nearest"),
            new("ap@r", Real, "share", &[Recall], "average precision at R"),
        ],
    ),
    (
        "neighbours.parquet",
        &[
            new("query", Whole, "", &[Recall], "row of queries.parquet, from 0"),
            new("rank", Whole, "", &[Recall], "rank, from 1"),
            new("name", Text, "", &[Recall], "name of the image that was found"),
            new("class", Text, "", &[Recall], "its class"),
            new(
                "score",
                Real,
                "score",
                &[Recall],
                "greater is nearer: cosine, inner product, or minus the squared distance",
            ),
        ],
    ),
    (
        "map.parquet",
        &[
            new("name", Text, "", &[Recall], "name of the image"),
            new("class", Text, "", &[Recall], "its class"),
            new("x", Real, "", &[Recall], "its place along the first principal component"),
            new("y", Real, "", &[Recall], "along the second"),
            new("share", Real, "share", &[Recall], "of all variance, what lies in this plane"),
            new(
                "tsne_x",
                Real,
                "",
                &[Recall],
                "its place in a layout by t-SNE (--map tsne), where it is among those images",
            ),
            new("tsne_y", Real, "", &[Recall], "the same"),
        ],
    ),
    (
        "files.parquet",
        &[
            new("name", Text, "", EMBEDDED, "name of the image"),
            new("sha256", Text, "", EMBEDDED, "first 16 digits of the digest of its file"),
        ],
    ),
    (
        "images.parquet",
        &[new("name", Text, "", &[Verify], "name of the image"), new("subject", Text, "", &[Verify], "who is on it")],
    ),
    (
        "pairs.parquet",
        &[
            new("a", Whole, "", &[Verify], "row of images.parquet, from 0"),
            new("b", Whole, "", &[Verify], "row of images.parquet, from 0"),
            new("same", Flag, "", &[Verify], "whether the pair is genuine"),
            new("score", Real, "score", &[Verify], "greater is more alike"),
            new("fold", Whole, "", &[Verify], "fold, from 0"),
            new("right", Flag, "", &[Verify], "whether it is decided rightly at its fold's threshold"),
        ],
    ),
];
