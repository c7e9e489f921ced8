//! What a model costs, beside what it reaches: columns of `recall` and `verify` where `--efficiency` is given.

use std::io::Write;

use super::arguments::Notes;
use crate::table::{Record, Value};
use crate::{Error, Result};
use pdloss_embed::console::inform;
use pdloss_embed::embedder::Prepared;
use pdloss_embed::process::{machine, peak_memory};
use pdloss_embed::ranks::world;

/// Ranks share a machine, and would be timed against each other.
///
/// # Errors
/// [`Error::Usage`] where there are several.
pub(super) fn check(wanted: bool) -> Result<()> {
    if wanted && !world().is_alone() {
        return Err(Error::Usage(
            "--efficiency: ranks of one machine slow each other down; measure in one process".into(),
        ));
    }
    Ok(())
}

/// Measures, and adds the columns.
///
/// # Errors
/// Those of [`Prepared::efficiency`].
pub(super) fn record(model: &Prepared, notes: &mut Notes, record: &mut Record) -> Result<()> {
    // Before anything is opened again: what the run itself needed.
    let peak = peak_memory();
    inform(&format!("measuring what {} costs; a few seconds", model.model().path.display()));
    let found = model.efficiency()?;
    if let Err(node) = &found.work.operations {
        notes.add(format!("no count of operations: what node {node} multiplies cannot be said"));
    }
    if found.images > 1 {
        notes.add(format!("latency is that of {} images: the model fixes its batch", found.images));
    }
    record.set("machine", machine()).set("parameters", found.work.parameters).set("model_bytes", found.bytes);
    record.set("operations", found.work.operations.ok());
    record
        .set("latency", found.latency.0 * 1e3)
        .set("latency_p95", found.latency.1 * 1e3)
        .set("latency_runs", found.runs);
    record.set("throughput", found.throughput).set("peak_memory", peak);
    Ok(())
}

/// Prints them in a sentence each, where they were measured.
pub(super) fn print(record: &Record, stdout: &mut dyn Write) -> std::io::Result<()> {
    let number = |name: &str| record.get(name).and_then(Value::number);
    let (Some(latency), Some(p95), Some(throughput)) = (number("latency"), number("latency_p95"), number("throughput"))
    else {
        return Ok(());
    };
    let word = |name: &str| record.get(name).map(Value::word).unwrap_or_default();
    let plural = |name: &str, one: &str| match word(name).as_str() {
        "1" => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    let in_units = |value: f64| match value {
        v if v >= 1e9 => format!("{:.2} G", v / 1e9),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v => format!("{:.2} k", v / 1e3),
    };
    let counted = |name: &str| number(name).map_or("uncounted".to_owned(), in_units);
    let peak =
        number("peak_memory").map_or(String::new(), |bytes| format!(", {:.0} MiB held at most", bytes / 1048576.0));
    writeln!(
        stdout,
        "\nThe model alone, on {}, {}, {}: {latency:.2} ms an image one by one (95 of 100 within {p95:.2} ms), {throughput:.1} images/s {}",
        word("machine"),
        plural("threads", "thread"),
        word("runtime"),
        if word("batch") == "1" { "one a batch".to_owned() } else { format!("in batches of {}", word("batch")) },
    )?;
    writeln!(stdout, "{} parameters, {} operations an image{peak}", counted("parameters"), counted("operations"))
}
