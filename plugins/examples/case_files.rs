//! The shared cases as files, for runtimes that are reached through Python only:
//!
//! ```text
//! case_files write DIR [cuda]        DIR/<n>.onnx and, for each of its inputs, DIR/<n>.<input>.bin
//! case_files check DIR OUT [cuda]    holds OUT/<n>.<output>.bin to the oracle; exit status 1 where a case fails
//! ```
//!
//! With `cuda`, in the CUDA operators' element types instead of the CPU's.
//!
//! Numbers are little-endian, in the type and shape that the model declares; outputs are float64.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{env, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use common::{
    Input, Numbers, Outputs, Problem, problems,
    width::{Width, on_cuda},
};
use pdloss::graph::{file, proto::ModelProto};

/// A model, its inputs, and what is wrong with its outputs.
struct Task {
    name: String,
    model: ModelProto,
    inputs: Vec<Input>,
    check: Box<Check>,
}

type Check = dyn Fn(&Outputs) -> Result<(), String>;

fn tasks(cuda: bool) -> Vec<Task> {
    if cuda {
        let narrowed = [Width::F32, Width::F16, Width::BF16].into_iter().flat_map(on_cuda);
        return narrowed
            .map(|problem| Task {
                name: problem.name(),
                model: problem.model(),
                inputs: problem.inputs(),
                check: Box::new(move |outputs| problem.check(outputs)),
            })
            .collect();
    }
    let task = |problem: Problem| Task {
        name: problem.name(),
        model: problem.model(),
        inputs: problem.inputs(),
        check: Box::new(move |outputs| problem.check(outputs)),
    };
    problems().into_iter().map(task).collect()
}

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", folder] => write(&tasks(false), Path::new(folder)),
        ["write", folder, "cuda"] => write(&tasks(true), Path::new(folder)),
        ["check", folder, results] => check(&tasks(false), Path::new(folder), Path::new(results)),
        ["check", folder, results, "cuda"] => check(&tasks(true), Path::new(folder), Path::new(results)),
        _ => bail!("usage: case_files write DIR [cuda] | case_files check DIR OUT [cuda]"),
    }
}

fn write(tasks: &[Task], folder: &Path) -> Result<ExitCode> {
    fs::create_dir_all(folder)?;
    for (number, task) in tasks.iter().enumerate() {
        file::write(&task.model, &folder.join(format!("{number}.onnx")))?;
        for (name, _, numbers) in &task.inputs {
            let bytes: Vec<u8> = match numbers {
                Numbers::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Numbers::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Numbers::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Numbers::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            };
            fs::write(folder.join(format!("{number}.{name}.bin")), bytes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(tasks: &[Task], folder: &Path, results: &Path) -> Result<ExitCode> {
    let mut failed = 0;
    for (number, task) in tasks.iter().enumerate() {
        anyhow::ensure!(
            folder.join(format!("{number}.onnx")).is_file(),
            "{folder:?} holds other cases: write it again"
        );
        let outcome = read(task, results, number);
        if let Err(reason) = outcome.and_then(|outputs| (task.check)(&outputs).map_err(anyhow::Error::msg)) {
            eprintln!("{}: {reason:#}", task.name);
            failed += 1;
        }
    }
    println!("{} passed, {failed} failed", tasks.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(task: &Task, results: &Path, number: usize) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    for output in task.model.graph.iter().flat_map(|graph| &graph.output) {
        let path = results.join(format!("{number}.{}.bin", output.name()));
        let bytes = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        anyhow::ensure!(rest.is_empty(), "{}: cut short", path.display());
        outputs.insert(output.name().to_owned(), numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect());
    }
    Ok(outputs)
}
