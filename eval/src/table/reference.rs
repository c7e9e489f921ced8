//! The reference of all columns, `docs/columns.md`, out of the [`schema`](super::schema).

use std::fmt::Write;

use super::beside::FILES;
use super::columns::RESULTS;
use super::schema::{Better, Column, Over};

const HEAD: &str = "\
# Columns

Made of `eval/src/table/columns.rs`, and compared with it by a test. To make it again:

```text
PDLOSS_WRITE_COLUMNS=1 cargo test --locked -p pdloss-eval --lib the_reference
```

One row is one run; `compare` has a row a figure. A value that does not apply is missing (null; an empty cell in CSV). In CSV a
text that a spreadsheet would take for a formula (`=`, `+`, `-`, `@` at its beginning) has a `'` before it, which `tabulate`,
`report` and `compare` take away again; numbers never have one. JSON has no infinity and no NaN: they are null there.

A parquet file has **every** column of its `measure`, in this order and with this type, so that

```python
polars.read_parquet([\"a.parquet\", \"b.parquet\"])
```

reads any results of one command as one table. Of columns with a number in their name it has the usual ones (K of 1, 2, 4, 8,
10, 20, 30, 40, 100 and 1000; ten folds; priors of 0.05, 0.01 and 0.001; powers of two to 512); files with others, and results of
several commands, are put together by `polars.concat(tables, how=\"diagonal\")`. Types are `String`, `UInt64`, `Float64` and `Boolean`.

In a name, `{K}` stands for a whole number, `{T}` for a number, `{FIGURE}` for a figure that has an interval, `{METRIC}` and
`{SETTING}` for any name. Tables for people show a figure with the digits that its number of queries or pairs carries (`over`).
";

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Results\n\n");
    table(&mut page, RESULTS);
    page.push_str("\n## Files beside a result\n\nIn the folder of a run, or of `--points` and `--group-table`.\n");
    for (file, columns) in FILES {
        // Writing to a string cannot fail.
        let _ = write!(page, "\n### {file}\n\n");
        table(&mut page, columns);
    }
    page
}

fn table(page: &mut String, columns: &[Column]) {
    page.push_str(
        "| column | type | unit | better | over | written by | what it is |\n|---|---|---|---|---|---|---|\n",
    );
    for column in columns {
        let better = match column.better {
            None => "",
            Some(Better::Higher) => "higher",
            Some(Better::Lower) => "lower",
        };
        let over = match column.over {
            Over::Nothing => "",
            Over::Queries => "queries",
            Over::Genuine => "genuine pairs",
            Over::Impostor => "impostor pairs",
            Over::Both => "the fewer pairs",
            Over::Pairs => "all pairs",
        };
        let writers: Vec<&str> = column.writers.iter().map(|writer| writer.word()).collect();
        let (name, kind, unit, meaning) = (column.name, column.kind.word(), column.unit, column.meaning);
        let _ =
            writeln!(page, "| `{name}` | {kind} | {unit} | {better} | {over} | {} | {meaning} |", writers.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_what_the_schema_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/columns.md");
        if std::env::var_os("PDLOSS_WRITE_COLUMNS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == page(), "{} is not what the schema says; its first lines tell how to make it", path.display());
    }
}
