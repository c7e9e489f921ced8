//! Every reader of foreign bytes as a function of these bytes. A target must come back, whatever it is given: an error is an
//! answer, a panic, an abort or a hang is not. `fuzz/run.sh` drives them by coverage; `tests/replay.rs` replays the corpora.

use std::path::{Path, PathBuf};

use clap::Parser;
use pdloss::graph::{file, shapes::Shapes, upgrade};
use pdloss::loss::Config;
use pdloss_embed::dataset::{Dataset, Format, Request, Source};
use pdloss_embed::embedder::Model;
use pdloss_embed::embeddings::{Embeddings, OnDisk};
use pdloss_embed::preprocess::{Landmarks, Layout, Patch, Preprocessor, Recipe};
use pdloss_eval::commands::Cli;
use pdloss_eval::pairs::{GroundTruth, PairList, Templates};
use pdloss_eval::runs::Run;

/// A reader, given the bytes of a file.
pub type Target = fn(&[u8]);

/// Every target by name; each has a corpus of that name.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive_tar", |bytes| archive("a.tar", bytes)),
    ("archive_tgz", |bytes| archive("a.tar.gz", bytes)),
    ("archive_zip", |bytes| archive("a.zip", bytes)),
    ("cub", cub),
    ("embeddings_npy", |bytes| embeddings("e.npy", bytes)),
    ("embeddings_parquet", |bytes| embeddings("e.parquet", bytes)),
    ("embeddings_safetensors", |bytes| embeddings("e.safetensors", bytes)),
    ("faiss_factory", |bytes| drop(pdloss_eval::index::check(&String::from_utf8_lossy(bytes)))),
    ("ground_truth", |bytes| in_file("g.pkl", bytes, |path| drop(GroundTruth::read(path)))),
    ("image", image),
    ("labels", labels),
    ("landmarks", |bytes| in_file("l.csv", bytes, |path| drop(Landmarks::read(path)))),
    ("list", list),
    ("mat", mat),
    ("onnx_graph", onnx_graph),
    ("onnx_model", |bytes| in_file("m.onnx", bytes, |path| drop(Model::read(path, None)))),
    ("pairs_bin", |bytes| in_file("p.bin", bytes, |path| drop(PairList::read(path)))),
    ("pairs_text", |bytes| in_file("p.txt", bytes, |path| drop(PairList::read(path)))),
    ("recipe", recipe),
    ("result_csv", |bytes| in_file("r.csv", bytes, |path| drop(Run::read(path)))),
    ("result_json", |bytes| in_file("r.json", bytes, |path| drop(Run::read(path)))),
    ("result_parquet", |bytes| in_file("r.parquet", bytes, |path| drop(Run::read(path)))),
    ("run_metrics", |bytes| run("metrics.csv", bytes)),
    ("run_settings", |bytes| run("run.toml", bytes)),
    ("scores_csv", |bytes| scores("s.csv", bytes)),
    ("scores_npy", |bytes| scores("s.npy", bytes)),
    ("scores_text", |bytes| scores("s.txt", bytes)),
    ("templates", templates),
];

/// Calls `read` on a folder of its own that goes afterwards.
fn in_folder(read: impl FnOnce(&Path)) {
    match tempfile::tempdir() {
        Ok(folder) => read(folder.path()),
        Err(e) => panic!("no place for temporary files: {e}"),
    }
}

/// The file of that name in a folder, with these bytes.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

fn in_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    in_folder(|folder| read(&put(folder, name, bytes)));
}

fn archive(name: &str, bytes: &[u8]) {
    in_file(name, bytes, |path| {
        if let Ok(source) = Source::open(path) {
            source.names().iter().take(8).for_each(|name| drop(source.read(name)));
        }
        drop(Dataset::load(&Request::of(path)));
    });
}

fn embeddings(name: &str, bytes: &[u8]) {
    in_folder(|folder| {
        let labels = put(folder, "labels.txt", b"a\na\nb\n");
        let path = put(folder, name, bytes);
        drop(Embeddings::read(&path, None, Some(&labels)));
        drop(Embeddings::read(&path, None, None));
        if let Ok(mut kept) = OnDisk::open(&path, None, Some(&labels), 64) {
            drop(kept.blocks.read(0..kept.blocks.rows()));
        }
        drop(OnDisk::open(&path, None, None, 64));
    });
}

fn templates(bytes: &[u8]) {
    in_folder(|folder| {
        let path = put(folder, "t.txt", bytes);
        drop(Templates::read(&path));
        if let Ok(templates) = Templates::read(&put(folder, "media.txt", b"a.jpg 1 5\nb.jpg 1 6\nc.jpg 2 6\n")) {
            drop(templates.pairs(&path));
            drop(templates.identities(&path));
        }
    });
}

fn labels(bytes: &[u8]) {
    in_folder(|folder| {
        let raw = put(folder, "e.f32", &[0x3f; 24]);
        drop(Embeddings::read(&raw, Some(2), Some(&put(folder, "labels.csv", bytes))));
    });
}

fn list(bytes: &[u8]) {
    in_folder(|folder| {
        for name in ["a.png", "b.png", "c d.png"] {
            put(folder, name, b"");
        }
        drop(Dataset::load(&Request::of(put(folder, "list.csv", bytes))));
    });
}

/// The bytes as each of the lists of CUB, the others whole.
fn cub(bytes: &[u8]) {
    let whole: [(&str, &[u8]); 4] = [
        ("images.txt", b"1 a/1.png\n2 b/2.png\n"),
        ("image_class_labels.txt", b"1 1\n2 2\n"),
        ("classes.txt", b"1 a\n2 b\n"),
        ("train_test_split.txt", b"1 1\n2 0\n"),
    ];
    for (replaced, _) in whole {
        in_folder(|folder| {
            for (name, content) in whole {
                put(folder, name, if name == replaced { bytes } else { content });
            }
            drop(Dataset::load(&Request::of(folder)));
        });
    }
}

fn mat(bytes: &[u8]) {
    in_folder(|folder| {
        put(folder, "cars_annos.mat", bytes);
        let mut request = Request::of(folder);
        request.format = Format::Cars196;
        drop(Dataset::load(&request));
    });
}

fn onnx_graph(bytes: &[u8]) {
    in_file("m.onnx", bytes, |path| {
        let Ok(mut model) = file::read(path) else { return };
        drop(Shapes::of(&model));
        drop(upgrade::upgrade(&mut model));
        let options = pdloss::graph::step::StepOptions::new(pdloss::graph::losses::Loss::Pd(Config::default()), 3);
        drop(pdloss::graph::step::build(model, &options));
    });
}

fn recipe(bytes: &[u8]) {
    in_file("m.toml", bytes, |path| {
        if let Ok(patch) = Patch::read(path) {
            drop(Recipe::of(Path::new("m.onnx"), None, &patch, (None, false)));
        }
    });
}

/// A run of `pdloss train` of which one file is these bytes.
fn run(name: &str, bytes: &[u8]) {
    in_folder(|folder| {
        put(folder, "metrics.csv", b"step,loss\n1,0.5\n");
        put(folder, name, bytes);
        drop(Run::read(folder));
    });
}

fn scores(name: &str, bytes: &[u8]) {
    in_folder(|folder| {
        let genuine = put(folder, name, bytes);
        let impostor = put(folder, "impostor.txt", b"0.1\n0.3\n");
        let arguments = ["pdloss-eval".as_ref(), "scores".as_ref(), "--genuine".as_ref(), genuine.as_os_str()];
        let arguments = arguments.into_iter().chain(["--impostor".as_ref(), impostor.as_os_str()]);
        if let Ok(cli) = Cli::try_parse_from(arguments) {
            drop(cli.command.run(&mut std::io::sink()));
        }
    });
}

/// At most four million pixels, so that two gigabytes are enough for any of them.
fn image(bytes: &[u8]) {
    let recipe = Recipe { max_pixels: 1 << 22, ..Recipe::default() };
    drop(Preprocessor::new(&recipe, Layout::Nchw).pixels("image", bytes));
}
