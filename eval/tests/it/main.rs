//! Integration tests in one program (linking FAISS, polars and tract once). A table of contents:
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod bad_input;
mod changed;
mod columns;
mod command_line;
mod compare;
mod doubts;
mod figures;
mod ids;
mod kept;
mod listed_twice;
mod lists;
mod outputs;
mod page;
mod revisited;
mod runs;
mod search;
mod tabulate;
mod templates;
mod tools;
mod verification_properties;
mod verify;
mod version_01;
