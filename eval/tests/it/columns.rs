//! The schema of columns: whatever is written is in it, with the type that it says.

use pdloss_eval::table::schema::{Type, find};
use pdloss_eval::table::{Record, Value};
use polars::prelude::{DataFrame, DataType, ParquetReader, SerReader};

use crate::tools::{fixtures, put, run, stderr, text};

fn read(path: &str) -> DataFrame {
    ParquetReader::new(std::fs::File::open(path).unwrap()).finish().unwrap()
}

fn tool(arguments: &[&str]) {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
}

/// Asserts that each column has an entry, and its type.
fn is_in_the_schema(table: &DataFrame, whose: &str) {
    for column in table.columns() {
        let name = column.name().as_str();
        let entry =
            find(name).unwrap_or_else(|| panic!("{whose}: '{name}' is in no list of eval/src/table/columns.rs"));
        let wanted = match entry.column.kind {
            Type::Text => DataType::String,
            Type::Whole => DataType::UInt64,
            Type::Real => DataType::Float64,
            Type::Flag => DataType::Boolean,
            Type::Setting => continue,
        };
        assert_eq!(*column.dtype(), wanted, "{whose}: {name}");
    }
}

/// Runs of every command that writes results, as parquet files.
fn results(folder: &tempfile::TempDir) -> Vec<(&'static str, Vec<String>)> {
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (model, data) = (fixtures().join("embedder.onnx"), fixtures().join("shapes"));
    let images = ["--model", text(&model), "--data", text(&data), "--classes", "11-13"];
    let kept = at("kept.npy");
    let recall = |more: &[&str]| tool(&[&["recall"], more].concat());
    let more = ["--k", "1", "--save-embeddings", &kept, "--save-run", &at("a"), "--out", &at("r1.parquet")];
    recall(&[&images[..], &more].concat());
    recall(&[
        "--embeddings",
        &kept,
        "--k",
        "2,4",
        "--metric",
        "l2",
        "--out",
        &at("r2.parquet"),
        "--save-run",
        &at("b"),
    ]);
    let verify = |more: &[&str]| tool(&[&["verify", "--embeddings", &kept], more].concat());
    put(at("pairs.csv"), (0..8).map(|n| pair(n, &kept)).collect::<String>());
    verify(&["--all-pairs", "--out", &at("v1.parquet")]);
    verify(&["--all-pairs", "--bootstrap", "100", "--out", &at("v2.parquet"), "--points", &at("points.parquet")]);
    verify(&["--pairs", &at("pairs.csv"), "--out", &at("v3.parquet")]);
    let kinds = std::fs::read_to_string(at("kept.csv")).unwrap();
    let names = kinds.lines().skip(1).map(|line| line.split(',').next().unwrap());
    let groups: String = names.enumerate().map(|(n, name)| format!("{name},{}\n", n % 2)).collect();
    put(at("groups.csv"), format!("path,kind\n{groups}"));
    let group = ["--groups", &at("groups.csv"), "--group-by", "kind", "--group-table", &at("groups.parquet")];
    verify(&[&["--all-pairs", "--bootstrap", "100", "--out", &at("v4.parquet")], &group[..]].concat());
    put(at("g.txt"), "0.9\n0.8\n");
    put(at("i.txt"), "0.1\n0.2\n");
    tool(&["scores", "--genuine", &at("g.txt"), "--impostor", &at("i.txt"), "--out", &at("s1.parquet")]);
    tool(&["scores", "--genuine", &at("i.txt"), "--impostor", &at("g.txt"), "--out", &at("s2.parquet")]);
    let development = ["--dev-genuine", &at("g.txt"), "--dev-impostor", &at("i.txt"), "--count-failures"];
    let scores = ["scores", "--genuine", &at("g.txt"), "--impostor", &at("i.txt"), "--out", &at("s3.parquet")];
    tool(&[&scores[..], &development].concat());
    let more = [
        "--k",
        "1",
        "--bootstrap",
        "100",
        "--all-figures",
        "--matryoshka",
        "8",
        "--storage",
        "int8",
        "--out",
        &at("r3.parquet"),
    ];
    recall(&[&["--embeddings", &kept], &more[..]].concat());
    for (by, out) in [("query", "c1.parquet"), ("class", "c2.parquet")] {
        tool(&["compare", &at("a"), &at("a"), "--by", by, "--draws", "100", "--out", &at(out)]);
    }
    let run = fixtures().join("v0.1/train-run");
    tool(&["tabulate", text(&run), "--out", &at("t1.parquet")]);
    std::fs::create_dir(at("short")).unwrap();
    std::fs::copy(run.join("metrics.csv"), folder.path().join("short/metrics.csv")).unwrap();
    tool(&["tabulate", &at("short"), "--out", &at("t2.parquet")]);
    let files = |names: &[&str]| names.iter().map(|name| at(name)).collect();
    vec![
        ("recall", files(&["r1.parquet", "r2.parquet", "r3.parquet"])),
        (
            "verify",
            files(&["v1.parquet", "v2.parquet", "v3.parquet", "v4.parquet", "s1.parquet", "s2.parquet", "s3.parquet"]),
        ),
        ("compare", files(&["c1.parquet", "c2.parquet"])),
        ("train", files(&["t1.parquet", "t2.parquet"])),
        ("points", files(&["points.parquet"])),
        ("groups", files(&["groups.parquet"])),
    ]
}

/// A pair of kept images: of one class, then of two.
fn pair(n: usize, kept: &str) -> String {
    let labels = std::fs::read_to_string(kept.replace(".npy", ".csv")).unwrap();
    let mut reader = csv::Reader::from_reader(labels.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let name = headers.iter().position(|h| h == "name" || h == "path").unwrap_or(0);
    let names: Vec<String> = reader.records().map(|r| r.unwrap()[name].to_owned()).collect();
    let other = if n.is_multiple_of(2) { n + 1 } else { n + 20 };
    format!("{},{},{},{}\n", names[n], names[other], u8::from(n.is_multiple_of(2)), n / 4)
}

#[test]
fn every_column_that_is_written_is_in_the_schema_and_results_of_a_command_are_one_table() {
    let folder = tempfile::tempdir().unwrap();
    for (command, files) in results(&folder) {
        let tables: Vec<DataFrame> = files.iter().map(|file| read(file)).collect();
        let columns = |table: &DataFrame| -> Vec<(String, DataType)> {
            let one = |c: &polars::prelude::Column| (c.name().to_string(), c.dtype().clone());
            table.columns().iter().map(one).filter(|(name, _)| command != "train" || !name.contains('.')).collect()
        };
        for (file, table) in files.iter().zip(&tables) {
            is_in_the_schema(table, file);
            let (first, own) = (columns(&tables[0]), columns(table));
            let same = |a: &[(String, DataType)], b: &[(String, DataType)]| {
                let lacks: Vec<_> =
                    a.iter().filter(|column| !b.contains(column)).map(|column| column.0.clone()).collect();
                assert!(lacks.is_empty(), "{file}: {lacks:?}");
            };
            same(&first, &own);
            // K of its own, folds of its own and settings are beside
            let usual: Vec<_> = own.into_iter().filter(|(name, _)| command != "train" || name != "program").collect();
            if command != "train" {
                same(&usual, &first);
            }
        }
    }
}

#[test]
fn a_training_run_keeps_the_types_of_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    put(at("run/metrics.csv"), "step,loss\n1,0.5\n");
    put(
        at("run/run.toml"),
        "[made_with]\nonnxruntime = \"1.32.0\"\n[settings]\nseed = 3\ninline = false\nonnxruntime = \"lib.so\"\n\
         [settings.loss]\nloss = \"pd\"\nfloor = 1.0\n[settings.optimizer]\nnesterov = true\nfreeze = [\"a\"]\n",
    );
    tool(&["tabulate", &at("run"), "--out", &at("t.parquet")]);
    let table = read(&at("t.parquet"));
    let kind = |name: &str| table.column(name).unwrap().dtype().clone();
    assert_eq!(["seed", "steps"].map(kind), [DataType::UInt64, DataType::UInt64]);
    assert_eq!(["inline", "optimizer.nesterov"].map(kind), [DataType::Boolean, DataType::Boolean]);
    assert_eq!(["loss.floor", "last loss"].map(kind), [DataType::Float64, DataType::Float64]);
    assert_eq!(["loss.loss", "optimizer.freeze", "onnxruntime"].map(kind), [(); 3].map(|()| DataType::String));
    let word = |name: &str| table.column(name).unwrap().get(0).unwrap().to_string();
    assert_eq!((word("onnxruntime"), word("settings.onnxruntime")), ("\"1.32.0\"".into(), "\"lib.so\"".into()));
}

#[test]
fn notes_are_kept_in_one_column() {
    let mut record = Record::new();
    record.set("notes", Value::Missing).note("one").note("two");
    assert_eq!(record.get("notes"), Some(&Value::from("one; two")));
}
