//! What people type for flags and commands that are called otherwise here: one table for both programs, their configuration files
//! included.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

/// Words without their dashes, and the flags that they may mean, with a value where one is meant. A command has one or several of
/// them, the likeliest first, or none.
const FLAGS: &[(&str, &[&str])] = &[
    (
        "o output-dir outdir out-dir output-folder save save-dir save-path results results-dir run-dir exp-dir",
        &["save-run", "out", "save-manifest"],
    ),
    (
        "output-file out-file outfile output-path output-csv output-json csv save-results result",
        &["out", "save-manifest"],
    ),
    (
        "d dataset dataset-path data-dir data-path data-root datadir train-dir train-data image-dir image-folder images imgs input inputs input-dir path folder",
        &["data", "images"],
    ),
    (
        "m weights pretrained checkpoint ckpt onnx onnx-model model-path model-file net network arch architecture backbone encoder embedder",
        &["model", "init-from"],
    ),
    ("image-size img-size imgsz input-size resolution size img-dim resize-to", &["resize exact:WxH"]),
    ("crop-size center-crop centre-crop", &["crop"]),
    ("transform transforms preprocessing manifest", &["preprocess"]),
    ("bgr rgb gray grey grayscale greyscale swap-rb color-mode colour", &["channels"]),
    ("normalize-mean image-mean pixel-mean", &["mean"]),
    ("normalize-std image-std pixel-std", &["std"]),
    (
        "layer layer-name output-layer output-name output-node embedding-layer embedding-output node tensor",
        &["output", "embeddings"],
    ),
    ("backend engine provider ep execution-provider", &["runtime", "device"]),
    ("gpu gpus gpu-id gpu-ids use-gpu cuda use-cuda", &["device cuda"]),
    ("cpu no-cuda no-gpu", &["device cpu"]),
    ("j jobs cpus nproc n-jobs worker num-workers n-workers num-threads n-threads nthreads", &["threads"]),
    ("b bs batchsize train-batch-size images-per-batch", &["batch"]),
    ("eval-batch-size test-batch-size", &["batch"]),
    (
        "samples-per-class images-per-class instances-per-class num-instances instances n-per-class m-per-class num-per-class",
        &["per-class"],
    ),
    ("e epoch num-epochs n-epochs max-epochs nb-epochs", &["epochs"]),
    ("num-steps n-steps max-steps iterations iters num-iterations max-iter max-iters", &["steps"]),
    ("learningrate base-lr initial-lr", &["learning-rate"]),
    ("scheduler lr-scheduler lr-schedule sched", &["schedule"]),
    ("warmup-steps warmup-iters warmup-epochs", &["warmup"]),
    ("min-lr final-lr eta-min", &["final-rate"]),
    ("milestones lr-steps", &["decay-at"]),
    ("wd l2-regularization", &["weight-decay"]),
    ("optim opt", &["optimizer"]),
    ("grad-clip clip-grad clip-norm gradient-clip max-grad-norm clip-grad-norm", &["clip"]),
    ("ema-decay model-ema", &["ema"]),
    ("freeze-backbone freeze-layers frozen", &["freeze"]),
    ("freeze-bn freeze-batchnorm bn-freeze", &["freeze-statistics all"]),
    ("proxy-lr proxies-lr proxy-lr-multiplier", &["proxies-rate"]),
    ("random-seed manual-seed rng-seed", &["seed"]),
    ("val val-split valid val-set valid-split eval-split test-split", &["validation-split", "split"]),
    ("val-data val-dir valid-dir eval-data test-data test-dir validation-data validation-set", &["validation", "data"]),
    ("val-classes eval-classes", &["validation-classes"]),
    ("eval-every eval-interval val-interval validation-interval eval-freq val-every", &["validate-every"]),
    ("early-stopping early-stop", &["patience"]),
    ("save-best keep-best best best-only", &["keep best"]),
    ("save-every save-freq save-interval save-steps checkpoint-interval", &["checkpoint-every"]),
    ("continue resume-from", &["resume"]),
    ("init init-model finetune finetune-from", &["init-from"]),
    ("hflip horizontal-flip random-flip mirror", &["flip"]),
    ("random-resized-crop rrc", &["random-crop"]),
    ("rotation random-rotation degrees", &["rotate"]),
    ("jitter", &["color-jitter"]),
    ("random-erasing cutout", &["erase"]),
    ("tensorboard tensorboard-dir tb tb-dir logdir log log-path", &["log-dir"]),
    ("loss-fn loss-function criterion objective", &["loss"]),
    ("num-classes n-classes nclasses", &["classes"]),
    ("embedding-dim embedding-size emb-dim embed-dim feat-dim feature-dim dimension", &["dim"]),
    ("topk top-k ks k-values recall-k recall-at", &["k"]),
    ("distance distance-metric similarity", &["metric"]),
    ("faiss-index index-type factory", &["index"]),
    ("features feature-file vectors", &["embeddings"]),
    ("save-features dump-embeddings embeddings-out output-embeddings", &["save-embeddings"]),
    ("targets label-file labels-file", &["labels"]),
    ("label-column label-col target-column", &["label"]),
    ("pair-list pairs-file pair-file pairs-path lfw-pairs", &["pairs"]),
    ("landmarks landmark-file", &["align"]),
    ("plots figures figure roc det", &["plot"]),
    ("n-bootstrap num-bootstrap confidence-intervals ci", &["bootstrap", "draws"]),
    ("positives genuine-scores same", &["genuine"]),
    ("negatives impostor-scores different", &["impostor"]),
    ("filter query", &["where"]),
    ("sort-by order-by", &["sort"]),
    ("group-by", &["pivot"]),
    ("metrics measures", &["measure"]),
    ("precision decimals round", &["digits"]),
    ("silent", &["quiet"]),
    ("debug log-level", &["verbose"]),
    ("progress no-progressbar no-bar no-tqdm", &["no-progress"]),
    ("cfg conf config-file settings", &["config"]),
    ("ignore-errors skip-errors skip-broken", &["skip-bad"]),
];

/// Words for what no flag does, and why.
const NONE: &[(&str, &str)] = &[
    (
        "embedding-dim embedding-size emb-dim embed-dim feat-dim feature-dim dimension",
        "an embedding has the dimension of the model's output: it is chosen where the net is exported, and `pdloss inspect` prints it",
    ),
    ("num-classes n-classes nclasses", "the classes are those of the images that --data names"),
    (
        "fp16 half amp mixed-precision bf16 fp32 precision dtype",
        "numbers have the types of the model; training is in float32",
    ),
    ("normalize normalise l2-normalize", "embeddings are brought to length 1 in any case, but by --metric l2 and ip"),
    ("overwrite force f yes y exist-ok", "nothing is written over a run: name a new folder, or remove the old one"),
    (
        "n-gpu num-gpus world-size distributed local-rank",
        "ranks are started by a launcher: `mpirun -n 4 pdloss ...`, where the feature mpi is built in",
    ),
    (
        "project name experiment wandb mlflow",
        "a run is its folder; --log-dir of train writes event files, which other tools import",
    ),
];

/// Words that are commands elsewhere, and the commands that do it here.
const COMMANDS: &[(&str, &[&str])] = &[
    ("evaluate eval test validate validation measure benchmark accuracy metrics", &["recall", "verify"]),
    ("retrieve retrieval search knn nearest map rank", &["recall"]),
    ("embed extract encode infer inference predict features", &["recall"]),
    ("fit finetune fine-tune learn run tune", &["train"]),
    ("resume continue", &["train"]),
    ("verification match pairs lfw face faces", &["verify"]),
    ("roc eer det score calibrate", &["scores", "verify"]),
    ("plot page html show visualize visualise view", &["report"]),
    ("diff significance versus vs", &["compare"]),
    ("table summary summarize summarise list results aggregate", &["tabulate"]),
    ("info describe check preprocess preprocessing suggest model", &["inspect"]),
    ("convert onnx", &["export"]),
    ("completion autocomplete shell", &["completions"]),
    ("manual manpage docs", &["man"]),
];

/// The targets of the first row that has this word.
fn row<'t, T: ?Sized>(table: &'t [(&str, &'t T)], word: &str) -> Option<&'t T> {
    table.iter().find(|(words, _)| words.split(' ').any(|known| known == word)).map(|(_, targets)| *targets)
}

/// The flag of a command by its long name, hidden aliases included.
fn flag<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    let is_called =
        |arg: &&Arg| arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|names| names.contains(&name));
    command.get_arguments().find(is_called)
}

/// `--device cuda: cpu, cuda or cuda:N; ...`, or with the name of its value where none is meant.
fn shown(arg: &Arg, value: &str) -> String {
    let placeholder = || {
        let names = arg.get_value_names().filter(|_| arg.get_action().takes_values()).unwrap_or_default();
        names.iter().map(|name| format!(" <{name}>")).collect::<String>()
    };
    let value = if value.is_empty() { placeholder() } else { format!(" {value}") };
    let help = arg.get_help().map(|help| format!(": {help}")).unwrap_or_default();
    format!("--{}{value}{help}", arg.get_long().unwrap_or_default())
}

/// What a flag that `command` of `program` does not have may be here, likeliest first; nothing where nobody knows.
pub(super) fn of_flag(program: &Command, command: &Command, typed: &str) -> Vec<String> {
    let word = typed.trim_start_matches('-').split('=').next().unwrap_or_default().to_lowercase().replace('_', "-");
    // Spelt with underscores, in capitals, or with one dash.
    if let Some(same) = flag(command, &word).filter(|_| !typed.starts_with(&format!("--{word}"))) {
        return vec![shown(same, "")];
    }
    let here = row(FLAGS, &word).into_iter().flatten().filter_map(|target| {
        let (name, value) = target.split_once(' ').unwrap_or((target, ""));
        let found = flag(command, name).or_else(|| flag(program, name))?;
        // How many classes is not which.
        let is_which = found.get_value_names().is_some_and(|names| names.iter().any(|name| name == "RANGES"));
        (!is_which || word.ends_with("range") || word.ends_with("ranges")).then(|| shown(found, value))
    });
    let mut tips: Vec<String> = here.take(2).collect();
    if tips.is_empty() {
        tips.extend(row(NONE, &word).map(str::to_owned));
    }
    if tips.is_empty() {
        let owners = program.get_subcommands().filter(|other| flag(other, &word).is_some());
        let owners: Vec<&str> = owners.map(Command::get_name).collect();
        if !owners.is_empty() {
            tips.push(format!("--{word} is a flag of {}", owners.join(", ")));
        }
    }
    tips
}

/// The commands that a word may mean: those of this program, and those of the other, which `elsewhere` names.
fn of_command(program: &Command, elsewhere: &[(&str, &str)], typed: &str) -> Vec<String> {
    let of_other = |name: &str| elsewhere.iter().find(|(command, _)| *command == name);
    if let Some((name, other)) = of_other(typed) {
        return vec![format!("`{other} {name}` has it: {name} is a command of {other}")];
    }
    let named = row(COMMANDS, &typed.to_lowercase()).into_iter().flatten().map(|name| {
        let program_name = match of_other(name) {
            Some((_, other)) => other,
            None => program.get_name(),
        };
        let about = program.find_subcommand(name).and_then(Command::get_about);
        let about = about.map(|about| format!(": {about}")).unwrap_or_default();
        format!("`{program_name} {name}`{about}")
    });
    named.collect()
}

/// Gives an error of parsing the tips that are known, in the place of names that are merely spelt alike.
pub(super) fn add(error: &mut clap::Error, program: &Command, words: &[String], elsewhere: &[(&str, &str)]) {
    let wrong = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => word.clone(),
        _ => String::new(),
    };
    let tips = match error.kind() {
        ErrorKind::InvalidSubcommand => of_command(program, elsewhere, &wrong(ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument => {
            let chosen = words.iter().skip(1).find_map(|word| program.find_subcommand(word));
            of_flag(program, chosen.unwrap_or(program), &wrong(ContextKind::InvalidArg))
        }
        _ => Vec::new(),
    };
    if tips.is_empty() {
        return;
    }
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::Suggested] {
        error.remove(kind);
    }
    let tips = tips.into_iter().map(Into::into).collect();
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_word_stands_in_one_row_of_a_table() {
        fn once<T: ?Sized>(table: &[(&str, &T)]) {
            let words: Vec<&str> = table.iter().flat_map(|(words, _)| words.split(' ')).collect();
            let mut seen = HashSet::new();
            for word in words {
                assert!(!word.is_empty() && seen.insert(word), "'{word}' is there twice, or empty");
            }
        }
        once(FLAGS);
        once(NONE);
        once(COMMANDS);
    }

    #[test]
    fn flags_of_other_names_are_known_and_those_spelt_alike_are_left_to_clap() {
        let train =
            Command::new("train").args(["out", "device"].map(|name| Arg::new(name).long(name).value_name("VALUE")));
        let pairs = Command::new("verify").arg(Arg::new("pairs").long("pairs"));
        let program = Command::new("p").subcommand(train).subcommand(pairs);
        let train = program.find_subcommand("train").unwrap();
        let tips = |typed: &str| of_flag(&program, train, typed).join("\n");
        assert_eq!(tips("--output_dir=x"), "--out <VALUE>");
        assert_eq!(tips("--gpu"), "--device cuda");
        assert_eq!(tips("--OUT"), "--out <VALUE>");
        assert_eq!(tips("-device"), "--device <VALUE>");
        assert_eq!(tips("--pairs"), "--pairs is a flag of verify");
        assert!(tips("--embedding-dim").contains("dimension of the model's output"));
        assert_eq!(tips("--ouut"), "");
    }
}
