//! The shared cases as files, for runtimes that are reached through Python only:
//!
//! ```text
//! case_files write DIR        DIR/<n>.onnx and, for each of its inputs, DIR/<n>.<input>.bin
//! case_files check DIR OUT    holds OUT/<n>.<output>.bin to the oracle; exit status 1 where a case fails
//! ```
//!
//! Numbers are little-endian, in the type and shape that the model declares; outputs are float64.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{env, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use common::{Numbers, Outputs, Problem, problems};
use pdloss::graph::file;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", folder] => write(Path::new(folder)).map(|()| ExitCode::SUCCESS),
        ["check", folder, results] => check(Path::new(folder), Path::new(results)),
        _ => bail!("usage: case_files write DIR | case_files check DIR OUT"),
    }
}

fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (number, problem) in problems().iter().enumerate() {
        file::write(&problem.model(), &folder.join(format!("{number}.onnx")))?;
        for (name, _, numbers) in problem.inputs() {
            let bytes: Vec<u8> = match numbers {
                Numbers::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Numbers::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Numbers::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                Numbers::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            };
            fs::write(folder.join(format!("{number}.{name}.bin")), bytes)?;
        }
    }
    Ok(())
}

fn check(folder: &Path, results: &Path) -> Result<ExitCode> {
    let problems = problems();
    let mut failed = 0;
    for (number, problem) in problems.iter().enumerate() {
        anyhow::ensure!(
            folder.join(format!("{number}.onnx")).is_file(),
            "{folder:?} holds other cases: write it again"
        );
        if let Err(reason) =
            read(problem, results, number).and_then(|outputs| problem.check(&outputs).map_err(anyhow::Error::msg))
        {
            eprintln!("{}: {reason:#}", problem.name());
            failed += 1;
        }
    }
    println!("{} passed, {failed} failed", problems.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(problem: &Problem, results: &Path, number: usize) -> Result<Outputs> {
    let graph = problem.model().graph.unwrap_or_default();
    let mut outputs = Outputs::new();
    for output in &graph.output {
        let path = results.join(format!("{number}.{}.bin", output.name()));
        let bytes = fs::read(&path).with_context(|| format!("{}", path.display()))?;
        let (numbers, rest) = bytes.as_chunks::<8>();
        anyhow::ensure!(rest.is_empty(), "{}: cut short", path.display());
        outputs.insert(output.name().to_owned(), numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect());
    }
    Ok(outputs)
}
