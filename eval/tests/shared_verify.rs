//! Verification on real data, which is not part of the repository: `../shared/data` beside it, or `PDLOSS_SHARED`. Where
//! it is absent, these tests are listed as ignored.

use std::path::{Path, PathBuf};

use clap::Parser;
use libtest_mimic::{Arguments, Failed, Trial};
use pdloss_eval::commands::{Cli, Command};
use pdloss_eval::commands::{scores, verify};
use pdloss_eval::table::{Record, Value};

fn shared() -> PathBuf {
    std::env::var_os("PDLOSS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from)
}

fn main() {
    let arguments = Arguments::from_args();
    let data = shared().join("data");
    let absent = |needed: &[PathBuf]| needed.iter().any(|path| !path.exists());
    let trial = |name: &str, needed: &[PathBuf], test: fn(&Path) -> Result<(), Failed>| {
        let folder = shared();
        Trial::test(name, move || test(&folder)).with_ignored_flag(absent(needed)).with_kind("shared data")
    };
    let expected = data.join("expected.json");
    let tests = vec![
        trial("lfw128_all_pairs_to_1e_6", &[data.join("lfw128"), expected.clone()], lfw128),
        trial("pyeer_eer_within_the_step", &[data.join("scores/pyeer"), expected.clone()], pyeer),
        trial(
            "lfw_view_2_with_mobilefacenet",
            &[data.join("lfw-frontal90"), shared().join("models/mobilefacenet.onnx"), expected],
            lfw,
        ),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

fn run(args: &[String]) -> Result<Record, Failed> {
    let cli = Cli::try_parse_from(std::iter::once("pdloss-eval".to_owned()).chain(args.iter().cloned()))?;
    let mut printed = Vec::new();
    Ok(match &cli.command {
        Command::Verify(args) => verify::Plan::new(args)?.run(&mut printed)?,
        Command::Scores(args) => scores::run(args, &mut printed)?,
        _ => return Err("wrong command".into()),
    })
}

fn words(text: &str) -> Vec<String> {
    text.split('|').map(|w| w.trim().to_owned()).collect()
}

fn expected(folder: &Path) -> Result<serde_json::Value, Failed> {
    Ok(serde_json::from_str(&std::fs::read_to_string(folder.join("data/expected.json"))?)?)
}

fn real(record: &Record, name: &str) -> Result<f64, Failed> {
    match record.get(name) {
        Some(Value::Real(value)) => Ok(*value),
        Some(Value::Whole(count)) => Ok(*count as f64),
        other => Err(format!("{name}: {other:?}").into()),
    }
}

/// Compares entries of the expected results, each under the name that it has in ours.
#[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN must fail
fn compare(record: &Record, expected: &serde_json::Value, entries: &[(&str, &str, f64)]) -> Result<(), Failed> {
    for &(theirs, ours, within) in entries {
        let wanted = expected[theirs].as_f64().ok_or(format!("{theirs} is not expected"))?;
        let found = real(record, ours)?;
        if !((found - wanted).abs() <= within) {
            return Err(format!("{ours}: {found}, wanted {wanted} within {within}").into());
        }
    }
    Ok(())
}

fn lfw128(folder: &Path) -> Result<(), Failed> {
    let set = folder.join("data/lfw128");
    let command = format!(
        "verify|--all-pairs|--dim|128|--embeddings|{0}/LFW_tensor.bytes|--labels|{0}/LFW_labels.tsv",
        set.display()
    );
    let same = [
        "genuine_pairs",
        "impostor_pairs",
        "mu_genuine",
        "mu_impostor",
        "sd_genuine",
        "sd_impostor",
        "d_prime",
        "tar@far=0.01",
        "tar@far=0.001",
        "tar@far=0.0001",
        "auc",
    ];
    let mut entries: Vec<(&str, &str, f64)> = same.iter().map(|&name| (name, name, 1e-6)).collect();
    entries.push(("eer_mean_at_crossing", "eer", 1e-6));
    compare(&run(&words(&command))?, &expected(folder)?["lfw128 (embeddings only)"], &entries)
}

#[allow(clippy::neg_cmp_op_on_partial_ord)] // NaN must fail
fn pyeer(folder: &Path) -> Result<(), Failed> {
    let lists = folder.join("data/scores/pyeer");
    let wanted = &expected(folder)?["scores/pyeer"]["eer_by_the_data_s_own_tool"];
    for name in ["exp1", "exp2", "exp3"] {
        let command = format!("scores|--genuine|{0}/{name}_true.txt|--impostor|{0}/{name}_false.txt", lists.display());
        let record = run(&words(&command))?;
        let theirs = wanted[name].as_f64().ok_or("not expected")?;
        let (eer, low, high) =
            (real(&record, "eer")?, real(&record, "eer_bracket_low")?, real(&record, "eer_bracket_high")?);
        // both definitions lie within the step at the crossing
        if !(low <= theirs && theirs <= high && low <= eer && eer <= high) {
            return Err(format!("{name}: {eer} and {theirs} are not both from {low} to {high}").into());
        }
        if name == "exp3" && !((low - 0.110_966).abs() < 1e-6 && (high - 0.117_373).abs() < 1e-6) {
            return Err(format!("the tied list's bracket is {low} to {high}").into());
        }
    }
    Ok(())
}

fn lfw(folder: &Path) -> Result<(), Failed> {
    let command = format!(
        "verify|--model|{0}/models/mobilefacenet.onnx|--data|{0}/data/lfw-frontal90|--pairs|{0}/data/lfw-frontal90/pairs.txt|\
         --preset|face-112|--resize|exact:81x81|--pad|112x112+15+18",
        folder.display()
    );
    let entries = [
        ("accuracy_mean", "accuracy", 0.004),
        ("eer_mean_at_crossing", "eer", 0.003),
        ("d_prime", "d_prime", 0.05),
        ("auc", "auc", 0.002),
        ("tar@far=0.01", "tar@far=0.01", 0.02),
        ("pairs", "pairs_listed", 0.0),
    ];
    compare(&run(&words(&command))?, &expected(folder)?["lfw-frontal90 + mobilefacenet.onnx"], &entries)
}
