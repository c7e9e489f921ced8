//! Self-search of a matrix, timed: `search EMBEDDINGS.npy K THREADS NEIGHBOURS.npy [INDEX]`. Where no index is named as
//! `pdloss-eval recall` searches: exactly, all rows together. A named one is FAISS's and asked query by query, `Flat`, too.
//!
//! Prints one line of JSON: seconds of building and searching, the peak memory of the process in MiB, and for which processors FAISS is.

use std::error::Error;
use std::time::Instant;

use ndarray::{Array2, s};
use pdloss_embed::console::Progress;
use pdloss_embed::retrieval::{Index, Metric};
use pdloss_eval::index::{FLAT, FaissIndex};
use pdloss_eval::level::level;
use pdloss_eval::process;

/// Queries searched at a time, as `pdloss-eval recall` does.
const BLOCK: usize = 4096;

#[allow(clippy::print_stdout)] // an example prints
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, k, threads, out, index @ ..] = arguments.as_slice() else {
        return Err("usage: search EMBEDDINGS.npy K THREADS NEIGHBOURS.npy [INDEX]".into());
    };
    let named = index.first();
    let (k, threads): (usize, usize) = (k.parse()?, threads.parse()?);
    process::set_threads(threads);
    let matrix: Array2<f32> = ndarray_npy::read_npy(file)?;
    let mut neighbours = Array2::<i64>::zeros((matrix.nrows(), k));

    let started = Instant::now();
    let mut index = FaissIndex::build(named.map_or(FLAT, String::as_str), Metric::Cosine, matrix.view(), &|row| {
        format!("row {row}")
    })?;
    let progress = Progress::new("searching", "queries", matrix.nrows());
    let mut all = if named.is_none() { index.search_itself(k, &progress)? } else { None };
    for first in (0..matrix.nrows()).step_by(BLOCK) {
        let last = (first + BLOCK).min(matrix.nrows());
        let found = match &mut all {
            Some(all) => all[first..last].iter_mut().map(std::mem::take).collect(),
            None => index.search(matrix.slice(s![first..last, ..]), k, Some(first))?,
        };
        for (mut row, list) in neighbours.slice_mut(s![first..last, ..]).rows_mut().into_iter().zip(found) {
            row.iter_mut().zip(list).for_each(|(to, from)| *to = i64::try_from(from).unwrap_or(-1));
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    ndarray_npy::write_npy(out, &neighbours)?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB").trim().trim_end_matches(" kB").trim();
    println!(
        "{{\"seconds\": {seconds:.3}, \"peak_mib\": {}, \"faiss\": \"{}\"}}",
        peak.parse::<u64>()? / 1024,
        level()
    );
    Ok(())
}
